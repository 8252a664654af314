"""A meter's time tables, from the bytes it sends."""

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645_times as times
from protocols.dlt645_items import find


def sent(di: str, *entries: str | None) -> bytes:
    item = find(di)
    assert item
    return item.encode(entries)


def test_unused_places_repeat_the_last_entry_or_are_empty() -> None:
    zones = ["01-01 #01", "07-01 #02", *["09-15 #01"] * 12]
    table = times.season_table(sent("04010000", *zones))
    assert table[:3] == ((1, 1, 1), (7, 1, 2), (9, 15, 1))
    assert len(table) == 14
    short = bytes.fromhex("010101020107000000FFFFFF")
    assert times.season_table(short) == ((1, 1, 1), (7, 1, 2))
    assert times.day_table(bytes.fromhex("040000023008000000")) == ((0, 4), (510, 2))
    assert times.day_table(bytes.fromhex("040000010024")) == ((0, 4),)


@pytest.mark.parametrize("data", ["", "0101", "01010113", "010113", "013201", "01010A", "000101"])
def test_what_is_no_season_table_is_refused(data: str) -> None:
    with pytest.raises(times.TableError):
        times.season_table(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["", "01006000"[:6], "0100", "010A00", "016000"])
def test_what_is_no_day_table_is_refused(data: str) -> None:
    with pytest.raises(times.TableError):
        times.day_table(bytes.fromhex(data))


def test_holidays_and_rest_days() -> None:
    assert times.holiday(sent("04030001", "2026-10-01 #02")) == (date(2026, 10, 1), 2)
    assert times.holiday(bytes(4)) is None
    with pytest.raises(times.TableError):
        times.holiday(bytes.fromhex("02310226"))
    assert times.rest_days(b"\x7f") == frozenset()
    assert times.rest_days(b"\x3e") == {5, 6}, "Saturday and Sunday"
    assert times.count(bytes.fromhex("5401")) == 154


def test_which_sets_are_in_use() -> None:
    assert times.sets_in_use(bytes.fromhex("0000")) == (1, 1)
    assert times.sets_in_use(bytes.fromhex("2100")) == (2, 2)
    assert times.sets_in_use(bytes.fromhex("2000")) == (2, 1)


@given(st.binary(max_size=45))
def test_no_bytes_do_anything_else_than_be_refused(data: bytes) -> None:
    parsers = (times.season_table, times.day_table, times.holiday, times.rest_days, times.count)
    for parse in (*parsers, times.sets_in_use):
        with contextlib.suppress(times.TableError):
            assert parse(data) is None or data
