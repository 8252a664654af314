"""The commands about supply: who may be disconnected, by whose word, and who is not.

A cut needs several persons, so it needs several commands: one asks for it, others agree, each
signed by a key of its own.  Two commands take a protection away, and two release the latch.  What
keeps or gives supply needs one.

Who may order what, and how old an order may be, stands in gateway/north/commands.py; what an
approval is worth in gateway/north/approvals.py.  Amounts are yuan, power is kW, both exact decimals
as text.

Not supported: shedding by feeder (the configuration knows none), parting a standing delegation by
numbers of cuts (the limits of the gateway hold for it as for all).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from gateway.north.contract_orders import Harm, Mode, PolicyName
from gateway.north.words import (
    AccountNumber,
    Day,
    Id,
    Instant,
    Message,
    Meter,
    Sentence,
    SwitchingOrder,
)

ROWS_MAX = 500
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Debt = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$"),
    Field(description="Yuan, exact decimal as text: how far below zero the balance may be."),
]
Power = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,7}(\.[0-9]{1,3})?$"),
    Field(description="kW, exact decimal as text, to the W."),
]
Clocktime = Annotated[
    str,
    StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"),
    Field(description="Local time of the area, as in 22:00."),
]
Weekday = Annotated[int, Field(ge=0, le=6, description="Monday is 0.")]


# --- the relay ------------------------------------------------------------------------------------


class RelayTrip(SwitchingOrder):
    """Trip one relay (跳闸), by a person's order.  It passes every check of the gateway."""

    name: Literal["relay.trip"]
    meter: Meter
    account: Annotated[AccountNumber, Field(description="Whose meter it is: refused if it is not.")]
    reason: Reason


class RelayClose(SwitchingOrder):
    """Allow a relay to close (合闸允许), also one that is held (人工断开).

    A trip of it by order that was not sent yet is over; ``all`` ends load sheddings, too.
    """

    name: Literal["relay.close"]
    meter: Meter | None = None
    all: bool = Field(False, description="Every relay: the last resort, ordered at the box.")
    reason: Reason

    @model_validator(mode="after")
    def _one_or_all(self) -> "RelayClose":
        if (self.meter is not None) == self.all:
            raise ValueError("give a meter, or all")
        return self


class RelayProtect(SwitchingOrder):
    """Set or release protected supply (保电) in one meter."""

    name: Literal["relay.protect"]
    meter: Meter
    on: bool
    reason: Reason

    @property
    def keeps_supply(self) -> bool:
        """Whether it is set."""
        return self.on


# --- who is disconnected, and by whose word -------------------------------------------------------


class DisconnectRequest(SwitchingOrder):
    """Ask for the disconnection of an account, by the rules of its regime.

    Answered accepted, sent, and confirmed when the meter is proven open; or failed with the reason
    when the case is cancelled, the cut fails, or the request is taken back or runs out.
    """

    name: Literal["disconnect.request"]
    account: AccountNumber
    reason: Reason
    expires: Instant | None = Field(None, description="Left out: 30 days after issued.")


class DisconnectApprove(SwitchingOrder):
    """Agree (审批) to a cut that somebody else asked for.  It may come before the request."""

    name: Literal["disconnect.approve"]
    action: Literal["disconnect", "trip", "shed"] = Field(
        "disconnect", description="For arrears; a trip by order; load shedding."
    )
    account: AccountNumber | None = Field(None, description="Left out for shed only.")
    request: Id | None = Field(
        None,
        description="The command it agrees to; for shed needed.  Left out: any for the account.",
    )
    debt_max: Debt | None = Field(
        None, description="Needed but for shed: it holds for a debt up to this amount."
    )
    not_before: Instant | None = Field(None, description="Left out: issued.")
    expires: Instant | None = Field(None, description="Left out: 24 hours after not_before.")

    @model_validator(mode="after")
    def _whole(self) -> "DisconnectApprove":
        if self.action == "shed":
            if self.account is not None or self.request is None:
                raise ValueError("an approval of shed names its request, and no account")
        elif self.account is None or self.debt_max is None:
            raise ValueError("an approval names its account and debt_max")
        return self


class DisconnectCancel(SwitchingOrder):
    """Stop the disconnection of an account, also a trip by order that was not sent yet; one that is
    cut already is restored.

    Confirmed at once, or when the supply is proven to be back.
    """

    name: Literal["disconnect.cancel"]
    account: AccountNumber
    reason: Reason

    @property
    def keeps_supply(self) -> bool:
        """Always."""
        return True


class Delegate(SwitchingOrder):
    """Agree beforehand, for ordinary accounts under contract_prepay, until it expires."""

    name: Literal["delegate"]
    accounts: tuple[AccountNumber, ...] = Field((), max_length=ROWS_MAX)
    policies: tuple[PolicyName, ...] = Field(
        (), max_length=64, description="For all accounts with these rows of limits."
    )
    debt_max: Debt
    not_before: Instant | None = Field(None, description="Left out: issued.")
    expires: Annotated[Instant, Field(description="At most 90 days after not_before.")]

    @model_validator(mode="after")
    def _for_somebody(self) -> "Delegate":
        if not self.accounts and not self.policies:
            raise ValueError("give accounts or policies")
        return self


class ApprovalRevoke(SwitchingOrder):
    """Take back an approval, a request or a delegation that was given before."""

    name: Literal["approval.revoke"]
    approval: Annotated[Id, Field(description="Id of the command that gave it.")]
    reason: Reason

    @property
    def keeps_supply(self) -> bool:
        """Always."""
        return True


