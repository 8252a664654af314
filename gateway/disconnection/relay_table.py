"""The relay's procedure as a table: what follows each state on each signal.

What depends on tries and times besides stands in relay.py.  The diagram in docs/switching.md is
printed from here.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where the relay stands, as far as we know."""

    CLOSED = "closed"
    OPEN = "open"
    ALLOWED = "allowed"  # 合闸允许: waits for the customer's button
    HELD = "held"  # opened by somebody else; only a person releases it
    UNKNOWN = "unknown"  # nobody knows what became of a trip
    WELD_OR_BYPASS = "weld_or_bypass"  # open by its status, but conducting
    STUCK_OPEN = "stuck_open"  # closed by command, but open; tried on and on
    TRIP_FAILED = "trip_failed"  # closed, though it was to be open

    TRIP_WANTED = "trip_wanted"  # to be judged anew, then tried again
    TRIP_SENT = "trip_sent"
    TRIP_READING = "trip_reading"  # no reply: what became of it?
    TRIP_VERIFYING = "trip_verifying"  # accepted: has it moved?
    TRIP_WATCHING = "trip_watching"  # it says open: does it still conduct?

    RESTORE_WANTED = "restore_wanted"  # waits for its turn or for the next try
    RESTORE_READING = "restore_reading"
    RESTORE_SENT = "restore_sent"
    RESTORE_VERIFYING = "restore_verifying"


class Signal(StrEnum):
    """What can happen to it."""

    WANT_OPEN = "trip allowed by preflight"
    WANT_CLOSED = "supply wanted"
    ACCEPTED = "command accepted"
    REFUSED = "command refused"
    NO_REPLY = "no reply"
    SEEN_CLOSED = "seen closed"  # bit 4 closed, bit 6 closed
    SEEN_MOVING = "seen waiting to open"  # bit 4 closed, bit 6 open
    SEEN_OPEN = "seen open"  # bit 4 open, bit 6 open
    SEEN_ALLOWED = "seen allowed"  # bit 4 open, bit 6 closed
    STILL = "no energy counted"
    GREW = "energy counted while open"
    TIME = "pause over"
    START = "started anew"
    RELEASED = "released by a person"


class Do(StrEnum):
    """What has to be done outside."""

    SEND_TRIP = "send the trip"
    SEND_CLOSE = "send the close"
    READ = "read the status"
    WATCH_ENERGY = "compare the energy"
    WAIT = "wait"
    RECHECK = "run the preflight again"
    REPORT = "report"
    WORK_ORDER = "open a work order"


S, G = State, Signal

_SEEN_AFTER_TRIP = {G.SEEN_OPEN: S.TRIP_WATCHING, G.SEEN_ALLOWED: S.ALLOWED}
_SEEN_AFTER_CLOSE = {G.SEEN_CLOSED: S.CLOSED, G.SEEN_ALLOWED: S.ALLOWED}
_PAID = {G.WANT_CLOSED: S.RESTORE_SENT}

MOVES: Mapping[State, Mapping[Signal, State]] = {
    S.CLOSED: {G.WANT_OPEN: S.TRIP_SENT, G.SEEN_OPEN: S.HELD, G.SEEN_ALLOWED: S.ALLOWED},
    S.OPEN: {
        **_PAID,
        G.SEEN_CLOSED: S.TRIP_FAILED,
        G.SEEN_ALLOWED: S.ALLOWED,
        G.GREW: S.WELD_OR_BYPASS,
    },
    S.ALLOWED: {G.SEEN_CLOSED: S.CLOSED, G.SEEN_OPEN: S.HELD},
    S.HELD: {**_SEEN_AFTER_CLOSE, G.RELEASED: S.RESTORE_READING},
    S.UNKNOWN: {**_PAID, **_SEEN_AFTER_TRIP, G.SEEN_CLOSED: S.TRIP_FAILED},
    S.WELD_OR_BYPASS: {
        **_PAID,
        G.SEEN_CLOSED: S.TRIP_FAILED,
        G.SEEN_ALLOWED: S.ALLOWED,
        G.STILL: S.OPEN,
    },
    S.STUCK_OPEN: {
        **_SEEN_AFTER_CLOSE,
        G.TIME: S.RESTORE_READING,
        G.WANT_CLOSED: S.RESTORE_READING,
        G.START: S.RESTORE_READING,
        G.RELEASED: S.RESTORE_READING,
    },
    S.TRIP_FAILED: {**_PAID, **_SEEN_AFTER_TRIP, G.RELEASED: S.RESTORE_READING},
    S.TRIP_WANTED: {
        **_PAID,
        **_SEEN_AFTER_TRIP,
        G.WANT_OPEN: S.TRIP_SENT,
        G.START: S.TRIP_READING,
    },
    S.TRIP_SENT: {
        **_PAID,
        G.ACCEPTED: S.TRIP_VERIFYING,
        G.REFUSED: S.TRIP_FAILED,
        G.NO_REPLY: S.TRIP_READING,
        G.START: S.TRIP_READING,
    },
    S.TRIP_READING: {
        **_PAID,
        **_SEEN_AFTER_TRIP,
        G.SEEN_CLOSED: S.TRIP_WANTED,
        G.SEEN_MOVING: S.TRIP_VERIFYING,
        G.NO_REPLY: S.UNKNOWN,
    },
    S.TRIP_VERIFYING: {
        **_PAID,
        **_SEEN_AFTER_TRIP,
        G.SEEN_CLOSED: S.TRIP_FAILED,
        G.NO_REPLY: S.UNKNOWN,
        G.START: S.TRIP_READING,
    },
    S.TRIP_WATCHING: {
        **_PAID,
        G.STILL: S.OPEN,
        G.GREW: S.WELD_OR_BYPASS,
        G.SEEN_CLOSED: S.TRIP_FAILED,
        G.SEEN_ALLOWED: S.ALLOWED,
        G.NO_REPLY: S.UNKNOWN,
        G.START: S.TRIP_READING,
    },
    S.RESTORE_WANTED: {**_SEEN_AFTER_CLOSE, G.TIME: S.RESTORE_READING},
    S.RESTORE_READING: {
        **_SEEN_AFTER_CLOSE,
        G.SEEN_OPEN: S.RESTORE_SENT,
        G.SEEN_MOVING: S.RESTORE_SENT,
        G.NO_REPLY: S.RESTORE_WANTED,
    },
    S.RESTORE_SENT: {
        G.ACCEPTED: S.RESTORE_VERIFYING,
        G.REFUSED: S.RESTORE_WANTED,
        G.NO_REPLY: S.RESTORE_WANTED,
        G.START: S.RESTORE_READING,
    },
    S.RESTORE_VERIFYING: {
        **_SEEN_AFTER_CLOSE,
        G.SEEN_OPEN: S.RESTORE_WANTED,
        G.NO_REPLY: S.RESTORE_WANTED,
        G.START: S.RESTORE_READING,
    },
}
"""Every pair that is not named changes nothing."""

