"""A core between a link and lines that only note what they are told: the tests play both.

Config, profiles, polling and store are the real ones.  For whole days see tests/world.py.
"""

import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.config import Config, load
from gateway.core import Core
from gateway.events import (
    Arrived,
    Delivered,
    Fault,
    Job,
    JobDone,
    LinkDown,
    LinkUp,
    Outcome,
)
from gateway.letters import Local
from gateway.livestate import State
from gateway.north.contract import instant
from gateway.store.database import Database, open_store
from gateway.store.outbox import Lane, Message
from protocols import dlt645, modbus
from protocols.base import Reply, Request
from protocols.dlt645_items import find
from tests.world import START, SimClock

METERS = Path(__file__).parent.parent / "config" / "meters"
ASSET, MODBUS = "A1", "X1"


def write_config(
    directory: Path, *, period_s: int = 60, store: str = "", mqtt: str = "", more: str = ""
) -> Path:
    """Two lines: ``east`` with the DL/T 645 meter A1, ``west`` with the Modbus meter X1."""
    path = directory / "gateway.toml"
    path.write_text(
        f"""
[gateway]
name = "gw"
profiles = "{METERS}"
run_directory = "run"
[collection]
backfill_days = 1
grid_minutes = 0
[store]
directory = "store"
{store}
[mqtt]
brokers = ["mqtt://one:1883"]
{mqtt}
[[line]]
name = "east"
port = "/dev/ttyS0"
[[line]]
name = "west"
port = "socket://127.0.0.1:7001"
[[meter]]
asset = "A1"
line = "east"
address = "000000000001"
profile = "dlt645-2007-single-phase"
period_s = {period_s}
[[meter]]
asset = "X1"
line = "west"
address = "7"
profile = "eastron-sdm630"
period_s = {period_s}
{more}
""",
        encoding="utf-8",
    )
    return path


def zeros(request: Request) -> bytes:
    """What a meter answers that shows 0 everywhere."""
    if isinstance(request, modbus.Request):
        return bytes(2 * request.count)
    assert isinstance(request, dlt645.Request)
    item = find(request.data[3::-1].hex().upper())
    assert item
    return bytes(item.size() or 0)


def good(request: Request, taken_at: float) -> Outcome:
    reply = Reply(request.address, zeros(request))
    return Outcome(request=request, reply=reply, taken_at=taken_at, round_trip_s=0.2, tries=1)


def refusal(request: Request, *, permanent: bool = True) -> Outcome:
    error = "meter refused: no such data"
    return Outcome(request=request, fault=Fault.REFUSED, error=error, permanent=permanent, tries=1)


def missed(request: Request, fault: Fault = Fault.SILENT) -> Outcome:
    return Outcome(request=request, fault=fault, error="did not answer within 1 s", tries=3)


def done(line: str, job: Job, outcomes: Iterable[Outcome], busy_s: float = 1.0) -> JobDone:
    return JobDone(line=line, job=job, outcomes=tuple(outcomes), busy_s=busy_s, waited_s=0.0)


class NotingLink:
    """The link, as the core sees it."""

    def __init__(self, will: bytes) -> None:
        self.will = json.loads(will)
        self.opened: list[tuple[int, str]] = []
        self.published: list[tuple[str, dict[str, Any], bool]] = []
        self.acknowledged: list[int] = []
        self.closed = 0
        self.up = False

    def open(self, connection: int, broker: str) -> None:
        self.opened.append((connection, broker))

    def close(self) -> None:
        self.closed += 1
        self.up = False

    def publish(self, topic_: str, payload: bytes, *, retain: bool = False) -> int | None:
        if not self.up:
            return None
        self.published.append((topic_.removeprefix("taiqu/v1/gw/"), json.loads(payload), retain))
        return len(self.published)

    def acknowledge(self, arrived: Arrived) -> None:
        self.acknowledged.append(arrived.mid)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [body for of, body, _ in self.published if of == kind]


