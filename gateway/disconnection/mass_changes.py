"""Changes of tariffs and balances that concern many at once: they wait for a second person (R26).

    falls(before, after)                whether a change puts an account below zero or its limit
    refuse(state, change, ...)          why it waits; empty: it need not
    proposed(state, change, now)        it was refused: another person may order the same
    done(state, change, now)            it was carried out

One order may concern many (a tariff that holds for days which were charged already), and many
orders one account each: so those of the last day count together.  Payments and their reversals are
facts and never come here; nor does what is used from now on, however dear: if that puts many below
zero at once, the latch stops the cuts (mass_limits.py).

The limits stand in the configuration alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.disconnection.facts import DAY_S
from gateway.disconnection.mass_limits import Limits, Proposed, State

TWO_WITHIN_S = DAY_S
"""Two who have to order the same do so within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody ordered, and what it would do."""

    content: str
    """Of the order: equal for two who order the same."""
    key: str
    """Key id of who signed it; empty: it came with the configuration."""
    fallen: frozenset[str]
    """The accounts that it would put below zero, or beyond their limit."""


@dataclass(frozen=True, slots=True)
class Room:
    """What an account has left; both in 1/10,000 yuan."""

    balance_e4: int
    limit_e4: int
    """At or below it a disconnection is due (``Policy.limit_e4``)."""

    @property
    def used_up(self) -> bool:
        """Whether the balance is at the limit or beyond it."""
        return self.balance_e4 <= self.limit_e4


def falls(before: Room, after: Room) -> bool:
    """Whether a change puts an account below zero, or to its limit or beyond it."""
    below = after.balance_e4 < 0 <= before.balance_e4
    return below or (after.used_up and not before.used_up)


def refuse(
    state: State,
    change: Change,
    limits: Limits,
    accounts: int,
    now: float,
    counts: Callable[[str], bool],
) -> str:
    """Why a change waits for a second person; empty: it need not, or somebody else ordered it too.

    ``accounts`` is how many there are; ``counts`` says of a key whether its word is worth anything
    now.
    """
    concerned = change.fallen | {one for at, one in state.fallen if at > now - DAY_S}
    most = max(limits.below_zero_accounts - 1, accounts * limits.below_zero_percent // 100)
    if not change.fallen or len(concerned) <= most:
        return ""
    first = [
        one
        for one in _standing(state, now)
        if one.content == change.content
        and one.key not in ("", change.key)
        and counts(one.key)
        # What the first person was told has not become worse.
        and len(change.fallen) <= one.accounts
    ]
    if first and change.key and counts(change.key):
        return ""
    others = len(concerned) - len(change.fallen)
    before = f", beside {others} in the last 24 hours" if others else ""
    return (
        f"{len(change.fallen)} of {accounts} accounts would fall below zero or their limit{before};"
        f" for more than {most} a second person has to order the same within 24 hours"
    )


def proposed(state: State, change: Change, now: float) -> State:
    """The change was refused; it stands as the word of one person."""
    same = (change.content, change.key)
    others = [one for one in _standing(state, now) if (one.content, one.key) != same]
    new = Proposed(content=change.content, key=change.key, accounts=len(change.fallen), at=now)
    return replace(state, proposed=(*others, new))


def done(state: State, change: Change, now: float) -> State:
    """The change was carried out.  What two persons wanted is not counted against the next."""
    standing = _standing(state, now)
    left = tuple(one for one in standing if one.content != change.content)
    recent = tuple(one for one in state.fallen if one[0] > now - DAY_S)
    new = tuple((now, one) for one in sorted(change.fallen)) if left == standing else ()
    return replace(state, fallen=(*recent, *new), proposed=left)


def _standing(state: State, now: float) -> tuple[Proposed, ...]:
    return tuple(one for one in state.proposed if one.at > now - TWO_WITHIN_S)
