"""Periods of local days: settlement periods (结算周期), step periods (阶梯周期) and seasons.

A period is asked for a day and answers with its own first and last day, both inclusive.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

DAY = timedelta(days=1)
Span = tuple[date, date]
"""First and last day."""


class SeasonError(ValueError):
    """A text is no season."""


@dataclass(frozen=True, slots=True)
class Season:
    """The same days of every year, such as ``07-01..08-31``; it may cross the new year."""

    first: tuple[int, int]
    """Month and day."""
    last: tuple[int, int]

    def __contains__(self, day: date) -> bool:
        found = (day.month, day.day)
        if self.first <= self.last:
            return self.first <= found <= self.last
        return found >= self.first or found <= self.last

    def begin(self, year: int) -> date:
        """The first day of the season that begins in ``year``."""
        return _date(year, *self.first)

    def after(self, year: int) -> date:
        """The day after the season that ends in ``year``."""
        return _date(year, *self.last) + DAY

    def __str__(self) -> str:
        return "{:02d}-{:02d}..{:02d}-{:02d}".format(*self.first, *self.last)


def _date(year: int, month: int, day: int) -> date:
    # 29 February stands for the end of February.
    if (month, day) == (2, 29):
        return date(year, 3, 1) - DAY
    return date(year, month, day)


def parse_season(text: str) -> Season:
    """The season in ``text``, such as ``"07-01..08-31"``.  Raises SeasonError."""
    first, dots, last = text.partition("..")
    try:
        # A leap year, so that 02-29 is a day.
        ends = [date.fromisoformat(f"2024-{end}") for end in (first, last)]
    except ValueError:
        ends = []
    if not dots or len(text) != 12 or not ends:
        raise SeasonError(f'{text[:40]!r} is no season; write the days like "07-01..08-31"')
    return Season((ends[0].month, ends[0].day), (ends[1].month, ends[1].day))


def edges(seasons: tuple[Season, ...], year: int) -> Iterator[date]:
    """The days around ``year`` on which one of the seasons begins or is just over."""
    for season in seasons:
        for near in (year - 1, year, year + 1):
            yield season.begin(near)
            yield season.after(near)


@dataclass(frozen=True, slots=True)
class Months:
    """Periods of ``months`` calendar months; 12 of them are a year that begins anywhere."""

    months: int = 1
    start_day: int = 1
    """1 to 28: each month has it."""
    start_month: int = 1
    """A month in which a period begins."""

    def span(self, day: date) -> Span:
        """The period ``day`` lies in."""
        month = day.year * 12 + day.month - 1 - (day.day < self.start_day)
        month -= (month - (self.start_month - 1)) % self.months
        return self._begin(month), self._begin(month + self.months) - DAY

    def _begin(self, month: int) -> date:
        return date(month // 12, month % 12 + 1, self.start_day)


@dataclass(frozen=True, slots=True)
class Days:
    """Periods of so many days, of which one begins on ``anchor``."""

    days: int
    anchor: date

    def span(self, day: date) -> Span:
        """The period ``day`` lies in."""
        first = day - timedelta(days=(day - self.anchor).days % self.days)
        return first, first + timedelta(days=self.days - 1)


@dataclass(frozen=True, slots=True)
class Seasons:
    """Periods that are seasons; together they make up the year."""

    seasons: tuple[Season, ...]

    def span(self, day: date) -> Span:
        """The period ``day`` lies in."""
        found = sorted(edges(self.seasons, day.year))
        return (
            max(edge for edge in found if edge <= day),
            min(edge for edge in found if edge > day) - DAY,
        )


Period = Months | Days | Seasons


def day_count(span: Span) -> int:
    """Days in a span."""
    return (span[1] - span[0]).days + 1
