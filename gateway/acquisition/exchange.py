"""One exchange: how a meter wants to be spoken to, what was asked, what has been heard since.

The bytes' side of a line (gateway/acquisition/line.py).  It knows when a reply is due and when it
is complete; it does not know what is asked next.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gateway.events import LONG_BYTES, Fault, Job, JobDone, Outcome, PortSettings, Sound
from protocols.base import Codec, RefusedError, Reply, Request, Stray

GAP_S = 0.5
"""The longest gap between two bytes of a frame.  Source: DL/T 645-2007, link layer, Tb."""
ECHO_S = 0.05
"""After a request that nobody answers, so long its own echo may come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How one meter wants to be spoken to."""

    codec: Codec[Any]
    settings: PortSettings
    wire: bool = True
    """Bytes take their time at these settings; False where a network carries them at once."""
    timeout_s: float = 1.0
    """The longest wait for a reply: from the end of our request on the wire until its first byte.
    What the meter's replies teach may make it shorter."""
    least_timeout_s: float = 0.25
    """No shorter than this."""
    silence_s: float = 0.0
    """Silence on the pair before a request to this meter, whoever spoke last."""
    guard_s: float = 0.02
    """What this meter needs to turn round after an exchange of its own; others use the time."""
    turnaround_s: float = 0.0
    """Further silence when the exchange before was with another meter."""
    latency_s: float = 0.0
    """What lies between us and the pair (a serial server, a radio link) adds to every reply."""
    late_s: float = 1.0
    """How long after its time an answer may still come *and* pass for the answer to another
    request.  0 where replies name what was asked (DL/T 645, Modbus TCP); Modbus RTU's do not."""
    listen_s: float = 0.0
    """How long a second meter at the same address may take to answer; 0: nobody listens for it."""
    reconnect: bool = False
    """After a missing answer the port is opened anew, so that a late one is lost with the old
    connection: for Modbus TCP without transaction numbers."""


@dataclass(slots=True)
class Task:
    """A job and how far it has come."""

    job: Job
    order: int
    submitted_at: float
    outcomes: list[Outcome] = field(default_factory=list)
    strays: Counter[Stray] = field(default_factory=Counter)
    busy_s: float = 0.0
    waited_s: float | None = None
    # Of the request in hand:
    tries: int = 0
    failure: tuple[Fault, str] | None = None
    reasons: tuple[str, ...] = ()
    """Of a refusal."""
    follow_up: Request | None = None
    frames: list[Reply] = field(default_factory=list)
    said: bytearray = field(default_factory=bytearray)
    """The bytes that were sent for it."""
    heard: bytearray = field(default_factory=bytearray)
    """The bytes of its frames, or of the refusal."""
    taken_at: float = 0.0
    round_trip_s: float = 0.0

    @property
    def request(self) -> Request:
        """The one the job is at."""
        return self.job.requests[len(self.outcomes)]

    def restart(self) -> None:
        """Forget what has come of the request in hand: its frames belong together."""
        self.follow_up = None
        self.frames.clear()
        self.said.clear()
        self.heard.clear()

    def succeed(self) -> None:
        """The frames of the request in hand are its whole reply."""
        data = b"".join(frame.data for frame in self.frames)
        outcome = Outcome(
            request=self.request,
            reply=Reply(self.frames[0].address, data),
            taken_at=self.taken_at,
            round_trip_s=self.round_trip_s,
            tries=self.tries,
            said=bytes(self.said),
            heard=bytes(self.heard),
        )
        self._add(outcome)

    def sent(self, wall: float) -> None:
        """The request in hand, which nobody answers, was on the wire at ``wall``."""
        said = bytes(self.said)
        self._add(Outcome(request=self.request, taken_at=wall, tries=self.tries, said=said))

    def give_up(self, fault: Fault, error: str, *, permanent: bool = False) -> None:
        """The request in hand gets no reply; when there is no hope, nor do those behind it."""
        for _ in range(len(self.job.requests) - len(self.outcomes) if self.hopeless(fault) else 1):
            outcome = Outcome(
                request=self.request,
                fault=fault,
                error=error,
                permanent=permanent,
                reasons=self.reasons if fault is Fault.REFUSED else (),
                tries=self.tries,
                round_trip_s=self.round_trip_s if fault is Fault.REFUSED else 0.0,
                said=bytes(self.said),
                heard=bytes(self.heard) if fault is Fault.REFUSED else b"",
            )
            self._add(outcome)

    def hopeless(self, fault: Fault) -> bool:
        """Whether nothing more will come: after the job's time, or with a meter that has been
        silent from the first request on.
        """
        return fault is Fault.EXPIRED or (fault is Fault.SILENT and not self.outcomes)

    def _add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.restart()
        self.tries, self.failure, self.reasons = 0, None, ()

    @property
    def over(self) -> bool:
        """Whether every request has its outcome."""
        return len(self.outcomes) == len(self.job.requests)

    def report(self, line: str, now: float, sounds: Counter[Sound]) -> JobDone:
        """What came of the whole job, and what the line has heard meanwhile."""
        return JobDone(
            line=line,
            job=self.job,
            outcomes=tuple(self.outcomes),
            busy_s=self.busy_s,
            waited_s=now - self.submitted_at if self.waited_s is None else self.waited_s,
            strays=tuple(sorted(self.strays.items())),
            sounds=tuple(sorted(sounds.items())),
        )


