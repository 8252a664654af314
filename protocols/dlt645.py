"""DL/T 645-2007: the frames of Chinese electricity meters, and which of them answers a request.

A frame, after up to four FEH wake-up bytes (前导字节):

    68H  A0..A5  68H  C  L  DATA  CS  16H

    A0..A5  meter address (地址域), 12 BCD digits, lowest byte first
    C       control code (控制码): 11H read; 91H its reply, B1H with more to follow, D1H refused
    L       number of bytes in DATA
    DATA    data field (数据域), every byte sent with 33H added
    CS      checksum (校验码): sum of all bytes from the first 68H, modulo 256

This module satisfies ``protocols.base.Codec``: ``encode``, ``decode``, ``reply_size``,
``follow_up``.  ``find_frame`` is the receiver without a request, as a meter needs it.

Supported: any request and its reply; read (11H) with follow-ups (12H) and read address (13H) have
constructors here, what changes a meter has them in protocols/dlt645_control.py.  DL/T 645-1997 has
the same frames and requests of its own: protocols/dlt645_1997.py.  Not supported: meters that
append an operator code to the identifier of a read.

Pure functions only: the caller owns the port, the clock and the retries.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from protocols.base import RefusedError, Reply, RequestError, Stray
from protocols.dlt645_items import find
from protocols.dlt645_refusals import RELAY, SECURITY, refusal

START, END, WAKE_UP = 0x68, 0x16, 0xFE
DATA_OFFSET = 0x33
PREAMBLE_SIZE = 4
"""Wake-up bytes that the standard suggests to send, and meters send back."""
HEADER_SIZE = 10
"""Bytes from the first 68H up to and including L."""
OVERHEAD_SIZE = HEADER_SIZE + 2
"""Bytes of a frame that are not DATA: the header, CS and 16H."""
DATA_MAX = 200
"""The standard's limit of DATA; no request exceeds it."""
DATA_TOLERATED = 240
"""What is accepted of meters that do not keep to DATA_MAX."""

READ, FOLLOW_UP, READ_ADDRESS = 0x11, 0x12, 0x13
BROADCAST_TIME, WRITE, WRITE_ADDRESS, FREEZE = 0x08, 0x14, 0x15, 0x16
CHANGE_SPEED, CLEAR_DEMAND = 0x17, 0x19
FROM_METER, REFUSED, MORE, FUNCTION = 0x80, 0x40, 0x20, 0x1F
"""The bits of the control code."""
WILDCARD = "AA"
EVERY_METER = WILDCARD * 6
BROADCAST = "99" * 6
"""Obeyed by every meter, answered by none."""
SEQUENCE_MAX = 255

_REPEATS_DI = (SECURITY, READ, FOLLOW_UP)
_DATA_MIN = {SECURITY: 4, READ: 4, FOLLOW_UP: 5}
_BARE = (WRITE, WRITE_ADDRESS, FREEZE, CLEAR_DEMAND)
"""Functions whose confirmation has no data."""
_FREEZE_ALL = (BROADCAST, FREEZE)
_SLACK_BYTES = 4
"""Some meters send a wider format, or a filler at the end."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, its data field already freed of the 33H offset."""

    address: str
    """Twelve characters as printed on the meter; AA are wildcards, other letters are vendors'."""
    control: int
    data: bytes = b""


def encode_frame(frame: Frame, preamble: int = 0) -> bytes:
    """Return the bytes of ``frame`` behind ``preamble`` wake-up bytes.

    Raises RequestError if no frame can carry it.  Source: DL/T 645-2007 §5.2.
    """
    if not re.fullmatch("[0-9A-F]{12}", frame.address):
        raise RequestError(f"address {frame.address!r} is not 12 digits; pad it with 0 on the left")
    if len(frame.data) > DATA_TOLERATED or not 0 <= frame.control <= 0xFF:
        raise RequestError(
            f"control code {frame.control:X}H with {len(frame.data)} bytes of data fits no frame;"
            f" use one byte and at most {DATA_TOLERATED}"
        )
    body = bytes([START, *bytes.fromhex(frame.address)[::-1], START, frame.control])
    body += bytes([len(frame.data), *((b + DATA_OFFSET) & 0xFF for b in frame.data)])
    return bytes([WAKE_UP] * preamble) + body + bytes([sum(body) & 0xFF, END])


def find_frame(buffer: bytes) -> tuple[Frame | None, int]:
    """Find the first good frame in ``buffer``, whatever stands around it.  Never raises.

    Returns the frame, or None while there is none, and how many leading bytes are done with.  The
    start of a frame not yet complete is kept, but does not hide a good frame behind it.
    """
    kept = len(buffer)
    for start, end in starts(buffer):
        if end > len(buffer):
            kept = min(kept, start)
            continue
        frame = parse_frame(buffer[start:end])
        if frame:
            return frame, end
    return None, kept


