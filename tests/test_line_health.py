"""A dead meter is told from a dead line by asking the others."""

import pytest
from structlog.testing import capture_logs

from gateway.acquisition.health import PROBE_FIRST_S, SILENT_AFTER_S, Health
from gateway.acquisition.line_health import LineHealth, LineTurned, Told, Turned


class Rig:
    """A line whose meters the test lets answer or not."""

    def __init__(self, meters: int) -> None:
        self.meters = [Health(f"M{n}", "east") for n in range(meters)]
        self.line = LineHealth("east", self.meters, lambda: 0.5)
        self.now = 1000.0

    def ask(self, *answering: bool, every_s: float = PROBE_FIRST_S) -> list[Told]:
        """Each meter is asked in turn and answers or not."""
        told: list[Told] = []
        for meter, answers in zip(self.meters, answering, strict=True):
            self.now += 1.0
            if answers:
                told += self.line.answered(meter, self.now)
            else:
                told += self.line.missed(meter, self.now, f"{meter.meter} is silent")
        self.now += every_s
        return told


@pytest.fixture(name="rig")
def make_rig() -> Rig:
    rig = Rig(3)
    assert rig.ask(True, True, True) == []
    return rig


def test_one_dead_meter_is_told_alone(rig: Rig) -> None:
    told = [one for _ in range(5) for one in rig.ask(False, True, True)]

    assert told == [Turned("M0", "east", silent=True, reason="M0 is silent")]
    assert rig.ask(True, True, True) == [Turned("M0", "east", silent=False, reason="")]
    assert rig.ask(True, True, True) == []


def test_all_silent_together_is_one_line_fault(rig: Rig) -> None:
    told = [one for _ in range(10) for one in rig.ask(False, False, False)]

    (fault,) = told
    assert isinstance(fault, LineTurned)
    assert fault.fault
    assert "all 3 meters of the line are silent" in fault.reason
    assert all(meter.silent and meter.line_fault for meter in rig.meters)


def test_after_a_line_fault_those_still_dead_are_told_one_by_one(rig: Rig) -> None:
    for _ in range(3):
        rig.ask(False, False, False)

    told = [one for _ in range(5) for one in rig.ask(True, False, True)]

    assert told == [
        LineTurned("east", fault=False, reason=""),
        Turned("M1", "east", silent=True, reason="M1 is silent"),
    ]
    assert not rig.meters[0].line_fault


def test_a_meter_lost_before_the_fault_is_told_when_it_is_back(rig: Rig) -> None:
    for _ in range(4):
        rig.ask(False, True, True)
    (fault,) = [one for _ in range(3) for one in rig.ask(False, False, False)]
    assert isinstance(fault, LineTurned)

    told = rig.ask(True, True, True)

    assert told == [
        LineTurned("east", fault=False, reason=""),
        Turned("M0", "east", silent=False, reason=""),
    ]


def test_the_last_living_meter_is_told_like_any_other() -> None:
    rig = Rig(2)
    told = [one for _ in range(4) for one in rig.ask(False, True)]
    told += [one for _ in range(4) for one in rig.ask(False, False)]

    assert [(one.meter, one.silent) for one in told if isinstance(one, Turned)] == [
        ("M0", True),
        ("M1", True),
    ]
    assert len(told) == 2


def test_a_meter_alone_on_its_line_is_no_line_fault() -> None:
    rig = Rig(1)

    told = [one for _ in range(5) for one in rig.ask(False)]

    assert told == [Turned("M0", "east", silent=True, reason="M0 is silent")]


def test_while_nobody_else_was_asked_the_others_are_suspected_first(rig: Rig) -> None:
    dead, *others = rig.meters
    told: list[Told] = []
    for _ in range(3):
        rig.now += PROBE_FIRST_S
        told += rig.line.missed(dead, rig.now, "silent")
    assert told == []
    assert dead.silent
    assert all(other.probed for other in others)

    told = rig.line.answered(others[0], rig.now + 1)

    assert told == [Turned("M0", "east", silent=True, reason="silent")]
    assert not any(other.probed for other in others)


def test_an_outage_is_two_lines_in_the_log_however_long_it_lasts(rig: Rig) -> None:
    with capture_logs() as lines:
        for _ in range(500):
            rig.ask(False, True, True)
        rig.ask(True, True, True)

    assert [line["event"] for line in lines] == ["meter stopped answering", "meter answers again"]
    assert lines[0]["reason"] == "M0 is silent"
    assert lines[1]["misses"] == 500


def test_replies_at_the_beginning_of_a_long_job_do_not_prove_the_line(rig: Rig) -> None:
    first, *others = rig.meters
    told: list[Told] = []
    for _ in range(3):
        rig.now += PROBE_FIRST_S
        for meter in others:
            told += rig.line.missed(meter, rig.now, "silent")
        if not first.failures:
            told += rig.line.answered(first, rig.now, now_alive=False)
    assert told == []
    assert first.suspected

    told = rig.line.missed(first, rig.now + 1, "silent")

    assert [type(one) for one in told] == [LineTurned]


def test_a_burst_of_noise_is_no_line_fault(rig: Rig) -> None:
    assert rig.ask(False, False, False, every_s=0.0) == []
    assert rig.now < 1000.0 + PROBE_FIRST_S + 2 * SILENT_AFTER_S
    assert rig.ask(True, True, True) == []


def test_a_meter_that_refuses_everything_does_not_hide_the_fault(rig: Rig) -> None:
    rig.meters[2].askable = False

    told: list[Told] = []
    for _ in range(3):
        rig.now += PROBE_FIRST_S
        for meter in rig.meters[:2]:
            told += rig.line.missed(meter, rig.now, "silent")

    assert [type(one) for one in told] == [LineTurned]
