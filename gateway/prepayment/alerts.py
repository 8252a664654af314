"""The ladder of alerts (报警) a falling balance walks down: each is told once per way down.

    alert 1 (报警金额1)    balance <= limit: a warning
    alert 2 (报警金额2)    balance <= limit: the last one above zero
    zero                   balance <= 0: overdraft begins
    limit (透支金额限值)   balance <= the limit: all room is used up, disconnection may follow

An alert that was told is armed again only when the balance has risen above its limit by the
policy's hysteresis, so small top-ups around a limit tell nothing.  A limit that is moved never
tells an alert twice: it is armed again above the higher of the limit it was told for and the
present one; and where the present one is lower, only a balance that really falls through it tells
it anew.

Source: DL/T 645 data items 04001001 to 04001003.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.prepayment.account import Policy


class Rung(StrEnum):
    """An alert, in the order a falling balance meets them."""

    ALERT_1 = "alert_1"
    ALERT_2 = "alert_2"
    ZERO = "zero"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class State:
    """What was told so far."""

    balance_e4: int
    """The balance when it was judged last."""
    told_e4: Mapping[Rung, int]
    """The limits that the alerts were told for; the others are armed."""


def limits(policy: Policy) -> dict[Rung, int]:
    """At which balance each alert is due, in 1/10,000 yuan."""
    return {
        Rung.ALERT_1: policy.alert_1_e4,
        Rung.ALERT_2: policy.alert_2_e4,
        Rung.ZERO: 0,
        Rung.LIMIT: policy.limit_e4,
    }


def judge(state: State | None, balance_e4: int, policy: Policy) -> tuple[State, list[Rung]]:
    """The state after the balance has become ``balance_e4``, and the alerts to tell now, in order.

    ``state`` is None for an account that was never judged: then all alerts are armed.
    """
    told = dict(state.told_e4) if state else {}
    alerts = []
    for rung, limit_e4 in limits(policy).items():
        before = told.get(rung)
        if before is not None and balance_e4 > max(before, limit_e4) + policy.hysteresis_e4:
            del told[rung]
        falls = before is None or (
            state is not None and limit_e4 < before and state.balance_e4 > limit_e4
        )
        if falls and balance_e4 <= limit_e4:
            told[rung] = limit_e4
            alerts.append(rung)
    return State(balance_e4, told), alerts


def must_be_kept(before: State | None, state: State) -> bool:
    """Whether the next alert could be another without ``state``; ``before`` is what was kept.

    While no alert is told, it says nothing: most charges need no writing.
    """
    return state != before and bool(state.told_e4 or (before and before.told_e4))
