"""What the rows of the relays ask for, done at the meters: looks, commands, and what comes of them.

    tick(...)         what is due now: looks, restores, pauses that are over; and when the next is
    examine(...)      one fresh look at a meter before a trip, for whoever judges it
    send_trip(...)    after the commit that says ``sent``: the one control request of a trip

Nothing is sent that is not on flash as sent.  A trip is sent by ``send_trip`` alone: a row that
says ``trip_sent`` while nobody sends is read back, never sent (R28, R34).  A restore needs nobody's
leave, and its jobs go before all others (R33).  One job at a time is under way for a meter, so a
trip and a restore never overtake each other.

Used by the core alone.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from gateway.acquisition.found import Found, Reading
from gateway.acquisition.polling import Polling
from gateway.disconnection.relay import Effect, tick
from gateway.disconnection.relay_table import READ_IN, RESTORING, WATCHED, Do, Signal, State
from gateway.events import Job, JobDone, Priority
from gateway.recorder import Recorder
from gateway.store.faults import DiskFullError, LockedError
from gateway.store.switching import KeptRelay, Step, Switching
from gateway.switching.relay_look import (
    Look,
    Part,
    What,
    conducts,
    look,
    plan,
    seen,
    tells_load_side,
)
from gateway.switching.relay_sending import (
    SEND_WITHIN_S,
    TAKES,
    TRIP_VALID_S,
    Permit,
    Sending,
    came_of,
    close_action,
    needs_clock,
    outcome_of,
)
from gateway.switching.relays import Relays, barred, is_direct
from protocols.base import RequestError
from protocols.dlt645_relay import VALID_S_MAX
from protocols.relay import Action

TICK_S = 0.5
AGAIN_S = 5.0
"""What could not be noted is tried again after this."""
LOOK_WITHIN_S = 60.0

log = structlog.get_logger()
Judge = Callable[[Look, float, float], None]
"""Takes a look at a meter; then monotonic and Unix time."""


@dataclass(slots=True)
class _Work:
    """A job under way; of a look, one for each device."""

    meter: str
    what: What = What.STATE
    parts: list[Part] = field(default_factory=list)
    """What is asked now, and what after it."""
    readings: list[Reading] = field(default_factory=list)
    priority: Priority = Priority.RELAY
    judge: Judge | None = None
    """Who asked for the look; None: the relay's own procedure."""
    state: State | None = None
    """Where the relay stood when the procedure's own look began."""
    sending: Sending | None = None
    operation: int | None = None


