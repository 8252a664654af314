"""The real daemon as a process, with all it needs around it: lines, a broker, a head-end.

Nothing here sleeps: a test waits for a message, a line of the log or the end of a process, each
with a deadline that only a broken daemon reaches.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from gateway.clock import SystemClock
from gateway.north.contract import instant
from gateway.store.database import ReadOnly
from simulators.area import PROFILES, Area, AreaLine, build_area
from simulators.headend import HeadEnd
from simulators.ledger import Key, Ledger
from simulators.server import Server, serving
from tests.mosquitto import Mosquitto

ROOT = Path(__file__).parent.parent
DAEMON = ("-m", "gateway.daemon")
PATIENCE_S = 60.0
"""For whatever must happen: only a broken daemon takes so long."""
STOP_S = 5.0
"""A stop takes no longer, whatever the meters and the broker do."""
NAME = "rig"
BROKERS = 16
"""The broker's address is given so often: the pause between attempts then stays below 5 s."""

Log = dict[str, Any]


def area(modbus: int = 6, dlt645: int = 2) -> Area:
    """Two lines under load: Modbus TCP without a wire, and a pair at 19,200 baud."""
    fast = [
        {"asset": f"N{n}", "profile": "eastron-sdm630", "address": str(n), "delay_ms": 0}
        for n in range(1, modbus + 1)
    ]
    pair = [
        {
            "asset": f"P{n}",
            "profile": "dlt645-2007-single-phase",
            "address": f"{n:012}",
            "baud": 19200,
            "delay_ms": 5,
        }
        for n in range(1, dlt645 + 1)
    ]
    lines = [{"name": "net", "tcp": True, "meter": fast}, {"name": "pair", "meter": pair}]
    return build_area({"seed": 1, "line": lines}, PROFILES, "rig")


