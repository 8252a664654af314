"""The moments of the grid (15 分钟曲线): every quarter of an hour, half hour or hour.  Pure.

They count from the local midnight, so a day has 96 quarters, 92 or 100 where the clocks change.
What is there of one meter's day is kept as two numbers, one bit for each quarter whatever the grid:
a wider one uses every second or fourth bit, and may be changed without anything coming twice.
"""

from dataclasses import dataclass
from datetime import date, tzinfo

from gateway.acquisition.days import begin_of, day_of, end_of

STEP_S = 900


@dataclass(slots=True)
class Bits:
    """One meter's day.  Bit 0 is the midnight it began with."""

    there: int = 0
    """Moments that were given to the head-end."""
    absent: int = 0
    """Moments that the meter has no record of."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Moments of one day that lie side by side and are open."""

    at: float
    """The first, in Unix time."""
    count: int
    step_s: int = STEP_S

    @property
    def until(self) -> float:
        """The last."""
        return self.at + (self.count - 1) * self.step_s

    @property
    def quarters(self) -> int:
        """How many quarters of an hour they span: records of a load curve, as it usually is."""
        return (self.count - 1) * self.step_s // STEP_S + 1

    @property
    def moments(self) -> tuple[float, ...]:
        """All of them."""
        return tuple(self.at + n * self.step_s for n in range(self.count))

    def cut(self, quarters: int) -> "Gap":
        """Its beginning, which spans no more than so many quarters of an hour."""
        return Gap(
            self.at, min(self.count, (quarters - 1) * STEP_S // self.step_s + 1), self.step_s
        )


class Moments:
    """What is there of all meters' grids."""

    def __init__(self, zone: tzinfo, minutes: int) -> None:
        """``minutes`` is 15, 30 or 60."""
        self._zone = zone
        self._stride = minutes * 60 // STEP_S
        self._bits: dict[tuple[str, date], Bits] = {}

    @property
    def step_s(self) -> int:
        """From one moment to the next."""
        return self._stride * STEP_S

    def newest(self, wall: float) -> float:
        """The newest moment at ``wall``."""
        begins = begin_of(day_of(wall, self._zone), self._zone)
        return begins + (wall - begins) // self.step_s * self.step_s

    def put(self, meter: str, day: date, bits: Bits) -> None:
        """Take what was kept of a day."""
        self._bits[meter, day] = bits

    def is_settled(self, meter: str, at: float) -> bool:
        """Whether a moment is there, or never will be."""
        day, bit = self._place(at)
        bits = self._bits.get((meter, day), Bits())
        return bool((bits.there | bits.absent) & bit)

    def settle(self, meter: str, at: float, *, absent: bool = False) -> date:
        """A moment is there, or the meter has no record of it.  Returns its day."""
        day, bit = self._place(at)
        bits = self._bits.setdefault((meter, day), Bits())
        if absent:
            bits.absent |= bit
        else:
            bits.there |= bit
        return day

    def of(self, meter: str, day: date) -> Bits:
        """What is known of a meter's day."""
        bits = self._bits.get((meter, day), Bits())
        return Bits(bits.there, bits.absent)

    def due(self, day: date, until: float = float("inf")) -> int:
        """The bits of a day's moments up to ``until``."""
        begins, ends = begin_of(day, self._zone), end_of(day, self._zone)
        seconds = min(ends - 1, until) - begins
        return sum(1 << n for n in range(0, int(seconds // STEP_S) + 1, self._stride))

    def open(self, meter: str, day: date, until: float = float("inf")) -> int:
        """The bits of a day's moments up to ``until`` that are not settled."""
        bits = self._bits.get((meter, day), Bits())
        return self.due(day, until) & ~(bits.there | bits.absent)

    def gap(self, meter: str, day: date, until: float) -> Gap | None:
        """The first moments of a day that are open."""
        left = self.open(meter, day, until)
        if not left:
            return None
        first = last = (left & -left).bit_length() - 1
        while left >> last + self._stride & 1:
            last += self._stride
        count = (last - first) // self._stride + 1
        return Gap(begin_of(day, self._zone) + first * STEP_S, count, self.step_s)

    def forget(self, before: date) -> None:
        """Days before this one are over."""
        self._bits = {key: bits for key, bits in self._bits.items() if key[1] >= before}

    def _place(self, at: float) -> tuple[date, int]:
        day = day_of(at, self._zone)
        return day, 1 << int(at - begin_of(day, self._zone)) // STEP_S
