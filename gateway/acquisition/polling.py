"""Which meter is asked what, and when; what its replies mean.

Owned by the core.  For each meter it keeps the plan (the fewest exchanges for its points), what the
meter refused for good, the running job and its health.  It hands out jobs and turns finished ones
into readings.  It reads no clock, opens no port and writes no row: what is to be remembered across
a restart (a refusal) comes back as a ``Learned`` for the core to store.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.acquisition.health import Health, ProbeBudget
from gateway.acquisition.schedule import slot
from gateway.config import MeterConfig
from gateway.events import Fault, Job, JobDone, Outcome, Priority
from protocols.base import Value
from protocols.exchanges import Exchange

TRIES = 3
POLL_WAITS_S = 3600.0
"""A poll waits this long for its turn on a line with more work than time.  Its meter gets no second
one meanwhile, so all meters of the line have their turn, each as often as the wire allows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The values (示值) of one good reply."""

    meter: str
    address: str
    line: str
    taken_at: float
    """Unix time when the reply was complete."""
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Learned:
    """A meter refuses this exchange for good: it is not asked again, here or after a restart."""

    meter: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Turned:
    """A meter fell silent, or answers again."""

    meter: str
    line: str
    silent: bool
    reason: str


Found = Reading | Learned | Turned


@dataclass(slots=True)
class _Meter:
    config: MeterConfig
    health: Health
    refused: set[str] = field(default_factory=set)
    plan: tuple[Exchange, ...] = ()
    job: Job | None = None
    slot: int | None = None
    again: bool = False
    """Ask once more before the next slot: it woke up, or its plan changed."""


class Polling:
    """All meters of the gateway."""

    def __init__(
        self,
        meters: Iterable[MeterConfig],
        refused: Iterable[tuple[str, str]],
        jitter: Callable[[], float],
    ) -> None:
        """Take the meters, what they refused before (asset, exchange key), a source of [0, 1)."""
        self._meters = {m.asset: _Meter(m, Health(m.asset, m.line)) for m in meters}
        self._budgets = {m.config.line: ProbeBudget() for m in self._meters.values()}
        self._jitter = jitter
        self._next_id = 1
        self._plans: dict[int, tuple[Exchange, ...]] = {}
        for asset, key in refused:
            if asset in self._meters:
                self._meters[asset].refused.add(key)
        for meter in self._meters.values():
            self._replan(meter)

    @property
    def refused(self) -> dict[str, set[str]]:
        """What each meter refused for good, by asset."""
        return {asset: meter.refused for asset, meter in self._meters.items()}

    @property
    def health(self) -> list[Health]:
        """Of every meter, in the order of the configuration."""
        return [meter.health for meter in self._meters.values()]

    def due(self, now: float, wall: float) -> list[tuple[str, Job]]:
        """The jobs that are to start now, each with the name of its line."""
        return [
            (meter.config.line, job)
            for meter in self._meters.values()
            if meter.job is None and (job := self._job(meter, now, wall)) is not None
        ]

    def next_due(self, now: float, wall: float) -> float:
        """The monotonic time at which ``due`` has something again; it may be a little early."""
        return min(self._next(meter, now, wall) for meter in self._meters.values())

    def read(self, asset: str, points: Iterable[str], not_after: float) -> tuple[str, Job]:
        """A read that somebody waits for.  Raises KeyError for a meter we do not have."""
        meter = self._meters[asset]
        plan = self._plan(meter, tuple(points) or meter.config.points)
        return meter.config.line, self._make(meter, plan, Priority.COMMAND, not_after)

    def unknown(self, asset: str, points: Iterable[str]) -> list[str]:
        """Which of ``points`` the meter's model does not have."""
        return list(self._meters[asset].config.profile.unknown(tuple(points)))

    def knows(self, asset: str) -> bool:
        """Whether there is such a meter."""
        return asset in self._meters

    def done(self, event: JobDone, now: float) -> list[Found]:
        """What a finished job means."""
        meter = self._meters[event.job.meter]
        if meter.job is not None and meter.job.id == event.job.id:
            meter.job = None
        if event.job.priority is Priority.PROBE:
            self._budgets[event.line].settle(meter.config.timeout_s, event.busy_s)
        found: list[Found] = []
        for exchange, outcome in zip(self._plans.pop(event.job.id), event.outcomes, strict=True):
            found += self._outcome(meter, exchange, event.line, outcome)
        if any(isinstance(one, Learned) for one in found):
            self._replan(meter)
            meter.again = True
        return found + self._judge(meter, event, now)

    def _next(self, meter: _Meter, now: float, wall: float) -> float:
        if meter.job is not None:
            return float("inf")
        if meter.health.silent:
            return max(meter.health.probe_at, now + 1.0)
        cell = slot(wall, meter.config.period_s)
        return now if meter.again or cell.number != meter.slot else now + cell.ends_in_s

    def _job(self, meter: _Meter, now: float, wall: float) -> Job | None:
        if not meter.plan:
            return None
        if meter.health.silent:
            return self._probe(meter, now)
        cell = slot(wall, meter.config.period_s)
        if cell.number == meter.slot and not meter.again:
            return None
        meter.slot, meter.again = cell.number, False
        not_after = now + max(cell.ends_in_s, POLL_WAITS_S)
        # Trying often is for a meter that answered the time before.
        tries = 1 if meter.health.failures else TRIES
        meter.job = self._make(meter, meter.plan, Priority.POLL, not_after, tries)
        return meter.job

    def _probe(self, meter: _Meter, now: float) -> Job | None:
        if now < meter.health.probe_at:
            return None
        if not self._budgets[meter.config.line].take(now, meter.config.timeout_s):
            return None
        codec = meter.config.profile.codec()
        cheapest = min(meter.plan, key=lambda exchange: codec.reply_size(exchange.request))
        meter.job = self._make(meter, (cheapest,), Priority.PROBE, now + POLL_WAITS_S, tries=1)
        return meter.job

    def _make(
        self,
        meter: _Meter,
        plan: tuple[Exchange, ...],
        priority: Priority,
        not_after: float,
        tries: int = TRIES,
    ) -> Job:
        job = Job(
            id=self._next_id,
            meter=meter.config.asset,
            priority=priority,
            requests=tuple(exchange.request for exchange in plan),
            not_after=not_after,
            tries=tries,
        )
        self._next_id += 1
        self._plans[job.id] = plan
        return job

    def _plan(self, meter: _Meter, points: tuple[str, ...]) -> tuple[Exchange, ...]:
        config = meter.config
        return config.profile.plan(
            config.address, points, meter.refused, config.settings.character_s
        )

    def _replan(self, meter: _Meter) -> None:
        meter.plan = self._plan(meter, meter.config.points)

    def _outcome(self, meter: _Meter, exchange: Exchange, line: str, got: Outcome) -> list[Found]:
        config = meter.config
        if got.reply is not None:
            values = exchange.values(got.reply.data)
            taken_at = got.taken_at
            return [Reading(config.asset, config.address, line, taken_at, values)]
        if got.fault is Fault.REFUSED and got.permanent and exchange.key not in meter.refused:
            meter.refused.add(exchange.key)
            return [Learned(config.asset, exchange.key, got.error)]
        return []

    def _judge(self, meter: _Meter, event: JobDone, now: float) -> list[Found]:
        """Whether the meter answered at all: a refusal is an answer, a lost port says nothing."""
        health, config = meter.health, meter.config
        answers = [o for o in event.outcomes if o.reply is not None or o.fault is Fault.REFUSED]
        if answers:
            good = answers[-1]
            if health.good(good.taken_at, good.round_trip_s):
                meter.again = True
                return [Turned(config.asset, config.line, silent=False, reason="")]
            return []
        missed = [o for o in event.outcomes if o.fault in (Fault.SILENT, Fault.DAMAGED)]
        if missed and health.bad(now, missed[0].error, self._jitter):
            return [Turned(config.asset, config.line, silent=True, reason=missed[0].error)]
        return []
