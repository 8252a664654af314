"""A meter model as data: a TOML file becomes a ``Profile``, or the list of all that is wrong.

A profile is ``config/meters/<model>.toml``; adding a model needs no code.  A DL/T 645 point is a
data identifier, a Modbus point a register::

    [points]
    voltage_l1n = "02010100"                        # DL/T 645: the identifier as printed
    voltage_l1n = 0x0000                            # Modbus: the register as on the wire
    voltage_l1n = { register = 0x2006, scale = 0.1 }

Not supported: DL/T 645-1997, writing, texts in Modbus registers, points computed from others.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from protocols.base import RequestError
from protocols.dlt645_fields import Field
from protocols.dlt645_items import find
from protocols.exchanges import ItemSource, Meaning, RegisterSource
from protocols.modbus_values import encode_value, registers
from protocols.model import FREEZE_TIME, Dlt645Profile, LineDefaults, ModbusProfile, Profile
from protocols.planner import Layout
from protocols.points import Point, exponent, point, suggest, units
from protocols.profile_tables import (
    Dlt645Table,
    Entry,
    HeadTable,
    ItemEntry,
    LineTable,
    ModbusTable,
    RegisterEntry,
    Table,
    check,
    key_path,
    read_toml,
)

__all__ = ["SHIPPED", "Profile", "ProfileError", "load", "parse"]

_SOURCE = Path(__file__).parents[1] / "config" / "meters"
SHIPPED = _SOURCE if _SOURCE.is_dir() else Path(sys.prefix) / "share" / "taiqu" / "meters"
"""The directory of this release's models: in the source tree, or where pip laid them."""


