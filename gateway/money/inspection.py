"""What accounts have to know of their meters, asked of the meters themselves, by and by.

Each ``Check`` says which meters it wants to ask, and judges the answers; here is when: one job per
meter, few per line, after a failure a growing pause.  A meter that does not answer its polls is
not asked at all.

Used by the core alone.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.acquisition.freeze import Answer
from gateway.acquisition.polling import Found, Polling, Reading
from gateway.clock import ClockState
from gateway.config import MeterConfig
from gateway.events import Job, JobDone, Priority
from protocols.exchanges import Exchange

LOOK_S = 30.0
WITHIN_S = 1800.0
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
AT_ONCE = 2
"""Jobs of one line that may wait in its queue."""

Plan = tuple[Exchange, ...]


class Check(Protocol):
    """One thing that is to be known of meters."""

    def due(self, wall: float) -> Collection[str]:
        """The meters to be asked now, by asset number."""

    def begin(self, meter: MeterConfig) -> Plan:
        """What to ask first; nothing if this model cannot tell: then ``take`` gets no answer."""

    def take(self, meter: MeterConfig, answers: Sequence[Answer], wall: float) -> Plan | None:
        """What answers come to: what to ask further, nothing if that was all; None: try later."""


@dataclass(slots=True)
class _Work:
    busy: bool = False
    failures: int = 0
    wake_at: float = 0.0


class Inspection:
    """All checks of one gateway."""

    def __init__(
        self,
        meters: Mapping[str, MeterConfig],
        polling: Polling,
        submit: Callable[[str, Job], None],
        state: Callable[[], ClockState],
        checks: Sequence[Check],
    ) -> None:
        """``state`` judges our clock."""
        self._meters = meters
        self._polling = polling
        self._submit = submit
        self._state = state
        self._checks = checks
        self._work: dict[tuple[int, str], _Work] = {}
        self._asks: dict[int, tuple[int, str, Plan]] = {}
        self._running: Counter[str] = Counter()

    def tick(self, now: float, wall: float) -> float:
        """Ask for what is due; returns the monotonic time of the next tick."""
        if self._state() is ClockState.UNKNOWN:
            return now + LOOK_S
        for n, check in enumerate(self._checks):
            for asset in check.due(wall):
                meter, work = self._meters.get(asset), self._work.setdefault((n, asset), _Work())
                if meter is None or work.busy or now < work.wake_at:
                    continue
                plan = check.begin(meter)
                if not plan:
                    check.take(meter, (), wall)
                elif self._running[meter.line] < AT_ONCE and not self._polling.silent(asset):
                    self._ask(n, meter, plan, now)
        return now + LOOK_S

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return event.job.id in self._asks

    def done(self, event: JobDone, found: Sequence[Found], now: float, wall: float) -> None:
        """One of our jobs is over; ``found`` is what polling made of it."""
        n, asset, plan = self._asks.pop(event.job.id)
        meter, work = self._meters[asset], self._work[n, asset]
        self._running[meter.line] -= 1
        work.busy = False
        replies = iter([one.values for one in found if isinstance(one, Reading)])
        answers = [
            Answer(exchange, outcome, next(replies) if outcome.reply else None)
            for exchange, outcome in zip(plan, event.outcomes, strict=True)
        ]
        known = self._state() is not ClockState.UNKNOWN
        more = self._checks[n].take(meter, answers, wall) if known else None
        if more:
            self._ask(n, meter, more, now)
        elif more is None:
            work.wake_at = now + min(FIRST_PAUSE_S * 2**work.failures, LONGEST_PAUSE_S)
            work.failures += 1
        else:
            work.failures = 0

    def _ask(self, n: int, meter: MeterConfig, plan: Plan, now: float) -> None:
        line, job = self._polling.ask(meter.asset, plan, Priority.COLLECTION, now + WITHIN_S)
        self._work[n, meter.asset].busy = True
        self._running[meter.line] += 1
        self._asks[job.id] = n, meter.asset, plan
        self._submit(line, job)
