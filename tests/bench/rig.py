"""The daemon, the simulators and the broker of a bench, each a process of its own.

All of them end with the rig, however the bench ends.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gateway import livestate
from simulators.headend import HeadEnd
from simulators.ledger import Ledger, Taken
from tests.bench.figures import BenchError
from tests.mosquitto import Mosquitto

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0
NAME = "bench"
STANDARD_POINTS = (
    "energy_active_import",
    *(f"energy_active_import_t{tariff}" for tariff in range(1, 5)),
    *("voltage_l1n", "voltage_l2n", "voltage_l3n", "current_l1", "current_l2", "current_l3"),
    *("power_active", "power_active_l1", "power_active_l2", "power_active_l3"),
    "status_word_3",
)
"""Energy with four tariffs, three voltages, three currents, four powers, status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """A line of DL/T 645 three-phase meters."""

    line: str
    count: int
    baud: int = 9600
    tcp: bool = False
    """Without a wire: replies come at once."""
    delay_ms: int = 40
    settings: Mapping[str, object] | None = None
    """What the gateway's configuration says of each, beyond name, line and address."""

    @property
    def assets(self) -> list[str]:
        """Their asset numbers."""
        return [f"{self.line}-{n:03}" for n in range(1, self.count + 1)]

    @property
    def rows(self) -> list[dict[str, object]]:
        """As an area file has them."""
        return [
            {
                "asset": asset,
                "profile": "dlt645-2007-three-phase",
                "address": f"{n:012}",
                "baud": self.baud,
                "delay_ms": self.delay_ms,
            }
            for n, asset in enumerate(self.assets, 1)
        ]


class Entry(NamedTuple):
    """One exchange, as tests/bench/meters.py notes it."""

    line: str
    at: float
    heard: int
    said: int
    delay_s: float
    character_s: float
    request: str

    @property
    def wire_s(self) -> float:
        """What the wire and the meter take for it."""
        return (self.heard + self.said) * self.character_s + self.delay_s


class Tally(Ledger):
    """A head-end's ledger that only counts, so that it does not slow down what it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0
        """Messages with readings."""
        self.confirmed = 0
        """Orders that are carried out."""

    def take(self, topic: str, payload: bytes) -> Taken:
        """Count; what was read is not looked at."""
        self.readings += topic.endswith(("/readings", "/history"))
        self.confirmed += topic.endswith("/results") and b'"stage":"confirmed"' in payload
        return Taken.STATE


class Process:
    """A program that is spoken to line by line."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def line(self) -> str:
        """The next line it says."""
        assert self._process.stdout
        said = self._process.stdout.readline()
        if not said:
            raise BenchError(f"{self._process.args!r} ended with {self._process.wait()}")
        return said.strip()

    def order(self, text: str) -> str:
        """Say ``text``, return the answer."""
        assert self._process.stdin
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self.line()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Daemon:
    """The gateway's process, and what the kernel says of it."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder = folder
        self.log = folder / "daemon.log"
        # Compiling takes memory; pip does it where the daemon is installed, so here as well.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [python, "-m", "gateway.daemon", "--config", str(folder / "gateway.toml")],
                cwd=ROOT,
                env=environment,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def state(self) -> livestate.State | None:
        """What it last said of itself."""
        self.check()
        return livestate.read(self._folder / "run")

    def check(self) -> None:
        """Raise BenchError if it has ended."""
        if self._process.poll() is not None:
            tail = self.log.read_text()[-2000:]
            raise BenchError(f"the daemon ended with {self._process.returncode}: {tail}")

    def rss_mb(self) -> float:
        """Resident memory, in millions of bytes."""
        kib = next(x for x in self._proc("status").splitlines() if x.startswith("VmRSS"))
        return int(kib.split()[1]) * 1024 / 1e6

    def cpu_s(self) -> float:
        """CPU time used so far, all threads."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in good order."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


