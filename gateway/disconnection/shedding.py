"""Load shedding (限电) by the approved order of cuts (限电序位表).

The table is walked from its first row on, one row at a time, until enough load is off.  It stops at
a row that is protected: nobody behind it is cut in its place, a person has to decide.  Supply comes
back in reverse.

Each cut passes the preflight for shedding, with its approvals and the mass limits; the walk only
says whose turn it is.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date


class OrderError(ValueError):
    """An order of cuts cannot be used.  The message says what is wrong and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One place in the order."""

    account: str
    load_w: int
    """What is expected to go off with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The approved order: the first row is cut first."""

    version: str
    first: date
    last: date
    """It is approved for these days."""
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        twice = [one for one, n in Counter(row.account for row in self.rows).items() if n > 1]
        if twice:
            raise OrderError(f"rows: {', '.join(twice)} stand in the order twice; keep one")
        bad = [row.account for row in self.rows if row.load_w <= 0]
        if bad:
            raise OrderError(f"rows: {', '.join(bad)}: load_w must be above zero")
        if self.last < self.first:
            raise OrderError(f"last: {self.last} lies before {self.first}")


@dataclass(frozen=True, slots=True)
class Turn:
    """What comes next: an account to cut, or why the walk has ended."""

    account: str = ""
    ended: str = ""


def next_cut(
    order: Order,
    shed: Sequence[str],
    goal_w: int,
    protected: Mapping[str, str],
    today: date,
    dark: Collection[str] = (),
) -> Turn:
    """Whose turn it is to be cut.

    ``shed`` are the accounts that this walk cut already, ``protected`` gives the reason of each
    account that may not be, ``goal_w`` is the load to take off.  Who is ``dark`` anyway is passed
    over: his load is off, and was before.
    """
    if not order.first <= today <= order.last:
        return Turn(ended=f"the order is approved from {order.first} to {order.last} only")
    off_w = sum(row.load_w for row in order.rows if row.account in shed)
    if off_w >= goal_w:
        return Turn(ended=f"{off_w} W are off")
    for row in order.rows:
        if row.account in shed or row.account in dark:
            continue
        if row.account in protected:
            return Turn(ended=f"{row.account} is protected: {protected[row.account]}")
        return Turn(account=row.account)
    return Turn(ended=f"the order has no more rows; {off_w} of {goal_w} W are off")


def next_restore(order: Order, shed: Sequence[str]) -> str:
    """Who gets supply back next: the last one cut; empty: nobody is left.

    An account that is in no order any more comes first: it should not be dark at all.
    """
    places = {row.account: place for place, row in enumerate(order.rows)}
    return max(shed, key=lambda one: places.get(one, len(places)), default="")
