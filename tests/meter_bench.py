"""A relay's procedure wired to a meter that misbehaves, on simulated time."""

from dataclasses import dataclass, field
from heapq import heappop, heappush

from gateway.disconnection.relay import Effect, Relay, Times, from_json, step, tick, to_json
from gateway.disconnection.relay_table import Do, Signal, State

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

    def __init__(self, now: float = 0.0) -> None:
        self.meter, self.relay, self.now = Meter(), Relay(meter="A1"), now
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
