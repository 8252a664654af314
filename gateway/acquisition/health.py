"""Whether a meter answers, and how much of the line a silent one may cost.

A meter counts as silent after ``FAILURES`` polls in a row without a reply that also span
``SILENT_AFTER_S``.  From then on it is only probed, one cheap request at growing, jittered
distances, and all probes of a line together get ``PROBE_SHARE`` of its time.  Any reply wakes it.
One line in the log per outage and one per recovery.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

FAILURES = 3
SILENT_AFTER_S = 10.0
PROBE_FIRST_S = 15.0
PROBE_LONGEST_S = 900.0
PROBE_SHARE = 0.045
"""Of the line's time: so the cycle of the others grows by less than 5 %."""
PROBE_SAVED_S = 1.0
"""Line time that may be saved up for probes: one or two, not a burst after a quiet night."""

log = structlog.get_logger()


@dataclass(slots=True)
class Health:
    """What we know about one meter's answering.  Times are monotonic."""

    meter: str
    line: str
    asked: int = 0
    answered: int = 0
    round_trip_s: float = 0.0
    """Smoothed, 1/8 of each new one."""
    last_good_at: float | None = None
    """Unix time."""
    failing_since: float | None = None
    failures: int = 0
    silent: bool = False
    probe_at: float = 0.0
    pause_s: float = PROBE_FIRST_S
    reason: str = ""

    def good(self, wall: float, round_trip_s: float) -> bool:
        """A reply came.  True if the meter was silent until now."""
        self.asked += 1
        self.answered += 1
        weight = 1.0 if self.last_good_at is None else 0.125
        self.round_trip_s += (round_trip_s - self.round_trip_s) * weight
        self.last_good_at = wall
        woke, self.silent = self.silent, False
        if woke:
            log.info("meter answers again", meter=self.meter, line=self.line, polls=self.failures)
        self.failing_since, self.failures, self.pause_s = None, 0, PROBE_FIRST_S
        return woke

    def bad(self, now: float, reason: str, jitter: Callable[[], float]) -> bool:
        """A poll or a probe got no reply.  True if the meter counts as silent from now on."""
        self.asked += 1
        self.failures += 1
        self.reason = reason
        if self.failing_since is None:
            self.failing_since = now
        if self.silent:
            self.pause_s = min(self.pause_s * 2, PROBE_LONGEST_S)
            self.probe_at = now + self.pause_s * (0.75 + 0.5 * jitter())
            return False
        if self.failures < FAILURES or now - self.failing_since < SILENT_AFTER_S:
            return False
        self.silent = True
        self.probe_at = now + self.pause_s * (0.75 + 0.5 * jitter())
        log.warning("meter stopped answering", meter=self.meter, line=self.line, reason=reason)
        return True


@dataclass(slots=True)
class ProbeBudget:
    """The share of one line's time that probes may take, all silent meters together."""

    saved_s: float = PROBE_SAVED_S
    since: float | None = field(default=None)

    def take(self, now: float, expected_s: float) -> bool:
        """Whether a probe may start now; if so, its time counts as spent from now on."""
        if self.since is not None:
            self.saved_s = min(self.saved_s + (now - self.since) * PROBE_SHARE, PROBE_SAVED_S)
        self.since = now
        if self.saved_s <= 0:
            return False
        self.saved_s -= expected_s
        return True

    def settle(self, expected_s: float, busy_s: float) -> None:
        """A probe is over: it took this much line time instead."""
        self.saved_s += expected_s - busy_s
