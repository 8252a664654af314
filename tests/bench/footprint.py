"""What the daemon takes of a small box: memory, CPU, flash, and the time until its first reading.

The daemon runs in an environment with its own dependencies only, as it is shipped: some libraries
import whatever else happens to be installed.  That environment is made once and kept.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gateway.north.contract import instant
from gateway.north.signatures import Signer
from simulators.headend import HeadEnd
from tests.bench.figures import BenchError, Figure
from tests.bench.rig import NAME, ROOT, Daemon, Meters, Rig, Tally, rig, wait_for
from tests.bench.wear import Disk, disk
from tests.keyring import MONEY, OFFICE, OPEN, TOP_UP, sealed, write_keys

RSS_MB = {64: 45, 512: 60}
"""Aims, by the number of meters."""
READING_BYTES_MAX = 600
START_S_MAX = 1.0
LOG_BYTES = 250 * 4096
"""What SQLite's log grows to before it is written over."""
TARIFF = "shanghai-home-year-steps-tou"
PREPAID = """
[prepayment]
tariffs = "{tariffs}"
[[policy]]
name = "home"
alert_1 = "20.00"
alert_2 = "10.00"
[switching]
"""
VOLTAGES = ["voltage_l1n", "voltage_l2n", "voltage_l3n"]


def footprint(*, quick: bool) -> Iterator[Figure]:
    """RSS with 64 and 512 meters, and with prepaid customers; CPU share, start, wear."""
    python = shipped_python()
    yield _start(python, 1 if quick else 3)
    yield from _small(python, 9600 if quick else 2400, 10 if quick else 30)
    yield _prepaid(python)
    yield _large(python)
    if not quick:
        yield _wear(python, 60)


