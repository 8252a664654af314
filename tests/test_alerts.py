from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.account import Policy
from gateway.prepayment.alerts import Rung, State, judge, limits, must_be_kept
from tests.accounts import POLICY, YUAN

ALERT_1, ALERT_2, ZERO, LIMIT = Rung


def walk(*yuans: float, policy: Policy = POLICY, state: State | None = None) -> list[list[Rung]]:
    """The alerts told at each of these balances."""
    told = []
    for yuan in yuans:
        state, alerts = judge(state, int(yuan * YUAN), policy)
        told.append(alerts)
    return told


def test_a_falling_balance_meets_each_rung_once() -> None:
    assert walk(21, 20, 15, 10, 0.01, 0, -4.99, -5, -50) == [
        *([], [ALERT_1], [], [ALERT_2], []),
        *([ZERO], [], [LIMIT], []),
    ]


def test_a_deep_fall_tells_all_in_order() -> None:
    assert walk(30, -6) == [[], [ALERT_1, ALERT_2, ZERO, LIMIT]]


def test_many_small_top_ups_around_a_limit_tell_nothing() -> None:
    assert walk(20, *(20.5, 19.5) * 50, 22, 20) == [[ALERT_1], *[[]] * 102]


def test_above_the_hysteresis_it_is_armed_again() -> None:
    assert walk(20, 22.01, 20) == [[ALERT_1], [], [ALERT_1]]


def test_where_zero_is_the_limit_both_are_told() -> None:
    assert walk(1, 0, policy=replace(POLICY, overdraft_e4=0))[1] == [ZERO, LIMIT]


def test_a_raised_limit_tells_once() -> None:
    state, _ = judge(None, 30 * YUAN, POLICY)
    raised = replace(POLICY, alert_1_e4=40 * YUAN)

    state, alerts = judge(state, 30 * YUAN, raised)
    assert alerts == [ALERT_1]
    assert walk(30, 29, 40, policy=raised, state=state) == [[], [], []]
    assert walk(30, policy=POLICY, state=state) == [[]]


def test_a_lowered_limit_is_told_only_by_a_fall_through_it() -> None:
    state, _ = judge(None, 15 * YUAN, POLICY)
    lowered = replace(POLICY, alert_1_e4=12 * YUAN)

    assert walk(15, 13, 12, policy=lowered, state=state) == [[], [], [ALERT_1]]
    # A limit that passes the balance by itself tells nothing, and back again neither.
    state, alerts = judge(State(15 * YUAN, {ALERT_1: 20 * YUAN}), 11 * YUAN, POLICY)
    assert alerts == []
    assert walk(11, 10.5, policy=lowered, state=state) == [[], []]
    assert walk(15, policy=POLICY, state=State(15 * YUAN, {ALERT_1: 20 * YUAN})) == [[]]


def test_more_overdraft_is_told_when_it_is_used_up() -> None:
    state, alerts = judge(None, -5 * YUAN, POLICY)
    assert LIMIT in alerts
    granted = replace(POLICY, overdraft_e4=20 * YUAN)

    assert walk(-6, -20, -21, policy=granted, state=state) == [[], [LIMIT], []]


balances = st.lists(st.integers(-20 * YUAN, 40 * YUAN), max_size=60)


@given(balances)
def test_between_two_alerts_of_a_rung_lies_a_rise_above_its_hysteresis(walked: list[int]) -> None:
    state = None
    highest: dict[Rung, int] = {}
    for balance_e4 in walked:
        state, alerts = judge(state, balance_e4, POLICY)
        for rung, limit_e4 in limits(POLICY).items():
            if rung in alerts:
                assert balance_e4 <= limit_e4
                if rung in highest:
                    assert highest[rung] > limit_e4 + POLICY.hysteresis_e4
                highest[rung] = balance_e4
            elif rung in highest:
                highest[rung] = max(highest[rung], balance_e4)
            # Nobody stands below a limit untold.
            assert balance_e4 > limit_e4 or rung in state.told_e4


@given(
    st.integers(-20, 40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=20),
)
def test_moved_limits_alone_never_tell_twice(yuan: int, moves: list[tuple[int, int]]) -> None:
    state, told = None, list[Rung]()
    for alert_1, overdraft in moves:
        policy = replace(POLICY, alert_1_e4=alert_1 * YUAN, overdraft_e4=overdraft * YUAN)
        state, alerts = judge(state, yuan * YUAN, policy)
        told += alerts

    assert len(told) == len(set(told))


@pytest.mark.parametrize("rung", Rung)
def test_a_restart_changes_nothing(rung: Rung) -> None:
    """The state is all there is: judged again, it tells nothing."""
    limit_e4 = limits(POLICY)[rung]
    state, alerts = judge(None, limit_e4, POLICY)

    assert rung in alerts
    assert judge(State(state.balance_e4, dict(state.told_e4)), limit_e4, POLICY) == (state, [])


@given(
    st.lists(st.tuples(st.integers(-20, 40), st.sampled_from((0, 5, 12))), max_size=30),
)
def test_what_need_not_be_kept_changes_no_alert(history: list[tuple[int, int]]) -> None:
    """Balances, and a first limit that is moved meanwhile."""
    every: State | None = None
    kept: State | None = None
    for yuan, lower in history:
        policy = replace(POLICY, alert_1_e4=(20 - lower) * YUAN, alert_2_e4=8 * YUAN)
        every, told = judge(every, yuan * YUAN, policy)
        state, again = judge(kept, yuan * YUAN, policy)
        assert told == again
        kept = state if must_be_kept(kept, state) else kept
