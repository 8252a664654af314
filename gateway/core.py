"""The core: one thread that decides everything, one event at a time.

It alone owns the database and all state.  An event comes in, the rooms below act on it in order,
what they made of it goes to flash in one transaction, and what must then happen outside (a message
to send, a job for a line) is derived from what is there.  ``tick`` does what the time has brought.

No thread, port, socket or clock of its own: they come in as arguments, so the same core runs in the
daemon and on simulated time.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import structlog

from gateway.acquisition.confirm import Confirmation, limits_of_all
from gateway.acquisition.polling import Learned, LineTurned, Polling, Reading, Turned, Woke
from gateway.clock import Clock, ClockState, judge
from gateway.collector import Collector
from gateway.config import Config
from gateway.doubts import Doubts
from gateway.events import (
    Arrived,
    Crashed,
    Delivered,
    Event,
    Heartbeat,
    Job,
    JobDone,
    LinkDown,
    LinkUp,
    Overheard,
    PortChanged,
)
from gateway.livestate import LaneState, State
from gateway.north import contract
from gateway.orders import Orders
from gateway.overview import Overview
from gateway.recorder import Recorder
from gateway.store.commands import Commands
from gateway.store.database import Database
from gateway.store.faults import DiskFullError, LockedError
from gateway.store.learned import Learned as Refusals
from gateway.store.learned import Refused
from gateway.store.outbox import Outbox
from gateway.store.readings import Readings
from gateway.store.startup import How
from gateway.uplink import SOFTWARE, LinkDoor, Uplink
from protocols.base import Quality

SHOW_S = 5.0
"""How often the live state is written (to tmpfs)."""
HOUSEKEEPING_S = 60.0
CLOCK_S = 10.0
HEARTBEAT_MAX_AGE_S = 20.0
FLOOR_S = 600.0
FLOOR = "time floor"
"""The stored Unix time that has probably passed."""
DAY_S = 86_400.0
REFUSED_S = 30 * DAY_S
"""A meter is asked again what it refused so long ago: it may have been replaced."""
COMMANDS_S = 400 * DAY_S
"""Commands that move no money are forgotten so long after they came."""
STEPPED_S = 2.0
"""A wall clock that moves this much against the monotonic one within a tick was set, not steered.
"""

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
    ) -> None:
        """Take the parts.

        ``lines`` takes jobs, by the line's name; ``connect`` makes the connection, given the will;
        ``show`` publishes the live state.
        """
        self._config = config
        self._database = database
        self._lines = lines
        self._clock = clock
        self._show = show
        now, wall = clock.monotonic(), clock.now()
        self._floor = float(database.meta(FLOOR) or 0.0)
        self._clock_state = judge(clock, self._floor)
        self._offset = wall - now

        self._refusals = Refusals(database)
        recent = [one for one in self._refusals.refused() if wall - one.at < REFUSED_S]
        known = [(refused.meter, refused.key) for refused in recent]
        self._polling = Polling(config.meters, known, random.random)
        self._overview = Overview(config, now)
        self._outbox = Outbox(database, clock.now)
        name = config.gateway.name
        state = self._judged
        self._recorder = Recorder(database, self._outbox, name, config.store, clock.now, state)
        self._commands = Commands(database)
        self._uplink = Uplink(
            config, self._outbox, self._commands, self._recorder, connect, clock, state, random
        )
        self._orders = Orders(
            name,
            self._commands,
            self._outbox,
            self._polling,
            self._recorder,
            self._uplink.delivery,
            self._submit,
        )
        self._begin_to_collect(random)
        self._postponed: list[Arrived] = []  # could not be acted on yet
        self._heartbeats = dict.fromkeys(lines, now)
        self._collect_at = self._poll_at = self._show_at = self._send_at = now
        self._flush_at = now + config.store.group_commit_s
        self._housekeeping_at = now + HOUSEKEEPING_S
        self._floor_at = self._forget_at = now
        self._clock_at = now + CLOCK_S
        self._orders.begin(wall)
        self._tell_how_it_began()

    def _begin_to_collect(self, random: Random) -> None:
        confirmation = Confirmation(limits_of_all(self._config.meters))
        parts = (self._polling, self._recorder, self._submit)
        self._doubts = Doubts(confirmation, *parts)
        self._collector = Collector(
            self._config,
            Readings(self._database),
            *parts,
            self._judged,
            confirmation,
            random.random,
        )

    # --- what happens ---------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Act on one event.  Raises what a thread died of, and StoreError if the store fails us."""
        now, wall = self._clock.monotonic(), self._clock.now()
        match event:
            case JobDone():
                self._job_done(event, now, wall)
            case Overheard():
                self._polling.overheard(event.meter, now)
                self._poll_at = now
            case PortChanged():
                self._port_changed(event)
            case Heartbeat():
                self._heartbeats[event.line] = event.at
            case LinkUp() | LinkDown() | Delivered():
                self._uplink.handle(event, now)
                self._send_at = now
                if self._recorder.full:
                    self._flush_at = now
            case Arrived():
                self._arrived(event, now, wall)
            case Crashed():
                log.critical("a thread ended", thread=event.thread, error=repr(event.error))
                raise event.error

    def tick(self) -> float:
        """Do what the time has brought; returns the monotonic time of the next tick."""
        now, wall = self._clock.monotonic(), self._clock.now()
        self._judge_clock(now, wall)
        if now >= self._poll_at:
            for line, job in self._polling.due(now, wall):
                self._submit(line, job)
            self._poll_at = self._polling.next_due(now, wall)
        if now >= self._collect_at:
            self._collect_at = self._collector.tick(now, wall)
        if now >= self._flush_at:
            self._flush(now)
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_S
            self._recorder.shed()
            self._forget_commands(now, wall)
        if now >= self._send_at:
            self._send_at = self._uplink.send(now)
        if now >= self._show_at:
            self._show_at = now + SHOW_S
            self._show(self._state(now, wall))
        return min(self._poll_at, self._collect_at, self._flush_at, self._send_at, self._show_at)

    def alive(self, now: float) -> bool:
        """Whether every line's thread has been heard of lately."""
        return all(now - at < HEARTBEAT_MAX_AGE_S for at in self._heartbeats.values())

    def stop(self) -> None:
        """Take nothing new; put on flash and send what there is."""
        now = self._clock.monotonic()
        self._recorder.event("stopping")
        self._flush(now)

    def draining(self) -> bool:
        """Send what there is room for; True while the broker owes us an answer."""
        self._uplink.send(self._clock.monotonic())
        return self._uplink.delivery.in_flight > 0

    def close(self) -> None:
        """Say goodbye and note what was delivered."""
        self._uplink.close()
        self._recorder.flush(self._clock.monotonic(), live=False)
        self._show(self._state(self._clock.monotonic(), self._clock.now()))

    # --- meters ---------------------------------------------------------------------------------

    def _submit(self, line: str, job: Job) -> None:
        self._lines[line](job)

    def _job_done(self, event: JobDone, now: float, wall: float) -> None:
        found = self._polling.done(event, now)
        self._overview.job(event, now)
        if self._collector.asked(event):
            self._collector.done(event, found, now, wall)
            self._collect_at = now
            found = [one for one in found if not isinstance(one, Reading)]
        found, suspect = self._doubts.settle(found, now, wall)
        for one in found:
            match one:
                case Reading():
                    self._reading(one, suspect.get(id(one)))
                case Learned(meter, key, reason):
                    log.info("meter refuses an item", meter=meter, item=key, reason=reason)
                    refused = Refused(meter, key, reason, wall)
                    self._recorder.later(partial(self._refusals.add, refused))
                case Turned(meter, line, silent, reason):
                    code: contract.EventCode = "comm_lost" if silent else "comm_restored"
                    self._recorder.event(code, meter=meter, line=line, detail=reason)
                case Woke(meter):
                    self._collector.woke(meter, now)
                    self._collect_at = now
                case LineTurned(line, fault, reason):
                    code = "line_fault" if fault else "line_restored"
                    self._recorder.event(code, line=line, detail=reason)
        self._poll_at = now
        if self._orders.done(event, found, wall):
            self._flush_at = now

    def _reading(self, reading: Reading, suspect: tuple[str, ...] | None) -> None:
        self._overview.values(reading.meter, reading.values)
        by_quality: dict[Quality, list[str]] = {quality: [] for quality in Quality}
        for name, value in reading.values.items():
            by_quality[value.quality].append(name)
        values = {name: reading.values[name].text() or "" for name in by_quality[Quality.GOOD]}
        self._recorder.reading(
            contract.Reading(
                meter=reading.meter,
                address=reading.address,
                line=reading.line,
                taken=contract.instant(reading.taken_at),
                clock=self._clock_state.value,
                values=values,
                absent=tuple(by_quality[Quality.ABSENT]),
                invalid=tuple(by_quality[Quality.INVALID]),
                suspect=suspect,
            )
        )

    def _port_changed(self, event: PortChanged) -> None:
        self._overview.port(event)
        if event.up:
            log.info("line is up", line=event.line)
            self._recorder.event("line_up", line=event.line)
        else:
            log.error("line is down", line=event.line, reason=event.reason)
            self._recorder.event("line_down", line=event.line, detail=event.reason)

    # --- the head-end ---------------------------------------------------------------------------

    def _arrived(self, event: Arrived, now: float, wall: float) -> None:
        trusted = self._clock_state is ClockState.TRUSTED
        try:
            self._orders.arrived(event, now, wall, trusted=trusted, live=self._uplink.live)
        except (DiskFullError, LockedError) as error:
            # Not acknowledged, no effect, no answer.  The broker repeats it after a reconnect only.
            log.error("a message must wait", reason=str(error))
            same = [other for other in self._postponed if other.connection == event.connection]
            self._postponed = [*same, event]
            self._flush_at = now
            return
        self._uplink.acknowledge(event)
        self._send_at = now

    # --- the store and ourselves ----------------------------------------------------------------

    def _flush(self, now: float) -> None:
        if now >= self._floor_at and self._clock_state is not ClockState.UNKNOWN:
            self._floor_at, self._floor = now + FLOOR_S, self._clock.now()
            self._recorder.later(partial(self._database.set_meta, FLOOR, str(self._floor)))
        waits = self._recorder.waits(now) or self._postponed
        if waits and self._recorder.flush(now, live=self._uplink.live):
            self._send_at = now
            postponed, self._postponed = self._postponed, []
            for event in postponed:
                self._arrived(event, now, self._clock.now())
        self._flush_at = now + self._config.store.group_commit_s

    def _forget_commands(self, now: float, wall: float) -> None:
        """Once a day; by a wrong clock a command of today would look old."""
        if now >= self._forget_at and self._clock_state is ClockState.TRUSTED:
            self._forget_at = now + DAY_S
            self._recorder.later(partial(self._commands.forget, wall - COMMANDS_S))

    def _judged(self) -> ClockState:
        return self._clock_state

    def _judge_clock(self, now: float, wall: float) -> None:
        stepped_s, self._offset = wall - now - self._offset, wall - now
        if abs(stepped_s) >= STEPPED_S:
            log.warning("clock was set", by_s=round(stepped_s, 3))
            detail = f"set by {stepped_s:+.3f} s"
            self._recorder.event("clock_changed", detail=detail, offset_s=stepped_s)
            # The polls' grid has moved, and perhaps the day.
            self._poll_at = self._collect_at = self._clock_at = now
        if now < self._clock_at:
            return
        self._clock_at = now + CLOCK_S
        state = judge(self._clock, self._floor)
        if state is not self._clock_state:
            was, self._clock_state = self._clock_state, state
            log.warning("clock changed", was=was.value, now=state.value)
            self._recorder.event("clock_changed", detail=f"from {was} to {state}")

    def _tell_how_it_began(self) -> None:
        began = self._database.started
        if began.how not in (How.CONTINUED, How.FRESH):
            log.error("the database began anew", how=began.how.value, reason=began.detail)
        if began.how is not How.CONTINUED:
            self._recorder.new_epoch(None, f"{began.how.value}: {began.detail}".rstrip(": "))
        self._recorder.event("started", detail=SOFTWARE)

    def _state(self, now: float, wall: float) -> State:
        lanes = {
            lane.value: LaneState(
                last=marks.last, pending=marks.pending, pending_bytes=marks.pending_bytes
            )
            for lane, marks in self._outbox.marks().items()
        }
        return State(
            gateway=self._config.gateway.name,
            software=SOFTWARE,
            at=wall,
            started=self._uplink.started,
            clock=self._clock_state.value,
            epoch=self._database.epoch,
            readings_taken=self._recorder.taken,
            messages_stored=self._recorder.stored,
            messages_delivered=self._uplink.delivered + self._orders.settled,
            readings_dropped=self._recorder.dropped,
            meters=self._overview.meters(self._polling.health, self._polling.refused),
            lines=self._overview.lines(now),
            collection=self._collector.look(),
            link=self._uplink.state,
            lanes=lanes,
        )
