"""The doors to a line: a serial device or a TCP connection, behind one small interface.

    /dev/serial/by-id/usb-...    a serial device (any absolute path)
    socket://192.168.1.8:4001    a serial server that passes bytes through (raw TCP)
    tcp://192.168.1.9:502        a Modbus TCP gateway or meter
    rfc2217://192.168.1.8:4001   a serial server whose speed and parity are set from here

Whatever fails is a ``PortError`` whose sentence a technician can act on.  A raw serial server keeps
its own speed and parity: ``configure`` cannot reach it.

Not supported: UDP.
"""

import errno
import os
import pwd
import select
import socket
import termios
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import serial
import structlog

from gateway.acquisition.adapter import DirectionError, latency_advice, set_direction
from gateway.acquisition.lockfile import LockFile, flock_holder
from gateway.acquisition.port import Direction, Port, PortError
from gateway.acquisition.remote_port import RemotePort
from gateway.events import PortSettings

__all__ = ["Direction", "Port", "PortError", "make_port", "parse_port", "port_advice"]

LOCK_DIRECTORY = Path("/run/lock")
"""Where programs that use serial devices leave their lock files.  Source: FHS 3.0 §5.9."""
BY_ID = Path("/dev/serial/by-id")
PTY_MAJORS = range(136, 144)
"""Device numbers of pseudo-terminals.  Source: Linux devices.txt."""
CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 1.0
SLICE_S = 0.2
"""How often a waiting ``open`` looks whether it is still wanted."""
READ_SIZE = 4096
KEEPALIVE_S = (10, 5, 3)
"""Idle before the first probe, between probes (seconds), and how many may go unanswered."""

log = structlog.get_logger()


def parse_port(url: str) -> str | None:
    """What is wrong with ``url``, and what to write instead; None if it is well formed."""
    if url.startswith("/") and "\0" not in url:
        return None
    forms = (
        "write /dev/..., socket://HOST:PORT (serial server), rfc2217://HOST:PORT (serial server"
        " with RFC 2217) or tcp://HOST:PORT (Modbus TCP)"
    )
    try:
        parts = urlsplit(url)
        host, number = parts.hostname, parts.port
    except ValueError as error:
        return f"{url!r} is not a port: {error}; {forms}"
    if parts.scheme not in ("socket", "tcp", "rfc2217"):
        return f"{url!r} is not a port; {forms}"
    surplus = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if not host or not number or surplus:
        return f"{url!r} must name a host and a TCP port from 1 to 65535, nothing else; {forms}"
    return None


def port_advice(url: str) -> str | None:
    """Why a serial device had better be named differently; None if the name is a lasting one."""
    name = url.removeprefix("/dev/")
    if name == url or not name.startswith(("ttyUSB", "ttyACM")):
        return None
    real = Path(url).resolve()
    stable = [link for link in _stable_names() if link.resolve() == real]
    use = str(stable[0]) if stable else f"a name under {BY_ID}/ or /dev/serial/by-path/"
    return f"{url!r} may be another adapter after a reboot; use {use}"


def make_port(url: str, direction: Direction | None = None) -> Port:
    """The port at ``url``, still closed.  Raises PortError if ``url`` is malformed.

    ``direction`` is for a serial device whose direction the kernel must switch.
    """
    problem = parse_port(url)
    if problem:
        raise PortError(url, problem)
    if url.startswith("/"):
        return SerialPort(url, direction=direction)
    return RemotePort(url) if url.startswith("rfc2217:") else SocketPort(url)


