"""The Modbus half of a profile file: registers that become values, gaps, marks, signs."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from protocols.exchanges import RegisterSource
from protocols.identify import signs
from protocols.modbus_requests import BITS
from protocols.modbus_texts import TEXT_TYPES, TIMES
from protocols.modbus_values import absent_pattern, registers
from protocols.model import ModbusProfile, Profile
from protocols.planner import Layout
from protocols.points import Point
from protocols.profile_relay import register_relay
from protocols.profile_tables import ModbusTable, RegisterEntry
from protocols.profile_values import checked, entries, meaning_of


def modbus_profile(
    raw: Mapping[str, Any], found: Mapping[str, Any], common: Mapping[str, Any], problems: list[str]
) -> Profile | None:
    """The profile in a file's tables: ``found`` are its points, ``common`` what all profiles have.

    None where ``common`` is empty; what is wrong is added to ``problems``.
    """
    table = checked(ModbusTable, raw, "modbus", problems) or ModbusTable()
    sources = {
        meant.name: _register_source(meant, entry, table, where, problems)
        for meant, entry, where in entries(found, RegisterEntry, "register", problems)
    }
    _check_overlaps(sources, problems)
    marks = raw.get("identify")
    found_signs = signs(marks if isinstance(marks, list) else [], table, problems)
    relay = register_relay(raw, sources, problems)
    if not common:
        return None
    readable = [range(first, last + 1) for first, last in table.readable]
    layout = Layout(table.max_registers, (*readable, *_runs(sources, table.function)))
    return ModbusProfile(sources=sources, layout=layout, signs=found_signs, relay=relay, **common)


def _register_source(
    meant: Point, entry: RegisterEntry, table: ModbusTable, where: str, problems: list[str]
) -> RegisterSource:
    function = entry.function or table.function
    # A bit is counted as a register that holds 0 or 1.
    bit = function in BITS
    type_name = "u16" if bit else entry.type or table.type
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
        meaning=meaning_of(meant, entry, unit, scale, 16 * width, where, problems),
        function=function,
        register=entry.register_,
        type=type_name,
        byte_order="big" if bit else table.byte_order,
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
    if entry.function in BITS and (entry.type or entry.bits):
        yield "type: a coil or an input is one bit; leave type and bits out"
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
