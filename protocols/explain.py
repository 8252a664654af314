"""What ``taiqu decode`` shows of one frame, the same for every protocol.

A frame is explained by whoever knows its protocol; this page only names the two shapes an
explanation has: rows for a person (which bytes mean what) and facts for ``--json``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """Some neighbouring bytes of a frame and what they mean."""

    bytes_hex: str
    """As on the wire, upper case with spaces: ``68``, ``33 32 34 35``."""
    field: str
    """Which part of the frame: ``address``, ``control``, ``checksum``."""
    meaning: str
    """In words, or as a value with its unit."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One frame, or bytes that are none, explained from the first byte to the last."""

    rows: tuple[Row, ...]
    """In the order of the wire; together they hold every byte once."""
    facts: dict[str, object]
    """JSON values by name: ``protocol``, ``valid``, ``error`` and what the protocol adds."""
