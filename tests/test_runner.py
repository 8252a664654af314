"""A line in its thread: real ptys and sockets with a small meter behind, both protocols."""

import os
import queue
import select
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from gateway.acquisition.exchange import Manners
from gateway.acquisition.line import Line
from gateway.acquisition.ports import Port, PortError, SerialPort, SocketPort
from gateway.acquisition.runner import run_line
from gateway.clock import Clock, SystemClock
from gateway.events import (
    Crashed,
    Event,
    Fault,
    Heartbeat,
    Job,
    JobDone,
    PortChanged,
    PortSettings,
    Priority,
)
from protocols import dlt645, modbus
from protocols.base import Request
from tests.line_world import FAST, SLOW, Ask, Toy

DEADLINE_S = 20.0
ADDRESS = "000012345678"
ENERGY = bytes.fromhex("78 56 34 12")
MANNERS = {
    "A-1": Manners(codec=dlt645, settings=SLOW, timeout_s=2.0, late_s=0.0),
    "A-2": Manners(codec=modbus.rtu, settings=FAST, timeout_s=2.0),
}
READ_ENERGY = dlt645.read(ADDRESS, "00010000")
READ_VOLTAGE = modbus.Request(unit=1, function=4, register=0, count=2)


def reply_to(heard: bytes) -> bytes:
    """What the two meters on the pair answer: nothing until a request is whole."""
    frame, _ = dlt645.find_frame(heard)
    if frame and frame.address == ADDRESS:
        return dlt645.encode_frame(dlt645.Frame(ADDRESS, 0x91, frame.data + ENERGY), preamble=4)
    request, _ = modbus.rtu.find_request(heard)
    if request and request.unit == 1:
        return modbus.rtu.encode_reply(request, b"\x43\x66\x33\x33")
    return b""


@contextmanager
def meters(fd: int, answer: Callable[[bytes], None]) -> Iterator[None]:
    """Hear ``fd`` in a thread; ``answer`` gets all bytes since the last whole request."""
    ended, end = os.pipe()

    def serve() -> None:
        heard = b""
        while ended not in (ready := select.select([fd, ended], [], [])[0]) and fd in ready:
            try:
                heard += os.read(fd, 4096)
            except OSError:  # nobody has the slave open just now
                continue
            if reply_to(heard):
                answer(heard)
                heard = b""

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        os.write(end, b"x")
        thread.join()
        os.close(ended)
        os.close(end)


class Running:
    """A line in its thread."""

    def __init__(self, port: Port, manners: Mapping[str, Manners], clock: Clock) -> None:
        self.inbox: queue.Queue[Event] = queue.Queue()
        self.jobs: queue.Queue[Job] = queue.Queue()
        self.stopping = threading.Event()
        line = Line("east", manners, self.inbox.put, Random(1))
        self.thread = threading.Thread(
            target=run_line, args=(line, port, self.jobs, clock, self.stopping, self.inbox.put)
        )
        self.clock = clock
        self._ids = iter(range(1, 1000))

    def read(self, meter: str, *requests: Request) -> JobDone:
        """Submit a job and wait until it is done."""
        job = Job(
            id=next(self._ids), meter=meter, priority=Priority.COMMAND, requests=requests,
            not_after=self.clock.monotonic() + DEADLINE_S,
        )  # fmt: skip
        self.jobs.put(job)
        while True:
            event = self.next()
            if isinstance(event, JobDone):
                assert event.job is job
                return event

    def next(self) -> Event:
        """The next event that is not a heartbeat."""
        while isinstance(event := self.inbox.get(timeout=DEADLINE_S), Heartbeat):
            pass
        return event


@contextmanager
def running(
    port: Port, manners: Mapping[str, Manners] = MANNERS, clock: Clock | None = None
) -> Iterator[Running]:
    line = Running(port, manners, clock or SystemClock())
    line.thread.start()
    try:
        yield line
    finally:
        line.stopping.set()
        line.thread.join(DEADLINE_S)
        assert not line.thread.is_alive()


@contextmanager
def plugged(link: Path, speeds: list[int]) -> Iterator[None]:
    """An adapter under a lasting name, two meters behind it; notes the speed of each request."""
    master, slave = os.openpty()
    tty.setraw(slave)

    def answer(heard: bytes) -> None:
        speeds.append(termios.tcgetattr(master)[4])
        reply = reply_to(heard)
        os.write(master, reply[:5])
        os.write(master, reply[5:])

    link.unlink(missing_ok=True)
    link.symlink_to(os.ttyname(slave))
    try:
        with meters(master, answer):
            yield
    finally:
        os.close(slave)
        os.close(master)


def test_two_protocols_at_two_speeds_share_a_pair(tmp_path: Path) -> None:
    speeds: list[int] = []
    link = tmp_path / "adapter"
    with plugged(link, speeds), running(SerialPort(str(link), tmp_path)) as line:
        assert line.next() == PortChanged("east", up=True)
        for _ in range(2):
            energy = line.read("A-1", READ_ENERGY).outcomes[0]
            voltage = line.read("A-2", READ_VOLTAGE).outcomes[0]
            assert energy.reply is not None
            assert (energy.reply.address, energy.reply.data) == (ADDRESS, ENERGY)
            assert voltage.reply is not None
            assert (voltage.reply.address, voltage.reply.data) == ("1", b"\x43\x66\x33\x33")
    assert speeds == [termios.B2400, termios.B9600] * 2


