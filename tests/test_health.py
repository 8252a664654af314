"""When a meter counts as silent, and what all silent ones of a line may cost together."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.health import PROBE_SAVED_S, PROBE_SHARE, Health, ProbeBudget


def test_a_meter_is_silent_after_three_failures_that_span_ten_seconds() -> None:
    health = Health("A1", "east")

    assert [health.bad(now, "gone", lambda: 0.5) for now in (0, 1, 2, 9.9, 10)] == [False] * 4 + [
        True
    ]
    assert health.good(1e9, 0.1)
    assert not health.silent


def test_many_silent_meters_that_are_due_at_once_do_not_get_a_burst() -> None:
    budget = ProbeBudget()

    assert [budget.take(100.0, 1.0) for _ in range(30)] == [True] + [False] * 29


def test_a_probe_that_was_answered_fast_gives_back_what_it_did_not_use() -> None:
    budget = ProbeBudget()
    assert budget.take(100.0, 1.0)
    budget.settle(1.0, 0.1)

    assert budget.take(100.0, 1.0)


@given(seed=st.integers(0, 2**32), timeout_s=st.floats(0.05, 10.0))
def test_probes_never_take_more_than_their_share(seed: int, timeout_s: float) -> None:
    chance, budget = Random(seed), ProbeBudget()
    now = spent_s = 0.0
    for _ in range(300):
        now += chance.uniform(0, 5)
        if budget.take(now, timeout_s):
            busy_s = timeout_s * chance.uniform(0.1, 1.0)
            spent_s += busy_s
            budget.settle(timeout_s, busy_s)

    assert spent_s <= PROBE_SAVED_S + timeout_s + now * PROBE_SHARE
