"""A DL/T 645 frame explained byte by byte, for ``taiqu decode``.

Frames of DL/T 645-1997 have the same shape; their control codes give them away.

Not supported: more than one frame at a time (what stands behind the first is shown as such), the
inside of requests other than their identifier and of relay commands.
"""

from protocols import dlt645_1997_items, dlt645_relay
from protocols.base import Quality, Value
from protocols.dlt645 import (
    DATA_OFFSET,
    FOLLOW_UP,
    FROM_METER,
    FUNCTION,
    HEADER_SIZE,
    MORE,
    READ,
    READ_ADDRESS,
    REFUSED,
    WAKE_UP,
    Frame,
    parse_frame,
    starts,
)
from protocols.dlt645_items import Item, find
from protocols.dlt645_refusals import RELAY, SECURITY, refusal
from protocols.dlt645_relay import STATUS_DI, status_words
from protocols.explain import Explanation, Row

_FUNCTIONS_2007 = {
    0x03: "security", 0x08: "broadcast time", 0x11: "read", 0x12: "read follow-up",
    0x13: "read address", 0x14: "write", 0x15: "write address", 0x16: "freeze",
    0x17: "change rate", 0x18: "change password", 0x19: "clear maximum demand",
    0x1A: "clear meter", 0x1B: "clear events", 0x1C: "relay", 0x1D: "multi-function output",
}  # fmt: skip
_FUNCTIONS_1997 = {
    0x01: "read", 0x02: "read follow-up", 0x03: "read again", 0x04: "write", 0x05: "vendor's",
    0x07: "vendor's", 0x09: "vendor's", 0x0A: "write address", 0x0B: "vendor's",
    0x0C: "change rate", 0x0D: "vendor's", 0x0F: "change password", 0x10: "clear maximum demand",
}  # fmt: skip
_WITH_DI, _WRITE = (SECURITY, READ, FOLLOW_UP), 0x14
_READ_1997, _WITH_DI_1997, _WRITE_1997 = 0x01, (0x01, 0x02), 0x04


def explain(data: bytes) -> Explanation:
    """Explain the first frame in ``data``, good or damaged.  Never raises.

    ``facts``: protocol, year, valid, error (None if valid); of a frame also address, control (hex)
    and data (hex, freed of 33H, in the order of the wire); di; of a known item also item, point,
    value (exact decimal text, None if absent or invalid; a list for a block, an object for a
    record), unit and quality (one per value); refused (in words); seq of a follow-up; of a relay
    command words and (of the standard's) action, of its reply words if it tells any.
    """
    places = [(start, end) for start, end in starts(data) if end <= len(data)]
    good = [(start, end) for start, end in places if parse_frame(data[start:end])]
    if not places:
        return _no_frame(data)
    start, end = (good or places)[0]
    raw = data[start:end]
    frame = parse_frame(raw) or _as_if_good(raw)
    facts: dict[str, object] = {
        "protocol": "dlt645",
        "year": _year(frame),
        "valid": bool(good),
        "error": None if good else _damage(raw),
        "address": frame.address,
        "control": f"{frame.control:02X}",
        "data": frame.data.hex().upper(),
    }
    rows = [*_noise(data[:start], "before the frame"), *_header_rows(raw, frame)]
    rows += _data_rows(raw[HEADER_SIZE:-2], frame, facts)
    computed = sum(raw[:-2]) & 0xFF
    right = "right" if raw[-2] == computed else f"wrong, computed {computed:02X}H"
    rows.append(Row(_hex(raw[-2:-1]), "checksum", right))
    rows.append(Row(_hex(raw[-1:]), "end", "16H" if raw[-1] == 0x16 else "wrong, must be 16H"))
    rows += _noise(data[end:], "behind the frame")
    return Explanation(tuple(rows), facts)


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()


def _no_frame(data: bytes) -> Explanation:
    begun = [start for start, _ in starts(data)]
    error = "no frame: no 68H with another 68H seven bytes on"
    if begun:
        error = f"no complete frame: one may begin at byte {begun[0] + 1}, but its end is missing"
    facts: dict[str, object] = {
        "protocol": "dlt645", "year": None, "valid": False, "error": error,
    }  # fmt: skip
    return Explanation(tuple(_noise(data, "no complete frame")), facts)


