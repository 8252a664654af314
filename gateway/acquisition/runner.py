"""The thread of one line: does what its ``Line`` says, with a real port and a real clock.

Two doors: ``jobs`` in, ``emit`` out.  It never sleeps longer than it may be deaf: waiting for bytes
ends with the first byte, waiting for work ends with the first job, and both end soon after
``stopping`` is set.
"""

import queue
import threading
from collections.abc import Callable

from gateway.acquisition.acts import Act, Listen, Open, Rest, Transmit
from gateway.acquisition.line import Line
from gateway.acquisition.ports import Port, PortError
from gateway.clock import Clock
from gateway.events import Crashed, Event, Heartbeat, Job

HEARTBEAT_S = 5.0
SLICE_S = 0.2
"""The longest wait in one piece: bounds how late ``stopping`` is seen."""
LISTEN_SLICE_S = 0.1
"""The same while listening: bounds how late an urgent job is seen."""


def run_line(
    line: Line,
    port: Port,
    jobs: "queue.Queue[Job]",
    clock: Clock,
    stopping: threading.Event,
    emit: Callable[[Event], None],
) -> None:
    """Work on ``line`` until ``stopping`` is set, within half a second.

    ``port`` is a closed one and is closed in the end.  An exception nobody expected becomes a
    ``Crashed`` event.  Jobs not done by then are dropped: what must be done is derived from rows.
    """
    shell = _Shell(line, port, jobs, clock, stopping, emit)
    try:
        shell.run()
    except BaseException as error:  # noqa: BLE001 - handed on, not swallowed
        emit(Crashed(f"line {line.name}", error))
    finally:
        port.close()


class _Shell:
    """One line's port and clock, and whether the port is open."""

    def __init__(
        self,
        line: Line,
        port: Port,
        jobs: "queue.Queue[Job]",
        clock: Clock,
        stopping: threading.Event,
        emit: Callable[[Event], None],
    ) -> None:
        self._line = line
        self._port = port
        self._jobs = jobs
        self._clock = clock
        self._stopping = stopping
        self._emit = emit
        self._open = False
        self._next_heartbeat = clock.monotonic()

    def run(self) -> None:
        heard = b""
        while not self._stopping.is_set():
            self._beat()
            self._take_jobs()
            act = self._line.advance(self._clock.monotonic(), self._clock.now(), heard)
            try:
                heard = self._do(act)
            except PortError as error:
                heard = b""
                self._open = False
                self._port.close()
                self._line.port_lost(self._clock.monotonic(), str(error))

    def _do(self, act: Act) -> bytes:
        """Carry ``act`` out and return what was heard meanwhile."""
        match act:
            case Open():
                self._port.open(self._stopping.is_set)
                self._open = True
                self._line.port_up(self._clock.monotonic())
            case Transmit(settings, data):
                self._port.configure(settings)
                self._port.flush_input()
                self._port.write(data)
            case Listen(until):
                return self._port.read(min(self._wait_s(until), LISTEN_SLICE_S))
            case Rest(until):
                self._await_job(self._wait_s(until))
                # Read without waiting: so a line at rest notices strays and an unplugged adapter.
                return self._port.read(0.0) if self._open else b""
        return b""

    def _wait_s(self, until: float) -> float:
        return min(max(0.0, until - self._clock.monotonic()), SLICE_S)

    def _await_job(self, wait_s: float) -> None:
        try:
            job = self._jobs.get(timeout=wait_s) if wait_s else self._jobs.get_nowait()
        except queue.Empty:
            return
        self._line.submit(job, self._clock.monotonic())

    def _take_jobs(self) -> None:
        while not self._jobs.empty():
            self._await_job(0.0)

    def _beat(self) -> None:
        now = self._clock.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            self._emit(Heartbeat(self._line.name, now))