def starts(buffer: bytes) -> Iterator[tuple[int, int]]:
    """Every place where a frame may begin, and where it would end (beyond what is there, if so)."""
    start = buffer.find(START)
    while start >= 0:
        # A real start has a second 68H seven bytes on; what has not arrived yet may still be one.
        if buffer[start + 7 : start + 8] in (b"", b"\x68"):
            size = buffer[start + 9] if len(buffer) > start + 9 else 0
            if size <= DATA_TOLERATED:
                yield start, start + OVERHEAD_SIZE + size
        start = buffer.find(START, start + 1)


def parse_frame(raw: bytes) -> Frame | None:
    """The frame that ``raw`` is, as cut out by ``starts``; None if it is damaged."""
    if raw[-1] != END or raw[-2] != sum(raw[:-2]) & 0xFF:
        return None
    data = bytes((b - DATA_OFFSET) & 0xFF for b in raw[HEADER_SIZE:-2])
    return Frame(raw[6:0:-1].hex().upper(), raw[8], data)


@dataclass(frozen=True, slots=True)
class Request:
    """What a meter is asked.  ``read`` and ``read_address`` make the usual ones.

    Raises RequestError if it fits into no frame.
    """

    address: str
    control: int
    data: bytes = b""
    """Without the 33H offset, in the order of the wire."""

    def __post_init__(self) -> None:
        if self.control & ~FUNCTION:
            raise RequestError(f"control code {self.control:X}H is no request; use 00H to 1FH")
        if len(self.data) > DATA_MAX:
            raise RequestError(
                f"{len(self.data)} bytes of data for meter {self.address}; at most {DATA_MAX} fit"
            )
        if len(self.data) < _DATA_MIN.get(self.control, 0):
            raise RequestError(
                f"control code {self.control:02X}H needs {_DATA_MIN[self.control]} bytes of data or"
                f" more: the data identifier, then (12H) the frame's number; got {len(self.data)}"
            )
        encode_frame(Frame(self.address, self.control, self.data))

    def __str__(self) -> str:
        di = self.data[3::-1].hex().upper()
        words = {
            READ: f"read {di}",
            FOLLOW_UP: f"read more of {di}",
            READ_ADDRESS: "tell its address",
            WRITE: f"write {di}",
            WRITE_ADDRESS: f"take the address {self.data[::-1].hex()}",
            FREEZE: "freeze",
            CHANGE_SPEED: "change its speed",
            CLEAR_DEMAND: "clear its maximum demand",
            # The data begin with the password, which nobody wants in a log.
            RELAY: f"switch its relay ({self.data[8:9].hex().upper()}H)",
        }
        return words.get(self.control, f"obey control code {self.control:02X}H")


def read(address: str, di: str) -> Request:
    """Ask for a data identifier (数据标识), eight hex digits with DI3 first: ``00010000``.

    The high digits of the address may be wildcards, in pairs: ``AAAAAAAA5678``.  A device with
    letters in its address is no standard meter; ask it by making a ``Request``.

    Raises RequestError if the address or the identifier is malformed.  Source: DL/T 645-2007 §7.1.
    """
    if not re.fullmatch(f"(?:{WILDCARD})*[0-9]*", address):
        raise RequestError(
            f"address {address!r} is not 12 digits; only leading pairs may be {WILDCARD}"
        )
    if not re.fullmatch("[0-9A-Fa-f]{8}", di):
        raise RequestError(f"data identifier {di!r} is not 8 hex digits; write it like 00010000")
    return Request(address, READ, bytes.fromhex(di)[::-1])


def read_address() -> Request:
    """Ask the only meter on a line for its address.  Source: DL/T 645-2007 §7.3."""
    return Request(EVERY_METER, READ_ADDRESS)


def encode(request: Request, number: int = 0) -> bytes:  # noqa: ARG001  (the Codec's signature)
    """The bytes to send, with the four wake-up bytes that sleeping meters need."""
    return encode_frame(Frame(request.address, request.control, request.data), PREAMBLE_SIZE)


def decode(
    buffer: bytes,
    request: Request,
    number: int = 0,  # noqa: ARG001
) -> tuple[Reply | Stray | None, int]:
    """Find the answer to ``request``, as ``protocols.base.Codec`` says.

    A frame that is not complete yet may be one only by chance (68H in noise), so the answer is
    looked for behind it as well.  What is a stray there is left until that frame is settled.

    Raises RefusedError if the meter declined this request.
    """
    return search(buffer, lambda frame: _judge(frame, request))


