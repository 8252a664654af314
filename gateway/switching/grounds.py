"""What the rows say of an account: for the core's decisions, and for whoever explains them.

Readers are enough, so the command line sees the same as the core does.
"""

from dataclasses import dataclass, replace
from datetime import date, tzinfo
from itertools import islice

from gateway.acquisition.days import end_of
from gateway.disconnection.facts import Money
from gateway.prepayment import rerate
from gateway.prepayment.account import Account, Policy
from gateway.prepayment.ledger import Ledger
from gateway.prepayment.validity import PROVISIONAL, Flag
from gateway.store.journal import JournalReader
from gateway.store.rulings import RulingReader
from gateway.store.switching import KeptCase

CHARGES_MAX = 100
"""Older charges are not looked through for provisional ones: they have been settled long since."""


def money(
    journal: JournalReader, account: Account, policy: Policy, kept: KeptCase | None, waiting: int
) -> Money:
    """What the books say, as far as it costs nothing to know: enough to cancel by.

    ``waiting`` are the messages not acted on yet, each of which may be a top-up.
    """
    balances = journal.balances(account.number)
    owed_e4 = -balances[Ledger.EMERGENCY]
    worsened = [
        at
        for at in (journal.corrected_at(account.number), kept.worsened_at if kept else None)
        if at is not None
    ]
    return Money(
        balance_e4=balances[Ledger.PREPAID],
        emergency_left_e4=0 if owed_e4 > 0 else policy.emergency_e4,
        emergency_owed_e4=max(0, owed_e4),
        debt_e4=max(0, -balances[Ledger.DEBT]),
        limit_e4=policy.limit_e4,
        journal=journal.head()[0],
        top_ups_waiting=waiting,
        worsened_at=max(worsened, default=None),
    )


@dataclass(frozen=True, slots=True)
class Charged:
    """What the newest charges of an account say."""

    provisional_e4: int
    last: date | None
    """The last day with an actual reading."""


def charged(journal: JournalReader, number: str) -> Charged:
    """What the newest charges of an account say; the same as long as nothing is posted."""
    charges = list(islice(rerate.standing(journal.newest(number)), CHARGES_MAX))
    flags = {one.number: rerate.stand(one).flags for one in charges}
    provisional_e4 = sum(
        -posting.amount
        for one in charges
        if flags[one.number] & PROVISIONAL
        for posting in one.draft.postings
        if posting.ledger is Ledger.PREPAID
    )
    actual = [one for one in charges if Flag.ESTIMATED not in flags[one.number]]
    last = max((span.to for one in actual for span in one.draft.spans), default=None)
    return Charged(provisional_e4, last)


def how_known(
    found: Money,
    account: Account,
    charges: Charged,
    journal: JournalReader,
    rulings: RulingReader,
    *,
    wall: float,
    zone: tzinfo,
    priced: bool,
) -> Money:
    """The same, with how well it is known at ``wall`` (Unix time).

    ``priced``: there is a valid tariff.
    """
    last = charges.last
    return replace(
        found,
        provisional_e4=charges.provisional_e4,
        reading_age_s=None if last is None else wall - end_of(last, zone),
        doubts=tuple(_doubts(account.number, last, journal, rulings)),
        tariff_valid=priced,
    )


def _doubts(
    number: str, last: date | None, journal: JournalReader, rulings: RulingReader
) -> list[str]:
    doubts = []
    if reason := rulings.differs(number):
        doubts.append(f"the books differ: {reason}"[:200])
    if rulings.is_again(number):
        doubts.append("its charges are still to be derived again")
    if last and (kept_out := rulings.doubted(number, last)):
        doubts.append(f"{kept_out} readings are kept out")
    if journal.balances(number)[Ledger.UNPRICED]:
        doubts.append("energy without a price")
    return doubts
