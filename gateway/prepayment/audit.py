"""The audit: whether the journal is what it must be, from the first transaction to the last.

Every finding names the invariant that is broken:

    L1   a transaction that could not have been posted: not balanced, ledgers that must not meet
    L3   a balance that is not the sum of the postings
    L6   days of a meter that an account was charged for twice, or never (L5 with the readings)
    L8   a reversal that is not the mirror of what it reverses, or the second one of it
    L9   money or energy that came from nowhere
    L10  a transaction that was changed after it was posted
    L11  a number that is missing

Not here: whether a charge follows from its readings and its tariff (L5, L7), which
technician/derivation.py looks at; whether a key was used twice (L4), which the database refuses.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from gateway.prepayment.chain import GENESIS, chain, milliseconds
from gateway.prepayment.ledger import (
    Kind,
    Ledger,
    Span,
    Transaction,
    UnbalancedError,
    check,
    mirrors,
    unit_of,
)

Sums = Mapping[tuple[str, str], int]
"""What stands in each ledger of each account, or part of a shared ledger."""
Starts = Mapping[tuple[str, str], Collection[date]]
"""By account and meter, the days from whose end on the meter counts for the account: before them
it need not have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    code: str
    """The invariant: ``L10``."""
    transaction: int | None
    """The number of the transaction where it shows; None if it is not one's."""
    text: str

    def __str__(self) -> str:
        where = "" if self.transaction is None else f"transaction {self.transaction}: "
        return f"{self.code} {where}{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was looked at, and what was found."""

    findings: tuple[Finding, ...]
    transactions: int
    postings: int
    accounts: int
    charged_wh: int


def audit(
    transactions: Iterable[Transaction],
    find: Callable[[int], Transaction | None],
    balances: Sums,
    starts: Starts | None = None,
) -> Audited:
    """Check all ``transactions``, in their order, and the ``balances`` that are kept of them.

    ``find`` gives a transaction by its number: the one that a reversal names.
    """
    auditor = _Auditor(find)
    findings: list[Finding] = []
    for transaction in transactions:
        findings += auditor.look_at(transaction)
    findings += compare(auditor.sums, balances)
    findings += auditor.gaps(starts or {})
    charged = (wh for (ledger, _), wh in auditor.sums.items() if ledger == Ledger.CHARGED)
    return Audited(
        findings=tuple(findings),
        transactions=auditor.seen,
        postings=auditor.postings,
        accounts=len(auditor.accounts),
        charged_wh=sum(charged),
    )


def compare(sums: Sums, balances: Sums) -> Iterator[Finding]:
    """The balances that are not the ``sums`` of the postings (L3), and what is not zero (L9)."""
    for ledger, account in sorted(sums.keys() | balances.keys()):
        kept, summed = (each.get((ledger, account), 0) for each in (balances, sums))
        if kept != summed:
            text = f"{ledger} of {account or 'all'} is kept as {kept}, its postings sum to {summed}"
            yield Finding("L3", None, text)
    totals: Counter[str] = Counter()
    for (ledger, _), amount in sums.items():
        totals[unit_of(ledger)] += amount
    for unit, total in totals.items():
        if total:
            yield Finding("L9", None, f"all ledgers together have {total} {unit}, not zero")


class _Auditor:
    """What must be known of the transactions before, to judge the next."""

    def __init__(self, find: Callable[[int], Transaction | None]) -> None:
        self.seen = 0
        self.postings = 0
        self.accounts: set[str] = set()
        self.sums: Counter[tuple[str, str]] = Counter()
        self._find = find
        self._hash = GENESIS
        self._last = 0
        self._reversed: set[int] = set()
        self._days: dict[tuple[str, str], _Days] = {}

    def look_at(self, one: Transaction) -> Iterator[Finding]:
        if one.number != self._last + 1:
            yield Finding("L11", one.number, f"it follows {self._last}")
        expected = chain(self._hash, one.number, one.draft, milliseconds(one.recorded), one.clock)
        if expected != one.hash:
            yield Finding("L10", one.number, "it is not what was posted: its hash does not fit")
        self._last, self._hash = one.number, one.hash
        try:
            check(one.draft)
        except UnbalancedError as error:
            yield Finding("L1", one.number, str(error))
        if one.draft.reverses is not None:
            yield from self._reversal(one, one.draft.reverses)
        self.seen += 1
        self.postings += len(one.draft.postings)
        self.accounts |= {one.draft.account} - {""}
        for posting in one.draft.postings:
            self.sums[posting.ledger, posting.account] += posting.amount
        for span in one.draft.spans:
            yield from self._span(one, span)

    def _reversal(self, one: Transaction, number: int) -> Iterator[Finding]:
        if number in self._reversed:
            yield Finding("L8", one.number, f"it reverses {number}, which was reversed before")
        self._reversed.add(number)
        original = self._find(number) if number < one.number else None
        if original is None or original.draft.kind is Kind.REVERSAL:
            yield Finding("L8", one.number, f"it reverses {number}, which it cannot")
        elif not mirrors(one.draft, original.draft):
            yield Finding("L8", one.number, f"it is not the mirror of {number}")

    def _span(self, one: Transaction, span: Span) -> Iterator[Finding]:
        days = self._days.setdefault((one.draft.account, span.meter), _Days())
        back = one.draft.kind is Kind.REVERSAL
        if not (days.give_back if back else days.take)(span):
            what = "was not charged for" if back else "was charged for before"
            text = f"meter {span.meter} after {span.after} to {span.to}: a day of it {what}"
            yield Finding("L6", one.number, text)

    def gaps(self, starts: Starts) -> Iterator[Finding]:
        """The days that were never charged for, between days that were."""
        for (account, meter), days in sorted(self._days.items()):
            for gap in days.gaps():
                if gap.to not in starts.get((account, meter), ()):
                    text = f"account {account}, meter {meter}: {gap.after} to {gap.to} not charged"
                    yield Finding("L6", None, text)


class _Days:
    """The days that a meter was charged for, one bit each."""

    def __init__(self) -> None:
        self._first = 0
        self._bits = 0

    def take(self, span: Span) -> bool:
        """Add those of ``span``.  False if one was there already."""
        bits = self._of(span)
        free = not self._bits & bits
        self._bits |= bits
        return free

    def give_back(self, span: Span) -> bool:
        """Take those of ``span`` away.  False if one was not there."""
        bits = self._of(span)
        there = self._bits & bits == bits
        self._bits &= ~bits
        return there

    def gaps(self) -> Iterator[Span]:
        """The runs of days that are not there, between days that are."""
        day, start, begun = self._first, 0, False
        for digit in reversed(f"{self._bits:b}"):
            if digit == "1":
                if begun and start:
                    yield Span("", date.fromordinal(start), date.fromordinal(day - 1))
                begun, start = True, 0
            elif begun and not start:
                start = day - 1
            day += 1

    def _of(self, span: Span) -> int:
        first = (span.after + timedelta(1)).toordinal()
        if not self._bits:
            self._first = first
        elif first < self._first:
            self._bits <<= self._first - first
            self._first = first
        length = max(0, (span.to - span.after).days)
        return ((1 << length) - 1) << (first - self._first)
