"""So much a second on average."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.north.pace import Pace


def test_what_is_spent_flows_back_up_to_the_most() -> None:
    pace = Pace(2.0, 4.0)
    pace.refill(10.0)
    pace.spend(4)
    assert pace.due() == pytest.approx(10.5)
    pace.refill(11.0)
    assert (pace.left, pace.due()) == (2.0, None)
    pace.refill(99.0)
    assert pace.left == 4.0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5000)), max_size=100))
def test_no_more_passes_than_the_time_allows(asked: list[tuple[float, int]]) -> None:
    pace, now, passed, largest = Pace(100.0, 100.0), 0.0, 0, 0
    pace.refill(now)
    for wait_s, size in asked:
        now += wait_s
        pace.refill(now)
        if pace.left >= 1:
            pace.spend(size)
            passed, largest = passed + size, max(largest, size)

    assert passed <= 100.0 * (now + 1) + largest + 1e-6
