"""``taiqu voucher``: read an offline voucher (离线充值码), or issue one.

Handing one in is ``taiqu account voucher``.  Who sells vouchers issues them by a program of his
own, and counts each account's numbers; here a tester issues them one by one.
"""

import json
import sys
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from gateway.clock import SystemClock
from gateway.config import Config
from gateway.keys import KeyFileError, read_private
from gateway.prepayment import voucher as vouchers
from gateway.prepayment.money import FEN_E4, MoneyError, parse_yuan, yuan
from gateway.prepayment.voucher import Voucher, VoucherError
from gateway.technician.check import load_config

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
qr_option = click.option(
    "--qr/--no-qr", default=None, help="Also as QR code; default: in a terminal."
)


@click.group()
def voucher() -> None:
    """Read an offline voucher, or issue one for a test.

    It is handed in with: taiqu account voucher NUMBER TEXT.
    """


@voucher.command()
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar="TAIQU_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="Verify it with the keys of this gateway.",
)
@json_option
@qr_option
def show(text: tuple[str, ...], path: Path | None, *, as_json: bool, qr: bool | None) -> None:
    """Show what a voucher's TEXT says; blanks and hyphens do not matter.

    Exit status 1 if it is mistyped or, with a configuration, its signature does not hold.
    """
    try:
        found = vouchers.parse(" ".join(text))
    except VoucherError as error:
        raise click.ClickException(str(error)) from error
    problem = _problem(found, load_config(path)) if path else "not verified: give a --config"
    if as_json:
        click.echo(json.dumps(_tree(found, problem if path else None)))
    else:
        rows = [*_facts(found), ("signature", problem or "holds")]
        click.echo(tabulate(rows, tablefmt="plain", disable_numparse=True))
        _show_qr(vouchers.to_text(found), wanted=qr)
    sys.exit(1 if path and problem else 0)


@voucher.command()
@click.argument("account")
@click.argument("amount")
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The private key that signs: taiqu key new makes one.",
)
@click.option(
    "--key-id",
    default=1,
    show_default=True,
    help="That key's number in the gateway's [[voucher_key]].",
)
@click.option("--number", required=True, type=int, help="Counted per account, from 1 on.")
@click.option("--year", type=int, help="The last year it is good in; default: the next one.")
@click.option("--payment", help="Id of the payment; default: a new one.")
@json_option
@qr_option
def issue(account: str, amount: str, *, as_json: bool, qr: bool | None, **given: Any) -> None:
    """Issue a voucher of AMOUNT yuan, as 50.00, for ACCOUNT.

    A number is used once, and is at most 64 beyond the highest one used.  The same payment sold
    online counts once.
    """
    this_year = datetime.fromtimestamp(SystemClock().now(), UTC).year
    try:
        wanted = Voucher(
            key=given["key_id"],
            account=account,
            number=given["number"],
            amount_fen=_fen(amount),
            last_year=given["year"] or this_year + 1,
            payment=given["payment"] or uuid.uuid4().hex[:16],
        )
        text = vouchers.issue(wanted, read_private(given["key"]).seed)
    except (KeyFileError, MoneyError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_tree(wanted, None) | {"text": text}))
        return
    click.echo(text)
    _show_qr(text, wanted=qr)


def _fen(amount: str) -> int:
    fen, rest = divmod(parse_yuan(amount), FEN_E4)
    if rest:
        raise MoneyError(f"{amount}: a voucher is in whole fen, like 50.00")
    return fen


def _problem(found: Voucher, config: Config) -> str:
    """Why the gateway would not take its signature; empty: it does."""
    keys = config.prepayment.voucher_keys if config.prepayment else {}
    try:
        vouchers.verify(found, keys)
    except VoucherError as error:
        return str(error)
    return ""


def _facts(found: Voucher) -> list[tuple[str, str]]:
    return [
        ("account", found.account),
        ("amount", f"{yuan(found.amount_fen * FEN_E4)} yuan"),
        ("number", str(found.number)),
        ("good until", f"the end of {found.last_year}"),
        ("payment", found.payment),
        ("signed with", f"key {found.key}"),
    ]


def _tree(found: Voucher, problem: str | None) -> dict[str, object]:
    """The voucher; ``problem`` is None where nothing was verified."""
    tree = asdict(found) | {"amount": yuan(found.amount_fen * FEN_E4)}
    del tree["signature"], tree["amount_fen"]
    return tree if problem is None else tree | {"holds": not problem, "problem": problem}


def _show_qr(text: str, *, wanted: bool | None) -> None:
    if sys.stdout.isatty() if wanted is None else wanted:
        click.echo("\n" + vouchers.qr_text(text))
