"""``taiqu tariff``: whether a tariff file is good, and what it says.

Not supported: the tariffs of a running gateway; these are files.
"""

import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from gateway.prepayment.periods import Days, Period, Seasons, Span
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.tariff_reader import TariffError, parse


def read_text(path: Path) -> str:
    """The text of a tariff file.  Raises TariffError if it cannot be read."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise TariffError([f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise TariffError([f"not UTF-8 text at byte {error.start}"]) from error


def load_tariff(path: Path) -> Tariff:
    """The tariff at ``path``; every problem goes to stderr, one a line, and then exit 2."""
    try:
        return parse(read_text(path))
    except TariffError as error:
        for problem in error.problems:
            click.echo(f"{path}: {problem}", err=True)
    sys.exit(2)


@click.group()
def tariff() -> None:
    """Check or show tariff files (电价方案).

    A tariff file is TOML with its own check vectors; config/tariffs/ has examples of every kind.
    """


@tariff.command()
@click.argument(
    "paths",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
def check(paths: tuple[Path, ...]) -> None:
    """Check tariff files: every problem at once, and whether their own checks come out.

    Exit status 0 if all are good, 2 if one is not.
    """
    bad = False
    for path in paths:
        try:
            text = read_text(path)
            found = parse(text)
        except TariffError as error:
            bad = True
            for problem in error.problems:
                click.echo(f"{path}: {problem}", err=True)
            continue
        count = len(tomllib.loads(text)["check"])
        checks = f"{count} check{'s' if count > 1 else ''} right"
        note = "; an example, its prices are not to be relied on" if found.example else ""
        click.echo(f"{path}: good; {found.id} version {found.version}, {checks}{note}")
    sys.exit(2 if bad else 0)


@tariff.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--day", metavar="YYYY-MM-DD", help="Also show the periods this day lies in.")
def show(path: Path, day: str | None) -> None:
    """Show what a tariff file says.

    Exit status 0, or 2 for a file that cannot be used.
    """
    found = load_tariff(path)
    try:
        on = date.fromisoformat(day) if day else None
    except ValueError:
        raise click.BadParameter(f"{day!r} is no day; write it like 2026-07-15") from None
    facts = overview(found) + (periods_on(found, on) if on else [])
    click.echo(tabulate(facts, tablefmt="plain", disable_numparse=True))
    rows = tomllib.loads(read_text(path))["component"]
    click.echo("\n" + tabulate(components(rows), headers=("component", "kind", "what it says")))


def overview(found: Tariff) -> list[tuple[str, str]]:
    """The facts about a tariff that stand above its components."""
    until = f" to {found.valid_to}" if found.valid_to else ""
    facts = [
        ("tariff", f"{found.id} version {found.version}"),
        ("name", found.name or "-"),
        ("valid", f"from {found.valid_from}{until}"),
        ("currency", found.currency),
        ("source", f"{found.source or '-'}{f', {found.source_date}' if found.source_date else ''}"),
        ("settled", _period(found.settlement)),
    ]
    if found.example:
        facts.insert(1, ("example", "its prices are not to be relied on"))
    if found.steps:
        limits = ", ".join(f"{wh / 1000:g}" for wh in found.steps.bounds)
        facts.append(("steps", f"up to {limits} kWh per period of {_period(found.steps.period)}"))
    if found.registers:
        rates = ", ".join(f"{register} {rate}" for rate, register in found.registers.items())
        facts.append(("registers", rates))
    facts.append(("digest", found.digest))
    return facts


def periods_on(found: Tariff, day: date) -> list[tuple[str, str]]:
    """The periods ``day`` lies in."""
    return [
        ("settlement period", _span(found.settlement_period(day))),
        ("step period", _span(found.step_period(day))),
        ("one bill covers", _span(found.segment(day))),
    ]


def components(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Each component with what the file says about it."""
    return [
        (
            row.get("id", row["type"]),
            row["type"],
            "\n".join(
                f"{key}: {_shown(found)}"
                for key, found in row.items()
                if key not in {"id", "type", "label"}
            ),
        )
        for row in rows
    ]


def _shown(found: object) -> str:
    if isinstance(found, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in found.items())
    if isinstance(found, list):
        return " / ".join(_shown(each) for each in found)
    return str(found)


def _span(span: Span) -> str:
    return f"{span[0]} to {span[1]}"


def _period(period: Period) -> str:
    if isinstance(period, Days):
        days = "every day" if period.days == 1 else f"every {period.days} days"
        return f"{days}, as from {period.anchor}"
    if isinstance(period, Seasons):
        return "seasons " + ", ".join(str(season) for season in period.seasons)
    every = "every month" if period.months == 1 else f"every {period.months} months"
    from_month = f" of month {period.start_month}" if period.months > 1 else ""
    return f"{every}, from day {period.start_day}{from_month}"
