"""``taiqu simulate``: one meter, or a whole area of them, on pseudo terminals or TCP ports.

``--faults late=0.02,bit_errors=1e-4`` or ``--faults all`` puts faults on every line; they and the
customers follow from ``--seed``.

A line per port says where it is, once it can be opened.  While it runs, orders are read from
standard input and answered on standard output, a line each:

    silence A01     the meter with this asset number or address stops answering
    wake A01        it answers again
    press A01       its customer presses the button that closes the relay, once that is allowed

``--movements FILE`` writes down what the relays truly do, whatever they say of it: a JSON object a
line, with ``at`` (Unix time), ``meter``, ``closed`` (the customer has supply from then on) and
``cause``.
"""

import json
import signal
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from simulators.area import PROFILES, Area, AreaError, build_area, demo_area, load_area
from simulators.faults import Faults, FaultsError
from simulators.relay import SimRelay
from simulators.server import PortError, Server

DLT645_MODELS = {"1": "dlt645-2007-single-phase", "3": "dlt645-2007-three-phase"}
"""By the number of phases."""


class SystemClock:
    """The real time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    area: str | None
    directory: Path | None
    profile: Path | None
    address: str
    dlt645: tuple[str, ...]
    phases: str
    pty: Path | None
    tcp: tuple[str, int] | None
    mode: str
    baud: int | None
    parity: str | None
    delay_ms: int
    faults: Faults
    seed: int
    movements: TextIO | None = None

    @property
    def modbus_tcp(self) -> bool:
        """Whether the network carries Modbus TCP frames, and not what a serial line would."""
        return self.tcp is not None and self.mode == "modbus-tcp" and not self.dlt645


def obey(order: str, area: Area, now: float) -> str:
    """Do what one line of standard input says at ``now``, and tell what was done."""
    verb, _, name = order.strip().partition(" ")
    if verb not in ("silence", "wake", "press"):
        return f"unknown order {verb!r}; use: silence ADDRESS, wake ADDRESS, press ADDRESS"
    found = [m.meter for m in area.meters.values() if name in (m.asset, m.address)]
    if not found:
        return f"no meter {name!r}; there are: {', '.join(area.meters)}"
    if verb == "press":
        relays = [meter.relay for meter in found if meter.relay]
        for relay in relays:
            relay.press(now)
        states = ", ".join(relay.state for relay in relays)
        return f"{name} has its button pressed: {states or 'it has no relay'}"
    for meter in found:
        meter.silent = verb == "silence"
    return f"{name} is {'silent' if verb == 'silence' else 'awake'}"


def _described(options: Options) -> Area:
    """The area that the options describe."""
    if options.area == "demo":
        return demo_area(options.seed)
    if options.area is not None:
        return load_area(Path(options.area))
    profiles = options.profile.parent if options.profile else PROFILES
    model = options.profile.stem if options.profile else DLT645_MODELS[options.phases]
    addresses = options.dlt645 or (options.address,)
    common = {
        "profile": model,
        "baud": options.baud,
        "parity": options.parity,
        "delay_ms": options.delay_ms,
    }
    meters = [
        {"asset": f"M{number}", "address": address, **common}
        for number, address in enumerate(addresses, 1)
    ]
    line = {"name": "line1", "tcp": options.modbus_tcp, "meter": meters}
    return build_area({"seed": options.seed, "line": [line]}, profiles, "command line")


def write_movements(area: Area, out: TextIO) -> None:
    """Write each movement of a relay's contact to ``out`` as it happens."""

    def write(asset: str, relay: SimRelay, at: float, on: bool) -> None:
        cause = relay.movements[-1].cause
        said = {"at": at, "meter": asset, "closed": on, "cause": cause}
        out.write(json.dumps(said) + "\n")
        out.flush()

    for asset, meter in area.meters.items():
        if meter.relay:
            meter.relay.feeds(partial(write, asset, meter.relay))


