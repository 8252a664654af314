"""The daemon: builds every part, starts the threads, and runs the core until told to stop.

    python -m gateway.daemon --config /etc/taiqu/gateway.toml

The only composition root: nothing else in the house builds a clock, a port, a connection and a
database together.  Ends with 0 after SIGTERM or SIGINT, with 2 for a configuration that cannot be
used, with 1 for anything else; systemd starts it again.
"""

import argparse
import contextlib
import os
import queue
import random
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import structlog

from gateway import livestate
from gateway.acquisition.exchange import Manners
from gateway.acquisition.line import SILENT_CHARACTERS, Line
from gateway.acquisition.port import Direction
from gateway.acquisition.ports import make_port
from gateway.acquisition.runner import run_line
from gateway.clock import Clock, SystemClock
from gateway.config import Config, ConfigError, LineTable, MeterConfig, load
from gateway.core import Core
from gateway.events import Event, Job
from gateway.keys import KeyFileError, own_key
from gateway.letters import Local
from gateway.north.broker import LinkSettings
from gateway.north.mqtt import Link
from gateway.north.signatures import Signer
from gateway.store.database import Database, open_store
from gateway.store.faults import StoreError, os_faults
from gateway.store.letterbox import DIRECTORY, Letterbox
from protocols.modbus_unnumbered import unnumbered

log = structlog.get_logger()

INBOX_SIZE = 4096
WAKE_S = 0.5
"""The core looks up at least this often, so that a signal is noticed without any trick."""
JOBS_WAITING = 1024
LATE_S = 1.0
LISTEN_S = 0.6
"""A second meter at one address begins to answer by then, as DL/T 645-2007 wants it (Td at most
500 ms); those of Modbus are quicker."""
MIB = 1024 * 1024
DRAIN_S = 2.0
"""How long a stopping daemon waits for what the broker still owes us."""


