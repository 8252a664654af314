"""What our clock is worth, when it was set, and what that means for what was stamped before.

A gateway that boots without network and without a battery believes it is 1970 and stamps what it
reads accordingly.  When the time is found, the clock is set by a step.  The step is measured
against the monotonic clock, so by the same step every earlier stamp of this run becomes right:

    not yet written     the reading is re-stamped; its clock is then ``holdover``: it was not
                        synchronised when it was read, but its time is right
    written             messages do not change: the head-end is told how much to add to which
                        numbers of which lane (event ``clock_found``)

Not supported: messages that an earlier run of the daemon wrote in the same boot.

Used by the core alone.
"""

from dataclasses import dataclass, field, replace

from gateway.clock import Clock, ClockState, judge
from gateway.events import JobDone, Outcome
from gateway.north import contract
from gateway.north.readings import Reading
from gateway.north.words import Lane

JUDGED_EVERY_S = 10.0
STEPPED_S = 2.0
"""A wall clock that moves this much against the monotonic one within a tick was set, not steered.
"""
FAR_S = 3600.0
"""Further than a reply can be old when it is handled: old stamps are told from new ones."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of our clock since the last look."""

    stepped_s: float
    """By how much it was set; 0 if it was not."""
    was: ClockState
    now: ClockState


class Timekeeper:
    """Our clock's state.  Times are monotonic where they are called ``now``."""

    def __init__(self, clock: Clock, floor: float) -> None:
        """``floor`` is the last Unix time we know of, 0 if none: it has probably passed."""
        self._clock = clock
        self.floor = floor
        self.state = judge(clock, floor)
        self._offset = clock.now() - clock.monotonic()
        self._judge_at = clock.monotonic() + JUDGED_EVERY_S
        self._stepped_at, self._stepped_s = float("-inf"), 0.0
        self._found_at = 0.0
        """Unix time when a step ended that nobody knew the time; 0 if none did."""

    def look(self, now: float, wall: float) -> Turn:
        """Whether the clock was set, or is worth something else."""
        stepped_s, self._offset = wall - now - self._offset, wall - now
        if abs(stepped_s) < STEPPED_S:
            stepped_s = 0.0
        else:
            self._stepped_at, self._stepped_s = now, stepped_s
            self._judge_at = now
        was = self.state
        if now >= self._judge_at:
            self._judge_at = now + JUDGED_EVERY_S
            self.state = judge(self._clock, self.floor)
            if stepped_s and was is ClockState.UNKNOWN is not self.state:
                self._found_at = wall
        return Turn(stepped_s, was, self.state)

    def corrected(self, event: JobDone, now: float, wall: float) -> JobDone:
        """The event, with what was stamped before a far step as if it had been after it."""
        if now - self._stepped_at > FAR_S / 2 or abs(self._stepped_s) < FAR_S:
            return event
        return replace(event, outcomes=tuple(self._corrected(one, wall) for one in event.outcomes))

    def worth(self, taken_at: float) -> ClockState:
        """What a stamp of this moment is worth."""
        known = self.state is not ClockState.UNKNOWN
        return ClockState.HOLDOVER if known and taken_at < self._found_at else self.state

    def _corrected(self, outcome: Outcome, wall: float) -> Outcome:
        taken_at = outcome.taken_at + self._stepped_s
        if outcome.reply is None or abs(taken_at - wall) >= abs(outcome.taken_at - wall):
            return outcome
        return replace(outcome, taken_at=taken_at)


@dataclass(slots=True)
class _Piece:
    """Numbers given between two steps, and what to add to what they stamped."""

    lanes: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    offset_s: float = 0.0


class Unstamped:
    """The messages that were written while nobody knew the time."""

    def __init__(self) -> None:
        self._pieces = [_Piece()]

    def note(self, lane: Lane, seq: int) -> None:
        """A message was written."""
        lanes = self._pieces[-1].lanes
        first, _ = lanes.get(lane, (seq, seq))
        lanes[lane] = first, seq

    def stepped(self, seconds: float) -> None:
        """The clock was set: what was written before it is off by so much more."""
        for piece in self._pieces:
            piece.offset_s += seconds
        if self._pieces[-1].lanes:
            self._pieces.append(_Piece())
        else:
            self._pieces[-1].offset_s = 0.0

    def found(self) -> tuple[contract.Restamp, ...]:
        """All of them whose time is known now; they are forgotten here."""
        known = [piece for piece in self._pieces if piece.offset_s]
        self._pieces = [piece for piece in self._pieces if not piece.offset_s]
        return tuple(
            contract.Restamp(lane=lane, first=first, last=last, offset_s=f"{piece.offset_s:.3f}")
            for piece in known
            for lane, (first, last) in piece.lanes.items()
        )


def shifted(taken: str, seconds: float) -> str:
    """An instant as messages carry it, moved."""
    return contract.instant(contract.unix_s(taken) + seconds)


def worth_then(state: ClockState) -> ClockState:
    """What a stamp is worth that was put right by a step, after which the clock is ``state``."""
    return ClockState.UNKNOWN if state is ClockState.UNKNOWN else ClockState.HOLDOVER


def restamped(reading: Reading, seconds: float, state: ClockState) -> Reading:
    """A reading that waits, after the clock was set by so much and is now worth ``state``."""
    if reading.clock != ClockState.UNKNOWN.value:
        return reading
    changes = {"taken": shifted(reading.taken, seconds), "clock": worth_then(state).value}
    return reading.model_copy(update=changes)
