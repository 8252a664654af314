"""The power-factor adjustment (力率调整, method of 1983): kWh and kvarh to a percentage.

    power factor = kWh / sqrt(kWh^2 + kvarh^2), half-up to 0.01

Against a standard (0.90, 0.85 or 0.80) each 0.01 costs or saves a part of the bill.  The tables are
a rule, and the rule is what stands here; the whole tables are in the tests.
"""

from math import isqrt

STANDARDS = (90, 85, 80)
"""The standards in hundredths: 0.90 for industry above 160 kVA, 0.85 for other industry, 0.80 for
agriculture."""
_BEST = {90: 95, 85: 94, 80: 92}
"""From here on a better power factor saves no more."""


def power_factor(energy_wh: int, reactive_varh: int) -> int:
    """The power factor in hundredths, half-up; 0 if there is no active energy.

    Exact for all integers: no root is ever taken of a rounded number.
    """
    if not energy_wh:
        return 0
    squares = energy_wh * energy_wh + reactive_varh * reactive_varh
    return (isqrt(40_000 * energy_wh * energy_wh // squares) + 1) // 2


def adjustment(factor: int, standard: int) -> int:
    """What the bill changes by, in 1/100 percent: -75 is a bonus of 0.75 %.

    ``factor`` and ``standard`` are in hundredths.
    """
    short = standard - factor
    if short > 0:
        return 50 * short + 50 * max(0, short - 20) + 100 * max(0, short - 25)
    better = min(factor, _BEST[standard])
    return -10 * (min(better, 90) - standard) - 15 * max(0, better - 90)
