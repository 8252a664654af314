"""One RS-485 line as a state machine: which exchange is next, and what came of it.

No port, no thread and no clock of its own, so the same object runs in a thread
(gateway/acquisition/runner.py) and on simulated time.  Its shell tells it the time and what was
heard; it answers with an ``Act``, what the shell must do next:

    Open ──port_up──► Rest ◄────────────┐
     ▲                 │ a job           │ reply, refusal, or nothing in time
     └──port_lost──  Transmit ──► Listen ┘

What it keeps to:

- Every exchange is chosen anew: by ``Priority``, then by the order of submission.  A failed try
  goes behind the others of its class, so an urgent job waits for one exchange and never for three.
- A meter that must rest after an exchange, or owes an answer, lets the others of its class go
  first: its guard time costs the line nothing while anybody else has something to say.
- Nor does it wait for the whole timeout of a meter that is probably silent: a read gives way to it
  when its reply is later than twice the longest of that meter so far.
- A reply is believed only if the codec matches it to the request.  All else is counted by kind
  and listened past until the deadline.
- The deadline is counted from the end of our own transmission on the wire, and judged by bytes:
  what the shell has heard is read before the time is looked at.
- A meter that did not answer in time still owes an answer.  Until that can no longer come, it is
  not asked anything for which the late answer could be mistaken (``Manners.late_s``).

Not supported: broadcasts (nobody answers them), shares of time between the lower classes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from gateway.acquisition.exchange import Debt, Exchange, Manners, Task
from gateway.events import Event, Fault, Job, PortChanged, PortSettings, Priority
from protocols.base import RefusedError, RequestError

SETTLE_S = 0.02
"""The least silence around a change of speed or parity."""
SILENT_CHARACTERS = 3.5
"""What ends a frame for a meter, in characters.  Source: Modbus over serial line V1.02 §2.5.1.1."""
PATIENCE_S = 1.0
"""How long a line that is never quiet can keep us from speaking."""
PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Before each new try to open the port, since it was last heard to work."""
USUAL_S = 0.5
"""A meter not heard before begins its reply by then.  Source: DL/T 645-2007, Td is 20 to 500 ms."""
SOON_S = 0.25
"""No reply is late before this, however fast its meter usually is."""
FRAMES_MAX = 255
"""Of one reply that goes on in follow-ups.  Source: DL/T 645-2007, follow-up data: SEQ is one
byte."""
REPLY_SIZE_MAX = 32_768
"""Bytes of one reply, all its frames together."""
JOBS_MAX = 1024


class LineError(Exception):
    """A job that this line cannot take: its submitter's mistake."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open the port, then call ``port_up`` or ``port_lost``."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """Set the port, forget what it has received, write; then ``advance`` with the time of that."""

    settings: PortSettings
    data: bytes


@dataclass(frozen=True, slots=True)
class Listen:
    """Read until bytes come or ``until`` (monotonic) is reached; then ``advance`` with them."""

    until: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to send before ``until`` (monotonic, may be infinite), unless a job comes.

    Bytes that an open port has received meanwhile go to ``advance`` as well.
    """

    until: float


Act = Open | Transmit | Listen | Rest


