"""The connection against a real mosquitto: what it says, and what it says when it cannot."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.events import Arrived, Crashed, Delivered, Event, LinkDown, LinkUp
from gateway.north.broker import LinkSettings, broker_problem
from gateway.north.mqtt import Link
from tests.mosquitto import Authority, Mosquitto, free_port

DEADLINE_S = 10
WILL = b'{"state":"offline"}'
COMMANDS = "taiqu/v1/gw-1/commands"
STATUS = "taiqu/v1/gw-1/status"


class Box:
    """A link and its inbox."""

    def __init__(self, broker: str, settings: LinkSettings, gateway: str = "gw-1") -> None:
        self.broker = broker
        self.inbox: queue.Queue[Event] = queue.Queue()
        self.link = Link(gateway, settings, self.inbox.put, will=WILL, now=lambda: 0.0)

    def next(self) -> Event:
        event = self.inbox.get(timeout=DEADLINE_S)
        if isinstance(event, Crashed):
            raise event.error
        return event

    def open(self, connection: int = 1) -> Event:
        self.link.open(connection, self.broker)
        return self.next()

    def up(self, connection: int = 1) -> LinkUp:
        event = self.open(connection)
        assert isinstance(event, LinkUp), event
        return event

    def down(self, connection: int = 1) -> str:
        event = self.open(connection)
        assert isinstance(event, LinkDown), event
        assert event.connection == connection
        return event.reason


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    started: list[Mosquitto] = []

    def make(*settings: str) -> Mosquitto:
        broker = Mosquitto(tmp_path, *settings)
        broker.start()
        started.append(broker)
        return broker

    yield make
    for broker in started:
        broker.stop()


@pytest.fixture
def box() -> Iterator[Callable[..., Box]]:
    boxes: list[Box] = []

    def make(port: int, *, scheme: str = "mqtt", gateway: str = "gw-1", **settings: object) -> Box:
        broker = f"{scheme}://localhost:{port}"
        made = Box(broker, replace(LinkSettings(brokers=(broker,)), **settings), gateway)  # type: ignore[arg-type]
        boxes.append(made)
        return made

    yield make
    for each in boxes:
        each.link.close()


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


Start = Callable[..., Mosquitto]
MakeBox = Callable[..., Box]


@pytest.mark.parametrize("mqtt5", [True, False])
def test_what_one_publishes_the_other_gets(start: Start, box: MakeBox, mqtt5: bool) -> None:
    port = start().port
    gateway, head_end = box(port, mqtt5=mqtt5), box(port, gateway="head", mqtt5=mqtt5)
    assert gateway.up() == LinkUp(1, f"mqtt://localhost:{port}", mqtt5, 0, 20 * mqtt5)
    assert head_end.up().mqtt5 is mqtt5

    mid = head_end.link.publish(COMMANDS, b"one")
    assert mid is not None
    arrived = gateway.next()

    assert isinstance(arrived, Arrived)
    assert (arrived.topic, arrived.payload, arrived.retained) == (COMMANDS, b"one", False)
    assert head_end.next() == Delivered(1, mid)


def test_an_unacknowledged_command_is_not_forgotten_by_us(start: Start, box: MakeBox) -> None:
    """More commands than the broker lets be open at once arrive only as we acknowledge."""
    port = start("max_inflight_messages 2").port
    gateway, head_end = box(port, mqtt5=False), box(port, gateway="head")
    gateway.up()
    head_end.up()

    for number in range(4):
        head_end.link.publish(COMMANDS, b"%d" % number)
        assert isinstance(head_end.next(), Delivered)
    first, second = gateway.next(), gateway.next()
    assert gateway.inbox.empty()

    for arrived in (first, second):
        assert isinstance(arrived, Arrived)
        gateway.link.acknowledge(arrived)
    got = [gateway.next(), gateway.next()]
    assert [event.payload for event in got if isinstance(event, Arrived)] == [b"2", b"3"]


def test_no_subscriber_is_no_delivery(start: Start, box: MakeBox) -> None:
    gateway = box(start().port)
    gateway.up()

    mid = gateway.link.publish("taiqu/v1/gw-1/readings", b"{}")

    event = gateway.next()
    assert isinstance(event, Delivered)
    assert (event.mid, event.refused) == (mid, "No matching subscribers")


def test_what_the_broker_forbids_is_no_delivery(start: Start, box: MakeBox, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write taiqu/v1/gw-1/readings\n")
    gateway = box(start(f"acl_file {acl}").port)

    up = gateway.up()
    gateway.link.publish("taiqu/v1/other/readings", b"{}")

    event = gateway.next()
    assert isinstance(event, Delivered)
    assert event.refused == "Not authorized"
    assert up.deaf == ""  # mosquitto grants every subscription and filters later


def test_a_message_above_the_brokers_limit(start: Start, box: MakeBox) -> None:
    gateway = box(start("max_packet_size 2000").port)
    assert gateway.up().max_packet_bytes == 2000

    gateway.link.publish("taiqu/v1/gw-1/readings", bytes(3000))

    assert isinstance(gateway.next(), LinkDown)


@pytest.mark.parametrize("goodbye", [True, False])
def test_the_will_says_offline_unless_we_said_goodbye(
    start: Start, box: MakeBox, goodbye: bool
) -> None:
    port = start().port
    watcher, gateway = box(port, gateway="watcher"), box(port)
    watcher.up()
    assert watcher.link._client
    watcher.link._client.subscribe(STATUS, qos=1)
    assert isinstance(watcher.next(), LinkUp)  # the broker granted it
    gateway.up()
    gateway.link.publish(STATUS, b"online", retain=True)
    assert isinstance(gateway.next(), Delivered)

    if goodbye:
        gateway.link.close()
        watcher.link.publish(STATUS, b"this is no will")
    else:
        assert gateway.link._client
        cable = gateway.link._client.socket()
        assert isinstance(cable, socket.socket)
        cable.shutdown(socket.SHUT_RDWR)

    said = [e.payload for e in (watcher.next(), watcher.next()) if isinstance(e, Arrived)]
    assert said == [b"online", b"this is no will" if goodbye else WILL]


def test_a_broker_killed_is_one_event_and_the_next_connection_works(
    start: Start, box: MakeBox
) -> None:
    broker = start()
    gateway = box(broker.port)
    gateway.up(1)

    broker.kill()
    down = gateway.next()
    assert isinstance(down, LinkDown)
    assert down.connection == 1
    assert "connection was lost" in down.reason
    assert gateway.link.publish("taiqu/v1/gw-1/readings", b"{}") is None
    assert "nothing listens there" in gateway.down(2)

    broker.start()
    assert gateway.up(3).connection == 3


def test_two_with_one_id_are_told_apart_from_a_lost_connection(box: MakeBox) -> None:
    connack, suback, taken_over = "2003000000", "90050001000101", "e0018e"
    broker = ScriptedBroker(bytes.fromhex(connack), bytes.fromhex(suback + taken_over))
    gateway = box(broker.port)
    gateway.up()

    down = gateway.next()
    broker.stop()

    assert isinstance(down, LinkDown)
    assert down.taken_over
    assert "another client connects with this gateway's id" in down.reason


def test_a_wrong_password(start: Start, box: MakeBox, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    port = start("allow_anonymous false", f"password_file {passwords}").port

    assert "check username and password" in box(port, username="gw-1", password="x").down()
    assert "check username and password" in box(port, mqtt5=False, username="u").down()


def test_a_full_inbox_holds_up_only_the_connection(start: Start, box: MakeBox) -> None:
    """The core publishes while the connection's thread waits for room; neither waits for ever."""
    gateway = box(start().port)
    gateway.inbox.maxsize = 1
    gateway.up()
    mids = [gateway.link.publish(COMMANDS, b"to myself") for _ in range(50)]

    delivered = []
    for _ in range(100):
        event = gateway.next()
        if isinstance(event, Arrived):
            gateway.link.acknowledge(event)
        if isinstance(event, Delivered):
            delivered.append(event.mid)

    assert delivered == mids


