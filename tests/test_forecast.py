from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.forecast import Charged, Forecast, forecast
from tests.accounts import YUAN

DAY = timedelta(days=1)
START = date(2026, 1, 1)


def daily(*yuans: int) -> list[Charged]:
    return [
        Charged(START + n * DAY, START + (n + 1) * DAY, yuan * YUAN) for n, yuan in enumerate(yuans)
    ]


def test_a_steady_customer() -> None:
    found = forecast(50 * YUAN, daily(*[4] * 30), reserve_days=30)

    assert found == Forecast(daily_e4=4 * YUAN, days_left=12, reserve_e4=70 * YUAN)


def test_the_worse_of_week_and_month_counts() -> None:
    cold_week = forecast(70 * YUAN, daily(*[4] * 23, *[10] * 7), 0)
    mild_week = forecast(70 * YUAN, daily(*[10] * 23, *[3] * 7), 0)

    assert cold_week == Forecast(10 * YUAN, 7, 0)
    # (23 x 10 + 7 x 3) / 30 = 8.3667 yuan a day.
    assert mild_week == Forecast(83_667, 8, 0)


@pytest.mark.parametrize("days", [0, 1, 6])
def test_too_little_history_says_nothing(days: int) -> None:
    assert forecast(YUAN, daily(*[4] * days), 30) is None


def test_seven_days_are_enough() -> None:
    assert forecast(28 * YUAN, daily(*[4] * 7), 10) == Forecast(4 * YUAN, 7, 12 * YUAN)


def test_who_uses_nothing_never_runs_out() -> None:
    assert forecast(0, daily(*[0] * 30), 30) == Forecast(0, None, 0)
    assert forecast(-YUAN, daily(*[-1] * 30), 30) == Forecast(0, None, 0)


def test_an_overdrawn_customer_has_no_days_left() -> None:
    assert forecast(-5 * YUAN, daily(*[4] * 7), 2) == Forecast(4 * YUAN, 0, 13 * YUAN)


def test_a_charge_over_missing_days_is_spread_over_them() -> None:
    gap = [*daily(*[4] * 10), Charged(START + 10 * DAY, START + 30 * DAY, 80 * YUAN)]

    assert forecast(40 * YUAN, gap, 0) == Forecast(4 * YUAN, 10, 0)


@given(
    st.integers(-(10**8), 10**8),
    st.lists(st.integers(0, 10**6), min_size=7, max_size=40),
    st.integers(0, 90),
)
def test_what_is_missing_is_enough_and_not_a_fen_too_much(
    balance_e4: int, amounts: list[int], reserve_days: int
) -> None:
    charges = [
        Charged(START + n * DAY, START + (n + 1) * DAY, amount_e4)
        for n, amount_e4 in enumerate(amounts)
    ]
    now = forecast(balance_e4, charges, reserve_days)
    assert now is not None
    if now.days_left is None:
        assert not any(amounts)
        return

    assert now.reserve_e4 % 100 == 0
    after = forecast(balance_e4 + now.reserve_e4, charges, reserve_days)
    assert after is not None
    assert after.reserve_e4 == 0
    assert after.days_left is not None
    assert after.days_left >= reserve_days
    if now.reserve_e4:
        less = forecast(balance_e4 + now.reserve_e4 - 100, charges, reserve_days)
        assert less is not None
        assert less.reserve_e4 == 100
