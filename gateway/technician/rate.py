"""``taiqu rate``: the bill for a usage, line by line, so that a customer can follow it.

The same function reckons the gateway's daily charges.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from gateway.prepayment.bill import Bill, bill, decimal
from gateway.prepayment.money import yuan
from gateway.prepayment.reckoning import SCALE
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.usage import Usage, UsageError
from gateway.prepayment.usage_file import read_usage
from gateway.technician.tariff import load_tariff

USAGE_MAX_BYTES = 65_536


def load_usage(path: Path, tariff: Tariff) -> Usage:
    """The usage in a JSON file.  Raises UsageError with every problem."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}") from error
    if len(raw) > USAGE_MAX_BYTES:
        raise UsageError(f"{len(raw)} bytes; a usage has at most {USAGE_MAX_BYTES}")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid JSON: {error}") from error
    return read_usage(found, tariff)


def as_json(made: Bill) -> dict[str, Any]:
    """A bill as data; amounts and quantities are exact decimal text."""
    tariff = made.tariff
    return {
        "tariff": {"id": tariff.id, "version": tariff.version, "digest": tariff.digest},
        "example": tariff.example,
        "currency": tariff.currency,
        "lines": [
            {
                "component": line.component,
                "label": line.label,
                "category": line.category,
                "quantity": decimal(line.quantity, SCALE[line.unit]),
                "unit": line.unit,
                "price": line.price,
                "share": f"{line.share[0]}/{line.share[1]}",
                "formula": made.formula(line),
                "amount": yuan(line.amount_e4),
            }
            for line in made.lines
        ],
        "rounding": yuan(made.rounding_e4),
        "total": yuan(made.total_e4),
        "step_kwh": [decimal(wh, 1000) for wh in made.step_wh],
    }


def as_table(made: Bill) -> str:
    """A bill for a person."""
    tariff = made.tariff
    rows = [(line.label, made.formula(line), yuan(line.amount_e4)) for line in made.lines]
    if made.rounding_e4:
        rows.append(("rounding", "", yuan(made.rounding_e4)))
    rows.append(("total", "", yuan(made.total_e4)))
    head = f"{tariff.name or tariff.id}, version {tariff.version}, in {tariff.currency}"
    if tariff.example:
        head += "\nAn example: its prices are not to be relied on."
    columns = ("", "how it comes about", "amount")
    table = tabulate(
        rows, headers=columns, colalign=("left", "left", "right"), disable_numparse=True
    )
    return f"{head}\n\n{table}"


@click.command()
@click.argument("tariff_path", metavar="TARIFF.toml", type=click.Path(path_type=Path))
@click.argument("usage_path", metavar="USAGE.json", type=click.Path(path_type=Path))
@click.option("--json", "as_data", is_flag=True, help="Print the bill as JSON.")
def rate(tariff_path: Path, usage_path: Path, as_data: bool) -> None:
    """Reckon the bill for a usage and show every line: formula, price, rounding, total.

    USAGE.json is an object.  Numbers are decimal text (or whole numbers), never floats:

    \b
      kwh              "360.5", or by rate {"peak": "120.5", "valley": "240"}
      kvarh            "81", both directions added
      reverse_kwh      exported energy, as kwh
      demand_kw        maximum demand, "950"; contract_kw: contracted, "1000"
      capacity         kVA "315", or [{"kva": "315", "days": 18}, {"kva": "400", "days": 12}]
      days             days covered; the whole settlement period if left out
      period_days      days of that period; by the tariff and day if left out
      day              the last day covered, "2026-07-31"; decides seasonal prices
      step_before_kwh  energy before in the same step period, "2700"
      step_used_kwh    the same by step, ["2760", "120"], if limits changed meanwhile
      step_share       part of the step limits, "5/12", for an account opened meanwhile

    Exit status 0, or 2 for a tariff or a usage that cannot be used.
    """  # noqa: D301 - click wants the backspace itself
    tariff = load_tariff(tariff_path)
    try:
        made = bill(tariff, load_usage(usage_path, tariff))
    except UsageError as error:
        for problem in str(error).splitlines():
            click.echo(f"{usage_path}: {problem}", err=True)
        sys.exit(2)
    click.echo(
        json.dumps(as_json(made), ensure_ascii=False, indent=2) if as_data else as_table(made)
    )
