"""``python -m tests.bench [NAMES...] [--quick]``: print their figures as JSON lines."""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from logging import WARNING

import structlog

from tests.bench.exchanges import exchanges
from tests.bench.figures import BenchError, Figure
from tests.bench.flow import drain, throughput
from tests.bench.footprint import footprint
from tests.bench.journal import journal
from tests.bench.settlement import settlement
from tests.bench.switching import switching
from tests.bench.urgent import urgent
from tests.bench.wire import silent, wire

BENCHES: dict[str, Callable[..., Iterator[Figure]]] = {
    "exchanges": exchanges,
    "wire": wire,
    "silent": silent,
    "urgent": urgent,
    "throughput": throughput,
    "drain": drain,
    "footprint": footprint,
    "journal": journal,
    "settlement": settlement,
    "switching": switching,
}


BESIDE = ("silent",)
"""Mostly waits for meters that do not answer, so it runs beside the others."""


def main() -> int:
    """Print each figure as soon as it is known; 1 if a bench could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="fewer meters, shorter windows")
    args = parser.parse_args()
    if unknown := set(args.names) - BENCHES.keys():
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    names = args.names or list(BENCHES)
    # Figures alone go to standard output.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with ThreadPoolExecutor() as pool:
        beside = [pool.submit(run, name, quick=args.quick) for name in names if name in BESIDE]
        done = [run(name, quick=args.quick) for name in names if name not in BESIDE]
        done += [one.result() for one in beside]
    return 0 if all(done) else 1


def run(name: str, *, quick: bool) -> bool:
    """Print one bench's figures; False if it could not be run to its end."""
    try:
        for figure in BENCHES[name](quick=quick):
            print(figure.line(), flush=True)
    except BenchError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
