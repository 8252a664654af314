"""Pacing and ports of the simulated lines: by simulated time where it is about time."""

import socket
from pathlib import Path

import pytest

from protocols import dlt645, modbus
from protocols.profile import load
from simulators.__main__ import SystemClock
from simulators.area import PROFILES
from simulators.dlt645_meter import DLT645Meter
from simulators.household import Household
from simulators.line import Line
from simulators.modbus_meter import ModbusMeter
from simulators.server import PortError, Server, Talk, pieces, serving

ADDRESS = "000000000001"
READ = dlt645.encode(dlt645.read(ADDRESS, "00010000"))
NOW = 1_795_320_000.0


def one_meter(delay_s: float = 0.05) -> Line:
    return Line([DLT645Meter(ADDRESS, Household("a"), delay_s=delay_s)])


def test_pieces_have_deadlines_of_their_own_that_do_not_add_up() -> None:
    cut = list(pieces(bytes(24), 100.0, 11 / 2400))

    assert b"".join(piece for _, piece in cut) == bytes(24)
    assert [len(piece) for _, piece in cut] == [4] * 6
    assert cut[-1][0] == pytest.approx(100 + 24 * 11 / 2400)
    assert list(pieces(bytes(300), 5.0, 0.0)) == [(5.0, bytes(300))]
    assert list(pieces(b"", 5.0, 0.0)) == []


def test_a_reply_takes_as_long_as_on_the_wire() -> None:
    talk = Talk(one_meter(delay_s=0.05), lambda: 2400, None)
    character_s = 11 / 2400

    talk.heard(READ, NOW, 10.0)
    begins = 10 + len(READ) * character_s + 0.05
    assert talk.due(begins) == b""
    assert talk.next_due == pytest.approx(begins + 4 * character_s)
    assert len(talk.due(begins + 8.5 * character_s)) == 8
    rest = talk.due(begins + 24.5 * character_s)
    assert len(rest) == 16, "4 wake-up bytes, 12 of the frame, 8 of data in all"
    assert talk.next_due is None


def test_a_request_in_two_parts_is_as_long_as_in_one() -> None:
    whole, parts = (Talk(one_meter(), lambda: 2400, None) for _ in range(2))

    whole.heard(READ, NOW, 10.0)
    parts.heard(READ[:7], NOW, 10.0)
    parts.heard(READ[7:], NOW, 10.001)
    assert parts.next_due == pytest.approx(whole.next_due)


def test_without_a_wire_only_the_meter_takes_its_time() -> None:
    talk = Talk(one_meter(delay_s=0.05), lambda: None, None)

    talk.heard(READ, NOW, 10.0)
    assert talk.next_due == 10.05
    assert len(talk.due(10.05)) == 24


def exchange(client: socket.socket, request: bytes, size: int) -> bytes:
    client.sendall(request)
    heard = b""
    while len(heard) < size:
        data = client.recv(size - len(heard))
        assert data, "the server hung up"
        heard += data
    return heard


def sdm630() -> Line:
    profile = load(PROFILES / "eastron-sdm630.toml")
    house = Household("a", phases=3)
    return Line([ModbusMeter(1, house, profile, delay_s=0.0, tcp=True)])  # type: ignore[arg-type]


def test_modbus_tcp_clients_do_not_disturb_each_other() -> None:
    server = Server(SystemClock())
    port = server.add_tcp(sdm630, "127.0.0.1", 0)
    request = modbus.Request(1, 4, 0, 2)
    with (
        serving(server),
        socket.create_connection(("127.0.0.1", port), timeout=10) as one,
        socket.create_connection(("127.0.0.1", port), timeout=10) as other,
    ):
        first = modbus.tcp.encode(request, 1)
        one.sendall(first[:5])
        reply = exchange(other, modbus.tcp.encode(request, 2), 13)
        assert modbus.tcp.decode(reply, request, 2)[1] == 13
        reply = exchange(one, first[5:], 13)
        assert modbus.tcp.decode(reply, request, 1)[1] == 13


def test_a_serial_server_survives_clients_that_come_and_go() -> None:
    server = Server(SystemClock())
    port = server.add_tcp(lambda: one_meter(delay_s=0.0), "127.0.0.1", 0, baud=2400)
    with serving(server):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(READ[:9])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            frame, used = dlt645.find_frame(exchange(client, READ, 24))
    assert frame is not None
    assert (frame.address, used) == (ADDRESS, 24)


def test_a_port_that_is_taken_is_named() -> None:
    server = Server(SystemClock())
    try:
        port = server.add_tcp(one_meter, "127.0.0.1", 0)
        with pytest.raises(PortError, match=f"cannot listen on 127.0.0.1:{port}: "):
            server.add_tcp(one_meter, "127.0.0.1", port)
    finally:
        server.close()


def test_a_link_is_ours_alone(tmp_path: Path) -> None:
    link, file = tmp_path / "line1", tmp_path / "file"
    file.write_text("mine")
    link.symlink_to("/nowhere")
    server, later = Server(SystemClock()), Server(SystemClock())
    try:
        assert server.add_pty(one_meter(), link) == link
        assert link.is_char_device()
        with pytest.raises(PortError, match="exists and is no symbolic link"):
            server.add_pty(one_meter(), file)
        with pytest.raises(PortError, match="choose a directory you may write"):
            server.add_pty(one_meter(), tmp_path / "missing" / "line1")
        later.add_pty(one_meter(), link)
    finally:
        server.close()
    assert link.is_char_device(), "a later server has taken the name"
    later.close()
    assert not link.is_symlink()
    assert file.read_text() == "mine"