class ProtectRemove(SwitchingOrder):
    """Take protection away from an account; it needs the same order by two keys.

    Between the second order and the first cut lies a day at least.
    """

    name: Literal["protect.remove"]
    account: AccountNumber
    version: int = Field(ge=1, le=10**9, description="The account's version that is meant.")
    class_: Harm | None = Field(None, alias="class", description="The lower class.")
    no_cut: bool = Field(False, description="The veto is removed.")
    dispute: bool = Field(False, description="The dispute is settled.")
    mode: Mode | None = None
    reason: Reason

    @model_validator(mode="after")
    def _something(self) -> "ProtectRemove":
        if self.class_ is None and self.mode is None and not self.no_cut and not self.dispute:
            raise ValueError("nothing to remove: give class, no_cut, dispute or mode")
        return self


# --- what has to be known before ------------------------------------------------------------------


class NoticeServed(SwitchingOrder):
    """Proof that the customer was told: the gateway asks for it by the event disconnection."""

    name: Literal["notice.served"]
    account: AccountNumber
    round: int = Field(ge=1, le=10**9, description="As the event had it: an older one is no proof.")
    what: Literal["dunning", "notice", "last_call"]
    channel: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$"),
        Field(description="How: sms, app, phone, paper, visit ..."),
    ]
    served: Annotated[Instant, Field(description="When it was delivered.")]
    receipt: Reason = Field(description="What proves it: the carrier's receipt, a signature.")


class ProtectedHours(Message):
    """A stretch of the day in which nobody is disconnected."""

    begin: Clocktime
    end: Annotated[Clocktime, Field(description="Not after begin: on the next day.")]
    weekdays: tuple[Weekday, ...] = Field(
        (0, 1, 2, 3, 4, 5, 6), min_length=1, max_length=7, description="On which it begins."
    )
    reason: Reason


class ProtectedDays(Message):
    """Whole days on which nobody is disconnected."""

    first: Day
    last: Day
    reason: Reason


class FriendlyWindows(Message):
    """A calendar (保障时段).  It takes the place of the one before."""

    version: int = Field(ge=1, le=10**9, description="Above that of the calendar before.")
    first: Day
    last: Annotated[Day, Field(description="Outside these days everybody is protected.")]
    hours: tuple[ProtectedHours, ...] = Field((), max_length=64)
    weekend: tuple[Weekday, ...] = Field((5, 6), max_length=7)
    working_days: tuple[Day, ...] = Field(
        (), max_length=64, description="Days of the weekend that are worked (调休)."
    )
    days: tuple[ProtectedDays, ...] = Field((), max_length=ROWS_MAX)
    weather_needed: bool = Field(
        False, description="Nobody is disconnected without a recent word on the weather."
    )


class WeatherWord(Message):
    """What there is to say of the weather."""

    reason: Sentence = Field("", description="Why nobody is disconnected; empty: nothing against.")
    until: Annotated[Instant, Field(description="Up to when it may be believed.")]


class CalendarPut(SwitchingOrder):
    """Friendly windows, the weather, or both.  Without them everybody is protected."""

    name: Literal["calendar.put"]
    windows: FriendlyWindows | None = None
    weather: WeatherWord | None = None

    @model_validator(mode="after")
    def _something(self) -> "CalendarPut":
        if self.windows is None and self.weather is None:
            raise ValueError("give windows, weather or both")
        return self


# --- many at once ---------------------------------------------------------------------------------


class ShedRow(Message):
    """One place in the order of cuts."""

    account: AccountNumber
    load: Annotated[Power, Field(description="kW that are expected to go off with it.")]


class ShedLoad(SwitchingOrder):
    """Shed load (限电) by the approved order of cuts (限电序位表); the first row goes first."""

    name: Literal["shed"]
    order: Annotated[
        str,
        StringConstraints(min_length=1, max_length=64),
        Field(description="Version of the order of cuts."),
    ]
    first: Day
    last: Annotated[Day, Field(description="The order was approved for these days.")]
    rows: tuple[ShedRow, ...] = Field(min_length=1, max_length=ROWS_MAX)
    goal: Annotated[Power, Field(description="kW to take off.")]
    until: Annotated[Instant, Field(description="When supply comes back at the latest.")]
    reason: Reason


class ShedEnd(SwitchingOrder):
    """Give supply back, the last one first."""

    name: Literal["shed.end"]
    shed: Annotated[Id, Field(description="Id of the command that began it.")]
    reason: Reason

    @property
    def keeps_supply(self) -> bool:
        """Always."""
        return True


class StopCuts(SwitchingOrder):
    """No cut from now on, until whoever ordered this resumes."""

    name: Literal["stop"]
    reason: Reason

    @property
    def keeps_supply(self) -> bool:
        """Always."""
        return True


class ResumeCuts(SwitchingOrder):
    """Take back one's own stop.  A stop at the box is taken back at the box."""

    name: Literal["resume"]
    reason: Reason


class MassRelease(SwitchingOrder):
    """Release the latch (闭锁) after too many cuts at once: by two keys, or one at the box."""

    name: Literal["mass.release"]
    reason: Reason


class DryRun(SwitchingOrder):
    """Everything but the frame: decisions are made and recorded, no relay is tripped."""

    name: Literal["dry_run"]
    on: bool
    reason: Reason

    @property
    def keeps_supply(self) -> bool:
        """Whether it begins."""
        return self.on


SupplyOrder = (
    RelayTrip
    | RelayClose
    | RelayProtect
    | DisconnectRequest
    | DisconnectApprove
    | DisconnectCancel
    | Delegate
    | ApprovalRevoke
    | ProtectRemove
    | NoticeServed
    | CalendarPut
    | ShedLoad
    | ShedEnd
    | StopCuts
    | ResumeCuts
    | MassRelease
    | DryRun
)
"""Every ``SwitchingOrder``."""
