"""Real pseudo-terminals, real sockets, and what their errors tell the technician."""

import errno
import fcntl
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.ports import (
    PortError,
    SerialPort,
    SocketPort,
    make_port,
    parse_port,
    port_advice,
)
from gateway.events import PortSettings

DEADLINE_S = 10.0
HOLD = """
import sys, pathlib
from gateway.acquisition.ports import SerialPort
port = SerialPort(sys.argv[1], pathlib.Path(sys.argv[2]))
port.open()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="pty")
def make_pty() -> Iterator[tuple[int, str]]:
    """A master and the path of its slave; the slave stays open, as a socat pair would keep it."""
    master, slave = os.openpty()
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def read_exactly(port: SerialPort | SocketPort, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = port.read(DEADLINE_S)
        assert piece, f"only {data!r} came"
        data += piece
    return data


@pytest.mark.parametrize(
    "url",
    [
        "/dev/ttyS1",
        "/run/line1",
        "socket://10.0.0.8:4001",
        "tcp://meter.lan:502",
        "rfc2217://10.0.0.8:4001",
        "tcp://[::1]:502",
    ],
)
def test_a_well_formed_port(url: str) -> None:
    assert parse_port(url) is None
    assert make_port(url).url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ttyUSB0", "'ttyUSB0' is not a port; write /dev/..., socket://HOST:PORT (serial server)"),
        ("udp://10.0.0.8:4001", "'udp://10.0.0.8:4001' is not a port; write"),
        ("tcp://10.0.0.8", "must name a host and a TCP port from 1 to 65535, nothing else"),
        ("tcp://10.0.0.8:0", "must name a host and a TCP port"),
        ("tcp://:502", "must name a host and a TCP port"),
        ("tcp://me@10.0.0.8:502/x", "must name a host and a TCP port"),
        ("tcp://10.0.0.8:70000", "is not a port: Port out of range 0-65535"),
        ("tcp://[::1:502", "is not a port: Invalid IPv6 URL"),
        ("/dev/tty\0", "is not a port"),
    ],
)
def test_a_malformed_port_is_explained(url: str, problem: str) -> None:
    assert problem in (parse_port(url) or "")
    with pytest.raises(PortError):
        make_port(url)


@given(st.text())
def test_no_text_is_more_than_a_problem(url: str) -> None:
    problem = parse_port(url)

    assert problem is None or repr(url) in problem


def test_a_name_that_may_move_gets_advice() -> None:
    assert port_advice("/dev/ttyUSB0") == (
        "'/dev/ttyUSB0' may be another adapter after a reboot;"
        " use a name under /dev/serial/by-id/ or /dev/serial/by-path/"
    )
    assert port_advice("/dev/serial/by-path/pci-0") is None
    assert port_advice("socket://10.0.0.8:4001") is None


def test_bytes_go_both_ways_and_old_ones_can_be_dropped(
    pty: tuple[int, str], tmp_path: Path
) -> None:
    master, path = pty
    with closing(SerialPort(path, tmp_path)) as port:
        port.open()
        port.write(b"\x68\x00\xff\x0d\x0a\x11\x13")
        assert os.read(master, 100) == b"\x68\x00\xff\x0d\x0a\x11\x13"
        os.write(master, b"\x11\x13\x0d\x03")
        assert read_exactly(port, 4) == b"\x11\x13\x0d\x03"

        os.write(master, b"stale")
        select.select([port._device().fileno()], [], [], DEADLINE_S)
        port.flush_input()
        assert port.read(0.0) == b""


def test_a_pty_is_opened_again_and_again_with_parity(pty: tuple[int, str], tmp_path: Path) -> None:
    """The kernel drops a pty's parity; asking a second time used to end in a bare termios.error."""
    _, path = pty
    port = SerialPort(path, tmp_path)
    for _ in range(3):
        port.open()
        for settings in (
            PortSettings(2400, "E"),
            PortSettings(9600, "N", 2),
            PortSettings(1200, "O"),
        ):
            port.configure(settings)
            assert port._device().baudrate == settings.baud
        port.close()


def test_settings_that_no_port_has_are_named(pty: tuple[int, str], tmp_path: Path) -> None:
    with closing(SerialPort(pty[1], tmp_path)) as port:
        port.open()
        with pytest.raises(
            PortError, match=r"cannot be set to PortSettings\(baud=9600, parity='N'"
        ):
            port.configure(PortSettings(9600, "N", 7))


