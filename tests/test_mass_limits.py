import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.mass_limits import (
    LatchError,
    Limits,
    LimitsTextError,
    Load,
    State,
    asked,
    fell_due,
    from_json,
    reconnected,
    refuse,
    release,
    restore_turn,
    sent,
    slot,
    started,
    to_json,
    unsent,
    withdrawn,
)
from tests.switching import DAY, HOUR, NOW

LIMITS = Limits()
READY = State(quiet_from=NOW - DAY)


def rules(state: State, now: float = NOW, accounts: int = 1000) -> list[str]:
    return [rule for rule, _ in refuse(state, LIMITS, accounts, now)]


def cuts(*seconds: float, state: State = READY) -> State:
    for one in seconds:
        state = sent(state, NOW + one)
    return state


def test_three_in_ten_minutes() -> None:
    assert rules(cuts(-599, -300)) == []
    assert rules(cuts(-599, -300, -1)) == ["R21"]
    assert rules(cuts(-600, -300, -1)) == []


def test_ten_in_an_hour_and_a_share_in_a_day() -> None:
    assert rules(cuts(*range(-3500, -600, 300))) == ["R21"]
    assert rules(cuts(-20 * HOUR), accounts=39) == ["R21"]
    assert rules(cuts(-20 * HOUR), accounts=40) == []


def test_a_cut_in_the_future_counts() -> None:
    assert rules(cuts(DAY, DAY, DAY)) == ["R21"]


@given(st.lists(st.integers(0, 100_000), max_size=30), st.integers(1, 400), st.floats(0, 0.999))
def test_slots_never_exceed_a_limit_and_never_latch(
    waits: list[int], accounts: int, draw: float
) -> None:
    state, now, sent_at = READY, NOW, list[float]()
    for wait in waits:
        now += wait
        at = slot(state, LIMITS, accounts, now, draw)
        assert at >= now
        state = asked(state, LIMITS, accounts, at, now)
        sent_at.append(at)
    assert state.latched == ""
    day = max(1, accounts * 5 // 100)
    for window_s, most in ((600, 3), (HOUR, 10), (DAY, day)):
        for begin in sent_at:
            assert sum(begin <= at < begin + window_s for at in sent_at) <= most


def test_five_hundred_at_once_latch() -> None:
    state = READY
    for n in range(500):
        state = asked(state, LIMITS, 10_000, NOW + n / 100, NOW)

    assert rules(state) == ["R22"]
    assert "more than 3 cuts" in state.latched


def test_a_trip_that_is_judged_anew_is_no_second_cut() -> None:
    state = sent(sent(State(), NOW - 60), NOW - 30)
    assert unsent(state, NOW - 30).cut == (NOW - 60,)
    assert unsent(state, NOW) == state


def test_the_delay_is_random_and_a_withdrawn_turn_is_free() -> None:
    assert slot(READY, LIMITS, 100, NOW, 0.5) == NOW + 300
    state = asked(READY, LIMITS, 20, NOW, NOW)
    assert slot(state, LIMITS, 20, NOW, 0.0) == NOW + DAY
    assert slot(withdrawn(state, NOW), LIMITS, 20, NOW, 0.0) == NOW


def test_many_that_fall_due_at_once_latch() -> None:
    state = READY
    for n in range(10):
        state = fell_due(state, LIMITS, 100, NOW + n)
    assert rules(state) == []
    assert rules(fell_due(state, LIMITS, 100, NOW + 10)) == ["R22"]
    spread = READY
    for n in range(50):
        spread = fell_due(spread, LIMITS, 100, NOW + n * HOUR)
    assert spread.latched == ""


def test_two_of_ten_accounts_are_no_mass() -> None:
    state = fell_due(fell_due(READY, LIMITS, 10, NOW), LIMITS, 10, NOW)

    assert state.latched == ""


def test_only_two_persons_or_a_key_at_the_box_release_the_latch() -> None:
    latched = State(latched="500 at once", quiet_from=NOW - DAY)

    with pytest.raises(LatchError, match="found 1 persons"):
        release(latched, ["chen", "chen"], key_at_box=False)
    assert release(latched, ["chen", "wang"], key_at_box=False).latched == ""
    assert release(latched, [], key_at_box=True).latched == ""


def test_after_a_start_and_a_long_outage_it_is_quiet() -> None:
    assert rules(State()) == ["R23"]
    assert rules(started(READY, NOW - 2 * HOUR + 1)) == ["R23"]
    assert rules(started(READY, NOW - 2 * HOUR)) == []
    assert rules(reconnected(READY, LIMITS, 6 * HOUR, NOW)) == ["R23"]
    assert rules(reconnected(READY, LIMITS, 6 * HOUR - 1, NOW)) == []


@given(
    st.lists(st.integers(-90_000, 90_000)),
    st.lists(st.integers(-90_000, 90_000)),
    st.text(max_size=9),
)
def test_a_restart_forgets_nothing(cut: list[int], wanted: list[int], why: str) -> None:
    state = State(
        cut=tuple(NOW + n for n in cut), asked=tuple(NOW + n for n in wanted), latched=why
    )

    assert from_json(to_json(state)) == state
    assert rules(from_json(to_json(state))) == rules(state)


def test_a_damaged_state_is_refused() -> None:
    with pytest.raises(LimitsTextError, match="no state"):
        from_json('{"cut": 1}')


def turn(
    *recent: tuple[float, str], phase: str = "A", load: Load | None = None, since: float = NOW
) -> float:
    return (
        restore_turn([(NOW + at, on) for at, on in recent], phase, since, load, LIMITS, NOW) - NOW
    )


def test_restores_of_one_phase_are_spread() -> None:
    assert turn() == 0
    assert turn((-1, "A")) == 0
    assert turn((-20, "A"), (-10, "A")) == 40
    assert turn((-20, "B"), (-10, "A")) == 0
    assert turn((-20, ""), (-10, "A")) == 40
    assert turn((-20, "B"), (-10, "A"), phase="") == 40
    assert turn((-60, "A"), (-10, "A")) == 0


def test_a_strained_area_pauses_restores_but_not_for_ever() -> None:
    high = Load(age_s=1, current_percent=81, voltage_mv=220_000)
    low = Load(age_s=1, current_percent=10, voltage_mv=197_999)

    assert turn((-1, "B"), load=high) == 30
    assert turn((-1, "B"), load=low) == 30
    assert turn((-1, "B"), load=Load(age_s=121, current_percent=99, voltage_mv=0)) == 0
    assert turn(load=high) == 0
    assert turn((-1, "B"), load=high, since=NOW - 600) == 0
