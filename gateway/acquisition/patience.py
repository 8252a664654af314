"""How long a line waits for one meter: the timeout learned from its replies.

A dead meter costs its timeout at each try, so the timeout follows the slowest reply of the last
few hundred, with room.  Never beyond what is configured.  A miss doubles it, and after
``MISSES_MAX`` misses in a row it is the configured one again: a meter that answers within that is
always reached by the third try, however its replies scatter.
"""

from dataclasses import dataclass

LEARN_FROM = 8
"""Replies before the timeout is shortened at all."""
ROOM = 4.0
"""The timeout in slowest replies."""
FORGET = 1 / 256
"""How much of its distance to a quicker reply the slowest one loses with it."""
MISSES_MAX = 2
USUAL_S = 0.5
"""A meter not heard before begins its reply by then.  Source: DL/T 645-2007, Td is 20 to 500 ms."""
SOON_S = 0.25
"""No reply is late before this, however fast its meter usually is."""


@dataclass(slots=True)
class Patience:
    """What one meter has taught us."""

    slowest_s: float = 0.0
    """The slowest reply of late, from the end of the request to the first byte."""
    replies: int = 0
    misses: int = 0
    """In a row."""

    def timeout_s(self, least_s: float, most_s: float) -> float:
        """How long to wait for the first byte of the next reply."""
        if self.replies < LEARN_FROM or self.misses >= MISSES_MAX:
            return most_s
        return min(most_s, max(least_s, ROOM * self.slowest_s) * (1 << self.misses))

    def usual_s(self) -> float:
        """After this long without a byte, the meter is probably silent."""
        return max(SOON_S, 2 * self.slowest_s) if self.replies else USUAL_S

    def replied(self, delay_s: float) -> None:
        """A reply began so long after the request."""
        self.replies += 1
        self.misses = 0
        slower_s = delay_s - self.slowest_s
        self.slowest_s += slower_s if slower_s > 0 else slower_s * FORGET

    def missed(self) -> None:
        """No reply came in time."""
        self.misses += 1
