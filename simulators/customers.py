"""Customers of a prepaid area, by the day: what they use, what their meters show, what gets lost.

No line and no frame is simulated, so three years of two hundred customers are made in seconds.  The
customer knows the truth: each day's use by rate, what each meter showed at each day's end, and
which of it the gateway will ever be able to read.

    fate of a day    what the gateway gets
    good             the registers, perhaps late, perhaps of a display that stood still for days
    off              the same, by a meter whose clock is minutes to hours off
    absent           the meter says that it has none
    silent           nothing, for ever
    corrupt          registers that cannot be, once; some a person puts right later
    astray           registers, but the meter lives in another week

Amounts are Wh, primary values.  Meters show six digits of kWh with two decimals, times their ratio,
and begin again at 0.

Not supported: demand, reactive energy, a customer with several meters at a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from random import Random

TOTAL = "energy_active_import"
EXPORT = "energy_active_export"
STEP_WH = 10
CAPACITY_WH = 1_000_000_000
RATES = 4
DAY = timedelta(days=1)
WORKSHOP_RATIO = 20
"""A workshop's meter sits behind current transformers."""
QUIET_DAYS = 20
"""At the end nothing goes wrong any more, so that all that is late has come."""
CALM_DAYS = 90
CLEARED_WH = 10_000_000
"""A register above this that shows 0 has not begun again by itself."""
_SWAP_EVERY_DAYS = 700
"""About so often a meter is replaced."""


class Kind(StrEnum):
    """What sort of customer it is."""

    HOME = "home"
    PV_HOME = "pv_home"  # with a plant on the roof that feeds the grid
    SHOP = "shop"
    WORKSHOP = "workshop"
    WEEKEND = "weekend"  # a house for weekends


class Fate(StrEnum):
    """What becomes of a day's freeze."""

    GOOD = "good"
    OFF = "off"
    ABSENT = "absent"
    SILENT = "silent"
    CORRUPT = "corrupt"
    ASTRAY = "astray"


