"""How fast something may go on: so much a second on average, a little more at once.  Pure."""


class Pace:
    """A bucket that fills with time and is emptied by what is done."""

    def __init__(self, per_s: float, most: float) -> None:
        """``per_s`` flows in, up to ``most``; it is full at first."""
        self._per_s = per_s
        self._most = most
        self._at: float | None = None
        self.left = most
        """What may be done now, if it is at least 1; below 0 after something large."""

    def refill(self, now: float) -> None:
        """Let the time pass; monotonic."""
        if self._at is not None:
            self.left = min(self.left + (now - self._at) * self._per_s, self._most)
        self._at = now

    def spend(self, count: float) -> None:
        """So much was done."""
        self.left -= count

    def due(self) -> float | None:
        """When there is at least 1 again; None if there is, or before the first ``refill``."""
        if self.left >= 1 or self._at is None:
            return None
        return self._at + (1 - self.left) / self._per_s
