"""What an RS-485 adapter must be told beside speed and parity: its direction and its latency.

Most adapters switch between sending and receiving by themselves.  On-board UARTs with a bare
transceiver need the kernel to do it, by the RTS line; user space is too slow (the first bytes of a
reply are lost).  Source: Linux Documentation/driver-api/serial/serial-rs485.rst.

FTDI adapters hold received bytes back for up to 16 ms unless told otherwise, at each reply.
Source: Linux Documentation/usb/usb-serial.rst, latency_timer.
"""

import fcntl
import struct
from pathlib import Path

import serial
from serial.rs485 import RS485Settings

from gateway.acquisition.port import Direction

USB_SERIAL = Path("/sys/bus/usb-serial/devices")
LATENCY_MAX_MS = 1
TIOCGRS485 = 0x542E
ENABLED, RTS_ON_SEND, RTS_AFTER_SEND = 1, 2, 4
"""Flags of ``struct serial_rs485``.  Source: Linux uapi/linux/serial.h."""


class DirectionError(Exception):
    """The kernel does not switch this adapter's direction.  Says what to write instead."""


def set_direction(device: serial.Serial, direction: Direction) -> None:
    """Have the kernel switch, and see that it does.

    Raises DirectionError where it does not.
    """
    high = direction.high_to_send
    wanted = RS485Settings(
        rts_level_for_tx=high,
        rts_level_for_rx=not high,
        loopback=False,
        delay_before_tx=direction.before_s,
        delay_before_rx=direction.after_s,
    )
    try:
        device.rs485_mode = wanted
        # Drivers change what they cannot do without a word, so what was taken is read back.
        flags, *_ = struct.unpack("8I", fcntl.ioctl(device.fileno(), TIOCGRS485, bytes(32)))
    except (OSError, ValueError) as error:
        device.rs485_mode = None
        raise DirectionError(
            f"its driver cannot switch the direction ({error}); if the adapter does it by itself,"
            ' leave rs485 = "kernel" out'
        ) from error
    levels = RTS_ON_SEND if high else RTS_AFTER_SEND
    if not flags & ENABLED or flags & (RTS_ON_SEND | RTS_AFTER_SEND) != levels:
        raise DirectionError(
            f"its driver took other RS-485 flags than it was given ({flags:#x}); try the other"
            " rs485_rts, or wire the transceiver for it"
        )


def latency_ms(path: str, devices: Path = USB_SERIAL) -> int | None:
    """How long the adapter at ``path`` holds bytes back; None where that cannot be told."""
    try:
        return int((devices / Path(path).resolve().name / "latency_timer").read_text())
    except (OSError, ValueError):
        return None


def latency_advice(path: str, devices: Path = USB_SERIAL) -> str | None:
    """What to do about an adapter that holds bytes back; None where it does not."""
    found_ms = latency_ms(path, devices)
    if found_ms is None or found_ms <= LATENCY_MAX_MS:
        return None
    timer = devices / Path(path).resolve().name / "latency_timer"
    return (
        f"the adapter at {path} holds each reply back for up to {found_ms} ms; install"
        f" systemd/60-taiqu.rules, or once: echo 1 | sudo tee {timer}"
    )
