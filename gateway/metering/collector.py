"""Daily freezes and meter clocks: from what is due to rows and messages.

Carries out what gateway/acquisition/collection.py plans: makes jobs, judges the replies, and gives
each confirmed freeze to the store and to the head-end in one transaction.  A freeze is confirmed
when it continues the days beside it; where it does not, or where there is none, it is read twice.

The meters' clocks come along with the freezes; gateway/metering/meter_clocks.py judges and sets
them.

Used by the core alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from gateway.acquisition.collection import CLOCK, LOOK_S, Ask, Collection
from gateway.acquisition.confirm import AGAIN_MAX
from gateway.acquisition.days import day_of, end_of
from gateway.acquisition.freeze import Answer, Odd, Read, Unread, doubtful, interpret
from gateway.acquisition.polling import Found, Polling, Reading
from gateway.clock import ClockState
from gateway.config import Config
from gateway.events import Job, JobDone, Priority
from gateway.livestate import CollectionState
from gateway.metering.completeness import Completeness
from gateway.metering.grid import Grid
from gateway.metering.meter_clocks import MeterClocks
from gateway.north import contract, readings
from gateway.recorder import Recorder
from gateway.store.readings import Freeze, Gap, Quality, Readings
from protocols.base import Value

WITHIN_S = 1800.0
"""A freeze that was not read by then is planned anew."""
GUARD_S = 600.0
LOOK_FIRST_S = 1.0
"""How often it is asked whether all meters had their first poll."""
ODD_MAX = 3
"""So often an earlier day may answer with another day's freeze until it counts as having none."""
KEPT_MAX = 62
"""Daily freezes a meter keeps at most."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Doubt:
    """A day that has not answered as it should: how often, and with what."""

    odd: int = 0
    again: int = 0
    registers: dict[str, int] = field(default_factory=dict)


class Money(Protocol):
    """What the collection tells the rooms of money, where there are any."""

    def kept(self, meter: str, day: date) -> None:
        """The freeze of a day, or that there is none, is stored; in the same transaction."""

    def seen(self, meter: str, values: Mapping[str, Value], wall: float) -> None:
        """Values were polled."""

    def loaded(self, meter: str, day: date) -> bool:
        """Whether power was drawn on ``day``, as far as was seen."""

    def asked(self, event: JobDone) -> bool:
        """Whether this job was theirs: then ``done`` takes it."""

    def done(self, event: JobDone, found: Sequence[Found], now: float, wall: float) -> None:
        """One of their jobs is over."""


class Collector:
    """The collection of one gateway."""

    def __init__(
        self,
        config: Config,
        readings: Readings,
        polling: Polling,
        recorder: Recorder,
        submit: Callable[[str, Job], None],
        state: Callable[[], ClockState],
        grid: Grid,
        jitter: Callable[[], float],
    ) -> None:
        """``state`` judges our clock, ``jitter`` is a source of [0, 1)."""
        self._meters = {meter.asset: meter for meter in config.meters}
        self._readings = readings
        self._polling = polling
        self._recorder = recorder
        self._submit = submit
        self._state = state
        self._confirmation = grid.confirmation
        self._zone = ZoneInfo(config.gateway.timezone)
        table = config.collection
        self._collection = Collection(config.meters, self._zone, table.backfill_days, jitter)
        self._completeness = Completeness(
            config.gateway.name,
            self._zone,
            table.in_time,
            self._collection,
            readings,
            grid,
            recorder,
        )
        self._asks: dict[int, Ask] = {}
        self._doubts: dict[tuple[str, date], _Doubt] = {}
        self._fresh: dict[str, list[Freeze]] = {}
        """The last freezes of each meter: they may not be in the file yet."""
        self._clocks = MeterClocks(config, readings, polling, recorder, submit, state)
        grid.offset_s, grid.settled = self._clocks.offset_s, self._completeness.grid_settled
        self._begun = False
        self.money: Money | None = None
        """Given by the core where balances are kept here."""

    def tick(self, now: float, wall: float) -> float:
        """Ask for what is due; returns the monotonic time of the next tick."""
        state = self._state()
        if state is ClockState.UNKNOWN:
            return now + LOOK_S
        if not self._begun:
            self._begin(now, wall)
        if self._polling.first_round(now):
            return now + LOOK_FIRST_S
        trusted = state is ClockState.TRUSTED
        silent = self._polling.silent
        # Nobody is asked over midnight, when the newest freeze becomes the second newest.
        day_ends_s = end_of(day_of(wall, self._zone), self._zone) - wall - GUARD_S
        for ask in self._collection.due(now, wall, trusted=trusted, silent=silent):
            not_after = now + min(WITHIN_S, day_ends_s)
            line, job = self._polling.ask(ask.meter, ask.exchanges, ask.priority, not_after)
            self._asks[job.id] = ask
            self._submit(line, job)
        if newest := self._collection.newest:
            self._completeness.tick(now, wall, newest)
        clocks_at = self._clocks.tick(now, wall, self._collection.newest)
        return min(self._collection.next_at, clocks_at)

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return event.job.id in self._asks or self._clocks.asked(event)

    def done(self, event: JobDone, found: Sequence[Found], now: float, wall: float) -> None:
        """One of our jobs is over; ``found`` is what polling made of it."""
        if self._clocks.asked(event):
            self._clocks.done(event, found, now)
            return
        ask = self._asks.pop(event.job.id)
        replies = iter([one.values for one in found if isinstance(one, Reading)])
        answers = [
            Answer(exchange, outcome, next(replies) if outcome.reply else None)
            for exchange, outcome in zip(ask.exchanges, event.outcomes, strict=True)
        ]
        of_clock = [one for one in answers if set(one.exchange.points) & set(CLOCK)]
        failed = ask.clock and not self._clock_read(ask, of_clock)
        again = False
        if ask.day:
            settled, again = self._freeze(
                ask, ask.day, answers[: len(answers) - len(of_clock)], wall
            )
            failed = failed or not settled
        self._collection.done(ask, now, failed=failed, again=again)

    def woke(self, meter: str, now: float) -> None:
        """A meter answers again."""
        self._collection.woke(meter, now)

    def look(self) -> CollectionState:
        """How yesterday stands, for the live state."""
        again, dropped = self._confirmation.again, self._confirmation.dropped
        return self._completeness.look(
            self._collection.newest, sum(again.values()), sum(dropped.values())
        )

    def _begin(self, now: float, wall: float) -> None:
        """Remember what is stored: it is not asked for again, and the next readings must fit."""
        self._begun = True
        since = day_of(wall, self._zone) - timedelta(days=KEPT_MAX + 1)
        for meter, day in self._readings.settled(since):
            self._collection.settle(meter, day)
        for clock in self._clocks.known:
            self._collection.clock_read(clock.meter, clock.day)
        for meter, day, frozen in self._readings.newest():
            if meter in self._meters:
                registers = self._readings.values(meter, day)
                self._confirmation.remember(meter, registers, now - (wall - frozen))

    # --- freezes --------------------------------------------------------------------------------

    def _freeze(
        self, ask: Ask, day: date, answers: Sequence[Answer], wall: float
    ) -> tuple[bool, bool]:
        """Whether the day needs no more asking, and if it does, whether at once."""
        if self._state() is ClockState.UNKNOWN:
            # It was known when we asked: now nobody can say which day this is.
            return False, False
        match interpret(day, answers):
            case Unread(reason):
                self._completeness.missed(ask.meter, day, reason)
                return False, False
            case Odd() as odd:
                return self._odd(ask, day, odd, wall), False
            case Read() as read:
                return self._read(ask, day, read)

    def _odd(self, ask: Ask, day: date, odd: Odd, wall: float) -> bool:
        """Yesterday's freeze may still come; an earlier one that is not there never will."""
        self._completeness.missed(ask.meter, day, odd.reason)
        doubt = self._doubts.setdefault((ask.meter, day), _Doubt())
        doubt.odd += 1
        if ask.priority is Priority.COLLECTION or (odd.kind != "absent" and doubt.odd < ODD_MAX):
            return False
        log.info("no daily freeze", meter=ask.meter, day=day.isoformat(), reason=odd.reason)
        gap = Gap(meter=ask.meter, day=day, kind=odd.kind, reason=odd.reason, at=wall)
        self._keep(partial(self._readings.add_gap, gap), (ask.meter, day))
        self._settle(ask.meter, day)
        return True

    def _read(self, ask: Ask, day: date, read: Read) -> tuple[bool, bool]:
        meter, frozen = ask.meter, end_of(day, self._zone)
        beside = self._beside(meter, day)
        problem = doubtful(read.registers, frozen, beside, self._confirmation.limits(meter))
        doubt = self._doubts.setdefault((meter, day), _Doubt())
        if problem or not beside:
            agreed = doubt.registers == read.registers
            if doubt.registers and not agreed:
                self._confirmation.dropped[meter] += 1
            if not agreed:
                doubt.registers = read.registers
                doubt.again += 1
                self._confirmation.again[meter] += 1
                self._completeness.missed(meter, day, problem or "read once, not confirmed")
                return False, doubt.again % (AGAIN_MAX + 1) > 0
        elif doubt.registers and doubt.registers != read.registers:
            self._confirmation.dropped[meter] += 1
        self._accept(ask, day, read, problem)
        return True, False

    def _beside(self, meter: str, day: date) -> list[tuple[float, dict[str, int]]]:
        """The freezes nearest before and after ``day``, with the moments they show."""
        known = {
            other: (frozen, self._readings.values(meter, other))
            for other, frozen in self._readings.neighbours(meter, day)
        }
        for one in self._fresh.get(meter, ()):
            known[one.day] = (one.frozen, dict(one.values))
        before = max((other for other in known if other < day), default=None)
        after = min((other for other in known if other > day), default=None)
        return [known[other] for other in (before, after) if other]

    def _accept(self, ask: Ask, day: date, read: Read, problem: str) -> None:
        quality, reason = self._quality(ask.meter, problem)
        freeze = Freeze(
            meter=ask.meter,
            day=day,
            frozen=end_of(day, self._zone),
            taken=read.taken_at,
            clock=self._state().value,
            quality=quality,
            reason=reason,
            offset_s=self._clocks.offset_s(ask.meter),
            loaded=self.money is not None and self.money.loaded(ask.meter, day),
            values=read.registers,
        )
        self._keep(partial(self._readings.add, freeze), (ask.meter, day))
        self._recorder.reading(self._message(freeze, read), late=ask.priority is Priority.BACKFILL)
        if quality == "suspect":
            log.warning("freeze does not continue", meter=ask.meter, reason=reason)
            detail = f"{day.isoformat()}: {reason}"
            self._recorder.event("freeze_suspect", ask.meter, detail=detail)
        self._fresh[ask.meter] = [*self._fresh.get(ask.meter, ())[-1:], freeze]
        self._settle(ask.meter, day)

    def _quality(self, meter: str, problem: str) -> tuple[Quality, str]:
        if problem:
            return "suspect", problem
        off = self._clocks.off(meter)
        return ("clock_off", off) if off else ("good", "")

    def _message(self, freeze: Freeze, read: Read) -> readings.Reading:
        meter = self._meters[freeze.meter]
        return readings.Reading(
            meter=freeze.meter,
            address=meter.address,
            line=meter.line,
            taken=contract.instant(freeze.taken),
            clock=freeze.clock,
            values={name: value.text() or "" for name, value in read.values.items()},
            frozen=readings.Frozen(
                day=freeze.day.isoformat(),
                at=contract.instant(freeze.frozen),
                quality=freeze.quality,
                reason=freeze.reason[:500],
            ),
        )

    def _keep(self, write: Callable[[], None], of: tuple[str, date] | None = None) -> None:
        """Write with the next commit; what it means for the money goes with it.

        ``of`` is the meter and day whose freeze is, or will never be, there.
        """

        def action() -> None:
            write()
            self._completeness.changed()
            if self.money and of:
                self.money.kept(*of)

        self._recorder.later(action)

    def _settle(self, meter: str, day: date) -> None:
        self._doubts.pop((meter, day), None)
        self._collection.settle(meter, day)
        self._completeness.settled(meter, day)

    # --- clocks ---------------------------------------------------------------------------------

    def _clock_read(self, ask: Ask, answers: Sequence[Answer]) -> bool:
        """Compare a meter's clock with ours.  False: try again later."""
        newest = self._collection.newest
        if newest is None or not self._clocks.compare(ask.meter, answers, newest, self._keep):
            return False
        self._collection.clock_read(ask.meter, newest)
        return True