def _serve(server: Server, area: Area, options: Options) -> None:
    """Open the ports, and say where they are."""
    for sound in area.lines:
        line = replace(sound, faults=sound.faults.together(options.faults))
        if options.tcp:
            host, port = options.tcp
            baud = None if options.modbus_tcp else options.baud
            port = server.add_tcp(line.open, host, port, baud=baud)
            where = f"{'tcp' if options.modbus_tcp else 'socket'}://{host}:{port}"
        else:
            link = options.directory / line.name if options.directory else options.pty
            where = str(server.add_pty(line.open(), link))
        click.echo(f"{line.name}: {where}, {len(line.meters)} meter(s)")
    sys.stdout.flush()


def _host_and_port(_context: object, _option: object, text: str | None) -> tuple[str, int] | None:
    """Take HOST:PORT apart.  Raises BadParameter if it is something else."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{text!r} is no address; write HOST:PORT, as in 127.0.0.1:1502")
    return host.strip("[]"), int(port)


def _faults(_context: object, _option: object, text: str) -> Faults:
    """Raises BadParameter if ``text`` names no faults."""
    try:
        return Faults.parse(text)
    except FaultsError as error:
        raise click.BadParameter(str(error)) from error


def _check(options: Options) -> None:
    """Refuse what does not go together."""
    if sum(map(bool, (options.area, options.profile, options.dlt645))) != 1:
        raise click.UsageError("say who to be: one of --area, --profile, --dlt645")
    if options.area and options.directory is None:
        raise click.UsageError("--area needs --directory, where the links to its lines go")
    if not options.area and options.directory is not None:
        raise click.UsageError("--directory goes with --area; here use --pty or --tcp")
    if options.area and (options.pty or options.tcp):
        raise click.UsageError("--area has several lines; use --directory, not --pty or --tcp")
    if options.pty and options.tcp:
        raise click.UsageError("choose one of --pty and --tcp")


_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--area", metavar="FILE|demo", help="Every line of an area file, or of the demo.")
@click.option("--directory", type=_FILE, metavar="DIR", help="With --area: for the lines' links.")
@click.option("--profile", type=_FILE, metavar="FILE", help="One meter of this model.")
@click.option("--address", default="1", show_default=True, help="With --profile: its address.")
@click.option("--dlt645", multiple=True, metavar="ADDRESS", help="A DL/T 645 meter; repeatable.")
@click.option("--phases", type=click.Choice(["1", "3"]), default="1", help="With --dlt645.")
@click.option("--pty", type=_FILE, metavar="LINK", help="Serve on a pseudo terminal; link it here.")
@click.option("--tcp", callback=_host_and_port, metavar="HOST:PORT", help="Serve on a TCP port.")
@click.option(
    "--mode",
    type=click.Choice(["modbus-tcp", "raw"]),
    default="modbus-tcp",
    help="On TCP: Modbus TCP, or what a raw serial server carries.  DL/T 645 is always raw.",
)
@click.option("--baud", type=int, help="The meters' baud rate; on raw TCP it paces the replies.")
@click.option("--parity", type=click.Choice(["N", "E", "O"]), help="The meters' parity.")
@click.option("--delay-ms", type=click.IntRange(0, 5000), default=40, help="Reply delay.")
@click.option("--faults", default="", callback=_faults, metavar="SPEC", help="Of every line.")
@click.option("--seed", default=1, show_default=True, help="Another seed, other customers.")
@click.option(
    "--movements",
    type=click.File("a", encoding="utf-8", lazy=False),
    metavar="FILE",
    help="Write down what the relays do.",
)
def main(**arguments: Any) -> None:
    """Be a meter, or a whole area of them, until stopped.

    While it runs, "silence ADDRESS", "wake ADDRESS" and "press ADDRESS" (the button that closes the
    relay) on standard input do what they say.
    """
    options = Options(**arguments)
    _check(options)
    server = Server(SystemClock())
    try:
        area = _described(options)
        if options.movements:
            write_movements(area, options.movements)
        _serve(server, area, options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        # In the background of a terminal, a read is to fail and not to stop us.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        if sys.stdin is not None:
            fd = sys.stdin.fileno()
            server.add_orders(fd, lambda order: click.echo(obey(order, area, time.time())))
        server.run()
    except (AreaError, PortError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        server.close()


if __name__ == "__main__":
    main()
