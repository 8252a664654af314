"""The grid's rows: what is there, and not for ever."""

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from gateway.store.database import Database, open_store
from gateway.store.grid import GridDay, GridRows

DAY = date(2026, 1, 31)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    entropy = random.Random(1).randbytes
    with open_store(tmp_path / "taiqu.db", lambda: 1.8e9, entropy, ballast_bytes=0) as found:
        yield found


def test_a_day_is_what_was_put_last(database: Database) -> None:
    rows = GridRows(database)
    last = GridDay("A1", DAY, there=1 << 99 | 1, absent=1 << 50)
    with database.transaction():
        rows.put(GridDay("A1", DAY, there=1, absent=0))
        rows.put(GridDay("A2", DAY, there=0, absent=0))
        rows.put(last)

    assert rows.all() == [last, GridDay("A2", DAY, 0, 0)]


def test_old_days_are_dropped(database: Database) -> None:
    rows = GridRows(database)
    with database.transaction():
        for day in (29, 30, 31):
            rows.put(GridDay("A1", date(2026, 1, day), there=1, absent=0))
        rows.forget(DAY)

    assert [row.day for row in rows.all()] == [DAY]
