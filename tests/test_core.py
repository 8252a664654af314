import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.acquisition.trials import Verdict
from gateway.core import FLOOR, FLOOR_S, HEARTBEAT_MAX_AGE_S
from gateway.events import Crashed, Fault, Heartbeat, PortChanged
from gateway.store.commands import Commands
from gateway.store.faults import DiskFullError, LockedError, StoreIOError
from gateway.store.learned import Learned, Refused
from gateway.store.outbox import Lane
from gateway.timekeeping import JUDGED_EVERY_S
from tests.rooms import MODBUS, Gateway, done, good, missed, read_command, refusal, write_config
from tests.world import START, SimClock

HOUR_S = 3600.0


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(write_config(tmp_path))
    yield gateway
    gateway.database.close()


# --- readings -----------------------------------------------------------------------------------


def test_a_reading_is_stored_within_the_group_commit(gateway: Gateway) -> None:
    gateway.run(1)
    assert gateway.answer() == 2
    assert gateway.stored(Lane.HISTORY) == []
    gateway.run(5)

    ((message, body),) = gateway.stored(Lane.HISTORY)
    assert {reading["meter"] for reading in body["readings"]} == {"A1", "X1"}
    reading = body["readings"][0]
    assert (reading["line"], reading["address"], reading["clock"]) == (
        "east",
        "000000000001",
        "trusted",
    )
    assert reading["taken"] == "2026-01-01T00:00:01.000Z"
    assert gateway.states[-1]["readings_taken"] == len(body["readings"])
    assert message.kind == "history"


def test_meters_are_polled_on_the_grid_and_the_core_rests_in_between(gateway: Gateway) -> None:
    polls = 0
    ticks = 0
    for _ in range(600):
        ticks += gateway.run(1)
        polls += gateway.answer()

    assert polls == 2 * 11
    assert ticks < 600 + 600, "once per wake-up, and for what falls due"


def test_a_meter_that_stops_and_answers_again_is_two_events(gateway: Gateway) -> None:
    for minute in range(20):
        for line, job in gateway.take_jobs():
            well = line == "west" or minute > 10
            now = gateway.clock.now()
            answers = [good(r, now) if well else missed(r) for r in job.requests]
            gateway.core.handle(done(line, job, answers))
        gateway.run(60)

    events = [(e["code"], e.get("meter"), e.get("line")) for e in gateway.events()]
    told = [event for event in events if event[0].startswith("comm")]
    assert told == [("comm_lost", "A1", "east"), ("comm_restored", "A1", "east")]


def test_a_refusal_is_remembered_across_a_restart(gateway: Gateway) -> None:
    for _ in range(2):  # one refusal is not believed
        gateway.run(1)
        for line, job in gateway.take_jobs():
            now = gateway.clock.now()
            answers = [good(r, now) for r in job.requests]
            if line == "east":
                answers[1] = refusal(job.requests[1])
            gateway.core.handle(done(line, job, answers))
    gateway.run(10)
    asked = [str(r) for _, job in gateway.take_jobs() for r in job.requests]
    assert "read 02010100" not in asked, "the plan is made anew at once"

    gateway.restart()
    gateway.run(1)

    asked = [str(r) for line, job in gateway.take_jobs() if line == "east" for r in job.requests]
    assert len(asked) == 5
    assert "read 02010100" not in asked
    gateway.run(10)
    assert gateway.states[-1]["meters"][0]["refused"] == ["02010100"]


def test_after_a_month_a_meter_is_asked_again_what_it_refused(gateway: Gateway) -> None:
    refused = Refused("A1", "02010100", "no such data", gateway.clock.now())
    with gateway.database.transaction():
        Learned(gateway.database).add(refused)
    asked = []
    for days in (29, 2):
        gateway.clock.step(days * 86_400.0)
        gateway.restart()
        gateway.run(1)
        jobs = gateway.take_jobs()
        asked.append([str(r) for line, job in jobs if line == "east" for r in job.requests])

    assert "read 02010100" not in asked[0]
    assert "read 02010100" in asked[1]


def test_commands_are_forgotten_after_a_year_and_only_by_a_good_clock(gateway: Gateway) -> None:
    gateway.connect()
    gateway.tell("commands", read_command("r1", "A9"))
    assert Commands(gateway.database).results("r1")

    gateway.clock.synced = False
    gateway.clock.step(401 * 86_400.0)
    gateway.restart()
    gateway.run(120)
    assert Commands(gateway.database).results("r1"), "the clock may be wrong"

    gateway.clock.synced = True
    gateway.run(120)
    assert not Commands(gateway.database).results("r1")


