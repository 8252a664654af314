"""The head-end against a real broker."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from simulators.headend import HeadEnd
from simulators.ledger import Ledger
from tests.mosquitto import Mosquitto

DEADLINE_S = 20


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


class Gateway:
    """Something that publishes like a gateway and keeps what it is sent."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, bytes(m.payload)))
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("taiqu/v1/gw/acks", 1)
        self._client.loop_start()

    def publish(self, seq: int) -> None:
        message = {"gateway": "gw", "epoch": "e", "lane": "live", "seq": seq, "readings": []}
        done = self._client.publish("taiqu/v1/gw/readings", json.dumps(message), qos=1)
        done.wait_for_publish(DEADLINE_S)
        assert done.is_published()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def collect(head_end: HeadEnd, messages: int) -> None:
    ends = time.monotonic() + DEADLINE_S
    while head_end.ledger.summary().messages < messages and time.monotonic() < ends:
        head_end.collect(0.5)


def test_what_is_published_while_it_is_away_is_not_lost(broker: Mosquitto) -> None:
    ledger = Ledger()
    head_end, gateway = HeadEnd(ledger, "127.0.0.1", broker.port), Gateway(broker.port)
    head_end.start()
    assert head_end.wait_until_listening(DEADLINE_S)
    gateway.publish(1)
    collect(head_end, 1)
    head_end.stop()

    gateway.publish(2)
    back = HeadEnd(ledger, "127.0.0.1", broker.port)
    back.start()
    collect(back, 2)
    gateway.stop()
    back.stop()

    summary = ledger.summary()
    assert (summary.messages, summary.gaps, summary.conflicts) == (2, 0, 0)


def test_it_acknowledges_up_to_where_it_has_everything(broker: Mosquitto) -> None:
    head_end, gateway = HeadEnd(Ledger(), "127.0.0.1", broker.port), Gateway(broker.port)
    head_end.start()
    assert head_end.wait_until_listening(DEADLINE_S)
    for seq in (1, 2, 4):
        gateway.publish(seq)
    collect(head_end, 3)

    assert head_end.acknowledge() == 1
    assert head_end.acknowledge() == 0, "nothing has moved"
    gateway.publish(3)
    collect(head_end, 4)
    assert head_end.acknowledge() == 1
    ends = time.monotonic() + DEADLINE_S
    while len(gateway.heard) < 2 and time.monotonic() < ends:
        head_end.collect(0.1)
    gateway.stop()
    head_end.stop()

    topics = {topic for topic, _ in gateway.heard}
    assert topics == {"taiqu/v1/gw/acks"}
    assert [json.loads(payload)["upto"] for _, payload in gateway.heard] == [2, 4]
