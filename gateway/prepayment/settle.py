"""From readings to charges.  Pure: readings, accounts and tariffs in, drafts of transactions out.

An account is charged from one accepted reading to the next.  What lies between is cut where the
price changes its footing: at the end of a settlement period, of a step period, and where another
version of the tariff or of the contract begins.  Each *segment* in between has one bill that grows
with every day, and a day is charged the difference of two such bills: so roundings cannot drift.

Where charging stands is a ``Position``; it is kept in every charge, so any charge can be derived
again from the one before it, the readings and the tariff's version, years later.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import zip_longest

from gateway.prepayment.account import Account, Metering
from gateway.prepayment.bill import bill
from gateway.prepayment.segment import Prices, Segment, contract_on, segment_of
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.usage import Usage, UsageError
from gateway.prepayment.validity import (
    ANY_METER,
    TOTAL,
    Flag,
    Judged,
    Kept,
    Meter,
    Odd,
    Shown,
    Usual,
    judge,
)

EXPORT = "energy_active_export"
REACTIVE = ("energy_reactive_import", "energy_reactive_export")
"""Both directions count, each by its absolute value."""
DEMAND = "power_active_import_demand_max"
DEMAND_STEPS_PER_W = 100
RATE = TOTAL + "_t"
ROUNDING = "rounding"
RECENT_DAYS = 14
"""So many days say what is usual; fewer than half of them do not."""
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the charging of an account stands."""

    day: date
    """It is charged up to this day's end."""
    segment: Segment | None = None
    used: Mapping[str, int] = field(default_factory=dict)
    """In the segment, by register (Wh)."""
    days: int = 0
    """Of the segment."""
    demand_w: int | None = None
    """Highest in the segment; None if no meter says."""
    step_before_wh: int = 0
    """Used in the step period before the segment, ..."""
    step_used_wh: tuple[int, ...] = ()
    """... and the same by step."""
    steps_wh: tuple[int, ...] = ()
    """Used in the segment, by step."""
    posted: Mapping[str, int] = field(default_factory=dict)
    """Charged in the segment, by category of the bill (1/10,000 yuan)."""
    unpriced_wh: int = 0
    """Used in the segment and not priced yet."""
    recent_wh: tuple[int, ...] = ()
    """What the last days took."""

    @property
    def usual_day_wh(self) -> int | None:
        """The mean of the last days; None while there are too few."""
        if len(self.recent_wh) < RECENT_DAYS // 2:
            return None
        return sum(self.recent_wh) // len(self.recent_wh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is charged for some days of one segment."""

    after: date
    to: date
    read: tuple[date, date]
    """The readings it comes from; between them the energy is spread by days."""
    used_wh: int
    unpriced_wh: int
    """Of it, what has no price yet; negative: earlier energy that has one now."""
    charged: Mapping[str, int]
    """By category (1/10,000 yuan); ``rounding`` is one of them."""
    flags: frozenset[Flag]
    position: Position
    """Where charging stands after it."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reading that is kept out."""

    meter: str
    day: date
    odd: Odd
    text: str


def pieces(total: int, days: int) -> Iterator[int]:
    """``total`` spread over days, in whole numbers that sum up to it."""
    for n in range(days):
        yield total * (n + 1) // days - total * n // days


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What charging looks up: all of it by value, so that it can be derived again.

    ``prices`` gives tariffs; ``shown`` what a meter showed at a day's end.
    """

    prices: Prices
    shown: Callable[[str, date], Shown | None]
    limits: Mapping[str, Meter]
    usual: Usual
    rates_refused: Callable[[str, date, date], bool] = lambda _meter, _after, _to: False
    """Whether the time table of a meter was not the tariff's on a day after one, up to another."""
    confirmed: frozenset[date] = frozenset()
    """Days whose reading is far above the usual and known to be real."""


def begin(account: Account) -> Position:
    """Where the charging of a new account stands."""
    return Position(day=min(one.since for one in account.meterings))