def test_a_line_that_comes_and_goes_is_told(gateway: Gateway) -> None:
    gateway.core.handle(PortChanged("east", False, "/dev/ttyS0: no such device"))
    gateway.run(10)
    assert gateway.states[-1]["lines"][0]["reason"] == "/dev/ttyS0: no such device"
    gateway.core.handle(PortChanged("east", True))
    gateway.run(10)

    assert gateway.states[-1]["lines"][0]["up"]
    told = [(e["code"], e.get("detail", "")) for e in gateway.events() if "line" in e["code"]]
    assert told == [("line_down", "/dev/ttyS0: no such device"), ("line_up", "")]


def test_a_dead_port_makes_no_meter_silent(gateway: Gateway) -> None:
    for _ in range(10):
        for line, job in gateway.take_jobs():
            answers = [missed(r, Fault.EXPIRED) for r in job.requests]
            gateway.core.handle(done(line, job, answers))
        gateway.run(60)

    assert "comm_lost" not in gateway.codes()


# --- threads ------------------------------------------------------------------------------------


def test_what_a_thread_died_of_ends_the_process(gateway: Gateway) -> None:
    with capture_logs() as lines, pytest.raises(OSError, match="unplugged"):
        gateway.core.handle(Crashed("line east", OSError(5, "adapter unplugged")))

    assert (lines[0]["log_level"], lines[0]["thread"]) == ("critical", "line east")


def test_it_is_alive_only_while_every_line_is(gateway: Gateway) -> None:
    assert gateway.core.alive(HEARTBEAT_MAX_AGE_S - 1)
    gateway.core.handle(Heartbeat("east", HEARTBEAT_MAX_AGE_S))
    assert not gateway.core.alive(HEARTBEAT_MAX_AGE_S), "west has not been heard of"
    gateway.core.handle(Heartbeat("west", HEARTBEAT_MAX_AGE_S))
    assert gateway.core.alive(2 * HEARTBEAT_MAX_AGE_S - 1)
    assert not gateway.core.alive(2 * HEARTBEAT_MAX_AGE_S)


# --- the clock ----------------------------------------------------------------------------------


def changes(gateway: Gateway) -> list[str]:
    return [e["detail"] for e in gateway.events() if e["code"] == "clock_changed"]


def test_what_the_clock_is_worth_is_judged_again_and_told(gateway: Gateway) -> None:
    gateway.clock.synced = False
    gateway.run(JUDGED_EVERY_S + 6)
    gateway.clock.synced = True
    gateway.run(JUDGED_EVERY_S + 6)

    assert changes(gateway) == ["from trusted to holdover", "from holdover to trusted"]


def test_a_gateway_that_boots_in_1970_says_so_until_it_knows_better(tmp_path: Path) -> None:
    clock = SimClock(now=30.0)
    clock.synced = False
    gateway = Gateway(write_config(tmp_path), clock)
    gateway.run(1)
    gateway.answer()
    gateway.run(10)
    assert gateway.stored(Lane.HISTORY)[0][1]["readings"][0]["clock"] == "unknown"
    assert gateway.database.meta(FLOOR) is None, "1970 is not remembered as a time that passed"

    clock.step(START)
    clock.synced = True
    gateway.run(20)

    assert [event["clock"] for event in gateway.events()][:2] == ["unknown", "unknown"]
    assert changes(gateway) == [f"set by +{START:.3f} s", "from unknown to trusted"]
    gateway.database.close()


def test_the_time_is_remembered_as_a_floor_for_the_next_start(gateway: Gateway) -> None:
    gateway.run(2 * FLOOR_S)
    floor = float(gateway.database.meta(FLOOR) or 0)
    assert gateway.clock.now() - FLOOR_S - 10 < floor <= gateway.clock.now()

    gateway.clock.synced = False
    gateway.clock.step(-HOUR_S)
    gateway.restart()
    gateway.run(6)

    assert gateway.states[-1]["clock"] == "unknown"


@pytest.mark.parametrize("step_s", [-HOUR_S, -90.0, 90.0, 30 * HOUR_S])
def test_a_stepped_clock_is_told_and_the_grid_followed_at_once(
    tmp_path: Path, step_s: float
) -> None:
    gateway = Gateway(write_config(tmp_path, period_s=86_400))
    gateway.run(10)
    gateway.answer()
    gateway.clock.step(step_s)
    gateway.run(6)
    if abs(step_s) >= HOUR_S:
        assert gateway.answer() == 2, "another day: an extra poll"
    assert changes(gateway) == [f"set by {step_s:+.3f} s"]

    gateway.run(86_400 - (gateway.clock.now() - START) % 86_400 + 1)

    assert {job.meter for _, job in gateway.take_jobs()} == {"A1", "X1"}, "at midnight"
    gateway.database.close()


