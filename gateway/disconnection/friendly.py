"""Friendly windows (保障时段): when nobody is disconnected, however empty the account.

Nights, weekends, holidays, special days (exams, a local feast) and bad weather are data.  The list
of days has a first and a last day: outside them nobody knows the holidays, and that counts as
protected; so does having no calendar at all.

Charging goes on inside a window; only disconnection waits.  A restore asks no calendar.

Not supported: seasons (write them as days), the eve of a holiday (list it as a day).

Source: GB SMETS2, non-disablement calendar; R13.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

DAY_MINUTES = 24 * 60
SEARCH_DAYS = 31
"""How far ahead a free moment is looked for."""


class CalendarError(ValueError):
    """A calendar cannot be used.  The message says what is wrong and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A stretch of the day that is protected."""

    begin_minute: int
    """Minutes after local midnight."""
    end_minute: int
    """The first minute after it; not after ``begin_minute``: on the next day."""
    weekdays: frozenset[int] = frozenset(range(7))
    """On which days it begins; Monday is 0."""
    reason: str = "night"

    def __post_init__(self) -> None:
        for name in ("begin_minute", "end_minute"):
            if not 0 <= getattr(self, name) <= DAY_MINUTES:
                found = getattr(self, name)
                raise CalendarError(f"{name}: found {found}; a day has minutes 0 to {DAY_MINUTES}")
        if not self.weekdays <= frozenset(range(7)):
            raise CalendarError(f"weekdays: found {sorted(self.weekdays)}; Monday is 0, Sunday 6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Whole days that are protected: a holiday or a special day."""

    first: date
    last: date
    reason: str

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise CalendarError(f"{self.reason}: it ends on {self.last}, before {self.first}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the head-end said of the weather last."""

    reason: str
    """Why supply must not be cut (frost, heat, typhoon); empty: nothing against it."""
    until: float
    """Up to when this may be believed, Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """All friendly windows of an area."""

    version: str
    """Recorded with every decision."""
    zone: tzinfo
    first: date
    last: date
    """The days for which ``days`` and ``working_days`` are complete."""
    hours: tuple[Hours, ...] = ()
    weekend: frozenset[int] = frozenset((5, 6))
    """Weekdays that are protected as a whole; Monday is 0."""
    working_days: frozenset[date] = frozenset()
    """Days of the weekend that are worked (调休): they are not protected as a whole."""
    days: tuple[Days, ...] = ()
    weather: Weather | None = None
    weather_needed: bool = False
    """A missing or stale word on the weather counts as protected."""


def protected(at: float, calendar: Calendar | None) -> str:
    """Why nobody is disconnected at the Unix time ``at``; empty: the calendar allows it."""
    return protected_within(at, 0, calendar)


def protected_within(at: float, seconds: float, calendar: Calendar | None) -> str:
    """The same for any moment from ``at`` up to ``seconds`` later, both included."""
    if calendar is None:
        return "no calendar is loaded"
    end = at + seconds
    if reason := _weather(at, end, calendar):
        return reason
    day = datetime.fromtimestamp(at, calendar.zone).date()
    last = datetime.fromtimestamp(end, calendar.zone).date()
    if not (calendar.first <= day and last <= calendar.last):
        return f"the calendar is valid from {calendar.first} to {calendar.last} only"
    day -= timedelta(days=1)  # its night may reach into the first day
    while day <= last:
        for begin, until, reason in _windows(day, calendar):
            if begin <= end and at < until:
                return reason
        day += timedelta(days=1)
    return ""


def next_free(at: float, seconds: float, calendar: Calendar | None) -> float | None:
    """The first moment from ``at`` on that is followed by ``seconds`` without a window.

    None if there is none in the next month, or nothing is known about it.
    """
    if calendar is None:
        return None
    today = datetime.fromtimestamp(at, calendar.zone).date()
    days = [today + timedelta(days=n) for n in range(-1, SEARCH_DAYS)]
    ends = {until for day in days for _, until, _ in _windows(day, calendar)}
    if calendar.weather and calendar.weather.reason:
        ends.add(calendar.weather.until)
    moments = sorted({at} | {end for end in ends if end > at})
    return next((one for one in moments if not protected_within(one, seconds, calendar)), None)


def _weather(at: float, end: float, calendar: Calendar) -> str:
    told = calendar.weather
    if told and told.reason and at < told.until:
        return told.reason
    if calendar.weather_needed and (told is None or end >= told.until):
        return "nothing recent is known about the weather"
    return ""


def _windows(day: date, calendar: Calendar) -> Iterator[tuple[float, float, str]]:
    """(begin, end, reason) of the windows that begin on ``day``, in Unix time."""
    for hours in calendar.hours:
        if day.weekday() in hours.weekdays:
            next_day = hours.end_minute <= hours.begin_minute
            end_minute = hours.end_minute + (DAY_MINUTES if next_day else 0)
            begin = _moment(day, hours.begin_minute, calendar.zone)
            yield begin, _moment(day, end_minute, calendar.zone), hours.reason
    whole = [days.reason for days in calendar.days if days.first <= day <= days.last]
    if day.weekday() in calendar.weekend and day not in calendar.working_days:
        whole.append("weekend")
    for reason in whole:
        yield (
            _moment(day, 0, calendar.zone),
            _moment(day, DAY_MINUTES, calendar.zone),
            reason,
        )


@lru_cache(maxsize=1024)
def _moment(day: date, minute: int, zone: tzinfo) -> float:
    """Minutes by the clock on the wall: where an hour is skipped, they are."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight + timedelta(minutes=minute)).timestamp()
