"""From the tables of a tariff file to its periods, steps and windows; every problem is noted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar, get_args

from pydantic import ValidationError

from gateway.explain import did_you_mean, explain
from gateway.prepayment.periods import (
    Days,
    Months,
    Period,
    Season,
    SeasonError,
    Seasons,
    parse_season,
)
from gateway.prepayment.steps import Bounds, Steps
from gateway.prepayment.tariff_file import (
    ChangeTable,
    SeasonBoundsTable,
    SettlementTable,
    StepsTable,
    Table,
    TariffTable,
    Weekday,
    WindowTable,
)
from gateway.prepayment.windows import DAY_MINUTES, DayTable, DayType, Switch, Windows, clock

T = TypeVar("T", bound=Table)

LEAP_YEAR = [date(2024, 1, 1) + timedelta(days=n) for n in range(366)]
"""Every day that a year can have."""
WEEKDAYS: tuple[str, ...] = get_args(Weekday)


@dataclass(slots=True)
class Notes:
    """Collects what is wrong, so that a mistake does not hide the next one."""

    problems: list[str] = field(default_factory=list)

    def say(self, where: str, problem: str) -> None:
        """Note a problem at a place in the file."""
        self.problems.append(f"{where}: {problem}")

    def table(self, model: type[T], found: object, where: str) -> T | None:
        """A table of the file, or None if something in it is wrong."""
        try:
            return model.model_validate(found)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.say(*explain(model, detail, where))
        return None

    def rows(self, model: type[T], found: list[dict[str, object]], where: str) -> list[T]:
        """The good rows of an array of tables."""
        rows = [self.table(model, row, f"{where}[{n}]") for n, row in enumerate(found)]
        return [row for row in rows if row is not None]

    def seasons(self, texts: Sequence[str], where: str) -> tuple[Season, ...]:
        """The seasons that are ones."""
        seasons = []
        for n, text in enumerate(texts):
            try:
                seasons.append(parse_season(text))
            except SeasonError as error:
                self.say(f"{where}.seasons[{n}]", str(error))
        return tuple(seasons)

    def bounds(self, texts: Sequence[str], where: str) -> Bounds:
        """Limits in Wh, which have to grow."""
        bounds = tuple(int(Decimal(text).scaleb(3)) for text in texts)
        below, below_text = 0, "0"
        for text, bound in zip(texts, bounds, strict=True):
            if bound <= below:
                self.say(where, f"found {text!r} after {below_text!r}; write larger limits upwards")
            below, below_text = bound, text
        return bounds


def settlement_of(table: SettlementTable, notes: Notes) -> Months | Days:
    """The settlement period."""
    if table.every == "days":
        if table.days is None or table.anchor is None:
            notes.say("settlement", "days and anchor belong together; write both")
        elif table.start_day != 1 or table.start_month != 1:
            notes.say("settlement", "periods of days begin at their anchor; leave start_ out")
        return Days(table.days or 1, table.anchor or date(2000, 1, 1))
    if table.days is not None or table.anchor is not None:
        notes.say("settlement", f'days and anchor have no meaning for every = "{table.every}"')
    return Months(1 if table.every == "month" else 2, table.start_day, table.start_month)


def steps_of(table: StepsTable, settlement: Months | Days, notes: Notes) -> Steps:
    """The limits of the steps and the period over which they count."""
    by_season = []
    for n, row in enumerate(notes.rows(SeasonBoundsTable, table.season, "steps.season")):
        where = f"steps.season[{n}]"
        by_season.append((notes.seasons(row.seasons, where), notes.bounds(row.bounds, where)))
    changes = [
        (row.since, notes.bounds(row.bounds, f"steps.change[{n}]"))
        for n, row in enumerate(notes.rows(ChangeTable, table.change, "steps.change"))
    ]
    bounds = notes.bounds(table.bounds, "steps.bounds")
    if table.period == "season" and by_season:
        _check_year([seasons for seasons, _ in by_season], notes)
        bounds = bounds or by_season[0][1]
    elif not bounds:
        notes.say("steps.bounds", 'missing; write the limits, like ["2760", "4800"]')
    steps = Steps(
        period=_step_period(table, settlement, [seasons for seasons, _ in by_season], notes),
        bounds=bounds,
        by_season=tuple(by_season),
        changes=tuple(changes),
        scale_days=table.scale_days,
        proration=table.proration,
    )
    _check_steps(steps, notes)
    return steps


def _check_steps(steps: Steps, notes: Notes) -> None:
    bounds, by_season, changes = steps.bounds, steps.by_season, steps.changes
    if len({len(each) for each in (bounds, *(b for _, b in (*by_season, *changes)))}) > 1:
        notes.say("steps", "some limits make more steps than others; write as many everywhere")
    if [since for since, _ in changes] != sorted({since for since, _ in changes}):
        notes.say("steps.change", "their days have to grow; write the earliest first")
    if by_season and changes:
        notes.say("steps.change", "not together with [[steps.season]]; write a new version")


def _step_period(
    table: StepsTable,
    settlement: Months | Days,
    groups: Sequence[tuple[Season, ...]],
    notes: Notes,
) -> Period:
    if table.scale_days is not None and table.period != "settlement":
        notes.say("steps.scale_days", 'scales with the days of a bill; write period = "settlement"')
    if table.period == "settlement":
        return settlement
    if table.period == "season":
        if not groups:
            notes.say("steps.season", "missing; the period is the season")
        return Seasons(tuple(season for seasons in groups for season in seasons))
    months = {"month": 1, "two_months": 2, "year": 12}[table.period]
    return Months(months, table.start_day, table.start_month)


def _check_year(groups: Sequence[tuple[Season, ...]], notes: Notes) -> None:
    """Seasons that are periods make up the year, each day in one of them."""
    for day in LEAP_YEAR:
        count = sum(day in season for seasons in groups for season in seasons)
        if count != 1:
            what = "in no season" if not count else "in two seasons"
            notes.say("steps.season", f"{day:%m-%d} is {what}; let each day be in one")
            return


def windows_of(table: TariffTable, rates: Iterable[str], notes: Notes) -> Windows | None:
    """The day tables; each day of each kind has exactly one, and it has no gap."""
    if not table.window:
        return None
    before, known, tables = len(notes.problems), tuple(rates), []
    for n, row in enumerate(notes.rows(WindowTable, table.window, "window")):
        where = f"window[{n}]"
        for rate in row.rates:
            if rate not in known:
                notes.say(f"{where}.rates", f"no such rate {rate!r}; {did_you_mean(rate, known)}")
        tables.append(
            DayTable(
                notes.seasons(row.seasons, where),
                frozenset(row.days),
                frozenset(row.dates),
                _switches(row, f"{where}.rates", notes),
            )
        )
    tables.sort(key=lambda each: not each.dates)
    windows = Windows(
        tuple(tables),
        frozenset(table.holidays),
        frozenset(WEEKDAYS.index(name) for name in table.weekend),
    )
    if len(notes.problems) == before:
        _check_days(windows, notes)
    return windows


def _switches(row: WindowTable, where: str, notes: Notes) -> tuple[Switch, ...]:
    """The windows of a day as switching times."""
    parts: list[tuple[int, int, str]] = []
    for rate, texts in row.rates.items():
        for text in texts:
            first, last = (_minute(each) for each in text.split("-"))
            if first is None or last is None or first in {last, DAY_MINUTES}:
                notes.say(where, f'found {text!r}; write a window like "22:00-06:00" or to "24:00"')
            elif first < last:
                parts.append((first, last, rate))
            else:
                parts += [(0, last, rate)] if last else []
                parts.append((first, DAY_MINUTES, rate))
    at = 0
    for first, last, rate in sorted(parts):
        if first != at:
            what = "have no rate" if first > at else "have two rates"
            ends = sorted((first, at))
            notes.say(
                where, f"{clock(ends[0])}-{clock(ends[1])} {what} ({rate}); write exactly one"
            )
        at = max(at, last)
    if parts and at != DAY_MINUTES:
        notes.say(where, f"{clock(at)}-24:00 have no rate; write exactly one")
    return tuple(Switch(first, rate) for first, _, rate in sorted(parts))


def _minute(text: str) -> int | None:
    hours, minutes = (int(part) for part in text.split(":"))
    minute = hours * 60 + minutes
    return minute if minutes < 60 and minute <= DAY_MINUTES else None


def _check_days(windows: Windows, notes: Notes) -> None:
    dated = [day for table in windows.tables for day in table.dates]
    if twice := {day for day in dated if dated.count(day) > 1}:
        notes.say("window", f"{min(twice)} has two tables; name each date once")
    usual = [table for table in windows.tables if not table.dates]
    kinds: tuple[DayType, ...] = get_args(DayType)
    for kind in kinds:
        for day in LEAP_YEAR:
            count = sum(table.applies(day, kind) for table in usual)
            if count != 1:
                what = "no table" if not count else "two tables"
                notes.say("window", f"a {kind} on {day:%m-%d} has {what}; write exactly one")
                break
