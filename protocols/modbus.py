"""Modbus over RS-485 (``rtu``) and TCP (``tcp``): build, find and match frames.

    RTU   unit  function  data...  CRC-16, low byte first
    TCP   transaction(2)  protocol 0 (2)  length(2)  unit  function  data...

    unit      address of the meter, 1..247; 0 is broadcast
    function  what is asked, see protocols/modbus_requests.py; +80H in a refusal

The PDUs (function and data) are built by pymodbus; finding a frame in noise, the CRC and the
matching are ours, because a master knows the length it waits for: a good answer is found
wherever it stands, and one of a wrong unit, function, byte count or echoed register is no answer.

What no RTU master can tell from the bytes, so the caller has to take care:
- A late answer to a read of as many registers by the same function looks like the answer to this
  read.  Listen until the line is quiet after a timeout.
- The answer to 05H and 06H copies the request, as an echoing converter does: read it back.
- Nobody answers a write to unit 0 (broadcast); its ``reply_size`` is 0.

Supported: functions 01H to 06H, 0FH, 10H, 17H, 2BH/0EH, as master and (for simulators) as meter.
Not supported: 16H, files, diagnostics, ASCII.

Source: MODBUS Application Protocol 1.1b3; MODBUS over Serial Line 1.02; MODBUS Messaging on TCP/IP
Implementation Guide 1.0b.
"""

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
    WriteSingleCoilRequest,
    WriteSingleCoilResponse,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    ReadWriteMultipleRegistersRequest,
    ReadWriteMultipleRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from protocols.base import RefusedError, Reply, RequestError, Stray
from protocols.modbus_identity import MEI_TYPE, PDU_BYTES_MAX, pdu_size
from protocols.modbus_requests import (
    BITS,
    IDENTIFY,
    READ_COILS,
    READ_HOLDING,
    READ_INPUT,
    READ_INPUTS,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_MANY,
    WRITE_ONE,
    WRITE_READ,
    WRITES,
    Request,
    from_pdu,
    identify,
    within,
)
from protocols.modbus_wire import (
    FRAME_BYTES_MAX,
    LATE_NUMBERS,
    REFUSED,
    crc16,
    dlt645_size,
    exception_meaning,
    frame_sizes,
    mbap_size,
    request_pdu_size,
)

__all__ = ["IDENTIFY", "Request", "RtuCodec", "TcpCodec", "identify", "rtu", "tcp"]

_PDUS: Final[dict[int, tuple[type[ModbusPDU], type[ModbusPDU]]]] = {
    READ_COILS: (ReadCoilsRequest, ReadCoilsResponse),
    READ_INPUTS: (ReadDiscreteInputsRequest, ReadDiscreteInputsResponse),
    READ_HOLDING: (ReadHoldingRegistersRequest, ReadHoldingRegistersResponse),
    READ_INPUT: (ReadInputRegistersRequest, ReadInputRegistersResponse),
    WRITE_COIL: (WriteSingleCoilRequest, WriteSingleCoilResponse),
    WRITE_ONE: (WriteSingleRegisterRequest, WriteSingleRegisterResponse),
    WRITE_COILS: (WriteMultipleCoilsRequest, WriteMultipleCoilsResponse),
    WRITE_MANY: (WriteMultipleRegistersRequest, WriteMultipleRegistersResponse),
    WRITE_READ: (ReadWriteMultipleRegistersRequest, ReadWriteMultipleRegistersResponse),
}


@dataclass(frozen=True, slots=True)
class _Awaited:
    """An answer we would take: how it must begin, and how long it is."""

    head: bytes
    size: int
    """Bytes of the whole frame; 0 if only the frame itself tells (function 43)."""


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
        return self._frame(request.unit, _request_pdu(request), number)

    def reply_size(self, request: Request) -> int:
        """The most bytes of the reply; 0 for a broadcast write, which nobody answers."""
        return self._header + (_reply_pdu_size(request) or PDU_BYTES_MAX) + self._trailer

    def follow_up(self, request: Request, reply: Reply) -> Request | None:
        """The request for further objects of function 43; any other answer is whole."""
        # A device that names an object it has told already would go on for ever.
        if not reply.more or reply.data[0] <= request.register:
            return None
        return identify(request.unit, request.count, reply.data[0])

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
        """A meter's answer to ``request``: the registers' bytes, the bits packed lowest first, the
        objects as in modbus_identity; nothing after a write.

        Raises RequestError if ``data`` is not what was asked for.
        """
        expected = request.data_bytes
        if expected is None:
            if pdu_size(bytes(5) + data) != 5 + len(data) or len(data) > PDU_BYTES_MAX - 5:
                raise RequestError(f"the reply to {request} must be whole objects")
        elif len(data) != expected:
            raise RequestError(f"the reply to {request} has {expected} bytes, got {len(data)}")
        return self._frame(request.unit, _reply_pdu(request, data), number)

    def encode_exception(self, request: Request, code: int, number: int = 0) -> bytes:
        """A meter's refusal of ``request``, for a reason in modbus_wire's ``EXCEPTIONS``."""
        within("exception code", code, 1, 255)
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
        around = self._header + self._trailer
        if request.function in WRITES:
            begin = self.encode_reply(request, number=number)
        else:
            begin = self._begin(request.unit, size, number) + bytes([request.function])
            begin += bytes([size - 2] if size else [MEI_TYPE, request.count])
        refusal = self._begin(request.unit, 2, number) + bytes([request.function | REFUSED])
        return _Awaited(begin, size and around + size), _Awaited(refusal, around + 2)

    def _answer(self, buffer: bytes, search: _Search) -> tuple[int, int, int]:
        """Where the first good answer starts and ends (end 0: none), and where one may yet come."""
        nowhere = pending = len(buffer)
        first = search.sent[:1]
        start = buffer.find(first)
        while start >= 0:
            for answer in search.awaited:
                head, size = self._fitted(answer, buffer[start : start + FRAME_BYTES_MAX])
                end = start + size
                there = buffer[start:end]
                if len(there) == size:
                    if there.startswith(head) and self._sound(there):
                        return start, end, pending
                elif there.startswith(head) or head.startswith(there):
                    pending = min(pending, start)
            start = buffer.find(first, start + 1)
        return nowhere, 0, pending

    def _fitted(self, answer: _Awaited, there: bytes) -> tuple[bytes, int]:
        """How the answer at the start of ``there`` must begin, and its length as far as known."""
        if answer.size:
            return answer.head, answer.size
        return answer.head, self._header + pdu_size(there[self._header :]) + self._trailer


