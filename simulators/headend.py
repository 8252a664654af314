"""A head-end on a real broker: subscribes to gateways, books what comes, sends commands and acks.

paho's thread only puts messages into a queue; everything else happens in the thread that calls
``collect``.  The session is persistent (QoS 1): what is published while the head-end is away waits
at the broker.

Not supported: TLS (the demo's broker is on this machine), MQTT 5 properties.
"""

import json
import queue
import threading
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.ledger import Key, Ledger

KINDS = (
    "readings",
    "history",
    "events",
    "results",
    "completeness",
    "journal",
    "digest",
    "supply",
    "status",
    "inventory",
    "hello",
)


class HeadEnd:
    """One subscriber.  ``gateway`` limits it to one gateway's topics."""

    def __init__(
        self,
        ledger: Ledger,
        host: str,
        port: int = 1883,
        *,
        gateway: str = "+",
        client_id: str = "head-end",
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self.ledger = ledger
        self._address = (host, port)
        self._gateway = gateway
        self._arrived: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._listening = threading.Event()
        self._acknowledged: dict[Key, int] = {}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False
        )
        self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(min_delay=1, max_delay=5)

    def start(self) -> None:
        """Begin to connect, and go on connecting whenever the broker is lost."""
        self._client.on_connect = self._subscribe
        self._client.on_message = self._arrive
        self._client.on_subscribe = lambda *_: self._listening.set()
        self._client.on_disconnect = lambda *_: self._listening.clear()
        self._client.connect_async(*self._address, keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        """Leave.  The broker keeps the session and what comes for it."""
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its sockets when the last reference goes: they must not lead round to us.
        self._client.on_connect = self._client.on_message = None
        self._client.on_subscribe = self._client.on_disconnect = None
        self._listening.clear()

    def wait_until_listening(self, wait_s: float) -> bool:
        """Wait for the broker's word that it delivers to us; False if it did not come in time."""
        return self._listening.wait(wait_s)

    def collect(self, wait_s: float) -> int:
        """Book everything that has arrived; wait for the first message, at most ``wait_s``."""
        booked = 0
        try:
            while True:
                topic, payload = self._arrived.get(timeout=0 if booked else max(0.0, wait_s))
                self.ledger.take(topic, payload)
                booked += 1
        except queue.Empty:
            return booked

    def send(self, gateway: str, kind: str, message: Mapping[str, Any]) -> None:
        """Publish a message to a gateway: ``commands`` or ``acks``."""
        self._client.publish(f"taiqu/v1/{gateway}/{kind}", json.dumps(message), qos=1)

    def acknowledge(self) -> int:
        """Tell the gateways up to where we have everything; returns how many lanes moved."""
        moved = 0
        for key, upto in self.ledger.watermarks().items():
            if upto > self._acknowledged.get(key, 0):
                self._acknowledged[key] = upto
                self.send(key.gateway, "acks", {"epoch": key.epoch, "lane": key.lane, "upto": upto})
                moved += 1
        return moved

    def _subscribe(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe([(f"taiqu/v1/{self._gateway}/{kind}", 1) for kind in KINDS])

    def _arrive(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._arrived.put((message.topic, bytes(message.payload)))