def test_a_steered_clock_is_nothing_to_tell(gateway: Gateway) -> None:
    for _ in range(100):
        gateway.clock.step(0.1)
        gateway.run(1)

    assert changes(gateway) == []


# --- the store ----------------------------------------------------------------------------------


def test_a_new_store_is_told_and_a_continued_one_is_not(gateway: Gateway) -> None:
    gateway.run(10)
    assert gateway.codes() == ["store_new_epoch", "started"]
    assert gateway.events()[0]["reason"] == "fresh"
    assert "previous" not in gateway.events()[0]

    gateway.restart()
    gateway.run(10)
    assert gateway.codes() == ["store_new_epoch", "started", "started"]


def test_a_store_that_lost_its_past_is_told(gateway: Gateway, tmp_path: Path) -> None:
    gateway.run(10)
    former = gateway.database.epoch
    gateway.database.close()
    (tmp_path / "store" / "taiqu.db").unlink()
    with capture_logs() as lines:
        gateway.start()
    gateway.run(10)

    assert gateway.events()[0]["code"] == "store_new_epoch"
    assert gateway.events()[0]["reason"] == f"missing: epoch {former} was here"
    assert gateway.events()[0]["previous"] == former
    assert lines[0]["event"] == "the database began anew"


@pytest.mark.parametrize("fault", [DiskFullError("full"), LockedError("locked")])
def test_an_order_that_cannot_be_written_waits_and_is_then_done_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    gateway.connect()
    gateway.run(10)
    gateway.take_jobs()

    def failing() -> Any:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(gateway.database, "transaction", failing)
        gateway.tell("commands", read_command("r1"), mid=5)
        assert gateway.run(60) < 60, "it does not spin"
        assert gateway.link.acknowledged == []
        assert [job for _, job in gateway.take_jobs() if job.priority == 2] == []
    gateway.run(10)

    assert gateway.link.acknowledged == [5], "the broker would not send it again by itself"
    assert gateway.results("r1") == [("accepted", "")]
    assert len([job for _, job in gateway.take_jobs() if job.priority == 2]) == 1


def test_of_what_waits_only_the_present_connections_messages_are_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends again after each reconnect; that must not pile up."""

    def failing() -> Any:
        raise DiskFullError("full")

    with monkeypatch.context() as patched:
        patched.setattr(gateway.database, "transaction", failing)
        for connection in range(5):
            gateway.connect()
            gateway.tell("commands", read_command("r1"), mid=connection)
            gateway.disconnect()
        assert len(gateway.core._postponed) == 1
    gateway.run(10)

    assert gateway.link.acknowledged == [4]


def test_readings_wait_out_a_locked_file(gateway: Gateway, tmp_path: Path) -> None:
    gateway.run(6)
    other = sqlite3.connect(tmp_path / "store" / "taiqu.db", isolation_level=None)
    other.execute("begin immediate")
    gateway.answer()
    gateway.run(30)
    assert gateway.stored(Lane.HISTORY) == []
    other.rollback()
    other.close()
    gateway.run(6)

    assert len(gateway.stored(Lane.HISTORY)[0][1]["readings"]) == 8


def test_an_io_error_ends_the_process_unacknowledged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> Any:
        raise StoreIOError("fsync failed")

    monkeypatch.setattr(gateway.database, "transaction", failing)
    with pytest.raises(StoreIOError):
        gateway.tell("commands", read_command("r1"), mid=5)
    monkeypatch.undo()

    assert gateway.link.acknowledged == []
    assert gateway.jobs == []


def test_what_a_trial_over_unknown_registers_showed_survives_a_restart(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    sdm = 'profile = "eastron-sdm630"'
    # Two registers with unknown ones between them: this meter shows 0 everywhere, which is unsure.
    wanted = '\npoints = ["thd_current_l3", "thd_voltage_avg"]\ntry_gaps = true'
    path.write_text(path.read_text().replace(sdm, sdm + wanted))
    gateway = Gateway(path)
    for _ in range(12):
        gateway.run(60)
        gateway.answer()
    gateway.run(10)

    learned = [one for one in gateway.core._intake._refusals.refused() if one.meter == MODBUS]
    assert [one.reason for one in learned] == [Verdict.UNSURE.value]
    gateway.restart()
    assert gateway.core._intake.polling.trial(MODBUS) is None
