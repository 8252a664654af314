"""What goes up about supply: relays, disconnections before and after, the stop switch, refusals,
and once a day how well all of it went.

A customer in the dark asks why, until when, and what to do: reason and next step stand in every
message, in the account's language, before the cut and after it (R41).  All of it is numbered, in
the urgent lane.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.north.words import (
    AccountNumber,
    Amount,
    Clock,
    Day,
    Fact,
    Id,
    Instant,
    Message,
    Meter,
    Money,
    Numbered,
    Point,
    Sentence,
)

Told = Annotated[Sentence, Field(description="For the customer, in the account's language.")]
Values = Annotated[
    dict[Point, Amount],
    Field(max_length=64, description="Registers, voltages, currents; each in its point's unit."),
]


CheckCode = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
Rule = Annotated[str, StringConstraints(pattern=r"^R[0-9]{2}$")]


class FailedCheck(Message):
    """A check that spoke against a cut."""

    code: CheckCode
    rule: Rule
    text: Sentence


RelayTurn = Literal[
    "trip_pending",
    "trip_sent",
    "open",
    "trip_failed",
    "unknown",
    "weld_or_bypass",
    "restore_wanted",
    "restore_sent",
    "allowed",
    "closed",
    "stuck_open",
    "restore_late",
    "load_voltage",
    "held",
    "released",
    "protected",
    "unprotected",
    "wrong_cut",
]
"""What became of a relay."""


class RelayEvent(Fact):
    """A relay (继电器) was switched, was to be switched, or was found to have moved."""

    code: Literal["relay"] = "relay"
    meter: Meter
    account: AccountNumber | None = None
    what: RelayTurn = Field(
        description="trip_pending waits for its moment, ``due``; open and closed are read back,"
        " never assumed; allowed waits for the customer's button; held was opened by somebody else,"
        " and only a person releases it; load_voltage is voltage behind the open relay, from a"
        " bypass or a generator: a person has to look."
    )
    cause: Sentence = Field("", description="What led to it: arrears, an order, a top-up ...")
    command: Id | None = Field(None, description="The order it follows from.")
    reason: Told = ""
    next_step: Told = ""
    due: Instant | None = Field(None, description="Of trip_pending: when it is sent, or later.")
    since: Instant | None = Field(None, description="From when on this was wanted.")
    took_s: int | None = Field(None, ge=0, description="From then until now.")
    before: Values = Field(default_factory=dict)
    after: Values = Field(default_factory=dict)
    dry: bool = Field(False, description="A dry run: nothing was sent to the meter.")


class DisconnectionEvent(Fact):
    """A disconnection has come a step further, or was cancelled; what is asked of the head-end."""

    code: Literal["disconnection"] = "disconnection"
    account: AccountNumber
    meter: Meter
    state: Literal[
        "watch",
        "warned",
        "due",
        "notice_served",
        "approved",
        "scheduled",
        "preflight",
        "sent",
        "verifying",
        "open",
        "failed",
        "unknown",
    ]
    round: int = Field(ge=0, description="Counts the disconnections of this account.")
    asks: (
        Literal["warn", "serve_notice", "last_call", "ask_approval", "report", "work_order"] | None
    ) = Field(
        None,
        description="What the head-end is to do.  A notice and a last call are proven by the"
        " command notice.served with this round.",
    )
    reason: Told
    next_step: Told
    due: Instant | None = Field(None, description="When supply is cut at the earliest.")
    balance: Money | None = None
    to_pay: Money | None = Field(None, description="What ends it if it is topped up now.")
    failed: tuple[FailedCheck, ...] = Field(
        (), description="All that spoke against the cut, if it was refused."
    )
    command: Id | None = Field(None, description="The order it follows from.")
    dry: bool = Field(False, description="A dry run: nothing was sent to the meter.")


class StopTurned(Fact):
    """The stop switch was turned: no cut while it is on."""

    code: Literal["stop_switch"] = "stop_switch"
    on: bool
    reason: Sentence = Field("", description="Everything that stops: a file, the line, orders.")


class SwitchingRefused(Fact):
    """An order about supply was refused: nothing was switched."""

    code: Literal["switching_refused"] = "switching_refused"
    command: Id
    name: Annotated[str, StringConstraints(max_length=32)] = Field(description="What it asked for.")
    account: AccountNumber | None = None
    meter: Meter | None = None
    reason: Sentence


SupplyFact = RelayEvent | DisconnectionEvent | StopTurned | SwitchingRefused


# --- how well it went -----------------------------------------------------------------------------


class Spread(Message):
    """How long something took: the most that half, and 99 of 100, took, and the longest."""

    count: int = Field(ge=1)
    p50_s: int = Field(ge=0)
    p99_s: int = Field(ge=0)
    max_s: int = Field(ge=0)


class RefusedCuts(Message):
    """How often a check spoke against a cut that was about to be made."""

    rule: Rule
    check: CheckCode
    count: int = Field(ge=1)


class Supply(Numbered):
    """How well supply was cut and restored (停送电) in the last days.

    Daily, retained.  Lane urgent.  Made of the record of switching, so a restart loses nothing.
    """

    day: Annotated[Day, Field(description="The last day it is about.")]
    at: Instant
    clock: Clock
    days: int = Field(ge=1, description="It is about so many days, up to ``at``.")
    trips: int = Field(ge=0, description="Commands to trip that were sent, tries included.")
    cuts: int = Field(ge=0, description="Cuts that were proven.")
    restores: int = Field(ge=0, description="Restores that were proven, or allowed.")
    wrong_cuts: int = Field(ge=0, description="Cuts that had no reason, as was found later.")
    late_restores: int = Field(ge=0, description="After ``late_after_s``, proven or not.")
    late_after_s: int = Field(ge=0)
    waiting: int = Field(ge=0, description="Restores wanted at ``at`` and not proven.")
    cut: Spread | None = Field(None, description="From the balance at zero to the proven cut.")
    restore: Spread | None = Field(
        None,
        description="From the payment, or what else gives supply back, to the proof; left out, as"
        " with ``cut``, if there was none.",
    )
    refused: tuple[RefusedCuts, ...] = ()
