"""``taiqu disconnect``: who is to be disconnected and why, and the words of persons about it.

Two persons without a network stand here with a key file each: one requests, the other approves.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from tabulate import tabulate

from gateway.disconnection.case import State
from gateway.disconnection.friendly import protected
from gateway.disconnection.votes import Action, Step, Vote
from gateway.disconnection.why import ended, ordered
from gateway.disconnection.why import why as explain
from gateway.north.approvals import DAY_S, void
from gateway.north.contract import instant
from gateway.prepayment.account import Account
from gateway.prepayment.money import yuan
from gateway.store.accounts import AccountReader
from gateway.store.approvals import ApprovalReader
from gateway.store.precautions import PrecautionReader
from gateway.store.switching import KeptRelay, SwitchingReader
from gateway.switching.supply_point import REASONS, NoPoint
from gateway.technician import beforehand
from gateway.technician.account_orders import Sender, an_amount, order
from gateway.technician.check import load_config
from gateway.technician.cli import config_option
from gateway.technician.letter import desk
from gateway.technician.outlook import Outlook, Window
from gateway.technician.relay import moment, reason_option
from gateway.technician.stored import reading
from gateway.technician.supply_figures import summary
from gateway.technician.under_way import ordered_cuts

ACTIONS = click.Choice([one.value for one in (Action.DISCONNECT, Action.TRIP, Action.SHED)])
RUN_OUT_S = 30 * DAY_S
"""Approvals that ran out are shown so long: somebody wonders why nothing happens."""
hours_option = click.option(
    "--hours", type=click.IntRange(1, 168), help="Valid for so long from now on; default: 24."
)


@click.group()
def disconnect() -> None:
    """Show who is to be disconnected and why; request, approve, cancel.

    One key requests, another approves: nobody does both.
    """


disconnect.add_command(beforehand.calendar)
disconnect.add_command(beforehand.served)


# --- looking --------------------------------------------------------------------------------------


@disconnect.command(name="list")
@config_option
def list_(path: Path) -> None:
    """List the disconnections under way, the votes that stand, and what stops all of them.

    Then how well it went in the last 30 days: times, wrong cuts, late restores, refused cuts.
    """
    with _looking(path) as window:
        switching = window.config.switching
        if switching is None:
            click.echo(f"this gateway disconnects nobody: {path} has no [switching]")
        else:
            click.echo(_cases(window))
        for one in ordered_cuts(window):
            click.echo(f"\n{one.said}")
        if votes := ApprovalReader(window.file).standing(window.now):
            click.echo("\n" + _votes(votes, window.zone))
        for line in _for_all(window):
            click.echo(f"\n{line}")
        if switching:
            click.echo("\n" + summary(window.file, window.now, switching.times.late_s))


@contextlib.contextmanager
def _looking(path: Path) -> Iterator[Window]:
    """The gateway as it is at this moment."""
    config = load_config(path)
    at = desk(config)
    with reading(config.database) as file, file.snapshot():
        zone = ZoneInfo(config.gateway.timezone)
        yield Window(file, config, zone, at.clock.now(), at.state())


def _cases(window: Window) -> str:
    cases = (kept.case for kept in SwitchingReader(window.file).cases())
    found = [case for case in cases if case.state is not State.WATCH]
    if not found:
        return "no disconnection is under way"
    rows = [
        (one.account, one.meter, one.state, moment(one.since, window.zone), str(one.round))
        for one in found
    ]
    headers = ("account", "meter", "state", "since", "round")
    return tabulate(rows, headers, disable_numparse=True)


def _for_all(window: Window) -> Iterator[str]:
    """What holds for every account."""
    if window.state is None:
        yield "the gateway is not running, so nothing is cut or restored: systemctl status taiqu"
    if stopped := window.stopped():
        yield f"all cuts are stopped: {stopped}"
    if latched := SwitchingReader(window.file).mass().latched:
        yield f"all cuts are latched: {latched}; taiqu disconnect release releases them"
    if window.dry_run():
        yield "dry run: no relay is tripped"


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
    with _looking(path) as window:
        account = AccountReader(window.file).current(number)
        if account is None:
            raise click.ClickException(f"no account {number}; taiqu account list shows them all")
        outlook = window.outlook(account)
        spoken = language or account.language
        for one in ordered_cuts(window, number):
            if one.turn is not None:
                click.echo(ordered(one.turn, window.zone, spoken))
        if isinstance(outlook, NoPoint):
            chinese, english = REASONS[outlook]
            if spoken.startswith("en"):
                click.echo(f"Account {number} is not cut from here: {english}.")
            else:
                click.echo(f"账户 {number} 不由本网关停电：{chinese}。")
            return
        if isinstance(outlook, str):
            click.echo(f"account {number} is not disconnected from here: {outlook}")
            return
        found = outlook.case, outlook.facts, outlook.setting
        for line in explain(*found, spoken):
            click.echo(line)
        click.echo("\nfor the technician:")
        for line in _papers(window, account, outlook):
            click.echo(f"  {line}")


def _papers(window: Window, account: Account, outlook: Outlook) -> Iterator[str]:
    """What stands for and against it in the gateway's papers."""
    file, zone, case = window.file, window.zone, outlook.case
    since = f" since {moment(case.since, zone)}" if case.since else ""
    yield f"case: {case.state}{since}" + (f", ended: {ended(case, 'en')}" if case.ended else "")
    if kept := SwitchingReader(file).relay(case.meter):
        yield _relay(kept, zone)
    for cut in ordered_cuts(window, account.number):
        yield cut.said
    veto = outlook.facts.account.no_cut if outlook.facts.account else None
    if veto:
        yield f"protected until {veto.until or 'removed'}: {veto.reason}"
    for decided in SwitchingReader(file).decisions(account.number, 1):
        said = "; ".join(text for _, _, text in decided.failed)
        verdict = "allowed" if decided.allowed else f"not cut: {said}"
        yield f"judged {moment(decided.at, zone)} for {decided.purpose}: {verdict}"
    for vote in ApprovalReader(file).standing(window.now - RUN_OUT_S, account.number):
        named = account.number in (vote.account, *vote.accounts)
        if named or account.policy in vote.policies:
            problem = void(vote, window.moment())
            yield _vote(vote, zone) + (f"; it does not count: {problem}" if problem else "")
    for one in PrecautionReader(file).served(account.number, case.round):
        yield f"{one.what} {one.round} served {moment(one.served, zone)} by {one.channel}"
    if reason := protected(window.now, outlook.setting.calendar):
        yield f"now is a protected time: {reason}"
    yield from _for_all(window)


def _relay(kept: KeptRelay, zone: ZoneInfo) -> str:
    relay = kept.relay
    parts = [f"relay {relay.meter}: {relay.state} since {moment(relay.since, zone)}"]
    if not relay.confirmed:
        parts.append(f"{'open' if relay.wanted_open else 'closed'} is wanted and not proven")
    if kept.command:
        parts.append(f"by {kept.command} ({kept.purpose})")
    if relay.fault:
        parts.append(f"fault: {relay.fault}")
    return ", ".join(parts)


def _vote(vote: Vote, zone: ZoneInfo) -> str:
    up_to = "" if vote.step is Step.REQUEST else f" up to {yuan(vote.debt_max_e4)} owed"
    until = moment(vote.expires, zone)
    return f"{vote.step} {vote.id} of {vote.action} by key {vote.key}{up_to}, until {until}"


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
@click.option(
    "--debt-max",
    callback=an_amount,
    metavar="YUAN",
    help="It holds for a debt up to this: 100.00.",
)
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
@click.option("--debt-max", callback=an_amount, metavar="YUAN", required=True)
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
