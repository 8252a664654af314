"""Whether a customer has supply, and what it did not draw while it had none.

What a customer would draw is a pure function of the time (``simulators.load``); a cut takes away
what falls into it.  So registers stand still while it lasts, and go on from there.

Several contacts may stand in one customer's way (the meter's relay, an external breaker); each is
switched by its name, and only all of them together give supply.  Times are those of the meter's
clock, as everywhere in a household.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

Counts = dict[str, int]


@dataclass(slots=True)
class _Cut:
    start: float
    counted: Counts
    """What the registers show while it lasts."""
    end: float | None = None
    lost: Counts = field(default_factory=dict)
    """What this and all cuts before it took away, once it is over."""


class Supply:
    """The supply of one customer.  ``count`` says what the registers would show without a cut."""

    def __init__(self, count: Callable[[float], Counts]) -> None:
        self._count = count
        self._cuts: list[_Cut] = []
        self._open: set[str] = set()
        self.changes = 0
        """How often it came or went, so that others know when what they keep is out of date."""

    def switch(self, at: float, *, on: bool, contact: str = "relay") -> None:
        """A contact closes or opens at ``at``."""
        had = not self._open
        if on:
            self._open.discard(contact)
        else:
            self._open.add(contact)
        if had == (not self._open):
            return
        self.changes += 1
        if self._open:
            last = self._cuts[-1].end if self._cuts else None
            # A clock that was set back does not make two cuts overlap.
            start = at if last is None else max(at, last)
            self._cuts.append(_Cut(start, self.energies(start)))
        else:
            cut = self._cuts[-1]
            cut.end = max(at, cut.start)
            without = self._count(cut.end)
            cut.lost = {name: amount - cut.counted[name] for name, amount in without.items()}

    def on(self, at: float) -> bool:
        """Whether there is supply at ``at``."""
        cut = self._last_before(at)
        return cut is None or (cut.end is not None and at >= cut.end)

    def touched(self, start: float, end: float) -> bool:
        """Whether a cut falls between two moments, wholly or in part."""
        cut = self._last_before(end)
        return cut is not None and (cut.end is None or cut.end > start)

    def energies(self, at: float) -> Counts:
        """What the registers show at ``at``."""
        cut = self._last_before(at)
        if cut is None:
            return self._count(at)
        if cut.end is None or at < cut.end:
            return cut.counted
        return {name: amount - cut.lost[name] for name, amount in self._count(at).items()}

    def _last_before(self, at: float) -> _Cut | None:
        place = bisect_right(self._cuts, at, key=lambda cut: cut.start)
        return self._cuts[place - 1] if place else None
