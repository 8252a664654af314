"""From the bytes of a reply to the values of points: where each stands, and what it means.

An exchange (一问一答) is one request, and the points whose values its reply holds.  Its ``key``
names what it reads, the same for ever, so that a caller can remember what a meter refuses:
``0201FF00`` is a data identifier (1997: ``B61F``), ``4:0x0000+50`` means function 4, 50 registers
from 0.

Raw numbers become values by integers and fractions only; where a meter is finer than the point's
resolution, or a ratio leaves a rest, the nearest step counts and a tie goes to the even one.

Not supported: values put together from several places.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from protocols import dlt645, dlt645_1997, dlt645_load_curve, modbus
from protocols.base import Quality, Value
from protocols.dlt645_items import Item
from protocols.modbus_requests import BITS, bits
from protocols.modbus_texts import decode_text, encode_text
from protocols.modbus_values import NAN, Order, decode_value, encode_value, pattern, registers
from protocols.points import Point

AMOUNT_MAX = 2**63 - 1
"""More steps than the database can hold are no measurement."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Transformers in front of a meter that sends secondary values (倍率 = ct x pt)."""

    ct: Fraction = Fraction(1)
    """Current: 200 for 1000 A / 5 A."""
    pt: Fraction = Fraction(1)
    """Voltage: 100 for 10 kV / 100 V."""


DIRECT = Ratio()
"""No transformers, or a meter that has already multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How a raw number or text becomes the value of a point."""

    point: Point
    multiplier: Fraction = Fraction(1)
    """Raw number x multiplier = steps of the point's resolution, before any ratio."""
    bits: range | None = None
    """The value is these bits of the raw number; the lowest bit is 0."""
    names: tuple[str, ...] = ()
    """What the numbers 0, 1, ... are called: the value is a text."""
    primary: bool = False
    """The meter has already multiplied by the ratio."""

    def number(self, raw: int | float, ratio: Ratio) -> Value:
        """The value of a raw number."""
        if self.bits is not None:
            raw = int(raw) >> self.bits.start & (1 << len(self.bits)) - 1
        if self.names:
            return self.word(self.names[int(raw)]) if raw in range(len(self.names)) else self.bad()
        amount = self._steps(raw, ratio)
        if abs(amount) > AMOUNT_MAX:
            return self.bad()
        if self.point.text:
            return self.word(str(amount))
        return Value(amount, self.point.decimals, self.point.unit)

    def word(self, text: str) -> Value:
        """The value of a text."""
        return Value(text)

    def bad(self, quality: Quality = Quality.INVALID) -> Value:
        """No value, and why."""
        return Value(None, self.point.decimals, self.point.unit, quality)

    def raw(self, amount: int | str) -> Fraction:
        """The raw number of a direct-connected meter that shows ``amount``: ``number`` undone."""
        if self.names:
            return Fraction(self.names.index(str(amount)) << (self.bits.start if self.bits else 0))
        return Fraction(int(amount) << (self.bits.start if self.bits else 0)) / self.multiplier

    def factor(self, ratio: Ratio) -> Fraction:
        """Raw number x this = steps of the point's resolution, behind these transformers."""
        if ratio is DIRECT or self.primary:
            return self.multiplier
        by = (ratio.ct if self.point.ct else 1) * (ratio.pt if self.point.pt else 1)
        return self.multiplier * by

    def _steps(self, raw: int | float, ratio: Ratio) -> int:
        factor = self.factor(ratio)
        if isinstance(raw, int) and factor.denominator == 1:
            return raw * factor.numerator
        return round(Fraction(raw) * factor)


@dataclass(frozen=True, slots=True)
class ItemSource:
    """Where a DL/T 645 meter keeps a point."""

    meaning: Meaning
    item: Item
    number: int
    """Which of the item's values, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSource:
    """Where a Modbus meter keeps a point."""

    meaning: Meaning
    function: int
    """3 or 4; 1 or 2 for a coil or an input, which counts as a register of 0 or 1."""
    register: int
    """The first one, as on the wire, from 0."""
    type: str
    """``u16`` ... ``f64``: protocols/modbus_values.py; ``ascii`` ...: modbus_texts.py."""
    byte_order: Order
    word_order: Order
    text_registers: int = 0
    """How many registers a text takes; 0 for a number."""
    absent: tuple[int, ...] = ()
    """The patterns by which the meter says "not there"; ``NAN`` is any that is no number."""
    folded: bool = False
    """A power factor that counts on to 2 where the current leads (Schneider)."""

    @property
    def span(self) -> range:
        """The registers it takes."""
        return range(self.register, self.register + (self.text_registers or registers(self.type)))

    def decode(self, data: bytes, ratio: Ratio) -> Value:
        """The value of these registers' bytes."""
        if self.text_registers:
            return self._text(decode_text(data, self.type, self.byte_order))
        if self.absent and pattern(data, self.byte_order, self.word_order) in self.absent:
            return self.meaning.bad(Quality.ABSENT)
        raw = decode_value(data, self.type, self.byte_order, self.word_order)
        if raw is None:
            return self.meaning.bad(Quality.ABSENT if NAN in self.absent else Quality.INVALID)
        if self.folded and abs(raw) > 1:
            raw = (2 if raw > 0 else -2) - raw
        if self.meaning.point.text and self.type.startswith("bcd"):
            # The zeros in front belong to a number that is a name.
            return self.meaning.word(f"{raw:0{4 * len(self.span)}d}")
        return self.meaning.number(raw, ratio)

    def _text(self, text: str | None) -> Value:
        if text:
            return self.meaning.word(text)
        return self.meaning.bad(Quality.INVALID if text is None else Quality.ABSENT)

    def encode(self, amount: int | str) -> bytes:
        """The registers' bytes of a meter that shows ``amount`` (for simulated meters).

        Raises RequestError if the registers cannot hold it.
        """
        if self.text_registers:
            return encode_text(str(amount), self.type, self.text_registers, self.byte_order)
        raw = self.meaning.raw(amount)
        number = float(raw) if self.type.startswith("f") else round(raw)
        return encode_value(number, self.type, self.byte_order, self.word_order)


