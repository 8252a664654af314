"""DL/T 645-1997: the same frames as DL/T 645-2007, asked with other words.

    01H read            DI0 DI1                  81H, A1H with more to follow, C1H refused
    02H read follow-up  DI0 DI1, no number       82H, A2H, C2H
    03H read again      nothing                  83H, A3H, C3H: the last frame once more
    04H write           DI0 DI1, PA P0 P1 P2, X  84H without data, C4H
    08H broadcast time  ss mm hh DD MM YY        none

A follow-up has no number, so a meter cannot tell a repeated one from the next one: after a lost
part the whole read begins anew (the line does that).

An address shorter than twelve digits is padded with 00 or with AA, as the maker likes; a reply is
believed with either.  Some meters leave the wildcards of a request in their reply.

This module satisfies ``protocols.base.Codec``.  Pure functions only.

Not supported: speed (0CH), whose word differs by maker; address (0AH), passwords (0FH), clearing
(10H) and the makers' own functions have no constructors, but any ``Request`` can be sent.

Source: DL/T 645-1997 §5 and §6, and captured frames of several makers.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from protocols.base import RefusedError, Reply, RequestError, Stray
from protocols.dlt645 import (
    BROADCAST,
    BROADCAST_TIME,
    DATA_MAX,
    DATA_TOLERATED,
    EVERY_METER,
    FROM_METER,
    FUNCTION,
    MORE,
    OVERHEAD_SIZE,
    PREAMBLE_SIZE,
    REFUSED,
    WILDCARD,
    Frame,
    encode_frame,
    search,
)
from protocols.dlt645 import READ as READ_2007
from protocols.dlt645_1997_items import find
from protocols.dlt645_refusals import refusal

READ, FOLLOW_UP, READ_AGAIN, WRITE = 0x01, 0x02, 0x03, 0x04
PARTS_MAX = 255
"""More follow-ups are no answer but a fault of the meter."""

_REPEATS_DI = (READ, FOLLOW_UP)
_DATA_MIN = {READ: 2, FOLLOW_UP: 2, WRITE: 6}
_SLACK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What a meter is asked.  ``read`` and ``write`` make the usual ones.

    Raises RequestError if it fits into no frame.
    """

    address: str
    control: int
    data: bytes = b""
    """Without the 33H offset, in the order of the wire."""
    part: int = 0
    """Which part of a long answer this asks for.  Not sent: the meter counts for itself."""

    def __post_init__(self) -> None:
        if self.control & ~FUNCTION:
            raise RequestError(f"control code {self.control:X}H is no request; use 00H to 1FH")
        if not _DATA_MIN.get(self.control, 0) <= len(self.data) <= DATA_MAX:
            raise RequestError(
                f"control code {self.control:02X}H with {len(self.data)} bytes of data; it takes"
                f" {_DATA_MIN.get(self.control, 0)} to {DATA_MAX}, first the data identifier"
            )
        encode_frame(Frame(self.address, self.control, self.data))

    def __str__(self) -> str:
        di = self.data[1::-1].hex().upper()
        words = {
            READ: f"read {di}",
            FOLLOW_UP: f"read more of {di}",
            READ_AGAIN: "repeat its last reply",
            WRITE: f"write {di}",
        }
        return words.get(self.control, f"obey control code {self.control:02X}H of 1997")


def read(address: str, di: str) -> Request:
    """Ask for a data identifier (数据标识), four hex digits with DI1 first: ``9010``.

    The high digits of the address may be wildcards, in pairs; a read of 9010 or C032 with nothing
    but wildcards finds the only meter of a line.

    Raises RequestError if the address or the identifier is malformed.
    """
    if not re.fullmatch(f"(?:{WILDCARD})*[0-9]*", address):
        raise RequestError(
            f"address {address!r} is not 12 digits; only leading pairs may be {WILDCARD}"
        )
    return Request(address, READ, _wire(di))


def read_again(address: str) -> Request:
    """Ask for the meter's last frame once more; its data then begins with the identifier."""
    return Request(address, READ_AGAIN)


