"""The commands about money and accounts: what the head-end and the technician may order.

Amounts are yuan as exact decimal text, registers exact decimals in their point's unit, days local
days of the area.  What an amount, a currency or a date means is judged where the order is carried
out: there a refusal has its name and is kept.

Who may order what stands in gateway/north/commands.py.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from gateway.north.words import (
    AccountNumber,
    Amount,
    Day,
    Hash,
    Instant,
    Message,
    Meter,
    Money,
    Order,
    PaymentId,
    Point,
    Sentence,
    TariffId,
    TransactionNumber,
)

TARIFF_TEXT_MAX = 60_000
PolicyName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32),
    Field(description="Name of the row of limits (信用等级)."),
]
Mode = Annotated[
    Literal["prepay_cut", "prepay_agreement", "postpay", "mirror"],
    Field(
        description="Balance kept here, may be disconnected; kept here, never disconnected by"
        " itself; charged here, paid by bill; the meter prepays by itself and is only shown."
    ),
]
Regime = Annotated[
    Literal["statutory", "contract_prepay", "unknown"],
    Field(description="By which rules it may be disconnected.  Unknown: never."),
]
Harm = Literal["ordinary", "vulnerable", "critical", "life_support"]
Registers = Annotated[
    dict[Point, Amount],
    Field(
        max_length=64,
        description="The meter's registers, each in its point's unit; primary values where it is"
        " behind transformers.  Left out: those of its daily freeze (日冻结) of that day.",
    ),
]


class NoCut(Message):
    """Never disconnect, and why."""

    reason: Sentence = Field(min_length=1)
    until: Day | None = Field(None, description="The last day it holds; left out: until removed.")


class TariffFrom(Message):
    """A tariff, from a day on."""

    since: Annotated[Day, Field(description="Its first day.")]
    tariff: TariffId


class Metered(Message):
    """A meter that counts for the account."""

    meter: Meter
    since: Annotated[Day, Field(description="It counts from this day's end on.")]
    start: Registers = Field(default_factory=dict)
    minus: bool = Field(False, description="A sub-meter: its energy is taken off.")


class Agreed(Message):
    """What the contract says beyond the tariff."""

    capacity_kva: Amount | None = None
    demand_kw: Amount | None = None


class AccountOpen(Order):
    """Open an account (开户)."""

    name: Literal["account.open"]
    account: AccountNumber
    opened: Annotated[Day, Field(description="Its first day.")]
    mode: Mode
    regime: Regime = "unknown"
    class_: Harm = Field(
        "ordinary", alias="class", description="How much harm a disconnection would do."
    )
    no_cut: NoCut | None = None
    policy: PolicyName
    tariffs: tuple[TariffFrom, ...] = Field(min_length=1, max_length=16)
    meters: tuple[Metered, ...] = Field(min_length=1, max_length=16)
    contract: Agreed | None = None
    language: Literal["zh", "en"] = "zh"


class AccountChange(Order):
    """Change an account; what is left out stays as it is."""

    name: Literal["account.change"]
    account: AccountNumber
    version: int = Field(
        ge=1, le=10**9, description="The version that is to be changed: another change may win."
    )
    mode: Mode | None = None
    regime: Regime | None = None
    class_: Harm | None = Field(None, alias="class")
    no_cut: NoCut | None = None
    dispute: bool | None = Field(None, description="A charge is disputed: no disconnection.")
    policy: PolicyName | None = None
    tariff: TariffFrom | None = None
    contract: Agreed | None = None
    contract_since: Day | None = Field(None, description="First day of ``contract``.")
    meter: Metered | None = Field(None, description="One more meter.")
    language: Literal["zh", "en"] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "AccountChange":
        if (self.contract is None) != (self.contract_since is None):
            raise ValueError("contract and contract_since belong together")
        given = self.model_dump(exclude={"name", "account", "version"}, exclude_none=True)
        if not given:
            raise ValueError("nothing to change")
        return self


class AccountClose(Order):
    """Close an account (销户): final reading, last charge, then the remainder."""

    name: Literal["account.close"]
    account: AccountNumber
    day: Annotated[Day, Field(description="The last day that is charged.")]
    final: dict[Meter, Registers] = Field(
        default_factory=dict, max_length=16, description="Each meter's registers at its end."
    )
    refund: Literal["pay_out", "keep"] = Field(
        "keep", description="Pay a remainder out, or keep it on the closed account."
    )


class AccountSwapMeter(Order):
    """A meter was replaced (换表).  The money stays where it is."""

    name: Literal["account.swap_meter"]
    account: AccountNumber
    old: Meter
    new: Meter
    day: Annotated[Day, Field(description="The old one counts up to its end, then the new one.")]
    final: Registers = Field(default_factory=dict, description="The old meter's last registers.")
    start: Registers = Field(default_factory=dict, description="The new meter's first registers.")


class TopUp(Order):
    """Money for an account (购电).  One for an unknown account is kept in suspense."""

    name: Literal["topup"]
    payment: PaymentId
    account: AccountNumber
    amount: Money
    currency: Annotated[str, StringConstraints(min_length=1, max_length=8)] = "CNY"
    channel: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$"),
        Field(description="Where it was paid: counter, wechat, alipay, bank ..."),
    ]
    paid: Annotated[Instant, Field(description="When it was paid.")]


class TopUpReverse(Order):
    """A payment is undone as a whole.  It may come before the payment itself."""

    name: Literal["topup.reverse"]
    payment: PaymentId
    reason: Sentence = Field(min_length=1)


class Adjust(Order):
    """An approved adjustment: the only way for a person to change a balance.

    Those of a day that would put many accounts below zero or their limit are refused with the code
    below_zero, until another key orders the same within 24 hours.
    """

    name: Literal["adjust"]
    account: AccountNumber
    amount: Annotated[Money, Field(description="Yuan; positive is in the customer's favour.")]
    ledger: Literal["prepaid", "debt"] = Field(
        "prepaid", description="The balance itself, or old arrears (negative: more arrears)."
    )
    reason: Sentence = Field(min_length=1)


class TariffPut(Order):
    """A tariff version.  It is never changed: another text needs another version.

    One that holds for days which were charged already, and would put many accounts below zero or
    their limit, is refused with the code below_zero, until another key orders the same within 24
    hours.
    """

    name: Literal["tariff.put"]
    tariff: TariffId
    version: int = Field(ge=1, le=10**9)
    text: Annotated[
        str,
        StringConstraints(min_length=1, max_length=TARIFF_TEXT_MAX),
        Field(description="The tariff file (TOML) with its check vectors."),
    ]


class ReadingRule(Order):
    """What a person knows better than a daily freeze (日冻结).  The freeze itself stays."""

    name: Literal["reading.rule"]
    meter: Meter
    day: Annotated[Day, Field(description="The day at whose end the registers stood so.")]
    action: Literal["accept", "reject", "replace", "estimate"] = Field(
        description="Charge the odd freeze; never charge it; charge these registers instead; the"
        " same, as an estimate until a real reading comes."
    )
    registers: dict[Point, Amount] = Field(
        default_factory=dict,
        max_length=64,
        description="For replace and estimate: the registers, each in its point's unit.",
    )
    reason: Sentence = Field(min_length=1)


class StatementOf(Order):
    """Ask for an account's statement (对账单)."""

    name: Literal["statement"]
    account: AccountNumber
    first: Day | None = Field(None, description="Left out: from the beginning.")
    last: Day | None = Field(None, description="Left out: up to now.")
    skip: int = Field(
        0, ge=0, le=2**53 - 1, description="Leave out so many lines, as the last answer says."
    )


