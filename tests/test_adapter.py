"""Direction and latency of RS-485 adapters, with a kernel that the test plays."""

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from gateway.acquisition.adapter import (
    ENABLED,
    RTS_AFTER_SEND,
    RTS_ON_SEND,
    TIOCGRS485,
    DirectionError,
    latency_advice,
    latency_ms,
    set_direction,
)
from gateway.acquisition.port import Direction
from gateway.acquisition.ports import PortError, SerialPort


@pytest.fixture(name="pty")
def make_pty() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


class Driver:
    """Takes ``struct serial_rs485`` as the kernel does; ``keeps`` masks what it can do."""

    def __init__(self, keeps: int = 0xFFFF) -> None:
        self.state = bytes(32)
        self._keeps = keeps

    def ioctl(self, _fd: int, request: int, data: object) -> bytes:
        if isinstance(data, bytes):
            assert request == TIOCGRS485
            return self.state
        if request != TIOCGRS485:
            words = struct.unpack("8I", bytes(data))  # type: ignore[call-overload]
            self.state = struct.pack("8I", words[0] & self._keeps, *words[1:])
        return b""


def direct(monkeypatch: pytest.MonkeyPatch, pty: str, driver: Driver, wanted: Direction) -> None:
    with serial.Serial(pty) as device:
        monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
        try:
            set_direction(device, wanted)
        finally:
            monkeypatch.undo()


def test_the_kernel_is_told_levels_and_delays(monkeypatch: pytest.MonkeyPatch, pty: str) -> None:
    driver = Driver()
    direct(monkeypatch, pty, driver, Direction(before_s=0.002, after_s=0.005))
    flags, before_ms, after_ms, *_ = struct.unpack("8I", driver.state)
    assert flags == ENABLED | RTS_ON_SEND
    assert (before_ms, after_ms) == (2, 5)

    direct(monkeypatch, pty, driver, Direction(high_to_send=False))
    assert struct.unpack("8I", driver.state)[0] == ENABLED | RTS_AFTER_SEND


@pytest.mark.parametrize("keeps", [0, RTS_ON_SEND, ENABLED])
def test_a_driver_that_takes_something_else_is_found_out(
    monkeypatch: pytest.MonkeyPatch, pty: str, keeps: int
) -> None:
    with pytest.raises(DirectionError, match="took other RS-485 flags"):
        direct(monkeypatch, pty, Driver(keeps), Direction())


def test_a_device_that_cannot_is_told_what_to_write(pty: str, tmp_path: Path) -> None:
    port = SerialPort(pty, tmp_path, Direction())

    with pytest.raises(PortError, match=r'leave rs485 = "kernel" out'):
        port.open()
    assert not list(tmp_path.iterdir()), "the lock is released"


def test_an_adapter_that_holds_bytes_back_gets_advice(tmp_path: Path) -> None:
    timer = tmp_path / "ttyUSB7" / "latency_timer"
    timer.parent.mkdir()
    timer.write_text("16\n")
    assert latency_ms("/dev/ttyUSB7", tmp_path) == 16
    advice = latency_advice("/dev/ttyUSB7", tmp_path)
    assert advice is not None
    assert "up to 16 ms" in advice
    assert f"echo 1 | sudo tee {timer}" in advice

    timer.write_text("1\n")
    assert latency_advice("/dev/ttyUSB7", tmp_path) is None
    timer.write_text("rubbish")
    assert latency_advice("/dev/ttyUSB7", tmp_path) is None
    assert latency_advice("socket://10.0.0.8:4001", tmp_path) is None
