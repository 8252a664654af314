"""Money as text and back, and what every rounding does to a part of a unit."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.money import (
    AMOUNT_MAX_E4,
    FEN_E4,
    MoneyError,
    Rounding,
    divide,
    parse_yuan,
    round_to,
    yuan,
)

DECIMAL_MODES = {
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
    Rounding.FLOOR: ROUND_FLOOR,
    Rounding.CEIL: ROUND_CEILING,
    Rounding.TRUNCATE: ROUND_DOWN,
}


@pytest.mark.parametrize(
    ("text", "amount_e4"),
    [("12.34", 123_400), ("-0.0001", -1), ("7", 70_000), ("0.5", 5_000), ("007.10", 71_000)],
)
def test_text_becomes_an_integer(text: str, amount_e4: int) -> None:
    assert parse_yuan(text) == amount_e4


@pytest.mark.parametrize(
    ("amount_e4", "text"),
    [
        (123_400, "12.34"),
        (1, "0.0001"),
        (-1, "-0.0001"),
        (120, "0.012"),
        (5000, "0.50"),
        (0, "0.00"),
    ],
)
def test_an_integer_becomes_text(amount_e4: int, text: str) -> None:
    assert yuan(amount_e4) == text


@given(st.integers(-AMOUNT_MAX_E4, AMOUNT_MAX_E4))
def test_text_and_back(amount_e4: int) -> None:
    assert parse_yuan(yuan(amount_e4)) == amount_e4
    assert Decimal(yuan(amount_e4)) * 10_000 == amount_e4


@pytest.mark.parametrize(
    "found",
    [
        1.5, 15, None, b"1", True, "", "1,5", "1e3", "NaN", "Infinity", "1.00001", "+1", " 1", "1 ",
        ".5", "5.", "--1", "1_000", "１", "٣", "1\n", "0x1", "100000000000.0001", "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(found: Any) -> None:
    with pytest.raises(MoneyError, match=r"is no amount|is too much"):
        parse_yuan(found)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**4), st.sampled_from(Rounding))
def test_every_rounding_is_that_of_the_decimal_module(
    numerator: int, denominator: int, rounding: Rounding
) -> None:
    # A quotient with 40 digits is exact enough: ties only arise from short decimals.
    quotient = Decimal(numerator) / Decimal(denominator)
    expected = int(quotient.quantize(Decimal(1), DECIMAL_MODES[rounding]))

    assert divide(numerator, denominator, rounding) == expected


@given(st.integers(-(10**12), 10**12), st.sampled_from([1, 100, 10_000, 100_000]))
def test_a_reversal_is_rounded_like_the_charge(amount_e4: int, unit: int) -> None:
    for rounding in (Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.TRUNCATE):
        assert round_to(-amount_e4, unit, rounding) == -round_to(amount_e4, unit, rounding)


@given(st.integers(-(10**12), 10**12), st.sampled_from(Rounding))
def test_rounding_moves_by_less_than_a_unit_and_only_once(
    amount_e4: int, rounding: Rounding
) -> None:
    rounded = round_to(amount_e4, FEN_E4, rounding)

    assert abs(rounded - amount_e4) < FEN_E4
    assert round_to(rounded, FEN_E4, rounding) == rounded
