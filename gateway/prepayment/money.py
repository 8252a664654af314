"""Money: integers of 1/10,000 yuan (``_e4``) inside, exact decimal text in yuan at the edges.

    parse_yuan("12.34") == 123_400        yuan(123_400) == "12.34"

1/10,000 yuan is the finest step of prices in DL/T 645, and int64 holds 9.2e14 yuan of it.  An
amount in a message is bounded far below, so that sums of thousands of them still fit.

Another currency is written the same way: its unit stands where the yuan stands.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

YUAN_E4 = 10_000
"""One yuan."""
FEN_E4 = 100
"""One fen (分), 0.01 yuan."""
AMOUNT_MAX_E4 = 10**15
"""100,000,000,000 yuan: no single amount is larger."""

_YUAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,4}))?")


class MoneyError(ValueError):
    """A text is not an amount of money."""


def parse_yuan(text: str) -> int:
    """The amount in 1/10,000 yuan that ``text`` says in yuan: ``"12.34"`` is 123,400.

    Raises MoneyError for everything else than digits with at most four decimals: a float, an
    exponent, a thousands separator, NaN, an amount beyond AMOUNT_MAX_E4.
    """
    found = _YUAN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        shown = repr(text)[:40]
        raise MoneyError(f'{shown} is no amount; write yuan as text like "12.34", at most 0.0001')
    sign, whole, decimals = found.groups()
    amount_e4 = int(whole) * YUAN_E4 + int((decimals or "").ljust(4, "0"))
    if amount_e4 > AMOUNT_MAX_E4:
        raise MoneyError(f"{text} yuan is too much; {yuan(AMOUNT_MAX_E4)} is the largest amount")
    return -amount_e4 if sign else amount_e4


def yuan(amount_e4: int) -> str:
    """``amount_e4`` as exact text in yuan, with two decimals or, where needed, three or four."""
    whole, rest = divmod(abs(amount_e4), YUAN_E4)
    decimals = f"{rest:04d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_e4 < 0 else ''}{whole}.{decimals}"


class Rounding(StrEnum):
    """What becomes of a part of a unit."""

    HALF_UP = "half_up"
    """To the nearest, a half away from zero (四舍五入): the same for a charge and its reversal."""
    HALF_EVEN = "half_even"
    """To the nearest, a half to the even neighbour."""
    FLOOR = "floor"
    """Down: towards minus infinity."""
    CEIL = "ceil"
    """Up: towards plus infinity."""
    TRUNCATE = "truncate"
    """Towards zero (舍去)."""


def _half_up(numerator: int, denominator: int) -> int:
    if numerator < 0:
        return -((-2 * numerator + denominator) // (2 * denominator))
    return (2 * numerator + denominator) // (2 * denominator)


def _half_even(numerator: int, denominator: int) -> int:
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        return whole + 1
    return whole


def _floor(numerator: int, denominator: int) -> int:
    return numerator // denominator


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _truncate(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator) if numerator < 0 else numerator // denominator


DIVIDE: Mapping[Rounding, Callable[[int, int], int]] = {
    Rounding.HALF_UP: _half_up,
    Rounding.HALF_EVEN: _half_even,
    Rounding.FLOOR: _floor,
    Rounding.CEIL: _ceil,
    Rounding.TRUNCATE: _truncate,
}
"""How each rounding divides two integers; the divisor is positive."""


def divide(numerator: int, denominator: int, rounding: Rounding = Rounding.HALF_UP) -> int:
    """The quotient as an integer, rounded.  ``denominator`` is positive."""
    return DIVIDE[rounding](numerator, denominator)


def round_to(amount: int, unit: int, rounding: Rounding = Rounding.HALF_UP) -> int:
    """``amount`` as a multiple of ``unit``: ``round_to(123_456, FEN_E4)`` is 123,500."""
    return DIVIDE[rounding](amount, unit) * unit
