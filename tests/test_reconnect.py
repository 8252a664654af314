"""Pauses: random, growing, and long where two gateways fight for one id."""

from random import Random

from gateway.north.reconnect import Reconnect


def make(*brokers: str, seed: int = 1, start_spread_s: float = 0.0) -> Reconnect:
    return Reconnect(
        brokers or ("mqtt://a",),
        Random(seed),
        pause_s=5.0,
        pause_max_s=60.0,
        start_spread_s=start_spread_s,
    )


def pause(plan: Reconnect, now: float) -> float:
    """How long it rests after a failure at ``now``."""
    plan.down(now, taken_over=False)
    due = plan.next_due()
    assert due is not None
    assert plan.wants(due - 0.001) is None
    assert plan.wants(due)
    assert plan.wants(due) is None
    assert plan.next_due() is None
    return due - now


def test_the_first_attempt_is_at_once_unless_many_start_together() -> None:
    assert make().wants(100.0) == "mqtt://a"

    starts = []
    for seed in range(100):
        plan = make(seed=seed, start_spread_s=60.0)
        plan.wants(100.0)
        starts.append(plan.next_due() or 100.0)
    assert max(starts) - min(starts) > 50
    assert all(100 <= at <= 160 for at in starts)


def test_pauses_grow_to_their_bound_and_differ_between_gateways() -> None:
    pauses = []
    for seed in range(50):
        plan = make(seed=seed)
        plan.wants(0.0)
        pauses.append([pause(plan, 1000.0 * n) for n in range(1, 8)])

    firsts, lasts = [p[0] for p in pauses], [p[-1] for p in pauses]
    assert all(1 <= p <= 10 for p in firsts)
    assert all(6 <= p <= 60 for p in lasts)
    assert sum(lasts) > 3 * sum(firsts)
    assert len(set(firsts)) == 50


def test_a_connection_that_held_makes_the_next_failure_a_first_one() -> None:
    plan = make()
    plan.wants(0.0)
    for n in range(1, 8):
        pause(plan, 1000.0 * n)
    plan.up(8000.0)
    assert pause(plan, 8030.0) <= 5

    plan.up(9000.0)
    pause(plan, 9001.0)
    plan.up(9100.0)
    assert pause(plan, 9101.0) > 1


def test_brokers_are_tried_in_turn_and_a_round_is_one_failure() -> None:
    plan = make("a", "b", "c")
    tried = [plan.wants(0.0)]
    now = 0.0
    for _ in range(5):
        plan.down(now, taken_over=False)
        due = plan.next_due()
        assert due is not None
        tried.append(plan.wants(due))
        now = due
    assert tried == ["a", "b", "c", "a", "b", "c"]
    assert now < 2 * 5 + 3 * 10


def test_two_takeovers_in_a_minute_mean_ten_minutes_of_rest() -> None:
    plan = make()
    plan.wants(0.0)
    plan.down(0.0, taken_over=True)
    assert (plan.next_due() or 0) <= 10
    plan.wants(20.0)
    plan.down(59.0, taken_over=True)
    assert plan.next_due() == 659.0

    plan.wants(659.0)
    plan.down(700.0, taken_over=True)
    assert (plan.next_due() or 0) < 800


def test_pauses_do_not_overflow() -> None:
    plan = make()
    plan.wants(0.0)
    assert all(pause(plan, 100.0 * n) <= 60 for n in range(1, 3000))
