"""Modbus over RS-485 (``rtu``) and TCP (``tcp``): build, find and match frames.

    RTU   unit  function  data...  CRC-16, low byte first
    TCP   transaction(2)  protocol 0 (2)  length(2)  unit  function  data...

    unit      address of the meter, 1..247; 0 is broadcast
    function  03H and 04H read registers, 06H and 10H write them; +80H in a refusal

The PDU (function and data) is built and parsed by pymodbus; finding a frame in noise, the CRC and
the matching are ours, because a master knows the length it waits for: a good answer is found
wherever it stands, and one of a wrong unit, function, byte count or echoed register is no answer.

What no RTU master can tell from the bytes, so the caller has to take care:
- A late answer to a read of as many registers by the same function looks like the answer to this
  read.  Listen until the line is quiet after a timeout.
- The answer to 06H is a copy of the request, so an echoing converter seems to answer it.  Read back
  what was written.
- Nobody answers a write to unit 0 (broadcast); its ``reply_size`` is 0.

Supported: functions 03H, 04H, 06H, 10H, as master and (for simulators) as meter.
Not supported: coils and inputs (01H, 02H, 05H, 0FH), 16H, 17H, files, identification, ASCII.

Source: MODBUS Application Protocol 1.1b3; MODBUS over Serial Line 1.02; MODBUS Messaging on TCP/IP
Implementation Guide 1.0b.
"""

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from protocols.base import RefusedError, Reply, RequestError, Stray
from protocols.modbus_wire import (
    FRAME_BYTES_MAX,
    REFUSED,
    crc16,
    dlt645_size,
    exception_meaning,
    frame_sizes,
    mbap_size,
    request_pdu_size,
)

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16
READ_REGISTERS_MAX: Final = 125
WRITE_REGISTERS_MAX: Final = 123
_PDUS: Final[dict[int, tuple[type[ModbusPDU], type[ModbusPDU]]]] = {
    READ_HOLDING: (ReadHoldingRegistersRequest, ReadHoldingRegistersResponse),
    READ_INPUT: (ReadInputRegistersRequest, ReadInputRegistersResponse),
    WRITE_ONE: (WriteSingleRegisterRequest, WriteSingleRegisterResponse),
    WRITE_MANY: (WriteMultipleRegistersRequest, WriteMultipleRegistersResponse),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request for some registers of one meter.  Raises RequestError if no frame can say it."""

    unit: int
    """The meter's address; 1..247 by the standard, 248..255 are in use all the same."""
    function: int
    """3 (holding registers), 4 (input registers), 6 (write one) or 16 (write several)."""
    register: int
    """The first register as on the wire, counted from 0."""
    count: int = 1
    """How many registers: 1..125 to read, 1..123 to write."""
    values: tuple[int, ...] = ()
    """What to write, 0..65535 each; nothing when reading."""

    def __post_init__(self) -> None:
        if self.function not in _PDUS:
            raise RequestError(f"Modbus function {self.function} is not supported; use 3, 4, 6, 16")
        writes = self.function in (WRITE_ONE, WRITE_MANY)
        count_max = {WRITE_ONE: 1, WRITE_MANY: WRITE_REGISTERS_MAX}.get(
            self.function, READ_REGISTERS_MAX
        )
        _within("unit", self.unit, 0, 255)
        _within("register", self.register, 0, 0xFFFF)
        _within(f"count for function {self.function}", self.count, 1, count_max)
        _within("last register", self.register + self.count - 1, 0, 0xFFFF)
        if len(self.values) != (self.count if writes else 0):
            raise RequestError(
                f"Modbus function {self.function} on {self.count} register(s) takes"
                f" {self.count if writes else 'no'} value(s), got {len(self.values)}"
            )
        for value in self.values:
            _within("value", value, 0, 0xFFFF)

    @property
    def address(self) -> str:
        """The unit in decimal digits."""
        return str(self.unit)

    def __str__(self) -> str:
        verb = "write" if self.values else "read"
        last = self.register + self.count - 1
        which = f"register {last}" if self.count == 1 else f"registers {self.register}..{last}"
        return f"{verb} {which} by function {self.function}"


def _within(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise RequestError(f"Modbus {what} must be {low}..{high}, got {value}")


@dataclass(frozen=True, slots=True)
class _Awaited:
    """An answer we would take: how it must begin, and how long it is."""

    head: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Search:
    """What one call of ``decode`` looks for."""

    request: Request
    number: int
    sent: bytes
    awaited: tuple[_Awaited, _Awaited]
    """The reply and the refusal."""


class _Codec(ABC):
    """What RTU and TCP share: the PDUs, and the search for the answer.  Satisfies base.Codec."""

    _header: int
    _trailer: int
    """Bytes of a frame in front of its PDU, and behind it."""

    @abstractmethod
    def _begin(self, unit: int, pdu_size: int, number: int) -> bytes:
        """The bytes of a frame in front of its PDU."""

    @abstractmethod
    def _end(self, body: bytes) -> bytes:
        """The bytes of a frame behind its PDU, from all that is in front of them."""

    @abstractmethod
    def _stray(self, tail: bytes, search: _Search) -> tuple[Stray, int] | None:
        """The whole frame at the start of ``tail``, known not to be the answer; and its length."""

    def encode(self, request: Request, number: int = 0) -> bytes:
        """The bytes to send.  ``number`` is TCP's transaction identifier, modulo 65536."""
        pdu_class, _ = _PDUS[request.function]
        pdu = pdu_class(
            address=request.register, count=request.count, registers=request.values
        ).encode()
        return self._frame(request.unit, bytes([request.function]) + pdu, number)

    def reply_size(self, request: Request) -> int:
        """Bytes of the reply; 0 for a broadcast write, which nobody answers."""
        return self._header + _reply_pdu_size(request) + self._trailer

    def follow_up(self, request: Request, reply: Reply) -> Request | None:  # noqa: ARG002
        """Nothing: a Modbus answer is always whole."""
        return None

    def decode(
        self, buffer: bytes, request: Request, number: int = 0
    ) -> tuple[Reply | Stray | None, int]:
        """Find the next frame in ``buffer``: the answer to ``request``, or one to listen past.

        A stray is told before the answer it stands in front of.  Nothing that may still become the
        answer is ever done with.  Raises RefusedError if the meter declined this request.
        """
        sent = self.encode(request, number)
        search = _Search(request, number, sent, self._awaited(request, number))
        start, end, pending = self._answer(buffer, search)
        limit = start if end else pending
        for position in range(limit):
            stray = self._stray(buffer[position:], search)
            if stray is None:
                continue
            kind, used = stray[0], position + stray[1]
            if used <= limit:
                return kind, used
            if not end and kind is not Stray.DAMAGED:
                # Noise can imitate a frame that reaches into the answer still arriving.
                return kind, limit
        if end:
            return _reply(request, buffer[start + self._header : end - self._trailer]), end
        return None, max(0, len(buffer) - FRAME_BYTES_MAX)

    def encode_reply(self, request: Request, data: bytes = b"", number: int = 0) -> bytes:
        """A meter's answer to ``request``; ``data`` are the registers' bytes, none after a write.

        Raises RequestError if ``data`` is not what was asked for.
        """
        expected = 0 if request.values else 2 * request.count
        if len(data) != expected:
            raise RequestError(f"the reply to {request} has {expected} bytes, got {len(data)}")
        registers = struct.unpack(f">{len(data) // 2}H", data) or request.values
        _, pdu_class = _PDUS[request.function]
        pdu = pdu_class(address=request.register, count=request.count, registers=registers).encode()
        return self._frame(request.unit, bytes([request.function]) + pdu, number)

    def encode_exception(self, request: Request, code: int, number: int = 0) -> bytes:
        """A meter's refusal of ``request``, for a reason in modbus_wire's ``EXCEPTIONS``."""
        _within("exception code", code, 1, 255)
        pdu = ExceptionResponse(request.function, code)
        return self._frame(request.unit, bytes([pdu.function_code]) + pdu.encode(), number)

    def _frame(self, unit: int, pdu: bytes, number: int) -> bytes:
        body = self._begin(unit, len(pdu), number) + pdu
        return body + self._end(body)

    def _sound(self, frame: bytes) -> bool:
        end = len(frame) - self._trailer
        return frame[end:] == self._end(frame[:end])

    def _awaited(self, request: Request, number: int) -> tuple[_Awaited, _Awaited]:
        size = _reply_pdu_size(request)
        if request.values:
            begin = self.encode_reply(request, number=number)
        else:
            begin = self._begin(request.unit, size, number)
            begin += bytes([request.function, 2 * request.count])
        refusal = self._begin(request.unit, 2, number) + bytes([request.function | REFUSED])
        around = self._header + self._trailer
        return _Awaited(begin, around + size), _Awaited(refusal, around + 2)

    def _answer(self, buffer: bytes, search: _Search) -> tuple[int, int, int]:
        """Where the first good answer starts and ends (end 0: none), and where one may yet come."""
        nowhere = pending = len(buffer)
        first = search.sent[:1]
        start = buffer.find(first)
        while start >= 0:
            for answer in search.awaited:
                end = start + answer.size
                there = buffer[start:end]
                if len(there) == answer.size:
                    if there.startswith(answer.head) and self._sound(there):
                        return start, end, pending
                elif there.startswith(answer.head) or answer.head.startswith(there):
                    pending = min(pending, start)
            start = buffer.find(first, start + 1)
        return nowhere, 0, pending


def _reply_pdu_size(request: Request) -> int:
    return 5 if request.values else 2 + 2 * request.count


def _reply(request: Request, pdu: bytes) -> Reply:
    """What a matching PDU says.  Raises RefusedError if it is an exception."""
    if pdu[0] & REFUSED:
        meaning, hint, permanent = exception_meaning(pdu[1])
        raise RefusedError(
            request.address, str(request), pdu[1], meaning, hint, permanent=permanent
        )
    return Reply(request.address, b"" if request.values else pdu[2:])


def _as_request(unit: int, pdu: bytes) -> Request | None:
    """The request that a whole PDU is, or None if a meter of ours could not obey it."""
    if not pdu or len(pdu) != request_pdu_size(pdu):
        return None
    parsed = _PDUS[pdu[0]][0]()
    try:
        parsed.decode(pdu[1:])
        values = tuple(parsed.registers)
        count = parsed.count or len(values)
        return Request(unit, pdu[0], parsed.address, count, values)
    except (ValueError, RequestError):
        return None


class RtuCodec(_Codec):
    """Modbus RTU.  Also what a raw TCP serial server carries."""

    _header, _trailer = 1, 2

    def _begin(self, unit: int, pdu_size: int, number: int) -> bytes:  # noqa: ARG002
        return bytes([unit])

    def _end(self, body: bytes) -> bytes:
        return crc16(body).to_bytes(2, "little")

    def reply_size(self, request: Request) -> int:
        """Bytes of the reply; 0 for a broadcast write, which nobody answers."""
        return 0 if request.values and request.unit == 0 else super().reply_size(request)

    def _stray(self, tail: bytes, search: _Search) -> tuple[Stray, int] | None:
        if tail.startswith(search.sent):
            return Stray.ECHO, len(search.sent)
        if size := dlt645_size(tail):
            return Stray.FOREIGN, size
        for size, from_master in frame_sizes(tail):
            if len(tail) >= size and crc16(tail[:size]) == 0:
                late = tail[0] == search.request.unit and not from_master
                return Stray.LATE if late else Stray.FOREIGN, size
        for answer in search.awaited:
            if len(tail) >= answer.size and tail.startswith(answer.head[:3]):
                return Stray.DAMAGED, answer.size
        return None

    def find_request(self, buffer: bytes) -> tuple[Request | None, int]:
        """The first request in ``buffer``, and how many bytes are done with.  Never raises."""
        for start in range(len(buffer) - 7):
            end = start + 3 + request_pdu_size(buffer[start + 1 :])
            if crc16(buffer[start:end]) == 0:
                request = _as_request(buffer[start], buffer[start + 1 : end - 2])
                if request:
                    return request, end
        return None, max(0, len(buffer) - FRAME_BYTES_MAX)


class TcpCodec(_Codec):
    """Modbus TCP: the header numbers the exchanges, so a late answer is known as such."""

    _header, _trailer = 7, 0

    def _begin(self, unit: int, pdu_size: int, number: int) -> bytes:
        return struct.pack(">HHHB", number & 0xFFFF, 0, pdu_size + 1, unit)

    def _end(self, body: bytes) -> bytes:  # noqa: ARG002
        return b""

    def _stray(self, tail: bytes, search: _Search) -> tuple[Stray, int] | None:
        size = mbap_size(tail)
        if not size or len(tail) < size:
            return None
        if tail[:size] == search.sent:
            return Stray.ECHO, size
        age = (search.number - int.from_bytes(tail[:2], "big")) & 0xFFFF
        late = tail[6] == search.request.unit if age == 0 else age < 0x8000
        return Stray.LATE if late else Stray.FOREIGN, size

    def find_request(self, buffer: bytes) -> tuple[Request | None, int, int]:
        """The first request in ``buffer``, how many bytes are done with, and its transaction
        number, to be given back in the answer.  Never raises.
        """
        for start in range(len(buffer) - 7):
            size = mbap_size(buffer[start:])
            request = _as_request(buffer[start + 6], buffer[start + 7 : start + size])
            if request:
                number = int.from_bytes(buffer[start : start + 2], "big")
                return request, start + size, number
        return None, max(0, len(buffer) - FRAME_BYTES_MAX), 0


rtu: Final = RtuCodec()
"""The codec of RS-485 lines and of raw TCP serial servers."""
tcp: Final = TcpCodec()
"""The codec of Modbus TCP."""
