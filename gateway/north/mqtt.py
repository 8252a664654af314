"""The MQTT connection to the head-end's broker.  The only import of paho in the daemon.

Each connection has a paho Client and a thread of its own, used once: a Client that reconnects sends
what it still holds beyond every window.  The thread looks up the name, connects, shakes hands (all
of which may block) and then runs paho's loop.  paho calls back in that thread, partly under its own
locks; the callbacks only append to the session, and the thread hands the events on between two
turns of the loop, with no lock held.  So ``emit`` may wait for room in the inbox while the core
publishes, and nothing a callback does can end the loop unseen.

MQTT 5 first; a broker that does not speak it gets 3.1.1 on the next attempt.

Not supported: websockets, proxies, QoS 2, persistent sessions (a broker that stored orders for an
absent gateway would deliver a month of them at once; the head-end sends again after ``hello``).
"""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.events import Arrived, Crashed, Delivered, Event, LinkDown, LinkUp
from gateway.north.broker import (
    LinkSettings,
    SettingsError,
    endpoint,
    tls_context,
    why_failed,
    why_refused,
)
from gateway.north.contract import DOWN, topic
from gateway.north.strict import PAYLOAD_MAX_BYTES

CLOSE_S = 1.5
"""How long ``close`` waits for a goodbye to reach the broker."""
LOOP_S = 1.0
UNACKNOWLEDGED_MAX = 20
"""Messages from the head-end we let the broker send before we acknowledged any (MQTT 5)."""
PAHO_QUEUE_MAX = 256
"""Above every window; it keeps a mistake of ours from filling the memory."""

NO_SUBSCRIBERS = 0x10
UNSUPPORTED_VERSION = 0x84
SESSION_TAKEN_OVER = 0x8E
# MQTT 5 reason codes of CONNACK; paho translates those of 3.1.1 into them.
_HINTS = {
    UNSUPPORTED_VERSION: "3.1.1 is tried next",
    0x85: "it does not like the gateway's id as client id",
    0x86: "check username and password",
    0x87: "check username and password, and what the broker allows this gateway",
    0x88: "it is not ready",
    0x89: "it is too busy",
    0x97: "a quota is used up",
    0x9F: "too many connect at once",
}


@dataclass(slots=True)
class _Session:
    """One connection as its thread sees it.  It does not know its Client: paho's Client closes its
    sockets when the last reference goes, and a circle would leave that to the garbage collector.
    """

    number: int
    broker: str
    mqtt5: bool
    topics: tuple[str, ...]
    keepalive_s: int
    closing: threading.Event = field(default_factory=threading.Event)
    heard: deque[Event] = field(default_factory=deque)
    reached: bool = False
    """Somebody listens there and, with TLS, shook hands."""
    answered: bool = False
    """A CONNACK came, good or bad."""
    too_new: bool = False
    """It said that MQTT 5 is not spoken."""
    accepted: bool = False
    up: bool = False
    max_packet_bytes: int = 0
    in_flight_max: int = 0
    reason: str = ""
    taken_over: bool = False
    last_error: str = ""
    """What paho logged of a socket error before the CONNACK: TLS 1.3 tells a refused client
    certificate only there."""


