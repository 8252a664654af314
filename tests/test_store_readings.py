"""Freezes in the store: once per meter and day, and never changed."""

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from gateway.store.database import Database, open_store
from gateway.store.readings import Freeze, Gap, MeterClock, Readings

DAY = date(2026, 1, 31)
MIDNIGHT = 1_769_875_200.0


def freeze(day: date = DAY, total: int = 1000, meter: str = "A1") -> Freeze:
    return Freeze(
        meter=meter,
        day=day,
        frozen=MIDNIGHT + 86_400.0 * (day - DAY).days,
        taken=MIDNIGHT + 400.0,
        clock="trusted",
        quality="good",
        values={"energy_active_import": total, "energy_active_import_t1": total},
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    entropy = random.Random(1).randbytes
    with open_store(tmp_path / "taiqu.db", lambda: MIDNIGHT, entropy, ballast_bytes=0) as found:
        yield found


def test_a_freeze_is_kept_as_it_was_first_stored(database: Database) -> None:
    readings = Readings(database)
    with database.transaction():
        readings.add(freeze())
    with database.transaction():
        readings.add(freeze(total=2000))

    assert readings.values("A1", DAY) == freeze().values
    assert readings.held(DAY)["A1"].quality == "good"
    assert readings.newest() == [("A1", DAY, MIDNIGHT)]


def test_neighbours_are_the_nearest_days_that_are_stored(database: Database) -> None:
    readings = Readings(database)
    with database.transaction():
        for number in (1, 5, 9, 20):
            readings.add(freeze(date(2026, 1, number)))
        readings.add(freeze(date(2026, 1, 7), meter="A2"))

    found = readings.neighbours("A1", date(2026, 1, 7))

    assert [day.day for day, _ in found] == [5, 9]
    assert [day.day for day, _ in readings.neighbours("A1", date(2026, 1, 1))] == [5]


def test_days_without_a_freeze_are_settled_too(database: Database) -> None:
    readings = Readings(database)
    gap = Gap(meter="A2", day=DAY, kind="absent", reason="it says so", at=MIDNIGHT)
    with database.transaction():
        readings.add(freeze())
        readings.add_gap(gap)
        readings.add_gap(gap)

    assert sorted(readings.settled(DAY)) == [("A1", DAY), ("A2", DAY)]
    assert readings.gaps(DAY) == {"A2": ("absent", "it says so")}


def test_only_the_last_clock_is_kept(database: Database) -> None:
    readings = Readings(database)
    for offset_s in (3.0, -4.0):
        clock = MeterClock(meter="A1", day=DAY, offset_s=offset_s, taken=MIDNIGHT)
        with database.transaction():
            readings.set_clock(clock)

    assert readings.clocks() == {"A1": clock}


def test_what_was_told_can_only_grow_more_complete(database: Database) -> None:
    readings = Readings(database)
    for settled in (False, True):
        with database.transaction():
            readings.set_told(DAY, settled=settled)

    assert readings.told() == {DAY: True}
