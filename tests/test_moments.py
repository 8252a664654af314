"""The moments of the grid: counted by the local day, settled once, and nothing else."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.days import begin_of, end_of
from gateway.acquisition.moments import STEP_S, Bits, Gap, Moments

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
DAY = date(2026, 1, 1)
BEGIN = begin_of(DAY, SHANGHAI)


@pytest.mark.parametrize(
    ("day", "minutes", "due"),
    [
        (DAY, 15, 96),
        (DAY, 60, 24),
        (date(2026, 3, 29), 15, 92),  # the clocks go forward
        (date(2026, 10, 25), 15, 100),
        (date(2026, 10, 25), 60, 25),
    ],
)
def test_a_day_has_so_many_moments(day: date, minutes: int, due: int) -> None:
    assert Moments(BERLIN, minutes).due(day).bit_count() == due


def test_a_moment_belongs_to_the_day_it_begins() -> None:
    moments = Moments(SHANGHAI, 15)

    assert moments.newest(BEGIN + 14 * 60) == BEGIN
    assert moments.newest(BEGIN + 15 * 60) == BEGIN + 900
    assert moments.settle("A1", BEGIN) == DAY
    assert moments.settle("A1", BEGIN - 900) == DAY - timedelta(days=1)
    assert moments.due(DAY, BEGIN) == 1


def test_a_grid_of_half_hours_stands_on_the_local_hour() -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")  # 5:45 ahead
    begin = begin_of(DAY, kathmandu)

    assert Moments(kathmandu, 30).newest(begin + 31 * 60) == begin + 1800


def test_the_first_gap_is_what_lies_side_by_side() -> None:
    moments = Moments(SHANGHAI, 15)
    for quarter in (0, 1, 4, 6):
        moments.settle("A1", BEGIN + quarter * STEP_S)

    assert moments.gap("A1", DAY, BEGIN + 10 * STEP_S) == Gap(BEGIN + 2 * STEP_S, 2)
    moments.settle("A1", BEGIN + 2 * STEP_S, absent=True)
    moments.settle("A1", BEGIN + 3 * STEP_S, absent=True)
    assert moments.gap("A1", DAY, BEGIN + 10 * STEP_S) == Gap(BEGIN + 5 * STEP_S, 1)
    assert moments.gap("A1", DAY, BEGIN + 4 * STEP_S) is None
    assert moments.gap("A2", DAY, BEGIN) == Gap(BEGIN, 1)


def test_what_was_sent_on_a_finer_grid_is_not_sent_again_on_a_wider_one() -> None:
    fine, wide = Moments(SHANGHAI, 15), Moments(SHANGHAI, 60)
    fine.settle("A1", BEGIN + 4 * STEP_S)
    wide.put("A1", DAY, fine.of("A1", DAY))

    assert wide.is_settled("A1", BEGIN + 3600)
    wide.settle("A1", BEGIN + 7200)
    assert wide.gap("A1", DAY, BEGIN + 9000) == Gap(BEGIN, 1, 3600)


@given(
    st.sampled_from([DAY, date(2026, 3, 29), date(2026, 10, 25)]),
    st.sampled_from([15, 30, 60]),
    st.lists(st.tuples(st.integers(0, 99), st.booleans()), max_size=200),
)
def test_gaps_and_what_is_settled_are_the_whole_day(
    day: date, minutes: int, settled: list[tuple[int, bool]]
) -> None:
    moments, begin = Moments(BERLIN, minutes), begin_of(day, BERLIN)
    length_s = end_of(day, BERLIN) - begin
    for quarter, absent in settled:
        if quarter * STEP_S < length_s:
            moments.settle("A1", begin + quarter * STEP_S, absent=absent)
    before = moments.open("A1", day).bit_count()
    filled = 0
    while gap := moments.gap("A1", day, begin + length_s):
        found = gap.moments
        assert found[-1] == gap.until
        assert gap.cut(6).moments == found[: 75 // minutes + 1]
        for at in found:
            assert not moments.is_settled("A1", at)
            assert moments.settle("A1", at) == day
        filled += len(found)

    assert filled == before
    assert moments.open("A1", day) == 0


def test_days_that_are_over_are_forgotten() -> None:
    moments = Moments(SHANGHAI, 15)
    moments.settle("A1", BEGIN)
    moments.settle("A1", BEGIN - STEP_S)
    moments.forget(DAY)

    assert moments.of("A1", DAY) == Bits(there=1)
    assert moments.of("A1", DAY - timedelta(days=1)) == Bits()