def test_an_adapter_is_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    link = tmp_path / "adapter"
    port = SerialPort(str(link), tmp_path)
    with plugged(link, []):
        line_runs = running(port)
        line = line_runs.__enter__()
        assert line.next() == PortChanged("east", up=True)
        assert line.read("A-1", READ_ENERGY).outcomes[0].reply is not None
    try:
        lost = line.next()
        assert isinstance(lost, PortChanged)
        assert not lost.up
        assert f"port {link}: not there; is the adapter plugged in?" in lost.reason
        with plugged(link, []):
            assert line.next() == PortChanged("east", up=True)
            assert line.read("A-1", READ_ENERGY).outcomes[0].reply is not None
    finally:
        line_runs.__exit__(None, None, None)


def test_a_port_that_another_holds_is_one_event_and_then_ours(tmp_path: Path) -> None:
    link = tmp_path / "adapter"
    with plugged(link, []):
        other = SerialPort(str(link), tmp_path)
        other.open()
        with running(SerialPort(str(link), tmp_path)) as line:
            busy = line.next()
            assert isinstance(busy, PortChanged)
            assert f"in use by process {os.getpid()}" in busy.reason
            other.close()
            assert line.next() == PortChanged("east", up=True)


def test_a_serial_server_that_cuts_frames_to_pieces() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = SocketPort(f"socket://127.0.0.1:{server.getsockname()[1]}")
        with running(port) as line:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def answer(heard: bytes) -> None:
                for byte in reply_to(heard):
                    connection.sendall(bytes([byte]))

            with connection, meters(connection.fileno(), answer):
                assert line.next() == PortChanged("east", up=True)
                energy = line.read("A-1", READ_ENERGY).outcomes[0]
                voltage = line.read("A-2", READ_VOLTAGE).outcomes[0]
    assert energy.reply is not None
    assert energy.reply.data == ENERGY
    assert voltage.reply is not None


class StillClock:
    """Moves only when a port is read."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return 1_767_225_600.0

    def monotonic(self) -> float:
        return self.at

    def synchronised(self) -> bool:
        return True


class DeafPort:
    """Opens, takes bytes, hears none; reading takes its time on a StillClock."""

    url = "deaf"

    def __init__(self, clock: StillClock) -> None:
        self.clock = clock
        self.calls: list[str] = []

    def open(self, abandoned: Callable[[], bool] = lambda: False) -> None:  # noqa: ARG002
        self.calls.append("open")

    def configure(self, settings: PortSettings) -> None:
        self.calls.append(f"configure {settings.baud}")

    def write(self, data: bytes) -> None:
        self.calls.append(f"write {data.hex()}")

    def read(self, max_wait_s: float) -> bytes:
        self.clock.at += max(max_wait_s, 0.01)
        return b""

    def flush_input(self) -> None:
        self.calls.append("flush input")

    def close(self) -> None:
        self.calls.append("close")


TOY = {"1": Manners(codec=Toy(), settings=SLOW, timeout_s=12.0, late_s=0.0)}


def toy_job(tries: int) -> Job:
    return Job(
        id=1,
        meter="1",
        priority=Priority.POLL,
        requests=(Ask(1, 2),),
        not_after=1e9,
        tries=tries,
    )


def test_before_a_request_the_port_is_set_and_cleared_and_in_the_end_it_is_closed() -> None:
    clock = StillClock()
    port = DeafPort(clock)
    with running(port, TOY, clock) as line:
        done = line.read("1", Ask(1, 2))

    assert done.outcomes[0].fault in (Fault.SILENT, Fault.EXPIRED)
    assert port.calls[:4] == ["open", "configure 2400", "flush input", "write 3f01020042"]
    assert port.calls[-1] == "close"


def test_heartbeats_are_five_seconds_apart() -> None:
    clock = StillClock()
    beats: list[float] = []
    stopping = threading.Event()

    def emit(event: Event) -> None:
        if isinstance(event, Heartbeat):
            beats.append(event.at)
        if isinstance(event, JobDone):
            stopping.set()

    line = Line("east", TOY, emit, Random(1))
    jobs: queue.Queue[Job] = queue.Queue()
    jobs.put(toy_job(tries=2))
    run_line(line, DeafPort(clock), jobs, clock, stopping, emit)

    assert beats == pytest.approx([1000, 1005, 1010, 1015, 1020], abs=1.0)


def test_an_unexpected_error_becomes_an_event_and_the_port_is_closed() -> None:
    class BrokenPort(DeafPort):
        def write(self, data: bytes) -> None:  # noqa: ARG002
            raise RuntimeError("a mistake of ours")

    clock = StillClock()
    port = BrokenPort(clock)
    with running(port, TOY, clock) as line:
        line.jobs.put(toy_job(tries=3))
        assert line.next() == PortChanged("east", up=True)
        crashed = line.next()

    assert isinstance(crashed, Crashed)
    assert crashed.thread == "line east"
    assert str(crashed.error) == "a mistake of ours"
    assert port.calls[-1] == "close"


def test_a_write_that_fails_costs_the_exchange_and_not_the_line() -> None:
    class LoosePort(DeafPort):
        def write(self, data: bytes) -> None:  # noqa: ARG002
            raise PortError("deaf", "gone")

    clock = StillClock()
    with running(LoosePort(clock), TOY, clock) as line:
        line.jobs.put(toy_job(tries=1))
        assert line.next() == PortChanged("east", up=True)
        done = line.next()
        assert line.thread.is_alive()

    assert isinstance(done, JobDone)
    assert done.outcomes[0].fault is Fault.PORT
    assert done.outcomes[0].error == "line east: port deaf: gone"
