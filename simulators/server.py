"""Simulated lines on real ports: pseudo terminals and TCP, paced like the wire.

One selector loop serves any number of lines.  A reply comes as late as on a real wire: the request
takes its time at the client's baud rate, then the meter its reply delay, then each character its
own; bytes are handed over in small pieces, each at its own deadline, so delays never add up.

    pty       the client's baud rate is read from the terminal, so a meter at another one is deaf
    raw TCP   a serial server: its own baud rate is fixed, or None for a wire without duration
    Modbus TCP  the same without a wire, for meters that speak it

Not supported: parity on a pseudo terminal (the kernel strips it), modem lines, breaks.
"""

import heapq
import os
import re
import selectors
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from simulators.line import Pair

PIECE_S = 0.02
"""Characters are handed over together for as long as they take on the wire."""
_BAUD = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if re.fullmatch(r"B\d+", name)
}


class PortError(Exception):
    """A port could not be opened."""


class Clock(Protocol):
    """The time, as ``gateway.clock`` has it too."""

    def now(self) -> float:
        """Unix time in seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        ...


def pieces(data: bytes, start: float, character_s: float) -> Iterator[tuple[float, bytes]]:
    """Cut ``data``, sent from ``start`` on, into pieces, each with the time of its last bit."""
    size = max(1, round(PIECE_S / character_s)) if character_s else max(1, len(data))
    for first in range(0, len(data), size):
        piece = data[first : first + size]
        yield start + (first + len(piece)) * character_s, piece


class Talk:
    """One client on one line: what it says goes to the meters, what they say is kept until due."""

    def __init__(
        self, line: Pair, baud: Callable[[], int | None], parity: str | None = None
    ) -> None:
        self._line, self._baud, self._parity = line, baud, parity
        self._sent_until = 0.0
        self._order = 0
        self._outgoing: list[tuple[float, int, bytes]] = []
        """A heap of pieces, by the time of their last bit."""
        self._spoken: list[tuple[float, float]] = []
        """When the meters speak, from now on."""

    def heard(self, data: bytes, now: float, monotonic: float) -> None:
        """The client sent ``data``; it is not all on the wire yet."""
        baud = self._baud()
        character_s = self._line.character_s(baud)
        end = max(monotonic, self._sent_until) + len(data) * character_s
        self._sent_until = end
        self._spoken = [each for each in self._spoken if each[1] > monotonic]
        for delay_s, reply in self._line.hear(data, now + end - monotonic, baud, self._parity):
            start = self._free(end + delay_s, len(reply) * character_s)
            for due, piece in pieces(reply, start, character_s):
                self._order += 1
                heapq.heappush(self._outgoing, (due, self._order, piece))

    def _free(self, start: float, needs_s: float) -> float:
        """The first moment from ``start`` on at which no other answer is in the way."""
        for begins, ends in sorted(self._spoken):
            if begins < start + needs_s and start < ends:
                start = ends
        self._spoken.append((start, start + needs_s))
        return start

    def due(self, monotonic: float) -> bytes:
        """What has arrived at the client's end by now."""
        data = b""
        while self._outgoing and self._outgoing[0][0] <= monotonic:
            data += heapq.heappop(self._outgoing)[2]
        return data

    @property
    def next_due(self) -> float | None:
        """When there will be something to hand over (monotonic)."""
        return self._outgoing[0][0] if self._outgoing else None


