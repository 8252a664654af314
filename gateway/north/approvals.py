"""Approvals (审批): who asked for a cut, who agreed, and what that is worth now.  Pure.

    vote = vote_of(command, wall)            what a signed command says, to be kept
    refuse(vote, votes)                      why it is not accepted
    approvals(votes, subject, moment)        what the preflight counts
    persons(votes, moment)                   who agreed, for acts that need two

A vote is judged anew each time it is needed: the key may have been revoked since, or have lost its
role; it may not have begun or be over.  While no clock is trusted none is worth anything.

Offline the two persons stand at the box with a key file each: two letters instead of two messages.

Not supported: telling persons apart who hold several keys (give each person one).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from gateway.disconnection.facts import Approval
from gateway.disconnection.votes import Action, Step, Vote
from gateway.north.commands import key_of
from gateway.north.contract import Command, unix_s
from gateway.north.contract_switching import (
    Delegate,
    DisconnectApprove,
    DisconnectRequest,
    MassRelease,
    ProtectRemove,
    RelayTrip,
    ShedLoad,
)
from gateway.north.signatures import Keys, Role, Why
from gateway.prepayment.money import parse_yuan

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
APPROVAL_S = DAY_S
APPROVAL_MAX_S = 7 * DAY_S
REQUEST_S = 30 * DAY_S
REQUEST_MAX_S = 90 * DAY_S
DELEGATION_MAX_S = 90 * DAY_S
TWO_WITHIN_S = DAY_S
"""Two who have to say the same do so within this time."""
ANY_DEBT_E4 = 10**16

_ROLES = {
    (Action.DISCONNECT, Step.REQUEST): Role.REQUEST,
    (Action.TRIP, Step.REQUEST): Role.RELAY,
    (Action.SHED, Step.REQUEST): Role.RELAY,
    (Action.UNPROTECT, Step.APPROVAL): Role.PROTECT,
}
"""Whose word counts; for all else it takes the role approve."""


class ApprovalError(Exception):
    """A vote cannot be meant so.  The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, and whose signatures count now."""

    at: float
    """Unix time."""
    trusted: bool
    """Whether that is worth anything."""
    keys: Keys

    @property
    def today(self) -> date:
        """The day in UTC: the days of keys are."""
        return datetime.fromtimestamp(self.at, UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The cut that is to be judged."""

    action: Action
    account: str
    policy: str
    """Name of the account's row of limits."""
    request: str = ""
    """Id of the order it follows from; empty: the gateway's own rules."""
    requested_by: str = ""
    """Key id of who asked for it: his own approval does not count."""


# --- what a command says --------------------------------------------------------------------------


def vote_of(command: Command, wall: float) -> Vote:
    """The vote in a command that the judge found valid, received at ``wall`` (Unix time).

    Times that are left out count from when it was issued, since that is signed.  Raises
    ApprovalError if its times make no sense, TypeError for a command that is no vote.
    """
    order, issued = command.command, unix_s(command.issued)
    longest_s = APPROVAL_MAX_S
    match order:
        case DisconnectRequest(account=account):
            end, longest_s = _moment(order.expires, issued + REQUEST_S), REQUEST_MAX_S
            vote = _vote(command, wall, Action.DISCONNECT, Step.REQUEST, end, account)
        case RelayTrip(account=account):
            end = unix_s(command.not_after)
            vote = _vote(command, wall, Action.TRIP, Step.REQUEST, end, account)
        case ShedLoad(until=until):
            vote = _vote(command, wall, Action.SHED, Step.REQUEST, unix_s(until))
        case DisconnectApprove():
            vote = _approval(command, order, wall)
        case Delegate():
            vote, longest_s = _delegation(command, order, wall), DELEGATION_MAX_S
        case ProtectRemove(account=account):
            end = issued + TWO_WITHIN_S
            vote = _vote(command, wall, Action.UNPROTECT, Step.APPROVAL, end, account)
            content = order.model_dump_json(exclude={"reason"}, exclude_defaults=True)
            vote = replace(vote, content=content)
        case MassRelease():
            end = issued + TWO_WITHIN_S
            vote = _vote(command, wall, Action.RELEASE, Step.APPROVAL, end)
        case _:
            raise TypeError(f"{order.name} is no vote")
    if vote.expires <= vote.not_before:
        raise ApprovalError("expires: it would be over before it begins")
    if vote.expires - vote.not_before > longest_s:
        days = longest_s / DAY_S
        raise ApprovalError(f"expires: {vote.step} is for {days:.0f} days at most; give it again")
    return vote


