"""The core: one thread that decides everything, one event at a time.

It alone owns the database and all state.  An event comes in, the rooms below act on it in order,
what they made of it goes to flash in one transaction, and what must then happen outside (a message
to send, a job for a line) is derived from what is there.  ``tick`` does what the time has brought.

No thread, port, socket or clock of its own: they come in as arguments, so the same core runs in the
daemon and on simulated time.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from random import Random
from typing import Literal, Protocol

import structlog

from gateway import VERSION
from gateway.acquisition.polling import Learned, Polling, Reading, Turned
from gateway.clock import Clock, ClockState, judge
from gateway.config import Config
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
    PortChanged,
)
from gateway.livestate import LaneState, LinkState, State
from gateway.north import contract
from gateway.north.delivery import Confirm, Delivery, DeliverySettings
from gateway.orders import Orders
from gateway.overview import Overview
from gateway.recorder import Recorder
from gateway.store.commands import Commands
from gateway.store.database import Database
from gateway.store.faults import DiskFullError, LockedError
from gateway.store.learned import Learned as Refusals
from gateway.store.learned import Refused
from gateway.store.outbox import Lane, Message, Outbox
from gateway.store.startup import How
from protocols.base import Quality
from protocols.points import point

SHOW_S = 5.0
"""How often the live state is written (to tmpfs)."""
HOUSEKEEPING_S = 60.0
CLOCK_S = 10.0
HEARTBEAT_MAX_AGE_S = 20.0
FLOOR_S = 600.0
FLOOR = "time floor"
"""The stored Unix time that has certainly passed."""
SOFTWARE = f"taiqu {VERSION}"

log = structlog.get_logger()


class LinkDoor(Protocol):
    """What the core needs of the connection; ``gateway.north.mqtt.Link`` is the real one."""

    def open(self, connection: int, broker: str) -> None:
        """Begin to connect; ends in LinkUp or LinkDown."""

    def close(self) -> None:
        """Say goodbye."""

    def publish(self, topic_: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Send; returns the message id, or None if there is no connection to send on."""

    def acknowledge(self, arrived: Arrived) -> None:
        """Tell the broker that the message's effect is on flash."""


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
        self._started = wall
        self._floor = float(database.meta(FLOOR) or 0.0)
        self._clock_state = judge(clock, self._floor)

        self._refusals = Refusals(database)
        known = [(refused.meter, refused.key) for refused in self._refusals.refused()]
        self._polling = Polling(config.meters, known, random.random)
        self._overview = Overview(config, now)
        self._outbox = Outbox(database, clock.now)
        name = config.gateway.name
        self._recorder = Recorder(
            database, self._outbox, name, config.store, clock.now, lambda: self._clock_state
        )
        settings = DeliverySettings(
            brokers=config.mqtt.brokers, confirm=Confirm(config.mqtt.confirm)
        )
        self._delivery: Delivery[Message] = Delivery(settings, random)
        self._orders = Orders(
            name,
            Commands(database),
            self._outbox,
            self._polling,
            self._recorder,
            self._delivery,
            self._submit,
        )
        self._link = connect(contract.encode(self._status("offline", "connection lost")))
        self._link_state = LinkState(up=False, broker="", since=wall, reason="not tried yet")
        self._messages_delivered = 0

        self._heartbeats = dict.fromkeys(lines, now)
        self._poll_at = self._show_at = self._send_at = now
        self._flush_at = now + config.store.group_commit_s
        self._housekeeping_at = now + HOUSEKEEPING_S
        self._floor_at = now
        self._clock_at = now + CLOCK_S
        self._orders.begin(wall)
        self._tell_how_it_began()

    # --- what happens ---------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Act on one event.  Raises what a thread died of, and StoreError if the store fails us."""
        now, wall = self._clock.monotonic(), self._clock.now()
        match event:
            case JobDone():
                self._job_done(event, now, wall)
            case PortChanged():
                self._port_changed(event)
            case Heartbeat():
                self._heartbeats[event.line] = event.at
            case LinkUp():
                self._link_up(event, now, wall)
            case LinkDown():
                self._link_down(event, now, wall)
            case Delivered():
                self._delivered(event, now)
            case Arrived():
                self._arrived(event, now, wall)
            case Crashed():
                log.critical("a thread ended", thread=event.thread, error=repr(event.error))
                raise event.error

    def tick(self) -> float:
        """Do what the time has brought; returns the monotonic time of the next tick."""
        now, wall = self._clock.monotonic(), self._clock.now()
        self._judge_clock(now)
        if now >= self._poll_at:
            for line, job in self._polling.due(now, wall):
                self._submit(line, job)
            self._poll_at = self._polling.next_due(now, wall)
        if now >= self._flush_at:
            self._flush(now)
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_S
            self._recorder.shed()
        if now >= self._send_at:
            self._send(now, wall)
        if now >= self._show_at:
            self._show_at = now + SHOW_S
            self._show(self._state(now, wall))
        return min(self._poll_at, self._flush_at, self._send_at, self._show_at)

    def alive(self, now: float) -> bool:
        """Whether every line's thread has been heard of lately."""
        return all(now - at < HEARTBEAT_MAX_AGE_S for at in self._heartbeats.values())

    def stop(self) -> None:
        """Take nothing new; put on flash and send what there is."""
        now = self._clock.monotonic()
        self._recorder.event("stopping")
        self._flush(now)
        self._send(now, self._clock.now())

    def owes(self) -> bool:
        """Whether the broker still owes us an answer."""
        return self._delivery.in_flight > 0

    def close(self) -> None:
        """Say goodbye and note what was delivered."""
        self._publish_state("status", self._status("offline", "stopped"))
        self._link.close()
        self._recorder.flush(self._clock.monotonic(), live=False)
        self._show(self._state(self._clock.monotonic(), self._clock.now()))

    # --- meters ---------------------------------------------------------------------------------

    def _submit(self, line: str, job: Job) -> None:
        self._lines[line](job)

    def _job_done(self, event: JobDone, now: float, wall: float) -> None:
        found = self._polling.done(event, now)
        self._overview.job(event, now)
        for one in found:
            match one:
                case Reading():
                    self._reading(one)
                case Learned(meter, key, reason):
                    log.info("meter refuses an item", meter=meter, item=key, reason=reason)
                    refused = Refused(meter, key, reason, wall)
                    self._recorder.later(partial(self._refusals.add, refused))
                case Turned(meter, line, silent, reason):
                    code: contract.EventCode = "comm_lost" if silent else "comm_restored"
                    self._recorder.event(code, meter=meter, line=line, detail=reason)
        self._poll_at = now
        if self._orders.done(event, found, wall):
            self._flush_at = now

    def _reading(self, reading: Reading) -> None:
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

    @property
    def _live(self) -> bool:
        return self._link_state["up"]

    def _link_up(self, event: LinkUp, now: float, wall: float) -> None:
        if not self._delivery.link_up(event, now):
            return
        log.info("connected to the head-end", broker=event.broker, mqtt5=event.mqtt5)
        self._link_state = LinkState(up=True, broker=event.broker, since=wall, reason="")
        self._publish_state("status", self._status("online"))
        self._publish_state("inventory", self._inventory())
        self._publish_state("hello", self._hello(wall))

    def _link_down(self, event: LinkDown, now: float, wall: float) -> None:
        was = self._link_state
        if not self._delivery.link_down(event, now):
            return
        if was["up"] or was["reason"] != event.reason:
            log.warning("no connection to the head-end", reason=event.reason)
            since = wall if was["up"] else was["since"]
            self._link_state = LinkState(up=False, broker="", since=since, reason=event.reason)
        if event.taken_over:
            self._recorder.event("taken_over", detail=event.reason)

    def _arrived(self, event: Arrived, now: float, wall: float) -> None:
        trusted = self._clock_state is ClockState.TRUSTED
        try:
            self._orders.arrived(event, now, wall, trusted=trusted, live=self._live)
        except (DiskFullError, LockedError) as error:
            # Not acknowledged, no effect, no answer: the head-end will send it again.
            log.error("a message could not be acted on", reason=str(error))
            self._flush_at = now
            return
        self._link.acknowledge(event)
        self._send_at = now

    def _delivered(self, event: Delivered, now: float) -> None:
        self._send_at = now
        if message := self._delivery.delivered(event, now):
            self._recorder.delivered(message)
            self._messages_delivered += 1
            if self._recorder.full:
                self._flush_at = now

    def _send(self, now: float, wall: float) -> None:
        """Connect where it is time, and give the connection what it has room for."""
        if down := self._delivery.overdue(now):
            self._link.close()
            self._link_down(down, now, wall)
        if attempt := self._delivery.wants_connect(now):
            self._link.open(attempt.connection, attempt.broker)
        self._delivery.send(now, self._pending, self._publish)
        for parked in self._delivery.take_parked():
            log.error("a message is set aside", seq=parked.message.seq, reason=parked.reason)
            self._recorder.event("message_parked", detail=parked.reason)
        due = self._delivery.next_due(now)
        self._send_at = math.inf if due is None else due

    def _pending(
        self, lane: str, limit: int, newest_first: bool, exclude: Set[int]
    ) -> Sequence[Message]:
        # What was delivered and not yet noted so in the file is not sent again either.
        noted = exclude | self._recorder.unnoted(lane)
        return self._outbox.pending(Lane(lane), limit, newest_first=newest_first, exclude=noted)

    def _publish(self, message: Message) -> int | None:
        name = contract.topic(self._config.gateway.name, message.kind)
        return self._link.publish(name, message.body)

    def _publish_state(self, kind: str, message: contract.Message) -> None:
        name = contract.topic(self._config.gateway.name, kind)
        self._link.publish(name, contract.encode(message), retain=kind != "hello")

    def _status(self, state: Literal["online", "offline"], reason: str = "") -> contract.Status:
        return contract.Status(
            gateway=self._config.gateway.name,
            epoch=self._database.epoch,
            state=state,
            reason=reason,
            at=contract.instant(self._clock.now()),
            clock=self._clock_state.value,
            software=SOFTWARE,
            started=contract.instant(self._started),
        )

    def _inventory(self) -> contract.Inventory:
        config = self._config
        names = {name for meter in config.meters for name in meter.points}
        return contract.Inventory(
            gateway=config.gateway.name,
            config_hash=config.digest,
            lines=tuple(line.name for line in config.lines),
            meters=tuple(
                contract.InventoryMeter(
                    meter=meter.asset,
                    address=meter.address,
                    line=meter.line,
                    protocol=meter.profile.protocol,
                    model=meter.profile.model,
                    points=meter.points,
                )
                for meter in config.meters
            ),
            units={name: known.unit for name in sorted(names) if (known := point(name))},
        )

    def _hello(self, wall: float) -> contract.Hello:
        lanes = {
            lane.value: contract.Marks(
                first=marks.first_unacknowledged if marks.pending else None, last=marks.last
            )
            for lane, marks in self._outbox.marks().items()
        }
        return contract.Hello(
            gateway=self._config.gateway.name,
            epoch=self._database.epoch,
            at=contract.instant(wall),
            clock=self._clock_state.value,
            software=SOFTWARE,
            started=contract.instant(self._started),
            config_hash=self._config.digest,
            lanes=lanes,
            open_commands=self._orders.open(),
        )

    # --- the store and ourselves ----------------------------------------------------------------

    def _flush(self, now: float) -> None:
        self._flush_at = now + self._config.store.group_commit_s
        if now >= self._floor_at and self._clock_state is not ClockState.UNKNOWN:
            self._floor_at, self._floor = now + FLOOR_S, self._clock.now()
            self._recorder.later(partial(self._database.set_meta, FLOOR, str(self._floor)))
        if self._recorder.waits and self._recorder.flush(now, live=self._live):
            self._send_at = now

    def _judge_clock(self, now: float) -> None:
        if now < self._clock_at:
            return
        self._clock_at = now + CLOCK_S
        state = judge(self._clock, self._floor)
        if state is not self._clock_state:
            was, self._clock_state = self._clock_state, state
            log.warning("clock changed", was=was.value, now=state.value)
            detail = f"from {was} to {state}"
            self._recorder.event("clock_changed", detail=detail)

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
            started=self._started,
            clock=self._clock_state.value,
            epoch=self._database.epoch,
            readings_taken=self._overview.readings_taken,
            messages_stored=self._recorder.stored,
            messages_delivered=self._messages_delivered,
            readings_dropped=self._recorder.dropped,
            meters=self._overview.meters(self._polling.health, self._polling.refused),
            lines=self._overview.lines(now),
            link=self._link_state,
            lanes=lanes,
        )
