"""How long a read that somebody waits for waits, while its line is saturated.

From the moment the head-end publishes the command to the moment its request is written to the
line: so the broker, the transaction that remembers the command and the core's queue are in the
figure, not only the line's.  Reads ask for a point that nobody polls, so they are told apart on the
wire.  Both lines run at once, under one daemon.
"""

import random
import threading
import time
from collections.abc import Iterator

from gateway.north.contract import instant
from protocols import dlt645
from simulators.headend import HeadEnd
from tests.bench.figures import BenchError, Figure, quantile
from tests.bench.rig import NAME, Entry, Meters, rig, wait_for
from tests.bench.wire import SATURATED

FREQUENCY = "02800002"
SLOW_S = 0.6
"""The most a read may wait on a line at 9600 baud with a silent meter of 1 s timeout."""
GUARD_S = 0.05
"""The profile's: a meter that has just been read is not asked again before it is over."""
VALID_S = 600.0


def urgent(*, quick: bool) -> Iterator[Figure]:
    """Waits on a healthy line at 2400 baud, and on one at 9600 with one of ten meters silent."""
    settings = {**SATURATED, "timeout_ms": 1000}
    healthy = Meters(line="u2400", count=8, baud=2400, settings=settings)
    ailing = Meters(line="u9600", count=10, baud=9600, settings=settings)
    with rig() as bench:
        bench.start_broker()
        bench.configure_meters(bench.start_meters(healthy, ailing), healthy, ailing)
        head_end, _ = bench.head_end()
        daemon = bench.start_daemon()
        wait_for("all meters to have answered", lambda: _all_answered(daemon.state()))
        bench.silence(ailing.assets[-1:])
        bench.exchanges()
        asked = {
            line.line: _ask(head_end, line, 20 if quick else 100) for line in (healthy, ailing)
        }
        for thread, _ in asked.values():
            thread.join()
        time.sleep(3)
        daemon.check()
        entries = bench.exchanges()
        waits = {n: _waits(asked[n][1], entries[n], n) for n in asked}
    one_s = max(entry.wire_s for entry in entries["u2400"]) + GUARD_S
    why = f"the longest exchange of the run, and {GUARD_S} s for a meter just read to turn round"
    yield from _figures("u2400", waits["u2400"], one_s, entries["u2400"], why)
    yield from _figures("u9600", waits["u9600"], SLOW_S, entries["u9600"], "one of ten silent")


def _all_answered(state: object) -> bool:
    return bool(state) and all(meter["answered"] for meter in state["meters"])  # type: ignore[index]


def _ask(
    head_end: HeadEnd, line: Meters, count: int
) -> tuple[threading.Thread, list[tuple[float, str]]]:
    """Begin to send reads, at moments that have nothing to do with the line's own rhythm."""
    chance = random.Random(line.line)
    sent: list[tuple[float, str]] = []

    def send() -> None:
        for number in range(count):
            time.sleep(chance.uniform(0.55, 0.95))
            asset = chance.randrange(line.count - 1)
            now = time.time()
            sent.append((time.monotonic(), line.rows[asset]["address"]))  # type: ignore[arg-type]
            head_end.send(
                NAME,
                "commands",
                {
                    "id": f"{line.line}-{number}",
                    "issuer": "bench",
                    "issued": instant(now),
                    "not_after": instant(now + VALID_S),
                    "command": {
                        "name": "read",
                        "meter": line.assets[asset],
                        "points": ["frequency"],
                    },
                },
            )

    thread = threading.Thread(target=send)
    thread.start()
    return thread, sent


def _waits(sent: list[tuple[float, str]], entries: list[Entry], line: str) -> list[float]:
    """Each command with the first request of its kind that came after it."""
    heard = [(entry.at, entry.request) for entry in entries]
    waits = []
    for at, address in sent:
        wanted = dlt645.encode(dlt645.read(address, FREQUENCY)).hex()
        found = next((h for h in heard if h[0] >= at and h[1] == wanted), None)
        if found is None:
            raise BenchError(f"{line}: a read never came to the line")
        heard.remove(found)
        waits.append(found[0] - at)
    return waits


def _figures(
    line: str, waits: list[float], aim_s: float, entries: list[Entry], why: str
) -> Iterator[Figure]:
    silent = sum(not entry.said for entry in entries)
    detail: dict[str, object] = {
        "reads": len(waits),
        "p50_ms": round(quantile(waits, 0.5) * 1000),
        "p99_ms": round(quantile(waits, 0.99) * 1000),
        "exchanges": len(entries),
        "unanswered": silent,
        "aim_is": why,
        "measured": "from publishing the command to its request on the line",
    }
    yield Figure(
        bench="urgent",
        figure=f"{line}_wait_max",
        value=max(waits) * 1000,
        unit="ms",
        aim=round(aim_s * 1000),
        detail=detail,
    )