class SerialPort:
    """A serial device, for us alone (a lock file and flock, so others notice as well)."""

    def __init__(
        self,
        path: str,
        lock_directory: Path = LOCK_DIRECTORY,
        direction: Direction | None = None,
    ) -> None:
        self.url = path
        self._direction = direction
        self._advised = False
        self._lock_directory = lock_directory
        self._lock: LockFile | None = None
        self._serial: serial.Serial | None = None
        self._poll = select.poll()
        self._settings: PortSettings | None = None

    def open(self, abandoned: Callable[[], bool] = lambda: False) -> None:  # noqa: ARG002
        """Open the device, with 9600 8N1 until told otherwise."""
        self.close()
        lock = LockFile(self._lock_directory, os.path.realpath(self.url))
        holder = lock.acquire()
        if holder:
            raise PortError(self.url, f"in use by {holder}; stop it or give the line another port")
        try:
            self._serial = serial.Serial(
                self.url, exclusive=True, timeout=0, write_timeout=WRITE_TIMEOUT_S
            )
        except (OSError, termios.error) as error:
            lock.release()
            raise PortError(self.url, self._why_not(error)) from error
        self._lock, self._settings = lock, PortSettings()
        self._poll = select.poll()
        self._poll.register(self._serial.fileno(), select.POLLIN)
        self._adapt(self._serial)

    def _adapt(self, device: serial.Serial) -> None:
        """Tell the adapter what it must know, and us once what it does not do."""
        if self._direction:
            try:
                set_direction(device, self._direction)
            except DirectionError as error:
                self.close()
                raise PortError(self.url, str(error)) from error
        advice = latency_advice(self.url)
        if advice and not self._advised:
            log.warning("slow adapter", advice=advice)
        self._advised = True

    def configure(self, settings: PortSettings) -> None:
        """Set speed, parity and stop bits, unless they are set already."""
        if settings == self._settings:
            return
        device = self._device()
        # A pty drops the parity bit in silence, and answers the next request for it with EINVAL.
        pty = os.major(os.fstat(device.fileno()).st_rdev) in PTY_MAJORS
        wanted = {
            "baudrate": settings.baud,
            "parity": serial.PARITY_NONE if pty else settings.parity,
            "stopbits": settings.stop_bits,
        }
        try:
            device.apply_settings(wanted)
        except (OSError, ValueError, termios.error) as error:
            raise PortError(self.url, f"cannot be set to {settings}: {error}") from error
        self._settings = settings

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the driver, which sends on by itself."""
        try:
            self._device().write(data)
        except serial.SerialTimeoutException as error:
            raise PortError(self.url, "takes no bytes; is flow control off?") from error
        except OSError as error:
            raise self._gone(error) from error

    def read(self, max_wait_s: float) -> bytes:
        """Wait with poll(2): pyserial would set the whole port anew for another timeout."""
        device = self._device()
        # Rounded up: poll counts milliseconds, and waking early would make us ask again.
        if not self._poll.poll(max(0, int(max_wait_s * 1000 + 0.999))):
            return b""
        try:
            return bytes(device.read(READ_SIZE))
        except OSError as error:
            raise self._gone(error) from error

    def flush_input(self) -> None:
        """Drop what the driver has received."""
        try:
            self._device().reset_input_buffer()
        except (OSError, termios.error) as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """Let go of the device and of the lock file."""
        if self._serial:
            self._serial.close()
        if self._lock:
            self._lock.release()
        self._serial = self._lock = self._settings = None

    def _device(self) -> serial.Serial:
        if self._serial is None:
            raise PortError(self.url, "is not open")
        return self._serial

    def _gone(self, error: Exception) -> PortError:
        return PortError(self.url, f"gone ({error}); was the adapter unplugged?")

    def _why_not(self, error: Exception) -> str:
        number = error.args[0] if error.args else None
        if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            there = ", ".join(map(str, _stable_names())) or "none"
            return f"not there; is the adapter plugged in? Adapters found: {there}"
        if number in (errno.EACCES, errno.EPERM):
            user = pwd.getpwuid(os.geteuid()).pw_name
            group = Path(self.url).group()
            return (
                f"no permission for user {user}; add it to the group {group}"
                f" (sudo usermod -aG {group} {user}) and log in again"
            )
        if number in (errno.EAGAIN, errno.EBUSY):
            holder = flock_holder(self.url) or "another program"
            return f"in use by {holder}; stop it or give the line another port"
        return f"cannot be opened as a serial device: {error}"


class SocketPort:
    """A TCP connection: to a serial server (``socket://``) or to Modbus TCP (``tcp://``)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self._address = (parts.hostname or "", parts.port or 0)
        self._socket: socket.socket | None = None

    def open(self, abandoned: Callable[[], bool] = lambda: False) -> None:
        """Connect.  A host *name* is looked up first, which cannot be abandoned: prefer numbers."""
        self.close()
        host, number = self._address
        try:
            found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise PortError(
                self.url, f"host {host} is unknown ({error}); write its IP address"
            ) from error
        # A name may stand for several addresses, and the server may listen on the last of them.
        failure = OSError(errno.EADDRNOTAVAIL, "it has no address")
        for family, kind, protocol, _, address in found:
            self._socket = socket.socket(family, kind, protocol)
            try:
                self._connect(self._socket, address, abandoned)
            except OSError as error:
                self.close()
                failure = error
            else:
                return
        raise PortError(self.url, _why_no_connection(failure)) from failure

    def _connect(
        self, connection: socket.socket, address: object, abandoned: Callable[[], bool]
    ) -> None:
        connection.setblocking(False)
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLOUT)
        status = connection.connect_ex(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        waited_s = 0.0
        while status == errno.EINPROGRESS and not poll.poll(int(SLICE_S * 1000)):
            waited_s += SLICE_S
            if abandoned() or waited_s >= CONNECT_TIMEOUT_S:
                status = errno.ETIMEDOUT
        if status == errno.EINPROGRESS:
            status = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        connection.settimeout(WRITE_TIMEOUT_S)
        _keep_alive(connection)

    def configure(self, settings: PortSettings) -> None:
        """Nothing to do: the other end has its own settings."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self._connected().sendall(data)
        except OSError as error:
            raise PortError(self.url, f"connection lost while sending: {error}") from error

    def read(self, max_wait_s: float) -> bytes:
        """What has come, in whatever pieces the network made of it."""
        connection = self._connected()
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(max(0, int(max_wait_s * 1000 + 0.999))):
            return b""
        try:
            data = connection.recv(READ_SIZE)
        except OSError as error:
            raise PortError(self.url, f"connection lost: {error}") from error
        if not data:
            raise PortError(
                self.url, "the other end closed the connection; does it serve another master?"
            )
        return data

    def flush_input(self) -> None:
        """Drop what has come."""
        while self.read(0.0):
            pass

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise PortError(self.url, "is not open")
        return self._socket


def _stable_names() -> list[Path]:
    return sorted(BY_ID.iterdir()) if BY_ID.is_dir() else []


def _keep_alive(connection: socket.socket) -> None:
    """Notice within half a minute that the other end has gone without a word."""
    idle_s, between_s, count = KEEPALIVE_S
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, between_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    # Probes are not sent while data of ours is unacknowledged; this limit covers that case.
    unacknowledged_ms = (idle_s + between_s * count) * 1000
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unacknowledged_ms)


def _why_no_connection(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "connection refused; is the server running, and does it listen on this TCP port?"
    if error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"no answer ({error.strerror}); check its supply, the network cable and the address"
    return f"no connection: {error}"
