from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.friendly import (
    Calendar,
    CalendarError,
    Days,
    Hours,
    Weather,
    next_free,
    protected,
    protected_within,
)

ZONE = ZoneInfo("Asia/Shanghai")
HOUR = 3600
CALENDAR = Calendar(
    version="2026-1",
    zone=ZONE,
    first=date(2026, 1, 1),
    last=date(2026, 12, 31),
    hours=(Hours(begin_minute=17 * 60, end_minute=9 * 60),),
    working_days=frozenset((date(2026, 10, 10),)),
    days=(Days(first=date(2026, 10, 1), last=date(2026, 10, 7), reason="national day"),),
)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        ("2026-10-13 12:00", ""),  # a Tuesday
        ("2026-10-13 08:59:59", "night"),
        ("2026-10-13 09:00", ""),
        ("2026-10-13 17:00", "night"),
        ("2026-10-17 12:00", "weekend"),
        ("2026-10-10 12:00", ""),  # a Saturday that is worked
        ("2026-10-06 12:00", "national day"),
    ],
)
def test_what_is_protected(moment: str, reason: str) -> None:
    assert protected(at(moment), CALENDAR) == reason


def test_a_missing_or_expired_calendar_counts_as_protected() -> None:
    assert protected(at("2026-10-13 12:00"), None) == "no calendar is loaded"
    assert "valid from 2026-01-01" in protected(at("2027-01-04 12:00"), CALENDAR)
    assert "valid from 2026-01-01" in protected(at("2025-12-31 12:00"), CALENDAR)
    assert "valid from" in protected(0.0, CALENDAR)


def test_a_window_that_begins_soon_counts() -> None:
    assert protected_within(at("2026-10-13 12:59"), 4 * HOUR, CALENDAR) == ""
    assert protected_within(at("2026-10-13 13:00"), 4 * HOUR, CALENDAR) == "night"


def test_the_weather_protects_until_it_is_stale() -> None:
    noon = at("2026-10-13 12:00")
    frost = replace(CALENDAR, weather=Weather(reason="frost", until=noon))

    assert protected(noon - 1, frost) == "frost"
    assert protected(noon, frost) == ""
    assert "weather" in protected(noon, replace(frost, weather_needed=True))
    assert "weather" in protected(noon, replace(CALENDAR, weather_needed=True))
    fair = Weather(reason="", until=noon + HOUR)
    assert protected(noon, replace(CALENDAR, weather=fair, weather_needed=True)) == ""


def test_the_next_free_moment_is_after_the_holidays() -> None:
    assert next_free(at("2026-09-30 16:00"), 4 * HOUR, CALENDAR) == at("2026-10-08 09:00")
    assert next_free(at("2026-10-13 12:00"), 4 * HOUR, CALENDAR) == at("2026-10-13 12:00")
    assert next_free(at("2026-12-31 18:00"), 4 * HOUR, CALENDAR) is None
    assert next_free(at("2026-10-13 12:00"), 9 * HOUR, CALENDAR) is None


@given(
    minutes=st.integers(0, 60 * 24 * 40),
    ahead=st.integers(0, 60 * 30),
)
def test_within_is_the_same_as_looking_at_every_minute(minutes: int, ahead: int) -> None:
    begin = at("2026-09-20 00:00") + minutes * 60
    looked = any(protected(begin + n * 60, CALENDAR) for n in range(ahead + 1))

    assert bool(protected_within(begin, ahead * 60, CALENDAR)) == looked


@given(st.integers(0, 60 * 24 * 40), st.sampled_from([0, HOUR, 4 * HOUR]))
def test_the_next_free_moment_is_free_and_none_before_it_is(minutes: int, lead_s: int) -> None:
    begin = at("2026-09-20 00:00") + minutes * 60
    free = next_free(begin, lead_s, CALENDAR)

    assert free is not None
    assert protected_within(free, lead_s, CALENDAR) == ""
    assert free == begin or all(
        protected_within(begin + n * 60, lead_s, CALENDAR)
        for n in range(int(free - begin) // 60)
        if n % 7 == 0
    )


def test_a_window_lasts_by_the_clock_on_the_wall() -> None:
    zone = ZoneInfo("Europe/Berlin")  # on 2026-03-29 the clocks go from 02:00 to 03:00
    night = Hours(begin_minute=0, end_minute=6 * 60)
    calendar = replace(CALENDAR, zone=zone, hours=(night,), weekend=frozenset())
    six = datetime(2026, 3, 29, 6, tzinfo=zone)

    assert protected((six - timedelta(minutes=1)).timestamp(), calendar) == "night"
    assert protected(six.timestamp(), calendar) == ""


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(CalendarError, match="begin_minute: found 1500"):
        Hours(begin_minute=1500, end_minute=0)
    with pytest.raises(CalendarError, match="Monday is 0"):
        Hours(begin_minute=0, end_minute=1, weekdays=frozenset((7,)))
    with pytest.raises(CalendarError, match="before 2026-01-02"):
        Days(first=date(2026, 1, 2), last=date(2026, 1, 1), reason="x")
