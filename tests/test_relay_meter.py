"""The relay's procedure against a meter that misbehaves: no restore lost, no trip too many."""

from dataclasses import dataclass, field
from heapq import heappop, heappush

from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.relay import Effect, Relay, Times, from_json, lateness, step, tick, to_json
from gateway.prepayment.relay_table import RESTORING, Do, Signal, State

TIMES = Times()
HOUR = 3600.0

FAULTS = (
    "none",
    "no reply",  # to anything
    "reply lost",  # carried out, but the reply is lost
    "does not move",
    "moves late",
    "refuses",
    "welded",
)


@dataclass
class Meter:
    """Bits 4 and 6 of its status word, and what it really does."""

    fault: str = "none"
    is_open: bool = False
    ordered_open: bool = False
    opens_at: float | None = None
    trips: list[float] = field(default_factory=list)

    def command(self, now: float, *, trip: bool) -> Signal:
        if self.fault == "no reply":
            return Signal.NO_REPLY
        if self.fault == "refuses":
            return Signal.REFUSED
        self.ordered_open = trip
        if trip:
            self.trips.append(now)
            self.opens_at = now + (1800 if self.fault == "moves late" else 2)
            if self.fault == "does not move":
                self.opens_at, self.ordered_open = None, False
        else:
            self.opens_at = None
        return Signal.NO_REPLY if self.fault == "reply lost" else Signal.ACCEPTED

    def settle(self, now: float) -> None:
        if self.opens_at is not None and now >= self.opens_at:
            self.is_open, self.opens_at = True, None

    def status(self, now: float) -> Signal:
        self.settle(now)
        if self.fault == "no reply":
            return Signal.NO_REPLY
        if self.is_open:
            return Signal.SEEN_OPEN if self.ordered_open else Signal.SEEN_ALLOWED
        return Signal.SEEN_MOVING if self.ordered_open else Signal.SEEN_CLOSED


class Bench:
    """One relay, one meter, and a heap of what happens when."""

    def __init__(self) -> None:
        self.meter, self.relay, self.now = Meter(), Relay(meter="A1"), 0.0
        self.heap: list[tuple[float, int, Effect]] = []
        self.count = self.judged = 0

    def tell(self, signal: Signal) -> None:
        self.relay, effects = step(self.relay, signal, self.now, TIMES)
        for one in effects:
            self.count += 1
            heappush(self.heap, (max(self.now, one.at), self.count, one))

    def run(self, until: float) -> None:
        while self.heap and self.heap[0][0] <= until:
            self.now, _, effect = heappop(self.heap)
            self.carry_out(effect)
        self.now = until

    def carry_out(self, effect: Effect) -> None:
        match effect.do:
            case Do.SEND_TRIP if self.relay.state is not State.TRIP_SENT:
                pass  # overtaken while it waited for the line
            case Do.SEND_TRIP | Do.SEND_CLOSE:
                self.tell(self.meter.command(self.now, trip=effect.do is Do.SEND_TRIP))
            case Do.READ:
                self.tell(self.meter.status(self.now))
            case Do.WATCH_ENERGY:
                status = self.meter.status(self.now)
                grew = status is Signal.SEEN_OPEN and self.meter.fault == "welded"
                still = Signal.GREW if grew else Signal.STILL
                self.tell(still if status is Signal.SEEN_OPEN else status)
            case Do.WAIT if signal := tick(self.relay, self.now):
                self.tell(signal)
            case Do.RECHECK:
                self.judged += 1
                self.tell(Signal.WANT_OPEN)

    def restart(self) -> None:
        """All that was only remembered is gone; what was stored is there."""
        self.heap.clear()
        self.relay = from_json(to_json(self.relay))
        self.tell(Signal.START)
        if self.relay.state in (State.RESTORE_WANTED, State.STUCK_OPEN):
            self.count += 1
            heappush(self.heap, (self.relay.next_at, self.count, Effect(Do.WAIT)))


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
