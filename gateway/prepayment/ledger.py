"""Double entry: every fact about money or energy is a transaction whose postings sum to zero.

A transaction is never changed and never deleted; what was wrong is reversed by another one (a full
mirror) and posted anew.  Amounts are integers: money in 1/10,000 yuan, energy in Wh.  Seen from the
customer's side of the books a positive ``prepaid`` is what he has left, a negative ``debt`` or
``emergency`` what he owes.

A balanced transaction can still be wrong, so each kind says which ledgers may meet in it, and which
way the money may go.  It concerns one customer account at most: from account to account money goes
through ``suspense``, in two transactions.

What is posted is built in gateway/prepayment/drafts.py.

Contract: reference invariants L1-L15 of the journal; each that can be asserted here is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

from gateway.prepayment.money import AMOUNT_MAX_E4

Unit = Literal["CNY", "Wh"]
"""1/10,000 yuan, or watt-hours."""
AMOUNT_MAX = AMOUNT_MAX_E4
"""Of either unit: no single posting is larger, so that sums of thousands fit into 64 bits."""


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
    SUSPENSE = "suspense"  # by account: money for one that nobody knows, or on its way to it
    WRITE_OFF = "write_off"


ENERGY = frozenset((Ledger.METERED, Ledger.CHARGED, Ledger.UNPRICED))
"""The ledgers in Wh; all others are in 1/10,000 yuan."""
OF_CUSTOMER = ENERGY | {Ledger.PREPAID, Ledger.DEBT, Ledger.EMERGENCY}


class Kind(StrEnum):
    """What a transaction is about.  It decides which ledgers may meet in it."""

    TOP_UP = "top_up"
    CHARGE = "charge"  # energy and what is charged with it, from one reading to another
    FEE = "fee"  # dated: late penalty
    EMERGENCY = "emergency"
    ADJUSTMENT = "adjustment"  # approved by a person
    REFUND = "refund"
    TRANSFER = "transfer"  # out of suspense, or into it; to old debt
    REVERSAL = "reversal"


_ANY, _IN, _OUT = 0, 1, -1
_BOTH_WAYS = dict.fromkeys(ENERGY | {Ledger.PREPAID, Ledger.REVENUE, Ledger.ROUNDING}, _ANY)
_MAY_MEET: dict[Kind, dict[Ledger, int]] = {
    Kind.TOP_UP: {
        Ledger.CASH: _OUT,
        Ledger.PREPAID: _IN,
        Ledger.DEBT: _IN,
        Ledger.EMERGENCY: _IN,
        Ledger.SUSPENSE: _IN,
    },
    Kind.CHARGE: _BOTH_WAYS,  # energy fed back is paid for
    Kind.FEE: {Ledger.PREPAID: _OUT, Ledger.REVENUE: _IN, Ledger.ROUNDING: _ANY},
    Kind.EMERGENCY: {Ledger.EMERGENCY: _ANY, Ledger.PREPAID: _ANY},
    Kind.ADJUSTMENT: _BOTH_WAYS
    | dict.fromkeys((Ledger.DEBT, Ledger.EMERGENCY, Ledger.WRITE_OFF), _ANY),
    Kind.REFUND: {Ledger.PREPAID: _OUT, Ledger.SUSPENSE: _OUT, Ledger.CASH: _IN},
    Kind.TRANSFER: dict.fromkeys(
        (Ledger.SUSPENSE, Ledger.PREPAID, Ledger.DEBT, Ledger.EMERGENCY), _ANY
    ),
    Kind.REVERSAL: dict.fromkeys(Ledger, _ANY),  # what the reversed one was allowed
}
"""Which ledgers may meet, and whether money or energy may come into them, go out, or either."""

_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""What no text in a transaction may contain: in its record these part the fields."""


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
    """Unix time when it became true: the end of the last day charged, the moment of payment.
    Kept to the millisecond."""
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
    """Unix time when it was posted, to the millisecond."""
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


