"""Requests that change a DL/T 645-2007 meter: write, address, time, freeze, speed, demand.

Builders of ``dlt645.Request``; protocols/dlt645.py does the rest, and knows what a confirmation of
each must look like.  A confirmation says "accepted": whoever needs to know that it was done reads
the item back.

A change is for one meter, so its address is complete: wildcards are refused, except where the
standard itself asks for them (a new address).  Only the time and a freeze may be broadcast.

The relay (1CH) has a page of its own: protocols/dlt645_relay.py.

Not supported: passwords (18H), clearing a whole meter or its events (1AH, 1BH), and
levels 98 and 99, which need a security module.

Source: DL/T 645-2007 §7.4 to 7.9; passwords and programming key §6.4.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from protocols.base import NotOneMeterError, RequestError
from protocols.dlt645 import (
    BROADCAST,
    BROADCAST_TIME,
    CHANGE_SPEED,
    CLEAR_DEMAND,
    EVERY_METER,
    FREEZE,
    WRITE,
    WRITE_ADDRESS,
    Request,
)
from protocols.dlt645_items import find

CLOCK_OFFSET_MAX_S = 300
"""A clock that is further off ignores the broadcast time; it is written, with a password."""
MIDNIGHT_GUARD_S = 600
"""How far from midnight the time is set: no clock that is allowed to be off crosses the day, and
daily freezes are not disturbed."""
SPEED_WORDS = {600: 0x02, 1200: 0x04, 2400: 0x08, 4800: 0x10, 9600: 0x20, 19200: 0x40}
"""Speed word (通信速率特征字) of each rate that the standard defines."""

_EACH = 0x99
"""In the place of a month, day or hour: in each."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What a meter wants to be shown before it changes, in raw bytes: passwords need not be BCD."""

    password: bytes = field(repr=False)
    """PA P0 P1 P2 as on the wire: the level first (02, 04), then the password."""
    operator: bytes = b"\x00\x00\x00\x00"
    """C0 to C3: who did it, as the meter's records will say (操作者代码)."""

    def __post_init__(self) -> None:
        if len(self.password) != 4 or len(self.operator) != 4:
            raise RequestError(
                f"a password of {len(self.password)} and an operator code of"
                f" {len(self.operator)} bytes; both have 4: PA P0 P1 P2 and C0 C1 C2 C3"
            )

    def __bytes__(self) -> bytes:
        return self.password + self.operator


def write(address: str, di: str, data: bytes, authority: Authority) -> Request:
    """Write ``data``, in the order of the wire, to the item ``di``.  Most meters want their
    programming key pressed, too, and refuse with "not authorised" without it.

    Raises RequestError for an incomplete address, a malformed identifier or too much data.  The
    standard allows 50 bytes in all; tables of real meters take more, so only the frame is a limit.
    """
    if not re.fullmatch("[0-9A-Fa-f]{8}", di):
        raise RequestError(f"data identifier {di!r} is not 8 hex digits; write it like 04000101")
    if not data:
        raise RequestError(f"nothing to write to {di} of meter {address}; give its bytes")
    di_bytes = bytes.fromhex(di)[::-1]
    return Request(one_meter(address), WRITE, di_bytes + bytes(authority) + data)


def write_values(
    address: str, di: str, values: Sequence[int | str | None], authority: Authority
) -> Request:
    """``write`` for values as ``Item.decode`` gives them: numbers in steps, times as texts.

    Raises RequestError, also for an unknown item and for values that its format cannot say.
    """
    item = find(di)
    if item is None:
        raise RequestError(f"data identifier {di!r} is not known here; write its bytes")
    return write(address, di, item.encode(values), authority)


def write_address(new: str, present: str = EVERY_METER) -> Request:
    """Give the only meter on a line the address ``new``; it confirms from there.

    The standard sends it to all wildcards: with two meters on the line both would take it.  Some
    makers' meters also obey it at their present address.  Their programming key must be pressed.

    Raises RequestError for an address that is none.
    """
    if present != EVERY_METER:
        one_meter(present)
    return Request(present, WRITE_ADDRESS, bytes.fromhex(one_meter(new))[::-1])


