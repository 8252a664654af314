"""How supply comes back (button, direct, voltage behind the relay), protected supply, and accounts
that are not cut at all: a whole gateway on simulated time, each invariant by its number.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from gateway.store.switching import Operation, Step
from protocols.dlt645 import find_frame
from protocols.dlt645_relay import parse
from protocols.relay import Action
from simulators.relay_scenarios import NORMAL, Behaviour
from tests.switch_world import HOUR, SwitchWorld
from tests.world import START

Make = Callable[..., SwitchWorld]
DIRECT = {"M0": "direct_close = true\n"}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **more)

    return world


def behave(world: SwitchWorld, behaviour: Behaviour) -> None:
    relay = world.meter().relay
    assert relay is not None
    relay.behaviour = behaviour


def operations(world: SwitchWorld, meter: str = "M0") -> list[tuple[Operation, list[Step]]]:
    """Oldest first, each with what came of it."""
    return [(one, world.store.steps(n)) for n, one in reversed(world.store.operations(meter))]


# --- the customer's button, and direct closing ----------------------------------------------------


def test_the_button_is_waited_for_over_restarts_and_nothing_more_is_sent(make: Make) -> None:
    world = make("button=5400")
    world.to_cut()
    world.top_up("60.00")
    world.until(lambda: world.relay_state() is At.ALLOWED, 60)
    for _ in range(3):
        world.power_cut()
        world.run(600)
        world.start()
        world.run(600)
        assert (world.relay_state(), world.supplied()) == (At.ALLOWED, False)
    assert world.case_state() is State.WATCH
    world.until(lambda: world.relay_state() is At.CLOSED, HOUR)
    assert world.supplied()
    assert world.told() == ["trip", "allow_close"]
    assert [one["what"] for one in world.events("relay")][-2:] == ["allowed", "closed"]
    assert "restore_late" not in [one["what"] for one in world.events("relay")]


def test_the_button_is_pressed_while_the_gateway_has_no_power(make: Make) -> None:
    world = make("button=300")
    world.to_cut()
    world.top_up("60.00")
    world.until(lambda: world.relay_state() is At.ALLOWED, 60)
    world.power_cut()
    world.run(HOUR)
    assert world.supplied()
    world.start()
    world.until(lambda: world.relay_state() is At.CLOSED, 900)
    assert world.relay_state() is At.CLOSED
    assert world.told() == ["trip", "allow_close"]


def test_r35_direct_close_by_contract(make: Make) -> None:
    world = make(rows=DIRECT)
    world.to_cut()
    world.top_up("60.00")
    world.until(lambda: world.relay_state() is At.CLOSED, 60)
    assert world.told() == ["trip", "close"]
    assert world.supplied()


def test_r35_a_relay_that_somebody_else_opened_waits_for_its_button(make: Make) -> None:
    world = make(rows=DIRECT)
    world.run(60)
    relay = world.meter().relay
    assert relay is not None
    relay.advance(world.clock.true())
    relay.command(Action.TRIP)
    world.until(lambda: world.relay_state() is At.HELD, HOUR)
    world.order("relay.close", meter="M0", reason="work is over")
    world.until(lambda: world.relay_state() is At.ALLOWED, 120)
    assert world.told() == ["trip", "allow_close"], "not directly: who stands at the wires?"


def test_r34_a_meter_that_refuses_for_voltage_behind_it_is_asked_again(make: Make) -> None:
    world = make("button=60")
    world.to_cut()
    behave(world, Behaviour(load_side=True))
    world.top_up("60.00")
    world.run(20 * 60)
    assert world.relay_state() is At.RESTORE_WANTED
    relay = world.meter().relay
    assert relay is not None
    assert len([one for one in relay.received if one.refused]) >= 3
    assert "restore_late" in [one["what"] for one in world.events("relay")]
    refused = [step for _, steps in operations(world) for step in steps if step.what == "refused"]
    assert refused[0].data["reasons"] == ["suspended"]
    assert refused[0].data["answers"]

    behave(world, NORMAL)
    world.until(lambda: world.relay_state() is At.ALLOWED, HOUR)
    assert world.told()[-1] == "allow_close"


# --- evidence -------------------------------------------------------------------------------------


def test_r39_r40_protected_supply_is_an_operation_as_any_other(make: Make) -> None:
    world = make(switching='operator = "0000002A"')
    world.to_debt()
    world.helpful = False
    on = world.order("relay.protect", meter="M0", on=True, reason="exam")
    world.run(60)
    refused = world.order("relay.protect", meter="M0", on=False, reason="exam over")
    world.run(60)
    world.top_up("60.00")
    world.run(10)
    off = world.order("relay.protect", meter="M0", on=False, reason="exam over")
    world.run(60)
    assert [world.stages(one)[-1] for one in (on, refused, off)] == [
        *("confirmed", "failed", "confirmed")
    ]

    [(set_on, after_on), (set_off, after_off)] = operations(world)
    assert (set_on.action, set_on.cause, set_on.decision) == ("protect_on", on, None)
    assert (set_off.action, set_off.cause, set_off.decision) == ("protect_off", off, 2)
    assert (set_on.account, set_on.purpose, set_on.operator) == ("1001", "order", "0000002A")
    for operation, steps, protected in ((set_on, after_on, True), (set_off, after_off, False)):
        assert {"energy_active_import", "voltage_l1n", "current_l1"} <= set(operation.seen)
        assert [step.what for step in steps] == ["sent", "seen"]
        assert steps[1].data["protected"] is protected
        assert "energy_active_import" in str(steps[1].data["values"])
    told = [one["what"] for one in world.events("relay")]
    assert told == ["protected", "unprotected"]
    assert world.relay_state() is None, "the relay itself was not switched"


def test_r40_every_operation_has_both_frames_operator_and_latency(make: Make) -> None:
    world = make("button=60", switching='operator = "0000002A"')
    world.to_cut()
    world.top_up("60.00")
    world.until(lambda: world.relay_state() is At.CLOSED, 600)
    world.order("relay.protect", meter="M0", on=True, reason="exam")
    world.run(60)
    done = operations(world)
    assert [one.action for one, _ in done] == ["trip", "allow_close", "protect_on"]
    for operation, steps in done:
        [sent] = [step for step in steps if step.what == "sent"]
        [frame], [answer] = _frames(sent, "frames"), _frames(sent, "answers")
        assert frame in world.sent
        told, _ = find_frame(frame)
        heard, _ = find_frame(answer)
        assert told is not None
        assert heard is not None
        assert (told.control, heard.control, heard.address) == (0x1C, 0x9C, told.address)
        control = parse(told.data)
        assert control is not None
        assert control.authority.operator.hex().upper() == operation.operator == "0000002A"
        assert int(str(sent.data["round_trip_ms"])) > 0
        assert operation.seen
        assert "energy_active_import" in str(steps[-1].data["values"]), "what it showed after"


def test_r40_what_was_refused_or_lost_is_recorded_with_what_was_sent(make: Make) -> None:
    world = make("mute")
    world.to_cut()
    [(_, steps)] = operations(world)
    [lost] = [step for step in steps if step.what == "no_reply"]
    assert (len(_frames(lost, "frames")), lost.data["answers"]) == (1, [])
    assert lost.data["fault"] == "silent"


def test_r40_a_trip_that_the_meter_refuses(make: Make) -> None:
    world = make("secured")
    world.to_debt()
    world.until(lambda: world.relay_state() is At.TRIP_FAILED, 8 * HOUR)
    [(_, steps)] = operations(world)
    [refused] = [step for step in steps if step.what == "refused"]
    [answer] = _frames(refused, "answers")
    found, _ = find_frame(answer)
    assert found is not None
    assert found.control == 0xDC
    assert int(str(refused.data["round_trip_ms"])) > 0


def _frames(step: Step, name: str) -> list[bytes]:
    found = step.data[name]
    assert isinstance(found, list)
    return [bytes.fromhex(one) for one in found]


# --- accounts that are not cut --------------------------------------------------------------------


def _meters(world: SwitchWorld, *others: dict[str, Any]) -> list[dict[str, Any]]:
    def row(asset: str) -> dict[str, Any]:
        exact = world.meter(asset).household.truth(START - 32 * HOUR)
        shown = exact["energy_active_import"].text() or "0"
        start = {"energy_active_import": shown[: shown.index(".") + 3]}
        return {"meter": asset, "since": "2025-12-30", "start": start}

    return [row("M0"), *(row("M1") | other for other in others)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [({}, "several meters add up to it"), ({"minus": True}, "somebody else's sub-meter")],
)
def test_r07_who_has_several_meters_is_charged_and_never_cut(
    make: Make, other: dict[str, Any], reason: str
) -> None:
    world = make()
    world.run(180)
    world.open(meters=_meters(world, other))
    world.run(5)
    world.agree()
    world.run(4 * HOUR)
    assert world.case_state() is None
    assert world.told("M0") == world.told("M1") == []

    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    trip = world.order("relay.trip", meter="M0", account="1001", reason="works")
    ask = world.order("disconnect.request", account="1001", reason="long overdue")
    world.run(30)
    for id_ in (trip, ask):
        assert world.stages(id_) == ["refused"]
        assert reason in world.result(id_)["reason"]
