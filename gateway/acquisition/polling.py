"""Which meter is asked what, and when; what its replies mean.

Owned by the core.  For each meter it keeps the plan (the fewest exchanges for its points), what the
meter refused for good, the running job and its health.  It hands out jobs and turns finished ones
into readings.  It reads no clock, opens no port and writes no row: what is to be remembered across
a restart (a refusal) comes back as a ``Learned`` for the core to store.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from gateway.acquisition.found import Found, Learned, Reading, Shared, Woke
from gateway.acquisition.health import Health
from gateway.acquisition.line_health import LineHealth, LineTurned, Turned
from gateway.acquisition.schedule import slot
from gateway.config import MeterConfig
from gateway.events import Fault, Job, JobDone, Outcome, Priority
from protocols.base import Quality, Request
from protocols.exchanges import Exchange, RegisterExchange
from protocols.model import ModbusProfile
from protocols.planner import AGREED

FIRST_ROUND_S = 60.0
"""So long after the start the past waits until every meter was asked for its present once."""
__all__ = [
    "POLL_WAITS_S",
    "Found",
    "Learned",
    "LineTurned",
    "Polling",
    "Reading",
    "Shared",
    "Turned",
    "Woke",
]

TRIES = 3
"""How often a request is sent to a meter that answered last."""
EARLY_S = 0.001
"""So much earlier than computed a meter is looked at: two clocks are involved, and rounding."""
SHARED_S = 25 * 3600.0
"""The values of a meter that shares its address are not believed until so long after the last sign
of the other: the line listens for it once a day."""
POLL_WAITS_S = 3600.0
"""A poll waits this long for its turn on a line with more work than time.  Its meter gets no second
one meanwhile, so all meters of the line have their turn, each as often as the wire allows."""


@dataclass(slots=True)
class _Meter:
    config: MeterConfig
    health: Health
    refused: set[str] = field(default_factory=set)
    plan: tuple[Exchange, ...] = ()
    job: Job | None = None
    slot: int | None = None
    again: bool = False
    """Ask once more before the next slot: it woke up, refused something, or its plan changed."""
    doubted: set[str] = field(default_factory=set)
    """Refused once.  The request may have arrived damaged, as one for something else; a refusal
    does not say what it refuses."""
    reserved_s: float = 0.0
    """Line time set aside for the probe that runs."""
    wake_at: float = -math.inf
    """Monotonic; before it there is nothing to start unless something happens to the meter.  Saves
    looking at all meters after each job."""


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
        on_line: dict[str, list[Health]] = {}
        for meter in self._meters.values():
            on_line.setdefault(meter.config.line, []).append(meter.health)
        self._lines = {name: LineHealth(name, healths, jitter) for name, healths in on_line.items()}
        self._next_id = 1
        self._offset_s = -math.inf
        """Of the wall clock to the monotonic one; the grid of the polls stands on the former."""
        self._plans: dict[int, tuple[Exchange, ...]] = {}
        self._asked: set[int] = set()
        self._round_ends_at = float("inf")
        self.twice: Callable[[str, Exchange], bool] = lambda _asset, _exchange: False
        """Whether somebody's read is to ask a meter for this twice, so that it can be believed."""
        for asset, key in refused:
            if asset in self._meters:
                self._meters[asset].refused.add(key)
        for meter in self._meters.values():
            self._replan(meter)

    @property
    def refused(self) -> dict[str, set[str]]:
        """What each meter refused for good, by asset."""
        return {
            asset: {key for key in meter.refused if not key.startswith(AGREED)}
            for asset, meter in self._meters.items()
        }

    @property
    def health(self) -> list[Health]:
        """Of every meter, in the order of the configuration."""
        return [meter.health for meter in self._meters.values()]

    def due(self, now: float, wall: float) -> list[tuple[str, Job]]:
        """The jobs that are to start now, each with the name of its line."""
        if abs(wall - now - self._offset_s) > EARLY_S:
            self._offset_s = wall - now
            for meter in self._meters.values():
                meter.wake_at = -math.inf
        free = [
            meter
            for meter in self._meters.values()
            if meter.job is None and (meter.wake_at - EARLY_S <= now or meter.health.probed)
        ]
        # The budget for probes may not last for all: who has waited longest goes first.
        free.sort(key=lambda meter: meter.health.probe_at if meter.health.probed else 0.0)
        return [
            (meter.config.line, job)
            for meter in free
            if (job := self._job(meter, now, wall)) is not None
        ]

    def first_round(self, now: float) -> bool:
        """Whether there are still meters that nobody has asked since the start."""
        if self._round_ends_at == float("inf"):
            self._round_ends_at = now + FIRST_ROUND_S
        if now < self._round_ends_at and any(
            meter.health.askable and not meter.health.asked for meter in self._meters.values()
        ):
            return True
        self._round_ends_at = now
        return False

    def next_due(self, now: float, wall: float) -> float:
        """The monotonic time at which ``due`` has something again; it may be a little early."""
        free = [meter for meter in self._meters.values() if meter.job is None]
        soonest = math.inf
        for meter in free:
            if meter.health.probed:
                # Another meter's answer may end that, and then it is looked at anew.
                meter.wake_at = -math.inf
                soonest = min(soonest, self._next(meter, now, wall))
                continue
            if meter.wake_at - EARLY_S <= now:
                meter.wake_at = self._next(meter, now, wall)
            soonest = min(soonest, meter.wake_at)
        return soonest

    def read(self, asset: str, points: Iterable[str], not_after: float) -> tuple[str, Job]:
        """A read that somebody waits for, of points that the meter has and does not all refuse.

        Raises KeyError for a meter we do not have.
        """
        meter = self._meters[asset]
        plan = self._plan(meter, tuple(points))
        plan = tuple(one for each in plan for one in (each,) * (1 + self.twice(asset, each)))
        return meter.config.line, self._make(meter, plan, Priority.COMMAND, not_after)

    def ask(
        self, asset: str, plan: tuple[Exchange, ...], priority: Priority, not_after: float
    ) -> tuple[str, Job]:
        """Exchanges that somebody else has planned.  What they come to is not held against the
        meter: neither a refusal nor a silence.
        """
        job = self._make(self._meters[asset], plan, priority, not_after)
        self._asked.add(job.id)
        return self._meters[asset].config.line, job

    def tell(
        self, asset: str, requests: tuple[Request, ...], priority: Priority, not_after: float
    ) -> tuple[str, Job]:
        """Requests that change something, each sent once.  What comes of them says nothing here."""
        meter = self._meters[asset]
        job = self._job_of(meter, requests, priority, not_after, tries=1)
        return meter.config.line, job

    def silent(self, asset: str) -> bool:
        """Whether the meter did not answer last, or was never heard; ``Woke`` tells the end."""
        return not self._meters[asset].health.proven

    def unknown(self, asset: str, points: Iterable[str]) -> list[str]:
        """Which of ``points`` the meter's model does not have."""
        return list(self._meters[asset].config.profile.unknown(tuple(points)))

    def overheard(self, asset: str, now: float) -> None:
        """A meter has shown a sign of life without answering: ask it as soon as may be."""
        health = self._meters[asset].health
        if health.failures:
            health.stir(now)

    def doubled(self, asset: str, now: float) -> list[Shared]:
        """There is a sign of a second meter at this one's address: nothing of it is believed.

        What is to be told: nothing if that is known.
        """
        meter = self._meters[asset]
        known, meter.health.doubled_at = meter.health.doubled_at, now
        if known is not None:
            return []
        return [Shared(asset, meter.config.line, shared=True, address=meter.config.address)]

    def _single(self, meter: _Meter, now: float) -> list[Found]:
        """Believe a meter again when there was no sign of a second one for long enough."""
        doubled_at = meter.health.doubled_at
        if doubled_at is None or now - doubled_at < SHARED_S:
            return []
        meter.health.doubled_at = None
        config = meter.config
        return [Shared(config.asset, config.line, shared=False, address=config.address)]

    def refuses(self, asset: str, points: Iterable[str]) -> bool:
        """Whether the meter refuses all of ``points`` for good."""
        return not self._plan(self._meters[asset], tuple(points))

    def refuse(self, asset: str, key: str) -> None:
        """The meter refused something for good that somebody else had planned."""
        self._meters[asset].refused.add(key)

    def trial(self, asset: str) -> tuple[RegisterExchange, tuple[RegisterExchange, ...]] | None:
        """A read over unknown registers that would make the poll shorter, and what it replaces."""
        meter = self._meters[asset]
        config = meter.config
        if not isinstance(config.profile, ModbusProfile):
            return None
        character_s = config.settings.character_s
        return config.profile.trial(config.address, config.points, meter.refused, character_s)

    def learn(self, asset: str, key: str, reason: str, *, agreed: bool) -> Learned:
        """Use a read over unknown registers from now on, or never try it again."""
        meter = self._meters[asset]
        key = AGREED + key if agreed else key
        meter.refused.add(key)
        self._replan(meter)
        return Learned(asset, key, reason)

    def knows(self, asset: str) -> bool:
        """Whether there is such a meter."""
        return asset in self._meters

    def done(self, event: JobDone, now: float) -> list[Found]:
        """What a finished job means."""
        plan = self._plans.pop(event.job.id, None)
        if plan is None:  # what ``tell`` made
            return []
        meter = self._meters[event.job.meter]
        meter.wake_at = -math.inf
        if meter.job is not None and meter.job.id == event.job.id:
            meter.job = None
        if event.job.priority is Priority.PROBE:
            self._lines[event.line].budget.spend(event.busy_s - meter.reserved_s)
        asset, asked = event.job.meter, event.job.id in self._asked
        found = self._single(meter, now)
        for exchange, outcome in zip(plan, event.outcomes, strict=True):
            found += self._outcome(meter, exchange, event.line, outcome, asked=asked)
        if asked:
            self._asked.remove(event.job.id)
            # Whoever lives is woken; the polls alone decide who does not.
            return found + (self._judge(meter, event, now) if found and self.silent(asset) else [])
        if any(isinstance(one, Learned) for one in found):
            self._replan(meter)
            meter.again = True
        return found + self._judge(meter, event, now)

    def _next(self, meter: _Meter, now: float, wall: float) -> float:
        if meter.job is not None or not meter.plan:
            return float("inf")
        if meter.health.probed:
            return max(meter.health.probe_at, now + 1.0)
        cell = slot(wall, meter.config.period_s)
        return now if meter.again or cell.number != meter.slot else now + cell.ends_in_s

    def _job(self, meter: _Meter, now: float, wall: float) -> Job | None:
        if not meter.plan:
            return None
        if meter.health.probed:
            return self._probe(meter, now)
        cell = slot(wall, meter.config.period_s)
        if cell.number == meter.slot and not meter.again:
            return None
        meter.slot, meter.again = cell.number, False
        # Late in a slot (after a start, say) the next one's poll would only repeat this one.
        late = cell.ends_in_s < meter.config.period_s / 2
        useful_s = cell.ends_in_s + (meter.config.period_s if late else 0)
        not_after = now + max(useful_s, POLL_WAITS_S)
        # A meter that did not answer last, or was never heard, gets no retries.
        tries = TRIES if meter.health.proven else 1
        meter.job = self._make(meter, meter.plan, Priority.POLL, not_after, tries)
        return meter.job

    def _probe(self, meter: _Meter, now: float) -> Job | None:
        budget = self._lines[meter.config.line].budget
        if now < meter.health.probe_at or not budget.allows(now):
            return None
        meter.reserved_s = meter.config.timeout_s
        budget.spend(meter.reserved_s)
        codec = meter.config.profile.codec()
        cheapest = min(meter.plan, key=lambda exchange: codec.reply_size(exchange.request))
        meter.job = self._make(meter, (cheapest,), Priority.PROBE, now + 600, tries=1)
        return meter.job

    def _make(
        self,
        meter: _Meter,
        plan: tuple[Exchange, ...],
        priority: Priority,
        not_after: float,
        tries: int = TRIES,
    ) -> Job:
        requests = tuple(exchange.request for exchange in plan)
        job = self._job_of(meter, requests, priority, not_after, tries)
        self._plans[job.id] = plan
        return job

    def _job_of(
        self,
        meter: _Meter,
        requests: tuple[Request, ...],
        priority: Priority,
        not_after: float,
        tries: int,
    ) -> Job:
        job = Job(
            id=self._next_id,
            meter=meter.config.asset,
            priority=priority,
            requests=requests,
            not_after=not_after,
            tries=tries,
        )
        self._next_id += 1
        return job

    def _plan(self, meter: _Meter, points: tuple[str, ...]) -> tuple[Exchange, ...]:
        config = meter.config
        return config.profile.plan(
            config.address, points, meter.refused, config.settings.character_s
        )

    def _replan(self, meter: _Meter) -> None:
        meter.plan = self._plan(meter, meter.config.points)
        meter.health.askable = bool(meter.plan)

    def _outcome(
        self, meter: _Meter, exchange: Exchange, line: str, got: Outcome, *, asked: bool
    ) -> list[Found]:
        config = meter.config
        if got.reply is not None:
            meter.doubted.discard(exchange.key)
            values = exchange.values(got.reply.data, config.ratio)
            if meter.health.doubled_at is not None:
                values = {
                    name: replace(v, amount=None, quality=Quality.INVALID)
                    for name, v in values.items()
                }
            taken_at = got.taken_at
            return [Reading(config.asset, config.address, line, taken_at, values, exchange)]
        refused = got.fault is Fault.REFUSED and got.permanent
        if refused and not asked and exchange.key not in meter.refused:
            if exchange.key not in meter.doubted:
                meter.doubted.add(exchange.key)
                meter.again = True
                return []
            meter.doubted.discard(exchange.key)
            meter.refused.add(exchange.key)
            return [Learned(config.asset, exchange.key, got.error)]
        return []

    def _judge(self, meter: _Meter, event: JobDone, now: float) -> list[Found]:
        """Whether the meter answered at all: a refusal is an answer, a lost port says nothing."""
        health, config = meter.health, meter.config
        line = self._lines[config.line]
        replies = [outcome for outcome in event.outcomes if outcome.reply is not None]
        if replies or any(outcome.fault is Fault.REFUSED for outcome in event.outcomes):
            if replies:
                health.replied(replies[-1].taken_at, replies[-1].round_trip_s)
            restored, woke = line.fault, not health.proven
            meter.again = meter.again or health.failures > 0
            # A long job's early replies say nothing about the line now.
            last = event.outcomes[-1]
            now_alive = last.reply is not None or last.fault is Fault.REFUSED
            told = line.answered(health, now, now_alive=now_alive)
            if restored:
                self._ask_again(config.line)
            return [Woke(config.asset), *told] if woke else list(told)
        missed = [o for o in event.outcomes if o.fault in (Fault.SILENT, Fault.DAMAGED)]
        return list(line.missed(health, now, missed[0].error)) if missed else []

    def _ask_again(self, line: str) -> None:
        """The line works again: whoever is on it may have a reading for this slot."""
        for meter in self._meters.values():
            if meter.config.line == line:
                meter.again, meter.wake_at = True, -math.inf