def broadcast_time(now: datetime, address: str = BROADCAST) -> Request:
    """Tell all meters on a line the time; nobody answers.  ``now`` is the meters' local time.

    ``may_broadcast_time`` says when they obey.  Some meters also take it at their own address.
    Raises RequestError for an address that is none.
    """
    if address != BROADCAST:
        one_meter(address)
    return Request(address, BROADCAST_TIME, bytes.fromhex(f"{now:%S%M%H%d%m%y}"))


def may_broadcast_time(now: datetime, offset_s: float, last_set: date | None) -> bool:
    """Whether a meter obeys the broadcast time, and is well served by it.

    ``now`` is the true local time; ``offset_s`` how far the meter's clock is ahead (negative:
    behind); ``last_set`` the local day of the last broadcast, or None.  A meter obeys once a day
    and only if it is no more than five minutes off; around midnight its freezes would suffer.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = now - midnight
    guard = timedelta(seconds=MIDNIGHT_GUARD_S)
    quiet = guard <= since <= timedelta(days=1) - guard
    return quiet and abs(offset_s) <= CLOCK_OFFSET_MAX_S and last_set != now.date()


def freeze_now(address: str = BROADCAST) -> Request:
    """Freeze the present values as the newest instant freeze (瞬时冻结, 0501).

    Broadcast, it freezes all meters of a line in the same second, and nobody answers.  Raises
    RequestError for an address that is none.
    """
    return _freeze(address, _EACH, _EACH, _EACH)


def schedule_freeze(
    address: str, minute: int, hour: int | None = None, day: int | None = None
) -> Request:
    """Set when the meter makes its timed freezes (定时冻结, 0500); nothing is frozen now.

    With the minute alone in each hour, with an hour each day, with a day (1 to 28) each month.
    Raises RequestError for a time that is none.
    """
    if day is not None and hour is None:
        raise RequestError(f"a freeze on day {day} of each month needs its hour, too")
    parts = (("minute", minute, 0, 59), ("hour", hour, 0, 23), ("day", day, 1, 28))
    for name, number, first, last in parts:
        if number is not None and not first <= number <= last:
            raise RequestError(f"{name} {number} is none; write {first} to {last}")
    return _freeze(address, *(_EACH if n is None else _bcd(n) for _, n, _, _ in parts))


def _freeze(address: str, minute: int, hour: int, day: int) -> Request:
    if address != BROADCAST:
        one_meter(address)
    return Request(address, FREEZE, bytes([minute, hour, day, _EACH]))


def change_speed(address: str, baud: int) -> Request:
    """Change the speed of the port that this is heard on.

    The meter confirms at the old speed; after that both sides use the new one.  Raises
    RequestError for a rate that the standard has no word for.
    """
    if baud not in SPEED_WORDS:
        rates = ", ".join(map(str, SPEED_WORDS))
        raise RequestError(f"{baud} baud has no speed word; use one of {rates}")
    return Request(one_meter(address), CHANGE_SPEED, bytes([SPEED_WORDS[baud]]))


def clear_demand(address: str, authority: Authority) -> Request:
    """Set the highest demand (最大需量) of the current month back to zero.

    Level 04 or higher, and the programming key.  Raises RequestError for an incomplete address.
    """
    return Request(one_meter(address), CLEAR_DEMAND, bytes(authority))


def one_meter(address: str) -> str:
    """``address`` itself.  Raises NotOneMeterError for a wildcard, a broadcast or a part of one."""
    if not re.fullmatch("[0-9]{12}", address) or address == BROADCAST:
        raise NotOneMeterError(
            f"address {address!r} is not one meter's; a change needs all its 12 digits"
        )
    return address


def _bcd(number: int) -> int:
    return int(str(number), 16)
