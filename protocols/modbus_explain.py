"""One Modbus frame explained byte by byte, for ``taiqu decode``.

RTU or TCP, request or reply: found out from the bytes alone.  A right CRC means RTU, a header whose
length is right means TCP; request and reply of one function mostly differ in length.  Where they do
not (06H answers with a copy of the request), both readings are given.

Not supported: several frames in one go; file and diagnostic functions beyond their name.
"""

import struct
from collections.abc import Callable
from typing import Final

from protocols.explain import Explanation, Row
from protocols.modbus_identity import NAMES
from protocols.modbus_requests import COIL_ON, bits
from protocols.modbus_values import decode_value
from protocols.modbus_wire import REFUSED, crc16, exception_meaning, frame_sizes, mbap_size

RTU_BYTES_MIN: Final = 4
FUNCTIONS: Final = {
    1: "read coils",
    2: "read discrete inputs",
    3: "read holding registers",
    4: "read input registers",
    5: "write one coil",
    6: "write one register",
    7: "read exception status",
    8: "diagnostics",
    15: "write several coils",
    16: "write several registers",
    17: "report server id",
    22: "mask write register",
    23: "read and write registers",
    43: "encapsulated interface",
}

_LEVELS: Final = {1: "basic", 2: "regular", 3: "extended", 4: "one object of the"}

ALIKE: Final = (5, 6, 8)
"""Functions whose reply is a copy of the request."""


def explain(data: bytes) -> Explanation:
    """Explain ``data`` as one Modbus frame, whatever it is.  Never raises.

    Facts: protocol ("modbus-rtu", "modbus-tcp"), valid, error (None when valid), address (the unit,
    as text), function, kind ("request", "reply", "request or reply", "refusal", None), data (hex of
    what follows the function), transaction (TCP), and as far as the frame has them register, count,
    registers (list of integers), exception and meaning.
    """
    frame = _Frame(data)
    if _is_tcp(data):
        _explain_tcp(frame)
    else:
        _explain_rtu(frame)
    frame.facts["valid"] = frame.facts["error"] is None
    return Explanation(tuple(frame.rows), frame.facts)


