from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.mass_changes import Change, Room, done, falls, proposed, refuse
from gateway.disconnection.mass_limits import Limits, State, from_json, to_json
from tests.switching import DAY, NOW

LIMITS = Limits(below_zero_percent=10, below_zero_accounts=3)
CHANGE = Change(content="a tariff", key="chen", fallen=frozenset(f"K{n}" for n in range(11)))


def reason(state: State, change: Change = CHANGE, accounts: int = 100, now: float = NOW) -> str:
    return refuse(state, change, LIMITS, accounts, now, lambda _: True)


def test_who_falls_below_zero_or_to_the_limit() -> None:
    def after(before_e4: int, after_e4: int, limit_e4: int = -50) -> bool:
        return falls(Room(before_e4, -50), Room(after_e4, limit_e4))

    assert after(0, -1)
    assert after(-1, -50)
    assert after(10, -80)
    assert after(-20, -20, -10), "another row of limits"
    assert not after(0, 0)
    assert not after(-1, -49)
    assert not after(-60, -90)


def test_the_reason_says_how_many_of_how_many_and_what_to_do() -> None:
    assert reason(State()) == (
        "11 of 100 accounts would fall below zero or their limit; for more than 10 a second person"
        " has to order the same within 24 hours"
    )
    first = State(fallen=((NOW - 60, "K50"), (NOW - 60, "K1")))
    assert "beside 1 in the last 24 hours" in reason(first)


def test_two_accounts_are_no_mass_in_a_small_area_and_three_are() -> None:
    two = replace(CHANGE, fallen=frozenset(("K1", "K2")))
    assert reason(State(), two, accounts=4) == ""
    assert reason(State(), CHANGE, accounts=11) != ""


def test_what_is_paid_or_takes_nothing_never_waits() -> None:
    full = State(fallen=tuple((NOW, f"K{n}") for n in range(50)))
    assert reason(full, replace(CHANGE, fallen=frozenset())) == ""


def test_a_tariff_file_of_the_configuration_is_nobodys_word() -> None:
    filed = replace(CHANGE, key="")
    assert reason(proposed(State(), CHANGE, NOW), filed) != ""
    assert reason(proposed(State(), filed, NOW)) != ""


def test_what_waits_survives_the_store() -> None:
    state = proposed(done(State(), replace(CHANGE, content="before"), NOW), CHANGE, NOW)
    assert from_json(to_json(state)) == state


@given(st.lists(st.sampled_from(["chen", "wang"]), max_size=60), st.integers(3, 60))
def test_however_it_is_cut_up_one_person_does_not_pass_the_limit(
    orders: list[str], accounts: int
) -> None:
    state = State()
    alone: set[str] = set()
    for n, key in enumerate(orders):
        change = Change(content=str(n), key=key, fallen=frozenset((f"K{n % accounts}",)))
        at = NOW + n
        if reason(state, change, accounts, at):
            state = proposed(state, change, at)
            other = replace(change, key="li")
            assert reason(state, change, accounts, at)
            assert not reason(state, other, accounts, at)
            state = done(state, other, at)
        else:
            alone |= change.fallen
            state = done(state, change, at)
    assert len(alone) <= max(2, accounts // 10)
    assert not reason(state, replace(CHANGE, fallen=frozenset(("K99",))), 1000, NOW + DAY + 60)