def main(argv: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run one gateway until it is told to stop, and return the exit status.

    ``clock`` stands instead of the system's.
    """
    parser = argparse.ArgumentParser(prog="taiqu run", description="Run the gateway.")
    parser.add_argument("--config", type=Path, default=Path("/etc/taiqu/gateway.toml"))
    args = parser.parse_args(argv)
    set_up_log()
    try:
        daemon = Daemon(load(args.config), clock or SystemClock())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return daemon.run()
    except StoreError as error:
        log.error("the store cannot be used", error=str(error))
        return 1


def set_up_log() -> None:
    """One line per event on stderr: JSON for a machine, columns for a person."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=not person),
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class Daemon:
    """One gateway: its parts, its threads, its loop."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises ConfigError if a file that the configuration names cannot be used."""
        self._config = config
        self._link_settings = link_settings(config)
        self._clock = clock
        self._random = random.Random(secrets.randbits(64))
        self._inbox: queue.Queue[Event] = queue.Queue(INBOX_SIZE)
        self._stopping = threading.Event()
        self._told_to_stop = False
        self._threads: list[threading.Thread] = []

    def run(self) -> int:
        """Run until SIGTERM or SIGINT.  Raises StoreError if the store fails us."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        config = self._config
        with os_faults(config.store_directory):
            config.store_directory.mkdir(parents=True, exist_ok=True)
        if not self._database_file.exists():
            in_a_child(lambda: self._open_store().close())
        letterbox = Letterbox(config.store_directory / DIRECTORY)
        with contextlib.closing(letterbox), self._open_store() as database:
            core = Core(
                config,
                database,
                lines={line.name: self._start_line(line) for line in config.lines},
                connect=self._link,
                clock=self._clock,
                random=self._random,
                show=livestate.Window(config.run_directory).show,
                local=Local(letterbox, self._signer()),
            )
            log.info(
                "gateway started",
                gateway=config.gateway.name,
                meters=len(config.meters),
                lines=len(config.lines),
                epoch=database.epoch,
            )
            notify("READY=1")
            try:
                self._work(core)
            finally:
                self._stopping.set()
                notify("STOPPING=1")
            self._stop(core)
        log.info("gateway stopped", gateway=config.gateway.name)
        return 0

    @property
    def _database_file(self) -> Path:
        return self._config.database

    def _open_store(self) -> Database:
        return open_store(
            self._database_file,
            self._clock.now,
            secrets.token_bytes,
            ballast_bytes=self._config.store.ballast_mib * MIB,
        )

    def _work(self, core: Core) -> None:
        pet_s = watchdog_s() / 3
        petted = self._clock.monotonic()
        while not self._told_to_stop:
            wait_s = core.tick() - self._clock.monotonic()
            if event := self._next(min(max(wait_s, 0.0), pet_s or WAKE_S, WAKE_S)):
                core.handle(event)
            now = self._clock.monotonic()
            if pet_s and now - petted >= pet_s and core.alive(now):
                notify("WATCHDOG=1")
                petted = now

    def _stop(self, core: Core) -> None:
        """Write what waits, give the broker a moment, say goodbye."""
        deadline = self._clock.monotonic() + DRAIN_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - self._clock.monotonic()))
        # What the lines read last is still in the inbox.
        while self._clock.monotonic() < deadline and (event := self._next(0.0)):
            core.handle(event)
        core.stop()
        while core.draining() and (left_s := deadline - self._clock.monotonic()) > 0:
            if event := self._next(left_s):
                core.handle(event)
        core.close()

    def _next(self, wait_s: float) -> Event | None:
        try:
            return self._inbox.get(timeout=wait_s)
        except queue.Empty:
            return None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = True

    def _start_line(self, table: LineTable) -> Callable[[Job], None]:
        manners = manners_of(self._config, table.name, tcp=table.port.startswith("tcp://"))
        port = make_port(table.port, direction_of(table))
        jobs: queue.Queue[Job] = queue.Queue(JOBS_WAITING)
        line = Line(table.name, manners, self._inbox.put, random.Random(self._random.random()))
        thread = threading.Thread(
            target=run_line,
            args=(line, port, jobs, self._clock, self._stopping, self._inbox.put),
            name=f"line {table.name}",
            daemon=True,
        )
        thread.start()
        self._threads.append(thread)
        return jobs.put_nowait

    def _signer(self) -> Signer | None:
        """The gateway's own key, where signatures are used at all: it costs 10 MB of memory."""
        config = self._config
        if not config.keys.of:
            return None
        try:
            return own_key(config.store_directory / "gateway.key", config.gateway.name)
        except KeyFileError as error:
            # An unsigned digest is a smaller loss than a gateway that does not run.
            log.error("the gateway's own key cannot be used", reason=str(error))
            return None

    def _link(self, will: bytes) -> Link:
        name = self._config.gateway.name
        return Link(name, self._link_settings, self._inbox.put, will=will, now=self._clock.now)


def in_a_child(work: Callable[[], None]) -> None:
    """Do this in a process of its own, so that what only it needs is not kept in memory for good.

    Before the first thread.  A fault is not told: whoever needs the work meets it again.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        work()
    finally:
        os._exit(0)


def link_settings(config: Config) -> LinkSettings:
    """How to reach the head-end.  Raises ConfigError if the password file cannot be read."""
    mqtt, folder = config.mqtt, config.path.parent
    password = ""
    if mqtt.password_file:
        path = folder / mqtt.password_file
        try:
            password = path.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                [f"{config.path}: mqtt.password_file: {path} cannot be read as text: {error}"]
            ) from error
    return LinkSettings(
        brokers=mqtt.brokers,
        username=mqtt.username,
        password=password,
        ca_file=folder / mqtt.ca_file if mqtt.ca_file else None,
        cert_file=folder / mqtt.cert_file if mqtt.cert_file else None,
        key_file=folder / mqtt.key_file if mqtt.key_file else None,
        keepalive_s=mqtt.keepalive_s,
        mqtt5=mqtt.mqtt5,
    )


def direction_of(line: LineTable) -> Direction | None:
    """How the kernel switches a line between sending and receiving; None where it need not."""
    if line.rs485 != "kernel":
        return None
    return Direction(
        high_to_send=line.rs485_rts == "high",
        before_s=line.rs485_before_ms / 1000,
        after_s=line.rs485_after_ms / 1000,
    )


def manners_of(config: Config, line: str, *, tcp: bool) -> dict[str, Manners]:
    """How each meter of a line wants to be spoken to."""
    (table,) = (table for table in config.lines if table.name == line)
    ignored = table.transaction_ids == "ignored"
    return {
        meter.asset: Manners(
            codec=unnumbered if ignored else meter.profile.codec(tcp=tcp),
            settings=meter.settings,
            wire=not tcp,
            timeout_s=meter.timeout_s,
            least_timeout_s=meter.least_timeout_s,
            latency_s=table.latency_ms / 1000,
            silence_s=silence_s(meter, tcp=tcp),
            guard_s=meter.guard_s,
            # Only a Modbus RTU reply does not say which question it answers.
            late_s=LATE_S if meter.profile.protocol == "modbus" and not tcp else 0.0,
            listen_s=0.0 if tcp else LISTEN_S,
            reconnect=ignored,
        )
        for meter in config.meters_on(line)
    }


def silence_s(meter: MeterConfig, *, tcp: bool) -> float:
    """What must be silent before a request, so that every meter sees where it begins.

    A Modbus frame is told by 3.5 characters of silence before it, 1.75 ms above 19200 baud (Modbus
    over serial line V1.02 §2.5.1.1); one of DL/T 645 by its wake-up bytes, so one character does.
    """
    if tcp:
        return 0.0
    character_s = meter.settings.character_s
    modbus = meter.profile.protocol == "modbus"
    return max(SILENT_CHARACTERS * character_s, 0.00175) if modbus else character_s


def watchdog_s() -> float:
    """How often systemd wants to hear from us, in seconds; 0 where it does not."""
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6


def notify(text: str) -> None:
    """Tell systemd (sd_notify(3)).  Nothing happens where no systemd listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # stands for the abstract name space
        address = "\0" + address[1:]
    # A manager that has gone is no reason to go as well.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.sendto(text.encode(), address)


if __name__ == "__main__":
    sys.exit(main())