class RelayWork:
    """The jobs of all relays."""

    def __init__(
        self,
        relays: Relays,
        store: Switching,
        polling: Polling,
        recorder: Recorder,
        submit: Callable[[str, Job], None],
        live: Callable[[], bool],
    ) -> None:
        self._relays = relays
        self._store = store
        self._polling = polling
        self._recorder = recorder
        self._submit = submit
        self._live = live
        self._work: dict[int, _Work] = {}
        self._busy: dict[str, _Work] = {}
        self._at: dict[str, float] = {}
        """By meter, Unix time before which nothing is due."""
        self._open: dict[str, tuple[Look, float]] = {}
        """By meter, the first look at it when it was open: no energy may be counted from there."""
        self._late: dict[str, str] = {}
        self._plans: dict[tuple[str, What], list[Part]] = {}
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        """By asset, the exchanges that it refuses for good."""
        self._hurried: set[str] = set()
        """Meters that answered a poll, or for whose supply something was posted."""
        self._stirred: set[str] = set()
        """Meters whose relay was seen elsewhere than we believe it."""
        self.recheck: Callable[[KeptRelay, float, float], None] = lambda _kept, _now, _wall: None
        """Has a trip judged anew whose reply was lost; then monotonic and Unix time."""
        self.stopped: Callable[[], str] = lambda: ""
        """Why no supply may be taken just now; any thread may ask."""
        relays.listeners.due = self._due
        relays.listeners.withdraw = self.withdraw
        relays.listeners.withdraw_all = self.withdraw_all

    def polled(self, meter: str, tripped: bool | None) -> None:
        """A poll told where a relay stands: if that is news, it is looked at properly."""
        asset, meter = meter, self._relays.breakers.get(meter, meter)
        known = self._relays.meters.get(meter)
        if tripped is None or known is None or known.switch.asset != asset:
            return
        open_ = self._relays.get(meter).relay.state in (State.OPEN, State.ALLOWED, State.HELD)
        closed = self._relays.get(meter).relay.state is State.CLOSED
        if (tripped and closed) or (not tripped and open_):
            self._stirred.add(meter)

    def hurry(self, meter: str) -> None:
        """A restore does not wait for the end of its pause: the meter answers again, or there is
        another reason for it.
        """
        self._hurried.add(meter)

    def withdraw(self, meter: str, why: str) -> None:
        """A trip that may still wait for its turn on the line must not be sent."""
        work = self._busy.get(meter)
        if work and work.sending and work.sending.action is Action.TRIP:
            work.sending.permit.withdrawn = why

    def withdraw_all(self, why: str) -> None:
        """The same for all that takes supply."""
        for work in self._busy.values():
            if work.sending and work.sending.action in TAKES:
                work.sending.permit.withdrawn = why

    # --- what the rows ask for --------------------------------------------------------------------

    def clock_set(self) -> None:
        """The clock was set: nobody waits for a time of the old one."""
        self._at.clear()

    def tick(self, now: float, wall: float) -> float:
        """Do what is due; returns the monotonic time of the next tick, if nothing else happens.

        How late restores are is told by and by, with whatever tick comes then.
        """
        stirred, self._stirred = self._stirred, set()
        for meter in stirred - self._busy.keys():
            self._look(meter, What.STATE, now)
        hurried, self._hurried = self._hurried, set()
        soonest = math.inf
        for kept in self._store.relays_not_closed():
            meter = kept.relay.meter
            if meter not in self._relays.meters:
                continue
            self._tell_late(kept, now, wall)
            if meter in hurried and kept.relay.state is State.RESTORE_WANTED and kept.relay.pauses:
                self._at.pop(meter, None)
                kept = replace(kept, relay=replace(kept.relay, next_at=wall))  # noqa: PLW2901
            if meter not in self._busy and wall >= self._at.get(meter, 0.0):
                self._drive(kept, now, wall)
            if meter not in self._busy:
                soonest = min(soonest, max(self._at.get(meter, 0.0) - wall, TICK_S))
        return now + soonest

    def act(self, now: float, action: Callable[[], object]) -> bool:
        """Change rows, and have that on flash.  False: it has to be done again later."""
        try:
            with self._recorder.commit(now, live=self._live()):
                action()
        except (DiskFullError, LockedError) as error:
            log.error("a relay must wait", reason=str(error))
            return False
        return True

    def _drive(self, kept: KeptRelay, now: float, wall: float) -> None:
        relay, meter = kept.relay, kept.relay.meter
        if relay.state in READ_IN or relay.state in WATCHED:
            self._at[meter] = wall + self._relays.times(meter).watch_s
            self._look(meter, What.STATE, now)
        elif relay.state is State.RESTORE_SENT:
            self._restore(kept, now, wall)
        elif relay.state is State.TRIP_SENT:
            self.act(now, partial(self._relays.signal, meter, Signal.START, wall))
        elif relay.state is State.TRIP_WANTED:
            self.recheck(kept, now, wall)
        elif signal := tick(relay, wall):
            turn = self._relays.turn(relay, wall) if relay.tries == 0 else wall
            if turn > wall:
                self._at[meter] = turn
            else:
                self.act(now, partial(self._relays.signal, meter, signal, wall))
        else:
            self._at[meter] = relay.next_at

    def _due(self, meter: str, effects: tuple[Effect, ...], wall: float) -> None:
        """When the next thing is due: forgotten with the process, and then it is due at once."""
        waits = [one.at for one in effects if one.do in (Do.READ, Do.WATCH_ENERGY, Do.WAIT)]
        watched = self._relays.get(meter).relay.state in WATCHED
        watch_s = self._relays.times(meter).watch_s
        self._at[meter] = min(waits, default=wall + watch_s if watched else 0.0)

    def _tell_late(self, kept: KeptRelay, now: float, wall: float) -> None:
        """Late, an alarm, a breach: each is told once in the life of a process."""
        meter, word = kept.relay.meter, self._relays.late(kept, wall)
        if word == self._late.get(meter, ""):
            return
        if not word or self.act(now, partial(self._relays.tell_late, kept, word, wall)):
            self._late[meter] = word

    # --- looks ------------------------------------------------------------------------------------

    def examine(self, meter: str, judge: Judge, now: float) -> bool:
        """Have a fresh look at a meter, all of it.  False while another job for it is under way."""
        if meter in self._busy:
            return False
        self._look(meter, What.TRIP, now, judge)
        return True

    def _look(self, meter: str, what: What, now: float, judge: Judge | None = None) -> None:
        parts = self._plan(meter, what)
        state = self._relays.get(meter).relay.state
        restoring = judge is None and state in RESTORING
        priority = Priority.RESTORE if restoring else Priority.RELAY
        self._ask(_Work(meter, what, parts, priority=priority, judge=judge, state=state), now)

    def _ask(self, work: _Work, now: float) -> None:
        part, not_after = work.parts[0], now + LOOK_WITHIN_S
        line, job = self._polling.ask(part.meter, part.exchanges, work.priority, not_after)
        self._begin(line, job, work)

    def _plan(self, meter: str, what: What) -> list[Part]:
        key = meter, what
        if key not in self._plans:
            self._plans[key] = plan(self._relays.meters[meter], what, self._refused.__getitem__)
        return list(self._plans[key])

    def _begin(self, line: str, job: Job, work: _Work) -> None:
        self._work[job.id] = self._busy[work.meter] = work
        self._submit(line, job)

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return event.job.id in self._work

    def done(self, event: JobDone, found: Sequence[Found], now: float, wall: float) -> None:
        """One of our jobs is over."""
        work = self._work.pop(event.job.id)
        del self._busy[work.meter]
        if work.sending:
            self._sent(work, work.sending, event, now, wall)
            return
        part = work.parts.pop(0)
        for exchange, outcome in zip(part.exchanges, event.outcomes, strict=True):
            if outcome.permanent:
                self._refused[part.meter].add(exchange.key)
                self._plans.clear()
        work.readings += [one for one in found if isinstance(one, Reading)]
        if work.parts and (work.readings or work.judge):
            self._ask(work, now)
            return
        seen_now = look(self._relays.meters[work.meter], work.readings)
        if seen_now.status_at is not None and self._relays.looked(work.meter, seen_now):
            self.act(now, partial(self._relays.note_behind, work.meter, seen_now, wall))
        if work.judge:
            work.judge(seen_now, now, wall)
        elif work.what is What.CLOSE:
            self._send_close(work.meter, seen_now, now, wall)
        elif self._relays.get(work.meter).relay.state is work.state:
            # What was seen before the procedure's last step says nothing of that.
            self._looked(work.meter, seen_now, now, wall)

    def _looked(self, meter: str, found: Look, now: float, wall: float) -> None:
        """A look of the procedure's own: where the relay stands, and whether it conducts."""
        state = self._relays.get(meter).relay.state
        signal = seen(found) if found.status_at is not None else Signal.NO_REPLY
        if signal is Signal.SEEN_OPEN and state in (State.TRIP_WATCHING, State.OPEN):
            since, began = self._open.setdefault(meter, (found, now))
            verdict = conducts(since, found)
            # By the monotonic clock: the other one may be set meanwhile.
            left_s = self._relays.times(meter).still_s - (now - began)
            if not verdict and (since is found or (state is State.TRIP_WATCHING and left_s > 1)):
                self._at[meter] = wall + left_s
                return
            signal = Signal.NO_REPLY
            if verdict is not None:
                signal = Signal.GREW if verdict else Signal.STILL
        if not self.act(now, partial(self._relays.signal, meter, signal, wall)):
            self._at[meter] = wall
            return
        after = self._relays.get(meter).relay.state
        if after is State.TRIP_WATCHING is not state:
            self._open[meter] = found, now
        elif after not in (State.TRIP_WATCHING, State.OPEN):
            self._open.pop(meter, None)

    # --- commands ---------------------------------------------------------------------------------

    def send_trip(self, kept: KeptRelay, found: Look, now: float, wall: float) -> None:
        """Send the trip that was just written down as sent; ``found`` is what it was judged by."""
        self._send(kept, Action.TRIP, found, now, wall)

    def send(
        self, meter: str, action: Action, found: Look, operation: int, now: float, wall: float
    ) -> None:
        """Send another command (保电), once; what comes of it is recorded with its operation."""
        kept = replace(self._relays.get(meter), operation=operation)
        self._send(kept, action, found, now, wall)

    def _restore(self, kept: KeptRelay, now: float, wall: float) -> None:
        meter = kept.relay.meter
        config = self._relays.meters[meter]
        action = close_action(config.switch, direct=is_direct(kept.relay))
        if needs_clock(config.switch, action) or tells_load_side(config):
            self._look(meter, What.CLOSE, now)
        else:
            self._send_close(meter, Look(), now, wall)

    def _send_close(self, meter: str, found: Look, now: float, wall: float) -> None:
        kept, config = self._relays.get(meter), self._relays.meters[meter]
        if kept.relay.state is not State.RESTORE_SENT:
            return
        action = close_action(config.switch, direct=is_direct(kept.relay))
        # What may be behind the contact must not be guessed where it can be read (R35).
        blind = tells_load_side(config) and found.status_at is None
        if blind or (needs_clock(config.switch, action) and found.clock is None):
            self.act(now, partial(self._relays.signal, meter, Signal.NO_REPLY, wall))
            return
        if reason := barred(config, kept.relay):
            work = _Work(meter, operation=kept.operation)
            self._came(work, "not_sent", {"error": reason}, now, wall)
            return
        self._send(kept, action, found, now, wall)

    def _send(self, kept: KeptRelay, action: Action, found: Look, now: float, wall: float) -> None:
        meter, device = kept.relay.meter, self._relays.meters[kept.relay.meter].switch
        takes = action in TAKES
        sending = Sending(
            device,
            action,
            Permit(wall, stopped=self.stopped) if takes else Permit(wall),
            found.meter_time,
            TRIP_VALID_S if takes else VALID_S_MAX,
        )
        work = _Work(meter, sending=sending, operation=kept.operation)
        try:
            requests = sending.timed(wall)
        except RequestError as error:
            log.error("no command for a relay", meter=meter, reason=str(error))
            self._came(work, "refused", {"error": str(error)}, now, wall)
            return
        priority = Priority.RESTORE if kept.relay.state in RESTORING else Priority.RELAY
        line, job = self._polling.tell(device.asset, requests, priority, now + SEND_WITHIN_S)
        self._begin(line, job, work)

    def _sent(self, work: _Work, sending: Sending, event: JobDone, now: float, wall: float) -> None:
        what = came_of(event)
        self._came(work, what, outcome_of(sending, event), now, wall)

    def _came(
        self, work: _Work, what: str, data: dict[str, object], now: float, wall: float
    ) -> None:
        """What came of a command.  A reply says no more than that it was accepted."""
        signals = {"sent": Signal.ACCEPTED, "refused": Signal.REFUSED}
        if not self.act(now, partial(self._note, work, what, data, wall, signals.get(what))):
            self._at[work.meter] = wall + AGAIN_S

    def _note(
        self, work: _Work, what: str, data: dict[str, object], wall: float, signal: Signal | None
    ) -> None:
        if work.operation is not None:
            self._store.add_step(work.operation, Step(wall, what, data))
        kept = self._relays.get(work.meter)
        # Of a command that something else has overtaken nothing follows but the record.
        sent = kept.relay.state in (State.TRIP_SENT, State.RESTORE_SENT)
        if sent and kept.operation == work.operation:
            self._relays.signal(work.meter, signal or Signal.NO_REPLY, wall)
