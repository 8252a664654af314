"""How much of a line's time the wire and the meters take, and what silent meters cost the others.

A saturated line: the period is shorter than a cycle.  Whole cycles only: from a request to the same
request again.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from gateway.daemon import LISTEN_S
from tests.bench.figures import BenchError, Figure, quantile
from tests.bench.rig import Daemon, Entry, Meters, rig

EFFICIENCY = {2400: 0.97, 9600: 0.95, 115200: 0.85}
"""What is aimed at, by baud rate."""
SILENT = {3: 1.05, 30: 1.10}
"""Of 32 meters so many die at once: how much longer may the cycle of the living be in the ten
minutes after it."""
SATURATED = {"period_s": 1}


def wire(*, quick: bool) -> Iterator[Figure]:
    """Wire efficiency with 32 meters, guard times as the profile has them."""
    count = 6 if quick else 32
    lines = [Meters(line=f"w{b}", count=count, baud=b, settings=SATURATED) for b in EFFICIENCY]
    for line in lines:
        with rig() as bench:
            bench.configure_meters(bench.start_meters(line), line)
            daemon = bench.start_daemon()
            cycle_s = count * 5 * (0.04 + 55 * 11 / line.baud)
            # In the first cycle every register is read twice, to be believed; and once a day each
            # meter is listened to, whether another one answers beside it.
            _pause(daemon, 2 + 2.5 * cycle_s + count * (LISTEN_S + 0.05))
            bench.exchanges()
            _pause(daemon, max(5.0, 1.3 * cycle_s))
            entries = bench.exchanges()[line.line]
        whole, cycles = whole_cycles(entries)
        span_s = whole[-1].at - whole[0].at
        wire_s = sum(entry.wire_s for entry in whole[:-1])
        lost = [b.at - a.at - a.wire_s for a, b in pairwise(whole)]
        yield Figure(
            bench="wire",
            figure=f"efficiency_{line.baud}",
            value=wire_s / span_s,
            unit="ratio",
            aim=EFFICIENCY[line.baud],
            better="more",
            detail={
                "meters": count,
                "cycles": cycles,
                "cycle_s": round(span_s / cycles, 3),
                "exchanges_per_cycle": (len(whole) - 1) / cycles,
                "wire_s_per_cycle": round(wire_s / cycles, 3),
                "lost_ms_p50": round(quantile(lost, 0.5) * 1000, 2),
                "lost_ms_p99": round(quantile(lost, 0.99) * 1000, 2),
                "meter_delay_ms": line.delay_ms,
            },
        )


def silent(*, quick: bool) -> Iterator[Figure]:
    """What meters that die at once cost the living: the time of an exchange with these, from the
    death on, against a healthy line.
    """
    count, for_s = (8, 300) if quick else (32, 600)
    share = {wanted: max(1, wanted * count // 32) for wanted in SILENT}
    if quick:
        share[30] = count - 2
    make = partial(Meters, count=count, baud=4800, settings={**SATURATED, "timeout_ms": 1000})
    lines = {0: make(line="s0"), **{wanted: make(line=f"s{wanted}") for wanted in SILENT}}
    with rig() as bench:
        bench.configure_meters(bench.start_meters(*lines.values()), *lines.values())
        daemon = bench.start_daemon()
        # Until the registers are believed and the timeouts learned: two cycles and more.
        _pause(daemon, 30 if quick else 90)
        dead = {wanted: lines[wanted].assets[-gone:] for wanted, gone in share.items()}
        bench.silence([asset for assets in dead.values() for asset in assets])
        bench.exchanges()
        _pause(daemon, for_s)
        entries = bench.exchanges()
        state = daemon.state()
    known = {meter["asset"] for meter in state["meters"] if meter["silent"]} if state else set()
    healthy_s = for_s / sum(bool(entry.said) for entry in entries["s0"])
    for wanted, gone in share.items():
        answered = sum(bool(entry.said) for entry in entries[f"s{wanted}"])
        yield Figure(
            bench="silent",
            figure=f"penalty_{gone}_of_{count}",
            value=for_s / answered / healthy_s,
            unit="ratio",
            aim=SILENT[wanted],
            detail={
                "silent": gone,
                "living": count - gone,
                "seconds": for_s,
                "exchange_ms": round(for_s / answered * 1000),
                "healthy_exchange_ms": round(healthy_s * 1000),
                "unanswered": len(entries[f"s{wanted}"]) - answered,
                "known_in_the_end": len(known.intersection(dead[wanted])),
                "timeout_ms": 1000,
                "baud": 4800,
            },
        )


def whole_cycles(entries: Sequence[Entry]) -> tuple[Sequence[Entry], int]:
    """From an answered request to the last time it was made, and how many cycles that is."""
    first = next(n for n, entry in enumerate(entries) if entry.said)
    again = [n for n, entry in enumerate(entries) if entry.request == entries[first].request]
    if len(again) < 2:
        raise BenchError(f"no whole cycle among {len(entries)} exchanges")
    return entries[first : again[-1] + 1], len(again) - 1


def _pause(daemon: Daemon, for_s: float) -> None:
    """Let it work for a while."""
    time.sleep(for_s)
    daemon.check()
