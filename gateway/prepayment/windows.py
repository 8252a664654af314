"""Time-of-use windows (时段): which rate of a tariff holds at which minute of which day.

The meter counts by its own table; the tariff's windows are there to compare it with
(``meter_times.mismatches``), and to rate a load curve where the rate registers cannot be trusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from gateway.prepayment.periods import Season

DAY_MINUTES = 24 * 60
DayType = Literal["weekday", "weekend", "holiday"]


class CurveError(ValueError):
    """A load curve cannot be rated by these windows."""


@dataclass(frozen=True, slots=True)
class Switch:
    """From this minute on, this rate holds."""

    minute: int
    """Minutes after local midnight."""
    rate: str


@dataclass(frozen=True, slots=True)
class DayTable:
    """The rates of the days to which it applies."""

    seasons: tuple[Season, ...]
    """All year if empty."""
    day_types: frozenset[DayType]
    dates: frozenset[date]
    """If not empty it applies to these days only, and before any other table."""
    switches: tuple[Switch, ...]
    """Ascending; the first is at midnight."""

    def applies(self, day: date, day_type: DayType) -> bool:
        """Whether it applies to ``day``."""
        if self.dates:
            return day in self.dates
        in_season = not self.seasons or any(day in season for season in self.seasons)
        return in_season and day_type in self.day_types

    def rate_at(self, minute: int) -> str:
        """The rate at a minute of the day."""
        return next(s.rate for s in reversed(self.switches) if s.minute <= minute)


@dataclass(frozen=True, slots=True)
class Windows:
    """All day tables of a tariff."""

    tables: tuple[DayTable, ...]
    """Those for named dates first."""
    holidays: frozenset[date]
    weekend: frozenset[int]
    """Days of the week, Monday is 0."""

    def day_type(self, day: date) -> DayType:
        """What kind of day it is."""
        if day in self.holidays:
            return "holiday"
        return "weekend" if day.weekday() in self.weekend else "weekday"

    def table(self, day: date) -> DayTable:
        """The rates of ``day``."""
        day_type = self.day_type(day)
        return next(table for table in self.tables if table.applies(day, day_type))


def rate_curve(windows: Windows, day: date, interval_wh: Sequence[int]) -> Mapping[str, int]:
    """The energy of a day by rate, in Wh, from its load curve of equal intervals.

    Raises CurveError if the curve is not a whole day, or an interval lies in two windows: energy
    that cannot be told apart is not guessed.
    """
    count = len(interval_wh)
    if not count or DAY_MINUTES % count:
        raise CurveError(
            f"{count} intervals are no whole day of equal intervals; give 24, 48 or 96"
        )
    table, interval = windows.table(day), DAY_MINUTES // count
    energy_wh: dict[str, int] = {}
    for switch in table.switches:
        if switch.minute % interval:
            at = clock(switch.minute)
            raise CurveError(
                f"{switch.rate} begins at {at}, within an interval; read a finer curve"
            )
    for n, wh in enumerate(interval_wh):
        rate = table.rate_at(n * interval)
        energy_wh[rate] = energy_wh.get(rate, 0) + wh
    return energy_wh


def clock(minute: int) -> str:
    """A minute of the day as people write it; the day ends at 24:00."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
