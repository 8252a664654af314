"""The torture of switching: many seeds of sixty days, judged from outside.

A seed that fails is replayed by ``python -m tests.switch_torture SEED``.
"""

from collections import Counter

import pytest

from tests.switch_torture import one, torture

AT_ONCE = 5
"""Seeds of one test, so that a failure is told early, and the cores share them."""
SHORT, LONG = range(0, 200, AT_ONCE), range(200, 2200, AT_ONCE)
EACH = ("trip", "proven", "restore", "power cuts")
"""All of this happens in five seeds."""


def several(first: int) -> Counter[str]:
    """What happened in five seeds."""
    total: Counter[str] = Counter()
    for seed, wrong, seen in map(one, range(first, first + AT_ONCE)):
        if wrong:
            pytest.fail(f"{wrong}\nreplay it: python -m tests.switch_torture {seed}")
        total.update(seen)
    return total


@pytest.mark.parametrize("first", SHORT)
def test_sixty_days_of_everything(first: int) -> None:
    seen = several(first)
    assert min(seen[what] for what in EACH) > 0


@pytest.mark.torture
@pytest.mark.parametrize("first", LONG)
def test_sixty_days_of_everything_at_length(first: int) -> None:
    seen = several(first)
    assert min(seen[what] for what in EACH) > 0


def test_a_seed_gives_the_same_days_again() -> None:
    first, second = torture(7, days=20), torture(7, days=20)
    assert (first.judge.count, first.events) == (second.judge.count, second.events)
    assert first.judge.refused == second.judge.refused
    assert first.digest() == second.digest()
