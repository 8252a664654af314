"""A meter model as data: a TOML file becomes a ``Profile``, or the list of all that is wrong.

A profile is ``config/meters/<model>.toml``; adding a model needs no code.  A DL/T 645 point is a
data identifier, a Modbus point a register::

    [points]
    voltage_l1n = "02010100"                        # DL/T 645: the identifier as printed
    voltage_l1n = 0x0000                            # Modbus: the register as on the wire
    voltage_l1n = { register = 0x2006, scale = 0.1 }

A variant (same map, other line settings, say) names what it is ``like`` and gives the differences.

Not supported: writing, points computed from others.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from protocols.dlt645_fields import Field
from protocols.exchanges import ItemSource, Meaning, RegisterSource
from protocols.identify import signs
from protocols.modbus_texts import TEXT_TYPES, TIMES
from protocols.modbus_values import absent_pattern, registers
from protocols.model import (
    Dlt645Profile,
    LineDefaults,
    ModbusProfile,
    OldDlt645Profile,
    Profile,
)
from protocols.planner import Dialect, Layout
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
    filled_up,
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
    return parse(data, path.stem, str(path), path.parent)


def parse(data: bytes, name: str, place: str = "", folder: Path | None = None) -> Profile:
    """The profile in ``data``; ``place`` is what error messages call the file, and ``folder`` is
    where a model that it is ``like`` is looked for, before the models of this release.

    Raises ProfileError with every problem in it, whatever the bytes.
    """
    place = place or name
    try:
        raw = read_toml(data)
        if "like" in raw:
            raw = _variant(raw, folder)
    except ValueError as error:
        raise ProfileError(place, [str(error)]) from error
    problems: list[str] = []
    profile = _profile(raw, name, problems)
    if problems or profile is None:
        raise ProfileError(place, problems)
    return profile


def _variant(raw: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """The file of a model that is like another, filled up from that.  Raises ValueError."""
    like = raw["like"]
    places = [folder or SHIPPED, SHIPPED]
    files = [place / f"{like}.toml" for place in places if re.fullmatch("[A-Za-z0-9-]+", str(like))]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise ValueError(f"like: no model is called {like!r}; write the name of a file, no .toml")
    try:
        base = read_toml(file.read_bytes())
    except (ValueError, OSError) as error:
        raise ValueError(f"like: {like}.toml: {error}") from error
    if "like" in base:
        raise ValueError(f"like: {like!r} is itself like {base['like']!r}; write that one")
    return filled_up(raw, base)


_Builder = Callable[
    [Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], list[str]], Profile | None
]
T = TypeVar("T", bound=Table)
E = TypeVar("E", bound=Entry)


def _profile(raw: dict[str, Any], name: str, problems: list[str]) -> Profile | None:
    """Check every table, and build what can be built of them."""
    head = check(HeadTable, raw, (), problems)
    line = _checked(LineTable, raw, "line", problems)
    protocol = raw.get("protocol")
    builders: dict[str, _Builder] = {
        "dlt645-2007": partial(_dlt645, Dlt645Profile),
        "dlt645-1997": partial(_dlt645, OldDlt645Profile),
        "modbus": _modbus,
    }
    build = builders.get(protocol) if isinstance(protocol, str) else None
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
    model: type[Dlt645Profile],
    raw: Mapping[str, Any],
    found: Mapping[str, Any],
    common: Mapping[str, Any],
    problems: list[str],
) -> Profile | None:
    table = _checked(Dlt645Table, raw, "dlt645", problems) or Dlt645Table()
    sources = {}
    taken: dict[tuple[str, int], str] = {}
    for meant, entry, where in _entries(found, ItemEntry, "di", problems):
        source = _item_source(model.dialect, meant, entry, table.tariffs, where, problems)
        if source is None:
            continue
        sources[meant.name] = source
        other = taken.setdefault((source.item.di, source.number), meant.name)
        if other != meant.name and not entry.bits:
            problems.append(f"{where}: reads the same value as {other}; give each its own")
    if not common:
        return None
    return model(sources=sources, **table.model_dump(), **common)


def _item_source(
    dialect: Dialect,
    meant: Point,
    entry: ItemEntry,
    tariffs: int,
    where: str,
    problems: list[str],
) -> ItemSource | None:
    item = dialect.find(entry.di.upper())
    if item is None:
        problems.append(
            f"{where}.di: {entry.di!r} is no data identifier of DL/T 645-{dialect.year};"
            f" write its {dialect.di_bytes} bytes as printed, DI{dialect.di_bytes - 1} first"
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
    decimals = field.decimals if entry.decimals is None else entry.decimals
    scale = Fraction(1, 10**decimals)
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
    marks = raw.get("identify")
    found_signs = signs(marks if isinstance(marks, list) else [], table, problems)
    if not common:
        return None
    readable = [range(first, last + 1) for first, last in table.readable]
    layout = Layout(table.max_registers, (*readable, *_runs(sources, table.function)))
    return ModbusProfile(sources=sources, layout=layout, signs=found_signs, **common)


def _register_source(
    meant: Point, entry: RegisterEntry, table: ModbusTable, where: str, problems: list[str]
) -> RegisterSource:
    type_name = entry.type or table.type
    text = TIMES.get(type_name, entry.registers)
    width = text or (1 if type_name in TEXT_TYPES else registers(type_name))
    problems += [
        f"{where}.{problem}" for problem in _register_problems(entry, type_name, width, table)
    ]
    if type_name in TEXT_TYPES and (not meant.text or meant.choices or entry.names):
        problems.append(f"{where}.type: {type_name} is a text, {meant.name} a number or names")
    scale = Fraction(entry.scale) if 1e-9 <= abs(entry.scale) <= 1e9 else Fraction(1)
    unit = meant.unit if entry.unit is None else entry.unit
    return RegisterSource(
        meaning=_meaning(meant, entry, unit, scale, 16 * width, where, problems),
        function=entry.function or table.function,
        register=entry.register_,
        type=type_name,
        byte_order=table.byte_order,
        word_order=table.word_order,
        text_registers=width if type_name in TEXT_TYPES else 0,
        absent=_absent(entry, type_name, table, where, problems),
        folded=entry.folded,
    )


def _register_problems(
    entry: RegisterEntry, type_name: str, width: int, table: ModbusTable
) -> Iterator[str]:
    if entry.register_ + width > 0x10000:
        yield f"register: {type_name} takes {width} registers, 65535 is the last"
    if width > table.max_registers:
        yield (
            f"type: {type_name} takes {width} registers; a read has at most"
            f" modbus.max_registers = {table.max_registers}"
        )
    if entry.bits and not type_name.startswith("u"):
        yield f"bits: {type_name} has no bits to choose; write type u16 or u32"
    if not 1e-9 <= abs(entry.scale) <= 1e9:
        yield f"scale: {entry.scale} is no scale; write 0.1 or 10, say"
    if bool(entry.registers) != (type_name in ("ascii", "hex")):
        yield f"registers: {entry.registers}; ascii and hex need a number of registers, others none"
    if entry.folded and not type_name.startswith("f"):
        yield f"folded: {type_name} has no four quadrants; write type f32"


def _absent(
    entry: RegisterEntry, type_name: str, table: ModbusTable, where: str, problems: list[str]
) -> tuple[int, ...]:
    """The patterns that mean "no value": the point's own, else those of the type."""
    if entry.absent is None:
        own = [table.absent[type_name]] if type_name in table.absent else []
        where = f"modbus.absent.{type_name}"
    else:
        own, where = (
            entry.absent if isinstance(entry.absent, list) else [entry.absent],
            f"{where}.absent",
        )
    found = []
    for mark in own:
        pattern = None if type_name in TEXT_TYPES else absent_pattern(mark, type_name)
        if pattern is None:
            problem = f"{where}: {mark} is no raw number of type {type_name}"
            problems += [problem] if problem not in problems else []
        else:
            found.append(pattern)
    return tuple(found)


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


def _runs(sources: Mapping[str, RegisterSource], function: int) -> list[range]:
    """Where values of a function stand without a gap: what lies between two of them is readable."""
    runs: list[range] = []
    spans = {each.span for each in sources.values() if each.function == function}
    for span in sorted(spans, key=lambda span: span.start):
        if runs and span.start <= runs[-1].stop:
            runs[-1] = range(runs[-1].start, max(runs[-1].stop, span.stop))
        else:
            runs.append(span)
    return runs


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
