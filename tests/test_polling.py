from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.health import PROBE_SAVED_S, PROBE_SHARE
from gateway.acquisition.polling import (
    FIRST_ROUND_S,
    POLL_WAITS_S,
    Found,
    Learned,
    Polling,
    Reading,
    Turned,
    Woke,
)
from gateway.config import load
from gateway.events import Fault, Job, Outcome, Priority
from tests.rooms import done, good, missed, refusal, write_config
from tests.test_collection import meter
from tests.world import START

HOUR_S = 3600.0
PLAN_645 = ["00010000", "02010100", "02020100", "02030000", "02060000", "04000503"]


class Rig:
    """Polling without a core: the test is clock and meters."""

    def __init__(self, directory: Path, refused: list[tuple[str, str]] | None = None) -> None:
        self.config = load(write_config(directory))
        self.polling = Polling(self.config.meters, refused or [], lambda: 0.5)
        self.now = 0.0
        self.step_s = 0.0
        self.woke: list[str] = []
        """Of the job that was finished last."""

    @property
    def wall(self) -> float:
        return START + self.now + self.step_s

    def due(self) -> list[tuple[str, Job]]:
        return self.polling.due(self.now, self.wall)

    def finish(
        self, line: str, job: Job, outcomes: list[Outcome] | None = None, busy_s: float = 1.0
    ) -> list[Found]:
        if outcomes is None:
            outcomes = [good(request, self.wall) for request in job.requests]
        found = self.polling.done(done(line, job, outcomes, busy_s), self.now)
        self.woke = [one.meter for one in found if isinstance(one, Woke)]
        return [one for one in found if not isinstance(one, Woke)]

    def answer(self) -> int:
        """Everybody who is due answers well; returns how many."""
        jobs = self.due()
        for line, job in jobs:
            self.finish(line, job)
        return len(jobs)

    def poll(self, line: str = "east", fault: Fault | None = None) -> list[Found]:
        """Everybody is polled now; those of ``line`` answer so, the others well."""
        found: list[Found] = []
        for of, job in self.due():
            answer = [missed(r, fault) for r in job.requests] if fault and of == line else None
            found += self.finish(of, job, answer)
        return found

    def silence(self, line: str = "east") -> None:
        """The meter of ``line`` stops answering, and is found out."""
        for _ in range(3):
            self.poll(line, Fault.SILENT)
            self.now += 60.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def keys(job: Job) -> list[str]:
    return [str(request).removeprefix("read ") for request in job.requests]


def test_every_meter_is_polled_once_in_each_slot(rig: Rig) -> None:
    rig.now = 17.0
    jobs = rig.due()
    assert [(line, job.meter, job.priority) for line, job in jobs] == [
        ("east", "A1", Priority.POLL),
        ("west", "X1", Priority.POLL),
    ]
    assert {job.not_after for _, job in jobs} == {17.0 + POLL_WAITS_S}
    assert keys(jobs[0][1]) == PLAN_645
    assert rig.due() == [], "while a job runs there is no other"
    for line, job in jobs:
        rig.finish(line, job)

    assert rig.due() == []
    assert rig.polling.next_due(rig.now, rig.wall) == 60.0
    rig.now = 60.0
    assert len(rig.due()) == 2


def test_a_reply_becomes_a_reading_with_the_time_it_was_complete(rig: Rig) -> None:
    line, job = rig.due()[0]
    rig.now = 5.0

    found = rig.finish(line, job)

    assert len(found) == len(job.requests)
    first = found[0]
    assert isinstance(first, Reading)
    assert (first.meter, first.address, first.line) == ("A1", "000000000001", "east")
    assert first.taken_at == START + 5.0
    assert first.values["energy_active_import"].text() == "0.000"
    assert rig.polling.health[0].last_good_at == START + 5.0


