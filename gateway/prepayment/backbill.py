"""Back-billing (追退补): what a faulty meter counted wrongly, once the fault is known."""

from fractions import Fraction

from gateway.prepayment.money import FEN_E4, divide
from gateway.prepayment.power_factor import adjustment, power_factor


def meter_error_wh(registered_wh: int, error: Fraction, share: Fraction = Fraction(1)) -> int:
    """Energy that was used but not counted, to the kWh; negative if too much was counted.

    ``error`` is the meter's: -1/10 for a meter 10 % slow.  ``share`` is the part of the time that
    is billed: a half where nobody knows when the fault began (供电营业规则, article 80).
    """
    missing = (registered_wh / (1 + error) - registered_wh) * share
    return divide(missing.numerator, missing.denominator * 1000) * 1000


def power_factor_e4(
    paid_e4: int, energy_wh: int, read_varh: int, true_varh: int, standard: int
) -> int:
    """What a bill changes by when its reactive energy was read wrongly, to the fen.

    ``paid_e4`` is the bill with the adjustment by what was read; ``standard`` in hundredths.
    """
    before = 10_000 + adjustment(power_factor(energy_wh, read_varh), standard)
    after = 10_000 + adjustment(power_factor(energy_wh, true_varh), standard)
    return divide(paid_e4 * (after - before), before * FEN_E4) * FEN_E4


def register_difference(previous: int, current: int, modulus: int) -> int:
    """What a register counted from one reading to the next, if it passed its top at most once.

    Whether a smaller reading is a rollover or another meter is for the caller to know.  All values
    are in the same unit; ``modulus`` is the first number the register cannot show.
    """
    if not (0 <= previous < modulus and 0 <= current < modulus):
        raise ValueError(f"{previous} and {current} do not both fit below {modulus}")
    return (current - previous) % modulus
