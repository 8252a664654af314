import pytest

from gateway.acquisition.health import (
    FAILURES,
    PROBE_FAULT_S,
    PROBE_FIRST_S,
    PROBE_LONGEST_S,
    PROBE_SAVED_S,
    PROBE_SHARE,
    SILENT_AFTER_S,
    Health,
    ProbeBudget,
)


def middle() -> float:
    return 0.5


def fail(health: Health, *times: float) -> list[bool]:
    return [health.bad(now, "no reply", middle) for now in times]


def silent() -> Health:
    health = Health("A1", "east")
    assert fail(health, 0.0, 60.0, 120.0) == [False, False, True]
    return health


def test_three_failures_over_ten_seconds_make_a_meter_silent() -> None:
    health = silent()

    assert health.silent
    assert health.reason == "no reply"
    assert health.probe_at == 120.0 + PROBE_FIRST_S


@pytest.mark.parametrize("times", [(0.0, 1.0, 2.0, SILENT_AFTER_S - 1), (0.0, 600.0)])
def test_a_burst_or_a_few_failures_do_not(times: tuple[float, ...]) -> None:
    health = Health("A1", "east")

    assert not any(fail(health, *times))
    assert not health.silent


def test_a_reply_in_between_starts_the_count_anew() -> None:
    health = Health("A1", "east")
    fail(health, *[0.0] * (FAILURES - 1))
    assert not health.good()

    assert not any(fail(health, 100.0, 200.0))
    assert fail(health, 300.0) == [True]


def test_from_the_first_miss_on_it_is_probed_and_not_given_a_second_try() -> None:
    health = Health("A1", "east")
    assert not health.proven, "it was never heard"
    health.good()
    assert health.proven
    assert not health.probed
    fail(health, 100.0)

    assert (health.probed, health.proven, health.silent) == (True, False, False)
    assert health.probe_at == 100.0 + PROBE_FIRST_S


def test_a_sign_of_life_brings_the_next_probe_forward() -> None:
    health = silent()
    fail(health, 200.0, 300.0, 400.0)
    health.stir(401.0)

    assert health.probe_at == 401.0
    fail(health, 402.0)
    assert health.probe_at == 402.0 + 2 * PROBE_FIRST_S


def test_while_the_whole_line_is_silent_the_probes_do_not_become_rare() -> None:
    health = silent()
    health.line_fault = True
    fail(health, *[1000.0] * 10)

    assert health.probe_at == 1000.0 + PROBE_FAULT_S


def test_probes_become_rarer_up_to_a_limit() -> None:
    health = silent()
    pauses = []
    for _ in range(10):
        now = health.probe_at
        assert not health.bad(now, "no reply", middle), "it is silent already"
        pauses.append(health.probe_at - now)

    assert pauses[:3] == [2 * PROBE_FIRST_S, 4 * PROBE_FIRST_S, 8 * PROBE_FIRST_S]
    assert pauses[-1] == PROBE_LONGEST_S


def test_probes_are_jittered_by_a_quarter() -> None:
    early, late = Health("A1", "east"), Health("A2", "east")
    for now in (0.0, 60.0, 120.0):
        early.bad(now, "no reply", lambda: 0.0)
        late.bad(now, "no reply", lambda: 1.0)

    assert early.probe_at == 120.0 + 0.75 * PROBE_FIRST_S
    assert late.probe_at == 120.0 + 1.25 * PROBE_FIRST_S


def test_any_reply_wakes_it_and_the_next_silence_begins_afresh() -> None:
    health = silent()
    fail(health, 200.0, 300.0)

    assert health.good()
    assert not health.good(), "it is told once"
    assert not health.silent
    assert fail(health, 400.0, 460.0, 520.0) == [False, False, True]
    assert health.probe_at == 520.0 + PROBE_FIRST_S
    assert (health.asked, health.answered) == (10, 2)


def test_round_trips_are_smoothed_and_the_last_good_reply_remembered() -> None:
    health = Health("A1", "east")
    assert health.last_good_at is None
    health.replied(1000.0, 0.8)
    assert health.round_trip_s == 0.8
    health.replied(1060.0, 0.0)

    assert health.round_trip_s == pytest.approx(0.7)
    assert health.last_good_at == 1060.0


def test_all_probes_of_a_line_get_a_twentieth_of_its_time() -> None:
    """Thirty silent meters, each probe 1.2 s: whoever may ask, asks."""
    budget = ProbeBudget()
    hours, spent_s = 6, 0.0
    for second in range(hours * 3600):
        for _ in range(30):
            if budget.allows(float(second)):
                budget.spend(1.2)
                spent_s += 1.2

    share = spent_s / (hours * 3600)
    assert 0.9 * PROBE_SHARE < share <= PROBE_SHARE + (PROBE_SAVED_S + 1.2) / (hours * 3600)


def test_a_quiet_night_saves_up_for_a_few_probes_not_for_a_burst() -> None:
    budget = ProbeBudget()
    assert budget.allows(0.0)
    budget.spend(PROBE_SAVED_S)
    assert not budget.allows(0.0)

    in_a_row = 0
    while budget.allows(8 * 3600.0):
        budget.spend(1.0)
        in_a_row += 1
    assert in_a_row == PROBE_SAVED_S


def test_what_a_burst_took_is_paid_back() -> None:
    budget = ProbeBudget()
    assert budget.allows(0.0)
    budget.spend(PROBE_SAVED_S + 30.0)

    assert not budget.allows(30.0 / PROBE_SHARE)
    assert budget.allows(30.0 / PROBE_SHARE + 1.0)