_DAILY_KWH = {
    Kind.HOME: (5, 15),
    Kind.PV_HOME: (4, 10),
    Kind.SHOP: (25, 60),
    Kind.WORKSHOP: (80, 250),
    Kind.WEEKEND: (8, 16),
}
_SHARES = {
    Kind.HOME: (0, 65, 0, 35),
    Kind.PV_HOME: (0, 40, 0, 60),
    Kind.SHOP: (20, 45, 25, 10),
    Kind.WORKSHOP: (15, 35, 45, 5),
    Kind.WEEKEND: (0, 55, 0, 45),
}
"""Percent by rate: sharp, peak, flat, valley.  Meters of homes have two rates."""
_KINDS = (Kind.HOME,) * 6 + (Kind.PV_HOME, Kind.SHOP, Kind.SHOP, Kind.WORKSHOP, Kind.WEEKEND)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A meter at a customer's."""

    meter: str
    since: date
    """It counts from this day's end on."""
    start: Mapping[str, int]
    until: date | None = None
    """It counted up to this day's end."""
    final: Mapping[str, int] | None = None
    told_days: int = 0
    """The head-end hears of it so long after it was fitted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One day of one meter, as it comes to the gateway."""

    meter: str
    day: date
    fate: Fate
    shown: Mapping[str, int]
    """What the meter shows at the day's end by its own clock."""
    read: Mapping[str, int]
    """What is read of it; empty if there is none."""
    late_days: int = 0
    offset_s: int = 0
    ruled_days: int = 0
    """A person puts the registers right so long after; 0: nobody does."""

    @property
    def counts(self) -> bool:
        """Whether a charge can be made of it, in the end."""
        return self.fate in (Fate.GOOD, Fate.OFF) or self.ruled_days > 0


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What happens to a run of days."""

    fate: Fate
    late_days: int = 0
    offset_s: int = 0
    stuck: bool = False
    ruled_days: int = 0


_WELL = _Trouble(Fate.GOOD)


class Customer:
    """One customer.  ``days`` days from the one after ``start`` on are made from ``seed``.

    Between two spells of trouble lie three to ``calm_days`` days.
    """

    def __init__(
        self,
        seed: str,
        number: str,
        start: date,
        days: int,
        kind: Kind,
        *,
        calm_days: int = CALM_DAYS,
    ) -> None:
        self.number, self.kind, self.start, self.days = number, kind, start, days
        self.ratio = WORKSHOP_RATIO if kind is Kind.WORKSHOP else 1
        draw = Random(seed)
        low, high = _DAILY_KWH[kind]
        self.daily_wh = draw.randint(low * 1000, high * 1000)
        self._used = [self._use(draw, start + n * DAY) for n in range(1, days + 1)]
        self._trouble = [*_troubles(draw, days - QUIET_DAYS, calm_days), *[_WELL] * QUIET_DAYS]
        self.fitted = tuple(self._fit(draw))
        self.readings = tuple(self._read(draw))

    def used_wh(self, day: date) -> tuple[int, ...]:
        """The truth: what was used on a day by rate, and exported last."""
        return self._used[(day - self.start).days - 1]

    def _use(self, draw: Random, day: date) -> tuple[int, ...]:
        mean = self.daily_wh
        if day.month in (1, 2, 7, 8, 12):
            mean = mean * 13 // 10
        if self.kind in (Kind.SHOP, Kind.WORKSHOP) and day.weekday() == 6:
            mean //= 8
        if self.kind is Kind.WEEKEND and (day.weekday() < 5 or draw.random() < 0.4):
            mean = 300
        if self.kind in (Kind.HOME, Kind.PV_HOME) and draw.random() < 0.01:
            mean = 0  # nobody there, everything off
        used = [
            self._stepped(mean * share * draw.randint(60, 140) // 10_000)
            for share in _SHARES[self.kind]
        ]
        sun = self._stepped(draw.randint(2_000, 12_000))
        return (*used, sun if self.kind is Kind.PV_HOME else 0)

    def _stepped(self, wh: int) -> int:
        """As much of it as a meter shows."""
        return wh // (STEP_WH * self.ratio) * STEP_WH * self.ratio

    def _count(self, registers: dict[str, int], register: int, wh: int) -> None:
        """Count ``wh`` in a rate and the total, or as exported."""
        names = [f"{TOTAL}_t{register + 1}", TOTAL] if register < RATES else [EXPORT]
        for name in names:
            if name in registers:
                registers[name] = (registers[name] + wh) % (CAPACITY_WH * self.ratio)

    # --- meters -----------------------------------------------------------------------------------

    def _fit(self, draw: Random) -> Iterator[Fitted]:
        """The meters, one after the other."""
        since, n = self.start, 0
        registers = self._first(draw)
        while True:
            length = round(draw.expovariate(1 / _SWAP_EVERY_DAYS)) + 20
            told_days = 0 if n == 0 else draw.choice((0, 0, 1, 3, 9))
            meter = f"{self.number}M{n}"
            one = Fitted(meter, since, registers, told_days=told_days)
            until = since + timedelta(days=length)
            if until > self.start + timedelta(days=self.days - QUIET_DAYS):
                yield one
                return
            final = self._grown(one, until)
            yield replace(one, until=until, final=final)
            since, n = until, n + 1
            registers = dict.fromkeys(registers, 0)

    def _first(self, draw: Random) -> dict[str, int]:
        """The registers of the first meter: some are about to begin again at zero."""
        rates = [self._stepped(draw.randint(10_000_000, 50_000_000)) for _ in range(RATES)]
        if draw.random() < 0.1:
            near = CAPACITY_WH * self.ratio - self._stepped(draw.randint(10_000, 2_000_000))
            rates[1] = near - rates[0] - rates[2] - rates[3]
        registers = {TOTAL: sum(rates)}
        registers |= {f"{TOTAL}_t{n}": wh for n, wh in enumerate(rates, 1)}
        if self.kind is Kind.PV_HOME:
            registers[EXPORT] = draw.randint(0, 10_000_000) // STEP_WH * STEP_WH
        return registers

    def _grown(self, meter: Fitted, day: date) -> dict[str, int]:
        """What a meter shows at a day's end."""
        registers = dict(meter.start)
        first, last = (meter.since - self.start).days, (day - self.start).days
        for n, part in enumerate(zip(*self._used[first:last], strict=True)):
            self._count(registers, n, sum(part))
        return registers

    # --- readings ---------------------------------------------------------------------------------

    def _read(self, draw: Random) -> Iterator[Reading]:
        for meter in self.fitted:
            registers = dict(meter.start)
            held = dict(registers)
            first = (meter.since - self.start).days
            last = (meter.until - self.start).days if meter.until else self.days
            for n in range(first, last):
                for register, wh in enumerate(self._used[n]):
                    self._count(registers, register, wh)
                trouble = self._trouble[n]
                if not trouble.stuck:
                    held = dict(registers)
                day = self.start + (n + 1) * DAY
                if day != meter.until:
                    yield self._reading(draw, meter.meter, day, trouble, held)

    def _reading(
        self, draw: Random, meter: str, day: date, trouble: _Trouble, registers: Mapping[str, int]
    ) -> Reading:
        shown = dict(registers)
        if trouble.fate is Fate.OFF:
            shown = self._early(shown, day, trouble.offset_s)
        read: Mapping[str, int] = shown
        if trouble.fate in (Fate.ABSENT, Fate.SILENT):
            read = {}
        elif trouble.fate is Fate.CORRUPT:
            read = _corrupt(draw, shown)
        elif trouble.fate is Fate.ASTRAY:
            read = self._early(dict(shown), day, 43_200)
        return Reading(
            meter=meter,
            day=day,
            fate=trouble.fate,
            shown=shown,
            read=read,
            late_days=trouble.late_days,
            offset_s=trouble.offset_s,
            ruled_days=trouble.ruled_days,
        )

    def _early(self, shown: dict[str, int], day: date, offset_s: int) -> dict[str, int]:
        """The registers of a meter whose clock is ahead: the end of its day is still in ours."""
        for register, wh in enumerate(self.used_wh(day)):
            self._count(shown, register, -self._stepped(wh * offset_s // 86_400))
        return shown


def customers(
    seed: int, count: int, start: date, days: int, *, calm_days: int = CALM_DAYS
) -> list[Customer]:
    """So many customers, the same for the same seed."""
    draw = Random(f"{seed}/customers")
    found = []
    for n in range(count):
        # Some move in only later.
        empty = draw.randint(1, min(60, days // 4)) if draw.random() < 0.2 else 0
        since = start + timedelta(days=empty)
        kind = draw.choice(_KINDS)
        name, number = f"{seed}/{n}", f"{1000 + n}"
        found.append(Customer(name, number, since, days - empty, kind, calm_days=calm_days))
    return found


def _corrupt(draw: Random, shown: Mapping[str, int]) -> dict[str, int]:
    """Registers as bit errors leave them that no checksum caught: they cannot continue."""
    found = dict(shown)
    how = draw.randrange(3)
    if how == 0 and shown[TOTAL] > CLEARED_WH:
        return dict.fromkeys(found, 0)
    name = f"{TOTAL}_t{draw.randint(1, RATES)}" if how == 1 else TOTAL
    found[name] ^= 1 << 28
    return found


def _troubles(draw: Random, days: int, calm_days: int) -> Iterator[_Trouble]:
    """What happens to each day: mostly nothing."""
    n = 0
    while n < days:
        run = [_WELL] * min(days - n, draw.randint(3, calm_days))
        yield from run
        n += len(run)
        for trouble in _run(draw):
            if n < days:
                yield trouble
                n += 1


def _run(draw: Random) -> list[_Trouble]:
    """One spell of trouble."""
    length = draw.choice((1, 1, 1, 2, 3, 7))
    late_days, together = draw.randint(1, 12), draw.random() < 0.5
    weeks = draw.choice((-1, 1)) * draw.randint(1, 50)
    spells = (
        [_Trouble(Fate.ABSENT)] * length,
        [_Trouble(Fate.SILENT)] * length,
        # The line was down: all come when it is up again, or each so late.
        [
            _Trouble(Fate.GOOD, late_days=late_days + (length - n if together else 0))
            for n in range(length)
        ],
        [_Trouble(Fate.CORRUPT, ruled_days=draw.choice((0, 0, 1, 6, 40)))],
        [_Trouble(Fate.GOOD, stuck=True)] * length,
        [_Trouble(Fate.OFF, offset_s=draw.randint(60, 10_000))] * (3 * length),
        [_Trouble(Fate.ASTRAY, offset_s=weeks * 7 * 86_400)] * length,
    )
    return draw.choice(spells)
