"""``taiqu relay``: the meters' relays, and orders to them."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from tabulate import tabulate

from gateway.disconnection.relay import Relay
from gateway.technician import supply
from gateway.technician.account_orders import Sender, order
from gateway.technician.cli import config_option
from gateway.technician.stored import opened

reason_option = click.option("--reason", required=True, help="Why: it is kept for ever.")
switch = click.Choice(["on", "off"])


@click.group()
def relay() -> None:
    """Show relays; trip, close and protect them.

    A trip needs a key with the role relay, and an approval by another key: see taiqu disconnect
    approve.  Whoever stands at the box may close without a key.
    """


@relay.command()
@config_option
@click.argument("meter", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def show(path: Path, meter: str | None, *, as_json: bool) -> None:
    """Show how each relay stands: what is wanted, and what is proven."""
    with opened(path, None) as (file, zone):
        found = supply.relays(file)
    if found is None:
        raise click.ClickException("not available: this gateway switches no relays")
    rows = [one for one in found if meter in (None, one.meter)]
    if meter and not rows:
        raise click.ClickException(f"no relay of a meter {meter}; taiqu relay show lists all")
    if as_json:
        click.echo(json.dumps({"relays": [asdict(one) for one in rows]}, ensure_ascii=False))
        return
    headers = ("meter", "relay", "since", "wanted", "operated today", "fault")
    click.echo(tabulate([_row(one, zone) for one in rows], headers, disable_numparse=True))


def _row(one: Relay, zone: ZoneInfo) -> tuple[str, ...]:
    wanted = "open" if one.wanted_open else "closed"
    return (
        one.meter,
        one.state,
        moment(one.since, zone),
        wanted if one.confirmed else f"{wanted}, not proven",
        str(len(one.operations)),
        ", ".join(filter(None, (one.fault, "voltage behind it" if one.load_voltage else ""))),
    )


def moment(unix: float, zone: ZoneInfo) -> str:
    """A moment in the area's time, to the minute."""
    return datetime.fromtimestamp(unix, zone).strftime("%Y-%m-%d %H:%M")


@relay.command()
@order
@click.argument("meter")
@click.option("--account", required=True, help="Whose meter it is: refused if it is not.")
@reason_option
def trip(sender: Sender, meter: str, account: str, reason: str) -> None:
    """Trip one relay.  Needs a key with the role relay.

    It passes every check; taiqu disconnect why ACCOUNT says which of them stand against it.
    """
    sender.send(name="relay.trip", meter=meter, account=account, reason=reason)


@relay.command()
@order
@click.argument("meter", required=False)
@click.option("--all", "all_", is_flag=True, help="Every relay: the last resort.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@reason_option
def close(sender: Sender, meter: str | None, reason: str, *, all_: bool, yes: bool) -> None:
    """Allow a relay to close: the customer then presses the meter's button.

    Also where somebody else opened it: see that nobody works on the wires.  Needs no key at the
    box.
    """
    if all_ == (meter is not None):
        raise click.UsageError("give a METER, or --all")
    if all_ and not yes:
        click.confirm(
            "Every relay of this gateway, also those opened by hand, is allowed to close."
            " Nobody works on the wires?",
            abort=True,
        )
    sender.send(name="relay.close", meter=meter, all=all_ or None, reason=reason)


@relay.command()
@order
@click.argument("meter")
@click.argument("state", type=switch)
@reason_option
def protect(sender: Sender, meter: str, state: str, reason: str) -> None:
    """Set or release a meter's protected supply (保电).  Needs a key with the role protect."""
    sender.send(name="relay.protect", meter=meter, on=state == "on", reason=reason)


@relay.command(name="dry-run")
@order
@click.argument("state", type=switch)
@reason_option
def dry_run(sender: Sender, state: str, reason: str) -> None:
    """Rehearse: decide and record all, trip no relay.  Needs a key with the role stop."""
    sender.send(name="dry_run", on=state == "on", reason=reason)
