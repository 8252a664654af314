"""Where persons' words about cuts are taken in: requests, approvals, notices, calendars, stops.

    desk.execute(command, by, wall, at_box=...)     takes in an order of ``desk.takes``
    desk.approvals(subject, wall)                   what counts for a cut now
    desk.over(subject, wall, reason)                the cut was made or cancelled
    desk.stop_orders()                              for the stop switch

Each order is kept in the transaction that remembers its command.  What follows from it (a case that
goes a step on, a cut that is cancelled) is the switcher's: he looks at what stands here.

Used by the core alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from gateway.clock import ClockState
from gateway.disconnection.facts import Approval
from gateway.disconnection.friendly import CalendarError
from gateway.disconnection.votes import Action, Step, Vote
from gateway.north import contract
from gateway.north import contract_switching as orders
from gateway.north.approvals import (
    DAY_S,
    ApprovalError,
    Moment,
    Subject,
    approvals,
    persons,
    refuse,
    vote_of,
)
from gateway.north.commands import key_of
from gateway.north.contract import unix_s
from gateway.north.signatures import Keys, Role
from gateway.orders import Outcome
from gateway.store.approvals import Approvals
from gateway.store.database import Database
from gateway.store.precautions import Precautions, Served, Stop
from gateway.switching.calendars import calendar_of

TWO = 2
SERVED_AHEAD_S = 300.0
"""A proof may seem to come from the future by this: clocks differ."""
SERVED_DAYS_MAX = 30
FAIR_DAYS_MAX = 3
"""That the weather does not speak against a cut may be believed for so long."""

Unprotect = Callable[[orders.ProtectRemove, str, str], Outcome]
"""Takes the protection away, given the command's id and who ordered it."""


class Latch(Protocol):
    """The latch (闭锁) of the area."""

    def release(self, by: frozenset[str], *, key_at_box: bool) -> str:
        """Release it if these persons may; else why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the desk asks of others."""

    keys: Keys
    zone: ZoneInfo
    state: Callable[[], ClockState]
    """What our clock is worth."""
    is_account: Callable[[str], bool]
    unprotect: Unprotect
    latch: Latch


@dataclass(frozen=True, slots=True)
class Given:
    """An order as it was given."""

    command: contract.Command
    by: str
    """Who answers for it, in words."""
    wall: float
    at_box: bool

    @property
    def key(self) -> str:
        """Id of the key that signed it; empty: nobody had to."""
        return key_of(self.command)


