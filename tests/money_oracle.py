"""What every account must come to, reckoned the naive way: the oracle of the money world.

Written from the description of tariffs alone: exact fractions, day by day, the tariff file read as
what it is, a tree of texts.  Nothing of the gateway's reckoning is used, so a mistake would have to
be made twice.  Only the families that the world uses are known: flat, per_kwh, tou, steps (each
step its price), step_tou (filled in proportion), daily, fixed, export.

An account is charged from one reading that counts to the next; what lies between is spread evenly
over the days, whole Wh.  The days of one settlement period, step period and tariff version make one
bill, rounded once.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import groupby, pairwise
from typing import Any

TOTAL = "energy_active_import"
EXPORT = "energy_active_export"
DAY = timedelta(days=1)
Tree = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """Registers that count: what a meter showed at a day's end."""

    meter: str
    day: date
    registers: Mapping[str, int]


@dataclass(frozen=True)
class Meter:
    """A meter that counted from one day's end to another's."""

    meter: str
    since: date
    start: Mapping[str, int]
    until: date | None
    final: Mapping[str, int]


class Oracle:
    """Knows tariffs; reckons accounts."""

    def __init__(self, tariffs: Iterable[str]) -> None:
        """``tariffs`` are the texts of all versions there are."""
        self._versions = [tomllib.loads(text) for text in tariffs]

    def charged(
        self,
        opened: date,
        tariffs: Sequence[tuple[date, str]],
        meters: Sequence[Meter],
        known: Sequence[Known],
        capacity_wh: int,
    ) -> tuple[int, int, date]:
        """The charge in 1/10,000 yuan, the energy in Wh, and the last day that is charged."""
        days = dict(daily_use(meters, known, capacity_wh))
        charge, energy = Fraction(0), 0
        before: Counter[date] = Counter()

        def segment(day: date) -> tuple[date, date, str, int]:
            tree = self._version(tariff_on(tariffs, day), day)
            return period(tree, day), step_period(tree, day), tree["id"], tree["version"]

        for (_, step, id_, _), each in groupby(sorted(days), segment):
            some = list(each)
            used: Counter[str] = Counter()
            for day in some:
                used.update(days[day])
            tree = self._version(id_, some[-1])
            charge += bill(tree, Segment(used, some, before[step], opened))
            before[step] += used[TOTAL]
            energy += used[TOTAL]
        return int(charge * 10_000), energy, max(days, default=opened - DAY)

    def _version(self, id_: str, day: date) -> Tree:
        begun = [one for one in self._versions if one["id"] == id_ and one["valid_from"] <= day]
        valid = [one for one in begun if one.get("valid_to", date.max) >= day]
        return max(valid or begun, key=lambda one: (one["valid_from"], one["version"]))


def tariff_on(tariffs: Sequence[tuple[date, str]], day: date) -> str:
    """The id of the tariff that an account has on a day."""
    return [id_ for since, id_ in tariffs if since <= day][-1]


# --- energy ---------------------------------------------------------------------------------------


def daily_use(
    meters: Sequence[Meter], known: Sequence[Known], capacity_wh: int
) -> Iterator[tuple[date, dict[str, int]]]:
    """What each day counts for, by register."""
    by_meter: dict[str, dict[date, Mapping[str, int]]] = {one.meter: {} for one in meters}
    for reading in known:
        if reading.meter in by_meter:
            by_meter[reading.meter][reading.day] = reading.registers
    for one in meters:
        shown = by_meter[one.meter]
        if one.until:
            shown = {day: read for day, read in shown.items() if day < one.until}
            shown[one.until] = one.final
        day, registers = one.since, one.start
        for next_day in sorted(day for day in shown if day > one.since):
            yield from spread(registers, shown[next_day], day, next_day, capacity_wh)
            day, registers = next_day, shown[next_day]


