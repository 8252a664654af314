"""The only door through which time comes in.

``now`` is for stamping and can be stepped (NTP, a technician); ``monotonic`` is for measuring and
cannot.  ``state`` says what ``now`` is worth: a gateway that boots without network and without a
battery believes it is 1970, and everything it stamps must say so.
"""

import ctypes
import time
from enum import StrEnum
from typing import Protocol

EARLIEST = 1_767_225_600.0
"""2026-01-01 00:00 UTC in Unix time.  This software is younger, so that moment has passed."""


class ClockState(StrEnum):
    """What the wall clock is worth."""

    TRUSTED = "trusted"  # the kernel says: synchronised
    HOLDOVER = "holdover"  # not synchronised now, but not before the last time we know of
    UNKNOWN = "unknown"  # before a moment that has certainly passed: it is wrong


class Clock(Protocol):
    """Two clocks in one, and a word on the first."""

    def now(self) -> float:
        """Unix time in seconds.  For stamping, never for measuring."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment.  For measuring, never for stamping."""
        ...

    def synchronised(self) -> bool:
        """Whether the operating system says that ``now`` follows a time source."""
        ...


class SystemClock:
    """The real one.  Built in gateway/daemon.py and by the command line, nowhere else."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def synchronised(self) -> bool:
        """Ask adjtimex(2): 5 is TIME_ERROR, the clock is not synchronised."""
        timex = ctypes.create_string_buffer(256)  # struct timex, all zero: modes = 0, read only
        state: int = self._libc.adjtimex(timex)
        return state not in (-1, 5)


def judge(clock: Clock, floor: float) -> ClockState:
    """What ``clock.now()`` is worth.

    ``floor`` is the last Unix time we know of, 0 if none: it has probably passed.
    """
    if clock.synchronised():
        return ClockState.TRUSTED
    return ClockState.UNKNOWN if clock.now() < max(floor, EARLIEST) else ClockState.HOLDOVER
