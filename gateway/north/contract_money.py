"""What goes up about money: every transaction of the journal, warnings, the daily digest.

Amounts are yuan, energy is kWh, both exact decimals as text.  All of it is numbered, in the urgent
lane: the outbox never sheds it before it is acknowledged.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.north.words import (
    AccountNumber,
    Clock,
    Day,
    Energy,
    Fact,
    Hash,
    Id,
    Instant,
    Message,
    Meter,
    Money,
    MoneyOrEnergy,
    Numbered,
    PaymentId,
    Sentence,
    Signature,
    TransactionNumber,
)

LedgerName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_]{1,32}$"),
    Field(description="Where money or energy stands: prepaid, debt, cash, revenue, metered ..."),
]
Unit = Annotated[Literal["CNY", "kWh"], Field(description="Of the amount: yuan or kWh.")]
Text = Annotated[str, StringConstraints(max_length=8192)]
Kind = Annotated[
    Literal["top_up", "charge", "fee", "emergency", "adjustment", "refund", "transfer", "reversal"],
    Field(description="What the transaction is about."),
]


# --- the journal ----------------------------------------------------------------------------------


class JournalPosting(Message):
    """One line of a transaction."""

    ledger: LedgerName
    account: Annotated[str, StringConstraints(max_length=64)] = Field(
        "", description="The account's number; for a shared ledger a part of it, or empty."
    )
    unit: Unit
    amount: MoneyOrEnergy


class JournalSpan(Message):
    """The daily freezes that a charge lies between."""

    meter: Meter
    after: Day
    to: Day


class JournalTransaction(Message):
    """One transaction (流水): its postings sum to zero in each unit.  It is never changed.

    What is hashed (gateway/prepayment/chain.py) can be made of it again, so whoever keeps the
    messages can follow the chain.
    """

    number: TransactionNumber
    kind: Kind
    key: Annotated[str, StringConstraints(max_length=200)] = Field(
        description="Idempotency key: one key, one transaction, for ever."
    )
    account: Annotated[str, StringConstraints(max_length=64)] = ""
    effective: Annotated[Instant, Field(description="When it became true.")]
    recorded: Annotated[Instant, Field(description="When it was posted.")]
    clock: Clock
    postings: tuple[JournalPosting, ...]
    tariff: Annotated[str, StringConstraints(max_length=100)] = Field(
        "", description="``id/version`` of the tariff."
    )
    spans: tuple[JournalSpan, ...] = ()
    reverses: TransactionNumber | None = None
    detail: Text = Field("{}", description="Canonical JSON: what derives it again.")
    hash: Hash


class Journal(Numbered):
    """Transactions as they were posted, in order.  Lane urgent."""

    transactions: tuple[JournalTransaction, ...] = Field(min_length=1)


# --- events ---------------------------------------------------------------------------------------


class LowBalance(Fact):
    """A balance has fallen through a limit; told once for each time it does."""

    code: Literal["low_balance"] = "low_balance"
    account: AccountNumber
    level: Literal["alert_1", "alert_2", "zero", "limit"] = Field(
        description="The lowest limit crossed: the alerts (报警金额 1, 2), nothing left, overdraft"
        " (透支) used up."
    )
    balance: Money
    days_left: int | None = Field(
        None, ge=0, description="At the present use; left out where too little is known of it."
    )
    lasts_days: int | None = Field(None, ge=1, description="``top_up`` lasts so many days more.")
    top_up: Money | None = None


class AccountEvent(Fact):
    """An account was opened, changed or closed."""

    code: Literal["account"] = "account"
    account: AccountNumber
    what: Literal["opened", "changed", "closed", "meter_swapped"]
    version: int = Field(ge=1)
    by: Annotated[str, StringConstraints(max_length=100)] = Field(description="Who ordered it.")
    detail: Sentence = ""


class MoneyRefused(Fact):
    """An order about money was refused, and changed nothing."""

    code: Literal["money_refused"] = "money_refused"
    command: Id
    name: Annotated[str, StringConstraints(max_length=32)] = Field(description="What it asked for.")
    account: AccountNumber | None = None
    payment: PaymentId | None = None
    reason: Sentence


MoneyFact = LowBalance | AccountEvent | MoneyRefused


# --- statement, digest ----------------------------------------------------------------------------


class StatementLine(Message):
    """One transaction as the customer sees it."""

    number: TransactionNumber
    kind: Kind
    effective: Instant
    amount: Annotated[Money, Field(description="Change of the prepaid balance.")]
    balance: Annotated[Money, Field(description="Afterwards.")]
    energy: Energy | None = Field(None, description="What was charged for.")
    text: Sentence = ""


class Statement(Message):
    """The answer to the command ``statement``: the ``data`` of its result.

    In the order in which the transactions became true.
    """

    account: AccountNumber
    opening: Annotated[Money, Field(description="Balance before the first line.")]
    closing: Annotated[Money, Field(description="Balance after the last line.")]
    debt: Annotated[Money, Field(description="Old arrears now; negative is owed.")] = "0.00"
    lines: tuple[StatementLine, ...]
    more: int | None = Field(
        None, description="There are more lines: ask again with this ``skip``."
    )


class LedgerSum(Message):
    """The sum of a ledger over all accounts."""

    ledger: LedgerName
    unit: Unit
    amount: MoneyOrEnergy


class Digest(Numbered):
    """The books at a day's end, signed by the gateway.  Daily, retained.  Lane urgent.

    Signed like a command, with ``taiqu/v1/digest`` as the first line; the public key stands in
    inventory and hello.
    """

    day: Day
    at: Instant
    clock: Clock
    accounts: int = Field(ge=0, description="Accounts that are open.")
    number: int = Field(ge=0, description="The last transaction; 0 while there is none.")
    head: Hash | None = Field(None, description="Its hash: the head of the chain.")
    sums: tuple[LedgerSum, ...] = Field(description="Over the whole journal; each unit sums to 0.")
    charged: Annotated[Energy, Field(description="Energy charged so far, all accounts.")]
    signature: Signature | None = None