def shipped_python() -> str:
    """The interpreter of an environment with the run-time dependencies only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted: list[str] = project["dependencies"]
    mark = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"taiqu-bench-venv-{os.getuid()}-{mark}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *wanted,
        ]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the dependencies cannot be installed: {done.stderr[-500:]}")
        ready.touch()
    return str(python)


def _start(python: str, runs: int) -> Figure:
    """From the start of the process to the end of the first reply on a line at 9600 baud."""
    took_s = []
    for _ in range(runs):
        line = Meters(line="start", count=8, settings={"period_s": 60})
        with rig() as bench:
            bench.configure_meters(bench.start_meters(line), line)
            daemon = bench.start_daemon(python)
            time.sleep(3)
            daemon.check()
            answered = [entry for entry in bench.exchanges()["start"] if entry.said]
            took_s.append(answered[0].at + answered[0].wire_s - daemon.started_at)
    return Figure(
        bench="footprint",
        figure="start_to_first_reading",
        value=sorted(took_s)[runs // 2],
        unit="s",
        aim=START_S_MAX,
        detail={"runs_s": [round(one, 2) for one in took_s], "meters": 8, "baud": 9600},
    )


def _small(python: str, baud: int, for_s: float) -> Iterator[Figure]:
    """64 meters on two lines, the standard points of each every minute."""
    lines = [Meters(line=f"l{n}", count=32, baud=baud, settings={"period_s": 60}) for n in (1, 2)]
    with _running(python, *lines) as (bench, daemon):
        _read_by_all(daemon, 64)
        bench.exchanges()
        cpu_s, began = daemon.cpu_s(), time.monotonic()
        time.sleep(for_s)
        cpu_s, span_s = daemon.cpu_s() - cpu_s, time.monotonic() - began
        count = sum(map(len, bench.exchanges().values()))
        yield _rss(daemon, 64)
    yield Figure(
        bench="footprint",
        figure="cpu_share_standard_plan",
        value=cpu_s / span_s,
        unit="of a core",
        detail={
            "meters": 64,
            "lines": 2,
            "baud": baud,
            "period_s": 60,
            "exchanges_per_s": round(count / span_s, 1),
            "cpu_us_per_exchange": round(cpu_s / count * 1e6),
            "seconds": round(span_s),
        },
    )


def _large(python: str) -> Figure:
    """512 meters on eight serial servers without a wire."""
    lines = [
        Meters(
            line=f"l{n}",
            count=64,
            tcp=True,
            delay_ms=0,
            settings={"period_s": 60, "guard_ms": 0},
        )
        for n in range(1, 9)
    ]
    with _running(python, *lines) as (_, daemon):
        _read_by_all(daemon, 512)
        time.sleep(10)
        return _rss(daemon, 512)


def _prepaid(python: str) -> Figure:
    """64 meters that are prepaid: an account with a payment for each, relays, signed orders."""
    lines = [
        Meters(line=f"l{n}", count=32, tcp=True, settings={"period_s": 60, "guard_ms": 0})
        for n in (1, 2)
    ]
    assets = [asset for line in lines for asset in line.assets]
    with rig() as bench:
        bench.start_broker()
        bench.configure_meters(bench.start_meters(*lines), *lines)
        with (bench.folder / "gateway.toml").open("a") as file:
            file.write(PREPAID.format(tariffs=ROOT / "config" / "tariffs"))
            file.write(write_keys(bench.folder))
        head_end, tally = bench.head_end()
        daemon = bench.start_daemon(python)
        _read_by_all(daemon, len(assets))
        for order in _customers(assets, time.time()):
            head_end.send(NAME, "commands", order)
        wait_for("the accounts", lambda: _confirmed(head_end, tally) == 2 * len(assets))
        time.sleep(10)
        return Figure(
            bench="footprint",
            figure="rss_64_meters_prepaid",
            value=daemon.rss_mb(),
            unit="MB",
            detail={"accounts": len(assets), "with": "prepayment, switching, signed orders"},
        )


def _confirmed(head_end: HeadEnd, tally: Tally) -> int:
    head_end.collect(0.0)
    return tally.confirmed


def _customers(assets: Sequence[str], wall: float) -> Iterator[dict[str, object]]:
    """Orders that open an account for each meter and pay into it."""
    today = datetime.fromtimestamp(wall, UTC).date().isoformat()
    start = {f"energy_active_import{rate}": "1" for rate in ("", "_t1", "_t2", "_t3", "_t4")}
    for n, asset in enumerate(assets):
        opening = OPEN | {
            "account": f"{n:010d}",
            "opened": today,
            "tariffs": [{"since": today, "tariff": TARIFF}],
            "meters": [{"meter": asset, "since": today, "start": start}],
        }
        yield _sealed(f"open-{n}", opening, OFFICE, wall)
        payment = {"payment": f"p-{n}", "account": f"{n:010d}", "paid": instant(wall)}
        yield _sealed(f"pay-{n}", TOP_UP | payment, MONEY, wall)


def _sealed(id_: str, body: Mapping[str, object], by: Signer, wall: float) -> dict[str, object]:
    order = {
        "gateway": NAME,
        "id": id_,
        "issuer": "bench",
        "issued": instant(wall),
        "not_after": instant(wall + 600),
        "command": body,
    }
    found: dict[str, object] = json.loads(sealed(order, by))
    return found


def _wear(python: str, for_s: float) -> Figure:
    """Ten readings a second: ten meters, one exchange each of three values.

    In the first minutes of its life SQLite's log still grows, which costs the file system more than
    what is in it; so it is first brought to its full size by many small commits.
    """
    line = Meters(
        line="l1",
        count=10,
        tcp=True,
        delay_ms=0,
        settings={"period_s": 1, "guard_ms": 0, "points": VOLTAGES},
    )
    # The disk is unmounted when everybody has left it: the rig ends first.
    with disk() as place, rig() as bench:
        bench.store = place.folder / "store"
        bench.start_broker()
        ports = bench.start_meters(line)
        bench.configure_meters(ports, line, store={"group_commit_s": 0.5})
        head_end, _ = bench.head_end()
        daemon = bench.start_daemon(python)
        log = bench.store / "taiqu.db-wal"
        wait_for(
            "the log's full size", lambda: log.exists() and log.stat().st_size >= LOG_BYTES, 120
        )
        # SQLite removes the log when it is closed in good order.
        daemon.kill()
        bench.configure_meters(ports, line)
        daemon = bench.start_daemon(python)
        time.sleep(12)
        place.sync()
        bench.exchanges()
        before = place.written_bytes(daemon.pid)
        _work(daemon, head_end, for_s, place)
        readings = len(bench.exchanges()["l1"])
        written = place.written_bytes(daemon.pid) - before
    return Figure(
        bench="footprint",
        figure="device_bytes_per_reading",
        value=written / readings,
        unit="bytes",
        aim=READING_BYTES_MAX,
        detail={
            "readings": readings,
            "readings_per_s": round(readings / for_s, 1),
            "values_per_reading": 3,
            "group_commit_s": 5,
            "counted": place.how,
            "delivered": "yes, acknowledgements included",
        },
    )


def _work(daemon: Daemon, head_end: HeadEnd, for_s: float, place: Disk) -> None:
    """Let it work; the kernel writes in its own time, and in the end all that it held back."""
    ends = time.monotonic() + for_s
    while (left_s := ends - time.monotonic()) > 0:
        time.sleep(min(5.0, left_s))
        head_end.collect(0.0)
        daemon.check()
    place.sync()


@contextmanager
def _running(python: str, *lines: Meters) -> Iterator[tuple[Rig, Daemon]]:
    with ExitStack() as closing:
        bench = closing.enter_context(rig())
        bench.start_broker()
        bench.configure_meters(bench.start_meters(*lines), *lines)
        bench.head_end()
        yield bench, bench.start_daemon(python)


def _read_by_all(daemon: Daemon, count: int) -> None:
    """Return when every meter has answered a whole poll."""

    def so() -> bool:
        state = daemon.state()
        return state is not None and sum(bool(m["answered"]) for m in state["meters"]) == count

    wait_for(f"{count} meters to have answered", so, 150)


def _rss(daemon: Daemon, meters: int) -> Figure:
    return Figure(
        bench="footprint",
        figure=f"rss_{meters}_meters",
        value=daemon.rss_mb(),
        unit="MB",
        aim=RSS_MB[meters],
        detail={"environment": "run-time dependencies only"},
    )