def test_close_does_not_wait_for_a_full_inbox(start: Start, box: MakeBox) -> None:
    gateway = box(start().port)
    gateway.inbox.maxsize = 1
    gateway.up()
    for _ in range(50):
        gateway.link.publish(COMMANDS, b"to myself")
    thread = gateway.link._thread
    assert thread

    gateway.link.close()
    while thread.is_alive():
        with contextlib.suppress(queue.Empty):
            assert gateway.inbox.get(timeout=0.1)

    assert gateway.link.publish(COMMANDS, b"") is None
    assert gateway.inbox.qsize() <= 1


def test_no_event_follows_close(start: Start, box: MakeBox) -> None:
    broker = start()
    gateway = box(broker.port)
    gateway.up()

    gateway.link.close()
    broker.kill()

    assert gateway.inbox.empty()
    assert [t.name for t in threading.enumerate() if t.name == "mqtt"] == []
    gateway.link.close()


def test_an_attempt_that_hangs_can_be_closed_and_never_speaks_later(box: MakeBox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = box(silent.getsockname()[1], scheme="mqtts", connect_timeout_s=60.0)
        gateway.link.open(1, gateway.broker)
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(1)  # the handshake has begun
            thread = gateway.link._thread
            assert thread
            gateway.link.close()
            assert thread.is_alive()
    thread.join(DEADLINE_S)

    assert not thread.is_alive()
    assert gateway.inbox.empty()


def test_a_name_that_does_not_exist() -> None:
    made = Box("mqtt://no-such-host.invalid", LinkSettings(brokers=()))
    assert "the name no-such-host.invalid cannot be looked up" in made.down()


class ScriptedBroker:
    """Answers the nth packet of each MQTT 5 connection with the nth of ``answers``, then closes;
    accepts 3.1.1 but not its subscription to ``acks``.
    """

    def __init__(self, *answers: bytes) -> None:
        self.levels: list[int] = []
        self._answers = answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer, contextlib.suppress(ConnectionError):
                connect = peer.recv(1000)
                level = connect[connect.index(b"MQTT") + 4]
                self.levels.append(level)
                old = (bytes.fromhex("20020000"), bytes.fromhex("900400010180"))
                for answer in self._answers if level == 5 else old:
                    peer.sendall(answer)
                    if answer:
                        peer.recv(1000)

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.mark.parametrize("answer", ["", "20020001", "2003008400"])
def test_a_broker_that_refuses_mqtt_5_gets_3_1_1_from_then_on(box: MakeBox, answer: str) -> None:
    old = ScriptedBroker(bytes.fromhex(answer))
    gateway = box(old.port)
    assert gateway.down(1)

    up = gateway.up(2)
    assert not up.mqtt5
    assert "refuses our subscription to taiqu/v1/gw-1/acks (Unspecified error)" in up.deaf
    gateway.up(3)
    gateway.link.close()
    old.stop()
    assert old.levels == [5, 4, 4]


def test_a_broker_that_closes_once_keeps_mqtt_5(start: Start, box: MakeBox) -> None:
    """What closes without a word may just be starting; 3.1.1 is kept only where it is accepted."""
    broken = ScriptedBroker(b"")
    gateway = box(broken.port)
    gateway.down(1)
    broken.stop()
    assert "nothing listens there" in gateway.down(2)

    gateway.broker = f"mqtt://localhost:{start().port}"
    assert gateway.up(3).mqtt5


@pytest.fixture
def secure(start: Start, ca: Authority) -> Mosquitto:
    cert, key = ca.issue("localhost")
    files = (f"cafile {ca.cert}", f"certfile {cert}", f"keyfile {key}")
    return start(*files, "require_certificate true", "use_identity_as_username true")


@pytest.mark.parametrize("mqtt5", [True, False])
def test_certificates_on_both_sides(
    secure: Mosquitto, box: MakeBox, ca: Authority, mqtt5: bool
) -> None:
    cert, key = ca.issue("gw-1")
    files = {"ca_file": ca.cert, "cert_file": cert, "key_file": key}
    gateway = box(secure.port, scheme="mqtts", mqtt5=mqtt5, **files)
    assert gateway.up().mqtt5 is mqtt5

    gateway.link.publish(COMMANDS, b"to myself")

    assert {type(gateway.next()), type(gateway.next())} == {Delivered, Arrived}


def test_a_broker_of_a_foreign_ca(secure: Mosquitto, box: MakeBox, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign", "Foreign CA")
    reason = box(secure.port, scheme="mqtts", ca_file=foreign.cert).down()
    assert "the broker's certificate is not trusted" in reason
    assert "check ca_file" in reason


def test_a_rogue_client_certificate(
    secure: Mosquitto, box: MakeBox, ca: Authority, tmp_path: Path
) -> None:
    cert, key = Authority(tmp_path / "rogue", "Test CA").issue("gw-1")
    files = {"ca_file": ca.cert, "cert_file": cert, "key_file": key}
    reason = box(secure.port, scheme="mqtts", **files).down()
    # The broker's alert can be lost when it resets the connection behind it.
    assert "refused our certificate" in reason or "may dislike our certificate" in reason


def test_no_client_certificate(secure: Mosquitto, box: MakeBox, ca: Authority) -> None:
    reason = box(secure.port, scheme="mqtts", ca_file=ca.cert).down()
    assert "set cert_file and key_file" in reason or "may dislike our certificate" in reason


def test_an_expired_certificate_may_be_the_clocks_fault(
    start: Start, box: MakeBox, ca: Authority
) -> None:
    cert, key = ca.issue("localhost", days=-1)
    port = start(f"certfile {cert}", f"keyfile {key}").port

    reason = box(port, scheme="mqtts", ca_file=ca.cert).down()

    assert "the broker's certificate is expired" in reason
    assert "a clock is wrong: this gateway's says 1970-01-01T00:00:00.000Z" in reason


def test_a_certificate_for_another_name(start: Start, box: MakeBox, ca: Authority) -> None:
    cert, key = ca.issue("elsewhere.example")
    port = start(f"certfile {cert}", f"keyfile {key}").port

    reason = box(port, scheme="mqtts", ca_file=ca.cert).down()

    assert "not for localhost" in reason


def test_tls_where_none_is_spoken(start: Start, box: MakeBox, ca: Authority) -> None:
    reason = box(start().port, scheme="mqtts", ca_file=ca.cert).down()
    assert "must not be mixed up" in reason or "no TLS is spoken there" in reason


def test_files_that_are_no_certificates(box: MakeBox, ca: Authority, tmp_path: Path) -> None:
    noise = tmp_path / "noise.pem"
    noise.write_text("noise")
    cert, _ = ca.issue("gw-1")
    _, foreign_key = ca.issue("gw-2")

    def reason(**files: object) -> str:
        return box(free_port(), scheme="mqtts", **files).down()

    assert f"ca_file {tmp_path}/none: No such file" in reason(ca_file=tmp_path / "none")
    assert f"ca_file {noise}:" in reason(ca_file=noise)
    assert "unencrypted key" in reason(cert_file=cert, key_file=noise)
    assert "unencrypted key" in reason(cert_file=cert, key_file=foreign_key)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mqtt://192.168.1.10", None),
        ("mqtts://broker.example:8884/", None),
        ("mqtt://[::1]:1883", None),
        ("http://x", "does not begin with"),
        ("broker.example", "does not begin with"),
        ("mqtt://", "names no host"),
        ("mqtt://a..b", "names no host"),
        ("mqtt://" + "a" * 64, "names no host"),
        ("mqtt://häuser", "names no host"),
        ("mqtt://x:0", "port 0"),
        ("mqtt://x:99999", "ort out of range"),
        ("mqtt://[::1", "Invalid IPv6"),
        ("mqtt://u:secret@x", "set username and password"),
        ("mqtt://x/path", "more than host and port"),
    ],
)
def test_addresses(url: str, problem: str | None) -> None:
    found = broker_problem(url)
    if problem is None:
        assert found is None
    else:
        assert found
        assert problem in found
        assert "secret" not in found