class Gateway:
    """One life of the daemon.  Its log is read as it comes."""

    def __init__(
        self, config: Path, start: Sequence[str] = DAEMON, env: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *start, "--config", str(config)],
            cwd=ROOT,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="daemon's log")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()

    def log(self, event: str, **fields: str) -> list[Log]:
        """The lines of this event so far.  A line that is not JSON is a fault of the daemon."""
        lines: list[Log] = [json.loads(line) for line in self.lines]
        wanted = {"event": event} | fields
        return [line for line in lines if wanted.items() <= line.items()]

    def wait_for(self, event: str, count: int = 1, **fields: str) -> Log:
        """Wait for the ``count``-th line of this event, and return it."""
        with self._said:
            self._said.wait_for(lambda: len(self.log(event, **fields)) >= count, PATIENCE_S)
        found = self.log(event, **fields)
        assert len(found) >= count, f"waited in vain for {event!r}; it said: {self.lines}"
        return found[count - 1]

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.ended()

    def stop(self, within_s: float = PATIENCE_S) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.ended(within_s)

    def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end; returns the exit status."""
        status = self.process.wait(within_s)
        self._reader.join(PATIENCE_S)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self.process.stderr
        self.process.stderr.close()


class Rig:
    """One test's world.  Made by ``made``, which also takes it down."""

    def __init__(self, folder: Path, place: Area, *broker: str) -> None:
        self.folder = folder
        self.area = place
        self.broker = Mosquitto(folder, *broker)
        self.head_end_port = self.broker.port
        self.ledger = Ledger()
        self.ports: dict[str, str] = {}
        """Where each line is, by its name."""
        self._closing = ExitStack()
        self._served: dict[str, ExitStack] = {}

    @property
    def database(self) -> Path:
        """What the daemon stores."""
        return self.folder / "store" / "taiqu.db"

    # --- lines ------------------------------------------------------------------------------------

    def serve(self, line: AreaLine) -> None:
        """Open the line's port; a pair stands behind a link of its name."""
        server = Server(SystemClock())
        meter = line.meters[0]
        if meter.profile.protocol == "modbus":
            known = self.ports.get(line.name, "").rpartition(":")[2]
            port = server.add_tcp(line.open, "127.0.0.1", int(known or 0))
            self.ports[line.name] = f"tcp://127.0.0.1:{port}"
        else:
            self.ports[line.name] = str(server.add_pty(line.open(), self.folder / line.name))
        with ExitStack() as opening:
            opening.enter_context(serving(server))
            self._served[line.name] = self._closing.enter_context(opening.pop_all())

    def serve_all(self) -> None:
        """Open every line."""
        for line in self.area.lines:
            self.serve(line)

    def unplug(self, name: str) -> None:
        """Close the line's port: the adapter is gone, or the connection and who listened."""
        self._served.pop(name).close()

    # --- the daemon -------------------------------------------------------------------------------

    def config(self, **tables: Mapping[str, object]) -> Path:
        """Write the configuration, with changes to its tables, and return its path."""
        brokers = [f"mqtt://127.0.0.1:{self.broker.port}"] * BROKERS
        gateway = {"name": NAME, "profiles": str(PROFILES), "run_directory": "run"}
        store = {"directory": "store", "group_commit_s": 0.5, "ballast_mib": 1}
        texts = [
            _table("[gateway]", {**gateway, **tables.get("gateway", {})}),
            _table("[store]", {**store, **tables.get("store", {})}),
            _table("[mqtt]", {"brokers": brokers, "keepalive_s": 5, **tables.get("mqtt", {})}),
        ]
        if "keys" in tables:
            texts.append(_table("[keys]", tables["keys"]))
        for line in self.area.lines:
            texts.append(_table("[[line]]", {"name": line.name, "port": self.ports[line.name]}))
            texts += [
                _table(
                    "[[meter]]",
                    {
                        "asset": meter.asset,
                        "line": line.name,
                        "address": meter.address,
                        "profile": meter.profile.name,
                        "baud": meter.settings.baud,
                        "period_s": 1,
                        "guard_ms": 0,
                    },
                )
                for meter in line.meters
            ]
        path = self.folder / "gateway.toml"
        path.write_text("\n".join(texts))
        return path

    def start(
        self,
        config: Path | None = None,
        start: Sequence[str] = DAEMON,
        env: Mapping[str, str] | None = None,
    ) -> Gateway:
        """Start the daemon.  It is killed at the end of the test if it still runs."""
        gateway = Gateway(config or self.folder / "gateway.toml", start, env)
        return self._closing.enter_context(gateway)

    # --- the head-end -----------------------------------------------------------------------------

    def listen(self) -> HeadEnd:
        """A head-end, known to the broker as the same one each time; stopped with the test."""
        head_end = HeadEnd(self.ledger, "127.0.0.1", self.head_end_port)
        head_end.start()
        self._closing.callback(head_end.stop)
        assert head_end.wait_until_listening(PATIENCE_S)
        return head_end

    def until(
        self,
        there: Callable[[], bool],
        head_end: HeadEnd,
        what: str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take messages in until ``there``."""
        deadline = time.monotonic() + patience_s
        while not there():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            head_end.collect(0.1)

    def take_in(self, head_end: HeadEnd, for_s: float) -> None:
        """Take messages in for so long."""
        deadline = time.monotonic() + for_s
        while (left_s := deadline - time.monotonic()) > 0:
            head_end.collect(left_s)

    def flows(self, head_end: HeadEnd, more: int = 1) -> None:
        """Wait until so many new messages with fresh readings have come."""
        wanted = self.fresh() + more
        self.until(lambda: self.fresh() >= wanted, head_end, "fresh readings")

    def reads(self, head_end: HeadEnd, *meters: str) -> None:
        """Wait for newer readings of these meters."""
        known = {meter: self.ledger.meters.get(meter) for meter in meters}

        def newer() -> bool:
            return all(self.ledger.meters.get(meter) != last for meter, last in known.items())

        self.until(newer, head_end, f"readings of {meters}")

    def fresh(self) -> int:
        """Messages of the live lane at the head-end."""
        return sum(1 for key, _ in self.ledger.arrivals if key.lane == "live")

    def committed(self) -> dict[Key, int]:
        """The highest number in each lane of the daemon's file."""
        with ReadOnly(self.database) as file:
            rows = file.rows(
                "select epoch.epoch, lane, last from lane join epoch on epoch.number = lane.epoch"
            )
        return {Key(NAME, epoch, lane): last for epoch, lane, last in rows}

    def lacking(self, committed: Mapping[Key, int]) -> dict[Key, list[int]]:
        """What the head-end does not have of it: no message, and no word that it was shed."""
        found = {}
        for key, last in committed.items():
            lane = self.ledger.lanes.get(key)
            known = lane.contents.keys() | lane.shed if lane else set()
            if missing := sorted(set(range(1, last + 1)) - known):
                found[key] = missing
        return found

    def everything_arrives(self, head_end: HeadEnd) -> dict[Key, int]:
        """Wait until all that is committed now is at the head-end; returns how far that goes."""
        committed = self.committed()
        self.until(lambda: not self.lacking(committed), head_end, "what is in the database")
        assert self.ledger.summary().conflicts == 0
        assert self.ledger.summary().unreadable == 0
        return committed

    def event(self, code: str, **fields: str) -> bool:
        """Whether the head-end was told this event."""
        wanted = {"code": code} | fields
        return any(wanted.items() <= event.items() for event in self.ledger.events)

    def close(self) -> None:
        """Take everything down, the last first."""
        self._closing.close()
        self.broker.stop()


@contextmanager
def made(folder: Path, *broker: str, place: Area | None = None) -> Iterator[Rig]:
    """A rig whose broker runs with these settings.  Lines and daemon are the test's to start."""
    rig = Rig(folder, place or area(), *broker)
    rig.broker.start()
    try:
        yield rig
    finally:
        rig.close()


def _table(head: str, keys: Mapping[str, object]) -> str:
    """One table of a TOML file; its strings, numbers and lists are written as JSON's are."""
    return "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""])


def command(id_: str, **order: object) -> dict[str, object]:
    """A command as the head-end sends it, good for ten minutes."""
    now = datetime.now(UTC)
    return {
        "id": id_,
        "issuer": "head-end",
        "issued": instant(now.timestamp()),
        "not_after": instant((now + timedelta(minutes=10)).timestamp()),
        "command": order,
    }
