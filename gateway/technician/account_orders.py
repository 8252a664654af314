"""The orders of ``taiqu account``: each is a command of the contract, put into the letterbox."""

import functools
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import click

from gateway.north.contract import instant
from gateway.prepayment.money import MoneyError, parse_yuan, yuan
from gateway.store.accounts import AccountReader
from gateway.technician.check import load_config
from gateway.technician.cli import config_option
from gateway.technician.letter import WAIT_S, Desk, desk, tell
from gateway.technician.stored import reading

Choice = click.Choice

MODES = ("prepay_cut", "prepay_agreement", "postpay", "mirror")
REGIMES = ("statutory", "contract_prepay", "unknown")
CLASSES = ("ordinary", "vulnerable", "critical", "life_support")


def a_day(_context: object, _option: object, text: str | None) -> str | None:
    """Take a day as it is written.  Raises BadParameter if there is no such day."""
    try:
        return text and date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no day; write it like 2026-07-01") from error


def an_amount(_context: object, _option: object, text: str | None) -> str | None:
    """Take yuan as they are written.  Raises BadParameter if it is no amount."""
    try:
        return text and yuan(parse_yuan(text))
    except MoneyError as error:
        raise click.BadParameter(str(error)) from error


number_argument = click.argument("number")
amount_argument = click.argument("amount", callback=an_amount)
day_option = click.option(
    "--day", callback=a_day, required=True, metavar="DAY", help="As in 2026-07-01."
)
# A negative amount is no option.
_SIGNED = {"ignore_unknown_options": True}


@dataclass(frozen=True, slots=True)
class Sender:
    """What every order needs, from its common options."""

    at: Desk
    key: Path | None
    wait_s: float
    as_json: bool

    def send(self, **body: Any) -> NoReturn:
        """Order ``body``, tell the answer, end with its exit status; None is left out."""
        answer = self.at.order(body, self.key, self.wait_s)
        sys.exit(tell(self.at, answer, as_json=self.as_json))


def order(function: Callable[..., None]) -> Callable[..., None]:
    """Give ``function`` the options that every order has, as its ``sender``."""

    @functools.wraps(function)
    def run(path: Path, key: Path | None, wait_s: float, as_json: bool, **given: Any) -> None:
        function(Sender(desk(load_config(path)), key, wait_s, as_json), **given)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="The answer as JSON."),
        click.option(
            "--wait",
            "wait_s",
            type=click.FloatRange(0, 600),
            default=WAIT_S,
            show_default=True,
            help="Seconds to wait for the answer.",
        ),
        click.option(
            "--key",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Sign with this private key.",
        ),
        config_option,
    ):
        run = option(run)
    return run


def _registers(pairs: Sequence[str]) -> dict[str, str]:
    """``energy_active_import=1234.56 ...`` as a table."""
    table = {}
    for pair in pairs:
        point, equals, amount = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair}: write POINT=AMOUNT, as energy_active_import=12.34")
        table[point] = amount
    return table


def _no_cut(given: Mapping[str, Any]) -> dict[str, str] | None:
    if given["no_cut"] is None:
        return None
    until = given["no_cut_until"]
    return {"reason": given["no_cut"], **({"until": until} if until else {})}


@click.command(name="open")
@order
@number_argument
@day_option
@click.option("--meter", required=True, help="Asset number of its meter.")
@click.option("--tariff", required=True, help="Id of its tariff.")
@click.option("--policy", required=True, help="Name of its row of limits ([[policy]]).")
@click.option("--mode", type=Choice(MODES), required=True)
@click.option("--regime", type=Choice(REGIMES), default="unknown", show_default=True)
@click.option("--class", type=Choice(CLASSES), default="ordinary", show_default=True)
@click.option("--no-cut", metavar="REASON", help="Never disconnect, and why.")
@click.option("--no-cut-until", callback=a_day, metavar="DAY")
@click.option("--capacity-kva")
@click.option("--demand-kw")
@click.option("--language", type=Choice(["zh", "en"]), default="zh", show_default=True)
@click.option(
    "--since",
    callback=a_day,
    metavar="DAY",
    help="The meter counts from this day's end; default: --day.",
)
@click.option(
    "--start",
    multiple=True,
    metavar="POINT=AMOUNT",
    help="Its registers at that moment; left out: its daily freeze.",
)
def open_(sender: Sender, number: str, day: str, **given: Any) -> None:
    """Open an account.

    A technician may do this without a key; changing it afterwards needs one.
    """
    agreed = {name: given[name] for name in ("capacity_kva", "demand_kw") if given[name]}
    start = _registers(given["start"])
    sender.send(
        name="account.open",
        account=number,
        opened=day,
        tariffs=[{"since": day, "tariff": given["tariff"]}],
        meters=[{"meter": given["meter"], "since": given["since"] or day, "start": start}],
        contract=agreed or None,
        no_cut=_no_cut(given),
        **{name: given[name] for name in ("mode", "regime", "class", "policy", "language")},
    )


