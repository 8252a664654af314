"""Steps (阶梯): the limits of a tariff's steps, and which of them hold for whom and when.

Limits count the energy of a *step period*, which is often longer than the settlement period: a
year of limits and bills by the month, or by the week.  Where limits change within a step period
the change is prospective (剩余电量指标): what was left of a step grows or shrinks by the difference
of the limits, and bills already made stay.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from gateway.prepayment.money import divide
from gateway.prepayment.periods import (
    Months,
    Period,
    Season,
    Span,
    day_count,
)
from gateway.prepayment.usage import Usage, UsageError

Bounds = tuple[int, ...]
"""Upper limits in Wh, ascending; the last step has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The limits of a tariff's steps."""

    period: Period
    bounds: Bounds
    by_season: tuple[tuple[tuple[Season, ...], Bounds], ...] = ()
    """Other limits for the step periods whose first day lies in these seasons."""
    changes: tuple[tuple[date, Bounds], ...] = ()
    """Other limits from these days on, ascending."""
    scale_days: int | None = None
    """The limits are for so many days and grow with the days of the settlement period."""
    proration: Literal["none", "months", "days"] = "none"
    """By what the limits shrink for an account that did not exist from the first day on."""

    @property
    def count(self) -> int:
        """How many steps there are."""
        return len(self.bounds) + 1

    @property
    def dated(self) -> bool:
        """Whether a usage has to say its day."""
        return bool(self.by_season or self.changes)

    def bounds_on(self, day: date) -> Bounds:
        """The limits that hold on ``day`` for an account of the whole period, in Wh."""
        for since, bounds in reversed(self.changes):
            if since <= day:
                return bounds
        if self.by_season:
            first = self.period.span(day)[0]
            for seasons, bounds in self.by_season:
                if any(first in season for season in seasons):
                    return bounds
        return self.bounds

    def bounds_wh(self, usage: Usage) -> Bounds:
        """The limits for this usage, in Wh.  Raises UsageError if it has to say its day."""
        bounds = self.bounds
        if self.dated:
            if usage.day is None:
                raise UsageError("day: missing; the step limits of this tariff depend on it")
            bounds = self.bounds_on(usage.day)
        num, den = usage.step_share
        if self.scale_days is not None:
            num, den = num * usage.period_days, den * self.scale_days
        return bounds if num == den else tuple(divide(bound * num, den) for bound in bounds)

    def share(self, span: Span, opened: date) -> tuple[int, int]:
        """Which part of the limits an account has that was opened within the step period."""
        if self.proration == "none" or opened <= span[0]:
            return (1, 1)
        if self.proration == "days" or not isinstance(self.period, Months):
            return day_count((opened, span[1])), day_count(span)
        # The period may begin in mid-month; what counts is which of its months is running.
        running = Months(1, self.period.start_day).span(opened)[0]
        passed = (running.year - span[0].year) * 12 + running.month - span[0].month
        return self.period.months - passed, self.period.months
