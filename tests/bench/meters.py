"""Simulated lines in a process of their own, which note every request and what they answered.

    python -m tests.bench.meters SPECIFICATION      (JSON, see ``main``)

First a line for each port; then, on standard input, orders:

    silence A01     the meter stops answering          wake A01    it answers again
    trip A01        its relay opens, as if it had been told to
    log             all exchanges since the last ``log``, as one line of JSON

An exchange is ``[line, at, heard, said, delay, character, request]``: when its request was written
(monotonic seconds, the same for all processes of a machine), bytes heard, bytes said, the meter's
own delay, seconds per character, and the request in hex.
"""

import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from protocols.relay import Action
from simulators.area import PROFILES, AreaLine, build_area
from simulators.line import Line
from simulators.server import Server

Entry = tuple[str, float, int, int, float, float, str]


class SystemClock:
    """The real time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class NotedLine(Line):
    """A line that notes what happens on it."""

    def __init__(self, area: AreaLine, log: list[Entry]) -> None:
        super().__init__([one.meter for one in area.meters])
        self._name = area.name
        self._log = log

    def hear(
        self, data: bytes, now: float, baud: int | None = None, parity: str | None = None
    ) -> list[tuple[float, bytes]]:
        """As the line does, and note it."""
        at = time.monotonic()
        appears = super().hear(data, now, baud, parity)
        said = sum(len(reply) for _, reply in appears)
        delay_s = sum(delay for delay, _ in appears)
        character_s = self.character_s(baud)
        self._log.append((self._name, at, len(data), said, delay_s, character_s, data.hex()))
        return appears


def main() -> None:
    """Serve until SIGTERM.

    The specification: ``folder`` for the ports; ``lines``, each with ``name``, ``tcp`` (no wire)
    or not, and ``meter``, a list as an area file has it.
    """
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    raw = {
        "seed": 1,
        "line": [{"name": one["name"], "meter": one["meter"]} for one in wanted["lines"]],
    }
    area = build_area(raw, PROFILES, "bench")
    by_asset = {m.asset: m.meter for line in area.lines for m in line.meters}
    relays = {m.asset: m.relay for line in area.lines for m in line.meters}
    log: list[Entry] = []
    server = Server(SystemClock())

    def obey(order: str) -> None:
        verb, _, name = order.strip().partition(" ")
        if verb == "log":
            print(json.dumps(log), flush=True)
            log.clear()
        elif verb == "trip" and (relay := relays[name]):
            relay.advance(time.time())
            relay.command(Action.TRIP)
            print("done", flush=True)
        else:
            by_asset[name].silent = verb == "silence"
            print("done", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    try:
        for line, given in zip(area.lines, wanted["lines"], strict=True):
            make = partial(NotedLine, line, log)
            if given["tcp"]:
                print(f"socket://127.0.0.1:{server.add_tcp(make, '127.0.0.1', 0)}", flush=True)
            else:
                link = Path(wanted["folder"]) / line.name
                print(server.add_pty(make(), link), flush=True)
        server.add_orders(sys.stdin.fileno(), obey)
        server.run()
    finally:
        server.close()


if __name__ == "__main__":
    main()
