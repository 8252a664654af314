"""A serial port behind a server that speaks RFC 2217: its speed and parity are set from here.

The only kind of serial server on which meters of different speed can share a pair.  pyserial does
the telnet; a thread of its own collects what comes.

Not supported: looking up a host *name* and connecting cannot be abandoned, they may take some
seconds; RTS and DTR are left alone.
"""

from collections.abc import Callable

from serial import rfc2217

from gateway.acquisition.port import PortError
from gateway.events import PortSettings

SLICE_S = 0.02
"""How finely ``read`` can wait: pyserial's own wait is part of the settings it negotiates."""


class RemotePort:
    """One port of such a server, at ``rfc2217://HOST:PORT``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._serial: rfc2217.Serial | None = None
        self._settings: PortSettings | None = None

    def open(self, abandoned: Callable[[], bool] = lambda: False) -> None:  # noqa: ARG002
        """Connect and negotiate, with 9600 8N1 until told otherwise."""
        self.close()
        try:
            # The answer to RTS and DTR is ignored: many servers refuse to set them.
            self._serial = rfc2217.Serial(f"{self.url}?ign_set_control", timeout=SLICE_S)
        except (OSError, ValueError) as error:
            raise PortError(
                self.url,
                f"no RFC 2217 server answers ({error}); check its address, and whether this TCP"
                " port speaks RFC 2217 (a raw one is socket://)",
            ) from error
        self._settings = PortSettings()

    def configure(self, settings: PortSettings) -> None:
        """Set speed, parity and stop bits at the server, unless they are set already."""
        if settings == self._settings:
            return
        wanted = {
            "baudrate": settings.baud,
            "parity": settings.parity,
            "stopbits": settings.stop_bits,
        }
        try:
            self._device().apply_settings(wanted)
        except (OSError, ValueError) as error:
            raise PortError(self.url, f"cannot be set to {settings}: {error}") from error
        self._settings = settings

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self._device().write(data)
        except OSError as error:
            raise PortError(self.url, f"connection lost while sending: {error}") from error

    def read(self, max_wait_s: float) -> bytes:
        """What the server has passed on."""
        device = self._device()
        try:
            if not device.in_waiting:
                # Each wait is one slice at most, and ends with the first byte.
                for _ in range(1 + int(max_wait_s / SLICE_S) if max_wait_s > 0 else 0):
                    if first := bytes(device.read(1)):
                        return first + bytes(device.read(device.in_waiting))
                return b""
            return bytes(device.read(device.in_waiting))
        except OSError as error:
            raise PortError(self.url, f"connection lost: {error}") from error

    def flush_input(self) -> None:
        """Drop what has come here.  What the server still holds would cost a round trip to drop."""
        while self.read(0.0):
            pass

    def close(self) -> None:
        """Hang up."""
        if self._serial:
            self._serial.close()
        self._serial = self._settings = None

    def _device(self) -> rfc2217.Serial:
        if self._serial is None:
            raise PortError(self.url, "is not open")
        return self._serial