class Link:
    """The connection to one broker at a time.

    The core calls it, from one thread; it answers with events.  ``emit`` is called in the
    connection's thread and may block.  After ``close`` at most one event of that connection still
    comes, the one that waited for room; its number tells it.
    """

    def __init__(
        self,
        gateway: str,
        settings: LinkSettings,
        emit: Callable[[Event], None],
        *,
        will: bytes,
        now: Callable[[], float],
    ) -> None:
        """``will`` is what the broker publishes on ``status`` when it loses us; ``now`` is Unix
        time, told where a refused certificate may be the clock's fault.
        """
        self._gateway = gateway
        self._settings = settings
        self._emit = emit
        self._will = will
        self._now = now
        self._client: Client | None = None
        self._session: _Session | None = None
        self._thread: threading.Thread | None = None
        self._only_311: set[str] = set()
        self._suspected: set[str] = set()

    def open(self, connection: int, broker: str) -> None:
        """Begin to connect; ends in LinkUp or LinkDown with this number.  Closes what was open."""
        self.close()
        mqtt5 = self._settings.mqtt5 and broker not in self._only_311 | self._suspected
        topics = tuple(topic(self._gateway, kind) for kind in DOWN)
        self._session = _Session(connection, broker, mqtt5, topics, self._settings.keepalive_s)
        self._client = self._new_client(self._session)
        self._thread = threading.Thread(
            target=self._run, args=(self._client, self._session), name="mqtt", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Say goodbye and end the connection, within 2 s.  The will is not published."""
        client, session, thread = self._client, self._session, self._thread
        self._client = self._session = self._thread = None
        if client is None or session is None or thread is None:
            return
        session.closing.set()
        client.disconnect()
        thread.join(CLOSE_S)
        stuck = client.socket()
        if thread.is_alive() and isinstance(stuck, socket.socket):
            with contextlib.suppress(OSError):
                stuck.shutdown(socket.SHUT_RDWR)
            thread.join(CLOSE_S / 4)

    def publish(self, topic_: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Send at QoS 1.  Returns its message id, or None if there is no connection to send on."""
        if self._client is None or self._session is None or not self._session.up:
            return None
        info = self._client.publish(topic_, payload, qos=1, retain=retain)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def acknowledge(self, arrived: Arrived) -> None:
        """Tell the broker that the effect of ``arrived`` is on flash.  Nothing if its connection is
        over: the broker will not ask again, the head-end will.
        """
        if self._client and self._session and self._session.number == arrived.connection:
            self._client.ack(arrived.mid, 1)

    def _new_client(self, session: _Session) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._gateway,
            clean_session=None if session.mqtt5 else True,
            userdata=session,
            protocol=MQTTProtocolVersion.MQTTv5 if session.mqtt5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(PAHO_QUEUE_MAX)
        client.connect_timeout = self._settings.connect_timeout_s
        client.will_set(topic(self._gateway, "status"), self._will, qos=1, retain=True)
        if self._settings.username:
            client.username_pw_set(self._settings.username, self._settings.password)
        client.on_connect = _on_connect
        client.on_subscribe = _on_subscribe
        client.on_publish = _on_publish
        client.on_message = _on_message
        client.on_disconnect = _on_disconnect
        client.on_log = _on_log
        client.on_socket_open = _tune
        # With this set, paho leaves the writing to its loop; else publish writes in our thread too.
        client.on_socket_register_write = _leave_it_to_the_loop
        return client

    def _run(self, client: Client, session: _Session) -> None:
        """The thread of one connection."""
        try:
            reason = self._connect(client, session) or self._loop(client, session)
            self._learn(session)
            if not session.closing.is_set():
                self._emit(LinkDown(session.number, reason, session.taken_over))
        except BaseException as error:  # noqa: BLE001 - handed on, not swallowed
            self._emit(Crashed("mqtt", error))

    def _connect(self, client: Client, session: _Session) -> str:
        """Connect and shake hands.  Returns why it failed, or nothing."""
        host, port, tls = endpoint(session.broker)
        limits = None
        if session.mqtt5:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.MaximumPacketSize = PAYLOAD_MAX_BYTES + 1024
            limits.ReceiveMaximum = UNACKNOWLEDGED_MAX
        try:
            if tls:
                client.tls_set_context(tls_context(self._settings))
            client.connect(host, port, self._settings.keepalive_s, properties=limits)
        except SettingsError as error:
            return str(error)
        except (OSError, UnicodeError) as error:
            return why_failed(error, session.broker, self._now())
        session.reached = True
        # Closed while this took long: our CONNECT would throw out the connection opened since.
        return "closed meanwhile" if session.closing.is_set() else ""

    def _loop(self, client: Client, session: _Session) -> str:
        """Run paho until the connection ends.  Returns why it did."""
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS:
            result = client.loop(LOOP_S)
            while session.heard and not session.closing.is_set():
                self._emit(session.heard.popleft())
        session.up = False
        if session.reason:
            return f"{session.broker}: {session.reason}"
        if session.answered:
            return f"{session.broker}: the connection was lost"
        if "SSL" in session.last_error:
            return f"{session.broker}: {why_refused(session.last_error, self._now())}"
        return f"{session.broker}: closed without an answer to our CONNECT" + (
            "; with mqtts it may dislike our certificate" if endpoint(session.broker)[2] else ""
        )

    def _learn(self, session: _Session) -> None:
        """Remember which brokers want 3.1.1.  One that closed without a word may only have been
        busy, so then 3.1.1 is tried once, and kept only where it is accepted.
        """
        broker = session.broker
        suspected = broker in self._suspected
        self._suspected.discard(broker)
        if session.too_new or (suspected and session.accepted):
            self._only_311.add(broker)
        elif session.mqtt5 and session.reached and not session.answered:
            self._suspected.add(broker)


def _on_connect(
    client: Client,
    session: _Session,
    _flags: ConnectFlags,
    reason: ReasonCode,
    properties: Properties | None,
) -> None:
    session.answered = True
    if reason.is_failure:
        session.too_new = reason.value == UNSUPPORTED_VERSION
        session.reason = (
            f"the broker refused us: {reason}; {_HINTS.get(reason.value, 'see its log')}"
        )
        return
    session.accepted = True
    client.on_log = None
    session.max_packet_bytes = getattr(properties, "MaximumPacketSize", 0)
    session.in_flight_max = getattr(properties, "ReceiveMaximum", 0)
    # At every connect: a broker that lost our session would leave us connected and deaf.
    if session.mqtt5:
        client.subscribe([(each, SubscribeOptions(qos=1)) for each in session.topics])
    else:
        client.subscribe([(each, 1) for each in session.topics])


def _on_subscribe(
    _client: Client,
    session: _Session,
    _mid: int,
    reasons: list[ReasonCode],
    _properties: Properties | None,
) -> None:
    answers = zip(session.topics, reasons, strict=False)
    refused = [f"{each} ({reason})" for each, reason in answers if reason.is_failure]
    session.up = True
    session.heard.append(
        LinkUp(
            session.number,
            session.broker,
            session.mqtt5,
            session.max_packet_bytes,
            session.in_flight_max,
            f"the broker refuses our subscription to {', '.join(refused)}" if refused else "",
        )
    )


def _on_publish(
    _client: Client, session: _Session, mid: int, reason: ReasonCode, _properties: Properties | None
) -> None:
    # No subscribers is a success to the standard, but nobody has the message now.
    failed = reason.is_failure or reason.value == NO_SUBSCRIBERS
    session.heard.append(Delivered(session.number, mid, str(reason) if failed else ""))


def _on_message(_client: Client, session: _Session, message: MQTTMessage) -> None:
    try:
        arrived_topic = message.topic
    except UnicodeDecodeError:
        return  # no topic of ours, and unacknowledged it stays with the broker
    session.heard.append(
        Arrived(session.number, message.mid, arrived_topic, bytes(message.payload), message.retain)
    )


def _on_disconnect(
    _client: Client,
    session: _Session,
    flags: DisconnectFlags,
    reason: ReasonCode,
    _properties: Properties | None,
) -> None:
    session.up = False
    if flags.is_disconnect_packet_from_server:
        session.taken_over = reason.value == SESSION_TAKEN_OVER
        session.reason = f"the broker ended the connection: {reason}"
        if session.taken_over:
            session.reason += "; another client connects with this gateway's id"


def _on_log(_client: Client, session: _Session, level: int, text: str) -> None:
    if level == LogLevel.MQTT_LOG_ERR:
        session.last_error = text


def _leave_it_to_the_loop(_client: Client, _session: _Session, _socket: object) -> None:
    """Nothing to do: paho wakes its loop by itself."""


def _tune(_client: Client, session: _Session, sock: object) -> None:
    """Send small packets at once; give up unanswered ones as soon as the keepalive would."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, session.keepalive_s * 1000)
