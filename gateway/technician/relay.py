"""``taiqu relay``: the meters' relays, and orders to them."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from tabulate import tabulate

from gateway.config import Config
from gateway.disconnection.relay import Relay
from gateway.explain import did_you_mean
from gateway.store.switching import SwitchingReader
from gateway.technician.account_orders import Sender, order
from gateway.technician.check import load_config
from gateway.technician.cli import config_option
from gateway.technician.stored import reading

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
    config = load_config(path)
    if config.switching is None:
        raise click.ClickException(f"this gateway switches no relays: {path} has no [switching]")
    with reading(config.database) as file:
        known = {one.relay.meter: one.relay for one in SwitchingReader(file).relays()}
    able = [one.asset for one in config.meters if one.profile.relay]
    found = {asset: known.get(asset) for asset in (*able, *sorted(known.keys() - set(able)))}
    if meter and meter not in found:
        raise click.ClickException(_no_relay(config, meter))
    shown = {asset: one for asset, one in found.items() if meter in (None, asset)}
    if as_json:
        trees = [asdict(one or Relay(meter=asset)) for asset, one in shown.items()]
        click.echo(json.dumps({"relays": trees}, ensure_ascii=False))
        return
    zone = ZoneInfo(config.gateway.timezone)
    headers = ("meter", "relay", "since", "wanted", "operated today", "fault")
    rows = [_row(asset, one, zone) for asset, one in shown.items()]
    click.echo(tabulate(rows, headers, disable_numparse=True))


def _no_relay(config: Config, meter: str) -> str:
    if any(one.asset == meter for one in config.meters):
        return f"meter {meter} has no relay that could be switched: its profile names none"
    known = tuple(one.asset for one in config.meters)
    return f"no meter {meter} in {config.path}; {did_you_mean(meter, known)}"


def _row(asset: str, one: Relay | None, zone: ZoneInfo) -> tuple[str, ...]:
    if one is None:
        return asset, "nothing seen or wanted yet", "", "", "", ""
    wanted = "open" if one.wanted_open else "closed"
    return (
        asset,
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
