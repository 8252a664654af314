"""``taiqu check``: whether a configuration is good, and its meters fit on their lines.

The line time of a poll is reckoned, not measured: the bytes of request and reply on the wire, and
for each exchange the meter's usual reply delay and its guard time.  Retries, silent meters and
commands come on top, so a line should not be planned full.

Not supported: looking whether a port exists or a meter answers; that is what ``read`` is for.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click
from tabulate import tabulate

from gateway.acquisition.adapter import latency_advice
from gateway.acquisition.ports import port_advice
from gateway.config import Config, ConfigError, LineTable, MeterConfig, load
from gateway.explain import did_you_mean
from gateway.technician.cli import config_option
from protocols.exchanges import DIRECT, Exchange, ItemExchange
from protocols.model import Dlt645Profile
from protocols.planner import Timing

REPLY_DELAY_S = {"dlt645-2007": 0.1, "dlt645-1997": 0.1, "modbus": 0.05}
"""What meters usually take to begin a reply."""
ITEM_REPLY_BYTES = 20
"""A DL/T 645 reply without its value: four wake-up bytes, frame, identifier."""


def load_config(path: Path) -> Config:
    """The configuration at ``path``; every problem goes to stderr, one a line, and then exit 2."""
    try:
        return load(path)
    except ConfigError as error:
        complain(error.problems)


def complain(problems: list[str]) -> NoReturn:
    """Say what is wrong and end with the exit status of wrong use."""
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(2)


@dataclass(frozen=True, slots=True)
class Load:
    """What polling one meter once costs its line."""

    meter: MeterConfig
    exchanges: tuple[Exchange, ...]
    line_time_s: float

    @property
    def share(self) -> float:
        """Of the line's time."""
        return self.line_time_s / self.meter.period_s


def load_of(meter: MeterConfig, *, tcp: bool) -> Load:
    """The load of one meter; over Modbus TCP bytes take no time worth counting."""
    character_s = 0.0 if tcp else meter.settings.character_s
    turnaround_s = REPLY_DELAY_S[meter.profile.protocol] + meter.guard_s
    exchanges = meter.profile.plan(
        meter.address, meter.points, frozenset(), character_s, turnaround_s
    )
    timing = Timing(character_s, turnaround_s)
    line_time_s = sum(timing.exchange_s(_wire_bytes(meter, each)) for each in exchanges)
    return Load(meter, exchanges, line_time_s)


def _wire_bytes(meter: MeterConfig, exchange: Exchange) -> int:
    """Bytes of request and reply together."""
    codec, profile = meter.profile.codec(), meter.profile
    request_bytes = len(codec.encode(exchange.request))
    if isinstance(exchange, ItemExchange) and isinstance(profile, Dlt645Profile):
        value_bytes = exchange.item.size(profile.tariffs)
        if value_bytes is not None:
            return request_bytes + ITEM_REPLY_BYTES + value_bytes
    return request_bytes + codec.reply_size(exchange.request)


def budget(config: Config) -> list[tuple[LineTable, list[Load]]]:
    """Every line with the loads of its meters."""
    return [
        (
            line,
            [load_of(m, tcp=line.port.startswith("tcp://")) for m in config.meters_on(line.name)],
        )
        for line in config.lines
    ]


def overloads(config: Config) -> list[str]:
    """The lines that cannot do what they are asked to, as problems."""
    return [
        f"{config.path}: line[{n}] {line.name}: its meters need {share:.0%} of its time;"
        " poll less often (period_s), read fewer points or move meters to another line"
        for n, (line, loads) in enumerate(budget(config))
        if (share := sum(load.share for load in loads)) > 1
    ]


def table(config: Config) -> str:
    """Lines and meters with what they cost, for a person."""
    parts = []
    for line, loads in budget(config):
        share = sum(load.share for load in loads)
        rows = [
            (
                load.meter.asset,
                load.meter.address,
                load.meter.profile.name,
                _ratio(load.meter),
                len(load.meter.points),
                len(load.exchanges),
                f"{load.line_time_s:.2f} s",
                f"{load.meter.period_s} s",
                f"{load.share:.1%}",
            )
            for load in loads
        ]
        headers = (
            "meter", "address", "profile", "CT x PT", "points", "exchanges", "takes", "every",
            "share",
        )  # fmt: skip
        count = f"{len(loads)} meter{'s' if len(loads) > 1 else ''}"
        head = f"line {line.name} on {line.port}: {count}, {share:.1%} of its time"
        parts.append(head + "\n" + tabulate(rows, headers=headers, disable_numparse=True))
    return "\n\n".join(parts)


def _ratio(meter: MeterConfig) -> str:
    return f"{meter.ratio.ct} x {meter.ratio.pt}" if meter.ratio is not DIRECT else "1"


def switching(config: Config) -> str:
    """What may be switched from here, in a line; empty: nothing."""
    settings = config.switching
    if settings is None:
        return ""
    able = sum(1 for meter in config.meters if meter.profile.relay)
    limits = settings.limits
    return (
        f"switching{', a dry run' if settings.dry_run else ''}: {able} of {len(config.meters)}"
        f" meters have a relay; at most {limits.per_10_minutes} cuts in 10 minutes,"
        f" {limits.per_hour} in an hour, {limits.per_day_percent} % of the accounts in a day"
    )


def switching_advice(config: Config) -> Iterator[str]:
    """What is allowed, and yet hardly meant."""
    settings = config.switching
    if settings is None:
        return
    models = {meter.profile.name for meter in config.meters if meter.profile.relay}
    if not models:
        yield "switching: no meter here has a relay that could be switched"
    if not config.keys.of:
        yield "switching: without [keys] nobody may order or approve anything, so nobody is cut"
    for name in settings.passwords.keys() - models:
        hint = did_you_mean(name, tuple(models))
        yield f"switching.passwords: no meter here with a relay is a {name}; {hint}"
    for meter in config.meters:
        if meter.profile.relay and not meter.number:
            yield f"meter {meter.asset}: never tripped without its number, which is read before"
    pin = settings.stop_pin
    if pin and not pin.path.exists():
        yield f"switching.stop_line: {pin.path} is not there; while it cannot be read nobody is cut"


@click.command()
@config_option
def check(path: Path) -> None:
    """Check a configuration and the meter profiles it names, without opening a port.

    All problems are told at once.  If there are none, the lines and meters are shown with how much
    of each line's time the polling takes; more than 100 % is refused.

    Exit status 0 for a good configuration, 2 for one that cannot be used.
    """
    config = load_config(path)
    if problems := overloads(config):
        complain(problems)
    click.echo(table(config))
    if switched := switching(config):
        click.echo(f"\n{switched}")
    click.echo(f"\n{path}: good")
    for warning in switching_advice(config):
        click.echo(f"warning: {warning}", err=True)
    for line in config.lines:
        for advice in (port_advice(line.port), latency_advice(line.port)):
            if advice:
                click.echo(f"warning: line {line.name}: {advice}", err=True)
