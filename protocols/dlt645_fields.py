"""The data formats of DL/T 645-2007: one field of an item, to a value and back.

A format is written as the standard prints it, most significant digit first, and is sent the other
way round, lowest byte first:

    XXXXXX.XX       packed BCD (X measured, N settable), here four bytes in steps of 0.01
    NNNNNNNNNNNN    twelve digits or more: an identification, a text with its zeros
    YYMMDDhhmm      date and time: ``2026-01-02 03:04``; WW is ``w6`` (0 = Sunday), NN ``#01``
    ASCII 6         characters, the last one first on the wire
    bits 1          a mask, lowest byte first
    status 2        a mask of which FF in every byte means absent
    DI              a data identifier
    hex 4, hex      so many bytes, or all that are there, as on the wire

Not supported: characters outside ASCII.

Source: DL/T 645-2007 annex A, notes to table A.1; the sign bit is note 2 there.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from functools import cache

from protocols.base import Quality, RequestError, Value

_TIME_PARTS = {
    "YY": "20{}", "MM": "{}", "DD": "{}", "WW": "w{}", "hh": "{}", "mm": "{}", "ss": "{}",
    "NN": "#{}",
}  # fmt: skip
_RANGES = {"MM": (1, 12), "DD": (1, 31), "WW": (0, 7), "hh": (0, 23), "mm": (0, 59), "ss": (0, 59)}


class _Kind(Enum):
    NUMBER = auto()
    DIGITS = auto()
    TIME = auto()
    ASCII = auto()
    BITS = auto()
    STATUS = auto()
    DI = auto()
    HEX = auto()


@dataclass(frozen=True, slots=True)
class _Format:
    kind: _Kind
    size: int
    decimals: int = 0
    parts: tuple[str, ...] = ()


@cache
def _parse(text: str) -> _Format:
    """Understand a format as the catalogue writes it; a wrong one is a fault of the catalogue."""
    kinds = {"ASCII": _Kind.ASCII, "bits": _Kind.BITS, "status": _Kind.STATUS, "hex": _Kind.HEX}
    word, _, size = text.partition(" ")
    if word in kinds:
        return _Format(kinds[word], int(size or 0))
    if word == "DI":
        return _Format(_Kind.DI, 4)
    if re.fullmatch(r"[XN]+(\.[XN]+)?", text):
        digits = text.replace(".", "")
        decimals = len(text.partition(".")[2])
        kind = _Kind.DIGITS if len(digits) >= 12 else _Kind.NUMBER
        return _Format(kind, len(digits) // 2, decimals)
    parts = tuple(re.findall("..", text))
    if not set(parts) <= _TIME_PARTS.keys():
        raise ValueError(f"unknown DL/T 645 format {text!r}")
    return _Format(_Kind.TIME, len(parts), parts=parts)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an item."""

    format: str
    unit: str = ""
    signed: bool = False
    """The top bit of the highest byte is a sign, the rest a magnitude (never two's complement)."""
    name: str = "value"

    @property
    def size(self) -> int:
        """Bytes on the wire; 0 means all that are there."""
        return _parse(self.format).size

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        return _parse(self.format).decimals

    @property
    def mask(self) -> bool:
        """Whether the value is a bit mask, which people read in hex."""
        return _parse(self.format).kind in (_Kind.BITS, _Kind.STATUS)

    def decode(self, data: bytes) -> Value:
        """The value of ``data``, as sent and freed of the 33H offset.  Never raises."""
        form = _parse(self.format)
        if form.size and len(data) != form.size:
            return self._without(Quality.INVALID)
        if form.kind not in (_Kind.BITS, _Kind.HEX) and set(data) == {0xFF}:
            return self._without(Quality.ABSENT)
        if form.kind in (_Kind.BITS, _Kind.STATUS):
            return self._good(int.from_bytes(data, "little"))
        if form.kind is _Kind.ASCII:
            return self._text(data)
        if form.kind in (_Kind.HEX, _Kind.DI):
            shown = data if form.kind is _Kind.HEX else data[::-1]
            return self._good(shown.hex().upper()) if data else self._without(Quality.ABSENT)
        return self._digits(data[::-1], form)

    def encode(self, value: int | str | None) -> bytes:
        """The bytes of ``value`` as sent; None is FF in every byte.

        Raises RequestError if the format cannot say this value.
        """
        if value is None:
            return b"\xff" * self.size
        form = _parse(self.format)
        number = form.kind in (_Kind.NUMBER, _Kind.BITS, _Kind.STATUS)
        data = None
        if number and isinstance(value, int):
            data = self._encode_number(value, form)
        elif not number and isinstance(value, str):
            data = self._encode_text(value, form)
        # What would not be read back as it was written is what the format cannot say.
        if data is None or self.decode(data).amount != value:
            sign = "signed " if self.signed else ""
            raise RequestError(
                f"{self.name} cannot be {value!r}; its format is {sign}{self.format}"
            )
        return data

    def _good(self, amount: int | str) -> Value:
        return Value(amount, self.decimals if isinstance(amount, int) else 0, self.unit)

    def _without(self, quality: Quality) -> Value:
        return Value(None, self.decimals, self.unit, quality)

    def _digits(self, raw: bytes, form: _Format) -> Value:
        """``raw`` in reading order, made of decimal digits or invalid."""
        negative = self.signed and raw[0] >= 0x80
        if negative:
            raw = bytes([raw[0] & 0x7F]) + raw[1:]
        text = raw.hex()
        if not text.isdecimal():
            return self._without(Quality.INVALID)
        if form.kind is _Kind.NUMBER:
            return self._good(-int(text) if negative else int(text))
        if form.kind is _Kind.DIGITS:
            return self._good(text)
        return self._time(text, form)

    def _time(self, text: str, form: _Format) -> Value:
        """A date of all zeros or all nines was never set: absent, not invalid."""
        parts = dict(zip(form.parts, re.findall("..", text), strict=True))
        dated = "DD" in parts or "MM" in parts
        if dated and set(text) in ({"0"}, {"9"}):
            return self._without(Quality.ABSENT)
        for part, (first, last) in _RANGES.items():
            if part in parts and not first <= int(parts[part]) <= last:
                return self._without(Quality.INVALID)
        if parts.keys() >= {"YY", "MM", "DD"}:
            try:
                date(2000 + int(parts["YY"]), int(parts["MM"]), int(parts["DD"]))
            except ValueError:
                return self._without(Quality.INVALID)
        return self._good(_time_text(parts))

    def _text(self, data: bytes) -> Value:
        # Most meters send the last character first, so the padding at the text's end comes first;
        # padding only at the end of the wire gives away a meter that does it the other way round.
        natural = data[-1] in b"\x00 " and data[0] not in b"\x00 "
        text = (data if natural else data[::-1]).strip(b"\x00 ")
        if not text:
            return self._without(Quality.ABSENT)
        if not all(0x20 <= byte < 0x7F for byte in text):
            return self._without(Quality.INVALID)
        return self._good(text.decode("ascii"))

    def _encode_number(self, value: int, form: _Format) -> bytes | None:
        if form.kind is not _Kind.NUMBER:
            return value.to_bytes(form.size, "little") if 0 <= value < 256**form.size else None
        if abs(value) >= 100**form.size:
            return None
        raw = bytearray.fromhex(f"{abs(value):0{2 * form.size}d}")
        if value < 0:
            raw[0] |= 0x80
        return bytes(raw[::-1])

    def _encode_text(self, value: str, form: _Format) -> bytes | None:
        if form.kind is _Kind.ASCII:
            return value.ljust(form.size, "\x00").encode("ascii", "replace")[::-1]
        digits = _time_digits(value, form) if form.kind is _Kind.TIME else value
        if digits is None or not re.fullmatch("([0-9A-F]{2})*", digits):
            return None
        raw = bytes.fromhex(digits)
        return raw if form.kind is _Kind.HEX else raw[::-1]


_DATE, _WEEKDAY, _CLOCK, _NUMBER = ("YY", "MM", "DD"), ("WW",), ("hh", "mm", "ss"), ("NN",)


def _time_text(parts: dict[str, str]) -> str:
    """``parts`` as people write them: ``2026-01-02 w5 03:04:05 #01``, less what is not there."""
    words = []
    for group, joint in ((_DATE, "-"), (_WEEKDAY, ""), (_CLOCK, ":"), (_NUMBER, "")):
        shown = [_TIME_PARTS[part].format(parts[part]) for part in group if part in parts]
        if shown:
            words.append(joint.join(shown))
    # A weekday is one digit for people: w6, not w06.
    return " ".join(words).replace("w0", "w")


def _time_digits(text: str, form: _Format) -> str | None:
    """The digits of ``text`` in the format's order, or None if it is written otherwise."""
    pattern = _time_text({part: f"(?P<{part}>@)" for part in form.parts})
    pattern = pattern.replace("<WW>@", "<WW>[0-7]").replace("@", "[0-9]{2}")
    match = re.fullmatch(pattern, text)
    if match is None:
        return None
    return "".join(f"{match[part]:0>2}" for part in form.parts)
