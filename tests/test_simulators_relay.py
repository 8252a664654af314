"""A simulated relay: its table, its scenarios, and the truth it keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645_refusals import RelayRefusal
from protocols.relay import Action
from simulators.relay import TRANSITIONS, SimRelay, State, Stimulus
from simulators.relay_scenarios import (
    NORMAL,
    SCENARIOS,
    Behaviour,
    ScenarioError,
    behaviour,
)

NOW = 1_795_320_000.0
OPEN = (State.OPEN, State.ALLOWED, State.PRE_TRIP_1, State.PRE_TRIP_2)


def relay(text: str = "normal", *actions: Action) -> SimRelay:
    made = SimRelay(behaviour(text))
    made.advance(NOW)
    for action in actions:
        made.command(action, minutes=30)
    return made


def told(made: SimRelay) -> tuple[bool, bool, bool]:
    """What it says of contact and command, and the truth."""
    return made.told_open, made.commanded_open, made.conducts


# The table of the reference, a line each: what leads there, then trip, allow, close, pre-trip,
# protect on, protect off, power up.  A star is protected, "no" a refusal.
TABLE = {
    (): "open closed closed pre-trip-1 closed* closed closed",
    (Action.PROTECT_ON,): "no closed* closed* no closed* closed closed*",
    (Action.TRIP,): "open allowed closed no allowed* open open",
    (Action.TRIP, Action.ALLOW_CLOSE): "open allowed closed no allowed* allowed allowed",
    (Action.TRIP, Action.PROTECT_ON): "no allowed* closed* no allowed* allowed allowed*",
    (Action.TRIP_THEN_CLOSE,): "open allowed closed pre-trip-1 allowed* pre-trip-1 closed",
    (Action.TRIP_THEN_ALLOW,): "open allowed closed pre-trip-1 allowed* pre-trip-2 allowed",
}
COLUMNS = (
    Action.TRIP, Action.ALLOW_CLOSE, Action.CLOSE, Action.TRIP_THEN_CLOSE, Action.PROTECT_ON,
    Action.PROTECT_OFF,
)  # fmt: skip


@pytest.mark.parametrize(("before", "row"), TABLE.items())
def test_it_follows_the_table(before: tuple[Action, ...], row: str) -> None:
    found = []
    for action in COLUMNS:
        made = relay("normal", *before)
        refused = made.command(action, minutes=30)
        name = made.state.replace(" ", "-") + ("*" if made.protected else "")
        found.append("no" if refused else name)
        assert made.conducts == (made.state not in OPEN)
    made = relay("normal", *before)
    made.power_up(NOW + 1)
    found.append(made.state.replace(" ", "-") + ("*" if made.protected else ""))

    assert found == row.split()


def test_while_it_waits_it_may_be_called_back() -> None:
    waits = "waiting closed closed waiting closed* waiting open"
    found = []
    for action in COLUMNS:
        made = relay("late=600", Action.TRIP)
        assert made.command(action, minutes=30) is None
        found.append(made.state.replace(" ", "-") + ("*" if made.protected else ""))
    made = relay("late=600", Action.TRIP)
    made.power_up(NOW + 1)

    assert [*found, made.state] == waits.split()


def test_every_pair_has_its_entry() -> None:
    assert all(len(row) == len(Stimulus) for row in TRANSITIONS.values())
    assert {node[0] for node in TRANSITIONS} == set(State)


def test_why_it_refuses() -> None:
    protected = relay("protected")

    assert protected.command(Action.TRIP) is RelayRefusal.PROTECTED
    assert protected.command(Action.TRIP_THEN_CLOSE, 5) is RelayRefusal.TIMED_PROTECTED
    tripped = relay("normal", Action.TRIP)
    assert tripped.command(Action.TRIP_THEN_CLOSE, 5) is RelayRefusal.ALREADY_TRIPPED
    assert [each.refused for each in protected.received] == ["protected", "timed_protected"]


def test_the_customer_presses_the_button() -> None:
    made = relay("normal", Action.TRIP)
    made.press(NOW + 10)
    assert told(made) == (True, True, False), "not while it is tripped"

    made.command(Action.ALLOW_CLOSE)
    assert told(made) == (True, False, False)
    made.press(NOW + 20)
    assert told(made) == (False, False, True)
    assert [(each.at - NOW, each.closed, each.cause) for each in made.movements] == [
        (0, False, "trip"),
        (20, True, "button"),
    ]


@pytest.mark.parametrize(
    ("action", "state", "conducts"),
    [
        (Action.TRIP_THEN_CLOSE, State.CLOSED, True),
        (Action.TRIP_THEN_ALLOW, State.ALLOWED, False),
    ],
)
def test_a_timed_trip_ends_by_itself(action: Action, state: State, *, conducts: bool) -> None:
    made = relay("normal", action)

    made.advance(NOW + 1799)
    assert not made.conducts
    made.advance(NOW + 86_400)
    assert (made.state, made.conducts) == (state, conducts)
    if conducts:
        assert made.movements[-1].at == NOW + 1800, "when it was due, not when somebody looked"
        assert made.movements[-1].cause == "time is up"


@pytest.mark.parametrize(
    ("text", "after_trip", "after_close"),
    [
        ("normal", (True, True, False), (False, False, True)),
        ("stuck", (False, True, True), (False, False, True)),
        ("stuck-open", (True, True, False), (True, False, False)),
        ("deaf", (False, False, True), (False, False, True)),
        ("mute", (True, True, False), (False, False, True)),
        ("welded", (True, True, True), (False, False, True)),
        ("external-stuck", (True, True, True), (False, False, True)),
        ("inverted", (False, False, False), (True, True, True)),
        ("inverted,welded", (False, False, True), (True, True, True)),
        ("late", (False, True, True), (False, False, True)),
    ],
)
def test_what_is_wrong_with_it(
    text: str, after_trip: tuple[bool, bool, bool], after_close: tuple[bool, bool, bool]
) -> None:
    made = relay(text, Action.TRIP)
    assert told(made) == after_trip
    made.command(Action.CLOSE)
    assert told(made) == after_close


def test_late_it_trips_at_its_own_time() -> None:
    made = relay("late", Action.TRIP)
    assert made.alarmed

    made.advance(NOW + 1799)
    assert made.conducts
    made.command(Action.TRIP)
    made.advance(NOW + 5000)
    assert [(each.at, each.cause) for each in made.movements] == [(NOW + 1800, "trip")]


def test_back_by_itself() -> None:
    made = relay("back", Action.TRIP)
    made.advance(NOW + 4000)

    assert told(made) == (False, False, True)
    assert (made.movements[-1].at, made.movements[-1].cause) == (NOW + 1200, "by itself")


def test_an_external_breaker_closes_when_it_is_allowed_to() -> None:
    made = relay("external", Action.TRIP, Action.ALLOW_CLOSE)

    assert made.state is State.CLOSED
    assert made.conducts


def test_the_button_after_an_hour() -> None:
    made = relay("button", Action.TRIP, Action.ALLOW_CLOSE)
    made.advance(NOW + 3599)
    assert not made.conducts
    made.advance(NOW + 3601)
    assert (made.movements[-1].at, made.movements[-1].cause) == (NOW + 3600, "button")


def test_voltage_behind_it_keeps_it_open() -> None:
    made = relay("load-side", Action.TRIP)

    assert made.command(Action.CLOSE) is RelayRefusal.SUSPENDED
    assert made.command(Action.ALLOW_CLOSE) is RelayRefusal.SUSPENDED
    made.press(NOW + 1)
    assert not made.conducts


def test_three_wrong_passwords_lock_it_for_a_day() -> None:
    made = relay("locked")

    assert [made.unlocks(right=right) for right in (False, False, True)] == [False, False, True]
    assert [made.unlocks(right=right) for right in (False, False, False)] == [False] * 3
    assert not made.unlocks(right=True)
    made.advance(NOW + 86_400)
    assert made.unlocks(right=True)
    good = relay()
    assert not any(good.unlocks(right=False) for _ in range(50))
    assert good.unlocks(right=True)


def test_scenarios_have_names() -> None:
    assert behaviour("") == NORMAL
    assert behaviour("late=60, welded") == Behaviour(delay_s=60, opens=False, feedback=False)
    assert len({behaviour(name) for name in SCENARIOS}) == len(SCENARIOS)
    drawn = {behaviour("any", f"{n}") for n in range(400)}
    assert drawn == {behaviour(name) for name in SCENARIOS}
    assert behaviour("any", "7") == behaviour("any", "7")
    for wrong in ("weldet", "late=soon", "late=-1", "stuck=3"):
        with pytest.raises(ScenarioError, match=wrong):
            behaviour(wrong)
    with pytest.raises(ScenarioError, match=r"nonsense.*; unknown relay 'rubbish'"):
        behaviour("nonsense,late,rubbish")


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(Action), st.integers(1, 12)),
        st.sampled_from(["press", "power up", "wait"]).map(lambda what: (what, 0)),
    ),
    max_size=30,
)


@given(text=st.sampled_from(SCENARIOS), steps=steps, gaps=st.lists(st.floats(0, 5000)))
def test_the_truth_adds_up(text: str, steps: list[tuple[str, int]], gaps: list[float]) -> None:
    heard: list[tuple[float, bool]] = []
    made = relay(text)
    made.feeds(lambda at, on: heard.append((at, on)))
    now = NOW
    for (what, number), gap in zip(steps, [*gaps, *([60.0] * 30)], strict=False):
        now += gap
        made.advance(now)
        if isinstance(what, Action):
            made.command(what, 5 * number)
        elif what == "press":
            made.press(now)
        elif what == "power up":
            made.power_up(now)
    assert [(each.at, each.closed) for each in made.movements] == heard
    assert [at for at, _ in heard] == sorted(at for at, _ in heard)
    assert all(a[1] != b[1] for a, b in zip([(0.0, True), *heard], heard, strict=False))
    assert made.conducts == (heard[-1][1] if heard else True)
