"""The load curve (负荷曲线) of a DL/T 645-2007 meter: its records, and how they are asked for.

A reply holds any number of records, one behind the other:

    A0 A0  N  mm hh DD MM YY  group 1 AA  group 2 AA ... group 6 AA  CS  E5

    A0 A0   start (E0 E0: the meter itself knows this record to be damaged)
    N       bytes from the time to the last AA, binary
    group   what the mode word 04000901 switches on; empty where it does not, only AA is there
    CS      sum of all bytes from the first A0 on, modulo 256

AA is no BCD digit, so it cannot stand within a good group.  A reply without any record is how a
meter says that it has none; that is no error.

Not supported: meters of the State Grid filing that answer 06xx0001 with bare values instead of
records (they give one damaged record), and single-phase meters that shorten group 1.

Source: DL/T 645-2007 annex A.7 and annex B; N as public concentrators count it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from protocols.base import Quality, RequestError, Value
from protocols.dlt645 import READ, Request, read
from protocols.dlt645_fields import Field

GROUPS: tuple[tuple[Field, ...], ...] = (
    (
        *(Field("XXX.X", "V", name=f"voltage_l{n}n") for n in (1, 2, 3)),
        *(Field("XXX.XXX", "A", signed=True, name=f"current_l{n}") for n in (1, 2, 3)),
        Field("XX.XX", "Hz", name="frequency"),
    ),
    tuple(
        Field("XX.XXXX", unit, signed=True, name=f"power_{kind}{phase}")
        for kind, unit in (("active", "kW"), ("reactive", "kvar"))
        for phase in ("", "_l1", "_l2", "_l3")
    ),
    tuple(
        Field("X.XXX", signed=True, name=f"power_factor{phase}")
        for phase in ("", "_l1", "_l2", "_l3")
    ),
    (
        Field("XXXXXX.XX", "kWh", name="energy_active_import"),
        Field("XXXXXX.XX", "kWh", name="energy_active_export"),
        Field("XXXXXX.XX", "kvarh", signed=True, name="energy_reactive_import"),
        Field("XXXXXX.XX", "kvarh", signed=True, name="energy_reactive_export"),
    ),
    tuple(Field("XXXXXX.XX", "kvarh", name=f"energy_reactive_q{n}") for n in (1, 2, 3, 4)),
    (
        Field("XX.XXXX", "kW", signed=True, name="power_active_demand"),
        Field("XX.XXXX", "kvar", signed=True, name="power_reactive_demand"),
    ),
)
"""The fields of each group; their names are those of protocols/points.py."""
ENERGY_GROUP = 4
ENERGIES = GROUPS[ENERGY_GROUP - 1]
"""The registers among them; in the format of the present registers (00010000 ...)."""
COUNT_MAX = 99
"""Two BCD digits say how many records are wanted."""

_START = re.compile(rb"(?=\xa0\xa0|\xe0\xe0)")
_GOOD, _DAMAGED = b"\xa0\xa0", b"\xe0\xe0"
_SEPARATOR, _END = 0xAA, 0xE5
_HEAD_BYTES, _TAIL_BYTES = 3, 2
_TIME = Field("YYMMDDhhmm", name="time")


@dataclass(frozen=True, slots=True)
class Record:
    """One moment of the load curve."""

    at: Value
    """When the meter recorded it, by its own clock: ``2026-01-02 03:15``."""
    values: dict[str, Value]
    """By the name of the point, in the unit of the format (kW); what the meter does not record is
    not there."""
    problem: str = ""
    """Why nothing of it is to be believed; then it has no good value."""


def read_oldest(address: str, group: int, count: int) -> Request:
    """Ask for the oldest ``count`` records.  ``group`` 1 to 6 is one class, 0 all of them.

    Raises RequestError for a malformed address, no such group, or too many records.
    """
    return _request(address, group, 0, _count(count))


def read_from(address: str, group: int, at: datetime, count: int) -> Request:
    """Ask for ``count`` records from ``at`` on, in the meter's local time.

    Raises RequestError as ``read_oldest``.
    """
    return _request(address, group, 1, _count(count) + bytes.fromhex(f"{at:%M%H%d%m%y}"))


def read_newest(address: str, group: int) -> Request:
    """Ask for the newest record.  Raises RequestError as ``read_oldest``."""
    return _request(address, group, 2, _count(1))


def decode(data: bytes) -> tuple[Record, ...]:
    """The records in ``data``, what a reply holds behind the identifier, follow-ups included.

    Bytes that are no record become a record with a ``problem``; the next good one is found behind
    them.  Nothing raises.
    """
    records = []
    at = 0
    while at < len(data):
        end = _end(data, at)
        if end is None:
            later = (match.start() for match in _START.finditer(data, at + 1))
            end = next((start for start in later if _end(data, start)), len(data))
            records.append(_without(f"{end - at} bytes that are no record"))
        else:
            records.append(_record(data[at:end]))
        at = end
    return tuple(records)


def encode(at: datetime, values: Mapping[str, int]) -> bytes:
    """One record of these ``values``, by name in steps of their fields (for simulated meters).

    A group of which nothing is given is empty.  Raises RequestError for what no field can say.
    """
    body = _TIME.encode(f"{at:%Y-%m-%d %H:%M}")
    for fields in GROUPS:
        if values.keys() & {field.name for field in fields}:
            body += b"".join(field.encode(values.get(field.name)) for field in fields)
        body += bytes([_SEPARATOR])
    raw = _GOOD + bytes([len(body)]) + body
    return raw + bytes([sum(raw) & 0xFF, _END])


def _count(count: int) -> bytes:
    if not 1 <= count <= COUNT_MAX:
        raise RequestError(f"{count} records cannot be asked for at once; write 1 to {COUNT_MAX}")
    return bytes.fromhex(f"{count:02}")


def _request(address: str, group: int, which: int, more: bytes) -> Request:
    if not 0 <= group <= len(GROUPS):
        raise RequestError(f"there is no load curve {group}; write 1 to 6, or 0 for all of them")
    plain = read(address, f"06{group:02}00{which:02}")
    return Request(plain.address, READ, plain.data + more)


def _end(data: bytes, at: int) -> int | None:
    """Where the record that begins at ``at`` ends, if one does."""
    if not _START.match(data, at) or len(data) < at + _HEAD_BYTES:
        return None
    end = at + _HEAD_BYTES + data[at + 2] + _TAIL_BYTES
    return end if len(data) >= end and data[end - 1] == _END else None


def _record(raw: bytes) -> Record:
    """The record that ``raw`` is, from its start to its end."""
    body = raw[_HEAD_BYTES:-_TAIL_BYTES]
    at = _TIME.decode(body[: _TIME.size])
    if raw[-2] != sum(raw[:-2]) & 0xFF:
        return _without(
            f"checksum {raw[-2]:02X} in the record, computed {sum(raw[:-2]) & 0xFF:02X}"
        )
    if raw[:2] == _DAMAGED:
        return _without("the meter marks it as damaged", at)
    if at.amount is None:
        return _without(f"its time is {at.quality}", at)
    groups = body[_TIME.size :].removesuffix(bytes([_SEPARATOR])).split(bytes([_SEPARATOR]))
    if len(groups) > len(GROUPS):
        return _without(f"{len(groups)} groups; there are {len(GROUPS)}", at)
    values: dict[str, Value] = {}
    for fields, group in zip(GROUPS, groups, strict=False):
        values |= _group(fields, group)
    return Record(at, values)


def _group(fields: tuple[Field, ...], data: bytes) -> Iterator[tuple[str, Value]]:
    """Names and values of one group; all invalid at a wrong length, none where it is empty."""
    at, fits = 0, sum(field.size for field in fields) == len(data)
    for field in fields if data else ():
        yield field.name, field.decode(data[at : at + field.size] if fits else b"")
        at += field.size


def _without(problem: str, at: Value | None = None) -> Record:
    return Record(at or Value(None, quality=Quality.INVALID), {}, problem)
