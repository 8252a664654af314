import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.runs import Run, count, gather, subtract

numbers = st.sets(st.integers(1, 40))


def spread(runs: list[Run]) -> list[int]:
    return [number for first, last in runs for number in range(first, last + 1)]


@given(numbers)
def test_runs_stand_for_the_numbers_they_were_made_of(some: set[int]) -> None:
    runs = gather(some)

    assert spread(runs) == sorted(some)
    assert count(runs) == len(some)
    assert all(b[0] - a[1] > 1 for a, b in itertools.pairwise(runs))


@given(numbers, numbers)
def test_subtracting_runs_is_subtracting_sets(some: set[int], others: set[int]) -> None:
    assert spread(subtract(gather(some), gather(others))) == sorted(some - others)
