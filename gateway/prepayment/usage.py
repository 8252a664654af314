"""What was used (用电量): all that a bill needs to know, as integers.

A bill is made of one *segment*: the days of one settlement period in which one version of a tariff
held and one set of its prices and step limits (``Tariff.segment``).  A usage says what was used in
the segment so far, from its first day to ``day``, and what of the step period lies before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

USED_MAX = 10**15
"""No register, demand or capacity of one usage is larger: a million GWh, with room for sums."""


class UsageError(ValueError):
    """A usage cannot be billed: something is missing, negative or contradicts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used in a segment so far.  Primary values: ratios (倍率) are already applied."""

    energy_wh: Mapping[str, int]
    """Active energy imported, in Wh, by register: ``total`` and, as the meter has them, ``t1`` to
    ``t6``.  Without ``total`` the registers are added up."""
    reactive_varh: int = 0
    """Reactive energy in varh: both directions by absolute value, added by the caller."""
    reverse_wh: Mapping[str, int] = field(default_factory=dict)
    """Active energy exported (反向), by register as above.  It has its own price and is never
    netted with what was imported."""
    demand_w: int | None = None
    """Maximum demand (最大需量) of the settlement period so far, in W; None if not metered."""
    contract_w: int | None = None
    """Contracted demand (合同最大需量), in W."""
    capacity: tuple[tuple[int, int], ...] = ()
    """Transformer capacity as (VA, days) one after the other, together ``days``.  A suspension
    (暂停) is a part of fewer VA or 0, a change in mid-period (增容) two parts."""
    days: int
    """Days of the segment so far; 0 before its first day has ended."""
    period_days: int
    """Days of the whole settlement period, of which the segment may be a part."""
    day: date | None = None
    """The last day covered; it decides which of seasonal prices and limits hold."""
    step_before_wh: int = 0
    """Energy of the same step period before this segment."""
    step_used_wh: tuple[int, ...] = ()
    """The same by step, as the earlier bills filled them (sums of ``Bill.step_wh``).  Needed only
    where limits change within a step period; else ``step_before_wh`` is enough."""
    step_share: tuple[int, int] = (1, 1)
    """Which part of the step limits this account has: (5, 12) if it was opened in August and the
    tariff prorates by months (``Tariff.step_share``)."""

    def __post_init__(self) -> None:
        numbers = {f"energy {key}": value for key, value in self.energy_wh.items()}
        numbers |= {f"reverse energy {key}": value for key, value in self.reverse_wh.items()}
        numbers |= {
            "reactive energy": self.reactive_varh,
            "demand": self.demand_w or 0,
            "contracted demand": self.contract_w or 0,
            "energy before in the step period": self.step_before_wh,
        }
        for name, number in numbers.items():
            if not 0 <= number <= USED_MAX:
                raise UsageError(f"{name}: found {number}; write 0 to {USED_MAX}")
        if not 0 <= self.days <= self.period_days or not 1 <= self.period_days <= 400:
            raise UsageError(
                f"days: found {self.days} of {self.period_days}; a settlement period has 1 to 400"
                " days, and a segment no more than its period"
            )
        if not 0 < self.step_share[0] <= self.step_share[1] <= 400:
            raise UsageError(
                f"step share: found {self.step_share}; write a part of 1, like (5, 12)"
            )
        self._check_parts()

    def _check_parts(self) -> None:
        covered = sum(days for _, days in self.capacity)
        if self.capacity and covered != self.days:
            raise UsageError(
                f"capacity: its parts cover {covered} days of {self.days}; let them cover all"
            )
        if any(not 0 <= va <= USED_MAX or days < 0 for va, days in self.capacity):
            raise UsageError(f"capacity: found {self.capacity}; write VA and days of 0 or more")
        if any(not 0 <= wh <= USED_MAX for wh in self.step_used_wh):
            raise UsageError(f"energy by step: found {self.step_used_wh}; write Wh of 0 or more")

    @property
    def total_wh(self) -> int:
        """All that was imported."""
        total_wh = self.energy_wh.get("total")
        return sum(self.energy_wh.values()) if total_wh is None else total_wh
