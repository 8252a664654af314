"""The journal: how fast it takes transactions, how long a start verifies it, how large it grows."""

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from gateway.prepayment.drafts import Priced, charge, top_up
from gateway.prepayment.ledger import Draft, Ledger, Span
from gateway.store.database import Database, open_store
from gateway.store.journal import Journal
from gateway.store.verify import verify
from tests.bench.figures import BenchError, Figure, quantile

ACCOUNTS = 500
DAYS = 3 * 365
QUICK_DAYS = 60
TOP_UPS = 1000
FIRST_DAY = date(2026, 1, 1)
MIDNIGHT = 1_767_196_800.0
"""The end of the day before, in Shanghai."""


def journal(*, quick: bool) -> Iterator[Figure]:
    """Daily charges of 500 accounts for three years, then top-ups one by one."""
    days = QUICK_DAYS if quick else DAYS
    with tempfile.TemporaryDirectory(prefix="taiqu-bench-journal-") as name:
        path = Path(name) / "taiqu.db"
        with open_store(path, time.time, os.urandom, ballast_bytes=0) as store:
            empty_bytes = size_bytes(store)
            spent_s = post_days(store, days)
            charges = days * ACCOUNTS
            yield Figure(
                bench="journal",
                figure="posted in groups",
                value=charges / spent_s,
                unit="transactions/s",
                better="more",
                detail={"transactions": charges, "per_commit": ACCOUNTS},
            )
            yield Figure(
                bench="journal",
                figure="size",
                value=(size_bytes(store) - empty_bytes) * 365 / charges,
                unit="bytes per account-year",
                detail={"transactions": charges, "postings_each": 5, "indexes": "included"},
            )
            yield verification(store, charges)
            yield top_ups(store)


def post_days(store: Database, days: int) -> float:
    """Charge every account for each day; the seconds it took."""
    journal, began = Journal(store), time.perf_counter()
    for number in range(days):
        with store.transaction():
            for account in range(ACCOUNTS):
                draft = one_charge(f"{account:010d}", number)
                journal.post(draft, MIDNIGHT + 86_400.0 * (number + 1) + 600.25, "trusted")
    return time.perf_counter() - began


def one_charge(account: str, number: int) -> Draft:
    """Five postings: what is left, energy, funds, and the energy itself."""
    day, wh = FIRST_DAY + timedelta(number), 5_000 + number
    return charge(
        account=account,
        key=f"charge:{account}:{day}",
        effective=MIDNIGHT + 86_400.0 * (number + 1),
        priced=Priced(lines_e4={"energy": wh * 5, "funds": wh // 4}, energy_wh=wh),
        tariff="home/3",
        spans=(Span(f"M{account}", day - timedelta(1), day),),
        detail='{"period":"2026-01-01","total_e4":1234567}',
    )


def verification(store: Database, charges: int) -> Figure:
    """What each start does before any money moves: SQLite's own check and ours."""
    began, began_cpu = time.perf_counter(), time.process_time()
    store.rows("pragma quick_check(1)")
    checked_s = time.perf_counter() - began
    if findings := verify(store):
        raise BenchError(f"the journal is not sound: {findings[0]}")
    spent_s = time.perf_counter() - began
    whole = DAYS * ACCOUNTS
    return Figure(
        bench="journal",
        figure="start-up verification of 500 accounts x 3 years",
        value=spent_s * whole / charges,
        unit="s",
        aim=5.0,
        detail={
            "measured_s": round(spent_s, 3),
            "cpu_s": round(time.process_time() - began_cpu, 3),
            "quick_check_s": round(checked_s, 3),
            "transactions": charges,
            "scaled": charges != whole,
        },
    )


def top_ups(store: Database) -> Figure:
    """Each on flash before the next begins."""
    journal, each_s = Journal(store), []
    for number in range(TOP_UPS):
        draft = top_up(
            account=f"{number % ACCOUNTS:010d}",
            key=f"top_up:{number}",
            effective=MIDNIGHT,
            channel="wechat",
            shares_e4={Ledger.PREPAID: 1_000_000},
        )
        began = time.perf_counter()
        with store.transaction():
            journal.post(draft, MIDNIGHT, "trusted")
        store.note_head(began)
        each_s.append(time.perf_counter() - began)
    return Figure(
        bench="journal",
        figure="top-ups, each committed with FULL",
        value=TOP_UPS / sum(each_s),
        unit="top-ups/s",
        better="more",
        detail={
            "p50_ms": round(quantile(each_s, 0.5) * 1000, 3),
            "p99_ms": round(quantile(each_s, 0.99) * 1000, 3),
            "head_file": "written for each",
        },
    )


def size_bytes(store: Database) -> int:
    """What the file needs, without free pages."""
    store.rows("pragma wal_checkpoint(truncate)")
    [(pages,)], [(free,)], [(page_bytes,)] = (
        store.rows(f"pragma {name}") for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * page_bytes
    return used
