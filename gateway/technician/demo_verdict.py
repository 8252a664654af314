"""Whether the demo was good: what was stored against what arrived, and that against the truth.

Money too: each balance at the head-end against the gateway's own, and both against the price of
what the area has truly used.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from gateway.livestate import State
from gateway.prepayment import ledger as money
from gateway.prepayment.money import yuan
from gateway.store.database import ReadOnly
from gateway.store.journal import JournalReader
from gateway.technician.demo_accounts import Counter
from gateway.technician.demo_books import by_account, expected_e4, prepaid_e4
from gateway.technician.demo_cut import Switched, story
from gateway.technician.demo_site import GATEWAY
from simulators.area import Area
from simulators.ledger import Key, Last, Ledger

MWH_PER_KWH = 1_000_000
TOLERANCE_MWH = 20_000
"""A register's last digit (0.01 kWh), and as much for what a float rounds."""
ROUNDS_S = 45.0
"""In this time every meter has had its turn, more than once."""
WINDOW_S = 120.0
"""A value may have been read so long before its meter's last reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The demo in numbers."""

    meters: int
    """Of which the head-end has a reading."""
    readings_taken: int
    messages_delivered: int
    """Different numbered messages that the head-end has."""
    gaps: int
    """Numbers missing between others that came."""
    duplicates: int
    lost: int
    """Messages that the gateway stored and the head-end does not have."""
    wrong: int
    """Energy registers at the head-end that their meter never showed."""
    seconds: int
    accounts: int
    """Opened by the head-end's orders."""
    balances_wrong: int
    topups_counted_once: int
    """Payments that stand in the journal once, though each was sent several times."""
    journal_unsound: int
    """Numbers of the journal that the head-end misses, or has with two contents."""
    cuts: int
    """Contacts that truly opened."""
    restored: int
    """... and that closed again."""
    wrong_cuts: int
    cut_after_s: int | None
    """From the first warning, the hours before the start included; None: not cut so far."""
    restored_after_s: float | None
    """From the top-up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The numbers, and what is to be said about them."""

    counts: Counts
    complaints: tuple[str, ...] = ()
    """What is not as it should be, a sentence each."""
    cut: tuple[str, ...] = ()
    """The steps of the cut, a line each."""

    @property
    def good(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.complaints

    def told(self) -> str:
        """For a person."""
        counts = self.counts
        numbers = (
            f"{counts.meters} meters, {counts.readings_taken} readings taken,"
            f" {counts.messages_delivered} messages delivered in {counts.seconds} s:"
            f" {counts.lost} lost, {counts.gaps} gaps, {counts.duplicates} repeated,"
            f" {counts.wrong} energy registers wrong;"
            f" {counts.accounts} accounts, {counts.balances_wrong} balances wrong,"
            f" {counts.topups_counted_once} top-ups counted once,"
            f" {counts.journal_unsound} journal entries missing;"
            f" {counts.cuts} cut, {counts.restored} restored, {counts.wrong_cuts} wrongly cut"
        )
        return "\n".join((*self.cut, numbers))


def judge(
    area: Area,
    ledger: Ledger,
    counter: Counter,
    state: State | None,
    database: Path,
    supply: Switched,
    elapsed_s: float,
) -> Verdict:
    """Compare.  Raises StoreError if the gateway has left no database."""
    summary = ledger.summary()
    errors = wrong(area, ledger.meters)
    balances = wrong_balances(area, ledger, counter, database)
    times = counted(ledger, counter)
    unsound = ledger.unsound(GATEWAY)
    counts = Counts(
        meters=summary.meters,
        readings_taken=state["readings_taken"] if state else 0,
        messages_delivered=summary.messages,
        gaps=summary.gaps,
        duplicates=summary.duplicates,
        lost=lost(database, ledger),
        wrong=len(errors),
        seconds=round(elapsed_s),
        accounts=len(counter.opened(ledger)),
        balances_wrong=len(balances),
        topups_counted_once=sum(count == 1 for count in times.values()),
        journal_unsound=len(unsound),
        cuts=supply.cuts,
        restored=supply.restored,
        wrong_cuts=len(supply.wrong),
        cut_after_s=supply.cut_after_s,
        restored_after_s=supply.restored_after_s,
    )
    complaints = [*errors, *balances, *counter.refused(ledger), *supply.wrong, *supply.faults]
    if counts.lost or counts.gaps:
        complaints.append(
            f"{counts.lost} stored messages did not arrive, {counts.gaps} of them between others"
        )
    if unsound:
        numbers = ", ".join(map(str, unsound[:10]))
        complaints.append(f"{len(unsound)} journal entries are missing or changed: {numbers}")
    complaints += [f"payment {p} was counted {n} times" for p, n in times.items() if n != 1]
    missing = sorted(area.meters.keys() - ledger.meters.keys())
    if missing and (elapsed_s > ROUNDS_S or not ledger.meters):
        complaints.append(f"nothing arrived from {', '.join(missing)}")
    return Verdict(counts, tuple(complaints), tuple(story(ledger, counter).told()))


def counted(ledger: Ledger, counter: Counter) -> dict[str, int]:
    """How often each payment stands in the journal; those without an answer so far left out."""
    kept = [one["key"] for posted in by_account(ledger).values() for one in posted]
    return {
        payment: kept.count(f"top_up:{payment}")
        for payment, first in counter.sold.items()
        if first in ledger.results or f"top_up:{payment}" in kept
    }


def wrong_balances(area: Area, ledger: Ledger, counter: Counter, database: Path) -> list[str]:
    """The balances that differ: at the head-end, in the gateway, by the truth."""
    found = []
    posted = by_account(ledger)
    with ReadOnly(database) as connection:
        journal = JournalReader(connection)
        for customer in counter.opened(ledger):
            mine = posted.get(customer.number, [])
            told_e4 = sum(prepaid_e4(one) for one in mine)
            kept_e4 = journal.balances(customer.number)[money.Ledger.PREPAID]
            true_e4 = expected_e4(area, customer, counter.since(customer), mine)
            if not told_e4 == kept_e4 == true_e4:
                found.append(
                    f"account {customer.number}: {yuan(told_e4)} yuan by the journal that arrived,"
                    f" {yuan(kept_e4)} in the gateway, {yuan(true_e4)} by what was truly used"
                )
    return found


def lost(database: Path, ledger: Ledger) -> int:
    """How many of the messages that the gateway numbered did not arrive."""
    with ReadOnly(database) as connection:
        rows = connection.rows(
            "select epoch.epoch, lane, last from lane join epoch on epoch.number = lane.epoch"
        )
    count = 0
    for epoch, name, last in rows:
        key = Key(GATEWAY, epoch, name)
        lane = ledger.lanes.get(key)
        count += len(ledger.missing(key)) + last - (lane.last if lane else 0)
    return count


def wrong(area: Area, meters: dict[str, Last]) -> list[str]:
    """The energy registers whose last value is none that their meter showed at that time."""
    found = []
    for asset, last in meters.items():
        taken_at = datetime.fromisoformat(last.taken).timestamp()
        household = area.meters[asset].household
        highest, lowest = household.energies(taken_at), household.energies(taken_at - WINDOW_S)
        for name, text in last.values.items():
            if name not in highest:
                continue
            shown_mwh = int(Decimal(text) * MWH_PER_KWH)
            low, high = lowest[name] - TOLERANCE_MWH, highest[name] + TOLERANCE_MWH
            if not low <= shown_mwh <= high:
                found.append(
                    f"{asset} {name}: {text} kWh arrived, the meter shows"
                    f" {Decimal(highest[name]) / MWH_PER_KWH} kWh"
                )
    return found
