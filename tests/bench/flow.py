"""How much goes through: points from one Modbus TCP server, and stored messages to the broker."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.north import contract
from gateway.north.readings import Reading, Readings
from gateway.store.database import open_store
from gateway.store.outbox import Lane, Outbox
from tests.bench.figures import Figure
from tests.bench.rig import NAME, Daemon, Process, rig, wait_for

REGISTERS = 100
"""Of one unit, side by side, each a point, read in one exchange."""
POINT_US_MAX = 40
CPU_SHARE_MAX = 0.05
BACKLOG = 4000
VALUES = 400
"""In one message, as the gateway groups them."""


def throughput(*, quick: bool) -> Iterator[Figure]:
    """More registers than can be read, then 1,000 a second."""
    for_s = 5 if quick else 12
    points, cpu_s, span_s = _run(lines=4, units=240, for_s=for_s)
    detail: dict[str, object] = {
        "wanted_points_per_s": 4 * 240 * REGISTERS,
        "registers_per_exchange": REGISTERS,
        "cpu_share": round(cpu_s / span_s, 3),
        "seconds": round(span_s, 1),
    }
    yield Figure(
        bench="throughput",
        figure="points_per_s",
        value=points / span_s,
        unit="points/s",
        detail=detail,
    )
    yield Figure(
        bench="throughput",
        figure="cpu_per_point",
        value=cpu_s / points * 1e6,
        unit="us",
        aim=POINT_US_MAX,
        detail=detail,
    )
    points, cpu_s, span_s = _run(lines=1, units=10, for_s=for_s)
    yield Figure(
        bench="throughput",
        figure="cpu_share_at_1000_registers_per_s",
        value=cpu_s / span_s,
        unit="of a core",
        aim=CPU_SHARE_MAX,
        detail={
            "points_per_s": round(points / span_s),
            "cpu_us_per_point": round(cpu_s / points * 1e6, 1),
            "seconds": round(span_s, 1),
        },
    )


def _run(lines: int, units: int, for_s: float) -> tuple[int, float, float]:
    """Points read by the server's count, CPU time of the daemon, and time passed."""
    with rig() as bench:
        bench.start_broker()
        profiles = bench.folder / "profiles"
        profiles.mkdir()
        (profiles / "bench.toml").write_text(_profile())
        ports, server = bench.start_responder(lines)
        named = {f"tcp{n}": port for n, port in enumerate(ports)}
        meters = [
            {
                "asset": f"{line}-{unit}",
                "line": line,
                "address": str(unit),
                "profile": "bench",
                "period_s": 1,
            }
            for line in named
            for unit in range(1, units + 1)
        ]
        bench.configure(named, meters, profiles=profiles)
        bench.head_end()
        daemon = bench.start_daemon()
        wait_for("the first registers", lambda: _served(server) > len(meters) * REGISTERS)
        time.sleep(3)
        before = (_served(server), daemon.cpu_s(), time.monotonic())
        time.sleep(for_s)
        daemon.check()
        after = (_served(server), daemon.cpu_s(), time.monotonic())
    points, cpu_s, span_s = (b - a for a, b in zip(before, after, strict=True))
    return int(points), cpu_s, span_s


def _served(server: Process) -> int:
    return int(server.order("served"))


def _profile() -> str:
    """A meter of 100 registers, each a point of its own."""
    names = [
        f"energy_active_{direction}_t{tariff}"
        for direction in ("import", "export")
        for tariff in range(1, REGISTERS // 2 + 1)
    ]
    rows = "".join(f"{name} = {register}\n" for register, name in enumerate(names))
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"""model = "bench"
manufacturer = "none"
protocol = "modbus"
default_points = [{quoted}]

[line]
baud = 9600
parity = "N"
stop_bits = 1
timeout_ms = 1000
guard_ms = 0

[modbus]
function = 3
type = "u16"
byte_order = "big"
word_order = "big"
max_registers = {REGISTERS}

[points]
{rows}"""


def drain(*, quick: bool) -> Iterator[Figure]:
    """A backlog goes out to mosquitto at QoS 1: how fast, and what memory that takes."""
    count = BACKLOG // 4 if quick else BACKLOG
    with rig() as bench:
        bench.start_broker()
        meters = [{"asset": "U1", "line": "tcp", "address": "1", "profile": "eastron-sdm630"}]
        bench.configure({"tcp": "tcp://127.0.0.1:9"}, meters)
        body_bytes = _fill(bench.store, count)
        head_end, tally = bench.head_end()
        daemon = bench.start_daemon()
        wait_for("the first message", lambda: bool(head_end.collect(0.01) and tally.readings))
        first = tally.readings
        began, cpu_s = time.monotonic(), daemon.cpu_s()
        rss_mb = [daemon.rss_mb()]
        while tally.readings < count and time.monotonic() - began < 120:
            head_end.collect(0.05)
            rss_mb.append(daemon.rss_mb())
        span_s = time.monotonic() - began
        cpu_s = daemon.cpu_s() - cpu_s
        sent = tally.readings - first
        yield Figure(
            bench="drain",
            figure="messages_per_s",
            value=sent / span_s,
            unit="messages/s",
            detail=_detail(sent, body_bytes, span_s, cpu_s, daemon),
        )
        yield Figure(
            bench="drain",
            figure="memory_growth",
            value=max(rss_mb[1:]) - rss_mb[0],
            unit="MB",
            aim=5,
            detail={"first_mb": round(rss_mb[0], 1), "highest_mb": round(max(rss_mb), 1)},
        )


def _detail(
    count: int, body_bytes: int, span_s: float, cpu_s: float, daemon: Daemon
) -> dict[str, object]:
    daemon.check()
    return {
        "messages": count,
        "bytes_each": body_bytes,
        "values_per_s": round(count * VALUES / span_s),
        "cpu_us_per_message": round(cpu_s / count * 1e6),
        "lane": "live, newest first, window 20",
    }


def _fill(directory: Path, count: int) -> int:
    """Put messages into a new store, as the gateway stores them; returns the size of one."""
    directory.mkdir()
    values = {f"energy_active_import_t{n}": "123456.78" for n in range(1, 21)}
    reading = Reading(
        meter="A100001",
        address="000012345678",
        line="east",
        taken=contract.instant(time.time()),
        clock="trusted",
        values=values,
    )
    body = b""
    with open_store(directory / "taiqu.db", time.time, secrets.token_bytes) as database:
        outbox = Outbox(database, time.time)

        def build(seq: int) -> bytes:
            nonlocal body
            message = Readings(
                gateway=NAME,
                epoch=database.epoch,
                lane="live",
                seq=seq,
                readings=(reading,) * (VALUES // len(values)),
            )
            body = contract.encode(message)
            return body

        with database.transaction():
            for _ in range(count):
                outbox.add(Lane.LIVE, "readings", build)
    return len(body)