def write(address: str, di: str, data: bytes, password: bytes) -> Request:
    """Write ``data``, in the order of the wire; ``password`` is PA P0 P1 P2 as on the wire.

    Raises RequestError for an address that is not one meter's, a malformed identifier, a password
    of another length.
    """
    if not re.fullmatch("[0-9]{12}", address) or address == BROADCAST:
        raise RequestError(
            f"address {address!r} is not one meter's; a change needs all its 12 digits"
        )
    if len(password) != 4:
        raise RequestError(f"a password of {len(password)} bytes; it has 4: PA P0 P1 P2")
    return Request(address, WRITE, _wire(di) + password + data)


def broadcast_time(now: datetime) -> Request:
    """Tell all meters on a line the time; nobody answers.  ``now`` is the meters' local time."""
    return Request(BROADCAST, BROADCAST_TIME, bytes.fromhex(f"{now:%S%M%H%d%m%y}"))


def encode(request: Request, number: int = 0) -> bytes:  # noqa: ARG001  (the Codec's signature)
    """The bytes to send, with the four wake-up bytes that sleeping meters need."""
    return encode_frame(Frame(request.address, request.control, request.data), PREAMBLE_SIZE)


def decode(
    buffer: bytes,
    request: Request,
    number: int = 0,  # noqa: ARG001
) -> tuple[Reply | Stray | None, int]:
    """Find the answer to ``request``, as ``protocols.base.Codec`` says.

    Raises RefusedError if the meter declined this request.
    """
    return search(buffer, lambda frame: _judge(frame, request))


def reply_size(request: Request) -> int:
    """The most bytes a reply can have: known for most items, else the longest frame there is.

    0 for the time, which no meter answers.
    """
    if request.control == BROADCAST_TIME:
        return 0
    data_bytes = DATA_TOLERATED
    if request.control == WRITE:
        data_bytes = _SLACK_BYTES
    elif request.control == READ:
        item = find(request.data[1::-1].hex())
        size = item.size() if item and not item.variable else None
        if size is not None:
            data_bytes = len(request.data) + size + _SLACK_BYTES
    return PREAMBLE_SIZE + OVERHEAD_SIZE + data_bytes


def follow_up(request: Request, reply: Reply) -> Request | None:
    """The request for the next part (02H), or None when nothing follows."""
    if not reply.more or request.control not in _REPEATS_DI or request.part >= PARTS_MAX:
        return None
    return Request(request.address, FOLLOW_UP, request.data[:2], request.part + 1)


def _wire(di: str) -> bytes:
    if not re.fullmatch("[0-9A-Fa-f]{4}", di):
        raise RequestError(f"data identifier {di!r} is not 4 hex digits; write it like 9010")
    return bytes.fromhex(di)[::-1]


def _judge(frame: Frame, request: Request) -> Reply | Stray:
    """Whether a good frame answers ``request``, else what it is."""
    if not frame.control & FROM_METER:
        ours = Frame(request.address, request.control, request.data)
        return Stray.ECHO if frame == ours else Stray.FOREIGN
    if not _is_from(frame.address, request.address):
        return Stray.FOREIGN
    if frame.control & FUNCTION != request.control:
        return Stray.LATE
    if frame.control & REFUSED:
        # The bits of the error byte are those of 2007, whatever was asked.
        why = refusal(READ_2007, frame.data)
        raise RefusedError(
            frame.address, str(request), why.code, why.meaning, why.hint, permanent=why.permanent
        )
    data = frame.data
    if request.control in _REPEATS_DI:
        if data[:2] != request.data[:2]:
            return Stray.LATE
        data = data[2:]
    if request.control == WRITE and data:
        return Stray.LATE
    wild = request.address.startswith(WILDCARD)
    more = bool(frame.control & MORE) and request.control in _REPEATS_DI
    return Reply(frame.address if wild else request.address, data, more)


def _is_from(address: str, wanted: str) -> bool:
    """Whether a reply from ``address`` may answer a request to ``wanted``.

    Pair by pair from the left: what the request left open, the reply may fill or leave open; the
    padding of one may be 00 where the other has AA.
    """
    padding = True
    for at in range(0, len(EVERY_METER), 2):
        theirs, ours = address[at : at + 2], wanted[at : at + 2]
        padding = padding and ours in ("00", WILDCARD)
        if ours not in (theirs, WILDCARD) and not (padding and theirs == WILDCARD):
            return False
    return True
