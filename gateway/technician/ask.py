"""Asking one meter directly: the gateway's own line, run for as long as one question takes.

The exchange, its retries and what counts as an answer are those of the daemon
(gateway/acquisition/line.py), so what a technician sees here is what the gateway will see.
"""

import math
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from gateway.acquisition.exchange import GAP_S, Manners
from gateway.acquisition.line import Line
from gateway.acquisition.ports import Port, PortError, make_port
from gateway.acquisition.runner import run_line
from gateway.clock import Clock
from gateway.events import Crashed, Event, Fault, Job, JobDone, Outcome, PortChanged, Priority
from gateway.technician.questions import Answer, Question, of_points
from protocols.base import Request
from protocols.profile import Profile

RAW_BYTES_MAX = 4096
"""Enough of a line that is never quiet."""


class PortDownError(Exception):
    """The port could not be opened, or was lost for good.  The message is the port's own."""


def ask(
    port: Port, manners: Manners, meter: str, requests: Sequence[Request], tries: int, clock: Clock
) -> tuple[Outcome, ...]:
    """What comes of each request, in their order.  ``port`` is a closed one, and closed again.

    Raises PortDownError.
    """
    stopping = threading.Event()
    outcomes: list[Outcome] = []
    lost: list[str] = []

    def emit(event: Event) -> None:
        match event:
            case JobDone():
                outcomes.extend(event.outcomes)
                stopping.set()
            case PortChanged(up=False):
                lost.append(event.reason)
                stopping.set()
            case Crashed():
                # We are the thread that crashed; Ctrl-C comes this way, too.
                raise event.error

    jitter = Random()
    line = Line("this line", {meter: manners}, emit, jitter)
    jobs: queue.Queue[Job] = queue.Queue()
    job = Job(
        id=1,
        meter=meter,
        priority=Priority.COMMAND,
        requests=tuple(requests),
        not_after=math.inf,
        tries=tries,
    )
    jobs.put(job)
    run_line(line, port, jobs, clock, stopping, emit)
    if lost and not outcomes:
        raise PortDownError(lost[0])
    return tuple(outcomes)


def send_raw(port: Port, manners: Manners, data: bytes) -> bytes:
    """Send exactly ``data`` and return all that is heard until the line is quiet again.

    Raises PortDownError.
    """
    settings = manners.settings
    wait_s = len(data) * settings.character_s + manners.timeout_s
    heard = bytearray()
    try:
        port.open()
        port.configure(settings)
        port.flush_input()
        port.write(data)
        while len(heard) < RAW_BYTES_MAX and (piece := port.read(wait_s)):
            heard += piece
            wait_s = GAP_S
    except PortError as error:
        raise PortDownError(str(error)) from error
    finally:
        port.close()
    return bytes(heard)


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that was asked in vain."""

    names: tuple[str, ...]
    fault: Fault
    error: str


@dataclass(slots=True)
class Found:
    """All that came of asking a meter."""

    meter: str
    answers: list[Answer] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def take(self, question: Question, outcome: Outcome) -> None:
        """Add what came of one question."""
        if outcome.reply is not None:
            self.meter = outcome.reply.address
            self.answers += question.answers(outcome.reply.data)
        elif outcome.fault is not None:
            self.failed.append(Failed(question.names, outcome.fault, outcome.error))


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks meters on one port.  Every method may raise PortDownError."""

    port: str
    manners: Manners
    tries: int
    clock: Clock

    def read(self, meter: str, questions: Sequence[Question]) -> Found:
        """Ask each question as it is."""
        found = Found(meter)
        for question, outcome in self._ask(meter, questions):
            found.take(question, outcome)
        return found

    def read_points(self, profile: Profile, meter: str, points: Sequence[str]) -> Found:
        """Read points; what the meter refuses as a block is asked again in smaller parts.

        Raises RequestError for a wrong address or an unknown point.
        """
        found = Found(meter)
        refused: set[str] = set()
        missing = list(points)
        while missing:
            questions = of_points(profile, meter, missing, refused)
            missing = []
            for question, outcome in self._ask(meter, questions):
                if outcome.permanent and len(question.names) > 1:
                    refused.add(question.key)
                    missing += question.names
                else:
                    found.take(question, outcome)
        return found

    def _ask(self, meter: str, questions: Sequence[Question]) -> list[tuple[Question, Outcome]]:
        requests = [question.request for question in questions]
        outcomes = ask(make_port(self.port), self.manners, meter, requests, self.tries, self.clock)
        return list(zip(questions, outcomes, strict=True))
