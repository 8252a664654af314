"""What the gateway is doing right now: one JSON file on tmpfs, never on flash.

The core composes it every few seconds; ``taiqu status`` and the local page read it.  It holds
nothing that is not either in the database or gone with the moment.
"""

import json
from pathlib import Path
from typing import TypedDict

FILE = "state.json"


class MeterState(TypedDict):
    """One meter."""

    asset: str
    address: str
    line: str
    model: str
    silent: bool
    reason: str
    """Why the last poll failed; empty while the meter answers."""
    last_good: float | None
    """Unix time of its last good reply."""
    asked: int
    answered: int
    """Polls and probes since the daemon started, and how many of them got a reply."""
    round_trip_ms: float
    refused: list[str]
    """Exchanges the meter declined for good."""
    values: dict[str, str]
    """Last good values, exact decimals by point."""


class LineState(TypedDict):
    """One line."""

    name: str
    port: str
    up: bool
    reason: str
    use: float
    """Share of the last minutes in which the line was busy, 0 to 1."""
    exchanges: int
    faults: dict[str, int]
    """Requests without a reply, by kind (silent, damaged, refused, port, expired)."""
    strays: dict[str, int]
    """Frames that were not the answer, by kind (echo, foreign, late, damaged)."""


class LaneState(TypedDict):
    """One lane of the outbox."""

    last: int
    pending: int
    pending_bytes: int


class LinkState(TypedDict):
    """The connection to the head-end."""

    up: bool
    broker: str
    since: float
    """Unix time of the last change."""
    reason: str


class DayState(TypedDict):
    """One meter's daily freeze of yesterday."""

    freeze: str
    """``read``, ``absent``, ``wrong_time`` or ``missing``."""
    reason: str
    clock_offset_s: float | None
    """How far the meter's clock was ahead when it was last compared."""


class CollectionState(TypedDict):
    """Daily freezes, and what had to be read again to be believed."""

    day: str
    """Yesterday; empty while nobody knows."""
    meters: dict[str, DayState]
    """Of every meter that makes daily freezes, by asset number."""
    again: int
    """Readings asked a second time since the start."""
    dropped: int
    """Readings that the second one contradicted."""


class State(TypedDict):
    """All of it."""

    gateway: str
    software: str
    at: float
    started: float
    clock: str
    epoch: str
    readings_taken: int
    messages_stored: int
    messages_delivered: int
    readings_dropped: int
    meters: list[MeterState]
    lines: list[LineState]
    collection: CollectionState
    link: LinkState
    lanes: dict[str, LaneState]


def write(directory: Path, state: State) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / (FILE + ".new")
    draft.write_text(json.dumps(state, ensure_ascii=False))
    draft.replace(directory / FILE)


def read(directory: Path) -> State | None:
    """The last state written, or None where no daemon has written one."""
    try:
        state: State = json.loads((directory / FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state
