import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.voucher_window import SIZE, Tries, Window, begin
from gateway.store.database import open_store
from gateway.store.vouchers import Vouchers

NOON = 1_767_268_800.0


@given(st.lists(st.integers(-3, 300), max_size=200))
def test_each_number_is_accepted_at_most_once_in_whatever_order(numbers: list[int]) -> None:
    """Against a model that remembers every number."""
    window, used = Window(), set[int]()
    for number in numbers:
        highest = max(used, default=0)
        fits = max(highest - SIZE, 0) < number <= highest + SIZE and number not in used
        assert (window.problem(number) == "") is fits
        if fits:
            window = window.use(number)
            used.add(number)
        assert window.bitmap.bit_length() <= SIZE
        assert window.highest == max(used, default=0)


@given(st.permutations(range(1, 65)))
def test_sixty_four_vouchers_may_come_in_any_order(order: list[int]) -> None:
    window = Window()
    for number in order:
        window = window.use(number)

    assert window == Window(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("number", "problem"),
    [(10, "too old"), (11, ""), (12, "used"), (74, ""), (138, ""), (139, "too far ahead")],
)
def test_the_edges_of_a_window(number: int, problem: str) -> None:
    window = Window(10, 1 << 1 | 1 << 63)  # 12 and 74 were used

    assert window.problem(number) == ("used" if number == 74 else problem)
    if window.problem(number):
        with pytest.raises(ValueError, match=f"number {number} is"):
            window.use(number)


def test_a_new_key_begins_where_the_others_ended() -> None:
    window = begin([Window(0, 0b101), Window(7)])

    assert window == Window(7)
    assert window.problem(7) == "too old"
    assert begin([]) == Window()


def test_windows_and_tries_are_kept(tmp_path: Path) -> None:
    with open_store(tmp_path / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        vouchers = Vouchers(store)
        assert (vouchers.window("K1", 1), vouchers.tries("K1")) == (Window(), Tries())
        with store.transaction():
            vouchers.set_window("K1", 1, Window(3, 2**63 | 1))
            vouchers.set_tries("K1", Tries(2, NOON))
            vouchers.set_tries("K1", Tries(3, NOON))

        assert vouchers.window("K1", 1) == Window(3, 2**63 | 1)
        assert vouchers.window("K1", 2) == Window(67)
        assert vouchers.window("K2", 1) == Window()
        assert vouchers.tries("K1") == Tries(3, NOON)


def test_five_bad_ones_are_free_then_it_waits_twice_as_long_each_time() -> None:
    tries, waits = Tries(), []
    for _ in range(13):
        tries = tries.failed(NOON)
        waits.append(tries.wait_s(NOON))

    assert waits == [0, 0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert tries.wait_s(NOON + 3599) == 1
    assert tries.wait_s(NOON + 3600) == 0


def test_a_clock_that_is_set_back_makes_nobody_wait_for_years() -> None:
    tries = Tries(5, NOON)

    assert tries.wait_s(0.0) == 60
    assert tries.wait_s(NOON + 1e9) == 0