ENTRY: Mapping[State, tuple[Do, ...]] = {
    S.CLOSED: (Do.REPORT,),
    S.OPEN: (Do.REPORT,),
    S.ALLOWED: (Do.REPORT,),
    S.HELD: (Do.REPORT,),
    S.UNKNOWN: (Do.REPORT, Do.WORK_ORDER),
    S.WELD_OR_BYPASS: (Do.REPORT, Do.WORK_ORDER),
    S.STUCK_OPEN: (Do.REPORT, Do.WORK_ORDER, Do.WAIT),
    S.TRIP_FAILED: (Do.REPORT, Do.WORK_ORDER),
    S.TRIP_WANTED: (Do.RECHECK,),
    S.TRIP_SENT: (Do.SEND_TRIP,),
    S.TRIP_READING: (Do.READ,),
    S.TRIP_VERIFYING: (Do.READ,),
    S.TRIP_WATCHING: (Do.WATCH_ENERGY,),
    S.RESTORE_WANTED: (Do.WAIT,),
    S.RESTORE_READING: (Do.READ,),
    S.RESTORE_SENT: (Do.SEND_CLOSE,),
    S.RESTORE_VERIFYING: (Do.READ,),
}
"""What entering a state asks for."""

AGAIN: Mapping[tuple[State, Signal], Do] = {
    (S.TRIP_READING, G.NO_REPLY): Do.READ,
    (S.TRIP_READING, G.START): Do.READ,
    (S.TRIP_VERIFYING, G.NO_REPLY): Do.READ,
    (S.TRIP_VERIFYING, G.SEEN_CLOSED): Do.READ,
    (S.TRIP_VERIFYING, G.SEEN_MOVING): Do.READ,
    (S.TRIP_WATCHING, G.NO_REPLY): Do.WATCH_ENERGY,
    (S.RESTORE_VERIFYING, G.SEEN_OPEN): Do.READ,
    (S.RESTORE_VERIFYING, G.SEEN_MOVING): Do.READ,
    (S.RESTORE_READING, G.START): Do.READ,
    (S.UNKNOWN, G.START): Do.READ,
    (S.TRIP_FAILED, G.START): Do.READ,
    (S.WELD_OR_BYPASS, G.START): Do.READ,
    (S.WELD_OR_BYPASS, G.RELEASED): Do.READ,
    (S.HELD, G.WANT_CLOSED): Do.REPORT,
}
"""What is to be done where the state stays the same."""

RESTORING = (
    S.RESTORE_WANTED,
    S.RESTORE_READING,
    S.RESTORE_SENT,
    S.RESTORE_VERIFYING,
    S.STUCK_OPEN,
)
SETTLED = (S.CLOSED, S.OPEN, S.ALLOWED, S.HELD)
TRIPPING = (S.TRIP_WANTED, S.TRIP_SENT, S.TRIP_READING, S.TRIP_VERIFYING, S.TRIP_WATCHING)

READ_IN = (
    S.TRIP_READING,
    S.TRIP_VERIFYING,
    S.TRIP_WATCHING,
    S.RESTORE_READING,
    S.RESTORE_VERIFYING,
)
"""Where the status is read until it is known."""
WATCHED = (
    S.OPEN,
    S.ALLOWED,
    S.HELD,
    S.UNKNOWN,
    S.WELD_OR_BYPASS,
    S.TRIP_FAILED,
)
"""Where it stays, and is looked at again and again."""


def following(state: State, signal: Signal) -> State:
    """What the table says."""
    return MOVES[state].get(signal, state)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    edges = [
        f"    {state} --> {to}: {signal}"
        for state, row in MOVES.items()
        for signal, to in row.items()
    ]
    return "\n".join(["stateDiagram-v2", "    [*] --> closed", *edges])
