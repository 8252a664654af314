"""The signs by which a Modbus meter model is known: ``[[identify]]`` in its file.

A sign is one value that can be asked for, and what it must be.  All signs of a model must hold; a
model without any cannot be told from others.  Several models may share their signs (SDM630 and
SDM630MCT), and a sign may be no more than a value that other maps do not have there: so this finds
what to try, and a person confirms it.

Not supported: DL/T 645 meters (they are told by what they answer to reading their address).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocols import modbus
from protocols.base import FrameError
from protocols.modbus_identity import objects
from protocols.modbus_texts import TEXT_TYPES, decode_text
from protocols.modbus_values import Order, decode_value, registers
from protocols.profile_tables import IdentifyTable, ModbusTable, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One of them."""

    function: int
    """3 or 4; 43 for an object of the device identification."""
    register: int
    """The first register, or the object."""
    count: int
    """How many registers; 4 (one object alone) for function 43."""
    type: str
    byte_order: Order
    word_order: Order
    bits: range | None = None
    """Only these bits count."""
    values: tuple[int, ...] = ()
    between: tuple[int, int] | None = None
    text: str = ""
    unit: bool = False

    def request(self, unit: int) -> modbus.Request:
        """What to ask the meter ``unit``."""
        return modbus.Request(unit, self.function, self.register, self.count)

    def holds(self, unit: int, data: bytes) -> bool:
        """Whether ``data``, the reply's, is what this model says.  Never raises."""
        if self.text:
            return self.text.casefold() in self._text(data).casefold()
        if len(data) != 2 * self.count:
            return False
        number = decode_value(data, self.type, self.byte_order, self.word_order)
        if number is None:
            return False
        if self.bits is not None:
            number = int(number) >> self.bits.start & (1 << len(self.bits)) - 1
        if self.between:
            return self.between[0] <= number <= self.between[1]
        return number == unit if self.unit else number in self.values

    def _text(self, data: bytes) -> str:
        if self.function != modbus.IDENTIFY:
            return decode_text(data, self.type, self.byte_order) or ""
        try:
            return objects(data).get(self.register, "")
        except FrameError:
            return ""


def recognised(signs: Sequence[Sign], unit: int, answers: Mapping[modbus.Request, bytes]) -> bool:
    """Whether the data that the meter ``unit`` answered to each request show all ``signs``."""
    asked = [(sign, answers.get(sign.request(unit))) for sign in signs]
    return bool(signs) and all(data is not None and s.holds(unit, data) for s, data in asked)


def signs(found: Sequence[Any], table: ModbusTable, problems: list[str]) -> tuple[Sign, ...]:
    """The signs in the tables ``found``; what is wrong with them is added to ``problems``."""
    made = []
    for n, each in enumerate(found):
        entry = check(IdentifyTable, each, ("identify", n), problems)
        if entry is None:
            continue
        wrong = [f"identify[{n}].{problem}" for problem in _problems(entry)]
        problems += wrong
        if not wrong:
            made.append(_sign(entry, table))
    return tuple(made)


def _problems(entry: IdentifyTable) -> Iterator[str]:
    if (entry.register_ is None) == (entry.object_ is None):
        yield "register: name either a register or an object of function 43"
    told = [entry.values, entry.between, entry.text, entry.unit]
    if sum(map(bool, told)) != 1:
        yield "values: say in one way what it must be: values, between, text or unit"
    if entry.between and (len(entry.between) != 2 or entry.between[0] > entry.between[1]):
        yield f"between: {entry.between} must be the lowest and the highest number"
    texts = entry.object_ is not None or entry.type in ("ascii", "hex")
    if bool(entry.text) != texts:
        yield "text: belongs to an object, or to a register of type ascii"
    if bool(entry.registers) != (entry.type in ("ascii", "hex")) or "ymd" in entry.type:
        yield f"registers: {entry.registers} does not go with type {entry.type}"
    if entry.bits and (entry.bits != list(range(entry.bits[0], entry.bits[-1] + 1))):
        yield f"bits: {entry.bits} must be neighbours, lowest first"
    if entry.bits and not entry.type.startswith("u"):
        yield f"bits: {entry.type} has no bits to choose; write type u16 or u32"


def _sign(entry: IdentifyTable, table: ModbusTable) -> Sign:
    if entry.object_ is not None:
        function, register, count = modbus.IDENTIFY, entry.object_, 4
    else:
        function, register = entry.function or table.function, entry.register_ or 0
        count = entry.registers if entry.type in TEXT_TYPES else registers(entry.type)
    return Sign(
        function=function,
        register=register,
        count=count,
        type=entry.type,
        byte_order=table.byte_order,
        word_order=table.word_order,
        bits=range(entry.bits[0], entry.bits[-1] + 1) if entry.bits else None,
        values=tuple(entry.values),
        between=(entry.between[0], entry.between[1]) if entry.between else None,
        text=entry.text,
        unit=entry.unit,
    )
