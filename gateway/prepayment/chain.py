"""The record of a transaction, and the chain of hashes (L10) that makes any later change show.

A record is twelve texts, in this order:

    number, recorded, clock,
    kind, key, account, effective, tariff, spans, reverses, detail, postings

    recorded, effective   Unix time in milliseconds
    spans                 meter, after, to, meter, after, to ..  parted by tabs; days as 2026-01-31
    reverses              a number, or empty
    postings              ledger, part, amount, ledger ..  parted by tabs; 1/10,000 yuan or Wh; the
                          part is empty where the ledger is the account's own

    hash = SHA-256(hash of the one before, 32 bytes + the texts joined by line feeds, in UTF-8)

Before number 1 stand 32 zero bytes.  No text contains a tab or a line feed of its own, so no two
transactions share a record, and whoever has the ``journal`` messages can follow the chain.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import chain as flat

from gateway.prepayment.ledger import (
    OF_CUSTOMER,
    Draft,
    Kind,
    Ledger,
    Posting,
    Span,
    Transaction,
    unit_of,
)

GENESIS = bytes(32)
"""What stands before the first transaction."""

FIELDS = (
    "number",
    "recorded_ms",
    "clock",
    "kind",
    "key",
    "account",
    "effective_ms",
    "tariff",
    "spans",
    "reverses",
    "detail",
    "postings",
)


def milliseconds(unix: float) -> int:
    """Unix time as it stands in a record."""
    return round(unix * 1000)


def content(draft: Draft) -> tuple[str, ...]:
    """What ``draft`` says, as the last nine fields of its record.  Equal for equal drafts (L4)."""
    spans = ((span.meter, span.after.isoformat(), span.to.isoformat()) for span in draft.spans)
    postings = (
        (one.ledger, "" if one.ledger in OF_CUSTOMER else one.account, str(one.amount))
        for one in draft.postings
    )
    return (
        draft.kind,
        draft.key,
        draft.account,
        str(milliseconds(draft.effective)),
        draft.tariff,
        "\t".join(flat.from_iterable(spans)),
        "" if draft.reverses is None else str(draft.reverses),
        draft.detail,
        "\t".join(flat.from_iterable(postings)),
    )


def record(number: int, draft: Draft, recorded_ms: int, clock: str) -> tuple[str, ...]:
    """The record of a transaction: its ``FIELDS``."""
    return (str(number), str(recorded_ms), clock, *content(draft))


def link(previous: bytes, fields: Iterable[bytes]) -> bytes:
    """The hash of the record with these ``fields`` after the one with the hash ``previous``."""
    return hashlib.sha256(previous + b"\n".join(fields)).digest()


def chain(previous: bytes, number: int, draft: Draft, recorded_ms: int, clock: str) -> bytes:
    """The hash of a transaction after the one with the hash ``previous``."""
    return link(previous, (text.encode() for text in record(number, draft, recorded_ms, clock)))


def restore(fields: Sequence[str], hash_: bytes) -> Transaction:
    """The transaction whose record is ``fields``.  Raises ValueError if it is none."""
    number, recorded_ms, clock, kind, key, account, effective_ms = fields[:7]
    tariff, spans, reverses, detail, postings = fields[7:]
    draft = Draft(
        kind=Kind(kind),
        key=key,
        account=account,
        effective=int(effective_ms) / 1000,
        postings=tuple(_posting(account, *triple) for triple in triples(postings)),
        tariff=tariff,
        spans=tuple(
            Span(meter, date.fromisoformat(after), date.fromisoformat(to))
            for meter, after, to in triples(spans)
        ),
        reverses=int(reverses) if reverses else None,
        detail=detail,
    )
    return Transaction(
        number=int(number), draft=draft, recorded=int(recorded_ms) / 1000, clock=clock, hash=hash_
    )


def triples(text: str) -> Iterable[tuple[str, str, str]]:
    """The rows of three in ``spans`` or ``postings``.  May raise ValueError."""
    parts = text.split("\t") if text else []
    return zip(parts[0::3], parts[1::3], parts[2::3], strict=True)


def _posting(account: str, name: str, part: str, amount: str) -> Posting:
    ledger = Ledger(name)
    owner = account if ledger in OF_CUSTOMER else part
    return Posting(ledger, owner, int(amount), unit_of(ledger))
