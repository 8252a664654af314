"""What a receiver makes of characters that were sent at another speed or parity.

The sender's characters become levels on the pair; the receiver looks at them when its own clock
says so.  That gives the garbage of a real line: twice the bytes at half the speed, the parity bit
in the place of a stop bit.  A character without its stop bit is read as 00, as Linux gives it to
a program that asks for no marks (termios(3): IGNPAR, PARMRK).

Not supported: a receiver that checks parity.
"""

import math
from collections.abc import Iterator
from itertools import chain

from simulators.meter import Settings


def misread(data: bytes, sent: Settings, heard: Settings) -> bytes:
    """The bytes that a receiver set to ``heard`` takes from ``data`` sent without pauses."""
    levels = list(chain.from_iterable(_levels(byte, sent) for byte in data))
    ratio = sent.baud / heard.baud
    """The receiver's bits, measured in the sender's."""
    received = bytearray()
    at = 0
    while (start := _falls(levels, at)) is not None:
        samples = [_level(levels, start + (1.5 + bit) * ratio) for bit in range(8)]
        stop = start + (9.5 + (heard.parity != "N")) * ratio
        whole = _level(levels, stop)
        received.append(sum(level << bit for bit, level in enumerate(samples)) if whole else 0)
        # The next character begins with the next edge after the middle of the stop bit.
        at = math.ceil(stop)
    return bytes(received)


def _levels(byte: int, settings: Settings) -> Iterator[int]:
    """Start bit, eight data bits with the lowest first, perhaps parity, stop bit."""
    yield 0
    yield from (byte >> bit & 1 for bit in range(8))
    if settings.parity != "N":
        yield (byte.bit_count() + (settings.parity == "O")) & 1
    yield 1


def _level(levels: list[int], at: float) -> int:
    """The pair is high where nobody speaks."""
    return levels[int(at)] if at < len(levels) else 1


def _falls(levels: list[int], at: int) -> int | None:
    """The next start of a low level that follows a high one, from bit ``at`` on."""
    for place in range(at, len(levels)):
        if not levels[place] and (place == 0 or levels[place - 1]):
            return place
    return None
