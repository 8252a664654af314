import time

import pytest

from gateway.clock import EARLIEST, ClockState, SystemClock, judge
from tests.world import START, SimClock

YEAR_S = 365 * 86_400.0


def unsynchronised(now: float) -> SimClock:
    clock = SimClock(now)
    clock.synced = False
    return clock


@pytest.mark.parametrize(
    ("now", "floor", "state"),
    [
        (START + YEAR_S, START, ClockState.HOLDOVER),
        (START + YEAR_S, START + YEAR_S, ClockState.HOLDOVER),
        (START + YEAR_S, START + YEAR_S + 1, ClockState.UNKNOWN),
        (0.0, START, ClockState.UNKNOWN),
    ],
)
def test_an_unsynchronised_clock_is_worth_what_has_certainly_not_passed(
    now: float, floor: float, state: ClockState
) -> None:
    assert judge(unsynchronised(now), floor) is state


def test_a_new_gateway_without_a_battery_knows_that_it_is_not_1970() -> None:
    assert judge(unsynchronised(12.0), floor=0.0) is ClockState.UNKNOWN
    assert judge(unsynchronised(EARLIEST), floor=0.0) is ClockState.HOLDOVER


def test_the_operating_systems_word_outweighs_what_we_stored() -> None:
    assert judge(SimClock(START), floor=START + YEAR_S) is ClockState.TRUSTED


def test_the_real_clock_tells_both_times_and_what_the_kernel_thinks() -> None:
    clock = SystemClock()

    before = time.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
    assert clock.now() > EARLIEST
    assert clock.synchronised() in (True, False)


@pytest.mark.parametrize(
    ("answer", "synchronised"), [(0, True), (1, True), (5, False), (-1, False)]
)
def test_the_kernels_answer_is_understood(
    monkeypatch: pytest.MonkeyPatch, answer: int, synchronised: bool
) -> None:
    clock = SystemClock()

    class Kernel:
        """0 is TIME_OK, 1 a leap second ahead, 5 TIME_ERROR, -1 a refusal: adjtimex(2)."""

        @staticmethod
        def adjtimex(_timex: object) -> int:
            return answer

    monkeypatch.setattr(clock, "_libc", Kernel)

    assert clock.synchronised() is synchronised
