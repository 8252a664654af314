"""Which class of jobs a line turns to next: the urgent ones in order, the others by shares of time.

The classes above ``Priority.POLL`` are strict: the lower number goes first.  The rest share what
is left of the line's time by ``WEIGHTS``, so that none starves.  It is start-time fair queueing:
each class has a virtual time that its busy seconds, divided by its weight, push on, and the class
that is furthest behind is next.  A class that had nothing to do gets no credit for it: it comes in
where the others are, and one quantum behind them, so the light classes wait for their share.
"""

import math
from collections.abc import Collection, Mapping

from gateway.events import Priority

WEIGHTS = {Priority.POLL: 75, Priority.BACKFILL: 20, Priority.PROBE: 5}
"""Percent of the time that the strict classes leave, while all three have something to do."""
QUANTUM_S = 0.3
"""Line time of a usual exchange."""

Rank = tuple[float, int]


class Shares:
    """The classes of one line."""

    def __init__(self) -> None:
        self._virtual = dict.fromkeys(WEIGHTS, 0.0)
        self._waiting: set[Priority] = set()
        self._now = 0.0
        """The virtual time at which the last exchange of a sharing class began."""

    def ranks(self, waiting: Collection[Priority]) -> Mapping[Priority, Rank]:
        """The rank of each class that has something to do; the lowest goes first."""
        for priority in WEIGHTS.keys() & (set(waiting) - self._waiting):
            comes_in = self._now + QUANTUM_S / WEIGHTS[priority]
            self._virtual[priority] = max(self._virtual[priority], comes_in)
        self._waiting = set(waiting)
        return {each: (self._virtual.get(each, -math.inf), each) for each in self._waiting}

    def spent(self, priority: Priority, busy_s: float) -> None:
        """An exchange of this class took so much of the line's time."""
        if priority in WEIGHTS:
            self._now = max(self._now, self._virtual[priority])
            self._virtual[priority] += busy_s / WEIGHTS[priority]
