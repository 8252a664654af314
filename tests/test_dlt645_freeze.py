"""Whole freeze records: what the mode word puts into them, with AA between the items or without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645_freeze as freeze
from protocols.base import Quality
from protocols.dlt645_items import find

TIME = "00 00 02 01 26"
IMPORT = "29010000 62000000 60000000 03000000 04000000"
DEMAND = "563412 15 03 02 01 26" * 5
POWERS = "563412" * 7 + "563492"


def shown(di: str, mode_word: int, data: str, tariffs: int = 4) -> dict[str, list[str]]:
    found = freeze.decode(di, mode_word, bytes.fromhex(data.replace(" ", "")), tariffs)
    return {
        each: [value.text() or value.quality for value in values] for each, values in found.items()
    }


def test_the_mode_word_says_what_is_frozen() -> None:
    def contents(mode_word: int) -> list[str]:
        return [item.di[4:6] for item in freeze.items("0506FF03", mode_word)]

    assert contents(0) == ["00"]
    assert contents(0x03) == ["00", "01", "02"]
    assert contents(0x10) == ["00", "05", "06", "07", "08"]
    assert contents(0xFF) == [f"{n:02X}" for n in range(0x0B)] + ["10"]
    assert freeze.items("0506FF03", 1)[1].di == "05060103"
    assert freeze.items("05060101", 1) == freeze.items("0508FF01", 1) == ()


def test_items_with_aa_between_them() -> None:
    assert shown("0506FF01", 0x01, f"{TIME} AA {IMPORT} AA") == {
        "05060001": ["2026-01-02 00:00"],
        "05060101": ["1.29", "0.62", "0.60", "0.03", "0.04"],
    }


def test_aa_tells_how_many_tariffs_there_are() -> None:
    few = shown("0506FF01", 0x03, f"{TIME} AA {IMPORT[:17]} AA {IMPORT[:17]} AA", tariffs=4)

    assert few["05060101"] == few["05060201"] == ["1.29", "0.62"]


@pytest.mark.parametrize("end", ["", "AA", "DD"])
def test_items_side_by_side_are_cut_by_their_sizes(end: str) -> None:
    found = shown("0500FF01", 0xA1, f"{TIME} {IMPORT} {DEMAND} {POWERS} {end}")

    assert list(found) == ["05000001", "05000101", "05000901", "05001001"]
    assert found["05000101"][0] == "1.29"
    assert found["05000901"][:2] == ["12.3456", "2026-01-02 03:15"]
    assert (len(found["05000901"]), found["05001001"][-1]) == (10, "-12.3456")


def test_nothing_recorded_is_no_error() -> None:
    assert shown("0506FF01", 0x01, "") == {}


@pytest.mark.parametrize(
    ("mode_word", "data"),
    [
        (0x03, f"{TIME} AA {IMPORT} AA"),
        (0x00, f"{TIME} AA {IMPORT} AA"),
        (0x01, f"{TIME} {IMPORT} 00"),
        (0x01, TIME),
        (0x01, "AA AA AA AA"),
    ],
)
def test_what_does_not_fit_the_mode_word_is_invalid(mode_word: int, data: str) -> None:
    found = shown("0506FF01", mode_word, data)

    assert found
    assert {text for texts in found.values() for text in texts} == {"invalid"}


def test_one_broken_item_spoils_no_other() -> None:
    found = shown("0506FF01", 0x03, f"{TIME} AA {IMPORT[:-2]} AA {IMPORT} AA")

    assert found["05060101"] == ["invalid"]
    assert found["05060201"][0] == "1.29"


def test_the_mode_words_are_items() -> None:
    assert [find(di) is None for di in freeze.MODE_WORDS.values()] == [False] * 8


@given(mode_word=st.integers(0, 255), data=st.binary(max_size=200), tariffs=st.integers(1, 63))
def test_any_bytes_become_values(mode_word: int, data: bytes, tariffs: int) -> None:
    found = freeze.decode("0506FF01", mode_word, data, tariffs)

    assert set(found) in ({item.di for item in freeze.items("0506FF01", mode_word)}, set())
    for values in found.values():
        assert all((v.amount is None) == (v.quality is not Quality.GOOD) for v in values)
