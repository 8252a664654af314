"""``python -m tests.bench [NAMES...] [--quick]``: print their figures as JSON lines."""

import argparse
import sys
from collections.abc import Callable, Iterator

from tests.bench.exchanges import exchanges
from tests.bench.figures import BenchError, Figure
from tests.bench.flow import drain, throughput
from tests.bench.footprint import footprint
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
}


def main() -> int:
    """Print each figure as soon as it is known; 1 if a bench could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="fewer meters, shorter windows")
    args = parser.parse_args()
    if unknown := set(args.names) - BENCHES.keys():
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    status = 0
    for name in args.names or BENCHES:
        try:
            for figure in BENCHES[name](quick=args.quick):
                print(figure.line(), flush=True)
        except BenchError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
