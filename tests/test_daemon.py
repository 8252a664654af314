"""The real daemon as a process: how it starts, what it tells systemd, how it ends.

What it bears is in tests/test_daemon_faults.py, its work under kills and outages in
tests/test_daemon_torture.py.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from gateway import livestate
from gateway.clock import SystemClock
from gateway.config import load
from gateway.core import Core
from gateway.daemon import Daemon
from gateway.events import Event, Heartbeat
from tests.daemon_rig import NAME, STOP_S, Gateway, Rig, made

HANGING = """
import sys, threading
from gateway import core, daemon
from gateway.acquisition import ports, runner

class Hanging(ports.SerialPort):
    def open(self, abandoned=None):
        threading.Event().wait()

core.HEARTBEAT_MAX_AGE_S, runner.HEARTBEAT_S = 1.0, 0.1
make_port = daemon.make_port
daemon.make_port = lambda url, way: Hanging(url) if url.startswith("/") else make_port(url)
sys.exit(daemon.main())
"""
"""The daemon, with a serial driver that never comes back."""

CRASHING = """
import sys
from gateway import daemon
from gateway.acquisition import ports

def explode(*_):
    raise ArithmeticError("a mistake of ours")

ports.SerialPort.open = explode
sys.exit(daemon.main())
"""
"""The daemon, with a mistake in the thread of a line."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Lines, a broker and a configuration; daemon and head-end are the test's to start."""
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config()
        yield rig


@contextmanager
def manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd is to its service: a socket that is told things, and a watchdog of 0.3 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(folder / "notify@1"))
        door.settimeout(2.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify@1"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        yield door


def listen_until_silent(door: socket.socket) -> None:
    """Hear the watchdog being petted, until it is not."""
    try:
        for _ in range(100):
            assert door.recv(100) == b"WATCHDOG=1"
    except TimeoutError:
        return
    pytest.fail("the watchdog was petted to the end")


# --- beginning and end ----------------------------------------------------------------------------


def test_systemd_hears_ready_alive_and_stopping(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager(tmp_path, monkeypatch) as door:
        gateway = rig.start()
        told = [door.recv(100) for _ in range(10)]
        gateway.process.terminate()
        while told[-1] != b"STOPPING=1":
            told.append(door.recv(100))
        assert gateway.ended(STOP_S) == 0

    assert told[0] == b"READY=1"
    assert set(told[1:-1]) == {b"WATCHDOG=1"}


def test_a_line_that_hangs_lets_the_watchdog_bite(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_end = rig.listen()
    with manager(tmp_path, monkeypatch) as door:
        gateway = rig.start(start=("-c", HANGING))
        assert door.recv(100) == b"READY=1"
        listen_until_silent(door)
        rig.reads(head_end, "N1")
        assert gateway.process.poll() is None
        assert gateway.stop(STOP_S) == 0


def test_a_thread_that_dies_ends_the_daemon(rig: Rig) -> None:
    gateway = rig.start(start=("-c", CRASHING))

    assert gateway.ended() == 1
    said = [line for line in gateway.lines if "a thread ended" in line]
    assert len(said) == 1
    assert "line pair" in said[0]
    assert "a mistake of ours" in said[0]


def test_without_systemd_a_vanished_socket_is_nothing(rig: Rig, tmp_path: Path) -> None:
    gateway = rig.start(env={"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "300000"})
    gateway.wait_for("connected to the head-end")

    assert gateway.stop(STOP_S) == 0


def test_sigterm_under_load_loses_no_reading(rig: Rig) -> None:
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end, 3)
    assert gateway.stop(STOP_S) == 0
    state = livestate.read(rig.folder / "run")
    assert state
    rig.until(
        lambda: rig.ledger.states[NAME, "status"]["state"] == "offline", head_end, "the goodbye"
    )
    assert rig.ledger.states[NAME, "status"]["reason"] == "stopped"

    for line in rig.area.lines:
        rig.unplug(line.name)
    rig.start().wait_for("connected to the head-end")
    rig.everything_arrives(head_end)

    assert rig.ledger.summary().readings == state["readings_taken"]
    assert rig.ledger.summary().gaps == 0
    assert rig.event("stopping")


class FinalCore:
    """Notes in which order it is brought to its end."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def handle(self, event: Event) -> None:
        self.calls.append(type(event).__name__)

    def stop(self) -> None:
        self.calls.append("stop")

    def draining(self) -> bool:
        return False

    def close(self) -> None:
        self.calls.append("close")


def test_what_the_lines_read_last_is_handled_before_the_core_stops(rig: Rig) -> None:
    daemon, core = Daemon(load(rig.config()), SystemClock()), FinalCore()
    daemon._inbox.put(Heartbeat("net", 0.0))
    daemon._inbox.put(Heartbeat("pair", 0.0))
    daemon._stop(cast("Core", core))

    assert core.calls == ["Heartbeat", "Heartbeat", "stop", "close"]


def test_a_broker_that_answers_nothing_does_not_hold_up_the_stop(rig: Rig) -> None:
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end)
    rig.broker.freeze()
    try:
        assert gateway.stop(STOP_S) == 0
    finally:
        rig.broker.thaw()
    rig.start()
    rig.flows(head_end)
    rig.everything_arrives(head_end)


def test_a_bad_configuration_names_every_mistake_and_opens_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as meter:
        meter.setblocking(False)
        path = tmp_path / "gateway.toml"
        path.write_text(
            f"""
            [gateway]
            name = "two words"
            [store]
            directory = "store"
            group_commit_s = 0
            keep_weeks = 3
            [mqtt]
            brokers = ["127.0.0.1"]
            [[line]]
            name = "net"
            port = "tcp://127.0.0.1:{meter.getsockname()[1]}"
            [[meter]]
            asset = "A1"
            line = "nett"
            address = "1"
            profile = "no-such-meter"
            period_s = "often"
            """
        )
        with Gateway(path) as gateway:
            assert gateway.ended() == 2
        with pytest.raises(BlockingIOError):
            meter.accept()

    for place in ("gateway.name", "group_commit_s", "keep_weeks", "brokers[0]", "period_s"):
        assert any(place in line for line in gateway.lines), place
    assert all(line.startswith(str(path)) for line in gateway.lines)
    assert not (tmp_path / "store").exists()


def test_a_password_that_is_no_text_is_a_mistake_of_the_configuration(rig: Rig) -> None:
    (rig.folder / "password").write_bytes(b"\xff\xfe\x00")
    rig.config(mqtt={"username": "rig", "password_file": "password"})
    gateway = rig.start()

    assert gateway.ended() == 2
    [line] = gateway.lines
    assert "mqtt.password_file" in line


def test_a_store_that_cannot_be_made_is_one_line(rig: Rig) -> None:
    (rig.folder / "file").touch()
    rig.config(store={"directory": "file/store"})
    gateway = rig.start()

    assert gateway.ended() == 1
    assert "file/store" in gateway.wait_for("the store cannot be used")["error"]
    assert len(gateway.lines) == 1


def test_of_two_daemons_on_one_configuration_the_second_ends(rig: Rig) -> None:
    head_end = rig.listen()
    first = rig.start()
    rig.flows(head_end)
    second = rig.start()

    assert second.ended() == 1
    assert f"process {first.process.pid}" in second.wait_for("the store cannot be used")["error"]
    assert len(second.lines) == 1
    rig.reads(head_end, "N1", "P1")
    assert not first.log("line is down")
    assert not first.log("no connection to the head-end")
