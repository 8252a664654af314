"""How long the balance will last (预计可用天数), and what must be paid for some days more.

From the charges of the last 7 and of the last 30 days, whichever promises less: a cold week counts
at once, one mild week does not hide a cold month.  Integers and exact fractions only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import ceil

from gateway.prepayment.money import FEN_E4

SHORT_DAYS = 7
LONG_DAYS = 30


@dataclass(frozen=True, slots=True)
class Charged:
    """What one charge took, over the days it is for."""

    after: date
    """It is for the days after this one ..."""
    to: date
    """... up to this one."""
    amount_e4: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """How it goes on if the customer goes on like this."""

    daily_e4: int
    """What a day costs, rounded up."""
    days_left: int | None
    """Whole days until nothing is left; None: it does not become less."""
    reserve_e4: int
    """What must be paid so that it lasts for the reserve's days; 0: it does."""


def forecast(balance_e4: int, charges: Sequence[Charged], reserve_days: int) -> Forecast | None:
    """How long ``balance_e4`` lasts, and what is missing for ``reserve_days``.

    ``charges`` are those of at least the last 30 days that were charged, as far as there are any.
    None: the history is shorter than 7 days, nothing can be said.
    """
    if not charges:
        return None
    last = max(one.to for one in charges)
    history_days = (last - min(one.after for one in charges)).days
    if history_days < SHORT_DAYS:
        return None
    long_days = min(LONG_DAYS, history_days)
    daily = max(_mean(charges, last, SHORT_DAYS), _mean(charges, last, long_days))
    if daily <= 0:
        return Forecast(0, None, 0)
    missing = daily * reserve_days - balance_e4
    reserve_e4 = ceil(missing / FEN_E4) * FEN_E4 if missing > 0 else 0
    return Forecast(ceil(daily), max(0, int(balance_e4 / daily)), reserve_e4)


def _mean(charges: Sequence[Charged], last: date, days: int) -> Fraction:
    """What a day cost, of the ``days`` up to ``last``; a charge is spread evenly over its days."""
    first = last - timedelta(days=days)
    total = Fraction(0)
    for one in charges:
        inside = (one.to - max(one.after, first)).days
        if inside > 0:
            total += Fraction(one.amount_e4 * inside, (one.to - one.after).days)
    return total / days
