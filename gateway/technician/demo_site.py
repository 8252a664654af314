"""The demo's site: one directory with a configuration, and the processes that work in it.

    broker       mosquitto or amqtt
    simulators   taiqu simulate --area demo, two lines on pseudo terminals
    gateway      the real daemon

Each has its log beside the configuration.  Whatever happens to the demo, its processes end with it.

The gateway keeps balances: two tariffs, one policy, and ``ops.key``, which may order all about
money and accounts, and sign vouchers.  It may cut: for that three more persons have a key each,
since nobody may ask for a cut and agree to it.  The lead times are the ordinary ones.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.keys import key_table, write_private
from gateway.north.signatures import Role, Signer, new_seed
from gateway.technician.demo_broker import HOST
from simulators.area import PROFILES, Area
from simulators.area_meter import AreaMeter

GATEWAY = "demo"
PATIENCE_S = 10.0
"""How long a process may take to end by itself."""
LOG_LINES = 12
POLLING = {
    "dlt645-2007-single-phase": (
        15,
        ("energy_active_import", "voltage_l1n", "power_active", "relay_state"),
    ),
    "dlt645-1997-single-phase": (20, ("energy_active_import", "voltage_l1n", "power_active")),
    "dlt645-2007-three-phase": (
        15,
        ("energy_active_import", "voltage_l1n", "voltage_l2n", "voltage_l3n", "power_active"),
    ),
    "eastron-sdm630": (10, ()),
    "chint-dtsu666": (10, ()),
}
"""Period in seconds and points of each model: about what a line at 2400 baud can do."""
BACKFILL_DAYS = 31
HOME, SHOP = "zhejiang-joint-meter-flat", "small-shop-weekly"
"""The tariffs."""
TARIFF_FILES = PROFILES.parent / "tariffs"
"""Where the examples are."""
POLICY = "demo"
LIMITS = {"alert_1": "20.00", "alert_2": "10.00", "overdraft": "5.00", "hoarding": "2000.00"}
"""The policy, in yuan."""
SWITCHING = {
    # Nobody wants to watch a demo for two hours; a gateway with customers keeps its quiet time.
    "quiet_minutes": 0,
    "delay_s": 0,
    "still_s": 30,
    # So few accounts: that several fall due at once is no mass event.
    "cuts_per_10_minutes": 10,
}
"""What differs from the defaults."""
ROLES = {
    "ops": (Role.MONEY, Role.ACCOUNT, Role.TARIFF),
    "asks": (Role.REQUEST,),
    "agrees": (Role.APPROVE,),
    "guards": (Role.PROTECT,),
}
"""Who has a key, and what for."""
OPS = "ops"
VOUCHER_KEY = 1
PAST, MOVEMENTS = "past.jsonl", "movements.jsonl"
"""What the head-end had heard before the start; what the relays truly did."""


class ProcessError(Exception):
    """One of the demo's processes is not what it should be.  Says which, and how."""


def _table(head: str, **keys: object) -> str:
    """One table of a TOML file; its strings, numbers and lists are written as JSON's are."""
    pairs = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())
    return "\n".join([head, *pairs])


def _meter_table(line: str, meter: AreaMeter) -> str:
    model = meter.profile.name
    period_s, points = POLLING[model]
    return _table(
        "[[meter]]",
        asset=meter.asset,
        line=line,
        address=meter.address,
        profile=model,
        baud=meter.settings.baud,
        period_s=period_s,
        **({"points": points} if points else {}),
    )


@dataclass(slots=True)
class Process:
    """One of the demo's programs."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]
    ends: bool = False
    """It ends by itself, once its work is done."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and insist if it does not."""
        if self.running:
            self.popen.terminate()
        try:
            self.popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
        return f"{self.name}, last lines of {self.log}:\n{said}"


