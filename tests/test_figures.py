"""The figures of switching, made of a record that was written by hand."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.facts import Purpose
from gateway.disconnection.figures import Restored, Spread, late, spread
from gateway.disconnection.relay import Relay
from gateway.disconnection.relay_table import State as At
from gateway.prepayment import drafts
from gateway.prepayment.ledger import Ledger
from gateway.store.database import Database, open_store
from gateway.store.figures import WRONG, figures
from gateway.store.journal import Journal
from gateway.store.switching import Decided, KeptRelay, Operation, Step, Switching

DAY = 86_400.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_store(tmp_path / "taiqu.db", lambda: 0.0, bytes, ballast_bytes=0)


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_a_spread_names_times_that_were_measured(seconds: list[int]) -> None:
    found = spread(float(one) for one in seconds)
    assert found is not None
    assert {found.p50_s, found.p99_s, found.max_s} <= set(seconds)
    assert found.p50_s <= found.p99_s <= found.max_s == max(seconds)
    for percent, value in ((50, found.p50_s), (99, found.p99_s)):
        assert sum(one <= value for one in seconds) >= math.ceil(percent * len(seconds) / 100)


def test_of_a_hundred_restores_one_may_take_for_ever() -> None:
    assert spread([*range(1, 100), 9000]) == Spread(count=100, p50_s=50, p99_s=99, max_s=9000)
    assert spread([]) is None
    assert spread([-3600.0]) == Spread(count=1, p50_s=0, p99_s=0, max_s=0), "the clock was set back"


def test_what_is_not_proven_yet_is_late_too() -> None:
    assert late([Restored(900, True), Restored(901, False)], [899, 901], 900) == 2


def money(database: Database, account: str, *moves: tuple[float, int]) -> None:
    """Adjustments at so many seconds, in 1/10,000 yuan."""
    with database.transaction():
        for n, (at, amount_e4) in enumerate(moves):
            draft = drafts.adjustment(
                account=account,
                key=f"{account}/{n}",
                effective=at,
                amount_e4=amount_e4,
                ledger=Ledger.PREPAID,
                detail="{}",
            )
            Journal(database).post(draft, at, "trusted")


def operation(
    database: Database,
    at: float,
    action: str,
    *steps: tuple[float, str, dict[str, object]],
    account: str = "K1",
    purpose: Purpose = Purpose.ARREARS,
    dry: bool = False,
) -> None:
    with database.transaction():
        store = Switching(database)
        number = store.add_operation(
            Operation(
                at=at,
                meter=f"M{account}",
                account=account,
                action=action,
                purpose=purpose,
                cause="",
                operator="",
                dry=dry,
            )
        )
        for when, what, data in steps:
            store.add_step(number, Step(when, what, data))


def state(at: float, name: str, since: float | None = None) -> tuple[float, str, dict[str, object]]:
    known: dict[str, object] = {} if since is None else {"wanted_since": since}
    return at, "state", {"state": name} | known


def decided(database: Database, at: float, *failed: tuple[str, str], dry: bool = False) -> None:
    with database.transaction():
        Switching(database).add_decision(
            Decided(
                at=at,
                meter="M1",
                account="K1",
                purpose=Purpose.ARREARS,
                allowed=not failed,
                dry=dry,
                failed=[(code, rule, "") for rule, code in failed],
                journal=1,
                facts="{}",
            )
        )


def test_a_cut_is_measured_from_zero_and_a_restore_from_what_it_was_wanted_for(
    database: Database,
) -> None:
    # Below zero, paid, below again at 500: that is what it was cut for.
    money(database, "K1", (100, -10), (200, 30), (500, -20), (600, -50), (9000, 500))
    operation(database, 2000, "trip", (2001, "sent", {}), state(2400, "open", 2000))
    operation(database, 3000, "trip", state(3100, "trip_failed", 3000), account="K2")
    operation(database, 9001, "allow_close", state(9002, "restore_wanted", 9000))
    operation(
        database,
        9010,
        "allow_close",
        state(9012, "allowed", 9000),
        state(9900, "closed", 9000),
    )
    operation(database, 9500, "close", state(9600, "closed", 9400), purpose=Purpose.ORDER)
    found = figures(database, 0.0, 10_000, 150)
    assert (found.trips, found.cuts, found.restores) == (2, 1, 2)
    assert found.cut == Spread(count=1, p50_s=1900, p99_s=1900, max_s=1900)
    assert found.restore == Spread(count=1, p50_s=12, p99_s=12, max_s=12)
    assert (found.late_restores, found.wrong_cuts, found.waiting) == (1, 0, 0)


def test_a_restore_that_is_owed_still_counts_as_waiting_and_then_as_late(
    database: Database,
) -> None:
    with database.transaction():
        for n, (at, stands) in enumerate(((100.0, At.STUCK_OPEN), (950.0, At.RESTORE_SENT))):
            relay = Relay(meter=f"M{n}", state=stands, wanted_since=at)
            Switching(database).set_relay(KeptRelay(relay=relay))
        held = Relay(meter="M9", state=At.HELD, wanted_since=1.0)
        Switching(database).set_relay(KeptRelay(relay=held))
    found = figures(database, 0.0, 1_050, 900)
    assert (found.waiting, found.late_restores) == (2, 1)


def test_refused_cuts_by_rule_and_wrong_cuts(database: Database) -> None:
    decided(database, 10, ("R13", "calendar"), ("R17", "balance"))
    decided(database, 20, ("R13", "calendar"))
    decided(database, 30, ("R13", "calendar"), dry=True)
    decided(database, 40)
    operation(database, 50, "trip", state(60, "open", 50), (70, WRONG, {"cause": "correction"}))
    found = figures(database, 0.0, 100, 900)
    assert found.refused == (("R13", "calendar", 2), ("R17", "balance", 1))
    assert found.wrong_cuts == 1


@pytest.mark.parametrize("first", [0, 1, 7, 12, 13])
@pytest.mark.parametrize("slice_", [1, 3, 500])
def test_what_is_older_does_not_count(
    database: Database, monkeypatch: pytest.MonkeyPatch, first: int, slice_: int
) -> None:
    monkeypatch.setattr("gateway.store.figures.SLICE", slice_)
    allowed = [n % 3 == 0 for n in range(12)]
    for n, good in enumerate(allowed):
        decided(database, n * DAY, *(() if good else (("R13", "calendar"),)))
        operation(database, n * DAY, "trip", dry=n == 11)
    found = figures(database, first * DAY, 99 * DAY, 900)
    assert found.trips == len(allowed[first:11])
    assert sum(count for _, _, count in found.refused) == allowed[first:].count(False)


def test_what_was_stamped_before_the_clock_was_known_hides_nothing(database: Database) -> None:
    decided(database, 50 * DAY, ("R13", "calendar"))
    decided(database, 5.0, ("R15", "clock"))
    decided(database, 51 * DAY, ("R13", "calendar"))
    operation(database, 50 * DAY, "allow_close", state(50 * DAY + 9, "allowed", 7.0))
    operation(database, 51 * DAY, "allow_close", state(51 * DAY + 9, "allowed", 51 * DAY))
    found = figures(database, 40 * DAY, 52 * DAY, 900)
    assert found.refused == (("R13", "calendar", 2),)
    assert found.restore == Spread(count=1, p50_s=9, p99_s=9, max_s=9)
