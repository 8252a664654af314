"""When a line's port is opened again, and which of its changes are told.  Pure."""

import math
from random import Random

PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Before each new try to open the port, since it was last heard to work."""


class Reopening:
    """One port.  Times are monotonic; ``random`` spreads the tries."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._losses = 0
        self._told: bool | None = None
        self.up = False
        self.open_at = -math.inf
        """When to open it, while it is not up."""

    def works(self) -> None:
        """Something was heard."""
        self._losses = 0

    def lost(self, now: float) -> bool:
        """It failed, or did not open.  True if that is to be told.

        A port that worked is opened again at once, and its loss is told only if that fails: a
        serial server that closes an idle connection is not an outage.
        """
        if not self.up:
            self._losses = max(1, self._losses)
        pause_s = PAUSES_S[min(self._losses, len(PAUSES_S) - 1)] * self._random.uniform(0.75, 1.0)
        self.up = False
        self._losses += 1
        self.open_at = now + pause_s
        return pause_s > 0

    def anew(self, now: float) -> None:
        """Give the connection up and make another: what is still on its way is lost with it."""
        self.up, self.open_at = False, now

    def turned(self) -> bool:
        """Whether its state is another than what was told last."""
        turned, self._told = self._told is not self.up, self.up
        return turned