@dataclass(frozen=True, slots=True)
class ItemExchange:
    """One DL/T 645 read."""

    request: dlt645.Request | dlt645_1997.Request
    item: Item
    """What the request reads: an item, or a block."""
    parts: tuple[tuple[int, Meaning], ...]
    """Which of the item's values is which point."""

    @property
    def key(self) -> str:
        """The data identifier."""
        return self.item.di

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the points that the reply holds."""
        return tuple(meaning.point.name for _, meaning in self.parts)

    def values(self, data: bytes, ratio: Ratio = DIRECT) -> dict[str, Value]:
        """The points' values in ``data``, what a reply holds behind the identifier.

        A block that is shorter than expected leaves the points at its end absent.
        """
        found = self.item.decode(data)
        return {
            meaning.point.name: _item_value(found, number, meaning, ratio)
            for number, meaning in self.parts
        }


def _item_value(found: Sequence[Value], number: int, meaning: Meaning, ratio: Ratio) -> Value:
    if number >= len(found):
        # A reply that could not be taken apart is one group of invalid values.
        bad = all(value.quality is Quality.INVALID for value in found)
        return meaning.bad(Quality.INVALID if bad else Quality.ABSENT)
    value = found[number]
    if value.amount is None:
        return meaning.bad(value.quality)
    if isinstance(value.amount, str):
        return meaning.word(value.amount)
    return meaning.number(value.amount, ratio)


@dataclass(frozen=True, slots=True)
class RegisterExchange:
    """One Modbus read."""

    request: modbus.Request
    sources: tuple[RegisterSource, ...]

    @property
    def key(self) -> str:
        """Function, first register and number of registers."""
        first = self.request.register
        return register_key(self.request.function, range(first, first + self.request.count))

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the points that the reply holds."""
        return tuple(source.meaning.point.name for source in self.sources)

    def values(self, data: bytes, ratio: Ratio = DIRECT) -> dict[str, Value]:
        """The points' values in ``data``, the registers' bytes; all invalid at a wrong length."""
        if len(data) != self.request.data_bytes:
            return {source.meaning.point.name: source.meaning.bad() for source in self.sources}
        if self.request.function in BITS:
            data = b"".join(bytes([0, bit]) for bit in bits(data, self.request.count))
        first = self.request.register
        return {
            source.meaning.point.name: source.decode(
                data[2 * (source.span.start - first) : 2 * (source.span.stop - first)], ratio
            )
            for source in self.sources
        }


@dataclass(frozen=True, slots=True)
class Moment:
    """One record of a load curve (负荷曲线), as the points of a meter."""

    at: datetime | None
    """By the meter's own clock, without a zone; None where nobody can tell."""
    values: dict[str, Value]
    problem: str = ""
    """Why it is not to be believed; then there are no values."""


@dataclass(frozen=True, slots=True)
class CurveExchange:
    """One read of a DL/T 645-2007 load curve."""

    request: dlt645.Request
    meanings: tuple[Meaning, ...]
    """Of the points wanted, each named as the field of the record."""

    @property
    def key(self) -> str:
        """The data identifier."""
        return self.request.data[3::-1].hex().upper()

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the points that each record may hold."""
        return tuple(meaning.point.name for meaning in self.meanings)

    def values(self, data: bytes, ratio: Ratio = DIRECT) -> dict[str, Value]:  # noqa: ARG002
        """Nothing: no value is of the moment it was read at.  See ``moments``."""
        return {}

    def moments(self, data: bytes, ratio: Ratio = DIRECT) -> tuple[Moment, ...]:
        """The records in ``data``, what a reply holds behind the identifier."""
        return tuple(self._moment(record, ratio) for record in dlt645_load_curve.decode(data))

    def _moment(self, record: dlt645_load_curve.Record, ratio: Ratio) -> Moment:
        try:
            at = datetime.fromisoformat(str(record.at.amount))
        except ValueError:
            return Moment(None, {}, record.problem or f"its time is {record.at.text()}")
        values = {
            meaning.point.name: meaning.number(found.amount, ratio)
            if isinstance(found.amount, int)
            else meaning.bad(found.quality)
            for meaning in self.meanings
            if (found := record.values.get(meaning.point.name))
        }
        return Moment(at, values, record.problem)


Exchange = ItemExchange | RegisterExchange | CurveExchange


def register_key(function: int, span: range) -> str:
    """The key of a read of these registers."""
    return f"{function}:0x{span.start:04X}+{len(span)}"


def register_spans(keys: Iterable[str], function: int) -> list[range]:
    """The registers that ``keys`` name for this function; other protocols' keys are passed over."""
    matches = (re.fullmatch(rf"{function}:0x([0-9A-F]{{4}})\+([0-9]{{1,3}})", key) for key in keys)
    firsts = ((int(match[1], 16), int(match[2])) for match in matches if match)
    return [range(first, first + count) for first, count in firsts]
