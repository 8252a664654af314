"""From the tables of a tariff file to the components of a tariff; every problem is noted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import singledispatchmethod
from math import lcm

from gateway.explain import did_you_mean, shown
from gateway.prepayment import tariff_file as tables
from gateway.prepayment.charges import (
    Capacity,
    Daily,
    Demand,
    Fixed,
    LoadDiscount,
    Minimum,
    Percent,
    PowerFactor,
)
from gateway.prepayment.energy import (
    ByTotal,
    Export,
    Flat,
    Rate,
    StepTimeOfUse,
    Table,
    Telescopic,
    TimeOfUse,
    WholeUsage,
)
from gateway.prepayment.money import YUAN_E4, Rounding, yuan
from gateway.prepayment.reckoning import (
    Category,
    Component,
    Head,
    Price,
    RoundTo,
    Unit,
    price_of,
    rounding_to,
)
from gateway.prepayment.steps import Steps
from gateway.prepayment.tariff import Loss
from gateway.prepayment.tariff_times import Notes

CATEGORIES: Mapping[str, Category] = {
    "per_kwh": "funds", "capacity": "basic", "demand": "basic", "fixed": "fixed", "daily": "fixed",
    "power_factor": "power_factor", "percent": "tax", "minimum": "adjustment", "export": "export",
}  # fmt: skip
"""What a component is for unless the file says so; all others price energy."""


def round_to(table: tables.RoundingTable, scale: int = YUAN_E4) -> RoundTo:
    """A rounding; its unit in ``scale`` steps of what the file says."""
    return rounding_to(int(Decimal(table.unit) * scale), Rounding(table.mode))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a component stands."""

    where: str
    head: Head
    earlier: tuple[str, ...]
    """Ids of the components before it."""


