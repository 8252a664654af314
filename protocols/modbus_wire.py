"""What Modbus frames look like on the wire: checksum, lengths, exception codes.

Known by the codecs of protocols/modbus.py and by protocols/modbus_explain.py.  No matching here: a
frame is described whoever sent it, to whomever.

Source: MODBUS Application Protocol 1.1b3; MODBUS over Serial Line 1.02; MODBUS Messaging on TCP/IP
Implementation Guide 1.0b.
"""

from typing import Final

REFUSED: Final = 0x80
"""Added to the function in a refusal."""
FRAME_BYTES_MAX: Final = 267
"""The longest frame on a line: DL/T 645's 12 bytes around 255 of data; Modbus RTU ends at 256,
Modbus TCP at 260."""

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
        return ((5, False),) if function & ~REFUSED in (1, 2, 3, 4, 5, 6, 8, 15, 16) else ()
    if function in (1, 2, 3, 4):
        # Registers have two bytes each, so the reply to 03H and 04H has an even byte count.
        reply = ((5 + head[2], False),) if function < 3 or head[2] % 2 == 0 else ()
        return tuple(sorted(((8, True), *reply)))
    if function in (5, 6, 8):
        return ((8, False),)
    if function in (15, 16):
        return ((8, False), (9 + head[6], True)) if len(head) > 6 else ((8, False),)
    return ()


def request_pdu_size(pdu: bytes) -> int:
    """Bytes of the request PDU (03H, 04H, 06H, 10H) that begins with ``pdu``, or 0 if it is none.

    Source: Application Protocol §6.3, §6.4, §6.6, §6.12.
    """
    if pdu[:1] in (b"\x03", b"\x04", b"\x06"):
        return 5
    if pdu[:1] != b"\x10" or len(pdu) < 6 or pdu[5] != 2 * int.from_bytes(pdu[3:5], "big"):
        return 0
    return 6 + pdu[5]


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
