"""Who a device says it is: the objects of function 43 (2BH/0EH), numbered texts.

A reply's data are the number of the next object (0: there is none), how many objects follow, and
each of them as number, length and text.  Where not all fit into one frame, the data of the further
frames stand behind it.

Not supported: CANopen (MEI type 0DH).  Source: MODBUS Application Protocol 1.1b3, §6.21.
"""

from collections.abc import Mapping
from typing import Final

from protocols.base import FrameError

MEI_TYPE: Final = 0x0E
PDU_BYTES_MAX: Final = 253
HEAD_BYTES: Final = 7
"""Function, MEI type, level, conformity, more follows, next object, number of objects."""
NAMES: Final = (
    "vendor name",
    "product code",
    "revision",
    "vendor URL",
    "product name",
    "model name",
    "application name",
)
"""Of the objects 0 to 6; those from 128 on are the maker's own."""


def pdu_size(pdu: bytes) -> int:
    """How long the reply PDU that begins with ``pdu`` is at least, and exactly if all is there."""
    size = HEAD_BYTES
    for _ in range(pdu[HEAD_BYTES - 1] if len(pdu) >= HEAD_BYTES else 0):
        # Where an object's length has not arrived yet, it may be nothing.
        size += 2 + (pdu[size + 1] if len(pdu) > size + 1 else 0)
    return size


def objects(data: bytes) -> dict[int, str]:
    """The objects in a reply's data, by number; other bytes than ASCII as hex escapes.

    Raises FrameError if the data end within an object.
    """
    found: dict[int, str] = {}
    at = 0
    while at < len(data):
        count = data[at + 1] if at + 1 < len(data) else 1
        at += 2
        for _ in range(count):
            end = at + 2 + data[at + 1] if at + 1 < len(data) else len(data) + 1
            if end > len(data):
                raise FrameError("the device identification ends within an object", data)
            found[data[at]] = data[at + 2 : end].decode("ascii", "backslashreplace").strip("\0 ")
            at = end
    return found


def reply_data(known: Mapping[int, str], level: int, first: int) -> bytes | None:
    """What a device that has the objects ``known`` answers, or None if it has no such object.

    As many whole objects as one frame can hold; from object ``first`` on, or from the beginning if
    there is none of that number.  Texts are cut where they would not fit into a frame at all.
    """
    if level == 4:
        wanted = [first] if first in known else []
    else:
        last = {1: 2, 2: 6}.get(level, 255)
        numbers = sorted(number for number in known if number <= last)
        wanted = [n for n in numbers if n >= first] if first in known else numbers
    if not wanted:
        return None
    body, count = b"", 0
    for number in wanted:
        text = known[number].encode("ascii", "replace")[: PDU_BYTES_MAX - HEAD_BYTES - 2]
        if HEAD_BYTES + len(body) + 2 + len(text) > PDU_BYTES_MAX:
            return bytes([number, count]) + body
        body += bytes([number, len(text)]) + text
        count += 1
    return bytes([0, count]) + body