def unit_of(ledger: str) -> Unit:
    """The unit in which ``ledger`` counts."""
    return "Wh" if ledger in ENERGY else "CNY"


def check(draft: Draft) -> None:
    """Raise UnbalancedError unless ``draft`` may be posted.

    Every unit sums to zero (L1); the ledgers are those of its kind, and the money goes the way it
    may; customers' ledgers are those of the draft's account; no text would blur its record.
    """
    if not draft.postings:
        raise UnbalancedError(f"{draft.key}: no postings")
    sums = {"CNY": 0, "Wh": 0}
    for posting in draft.postings:
        if problem := next(_problems(draft, posting), None):
            raise UnbalancedError(f"{draft.key}: {posting.amount} in {posting.ledger}: {problem}")
        sums[posting.unit] += posting.amount
    if any(sums.values()):
        raise UnbalancedError(f"{draft.key}: postings sum to {sums}, not to zero")
    if (draft.reverses is not None) is not (draft.kind is Kind.REVERSAL):
        raise UnbalancedError(f"{draft.key}: a reversal, and no other, names what it reverses")
    if draft.spans and draft.kind not in (Kind.CHARGE, Kind.REVERSAL):
        raise UnbalancedError(f"{draft.key}: a {draft.kind} does not lie between readings")
    if any(span.after >= span.to for span in draft.spans):
        raise UnbalancedError(f"{draft.key}: a span that ends before it begins")
    texts = [draft.key, draft.account, draft.tariff, draft.detail]
    texts += [one.account for one in draft.postings] + [span.meter for span in draft.spans]
    if not draft.key or _UNFIT.search("".join(texts)):
        raise UnbalancedError(f"{draft.key!r}: no key, or a text with control characters")


def _problems(draft: Draft, posting: Posting) -> Iterator[str]:
    """Why ``posting`` may not stand in ``draft``."""
    way = _MAY_MEET[draft.kind].get(posting.ledger)
    if way is None:
        yield f"a {draft.kind} does not touch it"
    elif posting.amount * way < 0:
        yield f"a {draft.kind} goes the other way"
    if posting.ledger in OF_CUSTOMER and (not posting.account or posting.account != draft.account):
        yield f"of {posting.account or 'nobody'} in a transaction of {draft.account or 'nobody'}"
    if posting.unit != unit_of(posting.ledger):
        yield f"it does not count in {posting.unit}"
    if not isinstance(posting.amount, int) or abs(posting.amount) > AMOUNT_MAX:
        yield "not an integer of a possible size"
    if not posting.amount and draft.kind not in (Kind.CHARGE, Kind.REVERSAL):
        yield "nothing is moved"


def reversal(of: Transaction, key: str, effective: float, detail: str = "{}") -> Draft:
    """What undoes ``of`` as a whole: its mirror (L8).

    Raises UnbalancedError if ``of`` is a reversal itself: what it undid is posted anew instead.
    """
    if of.draft.kind is Kind.REVERSAL:
        raise UnbalancedError(f"{key}: transaction {of.number} is a reversal; post anew instead")
    return Draft(
        kind=Kind.REVERSAL,
        key=key,
        account=of.draft.account,
        effective=effective,
        postings=mirror(of.draft.postings),
        tariff=of.draft.tariff,
        spans=of.draft.spans,
        reverses=of.number,
        detail=detail,
    )


def mirror(postings: tuple[Posting, ...]) -> tuple[Posting, ...]:
    """The postings that undo ``postings``."""
    return tuple(Posting(one.ledger, one.account, -one.amount, one.unit) for one in postings)


def mirrors(draft: Draft, original: Draft) -> bool:
    """Whether ``draft`` undoes the whole of ``original`` and nothing else."""
    return (draft.account, draft.spans, draft.postings) == (
        original.account,
        original.spans,
        mirror(original.postings),
    )
