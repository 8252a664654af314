"""The part of the audit that goes back to the readings: whether each charge follows from them.

    L2   an account or a tariff that was changed after it was stored
    L5   an account that was charged for more or less than its meters counted
    L7   a charge that its readings, its account and its tariff do not give

Each charge is derived again from the very readings that it cites.  Nothing is needed but the file:
no configuration, which may long be another.  Accounts whose charges are to be derived again anyway
(a ruling, a late tariff) are passed over; the daemon does that within seconds while it runs.
"""

from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from gateway.prepayment import rerate
from gateway.prepayment.account import Account, AccountTextError
from gateway.prepayment.audit import Finding, Starts
from gateway.prepayment.ledger import Ledger, Transaction
from gateway.prepayment.money import yuan
from gateway.prepayment.segment import Priced, priced
from gateway.prepayment.settle import Books, Part, begin
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.tariff_reader import TariffError, parse
from gateway.prepayment.validity import ANYTHING, TOTAL
from gateway.store.accounts import AccountReader
from gateway.store.connection import Connection
from gateway.store.faults import StoreDamagedError
from gateway.store.journal import JournalReader
from gateway.store.meter_facts import MeterFactsReader
from gateway.store.rulings import RulingReader
from gateway.store.tariffs import TariffReader

REMEMBERED = 4096
"""Readings: each is wanted for the day that it ends and for the day after it."""


def derivation(file: Connection) -> Iterator[Finding]:
    """What is wrong with the charges, account by account."""
    tariffs: dict[str, list[Tariff]] = {}
    for number, version in AccountReader(file).damaged():
        yield _changed(f"account {number}, version {version}")
    try:
        yield from _tariffs(file, tariffs)
        accounts = AccountReader(file).all()
    except (StoreDamagedError, AccountTextError) as error:
        yield Finding("L7", None, f"no charge can be derived again: {error}")
        return
    books, rulings = _books(file, tariffs), RulingReader(file)
    for account in accounts.values():
        if rulings.is_again(account.number):
            continue
        try:
            found = JournalReader(file).of_account(account.number)
            charges = list(rerate.standing(reversed(found)))[::-1]
            yield from _account(account, charges, books)
        except (StoreDamagedError, ValueError, KeyError, TypeError, AttributeError) as error:
            # What a damaged charge says of itself may be anything at all.
            text = f"account {account.number}: its charges cannot be derived again: {error!r}"
            yield Finding("L7", None, text[:500])


def starts(file: Connection) -> Starts:
    """From which days' ends on each meter counts for each account."""
    found: dict[tuple[str, str], set[date]] = {}
    for account in AccountReader(file).all().values():
        for one in account.meterings:
            found.setdefault((account.number, one.meter), set()).add(one.since)
    return found


def _changed(what: str) -> Finding:
    return Finding("L2", None, f"{what}: it was changed after it was stored")


def _tariffs(file: Connection, tariffs: dict[str, list[Tariff]]) -> Iterator[Finding]:
    """Fill ``tariffs`` with all versions that can be read."""
    for kept in TariffReader(file).all():
        what = f"tariff {kept.id}/{kept.version}"
        try:
            tariff = parse(kept.text)
        except TariffError as error:
            yield _changed(f"{what} cannot be read ({error.problems[0]})")
            continue
        found = tariff.id, tariff.version, tariff.digest, tariff.valid_from
        if found != (kept.id, kept.version, kept.digest, kept.valid_from):
            yield _changed(what)
        tariffs.setdefault(tariff.id, []).append(tariff)


def _books(file: Connection, tariffs: dict[str, list[Tariff]]) -> Books:
    facts = MeterFactsReader(file)

    @lru_cache(REMEMBERED)
    def prices(id_: str, day: date) -> Priced | None:
        return priced(tariffs.get(id_, []), day)

    return Books(
        prices=prices,
        shown=lru_cache(REMEMBERED)(RulingReader(file).shown),
        limits=facts.limits(),
        usual=ANYTHING,
        rates_refused=rerate.refusal(facts.rates_refused()),
    )


def _account(account: Account, charges: list[Transaction], books: Books) -> Iterator[Finding]:
    if not charges:
        return
    found = rerate.derived(account, rerate.Start(0, begin(account), charges), books)
    if found.undo or found.parts:
        yield _differs(account, found)
    used_wh = -sum(
        posting.amount
        for charge in charges
        for posting in charge.draft.postings
        if posting.ledger is Ledger.METERED
    )
    counted_wh, capacity_wh = _counted_wh(account, rerate.stand(charges[-1]).position.day, books)
    missing_wh = counted_wh - used_wh
    # A register that began again at zero shows so much less than it has counted.
    if missing_wh % capacity_wh if capacity_wh else missing_wh:
        text = f"account {account.number}: charged for {used_wh} Wh, its meters counted"
        yield Finding("L5", None, f"{text} {counted_wh} Wh")


def _differs(account: Account, found: rerate.Rerated) -> Finding:
    """The first charge that differs."""
    charge = found.undo[-1] if found.undo else None
    part: Part | None = found.parts[0] if found.parts else None
    text = f"account {account.number}: "
    if charge:
        days = ", ".join(f"{one.meter} to {one.to}" for one in charge.draft.spans)
        text += f"charged {_charged(charge)} for {days}; "
    if part:
        text += f"its readings and tariff give {yuan(sum(part.charged.values()))} to {part.to}"
    elif found.doubts:
        text += f"its readings give none: {found.doubts[0].text}"
    else:
        text += "its readings give none"
    return Finding("L7", charge.number if charge else None, text)


def _charged(charge: Transaction) -> str:
    return yuan(-sum(one.amount for one in charge.draft.postings if one.ledger is Ledger.PREPAID))


def _counted_wh(account: Account, to: date, books: Books) -> tuple[int, int]:
    """What its meters counted up to a day, and where their registers begin again at zero."""
    counted_wh = capacity_wh = 0
    for one in account.meterings:
        if one.since >= to:
            continue
        ended = one.until is not None and one.until <= to
        shown = None if ended else books.shown(one.meter, to)
        last = one.final if ended else shown.registers if shown else {}
        grown_wh = last.get(TOTAL, 0) - one.start.get(TOTAL, 0)
        counted_wh += -grown_wh if one.minus else grown_wh
        if one.meter in books.limits:
            capacity_wh = max(capacity_wh, books.limits[one.meter].capacity_wh)
    return counted_wh, capacity_wh
