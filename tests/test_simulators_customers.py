"""Simulated customers: the same by seed; their meters show the truth unless they must not."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from simulators.customers import (
    CAPACITY_WH,
    EXPORT,
    QUIET_DAYS,
    TOTAL,
    Customer,
    Fate,
    Kind,
    customers,
)

START = date(2025, 12, 31)
DAYS = 400


@pytest.fixture(scope="module")
def some() -> list[Customer]:
    return customers(3, 60, START, DAYS)


def test_the_same_seed_makes_the_same_customers(some: list[Customer]) -> None:
    again, other = customers(3, 5, START, DAYS), customers(4, 5, START, DAYS)
    assert [one.readings for one in again] == [one.readings for one in some[:5]]
    assert [one.readings for one in other] != [one.readings for one in some[:5]]


def test_all_that_can_happen_happens(some: list[Customer]) -> None:
    readings = [reading for one in some for reading in one.readings]
    assert {one.kind for one in some} == set(Kind)
    assert {one.fate for one in readings} == set(Fate)
    assert any(one.late_days for one in readings)
    assert any(one.ruled_days for one in readings)
    assert any(len(one.fitted) > 1 for one in some)
    assert any(meter.told_days for one in some for meter in one.fitted)
    rolled = [(a, b) for one in some for a, b in pairwise(good(one)) if b[1] < a[1]]
    assert rolled


def good(one: Customer) -> list[tuple[date, int]]:
    """The totals of its first meter."""
    meter = one.fitted[0].meter
    return [
        (reading.day, reading.shown[TOTAL])
        for reading in one.readings
        if reading.meter == meter and reading.fate is Fate.GOOD
    ]


def test_what_the_meters_counted_is_what_was_used(some: list[Customer]) -> None:
    for one in some:
        used = [one.used_wh(one.start + timedelta(days=n)) for n in range(1, one.days + 1)]
        for name, wh in (
            (TOTAL, sum(sum(day[:4]) for day in used)),
            (f"{TOTAL}_t2", sum(day[1] for day in used)),
            (EXPORT, sum(day[4] for day in used)),
        ):
            if name not in one.fitted[0].start:
                continue
            counted = -one.fitted[-1].start[name] + one.readings[-1].shown[name]
            counted += sum(m.final[name] - m.start[name] for m in one.fitted if m.final)
            assert (counted - wh) % (CAPACITY_WH * one.ratio) == 0, (one.number, name)


def test_rates_sum_up_and_never_fall_but_at_the_top(some: list[Customer]) -> None:
    for one in some:
        for reading in one.readings:
            rates = sum(reading.shown[f"{TOTAL}_t{n}"] for n in range(1, 5))
            assert (reading.shown[TOTAL] - rates) % (CAPACITY_WH * one.ratio) == 0
        for before, after in pairwise(one.readings):
            if before.meter == after.meter:
                grown = (after.shown[TOTAL] - before.shown[TOTAL]) % (CAPACITY_WH * one.ratio)
                assert grown < 8 * 2 * one.daily_wh


def test_what_is_read_is_what_the_fate_says(some: list[Customer]) -> None:
    for one in some:
        for reading in one.readings:
            assert bool(reading.read) is (reading.fate not in (Fate.ABSENT, Fate.SILENT))
            if reading.fate is not Fate.ASTRAY:
                good = reading.fate in (Fate.GOOD, Fate.OFF)
                assert (reading.read == reading.shown) is good
            assert bool(reading.offset_s) is (reading.fate in (Fate.OFF, Fate.ASTRAY))
        last = START + timedelta(days=DAYS - QUIET_DAYS)
        assert all(one.fate is Fate.GOOD for one in one.readings if one.day > last)
