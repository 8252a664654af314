"""Accounts, policies and transactions that several tests begin with."""

from collections.abc import Sequence
from datetime import date

from gateway.prepayment.account import Account, Metering, Mode, Policy
from gateway.prepayment.account_rules import Site
from gateway.prepayment.ledger import Balances, Draft, Ledger, Transaction, check

YUAN = 10_000
OPENED = date(2026, 1, 1)
TOTAL = "energy_active_import"

POLICY = Policy(
    name="home",
    alert_1_e4=20 * YUAN,
    alert_2_e4=10 * YUAN,
    hysteresis_e4=2 * YUAN,
    overdraft_e4=5 * YUAN,
    emergency_e4=10 * YUAN,
    guarantee_e4=0,
    grace_days=3,
    hoarding_e4=1000 * YUAN,
    close_allowed_e4=5 * YUAN,
)


def metering(meter: str, since: date = OPENED, *, minus: bool = False) -> Metering:
    return Metering(meter=meter, since=since, start={TOTAL: 1000}, minus=minus)


def account(number: str = "K1", meters: Sequence[str] = ("A1",)) -> Account:
    return Account(
        number=number,
        version=1,
        opened=OPENED,
        mode=Mode.PREPAY_CUT,
        policy="home",
        tariffs=((OPENED, "flat"),),
        meterings=tuple(metering(meter) for meter in meters),
    )


def site(*accounts: Account) -> Site:
    return Site(
        policies=("home",),
        tariffs=("flat", "steps"),
        meters=("A1", "A2", "A3", "A4"),
        accounts={one.number: one for one in accounts},
    )


class Book:
    """A ledger in memory: what the journal would say of one customer account."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []

    def post(self, drafts: Draft | Sequence[Draft]) -> list[Transaction]:
        """Post drafts; one whose key is there already gives the first transaction again."""
        posted = []
        for draft in [drafts] if isinstance(drafts, Draft) else drafts:
            check(draft)
            known = self.by_key(draft.key)
            number = len(self.transactions) + 1
            one = known or Transaction(
                number=number, draft=draft, recorded=0.0, clock="trusted", hash=b""
            )
            self.transactions += [] if known else [one]
            posted.append(one)
        return posted

    def by_key(self, key: str) -> Transaction | None:
        return next((one for one in self.transactions if one.draft.key == key), None)

    def reversed(self, number: int) -> bool:
        return any(one.draft.reverses == number for one in self.transactions)

    def amount(self, ledger: Ledger, account: str) -> int:
        return sum(
            posting.amount
            for one in self.transactions
            for posting in one.draft.postings
            if (posting.ledger, posting.account) == (ledger, account)
        )

    def balances(self, account: str = "K1") -> Balances:
        return Balances({ledger: self.amount(ledger, account) for ledger in Ledger})
