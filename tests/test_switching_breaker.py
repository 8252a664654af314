"""A meter whose customer hangs behind a breaker on an I/O module: the breaker is switched, the
meter says whose it is and whether anything flows.  Each invariant by its number.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ConfigError
from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from protocols.dlt645_relay import parse
from protocols.relay import Action
from simulators.area import PROFILES, Area, build_area
from simulators.relay_scenarios import NORMAL, Behaviour
from tests.switch_world import HOUR, SwitchWorld

Make = Callable[..., SwitchWorld]
SINGLE = "dlt645-2007-single-phase"
NO_RELAY = "dlt645-2007-three-phase-no-relay"
ROW = 'breaker = "K0"\ndirect_close = true\n'


def street(
    breaker: str,
    relay: str,
    *,
    apart: bool = False,
    replaced_at: datetime | None = None,
    **meter: Any,
) -> Area:
    """M0 with the breaker K0 behind it, and two ordinary homes, on one line; K0 ``apart`` on one
    of its own, and another in its place from ``replaced_at`` on.
    """
    home = {"daily_kwh": 24, "prepays": "none"}
    address = f"{9:012}" if breaker == SINGLE else "9"
    module = {
        "asset": "K0",
        "profile": breaker,
        "address": address,
        "relay": relay,
        "switches": "M0",
        "swapped_at": replaced_at,
    }
    rows = [
        {"asset": "M0", "profile": NO_RELAY, "address": f"{100:012}", **home, **meter},
        *([] if apart else [module]),
        *(
            {
                "asset": f"M{n}",
                "profile": SINGLE,
                "address": f"{100 + n:012}",
                **home,
            }
            for n in (1, 2)
        ),
    ]
    lines = [{"name": "east", "meter": rows}]
    if apart:
        lines.append({"name": "west", "meter": [module]})
    return build_area({"seed": 1, "line": lines}, PROFILES, "street")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(
        relay: str = "normal", *, breaker: str = "external-breaker", row: str = ROW, **more: Any
    ) -> SwitchWorld:
        return SwitchWorld(tmp_path, area=street(breaker, relay, **more), rows={"M0": row})

    return world


def behave(world: SwitchWorld, behaviour: Behaviour) -> None:
    """The breaker does so from now on."""
    relay = world.meter("K0").relay
    assert relay is not None
    relay.behaviour = behaviour


@pytest.mark.parametrize("apart", [False, True], ids=["one line", "two lines"])
def test_a_breaker_is_opened_proven_and_closed_for_the_account_of_its_meter(
    make: Make, *, apart: bool
) -> None:
    world = make(apart=apart)
    world.to_cut()
    assert (world.case_state(), world.relay_state()) == (State.OPEN, At.OPEN)
    assert world.told("K0") == ["trip"]
    assert not world.supplied()
    assert world.relay_state("K0") is None, "one row for one point of supply"

    world.top_up("40.00")
    world.until(lambda: world.relay_state() is At.CLOSED, 120)
    assert world.told("K0") == ["trip", "close"]
    assert world.supplied()
    assert world.case_state() is State.WATCH


def test_r05_r35_a_breaker_that_speaks_dlt645_has_deadline_and_button(make: Make) -> None:
    world = make("button=60", breaker=SINGLE, row='breaker = "K0"\n')
    world.to_cut()
    assert world.told("K0") == ["trip"]
    world.top_up("40.00")
    world.until(lambda: world.relay_state() is At.ALLOWED, 120)
    world.until(lambda: world.relay_state() is At.CLOSED, 600)
    assert world.told("K0") == ["trip", "allow_close"]
    assert world.supplied()
    for frame in world.frames():
        assert frame.address == f"{9:012}"
        control = parse(frame.data)
        assert control is not None
        assert control.deadline is not None


def test_r02_another_breaker_in_its_place(make: Make) -> None:
    at = datetime(2026, 1, 1, 2, 10, tzinfo=UTC)
    world = make(breaker=SINGLE, row='breaker = "K0"\n', replaced_at=at)
    world.to_debt()
    world.until(lambda: bool(world.failed()), 4 * HOUR)
    assert world.failed()[0] == ["R02"]
    assert world.told("K0") == []


def test_r02_another_meter_in_front_of_the_breaker(make: Make) -> None:
    world = make(swapped_at=datetime(2026, 1, 1, 2, 10, tzinfo=UTC))
    world.to_debt()
    world.until(lambda: bool(world.failed()), 4 * HOUR)
    assert "R02" in world.failed()[0]
    assert world.told("K0") == []


def test_r02_a_breaker_that_does_not_answer_is_not_tripped(make: Make) -> None:
    world = make()
    world.to_debt()
    world.meter("K0").meter.silent = True
    world.until(lambda: bool(world.failed()), 4 * HOUR)
    assert "R27" in world.failed()[0]
    assert "R02" not in world.failed()[0], "its meter was asked all the same"


def test_r04_a_trip_that_waited_too_long_is_not_sent(make: Make) -> None:
    world = make()
    world.to_debt()
    world.run(2.1 * HOUR)
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(5)
    world.meter("K0").meter.silent = True
    id_ = world.order("relay.trip", for_s=60, meter="M0", account="1001", reason="works")
    world.run(120)
    world.meter("K0").meter.silent = False
    world.run(600)
    assert world.stages(id_)[-1] in ("expired", "failed")
    assert world.told("K0") == []


def test_r27_a_breaker_that_does_not_follow_its_coil_has_not_cut(make: Make) -> None:
    world = make("stuck")
    world.to_debt()
    world.until(lambda: world.case_state() in (State.FAILED, State.UNKNOWN), 8 * HOUR)
    assert world.told("K0") == ["trip"]
    assert world.supplied()
    assert "open" not in [one["what"] for one in world.events("relay")]


@pytest.mark.parametrize("relay", ["mute", "noise"])
def test_r28_a_lost_reply_is_read_back_and_nothing_is_sent_twice(make: Make, relay: str) -> None:
    world = make(relay)
    world.to_cut()
    assert world.relay_state() is At.OPEN
    assert world.told("K0") == ["trip"]


def test_r29_r30_its_meter_goes_on_counting_behind_an_open_contact(make: Make) -> None:
    world = make("welded")
    world.to_debt()
    world.until(lambda: world.relay_state() is At.WELD_OR_BYPASS, 8 * HOUR)
    world.run(2 * HOUR)
    assert world.relay_state() is At.WELD_OR_BYPASS
    assert world.told("K0") == ["trip"]
    assert world.case_state() is State.FAILED


def test_r31_it_rests_between_two_operations(make: Make) -> None:
    world = make()
    world.to_cut()
    world.top_up("40.00")
    world.until(lambda: world.relay_state() is At.CLOSED, 120)
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(5)
    id_ = world.order("relay.trip", meter="M0", account="1001", reason="again")
    world.until(lambda: world.stages(id_)[-1:] == ["failed"], 200)
    assert "R31" in world.failed()[0]
    assert world.told("K0") == ["trip", "close"]


@pytest.mark.parametrize("state", [At.TRIP_SENT, At.TRIP_VERIFYING, At.TRIP_WATCHING])
def test_r34_a_power_cut_between_sent_and_verified(make: Make, state: At) -> None:
    world = make()
    world.to_sent()
    world.quickly(lambda: world.relay_state() is state, 60)
    world.power_cut()
    world.run(60)
    world.start()
    world.run(600)
    assert world.told("K0").count("trip") <= 1
    assert world.supplied() == ("trip" not in world.told("K0"))
    world.top_up("60.00")
    world.until(lambda: world.relay_state() is At.CLOSED and world.supplied(), 600)
    assert world.supplied()


def test_r34_a_breaker_that_is_stuck_open_is_no_restore(make: Make) -> None:
    world = make("stuck-open")
    world.to_cut()
    world.top_up("40.00")
    world.until(lambda: world.relay_state() is At.STUCK_OPEN, HOUR)
    assert world.relay_state() is At.STUCK_OPEN
    behave(world, NORMAL)
    world.until(lambda: world.relay_state() is At.CLOSED, 2 * HOUR)
    assert world.supplied()


def test_r35_who_could_only_be_closed_unattended_is_not_cut_without_the_contract(
    make: Make,
) -> None:
    world = make(row='breaker = "K0"\n')
    world.to_debt()
    world.run(4 * HOUR)
    assert world.told("K0") == []
    assert world.case_state() is State.APPROVED, "not even a last call is made"
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(5)
    id_ = world.order("relay.trip", meter="M0", account="1001", reason="works")
    world.until(lambda: world.stages(id_)[-1:] == ["failed"], 200)
    assert "closed directly" in world.result(id_)["reason"]


def test_r35_a_breaker_opened_by_hand_is_closed_on_a_persons_word_alone(make: Make) -> None:
    world = make()
    world.to_debt()
    relay = world.meter("K0").relay
    assert relay is not None
    relay.advance(world.clock.true())
    relay.command(Action.TRIP)
    world.until(lambda: world.relay_state() is At.HELD, HOUR)
    world.top_up("40.00")
    world.run(HOUR)
    assert world.told("K0") == ["trip"], "no payment closes it: somebody may stand at the wires"
    id_ = world.order("relay.close", meter="M0", reason="work is over, nobody is at the wires")
    world.until(lambda: world.relay_state() is At.CLOSED, 120)
    world.run(10)
    assert world.stages(id_) == ["accepted", "confirmed"]
    assert world.supplied()


LOAD_SIDE = "external-breaker-load-side"
FED_FROM_BEHIND = Behaviour(load_side=True)


def test_r35_no_closing_onto_voltage_behind_the_breaker(make: Make) -> None:
    world = make(breaker=LOAD_SIDE)
    world.to_cut()
    behave(world, FED_FROM_BEHIND)
    world.top_up("40.00")
    world.run(20 * 60)
    assert world.told("K0") == ["trip"], "nothing was even tried"
    told = [one["what"] for one in world.events("relay")]
    assert told.count("load_voltage") == 1
    assert "restore_late" in told
    kept = world.store.relay("M0")
    assert kept is not None
    assert kept.relay.load_voltage

    behave(world, NORMAL)
    world.until(lambda: world.relay_state() is At.CLOSED, HOUR)
    assert world.told("K0") == ["trip", "close"]
    assert world.supplied()
    kept = world.store.relay("M0")
    assert kept is not None
    assert not kept.relay.load_voltage


def test_r35_voltage_behind_an_open_breaker_is_evidence_and_no_second_trip(make: Make) -> None:
    world = make(breaker=LOAD_SIDE)
    world.to_cut()
    behave(world, FED_FROM_BEHIND)
    world.run(HOUR)
    assert [one["what"] for one in world.events("relay")].count("load_voltage") == 1
    assert world.relay_state() is At.OPEN
    assert world.told("K0") == ["trip"]
    [(number, _)] = world.store.operations("M0")
    [seen] = [step for step in world.store.steps(number) if step.what == "seen"]
    assert seen.data["load_voltage"] is True


def test_r35_what_may_be_behind_the_breaker_is_not_guessed(make: Make) -> None:
    world = make(breaker=LOAD_SIDE)
    world.to_cut()
    world.meter("K0").meter.silent = True
    world.top_up("40.00")
    world.run(120)
    assert world.told("K0") == ["trip"]
    world.meter("K0").meter.silent = False
    world.until(lambda: world.relay_state() is At.CLOSED, HOUR)
    assert world.supplied()


def test_r40_the_record_names_device_and_both_frames(make: Make) -> None:
    world = make()
    world.to_cut()
    [(number, trip)] = world.store.operations("M0")
    assert {"energy_active_import", "voltage_l1n", "relay_state", "meter_number"} <= set(trip.seen)
    [sent] = [step for step in world.store.steps(number) if step.what == "sent"]
    assert sent.data["device"] == "K0"
    assert sent.data["frames"] == ["09050000FF008D72"]
    assert sent.data["answers"] == ["09050000FF008D72"]


def test_orders_name_the_meter_not_its_breaker(make: Make) -> None:
    world = make()
    world.run(60)
    id_ = world.order("relay.close", meter="K0", reason="which one?")
    world.run(10)
    assert world.stages(id_) == ["refused"]
    assert "breaker of meter M0" in world.result(id_)["reason"]


def test_what_a_breaker_cannot_be_told_is_refused_at_once(make: Make) -> None:
    world = make()
    world.run(60)
    id_ = world.order("relay.protect", meter="M0", on=True, reason="exam")
    world.run(10)
    assert world.stages(id_) == ["refused"]
    assert "cannot be protected" in world.result(id_)["reason"]
    assert world.store.operations("M0") == []


def test_r07_an_account_of_a_breaker_alone_has_nothing_to_switch(make: Make) -> None:
    world = make()
    world.run(180)
    world.open()
    world.run(5)
    id_ = world.order("relay.trip", meter="K0", account="1001", reason="which one?")
    world.run(10)
    assert world.stages(id_) == ["refused"]


@pytest.mark.parametrize(
    ("breaker", "rows", "problem"),
    [
        ("external-breaker", {"M1": 'breaker = "K0"\n'}, "M1 has one of its own by dlt645-2007-si"),
        ("external-breaker", {"M0": 'breaker = "K1"\n'}, "no such asset"),
        ("external-breaker", {"M0": 'breaker = "M0"\n'}, "it is no breaker"),
        ("external-breaker-blind", {"M0": 'breaker = "K0"\n'}, "tells no contact"),
        (
            "external-breaker",
            {"M0": 'breaker = "K0"\n', "M1": 'breaker = "K0"\n'},
            "already the breaker of M0",
        ),
    ],
)
def test_a_wrong_breaker_is_a_mistake_of_the_file(
    tmp_path: Path, breaker: str, rows: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        SwitchWorld(tmp_path, area=street(breaker, "normal"), rows=rows)
    [told] = caught.value.problems
    assert problem in told
    assert ".breaker: found" in told
