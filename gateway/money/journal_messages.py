"""The journal as messages: transactions, statements and the daily digest.

Integers of 1/10,000 yuan and Wh become exact decimal text in yuan and kWh here, and nowhere else on
the way up.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, tzinfo

from gateway.acquisition.days import begin_of, end_of
from gateway.north import contract
from gateway.north.contract_money import (
    Digest,
    Journal,
    JournalTransaction,
    LedgerSum,
    Statement,
    StatementLine,
    Unit,
)
from gateway.north.contract_orders import StatementOf
from gateway.north.signatures import Domain, Signer
from gateway.north.strict import canonical
from gateway.prepayment.ledger import Ledger, Transaction, unit_of
from gateway.prepayment.money import yuan
from gateway.prepayment.statement import statement, words
from gateway.store.journal import JournalReader, Totals

PER_MESSAGE = 20
"""Transactions in one message: some 15 kB."""


def kwh(energy_wh: int) -> str:
    """Energy as exact text in kWh, with at least two decimals."""
    whole, rest = divmod(abs(energy_wh), 1000)
    return f"{'-' if energy_wh < 0 else ''}{whole}.{f'{rest:03d}'.rstrip('0').ljust(2, '0')}"


def amount_text(ledger: str, amount: int) -> str:
    """An amount as its ledger counts it."""
    return kwh(amount) if unit_of(ledger) == "Wh" else yuan(amount)


def _unit(ledger: str) -> Unit:
    return "kWh" if unit_of(ledger) == "Wh" else "CNY"


def transaction_message(of: Transaction) -> JournalTransaction:
    """A transaction as the topic ``journal`` carries it."""
    draft = of.draft
    # Validated as one tree: that takes half the time of a model for each posting.
    return JournalTransaction.model_validate(
        {
            "number": of.number,
            "kind": draft.kind.value,
            "key": draft.key,
            "account": draft.account,
            "effective": contract.instant(draft.effective),
            "recorded": contract.instant(of.recorded),
            "clock": of.clock,
            "postings": [
                {
                    "ledger": one.ledger.value,
                    "account": one.account,
                    "unit": _unit(one.ledger),
                    "amount": amount_text(one.ledger, one.amount),
                }
                for one in draft.postings
            ],
            "tariff": draft.tariff,
            "spans": [
                {"meter": one.meter, "after": one.after.isoformat(), "to": one.to.isoformat()}
                for one in draft.spans
            ],
            "reverses": draft.reverses,
            "detail": draft.detail,
            "hash": of.hash.hex(),
        }
    )


def journal_message(
    gateway: str, epoch: str, transactions: Sequence[Transaction]
) -> Callable[[int], Journal]:
    """Transactions as a message of the urgent lane, given its number."""
    messages = tuple(transaction_message(one) for one in transactions)
    return lambda seq: Journal(
        gateway=gateway, epoch=epoch, lane="urgent", seq=seq, transactions=messages
    )


def journal_messages(
    gateway: str, epoch: str, transactions: Sequence[Transaction]
) -> Iterator[Callable[[int], Journal]]:
    """As many messages as it takes."""
    for first in range(0, len(transactions), PER_MESSAGE):
        yield journal_message(gateway, epoch, transactions[first : first + PER_MESSAGE])


def statement_message(journal: JournalReader, asked: StatementOf, zone: tzinfo) -> Statement:
    """The answer to the command ``statement``."""
    first = date.fromisoformat(asked.first) if asked.first else None
    last = date.fromisoformat(asked.last) if asked.last else None
    found = statement(
        asked.account,
        journal.of_account(asked.account),
        since=begin_of(first, zone) if first else None,
        until=end_of(last, zone) if last else None,
        skip=asked.skip,
    )
    return Statement(
        account=asked.account,
        opening=yuan(found.opening_e4),
        closing=yuan(found.closing_e4),
        debt=yuan(journal.balances(asked.account)[Ledger.DEBT]),
        lines=tuple(
            StatementLine(
                number=line.transaction.number,
                kind=line.transaction.draft.kind.value,
                effective=contract.instant(line.transaction.draft.effective),
                amount=yuan(line.amount_e4),
                balance=yuan(line.balance_e4),
                energy=kwh(line.energy_wh) if line.energy_wh else None,
                text=words(line.transaction)[:500],
            )
            for line in found.lines
        ),
        more=found.more,
    )


def digest_message(
    envelope: tuple[str, str, int],
    stamp: tuple[str, contract.Clock],
    day: date,
    accounts: int,
    totals: Totals,
    signer: Signer | None,
) -> Digest:
    """The books at the end of ``day``, signed.

    ``envelope`` is gateway, epoch and number in the urgent lane; ``stamp`` is ``Recorder.stamp``;
    ``accounts`` are open.
    """
    gateway, epoch, seq = envelope
    at, clock = stamp
    digest = Digest(
        gateway=gateway,
        epoch=epoch,
        lane="urgent",
        seq=seq,
        day=day.isoformat(),
        at=at,
        clock=clock,
        accounts=accounts,
        number=totals.transactions,
        head=totals.hash.hex() if totals.transactions else None,
        sums=tuple(
            LedgerSum(ledger=ledger, unit=_unit(ledger), amount=amount_text(ledger, amount))
            for ledger, amount in sorted(totals.sums.items())
        ),
        charged=kwh(totals.charged_wh),
    )
    if signer is None:
        return digest
    message = Domain.DIGEST.message(canonical(contract.encode(digest)))
    return digest.model_copy(update={"signature": signer.sign(message)})
