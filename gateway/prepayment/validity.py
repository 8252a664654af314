"""Whether two readings of a meter may be charged, and what lies between them.

What is odd is never charged silently and never credited: it is kept out (quarantine) with a named
reason until later readings, a record of a meter swap or a person explain it.

Source: the journal's contract, table of odd readings; DL/T 645-2007 for the registers' digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

TOTAL = "energy_active_import"
CLOCK_RATES_S = 300
"""A meter's clock further off than this books energy under wrong rates ..."""
CLOCK_DAY_S = 86_400
"""... and than this under the wrong day."""


class Odd(StrEnum):
    """Why a reading is kept out."""

    NEGATIVE = "negative"  # a register fell, and did not roll over: cleared, or another meter
    IMPOSSIBLE = "impossible"  # more than the connection can carry
    JUMP = "jump"  # far more than usual (突增)
    RATES = "rates"  # the rates do not sum up to the total
    CLOCK = "clock"  # the meter's clock is off by more than a day
    MISSING = "missing"  # a register that the last reading had
    LONG = "long"  # too many days since the last reading for a machine to decide


class Flag(StrEnum):
    """What is worth knowing about a charge."""

    ROLLOVER = "rollover"
    SPAN = "span"  # more than one day: missing ones lie between
    JUMP = "jump"  # far more than usual, confirmed by the next reading or by a person
    DROP = "drop"  # far less than usual (突减)
    STUCK = "stuck"  # nothing counted while a load was seen
    CLOCK_OFF = "clock_off"  # rates by a wrong clock
    ESTIMATED = "estimated"
    RATES_REFUSED = "rates_refused"  # the meter's time table is not the tariff's
    TARIFF_EXPIRED = "tariff_expired"
    UNPRICED = "unpriced"  # no tariff, or one that prices what the meter does not count
    RULED = "ruled"  # a person accepted it


PROVISIONAL = frozenset(
    (
        Flag.CLOCK_OFF,
        Flag.ESTIMATED,
        Flag.RATES_REFUSED,
        Flag.TARIFF_EXPIRED,
        Flag.STUCK,
        Flag.UNPRICED,
    )
)
"""Charged for the time being; nobody is disconnected for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What is possible at one meter, in primary values."""

    capacity_wh: int
    """The register starts again at zero here: 1,000,000 kWh x ratio for six digits; 0: unknown."""
    step_wh: int
    """One step of its registers: 10 Wh x ratio for two decimals."""
    max_kw: int


ANY_METER = Meter(capacity_wh=0, step_wh=1_000_000, max_kw=1_000_000)
"""Nothing is known of it: nothing but a fall is impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """How much is suspicious."""

    jump_times: int
    """So many times the usual day is far more."""
    jump_floor_wh: int
    """Less than this a day is never far more: a weekend house comes to life."""
    days_max: int
    """A longer stretch without readings is for a person to decide."""


ANYTHING = Usual(jump_times=1, jump_floor_wh=2**62, days_max=2**31)
"""Nothing is suspicious: for charges that stand already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a meter showed at a day's end, or is ruled to have shown."""

    registers: Mapping[str, int]
    """By point, in steps of the point's resolution: Wh for kWh points."""
    clock_offset_s: int = 0
    """How far the meter's clock was ahead of ours, as far as it is known."""
    estimated: bool = False
    ruled: bool = False
    """A person has accepted it: only a fall still keeps it out."""
    load_seen: bool = False
    """Power was drawn that day, by what was polled."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What lies between two readings."""

    used: Mapping[str, int]
    """By register, never negative."""
    flags: frozenset[Flag]


@dataclass(frozen=True, slots=True)
class Kept:
    """Why it is kept out."""

    odd: Odd
    text: str


