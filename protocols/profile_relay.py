"""The ``[relay]`` table of a profile file: how a model's relay is switched.

DL/T 645-2007 meters are told by control 1CH::

    [relay]
    measured = true                     # relay_state is what the contact does
    password = "02000000"               # level and password, PA P0 P1 P2 as on the wire

Modbus relays by writes, one or several for each action::

    [relay]
    measured = false
    trip = [{ function = 16, register = 0x001A, values = [0] }]
    close = [{ function = 16, register = 0x001A, values = [1] }]

What a maker's meter does otherwise (codes, password, an expiry that never comes, inverted status
bits) is data: in the table, or in the ``names`` of the points ``relay_state`` and
``relay_command_state``.  ``relay_state`` must be among the points where the contact is measured.  A
model that tells of voltage behind its contact has ``relay_load_voltage`` or ``voltage_load_l1n`` to
``l3n``: it is looked at before the contact is closed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from protocols.base import RequestError
from protocols.dlt645_control import Authority
from protocols.dlt645_relay import CODES
from protocols.profile_tables import REGISTER, Table, check
from protocols.relay import Action, ControlRelay, RegisterRelay, Relay, Write

_ACTION = Annotated[Action, Field(strict=False)]
_BYTE = Annotated[int, Field(ge=0, le=0xFF)]
_HEX_4 = "^[0-9A-Fa-f]{8}$"


class RelayTable(Table):
    """What both kinds say."""

    measured: bool = Field(description="true if relay_state is the contact's, not the command's")
    button: bool = Field(False, description="true if the customer closes by a button once allowed")
    settle_s: int = Field(
        5, ge=1, le=600, description="seconds from an accepted command to a state worth reading"
    )
    rest_s: int = Field(10, ge=0, le=86_400, description="least seconds between two operations")


class ControlTable(RelayTable):
    """``[relay]`` of a DL/T 645-2007 meter."""

    password: str = Field(
        "02000000", pattern=_HEX_4, description="level and password, PA P0 P1 P2 as on the wire"
    )
    operator: str = Field("00000000", pattern=_HEX_4, description="operator code C0 C1 C2 C3")
    actions: list[_ACTION] = Field(
        list(Action), min_length=2, description="what the meter can be told, like trip and close"
    )
    codes: dict[_ACTION, _BYTE] = Field({}, description="N1 of actions where it is not 1A to 3B")
    secured: list[_ACTION] = Field([], description="actions taken encrypted only (level 98)")
    reserved: _BYTE = Field(0, description="N2 where it means nothing")
    close_expiry: str = Field(
        "",
        pattern="^([0-9]{12})?$",
        description='YYMMDDhhmmss that stands for no deadline, like "991231235959"',
    )


class WriteTable(Table):
    """One write."""

    function: Literal[5, 6, 15, 16] = Field(
        description="5, 15 for one or several coils, 6, 16 for registers"
    )
    register_: REGISTER = Field(alias="register", description="the first coil or register, from 0")
    values: list[Annotated[int, Field(ge=0, le=0xFFFF)]] = Field(
        min_length=1, max_length=16, description="what to write: 0 or 1 for a coil"
    )


_WRITES = Annotated[list[WriteTable], Field(max_length=4)]


class RegisterTable(RelayTable):
    """``[relay]`` of a Modbus meter, or of a breaker on an I/O module."""

    trip: _WRITES = Field([], description="the writes that open the contact")
    close: _WRITES = Field([], description="the writes that close it")
    allow_close: _WRITES = Field([], description="the writes that let the customer close it")
    protect_on: _WRITES = Field([], description="the writes after which trips are refused")
    protect_off: _WRITES = Field([], description="the writes that end this")


_T = TypeVar("_T", bound=RelayTable)


def control_relay(
    raw: Mapping[str, Any], points: Iterable[str], problems: list[str]
) -> Relay | None:
    """The relay of a DL/T 645-2007 model; None without one.  Adds what is wrong to ``problems``."""
    table = _table(ControlTable, raw, points, problems)
    if table is None:
        return None
    actions = frozenset(table.actions)
    wrong = {"codes": table.codes.keys() - actions, "secured": set(table.secured) - actions}
    problems += [
        f"relay.{key}: {action.value!r} is not in relay.actions; write it there, or leave it out"
        for key, found in wrong.items()
        for action in sorted(found)
    ]
    problems += _closes(actions)
    return ControlRelay(
        measured=table.measured,
        button=table.button,
        settle_s=table.settle_s,
        rest_s=table.rest_s,
        authority=Authority(bytes.fromhex(table.password), bytes.fromhex(table.operator)),
        codes={action: table.codes.get(action, CODES[action]) for action in table.actions},
        secured=frozenset(table.secured),
        reserved=table.reserved,
        close_expiry=bytes.fromhex(table.close_expiry)[::-1],
    )


def register_relay(
    raw: Mapping[str, Any], points: Iterable[str], problems: list[str]
) -> Relay | None:
    """The relay of a Modbus model; None without one.  Adds what is wrong to ``problems``."""
    table = _table(RegisterTable, raw, points, problems)
    if table is None:
        return None
    told = {
        Action.TRIP: table.trip,
        Action.CLOSE: table.close,
        Action.ALLOW_CLOSE: table.allow_close,
        Action.PROTECT_ON: table.protect_on,
        Action.PROTECT_OFF: table.protect_off,
    }
    writes = {
        action: tuple(_writes(action, entries, problems))
        for action, entries in told.items()
        if entries
    }
    problems += _closes(writes.keys())
    return RegisterRelay(
        measured=table.measured,
        button=table.button,
        settle_s=table.settle_s,
        rest_s=table.rest_s,
        writes=writes,
    )


def _table(
    form: type[_T], raw: Mapping[str, Any], points: Iterable[str], problems: list[str]
) -> _T | None:
    found = raw.get("relay")
    if not isinstance(found, dict) or not found:
        return None
    table = check(form, found, ("relay",), problems)
    if table and table.measured and "relay_state" not in points:
        problems.append(
            "relay.measured: true needs relay_state in [points]; add it, or write false"
        )
    return table


def _closes(actions: Iterable[Action]) -> Iterator[str]:
    known = set(actions)
    if Action.TRIP in known and not known & {Action.CLOSE, Action.ALLOW_CLOSE}:
        yield "relay: it can trip but not close; write close or allow_close, too"


def _writes(action: Action, entries: list[WriteTable], problems: list[str]) -> Iterator[Write]:
    for n, entry in enumerate(entries):
        write = Write(function=entry.function, register=entry.register_, values=tuple(entry.values))
        try:
            write.request(1)
        except RequestError as error:
            problems.append(f"relay.{action}[{n}]: {error}")
        yield write