class ApprovalDesk:
    """The words of one gateway's persons."""

    def __init__(self, database: Database, site: Site) -> None:
        self.votes = Approvals(database)
        self.precautions = Precautions(database)
        self._site = site
        self._clerks = self._staff()

    def use(self, keys: Keys) -> None:
        """From now on these keys count: also what others signed before is worth nothing more."""
        self._site = replace(self._site, keys=keys)

    @property
    def takes(self) -> frozenset[str]:
        """The names of the orders that are taken in here."""
        return frozenset(self._clerks)

    # --- what counts ----------------------------------------------------------------------------

    def approvals(self, subject: Subject, wall: float) -> tuple[Approval, ...]:
        """What counts for a cut now, as the preflight wants it."""
        votes = self.votes.standing(wall, subject.account)
        return approvals(votes, subject, self._moment(wall))

    def request(self, action: Action, account: str, wall: float) -> Vote | None:
        """The newest request for a cut of ``account`` that stands."""
        found = [
            one
            for one in self.votes.standing(wall, account)
            if (one.action, one.step, one.account) == (action, Step.REQUEST, account)
        ]
        return found[-1] if found else None

    def over(self, subject: Subject, wall: float, by: str, reason: str) -> None:
        """The cut was made, or will not be: its request and approvals are no good for another."""
        for vote in self.votes.standing(wall, subject.account):
            if vote.action is not subject.action or vote.step is Step.DELEGATION:
                continue
            if vote.action is Action.SHED:
                concerned = subject.request in (vote.id, vote.request)
            else:
                concerned = vote.account == subject.account
            if concerned:
                self.votes.end(vote.id, wall, by, reason)

    def stop_orders(self) -> str:
        """Which orders stop all cuts; empty: none does."""
        return "; ".join(f"{one.by} ordered it: {one.reason}" for one in self.precautions.stops())

    def _moment(self, wall: float) -> Moment:
        return Moment(wall, self._site.state() is ClockState.TRUSTED, self._site.keys)

    # --- orders ---------------------------------------------------------------------------------

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        """Take in an order of ``takes``, in the caller's transaction."""
        order = command.command
        named = [getattr(order, "account", None), *getattr(order, "accounts", ())]
        for account in named:
            if account is not None and not self._site.is_account(account):
                return Outcome("refused", f"no account {account} here")
        return self._clerks[order.name](order, Given(command, by, wall, at_box))

    def _staff(self) -> Mapping[str, Callable[[Any, Given], Outcome]]:
        """Who takes in which order."""
        return {
            "disconnect.request": lambda _, given: self._keep(given, "accepted"),
            "relay.trip": lambda _, given: self._keep(given, "accepted"),
            "shed": lambda _, given: self._keep(given, "accepted"),
            "disconnect.approve": lambda _, given: self._keep(given, "confirmed"),
            "delegate": lambda _, given: self._keep(given, "confirmed"),
            "disconnect.cancel": self._cancel,
            "approval.revoke": self._revoke,
            "protect.remove": self._unprotect,
            "mass.release": self._release,
            "notice.served": self._served,
            "calendar.put": self._calendar,
            "stop": self._stop,
            "resume": self._resume,
            "dry_run": self._dry_run,
        }

    def _keep(self, given: Given, stage: Literal["accepted", "confirmed"]) -> Outcome:
        vote = self._vote(given)
        if isinstance(vote, Outcome):
            return vote
        self.votes.add(vote)
        return Outcome(stage, data={"expires": contract.instant(vote.expires)})

    def _vote(self, given: Given) -> Vote | Outcome:
        """The vote in a command, not kept yet; or why it is refused."""
        try:
            vote = vote_of(given.command, given.wall)
        except ApprovalError as error:
            return Outcome("refused", str(error))
        if vote.expires <= given.wall:
            return Outcome("refused", f"expires: this {vote.step} is over already")
        if reason := refuse(vote, self.votes.standing(given.wall)):
            return Outcome("refused", reason)
        return vote

    def _cancel(self, order: orders.DisconnectCancel, given: Given) -> Outcome:
        subject = Subject(action=Action.DISCONNECT, account=order.account, policy="")
        self.over(subject, given.wall, given.by, f"cancelled: {order.reason}")
        return Outcome("confirmed")

    def _revoke(self, order: orders.ApprovalRevoke, given: Given) -> Outcome:
        if self.votes.vote(order.approval) is None:
            return Outcome("refused", f"approval: {order.approval} gave none")
        if not self.votes.end(order.approval, given.wall, given.by, f"revoked: {order.reason}"):
            reason = self.votes.ended(order.approval)
            return Outcome("refused", f"approval: {order.approval} is over: {reason}")
        return Outcome("confirmed")

    # --- acts of two persons --------------------------------------------------------------------

    def _unprotect(self, order: orders.ProtectRemove, given: Given) -> Outcome:
        vote = self._vote(given)
        if isinstance(vote, Outcome):
            return vote
        votes = [vote, *(one for one in self._standing(vote, given.wall) if _agree(one, vote))]
        who = persons(votes, self._moment(given.wall))
        if len(who) < TWO:
            self.votes.add(vote)
            return _second(who)
        names = " and ".join(sorted(who))
        outcome = self._site.unprotect(order, given.command.id, f"keys {names}")
        if outcome.stage != "refused":
            self.votes.add(vote)
            self.votes.unprotected(order.account, given.wall, who)
            self._used(votes, given)
        return outcome

    def _release(self, _: orders.MassRelease, given: Given) -> Outcome:
        vote = self._vote(given)
        if isinstance(vote, Outcome):
            return vote
        votes = [vote, *self._standing(vote, given.wall)]
        who = persons(votes, self._moment(given.wall))
        if not given.at_box and len(who) < TWO:
            self.votes.add(vote)
            return _second(who)
        if reason := self._site.latch.release(who, key_at_box=given.at_box):
            return Outcome("refused", reason)
        self.votes.add(vote)
        self._used(votes, given)
        return Outcome("confirmed", data={"persons": sorted(who)})

    def _standing(self, vote: Vote, wall: float) -> list[Vote]:
        return [one for one in self.votes.standing(wall) if one.action is vote.action]

    def _used(self, votes: list[Vote], given: Given) -> None:
        for one in votes:
            self.votes.end(one.id, given.wall, given.by, f"used by {given.command.id}")

    # --- what has to be known before ------------------------------------------------------------

    def _served(self, order: orders.NoticeServed, given: Given) -> Outcome:
        served = unix_s(order.served)
        if served > given.wall + SERVED_AHEAD_S:
            return Outcome("refused", "served: it lies in the future")
        if served < given.wall - SERVED_DAYS_MAX * DAY_S:
            reason = f"served: more than {SERVED_DAYS_MAX} days ago; serve it anew"
            return Outcome("refused", reason)
        self.precautions.add_served(
            Served(
                account=order.account,
                round=order.round,
                what=order.what,
                channel=order.channel,
                served=served,
                receipt=order.receipt,
                key=given.key,
                received=given.wall,
            )
        )
        return Outcome("confirmed")

    def _calendar(self, order: orders.CalendarPut, given: Given) -> Outcome:
        windows, weather = order.windows, order.weather
        if windows and (problem := self._windows_problem(windows)):
            return Outcome("refused", f"windows: {problem}")
        until = unix_s(weather.until) if weather else 0.0
        if weather and not weather.reason and until > given.wall + FAIR_DAYS_MAX * DAY_S:
            reason = f"weather: fair weather is believed for {FAIR_DAYS_MAX} days at most"
            return Outcome("refused", reason)
        if windows:
            body = windows.model_dump_json()
            self.precautions.put_calendar(windows.version, body, given.key, given.wall)
        if weather:
            self.precautions.put_weather(weather.reason, until, given.key, given.wall)
        return Outcome("confirmed")

    def _windows_problem(self, windows: orders.FriendlyWindows) -> str:
        before = self.precautions.calendar()
        if before and windows.version <= before[0]:
            return f"version {before[0]} is here already; give a higher one"
        if windows.last < windows.first:
            return f"last: {windows.last} lies before {windows.first}"
        try:
            calendar_of(windows, None, self._site.zone)
        except CalendarError as error:
            return str(error)
        return ""

    def _stop(self, order: orders.StopCuts, given: Given) -> Outcome:
        key = "" if given.at_box else given.key
        stop = Stop(id=given.command.id, key=key, by=given.by, reason=order.reason, at=given.wall)
        self.precautions.add_stop(stop)
        return Outcome("confirmed", data={"stopped": self.stop_orders()})

    def _resume(self, _: orders.ResumeCuts, given: Given) -> Outcome:
        """Take back one's own stops, and those of keys that are worth nothing any more."""
        stops = self.precautions.stops()
        mine = [one for one in stops if self._may_end(one, given)]
        for one in mine:
            self.precautions.end_stop(one.id, given.wall, given.by)
        left = self.stop_orders()
        if stops and not mine:
            return Outcome("refused", f"only who stopped it resumes: {left}")
        return Outcome("confirmed", data={"taken_back": len(mine), "stopped": left})

    def _may_end(self, stop: Stop, given: Given) -> bool:
        if not stop.key:
            return given.at_box
        if stop.key == given.key:
            return True
        moment = self._moment(given.wall)
        owner = self._site.keys.of.get(stop.key)
        gone = owner is None or owner.refuse(Role.STOP, moment.today)
        return bool(given.key and moment.trusted and gone)

    def _dry_run(self, order: orders.DryRun, given: Given) -> Outcome:
        self.precautions.set_dry_run(given.by, order.reason, given.wall, dry=order.on)
        return Outcome("confirmed")


def _agree(one: Vote, other: Vote) -> bool:
    return (one.account, one.content) == (other.account, other.content)


def _second(who: frozenset[str]) -> Outcome:
    data = {"persons": sorted(who), "needed": TWO}
    return Outcome("confirmed", "kept; a second person has to order the same", data)
