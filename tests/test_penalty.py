"""Late penalties, debt recovered from top-ups, purchases and back-bills."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.backbill import meter_error_wh, power_factor_e4, register_difference
from gateway.prepayment.bill import bill
from gateway.prepayment.debt import DebtShare
from gateway.prepayment.money import parse_yuan
from gateway.prepayment.penalty import HOME, OTHER, Overdue, penalty_e4
from gateway.prepayment.periods import Days
from gateway.prepayment.power_factor import adjustment, power_factor
from gateway.prepayment.purchase import energy_wh
from gateway.prepayment.usage import Usage, UsageError
from tests.tariffs import component, make, table

NEW_YEAR_EVE = date(2026, 12, 31)
WEEK = Days(7, date(2026, 1, 5))


def overdue(yuan: str, due: date) -> list[Overdue]:
    return [Overdue(parse_yuan(yuan), due)]


def test_a_bill_paid_on_its_due_day_has_no_penalty() -> None:
    assert penalty_e4(overdue("5000", date(2026, 5, 1)), date(2026, 5, 1), OTHER) == 0
    assert penalty_e4([], date(2026, 5, 1), OTHER) == 0


def test_a_day_costs_two_per_mille_and_three_after_the_year() -> None:
    assert penalty_e4(overdue("1000", date(2026, 5, 1)), date(2026, 5, 2), OTHER) == 20_000
    assert penalty_e4(overdue("1000", NEW_YEAR_EVE), date(2027, 1, 1), OTHER) == 30_000
    assert penalty_e4(overdue("1000", date(2026, 12, 30)), date(2027, 1, 1), OTHER) == 50_000
    assert penalty_e4(overdue("1000", NEW_YEAR_EVE), date(2027, 1, 1), HOME) == 10_000


def test_the_minimum_is_for_all_bills_together() -> None:
    bills = overdue("50", date(2026, 5, 1)) + overdue("60", date(2026, 5, 2))

    assert penalty_e4(bills, date(2026, 5, 4), HOME) == parse_yuan("1")


@given(st.integers(1, 10**9), st.integers(1, 400), st.integers(1, 400))
def test_a_later_payment_never_costs_less(amount_e4: int, soon: int, more: int) -> None:
    due = date(2026, 1, 1)
    days = [date.fromordinal(due.toordinal() + n) for n in (soon, soon + more)]
    first, second = (penalty_e4([Overdue(amount_e4, due)], day, OTHER) for day in days)

    assert first <= second


def test_a_debt_share_ends_with_its_cap_and_its_debt() -> None:
    rule = DebtShare(share=Fraction(1, 10), cap_e4=parse_yuan("5"), period=WEEK)

    assert rule.take_e4(parse_yuan("10"), 0, parse_yuan("100")) == parse_yuan("1")
    assert rule.take_e4(parse_yuan("10"), parse_yuan("4.50"), parse_yuan("100")) == 5_000
    assert rule.take_e4(parse_yuan("10"), parse_yuan("5"), parse_yuan("100")) == 0
    assert rule.take_e4(parse_yuan("10"), 0, parse_yuan("0.30")) == parse_yuan("0.30")
    assert rule.period.span(date(2026, 1, 11)) == (date(2026, 1, 5), date(2026, 1, 11))


@given(
    amount_e4=st.integers(0, 10**8), taken_e4=st.integers(0, 10**6), owed_e4=st.integers(0, 10**8)
)
def test_a_top_up_never_pays_more_than_itself(amount_e4: int, taken_e4: int, owed_e4: int) -> None:
    rule = DebtShare(share=Fraction(1), cap_e4=10**6, period=WEEK)

    assert 0 <= rule.take_e4(amount_e4, taken_e4, owed_e4) <= min(amount_e4, owed_e4, 10**6)


BLOCKS = make(
    component("steps", mode="telescopic", prices=["3.425", "4.044", "4.368", "4.709"]),
    steps=table(period="month", bounds=["100", "400", "650"]),
)


def bought(before_wh: int) -> Usage:
    return Usage(energy_wh={"total": 0}, days=0, period_days=30, step_before_wh=before_wh)


@given(amount_e4=st.integers(0, 10**8), before_wh=st.integers(0, 10**6))
def test_what_is_bought_costs_what_was_paid(amount_e4: int, before_wh: int) -> None:
    wh = energy_wh(BLOCKS, amount_e4, bought(before_wh), unit_wh=1)
    usage = Usage(energy_wh={"total": wh}, days=30, period_days=30, step_before_wh=before_wh)

    # Half a watt-hour, and half a hundredth of the total's rounding.
    assert abs(bill(BLOCKS, usage).total_e4 - amount_e4) <= 24 + 50


def test_only_priced_steps_can_be_bought() -> None:
    with pytest.raises(UsageError, match="telescopic steps only"):
        energy_wh(make(component("flat", price="1")), 10_000, bought(0))
    free = make(
        component("steps", mode="telescopic", prices=["0", "1"]),
        steps=table(period="month", bounds=["50"]),
    )
    with pytest.raises(UsageError, match="free energy cannot be bought"):
        energy_wh(free, 10_000, bought(0))


def test_a_fast_meter_is_paid_back() -> None:
    assert meter_error_wh(1_100_000, Fraction(1, 10)) == -100_000
    assert meter_error_wh(900_000, Fraction(-1, 10), Fraction(1, 2)) == 50_000


def test_a_power_factor_read_rightly_changes_nothing() -> None:
    assert power_factor_e4(parse_yuan("12600"), 40_000_000, 30_000_000, 30_000_000, 90) == 0


@pytest.mark.parametrize(
    ("previous", "current", "difference"), [(5, 7, 2), (7, 7, 0), (999, 0, 1), (0, 999, 999)]
)
def test_a_register_passes_its_top(previous: int, current: int, difference: int) -> None:
    assert register_difference(previous, current, 1000) == difference


def test_a_reading_above_the_top_is_refused() -> None:
    with pytest.raises(ValueError, match="do not both fit"):
        register_difference(0, 1000, 1000)


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_the_power_factor_is_the_nearest_hundredth(energy: int, reactive: int) -> None:
    factor = power_factor(energy, reactive)

    # (factor - 0.5)/100 <= cos < (factor + 0.5)/100, squared so that no root is rounded.
    square = Fraction(energy**2, energy**2 + reactive**2)
    assert max(0, 2 * factor - 1) ** 2 <= 40_000 * square < (2 * factor + 1) ** 2


@given(st.integers(0, 99), st.sampled_from([90, 85, 80]))
def test_a_better_power_factor_never_costs_more(factor: int, standard: int) -> None:
    assert adjustment(factor + 1, standard) <= adjustment(factor, standard)