@dataclass(slots=True)
class Site:
    """The processes, in the order they were started."""

    directory: Path
    signers: dict[str, Signer] = field(
        default_factory=lambda: {name: Signer(f"demo-{name}", new_seed()) for name in ROLES}
    )
    """The keys of the head-end and its people."""
    processes: list[Process] = field(default_factory=list)

    @property
    def signer(self) -> Signer:
        """The key of the head-end's counter."""
        return self.signers[OPS]

    @property
    def run_directory(self) -> Path:
        """Where the gateway writes its live state."""
        return self.directory / "run"

    @property
    def database(self) -> Path:
        """What the gateway stores."""
        return self.directory / "store" / "taiqu.db"

    def write_config(self, area: Area, broker: str, port: int) -> Path:
        """Write the configuration of a gateway for ``area``, and return its path."""
        brokers = [f"mqtt://{HOST}:{port}"]
        # amqtt does not answer an MQTT 5 client that has a will.
        mqtt5 = broker != "amqtt"
        tables = [
            "# The demo's configuration.  Paths count from here.",
            _table("[gateway]", name=GATEWAY, profiles=str(PROFILES), run_directory="run"),
            _table("[store]", directory="store", group_commit_s=2, ballast_mib=1),
            _table("[mqtt]", brokers=brokers, keepalive_s=15, mqtt5=mqtt5),
            # Load curves of the past would keep these slow lines busy all the time.
            _table("[collection]", backfill_days=BACKFILL_DAYS, grid_minutes=0),
            *self._write_prepayment(),
        ]
        for line in area.lines:
            tables.append(_table("[[line]]", name=line.name, port=str(self.directory / line.name)))
            tables += [_meter_table(line.name, meter) for meter in line.meters]
        path = self.directory / "gateway.toml"
        path.write_text("\n\n".join(tables) + "\n")
        return path

    def _write_prepayment(self) -> list[str]:
        """Write the tariffs and keys; returns the tables about them."""
        tariffs = self.directory / "tariffs"
        tariffs.mkdir(exist_ok=True)
        for tariff in (HOME, SHOP):
            shutil.copy(TARIFF_FILES / f"{tariff}.toml", tariffs)
        for name, signer in self.signers.items():
            write_private(self.directory / f"{name}.key", signer)
        keys = [key_table(signer, ROLES[name]) for name, signer in self.signers.items()]
        (self.directory / "keys.toml").write_text("\n\n".join(keys) + "\n")
        return [
            _table("[keys]", file="keys.toml"),
            _table("[prepayment]", tariffs="tariffs"),
            _table("[switching]", **SWITCHING),
            _table("[[policy]]", name=POLICY, **LIMITS),
            _table("[[voucher_key]]", id=VOUCHER_KEY, public=self.signer.public()),
        ]

    def start(self, name: str, argv: list[str], *, ends: bool = False) -> Process:
        """Start a program.  It gets no signals from our terminal: we end it when its time comes.

        One that ``ends`` does so by itself.
        """
        log = self.directory / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, log, popen, ends)
        self.processes.append(process)
        return process

    def check(self) -> None:
        """Raises ProcessError if one has ended that should be running."""
        for process in self.processes:
            code = process.popen.poll()
            if code is not None and not (process.ends and code == 0):
                raise ProcessError(f"{process.name} ended by itself with exit status {code}")

    def last_words(self) -> str:
        """The ends of all logs."""
        return "\n".join(process.last_words() for process in self.processes)


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """A site whose processes are stopped on leaving, the last started first."""
    made = Site(directory)
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            process.stop()


def simulator_command(directory: Path, seed: int) -> list[str]:
    """How to start the simulated area; its lines appear as links in ``directory``."""
    where = ["--area", "demo", "--directory", str(directory), "--seed", str(seed)]
    truth = ["--movements", str(directory / MOVEMENTS)]
    return [sys.executable, "-m", "simulators", *where, *truth]


def past_command(directory: Path, seed: int, until: float) -> list[str]:
    """How to play what was before the Unix time ``until``."""
    script = [sys.executable, "-m", "gateway.technician.demo_past"]
    return [*script, "--directory", str(directory), "--seed", str(seed), "--until", str(until)]


def gateway_command(config: Path) -> list[str]:
    """How to start the daemon."""
    return [sys.executable, "-m", "gateway.technician.demo_gateway", "--config", str(config)]