class Gateway:
    """One gateway whose meters, broker and time the test plays."""

    def __init__(
        self, path: Path, clock: SimClock | None = None, local: Local | None = None
    ) -> None:
        self.clock = clock or SimClock()
        self.local = local
        self.config: Config = load(path)
        self.jobs: list[tuple[str, Job]] = []
        self._beside: list[tuple[str, Job]] = []
        self.states: list[State] = []
        self._mid = 0
        self.start()

    def start(self) -> None:
        self.config.store_directory.mkdir(parents=True, exist_ok=True)
        self.database: Database = open_store(
            self.config.store_directory / "taiqu.db",
            self.clock.now,
            os.urandom,
            ballast_bytes=0,
            busy_timeout_ms=1,
        )
        self.jobs.clear()
        self._beside.clear()
        self.core = Core(
            self.config,
            self.database,
            lines={"east": lambda job: self._take("east", job), "west": self._west},
            connect=self._connect,
            clock=self.clock,
            random=random.Random(1),
            show=self.states.append,
            local=self.local,
        )

    def restart(self) -> None:
        self.database.close()
        self.start()

    def _west(self, job: Job) -> None:
        self._take("west", job)

    def _take(self, line: str, job: Job) -> None:
        assert job.requests, "a line refuses a job that asks nothing"
        beside = job.id in self.core._intake.polling._asked
        (self._beside if beside else self.jobs).append((line, job))

    def _connect(self, will: bytes) -> NotingLink:
        self.link = NotingLink(will)
        return self.link

    # --- time -----------------------------------------------------------------------------------

    def run(self, seconds: float) -> int:
        """Let the time pass; returns how often the core had something to do."""
        until = self.clock.monotonic() + seconds
        ticks = 0
        while True:
            ticks += 1
            assert ticks < 100 + 10 * seconds, "the core spins"
            next_at = self.core.tick()
            if self._beside:
                self._answer_beside()
                continue
            if next_at > until:
                self.clock.advance(until)
                return ticks
            self.clock.advance(max(next_at, self.clock.monotonic()))

    # --- meters ---------------------------------------------------------------------------------

    def take_jobs(self) -> list[tuple[str, Job]]:
        taken, self.jobs = self.jobs, []
        return taken

    def answer(self) -> int:
        """Every meter answers everything it was asked."""
        jobs = self.take_jobs()
        for line, job in jobs:
            now = self.clock.now()
            self.core.handle(done(line, job, [good(request, now) for request in job.requests]))
        self._answer_beside()
        return len(jobs)

    def _answer_beside(self) -> None:
        """Freezes, and what is read again to be believed: the tests here are not about those."""
        while self._beside:
            line, job = self._beside.pop(0)
            now = self.clock.now()
            self.core.handle(done(line, job, [good(request, now) for request in job.requests]))

    # --- the head-end ---------------------------------------------------------------------------

    def connect(self) -> None:
        self.run(0)
        for _ in range(600):
            if self.link.opened:
                self.link.up = True
                self.core.handle(LinkUp(self.link.opened[-1][0], "mqtt://one:1883", True, 0))
            if self.core._uplink.live:
                return
            self.run(1.0)
        raise AssertionError("the core does not connect")

    def disconnect(self, reason: str = "the broker died") -> None:
        self.link.up = False
        self.core.handle(LinkDown(self.link.opened[-1][0], reason))

    def deliver(self) -> None:
        """The broker acknowledges whatever it has not yet."""
        while True:
            first = self._mid + 1
            self._mid = len(self.link.published)
            for mid in range(first, self._mid + 1):
                self.core.handle(Delivered(self.link.opened[-1][0], mid))
            self.core.tick()
            if len(self.link.published) == self._mid:
                return

    def tell(self, kind: str, body: object, *, mid: int = 1, retained: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.link.opened[-1][0] if self.link.opened else 0
        self.core.handle(Arrived(connection, mid, f"taiqu/v1/gw/{kind}", payload, retained))

    # --- what was stored ------------------------------------------------------------------------

    def stored(self, *lanes: Lane) -> list[tuple[Message, dict[str, Any]]]:
        """Every message that waits, with its content."""
        outbox = self.core._outbox
        found = [m for lane in lanes or tuple(Lane) for m in outbox.pending(lane, 10_000)]
        return [(message, json.loads(message.body)) for message in found]

    def events(self) -> list[dict[str, Any]]:
        return [body["event"] for m, body in self.stored(Lane.URGENT) if m.kind == "events"]

    def codes(self) -> list[str]:
        return [event["code"] for event in self.events()]

    def results(self, id_: str) -> list[tuple[str, str]]:
        bodies = [body for m, body in self.stored(Lane.URGENT) if m.kind == "results"]
        return [(body["stage"], body.get("reason", "")) for body in bodies if body["id"] == id_]


def command(
    id_: str, body: dict[str, Any], *, issued_s: float = 0.0, for_s: float = 3600.0
) -> dict[str, Any]:
    """A command as a head-end writes it; times count from START."""
    return {
        "id": id_,
        "issuer": "head-end",
        "issued": instant(START + issued_s),
        "not_after": instant(START + issued_s + for_s),
        "command": body,
    }


def read_command(
    id_: str, meter: str = ASSET, *points: str, for_s: float = 3600.0
) -> dict[str, Any]:
    body = {"name": "read", "meter": meter, "points": points or ("voltage_l1n",)}
    return command(id_, body, for_s=for_s)
