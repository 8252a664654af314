"""How well supply is cut and restored, in figures (R43).  Pure.

Nothing is counted while it happens: the figures are made of the record (gateway/store/figures.py),
so they survive every restart and can be made again for any day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

DAYS = 30
"""They are about the last so many days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How long something took, in whole seconds."""

    count: int
    p50_s: int
    p99_s: int
    """Half of them, and 99 of 100, took no longer."""
    max_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one gateway, since some moment."""

    trips: int
    """Commands to trip that were sent, repeated tries included."""
    cuts: int
    """Cuts that were proven."""
    restores: int
    """Restores that were proven; allowed (合闸允许) is: from there on it is the customer's turn."""
    wrong_cuts: int
    late_restores: int
    """Proven after the limit, or beyond it and not proven yet."""
    waiting: int
    """Restores that are wanted now and not proven."""
    cut: Spread | None
    """From the balance at zero to the proven cut; of cuts for arrears."""
    restore: Spread | None
    """From what gives supply back (a payment, a protection) to the proof."""
    refused: tuple[tuple[str, str, int], ...]
    """(rule, check, how often) of what spoke against a cut, by rule."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that was proven."""

    took_s: float
    owed: bool
    """For money or protection; else a person ordered it, or load shedding ended."""


def spread(seconds: Iterable[float]) -> Spread | None:
    """How ``seconds`` are spread; None of nothing.  A clock that was set back makes no time run
    backwards.
    """
    ordered = sorted(max(0, round(one)) for one in seconds)
    if not ordered:
        return None
    return Spread(
        count=len(ordered),
        p50_s=_nearest(ordered, 50),
        p99_s=_nearest(ordered, 99),
        max_s=ordered[-1],
    )


def late(restored: Sequence[Restored], waited_s: Sequence[float], late_s: float) -> int:
    """How many restores took longer than ``late_s``, or have been waited for so long."""
    return sum(one.took_s > late_s for one in restored) + sum(one > late_s for one in waited_s)


def _nearest(ordered: Sequence[int], percent: int) -> int:
    return ordered[ceil(percent * len(ordered) / 100) - 1]
