"""Which voucher numbers of an account were used, and how long a mistyped one makes it wait.

A number is accepted once, in any order, as long as it lies within 64 of the highest one used.  What
is kept is one number and 64 bits per account and key: it can neither grow nor run out.

A key is replaced one day.  Numbers go on counting; so the window of a new key begins at the highest
number the account has used under its other keys: what was forgotten cannot come back.

Idea: the token windows of STS and OpenPAYGO, and their lesson that used ids are never cleared
without a change of the key.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SIZE = 64
"""Numbers behind and ahead of the highest one used that are accepted."""
FREE_TRIES = 5
"""Bad vouchers in a row before the next one has to wait."""
FIRST_WAIT_S = 60
LONGEST_WAIT_S = 3600


@dataclass(frozen=True, slots=True)
class Window:
    """The numbers used under one key."""

    floor: int = 0
    """This number and all below are over."""
    bitmap: int = 0
    """Bit i: number floor + 1 + i was used.  Never more than 64 bits."""

    @property
    def highest(self) -> int:
        """The highest number used, or the floor."""
        return self.floor + self.bitmap.bit_length()

    def problem(self, number: int) -> str:
        """Why a number is not accepted: ``used``, ``too old``, ``too far ahead``; else empty."""
        if number <= self.floor:
            return "too old"
        if number > self.highest + SIZE:
            return "too far ahead"
        return "used" if self.bitmap >> (number - self.floor - 1) & 1 else ""

    def use(self, number: int) -> "Window":
        """The window after a number that has no problem was used."""
        if problem := self.problem(number):
            raise ValueError(f"number {number} is {problem}")
        bitmap = self.bitmap | 1 << (number - self.floor - 1)
        over = max(0, bitmap.bit_length() - SIZE)
        return Window(self.floor + over, bitmap >> over)


def begin(others: Iterable[Window]) -> Window:
    """The window of a key that the account has not used yet, given those of its other keys."""
    return Window(max((one.highest for one in others), default=0))


@dataclass(frozen=True, slots=True)
class Tries:
    """Bad vouchers in a row, typed for one account."""

    failures: int = 0
    last: float = 0.0
    """Unix time of the last one."""

    def failed(self, now: float) -> "Tries":
        """One more at ``now``, Unix time."""
        return Tries(self.failures + 1, now)

    def wait_s(self, now: float) -> float:
        """Seconds until the next voucher is looked at; 0: at once.

        A clock that was set back makes nobody wait longer than the longest wait.
        """
        beyond = self.failures - FREE_TRIES
        if beyond < 0:
            return 0.0
        wait_s = min(FIRST_WAIT_S << min(beyond, 10), LONGEST_WAIT_S)
        return min(max(0.0, self.last + wait_s - now), float(wait_s))
