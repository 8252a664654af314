"""Reads over unknown registers: used only where the meter was seen to answer them rightly."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.acquisition.found import Learned, Reading
from gateway.acquisition.polling import Polling
from gateway.acquisition.trials import TRIES, Trials
from gateway.config import MeterConfig
from gateway.events import Job, JobDone, Outcome
from protocols import modbus
from protocols.base import Reply
from tests.rooms import done, missed, refusal
from tests.test_collection import meter
from tests.test_profile_planner import profile
from tests.world import START

POINTS = {"voltage_l1n": "0", "voltage_l2n": "4", "current_l1": "12", "current_l2": "13"}
KNOWN = {0: 2301, 4: 2302, 12: 57, 13: 81}
WHOLE = "3:0x0000+14"
Answer = Callable[[modbus.Request, dict[int, int]], list[int] | None]


def honest(request: modbus.Request, memory: dict[int, int]) -> list[int] | None:
    span = range(request.register, request.register + request.count)
    return [memory.get(register, 0) for register in span]


def skipping(request: modbus.Request, memory: dict[int, int]) -> list[int] | None:
    """It leaves out what it does not have, and shifts the rest (pysolarfocus#61)."""
    there = [memory[r] for r in sorted(memory) if r >= request.register]
    return [*there, *[0] * request.count][: request.count]


def repeating(request: modbus.Request, memory: dict[int, int]) -> list[int] | None:
    """Behind an unknown register it begins anew (sunsynk#18)."""
    values = honest(request, memory) or []
    span = range(request.register, request.register + request.count)
    gap = next((n for n, register in enumerate(span) if register not in memory), len(values))
    return [*values[:gap], *(values[:gap] * len(values))][: len(values)]


def refusing(request: modbus.Request, memory: dict[int, int]) -> list[int] | None:
    span = range(request.register, request.register + request.count)
    return honest(request, memory) if set(span) <= set(memory) else None


class Rig:
    """One meter that is polled, and the trials."""

    def __init__(self, answer: Answer = honest, learned: tuple[str, ...] = ()) -> None:
        made = profile("modbus", POINTS)
        names = tuple(POINTS)
        self.meter: MeterConfig = replace(
            meter("X1"), profile=made, points=names, try_gaps=True, period_s=60
        )
        self.answer = answer
        self.memory = dict(KNOWN)
        self.moves: Callable[[], None] = lambda: None
        self.jobs: list[Job] = []
        self.jobs_running = False
        self.learned: list[str] = []
        self.asked: list[int] = []
        self.now = 0.0
        known = [(self.meter.asset, key) for key in learned]
        self.polling = Polling([self.meter], known, lambda: 0.5)
        self.trials = Trials([self.meter], self.polling, lambda _line, job: self.jobs.append(job))

    def poll(self, times: int = 1) -> None:
        for _ in range(times):
            jobs = [job for _, job in self.polling.due(self.now, START + self.now)]
            self.asked += [len(job.requests) for job in jobs]
            for job in jobs:
                self.finish(job)
            while self.jobs:
                self.finish(self.jobs.pop(0))
            self.now += 60

    def finish(self, job: Job) -> None:
        event = self.done(job)
        found = self.polling.done(event, self.now)
        self.trials.polled(event, self.now)
        if self.trials.asked(event):
            self.learned += [one.key for one in self.trials.done(event)]
            return
        assert not [one for one in found if isinstance(one, Learned)]
        for reading in (one for one in found if isinstance(one, Reading)):
            for name, value in reading.values.items():
                truth = KNOWN[int(POINTS[name])]
                assert Decimal(value.text() or "") == truth, "a wrong value was believed"

    def done(self, job: Job) -> JobDone:
        outcomes = []
        for request in job.requests:
            assert isinstance(request, modbus.Request)
            values = self.answer(request, self.memory)
            if values is None:
                outcomes.append(refusal(request))
                continue
            data = b"".join(value.to_bytes(2, "big") for value in values)
            reply = Reply(request.address, data)
            outcomes.append(Outcome(request=request, reply=reply, taken_at=START, tries=1))
            self.moves()
        return done("east", job, outcomes)


def test_a_read_that_agrees_is_used_and_remembered() -> None:
    rig = Rig()
    rig.poll(3)

    assert rig.asked == [3, 1, 1]
    assert rig.learned == [f"agreed {WHOLE}"]
    assert rig.polling.refused == {"X1": set()}
    after = Rig(learned=tuple(rig.learned))
    after.poll(2)
    assert after.asked == [1, 1]
    assert after.learned == []


@pytest.mark.parametrize("answer", [skipping, repeating, refusing])
def test_a_meter_that_cannot_read_over_a_gap_is_found_out(answer: Answer) -> None:
    rig = Rig(answer)
    rig.poll(12)

    assert set(rig.asked) == {3}
    assert WHOLE in rig.learned
    assert not [key for key in rig.learned if key.startswith("agreed")]
    again = Rig(answer, tuple(rig.learned))
    again.poll(3)
    assert again.learned == []


def test_what_stands_in_the_gap_does_not_matter() -> None:
    rig = Rig()

    def move() -> None:
        rig.memory[3] = rig.memory.get(3, 0) + 1

    rig.moves = move
    rig.poll(2)
    assert rig.learned == [f"agreed {WHOLE}"]


def test_a_meter_whose_values_never_rest_is_left_as_it_is() -> None:
    rig = Rig()
    count = 0

    def answer(request: modbus.Request, memory: dict[int, int]) -> list[int] | None:
        """Trials, unlike polls here, see other values each time."""
        nonlocal count
        count += 1
        live = {register: value + count for register, value in memory.items()}
        return honest(request, live if rig.jobs_running else memory)

    rig.answer = answer
    finish = rig.finish

    def finishing(job: Job) -> None:
        rig.jobs_running = len(job.requests) > 4
        finish(job)

    rig.finish = finishing  # type: ignore[method-assign]
    rig.poll(TRIES - 1)
    assert rig.learned == []
    rig.poll(6 * TRIES)
    assert WHOLE in rig.learned
    assert set(rig.asked) == {3}
    assert not [key for key in rig.learned if key.startswith("agreed")]


def test_what_would_look_the_same_when_shifted_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for register in (4, 12, 13):
        monkeypatch.setitem(KNOWN, register, 0)
    rig = Rig(skipping)
    rig.poll(6 * TRIES)

    assert set(rig.asked) == {3}
    assert not [key for key in rig.learned if key.startswith("agreed")]


def test_a_trial_that_is_not_answered_is_no_verdict() -> None:
    rig = Rig()
    finish, lost = rig.finish, 0

    def losing(job: Job) -> None:
        nonlocal lost
        if len(job.requests) > 4 and lost < 3:
            lost += 1
            event = done("east", job, [missed(request) for request in job.requests])
            rig.polling.done(event, rig.now)
            assert rig.trials.done(event) == []
            return
        finish(job)

    rig.finish = losing  # type: ignore[method-assign]
    rig.poll(6)
    assert rig.learned == [f"agreed {WHOLE}"]


def test_nothing_is_tried_where_nobody_allowed_it() -> None:
    rig = Rig()
    rig.trials = Trials([replace(rig.meter, try_gaps=False)], rig.polling, lambda _l, _j: None)
    rig.poll(5)

    assert set(rig.asked) == {3}
