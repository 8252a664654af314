"""The relay's procedure against a meter that misbehaves: no restore lost, no trip too many."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.relay import lateness
from gateway.disconnection.relay_table import RESTORING, Signal, State
from tests.meter_bench import FAULTS, TIMES, Bench
from tests.switching import HOUR

LIVES = st.lists(
    st.tuples(st.sampled_from(FAULTS), st.integers(1, 4000), st.booleans()), max_size=8
)


@given(LIVES, LIVES)
def test_whatever_the_meter_does_who_has_paid_gets_supply(
    before: list[tuple[str, int, bool]], after: list[tuple[str, int, bool]]
) -> None:
    bench = Bench()
    bench.meter.fault = before[0][0] if before else "none"
    bench.tell(Signal.WANT_OPEN)
    for fault, seconds, restart in before:
        bench.meter.fault = fault
        bench.run(bench.now + seconds)
        if restart:
            bench.restart()
    assert len(bench.meter.trips) <= bench.judged + 1
    trips = len(bench.meter.trips)

    bench.tell(Signal.WANT_CLOSED)
    for fault, seconds, restart in after:
        bench.meter.fault = fault
        bench.run(bench.now + seconds)
        if restart:
            bench.restart()
    bench.meter.fault = "none"
    bench.run(bench.now + HOUR)

    assert len(bench.meter.trips) == trips
    assert bench.relay.state in (State.CLOSED, State.ALLOWED)
    assert bench.relay.confirmed
    assert not bench.meter.ordered_open
    assert bench.meter.opens_at is None
    assert lateness(bench.relay, bench.now, TIMES) == ""


@given(LIVES)
def test_an_open_relay_is_really_open(lives: list[tuple[str, int, bool]]) -> None:
    bench = Bench()
    bench.tell(Signal.WANT_OPEN)
    for fault, seconds, restart in lives:
        bench.meter.fault = fault
        bench.run(bench.now + seconds)
        if restart:
            bench.restart()
        assert bench.relay.state not in RESTORING
        if bench.relay.state is State.OPEN:
            assert bench.meter.is_open
    assert len(bench.meter.trips) <= 3


def test_each_fault_ends_where_it_should() -> None:
    ends = {}
    for fault in FAULTS:
        bench = Bench()
        bench.meter.fault = fault
        bench.tell(Signal.WANT_OPEN)
        bench.run(2 * HOUR)
        ends[fault] = bench.relay.state

    assert ends == {
        "none": State.OPEN,
        "no reply": State.UNKNOWN,
        "reply lost": State.OPEN,
        "does not move": State.TRIP_FAILED,
        "moves late": State.OPEN,
        "refuses": State.TRIP_FAILED,
        "welded": State.WELD_OR_BYPASS,
    }
