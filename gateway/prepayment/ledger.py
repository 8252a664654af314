"""Double entry: every fact about money or energy is a transaction whose postings sum to zero.

A transaction is never changed and never deleted; what was wrong is reversed by another one (a full
mirror) and posted anew.  Amounts are integers: money in 1/10,000 yuan, energy in Wh.  Seen from the
customer's side of the books a positive ``prepaid`` is what he has left, a negative ``debt`` or
``emergency`` what he owes.

Contract: reference invariants L1-L15 of the journal; each that can be asserted here is.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

Unit = Literal["CNY", "Wh"]
"""1/10,000 yuan, or watt-hours."""


class Ledger(StrEnum):
    """Where money or energy may stand.

    The first block belongs to one customer account each; the others are shared by the gateway:
    there ``Posting.account`` names a part of it (a payment channel, a fund) or is empty.
    """

    PREPAID = "prepaid"  # what is left; negative is overdraft
    DEBT = "debt"  # old arrears to recover: negative
    EMERGENCY = "emergency"  # emergency credit drawn: negative
    METERED = "metered"  # Wh: what the registers counted (negative) ...
    CHARGED = "charged"  # ... and was priced,
    UNPRICED = "unpriced"  # ... or could not be priced yet

    CASH = "cash"  # by channel; negative: the centre holds it
    REVENUE = "revenue"  # by category of the bill's lines
    ROUNDING = "rounding"
    SUSPENSE = "suspense"  # money for an account that nobody knows
    WRITE_OFF = "write_off"


OF_CUSTOMER = frozenset(
    (
        Ledger.PREPAID,
        Ledger.DEBT,
        Ledger.EMERGENCY,
        Ledger.METERED,
        Ledger.CHARGED,
        Ledger.UNPRICED,
    )
)


class Kind(StrEnum):
    """What a transaction is about.  It decides which ledgers may meet in it."""

    TOP_UP = "top_up"
    CHARGE = "charge"  # energy and what is charged with it, from one reading to another
    FEE = "fee"  # dated: late penalty
    EMERGENCY = "emergency"
    ADJUSTMENT = "adjustment"  # approved by a person
    REFUND = "refund"
    TRANSFER = "transfer"  # out of suspense, or from account to account
    REVERSAL = "reversal"


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of a transaction."""

    ledger: Ledger
    account: str
    """The customer account's number; for a shared ledger a part of it, or empty."""
    amount: int
    unit: Unit = "CNY"


@dataclass(frozen=True, slots=True)
class Span:
    """The readings a charge lies between: both are freezes (日冻结) of ``meter`` at a day's end."""

    meter: str
    after: date
    """The registers at this day's end are where it begins."""
    to: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A transaction to be posted."""

    kind: Kind
    key: str
    """Idempotency key: ``top_up:<payment id>``, ``charge:<account>:<...>``.  One key, one
    transaction, for ever."""
    account: str
    """The customer account concerned; empty for suspense."""
    effective: float
    """Unix time when it became true: the end of the last day charged, the moment of payment."""
    postings: tuple[Posting, ...]
    tariff: str = ""
    """``id/version`` of the tariff it was priced by."""
    spans: tuple[Span, ...] = ()
    reverses: int | None = None
    """Number of the transaction that this one undoes."""
    detail: str = "{}"
    """Canonical JSON: what is needed to derive it again, and what a person wants to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A draft that was posted."""

    number: int
    """1, 2, 3 ... without holes: the recorded sequence."""
    draft: Draft
    recorded: float
    """Unix time when it was posted."""
    clock: str
    """What our clock was worth then: ``trusted``, ``holdover`` or ``unknown``."""
    hash: bytes
    """SHA-256 over this transaction and the hash of the one before."""


class UnbalancedError(ValueError):
    """A draft that may not be posted: it does not sum to zero, or ledgers meet that must not."""


@dataclass(frozen=True, slots=True)
class Balances:
    """What one customer account has in each of its ledgers."""

    of: dict[Ledger, int] = field(default_factory=dict)

    def __getitem__(self, ledger: Ledger) -> int:
        return self.of.get(ledger, 0)


def check(draft: Draft) -> None:
    """Raise UnbalancedError unless every unit sums to zero (L1) and every posting has an owner."""
    sums: Counter[str] = Counter()
    for posting in draft.postings:
        sums[posting.unit] += posting.amount
        if posting.ledger in OF_CUSTOMER and not posting.account:
            raise UnbalancedError(f"{draft.key}: a posting to {posting.ledger} of nobody")
    if any(sums.values()) or not draft.postings:
        raise UnbalancedError(f"{draft.key}: postings sum to {dict(sums)}, not to zero")


def reversal(of: Transaction, key: str, effective: float, detail: str = "{}") -> Draft:
    """What undoes ``of`` as a whole: its mirror (L8)."""
    return Draft(
        kind=Kind.REVERSAL,
        key=key,
        account=of.draft.account,
        effective=effective,
        postings=tuple(
            Posting(one.ledger, one.account, -one.amount, one.unit) for one in of.draft.postings
        ),
        tariff=of.draft.tariff,
        spans=of.draft.spans,
        reverses=of.number,
        detail=detail,
    )