def _as_if_good(raw: bytes) -> Frame:
    """What a damaged frame claims."""
    data = bytes((b - DATA_OFFSET) & 0xFF for b in raw[HEADER_SIZE:-2])
    return Frame(raw[6:0:-1].hex().upper(), raw[8], data)


def _damage(raw: bytes) -> str:
    computed = sum(raw[:-2]) & 0xFF
    if raw[-2] != computed:
        return f"checksum {raw[-2]:02X} in the frame, computed {computed:02X}"
    return f"the last byte is {raw[-1]:02X}, must be 16"


def _year(frame: Frame) -> int:
    function = frame.control & FUNCTION
    if function == SECURITY:
        # The 1997 "read again" has no data; a security request or reply has an identifier.
        return 2007 if frame.data else 1997
    return 1997 if function in _FUNCTIONS_1997 else 2007


def _noise(data: bytes, where: str) -> list[Row]:
    if not data:
        return []
    woken = all(byte == WAKE_UP for byte in data) and where == "before the frame"
    return [Row(_hex(data), "wake-up" if woken else "other bytes", where)]


def _header_rows(raw: bytes, frame: Frame) -> list[Row]:
    function = frame.control & FUNCTION
    names = _FUNCTIONS_1997 if _year(frame) == 1997 else _FUNCTIONS_2007
    words = [names.get(function, "unknown function")]
    if not frame.control & FROM_METER:
        words.append("request")
    else:
        words.append("refusal" if frame.control & REFUSED else "reply")
    if frame.control & MORE:
        words.append("more to follow")
    return [
        Row("68", "start", ""),
        Row(_hex(raw[1:7]), "address", frame.address),
        Row("68", "start", ""),
        Row(_hex(raw[8:9]), "control", ", ".join(words)),
        Row(_hex(raw[9:10]), "length", f"{raw[9]} bytes of data"),
    ]


def _data_rows(wire: bytes, frame: Frame, facts: dict[str, object]) -> list[Row]:
    """The rows of the data field; adds what it says to ``facts``."""
    function = frame.control & FUNCTION
    if not wire:
        return []
    if frame.control & REFUSED:
        facts["refused"] = refusal(function, frame.data).meaning
        return [Row(_hex(wire), "error", str(facts["refused"]))]
    if _year(frame) == 1997:
        return _old_data_rows(wire, frame, facts)
    if function == READ_ADDRESS and len(wire) == 6:
        facts["value"] = frame.data[::-1].hex().upper()
        return [Row(_hex(wire), "data", f"address {facts['value']}")]
    if function == RELAY:
        return _relay_rows(wire, frame, facts)
    # The reply to a write repeats no identifier.
    repeats = _WITH_DI if frame.control & FROM_METER else (*_WITH_DI, _WRITE)
    return _item_rows(wire, frame, facts) if function in repeats else _plain(wire)


def _item_rows(wire: bytes, frame: Frame, facts: dict[str, object]) -> list[Row]:
    """An identifier, and of a whole reply to a read its values."""
    function = frame.control & FUNCTION
    if len(wire) < 4:
        return _plain(wire)
    item = find(frame.data[3::-1].hex())
    rows = [_identifier(wire[:4], frame.data[:4], item, facts)]
    wire, data = wire[4:], frame.data[4:]
    if function == FOLLOW_UP and data:
        facts["seq"] = data[-1]
        return [*rows, *_plain(wire[:-1]), Row(_hex(wire[-1:]), "sequence", str(data[-1]))]
    whole = function == READ and frame.control & (FROM_METER | MORE) == FROM_METER
    if item and whole:
        return [*rows, *_value_rows(wire, data, item, facts)]
    return [*rows, *_plain(wire)]


def _relay_rows(wire: bytes, frame: Frame, facts: dict[str, object]) -> list[Row]:
    """A relay command byte by byte, or what a meter says it did."""
    if frame.control & FROM_METER:
        told = ", ".join(dlt645_relay.done(frame.data))
        if not told:
            return _plain(wire)
        facts["words"] = told
        return [Row(_hex(wire), "execution", told)]
    control = dlt645_relay.parse(frame.data)
    if control is None:
        return _plain(wire)
    facts["words"] = f"{control.action_words}, {control.deadline_words}"
    if control.action:
        facts["action"] = control.action.value
    authority = control.authority
    return [
        Row(_hex(wire[:1]), "level", f"{authority.password[0]:02X}"),
        Row(_hex(wire[1:4]), "password", _hex(authority.password[1:])),
        Row(_hex(wire[4:8]), "operator", _hex(authority.operator)),
        Row(_hex(wire[8:9]), "action", f"{control.code:02X}H {control.action_words}"),
        Row(_hex(wire[9:10]), "duration or reserved", f"{control.number:02X}H"),
        Row(_hex(wire[10:]), "deadline", control.deadline_words),
    ]


