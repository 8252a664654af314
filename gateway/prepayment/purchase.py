"""Energy bought in blocks: how many kWh an amount buys, where the step counts what was bought.

In South Africa the step is reached by what a customer has *bought* in a calendar month, not by what
was used.  The gateway itself charges what was used; this is the calculator for a counter that
sells by such blocks.
"""

from fractions import Fraction

from gateway.prepayment.energy import Telescopic
from gateway.prepayment.money import Rounding, divide
from gateway.prepayment.reckoning import fill
from gateway.prepayment.steps import Bounds
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.usage import Usage, UsageError


def energy_wh(
    tariff: Tariff,
    amount_e4: int,
    bought: Usage,
    unit_wh: int = 10,
    rounding: Rounding = Rounding.HALF_UP,
) -> int:
    """How much energy ``amount_e4`` buys, to ``unit_wh``.

    ``bought`` says what was bought before in the step period (``step_before_wh``).  The prices
    include all taxes.  Raises UsageError if the tariff is no list of priced steps.
    """
    component = tariff.components[0]
    if len(tariff.components) > 1 or not isinstance(component, Telescopic) or not tariff.steps:
        raise UsageError("energy is bought by a tariff of one component of telescopic steps only")
    bought_wh, rest_e4 = Fraction(0), Fraction(amount_e4)
    rooms_wh = _rooms_wh(tariff.steps.bounds_wh(bought), bought)
    for (_, price), room_wh in zip(component.steps, rooms_wh, strict=True):
        if price.num <= 0:
            raise UsageError("a step has no price; free energy cannot be bought")
        part_wh = rest_e4 * price.den / price.num
        if room_wh is not None:
            part_wh = min(part_wh, Fraction(room_wh))
        bought_wh += part_wh
        rest_e4 -= part_wh * price.num / price.den
    return divide(bought_wh.numerator, bought_wh.denominator * unit_wh, rounding) * unit_wh


def _rooms_wh(bounds: Bounds, bought: Usage) -> tuple[int | None, ...]:
    """What is left of each step; of the last there is no end."""
    everything = bounds[-1] + bought.step_before_wh
    return *fill(bounds, bought, everything)[:-1], None
