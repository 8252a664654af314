"""``taiqu account``: the customers' accounts, and orders about them.

What is shown is read from the gateway's file (never written to from here); what is ordered goes
through the letterbox.  Whoever may do the one and the other is a member of the gateway's group.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from tabulate import tabulate

from gateway.config import Config
from gateway.money.journal_messages import kwh, statement_message
from gateway.north.contract_money import Statement
from gateway.north.contract_orders import StatementOf
from gateway.prepayment.account import Account, Mode, Policy, to_json
from gateway.prepayment.forecast import Forecast, forecast
from gateway.prepayment.ledger import Balances, Ledger
from gateway.prepayment.money import yuan
from gateway.prepayment.rerate import costs
from gateway.store.accounts import AccountReader
from gateway.store.commands import Answers
from gateway.store.connection import Connection
from gateway.store.journal import JournalReader
from gateway.store.meter_facts import MeterFactsReader
from gateway.technician import account_orders
from gateway.technician.account_orders import a_day
from gateway.technician.check import load_config
from gateway.technician.cli import config_option
from gateway.technician.letter import Answer, desk, tell
from gateway.technician.stored import reading
from protocols import points

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
SHOWN = 8
"""Transactions that ``show`` ends with."""


@click.group()
def account() -> None:
    """Show accounts and their money; open, change and top them up.

    Money (top-ups, adjustments) needs a key file that this gateway knows: see taiqu key.
    """


def _one(file: Connection, number: str) -> Account:
    found = AccountReader(file).current(number)
    if found is None:
        raise click.ClickException(f"no account {number}; taiqu account list shows them all")
    return found


@account.command(name="list")
@config_option
@json_option
def list_(path: Path, *, as_json: bool) -> None:
    """List all accounts with what they have left."""
    with reading(load_config(path).database) as file:
        journal = JournalReader(file)
        accounts = AccountReader(file).all()
        balances = {number: journal.balances(number) for number in accounts}
        suspense = yuan(journal.balance_sums().get(Ledger.SUSPENSE, 0))
    if as_json:
        trees = [_tree(one, balances[one.number]) for one in accounts.values()]
        click.echo(json.dumps({"accounts": trees, "suspense": suspense}, ensure_ascii=False))
        return
    headers = ("account", "balance", "debt", "mode", "class", "meters", "tariff", "policy", "state")
    rows = [_row(one, balances[one.number]) for one in accounts.values()]
    click.echo(tabulate(rows, headers=headers, disable_numparse=True))
    if suspense != "0.00":
        click.echo(f"\nin suspense, for accounts that nobody knows: {suspense} yuan")


def _row(one: Account, balances: Balances) -> tuple[str, ...]:
    meters = [m.meter for m in one.meterings if m.until is None]
    return (
        one.number,
        yuan(balances[Ledger.PREPAID]),
        yuan(balances[Ledger.DEBT]),
        one.mode,
        one.class_,
        ", ".join(meters),
        one.tariffs[-1][1],
        one.policy,
        f"closed {one.closed}" if one.closed else "open",
    )


def _tree(one: Account, balances: Balances) -> dict[str, Any]:
    return {
        **json.loads(to_json(one)),
        "balance": yuan(balances[Ledger.PREPAID]),
        "debt": yuan(balances[Ledger.DEBT]),
        "emergency": yuan(balances[Ledger.EMERGENCY]),
        "charged_kwh": kwh(balances[Ledger.CHARGED]),
        "unpriced_kwh": kwh(balances[Ledger.UNPRICED]),
    }


@account.command()
@config_option
@json_option
@click.argument("number")
def show(path: Path, number: str, *, as_json: bool) -> None:
    """Show one account: contract, meters, money, the last transactions."""
    config = load_config(path)
    with reading(config.database) as file:
        one = _one(file, number)
        journal = JournalReader(file)
        balances = journal.balances(number)
        ahead = forecast(balances[Ledger.PREPAID], costs(journal.newest(number)), 1)
        own = _own_balances(MeterFactsReader(file), one)
        count = len(journal.of_account(number))
        asked = StatementOf(name="statement", account=number, skip=max(0, count - SHOWN))
        last = statement_message(journal, asked, ZoneInfo(config.gateway.timezone))
    if as_json:
        tree = _tree(one, balances) | {
            "days_left": ahead.days_left if ahead else None,
            "meters_own": own,
        }
        click.echo(json.dumps(tree, ensure_ascii=False))
        return
    facts = [
        *_facts(one, balances, ahead, config),
        *_of_meters(own, ZoneInfo(config.gateway.timezone)),
    ]
    click.echo(tabulate(facts, tablefmt="plain", disable_numparse=True))
    if last.lines:
        click.echo("\n" + _lines(last, config))


def _facts(
    one: Account, balances: Balances, ahead: Forecast | None, config: Config
) -> Iterator[tuple[str, str]]:
    yield "account", f"{one.number}, version {one.version}"
    yield "state", f"closed {one.closed}" if one.closed else f"open since {one.opened}"
    yield from _money(one, balances, ahead)
    yield "mode", f"{one.mode}, rules {one.regime}, class {one.class_}, policy {one.policy}"
    if config.prepayment and one.mode is not Mode.MIRROR:
        yield "limits", _limits(config.prepayment.policies.get(one.policy))
    if one.no_cut:
        until = f" until {one.no_cut.until}" if one.no_cut.until else ""
        yield "never disconnected", f"{one.no_cut.reason}{until}"
    if one.dispute:
        yield "dispute", "open: not disconnected while it is"
    for since, tariff in one.tariffs:
        yield "tariff", f"{tariff} from {since}"
    for metering in one.meterings:
        until = f" to {metering.until}" if metering.until else ""
        minus = ", taken off" if metering.minus else ""
        yield "meter", f"{metering.meter} from {metering.since}{until}{minus}"
    for name, value in asdict(one.contract).items():
        if value:
            yield name.replace("_", " ").replace(" va", ", VA").replace(" w", ", W"), str(value)


def _money(one: Account, balances: Balances, ahead: Forecast | None) -> Iterator[tuple[str, str]]:
    yield "balance", f"{yuan(balances[Ledger.PREPAID])} yuan"
    for ledger, name in ((Ledger.DEBT, "debt"), (Ledger.EMERGENCY, "emergency credit drawn")):
        if balances[ledger]:
            yield name, f"{yuan(-balances[ledger])} yuan"
    if ahead and not one.closed:
        days = "for ever" if ahead.days_left is None else f"{ahead.days_left} days"
        yield "lasts", f"{days}, at {yuan(ahead.daily_e4)} yuan a day"
    yield "charged", f"{kwh(balances[Ledger.CHARGED])} kWh"
    if balances[Ledger.UNPRICED]:
        yield "not priced yet", f"{kwh(balances[Ledger.UNPRICED])} kWh"


def _limits(policy: Policy | None) -> str:
    if policy is None:
        return "none: its policy is not in the configuration; see [[policy]]"
    alerts = f"alerts at {yuan(policy.alert_1_e4)} and {yuan(policy.alert_2_e4)} yuan"
    most = f", {yuan(policy.hoarding_e4)} at most" if policy.hoarding_e4 else ""
    return f"{alerts}, used up at {yuan(policy.limit_e4)}{most}"


def _own_balances(facts: MeterFactsReader, one: Account) -> dict[str, dict[str, Any]]:
    """What its meters say of balances of their own, by meter: those that say so."""
    said = facts.prepays()
    found = {}
    for metering in one.meterings:
        meter = metering.meter
        if metering.until is None and meter in said and said[meter].prepays:
            left = facts.balance(meter)
            found[meter] = {
                "counts_down": said[meter].kind,
                "since": said[meter].since.isoformat(),
                "left": {point: amount for point, (amount, _) in left.items()},
                "read": max((at for _, at in left.values()), default=None),
            }
    return found


def _of_meters(own: dict[str, dict[str, Any]], zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    for meter, said in own.items():
        yield "prepays itself", f"{meter} counts down {said['counts_down']}, not charged here"
        for point, amount in said["left"].items():
            read = datetime.fromtimestamp(said["read"], zone)
            known = points.point(point)
            unit = known.unit if known else ""
            yield "", f"{point.replace('_', ' ')} {amount} {unit}, read {read:%Y-%m-%d %H:%M}"


@account.command()
@config_option
@json_option
@click.argument("number")
@click.option("--from", "first", callback=a_day, metavar="DAY", help="The first day: 2026-07-01.")
@click.option("--to", "last", callback=a_day, metavar="DAY", help="The last day.")
def statement(
    path: Path, number: str, first: str | None, last: str | None, *, as_json: bool
) -> None:
    """Print an account's statement: everything that came in or was charged."""
    config = load_config(path)
    days = [first, last]
    with reading(config.database) as file:
        _one(file, number)
        parts = _whole(JournalReader(file), number, days, ZoneInfo(config.gateway.timezone))
    whole = parts[0].model_copy(
        update={
            "lines": tuple(line for part in parts for line in part.lines),
            "closing": parts[-1].closing,
            "more": None,
        }
    )
    if as_json:
        click.echo(whole.model_dump_json(exclude_none=True))
        return
    click.echo(f"account {number}: {whole.opening} yuan before")
    click.echo(_lines(whole, config))
    click.echo(f"{whole.closing} yuan left; old debt {whole.debt} yuan")


