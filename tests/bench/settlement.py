"""Settlement: how many accounts are charged for a day per second, from the freeze to the flash.

A price by rate and step (阶梯分时) for each; the freezes come in groups, each stored and charged in
one transaction, with the messages to the head-end.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from gateway.acquisition.days import end_of
from gateway.money.prepaid import NIGHT_DAYS
from gateway.store.readings import Freeze
from tests.bench.figures import BenchError, Figure
from tests.money_rig import START, TOTAL, ZONE, Money

TARIFF = Path("config/tariffs/shanghai-home-year-steps-tou.toml")
ACCOUNTS = 500
DAYS = 30
QUICK_DAYS = 6
PER_COMMIT = 50
RATES_WH = (0, 2_900, 0, 1_300)
"""What a day takes, by rate."""


def settlement(*, quick: bool) -> Iterator[Figure]:
    """Charge 500 accounts day by day, then look at their books as each night does."""
    days = QUICK_DAYS if quick else DAYS
    with tempfile.TemporaryDirectory(prefix="taiqu-bench-settlement-") as name:
        money = opened(Path(name))
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for n in range(1, days + 1):
            day = START + timedelta(days=n)
            money.at(day)
            for first in range(0, ACCOUNTS, PER_COMMIT):
                with money.recorder.commit(0.0, live=False):
                    for account in range(first, first + PER_COMMIT):
                        money.readings.add(freeze(account, n, day))
                        money.prepaid.kept(f"M{account}", day)
        spent_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        charges = money.prepaid.journal.head()[0] - ACCOUNTS
        if charges != days * ACCOUNTS:
            raise BenchError(f"{charges} charges of {days * ACCOUNTS} were posted")
        yield Figure(
            bench="settlement",
            figure="daily settlements, time of use x step",
            value=charges / spent_s,
            unit="accounts/s",
            aim=2000,
            better="more",
            detail={
                "settlements": charges,
                "per_commit": PER_COMMIT,
                "includes": "storing the freeze, journal, message, commit with FULL",
                "us_each": round(spent_s / charges * 1e6),
                "cpu_us_each": round(cpu_s / charges * 1e6),
            },
        )
        yield nightly(money, START + timedelta(days=days))
        money.database.close()


def nightly(money: Money, last: date) -> Figure:
    """The books of every account: the second night, when the first has summed up the past."""
    since = last - timedelta(days=NIGHT_DAYS)
    for night in ("first", "second"):
        began = time.perf_counter()
        for account in money.prepaid.accounts.all().values():
            if reason := money.prepaid.settlement.wrong(account, since):
                raise BenchError(f"{night} night, account {account.number}: {reason}")
        spent_s = time.perf_counter() - began
    return Figure(
        bench="settlement",
        figure="nightly look at the books of 500 accounts",
        value=spent_s,
        unit="s",
        detail={"per_account_ms": round(spent_s / ACCOUNTS * 1000, 2)},
    )


def opened(directory: Path) -> Money:
    """A gateway with all accounts open."""
    (directory / "tariffs").mkdir()
    shutil.copy(TARIFF, directory / "tariffs")
    money = Money(directory, meters=ACCOUNTS)
    start = {f"{TOTAL}{rate}": "1" for rate in ("", "_t1", "_t2", "_t3", "_t4")}
    for account in range(ACCOUNTS):
        outcome = money.open(
            f"{account:010d}",
            tariffs=[{"since": START.isoformat(), "tariff": "shanghai-home-year-steps-tou"}],
            meters=[{"meter": f"M{account}", "since": START.isoformat(), "start": start}],
        )
        money.top_up(f"p{account}", "900.00", f"{account:010d}")
        if outcome.stage != "confirmed":
            raise BenchError(outcome.reason)
    return money


def freeze(account: int, n: int, day: date) -> Freeze:
    """What a meter shows after ``n`` days."""
    rates = [1000 + n * (wh + account) // 10 * 10 for wh in RATES_WH]
    values = {f"{TOTAL}_t{rate}": wh for rate, wh in enumerate(rates, 1)}
    return Freeze(
        meter=f"M{account}",
        day=day,
        frozen=end_of(day, ZONE),
        taken=end_of(day, ZONE) + 600,
        clock="trusted",
        quality="good",
        values={TOTAL: 1000 + sum(rates) - 4000} | values,
    )
