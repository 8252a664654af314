"""A vote: what one person, by a key, asked for or agreed to.

Some acts need two persons: a cut is asked for by one and approved (审批) by another; protection is
taken away, and the latch released, by two who say the same.  Each says so by a signed command; what
is kept of it is a vote.  What votes are worth is judged in gateway/north/approvals.py.
"""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What it is about."""

    DISCONNECT = "disconnect"  # for arrears
    TRIP = "trip"  # by a person's order
    SHED = "shed"  # load shedding
    UNPROTECT = "unprotect"  # take protection from an account
    RELEASE = "release"  # release the latch


class Step(StrEnum):
    """What the person did."""

    REQUEST = "request"
    APPROVAL = "approval"
    DELEGATION = "delegation"  # an approval beforehand, for many accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's word."""

    id: str
    """Of the command that brought it; it is given once, for ever."""
    action: Action
    step: Step
    key: str
    """Key id of who signed."""
    account: str = ""
    """Account number; empty where it is not about one."""
    request: str = ""
    """Id of the request that an approval is for; empty: any for the account."""
    content: str = ""
    """Of an ``UNPROTECT``: what is to be taken away; two votes for the same agree in it."""
    accounts: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    """Whom a delegation is for: these accounts, and all with these rows of limits."""
    debt_max_e4: int = 0
    """It holds for a debt up to this amount."""
    not_before: float
    expires: float
    """Unix time, both."""
    received: float
    """Unix time when it came."""
