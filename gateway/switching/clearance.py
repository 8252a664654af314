"""What persons have said about supply: the stop switch, calendars, approvals, proofs of delivery.

Where nobody has said anything there is no calendar and no approval, so nothing can be cut.

Used by the core alone.
"""

from datetime import tzinfo

from gateway.disconnection.facts import Approval, Purpose
from gateway.disconnection.friendly import Calendar
from gateway.disconnection.votes import Action
from gateway.north.approvals import Subject
from gateway.prepayment.account import Account
from gateway.store.precautions import What
from gateway.switching.approval_desk import ApprovalDesk
from gateway.switching.calendars import stored_calendar
from gateway.switching.stop_switch import StopSwitch

CLOCKS_DIFFER_S = 60.0
"""The clock of whoever delivers a notice and ours differ by less."""
_ACTIONS = {
    Purpose.ARREARS: Action.DISCONNECT,
    Purpose.ORDER: Action.TRIP,
    Purpose.SHEDDING: Action.SHED,
    Purpose.UNPROTECT: Action.TRIP,
}


class Clearance:
    """What the persons of one gateway have said."""

    def __init__(
        self, desk: ApprovalDesk, switch: StopSwitch, zone: tzinfo, *, dry_run: bool
    ) -> None:
        """``dry_run`` counts until somebody has ordered otherwise."""
        self._desk = desk
        self._switch = switch
        self._zone = zone
        self._dry_run = dry_run

    def stopped(self) -> str:
        """Why no cut is made: who turned the stop switch; empty: nobody did."""
        return self._switch.stopped()

    def turned(self) -> str | None:
        """The same, if it has changed since this was last asked."""
        return self._switch.turned()

    def dry_run(self) -> bool:
        """Whether everything but the frame is done."""
        ordered = self._desk.precautions.dry_run()
        return self._dry_run if ordered is None else ordered

    def calendar(self) -> Calendar | None:
        """The friendly windows (保障时段); None: there are none, and everybody is protected."""
        return stored_calendar(self._desk.precautions, self._zone)

    def approvals(self, subject: Subject, wall: float) -> tuple[Approval, ...]:
        """The approvals that count for a cut at ``wall``."""
        return self._desk.approvals(subject, wall)

    def proven_at(self, account: str, round_: int, what: What, since: float) -> float | None:
        """When the delivery of what was asked for at ``since`` was proven; None: it is not.

        The moment is that of the proof's arrival here: a time that somebody else wrote down must
        not shorten a notice.  But what was delivered before it was asked for is an older one, of
        which the proof is late.
        """
        return next(
            (
                one.received
                for one in self._desk.precautions.served(account, round_)
                if one.what == what
                and one.received >= since
                and one.served >= since - CLOCKS_DIFFER_S
            ),
            None,
        )

    def request_over(self, request: str, wall: float) -> str:
        """Why a request for a cut does not stand any more; empty: it does."""
        votes = self._desk.votes
        vote = votes.vote(request)
        if vote is None or vote.expires <= wall:
            return "the request has run out"
        return votes.ended(request)

    def unprotected_at(self, account: str) -> float | None:
        """When a protection was taken away last, Unix time."""
        return self._desk.votes.unprotected_at(account)

    def over(self, subject: Subject, wall: float, reason: str) -> None:
        """A cut was made or cancelled: what was said for it is no good for another."""
        self._desk.over(subject, wall, "gateway", reason)


def subject_of(
    account: Account, purpose: Purpose, request: str = "", requested_by: str = ""
) -> Subject:
    """The cut that approvals are looked for.

    ``request`` is the order it follows from, ``requested_by`` the key that gave it; both empty: the
    gateway's own rules did.
    """
    return Subject(
        action=_ACTIONS[purpose],
        account=account.number,
        policy=account.policy,
        request=request,
        requested_by=requested_by,
    )
