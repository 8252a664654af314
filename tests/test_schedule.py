import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.schedule import Slot, slot
from tests.world import START


@pytest.mark.parametrize(
    ("into_s", "period_s", "number", "ends_in_s"),
    [
        (0, 900, 0, 900),
        (899, 900, 0, 1),
        (900, 900, 1, 900),
        (1234.5, 900, 1, 565.5),
        (86_399, 86_400, 0, 1),
    ],
)
def test_slots_stand_on_the_clocks_grid(
    into_s: float, period_s: int, number: int, ends_in_s: float
) -> None:
    assert slot(START + into_s, period_s) == Slot(int(START // period_s) + number, ends_in_s)


def test_a_quarter_of_an_hour_begins_at_the_quarter() -> None:
    assert {slot(START + minute * 60, 900).number for minute in range(60)} == {
        int(START // 900) + quarter for quarter in range(4)
    }


@given(st.floats(0, 4e9), st.integers(1, 86_400))
def test_the_next_slot_begins_where_this_one_ends(wall: float, period_s: int) -> None:
    found = slot(wall, period_s)

    assert 0 < found.ends_in_s <= period_s
    assert math.isclose(wall + found.ends_in_s, (found.number + 1) * period_s, abs_tol=1e-5)
    assert slot((found.number + 1) * period_s, period_s).number == found.number + 1
