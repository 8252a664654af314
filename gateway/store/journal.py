"""The journal (流水): every transaction of money and energy, numbered, chained, never changed.

What is posted is on flash with the rest of the caller's transaction: the reading, the balances, the
message to the head-end.  A key is kept for ever, so the same top-up comes in once, also when it is
sent again after ten years or a crash.

Balances are kept beside the journal and are nothing but its sums; ``verify`` proves it.

Not supported: taking old transactions out of the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.prepayment.chain import (
    FIELDS,
    GENESIS,
    content,
    link,
    milliseconds,
    record,
    restore,
)
from gateway.prepayment.ledger import (
    OF_CUSTOMER,
    Balances,
    Draft,
    Kind,
    Ledger,
    Transaction,
    check,
    mirrors,
)
from gateway.store.connection import Connection
from gateway.store.database import Database
from gateway.store.faults import StoreError, damaged

# As blobs: damage, a text that is no UTF-8, must become a finding and not a crash of the driver.
RECORD = ", ".join(f"coalesce(cast({field} as blob), x'')" for field in ("hash", *FIELDS))
"""The columns to be selected: the hash, then what it was made of, as bytes."""
SLICE = 4096
"""So many transactions are held in memory at a time."""
FEW = 8
"""So many of an account are read first where the newest are asked for; then twice as many."""


class KeyReusedError(StoreError):
    """An idempotency key came again with other content (L4).  Nothing was posted."""

    def __init__(self, first: Transaction) -> None:
        super().__init__(
            f"the key {first.draft.key} belongs to transaction {first.number}, which says"
            " something else; the sender must give each payment a key of its own"
        )
        self.first = first


class NotReversibleError(StoreError):
    """A reversal of something that cannot be reversed, or not by this (L8).  Nothing was posted."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a draft."""

    transaction: Transaction
    repeated: bool
    """It had been posted before; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The journal in a few numbers, to be compared with the head-end's."""

    transactions: int
    hash: bytes
    """Of the last one."""
    sums: dict[Ledger, int]
    """Of each ledger over all accounts; each unit adds up to zero (L9)."""

    @property
    def charged_wh(self) -> int:
        """All energy that was priced."""
        return self.sums.get(Ledger.CHARGED, 0)


