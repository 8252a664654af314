"""The classes of a line: what is urgent goes in order, the rest by shares of time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.shares import QUANTUM_S, WEIGHTS, Shares
from gateway.events import Priority

SHARING = tuple(WEIGHTS)
costs = st.fixed_dictionaries({priority: st.floats(0.01, 2.0) for priority in SHARING})


def first(shares: Shares, waiting: set[Priority]) -> Priority:
    ranks = shares.ranks(waiting)
    return min(ranks, key=lambda each: ranks[each])


def spend(shares: Shares, cost_s: dict[Priority, float], exchanges: int) -> Counter[Priority]:
    """Who used how much while all three always have something to do."""
    used: Counter[Priority] = Counter()
    for _ in range(exchanges):
        turn = first(shares, set(SHARING))
        shares.spent(turn, cost_s[turn])
        used[turn] += cost_s[turn]  # type: ignore[assignment]  # a Counter adds up floats as well
    return used


@given(waiting=st.sets(st.sampled_from(Priority), min_size=1))
def test_the_urgent_go_in_their_order_before_all_that_share(waiting: set[Priority]) -> None:
    turn = first(Shares(), waiting)

    assert turn is min(waiting)


@given(cost_s=costs)
def test_classes_that_are_always_busy_get_their_share_of_the_time(
    cost_s: dict[Priority, float],
) -> None:
    used = spend(Shares(), cost_s, 4000)

    # Ahead or behind by one exchange at most, however unequal the exchanges are.
    one = max(cost_s[each] / WEIGHTS[each] for each in SHARING)
    one += QUANTUM_S / min(WEIGHTS.values())
    progress = [used[each] / WEIGHTS[each] for each in SHARING]
    assert max(progress) - min(progress) <= one + 1e-9


@given(idle_s=st.floats(0, 1e6))
def test_who_was_idle_gets_no_credit_for_it(idle_s: float) -> None:
    shares = Shares()
    assert first(shares, {Priority.POLL}) is Priority.POLL
    shares.spent(Priority.POLL, idle_s)
    assert first(shares, {Priority.POLL}) is Priority.POLL
    shares.spent(Priority.POLL, 1.0)

    used = spend(shares, dict.fromkeys(SHARING, 0.3), 100)

    assert used[Priority.POLL] == pytest.approx(0.75 * 30, abs=1.5)


def test_back_fill_waits_for_its_share_and_then_has_it() -> None:
    shares = Shares()
    waiting = {Priority.POLL, Priority.BACKFILL}
    turns = []
    for _ in range(10):
        turns.append(first(shares, waiting))
        shares.spent(turns[-1], QUANTUM_S)

    assert turns.index(Priority.BACKFILL) in (3, 4)
    assert turns.count(Priority.BACKFILL) == 2