def test_no_good_frame_no_value(rig: Rig) -> None:
    line, job = rig.due()[0]
    outcomes = [missed(request, Fault.DAMAGED) for request in job.requests]
    outcomes[1] = good(job.requests[1], rig.wall)

    (reading,) = rig.finish(line, job, outcomes)

    assert isinstance(reading, Reading)
    assert set(reading.values) == {"voltage_l1n"}
    assert rig.polling.health[0].failures == 0, "it answered"


# --- refusals -----------------------------------------------------------------------------------


def test_a_refusal_for_good_is_told_once_and_the_rest_read_at_once(rig: Rig) -> None:
    line, job = rig.due()[0]
    outcomes = [good(request, rig.wall) for request in job.requests]
    outcomes[1] = refusal(job.requests[1])

    found = rig.finish(line, job, outcomes)
    assert not [one for one in found if isinstance(one, Learned)], "once may be a mishearing"
    ((_, again),) = [pair for pair in rig.due() if pair[0] == "east"]
    assert keys(again) == PLAN_645
    found = rig.finish(line, again, outcomes)

    learned = [one for one in found if isinstance(one, Learned)]
    assert learned == [Learned("A1", "02010100", "meter refused: no such data")]
    assert rig.polling.next_due(rig.now, rig.wall) == rig.now
    ((_, again),) = [pair for pair in rig.due() if pair[0] == "east"]
    assert keys(again) == [di for di in PLAN_645 if di != "02010100"]
    assert rig.polling.refused == {"A1": {"02010100"}, "X1": set()}


def test_a_refusal_for_now_is_asked_again_in_the_next_slot(rig: Rig) -> None:
    line, job = rig.due()[0]

    assert rig.finish(line, job, [refusal(r, permanent=False) for r in job.requests]) == []

    rig.now = 60.0
    assert keys(rig.due()[0][1]) == PLAN_645


def test_a_refused_range_is_cut_until_only_the_refused_point_is_left_out(rig: Rig) -> None:
    """A Modbus meter refuses the whole range for one register in it."""
    refused_register, asked = 0x0034, 0
    while True:
        jobs = [pair for pair in rig.due() if pair[0] == "west"]
        if not jobs:
            break
        (line, job), asked = jobs[0], asked + 1
        outcomes = [
            refusal(r)
            if r.register <= refused_register < r.register + r.count  # type: ignore[attr-defined]
            else good(r, rig.wall)
            for r in job.requests
        ]
        found = rig.finish(line, job, outcomes)

    values = {name for one in found if isinstance(one, Reading) for name in one.values}
    assert values == set(rig.config.meters[1].points) - {"power_active"}
    assert asked < 12, "it is halved, each half asked twice, not tried one by one"


def test_what_was_refused_before_the_restart_is_not_asked(tmp_path: Path) -> None:
    rig = Rig(tmp_path, refused=[("A1", "02010100"), ("A1", "02020100"), ("gone", "00010000")])

    assert keys(rig.due()[0][1]) == [d for d in PLAN_645 if d not in ("02010100", "02020100")]


def test_a_meter_that_refuses_everything_is_left_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, refused=[("A1", di) for di in PLAN_645])

    assert [line for line, _ in rig.due()] == ["west"]
    assert rig.polling.next_due(rig.now, rig.wall) > rig.now
    rig.now = 60.0
    assert rig.polling.next_due(rig.now, rig.wall) > rig.now, "the core would spin"


def test_a_refusal_is_a_sign_of_life_but_no_good_reply(rig: Rig) -> None:
    line, job = rig.due()[0]
    outcomes = [good(request, rig.wall) for request in job.requests]
    outcomes[-1] = refusal(job.requests[-1])
    rig.finish(line, job, outcomes)
    health = rig.polling.health[0]
    assert (health.last_good_at, health.round_trip_s) == (START, 0.2)

    rig.now = 60.0
    line, job = rig.due()[0]
    rig.finish(line, job, [refusal(r, permanent=False) for r in job.requests])

    assert (health.last_good_at, health.round_trip_s) == (START, 0.2)
    assert (health.asked, health.answered, health.failures) == (2, 2, 0)


# --- silence ------------------------------------------------------------------------------------


