"""How a bill is reckoned: exact amounts, line by line, each rounded where the tariff says so.

An exact amount is a pair of integers (numerator, denominator) in 1/10,000 yuan.  A line is
always quantity x price x share; quantities are integers of a thousandth of their unit (Wh for kWh,
VA for kVA), of 1/10,000 for yuan, and whole days.  No decimals and no fractions on the way: two
bills per account and day have to cost little.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm
from typing import Literal, Protocol

from gateway.prepayment.money import AMOUNT_MAX_E4, DIVIDE, YUAN_E4, Rounding
from gateway.prepayment.periods import Season
from gateway.prepayment.steps import Steps
from gateway.prepayment.usage import Usage, UsageError

Exact = tuple[int, int]
Category = Literal[
    "energy", "basic", "power_factor", "funds", "fixed", "tax", "adjustment", "export"
]
"""What an amount is for: the journal keeps these apart."""
Unit = Literal["kWh", "kVA", "kW", "day", "period", "yuan"]

SCALE: Mapping[Unit, int] = {
    "kWh": 1000, "kVA": 1000, "kW": 1000, "day": 1, "period": 1, "yuan": YUAN_E4,
}  # fmt: skip
"""How many steps of a quantity make one of its unit."""

ONE = (1, 1)


@dataclass(frozen=True, slots=True)
class Price:
    """A price, such that quantity x num / den is the amount in 1/10,000 yuan."""

    num: int
    den: int
    text: str
    """As the tariff has it."""


def price_of(amount: Fraction, unit: Unit, text: str) -> Price:
    """A price in yuan per unit."""
    exact = amount * YUAN_E4 / SCALE[unit]
    return Price(exact.numerator, exact.denominator, text)


@dataclass(frozen=True, slots=True)
class RoundTo:
    """To which unit and how something is rounded."""

    unit: int
    """In 1/10,000 yuan for money, in Wh for energy."""
    rounding: Rounding
    divide: Callable[[int, int], int]

    def __call__(self, num: int, den: int) -> int:
        """The quotient, as a multiple of the unit."""
        return self.divide(num, den * self.unit) * self.unit


def rounding_to(unit: int, rounding: Rounding = Rounding.HALF_UP) -> RoundTo:
    """Rounding to multiples of ``unit``."""
    return RoundTo(unit, rounding, DIVIDE[rounding])


_HALF_UP = DIVIDE[Rounding.HALF_UP]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: quantity x price x share = amount."""

    component: str
    """Id of the component of the tariff."""
    label: str
    category: Category
    quantity: int
    """In steps of the unit (SCALE)."""
    unit: Unit
    price: str
    """Per unit, as the tariff has it; for a percentage with its sign."""
    share: tuple[int, int]
    """The part that counts, such as (18, 30) days; (1, 1) for all of it."""
    exact: Exact
    """The amount before rounding, in 1/10,000 yuan."""
    amount_e4: int


@dataclass(frozen=True, slots=True)
class Head:
    """What all components have."""

    id: str
    label: str
    category: Category
    seasons: tuple[Season, ...] = ()
    """When it holds; always if empty."""
    rounding: RoundTo | None = None
    """Of the sum of its lines, which are then not rounded one by one."""


class Component(Protocol):
    """A part of a tariff that puts lines on the bill."""

    @property
    def head(self) -> Head:
        """Id, label, category and rounding."""
        ...

    def reckon(self, run: "Run") -> None:
        """Put the lines on the bill.  Raises UsageError if the usage lacks what it takes."""
        ...