def advance(
    account: Account, position: Position, days: Sequence[date], books: Books
) -> tuple[list[Part], Position, list[Doubt]]:
    """Charge as far as the readings of ``days`` (ascending, after the position) allow.

    An odd reading is kept out; far too high a one is believed when the next continues it.
    """
    parts: list[Part] = []
    doubts: list[Doubt] = []
    for n, day in enumerate(days):
        found = between(account, position, day, books, sure=day in books.confirmed)
        if isinstance(found, Doubt) and found.odd is Odd.JUMP and n + 1 < len(days):
            sure = between(account, position, day, books, sure=True)
            if isinstance(sure, Judged):
                beyond = replace(position, day=day)
                later = between(account, beyond, days[n + 1], books, sure=True)
                found = sure if isinstance(later, Judged) else found
        if isinstance(found, Doubt):
            doubts.append(found)
            continue
        if found is None:
            continue
        new, position = charge(account, position, day, found, books)
        parts += new
    return parts, position, doubts


def between(
    account: Account, position: Position, to: date, books: Books, *, sure: bool = False
) -> Judged | Doubt | None:
    """What the account used since the position, up to the end of the day ``to``.

    None while a reading is missing.  ``sure``: a jump is known to be real.
    """
    used: Counter[str] = Counter()
    flags: set[Flag] = {Flag.JUMP} if sure else set()
    usual_wh = None if sure else position.usual_day_wh
    for one in account.meterings:
        if one.since >= to or (one.until and one.until <= position.day):
            continue
        first, last = max(one.since, position.day), min(one.until or to, to)
        before, after = _at(one, first, books), _at(one, last, books)
        if before is None or after is None:
            return None
        days = (last - first).days
        limits = books.limits.get(one.meter, ANY_METER)
        found = judge(before.registers, after, days, limits, books.usual, usual_wh)
        if isinstance(found, Kept):
            return Doubt(one.meter, to, found.odd, found.text)
        flags |= found.flags
        if books.rates_refused(one.meter, first, last):
            flags.add(Flag.RATES_REFUSED)
        for name, amount in found.used.items():
            used[name] += -amount if one.minus else amount
    if (to - position.day).days > 1:
        flags.add(Flag.SPAN)
    if less := [name for name, amount in used.items() if amount < 0]:
        text = f"the sub-meters counted more {less[0]} than the meter before them"
        return Doubt(account.meterings[0].meter, to, Odd.NEGATIVE, text)
    return Judged(dict(used), frozenset(flags))


def _at(metering: Metering, day: date, books: Books) -> Shown | None:
    if day == metering.since:
        return Shown(registers=metering.start)
    if day == metering.until:
        return Shown(registers=metering.final)
    return books.shown(metering.meter, day)


