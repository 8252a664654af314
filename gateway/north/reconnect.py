"""When to connect, and to which broker.  Pure: asked with the time, it answers.

Pauses are random within bounds that grow, so that a thousand gateways that lost the same broker in
the same second do not return in the same second.  The brokers of a cluster are tried in turn, and a
whole round counts as one failure.
"""

from collections import deque
from random import Random

STABLE_S = 30.0
"""A connection that lived this long makes its end a new outage, not the same one again."""
TAKEOVERS, TAKEOVERS_WITHIN_S = 2, 60.0
TAKEN_OVER_PAUSE_S = 600.0
"""Two gateways with one id would throw each other out several times a second, for ever."""


class Reconnect:
    """One attempt at a time: ``wants`` begins it, ``down`` ends it.  All times monotonic."""

    def __init__(
        self,
        brokers: tuple[str, ...],
        random: Random,
        *,
        pause_s: float,
        pause_max_s: float,
        start_spread_s: float,
    ) -> None:
        self._brokers = brokers
        self._random = random
        self._pause_s = pause_s
        self._pause_max_s = pause_max_s
        self._start_spread_s = start_spread_s
        self._turn = 0
        self._failures = 0
        self._running = False
        self._up_at: float | None = None
        self._next_at: float | None = None
        self._takeovers: deque[float] = deque(maxlen=TAKEOVERS)

    def wants(self, now: float) -> str | None:
        """The broker to connect to now, or None.  Each attempt is named once."""
        if self._next_at is None:
            self._next_at = now + self._random.uniform(0, self._start_spread_s)
        if self._running or now < self._next_at:
            return None
        self._running = True
        return self._brokers[self._turn]

    def up(self, now: float) -> None:
        """The attempt succeeded."""
        self._up_at = now

    def down(self, now: float, *, taken_over: bool) -> None:
        """The attempt failed, or what it led to has ended."""
        stable = self._up_at is not None and now - self._up_at >= STABLE_S
        self._failures = 0 if stable else self._failures + 1
        self._running, self._up_at = False, None
        self._turn = (self._turn + 1) % len(self._brokers)
        rounds = min(self._failures // len(self._brokers), 16)
        most_s = min(self._pause_s * 2**rounds, self._pause_max_s)
        if taken_over:
            self._takeovers.append(now)
            recent = [at for at in self._takeovers if now - at < TAKEOVERS_WITHIN_S]
            if len(recent) == TAKEOVERS:
                most_s = TAKEN_OVER_PAUSE_S
                self._next_at = now + most_s
                return
        self._next_at = now + self._random.uniform(most_s / 10, most_s)

    def next_due(self) -> float | None:
        """When ``wants`` may next have an answer; None while an attempt runs."""
        return None if self._running else self._next_at
