"""A refusal is remembered for ever, so one is not enough: its request may have been damaged."""

from pathlib import Path

from gateway.acquisition.polling import Learned, Polling
from gateway.events import Fault, Job, JobDone, Outcome
from protocols.base import Reply
from tests.world import START, area_of, config_of


def polling(directory: Path) -> Polling:
    return Polling(config_of(area_of(2, 1, seed=1), directory).meters, [], lambda: 0.5)


def job_of(polling: Polling, wall: float) -> tuple[str, Job] | None:
    jobs = [(line, job) for line, job in polling.due(0.0, wall) if job.meter == "L0M00"]
    return jobs[0] if jobs else None


def done(polling: Polling, due: tuple[str, Job], *, refuses: bool) -> list[str]:
    """Let a job end: its first request is refused, or all are answered; what is learned of it."""
    line, job = due
    good = [
        Outcome(request=each, reply=Reply(job.meter, b"\x00\x00"), taken_at=START)
        for each in job.requests
    ]
    no = Outcome(request=job.requests[0], fault=Fault.REFUSED, error="no such data", permanent=True)
    outcomes = (no, *good[1:]) if refuses else tuple(good)
    event = JobDone(line=line, job=job, outcomes=outcomes, busy_s=1.0, waited_s=0.0)
    return [one.key for one in polling.done(event, 0.0) if isinstance(one, Learned)]


def test_what_is_refused_twice_in_a_row_is_not_asked_again(tmp_path: Path) -> None:
    meters = polling(tmp_path)
    first = job_of(meters, START)
    assert first
    assert done(meters, first, refuses=True) == []

    again = job_of(meters, START)
    assert again, "the doubt is cleared at once, not at the next slot"
    assert again[1].requests == first[1].requests
    [key] = done(meters, again, refuses=True)

    assert meters.refused["L0M00"] == {key}
    fewer = job_of(meters, START)
    assert fewer
    assert first[1].requests[0] not in fewer[1].requests


def test_a_single_refusal_takes_no_point_away(tmp_path: Path) -> None:
    meters = polling(tmp_path)
    for slot in range(3):  # far apart, with good answers between
        due = job_of(meters, START + 900 * slot)
        assert due
        assert done(meters, due, refuses=True) == []
        again = job_of(meters, START + 900 * slot)
        assert again
        assert done(meters, again, refuses=False) == []
        assert job_of(meters, START + 900 * slot) is None

    assert meters.refused["L0M00"] == set()