class KnownPayment(Message):
    """A payment as the head-end has it."""

    payment: PaymentId
    account: AccountNumber
    amount: Money


class Reconcile(Order):
    """The head-end's view, to be compared with ours.  A difference is told, never overwritten."""

    name: Literal["reconcile"]
    number: Annotated[TransactionNumber, Field(description="The last transaction it knows.")]
    hash: Hash | None = Field(None, description="That transaction's hash.")
    balances: dict[AccountNumber, Money] = Field(
        default_factory=dict, max_length=500, description="Prepaid balances after ``number``."
    )
    payments: tuple[KnownPayment, ...] = Field((), max_length=500)


class JournalResend(Order):
    """Send transactions of the journal again, however old."""

    name: Literal["journal.resend"]
    first: TransactionNumber
    last: TransactionNumber

    @model_validator(mode="after")
    def _in_order(self) -> "JournalResend":
        if self.last < self.first:
            raise ValueError("last is before first")
        return self


class VoucherIn(Order):
    """An offline voucher (离线购电凭证).  It carries its own signature."""

    name: Literal["voucher"]
    account: Annotated[AccountNumber, Field(description="Who hands it in.")]
    text: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Emergency(Order):
    """Draw the account's emergency credit (应急额度): once until it is repaid."""

    name: Literal["emergency"]
    account: AccountNumber


MoneyOrder = (
    AccountOpen
    | AccountChange
    | AccountClose
    | AccountSwapMeter
    | TopUp
    | TopUpReverse
    | Adjust
    | TariffPut
    | ReadingRule
    | StatementOf
    | Reconcile
    | JournalResend
    | VoucherIn
    | Emergency
)
"""What the cashier carries out."""