def test_a_silent_meter_is_probed_with_one_cheap_request(rig: Rig) -> None:
    rig.silence()
    health = rig.polling.health[0]
    assert health.silent

    rig.now = health.probe_at - 1
    assert rig.due() == []
    rig.now = health.probe_at
    ((_, probe),) = [pair for pair in rig.due() if pair[0] == "east"]

    assert (probe.priority, probe.tries) == (Priority.PROBE, 1)
    assert keys(probe) == ["02010100"], "the shortest reply"


def test_silence_and_its_end_are_told_once(rig: Rig) -> None:
    found = [one for _ in range(5) for one in _minute(rig, Fault.SILENT)]
    assert [one for one in found if isinstance(one, Turned)] == [
        Turned("A1", "east", silent=True, reason="did not answer within 1 s")
    ]

    rig.now = max(rig.now, rig.polling.health[0].probe_at)
    ((line, probe),) = [pair for pair in rig.due() if pair[0] == "east"]
    back = rig.finish(line, probe)

    assert Turned("A1", "east", silent=False, reason="") in back
    ((_, job),) = [pair for pair in rig.due() if pair[0] == "east"]
    assert (job.priority, keys(job)) == (Priority.POLL, PLAN_645), "all of it is read at once"


def _minute(rig: Rig, fault: Fault) -> list[Found]:
    rig.now += 60.0
    return rig.poll("east", fault)


@pytest.mark.parametrize("fault", [Fault.PORT, Fault.EXPIRED])
def test_a_lost_port_or_a_busy_line_says_nothing_of_the_meter(rig: Rig, fault: Fault) -> None:
    for _ in range(10):
        assert [one for one in _minute(rig, fault) if isinstance(one, Turned)] == []

    health = rig.polling.health[0]
    assert (health.silent, health.failures) == (False, 0)
    assert (health.asked, health.answered) == (0, 0)


def test_a_meter_is_silent_for_others_until_it_answers(rig: Rig) -> None:
    assert rig.polling.silent("A1"), "it was never heard"
    ((line, job),) = [pair for pair in rig.due() if pair[0] == "east"]
    rig.finish(line, job)
    assert rig.woke == ["A1"]
    assert not rig.polling.silent("A1")

    rig.now = 60.0
    rig.poll("east", Fault.SILENT)
    assert rig.polling.silent("A1"), "one miss is enough"
    rig.now = 120.0
    ((line, probe),) = [pair for pair in rig.due() if pair[0] == "east"]
    rig.finish(line, probe)
    assert rig.woke == ["A1"]
    ((line, poll),) = [pair for pair in rig.due() if pair[0] == "east"]
    rig.finish(line, poll)
    assert rig.woke == []


def test_a_read_that_somebody_waits_for_wakes_a_silent_meter(rig: Rig) -> None:
    rig.silence()

    line, job = rig.polling.read("A1", ("voltage_l1n",), not_after=rig.now + 60)
    found = rig.finish(line, job)

    assert [type(one) for one in found] == [Reading, Turned]
    assert not rig.polling.health[0].silent


def test_silent_meters_cost_a_line_a_twentieth_of_its_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.silence()
    probes_s, started = 0.0, rig.now
    while rig.now < started + 10 * HOUR_S:
        for line, job in rig.due():
            if job.priority is Priority.PROBE:
                rig.now += 60.0  # a very slow meter behind a radio
                probes_s += 60.0
                rig.finish(line, job, [missed(r) for r in job.requests], busy_s=60.0)
            else:
                rig.finish(line, job)
        rig.now = max(rig.now + 0.5, min(rig.polling.next_due(rig.now, rig.wall), rig.now + 60))

    assert 0 < probes_s <= PROBE_SHARE * 10 * HOUR_S + PROBE_SAVED_S + 60.0