@click.command()
@order
@number_argument
@click.option("--mode", type=Choice(MODES))
@click.option("--regime", type=Choice(REGIMES))
@click.option("--class", type=Choice(CLASSES))
@click.option("--no-cut", metavar="REASON", help="Never disconnect, and why.")
@click.option("--no-cut-until", callback=a_day, metavar="DAY")
@click.option("--dispute/--no-dispute", default=None, help="A charge is disputed.")
@click.option("--policy", help="Name of its row of limits.")
@click.option("--tariff", nargs=2, metavar="DAY ID", help="Another tariff from this day on.")
@click.option("--language", type=Choice(["zh", "en"]))
def change(sender: Sender, number: str, **given: Any) -> None:
    """Change an account; what is not given stays.  Needs a key with the role account.

    Taking protection away needs two persons: see unprotect.
    """
    names = ("mode", "regime", "class", "dispute", "policy", "language")
    tariff = given["tariff"]
    sender.send(
        name="account.change",
        account=number,
        version=_version(sender.at, number),
        no_cut=_no_cut(given),
        tariff={"since": a_day(None, None, tariff[0]), "tariff": tariff[1]} if tariff else None,
        **{name: given[name] for name in names},
    )


@click.command()
@order
@number_argument
@day_option
@click.option("--meter", help="Whose final registers are given.")
@click.option("--final", multiple=True, metavar="POINT=AMOUNT", help="Its registers at day's end.")
@click.option("--pay-out", is_flag=True, help="Pay what is left out; else it is kept.")
def close(
    sender: Sender,
    number: str,
    day: str,
    meter: str | None,
    final: tuple[str, ...],
    *,
    pay_out: bool,
) -> None:
    """Close an account with its last day.  Needs a key with the role account."""
    if final and not meter:
        raise click.BadParameter("--final needs --meter")
    sender.send(
        name="account.close",
        account=number,
        day=day,
        final={meter: _registers(final)} if meter else {},
        refund="pay_out" if pay_out else "keep",
    )


@click.command()
@order
@number_argument
@day_option
@click.option("--old", required=True, help="Asset number of the meter that was removed.")
@click.option("--new", required=True, help="Asset number of the one in its place.")
@click.option("--final", multiple=True, metavar="POINT=AMOUNT", help="The old one's registers.")
@click.option("--start", multiple=True, metavar="POINT=AMOUNT", help="The new one's registers.")
def swap(
    sender: Sender,
    number: str,
    day: str,
    old: str,
    new: str,
    final: tuple[str, ...],
    start: tuple[str, ...],
) -> None:
    """Record that a meter was replaced.  Needs a key with the role account."""
    sender.send(
        name="account.swap_meter",
        account=number,
        old=old,
        new=new,
        day=day,
        final=_registers(final),
        start=_registers(start),
    )


@click.command(context_settings=_SIGNED)
@order
@number_argument
@amount_argument
@click.option("--payment", help="Id of the payment; default: a new one.")
@click.option("--channel", default="counter", show_default=True, help="Where it was paid.")
def topup(sender: Sender, number: str, amount: str, payment: str | None, channel: str) -> None:
    """Top an account up by AMOUNT yuan, as 50.00.  Needs a key with the role money.

    The same payment counts once: when in doubt, repeat the order with the same --payment.
    """
    payment = payment or str(uuid.uuid4())
    click.echo(f"payment {payment}", err=True)
    sender.send(
        name="topup",
        payment=payment,
        account=number,
        amount=amount,
        channel=channel,
        paid=instant(sender.at.clock.now()),
    )


@click.command()
@order
@click.argument("payment")
@click.option("--reason", required=True)
def reverse(sender: Sender, payment: str, reason: str) -> None:
    """Undo a PAYMENT as a whole.  Needs a key with the role money."""
    sender.send(name="topup.reverse", payment=payment, reason=reason)


@click.command(context_settings=_SIGNED)
@order
@number_argument
@amount_argument
@click.option("--reason", required=True)
@click.option("--ledger", type=Choice(["prepaid", "debt"]), default="prepaid", show_default=True)
def adjust(sender: Sender, number: str, amount: str, reason: str, ledger: str) -> None:
    """Adjust a balance by AMOUNT yuan; below zero is to the customer's cost.

    Needs a key with the role money.
    """
    sender.send(name="adjust", account=number, amount=amount, ledger=ledger, reason=reason)


@click.command()
@order
@number_argument
@click.argument("text", nargs=-1, required=True)
def voucher(sender: Sender, number: str, text: tuple[str, ...]) -> None:
    """Hand in an offline voucher: type or scan its TEXT; blanks do not matter.

    After several mistyped ones an account has to wait before the next.
    """
    sender.send(name="voucher", account=number, text=" ".join(text))


@click.command()
@order
@number_argument
def emergency(sender: Sender, number: str) -> None:
    """Draw an account's emergency credit: once until it is repaid."""
    sender.send(name="emergency", account=number)


@click.command()
@order
@number_argument
@click.option("--class", type=Choice(CLASSES), help="The lower class.")
@click.option("--no-cut", is_flag=True, help="Remove the veto.")
@click.option("--dispute", is_flag=True, help="The dispute is settled.")
@click.option("--mode", type=Choice(MODES))
@click.option("--reason", required=True)
def unprotect(sender: Sender, number: str, reason: str, **given: Any) -> None:
    """Take protection away: the same order by two keys with the role protect.

    The first is kept for a day; the second one does it.
    """
    sender.send(
        name="protect.remove",
        account=number,
        version=_version(sender.at, number),
        reason=reason,
        **given,
    )


def _version(at: Desk, number: str) -> int:
    """The version that is to be changed: if somebody is faster, the change is refused."""
    with reading(at.config.database) as file:
        found = AccountReader(file).current(number)
    if found is None:
        raise click.ClickException(f"no account {number}; taiqu account list shows them all")
    return found.version


COMMANDS = (open_, change, close, swap, topup, reverse, adjust, voucher, emergency, unprotect)
