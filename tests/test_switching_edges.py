"""Switching where things cross: an old look and a new command, a second judgement, a stop."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from gateway.prepayment.ledger import Ledger
from gateway.store.meter_facts import Prepays
from gateway.switching.relay_look import What
from tests.switch_faults import lose_the_first_command
from tests.switch_world import HOUR, SwitchWorld
from tests.world import World

Make = Callable[..., SwitchWorld]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **more)

    return world


def looked_at(world: SwitchWorld) -> bool:
    """Whether a look at the first meter is under way."""
    assert world.core._switching is not None
    work = world.core._switching.work._busy.get("M0")
    return work is not None and work.sending is None and work.what is What.STATE


def test_a_look_that_fails_after_the_payment_is_not_the_restores_reply(make: Make) -> None:
    world = make()
    world.to_cut()
    world.meter().meter.silent = True
    world.quickly(lambda: looked_at(world), 400)
    world.top_up("40.00")
    World.run(world, 0.1)
    assert world.relay_state() is At.RESTORE_SENT
    world.quickly(lambda: not looked_at(world), 60)
    assert world.relay_state() is At.RESTORE_SENT, "nothing was sent yet"
    world.meter().meter.silent = False
    world.quickly(lambda: world.relay_state() is At.ALLOWED, 30)
    assert world.told() == ["trip", "allow_close"]
    [(number, _), _] = world.store.operations("M0")
    assert [one.what for one in world.store.steps(number)] == ["sent", "state", "state"]


def test_r21_a_trip_that_is_judged_twice_has_one_place_in_the_limits(make: Make) -> None:
    world = make(switching="cuts_per_10_minutes = 1\ncuts_per_hour = 1")
    lost = lose_the_first_command(world)
    world.to_cut()
    assert len(lost) == 1
    assert world.told() == ["trip"]
    assert [one.allowed for one in world.store.decisions("1001")] == [True, True]
    assert len(world.store.mass().cut) == 1
    assert world.relay_state() is At.OPEN


@pytest.mark.parametrize(
    "protected", [{"no_cut": {"reason": "oxygen"}}, {"mode": "prepay_agreement"}]
)
def test_who_cannot_be_cut_gets_no_notice_that_is_taken_back_at_once(
    make: Make, protected: dict[str, Any]
) -> None:
    world = make()
    world.run(180)
    world.open(**protected)
    world.run(5)
    world.agree()
    world.run(2 * HOUR)
    assert world.core._prepaid is not None
    assert world.core._prepaid.journal.balances("1001")[Ledger.PREPAID] < 0
    assert world.events("disconnection") == []
    assert world.case_state() in (None, State.WATCH)


def turn(world: SwitchWorld, how: str) -> None:
    """Turn the stop switch on."""
    if how == "order":
        world.order("stop", reason="storm")
    elif how == "file":
        (world.config.store_directory / "stop").touch()
    else:
        world.config.path.with_name("level").write_text("0\n")


def with_a_line(tmp_path: Path) -> str:
    (tmp_path / "level").write_text("1\n")
    return f'stop_line = "{tmp_path}/level"'


@pytest.mark.parametrize("how", ["file", "line", "order"])
def test_r25_an_idle_gateway_says_within_a_second_that_it_stops(
    make: Make, tmp_path: Path, how: str
) -> None:
    world = make(switching=with_a_line(tmp_path), count=1)
    world.run(303.3)
    assert world.events("stop_switch") == []
    turn(world, how)
    World.run(world, 1.0)
    assert [one["on"] for one in world.events("stop_switch")] == [True]


@pytest.mark.parametrize("how", ["file", "line"])
def test_r25_a_trip_that_waits_for_the_line_is_not_sent(
    make: Make, tmp_path: Path, how: str
) -> None:
    world = make(switching=with_a_line(tmp_path))
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    kept = world.store.case("1001")
    assert kept is not None
    world.until(lambda: world.clock.now() > kept.case.trip_at - 10, HOUR)
    world.hurry_polls()
    world.quickly(lambda: world.relay_state() is At.TRIP_SENT, 300)
    assert world.frames() == [], "another exchange is under way"
    turn(world, how)
    world.run(60)
    assert "trip" not in world.told()
    assert world.supplied()
    assert world.case_state() is State.APPROVED


def test_a_meter_that_turns_out_to_keep_its_own_balance_is_not_cut_by_us_too(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    prepaid = world.core._prepaid
    assert prepaid is not None
    found = Prepays(meter="M0", kind="money", since=date(2026, 1, 1), at=world.clock.now())
    with world.database.transaction():
        prepaid.facts.set_prepays(found)
    prepaid.settlement.facts_changed()
    world.run(20)
    assert world.case_state() is State.WATCH
    told = len(world.events("disconnection"))
    world.run(4 * HOUR)
    assert len(world.events("disconnection")) == told
    assert world.told() == []
