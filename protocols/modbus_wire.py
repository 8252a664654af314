"""What Modbus frames look like on the wire: checksum, lengths, exception codes.

Known by the codecs of protocols/modbus.py and by protocols/modbus_explain.py.  No matching here: a
frame is described whoever sent it, to whomever.

Source: MODBUS Application Protocol 1.1b3; MODBUS over Serial Line 1.02; MODBUS Messaging on TCP/IP
Implementation Guide 1.0b.
"""

from typing import Final

from protocols.modbus_identity import MEI_TYPE, pdu_size

REFUSED: Final = 0x80
"""Added to the function in a refusal."""
FRAME_BYTES_MAX: Final = 267
"""The longest frame on a line: DL/T 645's 12 bytes around 255 of data; Modbus RTU ends at 256,
Modbus TCP at 260."""
LATE_NUMBERS: Final = 256
"""An answer to an exchange so long ago is not late: whoever sent it does its own numbering."""

_REFUSABLE: Final = (1, 2, 3, 4, 5, 6, 8, 15, 16, 23, 43)

# Code: name (Application Protocol §7), what to do, whether asking again is pointless.
EXCEPTIONS: Final[dict[int, tuple[str, str, bool]]] = {
    0x01: ("illegal function", "ask with the other read function, 3 or 4", True),
    0x02: ("illegal data address", "check register and count; it may refuse to read a gap", True),
    0x03: ("illegal data value", "ask for fewer registers, or check the value written", True),
    0x04: ("device failure", "the meter reports a fault of its own; ask again later", False),
    0x05: ("acknowledge", "the meter is still working on it; ask again later", False),
    0x06: ("device busy", "ask again later", False),
    0x07: ("negative acknowledge", "the meter cannot do it now; ask again later", False),
    0x08: ("memory parity error", "the meter's memory is damaged; ask again, then replace", False),
    0x0A: ("gateway path unavailable", "unit missing behind the gateway; check its port", False),
    0x0B: ("gateway target silent", "unit missing behind the gateway; check unit and wires", False),
}


def exception_meaning(code: int) -> tuple[str, str, bool]:
    """Name of an exception code, what to do, and whether asking again is pointless."""
    return EXCEPTIONS.get(code, ("unknown exception", "see the meter's manual", False))


def _crc_table() -> tuple[int, ...]:
    def shifted(crc: int) -> int:
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        return crc

    return tuple(map(shifted, range(256)))


_CRC_TABLE: Final = _crc_table()


def crc16(data: bytes) -> int:
    """CRC of ``data``; 0 where ``data`` ends in its own right CRC.  Source: Serial Line §6.2.2."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def frame_sizes(head: bytes) -> tuple[tuple[int, bool], ...]:
    """How long the RTU frame beginning with ``head`` may be, and whether only a master sends that.

    Shortest first: 00H behind a good frame leaves its CRC right, so the shorter reading is meant.
    Request and reply of one function differ in length; nothing is known of other functions.

    Source: Application Protocol §6.
    """
    if len(head) < 3:
        return ()
    function = head[1]
    if function & REFUSED:
        return ((5, False),) if function & ~REFUSED in _REFUSABLE else ()
    reply: tuple[tuple[int, bool], ...] = ()
    request: tuple[tuple[int, bool], ...] = ()
    if function in (1, 2, 3, 4, 23) and (function < 3 or head[2] % 2 == 0):
        # Registers have two bytes each, so their replies have an even byte count.
        reply = ((5 + head[2], False),)
    if function in (5, 6, 8, 15, 16):
        reply = ((8, False),)
    if function == 43 and head[2] == MEI_TYPE:
        reply, request = ((3 + pdu_size(head[1:]), False),), ((7, True),)
    if function in (1, 2, 3, 4):
        request = ((8, True),)
    count_at = {15: 6, 16: 6, 23: 10}.get(function, 0)
    if count_at and len(head) > count_at:
        request = ((count_at + 3 + head[count_at], True),)
    return tuple(sorted((*reply, *request)))


def request_pdu_size(pdu: bytes) -> int:
    """Bytes of the request PDU that begins with ``pdu``, or 0 if it is none.

    Source: Application Protocol §6.1 to §6.6, §6.11, §6.12, §6.17, §6.21.
    """
    if not pdu:
        return 0
    if pdu[0] in (1, 2, 3, 4, 5, 6):
        return 5
    if pdu[0] == 43:
        return 4 if pdu[1:2] == bytes([MEI_TYPE]) else 0
    at = {15: 5, 16: 5, 23: 9}.get(pdu[0], 0)
    if not at or len(pdu) <= at:
        return 0
    count = int.from_bytes(pdu[at - 2 : at], "big")
    return at + 1 + pdu[at] if pdu[at] == ((count + 7) // 8 if pdu[0] == 15 else 2 * count) else 0


def mbap_size(tail: bytes) -> int:
    """Bytes of the Modbus TCP frame whose header ``tail`` begins with, or 0 if it is none.

    Source: Messaging on TCP/IP §3.1.3; its length counts unit and PDU, at least 3 bytes.
    """
    if len(tail) < 8 or tail[2:4] != b"\0\0":
        return 0
    length = int.from_bytes(tail[4:6], "big")
    return 6 + length if 3 <= length <= 254 else 0


def dlt645_size(tail: bytes) -> int:
    """Bytes of the good DL/T 645 frame at the start of ``tail``, or 0: meters of both share pairs.

    Source: DL/T 645-2007 §5.2.
    """
    if len(tail) < 12 or tail[0] != 0x68 or tail[7] != 0x68:
        return 0
    size = 12 + tail[9]
    good = len(tail) >= size and tail[size - 1] == 0x16
    return size if good and tail[size - 2] == sum(tail[: size - 2]) & 0xFF else 0
