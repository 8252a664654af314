"""The core: one thread that decides everything, one event at a time.

It alone owns the database and all state.  An event comes in, the rooms below act on it in order,
what they made of it goes to flash in one transaction, and what must then happen outside (a message
to send, a job for a line) is derived from what is there.  ``tick`` does what the time has brought.

No thread, port, socket or clock of its own: they come in as arguments, so the same core runs in the
daemon and on simulated time.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import structlog

from gateway.clock import Clock, ClockState
from gateway.config import Config
from gateway.events import (
    Arrived,
    Crashed,
    Delivered,
    Doubled,
    Event,
    Heartbeat,
    Job,
    JobDone,
    LinkDown,
    LinkUp,
    Overheard,
    PortChanged,
)
from gateway.key_watch import KeyWatch
from gateway.letters import LOOK_S, Letters, Local
from gateway.livestate import State
from gateway.metering.intake import Intake
from gateway.north.commands import Judge
from gateway.north.signatures import Signer
from gateway.orders import Orders
from gateway.recorder import Recorder
from gateway.store.commands import Commands
from gateway.store.database import Database
from gateway.store.faults import DiskFullError, LockedError
from gateway.store.outbox import Outbox
from gateway.timekeeping import Timekeeper
from gateway.uplink import SOFTWARE, LinkDoor, Uplink, lane_states

if TYPE_CHECKING:
    from gateway.money.prepaid import Prepaid
    from gateway.switching.room import SwitchingRoom

SHOW_S = 5.0
"""How often the live state is written (to tmpfs)."""
HOUSEKEEPING_S = 60.0
POLL, COLLECT, GRID, LETTERS, MONEY = "poll", "collect", "grid", "letters", "money"
STOP, SWITCH = "stop", "switch"
FLUSH, HOUSEKEEPING, SEND, SHOW = "flush", "housekeeping", "send", "show"
HEARTBEAT_MAX_AGE_S = 20.0
FLOOR_S = 600.0
FLOOR = "time floor"
"""The stored Unix time that has probably passed."""
DAY_S = 86_400.0
COMMANDS_S = 400 * DAY_S
"""Commands that move no money are forgotten so long after they came."""

log = structlog.get_logger()


class Core:
    """The gateway's decisions.  Only its owner's thread may call it."""

    def __init__(
        self,
        config: Config,
        database: Database,
        lines: Mapping[str, Callable[[Job], None]],
        connect: Callable[[bytes], LinkDoor],
        clock: Clock,
        random: Random,
        show: Callable[[State], None],
        local: Local | None = None,
    ) -> None:
        """Take the parts.

        ``lines`` takes jobs, by the line's name; ``connect`` makes the connection, given the will;
        ``show`` publishes the live state; ``local`` is what this machine has beyond that.
        """
        self._config = config
        self._database = database
        self._lines = lines
        self._clock = clock
        self._show = show
        now, wall = clock.monotonic(), clock.now()
        self._time = Timekeeper(clock, float(database.meta(FLOOR) or 0.0))

        self._outbox = Outbox(database, clock.now)
        name = config.gateway.name
        state = self._judged
        self._recorder = Recorder(database, self._outbox, name, config.store, clock.now, state)
        self._commands = Commands(database)
        self._intake = Intake(
            config, database, self._recorder, self._time, self._submit, random, now, wall
        )
        self._begin_to_talk(connect, random, local or Local())
        self._postponed: list[Arrived] = []  # could not be acted on yet
        self._prepaid = self._begin_to_charge(local.signer if local else None)
        self._switching = self._begin_to_switch(random)
        self._key_watch = self._watch_keys()
        self._heartbeats = dict.fromkeys(lines, now)
        self._turns: dict[str, Callable[[float, float], float]] = {
            STOP: self._look_at_stop,
            SWITCH: self._switch,
            POLL: self._poll,
            COLLECT: self._intake.collector.tick,
            GRID: self._intake.grid.tick,
            LETTERS: self._read_letters,
            MONEY: self._prepaid.tick if self._prepaid else lambda _now, _wall: math.inf,
            FLUSH: lambda now, _wall: self._flush(now),
            HOUSEKEEPING: self._keep_house,
            SEND: lambda now, _wall: self._uplink.send(now),
            SHOW: self._show_all,
        }
        """What is done in turn, in this order; each gives the monotonic time of its next."""
        self._due = dict.fromkeys(self._turns, now)
        self._due |= {FLUSH: now + config.store.group_commit_s, HOUSEKEEPING: now + HOUSEKEEPING_S}
        self._floor_at = self._forget_at = now
        self._orders.begin(wall)
        self._recorder.began(database.started)
        self._recorder.event("started", detail=SOFTWARE)

    def _begin_to_talk(
        self, connect: Callable[[bytes], LinkDoor], random: Random, local: Local
    ) -> None:
        recorder, outbox, commands = self._recorder, self._outbox, self._commands
        clock, state = self._clock, self._judged
        self._uplink = Uplink(
            self._config, outbox, commands, recorder, connect, clock, state, random
        )
        self._uplink.signing_key = local.signer.public() if local.signer else None
        self._orders = Orders(
            Judge(self._config.gateway.name, self._config.keys),
            commands,
            outbox,
            self._intake.polling,
            recorder,
            self._uplink.delivery,
            self._submit,
        )
        box = local.letterbox
        self._letters = Letters(box, self._orders, recorder, clock.monotonic()) if box else None

    def _begin_to_charge(self, signer: Signer | None) -> "Prepaid | None":
        """Open the rooms of money, where balances are kept here."""
        if self._config.prepayment is None:
            return None
        from gateway.money.prepaid import Prepaid  # noqa: PLC0415 - some MB that others do not need

        database, recorder, wall = self._database, self._recorder, self._clock.now
        money = Prepaid(
            self._config, self._config.prepayment, database, recorder, wall, self._judged, signer
        )
        self._orders.cashier = money
        self._intake.charge(money)
        money.inspect(self._intake.polling, self._submit)
        return money

    def _begin_to_switch(self, random: Random) -> "SwitchingRoom | None":
        """Open the rooms of switching, where relays are switched from here."""
        if self._config.switching is None or self._prepaid is None:
            return None
        from gateway.switching.room import SwitchingRoom, World  # noqa: PLC0415 - likewise

        room = SwitchingRoom(
            self._config.switching,
            World(
                config=self._config,
                database=self._database,
                recorder=self._recorder,
                prepaid=self._prepaid,
                polling=self._intake.polling,
                submit=self._submit,
                state=self._judged,
                wall=self._clock.now,
                reach=lambda: self._uplink.reach,
                waiting=lambda: len(self._postponed),
                draw=random.random,
                answer=self._orders.answer,
            ),
        )
        self._orders.switcher = self._intake.switching = room
        return room

    def _watch_keys(self) -> KeyWatch | None:
        users = [self._orders.use, *([self._switching.use] if self._switching else [])]
        path, keys = self._config.key_file, self._config.keys
        return KeyWatch(path, keys, self._recorder, users) if path else None

    # --- what happens ---------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Act on one event.  Raises what a thread died of, and StoreError if the store fails us."""
        now, wall = self._clock.monotonic(), self._clock.now()
        self._judge_clock(now, wall)
        match event:
            case JobDone():
                self._job_done(event, now, wall)
            case Overheard() | Doubled():
                self._intake.heard(event, now)
                self._due[POLL] = now
            case PortChanged():
                self._intake.port_changed(event)
            case Heartbeat():
                self._heartbeats[event.line] = event.at
            case LinkUp() | LinkDown() | Delivered():
                self._uplink.handle(event, now)
                self._due[SEND] = now
                if self._recorder.full:
                    self._due[FLUSH] = now
            case Arrived():
                self._arrived(event, now, wall)
            case Crashed():
                log.critical("a thread ended", thread=event.thread, error=repr(event.error))
                raise event.error

    def tick(self) -> float:
        """Do what the time has brought; returns the monotonic time of the next tick."""
        now, wall = self._clock.monotonic(), self._clock.now()
        self._judge_clock(now, wall)
        for name, turn in self._turns.items():
            if now >= self._due[name]:
                self._due[name] = turn(now, wall)
        return min(self._due.values())

    def _poll(self, now: float, wall: float) -> float:
        for line, job in self._intake.polling.due(now, wall):
            self._submit(line, job)
        return self._intake.polling.next_due(now, wall)

    def _look_at_stop(self, now: float, _wall: float) -> float:
        if self._switching is None:
            return math.inf
        if self._switching.look_at_stop():
            self._due[FLUSH] = now
        return now + LOOK_S

    def _switch(self, now: float, wall: float) -> float:
        if self._switching is None:
            return math.inf
        self._due[SEND] = now  # what it tells is urgent
        return self._switching.tick(now, wall)

    def _read_letters(self, now: float, wall: float) -> float:
        if self._letters is None:
            return math.inf
        trusted = self._time.state is ClockState.TRUSTED
        if self._letters.tick(now, wall, trusted=trusted, live=self._uplink.live):
            self._due[SEND] = self._due[STOP] = self._due[SWITCH] = now
        return now + LOOK_S

    def _keep_house(self, now: float, wall: float) -> float:
        self._recorder.shed()
        if self._key_watch:
            self._key_watch.look()
        # Once a day; by a wrong clock a command of today would look old.
        if now >= self._forget_at and self._time.state is ClockState.TRUSTED:
            self._forget_at = now + DAY_S
            self._recorder.later(partial(self._commands.forget, wall - COMMANDS_S))
        return now + HOUSEKEEPING_S

    def _show_all(self, now: float, wall: float) -> float:
        self._show(self._state(now, wall))
        return now + SHOW_S

    def alive(self, now: float) -> bool:
        """Whether every line's thread has been heard of lately."""
        return all(now - at < HEARTBEAT_MAX_AGE_S for at in self._heartbeats.values())

    def stop(self) -> None:
        """Take nothing new; put on flash and send what there is."""
        now = self._clock.monotonic()
        self._database.hurry()
        self._recorder.event("stopping")
        self._flush(now)

    def draining(self) -> bool:
        """Send what there is room for; True while the broker owes us an answer."""
        self._uplink.send(self._clock.monotonic())
        return self._uplink.delivery.in_flight > 0

    def close(self) -> None:
        """Say goodbye and note what was delivered."""
        self._uplink.close()
        if not self._recorder.flush(self._clock.monotonic(), live=False):
            lost, reason = self._recorder.unwritten, self._recorder.obstacle
            log.error("stopped with readings unwritten", readings=lost, reason=reason)
        self._show(self._state(self._clock.monotonic(), self._clock.now()))

    # --- meters ---------------------------------------------------------------------------------

    def _submit(self, line: str, job: Job) -> None:
        self._lines[line](job)

    def _job_done(self, event: JobDone, now: float, wall: float) -> None:
        found = self._intake.done(event, now, wall)
        self._due[POLL] = self._due[SWITCH] = now
        if self._intake.stirred:
            self._intake.stirred = False
            self._due |= dict.fromkeys((COLLECT, GRID, MONEY), now)
        if self._orders.done(event, found, wall):
            self._due[FLUSH] = now

    # --- the head-end ---------------------------------------------------------------------------

    def _arrived(self, event: Arrived, now: float, wall: float) -> None:
        trusted = self._time.state is ClockState.TRUSTED
        try:
            self._orders.arrived(event, now, wall, trusted=trusted, live=self._uplink.live)
        except (DiskFullError, LockedError) as error:
            # Not acknowledged, no effect, no answer.  The broker repeats it after a reconnect only.
            log.error("a message must wait", reason=str(error))
            same = [other for other in self._postponed if other.connection == event.connection]
            self._postponed = [*same, event]
            self._due[FLUSH] = now
            return
        self._uplink.acknowledge(event)
        self._due[SEND] = self._due[STOP] = self._due[SWITCH] = now

    # --- the store and ourselves ----------------------------------------------------------------

    def _flush(self, now: float) -> float:
        if now >= self._floor_at and self._time.state is not ClockState.UNKNOWN:
            self._floor_at, self._time.floor = now + FLOOR_S, self._clock.now()
            self._recorder.later(partial(self._database.set_meta, FLOOR, str(self._time.floor)))
        waits = self._recorder.waits(now) or self._postponed
        if waits and self._recorder.flush(now, live=self._uplink.live):
            self._due[SEND] = now
            postponed, self._postponed = self._postponed, []
            for event in postponed:
                self._arrived(event, now, self._clock.now())
        return now + self._config.store.group_commit_s

    def _judged(self) -> ClockState:
        return self._time.state

    def _judge_clock(self, now: float, wall: float) -> None:
        turn = self._time.look(now, wall)
        if turn.stepped_s:
            log.warning("clock was set", by_s=round(turn.stepped_s, 3))
            self._recorder.restamp(turn.stepped_s)
            if turn.was is ClockState.UNKNOWN:
                self._uplink.started += turn.stepped_s
            detail = f"set by {turn.stepped_s:+.3f} s"
            self._recorder.event("clock_changed", detail=detail, offset_s=turn.stepped_s)
            # The polls' grid has moved, and perhaps the day.
            self._due |= dict.fromkeys((POLL, COLLECT, GRID, MONEY), now)
        if turn.now is not turn.was:
            log.warning("clock changed", was=turn.was.value, now=turn.now.value)
            self._recorder.event("clock_changed", detail=f"from {turn.was} to {turn.now}")

    def _state(self, now: float, wall: float) -> State:
        intake, polling = self._intake, self._intake.polling
        return State(
            gateway=self._config.gateway.name,
            software=SOFTWARE,
            at=wall,
            started=self._uplink.started,
            clock=self._time.state.value,
            epoch=self._database.epoch,
            readings_taken=self._recorder.taken,
            messages_stored=self._recorder.stored,
            messages_delivered=self._uplink.delivered + self._orders.settled,
            readings_dropped=self._recorder.dropped,
            meters=intake.overview.meters(polling.health, polling.refused),
            lines=intake.overview.lines(now),
            collection=intake.collector.look(),
            link=self._uplink.state,
            lanes=lane_states(self._outbox.marks()),
        )