def judge(
    before: Mapping[str, int],
    after: Shown,
    days: int,
    meter: Meter,
    usual: Usual,
    usual_day_wh: int | None,
) -> Judged | Kept:
    """What was used in ``days`` between two readings of one meter, or why nobody can say.

    ``usual_day_wh`` is what this account uses on a day; None: too young to say.
    """
    most_wh = meter.max_kw * 1000 * 24 * days
    grown = _grown(before, after.registers, meter, most_wh)
    if isinstance(grown, Kept):
        return grown
    used, flags = grown
    kept = (
        _untimely(days, after, usual)
        or _too_much(used, days, most_wh, after, usual, usual_day_wh)
        or _unbalanced(used, meter)
    )
    if kept:
        return kept
    return Judged(used, flags | _flags(used, days, after, usual, usual_day_wh))


def _grown(
    before: Mapping[str, int], after: Mapping[str, int], meter: Meter, most_wh: int
) -> tuple[dict[str, int], frozenset[Flag]] | Kept:
    """How far each energy register grew.  Highest demands are no differences: left out."""
    used: dict[str, int] = {}
    flags = set()
    for name, start in before.items():
        if not name.startswith("energy_"):
            continue
        if name not in after:
            return Kept(Odd.MISSING, f"{name} is not in this reading")
        grown = after[name] - start
        if grown < 0:
            grown += meter.capacity_wh
            # Within reach of the top, and not far beyond zero since.
            if not meter.capacity_wh or not 0 <= grown <= most_wh:
                fell = f"{name} fell from {start} to {after[name]}"
                return Kept(Odd.NEGATIVE, f"{fell}; record a meter swap, or correct it")
            flags.add(Flag.ROLLOVER)
        used[name] = grown
    return used, frozenset(flags)


def _untimely(days: int, after: Shown, usual: Usual) -> Kept | None:
    if after.ruled:
        return None
    if days > usual.days_max:
        return Kept(Odd.LONG, f"{days} days since the last reading; a person must confirm it")
    if abs(after.clock_offset_s) > CLOCK_DAY_S:
        return Kept(Odd.CLOCK, f"the meter's clock is off by {after.clock_offset_s:+d} s")
    return None


def _too_much(
    used: Mapping[str, int],
    days: int,
    most_wh: int,
    after: Shown,
    usual: Usual,
    usual_day_wh: int | None,
) -> Kept | None:
    total = used.get(TOTAL, 0)
    if after.ruled:
        return None
    for name, grown in used.items():
        if grown > most_wh:
            return Kept(Odd.IMPOSSIBLE, f"{name} grew by {grown} in {days} d, at most {most_wh}")
    if usual_day_wh is not None and total > _jump_wh(days, usual, usual_day_wh):
        text = f"{total} Wh in {days} d, usual are {usual_day_wh} a day"
        return Kept(Odd.JUMP, text)
    return None


def _jump_wh(days: int, usual: Usual, usual_day_wh: int) -> int:
    return days * max(usual.jump_floor_wh, usual.jump_times * usual_day_wh)


def _unbalanced(used: Mapping[str, int], meter: Meter) -> Kept | None:
    """Old meters lose a step in each rate over the years, so differences are compared."""
    rates = [grown for name, grown in used.items() if name.startswith(TOTAL + "_t")]
    if not rates or TOTAL not in used:
        return None
    skew = used[TOTAL] - sum(rates)
    if abs(skew) <= meter.step_wh * (len(rates) + 1):
        return None
    return Kept(Odd.RATES, f"the rates sum up to {sum(rates)} Wh, the total says {used[TOTAL]}")


def _flags(
    used: Mapping[str, int],
    days: int,
    after: Shown,
    usual: Usual,
    usual_day_wh: int | None,
) -> set[Flag]:
    total = used.get(TOTAL, 0)
    flags = {Flag.SPAN} if days > 1 else set()
    if after.ruled:
        flags.add(Flag.RULED)
    if after.estimated:
        flags.add(Flag.ESTIMATED)
    if abs(after.clock_offset_s) > CLOCK_RATES_S:
        flags.add(Flag.CLOCK_OFF)
    if total == 0 and after.load_seen:
        flags.add(Flag.STUCK)
    elif usual_day_wh is not None and total * usual.jump_times < usual_day_wh * days:
        flags.add(Flag.DROP)
    return flags
