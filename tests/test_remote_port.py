"""pyserial's own RFC 2217 server, on a real socket, with a loop where the wire would be."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import serial
from serial import rfc2217

from gateway.acquisition.ports import Port, PortError, make_port
from gateway.events import PortSettings

DEADLINE_S = 10.0

# pyserial 3.5 starts its thread in a way that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")


class Server:
    """Serves one connection at a time; what is written to its port comes back."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.wire = serial.serial_for_url("loop://", timeout=0)
        self.connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        try:
            while True:
                self.connection, _ = self.listener.accept()
                self._talk(self.connection)
        except OSError:
            return

    def _talk(self, connection: socket.socket) -> None:
        class Writer:
            def write(self, data: bytes) -> None:
                connection.sendall(data)

        manager = rfc2217.PortManager(self.wire, Writer())  # type: ignore[arg-type]  # as its example
        with connection:
            while data := connection.recv(1024):
                self.wire.write(b"".join(manager.filter(data)))
                if back := self.wire.read(self.wire.in_waiting):
                    connection.sendall(b"".join(manager.escape(back)))

    def hang_up(self) -> None:
        assert self.connection
        self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(DEADLINE_S)
        self.wire.close()


def read_on(port: Port) -> None:
    while True:
        port.read(DEADLINE_S)


@pytest.fixture(name="server")
def make_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_bytes_go_both_ways_whatever_they_are(server: Server) -> None:
    data = bytes(range(256)) + b"\xff\xff\x00\xff"
    with closing(make_port(server.url)) as port:
        port.open()
        port.write(data)
        back = b""
        while len(back) < len(data):
            piece = port.read(DEADLINE_S)
            assert piece
            back += piece

    assert back == data


def test_speed_and_parity_are_set_at_the_server(server: Server) -> None:
    with closing(make_port(server.url)) as port:
        port.open()
        port.configure(PortSettings(2400, "E", 1))
        assert (server.wire.baudrate, server.wire.parity) == (2400, "E")
        port.configure(PortSettings(9600, "N", 2))
        assert (server.wire.baudrate, server.wire.parity, server.wire.stopbits) == (9600, "N", 2)


def test_old_bytes_are_dropped_and_nothing_is_waited_for(server: Server) -> None:
    with closing(make_port(server.url)) as port:
        port.open()
        port.write(b"stale")
        heard = b""
        while len(heard) < 4:
            heard += port.read(DEADLINE_S)
        port.flush_input()
        port.write(b"fresh")
        while not heard.endswith(b"fresh"):
            heard += port.read(DEADLINE_S)

        assert port.read(0.0) == b""


def test_a_connection_that_ends_is_told(server: Server) -> None:
    with closing(make_port(server.url)) as port:
        port.open()
        server.hang_up()
        with pytest.raises(PortError, match="connection lost"):
            read_on(port)

        port.close()
        port.open()
        port.write(b"again")
        assert port.read(DEADLINE_S)


def test_nobody_there_says_what_to_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    port = make_port(f"rfc2217://127.0.0.1:{number}")

    with pytest.raises(PortError, match="no RFC 2217 server answers"):
        port.open()
    with pytest.raises(PortError, match="is not open"):
        port.write(b"x")
