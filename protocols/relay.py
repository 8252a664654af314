"""A relay (继电器): what it can be told, how a model is told so, and what it says of itself.

The words of DL/T 645 and of Modbus relays alike.  A relay *accepts* a command, then it *moves*; the
reply to a command says no more than "accepted".  Closing has two forms: ``close`` moves the contact
(直接合闸), ``allow_close`` lets the customer press a button (合闸允许), so that nothing starts
while nobody looks.

protocols/profile_relay.py makes a ``Relay`` of a model's ``[relay]`` table, protocols/relay_control
says what to send and what to read.

Not supported: single phases of a three-phase relay.

Source: DL/T 645-2007 and the extension filed with State Grid (control 1CH, status word 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from protocols import modbus
from protocols.dlt645_control import Authority


class Action(StrEnum):
    """What a relay is told."""

    TRIP = "trip"  # 跳闸
    ALLOW_CLOSE = "allow_close"  # 合闸允许
    CLOSE = "close"  # 直接合闸
    TRIP_THEN_CLOSE = "trip_then_close"  # trips, and after some minutes closes by itself
    TRIP_THEN_ALLOW = "trip_then_allow"  # trips, and after some minutes lets the customer close
    ALARM_ON = "alarm_on"
    ALARM_OFF = "alarm_off"
    PROTECT_ON = "protect_on"  # 保电: no trip until it is taken off again
    PROTECT_OFF = "protect_off"


TIMED = frozenset({Action.TRIP_THEN_CLOSE, Action.TRIP_THEN_ALLOW})
"""Trips that end by themselves, and so need a duration."""
TAKING = TIMED | {Action.TRIP, Action.PROTECT_OFF}
"""What takes the supply away, or the protection of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The relay of a meter model."""

    measured: bool
    """``relay_state`` is the contact's; else it only repeats the command, or is not there."""
    button: bool
    """After ``allow_close`` the customer must press a button; else it closes at once."""
    settle_s: int
    """How long after the command was accepted the state is worth reading."""
    rest_s: int
    """The least time between two operations: contacts bounce, motors wind up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRelay(Relay):
    """A relay that DL/T 645-2007 control 1CH switches."""

    authority: Authority
    codes: Mapping[Action, int]
    """The command byte N1 of each action that the meter takes."""
    secured: frozenset[Action]
    """Actions that it takes encrypted only (level 98)."""
    reserved: int
    """What stands in N2 where that means nothing."""
    close_expiry: bytes
    """What stands for "for ever", as on the wire, in what gives supply; empty: a deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write to a Modbus relay."""

    function: int
    register: int
    values: tuple[int, ...]

    def request(self, unit: int) -> modbus.Request:
        """It as a request to the meter ``unit``.  Raises RequestError if it is none."""
        return modbus.Request(unit, self.function, self.register, len(self.values), self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRelay(Relay):
    """A relay that is switched by Modbus registers or coils."""

    writes: Mapping[Action, tuple[Write, ...]]
    """What to write, one after the other, for each action that it takes."""


class Position(StrEnum):
    """Where a relay stands, as far as it tells."""

    CLOSED = "closed"
    TRIP_PENDING = "trip_pending"  # told to trip, not moved yet: a delay, or too high a current
    OPEN = "open"
    CLOSE_ALLOWED = "close_allowed"  # open until the customer presses the button
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatus:
    """What a relay says of itself; None is what it does not tell."""

    open: bool | None = None
    """Whether the contact is open."""
    commanded_open: bool | None = None
    """Whether it was last told to be open: set as soon as the command is accepted."""
    measured: bool = False
    """``open`` is the contact's state, and not a copy of the command."""
    button: bool = False
    """Once allowed to close, it waits for the customer's button."""
    pre_trip_alarm: bool | None = None
    protected: bool | None = None
    """The supply is protected (保电): trips are refused."""
    prepays: str | None = None
    """What the meter itself counts down and trips for: ``none``, ``energy`` or ``money``."""
    fault: bool | None = None
    """The meter says that its contact does not follow."""
    load_voltage: bool | None = None
    """There is voltage behind the contact.  While that is open it comes from elsewhere: a bypass, a
    generator; closing onto it may kill."""

    @property
    def position(self) -> Position:
        """What contact and command are together.

        Where there is no button, a contact that is open though told to be closed is just open: it
        is stuck, or somebody opened it by hand.
        """
        if self.open is None:
            return Position.UNKNOWN
        if self.open:
            allowed = self.button and self.commanded_open is False
            return Position.CLOSE_ALLOWED if allowed else Position.OPEN
        return Position.TRIP_PENDING if self.commanded_open else Position.CLOSED
