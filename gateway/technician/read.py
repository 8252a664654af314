"""``taiqu read``: one meter, directly, through the same line as the gateway's.

Not supported: a serial device that the running gateway holds; stop the gateway first.
"""

import difflib
import json
import sys
from typing import Any

import click
from tabulate import tabulate

from gateway.acquisition.exchange import Manners
from gateway.acquisition.ports import make_port
from gateway.clock import SystemClock
from gateway.config import BAUD_RATES, PARITIES
from gateway.events import Fault
from gateway.technician import decode as decoding
from gateway.technician.ask import Asker, Found, PortDownError, send_raw
from gateway.technician.questions import (
    address_question,
    of_item,
    profile_names,
    profile_path,
)
from gateway.technician.read_options import SPEECHES, Options
from protocols.base import RequestError
from protocols.modbus_values import TYPES
from protocols.planner import DIALECT_1997
from protocols.profile import Profile, ProfileError, load

ANY_METER = "A" * 12
HINTS = {
    Fault.SILENT: "wires A and B swapped, another --baud or --parity and a wrong --address all"
    " look like this",
    Fault.DAMAGED: "the wrong --parity, two meters with one address and a missing terminating"
    " resistor all look like this",
}


def find_profile(name: str) -> Profile:
    """The profile called ``name``, or in the file ``name``.  Raises click.UsageError."""
    path = profile_path(name)
    if path is None:
        raise click.BadParameter(f"no profile {name!r}; known: {_known()}", param_hint="--profile")
    try:
        return load(path)
    except ProfileError as error:
        raise click.UsageError(str(error)) from error


def _known() -> str:
    return ", ".join(profile_names()) or "none found"


def _profile_for(options: Options) -> Profile | None:
    """The profile that was asked for, or is needed."""
    if options.profile:
        profile = find_profile(options.profile)
        if profile.protocol != options.speech.models:
            raise click.UsageError(
                f"profile {profile.name} is for {profile.protocol}, not for {options.protocol}"
            )
        return profile
    if options.di or options.register is not None or options.raw is not None:
        return None
    return find_profile(options.speech.usual) if options.speech.usual else None


