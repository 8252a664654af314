"""Data identifiers (数据标识) of DL/T 645-1997: two bytes, DI1 DI0, written ``9010``.

``find("9010")`` gives an item of the same kind as DL/T 645-2007 has.  A low digit of F is a block
(``901F``: total and tariffs), FF a set of blocks (``90FF``), which ``decode_set`` takes apart.

In these patterns one hex digit is one part; a small letter is an axis.  Tariff 1 is sharp, then
peak, flat, valley (尖峰平谷).

Not supported: what makers of later 1997 meters call by the same identifiers with another meaning
(B660 to B663 stay hex, C114 is the standard's).

Source: DL/T 645-1997 annex A, as public firmwares and concentrators read it.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from protocols.base import Quality, Value
from protocols.dlt645_fields import Field
from protocols.dlt645_items import Catalogue, Item
from protocols.dlt645_patterns import Axis, Pattern, family

SEPARATOR = 0xAA
"""Stands behind every block of a set.  No BCD digit, so it cannot be part of a good value."""

_AXES = {
    "t": Axis(0, 14, "tariff {n}", zero="total", suffix="_t{n}", tariffs=True),
    "q": Axis(0, 3, "phase {phase}", zero="total", suffix="_l{n}"),
    "p": Axis(1, 3, "phase {phase}", suffix="_l{n}"),
    "v": Axis(1, 3, "phase {phase}", suffix="_l{n}n"),
    "z": Axis(1, 14, "zone {n}", upto=True),
    "d": Axis(1, 14, "period {n}", upto=True),
    "h": Axis(1, 14, "{n}", upto=True),
    "c": Axis(1, 6, "class {n}"),
}

# DI1's low digit, DI0's high digit, name, units of energy and demand, energy's and demand's point
_KINDS = (
    (0, 1, "import active", "kWh", "kW", "energy_active_import", "power_active"),
    (0, 2, "export active", "kWh", "kW", "energy_active_export", "power_active_export"),
    (1, 1, "import reactive", "kvarh", "kvar", "energy_reactive_import", "power_reactive"),
    (1, 2, "export reactive", "kvarh", "kvar", "energy_reactive_export", "power_reactive_export"),
    (1, 3, "quadrant 1 reactive", "kvarh", "kvar", "energy_reactive_q1", ""),
    (1, 4, "quadrant 4 reactive", "kvarh", "kvar", "energy_reactive_q4", ""),
    (1, 5, "quadrant 2 reactive", "kvarh", "kvar", "energy_reactive_q2", ""),
    (1, 6, "quadrant 3 reactive", "kvarh", "kvar", "energy_reactive_q3", ""),
)
_MONTHS = ((0, ""), (4, ", last month"), (8, ", month before last"))


def _registers() -> Iterable[Pattern]:
    for months, when in _MONTHS:
        for low, kind, name, energy, demand, energy_point, demand_point in _KINDS:
            di = f"{months + low:X}{kind}t"
            now = not months
            point = f"{energy_point}{{t}}" if now else ""
            field = (Field("XXXXXX.XX", energy),)
            yield from family(f"9{di}", f"{name} energy{when}", field, "t", point=point)
            point = f"{demand_point}{{t}}_demand_max" if now and demand_point else ""
            field = (Field("XX.XXXX", demand),)
            yield from family(f"A{di}", f"{name} maximum demand{when}", field, "t", point=point)
            point += "_time" if point else ""
            field, of_time = (Field("MMDDhhmm"),), f"time of {name} maximum demand{when}"
            yield from family(f"B{di}", of_time, field, "t", point=point)
    yield Pattern("9000", "combined active energy", (Field("XXXXXX.XX", "kWh"),))


def _variables() -> Iterable[Pattern]:
    for di, axis, name, form, unit, point in (
        ("B61v", "v", "voltage", "XXXX", "V", "voltage{v}"),
        ("B62p", "p", "current", "XX.XX", "A", "current{p}"),
        ("B64q", "q", "reactive power", "XX.XX", "kvar", "power_reactive{q}"),
        ("B65q", "q", "power factor", "X.XXX", "", "power_factor{q}"),
    ):
        yield from family(di, name, (Field(form, unit),), axis, point=point)
    # The standard has no sign here, some meters send one; 80 kW and more cannot be meant.
    power = (Field("XX.XXXX", "kW", signed=True),)
    yield from family("B63q", "active power", power, "q", point="power_active{q}")
    yield Pattern("B66q", "apparent power or phase angle (vendor)", (Field("hex"),))
    for number, phases in enumerate(("l1l2", "l2l3", "l3l1"), 1):
        name = f"voltage {phases.upper()} (vendor)"
        yield Pattern(f"B69{number}", name, (Field("XXXX", "V"),), point=f"voltage_{phases}")
    for digit, what, form, unit in (
        (1, "count", "NNNN", "times"),
        (2, "duration", "NNNNNN", "min"),
        (3, "start", "MMDDhhmm", ""),
        (4, "end", "MMDDhhmm", ""),
    ):
        yield from family(f"B3{digit}q", f"phase failure {what}", (Field(form, unit),), "q")


# identifier, format, unit, name, point
_SINGLE = (
    ("B210", "MMDDhhmm", "", "last programming time", ""),
    ("B211", "MMDDhhmm", "", "last demand clear time", ""),
    ("B212", "NNNN", "times", "programming count", ""),
    ("B213", "NNNN", "times", "demand clear count", ""),
    ("B214", "NNNNNN", "min", "time run on the battery", "battery_time"),
    ("B634", "XX.XX", "kW", "import active power upper limit", ""),
    ("B635", "XX.XX", "kW", "export active power upper limit", ""),
    ("B680", "XX.XX", "Hz", "grid frequency (vendor)", "frequency"),
    ("B6A0", "XXX.XXX", "A", "neutral current (vendor)", "current_n"),
    ("C010", "YYMMDDWW", "", "date and weekday", "meter_date"),
    ("C011", "hhmmss", "", "time of day", "meter_clock"),
    ("C020", "bits 1", "", "meter status", "status_word"),
    ("C021", "bits 1", "", "grid status", ""),
    ("C022", "bits 1", "", "weekly rest-day word", ""),
    ("C030", "NNNNNN", "imp/kWh", "active meter constant", ""),
    ("C031", "NNNNNN", "imp/kvarh", "reactive meter constant", ""),
    ("C032", "NNNNNNNNNNNN", "", "meter number", "meter_number"),
    ("C033", "NNNNNNNNNNNN", "", "customer number", ""),
    ("C034", "NNNNNNNNNNNN", "", "device code", ""),
    ("C111", "NN", "min", "demand period", ""),
    ("C112", "NN", "min", "demand sliding time", ""),
    ("C113", "NN", "s", "time per screen", ""),
    ("C114", "NN", "s", "time without screen", ""),
    ("C115", "NN", "", "energy decimals shown", ""),
    ("C116", "NN", "", "power decimals shown", ""),
    ("C117", "DDhh", "", "automatic reading day and hour", ""),
    ("C118", "DD", "", "load sample day", ""),
    ("C119", "NNNNNNN.N", "kWh", "active start reading", ""),
    ("C11A", "NNNNNNN.N", "kvarh", "reactive start reading", ""),
    ("C211", "NNNN", "ms", "test pulse width", ""),
    ("C212", "hex 4", "", "password level and password", ""),
    ("C510", "MMDDhhmm", "", "load-profile start", ""),
    ("E323", "hex 3", "", "relay command of a smart socket (vendor)", ""),
)
_TARIFF_COUNTS = (
    "season zones", "day tables", "day periods", "tariffs", "holidays",
)  # fmt: skip


def _parameters() -> Iterable[Pattern]:
    for di, form, unit, name, point in _SINGLE:
        yield Pattern(di, name, (Field(form, unit),), point=point)
    for number, what in enumerate(_TARIFF_COUNTS):
        point = "tariff_count" if what == "tariffs" else ""
        di, name = f"C31{number}", f"number of {what}"
        yield Pattern(di, name, (Field("NN"),), "C31F", point=point, index=number)
    counts = tuple(Field("NN", name=what) for what in _TARIFF_COUNTS)
    yield Pattern("C31F", "numbers of zones, tables, periods, tariffs, holidays", counts)
    yield from family("C32z", "season", (Field("MMDDNN"),), "z")
    for table in range(1, 9):
        yield from family(f"C3{table + 2:X}d", f"day table {table}", (Field("hhmmNN"),), "d")
    yield from family("C41h", "holiday", (Field("MMDDNN"),), "h")
    yield Pattern("C51c", "load-profile interval", (Field("NNNN", "min"),))


_SETS = {
    f"{group}{months + low:X}FF": tuple(
        f"{group}{months + low:X}{kind}F" for which, kind, *_ in _KINDS if which == low
    )
    for group in "9AB"
    for months, _ in _MONTHS
    for low in (0, 1)
}
"""Identifiers of sets, and of the blocks in each, in their order."""


def _sets() -> Iterable[Pattern]:
    for di, blocks in _SETS.items():
        yield Pattern(di, f"all blocks {blocks[0]} to {blocks[-1]}", (Field("hex"),))


_CATALOGUE = Catalogue((*_registers(), *_variables(), *_parameters(), *_sets()), _AXES, 1)


@lru_cache(maxsize=1024)
def find(di: str) -> Item | None:
    """What the identifier ``di`` (four hex digits, DI1 first) holds; None if nobody told us."""
    di = di.upper()
    return _CATALOGUE.find(di) if re.fullmatch("[0-9A-F]{4}", di) else None


def blocks(di: str) -> tuple[Item, ...]:
    """The blocks of the set ``di``, in their order; none if it is no set."""
    return tuple(item for block in _SETS.get(di.upper(), ()) if (item := find(block)))


def decode_set(di: str, data: bytes) -> dict[str, tuple[Value, ...]]:
    """The values of each block in ``data``, the reply to a read of the set ``di``, by identifier.

    A meter that has fewer blocks leaves out the last ones.  Data that is no such set makes the
    values of all its blocks invalid; nothing raises.
    """
    items = blocks(di)
    parts = data.removesuffix(bytes([SEPARATOR])).split(bytes([SEPARATOR])) if data else []
    sizes = {len(part) for part in parts}
    if len(parts) > len(items) or len(sizes) > 1 or sizes == {0}:
        return {
            item.di: tuple(Value(None, f.decimals, f.unit, Quality.INVALID) for f in item.fields)
            for item in items
        }
    return {item.di: item.decode(part) for item, part in zip(items, parts, strict=False)}
