"""Arithmetic on runs of sequence numbers.  Pure.

A run is ``(first, last)``, both included.  A list of runs is ascending and does not overlap.
"""

from collections.abc import Iterable

Run = tuple[int, int]


def gather(numbers: Iterable[int]) -> list[Run]:
    """The runs that ``numbers``, in any order, make up."""
    runs: list[Run] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def subtract(runs: Iterable[Run], holes: Iterable[Run]) -> list[Run]:
    """What is left of ``runs`` without ``holes``."""
    left = []
    holes = list(holes)
    for run_first, last in runs:
        first = run_first
        for hole_first, hole_last in holes:
            if hole_last < first:
                continue
            if hole_first > last:
                break
            if hole_first > first:
                left.append((first, hole_first - 1))
            first = hole_last + 1
        if first <= last:
            left.append((first, last))
    return left


def count(runs: Iterable[Run]) -> int:
    """How many numbers there are in ``runs``."""
    return sum(last - first + 1 for first, last in runs)
