"""An RS-485 pair with simulated meters on it: what is said into it, and what comes back.

No port, thread or clock: the same object serves the simulated world of the gateway's tests and the
real ports of ``simulators.server``.

Not supported: bit errors, echoes and other faults of the wire; a line of ``simulators.faults``
stands in front of this one, with the same ``hear``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from simulators.meter import Find, Meter

SILENCE_S = 0.5
"""After such a pause what was heard before is not continued (Tb of DL/T 645-2007)."""
BURST_BYTES_MAX = 1024


class Pair(Protocol):
    """What a port needs of a pair, faulty or not."""

    def character_s(self, baud: int | None) -> float:
        """How long a character takes at this speed."""
        ...

    def hear(
        self, data: bytes, now: float, baud: int | None = None, parity: str | None = None
    ) -> list[tuple[float, bytes]]:
        """What appears after ``data`` was sent: seconds after its end, and the bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What appears on the pair for one request."""

    delay_s: float
    """From the end of the request."""
    data: bytes
    meters: tuple[Meter, ...]
    """Who speaks; several collide."""


class Line:
    """Meters on one pair.  They need not agree on speed or protocol."""

    def __init__(self, meters: Sequence[Meter]) -> None:
        self.meters = tuple(meters)
        self._heard = b""
        self._heard_at = 0.0
        self._settings: tuple[int | None, str | None] = (None, None)

    def character_s(self, baud: int | None) -> float:
        """How long a character takes at this speed; 0 where there is no wire (``baud`` is None).

        A pseudo terminal hides the parity, so the meters that listen at this speed decide.
        """
        if not baud:
            return 0.0
        here = (m.settings.character_s for m in self.meters if m.settings.baud == baud)
        return max(here, default=10 / baud)

    def hear(
        self, data: bytes, now: float, baud: int | None = None, parity: str | None = None
    ) -> list[tuple[float, bytes]]:
        """What appears on the pair after ``data`` was sent: seconds after its end, and the bytes.

        ``data`` may be a part of a request; ``now`` is UTC seconds at its end.  Meters set to
        another ``baud`` or ``parity`` hear noise; None means that nobody can tell.
        """
        return [(each.delay_s, each.data) for each in self.answers(data, now, baud, parity)]

    def answers(
        self, data: bytes, now: float, baud: int | None = None, parity: str | None = None
    ) -> list[Answer]:
        """The same as ``hear``, and who it comes from."""
        if (baud, parity) != self._settings or not 0 <= now - self._heard_at <= SILENCE_S:
            self._heard = b""
        self._settings, self._heard_at = (baud, parity), now
        self._heard = (self._heard + data)[-BURST_BYTES_MAX:]
        listening = [meter for meter in self.meters if meter.hears(baud, parity)]
        appears = []
        for find, request in self._requests(listening):
            asked = [
                (meter, meter.answer(request, now)) for meter in listening if meter.find == find
            ]
            given = [Answer(*answer, (meter,)) for meter, answer in asked if answer]
            if given:
                appears.append(_together(given, self.character_s(baud)))
        return appears

    def _requests(self, listening: Sequence[Meter]) -> Iterator[tuple[Find, object]]:
        """Each whole request heard, the first one first, and in whose protocol it is.

        With a request all that was heard before it is done with.
        """
        finds = tuple(dict.fromkeys(meter.find for meter in listening))
        while True:
            found = [(find, *find(self._heard)) for find in finds]
            whole = [(used, find, request) for find, request, used in found if request is not None]
            if not whole:
                return
            used, find, request = min(whole, key=lambda one: one[0])
            self._heard = self._heard[used:]
            yield find, request


def _together(answers: list[Answer], character_s: float) -> Answer:
    """One answer as it is; several collide, and where any sender pulls the pair low, it is low."""
    first, *others = sorted(answers, key=lambda answer: answer.delay_s)
    mixed = first.data
    for other in others:
        # Whole characters only: one that begins within another is worse still.
        later = round((other.delay_s - first.delay_s) / character_s) if character_s else 0
        data = b"\xff" * later + other.data
        size = max(len(mixed), len(data))
        both = zip(mixed.ljust(size, b"\xff"), data.ljust(size, b"\xff"), strict=True)
        mixed = bytes(a & b for a, b in both)
    who = tuple(answer.meters[0] for answer in (first, *others))
    return Answer(first.delay_s, mixed, who)
