"""The way up, as the core sees it: the connection, what is on its way, who we say we are.

Holds the delivery window and the link together: messages leave the outbox here, and come back as
delivered.  After each connect the head-end is told how things stand (status, inventory, hello).

Used by the core alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol

import structlog

from gateway import VERSION
from gateway.clock import Clock, ClockState
from gateway.config import Config
from gateway.events import Arrived, Delivered, LinkDown, LinkUp
from gateway.livestate import LaneState, LinkState
from gateway.north import contract
from gateway.north.delivery import Confirm, Delivery, DeliverySettings
from gateway.recorder import Recorder
from gateway.store.commands import Commands
from gateway.store.outbox import Lane, Marks, Message, Outbox
from protocols.points import point

SOFTWARE = f"taiqu {VERSION}"
RETAINED = ("digest", "supply")
"""Numbered messages of which the broker keeps the last one for whoever comes later."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reach:
    """How the head-end can be reached."""

    up: bool
    for_s: float
    """Since the last change, whatever the clock was set to meanwhile."""
    deaf: bool = False
    """Nothing of the head-end's can reach us though we can send."""


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


class Uplink:
    """One gateway's way to its head-end."""

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        commands: Commands,
        recorder: Recorder,
        connect: Callable[[bytes], LinkDoor],
        clock: Clock,
        state: Callable[[], ClockState],
        random: Random,
    ) -> None:
        """``connect`` makes the connection, given the will; ``state`` judges the clock."""
        self._config = config
        self._outbox = outbox
        self._commands = commands
        self._recorder = recorder
        self._clock = clock
        self._clock_state = state
        self.started = clock.now()
        self._told_refused = False
        self.signing_key: str | None = None
        """The gateway's public key, told to the head-end; given by the core before it connects."""
        self.delivered = 0
        """Messages that the broker's word made delivered since the start."""
        settings = DeliverySettings(
            brokers=config.mqtt.brokers,
            confirm=Confirm(config.mqtt.confirm),
            history_bytes_per_s=config.mqtt.history_kib_s * 1024 or None,
        )
        self.delivery: Delivery[Message] = Delivery(settings, random)
        self._link = connect(contract.encode(self._status("offline", "connection lost")))
        self.state = LinkState(up=False, broker="", since=self.started, reason="")
        self._changed_at = clock.monotonic()

    @property
    def live(self) -> bool:
        """Whether the head-end can be reached."""
        return self.state["up"]

    @property
    def reach(self) -> Reach:
        """How the head-end can be reached."""
        state = self.state
        for_s = self._clock.monotonic() - self._changed_at
        return Reach(up=state["up"], for_s=for_s, deaf=state["up"] and bool(state["reason"]))

    def handle(self, event: LinkUp | LinkDown | Delivered, now: float) -> None:
        """Act on what the connection reports."""
        match event:
            case LinkUp():
                self._up(event, now)
            case LinkDown():
                self._down(event, now)
            case Delivered():
                self._answered(event, now)

    def _up(self, event: LinkUp, now: float) -> None:
        """A broker accepted us: say who we are and how things stand."""
        if not self.delivery.link_up(event, now):
            return
        self._told_refused = False
        log.info("connected to the head-end", broker=event.broker, mqtt5=event.mqtt5)
        if event.deaf:
            log.warning("the head-end cannot reach us", reason=event.deaf)
        since, self._changed_at = self._clock.now(), self._clock.monotonic()
        self.state = LinkState(up=True, broker=event.broker, since=since, reason=event.deaf)
        self._publish_state("status", self._status("online", event.deaf[:500]))
        self._publish_state("inventory", self._inventory())
        self._publish_state("hello", self._hello())

    def _down(self, event: LinkDown, now: float) -> None:
        """The connection ended, or could not be made.  One line in the log per outage."""
        was = self.state
        if not self.delivery.link_down(event, now):
            return
        if was["up"] or not was["reason"]:
            log.warning("no connection to the head-end", reason=event.reason)
        since = was["since"]
        if was["up"]:
            since, self._changed_at = self._clock.now(), self._clock.monotonic()
        self.state = LinkState(up=False, broker="", since=since, reason=event.reason)
        if event.taken_over:
            self._recorder.event("taken_over", detail=event.reason)

    def _answered(self, event: Delivered, now: float) -> None:
        """The broker answered a message.  That it refuses is logged once per connection."""
        if event.refused and not self._told_refused:
            self._told_refused = True
            log.warning("the broker refuses a message, it is kept", reason=event.refused)
        if message := self.delivery.delivered(event, now):
            self._recorder.delivered(message)
            self.delivered += 1

    def acknowledge(self, event: Arrived) -> None:
        """Tell the broker that the effect of a message is on flash."""
        self._link.acknowledge(event)

    def send(self, now: float) -> float:
        """Connect where it is time, and give the connection what it has room for.

        Returns the monotonic time at which to call again at the latest.
        """
        if down := self.delivery.overdue(now):
            self._link.close()
            self._down(down, now)
        if attempt := self.delivery.wants_connect(now):
            self._link.open(attempt.connection, attempt.broker)
        self.delivery.send(now, self._pending, self._publish)
        for parked in self.delivery.take_parked():
            log.error("a message is set aside", seq=parked.message.seq, reason=parked.reason)
            self._recorder.event("message_parked", detail=parked.reason)
        due = self.delivery.next_due(now)
        return math.inf if due is None else due

    def close(self) -> None:
        """Say goodbye."""
        self._publish_state("status", self._status("offline", "stopped"))
        self._link.close()

    def _pending(
        self, lane: str, limit: int, newest_first: bool, exclude: Set[int]
    ) -> Sequence[Message]:
        # What was delivered and not yet noted so in the file is not sent again either.
        noted = exclude | self._recorder.unnoted(lane)
        return self._outbox.pending(Lane(lane), limit, newest_first=newest_first, exclude=noted)

    def _publish(self, message: Message) -> int | None:
        name = contract.topic(self._config.gateway.name, message.kind)
        return self._link.publish(name, message.body, retain=message.kind in RETAINED)

    def _publish_state(self, kind: str, message: contract.Message) -> None:
        name = contract.topic(self._config.gateway.name, kind)
        self._link.publish(name, contract.encode(message), retain=kind != "hello")

    def _status(self, state: Literal["online", "offline"], reason: str = "") -> contract.Status:
        return contract.Status(
            gateway=self._config.gateway.name,
            epoch=self._recorder.epoch,
            state=state,
            reason=reason,
            at=contract.instant(self._clock.now()),
            clock=self._clock_state().value,
            software=SOFTWARE,
            started=contract.instant(self.started),
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
            signing_key=self.signing_key,
        )

    def _hello(self) -> contract.Hello:
        lanes = {
            lane.value: contract.Marks(
                first=marks.first_unacknowledged if marks.pending else None, last=marks.last
            )
            for lane, marks in self._outbox.marks().items()
        }
        return contract.Hello(
            gateway=self._config.gateway.name,
            epoch=self._recorder.epoch,
            at=contract.instant(self._clock.now()),
            clock=self._clock_state().value,
            software=SOFTWARE,
            started=contract.instant(self.started),
            config_hash=self._config.digest,
            lanes=lanes,
            open_commands=tuple(self._commands.open()),
            signing_key=self.signing_key,
        )


def lane_states(marks: Mapping[Lane, Marks]) -> dict[str, LaneState]:
    """How the lanes stand, as the state file has it."""
    return {
        lane.value: LaneState(last=one.last, pending=one.pending, pending_bytes=one.pending_bytes)
        for lane, one in marks.items()
    }
