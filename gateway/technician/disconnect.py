"""``taiqu disconnect``: who is to be disconnected and why, and the words of persons about it.

Two persons without a network stand here with a key file each: one requests, the other approves.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from tabulate import tabulate

from gateway.clock import SystemClock
from gateway.config import Config
from gateway.disconnection.case import State
from gateway.disconnection.friendly import protected
from gateway.disconnection.regimes import Regimes
from gateway.disconnection.votes import Action, Step, Vote
from gateway.disconnection.why import Setting
from gateway.disconnection.why import why as explain
from gateway.north.contract import instant
from gateway.prepayment.account import Account
from gateway.prepayment.money import yuan
from gateway.store.accounts import AccountReader
from gateway.store.approvals import ApprovalReader
from gateway.store.connection import Connection
from gateway.store.precautions import PrecautionReader
from gateway.switching.calendars import stored_calendar
from gateway.technician import supply
from gateway.technician.account_orders import Sender, order
from gateway.technician.check import load_config
from gateway.technician.cli import config_option
from gateway.technician.relay import moment, reason_option
from gateway.technician.stored import opened

ACTIONS = click.Choice([one.value for one in (Action.DISCONNECT, Action.TRIP, Action.SHED)])
hours_option = click.option(
    "--hours", type=click.IntRange(1, 168), help="Valid for so long from now on; default: 24."
)


@click.group()
def disconnect() -> None:
    """Show who is to be disconnected and why; request, approve, cancel.

    One key requests, another approves: nobody does both.
    """


# --- looking --------------------------------------------------------------------------------------


@disconnect.command(name="list")
@config_option
def list_(path: Path) -> None:
    """List the disconnections under way, the votes that stand, and what stops all of them.

    Then how well it went in the last 30 days: times, wrong cuts, late restores, refused cuts.
    """
    now = SystemClock().now()
    switching = load_config(path).switching
    with opened(path, None) as (file, zone):
        found = supply.cases(file)
        votes = ApprovalReader(file).standing(now)
        precautions = PrecautionReader(file)
        stops, dry = precautions.stops(), precautions.dry_run()
        summary = supply.summary(file, now, switching.times.late_s) if switching else ""
    if found is None:
        click.echo("disconnections: not available, this gateway disconnects nobody")
    else:
        rows = [
            (one.account, one.meter, one.state, moment(one.since, zone))
            for one in found
            if one.state is not State.WATCH
        ]
        click.echo(tabulate(rows, ("account", "meter", "state", "since"), disable_numparse=True))
    if votes:
        click.echo("\n" + _votes(votes, zone))
    for one in stops:
        click.echo(f"\nstopped by {one.by} on {moment(one.at, zone)}: {one.reason}")
    if dry:
        click.echo("\ndry run: nothing is switched")
    if summary:
        click.echo("\n" + summary)


def _votes(votes: list[Vote], zone: ZoneInfo) -> str:
    rows = [
        (
            one.id,
            one.step,
            one.action,
            one.account or ", ".join((*one.accounts, *one.policies)),
            one.key,
            _up_to(one),
            moment(one.expires, zone),
        )
        for one in votes
    ]
    headers = ("id", "what", "of", "for", "key", "debt up to", "until")
    return tabulate(rows, headers, disable_numparse=True)


def _up_to(vote: Vote) -> str:
    asks = vote.step is Step.REQUEST or vote.action not in (Action.DISCONNECT, Action.TRIP)
    return "" if asks else yuan(vote.debt_max_e4)


@disconnect.command()
@config_option
@click.argument("number")
@click.option("--language", type=click.Choice(["zh", "en"]), help="Default: the account's.")
def why(path: Path, number: str, language: str | None) -> None:
    """Explain for the customer on the phone what will happen, when, and what would prevent it."""
    config = load_config(path)
    now = SystemClock().now()
    with opened(path, None) as (file, zone):
        account = AccountReader(file).current(number)
        if account is None:
            raise click.ClickException(f"no account {number}; taiqu account list shows them all")
        click.echo("\n".join(_explained(file, config, account, zone, language)))
        for line in _papers(file, account, zone, now):
            click.echo(line)


def _explained(
    file: Connection, config: Config, account: Account, zone: ZoneInfo, language: str | None
) -> list[str]:
    found = supply.judged(file, account.number)
    policies = config.prepayment.policies if config.prepayment else {}
    policy = policies.get(account.policy)
    if found is None or policy is None:
        return ["not available: this gateway does not disconnect this account"]
    if found.facts is None:
        return [f"{found.case.state} since {moment(found.case.since, zone)}; nothing decided yet"]
    setting = Setting(
        regimes=Regimes(),
        policy=policy,
        calendar=stored_calendar(PrecautionReader(file), zone),
        zone=zone,
    )
    lines = explain(found.case, found.facts, setting, language or account.language)
    return [*lines, f"({moment(found.facts.at, zone)})"]


def _papers(file: Connection, account: Account, zone: ZoneInfo, now: float) -> Iterator[str]:
    """What stands for and against it in the gateway's papers."""
    precautions = PrecautionReader(file)
    for vote in ApprovalReader(file).standing(now, account.number):
        named = account.number in (vote.account, *vote.accounts)
        if named or account.policy in vote.policies:
            until = moment(vote.expires, zone)
            yield f"{vote.step} of {vote.action} by key {vote.key}, until {until}"
    for one in precautions.served(account.number):
        yield f"{one.what} {one.round} served {moment(one.served, zone)} by {one.channel}"
    if reason := protected(now, stored_calendar(precautions, zone)):
        yield f"now is a protected time: {reason}"
    for stop in precautions.stops():
        yield f"all cuts are stopped by {stop.by}: {stop.reason}"


