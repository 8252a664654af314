"""The 15-minute grid (15 分钟曲线): the registers of every meter at each quarter of an hour.

A moment is served by the poll that comes within half a minute after it; whoever has no such poll is
asked for its registers alone, before all polls.  What is missed so (gateway off, meter silent, line
busy) is read from the meter's load curve (负荷曲线) in the background, as many days back as
configured, and goes to the history lane.  Each moment of a meter is given to the head-end once:
what is there is kept in the transaction that stores the message.

A load curve is believed when its registers run on, and fit what was read live; else it is read a
second time, and marked as suspect if it says the same.  A meter without one is remembered for it.

Not supported: the hour that comes twice when the clocks go back (of load curves only one is read),
load curves of Modbus and DL/T 645-1997 meters, and a clock of ours that ran ahead: moments it had
already given are not given again when it is set back.

Used by the core alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from gateway.acquisition import curve
from gateway.acquisition.confirm import Confirmation
from gateway.acquisition.curves import LOOK_S, CurveAsk, Curves
from gateway.acquisition.days import day_of
from gateway.acquisition.moments import Bits, Moments
from gateway.acquisition.polling import Found, Polling, Reading
from gateway.clock import ClockState
from gateway.config import Config, MeterConfig
from gateway.events import Job, JobDone, Priority
from gateway.north import contract, readings
from gateway.recorder import Recorder
from gateway.store.database import Database
from gateway.store.grid import GridDay, GridRows
from gateway.store.learned import Learned, Refused
from protocols.base import Value
from protocols.exchanges import CurveExchange

WITHIN_S = 60.0
"""A reading so long after a moment still stands for it."""
WAIT_S = 30.0
"""So long the poll of a moment is waited for."""
CURVE_WITHIN_S = 1800.0
LOOK_FIRST_S = 1.0
"""How often it is asked whether all meters had their first poll."""
ODD_MAX = 3
"""So often a meter may have no record of a moment until it counts as having none."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Doubt:
    """What a meter's load curve last said of a gap, if that was not as it should be."""

    at: float
    refused: bool = False
    lacking: int = 0
    data: bytes = b""


@dataclass(slots=True)
class _Part:
    """Registers of one moment that come in several readings."""

    at: float
    values: dict[str, Value] = field(default_factory=dict)
    suspect: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Count:
    """One meter's moments of a day."""

    meter: str
    due: int
    read: int
    absent: int