def _request_pdu(request: Request) -> bytes:
    """Function and data of a request."""
    pdu: ModbusPDU
    if request.function == IDENTIFY:
        pdu = ReadDeviceInformationRequest(request.count, request.register)
    elif request.function == WRITE_READ:
        pdu = ReadWriteMultipleRegistersRequest(
            request.register, request.count, request.write_register, request.values
        )
    elif request.function == WRITE_COILS:
        pdu = WriteMultipleCoilsRequest(request.register, [bool(bit) for bit in request.values])
    else:
        pdu = _plain(_PDUS[request.function][0], request, request.values)
    return bytes([request.function]) + pdu.encode()


def _reply_pdu(request: Request, data: bytes) -> bytes:
    """Function and data of a reply."""
    if request.function == IDENTIFY:
        more = 0xFF if data[0] else 0
        return bytes([IDENTIFY, MEI_TYPE, request.count, 0x80 | min(request.count, 3), more]) + data
    if request.function in (READ_COILS, READ_INPUTS):
        return bytes([request.function, len(data)]) + data
    registers = struct.unpack(f">{len(data) // 2}H", data) or request.values
    pdu = _plain(_PDUS[request.function][1], request, registers)
    return bytes([request.function]) + pdu.encode()


def _plain(pdu_class: type[ModbusPDU], request: Request, values: tuple[int, ...]) -> ModbusPDU:
    if request.function in BITS:
        bits = [bool(bit) for bit in values]
        return pdu_class(address=request.register, count=request.count, bits=bits)
    return pdu_class(address=request.register, count=request.count, registers=values)


def _reply_pdu_size(request: Request) -> int:
    """Bytes of the PDU of the reply; 0 if only the reply tells."""
    if request.function in WRITES:
        return 5
    return 0 if request.data_bytes is None else 2 + request.data_bytes


def _reply(request: Request, pdu: bytes) -> Reply:
    """What a matching PDU says.  Raises RefusedError if it is an exception."""
    if pdu[0] & REFUSED:
        meaning, hint, permanent = exception_meaning(pdu[1])
        raise RefusedError(
            request.address, str(request), pdu[1], meaning, hint, permanent=permanent
        )
    if request.function == IDENTIFY:
        return Reply(request.address, pdu[5:], more=pdu[4] == 0xFF)
    return Reply(request.address, b"" if request.function in WRITES else pdu[2:])


def _as_request(unit: int, pdu: bytes) -> Request | None:
    """The request that a whole PDU is, or None if no master may send it."""
    if not pdu or len(pdu) != request_pdu_size(pdu):
        return None
    try:
        request = from_pdu(unit, pdu)
    except RequestError:
        return None
    return request if _request_pdu(request) == pdu else None


class RtuCodec(_Codec):
    """Modbus RTU.  Also what a raw TCP serial server carries."""

    _header, _trailer = 1, 2

    def _begin(self, unit: int, pdu_size: int, number: int) -> bytes:  # noqa: ARG002
        return bytes([unit])

    def _end(self, body: bytes) -> bytes:
        return crc16(body).to_bytes(2, "little")

    def reply_size(self, request: Request) -> int:
        """The most bytes of the reply; 0 for a broadcast write, which nobody answers."""
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
            head, size = self._fitted(answer, tail)
            if len(tail) >= size and tail.startswith(head[:3]):
                return Stray.DAMAGED, size
        return None

    def find_request(self, buffer: bytes) -> tuple[Request | None, int]:
        """The first request in ``buffer``, and how many bytes are done with.  Never raises."""
        for start in range(len(buffer) - 6):
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

    def _fitted(self, answer: _Awaited, there: bytes) -> tuple[bytes, int]:
        head, size = super()._fitted(answer, there)
        if answer.size:
            return head, size
        # The header tells the length too; it must agree once all objects are there.
        length = (size - 6).to_bytes(2, "big") if len(there) >= size else there[4:6]
        return head[:4] + length + head[6:], size

    def _stray(self, tail: bytes, search: _Search) -> tuple[Stray, int] | None:
        size = mbap_size(tail)
        if not size or len(tail) < size:
            return None
        if tail[:size] == search.sent:
            return Stray.ECHO, size
        age = (search.number - int.from_bytes(tail[:2], "big")) & 0xFFFF
        if age >= LATE_NUMBERS and any(tail[2:].startswith(a.head[2:]) for a in search.awaited):
            return Stray.NUMBER, size
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
