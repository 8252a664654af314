import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.database import Database, open_store
from gateway.store.refusals import Early, Refusal, Refusals

NOON = 1_767_268_800.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def refusal(payment: str, account: str = "K1") -> Refusal:
    return Refusal(
        at=NOON, payment=payment, account=account, code="hoarding_limit", reason="too much"
    )


def test_refusals_are_a_list_that_only_grows(store: Database) -> None:
    refusals = Refusals(store)
    with store.transaction():
        for one in (refusal("P1"), refusal("P2", "K2"), refusal("P1")):
            refusals.add(one)

    assert refusals.last(2) == [refusal("P1"), refusal("P2", "K2")]
    assert refusals.last(9, "K1") == [refusal("P1"), refusal("P1")]
    for sql in ("delete from refused", "update refused set code = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="never"), store.transaction():
            store.write(sql)


def test_an_early_reversal_waits_once(store: Database) -> None:
    refusals = Refusals(store)
    with store.transaction():
        refusals.remember(Early("P1", NOON, '{"reason":"a"}'))
        refusals.remember(Early("P1", NOON + 9, '{"reason":"b"}'))

    assert refusals.early("P1") == Early("P1", NOON, '{"reason":"a"}')
    assert refusals.early("P2") is None
    with store.transaction():
        refusals.forget_early("P1")
    assert refusals.early("P1") is None
