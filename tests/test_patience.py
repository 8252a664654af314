"""The timeout that a meter's replies teach."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.patience import LEARN_FROM, MISSES_MAX, ROOM, Patience
from gateway.events import Fault
from tests.line_world import Ask, answer, honest, truth
from tests.line_world import world as make_world

LEAST_S, MOST_S = 0.25, 1.0


def taught(*delays_s: float) -> Patience:
    patience = Patience()
    for delay_s in delays_s:
        patience.replied(delay_s)
    return patience


def test_nothing_is_shortened_before_there_is_something_to_learn_from() -> None:
    patience = taught(*[0.05] * (LEARN_FROM - 1))
    assert patience.timeout_s(LEAST_S, MOST_S) == MOST_S
    patience.replied(0.05)
    assert patience.timeout_s(LEAST_S, MOST_S) == LEAST_S


def test_a_slow_meter_keeps_room() -> None:
    assert taught(*[0.1] * 20, 0.2).timeout_s(LEAST_S, MOST_S) == ROOM * 0.2
    assert taught(*[0.3] * 20).timeout_s(LEAST_S, MOST_S) == MOST_S


def test_one_slow_reply_is_forgotten_in_the_end() -> None:
    patience = taught(0.2, *[0.05] * 100)
    assert patience.timeout_s(LEAST_S, MOST_S) > 0.5
    for _ in range(2000):
        patience.replied(0.05)
    assert patience.timeout_s(LEAST_S, MOST_S) == LEAST_S


def test_misses_double_it_and_a_reply_ends_that() -> None:
    patience = taught(*[0.05] * 20)
    waits = []
    for _ in range(4):
        waits.append(patience.timeout_s(LEAST_S, MOST_S))
        patience.missed()
    assert waits == [0.25, 0.5, 1.0, 1.0]
    patience.replied(0.05)
    assert patience.timeout_s(LEAST_S, MOST_S) == LEAST_S


@given(st.lists(st.none() | st.floats(0, MOST_S)))
def test_it_stays_between_its_bounds_and_never_below_what_was_just_seen(
    history: list[float | None],
) -> None:
    patience = Patience()
    for delay_s in history:
        if delay_s is None:
            patience.missed()
        else:
            patience.replied(delay_s)
        timeout_s = patience.timeout_s(LEAST_S, MOST_S)
        assert LEAST_S <= timeout_s <= MOST_S
        if delay_s is not None:
            assert timeout_s >= min(MOST_S, ROOM * delay_s)
        if patience.misses >= MISSES_MAX:
            assert timeout_s == MOST_S


@given(delays_s=st.lists(st.floats(0.02, 0.99), min_size=1, max_size=60))
def test_a_meter_is_read_however_its_delays_scatter(delays_s: list[float]) -> None:
    """Any reply within the configured second is taken, at the latest by the third try."""
    world = make_world("1", timeout_s=MOST_S, least_timeout_s=LEAST_S)
    waits = iter(delays_s * 4)
    world.behaviour[1] = lambda ask: [(next(waits), answer(ask, truth(ask)))]
    for n in range(len(delays_s)):
        world.job("1", 1 + n, at=1000 + 5 * n)
    world.run(2000)

    assert [done.outcomes[0].fault for done in world.done] == [None] * len(delays_s)
    assert [done.outcomes[0].reply.data for done in world.done] == [  # type: ignore[union-attr]
        truth(Ask(1, 1 + n)) for n in range(len(delays_s))
    ]


def test_a_meter_that_dies_costs_less_than_its_configured_timeouts() -> None:
    world = make_world("1", timeout_s=MOST_S, least_timeout_s=LEAST_S)
    world.behaviour[1] = lambda ask: honest(ask) if ask.item <= 10 else []
    world.job("1", *range(1, 11))
    world.job("1", 11, at=1010)
    world.run(1020)

    done = world.done[1]
    assert done.outcomes[0].fault is Fault.SILENT
    assert done.outcomes[0].tries == 3
    wait_s = ROOM * 0.1
    assert done.busy_s < wait_s + 2 * wait_s + MOST_S + 0.1
