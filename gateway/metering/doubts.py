"""Readings that are not believed yet, and the second reading that settles it.

Every live reading passes here before anybody sees it.  One without registers, or whose registers
fit what is known, passes at once.  Any other is held back, as a whole: where one value of a frame
is wrong, the frame is; and the same is asked again.

Used by the core alone.
"""

from collections.abc import Callable, Sequence

import structlog

from gateway.acquisition.confirm import Confirmation, Verdict
from gateway.acquisition.polling import POLL_WAITS_S, Found, Polling, Reading
from gateway.events import Job, Priority
from gateway.recorder import Recorder
from protocols.base import Quality
from protocols.exchanges import Exchange

AGAIN_WITHIN_S = 120.0

log = structlog.get_logger()


class Doubts:
    """The readings of one gateway that wait for a second one."""

    def __init__(
        self,
        confirmation: Confirmation,
        polling: Polling,
        recorder: Recorder,
        submit: Callable[[str, Job], None],
    ) -> None:
        self._confirmation = confirmation
        self._polling = polling
        self._recorder = recorder
        self._submit = submit
        polling.twice = self._unknown

    def settle(
        self, found: Sequence[Found], now: float, wall: float
    ) -> tuple[list[Found], dict[int, tuple[str, ...]]]:
        """What of ``found`` can be told, and by ``id`` of a reading which registers are suspect.

        Asks again for what cannot, unless the same job has already done so.
        """
        told: list[Found] = []
        suspect: dict[int, tuple[str, ...]] = {}
        for n, one in enumerate(found):
            if not isinstance(one, Reading):
                told.append(one)
                continue
            later = [other for other in found[n + 1 :] if isinstance(other, Reading)]
            repeated = any(other.exchange is one.exchange for other in later)
            verdict, names = self._judge(one, now, wall, repeated=repeated)
            if verdict in (Verdict.ACCEPT, Verdict.SUSPECT):
                told.append(one)
            if verdict is Verdict.SUSPECT:
                suspect[id(one)] = names
        return told, suspect

    def _judge(
        self, reading: Reading, now: float, wall: float, *, repeated: bool
    ) -> tuple[Verdict, tuple[str, ...]]:
        meter, exchange = reading.meter, reading.exchange
        names = self._confirmation.cumulative(meter, reading.values)
        amounts = {
            name: value.amount
            for name, value in reading.values.items()
            if name in names and value.quality is Quality.GOOD and isinstance(value.amount, int)
        }
        if not amounts:
            return Verdict.ACCEPT, ()
        at = now - (wall - reading.taken_at)
        verdict, problem = self._confirmation.judge(meter, exchange.key, amounts, at)
        if verdict is Verdict.SUSPECT:
            log.warning("registers do not continue", meter=meter, reason=problem)
            self._recorder.event("reading_suspect", meter, reading.line, problem)
        if verdict is Verdict.AGAIN and not repeated:
            # What is merely new waits until all others had their turn; what is wrong does not.
            new = self._unknown(meter, exchange)
            priority = Priority.POLL if new else Priority.COLLECTION
            within_s = POLL_WAITS_S if new else AGAIN_WITHIN_S
            self._submit(*self._polling.ask(meter, (exchange,), priority, now + within_s))
        return verdict, tuple(sorted(amounts))

    def _unknown(self, meter: str, exchange: Exchange) -> bool:
        """Whether a reading of this has nothing to be compared with."""
        return not self._confirmation.knows(meter, exchange.points)
