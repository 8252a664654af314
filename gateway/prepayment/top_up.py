"""Top-ups (购电), their reversals, emergency credit, and what remains when an account is closed.

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

from gateway.prepayment.account import Account, Mode, Policy
from gateway.prepayment.ledger import (
    Balances,
    Draft,
    Kind,
    Ledger,
    Posting,
    Transaction,
    reversal,
)
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
    if account is None or account.closed:
        return _draft(top_up, "", {Ledger.SUSPENSE: top_up.amount_e4})
    if account.mode is Mode.MIRROR:
        reason = f"the meter of account {account.number} prepays by itself; top up at the meter"
        return Refused(Why.MIRROR, reason)
    shares_e4 = _shares_e4(top_up.amount_e4, balances, policy, debt_paid_e4)
    after_e4 = balances[Ledger.PREPAID] + shares_e4.get(Ledger.PREPAID, 0)
    if policy and policy.hoarding_e4 and after_e4 > policy.hoarding_e4:
        reason = (
            f"the balance would be {yuan(after_e4)} yuan, {yuan(policy.hoarding_e4)} is the most;"
            " pay less, or later"
        )
        return Refused(Why.HOARDING, reason)
    return _draft(top_up, account.number, shares_e4)


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
    """By ledger, only what is not zero."""
    debt_e4 = debt_share_e4(amount_e4, -balances[Ledger.DEBT], policy, debt_paid_e4)
    emergency_e4 = min(amount_e4 - debt_e4, -balances[Ledger.EMERGENCY])
    shares_e4 = {
        Ledger.DEBT: debt_e4,
        Ledger.EMERGENCY: emergency_e4,
        Ledger.PREPAID: amount_e4 - debt_e4 - emergency_e4,
    }
    return {ledger: share_e4 for ledger, share_e4 in shares_e4.items() if share_e4}


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


def _draft(top_up: TopUp, account: str, shares_e4: dict[Ledger, int]) -> Draft:
    detail = {"account": top_up.account, "payment": top_up.payment}
    return Draft(
        kind=Kind.TOP_UP,
        key=top_up.key,
        account=account,
        effective=top_up.paid,
        postings=(
            Posting(Ledger.CASH, top_up.channel, -top_up.amount_e4),
            *(Posting(ledger, top_up.account, e4) for ledger, e4 in shares_e4.items()),
        ),
        detail=_json(detail),
    )


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


def emergency_due(account: Account, balances: Balances, policy: Policy) -> bool:
    """Whether emergency credit is to be given by itself now."""
    empty = balances[Ledger.PREPAID] <= 0
    return policy.emergency_automatic and empty and _no_emergency(account, balances, policy) is None


def draw_emergency(
    account: Account, balances: Balances, policy: Policy, cause: str, at: float
) -> Draft | Refused:
    """Emergency credit: a fixed sum, once until it is repaid, when the balance is low.

    ``cause`` names what asked for it once: a command's id, the number of a transaction.  ``at`` is
    Unix time.
    """
    if refused := _no_emergency(account, balances, policy):
        return refused
    return Draft(
        kind=Kind.EMERGENCY,
        key=f"emergency:{account.number}:{cause}",
        account=account.number,
        effective=at,
        postings=(
            Posting(Ledger.EMERGENCY, account.number, -policy.emergency_e4),
            Posting(Ledger.PREPAID, account.number, policy.emergency_e4),
        ),
    )


def _no_emergency(account: Account, balances: Balances, policy: Policy) -> Refused | None:
    owed_e4, balance_e4 = -balances[Ledger.EMERGENCY], balances[Ledger.PREPAID]
    prepaid = account.mode in (Mode.PREPAY_CUT, Mode.PREPAY_AGREEMENT) and not account.closed
    if not policy.emergency_e4 or not prepaid:
        reason = f"account {account.number} has no emergency credit"
        return Refused(Why.NO_EMERGENCY, reason)
    if owed_e4 > 0:
        reason = f"{yuan(owed_e4)} yuan of the last one are still owed; top up first"
        return Refused(Why.EMERGENCY_OWED, reason)
    if balance_e4 > policy.alert_1_e4:
        reason = f"{yuan(balance_e4)} yuan are left; it is for {yuan(policy.alert_1_e4)} and less"
        return Refused(Why.NOT_LOW, reason)
    return None


def close_out(
    account: Account, balances: Balances, channel: str, at: float, *, pay_out: bool
) -> list[Draft]:
    """What is left of a closed account (销户), when its last day was charged.

    Emergency credit and old debt are paid out of ``prepaid``; what is owed beyond it remains as
    debt.  What is left is refunded through ``channel`` in whole fen, or kept if not ``pay_out``.
    """
    number = account.number
    prepaid_e4, debt_e4 = balances[Ledger.PREPAID], balances[Ledger.DEBT]
    left_e4 = prepaid_e4 + balances[Ledger.EMERGENCY] + debt_e4
    moved_e4 = {
        Ledger.PREPAID: max(left_e4, 0) - prepaid_e4,
        Ledger.EMERGENCY: -balances[Ledger.EMERGENCY],
        Ledger.DEBT: min(left_e4, 0) - debt_e4,
    }
    refund_e4 = round_to(left_e4, FEN_E4) if pay_out and left_e4 > 0 else 0
    rest_e4 = left_e4 - refund_e4 if pay_out and left_e4 > 0 else 0
    steps = (
        (Kind.TRANSFER, "set_off", [(ledger, number, e4) for ledger, e4 in moved_e4.items()]),
        (
            Kind.ADJUSTMENT,
            "rounding",
            [(Ledger.PREPAID, number, -rest_e4), (Ledger.ROUNDING, "", rest_e4)],
        ),
        (
            Kind.REFUND,
            "refund",
            [(Ledger.PREPAID, number, -refund_e4), (Ledger.CASH, channel, refund_e4)],
        ),
    )
    drafts = []
    for kind, name, moves in steps:
        if postings := tuple(Posting(*move) for move in moves if move[2]):
            key = f"close_out:{number}:{name}"
            drafts.append(
                Draft(kind=kind, key=key, account=number, effective=at, postings=postings)
            )
    return drafts


def _json(tree: dict[str, str]) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
