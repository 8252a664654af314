"""A disconnection as data: its states, its signals, the table that joins them, and the case itself.

What walks the table stands in disconnection.py.  The diagram in docs/switching.md is printed from
the table.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache, lru_cache

from pydantic import TypeAdapter, ValidationError

from gateway.prepayment.account import Class, Regime


class State(StrEnum):
    """How far it has come."""

    WATCH = "watch"
    WARNED = "warned"
    DUE = "due"
    NOTICE_SERVED = "notice_served"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    PREFLIGHT = "preflight"
    SENT = "sent"
    VERIFYING = "verifying"
    OPEN = "open"
    FAILED = "failed"  # still closed: a person has to look
    UNKNOWN = "unknown"  # nobody knows: a person has to look


class Signal(StrEnum):
    """What can happen to a case."""

    LOW = "balance low"
    BEYOND = "balance beyond its limit"
    RECOVERED = "balance recovered"
    DUNNED = "dunning proven"
    DUE = "due by the rules"  # time
    NOTICE = "notice proven"
    RENEW = "no proof in time"  # time
    STALE = "notice too old"  # time
    APPROVED = "approved"
    LAPSED = "approval lapsed"  # time
    LEAD_OVER = "lead time over"  # time
    LAST_CALL = "last call proven"
    TIME = "its time has come"  # time
    PASSED = "preflight passed"
    PASSED_DRY = "preflight passed in a dry run"
    REFUSED = "preflight refused"
    ANSWERED = "trip answered"
    RELAY_OPEN = "relay proven open"
    RELAY_FAILED = "relay still closed"
    RELAY_UNKNOWN = "relay not known"
    CANCEL = "cancelled"


class Cancel(StrEnum):
    """Why a case is cancelled."""

    PAID = "paid"
    PROTECTED = "protected"
    DISPUTE = "dispute"
    MODE = "mode or rules changed"
    SWAP = "meter replaced"
    CORRECTION = "charges or limit corrected"
    CLOSED = "account closed"
    ORDERED = "ordered"
    WRONG_CUT = "wrong cut"


class Do(StrEnum):
    """What has to be done outside."""

    WARN = "warn the customer"
    SERVE_NOTICE = "serve the notice"
    ASK_APPROVAL = "ask for approval"
    LAST_CALL = "make the last call"
    RUN_PREFLIGHT = "run the preflight"
    SEND_TRIP = "send the trip"
    READ_BACK = "read back"
    RESTORE = "restore"
    REPORT = "report"
    WORK_ORDER = "open a work order"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to be done."""

    do: Do
    at: float = 0.0
    """Of a last call: when the cut is due.  Of an approval: from when on it is needed."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The disconnection of one account, from watching it on."""

    account: str
    meter: str
    """Asset number (资产编号)."""
    regime: Regime
    class_: Class
    state: State = State.WATCH
    round: int = 0
    """Goes up each time it leaves ``watch``: the proof of an older notice is worth nothing."""
    requested_by: str = ""
    """Key id of who asked for it; empty: the gateway's own rules did."""
    since: float = 0.0
    """When the state was entered, Unix time, as all times here."""
    owed_since: float | None = None
    """When the amount fell due; under a contract: when the limit was reached."""
    dunned_at: float | None = None
    asked_at: float = 0.0
    """When the notice or the last call was sent last."""
    notice_written_at: float | None = None
    """When the notice was last written: what changed later, it does not say."""
    notice_at: float | None = None
    """When its delivery was proven."""
    last_call_at: float | None = None
    approved_until: float | None = None
    not_before: float = 0.0
    """Not tried again before this."""
    trip_at: float = 0.0
    ended: str = ""
    """Why the last round ended."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    state: State
    signal: Signal
    next: State
    do: tuple[Do, ...] = ()


S, G = State, Signal
BEFORE_SENT = (S.WARNED, S.DUE, S.NOTICE_SERVED, S.APPROVED, S.SCHEDULED, S.PREFLIGHT)
IN_FLIGHT = (S.SENT, S.VERIFYING)
SENT = (*IN_FLIGHT, S.OPEN, S.FAILED, S.UNKNOWN)

TABLE = (
    Row(S.WATCH, G.LOW, S.WARNED, (Do.WARN,)),
    Row(S.WATCH, G.BEYOND, S.WARNED, (Do.WARN,)),
    Row(S.WARNED, G.BEYOND, S.WARNED),
    Row(S.WARNED, G.DUNNED, S.WARNED),
    Row(S.WARNED, G.RECOVERED, S.WATCH),
    Row(S.WARNED, G.DUE, S.DUE, (Do.SERVE_NOTICE,)),
    Row(S.DUE, G.RENEW, S.DUE, (Do.SERVE_NOTICE,)),
    Row(S.DUE, G.NOTICE, S.NOTICE_SERVED, (Do.ASK_APPROVAL,)),
    Row(S.NOTICE_SERVED, G.STALE, S.DUE, (Do.SERVE_NOTICE,)),
    Row(S.NOTICE_SERVED, G.APPROVED, S.APPROVED),
    Row(S.APPROVED, G.STALE, S.DUE, (Do.SERVE_NOTICE,)),
    Row(S.APPROVED, G.LAPSED, S.NOTICE_SERVED, (Do.ASK_APPROVAL,)),
    Row(S.APPROVED, G.LEAD_OVER, S.SCHEDULED, (Do.LAST_CALL,)),
    Row(S.SCHEDULED, G.RENEW, S.SCHEDULED, (Do.LAST_CALL,)),
    Row(S.SCHEDULED, G.LAST_CALL, S.SCHEDULED),
    Row(S.SCHEDULED, G.LAPSED, S.NOTICE_SERVED, (Do.ASK_APPROVAL,)),
    Row(S.SCHEDULED, G.REFUSED, S.APPROVED, (Do.REPORT,)),
    Row(S.SCHEDULED, G.TIME, S.PREFLIGHT, (Do.RUN_PREFLIGHT,)),
    Row(S.PREFLIGHT, G.REFUSED, S.APPROVED, (Do.REPORT,)),
    Row(S.PREFLIGHT, G.PASSED_DRY, S.WATCH, (Do.REPORT,)),
    Row(S.PREFLIGHT, G.PASSED, S.SENT, (Do.SEND_TRIP,)),
    Row(S.SENT, G.ANSWERED, S.VERIFYING, (Do.READ_BACK,)),
    *(
        row
        for state in IN_FLIGHT
        for row in (
            Row(state, G.RELAY_OPEN, S.OPEN, (Do.REPORT,)),
            Row(state, G.RELAY_FAILED, S.FAILED, (Do.REPORT, Do.WORK_ORDER)),
            Row(state, G.RELAY_UNKNOWN, S.UNKNOWN, (Do.REPORT, Do.WORK_ORDER)),
            # A trip is judged anew before it is tried again.
            Row(state, G.REFUSED, S.APPROVED, (Do.RESTORE, Do.REPORT)),
        )
    ),
    Row(S.OPEN, G.RELAY_FAILED, S.FAILED, (Do.REPORT, Do.WORK_ORDER)),
    Row(S.FAILED, G.RELAY_OPEN, S.OPEN, (Do.REPORT,)),
    Row(S.UNKNOWN, G.RELAY_OPEN, S.OPEN, (Do.REPORT,)),
    Row(S.UNKNOWN, G.RELAY_FAILED, S.FAILED, (Do.REPORT,)),
    *(Row(state, G.CANCEL, S.WATCH, (Do.REPORT,)) for state in BEFORE_SENT),
    *(Row(state, G.CANCEL, S.WATCH, (Do.RESTORE, Do.REPORT)) for state in SENT),
)
"""Every pair that is not named changes nothing."""

ROWS: Mapping[tuple[State, Signal], Row] = {(row.state, row.signal): row for row in TABLE}


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    edges = [
        f"    {row.state} --> {row.next}: {row.signal}" for row in TABLE if row.state != row.next
    ]
    return "\n".join(["stateDiagram-v2", "    [*] --> watch", *edges])


class CaseTextError(ValueError):
    """A stored case cannot be read: a newer release wrote it, or it is damaged."""


def to_json(case: Case) -> str:
    """The case as text, to be stored."""
    return json.dumps(asdict(case), ensure_ascii=False, sort_keys=True, allow_nan=False)


@lru_cache(maxsize=1024)
def from_json(text: str) -> Case:
    """The case that ``to_json`` wrote.  Raises CaseTextError."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise CaseTextError(f"no case: {error.errors(include_url=False)[0]}") from error


@cache
def _adapter() -> TypeAdapter[Case]:
    return TypeAdapter(Case)
