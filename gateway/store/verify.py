"""The check of the whole journal at each start and each night, on the rows as they are.

Everything is verified every time: half a million transactions take seconds.  A seal over ranges
would save the hashing, which is the smaller part, and would have to be trusted itself.

It reads bytes and never parses more than it needs, so that damage becomes a finding whatever it
hit.  ``prepayment/audit.py`` looks more closely, at several times the cost.

Not here: whether the indexes belong to their tables.  SQLite's ``integrity_check`` says that, and
``taiqu audit`` asks it.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from gateway.prepayment.audit import Finding, compare
from gateway.prepayment.chain import FIELDS, GENESIS, link
from gateway.prepayment.ledger import ENERGY, OF_CUSTOMER, Kind, mirrors
from gateway.store.connection import Connection, Row
from gateway.store.faults import StoreDamagedError
from gateway.store.journal import RECORD, SLICE, JournalReader

FINDINGS_MAX = 100
"""Where so much is wrong, more would not help."""

_ENERGY = {ledger.encode() for ledger in ENERGY}
_OF_CUSTOMER = {ledger.encode() for ledger in OF_CUSTOMER}
_ACCOUNT, _REVERSES, _POSTINGS = (FIELDS.index(x) for x in ("account", "reverses", "postings"))


def verify(connection: Connection) -> list[Finding]:
    """What is wrong with the journal: numbers, chain, sums, reversals, balances.

    At most FINDINGS_MAX findings, the first ones.
    """
    return list(islice(_Verification(connection).findings(), FINDINGS_MAX))


class _Verification:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sums: dict[tuple[bytes, bytes], int] = defaultdict(int)
        self._reversed: set[bytes] = set()

    def findings(self) -> Iterator[Finding]:
        yield from self._journal()
        yield from self._balances()

    def _journal(self) -> Iterator[Finding]:
        number, previous = 0, GENESIS
        for hash_, *fields, found in self._rows():
            number += 1
            if found != number:
                yield Finding("L11", found, f"it follows {number - 1}")
                number = found
            if link(previous, fields) != hash_:
                text = "it is not what was posted: its hash does not fit"
                yield Finding("L10", number, text)
            previous = hash_
            try:
                balanced = self._add(fields[_ACCOUNT], fields[_POSTINGS].split(b"\t"))
            except ValueError:
                yield Finding("L1", number, "its postings cannot be read")
            else:
                if not balanced:
                    yield Finding("L1", number, "its postings do not sum to zero")
            if fields[_REVERSES]:
                yield from self._reversal(number, fields[_REVERSES])

    def _rows(self) -> Iterator[Row]:
        after = 0
        while True:
            found = self._connection.rows(
                f"select {RECORD}, number from journal"  # noqa: S608
                " where number > ? order by number limit ?",
                *(after, SLICE),
            )
            if not found:
                return
            yield from found
            after = found[-1][-1]

    def _add(self, account: bytes, parts: list[bytes]) -> bool:
        """Add the postings to the sums; whether they sum to zero in each unit."""
        sums, money, energy = self._sums, 0, 0
        each = iter(parts)
        for ledger, part, text in zip(each, each, each, strict=True):
            amount = int(text)
            sums[ledger, account if ledger in _OF_CUSTOMER else part] += amount
            if ledger in _ENERGY:
                energy += amount
            else:
                money += amount
        return not money and not energy

    def _reversal(self, number: int, reverses: bytes) -> Iterator[Finding]:
        what = reverses.decode(errors="replace")
        if reverses in self._reversed:
            yield Finding("L8", number, f"it reverses {what}, which was reversed before")
        self._reversed.add(reverses)
        journal = JournalReader(self._connection)
        try:
            reversal, original = journal.transaction(number), journal.transaction(int(reverses))
        except (StoreDamagedError, ValueError):
            return  # found already: a hash does not fit
        if (
            reversal is None
            or original is None
            or original.draft.kind is Kind.REVERSAL
            or not mirrors(reversal.draft, original.draft)
        ):
            yield Finding("L8", number, f"it is not the mirror of {what}")

    def _balances(self) -> Iterator[Finding]:
        rows = self._connection.rows(
            "select cast(ledger as blob), cast(account as blob), amount from balance"
        )
        kept = {_names(ledger, account): amount for ledger, account, amount in rows}
        yield from compare({_names(*key): total for key, total in self._sums.items()}, kept)


def _names(ledger: bytes, account: bytes) -> tuple[str, str]:
    return ledger.decode(errors="replace"), account.decode(errors="replace")
