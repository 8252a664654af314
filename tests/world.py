"""The whole gateway on simulated time: real core, lines, store; the rest of the world is played.

One heap of what happens when.  Nothing waits and nothing depends on the machine: the same seed
gives the same messages, byte for byte.  A power cut is the disk's image of that instant: whatever
was not committed is gone, and a new core starts from the files.
"""

import hashlib
import random
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.acquisition.acts import Transmit
from gateway.acquisition.line import Line
from gateway.config import Config, load
from gateway.core import Core
from gateway.daemon import manners_of
from gateway.events import Arrived, Delivered, Event, LinkDown, LinkUp
from gateway.livestate import State
from gateway.store.connection import Connection
from gateway.store.database import Database, open_store
from gateway.technician import demo_time
from simulators.area import PROFILES, Area, build_area
from simulators.ledger import Ledger, Taken

START = 1_767_225_600.0  # 2026-01-01 00:00 UTC
LATENCY_S = 0.04
CHUNK_BYTES = 40
"""A long reply comes in pieces, as a port hands it over; most come in one."""


class SimClock:
    """Moves only when the world moves it; ``step`` is what NTP does."""

    def __init__(self, now: float = START) -> None:
        self._offset, self._monotonic, self.synced = now, 0.0, True
        self._began = now

    def true(self) -> float:
        """What the time really is, whatever the clock was set to."""
        return self._began + self._monotonic

    def now(self) -> float:
        return self._offset + self._monotonic

    def monotonic(self) -> float:
        return self._monotonic

    def synchronised(self) -> bool:
        return self.synced

    def advance(self, to: float) -> None:
        assert to >= self._monotonic, "time does not go back"
        self._monotonic = to

    def step(self, seconds: float) -> None:
        self._offset += seconds


def area_of(meters: int, lines: int, seed: int) -> Area:
    """``meters`` on ``lines``: mostly single-phase DL/T 645 at 2400, a Modbus meter beside them."""
    per_line = meters // lines
    tables = []
    for n in range(lines):
        rows: list[dict[str, Any]] = [
            {
                "asset": f"L{n}M{m:02}",
                "profile": "dlt645-2007-single-phase",
                "address": f"{1000 * n + m:012}",
                "daily_kwh": 5 + m % 9,
            }
            for m in range(per_line - 1)
        ]
        rows.append(
            {"asset": f"L{n}X", "profile": "eastron-sdm630", "address": "7", "kind": "shop"}
        )
        tables.append({"name": f"line{n}", "meter": rows})
    return build_area({"seed": seed, "line": tables}, PROFILES, "the world")


def config_of(
    area: Area,
    directory: Path,
    period_s: int = 900,
    store: str = "",
    *,
    hidden: Collection[str] = (),
    points: Mapping[str, Sequence[str]] = MappingProxyType({}),
    backfill_days: int = 3,
    collection: str = "grid_minutes = 0",
    more: str = "",
    rows: Mapping[str, str] = MappingProxyType({}),
) -> Config:
    """The configuration that a technician would write for ``area``.

    He does not know of the ``hidden`` meters; ``points`` are those he wants of some models;
    ``more`` are further tables, ``rows`` further keys of some meters.
    """
    text = [
        f'[gateway]\nname = "world"\nprofiles = "{PROFILES}"\nrun_directory = "run"\n',
        f"[collection]\nbackfill_days = {backfill_days}\n{collection}\n",
        f'[store]\ndirectory = "store"\nballast_mib = 1\n{store}\n',
        '[mqtt]\nbrokers = ["mqtt://one:1883", "mqtt://two:1883"]\n',
        more,
    ]
    for n, line in enumerate(area.lines):
        text.append(f'[[line]]\nname = "{line.name}"\nport = "socket://127.0.0.1:{7000 + n}"\n')
        text += [
            f'[[meter]]\nasset = "{m.asset}"\nline = "{line.name}"\naddress = "{m.address}"\n'
            f'profile = "{m.profile.name}"\nperiod_s = {period_s}\n'
            + (f"points = {list(points[m.profile.name])}\n" if m.profile.name in points else "")
            + rows.get(m.asset, "")
            for m in line.meters
            if m.asset not in hidden
        ]
    path = directory / "gateway.toml"
    path.write_text("\n".join(text))
    return load(path)


@dataclass
class Broker:
    """Delivers to the head-end's ledger, or is down."""

    up: bool = True
    ledger: Ledger = field(default_factory=Ledger)
    digest: Any = field(default_factory=hashlib.sha256)
    arrived: list[tuple[float, str, bytes]] = field(default_factory=list)

    def take(self, now: float, topic: str, payload: bytes) -> None:
        self.digest.update(f"{now:.6f} {topic} ".encode() + payload)
        self.arrived.append((now, topic, payload))
        assert self.ledger.take(topic, payload) not in (Taken.CONFLICT, Taken.UNREADABLE)


