"""Texts and times in Modbus registers: names, serial numbers, a meter's clock.

    type      registers   on the wire
    ascii     any         one or two characters a register; padded with 00H or blanks
    hex       any         bytes that only the maker understands, shown in hexadecimal
    ymdhms    3           year, month, day, hour, minute, second: one binary byte each, from 2000
    ymdwhms   4           the same with the weekday behind the day; the last byte means nothing

Not supported: times in BCD, IEC 60870-5 times, other characters than ASCII.
"""

from datetime import datetime
from typing import Final

from protocols.base import RequestError
from protocols.modbus_values import Order

TIMES: Final = {"ymdhms": 3, "ymdwhms": 4}
"""Types of a fixed size, in registers."""
TEXT_TYPES: Final = ("ascii", "hex", *TIMES)


def decode_text(data: bytes, type_name: str, byte_order: Order = "big") -> str | None:
    """The text in ``data``; "" where the meter keeps none, None where the bytes are no such text.

    A time is ``2026-11-21T22:08:23``, in the meter's own local time.
    """
    data = _in_order(data, byte_order)
    if type_name == "hex":
        return data.hex().upper()
    if type_name == "ascii":
        text = data.replace(b"\0", b"").strip(b" ")
        return text.decode("ascii") if text.isascii() and text.decode().isprintable() else None
    fields = data[:3] + data[4:7] if type_name == "ymdwhms" else data
    if len(fields) != 6:
        return None
    try:
        return datetime(2000 + fields[0], *fields[1:]).isoformat()  # noqa: DTZ001 - the meter's own
    except ValueError:
        return None


def encode_text(text: str, type_name: str, count: int, byte_order: Order = "big") -> bytes:
    """The bytes of ``count`` registers that hold ``text`` (for simulated meters); "0" is all zero.

    Raises RequestError if they cannot.
    """
    size = 2 * count
    try:
        if text == "0":
            data = b""
        elif type_name == "hex":
            data = bytes.fromhex(text)
        elif type_name == "ascii":
            data = text.encode("ascii")
        else:
            data = _time(text, weekday=type_name == "ymdwhms")
    except ValueError as error:
        raise RequestError(f"{text!r} is no value of type {type_name}") from error
    if len(data) > size:
        raise RequestError(f"{text!r} is too long for {count} registers")
    return _in_order(data.ljust(size, b"\0"), byte_order)


def _time(text: str, *, weekday: bool) -> bytes:
    time = datetime.fromisoformat(text)
    date = bytes([time.year % 100, time.month, time.day])
    return date + bytes([time.isoweekday()] * weekday + [time.hour, time.minute, time.second])


def _in_order(data: bytes, byte_order: Order) -> bytes:
    if byte_order == "big":
        return data
    return b"".join(data[i : i + 2][::-1] for i in range(0, len(data), 2))
