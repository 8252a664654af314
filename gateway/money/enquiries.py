"""What is asked about the books and changes nothing: statements, comparisons, old transactions.

Used by the core alone.
"""

from gateway.money.books import Books
from gateway.money.journal_messages import statement_message
from gateway.north import contract_orders as orders
from gateway.orders import Outcome
from gateway.prepayment.ledger import Ledger, Transaction
from gateway.prepayment.money import yuan
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts

RESEND_MAX = 5000
"""Transactions that are sent again in one go."""


class Enquiries:
    """Answers about the books of one gateway."""

    def __init__(self, books: Books, accounts: Accounts, recorder: Recorder) -> None:
        self._books = books
        self._accounts = accounts
        self._recorder = recorder

    def statement(self, order: orders.StatementOf) -> Outcome:
        """An account's statement (对账单)."""
        account = self._accounts.current(order.account)
        if account is None:
            reason = f"no account {order.account} here; `taiqu account list` shows all"
            return Outcome("refused", reason)
        made = statement_message(self._books.journal, order, self._books.zone)
        return Outcome("confirmed", data=made.model_dump(exclude_none=True))

    def resend(self, order: orders.JournalResend) -> Outcome:
        """Send transactions again, however old."""
        last = min(order.last, order.first + RESEND_MAX - 1)
        found = self._books.journal.transactions(order.first, last)
        self._books.tell(found)
        data: dict[str, object] = {"count": len(found)}
        if last < order.last:
            data["next"] = last + 1
        return Outcome("confirmed", data=data)

    def reconcile(self, order: orders.Reconcile) -> Outcome:
        """Compare the head-end's view with ours.  A difference is told, never overwritten."""
        journal = self._books.journal
        head, _ = journal.head()
        known = journal.transaction(order.number)
        data: dict[str, object] = {"number": head}
        if order.hash and known and known.hash.hex() != order.hash:
            data["hash"] = known.hash.hex()
        if order.number > head:
            data["beyond"] = f"our last transaction is {head}"
        data["balances"] = {
            number: yuan(ours_e4)
            for number, theirs in order.balances.items()
            if yuan(ours_e4 := self._balance_after(number, order.number)) != _plain(theirs)
        }
        data["payments"] = [one.payment for one in order.payments if not self._has(one)]
        differs = [name for name in ("hash", "beyond", "balances", "payments") if data.get(name)]
        if differs:
            detail = f"up to transaction {order.number}: {', '.join(differs)}"
            self._recorder.event("books_differ", detail=detail)
        return Outcome("confirmed", data={"differs": differs, **data})

    def _balance_after(self, number: str, last: int) -> int:
        found = self._books.journal.of_account(number)
        return sum(prepaid_e4(one) for one in found if one.number <= last)

    def _has(self, claimed: orders.KnownPayment) -> bool:
        """Whether a payment came here with the same amount for the same account."""
        posted = self._books.journal.by_key(f"top_up:{claimed.payment}")
        if posted is None:
            return False
        cash_e4 = -sum(one.amount for one in posted.draft.postings if one.ledger is Ledger.CASH)
        whom = {one.account for one in posted.draft.postings if one.ledger is not Ledger.CASH}
        return yuan(cash_e4) == _plain(claimed.amount) and claimed.account in whom


def _plain(text: str) -> str:
    """An amount as ``yuan`` writes it: with two decimals at least, none that say nothing."""
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"


def prepaid_e4(transaction: Transaction) -> int:
    """What a transaction did to the prepaid balance."""
    postings = transaction.draft.postings
    return sum(one.amount for one in postings if one.ledger is Ledger.PREPAID)
