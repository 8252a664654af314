"""The components of a tariff that price no energy: capacity, demand, fixed charges, percentages.

Prices per settlement period accrue day by day, so that a prepaid account pays a month's capacity
in thirty parts; on the last day of the period the whole price has been charged.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from gateway.prepayment.money import divide
from gateway.prepayment.power_factor import adjustment, power_factor
from gateway.prepayment.reckoning import ONE, Head, Price, Run
from gateway.prepayment.usage import UsageError

DemandRule = Literal["band_95_105", "contract_105", "actual"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """A price per kVA of transformer capacity (容量电费); each part for its days."""

    head: Head
    price: Price
    days_basis: int | None

    def reckon(self, run: Run) -> None:
        """A line per part."""
        if not run.usage.capacity and run.usage.days:
            raise UsageError("capacity: missing; the tariff has a price per kVA")
        passed = before = 0
        for va, days in run.usage.capacity:
            passed += days
            # The last part of a whole month of 30 days counts what the others left over.
            counted, whole = run.counted(self.days_basis, passed)
            share = ONE if counted - before == whole else (counted - before, whole)
            before = counted
            label = self.head.label if va else f"{self.head.label}, suspended"
            run.add(label, va, "kVA", self.price, share)


@dataclass(frozen=True, slots=True)
class LoadDiscount:
    """A lower demand price for a high load: 260 kWh per kVA and month, 90 % (price reform 2023)."""

    wh_per_va: Fraction
    price: Price


@dataclass(frozen=True, slots=True)
class Demand:
    """A price per kW of maximum demand (需量电费).

    ``actual``: what was measured.  ``contract_105``: the contract, and what exceeds 105 % of it
    twice (notice of 2016).  ``band_95_105``: what was measured but not less than 95 % of the
    contract; above 105 %, the contract and all that exceeds it twice (older rule).
    """

    head: Head
    price: Price
    rule: DemandRule
    days_basis: int | None
    discount: LoadDiscount | None = None

    def reckon(self, run: Run) -> None:
        """One line."""
        usage = run.usage
        if usage.demand_w is None:
            raise UsageError("demand: missing; the tariff has a price per kW of maximum demand")
        if self.rule == "actual":
            billed_w, text = usage.demand_w, "measured"
        elif usage.contract_w is None:
            raise UsageError("contracted demand: missing; the tariff compares the demand with it")
        else:
            billed_w, text = _billed(self.rule, usage.demand_w, usage.contract_w)
        price = self.price
        if self.discount is not None and self._high_load(run, self.discount):
            price = self.discount.price
        run.add(f"{self.head.label}, {text}", billed_w, "kW", price, run.share(self.days_basis))

    def _high_load(self, run: Run, discount: LoadDiscount) -> bool:
        if not run.usage.capacity and run.usage.days:
            raise UsageError("capacity: missing; the demand price depends on the kWh per kVA")
        va_days = sum(va * days for va, days in run.usage.capacity)
        # The average capacity so far is VA days / days.  The energy is not prorated: the discount
        # comes with the day on which the month has reached it.
        return run.total_wh * run.usage.days >= discount.wh_per_va * va_days and va_days > 0


def _billed(rule: DemandRule, demand_w: int, contract_w: int) -> tuple[int, str]:
    """The demand that is billed, and why."""
    if rule == "contract_105":
        if 100 * demand_w <= 105 * contract_w:
            return contract_w, "contract"
        return demand_w + demand_w - 105 * contract_w // 100, "more than 105 % of the contract"
    if 100 * demand_w < 95 * contract_w:
        return 95 * contract_w // 100, "95 % of the contract"
    if 100 * demand_w <= 105 * contract_w:
        return demand_w, "measured"
    return contract_w + 2 * (demand_w - contract_w), "more than 105 % of the contract"


@dataclass(frozen=True, slots=True)
class Fixed:
    """An amount per settlement period (固定费)."""

    head: Head
    price: Price
    days_basis: int | None
    zero_use: Price | None = None
    """What is charged instead while nothing was used."""

    def reckon(self, run: Run) -> None:
        """One line."""
        price = self.price if self.zero_use is None or run.total_wh else self.zero_use
        run.add(self.head.label, 1, "period", price, run.share(self.days_basis))


@dataclass(frozen=True, slots=True)
class Daily:
    """An amount per day."""

    head: Head
    price: Price

    def reckon(self, run: Run) -> None:
        """One line."""
        run.add(self.head.label, run.usage.days, "day", self.price)


@dataclass(frozen=True, slots=True)
class PowerFactor:
    """The power-factor adjustment (力率调整电费) of the components in its base."""

    head: Head
    standard: int
    """In hundredths: 90, 85 or 80."""
    of: tuple[str, ...]

    def reckon(self, run: Run) -> None:
        """One line, unless nothing was used: then there is no power factor."""
        if not run.total_wh:
            return
        factor = power_factor(run.total_wh, run.reactive_varh)
        label = f"{self.head.label}, {factor // 100}.{factor % 100:02d} for 0.{self.standard}"
        change = adjustment(factor, self.standard)
        _percentage(run, label, (change, 10_000), str(Decimal(change).scaleb(-2)), self.of)


@dataclass(frozen=True, slots=True)
class Percent:
    """A percentage of other components, such as a tax."""

    head: Head
    percent: Fraction
    text: str
    """The percentage as the tariff has it."""
    of: tuple[str, ...]

    def reckon(self, run: Run) -> None:
        """One line."""
        part = self.percent.numerator, self.percent.denominator * 100
        _percentage(run, self.head.label, part, self.text, self.of)


@dataclass(frozen=True, slots=True)
class Minimum:
    """At least so much per settlement period for the components in its base (最低电费)."""

    head: Head
    amount: Price
    of: tuple[str, ...]

    def reckon(self, run: Run) -> None:
        """One line with what is missing, if anything is."""
        num, den = run.base(self.of)
        share = run.share(None)
        least_num, least_den = self.amount.num * share[0], self.amount.den * share[1]
        if num * least_den >= least_num * den:
            return
        missing = least_num * den - num * least_den, least_den * den
        label = f"{self.head.label} {self.amount.text}, what is missing"
        run.put(label, 1, "period", "", ONE, missing)


def _percentage(
    run: Run, label: str, part: tuple[int, int], text: str, of: tuple[str, ...]
) -> None:
    """Put a part of other components on the bill."""
    num, den = run.base(of)
    exact = num * part[0], den * part[1]
    run.put(label, divide(num, den), "yuan", f"{text} %", ONE, exact)
