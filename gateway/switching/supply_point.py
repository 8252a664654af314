"""Which meter's switch gives an account its supply (供电点), and why none does.

An account is cut at one point.  Where the energy of several meters adds up to one account, nobody
has said which of them the debt belongs to, and a half of a cut would be charged and counted as a
whole one: such an account is charged and told of its balance as ever, and never cut.  Nor is one
behind whose meter somebody else's sub-meter hangs: a cut must not affect others.

Used by the core and by the command line.

Not supported: accounts that are cut at several points at once.
"""

from collections.abc import Mapping
from enum import StrEnum

from gateway.config import MeterConfig
from gateway.prepayment.account import Account


class NoPoint(StrEnum):
    """Why an account has nothing that could be switched."""

    NO_METER = "no_meter"
    SEVERAL = "several_meters"
    OTHERS = "others_behind"
    UNKNOWN = "unknown_meter"
    SHARED = "is_a_breaker"
    NO_RELAY = "no_relay"


REASONS: Mapping[NoPoint, tuple[str, str]] = {
    NoPoint.NO_METER: ("账户没有在用的电能表", "no meter counts for it"),
    NoPoint.SEVERAL: (
        "账户由多块电能表合计，不停电",
        "several meters add up to it, and such an account is never cut",
    ),
    NoPoint.OTHERS: (
        "表后有他人的分表，停电会影响他人",
        "somebody else's sub-meter hangs behind its meter and would be cut, too",
    ),
    NoPoint.UNKNOWN: ("电能表不在本网关的配置中", "its meter is not in the configuration"),
    NoPoint.SHARED: ("该表是另一块表的断路器", "its meter is the breaker of another one"),
    NoPoint.NO_RELAY: (
        "电能表没有继电器，也没有外置断路器",
        "its meter has neither a relay nor a breaker",
    ),
}
"""In Chinese and English, for the customer and the head-end."""


def point_of(account: Account, meters: Mapping[str, MeterConfig]) -> str | NoPoint:
    """Asset of the meter whose switch gives this account its supply, or why there is none."""
    running = [one for one in account.meterings if one.until is None]
    own = [one.meter for one in running if not one.minus]
    if len(own) != 1:
        return NoPoint.SEVERAL if own else NoPoint.NO_METER
    if len(running) > 1:
        return NoPoint.OTHERS
    [asset] = own
    if asset not in meters:
        return NoPoint.UNKNOWN
    if meters[asset].breaker_of:
        return NoPoint.SHARED
    return asset if meters[asset].switch.profile.relay else NoPoint.NO_RELAY


def meter_of(account: Account, meters: Mapping[str, MeterConfig]) -> str:
    """The same, empty where there is none."""
    found = point_of(account, meters)
    return "" if isinstance(found, NoPoint) else found


def why_none(account: Account, meters: Mapping[str, MeterConfig]) -> str:
    """Why there is none, in English; empty where there is one."""
    found = point_of(account, meters)
    return REASONS[found][1] if isinstance(found, NoPoint) else ""