class Server:
    """Serves lines until it is stopped.  Only ``stop`` may be called from another thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = True
        self._talks: dict[int, Talk] = {}
        self._closing = ExitStack()
        # poll, not epoll: standard input may be a plain file.
        self._selector = self._closing.enter_context(selectors.PollSelector())
        self._bell, self._ring = os.pipe()
        self._closing.callback(os.close, self._bell)
        self._closing.callback(os.close, self._ring)
        self._selector.register(self._bell, selectors.EVENT_READ, self._stopped)

    def add_pty(self, line: Pair, link: Path | None = None) -> Path:
        """Put ``line`` on a new pseudo terminal; returns ``link`` to it, or its own path.

        Raises PortError if ``link`` exists and is no symbolic link, or cannot be made.
        """
        master, slave = os.openpty()
        # We keep the slave open, so the master survives a client that comes and goes.
        self._closing.callback(os.close, slave)
        tty.setraw(slave)
        os.set_blocking(master, False)
        path = os.ttyname(slave)
        if link is not None:
            self._link(link, path)
        self._listen(master, Talk(line, lambda: _BAUD.get(termios.tcgetattr(master)[5])))
        return link or Path(path)

    def add_tcp(
        self,
        make_line: Callable[[], Pair],
        host: str,
        port: int,
        *,
        baud: int | None = None,
        parity: str | None = None,
    ) -> int:
        """Listen on TCP; every client gets a line of its own, so their bytes never mix.

        Returns the port (asked for 0, the system chooses).  Raises PortError if it is taken.
        """
        try:
            door = socket.create_server((host, port))
        except OSError as error:
            raise PortError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another --tcp address"
            ) from error
        door.setblocking(False)
        self._closing.callback(door.close)

        def accept() -> None:
            with suppress(BlockingIOError, ConnectionError):
                client, _ = door.accept()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._listen(client.detach(), Talk(make_line(), lambda: baud, parity))

        self._selector.register(door, selectors.EVENT_READ, accept)
        return int(door.getsockname()[1])

    def add_orders(self, fd: int, obey: Callable[[str], None]) -> None:
        """Hand each line of text that arrives on ``fd`` to ``obey``, until its end."""
        pending = b""

        def read() -> None:
            nonlocal pending
            try:
                data = os.read(fd, 4096)
            except OSError:  # a terminal whose shell has put us into the background
                data = b""
            if not data:
                self._selector.unregister(fd)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                obey(line.decode(errors="replace"))

        self._selector.register(fd, selectors.EVENT_READ, read)

    def run(self) -> None:
        """Serve until ``stop``; returns at once after it."""
        while self._running:
            due = [talk.next_due for talk in self._talks.values() if talk.next_due is not None]
            wait_s = max(0.0, min(due) - self._clock.monotonic()) if due else None
            for key, _ in self._selector.select(wait_s):
                key.data()
            for fd, talk in list(self._talks.items()):
                if data := talk.due(self._clock.monotonic()):
                    self._write(fd, data)

    def stop(self) -> None:
        """Make ``run`` return."""
        os.write(self._ring, b".")

    def close(self) -> None:
        """Close every port and remove our links."""
        for fd in list(self._talks):
            self._drop(fd)
        self._closing.close()

    def _stopped(self) -> None:
        self._running = False

    def _listen(self, fd: int, talk: Talk) -> None:
        self._talks[fd] = talk
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._read(fd, talk))

    def _drop(self, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)
        del self._talks[fd]

    def _read(self, fd: int, talk: Talk) -> None:
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            data = b""
        if data:
            talk.heard(data, self._clock.now(), self._clock.monotonic())
        else:
            self._drop(fd)

    def _write(self, fd: int, data: bytes) -> None:
        try:
            os.write(fd, data)
        except BlockingIOError:
            return  # nobody reads: on a wire the bytes would be gone as well
        except OSError:  # the client is gone
            self._drop(fd)

    def _link(self, link: Path, path: str) -> None:
        if link.exists() and not link.is_symlink():
            raise PortError(f"{link}: exists and is no symbolic link; choose another name")
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        except OSError as error:
            raise PortError(
                f"{link}: {error.strerror}; choose a directory you may write"
            ) from error

        def unlink() -> None:
            # Another server may have taken the name meanwhile.
            if link.is_symlink() and str(link.readlink()) == path:
                link.unlink()

        self._closing.callback(unlink)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run ``server`` in a thread of its own; stopped and closed on leaving."""
    thread = threading.Thread(target=server.run, name="simulated lines")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        server.close()
