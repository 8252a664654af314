"""The components of a tariff that price energy: flat, by rate, by step, and both together.

Not supported: steps filled by the rates in the order of time.  Registers do not tell it; where a
tariff is settled every day, ``proportional`` is the nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.prepayment.money import divide
from gateway.prepayment.reckoning import Head, Price, Run, fill
from gateway.prepayment.usage import UsageError

Filling = Literal["proportional", "in_order"]
"""How the energy of several rates fills the steps: each step holds the rates in the proportion in
which they were used, or one rate fills them after the other."""


@dataclass(frozen=True, slots=True)
class Flat:
    """One price for every kWh."""

    head: Head
    price: Price
    first_wh: int | None = None
    """Only for so much energy of a settlement period, such as free energy (免费电量)."""

    def reckon(self, run: Run) -> None:
        """A line for all energy, or for the first of it."""
        energy_wh = run.total_wh
        if self.first_wh is not None:
            num, den = run.share(None)
            energy_wh = min(energy_wh, divide(self.first_wh * num, den))
        run.add(self.head.label, energy_wh, "kWh", self.price)


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate (费率) of a time-of-use price."""

    name: str
    register: str
    """Which register of the meter counts it: ``t1``."""
    label: str


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """A price per rate (分时电价)."""

    head: Head
    rates: tuple[tuple[Rate, Price], ...]

    def reckon(self, run: Run) -> None:
        """A line per rate."""
        for rate, price in self.rates:
            run.add(rate.label, run.register(rate.register, rate.name), "kWh", price)


@dataclass(frozen=True, slots=True)
class Telescopic:
    """Each step's energy at that step's price (递增阶梯); a first price of 0 makes a surcharge."""

    head: Head
    steps: tuple[tuple[str, Price], ...]
    """Label and price, from the lowest step up."""

    def reckon(self, run: Run) -> None:
        """A line per step that was reached and costs something."""
        for (label, price), energy_wh in zip(self.steps, run.fill_steps(), strict=True):
            if energy_wh and price.num:
                run.add(label, energy_wh, "kWh", price)


@dataclass(frozen=True, slots=True)
class WholeUsage:
    """All energy of the step period at the price of the step that its total reaches.

    A kWh more can make all others dearer or cheaper; so the segment owes the difference between the
    step period so far and what was before.
    """

    head: Head
    steps: tuple[tuple[str, Price], ...]

    def reckon(self, run: Run) -> None:
        """A line for the period so far, and one for what of it was charged before."""
        bounds = run.bounds_wh()
        run.fill_steps()
        before_wh = _before_wh(run)
        for sign, energy_wh in ((1, before_wh + run.total_wh), (-1, before_wh)):
            if energy_wh:
                step = sum(energy_wh > bound for bound in bounds)
                label, price = self.steps[step]
                text = label if sign > 0 else f"{label}, charged before"
                run.add(text, sign * energy_wh, "kWh", price)


@dataclass(frozen=True, slots=True)
class StepTimeOfUse:
    """A price per rate and step (阶梯分时)."""

    head: Head
    rates: tuple[tuple[Rate, tuple[tuple[str, Price], ...]], ...]
    """Label and price of each step, by rate; in the order in which they fill the steps."""
    filling: Filling

    def reckon(self, run: Run) -> None:
        """A line per rate and step."""
        used_wh = [run.register(rate.register, rate.name) for rate, _ in self.rates]
        total_wh = sum(used_wh)
        # An old meter's rates may miss its total by a few steps: the rates are what is priced.
        filled_wh = run.step_wh = fill(run.bounds_wh(), run.usage, total_wh)
        if self.filling == "in_order":
            self._in_order(run, used_wh, list(filled_wh))
            return
        for (_, steps), rate_wh in zip(self.rates, used_wh, strict=True):
            for (label, price), step_wh in zip(steps, filled_wh, strict=True):
                if rate_wh and step_wh:
                    quantity = divide(rate_wh * step_wh, total_wh)
                    exact = rate_wh * step_wh * price.num, total_wh * price.den
                    run.put(label, quantity, "kWh", price.text, (1, 1), exact)

    def _in_order(self, run: Run, used_wh: Sequence[int], room_wh: list[int]) -> None:
        for (_, steps), rate_wh in zip(self.rates, used_wh, strict=True):
            rest_wh = rate_wh
            for step, (label, price) in enumerate(steps):
                part_wh = min(rest_wh, room_wh[step])
                if part_wh:
                    run.add(label, part_wh, "kWh", price)
                    rest_wh -= part_wh
                    room_wh[step] -= part_wh


@dataclass(frozen=True, slots=True)
class Table:
    """One table of prices, for totals up to a limit."""

    up_to_wh: int | None
    """The largest total it is for; the last table has none."""
    bounds_wh: tuple[int, ...]
    steps: tuple[tuple[str, Price], ...]
    fixed: Price | None
    """Per settlement period."""


@dataclass(frozen=True, slots=True)
class ByTotal:
    """The whole table of prices changes with the total of the step period."""

    head: Head
    tables: tuple[Table, ...]

    def reckon(self, run: Run) -> None:
        """A line per step of the table, and one for its fixed charge."""
        num, den = self._scale(run)
        before_wh = _before_wh(run)
        for sign, energy_wh in ((1, before_wh + run.total_wh), (-1, before_wh)):
            table = self._table(energy_wh, num, den)
            below_wh = 0
            for step, (label, price) in enumerate(table.steps):
                last = step == len(table.bounds_wh)
                upper = energy_wh if last else divide(table.bounds_wh[step] * num, den)
                part_wh = max(0, min(energy_wh, upper) - below_wh)
                if part_wh and price.num:
                    text = label if sign > 0 else f"{label}, charged before"
                    run.add(text, sign * part_wh, "kWh", price)
                below_wh = upper
            if sign > 0 and table.fixed is not None:
                label = f"{self.head.label}, fixed"
                run.add(label, 1, "period", table.fixed, run.share(None))

    def _table(self, energy_wh: int, num: int, den: int) -> Table:
        for table in self.tables[:-1]:
            if table.up_to_wh is not None and energy_wh * den <= table.up_to_wh * num:
                return table
        return self.tables[-1]

    def _scale(self, run: Run) -> tuple[int, int]:
        num, den = run.usage.step_share
        if run.steps is not None and run.steps.scale_days is not None:
            return num * run.usage.period_days, den * run.steps.scale_days
        return num, den


@dataclass(frozen=True, slots=True)
class Export:
    """What exported energy (上网电量) earns: its own price, never netted with what was imported."""

    head: Head
    rates: tuple[tuple[str, str, Price], ...]
    """Register, label and price; the register ``total`` for one price."""

    def reckon(self, run: Run) -> None:
        """A line per register, with a negative amount."""
        reverse_wh = run.usage.reverse_wh
        for register, label, price in self.rates if reverse_wh else ():
            if register not in reverse_wh:
                raise UsageError(f"reverse energy {register}: missing; the tariff pays for it")
            if reverse_wh[register]:
                run.add(label, -reverse_wh[register], "kWh", price)


def _before_wh(run: Run) -> int:
    """Energy of the step period before the segment."""
    usage = run.usage
    return sum(usage.step_used_wh) if usage.step_used_wh else usage.step_before_wh
