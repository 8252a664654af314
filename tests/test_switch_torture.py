"""The torture of switching: many seeds of sixty days, judged from outside.

A seed that fails is replayed by ``python -m tests.switch_torture SEED``.
"""

from collections import Counter

import pytest

from tests.switch_judge import WrongError
from tests.switch_torture import torture

AT_ONCE = 10
"""Seeds of one test, so that a failure is told early."""
SHORT, LONG = range(0, 200, AT_ONCE), range(200, 2200, AT_ONCE)


def several(first: int) -> Counter[str]:
    """What happened in ten seeds."""
    seen: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        try:
            world = torture(seed)
        except WrongError as error:
            pytest.fail(f"{error}\nreplay it: python -m tests.switch_torture {seed}")
        seen.update(world.judge.count)
        seen["power cuts"] += world.power_cuts
        seen["refused"] += sum(world.judge.refused.values())
    return seen


@pytest.mark.parametrize("first", SHORT)
def test_sixty_days_of_everything(first: int) -> None:
    seen = several(first)
    assert min(seen[one] for one in ("trip", "proven", "restore", "power cuts", "refused")) > 0


@pytest.mark.torture
@pytest.mark.parametrize("first", LONG)
def test_sixty_days_of_everything_at_length(first: int) -> None:
    seen = several(first)
    assert min(seen[one] for one in ("trip", "proven", "restore", "power cuts", "refused")) > 0


def test_a_seed_gives_the_same_days_again() -> None:
    one, other = torture(7, days=20), torture(7, days=20)
    assert (one.judge.count, one.events) == (other.judge.count, other.events)
    assert one.judge.refused == other.judge.refused
