"""What is kept of switching, and that its record only grows."""

import sqlite3
from pathlib import Path

import pytest

from gateway.disconnection.case import Case, State
from gateway.disconnection.facts import Purpose
from gateway.disconnection.mass_limits import State as Mass
from gateway.disconnection.relay import Relay
from gateway.disconnection.relay_table import State as At
from gateway.prepayment.account import Class, Regime
from gateway.store.database import Database, open_store
from gateway.store.switching import (
    Decided,
    KeptCase,
    KeptRelay,
    Operation,
    Step,
    Switching,
    Underway,
)

DECIDED = Decided(
    at=1.0,
    meter="M1",
    account="K1",
    purpose=Purpose.ARREARS,
    allowed=False,
    dry=True,
    failed=[("clock", "R15", "the gateway's clock is not trusted")],
    journal=7,
    facts="{}",
)
OPERATION = Operation(
    at=2.0,
    meter="M1",
    account="K1",
    action="trip",
    purpose=Purpose.ARREARS,
    cause="round 1",
    operator="00000000",
    decision=1,
    journal=7,
    seen={"energy_active_import": "12.34"},
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_store(tmp_path / "taiqu.db", lambda: 0.0, bytes, ballast_bytes=0)


def test_what_is_kept_is_found_after_a_restart(tmp_path: Path) -> None:
    relay = KeptRelay(
        relay=Relay(meter="M1", state=At.TRIP_SENT, wanted_open=True),
        account="K1",
        purpose=Purpose.SHEDDING,
        command="c1",
        operation=1,
    )
    case = KeptCase(
        case=Case(
            account="K1",
            meter="M1",
            regime=Regime.STATUTORY,
            class_=Class.VULNERABLE,
            state=State.DUE,
            requested_by="chen",
        ),
        limit_e4=-50_000,
        worsened_at=4.5,
    )
    mass = Mass(asked=(1.0,), latched="too many")
    with open_store(tmp_path / "t.db", lambda: 0.0, bytes, ballast_bytes=0) as first:
        store = Switching(first)
        with first.transaction():
            store.set_relay(relay)
            store.set_case(case)
            store.set_mass(mass)
            store.set_order(Underway("c9", "{}", {"shed": ["K1"]}))
    with open_store(tmp_path / "t.db", lambda: 0.0, bytes, ballast_bytes=0) as second:
        store = Switching(second)
        assert store.relay("M1") == relay
        assert store.relays() == [relay]
        assert store.relay("M2") is None
        assert store.case("K1") == case
        assert store.cases() == [case]
        assert store.mass() == mass
        assert store.orders() == [Underway("c9", "{}", {"shed": ["K1"]})]
        with second.transaction():
            store.end_order("c9")
        assert store.order("c9") is None


def test_the_record_of_a_decision_and_its_operation(database: Database) -> None:
    store = Switching(database)
    with database.transaction():
        assert store.add_decision(DECIDED) == 1
        number = store.add_operation(OPERATION)
        store.add_step(number, Step(3.0, "sent", {"frame": "68"}))
        store.add_step(number, Step(4.0, "seen", {"relay": "open"}))

    assert store.decisions("K1") == [
        Decided(
            at=1.0,
            meter="M1",
            account="K1",
            purpose=Purpose.ARREARS,
            allowed=False,
            dry=True,
            failed=[("clock", "R15", "the gateway's clock is not trusted")],
            journal=7,
            facts="{}",
        )
    ]
    assert store.operations("M1") == [(number, OPERATION)]
    assert [step.what for step in store.steps(number)] == ["sent", "seen"]


@pytest.mark.parametrize("table", ["decision", "operation", "operation_step"])
@pytest.mark.parametrize("change", ["update {} set at = 0", "delete from {}"])
def test_r39_the_record_is_never_changed(database: Database, table: str, change: str) -> None:
    store = Switching(database)
    with database.transaction():
        store.add_decision(DECIDED)
        number = store.add_operation(OPERATION)
        store.add_step(number, Step(3.0, "sent", {}))

    with pytest.raises(sqlite3.IntegrityError, match="never changed"), database.transaction():
        database.write(change.format(table))
    assert len(store.steps(number)) == 1
