"""Top-ups (购电) and their reversals: what each leads to.

A top-up counts once for ever, by its payment id, whichever way it comes: its idempotency key is
``top_up:<payment>``.  Where the money goes, in this order:

1. to old debt: a share of the top-up, no more than the policy's cap in a week (Monday to Sunday);
2. to emergency credit that was drawn, until it is repaid;
3. to ``prepaid``: where that was overdrawn, it pays the overdraft first by being added.

Money for an account that is unknown or closed goes to ``suspense``, never away.  A top-up that
would lift the balance above the hoarding limit (囤积金额限值) is refused whole; it is judged on
what is posted, so of two on their way the later one is.

In whatever order top-ups and reversals come, the account's ``prepaid``, ``debt`` and ``emergency``
have the same sum afterwards, and each of them is the same as long as neither debt nor emergency
credit is owed.  How much of a debt is paid while a cap binds depends on the order, and so does what
a hoarding limit refuses.

Source: GB SMETS2 for the order and the debt share; DL/T 645 04001004 for hoarding.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from gateway.prepayment import drafts
from gateway.prepayment.account import Account, Mode, Policy
from gateway.prepayment.ledger import Balances, Draft, Kind, Ledger, Transaction, reversal
from gateway.prepayment.money import AMOUNT_MAX_E4, FEN_E4, Rounding, round_to, yuan

CURRENCY = "CNY"


class Why(StrEnum):
    """Why money was refused."""

    AMOUNT = "amount"  # not above zero, not whole fen
    CURRENCY = "currency"
    REUSED = "reused_payment_id"  # the payment is known with another amount or account
    HOARDING = "hoarding_limit"
    MIRROR = "meter_prepays_itself"
    MOVED = "moved_out_of_suspense"
    NO_EMERGENCY = "no_emergency_credit"
    EMERGENCY_OWED = "emergency_credit_owed"
    NOT_LOW = "balance_not_low"


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is posted."""

    why: Why
    reason: str
    """In a sentence: what, and what to do."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """It is posted already: the answer is that of the first time."""

    number: int
    """Of the transaction."""


@dataclass(frozen=True, slots=True)
class Early:
    """A reversal of a payment that never came: to be remembered, should it still come."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """Money for an account, as it arrives."""

    payment: str
    """Payment id: the same online and on a voucher."""
    account: str
    amount_e4: int
    currency: str = CURRENCY
    channel: str
    """Where it was paid: ``counter``, ``bank``, ``voucher``."""
    paid: float
    """Unix time."""

    @property
    def key(self) -> str:
        """Its idempotency key in the journal."""
        return f"top_up:{self.payment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """A payment is undone as a whole."""

    payment: str
    reason: str
    at: float
    """Unix time when it was ordered."""


def judge(
    top_up: TopUp,
    account: Account | None,
    balances: Balances,
    policy: Policy | None,
    *,
    posted: Transaction | None,
    debt_paid_e4: int = 0,
) -> Draft | Refused | Repeated:
    """What a top-up leads to.

    ``account`` is None where there is none, ``policy`` None where it has no limits; ``posted`` is
    the transaction under ``top_up.key``, if there is one; ``debt_paid_e4`` what the top-ups of the
    same week gave to old debt (``debt_paid_e4``).
    """
    if posted:
        return _known(top_up, posted)
    if problem := _problem(top_up):
        return problem
    detail = _json({"account": top_up.account, "payment": top_up.payment})
    if account is None or account.closed:
        return drafts.top_up_of_nobody(
            claimed=top_up.account,
            key=top_up.key,
            effective=top_up.paid,
            channel=top_up.channel,
            amount_e4=top_up.amount_e4,
            detail=detail,
        )
    if account.mode is Mode.MIRROR:
        reason = f"the meter of account {account.number} prepays by itself; top up at the meter"
        return Refused(Why.MIRROR, reason)
    shares_e4 = _shares_e4(top_up.amount_e4, balances, policy, debt_paid_e4)
    after_e4 = balances[Ledger.PREPAID] + shares_e4[Ledger.PREPAID]
    if policy and policy.hoarding_e4 and after_e4 > policy.hoarding_e4:
        reason = (
            f"the balance would be {yuan(after_e4)} yuan, {yuan(policy.hoarding_e4)} is the most;"
            " pay less, or later"
        )
        return Refused(Why.HOARDING, reason)
    return drafts.top_up(
        account=account.number,
        key=top_up.key,
        effective=top_up.paid,
        channel=top_up.channel,
        shares_e4=shares_e4,
        detail=detail,
    )


def _known(top_up: TopUp, posted: Transaction) -> Refused | Repeated:
    account, amount_e4 = _claimed(posted.draft)
    if (account, amount_e4) == (top_up.account, top_up.amount_e4):
        return Repeated(posted.number)
    reason = (
        f"payment {top_up.payment} is posted already: {yuan(amount_e4)} yuan for account {account};"
        " another payment needs another id"
    )
    return Refused(Why.REUSED, reason)


def _problem(top_up: TopUp) -> Refused | None:
    if top_up.currency != CURRENCY:
        reason = f"found {top_up.currency}; only {CURRENCY} is taken"
        return Refused(Why.CURRENCY, reason)
    if not 0 < top_up.amount_e4 <= AMOUNT_MAX_E4 or top_up.amount_e4 % FEN_E4:
        reason = f"found {yuan(top_up.amount_e4)} yuan; an amount is above zero and in whole fen"
        return Refused(Why.AMOUNT, reason)
    return None


def _shares_e4(
    amount_e4: int, balances: Balances, policy: Policy | None, debt_paid_e4: int
) -> dict[Ledger, int]:
    """Where a top-up goes, by ledger."""
    debt_e4 = debt_share_e4(amount_e4, -balances[Ledger.DEBT], policy, debt_paid_e4)
    emergency_e4 = min(amount_e4 - debt_e4, -balances[Ledger.EMERGENCY])
    return {
        Ledger.DEBT: debt_e4,
        Ledger.EMERGENCY: emergency_e4,
        Ledger.PREPAID: amount_e4 - debt_e4 - emergency_e4,
    }


def debt_share_e4(amount_e4: int, owed_e4: int, policy: Policy | None, paid_e4: int) -> int:
    """How much of a top-up goes to old debt: its share in whole fen, rounded down, within the cap.

    ``owed_e4`` is the old debt, above zero, ``paid_e4`` what was paid of it in the same week.
    """
    if policy is None:
        return 0
    share_e4 = round_to(amount_e4 * policy.debt_share_percent // 100, FEN_E4, Rounding.FLOOR)
    room_e4 = max(0, policy.debt_cap_e4 - paid_e4) if policy.debt_cap_e4 else share_e4
    return max(0, min(share_e4, room_e4, owed_e4))


def week_of(day: date) -> tuple[date, date]:
    """Monday and Sunday of the week in which the cap of ``day`` counts."""
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def debt_paid_e4(transactions: Sequence[Transaction], since: float, before: float) -> int:
    """What top-ups paid from ``since`` until ``before`` (Unix time) gave to old debt.

    What was reversed since gave nothing.
    """
    shares_e4 = {
        one.number: posting.amount
        for one in transactions
        if one.draft.kind is Kind.TOP_UP and since <= one.draft.effective < before
        for posting in one.draft.postings
        if posting.ledger is Ledger.DEBT
    }
    for one in transactions:
        shares_e4.pop(one.draft.reverses or 0, None)
    return sum(shares_e4.values())


def _claimed(draft: Draft) -> tuple[str, int]:
    """For whom a posted top-up came, and how much it was."""
    account = next(one.account for one in draft.postings if one.ledger is not Ledger.CASH)
    return account, -sum(one.amount for one in draft.postings if one.ledger is Ledger.CASH)


def judge_reversal(
    order: Reversal,
    *,
    posted: Transaction | None,
    reversed_by: Transaction | None,
    suspense_e4: int = 0,
) -> Draft | Refused | Repeated | Early:
    """What the reversal of a top-up leads to.  The balance may become negative by it.

    ``posted`` is the top-up, if it ever came; ``reversed_by`` the transaction that undid it
    already; ``suspense_e4`` what ``suspense`` holds for the account it was for.
    """
    if posted is None:
        return Early(f"payment {order.payment} never came; should it come, it will be undone")
    if reversed_by:
        return Repeated(reversed_by.number)
    account, amount_e4 = _claimed(posted.draft)
    if not posted.draft.account and suspense_e4 < amount_e4:
        reason = (
            f"payment {order.payment} was moved out of suspense for account {account}; reverse the"
            " transfer first"
        )
        return Refused(Why.MOVED, reason)
    detail = _json({"payment": order.payment, "reason": order.reason})
    return reversal(posted, f"reversal:top_up:{order.payment}", order.at, detail)


def _json(tree: dict[str, str]) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
