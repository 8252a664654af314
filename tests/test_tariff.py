"""Periods, seasons, windows and meter tables of a tariff."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.meter_times import MeterTimes, mismatches
from gateway.prepayment.periods import DAY, Days, Months, SeasonError, parse_season
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.tariff_reader import parse
from gateway.prepayment.windows import CurveError, Windows, rate_curve
from tests.tariffs import component, make, table

CONFIG = Path(__file__).parent.parent / "config" / "tariffs"
FLAT = component("flat", price="0.5")
days = st.dates(date(2000, 1, 1), date(2099, 12, 31))
SEASONS = table(period="season", bounds=["100"]) + "".join(
    "[[steps.season]]\n" + table(seasons=[season], bounds=[bound])
    for season, bound in (("05-01..10-31", "260"), ("11-01..04-30", "200"))
)
CHANGED = table(period="year", bounds=["2760", "4800"]) + "".join(
    "[[steps.change]]\nsince = 2026-07-01\n" + table(bounds=["3000", "5000"])
)


def example(name: str) -> Tariff:
    return parse((CONFIG / f"{name}.toml").read_text())


def test_a_week_is_a_settlement_period() -> None:
    shop = example("small-shop-weekly")

    assert shop.settlement_period(date(2026, 3, 4)) == (date(2026, 3, 2), date(2026, 3, 8))
    assert shop.settlement_period(date(2025, 12, 31)) == (date(2025, 12, 29), date(2026, 1, 4))
    assert shop.segment(date(2026, 3, 4)) == (date(2026, 3, 2), date(2026, 3, 8))


@pytest.mark.parametrize(
    ("period", "day", "span"),
    [
        (Months(1, 24), date(2026, 3, 23), (date(2026, 2, 24), date(2026, 3, 23))),
        (Months(1, 24), date(2026, 3, 24), (date(2026, 3, 24), date(2026, 4, 23))),
        (Months(1), date(2024, 2, 29), (date(2024, 2, 1), date(2024, 2, 29))),
        (Months(2, 1, 2), date(2026, 1, 31), (date(2025, 12, 1), date(2026, 1, 31))),
        (Months(2, 1, 2), date(2026, 2, 1), (date(2026, 2, 1), date(2026, 3, 31))),
        (Months(12, 16, 12), date(2026, 12, 15), (date(2025, 12, 16), date(2026, 12, 15))),
        (Days(1, date(2026, 1, 1)), date(2024, 2, 29), (date(2024, 2, 29), date(2024, 2, 29))),
    ],
)
def test_periods(period: Months | Days, day: date, span: tuple[date, date]) -> None:
    assert period.span(day) == span


PERIODS = [
    make(FLAT, head=head, steps=steps)
    for head in (
        'settlement = { every = "month", start_day = 24 }',
        'settlement = { every = "two_months", start_month = 2 }',
        'settlement = { every = "days", days = 7, anchor = 2026-01-05 }',
        "valid_to = 2050-06-15",
    )
    for steps in (
        "",
        table(period="year", start_month=5, start_day=10, bounds=["2760"]),
        SEASONS,
        CHANGED,
    )
]


@given(tariff=st.sampled_from(PERIODS), day=days)
def test_periods_follow_each_other_and_a_segment_lies_in_them(tariff: Tariff, day: date) -> None:
    for span_of in (tariff.settlement_period, tariff.step_period, tariff.segment):
        first, last = span_of(day)
        assert first <= day <= last
        assert span_of(first) == span_of(last) == (first, last)
        assert span_of(last + DAY)[0] == last + DAY

    first, last = tariff.segment(day)
    for span in (tariff.settlement_period(day), tariff.step_period(day)):
        assert span[0] <= first <= last <= span[1]
    assert tariff.holds_on(first) == tariff.holds_on(last)


def test_a_segment_ends_where_prices_or_limits_change() -> None:
    summer = make(component("flat", price="0.5", seasons=["07-15..08-31"]), steps=CHANGED)

    assert summer.segment(date(2026, 7, 14)) == (date(2026, 7, 1), date(2026, 7, 14))
    assert summer.segment(date(2026, 7, 15)) == (date(2026, 7, 15), date(2026, 7, 31))
    assert summer.segment(date(2026, 6, 30)) == (date(2026, 6, 1), date(2026, 6, 30))


def test_limits_of_a_day() -> None:
    steps = make(FLAT, steps=CHANGED).steps
    assert steps is not None
    assert steps.bounds_on(date(2026, 6, 30)) == (2_760_000, 4_800_000)
    assert steps.bounds_on(date(2026, 7, 1)) == (3_000_000, 5_000_000)

    hunan = example("hunan-home-season-steps").steps
    assert hunan is not None
    assert hunan.bounds_on(date(2024, 2, 29)) == (200_000, 450_000)
    assert hunan.bounds_on(date(2024, 3, 1)) == (200_000, 350_000)


def test_a_new_account_has_its_part_of_the_limits() -> None:
    zhejiang = example("zhejiang-home-year-steps")

    assert zhejiang.step_share(date(2026, 8, 20), date(2026, 9, 3)) == (5, 12)
    assert zhejiang.step_share(date(2026, 1, 1), date(2026, 9, 3)) == (1, 1)
    assert zhejiang.step_share(date(2025, 8, 20), date(2026, 9, 3)) == (1, 1)
    by_days = make(FLAT, steps=table(period="year", bounds=["100"], proration="days"))
    assert by_days.step_share(date(2026, 12, 31), date(2026, 12, 31)) == (1, 365)


@pytest.mark.parametrize("text", ["", "07-01", "07-01..08-32", "7-1..8-31", "07-01..08-31 ", ".."])
def test_what_is_no_season_is_refused(text: str) -> None:
    with pytest.raises(SeasonError, match="is no season"):
        parse_season(text)


def test_a_season_may_cross_the_new_year_and_end_with_february() -> None:
    winter = parse_season("12-01..02-29")

    assert date(2025, 2, 28) in winter
    assert date(2024, 2, 29) in winter
    assert date(2025, 3, 1) not in winter
    assert winter.after(2025) == winter.after(2024).replace(year=2025) == date(2025, 3, 1)


# Windows, curves and the meter's own tables.

COMMERCE = example("commerce-tou-deep-valley")
INDUSTRY = example("industry-two-part-capacity")
WORKDAY, HOLIDAY = date(2026, 3, 2), date(2026, 10, 1)
METER = MeterTimes(
    zones=((1, 1, 1),),
    day_tables={
        1: ((0, 4), (480, 2), (540, 1), (660, 4), (780, 2), (900, 1), (1020, 2), (1320, 4)),
        2: ((0, 4), (480, 2), (600, 5), (840, 2), (1320, 4)),
    },
    holidays=tuple(
        (day, 2) for day in sorted(COMMERCE.windows.holidays if COMMERCE.windows else ())
    ),
)
YEAR = date(2026, 1, 1), date(2026, 12, 31)


def windows(tariff: Tariff) -> Windows:
    assert tariff.windows is not None
    return tariff.windows


def test_a_meter_with_the_same_tables_agrees() -> None:
    assert mismatches(COMMERCE, METER, *YEAR) == []


def test_a_meter_that_starts_its_day_with_a_switch_continues_the_day_before() -> None:
    tables = {number: periods[1:] for number, periods in METER.day_tables.items()}

    assert mismatches(COMMERCE, replace(METER, day_tables=tables), *YEAR) == []


def test_a_meter_that_does_not_know_the_holidays_is_told_of() -> None:
    told = mismatches(COMMERCE, replace(METER, holidays=METER.holidays[:-1]), *YEAR)

    wrong = {
        "09:00-10:00 is peak": "t1 (sharp)",
        "10:00-11:00 is deep_valley": "t1 (sharp)",
        "11:00-13:00 is deep_valley": "t4 (valley)",
        "13:00-14:00 is deep_valley": "t2 (peak)",
        "15:00-17:00 is peak": "t1 (sharp)",
    }
    assert told == [
        f"2026-10-03: {what} by the tariff, but the meter counts it in {where}"
        for what, where in wrong.items()
    ]


def test_one_difference_of_tables_is_told_once() -> None:
    shifted = {
        1: tuple((minute + 30 * (minute == 480), rate) for minute, rate in METER.day_tables[1])
    }
    told = mismatches(COMMERCE, replace(METER, day_tables={**METER.day_tables, **shifted}), *YEAR)

    (one,) = told
    assert one.startswith("2026-01-01 and 355 more days: 08:00-08:30 is peak by the tariff")


def test_a_meter_without_tables_is_told_of() -> None:
    assert mismatches(COMMERCE, replace(METER, zones=()), *YEAR) == [
        "the meter has no season table (04010000); set its time tables"
    ]
    assert mismatches(COMMERCE, replace(METER, zones=((1, 1, 7),)), WORKDAY, WORKDAY) == [
        "2026-03-02: the meter has no day table 7; set its time tables"
    ]


def test_rest_days_and_seasons_of_a_meter() -> None:
    meter = replace(
        METER,
        zones=((3, 1, 1), (7, 1, 2)),
        rest_days=frozenset({5, 6}),
        rest_table=3,
        holidays=((date(2026, 5, 2), 4),),
    )

    assert meter.table_number(date(2026, 2, 27)) == 2
    assert meter.table_number(date(2026, 3, 2)) == 1
    assert meter.table_number(date(2026, 5, 3)) == 3
    assert meter.table_number(date(2026, 5, 2)) == 4


def test_a_curve_is_rated_by_the_windows() -> None:
    rated = rate_curve(windows(COMMERCE), HOLIDAY, [10] * 24)

    assert rated == {"valley": 100, "peak": 100, "deep_valley": 40}
    assert rate_curve(windows(COMMERCE), WORKDAY, [1] * 96)["sharp"] == 16


@given(st.lists(st.integers(0, 10_000), min_size=48, max_size=48), days)
def test_a_rated_curve_keeps_its_energy(curve: list[int], day: date) -> None:
    assert sum(rate_curve(windows(INDUSTRY), day, curve).values()) == sum(curve)


def test_a_curve_that_cannot_be_rated_is_refused() -> None:
    with pytest.raises(CurveError, match="within an interval"):
        rate_curve(windows(INDUSTRY), WORKDAY, [1] * 24)
    with pytest.raises(CurveError, match="no whole day"):
        rate_curve(windows(INDUSTRY), WORKDAY, [1] * 95)
    with pytest.raises(CurveError, match="no whole day"):
        rate_curve(windows(INDUSTRY), WORKDAY, [])


def test_a_date_of_its_own_comes_before_all_others() -> None:
    tariff = make(
        component("tou", prices={"peak": "1", "valley": "0.5"}),
        rates=["peak", "valley"],
        more="[[window]]\n"
        + table(rates={"peak": ["06:00-22:00"], "valley": ["22:00-06:00"]})
        + "[[window]]\ndates = [2026-02-17]\n"
        + table(rates={"valley": ["00:00-24:00"]}),
    )
    spring = date(2026, 2, 17)

    assert rate_curve(windows(tariff), spring, [1] * 24) == {"valley": 24}
    assert rate_curve(windows(tariff), spring + timedelta(days=1), [1] * 24)["peak"] == 16