class JournalReader:
    """The journal as anybody may see it who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def head(self) -> tuple[int, bytes]:
        """Number and hash of the last transaction; 0 and zeros before the first."""
        row = self._connection.row("select number, hash from journal order by number desc limit 1")
        return (row[0], row[1]) if row else (0, GENESIS)

    def transaction(self, number: int) -> Transaction | None:
        """The transaction with this number."""
        return next(iter(self._found("number = ?", number)), None)

    def hash_of(self, number: int) -> bytes:
        """The hash of the transaction with this number, which stands for all it says; empty if
        there is none.
        """
        row = self._connection.row("select hash from journal where number = ?", number)
        return row[0] if row else b""

    def transactions(self, first: int, last: int) -> list[Transaction]:
        """Those numbered ``first`` to ``last``, both included, as far as they exist."""
        return self._found("number between ? and ?", first, last)

    def all(self) -> Iterator[Transaction]:
        """Every transaction in its order, a slice in memory at a time."""
        first, found = 1, self.transactions(1, SLICE)
        while found:
            yield from found
            first += SLICE
            found = self.transactions(first, first + SLICE - 1)

    def of_account(self, account: str, after_number: int = 0) -> list[Transaction]:
        """Those that concern a customer account; the empty one: suspense alone."""
        return self._found("account = ? and number > ?", account, after_number)

    def newest(self, account: str) -> Iterator[Transaction]:
        """Those that concern a customer account, the newest first; read as far as it is asked."""
        before, few = self.head()[0] + 1, FEW
        while found := self._found(
            "number in (select number from journal where account = ? and number < ?"
            " order by number desc limit ?)",
            *(account, before, few),
        ):
            yield from reversed(found)
            before, few = found[0].number, 2 * few

    def newest_hash(self, account: str) -> bytes:
        """The hash of the newest one that concerns a customer account; empty before the first."""
        row = self._connection.row(
            "select hash from journal where account = ? order by number desc limit 1", account
        )
        return row[0] if row else b""

    def by_key(self, key: str) -> Transaction | None:
        """The transaction with this idempotency key."""
        return next(iter(self._found("key = ?", key)), None)

    def reversal_of(self, number: int) -> Transaction | None:
        """The transaction that undid this one."""
        return next(iter(self._found("reverses = ?", number)), None)

    def balances(self, account: str) -> Balances:
        """What a customer account has; nothing for an unknown one."""
        rows = self._connection.rows(
            "select ledger, amount from balance where account = ?", account
        )
        return Balances(
            {Ledger(ledger): amount for ledger, amount in rows if ledger in OF_CUSTOMER}
        )

    def all_balances(self) -> dict[tuple[str, str], int]:
        """What is kept of every ledger and account, or part of a shared ledger."""
        rows = self._connection.rows("select ledger, account, amount from balance")
        return {(ledger, account): amount for ledger, account, amount in rows}

    def corrected_at(self, account: str) -> float | None:
        """When something of an account was reversed last, Unix time; None: never."""
        [(recorded_ms,)] = self._connection.rows(
            "select max(recorded_ms) from journal where account = ? and kind = ?",
            *(account, Kind.REVERSAL),
        )
        return None if recorded_ms is None else recorded_ms / 1000

    def corrected(self, account: str) -> int:
        """Number of the last transaction that reversed something of an account; 0: none did."""
        [(number,)] = self._connection.rows(
            "select max(number) from journal where account = ? and kind = ?",
            *(account, Kind.REVERSAL),
        )
        return number or 0

    def part(self, ledger: Ledger, part: str) -> int:
        """What one part of a shared ledger has: of ``suspense`` what came for an account."""
        row = self._connection.row(
            "select amount from balance where ledger = ? and account = ?", ledger, part
        )
        return row[0] if row else 0

    def balance_sums(self) -> dict[Ledger, int]:
        """What each ledger has, over all accounts and parts."""
        rows = self._connection.rows("select ledger, sum(amount) from balance group by ledger")
        return {Ledger(ledger): amount for ledger, amount in rows}

    def totals(self) -> Totals:
        """The journal in a few numbers."""
        number, hash_ = self.head()
        return Totals(transactions=number, hash=hash_, sums=self.balance_sums())

    def _found(self, where: str, *parameters: object) -> list[Transaction]:
        rows = self._connection.rows(
            f"select {RECORD} from journal where {where} order by number",  # noqa: S608
            *parameters,
        )
        return [self._restored(*row) for row in rows]

    def _restored(self, hash_: bytes, *fields: bytes) -> Transaction:
        try:
            return restore([text.decode() for text in fields], hash_)
        except ValueError as error:
            number = fields[0].decode(errors="replace")
            reason = f"transaction {number} cannot be read: {error}"
            raise damaged(self._connection.path, reason) from error


class Journal(JournalReader):
    """The journal for the daemon.  What is posted belongs to the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def post(self, draft: Draft, recorded: float, clock: str) -> Posted:
        """Post ``draft``, unless it is there already.

        ``recorded`` is Unix time, ``clock`` what it is worth (``trusted``, ``holdover``,
        ``unknown``).

        Raises UnbalancedError for a draft that may not be posted, KeyReusedError if its key was
        used for something else, NotReversibleError for a reversal that is none.
        """
        check(draft)
        if draft.reverses is not None:
            if first := self.by_key(draft.key):
                return self._repeated(first, draft)
            self._check_reversal(draft, draft.reverses)
        last, previous = self.head()
        number, recorded_ms = last + 1, milliseconds(recorded)
        fields = record(number, draft, recorded_ms, clock)
        hash_ = link(previous, (text.encode() for text in fields))
        new = self._database.write(
            f"insert into journal ({', '.join(FIELDS)}, hash)"  # noqa: S608
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, ''), ?, ?, ?)"
            " on conflict (key) do nothing",
            *fields,
            hash_,
        )
        if not new and (first := self.by_key(draft.key)):
            return self._repeated(first, draft)
        self._database.write_all(
            "insert into balance (account, ledger, amount) values (?, ?, ?)"
            " on conflict (account, ledger) do update set amount = amount + excluded.amount",
            ((one.account, one.ledger, one.amount) for one in draft.postings),
        )
        effective = milliseconds(draft.effective) / 1000
        kept = draft if draft.effective == effective else replace(draft, effective=effective)
        transaction = Transaction(
            number=number, draft=kept, recorded=recorded_ms / 1000, clock=clock, hash=hash_
        )
        return Posted(transaction, repeated=False)

    def _repeated(self, first: Transaction, draft: Draft) -> Posted:
        if content(first.draft) != content(draft):
            raise KeyReusedError(first)
        return Posted(first, repeated=True)

    def _check_reversal(self, draft: Draft, reverses: int) -> None:
        original = self.transaction(reverses)
        where = f"transaction {reverses} cannot be reversed by {draft.key}"
        if original is None:
            raise NotReversibleError(f"{where}: there is no such transaction")
        if original.draft.kind is Kind.REVERSAL:
            raise NotReversibleError(f"{where}: it is a reversal; post anew what it undid")
        if undone := self.reversal_of(original.number):
            raise NotReversibleError(f"{where}: transaction {undone.number} did it already")
        if not mirrors(draft, original.draft):
            raise NotReversibleError(f"{where}: this is not its mirror; reverse it as a whole")
