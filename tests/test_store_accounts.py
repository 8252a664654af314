import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.prepayment.account_rules import Swap, swap
from gateway.prepayment.alerts import Rung, State
from gateway.store.accounts import Accounts
from gateway.store.database import Database, open_store
from tests.accounts import TOTAL, account, site

NOON = 1_767_268_800.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def test_every_version_is_kept_and_the_last_one_holds(store: Database) -> None:
    accounts = Accounts(store)
    first, second = account(), replace(account(), version=2, dispute=True)

    with store.transaction():
        for one in (first, second, account("K2", ["A2"])):
            accounts.add(one, NOON, "head-end", "c-1")

    assert accounts.current("K1") == second
    assert accounts.version("K1", 1) == first
    assert accounts.version("K1", 3) is None
    assert accounts.current("K9") is None
    assert accounts.all() == {"K1": second, "K2": account("K2", ["A2"])}


def test_the_accounts_of_a_meter_are_those_it_ever_counted_for(store: Database) -> None:
    accounts = Accounts(store)
    done = Swap(old="A1", final={TOTAL: 9}, new="A2", start={TOTAL: 0}, day=date(2026, 3, 10))
    (swapped,) = swap(done, site(account()), date(2026, 3, 10))
    with store.transaction():
        accounts.add(account(), NOON, "head-end", "c-1")
        accounts.add(swapped, NOON, "head-end", "c-2")

    assert accounts.of_meter("A1") == accounts.of_meter("A2") == [swapped]
    assert accounts.of_meter("A3") == []


@pytest.mark.parametrize("version", [1, 3])
def test_versions_have_no_holes(store: Database, version: int) -> None:
    accounts = Accounts(store)
    with store.transaction():
        accounts.add(account(), NOON, "head-end", "c-1")

    with pytest.raises(sqlite3.IntegrityError, match="no holes"), store.transaction():
        accounts.add(replace(account(), version=version), NOON, "head-end", "c-2")

    assert accounts.current("K1") == account()


@pytest.mark.parametrize("sql", ["update account set issuer = 'x'", "delete from account"])
def test_what_was_is_never_changed(store: Database, sql: str) -> None:
    with store.transaction():
        Accounts(store).add(account(), NOON, "head-end", "c-1")

    with pytest.raises(sqlite3.IntegrityError, match="never"), store.transaction():
        store.write(sql)


def test_position_and_alerts_are_replaced(store: Database) -> None:
    accounts = Accounts(store)
    assert (accounts.position("K1"), accounts.alert_state("K1")) == (None, None)
    told = State(-3, {Rung.ALERT_2: 7, Rung.LIMIT: -9})

    with store.transaction():
        for body, state in (('{"a":1}', State(5, {})), ('{"a":2}', told)):
            accounts.set_position("K1", body)
            accounts.set_alert_state("K1", state)

    assert accounts.position("K1") == '{"a":2}'
    assert accounts.alert_state("K1") == told
    assert accounts.alert_state("K2") is None