def _find(options: Options, profile: Profile | None, asker: Asker) -> Found:
    """Ask what was asked for.  Raises RequestError, PortDownError."""
    address, dialect = options.address, options.speech.dialect
    if address is None:
        found = _only_meter(options, asker)
        if not found.answers:
            return found
        address = found.meter
    if options.di and dialect:
        return asker.read(address, [of_item(dialect, address, di) for di in options.di])
    if options.register is not None:
        if not address.isdecimal():
            raise RequestError(f"{address!r} is no Modbus unit; write a number from 1 to 247")
        return asker.read(address, [options.registers(options.register).question(int(address))])
    if profile is None:
        raise click.UsageError(
            f"--profile is missing: points need the meter's model; known: {_known()};"
            " or ask for --register"
        )
    for unknown in profile.unknown(options.points):
        near = difflib.get_close_matches(unknown, profile.points, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else ", ".join(profile.points)
        raise click.UsageError(f"profile {profile.name} has no point {unknown!r}; {hint}")
    return asker.read_points(profile, address, options.points or profile.default_points)


def _only_meter(options: Options, asker: Asker) -> Found:
    """Who the only DL/T 645 meter on the line is."""
    if options.speech.dialect is not DIALECT_1997:
        return asker.read(ANY_METER, [address_question()])
    # Nothing asks for an address in 1997, but any answer tells it; or, where a meter leaves the
    # wildcards in its answers, its number does.
    asked = [of_item(DIALECT_1997, ANY_METER, di) for di in ("9010", "C032")]
    found = asker.read(ANY_METER, asked)
    numbers = [answer.value for answer in found.answers if answer.name == "C032" and answer.value]
    if found.meter == ANY_METER and numbers:
        found.meter = numbers[0]
    return found


def show(found: Found) -> None:
    """Values to stdout, complaints to stderr; the same complaint only once."""
    if found.answers:
        headers, align = ["point", "value", "unit", ""], ["left", "right", "left", "left"]
        width = 4 if any(answer.meaning for answer in found.answers) else 3
        rows = [[a.name, a.value or "-", a.unit, a.meaning][:width] for a in found.answers]
        click.echo(f"meter {found.meter}\n")
        click.echo(
            tabulate(rows, headers=headers[:width], colalign=align[:width], disable_numparse=True)
        )
    complaints: dict[tuple[Fault, str], list[str]] = {}
    for failed in found.failed:
        complaints.setdefault((failed.fault, failed.error), []).extend(failed.names)
    for (fault, error), names in complaints.items():
        hint = f"; {HINTS[fault]}" if fault in HINTS else ""
        click.echo(f"{fault}: {', '.join(names)}: {error}{hint}", err=True)


def as_object(found: Found, options: Options) -> dict[str, object]:
    """The same for a program."""
    values = {}
    for answer in found.answers:
        values[answer.name] = {"value": answer.value, "unit": answer.unit}
        if answer.meaning:
            values[answer.name]["meaning"] = answer.meaning
    return {
        "meter": found.meter,
        "port": options.port,
        "protocol": options.protocol,
        "values": values,
        "errors": [
            {"points": failed.names, "fault": failed.fault, "error": failed.error}
            for failed in found.failed
        ],
    }


def _exchange_raw(options: Options, text: str, manners: Manners) -> bool:
    """Send the bytes, show what comes back; whether anything did."""
    try:
        data = decoding.parse_hex(text)
    except decoding.HexError as error:
        raise click.BadParameter(str(error), param_hint="--raw") from error
    heard = send_raw(make_port(options.port), manners, data)
    explanation = decoding.explain(heard) if heard else None
    if options.as_json:
        facts = explanation.facts if explanation else None
        hexes = {"sent": data.hex(" ").upper(), "heard": heard.hex(" ").upper()}
        click.echo(json.dumps({**hexes, "frame": facts}, ensure_ascii=False))
    else:
        click.echo(f">> {data.hex(' ').upper()}\n<< {heard.hex(' ').upper()}")
        if explanation:
            click.echo("\n" + decoding.table(explanation))
    if not heard:
        click.echo(
            f"silent: nothing within {manners.timeout_s:g} s; {HINTS[Fault.SILENT]}", err=True
        )
    return bool(heard)


def _number(_: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A register as people write it: 40, 0x28."""
    try:
        return None if text is None else int(text, 0)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no number; write 40 or 0x28", param=parameter
        ) from error


@click.command()
@click.option(
    "--port",
    required=True,
    metavar="URL",
    help="/dev/..., socket://HOST:PORT (serial server) or tcp://HOST:PORT (Modbus TCP).",
)
@click.option("--protocol", required=True, type=click.Choice(list(SPEECHES)))
@click.option(
    "--address",
    metavar="A",
    help="12 digits, or the Modbus unit.  A single DL/T 645 meter on the line is asked for it.",
)
@click.argument("points", nargs=-1, metavar="[POINT]...")
@click.option(
    "--profile",
    metavar="NAME",
    help="The meter's model: a name or a .toml file.  DL/T 645 without it: any three-phase meter.",
)
@click.option(
    "--di",
    multiple=True,
    metavar="HEX",
    help="A DL/T 645 identifier, like 00010000 (1997: 9010); may be repeated.",
)
@click.option(
    "--register", callback=_number, metavar="N", help="A Modbus register as on the wire, from 0."
)
@click.option("--count", type=click.IntRange(1, 125), metavar="N", help="How many registers.")
@click.option(
    "--function",
    type=click.Choice(["3", "4"]),
    default="3",
    show_default=True,
    help="3 reads holding, 4 reads input registers.",
)
@click.option(
    "--type",
    type=click.Choice(TYPES),
    default="u16",
    show_default=True,
    help="What the registers hold.",
)
@click.option(
    "--byte-order", type=click.Choice(["big", "little"]), default="big", show_default=True
)
@click.option(
    "--word-order", type=click.Choice(["big", "little"]), default="big", show_default=True
)
@click.option("--raw", metavar="HEX", help="Send exactly these bytes and explain what comes back.")
@click.option(
    "--baud",
    type=click.Choice([str(baud) for baud in BAUD_RATES]),
    help="Without it, as in the profile.",
)
@click.option("--parity", type=click.Choice(list(PARITIES)), help="Without it, as in the profile.")
@click.option("--stop-bits", type=click.Choice(["1", "2"]), help="Without it, as in the profile.")
@click.option(
    "--timeout",
    "timeout_ms",
    type=click.IntRange(10, 60_000),
    metavar="MS",
    help="For the first byte of a reply.",
)
@click.option("--tries", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def read(**typed: Any) -> None:
    """Read one meter directly, without the gateway.

    Names of points are those of the meter's profile; without any, its usual points are read.

    Exit status 0 if everything was read, 1 if something was not, 2 for wrong use.

    \b
    taiqu read --port /dev/ttyUSB0 --protocol dlt645
    taiqu read --port /dev/ttyUSB0 --protocol dlt645 --address 000012345678 voltage_l1n
    taiqu read --port socket://192.0.2.8:4001 --protocol dlt645 --address 000012345678 --di 0001FF00
    taiqu read --port tcp://192.0.2.9:502 --protocol modbus-tcp --address 1 \\
        --register 0 --count 6 --function 4 --type f32
    """  # noqa: D301 - click wants the backspace itself
    options = Options(**typed)
    options.check()
    profile = _profile_for(options)
    manners = options.manners(profile)
    try:
        if options.raw is not None:
            sys.exit(0 if _exchange_raw(options, options.raw, manners) else 1)
        asker = Asker(options.port, manners, options.tries, SystemClock())
        found = _find(options, profile, asker)
    except RequestError as error:
        raise click.UsageError(str(error)) from error
    except PortDownError as error:
        raise click.ClickException(str(error)) from error
    if options.as_json:
        click.echo(json.dumps(as_object(found, options), ensure_ascii=False))
    else:
        show(found)
    sys.exit(1 if found.failed else 0)
