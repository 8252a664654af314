"""An account's statement (对账单): what came in, what was charged, what was left after each.

In the order in which things became true, not in which they were posted: a charge that was made late
stands where it belongs.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from gateway.prepayment.ledger import Kind, Ledger, Span, Transaction

LINES_MAX = 200
CLOSING = "close_out:"
"""What the keys of closing transactions begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One transaction as the customer sees it."""

    transaction: Transaction
    amount_e4: int
    """Change of ``prepaid``."""
    balance_e4: int
    """Afterwards."""
    energy_wh: int
    """What was charged for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Some lines, and the balance around them."""

    opening_e4: int
    closing_e4: int
    lines: tuple[Line, ...]
    more: int | None
    """Lines to skip to go on; None at the end."""


def statement(
    account: str,
    transactions: Iterable[Transaction],
    *,
    since: float | None = None,
    until: float | None = None,
    skip: int = 0,
    limit: int = LINES_MAX,
) -> Statement:
    """The statement over all ``transactions`` of an account.

    ``since`` and ``until`` are Unix times: what became true after the one and up to the other.  A
    day's charge becomes true when the day ends.
    """
    balance_e4 = 0
    before: list[int] = []
    lines: list[Line] = []
    for one in sorted(transactions, key=lambda one: (one.draft.effective, one.number)):
        effective = one.draft.effective
        if until is not None and effective > until:
            break
        amount_e4 = _sum(one, Ledger.PREPAID, account)
        if since is None or effective > since:
            before.append(balance_e4)
            balance_e4 += amount_e4
            lines.append(
                Line(
                    transaction=one,
                    amount_e4=amount_e4,
                    balance_e4=balance_e4,
                    energy_wh=_sum(one, Ledger.CHARGED, account),
                )
            )
        else:
            balance_e4 += amount_e4
    shown = lines[skip : skip + limit]
    return Statement(
        opening_e4=before[skip] if shown else balance_e4,
        closing_e4=shown[-1].balance_e4 if shown else balance_e4,
        lines=tuple(shown),
        more=skip + limit if skip + limit < len(lines) else None,
    )


def words(of: Transaction) -> str:
    """What a transaction was, beyond its kind, in a few words."""
    draft = of.draft
    spans = ", ".join(f"{span.meter} {_days(span)}" for span in draft.spans)
    match draft.kind:
        case Kind.REVERSAL:
            return f"of {draft.reverses}"
        case Kind.CHARGE:
            return ", ".join(part for part in (spans, draft.tariff) if part)
        case Kind.ADJUSTMENT if reason := json.loads(draft.detail).get("reason"):
            return str(reason)
        case Kind.TRANSFER if draft.key.startswith(CLOSING):
            return "set off when the account was closed"
        case Kind.REFUND | Kind.ADJUSTMENT if draft.key.startswith(CLOSING):
            return "the account was closed"
        case _:
            return draft.key.partition(":")[2]


def _days(span: Span) -> str:
    """The days that a charge is for: those after its first reading, up to its last."""
    first = span.after + timedelta(days=1)
    return str(first) if first == span.to else f"{first} to {span.to}"


def _sum(of: Transaction, ledger: Ledger, account: str) -> int:
    return sum(
        one.amount for one in of.draft.postings if one.ledger is ledger and one.account == account
    )