class Rig:
    """One bench's processes and files.  Use ``rig()``."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        self.store = folder / "store"
        self._closing = closing
        self._meters: Process | None = None
        self.broker: Mosquitto | None = None

    def start_broker(self) -> Mosquitto:
        """A real mosquitto that keeps whatever is in its way."""
        if not shutil.which("mosquitto"):
            raise BenchError("mosquitto is not installed: make mosquitto")
        self.broker = Mosquitto(self.folder, "max_queued_messages 0", "log_type error")
        self.broker.start()
        self._closing.callback(self.broker.stop)
        return self.broker

    def start_meters(self, *lines: Meters) -> dict[str, str]:
        """The simulators; returns each line's port by its name."""
        wanted = {
            "folder": str(self.folder),
            "lines": [{"name": x.line, "tcp": x.tcp, "meter": x.rows} for x in lines],
        }
        self._meters = Process("tests.bench.meters", json.dumps(wanted))
        self._closing.callback(self._meters.end)
        return {line.line: self._meters.line() for line in lines}

    def start_responder(self, ports: int) -> tuple[list[str], Process]:
        """The Modbus TCP server and its ports."""
        process = Process("tests.bench.responder", str(ports))
        self._closing.callback(process.end)
        return [process.line() for _ in range(ports)], process

    def silence(self, assets: Sequence[str]) -> None:
        """These meters answer no more."""
        assert self._meters
        for asset in assets:
            self._meters.order(f"silence {asset}")

    def trip(self, assets: Sequence[str]) -> None:
        """The relays of these meters open."""
        assert self._meters
        for asset in assets:
            self._meters.order(f"trip {asset}")

    def exchanges(self) -> dict[str, list[Entry]]:
        """What happened on each line since the last call."""
        assert self._meters
        found: dict[str, list[Entry]] = {}
        for row in json.loads(self._meters.order("log")):
            found.setdefault(row[0], []).append(Entry(*row))
        return found

    def configure(
        self,
        lines: Mapping[str, str],
        meters: Sequence[Mapping[str, object]],
        *,
        store: Mapping[str, object] | None = None,
        profiles: Path = ROOT / "config" / "meters",
    ) -> None:
        """Write gateway.toml.  ``lines`` gives ports by name."""
        port = self.broker.port if self.broker else 9
        gateway = {"name": NAME, "profiles": profiles, "run_directory": self.folder / "run"}
        text = _table("gateway", gateway)
        text += _table("store", {"directory": self.store, "ballast_mib": 1, **(store or {})})
        # Polls alone are measured.
        text += _table("collection", {"grid_minutes": 0})
        text += _table("mqtt", {"brokers": [f"mqtt://127.0.0.1:{port}"]})
        for name, url in lines.items():
            text += _table("[line]", {"name": name, "port": url})
        for meter in meters:
            text += _table("[meter]", meter)
        (self.folder / "gateway.toml").write_text(text)

    def configure_meters(
        self, ports: Mapping[str, str], *lines: Meters, store: Mapping[str, object] | None = None
    ) -> None:
        """Write gateway.toml for simulated lines: every meter with the standard points.

        The models are those shipped but for their daily freezes.
        """
        models = self.folder / "meters"
        models.mkdir(exist_ok=True)
        for name in {row["profile"] for line in lines for row in line.rows}:
            text = (ROOT / "config" / "meters" / f"{name}.toml").read_text()
            kept = re.sub(
                r"^freezes[^\n]*\n|^freeze_points = \[.*?\n\]\n",
                "",
                text,
                flags=re.MULTILINE | re.DOTALL,
            )
            (models / f"{name}.toml").write_text(kept)
        rows = [
            {
                "asset": row["asset"],
                "line": line.line,
                "address": row["address"],
                "profile": row["profile"],
                "baud": line.baud,
                "points": list(STANDARD_POINTS),
                **(line.settings or {}),
            }
            for line in lines
            for row in line.rows
        ]
        self.configure(ports, rows, store=store, profiles=models)

    def start_daemon(self, python: str = sys.executable) -> Daemon:
        """The gateway."""
        daemon = Daemon(self.folder, python)
        self._closing.callback(daemon.stop)
        return daemon

    def head_end(self) -> tuple[HeadEnd, Tally]:
        """A subscriber of our broker that listens, and what it counts in ``collect``."""
        assert self.broker
        tally = Tally()
        head_end = HeadEnd(tally, "127.0.0.1", self.broker.port, gateway=NAME)
        head_end.start()
        self._closing.callback(head_end.stop)
        if not head_end.wait_until_listening(PATIENCE_S):
            raise BenchError("the head-end cannot subscribe")
        return head_end, tally


@contextmanager
def rig() -> Iterator[Rig]:
    """A rig in a folder of its own; everything it started ends here."""
    with tempfile.TemporaryDirectory(prefix="taiqu-bench-") as folder, ExitStack() as closing:
        yield Rig(Path(folder), closing)


def wait_for(what: str, is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return once ``is_so``.  Raises BenchError after ``patience_s``."""
    ends = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > ends:
            raise BenchError(f"waited {patience_s:.0f} s for {what}")
        time.sleep(0.05)


def _table(name: str, values: Mapping[str, object]) -> str:
    rows = "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    return f"[{name}]\n{rows}\n"


def _toml(value: Any) -> str:
    """As TOML has it: JSON's strings, numbers, booleans and lists are TOML's too."""
    return json.dumps(str(value) if isinstance(value, Path) else value)