@dataclass(slots=True)
class Run:
    """One bill while it is reckoned."""

    usage: Usage
    energy_wh: dict[str, int]
    """By register, losses added and rounded."""
    total_wh: int
    reactive_varh: int
    steps: Steps | None
    line_rounding: RoundTo | None
    lines: list[Line] = field(default_factory=list)
    sums: dict[str, Exact] = field(default_factory=dict)
    """Exact sum of each component so far."""
    part: tuple[int, int] = ONE
    """Which part of every line counts: where two tariffs share a period by its days."""
    step_wh: tuple[int, ...] = ()
    head: Head = Head("", "", "energy")
    _num: int = 0
    _den: int = 1
    _count: int = 0
    _bounds: tuple[int, ...] | None = None

    def component(self, component: Component) -> None:
        """Reckon one component."""
        head = component.head
        self.head, self._num, self._den, self._count = head, 0, 1, len(self.lines)
        component.reckon(self)
        num, den = self._num, self._den
        if head.rounding is not None:
            num, den = self._round(head.rounding, num, den), 1
        if head.id in self.sums:
            num, den = add(self.sums[head.id], (num, den))
        self.sums[head.id] = (num, den)

    def _round(self, rounding: RoundTo, num: int, den: int) -> int:
        """The component's sum, rounded; a line that is alone shows it."""
        amount_e4 = rounding(num, den)
        if len(self.lines) == self._count + 1:
            self.lines[-1] = replace(self.lines[-1], amount_e4=amount_e4)
        return amount_e4

    def add(
        self,
        label: str,
        quantity: int,
        unit: Unit,
        price: Price,
        share: tuple[int, int] = ONE,
    ) -> None:
        """Put a line of quantity x price x share on the bill."""
        num, den = quantity * price.num, price.den
        if share is not ONE:
            num, den = num * share[0], den * share[1]
        self.put(label, quantity, unit, price.text, share, (num, den))

    def put(
        self,
        label: str,
        quantity: int,
        unit: Unit,
        price: str,
        share: tuple[int, int],
        exact: Exact,
    ) -> None:
        """Put a line on the bill and count its exact amount into the component's sum."""
        if self.part is not ONE:
            share = share[0] * self.part[0], share[1] * self.part[1]
            exact = exact[0] * self.part[0], exact[1] * self.part[1]
        num, den = exact
        head, rounding = self.head, self.line_rounding
        if rounding is None or head.rounding is not None:
            amount_e4 = _HALF_UP(num, den)
            if den == self._den:
                self._num += num
            else:
                self._num, self._den = add((self._num, self._den), (num, den))
        else:
            amount_e4 = rounding.divide(num, den * rounding.unit) * rounding.unit
            self._num += amount_e4 * self._den
        self.lines.append(
            Line(head.id, label, head.category, quantity, unit, price, share, exact, amount_e4)
        )

    def base(self, ids: Iterable[str]) -> Exact:
        """The exact sum of components that come earlier."""
        found: Exact = (0, 1)
        for each in ids:
            if each in self.sums:
                found = add(found, self.sums[each])
        return found

    def register(self, register: str, rate: str) -> int:
        """Energy of a rate register, in Wh.  Raises UsageError if the usage lacks it."""
        try:
            return self.energy_wh[register]
        except KeyError:
            raise UsageError(
                f"energy {register}: missing; the tariff needs it for the rate {rate!r}"
            ) from None

    def share(self, basis: int | None) -> tuple[int, int]:
        """Which part of a price per settlement period the segment's days so far make."""
        counted, whole = self.counted(basis, self.usage.days)
        return ONE if counted == whole else (counted, whole)

    def counted(self, basis: int | None, days: int) -> tuple[int, int]:
        """As how many days of how many the first ``days`` of the segment count.

        ``basis`` is None for the days the period has, or a number of days (30) that each
        period counts as, however many it has.  Source: supply business rules (供电营业规则).
        """
        period_days = self.usage.period_days
        if basis is None:
            return days, period_days
        return (basis if days >= period_days else min(days, basis)), basis

    def bounds_wh(self) -> tuple[int, ...]:
        """The step limits that hold, in Wh; for this account and these days."""
        if self._bounds is None:
            if self.steps is None:
                raise ValueError("a component with steps needs the tariff's [steps]")
            self._bounds = self.steps.bounds_wh(self.usage)
        return self._bounds

    def fill_steps(self) -> tuple[int, ...]:
        """How much of the energy falls into each step, in Wh: the lowest fills first."""
        if not self.step_wh:
            self.step_wh = fill(self.bounds_wh(), self.usage, self.total_wh)
        return self.step_wh


def fill(bounds_wh: tuple[int, ...], usage: Usage, energy_wh: int) -> tuple[int, ...]:
    """Spread ``energy_wh`` over the steps, after what of the step period lies before."""
    filled, below = [], 0
    before, used = usage.step_before_wh, usage.step_used_wh
    for step, bound in enumerate(bounds_wh):
        width = bound - below
        taken = (used[step] if step < len(used) else 0) if used else min(before, width)
        part = min(energy_wh, max(0, width - taken))
        filled.append(part)
        energy_wh -= part
        before -= min(before, width)
        below = bound
    filled.append(energy_wh)
    return tuple(filled)


def add(left: Exact, right: Exact) -> Exact:
    """The sum of two exact amounts."""
    if left[1] == right[1]:
        return left[0] + right[0], left[1]
    den = lcm(left[1], right[1])
    return left[0] * (den // left[1]) + right[0] * (den // right[1]), den


def check_amount(amount_e4: int) -> int:
    """``amount_e4``, if it fits into the journal.  Raises UsageError beyond AMOUNT_MAX_E4."""
    if abs(amount_e4) > AMOUNT_MAX_E4:
        raise UsageError("the bill is larger than any amount we keep; look at usage and prices")
    return amount_e4