class Grid:
    """The grid of one gateway."""

    def __init__(
        self,
        config: Config,
        database: Database,
        polling: Polling,
        recorder: Recorder,
        submit: Callable[[str, Job], None],
        state: Callable[[], ClockState],
        confirmation: Confirmation,
        jitter: Callable[[], float],
    ) -> None:
        """``state`` judges our clock, ``jitter`` is a source of [0, 1)."""
        self._config = config
        self._rows = GridRows(database)
        self._refusals = Learned(database)
        self._polling = polling
        self._recorder = recorder
        self._submit = submit
        self._state = state
        self.confirmation = confirmation
        self._zone = ZoneInfo(config.gateway.timezone)
        self._days = config.collection.grid_days
        self._moments = Moments(self._zone, config.collection.grid_minutes or 15)
        self._meters = {meter.asset: meter for meter in config.meters if meter.grid}
        able = [meter for meter in self._meters.values() if self._keeps_curve(meter)]
        self._curves = Curves(able, self._moments, self._zone, self._days + 1, jitter)
        self._moment = 0.0
        self._waiting: list[MeterConfig] = []
        """Not served of the present moment, and not asked."""
        self._parts: dict[str, _Part] = {}
        self._asks: dict[int, tuple[CurveAsk, tuple[CurveExchange, ...]]] = {}
        self._doubts: dict[str, _Doubt] = {}
        self._today: date | None = None
        self.settled: Callable[[date], None] = lambda _day: None
        """Whom to tell that nothing of a day is open any more."""
        self.offset_s: Callable[[str], float | None] = lambda _meter: None
        """Who knows how far a meter's clock is ahead of ours."""

    @property
    def meters(self) -> tuple[str, ...]:
        """The meters that are on the grid."""
        return tuple(self._meters)

    def tick(self, now: float, wall: float) -> float:
        """Ask for what is due; returns the monotonic time of the next tick."""
        if not self._meters:
            return float("inf")
        if self._state() is ClockState.UNKNOWN:
            return now + LOOK_S
        if day_of(wall, self._zone) != self._today:
            self._new_day(day_of(wall, self._zone))
        next_at = self._live(now, wall)
        silent, polling = self._polling.silent, self._polling
        if polling.first_round(now):
            return min(next_at, now + LOOK_FIRST_S)
        for ask in self._curves.due(now, wall, silent, lambda meter: self.offset_s(meter) or 0.0):
            meter = self._meters[ask.meter]
            plan = curve.plan(meter, ask.gap, self._zone, doubt=self._doubt(ask).refused)
            line, job = polling.ask(ask.meter, plan, Priority.BACKFILL, now + CURVE_WITHIN_S)
            self._asks[job.id] = ask, plan
            self._submit(line, job)
        return min(next_at, self._curves.next_at)

    def serve(self, reading: Reading, suspect: Sequence[str]) -> readings.Grid | None:
        """Whether this live reading is that of a moment of the grid: then how to mark it.

        Where a moment's registers come in several readings, they are sent in one of their own.
        """
        meter = self._meters.get(reading.meter)
        if meter is None or self._today is None or self._state() is ClockState.UNKNOWN:
            return None
        at = self._moments.newest(reading.taken_at)
        found = curve.good(reading.values, meter.grid)
        late = reading.taken_at - at > WITHIN_S
        if not found or late or self._moments.is_settled(reading.meter, at):
            return None
        mark = readings.Grid(at=contract.instant(at), source="live")
        if len(found) == len(meter.grid):
            self._settle(reading.meter, [at])
            return mark
        part = self._parts.get(reading.meter)
        if part is None or part.at != at:
            part = self._parts[reading.meter] = _Part(at)
        part.values |= found
        part.suspect |= set(suspect) & found.keys()
        if len(part.values) == len(meter.grid):
            self._send(meter, part.values, reading.taken_at, mark, sorted(part.suspect))
            self._settle(reading.meter, [at])
        return None

    def asked(self, event: JobDone) -> bool:
        """Whether this job read a load curve: then ``done`` takes it."""
        return event.job.id in self._asks

    def done(self, event: JobDone, _found: Sequence[Found], now: float, wall: float) -> None:
        """A read of a load curve is over; its records stand in the replies themselves."""
        ask, plan = self._asks.pop(event.job.id)
        settled = again = False
        # Our clock was known when we asked; now nobody can say which moments these are.
        if self._state() is not ClockState.UNKNOWN:
            meter = self._meters[ask.meter]
            found = curve.interpret(meter, ask.gap, plan[0], event.outcomes, self._zone)
            settled, again = self._answered(ask, found, plan[-1].key, now, wall)
        if settled:
            self._doubts.pop(ask.meter, None)
        self._curves.done(ask, now, failed=not settled, again=again)

    def woke(self, meter: str, now: float) -> None:
        """A meter answers again."""
        self._curves.woke(meter, now)

    def open(self, day: date) -> int:
        """How many moments of a day may still be read."""
        if self._today is None or day < self._today - timedelta(days=self._days):
            return 0
        return sum(self._moments.open(meter, day).bit_count() for meter in self._curves.meters)

    def counts(self, day: date) -> tuple[Count, ...]:
        """Every meter's moments of a day; none of a day that is forgotten, or without a grid."""
        if self._today is None or day < self._today - timedelta(days=self._days):
            return ()
        due = self._moments.due(day).bit_count()
        days = ((meter, self._moments.of(meter, day)) for meter in self._meters)
        return tuple(
            Count(meter, due, bits.there.bit_count(), (bits.absent & ~bits.there).bit_count())
            for meter, bits in days
        )

    # --- live -----------------------------------------------------------------------------------

    def _live(self, now: float, wall: float) -> float:
        """Ask whom no poll has served; returns when to look again."""
        moment = self._moments.newest(wall)
        if moment != self._moment:
            self._moment = moment
            self._waiting = list(self._meters.values())
        late_s = wall - moment
        waiting = []
        for meter in self._waiting if late_s < WITHIN_S else ():
            if self._moments.is_settled(meter.asset, moment) or self._polling.silent(meter.asset):
                continue
            if late_s < WAIT_S and self._is_polled(meter):
                waiting.append(meter)
                continue
            refused, character_s = self._polling.refused[meter.asset], meter.settings.character_s
            plan = meter.profile.plan(meter.address, meter.grid, refused, character_s)
            if plan:
                not_after = now + WITHIN_S - late_s
                job = self._polling.ask(meter.asset, plan, Priority.COLLECTION, not_after)
                self._submit(*job)
        self._waiting = waiting
        look_s = WAIT_S - late_s if waiting else self._moments.step_s - late_s
        return now + max(look_s, 0.0)

    def _is_polled(self, meter: MeterConfig) -> bool:
        """Whether a poll begins with every moment, and reads what is wanted."""
        on_time = self._moments.step_s % meter.period_s == 0
        return on_time and set(meter.grid) <= set(meter.points)

    # --- load curves ----------------------------------------------------------------------------

    def _keeps_curve(self, meter: MeterConfig) -> bool:
        newest = curve.newest(meter)
        return newest is not None and newest.key not in self._polling.refused[meter.asset]

    def _doubt(self, ask: CurveAsk) -> _Doubt:
        doubt = self._doubts.get(ask.meter)
        if doubt is None or doubt.at != ask.gap.at:
            doubt = self._doubts[ask.meter] = _Doubt(ask.gap.at)
        return doubt

    def _answered(
        self, ask: CurveAsk, found: curve.Found, key: str, now: float, wall: float
    ) -> tuple[bool, bool]:
        """Whether moments were settled, and if not, whether to ask again at once."""
        match found:
            case curve.Records():
                return self._records(ask, found, now - wall)
            case curve.Lacking(until):
                return self._lacking(ask, until), False
            case curve.Refused(wholly=True, reason=reason):
                self._leave(Refused(ask.meter, key, reason, wall))
                return True, False
            case curve.Refused():
                self._doubt(ask).refused = True
                return False, True
        return False, False

    def _records(self, ask: CurveAsk, found: curve.Records, mono: float) -> tuple[bool, bool]:
        """``mono`` is what makes a monotonic time of a Unix time."""
        meter, doubt = self._meters[ask.meter], self._doubt(ask)
        problem = curve.broken(found.moments, self.confirmation.limits(meter.asset))
        for at, values in found.moments.items():
            amounts = curve.amounts(values)
            problem = problem or self.confirmation.contradiction(meter.asset, amounts, at + mono)
        if problem and doubt.data != found.data:
            log.info("load curve does not fit", meter=meter.asset, reason=problem)
            self.confirmation.again[meter.asset] += 1
            first, doubt.data = not doubt.data, found.data
            return False, first
        offset_s = self.offset_s(meter.asset) or 0.0
        off = abs(offset_s) > self._config.collection.clock_limit_s
        for at, values in found.moments.items():
            mark = readings.Grid(
                at=contract.instant(at),
                source="curve",
                clock_offset_s=f"{offset_s:.0f}" if off else None,
            )
            self._send(meter, values, found.taken_at, mark, meter.grid if problem else ())
        self._settle(meter.asset, found.moments)
        return True, False

    def _lacking(self, ask: CurveAsk, until: float) -> bool:
        """The meter has no record of these moments; said often enough, it never will have."""
        doubt = self._doubt(ask)
        doubt.lacking += 1
        if doubt.lacking < ODD_MAX:
            return False
        first, *others = ask.gap.moments
        moments = [first, *(at for at in others if at <= until)]
        self._settle(ask.meter, moments, absent=True)
        return True

    def _leave(self, refused: Refused) -> None:
        """The meter keeps no load curve."""
        log.info("meter keeps no load curve", meter=refused.meter, reason=refused.reason)
        self._polling.refuse(refused.meter, refused.key)
        self._recorder.later(partial(self._refusals.add, refused))
        self._curves.leave(refused.meter)
        today = day_of(refused.at, self._zone)
        for back in range(1, self._days + 1):
            self._tell(today - timedelta(days=back))

    # --- what is there --------------------------------------------------------------------------

    def _send(
        self,
        meter: MeterConfig,
        values: Mapping[str, Value],
        taken_at: float,
        mark: readings.Grid,
        suspect: Sequence[str],
    ) -> None:
        self._recorder.reading(
            readings.Reading(
                meter=meter.asset,
                address=meter.address,
                line=meter.line,
                taken=contract.instant(taken_at),
                clock=self._state().value,
                values={name: value.text() or "" for name, value in values.items()},
                suspect=tuple(suspect) or None,
                grid=mark,
            ),
            late=mark.source == "curve",
        )

    def _settle(self, meter: str, moments: Iterable[float], *, absent: bool = False) -> None:
        days = {self._moments.settle(meter, at, absent=absent) for at in moments}
        for day in days:
            bits = self._moments.of(meter, day)
            self._recorder.later(
                partial(self._rows.put, GridDay(meter, day, bits.there, bits.absent))
            )
            if self._today and day < self._today:
                self._tell(day)

    def _tell(self, day: date) -> None:
        if not self.open(day):
            self.settled(day)

    def _new_day(self, today: date) -> None:
        """Take what was kept, or leave what is over."""
        first, self._today = self._today is None, today
        oldest = today - timedelta(days=self._days)
        if first:
            for row in self._rows.all():
                self._moments.put(row.meter, row.day, Bits(row.there, row.absent))
        self._moments.forget(oldest)
        self._recorder.later(partial(self._rows.forget, oldest))
        self._tell(today - timedelta(days=1))
