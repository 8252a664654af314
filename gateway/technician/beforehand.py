"""``taiqu disconnect calendar`` and ``served``: what has to be known before anybody is cut.

The head-end says so by MQTT; a technician with the calendar on a stick, or with a receipt in his
hand, says it here.
"""

import json
from pathlib import Path
from typing import Any

import click

from gateway.north.contract import instant
from gateway.technician.account_orders import Sender, order

WHAT = click.Choice(["dunning", "notice", "last_call"])


def _table(_context: object, _option: object, path: Path) -> dict[str, Any]:
    """Take a JSON file.  Raises BadParameter if it is none."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.BadParameter(f"{path}: not JSON: {error}") from error
    if not isinstance(table, dict):
        raise click.BadParameter(f"{path}: write an object with version, first, last, hours ...")
    return table


@click.command()
@order
@click.argument("windows", metavar="FILE", type=click.Path(path_type=Path), callback=_table)
def calendar(sender: Sender, windows: dict[str, Any]) -> None:
    """Put the calendar of protected times in FILE (JSON).  Needs a key with the role protect.

    FILE is what stands under windows in the command calendar.put.  Without a calendar nobody is
    cut at all.
    """
    sender.send(name="calendar.put", windows=windows)


@click.command()
@order
@click.argument("number")
@click.option("--what", type=WHAT, required=True)
@click.option("--round", "round_", type=click.IntRange(1), required=True, help="As list shows it.")
@click.option("--channel", required=True, help="How: paper, visit, sms, phone ...")
@click.option("--receipt", required=True, help="What proves it; it is kept for ever.")
def served(sender: Sender, number: str, what: str, round_: int, channel: str, receipt: str) -> None:
    """Prove that a customer was told just now.  Needs a key with the role request."""
    sender.send(
        name="notice.served",
        account=number,
        round=round_,
        what=what,
        channel=channel,
        served=instant(sender.at.clock.now()),
        receipt=receipt,
    )
