"""The oracle itself, on bills that somebody else has published or that fit on a napkin."""

from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from tests.money_oracle import TOTAL, Known, Meter, Oracle, Segment, bill, rounded, spread

SHIPPED = Path(__file__).parent.parent / "config" / "tariffs"
YUAN = 10_000


def text(name: str) -> str:
    return (SHIPPED / f"{name}.toml").read_text()


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


def test_published_examples_come_out() -> None:
    home = Oracle([text("zhejiang-home-year-steps")])._version(
        "zhejiang-home-year-steps", date(2026, 1, 1)
    )
    march = days(date(2026, 3, 1), 31)
    old = date(2020, 1, 1)

    def cost(wh: int, before_wh: int, opened: date = old) -> Fraction:
        return bill(home, Segment({TOTAL: wh}, march, before_wh, opened))

    assert cost(300_000, 2_600_000) == Fraction("168.40")
    assert cost(5_000_000, 0) == Fraction("2852.00")
    assert cost(1_200_000, 0, date(2025, 8, 1)) == Fraction("1200") * Fraction("0.538")
    hunan = Oracle([text("hunan-home-season-steps")])._version(
        "hunan-home-season-steps", date(2026, 1, 1)
    )
    april, july = days(date(2026, 4, 1), 30), days(date(2026, 7, 1), 31)
    assert bill(hunan, Segment({TOTAL: 400_000}, april, 0, old)) == Fraction("257.70")
    assert bill(hunan, Segment({TOTAL: 400_000}, july, 0, old)) == Fraction("245.20")


def test_a_proportional_filling_takes_each_rate_by_its_part() -> None:
    shanghai = Oracle([text("shanghai-home-year-steps-tou")])._version(
        "shanghai-home-year-steps-tou", date(2026, 1, 1)
    )
    used = {TOTAL: 200_000, f"{TOTAL}_t2": 100_000, f"{TOTAL}_t4": 100_000}
    segment = Segment(used, days(date(2026, 3, 1), 31), 3_100_000, date(2020, 1, 1))
    # 20 kWh in the first step and 180 in the second, half of each at either rate
    expected = 10 * Fraction("0.924") + 90 * (Fraction("0.677") + Fraction("0.337"))
    assert bill(shanghai, segment) == rounded(expected, {"unit": "0.01"})


def test_what_lies_between_two_readings_is_spread_over_the_days() -> None:
    found = dict(spread({TOTAL: 90}, {TOTAL: 10}, date(2026, 1, 1), date(2026, 1, 4), 100))
    assert [used[TOTAL] for used in found.values()] == [6, 7, 7]
    assert list(found) == days(date(2026, 1, 2), 3)


@pytest.mark.parametrize("late", [0, 5])
def test_a_week_and_a_swap_by_hand(late: int) -> None:
    weekly = text("small-shop-weekly")
    since = date(2026, 1, 4)
    meters = [
        Meter("A", since, {TOTAL: 0}, date(2026, 1, 7), {TOTAL: 3000}),
        Meter("B", date(2026, 1, 7), {TOTAL: 500}, None, {}),
    ]
    known = [
        Known("A", date(2026, 1, 5), {TOTAL: 1000}),
        Known("B", date(2026, 1, 11), {TOTAL: 4500}),
        Known("C", date(2026, 1, 11), {TOTAL: 9000}),
    ]
    charge_e4, energy_wh, last = Oracle([weekly]).charged(
        date(2026, 1, 5), [(since, "small-shop-weekly")], meters, known, 10**9
    )
    # 7 kWh in the week of 5 January: 5.05 + 0.19 + 2.45, line by line
    assert (charge_e4, energy_wh, last) == (round(7.69 * YUAN), 7000, date(2026, 1, 11))


def test_a_new_version_begins_a_new_bill_and_steps_go_on() -> None:
    steps = text("zhejiang-home-year-steps").replace('"2760"', '"10"')
    dearer = steps.replace("version = 1", "version = 2").replace('"0.588"', '"1.588"')
    dearer = dearer.replace("valid_from = 2012-07-01", "valid_from = 2026-01-03")
    since = date(2025, 12, 31)
    known = [Known("A", day, {TOTAL: 6000 * n}) for n, day in enumerate(days(since, 5))]
    charge_e4, _, _ = Oracle([steps, dearer]).charged(
        date(2026, 1, 1),
        [(since, "zhejiang-home-year-steps")],
        [Meter("A", since, {TOTAL: 0}, None, {})],
        known,
        10**9,
    )
    # two days: 10 kWh at 0.538 and 2 at 0.588; two days: 12 kWh at 1.588
    assert charge_e4 == 65_600 + 190_600