class _Frame:
    """The bytes, read from the left: what was read became rows and facts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.rows: list[Row] = []
        self.facts: dict[str, object] = {
            "protocol": "",
            "valid": False,
            "error": None,
            "address": None,
            "function": None,
            "kind": None,
            "data": None,
        }

    def take(self, size: int, field: str, meaning: Callable[[int], str] | str) -> int:
        """Read a number of ``size`` bytes into a row.  What is not there gives no row, and 0."""
        taken = self.data[self.position : self.position + size]
        self.position += len(taken)
        number = int.from_bytes(taken, "big")
        if taken:
            told = meaning if isinstance(meaning, str) else meaning(number)
            self.rows.append(Row(taken.hex(" ").upper(), field, told))
        return number

    def fail(self, error: str) -> None:
        """Note what is wrong; the first problem is the one told."""
        self.facts["error"] = self.facts["error"] or error


def _is_tcp(data: bytes) -> bool:
    if len(data) >= RTU_BYTES_MIN and crc16(data) == 0:
        return False
    size = mbap_size(data)
    if not size or size == len(data):
        return bool(size)
    as_rtu = any(length == len(data) or _good(data, length) for length, _ in frame_sizes(data))
    return data[7] & ~REFUSED in FUNCTIONS and not as_rtu


def _good(data: bytes, size: int) -> bool:
    return len(data) >= size and crc16(data[:size]) == 0


def _explain_tcp(frame: _Frame) -> None:
    frame.facts["protocol"] = "modbus-tcp"
    frame.facts["transaction"] = frame.take(2, "transaction", "number {}".format)
    frame.take(2, "protocol", "0 means Modbus")
    length = frame.take(2, "length", "{} bytes follow: unit and PDU".format)
    if length != len(frame.data) - 6:
        frame.fail(f"length says {length} bytes follow, there are {len(frame.data) - 6}")
    frame.facts["address"] = str(frame.take(1, "unit", _unit))
    _explain_pdu(frame, min(len(frame.data), 6 + length))
    frame.take(len(frame.data), "extra", "behind the end of the frame")


def _explain_rtu(frame: _Frame) -> None:
    frame.facts["protocol"] = "modbus-rtu"
    data = frame.data
    if len(data) < RTU_BYTES_MIN:
        frame.fail(f"{len(data)} bytes are too few for a frame; the shortest has {RTU_BYTES_MIN}")
        frame.take(len(data), "data", "too short to be a frame")
        return
    sizes = [size for size, _ in frame_sizes(data)]
    end = next((size for size in sizes if _good(data, size)), len(data))
    if end < len(data):
        frame.fail(f"a good frame, but bytes follow behind its end: {len(data) - end}")
    frame.facts["address"] = str(frame.take(1, "unit", _unit))
    if crc16(data[:end]) and sizes and end not in sizes:
        # Its end is not where it should be, so nobody knows which bytes are the CRC.
        frame.fail(f"{end} bytes, but a frame that begins so has {' or '.join(map(str, sizes))}")
        _explain_pdu(frame, end)
        return
    _explain_pdu(frame, end - 2)
    right = crc16(data[: end - 2]).to_bytes(2, "little")
    if data[end - 2 : end] == right:
        frame.take(2, "CRC", "right")
    else:
        frame.take(2, "CRC", f"wrong, must be {right.hex(' ').upper()}")
        frame.fail(f"CRC must be {right.hex(' ').upper()} for these bytes")
    frame.take(len(data), "extra", "behind the end of the frame")


def _unit(unit: int) -> str:
    return "broadcast, or the gateway itself" if unit == 0 else f"meter {unit}"


def _explain_pdu(frame: _Frame, end: int) -> None:
    """Read the function and what follows it, up to ``end``."""
    pdu = frame.data[frame.position : end]
    function = frame.take(1, "function", _function)
    kind = _kind(pdu)
    frame.facts |= {
        "function": function & ~REFUSED,
        "kind": kind,
        "data": pdu[1:].hex().upper(),
    }
    if kind == "refusal":
        code = frame.take(1, "exception", lambda code: "{}; {}".format(*exception_meaning(code)))
        frame.facts |= {"exception": code, "meaning": exception_meaning(code)[0]}
    elif kind and function in (3, 4, 6, 16, 23):
        _explain_registers(frame, function, kind, end)
    elif kind and function in (1, 2, 5, 15):
        _explain_bits(frame, function, kind, end)
    elif kind and function == 43:
        _explain_identity(frame, kind, end)
    else:
        if kind is None and function in (1, 2, 3, 4, 5, 6, 15, 16, 23):
            frame.fail(f"{len(pdu)} bytes from the function on are neither request nor reply")
        frame.take(end - frame.position, "data", f"of a {kind}" if kind else "not known here")


def _function(function: int) -> str:
    name = FUNCTIONS.get(function & ~REFUSED, "unknown function")
    return f"refused: {name}" if function & REFUSED else name


def _kind(pdu: bytes) -> str | None:
    """What the length of a PDU makes it; None if that fits nothing known."""
    # The lengths are those of an RTU frame: unit and CRC are three bytes more.
    fits = {by_master for size, by_master in frame_sizes(b"\0" + pdu) if size == len(pdu) + 3}
    if not fits:
        return None
    if pdu[0] & REFUSED:
        return "refusal"
    if len(fits) == 2 or pdu[0] in ALIKE:
        return "request or reply"
    return "request" if True in fits else "reply"


def _explain_registers(frame: _Frame, function: int, kind: str, end: int) -> None:
    first = 0
    if function in (6, 16) or kind == "request":
        first = frame.take(2, "register", "the first, counted from 0: {}".format)
        frame.facts["register"] = first
    if function == 16 or kind == "request":
        frame.facts["count"] = frame.take(2, "count", "{} registers".format)
    if function == 23 and kind == "request":
        first = frame.take(2, "register to write", "the first, counted from 0: {}".format)
        frame.take(2, "count to write", "{} registers".format)
    if function != 6 and frame.position < end:
        size = frame.take(1, "byte count", "{} bytes of registers follow".format)
        if function == 16 and size != 2 * int(str(frame.facts["count"])):
            frame.fail(f"byte count {size} does not fit count {frame.facts['count']}")
    data = frame.data[frame.position : end]
    for at in range(0, len(data), 2):
        number = first + at // 2 if "register" in frame.facts else f"+{at // 2}"
        frame.take(2, f"register {number}", _numbers(data[at : at + 2], data[at + 2 : at + 4]))
    if data:
        frame.facts["registers"] = list(struct.unpack(f">{len(data) // 2}H", data))


def _explain_bits(frame: _Frame, function: int, kind: str, end: int) -> None:
    if function in (5, 15) or kind == "request":
        frame.facts["register"] = frame.take(2, "bit", "the first, counted from 0: {}".format)
    if function == 5:
        frame.take(2, "value", lambda value: "on" if value == COIL_ON else "off")
    elif function == 15 or kind == "request":
        frame.facts["count"] = frame.take(2, "count", "{} bits".format)
    if frame.position < end:
        frame.take(1, "byte count", "{} bytes of bits follow".format)
        data = frame.data[frame.position : end]
        for at, byte in enumerate(data):
            frame.take(1, f"bits +{8 * at}..", f"{byte:08b}, the lowest bit first on the right")
        # A reply does not say how many bits of its last byte count.
        frame.facts["bits"] = list(bits(data, 8 * len(data)))


def _explain_identity(frame: _Frame, kind: str, end: int) -> None:
    frame.take(1, "MEI type", "device identification")
    frame.take(1, "what", lambda what: f"{_LEVELS.get(what, 'unknown')} identification")
    if kind == "request":
        frame.facts["register"] = frame.take(1, "object", "the first: {}".format)
        return
    frame.take(1, "conformity", "what the device can be asked for")
    frame.take(1, "more follows", lambda more: "yes, ask again" if more == 0xFF else "no")
    frame.take(1, "next object", "number {}".format)
    frame.take(1, "objects", "{} follow".format)
    found: dict[str, str] = {}
    while frame.position < end:
        number = frame.take(1, "object", lambda number: dict(enumerate(NAMES)).get(number, ""))
        size = frame.take(1, "length", "{} bytes".format)
        text = frame.data[frame.position : min(end, frame.position + size)]
        found[str(number)] = text.decode("ascii", "backslashreplace")
        frame.take(len(text), "text", found[str(number)])
    frame.facts["objects"] = found


def _numbers(this: bytes, following: bytes) -> str:
    """What a register may mean alone and, in both word orders, with the following one."""
    told = f"{decode_value(this, 'u16')}"
    if this[0] & 0x80:
        told += f" (signed {decode_value(this, 'i16')})"
    if not following:
        return told
    both, swapped = this + following, following + this
    return f"{told}; with the next {_double(both)}; words swapped {_double(swapped)}"


def _double(data: bytes) -> str:
    number = decode_value(data, "f32")
    as_float = "no float" if number is None else f"f32 {number:.7g}"
    return f"i32 {decode_value(data, 'i32')}, {as_float}"