def charge(
    account: Account, position: Position, to: date, judged: Judged, books: Books
) -> tuple[list[Part], Position]:
    """Charge what was used since the position, segment by segment."""
    since, days = position.day, (to - position.day).days
    demand_w = _demand_w(account, to, books)
    parts: list[Part] = []
    n = 0
    while n < days:
        segment, tariff, flags = segment_of(account, since + (n + 1) * DAY, books.prices)
        end = n + 1
        while (
            end < days and segment_of(account, since + (end + 1) * DAY, books.prices)[0] == segment
        ):
            end += 1
        # As many of the pieces that it is spread in over the days.
        used = {name: wh * end // days - wh * n // days for name, wh in judged.used.items()}
        after, day = since + n * DAY, since + end * DAY
        if tariff and Flag.RATES_REFUSED in judged.flags:
            used = _at_flat_rate(used, tariff)
        position = _extended(position, segment, used, end - n, demand_w)
        before_wh = position.unpriced_wh
        recent_wh = _recent(position, used.get(TOTAL, 0), end - n)
        position, charged = _billed(account, position, tariff, day, recent_wh)
        if position.unpriced_wh:
            flags |= {Flag.UNPRICED}
        parts.append(
            Part(
                after=after,
                to=day,
                read=(since, to),
                used_wh=used.get(TOTAL, 0),
                unpriced_wh=position.unpriced_wh - before_wh,
                charged=charged,
                flags=judged.flags | flags,
                position=position,
            )
        )
        n = end
    return parts, position


def _recent(position: Position, used_wh: int, days: int) -> tuple[int, ...]:
    return (*position.recent_wh, *pieces(used_wh, days))[-RECENT_DAYS:]


def _demand_w(account: Account, to: date, books: Books) -> int | None:
    """The highest demand that the meters show: they keep the highest of the period themselves."""
    found = []
    for one in account.meterings:
        shown = None if one.minus or one.until else books.shown(one.meter, to)
        if shown and DEMAND in shown.registers:
            found.append(shown.registers[DEMAND] // DEMAND_STEPS_PER_W)
    return sum(found) if found else None


def _extended(
    position: Position,
    segment: Segment,
    used: Mapping[str, int],
    days: int,
    demand_w: int | None,
) -> Position:
    """The position with ``days`` more, in the same segment or at the beginning of a new one."""
    if segment == position.segment:
        total = dict(position.used)
        for name, amount in used.items():
            total[name] = total.get(name, 0) + amount
        highest = max(demand_w or 0, position.demand_w or 0)
        return replace(
            position,
            used=total,
            days=position.days + days,
            demand_w=None if demand_w is None else highest,
        )
    before_wh, steps_wh = 0, tuple[int, ...]()
    if position.segment and position.segment.step == segment.step:
        before_wh = position.step_before_wh + position.used.get(TOTAL, 0)
        steps_wh = _added(position.step_used_wh, position.steps_wh)
    return replace(
        position,
        segment=segment,
        used=dict(used),
        days=days,
        demand_w=demand_w,
        step_before_wh=before_wh,
        step_used_wh=steps_wh,
        steps_wh=(),
        posted={},
        unpriced_wh=0,
    )


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(sum, zip_longest(one, other, fillvalue=0)))


def _at_flat_rate(used: Mapping[str, int], tariff: Tariff) -> dict[str, int]:
    """The registers as if everything had been used at the flat rate (平), for the time being.

    A tariff without one is priced as the meter counted: too little is not given away for nothing.
    """
    flat = tariff.registers.get("flat")
    if flat is None:
        return dict(used)
    found = {name: 0 if name.startswith(RATE) else amount for name, amount in used.items()}
    found[f"{TOTAL}_{flat}"] = used.get(TOTAL, 0)
    return found


def _billed(
    account: Account,
    position: Position,
    tariff: Tariff | None,
    day: date,
    recent_wh: tuple[int, ...],
) -> tuple[Position, dict[str, int]]:
    """The bill of the segment up to ``day``, and what of it is not charged yet, by category.

    What cannot be priced stays in the position and is priced when it can be: the bill runs over the
    whole segment.
    """
    try:
        made = bill(tariff, usage_of(account, position, tariff, day)) if tariff else None
    except UsageError:
        # The meter does not count what the tariff prices: for a person to see to.
        made = None
    if made is None:
        unpriced_wh = position.used.get(TOTAL, 0)
        return replace(position, day=day, recent_wh=recent_wh, unpriced_wh=unpriced_wh), {}
    sums: Mapping[str, int] = made.by_category() | {ROUNDING: made.rounding_e4}
    new = {
        name: sums.get(name, 0) - position.posted.get(name, 0)
        for name in {**position.posted, **sums}
    }
    position = replace(
        position,
        day=day,
        recent_wh=recent_wh,
        posted={name: amount for name, amount in sums.items() if amount},
        steps_wh=made.step_wh,
        unpriced_wh=0,
    )
    return position, {name: amount for name, amount in new.items() if amount}


def usage_of(account: Account, position: Position, tariff: Tariff, day: date) -> Usage:
    """The segment of ``position`` up to ``day``, as the bill wants it."""
    used, contract = position.used, contract_on(account, day)
    first, last = tariff.settlement_period(day)
    return Usage(
        energy_wh=_by_register(used, TOTAL),
        reactive_varh=sum(used.get(name, 0) for name in REACTIVE),
        reverse_wh=_by_register(used, EXPORT) if EXPORT in used else {},
        demand_w=position.demand_w,
        contract_w=contract.demand_w or None,
        capacity=((contract.capacity_va, position.days),) if contract.capacity_va else (),
        days=position.days,
        period_days=(last - first).days + 1,
        day=day,
        step_before_wh=position.step_before_wh,
        step_used_wh=position.step_used_wh,
        step_share=tariff.step_share(account.opened, day),
    )


def _by_register(used: Mapping[str, int], total: str) -> dict[str, int]:
    """``energy_active_import_t1`` as ``t1``, the total as ``total``."""
    found = {}
    for name, amount in used.items():
        if name == total:
            found["total"] = amount
        elif name.startswith(total + "_t"):
            found[name[len(total) + 1 :]] = amount
    return found
