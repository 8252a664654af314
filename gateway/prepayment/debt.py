"""Old debt (欠费) recovered from top-ups: a share of each, up to a cap per period."""

from dataclasses import dataclass
from fractions import Fraction

from gateway.prepayment.money import FEN_E4, divide
from gateway.prepayment.periods import Days, Months


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtShare:
    """How debt is recovered."""

    share: Fraction
    """Of each top-up, 0 to 1."""
    cap_e4: int | None
    """At most so much per period, in 1/10,000 yuan."""
    period: Months | Days
    """Such as weeks that begin on a Monday."""

    def take_e4(self, amount_e4: int, taken_e4: int, owed_e4: int) -> int:
        """What a top-up of ``amount_e4`` pays off, to the fen.

        ``taken_e4`` is what earlier top-ups of the same period have paid off, ``owed_e4`` what is
        still owed.
        """
        part = amount_e4 * self.share
        wanted_e4 = divide(part.numerator, part.denominator * FEN_E4) * FEN_E4
        room_e4 = wanted_e4 if self.cap_e4 is None else self.cap_e4 - taken_e4
        return max(0, min(wanted_e4, room_e4, owed_e4, amount_e4))