# --- the wall clock -----------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [-3 * HOUR_S, -61.0, 61.0, 3 * HOUR_S])
def test_a_stepped_clock_makes_one_extra_poll_and_no_silence(rig: Rig, step_s: float) -> None:
    rig.poll()
    rig.now = 10.0
    rig.step_s = step_s

    assert len(rig.poll()) > 0, "another slot: an extra poll"
    polls = 0
    for _ in range(10):
        due_at = rig.polling.next_due(rig.now, rig.wall)
        assert rig.now < due_at <= rig.now + 60.0
        rig.now = due_at
        assert rig.wall % 60 == 0, "on the clock's new grid"
        polls += rig.answer()
    assert polls == 20


# --- what commands ask --------------------------------------------------------------------------


def test_a_read_asks_only_for_its_points_and_beside_the_poll(rig: Rig) -> None:
    polls = rig.due()

    line, job = rig.polling.read("X1", ("frequency",), not_after=99.0)

    assert (line, job.meter, job.priority, job.not_after) == ("west", "X1", Priority.COMMAND, 99.0)
    assert keys(job) == ["registers 70..71 by function 4"]
    assert job.id not in {poll.id for _, poll in polls}
    (reading,) = rig.finish(line, job)
    assert isinstance(reading, Reading)
    assert set(reading.values) == {"frequency"}
    assert rig.due() == [], "the polls still run"


def test_what_a_command_may_ask_is_known_before(rig: Rig) -> None:
    assert rig.polling.knows("A1")
    assert not rig.polling.knows("A2")
    assert rig.polling.unknown("A1", ("voltage_l1n", "voltage_l9n")) == ["voltage_l9n"]
    with pytest.raises(KeyError):
        rig.polling.read("A2", ("voltage_l1n",), 0.0)


def test_what_the_meter_refuses_for_good_is_known_before(tmp_path: Path) -> None:
    rig = Rig(tmp_path, refused=[("A1", "02010100")])

    assert rig.polling.refuses("A1", ("voltage_l1n",))
    assert not rig.polling.refuses("A1", ("voltage_l1n", "current_l1"))


def test_the_first_round_lasts_until_all_were_asked(rig: Rig) -> None:
    assert rig.polling.first_round(0.0)
    (east, first), (west, second) = rig.due()
    rig.finish(east, first)
    assert rig.polling.first_round(1.0), "the other line's meter was not asked yet"
    rig.finish(west, second, [missed(request) for request in second.requests])
    assert not rig.polling.first_round(2.0)


def test_a_port_that_is_not_there_ends_the_first_round_after_a_minute(rig: Rig) -> None:
    assert rig.polling.first_round(0.0)
    rig.poll("west", Fault.PORT)
    assert rig.polling.first_round(FIRST_ROUND_S - 1.0)
    assert not rig.polling.first_round(FIRST_ROUND_S)


@given(
    periods=st.lists(st.sampled_from([1, 7, 60, 900]), min_size=2, max_size=4),
    steps=st.lists(
        st.tuples(st.sampled_from(["good", "missed", "late", "step"]), st.integers(0, 400)),
        max_size=40,
    ),
)
def test_nobody_is_forgotten_and_nobody_looked_at_too_early(
    periods: list[int], steps: list[tuple[str, int]]
) -> None:
    """What is remembered of when to look again gives what looking at all of them would."""
    meters = [
        replace(meter("X1"), asset=f"M{n}", address=str(n + 1), period_s=period)
        for n, period in enumerate(periods)
    ]
    polling = Polling(meters, [], lambda: 0.5)
    now, wall, waiting = 0.0, START, list[Job]()
    for what, seconds in steps:
        waiting += [job for _, job in polling.due(now, wall)]
        told = polling.next_due(now, wall)
        expected = min(polling._next(meter, now, wall) for meter in polling._meters.values())
        assert told == pytest.approx(expected, abs=1e-3)
        if waiting and what in ("good", "missed"):
            job = waiting.pop(seconds % len(waiting))
            say = (lambda r, w=wall: good(r, w)) if what == "good" else missed
            polling.done(done("east", job, [say(r) for r in job.requests]), now)
        now, wall = now + seconds / 10, wall + seconds / 10
        if what == "step":
            wall += seconds - 200
