"""Daily readings of meters that make no freezes (Modbus, DL/T 645-1997): taken live at midnight.

Bills are made of what the registers showed at the end of a day.  Where the meter does not keep
that, it is read in the first minutes after midnight and stored as the day's freeze, marked as taken
live.  A day that nobody could read then has none, and the next one covers it: the registers go on
counting, so nothing is lost but the share of each day.

A reading is believed when it continues the day before; else it is taken twice.

Not supported: meters without a register of imported energy alone.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial

from gateway.acquisition.confirm import Limits, Seen, impossible, limits_of
from gateway.acquisition.days import begin_of, end_of
from gateway.acquisition.freeze import Answer, doubtful
from gateway.config import MeterConfig
from gateway.money.books import Books
from gateway.money.inspection import Plan
from gateway.north import contract, readings
from gateway.prepayment.settle import DEMAND, EXPORT, REACTIVE
from gateway.prepayment.validity import TOTAL
from gateway.recorder import Recorder
from gateway.store.readings import Freeze, Gap, Quality, Readings
from protocols import base
from protocols.base import Value

WINDOW_S = 900.0
"""So long after midnight a reading still stands for it."""
RATES = 6
REGISTERS = (
    TOTAL,
    *(f"{TOTAL}_t{rate}" for rate in range(1, RATES + 1)),
    EXPORT,
    *(f"{EXPORT}_t{rate}" for rate in range(1, RATES + 1)),
    *REACTIVE,
    DEMAND,
)
"""What bills are made of, as far as a model has it."""


class Midnight:
    """The daily readings of all meters that keep none."""

    def __init__(
        self,
        meters: Sequence[MeterConfig],
        stored: Readings,
        books: Books,
        recorder: Recorder,
        kept: Callable[[str, date], None],
        loaded: Callable[[str, date], bool],
    ) -> None:
        """``kept`` is told of each stored reading, in its transaction; ``loaded`` knows whether
        power was drawn on a day.
        """
        self._meters = {
            meter.asset: meter
            for meter in meters
            if not meter.profile.freezes and TOTAL in meter.profile.points
        }
        self._limits: dict[str, Limits] = {}
        self._stored = stored
        self._books = books
        self._recorder = recorder
        self._kept = kept
        self._loaded = loaded
        self._settled: dict[str, date] = {}
        """The last day of each meter that needs no reading any more."""
        self._doubts: dict[str, dict[str, Seen]] = {}
        self._day: date | None = None

    def due(self, wall: float) -> list[str]:
        """Whose reading of the day that has just ended is missing."""
        today = self._books.day_of(wall)
        day = today - timedelta(days=1)
        if day != self._day:
            self._day = day
            known = self._stored.held(day).keys() | self._stored.gaps(day).keys()
            self._settled |= dict.fromkeys(known & self._meters.keys(), day)
            self._doubts.clear()
        open_ = [meter for meter in self._meters if self._settled.get(meter) != day]
        if wall < begin_of(today, self._books.zone) + WINDOW_S:
            return open_
        for meter in open_:
            self._settled[meter] = day
            reason = "the meter keeps no freezes, and nobody read it after midnight"
            gap = Gap(meter=meter, day=day, kind="absent", reason=reason, at=wall)
            self._recorder.later(
                partial(self._keep, meter, gap.day, partial(self._stored.add_gap, gap))
            )
        return []

    def begin(self, meter: MeterConfig) -> Plan:
        """All that bills are made of."""
        points = [name for name in REGISTERS if name in meter.profile.points]
        return meter.profile.plan(meter.address, points)

    def take(self, meter: MeterConfig, answers: Sequence[Answer], wall: float) -> Plan | None:
        """Store the registers as the day's freeze, if they can be believed."""
        asset, zone = meter.asset, self._books.zone
        day = self._books.day_of(wall) - timedelta(days=1)
        values = {
            name: value
            for one in answers
            for name, value in (one.values or {}).items()
            if value.quality is base.Quality.GOOD
        }
        if any(one.values is None and not one.outcome.permanent for one in answers):
            return None
        taken = max((one.outcome.taken_at for one in answers), default=0.0)
        late_s = taken - end_of(day, zone)
        if TOTAL not in values or not 0 <= late_s <= WINDOW_S or self._settled.get(asset) == day:
            return None
        registers = {n: one.amount for n, one in values.items() if isinstance(one.amount, int)}
        problem = self._problem(meter, registers, day, taken)
        if problem is None:
            return self.begin(meter)
        self._accept(meter, day, values, registers, taken, problem)
        return ()

    def _problem(
        self, meter: MeterConfig, registers: dict[str, int], day: date, taken: float
    ) -> str | None:
        """What is wrong with registers that must be taken as they are; empty: nothing; None: they
        are to be read again.
        """
        limits = self._limits.setdefault(meter.asset, limits_of(meter))
        beside = [
            (frozen, self._stored.values(meter.asset, other))
            for other, frozen in self._stored.neighbours(meter.asset, day)
        ]
        problem = doubtful(registers, taken, beside, limits)
        if not problem and beside:
            return ""
        seen = {name: Seen(amount, taken) for name, amount in registers.items()}
        before = self._doubts.get(meter.asset, {})
        self._doubts[meter.asset] = seen
        agrees = before.keys() == seen.keys() and not any(
            impossible(name, one, before[name], limits) for name, one in seen.items()
        )
        return problem if agrees else None

    def _accept(
        self,
        meter: MeterConfig,
        day: date,
        values: dict[str, Value],
        registers: dict[str, int],
        taken: float,
        problem: str,
    ) -> None:
        end = end_of(day, self._books.zone)
        quality: Quality = "suspect" if problem else "good"
        live = f"taken live, {taken - end:.0f} s after midnight"
        freeze = Freeze(
            meter=meter.asset,
            day=day,
            frozen=end,
            taken=taken,
            clock=self._recorder.stamp()[1],
            quality=quality,
            reason=f"{problem}; {live}" if problem else live,
            loaded=self._loaded(meter.asset, day),
            values=registers,
        )
        self._settled[meter.asset] = day
        self._doubts.pop(meter.asset, None)
        write = partial(self._stored.add, freeze)
        self._recorder.later(partial(self._keep, meter.asset, day, write))
        self._recorder.reading(
            readings.Reading(
                meter=meter.asset,
                address=meter.address,
                line=meter.line,
                taken=contract.instant(taken),
                clock=freeze.clock,
                values={name: value.text() or "" for name, value in values.items()},
                frozen=readings.Frozen(
                    day=day.isoformat(),
                    at=contract.instant(end),
                    quality=quality,
                    reason=freeze.reason[:500],
                ),
            )
        )
        if problem:
            detail = f"{day.isoformat()}: {freeze.reason}"
            self._recorder.event("freeze_suspect", meter.asset, detail=detail)

    def _keep(self, meter: str, day: date, write: Callable[[], None]) -> None:
        write()
        self._kept(meter, day)
