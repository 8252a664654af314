"""``taiqu status``: what the running gateway is doing.

It reads the live state that the daemon writes every few seconds, and nothing else: no port, no
database, no question to the daemon, so it can never disturb it.
"""

import json
import sys
from pathlib import Path

import click
from tabulate import tabulate

from gateway import livestate
from gateway.clock import Clock, SystemClock
from gateway.livestate import DayState, LineState, MeterState, State
from gateway.technician.check import load_config
from gateway.technician.cli import config_option

CLOCK_SHOWN_S = 5.0
"""A meter's clock that is off by less is not worth a word."""
STALE_AFTER_S = 30.0
"""The daemon writes its state every few seconds; older than this, it is not running."""


def age(seconds: float) -> str:
    """How long ago, as people say it: ``3 s``, ``12 min``, ``5 h``, ``9 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _errors(of: MeterState | LineState) -> str:
    """What went wrong, by kind: requests without a reply, and frames that were no reply."""
    counted = {**of["faults"], **{f"{kind} stray": n for kind, n in of["strays"].items()}}
    return ", ".join(f"{n} {kind}" for kind, n in counted.items() if n) or "none"


def _freeze(day: DayState | None) -> str:
    """Yesterday's freeze of one meter, and how far its clock is off."""
    if day is None:
        return "-"
    offset_s = day["clock_offset_s"]
    off = "" if offset_s is None or abs(offset_s) < CLOCK_SHOWN_S else f", clock {offset_s:+.0f} s"
    reason = f": {day['reason']}" if day["reason"] else ""
    return f"{day['freeze']}{reason}{off}"


def _meter(meter: MeterState, now: float, day: DayState | None) -> tuple[str, ...]:
    last = meter["last_good"]
    rate = f"{meter['answered'] / meter['asked']:.1%}" if meter["asked"] else "-"
    return (
        meter["asset"],
        meter["address"],
        meter["line"],
        "never" if last is None else age(now - last) + " ago",
        rate,
        f"{meter['round_trip_ms']:.0f} ms" if last is not None else "-",
        _freeze(day),
        _errors(meter),
        f"silent: {meter['reason']}" if meter["silent"] else meter["reason"],
    )


def _line(line: LineState) -> tuple[str, ...]:
    return (
        line["name"],
        line["port"],
        "up" if line["up"] else f"down: {line['reason'] or 'not opened yet'}",
        f"{line['use']:.0%}",
        str(line["exchanges"]),
        _errors(line),
        str(line["noise_bytes"]),
    )


def _head(state: State, now: float) -> str:
    link = state["link"]
    way = f"connected to {link['broker']}" if link["up"] else f"not connected: {link['reason']}"
    rows = [
        ("gateway", f"{state['gateway']}, {state['software']}"),
        ("running for", age(state["at"] - state["started"])),
        ("head-end", f"{way or 'not connected'}, for {age(now - link['since'])}"),
        ("clock", state["clock"]),
        ("epoch", state["epoch"]),
        ("readings", f"{state['readings_taken']} taken, {state['readings_dropped']} dropped"),
        ("messages", f"{state['messages_stored']} stored, {state['messages_delivered']} delivered"),
    ]
    collection = state["collection"]
    if collection["meters"]:
        read = sum(day["freeze"] == "read" for day in collection["meters"].values())
        rows.append(
            ("freezes", f"{read} of {len(collection['meters'])} read of {collection['day']}")
        )
    doubts = f"{collection['again']} read again, {collection['dropped']} dropped"
    rows.append(("registers", doubts))
    for name, lane in state["lanes"].items():
        pending = f"{lane['pending']} waiting ({lane['pending_bytes']} bytes), last {lane['last']}"
        rows.append((f"lane {name}", pending))
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def report(state: State, now: float) -> str:
    """The whole page for a person."""
    days = state["collection"]["meters"]
    meters = tabulate(
        [_meter(meter, now, days.get(meter["asset"])) for meter in state["meters"]],
        headers=(
            "meter",
            "address",
            "line",
            "last good",
            "answered",
            "round trip",
            "freeze",
            "errors",
            "trouble",
        ),
        disable_numparse=True,
    )
    lines = tabulate(
        [_line(line) for line in state["lines"]],
        headers=("line", "port", "state", "in use", "exchanges", "errors", "noise bytes"),
        disable_numparse=True,
    )
    page = f"{_head(state, now)}\n\n{meters}\n\n{lines}"
    for line in state["lines"]:
        if line["diagnosis"]:
            page += f"\nline {line['name']}: {line['diagnosis']}"
    return page


def _read_state(directory: Path) -> State:
    try:
        state = livestate.read(directory)
    except OSError as error:
        raise click.ClickException(
            f"{directory / livestate.FILE}: {error.strerror}; run this as the gateway's user"
        ) from error
    if state is None:
        raise click.ClickException(
            f"no state in {directory}: the gateway has not run since the machine started;"
            " start it with: taiqu run --config FILE"
        )
    if not isinstance(state, dict) or not State.__required_keys__ <= state.keys():
        raise click.ClickException(
            f"{directory / livestate.FILE}: not of this version of taiqu; restart the gateway"
        )
    return state


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the tables.")
def status(path: Path, *, as_json: bool) -> None:
    """Show what the running gateway is doing: meters, lines, head-end, what waits to be sent.

    "answered" counts since the gateway was started.  Exit status 1 if it is not running.
    """
    clock: Clock = SystemClock()
    state = _read_state(load_config(path).run_directory)
    age_s = clock.now() - state["at"]
    running = age_s <= STALE_AFTER_S
    if as_json:
        click.echo(json.dumps({**state, "age_s": round(age_s, 1), "running": running}))
    else:
        click.echo(report(state, clock.now()))
    if not running:
        click.echo(
            f"warning: this is {age(age_s)} old, so the gateway is not running;"
            " look at: journalctl -u taiqu",
            err=True,
        )
        sys.exit(1)
