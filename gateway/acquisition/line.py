"""One RS-485 line as a state machine: which exchange is next, and what came of it.

No port, no thread and no clock of its own, so the same object runs in a thread
(gateway/acquisition/runner.py) and on simulated time.  Its shell tells it the time and what was
heard; it answers with an ``Act``, what the shell must do next:

    Open ──port_up──► Rest ◄────────────┐
     ▲                 │ a job           │ reply, refusal, or nothing in time
     └──port_lost──  Transmit ──► Listen ┘

What it keeps to:

- Every exchange is chosen anew: by class (gateway/acquisition/shares.py), then by the order of
  submission.  A failed try goes behind the others of its class, so an urgent job waits for one
  exchange and never for three.
- A meter that must rest after an exchange, or owes an answer, lets the others of its class go
  first: its guard time costs the line nothing while anybody else has something to say.
- Nor does an urgent job wait for the whole timeout of a meter that is probably silent: a read gives
  way to it when its reply is later than twice the slowest of late.  Nor do the living wait so long
  for each of many meters that died together.
- A reply is believed only if the codec matches it to the request.  All else is counted by kind
  and listened past until the deadline.
- The deadline is learned from the meter's replies (gateway/acquisition/patience.py), counted from
  the end of our own transmission on the wire, and judged by bytes:
  what the shell has heard is read before the time is looked at.
- A meter that did not answer in time still owes an answer.  Until that can no longer come, it is
  not asked anything for which the late answer could be mistaken (``Manners.late_s``).
- A request that nobody answers (broadcast) is over when it is sent.  All meters of the line heard
  it, so each gets its guard time.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from random import Random

from gateway.acquisition.acts import Act, Listen, Open, Rest, Transmit
from gateway.acquisition.exchange import Debt, Exchange, Manners, Task
from gateway.acquisition.hearing import Hearing
from gateway.acquisition.patience import Patience
from gateway.acquisition.reopening import Reopening
from gateway.acquisition.shares import Shares
from gateway.events import Event, Fault, Job, Overheard, PortChanged, PortSettings, Priority, Timed
from protocols.base import RefusedError, RequestError

SETTLE_S = 0.02
"""The least silence around a change of speed or parity."""
SILENT_CHARACTERS = 3.5
"""What ends a frame for a meter, in characters.  Source: Modbus over serial line V1.02 §2.5.1.1."""
PATIENCE_S = 1.0
"""How long a line that is never quiet can keep us from speaking."""
MANY, MANY_SHARE = 3, 0.125
"""So many meters, of a line's meters at least such a share, are not silent by chance."""
FRAMES_MAX = 255
"""Of one reply that goes on in follow-ups: in DL/T 645-2007 their number SEQ is one byte."""
FRAMES_IN_A_ROW = 8
"""More than any ordinary reply has.  Then the others of its class go first: a meter whose reply
does not end would hold them up for 255 exchanges, over a minute at 2400 baud."""
REPLY_SIZE_MAX = 32_768
"""Bytes of one reply, all its frames together."""
JOBS_MAX = 1024


class LineError(Exception):
    """A job that this line cannot take: its submitter's mistake."""