def _vote(
    command: Command, wall: float, action: Action, step: Step, expires: float, account: str = ""
) -> Vote:
    return Vote(
        id=command.id,
        action=action,
        step=step,
        key=key_of(command),
        account=account,
        not_before=unix_s(command.issued),
        expires=expires,
        received=wall,
    )


def _approval(command: Command, order: DisconnectApprove, wall: float) -> Vote:
    begin = _moment(order.not_before, unix_s(command.issued))
    return Vote(
        id=command.id,
        action=Action(order.action),
        step=Step.APPROVAL,
        key=key_of(command),
        account=order.account or "",
        request=order.request or "",
        debt_max_e4=parse_yuan(order.debt_max) if order.debt_max else ANY_DEBT_E4,
        not_before=begin,
        expires=_moment(order.expires, begin + APPROVAL_S),
        received=wall,
    )


def _delegation(command: Command, order: Delegate, wall: float) -> Vote:
    return Vote(
        id=command.id,
        action=Action.DISCONNECT,
        step=Step.DELEGATION,
        key=key_of(command),
        accounts=order.accounts,
        policies=order.policies,
        debt_max_e4=parse_yuan(order.debt_max),
        not_before=_moment(order.not_before, unix_s(command.issued)),
        expires=unix_s(order.expires),
        received=wall,
    )


def _moment(given: str | None, otherwise: float) -> float:
    return otherwise if given is None else unix_s(given)


# --- what it is worth -----------------------------------------------------------------------------


def refuse(vote: Vote, votes: Iterable[Vote]) -> str:
    """Why a vote that has just come is not accepted beside those that stand; empty: it is."""
    others = [one for one in votes if one.action is vote.action]
    same = [one for one in others if one.account == vote.account]
    if vote.step is Step.REQUEST:
        agreed = [one for one in same if one.step is Step.APPROVAL and not one.request]
        if any(one.key == vote.key for one in agreed):
            return f"the key {vote.key} agreed to it before: another person has to ask"
        return ""
    requests = [one for one in same if one.step is Step.REQUEST]
    if vote.request:
        requests = [one for one in requests if one.id == vote.request]
        if not requests:
            of = f" for account {vote.account}" if vote.account else ""
            return f"request: there is no {vote.action} {vote.request}{of} to agree to"
    if any(one.key == vote.key for one in requests):
        return f"the key {vote.key} asked for it: another person has to agree"
    return ""


def void(vote: Vote, moment: Moment) -> str:
    """Why a vote is worth nothing now; empty: it counts."""
    if not moment.trusted:
        return "the gateway's clock is not trusted"
    if moment.at < vote.not_before:
        return f"{vote.step} {vote.id} has not begun"
    if moment.at >= vote.expires:
        return f"{vote.step} {vote.id} is over"
    key = moment.keys.of.get(vote.key)
    if key is None:
        return f"{Why.UNKNOWN}: {vote.key} is not in the gateway's key file"
    return key.refuse(_ROLES.get((vote.action, vote.step), Role.APPROVE), moment.today)


def approvals(votes: Iterable[Vote], subject: Subject, moment: Moment) -> tuple[Approval, ...]:
    """What counts for a cut, as the preflight wants it: never the word of who asked for it.

    The preflight judges amount and time once more, from what it records.
    """
    found = (_counted(vote, subject) for vote in votes if not void(vote, moment))
    return tuple(one for one in found if one and one.by != subject.requested_by)


def _counted(vote: Vote, subject: Subject) -> Approval | None:
    if vote.action is not subject.action:
        return None
    account: str | None = subject.account
    match vote.step:
        case Step.REQUEST:
            return None
        case Step.DELEGATION:
            if subject.account not in vote.accounts and subject.policy not in vote.policies:
                return None
            account = None
        case Step.APPROVAL:
            if vote.request and vote.request != subject.request:
                return None
            # One of a shedding names its request alone.
            if vote.action is not Action.SHED and vote.account != subject.account:
                return None
    return Approval(
        id=vote.id,
        by=vote.key,
        account=account,
        debt_max_e4=vote.debt_max_e4,
        not_before=vote.not_before,
        expires=vote.expires,
    )


def persons(votes: Iterable[Vote], moment: Moment) -> frozenset[str]:
    """The keys whose votes count now: two of them are two persons."""
    return frozenset(vote.key for vote in votes if not void(vote, moment))
