"""The late penalty (电费违约金) on bills that are paid after they were due.

Counted from the day after the due day to the day of payment, both inclusive.  Days after the end of
the year in which the bill was due cost more, for all but homes.

Source: supply business rules (供电营业规则) of 1996, article 98: homes 1 per mille a day; others 2
per mille, and 3 for what crosses the year; at least 1 yuan in all.  The rules of 2024 may differ,
so the rates are arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from gateway.prepayment.money import FEN_E4, YUAN_E4, divide


@dataclass(frozen=True, slots=True, kw_only=True)
class PenaltyRates:
    """What a day costs, in 1/10,000 of what is owed."""

    this_year_e4: int
    later_years_e4: int
    minimum_e4: int = YUAN_E4
    """Of all bills together, in 1/10,000 yuan."""


HOME = PenaltyRates(this_year_e4=10, later_years_e4=10)
OTHER = PenaltyRates(this_year_e4=20, later_years_e4=30)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A bill that was not paid in time."""

    amount_e4: int
    due: date


def penalty_e4(bills: Sequence[Overdue], paid: date, rates: PenaltyRates) -> int:
    """The penalty for ``bills`` that are all paid on ``paid``, in 1/10,000 yuan, to the fen."""
    parts = 0
    late = [bill for bill in bills if bill.due < paid]
    for bill in late:
        year_end = date(bill.due.year, 12, 31)
        this_year_days = (min(paid, year_end) - bill.due).days
        later_days = max(0, (paid - year_end).days)
        per_bill = this_year_days * rates.this_year_e4 + later_days * rates.later_years_e4
        parts += bill.amount_e4 * per_bill
    if not late:
        return 0
    return max(divide(parts, 10_000 * FEN_E4) * FEN_E4, rates.minimum_e4)