@dataclass(slots=True)
class Parts:
    """Makes components, one after the other."""

    notes: Notes
    registers: Mapping[str, str]
    """Rate to register."""
    steps: Steps | None
    steps_broken: bool
    """There are steps, but something in them is wrong."""

    def components(self, rows: Sequence[dict[str, object]]) -> tuple[Component, ...]:
        """All components of the file that are right."""
        made: list[Component] = []
        for n, row in enumerate(rows):
            where, kind = f"component[{n}]", row.get("type")
            if not isinstance(kind, str) or kind not in tables.COMPONENTS:
                hint = did_you_mean(str(kind), tuple(tables.COMPONENTS))
                self.notes.say(f"{where}.type", f"found {shown(kind)}; {hint}")
                continue
            table = self.notes.table(tables.COMPONENTS[kind], row, where)
            if table is None:
                continue
            head = self._head(table, where)
            if head.id in [part.head.id for part in made]:
                self.notes.say(f"{where}.id", f"found {head.id!r} again; give each its own")
            earlier = tuple(part.head.id for part in made)
            component = self.make(table, Place(where, head, earlier))
            if component is not None:
                made.append(component)
        return tuple(made)

    def _head(self, table: tables.ComponentTable, where: str) -> Head:
        return Head(
            table.id or table.type,
            table.label or (table.id or table.type).replace("_", " "),
            table.category or CATEGORIES.get(table.type, "energy"),
            self.notes.seasons(table.seasons, where),
            round_to(table.rounding) if table.rounding else None,
        )

    def loss(self, table: tables.LossTable, where: str) -> Loss | None:
        """One kind of losses."""
        rounding = round_to(table.rounding, 1000)
        if (table.kwh is None) == (table.percent is None):
            self.notes.say(where, "write either kwh or percent")
        elif table.percent is not None:
            part = Fraction(table.percent) / 100
            return Loss(
                label=table.label, kind="percent", rounding=rounding,
                num=part.numerator, den=part.denominator,
            )  # fmt: skip
        elif self.registers and table.rate not in self.registers:
            known = did_you_mean(str(table.rate), tuple(self.registers))
            self.notes.say(f"{where}.rate", f"found {table.rate!r}; {known}")
        else:
            return Loss(
                label=table.label, kind="energy", days_basis=table.days_basis, rounding=rounding,
                num=milli(table.kwh or "0"), den=1, varh=milli(table.kvarh),
                register=self.registers.get(table.rate or ""),
            )  # fmt: skip
        return None

    def _rates(self, found: Mapping[str, object], where: str) -> bool:
        """Whether every rate has its price and no other has one."""
        if not self.registers:
            self.notes.say("[registers]", f"missing; {where} has a price per rate")
            return False
        for rate in found:
            if rate not in self.registers:
                hint = did_you_mean(rate, tuple(self.registers))
                self.notes.say(where, f"no such rate {rate!r}; {hint}")
        for rate in self.registers:
            if rate not in found:
                self.notes.say(where, f"{rate!r} has no price; write one for each rate")
        return self.registers.keys() == found.keys()

    def _of(self, found: Sequence[str], at: Place) -> tuple[str, ...]:
        """The ids of a base; they stand before the component."""
        for id_ in found:
            if id_ not in at.earlier:
                hint = did_you_mean(id_, at.earlier)
                self.notes.say(f"{at.where}.of", f"no component {id_!r} before this one; {hint}")
        return tuple(found)

    def _check_steps(self, count: int, where: str) -> None:
        """There are limits, and as many steps as prices."""
        if self.steps is None:
            if not self.steps_broken:
                self.notes.say("[steps]", f"missing; {where} needs the limits of its steps")
        elif count != self.steps.count:
            self.notes.say(where, f"{count} prices for {self.steps.count} steps; write as many")

    def _named(self, label: str) -> list[Rate]:
        return [Rate(name, reg, f"{label}, {name}") for name, reg in self.registers.items()]

    @singledispatchmethod
    def make(self, table: tables.ComponentTable, at: Place) -> Component | None:
        """A component; None if something in its table is wrong."""
        raise TypeError(f"{at.where}: no component is made of {table!r}")

    @make.register
    def _flat(self, table: tables.FlatTable, at: Place) -> Component | None:
        first_wh = None if table.first_kwh is None else milli(table.first_kwh)
        return Flat(at.head, price(table.price, "kWh"), first_wh)

    @make.register
    def _steps(self, table: tables.StepPricesTable, at: Place) -> Component | None:
        self._check_steps(len(table.prices), f"{at.where}.prices")
        steps = step_prices(at.head.label, table.prices)
        telescopic = table.mode == "telescopic"
        return Telescopic(at.head, steps) if telescopic else WholeUsage(at.head, steps)

    @make.register
    def _tou(self, table: tables.TouTable, at: Place) -> Component | None:
        if bool(table.prices) == bool(table.ratios) or bool(table.ratios) != bool(table.price):
            self.notes.say(at.where, "write either prices, or price and ratios")
            return None
        if not self._rates(table.prices or table.ratios, at.where):
            return None
        if table.price is None:
            found = [price(table.prices[rate], "kWh") for rate in self.registers]
        else:
            found = [_ratio_price(table, table.ratios[rate]) for rate in self.registers]
        return TimeOfUse(
            at.head, tuple(zip(self._named(at.head.label), common(found), strict=True))
        )

    @make.register
    def _step_tou(self, table: tables.StepTouTable, at: Place) -> Component | None:
        if not self._rates(table.prices, f"{at.where}.prices"):
            return None
        for rate, texts in table.prices.items():
            self._check_steps(len(texts), f"{at.where}.prices.{rate}")
        add_ons = {
            tuple(Decimal(text) - Decimal(t[0]) for text in t) for t in table.prices.values()
        }
        filling = table.filling
        if filling is None and len(add_ons) > 1:
            self.notes.say(
                f"{at.where}.filling",
                "missing; what a step adds differs from rate to rate, so it decides about money;"
                ' write "proportional", or "in_order" with order',
            )
        order = table.order or list(self.registers)
        if (filling == "in_order") != bool(table.order) or set(order) != set(self.registers):
            self.notes.say(
                f"{at.where}.order", 'write every rate once, with filling = "in_order" only'
            )
            return None
        # Equal add-ons cost the same in any order; in order leaves whole Wh on every line.
        named = {rate.name: rate for rate in self._named(at.head.label)}
        rates = tuple((named[r], step_prices(named[r].label, table.prices[r])) for r in order)
        return StepTimeOfUse(at.head, rates, filling or "in_order")

    @make.register
    def _by_total(self, table: tables.ByTotalTable, at: Place) -> Component | None:
        made, below_wh = [], 0
        rows = self.notes.rows(tables.TotalTable, table.table, f"{at.where}.table")
        for n, row in enumerate(rows):
            place = f"{at.where}.table[{n}]"
            bounds_wh = self.notes.bounds(row.bounds, f"{place}.bounds")
            up_to_wh = None if row.up_to is None else milli(row.up_to)
            if len(row.prices) != len(row.bounds) + 1:
                self.notes.say(place, f"{len(row.prices)} prices for {len(row.bounds)} bounds;"
                               " write one more price than bounds")  # fmt: skip
            if (up_to_wh is None) != (n == len(rows) - 1):
                self.notes.say(f"{place}.up_to", "the last table has none, and all others have one")
            elif up_to_wh is not None and up_to_wh <= max((below_wh, *bounds_wh)):
                self.notes.say(
                    f"{place}.up_to", "not above the limits before it; write a larger one"
                )
            below_wh = up_to_wh or below_wh
            fixed = None if row.fixed is None else price(row.fixed, "period")
            label = f"{at.head.label}, table {n + 1}"
            made.append(Table(up_to_wh, bounds_wh, step_prices(label, row.prices), fixed))
        return ByTotal(at.head, tuple(made))

    @make.register
    def _export(self, table: tables.ExportTable, at: Place) -> Component | None:
        if (table.price is None) == (not table.prices):
            self.notes.say(at.where, "write either price or prices")
            return None
        if table.price is not None:
            return Export(at.head, (("total", at.head.label, price(table.price, "kWh")),))
        if not self._rates(table.prices, f"{at.where}.prices"):
            return None
        found = common([price(table.prices[rate], "kWh") for rate in self.registers])
        named = self._named(at.head.label)
        return Export(
            at.head,
            tuple((rate.register, rate.label, p) for rate, p in zip(named, found, strict=True)),
        )

    @make.register
    def _capacity(self, table: tables.CapacityTable, at: Place) -> Component | None:
        return Capacity(at.head, price(table.price, "kVA"), table.days_basis)

    @make.register
    def _demand(self, table: tables.DemandTable, at: Place) -> Component | None:
        discount = None
        if table.discount is not None:
            reduced = Fraction(table.price) * Fraction(table.discount.percent) / 100
            text = f"{table.price} x {table.discount.percent} %"
            load = Fraction(table.discount.kwh_per_kva)
            discount = LoadDiscount(load, price_of(reduced, "kW", text))
        each = price(table.price, "kW")
        return Demand(at.head, each, table.rule, table.days_basis, discount)

    @make.register
    def _fixed(self, table: tables.FixedTable, at: Place) -> Component | None:
        zero_use = None if table.zero_use is None else price(table.zero_use, "period")
        return Fixed(at.head, price(table.amount, "period"), table.days_basis, zero_use)

    @make.register
    def _daily(self, table: tables.DailyTable, at: Place) -> Component | None:
        return Daily(at.head, price(table.amount, "day"))

    @make.register
    def _power_factor(self, table: tables.PowerFactorTable, at: Place) -> Component | None:
        return PowerFactor(at.head, milli(table.standard) // 10, self._of(table.of, at))

    @make.register
    def _percent(self, table: tables.PercentTable, at: Place) -> Component | None:
        return Percent(at.head, Fraction(table.percent), table.percent, self._of(table.of, at))

    @make.register
    def _minimum(self, table: tables.MinimumTable, at: Place) -> Component | None:
        of = self._of(table.of or at.earlier, at)
        return Minimum(at.head, price(table.amount, "period"), of)


def _ratio_price(table: tables.TouTable, ratio: str) -> Price:
    """A price that is a ratio of the flat price."""
    exact = Fraction(table.price or "0") * Fraction(ratio)
    if table.price_rounding is None:
        return price_of(exact, "kWh", f"{table.price} x {ratio}")
    amount_e4 = round_to(table.price_rounding)(exact.numerator * YUAN_E4, exact.denominator)
    return price_of(Fraction(amount_e4, YUAN_E4), "kWh", yuan(amount_e4))


def step_prices(label: str, texts: Sequence[str]) -> tuple[tuple[str, Price], ...]:
    """Label and price of each step."""
    found = common([price(text, "kWh") for text in texts])
    return tuple((f"{label}, step {n}", each) for n, each in enumerate(found, 1))


def price(text: str, unit: Unit) -> Price:
    """A price as the file has it."""
    return price_of(Fraction(text), unit, text)


def common(found: Sequence[Price]) -> list[Price]:
    """Prices over one denominator, so that their amounts add up as integers."""
    den = lcm(*(each.den for each in found))
    return [Price(each.num * (den // each.den), den, each.text) for each in found]


def milli(text: str) -> int:
    """A number of kWh in Wh."""
    return int(Decimal(text).scaleb(3))