def spread(
    before: Mapping[str, int], after: Mapping[str, int], first: date, last: date, capacity_wh: int
) -> Iterator[tuple[date, dict[str, int]]]:
    """Between two readings nobody knows: every day its part."""
    days = (last - first).days
    grown = {name: (after[name] - before[name]) % capacity_wh for name in before}
    for n in range(days):
        yield (
            first + (n + 1) * DAY,
            {name: wh * (n + 1) // days - wh * n // days for name, wh in grown.items()},
        )


# --- periods --------------------------------------------------------------------------------------


def period(tree: Tree, day: date) -> date:
    """The first day of the settlement period."""
    settlement = tree["settlement"]
    if settlement["every"] == "days":
        return day - timedelta(days=(day - settlement["anchor"]).days % settlement["days"])
    assert settlement == {"every": "month"}
    return day.replace(day=1)


def step_period(tree: Tree, day: date) -> date:
    """The first day of the step period."""
    every = tree["steps"]["period"] if "steps" in tree else "settlement"
    if every == "year":
        return date(day.year, 1, 1)
    return day.replace(day=1) if every == "month" else period(tree, day)


# --- money ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """Days of one settlement period, step period and version."""

    used: Mapping[str, int]
    days: Sequence[date]
    before_wh: int
    """Used before in the step period."""
    opened: date


def bill(tree: Tree, segment: Segment) -> Fraction:
    """What some days cost, in yuan."""
    lines = []
    for component in tree["component"]:
        by_step = component["type"] in ("steps", "step_tou")
        lines += list((_by_step if by_step else _lines)(tree, component, segment))
    rounding = tree.get("rounding", {})
    if "line" in rounding:
        lines = [rounded(line, rounding["line"]) for line in lines]
    return rounded(sum(lines, Fraction(0)), rounding.get("total", {"unit": "0.01"}))


def _lines(tree: Tree, component: Tree, segment: Segment) -> Iterator[Fraction]:
    used, days = segment.used, segment.days
    match component["type"]:
        case "flat" | "per_kwh":
            yield Fraction(used[TOTAL], 1000) * Fraction(component["price"])
        case "tou":
            for rate, price in component["prices"].items():
                yield Fraction(_rate_wh(tree, rate, used), 1000) * Fraction(price)
        case "daily":
            yield len(days) * Fraction(component["amount"])
        case "fixed":
            first = period(tree, days[-1])
            whole = ((first + 32 * DAY).replace(day=1) - first).days
            yield Fraction(component["amount"]) * len(days) / whole
        case "export":
            yield -Fraction(used.get(EXPORT, 0), 1000) * Fraction(component["price"])
        case other:
            raise NotImplementedError(other)


def _by_step(tree: Tree, component: Tree, segment: Segment) -> Iterator[Fraction]:
    used_wh, steps = segment.used[TOTAL], filled(tree, segment)
    if component["type"] == "steps":
        for step_wh, price in zip(steps, component["prices"], strict=True):
            yield Fraction(step_wh, 1000) * Fraction(price)
        return
    assert component.get("filling", "proportional") == "proportional"
    for rate, prices in component["prices"].items():
        for step_wh, price in zip(steps, prices, strict=True):
            if used_wh:
                rate_wh = _rate_wh(tree, rate, segment.used)
                yield Fraction(rate_wh * step_wh, used_wh * 1000) * Fraction(price)


def _rate_wh(tree: Tree, rate: str, used: Mapping[str, int]) -> int:
    [register] = [name for name, counts in tree["registers"].items() if counts == rate]
    return used[f"{TOTAL}_{register}"]


def filled(tree: Tree, segment: Segment) -> list[int]:
    """How much falls into each step, after what was used before in the step period."""
    steps, before_wh = tree["steps"], segment.before_wh
    first = step_period(tree, segment.days[-1])
    bounds = [Fraction(bound) * 1000 for bound in steps["bounds"]]
    for season in steps.get("season", ()):
        if any(_within(first, each) for each in season["seasons"]):
            bounds = [Fraction(bound) * 1000 for bound in season["bounds"]]
    if steps.get("proration") == "months" and segment.opened > first:
        assert steps["period"] == "year"
        months = 13 - segment.opened.month
        bounds = [rounded(bound * months / 12, {"unit": "1"}) for bound in bounds]
    after_wh = before_wh + segment.used[TOTAL]
    return [
        max(0, min(after_wh, high) - max(before_wh, low))
        for low, high in pairwise([0, *map(int, bounds), 10**18])
    ]


def _within(day: date, season: str) -> bool:
    first, last = season.split("..")
    shown = f"{day:%m-%d}"
    return first <= shown <= last if first <= last else shown >= first or shown <= last


def rounded(amount: Fraction, rounding: Mapping[str, str]) -> Fraction:
    """To a multiple of the unit, a half away from zero."""
    assert rounding.get("mode", "half_up") == "half_up"
    unit = Fraction(rounding["unit"])
    size = abs(amount) / unit
    whole = (2 * size.numerator + size.denominator) // (2 * size.denominator)
    return (1 if amount >= 0 else -1) * whole * unit
