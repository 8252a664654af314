"""The time is found after boot: what was stamped before is put right, here or at the head-end."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import EARLIEST, ClockState
from gateway.events import Job, JobDone, Outcome, Priority
from gateway.timekeeping import JUDGED_EVERY_S, Timekeeper, Unstamped
from protocols import dlt645
from protocols.base import Reply
from tests.test_grid import homes
from tests.test_world import assert_nothing_lost
from tests.world import START, SimClock, World

HOUR_S = 3600.0
REQUEST = dlt645.read("000000000001", "00010000")


def keeper(now: float = 100.0) -> tuple[Timekeeper, SimClock, Callable[[], Any]]:
    clock = SimClock(now)
    clock.synced = False
    made = Timekeeper(clock, 0.0)
    return made, clock, lambda: made.look(clock.monotonic(), clock.now())


def done(*taken_at: float) -> JobDone:
    job = Job(id=1, meter="A", priority=Priority.POLL, requests=(REQUEST,), not_after=9e9)
    reply = Reply("000000000001", b"")
    outcomes = tuple(Outcome(request=REQUEST, reply=reply, taken_at=at) for at in taken_at)
    return JobDone(line="one", job=job, outcomes=outcomes, busy_s=1.0, waited_s=0.0)


# --- our clock ------------------------------------------------------------------------------------


def test_a_step_is_seen_and_judged_at_once() -> None:
    made, clock, look = keeper()
    clock.advance(1.0)
    assert (look().stepped_s, made.state) == (0.0, ClockState.UNKNOWN)

    clock.step(START)
    turn = look()

    assert (turn.stepped_s, turn.was, turn.now) == (
        START, ClockState.UNKNOWN, ClockState.HOLDOVER,
    )  # fmt: skip
    assert look().stepped_s == 0.0
    clock.synced = True
    assert look().now is ClockState.HOLDOVER, "not every look asks the system"
    clock.advance(1.0 + JUDGED_EVERY_S)
    assert look().now is ClockState.TRUSTED


def test_stamps_of_before_the_step_are_put_right_and_worth_less() -> None:
    made, clock, look = keeper()
    clock.advance(50.0)
    clock.step(START)
    clock.synced = True
    look()
    clock.advance(52.0)
    now, wall = clock.monotonic(), clock.now()

    event = made.corrected(done(149.0, START + 151.5), now, wall)

    assert [one.taken_at for one in event.outcomes] == [START + 149.0, START + 151.5]
    assert [made.worth(one.taken_at) for one in event.outcomes] == [
        ClockState.HOLDOVER, ClockState.TRUSTED,
    ]  # fmt: skip


def test_small_steps_and_old_ones_correct_nothing() -> None:
    made, clock, look = keeper(START)
    clock.step(90.0)
    look()
    event = done(START, START + 90.0)
    assert made.corrected(event, 0.0, clock.now()) is event

    clock.step(HOUR_S * 20)
    look()
    clock.advance(HOUR_S)
    assert made.corrected(event, clock.monotonic(), clock.now()) is event


# --- what is written already ----------------------------------------------------------------------


def test_what_was_written_between_steps_needs_all_later_steps() -> None:
    unstamped = Unstamped()
    for seq in (1, 2, 3):
        unstamped.note("history", seq)
    unstamped.stepped(10.0)
    unstamped.note("history", 4)
    unstamped.note("urgent", 1)
    unstamped.stepped(0.5)
    unstamped.note("urgent", 2)

    found = [(one.lane, one.first, one.last, one.offset_s) for one in unstamped.found()]

    assert found == [
        ("history", 1, 3, "10.500"),
        ("history", 4, 4, "0.500"),
        ("urgent", 1, 1, "0.500"),
    ]
    assert unstamped.found() == (), "each is told once"
    unstamped.stepped(7.0)
    assert [one.offset_s for one in unstamped.found()] == ["7.000"], "its time was not known"


@given(st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**9).filter(bool)), max_size=20))
def test_every_stamp_becomes_the_time_it_really_was(happened: list[int | None]) -> None:
    """Messages (None) and steps in any order: stamp + offset = true time."""
    unstamped, offset = Unstamped(), 0
    stamps: dict[int, tuple[int, int]] = {}
    for true, step in enumerate(happened):
        if step is None:
            stamps[len(stamps) + 1] = true + offset, true
            unstamped.note("live", len(stamps))
        else:
            offset += step
            unstamped.stepped(float(step))
    unstamped.stepped(float(10**10 - offset))
    found = {
        seq: float(one.offset_s)
        for one in unstamped.found()
        for seq in range(one.first, one.last + 1)
    }

    assert found.keys() == stamps.keys()
    for seq, (stamp, really) in stamps.items():
        assert stamp + found[seq] == really + 10**10


# --- a whole gateway ------------------------------------------------------------------------------


def boot_in_1970(directory: Path, seed: int, **more: Any) -> World:
    world = World(directory, seed, area=homes(3), period_s=60, **more)
    world.power_cut()
    world.broker.arrived.clear()
    world.clock.synced = False
    world.clock.step(30.0 - world.clock.now())
    world.start()
    return world


def corrected(world: World) -> list[dict[str, Any]]:
    """Every reading, with the time that the head-end knows by now."""
    ledger, late = world.broker.ledger, world.broker.ledger.restamped()
    bodies = [json.loads(payload) for _, _, payload in world.broker.arrived]
    all_ = [reading for body in bodies for reading in body.get("readings", ())]
    unknown = [one for one in all_ if one["clock"] == "unknown"]
    assert len(late) == len(unknown), "each is put right, once"
    assert ledger.summary().conflicts == 0
    return [one for one in all_ if one["clock"] != "unknown"] + late


def assert_times(world: World, readings: list[dict[str, Any]]) -> None:
    """The registers are those of the moment that the reading says it is of."""
    for one in readings:
        taken = datetime.fromisoformat(one["taken"]).timestamp()
        assert START <= taken <= world.clock.true()
        if kwh := one["values"].get("energy_active_import"):
            house = world.area.meters[one["meter"]].household
            # A second and a half: the line's latency, and the register's step.
            low, high = (
                house.energies(at)["energy_active_import"] // 10_000 for at in (taken - 1.5, taken)
            )
            assert low <= round(float(kwh) * 100) <= high


@pytest.mark.parametrize("connected", [True, False])
def test_times_at_the_head_end_are_true_once_the_clock_is_found(
    tmp_path: Path, connected: bool
) -> None:
    world = boot_in_1970(tmp_path, 1)
    if not connected:
        world.broker_down()
    world.run(HOUR_S + 1.0)
    true = world.clock.true()
    world.clock.step(true - world.clock.now())
    world.clock.synced = True
    world.run(HOUR_S)
    world.broker_up()
    world.run(600)

    readings = corrected(world)
    times = sorted({one["taken"] for one in readings if one["meter"] == "H0"})
    assert len(times) > 120
    assert_times(world, readings)
    kinds = {one["clock"] for one in readings}
    assert kinds == {"holdover", "trusted"}
    [event] = [e for e in world.broker.ledger.events if e["code"] == "clock_found"]
    lanes = {one["lane"] for one in event["restamp"]}
    assert lanes == {"urgent", "live" if connected else "history"}
    assert (event["clock"], event["at"][:10]) == ("trusted", "2026-01-01")
    world.stop()
    assert_nothing_lost(world)


@pytest.mark.parametrize("seed", range(4))
def test_a_clock_that_is_set_wrongly_first_is_put_right_as_well(tmp_path: Path, seed: int) -> None:
    world = boot_in_1970(tmp_path, seed)
    rng = random.Random(seed)
    for _ in range(3):
        # While meters are being read, so that a job has stamps of both clocks.
        world.run(60 - world.clock.now() % 60 + rng.uniform(0, 6))
        world.clock.step(rng.uniform(2, 15) * 365 * 86_400)
        world.run(rng.uniform(60, 900))
    assert world.clock.now() < EARLIEST
    world.clock.step(world.clock.true() - world.clock.now())
    world.clock.synced = True
    world.run(HOUR_S)

    assert_times(world, corrected(world))
    world.stop()
    assert_nothing_lost(world)


def test_what_waits_is_stamped_anew_before_it_is_written(tmp_path: Path) -> None:
    world = boot_in_1970(tmp_path, 1)
    # Two seconds after the polls of a minute: their group is not committed yet.
    world.run(60 - world.clock.now() % 60 + 4.0)
    waiting = world.core._recorder.unwritten
    assert waiting
    world.clock.step(world.clock.true() - world.clock.now())
    world.run(30)

    bodies = [json.loads(payload) for _, _, payload in world.broker.arrived]
    found = [one for body in bodies for one in body.get("readings", ())]
    assert len([one for one in found if one["clock"] == "holdover"]) >= waiting
    assert_times(world, [one for one in found if one["clock"] == "holdover"])
    world.stop()