class SimLink:
    """What ``gateway.north.mqtt.Link`` is in the daemon."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.connection = 0
        self._mid = 0
        self.unacknowledged: set[int] = set()

    def open(self, connection: int, broker: str) -> None:
        self.connection, self._mid = connection, 0
        world = self._world
        answer: Event = LinkDown(connection, f"{broker}: nothing listens there")
        if world.broker.up:
            answer = LinkUp(connection, broker, True, 0, 0)
        world.later(LATENCY_S, partial(world.tell, self, answer))

    def close(self) -> None:
        self.connection = 0

    def publish(self, topic_: str, payload: bytes, *, retain: bool = False) -> int | None:  # noqa: ARG002
        if not self.connection or not self._world.broker.up:
            return None
        self._mid += 1
        self._world.later(
            LATENCY_S, partial(self._reach, self.connection, self._mid, topic_, payload)
        )
        return self._mid

    def acknowledge(self, arrived: Arrived) -> None:
        self.unacknowledged.discard(arrived.mid)

    def _reach(self, connection: int, mid: int, topic: str, payload: bytes) -> None:
        world = self._world
        if not world.broker.up:
            return
        world.broker.take(world.clock.monotonic(), topic, payload)
        # The answer may be lost with the connection: then the message comes again.
        world.later(LATENCY_S, partial(world.tell, self, Delivered(connection, mid)))


class Wire(demo_time.Wire):
    """A line's shell on a clock that may be wrong; replies come in pieces."""

    def _transmit(self, act: Transmit) -> None:
        settings, world = act.settings, self._stage
        assert isinstance(world, World)
        spent_s = len(act.data) * settings.character_s
        at = world.clock.true() + spent_s
        for delay_s, data in self.pair.hear(act.data, at, settings.baud, settings.parity):
            for begin in range(0, len(data), CHUNK_BYTES):
                piece = data[begin : begin + CHUNK_BYTES]
                ends_s = spent_s + delay_s + (begin + len(piece)) * settings.character_s
                world.later(ends_s, partial(self.step, piece))


class World(demo_time.Stage):
    """A gateway, its area, its head-end.  ``run`` lets the time pass."""

    clock: SimClock

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        meters: int = 8,
        lines: int = 2,
        period_s: int = 900,
        area: Area | None = None,
        hidden: Collection[str] = (),
        points: Mapping[str, Sequence[str]] = MappingProxyType({}),
        collection: str = "grid_minutes = 0",
        more: str = "",
        rows: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``area`` stands instead of an ordinary one of so many ``meters`` and ``lines``."""
        self.random = random.Random(seed)
        super().__init__(SimClock())
        self.area = area or area_of(meters, lines, seed)
        self.config = config_of(
            self.area,
            directory,
            period_s,
            hidden=hidden,
            points=points,
            collection=collection,
            more=more,
            rows=rows,
        )
        self.broker = Broker()
        self._shown: list[State] = []
        self.start()

    # --- time -----------------------------------------------------------------------------------

    def settle(self) -> None:
        if self.on:
            super().settle()
        else:
            self.inbox.clear()

    def tell(self, link: SimLink, event: Event) -> None:
        """An event of the connection; nothing comes of one that was closed."""
        if link is self.link and getattr(event, "connection", 0) == link.connection:
            self.inbox.append(event)

    # --- power ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Power on: everything is built from the files."""
        self.on = True
        directory = self.config.store_directory
        directory.mkdir(parents=True, exist_ok=True)
        self.database: Database = open_store(
            directory / "taiqu.db", self.clock.now, self.random.randbytes, ballast_bytes=0
        )
        self.link = SimLink(self)
        self.wires = {
            line.name: Wire(
                self,
                line.open(),
                Line(
                    line.name,
                    manners_of(self.config, line.name, tcp=False),
                    self.inbox.append,
                    random.Random(self.random.random()),
                ),
            )
            for line in self.area.lines
        }
        self.core = Core(
            self.config,
            self.database,
            lines={name: wire.submit for name, wire in self.wires.items()},
            connect=lambda _will: self.link,
            clock=self.clock,
            random=random.Random(self.random.random()),
            show=self._show,
        )
        # Nobody looks before a test does; thousands of looks take a quarter of its time.
        self.core._due["show"] = float("inf")
        for wire in self.wires.values():
            self.later(0.0, wire.step)
        self.tick()

    def power_cut(self) -> None:
        """The mains go: the disk keeps what was committed, nothing else is left."""
        directory = self.config.store_directory
        image = directory.with_name("image")
        shutil.copytree(directory, image, ignore=shutil.ignore_patterns("*-shm", "*.lock"))
        for wire in self.wires.values():
            wire.alive = False
        self.on = False
        with self.database._held.pop_all():
            Connection.close(self.database)
        shutil.rmtree(directory)
        image.rename(directory)

    def stop(self) -> None:
        """A clean end."""
        for wire in self.wires.values():
            wire.alive = False
        self.core.stop()
        for _ in range(100):
            if not self.core.draining() or not self._heap:
                break
            self.run(LATENCY_S)
        self.core.close()
        self.on = False
        self.given = self.database.rows(
            "select epoch.epoch, lane, last from lane join epoch on epoch.number = lane.epoch"
        )
        self.database.close()

    def broker_down(self) -> None:
        self.broker.up = False
        connection, self.link.connection = self.link.connection, 0
        if connection:
            self.later(LATENCY_S, lambda: self.inbox.append(LinkDown(connection, "broker died")))

    def broker_up(self) -> None:
        self.broker.up = True

    def _show(self, state: State) -> None:
        self._shown[:] = [state]

    @property
    def states(self) -> list[State]:
        """The live state: now, or at its clean end."""
        if self.on:
            self.core._show_all(self.clock.monotonic(), self.clock.now())
        return self._shown

    # --- judging --------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        return str(self.broker.digest.hexdigest())