def _whole(
    journal: JournalReader, number: str, days: list[str | None], zone: ZoneInfo
) -> list[Statement]:
    parts: list[Statement] = []
    skip: int | None = 0
    while skip is not None:
        asked = StatementOf(
            name="statement", account=number, first=days[0], last=days[1], skip=skip
        )
        parts.append(statement_message(journal, asked, zone))
        skip = parts[-1].more
    return parts


def _lines(of: Statement, config: Config) -> str:
    zone = ZoneInfo(config.gateway.timezone)
    rows = [
        (
            str(line.number),
            datetime.fromisoformat(line.effective).astimezone(zone).strftime("%Y-%m-%d %H:%M"),
            line.kind,
            line.energy or "",
            line.amount,
            line.balance,
            line.text,
        )
        for line in of.lines
    ]
    return tabulate(
        rows,
        headers=("number", "when", "what", "kWh", "yuan", "balance", ""),
        disable_numparse=True,
        colalign=("right", "left", "left", "right", "right", "right", "left"),
    )


@account.command()
@config_option
@json_option
@click.argument("id_", metavar="ID")
def answer(path: Path, id_: str, *, as_json: bool) -> None:
    """Show what became of an order that was posted before."""
    config = load_config(path)
    with reading(config.database) as file:
        results = tuple(Answers(file).results(id_))
    if not results:
        raise click.ClickException(f"no order {id_} here: it was not taken, or long ago")
    raise SystemExit(tell(desk(config), Answer(id_, results), as_json=as_json))


for order in account_orders.COMMANDS:
    account.add_command(order)
