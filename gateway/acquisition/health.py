"""Whether a meter answers, and how much of the line a silent one may cost.

From its first miss on a meter is only probed: one cheap request, once, and all probes of a line
together get ``PROBE_SHARE`` of its time.  Any reply ends that, and what it missed is read at once.
It counts as silent after ``FAILURES`` misses in a row that also span ``SILENT_AFTER_S``; from then
on its probes become rarer, jittered.  What is told of it, gateway/acquisition/line_health.py knows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

FAILURES = 3
SILENT_AFTER_S = 10.0
PROBE_FIRST_S = 15.0
PROBE_LONGEST_S = 900.0
PROBE_FAULT_S = 60.0
"""The same while the whole line is silent."""
PROBE_SHARE = 0.05
PROBE_SAVED_S = 5.0
"""Line time that may be saved up for probes: a few of them, not a burst after a quiet night."""


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
    told: bool = False
    """Its silence was reported."""
    line_fault: bool = False
    """It is silent with all others of its line."""
    suspected: bool = False
    """To be probed, though it answered last: nobody on its line has for a while."""
    proven: bool = False
    """It answered when it was asked last."""
    askable: bool = True
    """There is something it does not refuse."""
    probe_at: float = 0.0
    pause_s: float = PROBE_FIRST_S
    reason: str = ""
    doubled_at: float | None = None
    """When there was last a sign of a second meter at its address."""

    def replied(self, wall: float, round_trip_s: float) -> None:
        """A good reply came, complete at ``wall`` (Unix time)."""
        weight = 1.0 if self.last_good_at is None else 0.125
        self.round_trip_s += (round_trip_s - self.round_trip_s) * weight
        self.last_good_at = wall

    def good(self) -> bool:
        """A poll or a probe was answered, if only by a refusal.  True if the meter was silent."""
        self.asked += 1
        self.answered += 1
        woke = self.silent
        self.begin_anew()
        self.proven = True
        return woke

    def begin_anew(self) -> None:
        """Nothing that was missed counts any more."""
        self.silent = False
        self.failing_since, self.failures, self.pause_s = None, 0, PROBE_FIRST_S

    def stir(self, now: float) -> None:
        """There was a sign of life: probe it as soon as may be."""
        self.probe_at, self.pause_s = now, PROBE_FIRST_S

    @property
    def probed(self) -> bool:
        """Whether it is only probed."""
        return self.failures > 0 or self.suspected

    def bad(self, now: float, reason: str, jitter: Callable[[], float]) -> bool:
        """A poll or a probe got no reply.  True if the meter counts as silent from now on."""
        self.asked += 1
        self.failures += 1
        self.reason = reason
        self.proven = False
        if self.failing_since is None:
            self.failing_since = now
        was_silent = self.silent
        if was_silent:
            longest_s = PROBE_FAULT_S if self.line_fault else PROBE_LONGEST_S
            self.pause_s = min(self.pause_s * 2, longest_s)
        self.probe_at = now + self.pause_s * (0.75 + 0.5 * jitter())
        if self.failures >= FAILURES and now - self.failing_since >= SILENT_AFTER_S:
            self.silent = True
        return self.silent and not was_silent


@dataclass(slots=True)
class ProbeBudget:
    """The share of one line's time that probes may take, all silent meters together."""

    saved_s: float = PROBE_SAVED_S
    since: float | None = field(default=None)

    def allows(self, now: float) -> bool:
        """Whether a probe may start now."""
        if self.since is not None:
            self.saved_s = min(self.saved_s + (now - self.since) * PROBE_SHARE, PROBE_SAVED_S)
        self.since = now
        return self.saved_s > 0

    def spend(self, busy_s: float) -> None:
        """A probe took this much line time."""
        self.saved_s -= busy_s