class Line:
    """The jobs of one line and the exchange that runs.

    ``manners`` has one entry for each meter's asset number and may be changed by its owner;
    ``emit`` takes ``JobDone`` and ``PortChanged``; ``random`` spreads the tries to open the port.
    """

    def __init__(
        self,
        name: str,
        manners: Mapping[str, Manners],
        emit: Callable[[Event], None],
        random: Random,
        jobs_max: int = JOBS_MAX,
    ) -> None:
        self.name = name
        self._manners = manners
        self._emit = emit
        self._random = random
        self._jobs_max = jobs_max
        self._tasks: list[Task] = []
        self._order = 0
        self._number = 0
        self._exchange: Exchange | None = None
        self._debts: dict[str, Debt] = {}
        self._ended_at: dict[str, float] = {}
        """By meter: the last activity on the line in its last exchange."""
        self._slowest_s: dict[str, float] = {}
        """By meter: the longest it took to begin a reply."""
        self._last: tuple[str, PortSettings] | None = None
        self._active_at = -math.inf
        self._stray_at = -math.inf
        self._held_since: float | None = None
        self._up = False
        self._told: bool | None = None
        self._losses = 0
        self._open_at = -math.inf

    def submit(self, job: Job, now: float) -> None:
        """Take a job; exactly one ``JobDone`` will come of it.

        Raises LineError if the line does not know the meter, the job asks nothing, or there are
        too many jobs.
        """
        if job.meter not in self._manners:
            raise LineError(f"line {self.name}: job {job.id} is for an unknown meter {job.meter}")
        if not job.requests:
            raise LineError(f"line {self.name}: job {job.id} for {job.meter} asks nothing")
        if len(self._tasks) >= self._jobs_max:
            raise LineError(
                f"line {self.name}: {self._jobs_max} jobs are waiting; job {job.id} for"
                f" {job.meter} must wait outside"
            )
        self._tasks.append(Task(job, self._next_order(), now))

    def port_up(self, now: float) -> None:
        """The port is open."""
        self._up = True
        self._active_at, self._last = now, None
        self._tell("")

    def port_lost(self, now: float, reason: str) -> None:
        """The port failed, or did not open.  ``reason`` is a sentence for people.

        A port that worked is opened again at once, and its loss is told only if that fails:
        a serial server that closes an idle connection is not an outage.
        """
        if not self._up:
            self._losses = max(1, self._losses)
        pause_s = PAUSES_S[min(self._losses, len(PAUSES_S) - 1)] * self._random.uniform(0.75, 1.0)
        self._up = False
        self._losses += 1
        self._open_at = now + pause_s
        if self._exchange:
            self._fail(self._exchange, now, Fault.PORT, f"line {self.name}: {reason}")
        if pause_s:
            self._tell(reason)

    def advance(self, now: float, wall: float, heard: bytes = b"") -> Act:
        """Take in what was ``heard`` up to ``now`` (monotonic; ``wall`` is its Unix time) and say
        what to do next.
        """
        exchange = self._exchange
        if exchange and exchange.sent_at == math.inf:
            exchange.written(now)
            self._active_at = exchange.sent_at
        if heard and exchange:
            self._losses = 0
            self._active_at = max(now, exchange.sent_at)
            self._hear(exchange, now, wall, heard)
        elif heard:
            self._stray_at = now
        if self._exchange and now >= self._until(self._exchange):
            self._fail(self._exchange, now, *self._exchange.failure())
        return Listen(self._until(self._exchange)) if self._exchange else self._choose(now)

    def _until(self, exchange: Exchange) -> float:
        """When to give up listening if nothing more comes."""
        own = exchange.task.job.priority
        # What changes a meter is not cut short: nobody could tell whether it was done.
        if exchange.heard or own <= Priority.COMMAND:
            return exchange.until
        if all(task.job.priority > Priority.COMMAND for task in self._tasks):
            return exchange.until
        slowest_s = self._slowest_s.get(exchange.task.job.meter)
        patience_s = USUAL_S if slowest_s is None else max(SOON_S, 2 * slowest_s)
        return min(exchange.until, exchange.sent_at + exchange.manners.latency_s + patience_s)

    def _choose(self, now: float) -> Act:
        """What to do while no exchange runs."""
        self._expire(now)
        expiry = min((task.job.not_after for task in self._tasks), default=math.inf)
        if not self._up:
            return Open() if now >= self._open_at else Rest(min(self._open_at, expiry))
        while self._tasks:
            task = self._next(now)
            ready_at = self._ready_at(task, now)
            if now < ready_at:
                return Rest(min(ready_at, expiry))
            act = self._begin(task, now)
            if act:
                return act
        self._held_since = None
        return Rest(math.inf)

    def _next(self, now: float) -> Task:
        """The task whose turn it is: the first of the most urgent, unless its meter must rest and
        another of its class can begin before that is over.
        """
        first = min(self._tasks, key=lambda each: (_rank(each.job), each.order))
        free_at = self._free_at(first)
        if free_at <= max(now, self._quiet_at(first)):
            return first
        sooner = [
            task
            for task in self._tasks
            if _rank(task.job) == _rank(first.job) and self._free_at(task) < free_at
        ]
        return min(sooner, key=lambda task: task.order, default=first)

    def _free_at(self, task: Task) -> float:
        """When neither the pair nor the meter needs silence any more before this request."""
        return max(self._quiet_at(task), self._rested_at(task))

    def _debt(self, task: Task) -> Debt | None:
        """The answer to another request that this task's meter still owes."""
        debt = self._debts.get(task.job.meter)
        return debt if debt and debt.request != (task.follow_up or task.request) else None

    def _rested_at(self, task: Task) -> float:
        """When this task's meter is ready for it: has turned round, owes no other answer."""
        meter = task.job.meter
        debt = self._debt(task)
        turned_at = self._ended_at.get(meter, -math.inf) + self._manners[meter].guard_s
        return max(turned_at, debt.until) if debt else turned_at

    def _quiet_at(self, task: Task) -> float:
        """When the pair has been silent for long enough for this task's meter."""
        meter = task.job.meter
        manners = self._manners[meter]
        last_meter, last_settings = self._last or ("", None)
        pause_s = manners.silence_s
        if meter != last_meter:
            pause_s += manners.turnaround_s
        if manners.settings != last_settings:
            # A meter set to the slowest rate takes that long to see that the line is silent.
            slowest_s = max(each.settings.character_s for each in self._manners.values())
            pause_s = max(pause_s, SETTLE_S, SILENT_CHARACTERS * slowest_s)
        return self._active_at + pause_s

    def _ready_at(self, task: Task, now: float) -> float:
        """The first moment at which this task's next request may be sent."""
        ready_at = self._free_at(task)
        if self._held_since is None:
            self._held_since = now
        # Somebody else speaks: let him finish, but a line that babbles must not stop us for ever.
        patience_ends = max(ready_at, self._held_since) + PATIENCE_S
        manners = self._manners[task.job.meter]
        pause_s = max(manners.guard_s, self._quiet_at(task) - self._active_at)
        return max(ready_at, min(self._stray_at + pause_s, patience_ends))

    def _begin(self, task: Task, now: float) -> Transmit | None:
        """Send this task's next request; None if the protocol has no words for it."""
        manners = self._manners[task.job.meter]
        request = task.follow_up or task.request
        self._number += 1
        try:
            data = manners.codec.encode(request, self._number)
        except RequestError as error:
            self._conclude(task, now, Fault.REFUSED, str(error), permanent=True)
            return None
        if task.follow_up is None:
            task.tries += 1
        if task.waited_s is None:
            task.waited_s = now - task.submitted_at
        self._exchange = Exchange(task, manners, request, self._number, len(data), now)
        self._held_since = None
        return Transmit(manners.settings, data)

    def _hear(self, exchange: Exchange, now: float, wall: float, heard: bytes) -> None:
        """Let the codec judge what has come; end the exchange if it is the answer."""
        task = exchange.task
        try:
            reply = exchange.decode(heard, now)
        except RefusedError as error:
            self._end(exchange, now, answered=True)
            self._retry(task, now, Fault.REFUSED, str(error), permanent=error.permanent)
            return
        if reply is None:
            return
        self._end(exchange, now, answered=True)
        if not task.frames:
            task.taken_at = wall
            task.round_trip_s = max(0.0, exchange.began_at - exchange.sent_at)
            slowest_s = self._slowest_s.get(task.job.meter, 0.0)
            self._slowest_s[task.job.meter] = max(slowest_s, task.round_trip_s)
        task.frames.append(reply)
        task.follow_up = exchange.manners.codec.follow_up(exchange.request, reply)
        size = sum(len(frame.data) for frame in task.frames)
        if task.follow_up is None:
            task.succeed()
            self._finish(task, now)
        elif len(task.frames) >= FRAMES_MAX or size > REPLY_SIZE_MAX:
            endless = (
                f"meter {task.job.meter} goes on after {len(task.frames)} frames and {size} bytes;"
                " ask for less at a time"
            )
            self._conclude(task, now, Fault.DAMAGED, endless)

    def _end(self, exchange: Exchange, now: float, *, answered: bool) -> None:
        """The exchange is over.  Note what the line must remember of it."""
        meter, manners = exchange.task.job.meter, exchange.manners
        self._exchange = None
        self._last = (meter, manners.settings)
        self._ended_at[meter] = self._active_at
        exchange.task.busy_s += now - exchange.begun_at
        debt = self._debts.pop(meter, None)
        # Of two answers owed, one came; which one, nobody can tell: the other may still come.
        if manners.late_s and not (answered and (debt is None or now >= debt.until)):
            self._debts[meter] = Debt(exchange.request, exchange.deadline + manners.late_s)

    def _fail(self, exchange: Exchange, now: float, fault: Fault, error: str) -> None:
        """End the exchange without a reply."""
        if exchange.sent_at == math.inf:
            exchange.written(now)  # the port failed while writing: part of it may be on the wire
        self._end(exchange, now, answered=False)
        self._retry(exchange.task, now, fault, error)

    def _retry(
        self, task: Task, now: float, fault: Fault, error: str, *, permanent: bool = False
    ) -> None:
        """Queue the request in hand again, behind the others of its class, or give it up."""
        task.order = self._next_order()
        task.failure = (fault, error)
        if permanent or task.tries >= task.job.tries:
            self._conclude(task, now, fault, error, permanent=permanent)
        else:
            task.restart()

    def _conclude(
        self, task: Task, now: float, fault: Fault, error: str, *, permanent: bool = False
    ) -> None:
        """Give the request in hand up."""
        task.give_up(fault, error, permanent=permanent)
        self._finish(task, now)

    def _expire(self, now: float) -> None:
        """End the jobs that are no use any more.  A request that was tried keeps its own fault."""
        for task in [task for task in self._tasks if now >= task.job.not_after]:
            if task.failure:
                task.give_up(*task.failure)
            if not task.over:
                why = "the line was busy" if self._up else "its port is not there"
                error = f"line {self.name}: job {task.job.id} for {task.job.meter} expired; {why}"
                task.give_up(Fault.EXPIRED, error)
            self._finish(task, now)

    def _finish(self, task: Task, now: float) -> None:
        """Report the job if nothing is left of it."""
        if task.over:
            self._tasks.remove(task)
            self._emit(task.report(self.name, now))

    def _tell(self, reason: str) -> None:
        """Report the port's state where it differs from what was told last."""
        if self._told is not self._up:
            self._told = self._up
            self._emit(PortChanged(self.name, self._up, reason))

    def _next_order(self) -> int:
        self._order += 1
        return self._order


def _rank(job: Job) -> Priority:
    """A probe takes its turn among the polls: its submitter has few of them, and a line that is
    always busy would else never find out that a meter is back.
    """
    return Priority.POLL if job.priority is Priority.PROBE else job.priority