class ProfileError(Exception):
    """A meter profile cannot be used.  The message lists everything that is wrong, one per line."""

    def __init__(self, place: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{place}: {problem}" for problem in problems))
        self.problems = tuple(problems)


def load(path: Path) -> Profile:
    """Read the file of one model.  Raises ProfileError, also where there is no such file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileError(str(path), [f"cannot be read: {error.strerror}"]) from error
    return parse(data, path.stem, str(path))


def parse(data: bytes, name: str, place: str = "") -> Profile:
    """The profile in ``data``; ``place`` is what error messages call the file.

    Raises ProfileError with every problem in it, whatever the bytes.
    """
    place = place or name
    try:
        raw = read_toml(data)
    except ValueError as error:
        raise ProfileError(place, [str(error)]) from error
    problems: list[str] = []
    profile = _profile(raw, name, problems)
    if problems or profile is None:
        raise ProfileError(place, problems)
    return profile


T = TypeVar("T", bound=Table)
E = TypeVar("E", bound=Entry)


def _profile(raw: dict[str, Any], name: str, problems: list[str]) -> Profile | None:
    """Check every table, and build what can be built of them."""
    head = check(HeadTable, raw, (), problems)
    line = _checked(LineTable, raw, "line", problems)
    protocol = raw.get("protocol")
    build = _dlt645 if protocol == "dlt645-2007" else _modbus if protocol == "modbus" else None
    if build is None:
        return None
    own, other = ("modbus", "dlt645") if protocol == "modbus" else ("dlt645", "modbus")
    if other in raw:
        problems.append(f"{other}: a {protocol} meter has no such table; did you mean [{own}]?")
    points = raw.get("points")
    found = points if isinstance(points, dict) else {}
    defaults = raw.get("default_points")
    for n, wanted in enumerate(defaults if isinstance(defaults, list) else []):
        if isinstance(wanted, str) and wanted not in found:
            near = _or(suggest(wanted, tuple(found))) or "one that [points] has"
            problems.append(f"default_points[{n}]: {wanted!r} is not in [points]; write {near}")
    common: dict[str, Any] = {}
    if head and line:
        common = {
            "name": name,
            "model": head.model,
            "manufacturer": head.manufacturer,
            "default_points": tuple(head.default_points),
            "line": LineDefaults(**line.model_dump()),
        }
    return build(raw, found, common, problems)


def _checked(form: type[T], raw: Mapping[str, Any], key: str, problems: list[str]) -> T | None:
    found = raw.get(key)
    return check(form, found, (key,), problems) if isinstance(found, dict) else None


def _entries(
    found: Mapping[str, Any], form: type[E], short: str, problems: list[str]
) -> Iterator[tuple[Point, E, str]]:
    """Each good entry with its point and place; a bare value is short for its key ``short``."""
    for name, value in found.items():
        where = key_path("points", name)
        meant = point(name)
        if meant is None:
            near = _or(suggest(name)) or "a name of protocols/points.py"
            problems.append(f"{where}: no point has this name; write {near}")
        table = value if isinstance(value, dict) else {short: value}
        entry = check(form, table, ("points", name), problems)
        if meant and entry:
            yield meant, entry, where


def _dlt645(
    raw: Mapping[str, Any], found: Mapping[str, Any], common: Mapping[str, Any], problems: list[str]
) -> Profile | None:
    table = _checked(Dlt645Table, raw, "dlt645", problems) or Dlt645Table()
    sources = {}
    taken: dict[tuple[str, int], str] = {}
    for meant, entry, where in _entries(found, ItemEntry, "di", problems):
        source = _item_source(meant, entry, table.tariffs, where, problems)
        if source is None:
            continue
        sources[meant.name] = source
        other = taken.setdefault((source.item.di, source.number), meant.name)
        if other != meant.name and not entry.bits:
            problems.append(f"{where}: reads the same value as {other}; give each its own")
    problems += _freeze_problems(table, sources)
    if not common:
        return None
    return Dlt645Profile(
        sources=sources,
        tariffs=table.tariffs,
        blocks=table.blocks,
        freezes=table.freezes,
        freeze_points=tuple(table.freeze_points),
        **common,
    )


def _freeze_problems(table: Dlt645Table, sources: Mapping[str, ItemSource]) -> Iterator[str]:
    """A daily freeze is collected by its time and by the points that stand beside it."""
    if not table.freezes and not table.freeze_points:
        return
    if not table.freezes or not table.freeze_points:
        yield "dlt645: freezes and freeze_points belong together; write both or neither"
    for name in (FREEZE_TIME, *table.freeze_points):
        source = sources.get(name)
        if source is None or not re.fullmatch("0506..01", source.item.di):
            yield (
                f"dlt645.freeze_points: {name} must be in [points] as the newest daily freeze,"
                " 0506..01"
            )


def _item_source(
    meant: Point, entry: ItemEntry, tariffs: int, where: str, problems: list[str]
) -> ItemSource | None:
    item = find(entry.di.upper())
    if item is None:
        problems.append(
            f"{where}.di: {entry.di!r} is no data identifier of DL/T 645-2007;"
            " write it as printed, DI3 first"
        )
        return None
    count = len(item.fields) * (item.over.groups(tariffs) if item.over else 1)
    if entry.field >= count:
        problems.append(
            f"{where}.field: {entry.field} does not exist; {entry.di} ({item.name}) has values"
            f" 0 to {count - 1}"
        )
        return None
    field = item.fields[entry.field % len(item.fields)]
    if not _is_number(field):
        if not meant.text or entry.names or entry.bits:
            problems.append(
                f"{where}: {entry.di} ({item.name}) is a text, {meant.name} a number, bits or"
                " names; choose another identifier or point"
            )
        return ItemSource(Meaning(point=meant), item, entry.field)
    if entry.bits and not field.mask:
        problems.append(f"{where}.bits: {entry.di} ({item.name}) is no bit mask; leave bits out")
    scale = Fraction(1, 10**field.decimals)
    meaning = _meaning(meant, entry, field.unit, scale, 8 * field.size, where, problems)
    return ItemSource(meaning, item, entry.field)


def _is_number(field: Field) -> bool:
    """Whether its values are numbers: told by the value of bytes that every format can say."""
    return isinstance(field.decode(b"\x01" * field.size).amount, int)


def _modbus(
    raw: Mapping[str, Any], found: Mapping[str, Any], common: Mapping[str, Any], problems: list[str]
) -> Profile | None:
    table = _checked(ModbusTable, raw, "modbus", problems) or ModbusTable()
    sources = {
        meant.name: _register_source(meant, entry, table, where, problems)
        for meant, entry, where in _entries(found, RegisterEntry, "register", problems)
    }
    _check_overlaps(sources, problems)
    if not common:
        return None
    readable = tuple(range(first, last + 1) for first, last in table.readable)
    return ModbusProfile(sources=sources, layout=Layout(table.max_registers, readable), **common)


def _register_source(
    meant: Point, entry: RegisterEntry, table: ModbusTable, where: str, problems: list[str]
) -> RegisterSource:
    type_name = entry.type or table.type
    width = registers(type_name)
    if entry.register_ + width > 0x10000:
        problems.append(f"{where}.register: {type_name} takes {width} registers, 65535 is the last")
    if width > table.max_registers:
        problems.append(
            f"{where}.type: {type_name} takes {width} registers; a read has at most"
            f" modbus.max_registers = {table.max_registers}"
        )
    if entry.bits and not type_name.startswith("u"):
        problems.append(f"{where}.bits: {type_name} has no bits to choose; write type u16 or u32")
    if not 1e-9 <= abs(entry.scale) <= 1e9:
        problems.append(f"{where}.scale: {entry.scale} is no scale; write 0.1 or 10, say")
        scale = Fraction(1)
    else:
        scale = Fraction(entry.scale)
    if entry.absent is not None and not _holds(type_name, entry.absent):
        problems.append(f"{where}.absent: {entry.absent} is no raw number of type {type_name}")
    unit = meant.unit if entry.unit is None else entry.unit
    return RegisterSource(
        meaning=_meaning(meant, entry, unit, scale, 16 * width, where, problems),
        function=entry.function or table.function,
        register=entry.register_,
        type=type_name,
        byte_order=table.byte_order,
        word_order=table.word_order,
        absent=entry.absent,
    )


def _holds(type_name: str, number: int) -> bool:
    try:
        encode_value(number, type_name)
    except RequestError:
        return False
    return not type_name.startswith("f")


def _check_overlaps(sources: Mapping[str, RegisterSource], problems: list[str]) -> None:
    """One register belongs to one point, unless both are bits of the same value."""
    ordered = sorted(sources.items(), key=lambda item: (item[1].function, item[1].register))
    for n, (name, source) in enumerate(ordered):
        for other_name, other in ordered[n + 1 :]:
            if other.function != source.function or other.register >= source.span.stop:
                break
            bits = source.meaning.bits is not None and other.meaning.bits is not None
            if not (bits and source.span == other.span):
                problems.append(
                    f"points.{other_name}: register {other.register:#06x} belongs to {name}"
                    f" ({source.type} at {source.register:#06x}); correct one of them"
                )


def _meaning(
    meant: Point,
    entry: Entry,
    unit: str,
    scale: Fraction,
    width: int,
    where: str,
    problems: list[str],
) -> Meaning:
    """How a raw number of ``width`` bits, ``scale`` to one ``unit``, becomes the point's value."""
    problems += [f"{where}.{problem}" for problem in _value_problems(meant, entry, unit, width)]
    power = exponent(unit, meant.unit) or 0
    return Meaning(
        point=meant,
        multiplier=scale * Fraction(10) ** (power + (0 if meant.text else meant.decimals)),
        bits=range(entry.bits[0], entry.bits[-1] + 1) if entry.bits else None,
        names=tuple(entry.names),
        primary=entry.primary,
    )


def _value_problems(meant: Point, entry: Entry, unit: str, width: int) -> Iterator[str]:
    bits = entry.bits
    if bits and (bits != list(range(bits[0], bits[0] + len(bits))) or bits[-1] >= width):
        yield f"bits: {bits} must be neighbours, lowest first, below {width}"
    if entry.names and not meant.text:
        yield f"names: {meant.name} is a number; leave the names out"
    if bits and len(entry.names) > 2 ** len(bits):
        yield f"names: {len(entry.names)} names, but {len(bits)} bit(s) count to {2 ** len(bits)}"
    wrong = [name for name in entry.names if meant.choices and name not in meant.choices]
    if wrong or (meant.choices and not entry.names):
        found = _or(tuple(wrong)) or "no name"
        yield f"names: {found} is not what {meant.name} can be; write {_or(meant.choices)}"
    if not meant.text and exponent(unit, meant.unit) is None:
        yield f"unit: {unit!r} cannot become {meant.unit!r}; write {_or(units(meant.unit))}"


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names))
