"""What a line needs of its port, and how a port fails.

The ports themselves are in gateway/acquisition/ports.py (serial devices, TCP) and remote_port.py
(RFC 2217).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.events import PortSettings


class PortError(Exception):
    """A port cannot be used.  Says which, why, and what to do."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"port {url}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """How the kernel switches an RS-485 transceiver between sending and receiving, by RTS."""

    high_to_send: bool = True
    """The level of RTS that makes the transceiver send."""
    before_s: float = 0.0
    """From the switch to the first bit."""
    after_s: float = 0.0
    """From the last bit to the switch back."""


class Port(Protocol):
    """What a line needs of its port.  Every method but ``close`` may raise PortError."""

    url: str

    def open(self, abandoned: Callable[[], bool] = lambda: False) -> None:
        """Open it.  ``abandoned`` is asked while that takes long: nobody wants it any more."""
        ...

    def configure(self, settings: PortSettings) -> None:
        """Set speed, parity and stop bits."""
        ...

    def write(self, data: bytes) -> None:
        """Hand over all of ``data``; it may return before the bytes have left."""
        ...

    def read(self, max_wait_s: float) -> bytes:
        """What has been received, at once if there is something; empty after ``max_wait_s``."""
        ...

    def flush_input(self) -> None:
        """Drop what has been received."""
        ...

    def close(self) -> None:
        """Let go of it.  A closed port can be opened again."""
        ...