@dataclass(slots=True)
class Exchange:
    """One question on the wire, and what has been heard since."""

    task: Task
    manners: Manners
    request: Request
    number: int
    data: bytes
    """What is sent."""
    begun_at: float
    timeout_s: float
    """How long the first byte of the reply may take."""
    sent_at: float = math.inf
    """The end of our transmission on the wire."""
    deadline: float = math.inf
    """When the reply must have begun."""
    latest: float = math.inf
    """When the longest reply is over, even if bytes keep coming."""
    heard: bytearray = field(default_factory=bytearray)
    began_at: float = 0.0
    """When the first byte in ``heard`` came."""
    last_at: float = 0.0
    noise: bytearray = field(default_factory=bytearray)
    garbled: bool = False
    """There was an answer whose data alone was damaged."""
    overheard: bytearray = field(default_factory=bytearray)
    """Good frames that were no answer."""
    sounds: Counter[Sound] = field(default_factory=Counter)

    def written(self, now: float) -> None:
        """Writing returns before the bytes have left, so their time on the wire is added."""
        manners = self.manners
        character_s = manners.settings.character_s if manners.wire else 0.0
        self.sent_at = now + len(self.data) * character_s
        self.task.said += self.data
        self.deadline = self.sent_at + self.timeout_s
        reply_s = manners.codec.reply_size(self.request) * character_s
        self.latest = self.deadline + reply_s + GAP_S
        if self.unanswered:
            self.deadline = self.latest = self.sent_at + manners.latency_s + ECHO_S

    @property
    def unanswered(self) -> bool:
        """Whether nobody answers: it is over when it is sent."""
        return self.manners.codec.reply_size(self.request) == 0

    @property
    def delay_s(self) -> float:
        """From the end of our request to the first byte of the reply."""
        return max(0.0, self.began_at - self.sent_at)

    @property
    def late_until(self) -> float:
        """When an answer that did not come in time can no longer come, nor pass for another."""
        manners = self.manners
        return self.sent_at + manners.timeout_s + manners.latency_s + manners.late_s

    @property
    def until(self) -> float:
        """When to give up if nothing more comes."""
        if not self.heard:
            return self.deadline
        return min(max(self.deadline, self.last_at + GAP_S), self.latest)

    def decode(self, data: bytes, now: float) -> Reply | None:
        """The reply, if ``data`` completes it.  Raises RefusedError if the meter declined."""
        if not self.heard:
            self.began_at = now
        self.heard += data
        self.last_at = now
        while self.heard:
            found, used = self._frame()
            done, size = self.heard[:used], len(self.heard)
            del self.heard[:used]
            if isinstance(found, Reply):
                self.sounds[Sound.LONG if used >= LONG_BYTES else Sound.SHORT] += 1
                self.task.heard += done
                return found
            if isinstance(found, Stray):
                self.task.strays[found] += 1
            damaged = found in (Stray.DAMAGED, Stray.GARBLED)
            if damaged:
                self.garbled = self.garbled or found is Stray.GARBLED
                long = size >= LONG_BYTES
                self.sounds[Sound.LONG_DAMAGED if long else Sound.SHORT_DAMAGED] += 1
            if found in (Stray.FOREIGN, Stray.LATE, Stray.NUMBER):
                self.overheard += done
            if found is None or damaged:
                self.noise += done
            if used:
                self.began_at = now
            if found is None:
                break
        return None

    def _frame(self) -> tuple[Reply | Stray | None, int]:
        """The next frame in what was heard.  Raises RefusedError if the meter declined."""
        try:
            return self.manners.codec.decode(bytes(self.heard), self.request, self.number)
        except RefusedError:
            self.task.heard += self.heard
            self.task.round_trip_s = self.delay_s
            raise

    def failure(self) -> tuple[Fault, str]:
        """Why there is no reply.  A meter is silent, too, when only others were heard."""
        settings = self.manners.settings
        spoken = f"{settings.baud} 8{settings.parity}{settings.stop_bits}"
        garbage = bytes(self.noise + self.heard)
        if not garbage:
            return Fault.SILENT, (
                f"meter {self.task.job.meter} did not answer within {self.timeout_s:.3g} s"
                f" at {spoken}; check its supply, wiring, address and speed"
            )
        return Fault.DAMAGED, (
            f"meter {self.task.job.meter} gave no good frame at {spoken}, only"
            f" {garbage[:32].hex(' ').upper()} ({len(garbage)} bytes); check parity, termination"
            " and whether two meters share the address"
        )


@dataclass(frozen=True, slots=True)
class Debt:
    """An answer that did not come in time and still may."""

    request: Request
    until: float