# --- ordering -------------------------------------------------------------------------------------


@disconnect.command()
@order
@click.argument("number")
@reason_option
def request(sender: Sender, number: str, reason: str) -> None:
    """Ask for the disconnection of an account.  Needs a key with the role request."""
    sender.send(name="disconnect.request", account=number, reason=reason)


@disconnect.command()
@order
@click.argument("number", required=False)
@click.option("--action", type=ACTIONS, default=Action.DISCONNECT.value, show_default=True)
@click.option("--request", help="Id of the order that is meant; of shed it is needed.")
@click.option("--debt-max", metavar="YUAN", help="It holds for a debt up to this: 100.00.")
@hours_option
def approve(
    sender: Sender,
    number: str | None,
    action: str,
    request: str | None,
    debt_max: str | None,
    hours: int | None,
) -> None:
    """Agree to the disconnection of an account.  Needs a key with the role approve.

    It has to be another key than the one that asked for it.
    """
    sender.send(
        name="disconnect.approve",
        action=action,
        account=number,
        request=request,
        debt_max=debt_max,
        expires=_after(sender, hours),
    )


@disconnect.command()
@order
@click.argument("number")
@reason_option
def cancel(sender: Sender, number: str, reason: str) -> None:
    """Stop the disconnection of an account.  Needs a key with the role request."""
    sender.send(name="disconnect.cancel", account=number, reason=reason)


@disconnect.command()
@order
@click.option("--account", "accounts", multiple=True, help="For this one; several times.")
@click.option("--policy", "policies", multiple=True, help="For all with this row of limits.")
@click.option("--debt-max", metavar="YUAN", required=True)
@click.option("--days", type=click.IntRange(1, 90), required=True, help="Valid from now on.")
def delegate(
    sender: Sender,
    accounts: tuple[str, ...],
    policies: tuple[str, ...],
    debt_max: str,
    days: int,
) -> None:
    """Agree beforehand for ordinary prepaid accounts.  Needs a key with the role approve."""
    sender.send(
        name="delegate",
        accounts=accounts,
        policies=policies,
        debt_max=debt_max,
        expires=_after(sender, 24 * days),
    )


@disconnect.command()
@order
@click.argument("id_", metavar="ID")
@reason_option
def revoke(sender: Sender, id_: str, reason: str) -> None:
    """Take an approval, a request or a delegation back.  Needs a key with the role approve."""
    sender.send(name="approval.revoke", approval=id_, reason=reason)


@disconnect.command()
@order
@reason_option
def release(sender: Sender, reason: str) -> None:
    """Release the latch after too many cuts at once.  Needs a key with the role approve.

    At the box one key does; from the head-end it takes two.
    """
    sender.send(name="mass.release", reason=reason)


def _after(sender: Sender, hours: int | None) -> str | None:
    if hours is None:
        return None
    until = datetime.fromtimestamp(sender.at.clock.now(), UTC) + timedelta(hours=hours)
    return instant(until.timestamp())