def search(
    buffer: bytes, judge: Callable[[Frame], Reply | Stray]
) -> tuple[Reply | Stray | None, int]:
    """``decode``, whichever frames answer: what ``judge`` says of a good one."""
    kept = len(buffer)
    for start, end in starts(buffer):
        if end > len(buffer):
            kept = min(kept, start)
            continue
        frame = parse_frame(buffer[start:end])
        found = judge(frame) if frame else _damage(buffer[start:end], judge)
        if isinstance(found, Reply):
            return found, end
        if kept == len(buffer):
            # A damaged frame may have swallowed the start of the good one: give up one byte only.
            return found, end if frame else start + 1
    return None, kept


def _damage(raw: bytes, judge: Callable[[Frame], Reply | Stray]) -> Stray:
    """Whether the answer is damaged in its data alone, so that one sees what it answers."""
    data = bytes((b - DATA_OFFSET) & 0xFF for b in raw[HEADER_SIZE:-2])
    try:
        found = judge(Frame(raw[6:0:-1].hex().upper(), raw[8], data))
    except RefusedError:
        return Stray.DAMAGED
    return Stray.GARBLED if isinstance(found, Reply) and data else Stray.DAMAGED


def reply_size(request: Request) -> int:
    """The most bytes a reply can have: known for most items, else the longest frame there is.

    0 where no meter answers: the time, and a freeze of all meters.
    """
    if request.control == BROADCAST_TIME or (request.address, request.control) == _FREEZE_ALL:
        return 0
    data_bytes = DATA_TOLERATED
    if request.control == READ_ADDRESS:
        data_bytes = len(EVERY_METER) // 2
    elif request.control not in _REPEATS_DI:
        data_bytes = _SLACK_BYTES
    elif request.control == READ:
        item = find(request.data[3::-1].hex().upper())
        size = item.size() if item and not item.variable else None
        if size is not None:
            data_bytes = min(len(request.data) + size + _SLACK_BYTES, DATA_TOLERATED)
    return PREAMBLE_SIZE + OVERHEAD_SIZE + data_bytes


def follow_up(request: Request, reply: Reply) -> Request | None:
    """The request for the next part (12H), numbered from 1.  Source: DL/T 645-2007 §7.2."""
    if not reply.more:
        return None
    sequence = request.data[4] + 1 if request.control == FOLLOW_UP else 1
    if sequence > SEQUENCE_MAX:
        return None
    return Request(request.address, FOLLOW_UP, request.data[:4] + bytes([sequence]))


def _judge(frame: Frame, request: Request) -> Reply | Stray:
    """Whether a good frame answers ``request``, else what it is."""
    if not frame.control & FROM_METER:
        ours = Frame(request.address, request.control, request.data)
        return Stray.ECHO if frame == ours else Stray.FOREIGN
    if not _is_for(frame.address, _answering(frame, request)):
        return Stray.FOREIGN
    if frame.control & FUNCTION != request.control:
        return Stray.LATE
    if frame.control & REFUSED:
        why = refusal(request.control, frame.data)
        raise RefusedError(
            frame.address,
            str(request),
            why.code,
            why.meaning,
            why.hint,
            permanent=why.permanent,
            reasons=why.reasons,
        )
    if request.control == READ_ADDRESS:
        return _told_address(frame)
    return _reply(frame, request) if _confirms(frame, request) else Stray.LATE


def _answering(frame: Frame, request: Request) -> str:
    """Whose answer we wait for; a meter confirms its new address (95H) from there."""
    if request.control == WRITE_ADDRESS and not frame.control & REFUSED:
        return request.data[::-1].hex().upper()
    return request.address


def _confirms(frame: Frame, request: Request) -> bool:
    """Whether a normal reply is the one that this request has.  Source: DL/T 645-2007 §7."""
    if request.control in _BARE:
        return not frame.data
    return request.control != CHANGE_SPEED or frame.data == request.data


def _is_for(address: str, wanted: str) -> bool:
    """Whether a meter of this address feels addressed: its low digits are those behind the AA."""
    fixed = re.sub(f"^(?:{WILDCARD})+", "", wanted)
    return address.endswith(fixed)


def _told_address(frame: Frame) -> Reply | Stray:
    # Some meters leave the wildcards in the header; what they tell is in the data.
    told = frame.data[::-1].hex().upper()
    if len(frame.data) != len(EVERY_METER) // 2 or frame.address not in (told, EVERY_METER):
        return Stray.LATE
    return Reply(told, frame.data[::-1])


def _reply(frame: Frame, request: Request) -> Reply | Stray:
    data = frame.data
    if request.control in _REPEATS_DI:
        if data[:4] != request.data[:4]:
            return Stray.LATE
        data = data[4:]
    if request.control == FOLLOW_UP:
        if data[-1:] != request.data[4:5]:
            return Stray.LATE
        data = data[:-1]
    more = bool(frame.control & MORE) and request.control in (READ, FOLLOW_UP)
    return Reply(frame.address, data, more)
