"""A line without a wire: a job is answered from the simulated meters of the street.

Each job has its turn after a drawn while, unless that comes too late for it; its commands are made
in that moment, as on a real line.  The answer takes another while.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from gateway.disconnection.relay_table import Signal as Seen
from gateway.events import Fault, Job, JobDone, Outcome, Priority, Timed
from protocols.base import Reply, Request, RequestError
from protocols.dlt645_relay import parse
from protocols.relay import Action
from tests.switch_auditor import Sent
from tests.switch_judge import Judge
from tests.switch_street import Home, Look, Meter

STATUS = "04000503"
VOLTS = 220
J_PER_STEP = 36_000
"""A register counts 0.01 kWh."""
CLOSING = (Action.CLOSE, Action.ALLOW_CLOSE)


class Line:
    """What comes of one job."""

    def __init__(
        self, home: Home, judge: Judge, draw: Random, audit: Callable[[Home, Sent], None]
    ) -> None:
        self._home, self._judge, self._draw, self._audit = home, judge, draw, audit
        self.trips = 0
        """Frames of trips that were on the wire."""
        self.looked: Look | None = None
        """What the gateway will learn with the answer."""

    def wait_s(self) -> float:
        """How long the job waits for its turn."""
        slow = self._draw.random() < 0.03
        return self._draw.uniform(5, 40) if slow else self._draw.uniform(0.05, 3)

    def turn(self, line: str, job: Job, now: float, wall: float) -> JobDone:
        """Do the job at ``now``, by the gateway's clock ``wall``."""
        if job.priority is Priority.RESTORE:
            self._judge.files[self._home.number].owed_from = None  # it was tried
        if now > job.not_after:
            outcomes = [_failed(one, Fault.EXPIRED) for one in job.requests]
        elif isinstance(job.requests[0], Timed):
            outcomes = [self._command(one, now, wall, job.priority) for one in job.requests]
        else:
            outcomes = self._reads(job, now, wall)
        return JobDone(
            line=line, job=job, outcomes=tuple(outcomes), busy_s=0.3, waited_s=self.wait_s()
        )

    # --- reads ----------------------------------------------------------------------------------

    def _reads(self, job: Job, now: float, wall: float) -> list[Outcome]:
        meter = self._home.meter
        found = meter.look(now, self._draw)
        if found is None:
            return [_failed(one, Fault.SILENT) for one in job.requests]
        memory = _memory(meter, found, now)
        outcomes = []
        for one in job.requests:
            di = _di(one)
            if self._draw.random() < 0.005:
                outcomes.append(_failed(one, Fault.DAMAGED))
                meter.damaged[di] = wall
                continue
            outcomes.append(_good(one, memory[di], wall))
            if di == STATUS:
                self.looked = found
        return outcomes

    # --- commands -------------------------------------------------------------------------------

    def _command(
        self, timed: Request | Timed, now: float, wall: float, priority: Priority
    ) -> Outcome:
        assert isinstance(timed, Timed)
        try:
            request: Any = timed.make(wall)
        except RequestError as error:
            return Outcome(request=timed, fault=Fault.REFUSED, error=str(error), permanent=True)
        control = parse(request.data)
        sent = Sent.of(request, now, priority)
        assert control
        assert control.action
        assert sent
        self._audit(self._home, sent)
        if control.action is Action.TRIP:
            self.trips += 1
            self._judge.trip(self._home, now)
        elif control.action in CLOSING:
            self._judge.close(self._home, now, direct=control.action is Action.CLOSE)
        elif control.action is Action.PROTECT_OFF:
            self._judge.unprotect(self._home, now)
        deadline = None if control.endless else control.deadline
        heard = self._home.meter.told(control.action, now, self._draw, deadline)
        if heard is Seen.ACCEPTED:
            outcome = _good(request, b"", wall)
        elif heard is Seen.REFUSED:
            outcome = Outcome(request=request, fault=Fault.REFUSED, error="refused", permanent=True)
        else:
            outcome = _failed(request, Fault.DAMAGED)
        return replace(outcome, said=bytes.fromhex(sent.frame))


def _di(request: Any) -> str:
    return bytes(request.data[3::-1]).hex().upper()


def _memory(meter: Meter, found: Look, now: float) -> Mapping[str, bytes]:
    """What the meter keeps, by data identifier."""
    wanted, told = {
        Seen.SEEN_CLOSED: (0, 0),
        Seen.SEEN_MOVING: (1, 0),
        Seen.SEEN_OPEN: (1, 1),
        Seen.SEEN_ALLOWED: (0, 1),
    }[found.seen]
    word = told << 4 | wanted << 6 | found.protected << 12
    load_w = meter.load_w if meter.relay.conducts else 0
    shown = meter.shows(now)
    clock = f"{shown:%y%m%d}{shown.isoweekday() % 7:02}{shown:%H%M%S}"
    return {
        "04000402": bytes.fromhex(found.number)[::-1],
        STATUS: word.to_bytes(2, "little"),
        "0400010C": bytes.fromhex(clock)[::-1],
        "00010000": _bcd(found.energy_mj // J_PER_STEP, 4),
        "02030000": _bcd(load_w * 10, 3),
        "02020100": _bcd(load_w * 1000 // VOLTS, 3),
        "02010100": _bcd(VOLTS * 10, 2),
    }


def _bcd(number: int, size: int) -> bytes:
    return bytes.fromhex(f"{number % 10 ** (2 * size):0{2 * size}}")[::-1]


def _good(request: Request | Timed, data: bytes, wall: float) -> Outcome:
    assert not isinstance(request, Timed)
    reply = Reply(request.address, data)
    return Outcome(request=request, reply=reply, taken_at=wall, round_trip_s=0.2, tries=1)


def _failed(request: Request | Timed, fault: Fault) -> Outcome:
    return Outcome(request=request, fault=fault, error="no answer", tries=1)
