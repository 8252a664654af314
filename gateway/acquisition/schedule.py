"""When a meter is due.  Pure: told the time, it answers.

Polls stand on the wall clock's grid (every 900 s means :00, :15, :30, :45), so that all meters of
an area are read for the same moment and their sums can be compared.  Waiting is measured on the
monotonic clock, so a stepped wall clock makes one extra poll or a short pause, never a silence.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """One cell of the grid."""

    number: int
    """Counts periods since 1970; another number is another slot."""
    ends_in_s: float


def slot(wall: float, period_s: int) -> Slot:
    """The slot that ``wall`` (Unix time) falls into."""
    number, into = divmod(wall, period_s)
    return Slot(int(number), period_s - into)
