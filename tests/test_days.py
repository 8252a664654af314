"""Local days: midnight by the time zone, and which freeze is whose."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.acquisition.days import (
    begin_of,
    clock_offset_s,
    day_of,
    end_of,
    is_freeze_of,
    latest,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def unix(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_day_begins_at_local_midnight() -> None:
    assert begin_of(date(2026, 1, 2), SHANGHAI) == unix("2026-01-01 16:00")
    assert day_of(unix("2026-01-01 15:59:59"), SHANGHAI) == date(2026, 1, 1)
    assert day_of(unix("2026-01-01 16:00"), SHANGHAI) == date(2026, 1, 2)


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)]
)
def test_summer_time_makes_days_of_other_lengths(day: tuple[int, int, int], hours: int) -> None:
    length_s = end_of(date(*day), BERLIN) - begin_of(date(*day), BERLIN)

    assert length_s == hours * 3600


@pytest.mark.parametrize(
    ("at", "newest"),
    [
        ("2026-01-01 16:04:59", None),  # 00:04:59 local: meters are still freezing
        ("2026-01-01 16:05:00", date(2026, 1, 1)),
        ("2026-01-02 15:29:59", date(2026, 1, 1)),
        ("2026-01-02 15:30:00", None),  # 23:30: the answer may come after midnight
    ],
)
def test_around_midnight_nobody_knows_which_freeze_is_the_newest(
    at: str, newest: date | None
) -> None:
    assert latest(unix(at), SHANGHAI) == newest


@pytest.mark.parametrize(
    ("stamp", "good"),
    [
        ("2026-01-02 00:00", True),
        ("2026-01-02 00:05", True),
        ("2026-01-02 00:06", False),
        ("2026-01-01 00:00", False),
        ("2026-01-01 23:59", False),
        ("2026-01-02", True),
        ("None", False),
        ("2026-02-30 00:00", False),
    ],
)
def test_a_freeze_belongs_to_the_day_it_was_stamped_at_the_end_of(stamp: str, good: bool) -> None:
    assert is_freeze_of(date(2026, 1, 1), stamp) is good


def test_a_clock_is_compared_in_local_time() -> None:
    at = unix("2026-01-01 16:10:00")

    assert clock_offset_s("2026-01-02 00:10:07", at, SHANGHAI) == 7
    assert clock_offset_s("2026-01-02 00:09:00", at, SHANGHAI) == -60
    assert clock_offset_s("no time", at, SHANGHAI) is None


def test_the_hour_that_comes_twice_is_the_nearer_one() -> None:
    for utc in ("2026-10-25 00:30:00", "2026-10-25 01:30:00"):
        assert clock_offset_s("2026-10-25 02:30:03", unix(utc), BERLIN) == 3
