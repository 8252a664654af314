"""``taiqu decode``: what the bytes of a frame mean, one after the other.

The two protocols are asked in turn and the one that finds a good frame is believed.  Where neither
does, the bytes are shown as the protocol whose frames they resemble more, with what is wrong.

Not supported: bytes with more than one frame; give each frame to a command of its own.
"""

import json
import re
import sys

import click
from tabulate import tabulate

from protocols import dlt645_explain, modbus_explain
from protocols.explain import Explanation

_SEPARATOR = re.compile(r"[\s,;:]+|0[xX]|\\x")
HEADER_68H = 7
"""DL/T 645: from the first 68H of a frame to the second."""


class HexError(ValueError):
    """A text is not bytes in hexadecimal."""


def parse_hex(text: str) -> bytes:
    """The bytes in ``text``: ``68 AA``, ``68,aa``, ``0x68 0xAA`` or ``68aa``, over several lines.

    Raises HexError with the part that is no byte.
    """
    parts = [part for part in _SEPARATOR.split(text) if part]
    for part in parts:
        if not re.fullmatch("[0-9A-Fa-f]+", part):
            raise HexError(f"{part[:40]!r} is not hexadecimal; write bytes like 68 AA or 68AA")
        if len(part) % 2:
            raise HexError(f"{part[:40]!r} is half a byte too long or short; two digits each")
    if not parts:
        raise HexError("no bytes given; write them like 68 AA AA AA AA AA AA 68 13 00 DF 16")
    return bytes.fromhex("".join(parts))


def explain(data: bytes) -> Explanation:
    """The explanation of the protocol that ``data`` belongs to, or most resembles."""
    dlt645, modbus = dlt645_explain.explain(data), modbus_explain.explain(data)
    if dlt645.facts["valid"] or modbus.facts["valid"]:
        return dlt645 if dlt645.facts["valid"] else modbus
    return dlt645 if _resembles_dlt645(data) else modbus


def _resembles_dlt645(data: bytes) -> bool:
    """Whether ``data`` has a frame's beginning: 68H after a preamble, or 68H seven bytes apart."""
    starts = [position for position, byte in enumerate(data) if byte == 0x68]
    return data.lstrip(b"\xfe").startswith(b"\x68") or any(
        data[position + HEADER_68H : position + HEADER_68H + 1] == b"\x68" for position in starts
    )


def table(explanation: Explanation) -> str:
    """The rows for a person; the bytes of a long row are shortened, its meaning is not."""
    rows = [(_short(row.bytes_hex), row.field, row.meaning) for row in explanation.rows]
    return tabulate(rows, headers=("bytes", "field", "meaning"), disable_numparse=True)


def _short(bytes_hex: str, most: int = 12) -> str:
    parts = bytes_hex.split()
    if len(parts) <= most:
        return bytes_hex
    return " ".join([*parts[: most - 2], "..", parts[-1]]) + f" ({len(parts)})"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("parts", nargs=-1, required=True, metavar="HEX...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def decode(parts: tuple[str, ...], *, as_json: bool) -> None:
    """Explain a DL/T 645 or Modbus frame byte by byte.

    Spaces, commas, line ends and 0x between the bytes do not matter.  With - the bytes are read
    from standard input.

    Exit status 0 for a good frame, 1 for a damaged one, 2 if these are no bytes.

    \b
    taiqu decode FE FE 68 78 56 34 12 00 00 68 11 04 33 33 34 33 C6 16
    taiqu decode --json 01 04 00 00 00 02 71 CB
    """  # noqa: D301 - click wants the backspace itself
    text = sys.stdin.read() if parts == ("-",) else " ".join(parts)
    try:
        explanation = explain(parse_hex(text))
    except HexError as error:
        raise click.UsageError(str(error)) from error
    facts = explanation.facts
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        click.echo(table(explanation))
        if facts["valid"] and isinstance(facts.get("value"), str):
            what = (facts.get("point") or facts["di"], facts["value"], facts["unit"])
            click.echo("\n" + " ".join(str(part) for part in what if part))
        if facts["valid"] and "words" in facts:
            click.echo(f"\n{facts['words']}")
    if not facts["valid"]:
        click.echo(f"damaged: {facts['error']}", err=True)
        sys.exit(1)
