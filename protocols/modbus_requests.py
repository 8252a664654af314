"""What a Modbus master can ask of a meter, checked before any frame is made of it.

    function                          register            count       values
    1, 2    read coils, inputs        first bit           1..2000     -
    3, 4    read registers            first register      1..125      -
    5       write one coil            the coil            1           0 or 1
    6       write one register        the register        1           0..65535
    15      write several coils       first coil          1..1968     0 or 1 each
    16      write several registers   first register      1..123      0..65535 each
    23      write, then read          first one read      1..125      1..121, from write_register on
    43      identify the device       first object        1..4, what  -

Function 43 (device identification, 2BH/0EH) asks for texts, numbered as ``objects``; its count says
which: 1 basic (maker, product, revision), 2 regular, 3 extended, 4 that one object alone.

Source: MODBUS Application Protocol 1.1b3, §6.
"""

import struct
from dataclasses import dataclass
from typing import Final

from protocols.base import RequestError

READ_COILS, READ_INPUTS, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_ONE, WRITE_COILS, WRITE_MANY = 5, 6, 15, 16
WRITE_READ, IDENTIFY = 23, 43
FUNCTIONS: Final = (1, 2, 3, 4, 5, 6, 15, 16, 23, 43)
BITS: Final = (READ_COILS, READ_INPUTS, WRITE_COIL, WRITE_COILS)
"""Functions whose values are single bits."""
WRITES: Final = (WRITE_COIL, WRITE_ONE, WRITE_COILS, WRITE_MANY)
"""Functions whose reply only confirms."""
WRITE_READ_MAX: Final = 121
COIL_ON: Final = 0xFF00
_COUNT_MAX: Final = {
    READ_COILS: 2000,
    READ_INPUTS: 2000,
    READ_HOLDING: 125,
    READ_INPUT: 125,
    WRITE_COIL: 1,
    WRITE_ONE: 1,
    WRITE_COILS: 1968,
    WRITE_MANY: 123,
    WRITE_READ: 125,
    IDENTIFY: 4,
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one meter.  Raises RequestError if no frame can say it."""

    unit: int
    """The meter's address; 1..247 by the standard, 248..255 are in use all the same."""
    function: int
    register: int
    """The first register or bit as on the wire, counted from 0; function 43: the first object."""
    count: int = 1
    """How many registers or bits; function 43: which objects."""
    values: tuple[int, ...] = ()
    """What to write; nothing when reading."""
    write_register: int = 0
    """Function 23: the first register written."""

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            known = ", ".join(map(str, FUNCTIONS))
            raise RequestError(f"Modbus function {self.function} is not supported; use {known}")
        within("unit", self.unit, 0, 255)
        within(f"count for function {self.function}", self.count, 1, _COUNT_MAX[self.function])
        if self.function == IDENTIFY:
            within("object", self.register, 0, 0xFF)
        else:
            _span("register", self.register, self.count)
        self._check_values()

    def _check_values(self) -> None:
        wanted = self.count if self.function in WRITES else 0
        if self.function == WRITE_READ:
            wanted = len(self.values)
            within("count of values to write", wanted, 1, WRITE_READ_MAX)
            _span("register to write", self.write_register, wanted)
        elif self.write_register:
            raise RequestError(f"Modbus function {self.function} takes no register to write")
        if len(self.values) != wanted:
            raise RequestError(
                f"Modbus function {self.function} on {self.count} {self._what}(s) takes"
                f" {wanted or 'no'} value(s), got {len(self.values)}"
            )
        for value in self.values:
            within("value", value, 0, 1 if self.function in BITS else 0xFFFF)

    @property
    def address(self) -> str:
        """The unit in decimal digits."""
        return str(self.unit)

    @property
    def data_bytes(self) -> int | None:
        """Bytes of data that the reply holds; None where only the meter knows."""
        if self.function == IDENTIFY:
            return None
        if self.function in WRITES:
            return 0
        return (self.count + 7) // 8 if self.function in BITS else 2 * self.count

    @property
    def _what(self) -> str:
        return {READ_INPUTS: "input"}.get(
            self.function, "coil" if self.function in BITS else "register"
        )

    def __str__(self) -> str:
        if self.function == IDENTIFY:
            return f"identify itself from object {self.register} by function 43"
        verb = "write" if self.function in WRITES else "read"
        last = self.register + self.count - 1
        span = f" {last}" if self.count == 1 else f"s {self.register}..{last}"
        return f"{verb} {self._what}{span} by function {self.function}"


def identify(unit: int, level: int = 1, first: int = 0) -> Request:
    """Ask who the meter ``unit`` is; ``level`` 1..3 from object ``first`` on, 4 for that alone."""
    return Request(unit, IDENTIFY, first, level)


def from_pdu(unit: int, pdu: bytes) -> Request:
    """The request in a PDU of the right length.  Raises RequestError if a value in it is wrong."""
    function = pdu[0]
    if function == IDENTIFY:
        return Request(unit, function, pdu[3], pdu[2])
    register, count = struct.unpack(">HH", pdu[1:5])
    if function == WRITE_READ:
        into, written = struct.unpack(">HH", pdu[5:9])
        values = struct.unpack(f">{written}H", pdu[10:])
        return Request(unit, function, register, count, values, into)
    values = ()
    if function in (WRITE_COIL, WRITE_ONE):
        values = (int(count == COIL_ON) if function == WRITE_COIL else count,)
        count = 1
    elif function == WRITE_MANY:
        values = struct.unpack(f">{count}H", pdu[6:])
    elif function == WRITE_COILS:
        values = bits(pdu[6:], count)
    return Request(unit, function, register, count, values)


def bits(data: bytes, count: int) -> tuple[int, ...]:
    """The first ``count`` bits of ``data``, lowest bit of the first byte first."""
    return tuple(data[n // 8] >> n % 8 & 1 for n in range(count))


def _span(what: str, first: int, count: int) -> None:
    within(what, first, 0, 0xFFFF)
    within(f"last {what}", first + count - 1, 0, 0xFFFF)


def within(what: str, value: int, low: int, high: int) -> None:
    """Raise RequestError unless ``value`` is ``low`` to ``high``."""
    if not low <= value <= high:
        raise RequestError(f"Modbus {what} must be {low}..{high}, got {value}")
