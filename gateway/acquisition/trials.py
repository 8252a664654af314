"""Modbus reads over registers of which nobody knows: tried, compared, and only then used.

A read over a gap that the profile does not call readable may be refused; or, worse, some meters
skip the gap and shift what is behind it, or repeat bytes, without an error.  Where such a read
saves line time and the configuration allows it (``try_gaps``), it is put between single reads of
the same registers, before and after it.  Live values move, but a tolerance would let one phase
pass for the other.  So the three must be equal to the last bit, and what stands behind a gap must
stand in the read at its own place alone:

    equal, each part distinct     agreed: used from now on
    before and after equal, but   differs: never asked again
    not the read between them
    anything else                 says nothing: tried again after another poll, ``TRIES`` times,
                                  then never

What came of it is remembered like a refusal, and as long.  Pure but for the jobs it hands out.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from gateway.acquisition.found import Learned
from gateway.acquisition.polling import Polling
from gateway.config import MeterConfig
from gateway.events import Fault, Job, JobDone, Outcome, Priority
from protocols.exchanges import RegisterExchange

TRIES = 8
WITHIN_S = 600.0


class Verdict(StrEnum):
    """What one trial showed."""

    AGREED = "a read over gaps agreed with single reads"
    DIFFERS = "a read over gaps differed from single reads"
    UNSURE = "reads over gaps could not be compared with single reads"


def compare(
    merged: RegisterExchange, parts: Sequence[RegisterExchange], outcomes: Sequence[Outcome]
) -> Verdict:
    """What the outcomes of ``parts``, ``merged`` and ``parts`` again say about ``merged``."""
    replies = [outcome.reply for outcome in outcomes]
    count = len(parts)
    between = outcomes[count]
    if between.fault is Fault.REFUSED and between.permanent:
        return Verdict.DIFFERS
    whole = between.reply.data if between.reply else b""
    verdict = Verdict.AGREED
    for n, part in enumerate(parts):
        before, after = replies[n], replies[count + 1 + n]
        if not whole or before is None or after is None or before.data != after.data:
            verdict = Verdict.UNSURE
            continue
        at = 2 * (part.request.register - merged.request.register)
        if whole[at : at + len(before.data)] != before.data:
            return Verdict.DIFFERS
        if n and not _distinct(before.data, whole):
            verdict = Verdict.UNSURE
    return verdict


def _distinct(data: bytes, whole: bytes) -> bool:
    """Whether these registers would be seen to be shifted: they stand in the read once only."""
    places = range(0, len(whole) - len(data) + 1, 2)
    return any(data) and sum(whole[at : at + len(data)] == data for at in places) == 1


class Trials:
    """The trials of all meters that allow them, one at a time for each."""

    def __init__(
        self, meters: Iterable[MeterConfig], polling: Polling, submit: Callable[[str, Job], None]
    ) -> None:
        self._polling = polling
        self._submit = submit
        self._left = {meter.asset: TRIES for meter in meters if meter.try_gaps}
        self._running: dict[int, tuple[RegisterExchange, tuple[RegisterExchange, ...]]] = {}

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return event.job.id in self._running

    def polled(self, event: JobDone, now: float) -> None:
        """After a good poll its meter may try what would make the next one shorter."""
        meter = event.job.meter
        good = all(outcome.reply for outcome in event.outcomes)
        if meter not in self._left or event.job.priority is not Priority.POLL or not good:
            return
        trial = self._polling.trial(meter)
        if trial is None:
            del self._left[meter]
            return
        merged, parts = trial
        plan = (*parts, merged, *parts)
        line, job = self._polling.ask(meter, plan, Priority.BACKFILL, now + WITHIN_S)
        self._running[job.id] = trial
        self._submit(line, job)

    def done(self, event: JobDone) -> list[Learned]:
        """A trial is over; what was learned by it."""
        meter = event.job.meter
        merged, parts = self._running.pop(event.job.id)
        verdict = compare(merged, parts, event.outcomes)
        if verdict is Verdict.UNSURE and meter in self._left:
            self._left[meter] -= 1
            if self._left[meter] > 0:
                return []
        self._left[meter] = TRIES
        agreed = verdict is Verdict.AGREED
        return [self._polling.learn(meter, merged.key, verdict.value, agreed=agreed)]
