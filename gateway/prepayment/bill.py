"""The bill: what a tariff makes of a usage.  A daily charge is the difference of two bills.

``bill`` is one pure function for everything: the gateway bills each segment so far every day and
posts what the total has grown by, so the days add up to the bill without drift; ``taiqu rate``
prints the same bill line by line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.prepayment.money import divide, yuan
from gateway.prepayment.reckoning import (
    ONE,
    SCALE,
    Category,
    Component,
    Line,
    Run,
    check_amount,
    price_of,
)
from gateway.prepayment.tariff import Loss, Tariff
from gateway.prepayment.usage import Usage, UsageError

DECIMALS_MAX = 8
"""Of an exact amount in a formula."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What is owed for a usage, and why."""

    tariff: Tariff
    lines: tuple[Line, ...]
    total_e4: int
    """After all rounding, in 1/10,000 yuan; negative if more was exported than used."""
    step_wh: tuple[int, ...]
    """Energy by step, if the tariff has steps: added up over the earlier segments of a step period
    it is the next one's ``Usage.step_used_wh``."""

    @property
    def rounding_e4(self) -> int:
        """What rounding the total added to the lines."""
        return self.total_e4 - sum(line.amount_e4 for line in self.lines)

    def by_category(self) -> dict[Category, int]:
        """The lines added up by category, in 1/10,000 yuan; without ``rounding_e4``."""
        sums: dict[Category, int] = {}
        for line in self.lines:
            sums[line.category] = sums.get(line.category, 0) + line.amount_e4
        return sums

    def formula(self, line: Line) -> str:
        """How a line comes about, for the customer: ``2.5 kWh x 0.538 yuan/kWh = 1.345``."""
        currency = "yuan" if self.tariff.currency == "CNY" else self.tariff.currency
        parts = [
            f"{decimal(line.quantity, SCALE[line.unit])} {line.unit.replace('yuan', currency)}"
        ]
        if line.price.endswith("%"):
            parts.append(line.price)
        elif line.price:
            parts.append(f"{line.price} {currency}/{line.unit}")
        if line.share != ONE:
            parts.append(f"{line.share[0]}/{line.share[1]}")
        exact = decimal(line.exact[0], line.exact[1] * 10_000)
        text = " x ".join(parts) + f" = {exact}" if line.price else exact
        if Fraction(*line.exact) != line.amount_e4:
            text += f", rounded {yuan(line.amount_e4)}"
        return text


def bill(tariff: Tariff, usage: Usage) -> Bill:
    """What ``usage`` costs by ``tariff``.

    Raises UsageError if the usage lacks what the tariff needs, or the bill is larger than any
    amount we keep.
    """
    run = _run(tariff, usage, ONE)
    _prepare(run, tariff)
    for component in tariff.components:
        _reckon(run, component)
    return _total(run, tariff)


def bill_by_days(versions: Sequence[tuple[Tariff, int]], usage: Usage) -> Bill:
    """What ``usage`` costs where a price changed within it and no meter was read that day.

    Each version, with its number of days, prices the whole usage and counts by its share of the
    days (按天数分摊); step limits are not split.  A rounding of lines or of a component applies to
    each version's share; the last version says how the total is rounded.

    Raises UsageError as ``bill`` does, and if the versions have different components.
    """
    ids = {tuple(part.head.id for part in tariff.components) for tariff, _ in versions}
    if len(ids) != 1:
        raise UsageError("the versions of the tariff have different components; bill them apart")
    whole = sum(days for _, days in versions)
    runs = [_run(tariff, usage, (days, whole)) for tariff, days in versions]
    first = runs[0]
    for run, (tariff, _) in zip(runs, versions, strict=True):
        run.lines, run.sums = first.lines, first.sums
        _prepare(run, tariff)
    for n in range(len(ids.pop())):
        for run, (tariff, _) in zip(runs, versions, strict=True):
            _reckon(run, tariff.components[n])
    return _total(first, versions[-1][0])


def _run(tariff: Tariff, usage: Usage, part: tuple[int, int]) -> Run:
    return Run(
        usage,
        dict(usage.energy_wh),
        usage.total_wh,
        usage.reactive_varh,
        tariff.steps,
        tariff.line_rounding,
        part=part,
    )


def _reckon(run: Run, component: Component) -> None:
    """Reckon a component, if it holds on these days."""
    seasons = component.head.seasons
    if seasons:
        day = run.usage.day
        if day is None:
            raise UsageError("day: missing; some prices of this tariff depend on the season")
        if not any(day in season for season in seasons):
            return
    run.component(component)


def _total(run: Run, tariff: Tariff) -> Bill:
    if tariff.steps is not None:
        run.fill_steps()
    num, den = run.base(run.sums)
    total_e4 = check_amount(tariff.total_rounding(num, den))
    return Bill(tariff, tuple(run.lines), total_e4, run.step_wh)


def _prepare(run: Run, tariff: Tariff) -> None:
    """The energy to be priced: with losses, and rounded."""
    for loss in tariff.losses:
        _add_loss(run, loss)
    if (rounding := tariff.usage_rounding) is not None:
        run.total_wh = rounding(run.total_wh, 1)
        for register, wh in run.energy_wh.items():
            run.energy_wh[register] = rounding(wh, 1)


def _add_loss(run: Run, loss: Loss) -> None:
    """Add one kind of loss to the energy, with a line that says so and costs nothing by itself."""
    before_wh = run.total_wh
    if loss.kind == "percent":
        for register, wh in run.energy_wh.items():
            run.energy_wh[register] = wh + loss.rounding(wh * loss.num, loss.den)
        run.total_wh += loss.rounding(run.total_wh * loss.num, loss.den)
    else:
        share = run.share(loss.days_basis)
        lost_wh = loss.rounding(loss.num * share[0], loss.den * share[1])
        run.total_wh += lost_wh
        run.reactive_varh += divide(loss.varh * share[0], share[1])
        if loss.register is not None:
            run.energy_wh[loss.register] = run.energy_wh.get(loss.register, 0) + lost_wh
    run.add(loss.label, run.total_wh - before_wh, "kWh", price_of(Fraction(0), "kWh", "0"))


def decimal(num: int, den: int) -> str:
    """``num / den`` as a decimal for a person: exact, or to DECIMALS_MAX decimals with dots."""
    sign, (whole, rest) = "-" if num * den < 0 else "", divmod(abs(num), abs(den))
    digits = ""
    while rest and len(digits) < DECIMALS_MAX:
        digit, rest = divmod(rest * 10, abs(den))
        digits += str(digit)
    return f"{sign}{whole}{'.' if digits else ''}{digits}{'...' if rest else ''}"