def test_a_port_of_another_process_names_it(pty: tuple[int, str], tmp_path: Path) -> None:
    _, path = pty
    command = [sys.executable, "-c", HOLD, path, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(PortError) as caught:
            SerialPort(path, tmp_path).open()
        # Killed, so it cannot remove its lock file.
        holder.kill()
    assert f"port {path}: in use by process {holder.pid} (python" in str(caught.value)
    assert "stop it or give the line another port" in str(caught.value)
    assert len(list(tmp_path.iterdir())) == 1

    with closing(SerialPort(path, tmp_path)) as port:
        port.open()
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_only_flocked_names_the_process(
    pty: tuple[int, str], tmp_path: Path
) -> None:
    _, path = pty
    other = os.open(path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with pytest.raises(PortError, match=f"in use by process {os.getpid()} "):
            SerialPort(path, tmp_path).open()
    finally:
        os.close(other)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_file_of_another_program_counts_while_that_lives(
    pty: tuple[int, str], tmp_path: Path
) -> None:
    _, path = pty
    lock = tmp_path / f"LCK..{path.removeprefix('/dev/').replace('/', '_')}"
    lock.write_text(f"{os.getppid():10d} minicom root\n")
    with pytest.raises(PortError, match=f"in use by process {os.getppid()} "):
        SerialPort(path, tmp_path).open()
    assert "minicom" in lock.read_text()

    lock.write_text(f"{2**22 + 1:10d} minicom root\n")
    with closing(SerialPort(path, tmp_path)) as port:
        port.open()
        assert lock.read_text() == f"{os.getpid():10d} taiqu\n"


def test_without_a_lock_directory_the_flock_is_left(pty: tuple[int, str], tmp_path: Path) -> None:
    _, path = pty
    nowhere = tmp_path / "nowhere"
    with closing(SerialPort(path, nowhere)) as port, closing(SerialPort(path, nowhere)) as second:
        port.open()
        with pytest.raises(PortError, match="in use by process"):
            second.open()


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PortError) as caught:
        SerialPort("/dev/serial/by-id/usb-none", tmp_path).open()

    assert str(caught.value).startswith(
        "port /dev/serial/by-id/usb-none: not there; is the adapter plugged in? Adapters found: "
    )
    assert list(tmp_path.iterdir()) == []


def test_a_port_we_may_not_use_names_the_group(
    pty: tuple[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    group = Path(pty[1]).group()
    with pytest.raises(
        PortError, match=rf"add it to the group {group} \(sudo usermod -aG {group} "
    ):
        SerialPort(pty[1], tmp_path).open()


def test_a_file_is_no_port(tmp_path: Path) -> None:
    path = tmp_path / "meter.log"
    path.write_text("x")
    with pytest.raises(PortError, match="cannot be opened as a serial device"):
        SerialPort(str(path), tmp_path).open()


def test_an_unplugged_adapter_is_noticed_by_whatever_comes_first(tmp_path: Path) -> None:
    uses: list[Callable[[SerialPort], object]] = [
        lambda port: port.read(DEADLINE_S),
        lambda port: port.write(b"x"),
        lambda port: port.flush_input(),
        lambda port: port.configure(PortSettings(1200)),
    ]
    for use in uses:
        master, slave = os.openpty()
        with closing(SerialPort(os.ttyname(slave), tmp_path)) as port:
            port.open()
            os.close(slave)
            os.close(master)
            with pytest.raises(PortError, match=r"was the adapter unplugged\?|cannot be set"):
                use(port)


def test_a_closed_port_says_so() -> None:
    for port in (SerialPort("/dev/ttyS9"), SocketPort("tcp://127.0.0.1:1")):
        with pytest.raises(PortError, match="is not open"):
            port.read(0.0)


def test_a_stream_comes_in_whatever_pieces_the_server_makes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = make_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        port.open()
        connection, _ = server.accept()
        with connection, closing(port):
            port.configure(PortSettings(2400, "E"))
            port.write(b"ask")
            assert connection.recv(10) == b"ask"
            for piece in (b"\x68", b"\x12\x34", b"\x16"):
                connection.sendall(piece)
                assert port.read(DEADLINE_S) == piece

            connection.sendall(b"stale")
            assert port.read(DEADLINE_S) == b"stale"
            port.flush_input()
            assert port.read(0.0) == b""
            connection.close()
            with pytest.raises(PortError, match="the other end closed the connection"):
                port.read(DEADLINE_S)


def test_a_connection_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(PortError) as caught:
        make_port(f"tcp://127.0.0.1:{number}").open()

    assert str(caught.value) == (
        f"port tcp://127.0.0.1:{number}: connection refused; is the server running, and does it"
        " listen on this TCP port?"
    )


def test_every_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        tcp = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        found = [(*tcp, unheard.getsockname()), (*tcp, server.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with closing(make_port("tcp://localhost:502")) as port:
            port.open()
            port.write(b"ask")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(10) == b"ask"


def test_a_host_that_cannot_be() -> None:
    with pytest.raises(PortError, match=r"is unknown .*; write its IP address"):
        make_port("tcp://" + "a" * 70 + ":502").open()


def test_connecting_can_be_abandoned() -> None:
    """A server whose queue is full answers nothing, as a switched-off one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"

        def crowd() -> None:
            for _ in range(5):
                port = stack.enter_context(closing(SocketPort(url)))
                port.open(abandoned=lambda: True)

        with pytest.raises(PortError, match=r"no answer .*; check its supply"):
            crowd()
