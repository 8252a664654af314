"""What the gateway is doing right now: one JSON file on tmpfs, never on flash.

The core composes it every few seconds; ``taiqu status`` and the local page read it.  It holds
nothing that is not either in the database or gone with the moment.
"""

import json
from pathlib import Path
from typing import TypedDict

import structlog

FILE = "state.json"

log = structlog.get_logger()


class MeterState(TypedDict):
    """One meter."""

    asset: str
    address: str
    line: str
    model: str
    silent: bool
    reason: str
    """Why the last poll failed; empty while the meter answers.  Begins with ``line fault`` where
    all meters of its line are silent."""
    last_good: float | None
    """Unix time of its last good reply."""
    asked: int
    answered: int
    """Polls and probes since the daemon started, and how many of them got a reply."""
    round_trip_ms: float
    faults: dict[str, int]
    """Its requests without a reply, by kind (silent, damaged, refused, port, expired)."""
    strays: dict[str, int]
    """What came while it was asked and was not its answer, by kind (echo, foreign, late, damaged):
    another meter that speaks out of turn shows here as well."""
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
    noise_bytes: int
    """Bytes that belonged to no frame."""
    diagnosis: str
    """What the counters of the last hour say is wrong with the line; empty if nothing."""


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
    """Why it is down; or, while it is up, why nothing of the head-end's can reach us."""


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
    """Replace the file in one step, so that a reader never sees half of it.

    Raises OSError where it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / (FILE + ".new")
    draft.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
    draft.replace(directory / FILE)


def read(directory: Path) -> State | None:
    """The last state written, or None where no daemon has written one.

    Raises OSError where there may be one that we cannot read.
    """
    try:
        state: State = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return state


class Window:
    """Where the daemon shows its state.  That nobody can see it must not stop the gateway."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._trouble = ""

    def show(self, state: State) -> None:
        """Write the file; trouble with it is one line in the log."""
        trouble = ""
        try:
            write(self._directory, state)
        except OSError as error:
            trouble = str(error)
        if trouble and not self._trouble:
            log.error("the live state cannot be written", reason=trouble)
        self._trouble = trouble
