"""What persons have said about supply: the stop switch, calendars, approvals, proofs of delivery.

``Clearance`` is what switching asks; ``Nobody`` is the answer where there is nobody to ask: no
calendar and no approval, so nothing can be cut.
"""

from dataclasses import dataclass
from typing import Protocol

from gateway.prepayment.account import Account
from gateway.prepayment.facts import Approval, Purpose
from gateway.prepayment.friendly import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """When delivery was proven in one round of an account's case, Unix time; None: it was not.

    The moments are those of the proofs' arrival here: a time that somebody else wrote down must not
    shorten a notice.
    """

    dunned_at: float | None = None
    notice_at: float | None = None
    last_call_at: float | None = None


class Clearance(Protocol):
    """What persons have said."""

    def stopped(self) -> str:
        """Why no cut is made: who turned the stop switch; empty: nobody did."""

    def dry_run(self) -> bool:
        """Whether everything but the frame is done."""

    def calendar(self) -> Calendar | None:
        """The friendly windows (保障时段); None: there are none, and everybody is protected."""

    def approvals(
        self, account: Account, purpose: Purpose, request: str, requested_by: str
    ) -> tuple[Approval, ...]:
        """The approvals that count for a cut now.

        ``request`` is the order it follows from, ``requested_by`` the key that gave it; both empty:
        the gateway's own rules did.
        """

    def proofs(self, account: str, round_: int) -> Proofs:
        """What was delivered in this round of the account's case."""

    def unprotected_at(self, account: str) -> float | None:
        """When a protection was taken away last, Unix time."""


class Nobody:
    """Nobody has said anything."""

    def stopped(self) -> str:
        """Nobody stopped it."""
        return ""

    def dry_run(self) -> bool:
        """Nobody ordered a dry run."""
        return False

    def calendar(self) -> Calendar | None:
        """No calendar."""
        return None

    def approvals(
        self,
        account: Account,  # noqa: ARG002
        purpose: Purpose,  # noqa: ARG002
        request: str,  # noqa: ARG002
        requested_by: str,  # noqa: ARG002
    ) -> tuple[Approval, ...]:
        """No approval."""
        return ()

    def proofs(self, account: str, round_: int) -> Proofs:  # noqa: ARG002
        """Nothing was delivered."""
        return Proofs()

    def unprotected_at(self, account: str) -> float | None:  # noqa: ARG002
        """No protection was taken away."""
        return None