class Line:
    """The jobs of one line and the exchange that runs.

    ``manners`` has one entry for each meter's asset number and may be changed by its owner;
    ``emit`` takes the line's events; ``random`` spreads the tries to open the port.
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
        self._jobs_max = jobs_max
        self._tasks: list[Task] = []
        self._order = 0
        self._number = 0
        self._exchange: Exchange | None = None
        self._debts: dict[str, Debt] = {}
        self._patience: defaultdict[str, Patience] = defaultdict(Patience)
        self._shares = Shares()
        self._hearing = Hearing()
        self._ended_at: dict[str, float] = {}
        """By meter: the last activity on the line in its last exchange."""
        self._last: tuple[str, PortSettings] | None = None
        self._mute: set[str] = set()
        """The meters that, asked last, were silent from a job's first request on."""
        self._many = False
        """Whether they were so many, before this exchange, that more may have died together."""
        self._active_at = -math.inf
        self._stray_at = -math.inf
        self._held_since: float | None = None
        self._port = Reopening(random)

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
        self._port.up = True
        self._active_at, self._last = now, None
        self._tell("")

    def port_lost(self, now: float, reason: str) -> None:
        """The port failed, or did not open.  ``reason`` is a sentence for people."""
        told = self._port.lost(now)
        if self._exchange:
            self._fail(self._exchange, now, Fault.PORT, f"line {self.name}: {reason}")
        if told:
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
            self._port.works()
            self._active_at = max(now, exchange.sent_at)
            self._hear(exchange, now, wall, heard)
        elif heard:
            self._stray_at = now
            self._hearing.idle(heard)
        if self._exchange and now >= self._until(self._exchange):
            if self._exchange.unanswered:
                self._told_all(self._exchange, now, wall)
            else:
                self._fail(self._exchange, now, *self._exchange.failure())
        return Listen(self._until(self._exchange)) if self._exchange else self._choose(now, wall)

    def _until(self, exchange: Exchange) -> float:
        """When to give up listening if nothing more comes."""
        # What changes a meter is not cut short: nobody could tell whether it was done.
        if exchange.heard or exchange.task.job.priority <= Priority.COMMAND:
            return exchange.until
        patience = self._patience[exchange.task.job.meter]
        # At its first miss, the usual time will do where many may have died.
        hasty = self._many and not patience.misses
        if not hasty and all(task.job.priority > Priority.COMMAND for task in self._tasks):
            return exchange.until
        usual_s = patience.usual_s()
        return min(exchange.until, exchange.sent_at + exchange.manners.latency_s + usual_s)

    def _choose(self, now: float, wall: float) -> Act:
        """What to do while no exchange runs."""
        self._expire(now)
        expiry = min((task.job.not_after for task in self._tasks), default=math.inf)
        if not self._port.up:
            open_at = self._port.open_at
            return Open() if now >= open_at else Rest(min(open_at, expiry))
        while self._tasks:
            task = self._next(now)
            ready_at = self._ready_at(task, now)
            if now < ready_at:
                return Rest(min(ready_at, expiry))
            act = self._begin(task, now, wall)
            if act:
                return act
        self._held_since = None
        return Rest(math.inf)

    def _next(self, now: float) -> Task:
        """The task whose turn it is, unless its meter must rest and another of its class, or of
        those it shares the time with, can begin before that is over.
        """
        ranks = self._shares.ranks({task.job.priority for task in self._tasks})
        by_rank = sorted(self._tasks, key=lambda task: (ranks[task.job.priority], task.order))
        first = by_rank[0]
        free_at = self._free_at(first)
        # A reply of several frames is not torn apart for the sake of a guard time.
        if first.follow_up or free_at <= max(now, self._quiet_at(first)):
            return first
        level = min(first.job.priority, Priority.POLL)
        for task in by_rank:
            if min(task.job.priority, Priority.POLL) == level and self._free_at(task) < free_at:
                return task
        return first

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
        ready_at = max(self._free_at(task), self._hearing.sharing.free_at(task))
        if self._held_since is None:
            self._held_since = now
        # Somebody else speaks: let him finish, but a line that babbles must not stop us for ever.
        patience_ends = max(ready_at, self._held_since) + PATIENCE_S
        manners = self._manners[task.job.meter]
        pause_s = max(manners.guard_s, self._quiet_at(task) - self._active_at)
        return max(ready_at, min(self._stray_at + pause_s, patience_ends))

    def _begin(self, task: Task, now: float, wall: float) -> Transmit | None:
        """Send this task's next request; None if the protocol has no words for it."""
        manners = self._manners[task.job.meter]
        request = task.follow_up or task.request
        self._number += 1
        try:
            if isinstance(request, Timed):
                request = request.make(wall)
            data = manners.codec.encode(request, self._number)
        except RequestError as error:
            self._conclude(task, now, Fault.REFUSED, str(error), permanent=True)
            return None
        task.tries += task.follow_up is None
        if task.waited_s is None:
            task.waited_s = now - task.submitted_at
        most_s = manners.timeout_s + manners.latency_s
        timeout_s = self._patience[task.job.meter].timeout_s(manners.least_timeout_s, most_s)
        self._overhear(now)
        self._hearing.sharing.begin()
        mute = len(self._mute - {task.job.meter})
        self._many = mute >= max(MANY, len(self._manners) * MANY_SHARE)
        self._exchange = Exchange(task, manners, request, self._number, data, now, timeout_s)
        self._held_since = None
        return Transmit(manners.settings, data)

    def _hear(self, exchange: Exchange, now: float, wall: float, heard: bytes) -> None:
        """Let the codec judge what has come; end the exchange if it is the answer."""
        task = exchange.task
        try:
            reply = exchange.decode(heard, now)
        except RefusedError as error:
            self._end(exchange, now, answered=True)
            task.reasons = error.reasons
            self._retry(task, now, Fault.REFUSED, str(error), permanent=error.permanent)
            return
        if reply is None:
            return
        self._end(exchange, now, answered=True)
        if not task.frames:
            task.taken_at, task.round_trip_s = wall, exchange.delay_s
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
        elif len(task.frames) % FRAMES_IN_A_ROW == 0:
            task.order = self._next_order()

    def _told_all(self, exchange: Exchange, now: float, wall: float) -> None:
        """Nobody answers this: it is done, and every meter of the line has to turn round."""
        self._free(exchange, now)
        self._ended_at = dict.fromkeys(self._manners, self._active_at)
        exchange.task.sent(wall)
        self._finish(exchange.task, now)

    def _free(self, exchange: Exchange, now: float) -> None:
        """The line is free again.  Note whom it spoke to last, and what that took."""
        meter, task = exchange.task.job.meter, exchange.task
        self._exchange = None
        self._last = (meter, exchange.manners.settings)
        self._ended_at[meter] = self._active_at
        task.busy_s += now - exchange.begun_at
        self._shares.spent(task.job.priority, now - exchange.begun_at)

    def _end(self, exchange: Exchange, now: float, *, answered: bool) -> None:
        """The exchange is over.  Note what the line must remember of it."""
        meter, manners = exchange.task.job.meter, exchange.manners
        if answered:
            self._patience[meter].replied(exchange.delay_s)
            self._mute.discard(meter)
        self._free(exchange, now)
        self._hearing.over(exchange, now, answered=answered)
        self._overhear(now)
        debt = self._debts.pop(meter, None)
        # Of two answers owed, one came; which one, nobody can tell: the other may still come.
        if manners.late_s and not (answered and (debt is None or now >= debt.until)):
            self._debts[meter] = Debt(exchange.request, exchange.late_until)

    def _overhear(self, now: float) -> None:
        """Report the meters that have shown a sign of life without answering in time."""
        for meter, exchange in self._hearing.alive():
            most_s = exchange.manners.timeout_s + exchange.manners.latency_s
            self._patience[meter].replied(min(now - exchange.sent_at, most_s))
            self._emit(Overheard(self.name, meter))
        for doubled in self._hearing.sharing.take(self.name):
            self._emit(doubled)

    def _fail(self, exchange: Exchange, now: float, fault: Fault, error: str) -> None:
        """End the exchange without a reply."""
        if exchange.sent_at == math.inf:
            exchange.written(now)  # the port failed while writing: part of it may be on the wire
        self._end(exchange, now, answered=False)
        if fault is not Fault.PORT:
            self._patience[exchange.task.job.meter].missed()
        if exchange.task.hopeless(fault):
            self._mute.add(exchange.task.job.meter)
        if exchange.manners.reconnect and self._port.up:
            self._port.anew(now)
        self._retry(exchange.task, now, fault, error)

    def _retry(
        self, task: Task, now: float, fault: Fault, error: str, *, permanent: bool = False
    ) -> None:
        """Queue the request in hand again, behind the others of its class, or give it up."""
        task.order, task.failure = self._next_order(), (fault, error)
        # Thirty meters that died together would hold up the living with their second and third
        # tries; a probe asks each of them again, and all probes together have their share.
        dead = self._many and task.hopeless(fault) and task.job.priority is Priority.POLL
        if permanent or dead or task.tries >= task.job.tries:
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
                why = "the line was busy" if self._port.up else "its port is not there"
                error = f"line {self.name}: job {task.job.id} for {task.job.meter} expired; {why}"
                task.give_up(Fault.EXPIRED, error)
            self._finish(task, now)

    def _finish(self, task: Task, now: float) -> None:
        """Report the job if nothing is left of it."""
        if task.over:
            self._tasks.remove(task)
            self._emit(task.report(self.name, now, self._hearing.take()))

    def _tell(self, reason: str) -> None:
        """Report the port's state where it differs from what was told last."""
        if self._port.turned():
            self._emit(PortChanged(self.name, self._port.up, reason))

    def _next_order(self) -> int:
        self._order += 1
        return self._order
