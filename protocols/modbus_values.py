"""Numbers in Modbus registers: integers, floats and BCD in every byte and word order.

The standard orders only the bytes of one register, high byte first; how 32 and 64 bits spread over
registers is the maker's choice.  Two orders describe all four layouts of a 32-bit value ABCD:

    byte_order  word_order  on the wire
    big         big         A B  C D   (most meters)
    big         little      C D  A B   (Carlo Gavazzi)
    little      big         B A  D C
    little      little      D C  B A

Not supported: mod-10000 integers; texts (see modbus_texts); a meter's own marks for "no value"
(7FFFH and the like): its profile names them, and compares them with ``pattern``.
"""

import math
import struct
from fractions import Fraction
from typing import Final, Literal

from protocols.base import FrameError, RequestError

Order = Literal["big", "little"]

_STRUCTS: Final = {
    "u16": struct.Struct(">H"),
    "i16": struct.Struct(">h"),
    "u32": struct.Struct(">I"),
    "i32": struct.Struct(">i"),
    "u64": struct.Struct(">Q"),
    "i64": struct.Struct(">q"),
    "f32": struct.Struct(">f"),
    "f64": struct.Struct(">d"),
}
_SIZES: Final = {name: layout.size for name, layout in _STRUCTS.items()} | {
    "bcd16": 2,
    "bcd32": 4,
    "bcd48": 6,
    "bcd64": 8,
}
NAN: Final = -1
"""Stands for every pattern that is no number."""
TYPES: Final = tuple(_SIZES)
"""The names of all types a register value may have."""


def registers(type_name: str) -> int:
    """How many registers one value takes.  Raises RequestError for an unknown type."""
    return _size_bytes(type_name) // 2


def decode_value(
    data: bytes, type_name: str, byte_order: Order = "big", word_order: Order = "big"
) -> int | float | None:
    """The value in ``data``, or None where the bytes are no number (NaN, infinity, non-BCD digits).

    Raises FrameError if ``data`` is not as long as the type, RequestError if the type is unknown.
    """
    size = _size_bytes(type_name)
    if len(data) != size:
        raise FrameError(f"a value of type {type_name} has {size} bytes, got {len(data)}", data)
    data = _reordered(data, byte_order, word_order)
    if type_name not in _STRUCTS:
        digits = data.hex()
        return int(digits) if digits.isdecimal() else None
    value: int | float = _STRUCTS[type_name].unpack(data)[0]
    return value if math.isfinite(value) else None


def encode_value(
    value: int | float | None,
    type_name: str,
    byte_order: Order = "big",
    word_order: Order = "big",
) -> bytes:
    """The registers' bytes of ``value``, for simulators and writes; None is NaN, or FF.. in BCD.

    Raises RequestError if the type is unknown or cannot hold the value.
    """
    size = _size_bytes(type_name)
    try:
        if type_name in _STRUCTS:
            data = _STRUCTS[type_name].pack(math.nan if value is None else value)
        else:
            data = b"\xff" * size if value is None else bytes.fromhex(f"{value:0{2 * size}d}")
    except (OverflowError, ValueError, struct.error) as error:
        raise RequestError(f"{value} does not fit into a value of type {type_name}") from error
    if len(data) != size:
        raise RequestError(f"{value} has too many digits for a value of type {type_name}")
    return _reordered(data, byte_order, word_order)


def pattern(data: bytes, byte_order: Order = "big", word_order: Order = "big") -> int:
    """The bits of a value, as manuals print them: 8000H, whatever its type makes of them."""
    return int.from_bytes(_reordered(data, byte_order, word_order), "big")


def absent_pattern(mark: int | str, type_name: str) -> int | None:
    """``pattern`` of a mark for "no value" as a profile has it, or None if the type has no such.

    A number of 16 bits takes FFFFH as well as -1.  Floats have only "nan", whose bits vary.
    """
    bits = 8 * _size_bytes(type_name)
    if type_name.startswith("f") or isinstance(mark, str):
        return NAN if mark == "nan" and type_name.startswith("f") else None
    return mark % (1 << bits) if -(1 << bits - 1) <= mark < 1 << bits else None


def to_fixed(value: int | float, decimals: int) -> int:
    """``value`` in steps of ``10**-decimals``, the nearest one; a tie goes to the even step.

    Rounds the exact binary value of a float once, without any further float arithmetic: 0.125 with
    two decimals is 12, and the 32-bit float nearest to 230.2 with three decimals is 230200.

    Raises ValueError unless ``value`` is finite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no decimal digits; check for NaN and infinity first")
    return round(Fraction(value) * Fraction(10) ** decimals)


def _size_bytes(type_name: str) -> int:
    if type_name not in _SIZES:
        raise RequestError(f"unknown value type {type_name!r}; use one of {', '.join(TYPES)}")
    return _SIZES[type_name]


def _reordered(data: bytes, byte_order: Order, word_order: Order) -> bytes:
    """From the wire's order to most significant byte first, or back: it undoes itself."""
    if byte_order != word_order:
        words = [data[i : i + 2] for i in range(0, len(data), 2)]
        data = b"".join(reversed(words))
    return data[::-1] if byte_order == "little" else data
