"""Window and connection together, over a real mosquitto that is killed again and again."""

import queue
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from gateway.events import Arrived, Delivered, Event, LinkDown, LinkUp
from gateway.north.broker import LinkSettings
from gateway.north.delivery import LIVE, Confirm, Delivery, DeliverySettings
from gateway.north.mqtt import Link
from tests.mosquitto import Mosquitto

TOPIC = "taiqu/v1/head/commands"
"""What the head-end's own link subscribes to."""
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Message:
    lane: str
    seq: int
    body: bytes


class Side:
    """A link with its delivery: the part of the core that this needs."""

    def __init__(self, gateway: str, port: int, inbox: "queue.Queue[tuple[str, Event]]") -> None:
        brokers = (f"mqtt://127.0.0.1:{port}",)
        self.link = Link(
            gateway,
            LinkSettings(brokers=brokers),
            lambda event: inbox.put((gateway, event)),
            will=b"{}",
            now=time.time,
        )
        settings = DeliverySettings(
            brokers=brokers,
            confirm=Confirm.HEAD_END,
            pause_s=0.05,
            pause_max_s=0.2,
            watermark_timeout_s=0.5,
        )
        self.delivery: Delivery[Message] = Delivery(settings, Random(gateway))
        self.outbox: dict[int, Message] = {}

    def turn(self, event: Event | None) -> None:
        now = time.monotonic()
        if isinstance(event, LinkUp):
            self.delivery.link_up(event, now)
        if isinstance(event, LinkDown):
            self.delivery.link_down(event, now)
        if isinstance(event, Delivered):
            assert self.delivery.delivered(event, now) is None
        if attempt := self.delivery.wants_connect(now):
            self.link.open(attempt.connection, attempt.broker)
        self.delivery.send(
            now,
            lambda lane, limit, newest, out: sorted(
                (m for m in self.outbox.values() if m.lane == lane and m.seq not in out),
                key=lambda m: m.seq,
                reverse=newest,
            )[:limit],
            lambda message: self.link.publish(TOPIC, message.body),
        )


def test_a_broker_killed_under_load_loses_nothing(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.start()
    inbox: queue.Queue[tuple[str, Event]] = queue.Queue()
    sides = {name: Side(name, broker.port, inbox) for name in ("gw-1", "head")}
    gateway, head = sides["gw-1"], sides["head"]
    last, kept, upto, kill_at = 600, set[int](), 0, [100, 250, 400]
    gateway.outbox = {seq: Message(LIVE, seq, b"%d" % seq) for seq in range(1, last + 1)}

    deadline = time.monotonic() + DEADLINE_S
    name, event = "", None
    while upto < last:
        assert time.monotonic() < deadline, f"{upto} of {last} arrived"
        for each, side in sides.items():
            side.turn(event if each == name else None)
        if isinstance(event, Arrived) and name == "head":
            head.link.acknowledge(event)
            kept.add(int(event.payload))
            while upto + 1 in kept:
                upto += 1
                gateway.outbox.pop(upto)
            gateway.delivery.watermark(LIVE, upto, time.monotonic())
            if kill_at and len(kept) >= kill_at[0]:
                kill_at.pop(0)
                broker.kill()
                broker.start()
        try:
            name, event = inbox.get(timeout=0.05)
        except queue.Empty:
            name, event = "", None

    for side in sides.values():
        side.link.close()
    broker.stop()
    assert kept == set(range(1, last + 1))
    assert kill_at == []