def _identifier(wire: bytes, data: bytes, item: Item | None, facts: dict[str, object]) -> Row:
    di = data[::-1].hex().upper()
    facts["di"] = di
    if item:
        facts |= {"item": item.name, "point": item.point}
    return Row(_hex(wire), "identifier", f"{di} {item.name}" if item else di)


def _old_data_rows(wire: bytes, frame: Frame, facts: dict[str, object]) -> list[Row]:
    repeats = _WITH_DI_1997 if frame.control & FROM_METER else (*_WITH_DI_1997, _WRITE_1997)
    if frame.control & FUNCTION not in repeats or len(wire) < 2:
        return _plain(wire)
    item = dlt645_1997_items.find(frame.data[1::-1].hex())
    rows = [_identifier(wire[:2], frame.data[:2], item, facts)]
    wire, data = wire[2:], frame.data[2:]
    if not item or frame.control & (FUNCTION | FROM_METER | MORE) != _READ_1997 | FROM_METER:
        return [*rows, *_plain(wire)]
    if not dlt645_1997_items.blocks(item.di):
        return [*rows, *_value_rows(wire, data, item, facts)]
    return [*rows, *_set_rows(wire, data, item.di, facts)]


def _set_rows(wire: bytes, data: bytes, di: str, facts: dict[str, object]) -> list[Row]:
    """The blocks of a set, each with what is behind it."""
    values = dlt645_1997_items.decode_set(di, data)
    facts["value"] = {block: [value.text() for value in found] for block, found in values.items()}
    rows = []
    for item in dlt645_1997_items.blocks(di)[: len(values)]:
        size = data.find(dlt645_1997_items.SEPARATOR) + 1 or len(data)
        told = ", ".join(value.text() or value.quality for value in values[item.di])
        unit = values[item.di][0].unit
        rows.append(Row(_hex(wire[:size]), f"block {item.di}", f"{told} {unit}".strip()))
        wire, data = wire[size:], data[size:]
    return rows + _noise(wire, "behind the blocks")


def _plain(wire: bytes) -> list[Row]:
    """Data that nobody takes apart."""
    freed = bytes((b - DATA_OFFSET) & 0xFF for b in wire)
    return [Row(_hex(wire), "data", f"{_hex(freed)} without 33H")] if wire else []


def _value_rows(wire: bytes, data: bytes, item: Item, facts: dict[str, object]) -> list[Row]:
    values = item.decode(data)
    shown = [_text(item, number, value) for number, value in enumerate(values)]
    names = [field.name for field in item.fields]
    groups: list[object] = list(shown)
    if len(names) > 1:
        starts_at = range(0, len(shown), len(names))
        groups = [dict(zip(names, shown[at:], strict=False)) for at in starts_at]
    facts["value"] = groups if item.over else groups[0]
    facts["unit"] = next((value.unit for value in values if value.unit), "")
    qualities = [str(value.quality) for value in values]
    facts["quality"] = qualities if len(qualities) > 1 else qualities[0]

    sizes = [field.size or len(wire) for field in item.fields] * (len(values) // len(names))
    if not wire:
        return [Row("", "data", "absent: nothing recorded")]
    if sum(sizes) != len(wire) and set(qualities) == {Quality.INVALID}:
        return [Row(_hex(wire), "data", "invalid: not the size of this item")]
    rows = []
    for number, (size, value) in enumerate(zip(sizes, values, strict=True)):
        text = f"{shown[number]} {value.unit}".strip() if shown[number] else qualities[number]
        if item.di == STATUS_DI and isinstance(value.amount, int):
            facts["words"] = status_words(value.amount)
            text += f": {facts['words']}"
        rows.append(Row(_hex(wire[:size]), item.label(number), text))
        wire = wire[size:]
    return rows + _noise(wire, "behind the values")


def _text(item: Item, number: int, value: Value) -> str | None:
    field = item.fields[number % len(item.fields)]
    if field.mask and isinstance(value.amount, int):
        return f"0x{value.amount:0{2 * field.size}X}"
    return value.text()
