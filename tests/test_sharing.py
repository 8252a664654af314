"""Two meters at one address: found out, told, and not believed; noise is not taken for them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.events import Doubled, Priority
from simulators.area import PROFILES, Area, build_area
from tests.line_world import Ask, answer, honest, says, silent, truth
from tests.line_world import World as Pair
from tests.line_world import world as make_pair
from tests.test_world import readings
from tests.world import World

HOUR_S = 3600.0


def doubled(pair: Pair) -> list[str]:
    return [event.meter for event in pair.events if isinstance(event, Doubled)]


def twice(ask: Ask) -> list[tuple[float, bytes]]:
    return [(0.1, answer(ask, truth(ask))), (0.4, answer(ask, b"else"))]


def test_a_second_answer_to_three_requests_means_two_meters() -> None:
    pair = make_pair("1", "2", listen_s=0.5)
    pair.behaviour[1] = twice
    for item in (1, 2, 3, 4):
        pair.job("1", item)
        pair.job("2", item)
    pair.run(1020)

    assert doubled(pair) == ["1", "1"], "at the third, and while it lasts"
    assert not [o for done in pair.done for o in done.outcomes if o.fault]


def test_an_urgent_job_does_not_wait_for_second_answers() -> None:
    pair = make_pair("1", "2", listen_s=5.0)
    pair.job("1", 1)
    pair.job("2", 1, priority=Priority.RELAY, at=1000.3)
    pair.job("2", 2, at=1000.3)
    pair.run(1020)

    urgent, poll = (at for at, meter, _ in pair.sent if meter == "2")
    assert urgent < 1000.5
    assert poll > 1005


def test_each_meter_is_listened_to_once_a_day() -> None:
    pair = make_pair("1", listen_s=0.5)
    for item in range(20):
        pair.job("1", item)
    pair.run(1020)

    assert pair.sent[1][0] - pair.sent[0][0] > 0.6
    assert pair.sent[-1][0] - pair.sent[1][0] < 18 * 0.3


def test_a_late_answer_is_no_second_meter() -> None:
    pair = make_pair("1", listen_s=0.5, timeout_s=0.3)
    count = 0

    def late(ask: Ask) -> list[tuple[float, bytes]]:
        """The first try is answered when the second is under way."""
        nonlocal count
        count += 1
        return [(0.5 if count % 2 else 0.15, answer(ask, truth(ask)))]

    pair.behaviour[1] = late
    for item in range(8):
        pair.job("1", item)
    pair.run(1040)

    assert doubled(pair) == []
    assert len(pair.done) == 8


@pytest.mark.parametrize("behaviour", [honest, silent, says((0.1, b"\x21\x01\x00"))])
def test_one_meter_is_one_whatever_it_says(behaviour: Any) -> None:
    pair = make_pair("1", listen_s=0.5)
    pair.behaviour[1] = behaviour
    for item in range(10):
        pair.job("1", item)
    pair.run(1100)

    assert doubled(pair) == []


def area(delay_ms: int, faults: str = "", second: bool = True) -> Area:
    """A1 and, hidden from the configuration, another meter at its address; and A2 beside them."""
    common = {"profile": "dlt645-2007-single-phase"}
    rows: list[dict[str, object]] = [
        {"asset": "A1", "address": "000000000001", **common, "faults": faults},
        {"asset": "A2", "address": "000000000002", **common},
    ]
    if second:
        more = {"asset": "B1", "address": "000000000001", "delay_ms": delay_ms, "daily_kwh": 90}
        rows.append(more | common)
    return build_area({"seed": 4, "line": [{"name": "line0", "meter": rows}]}, PROFILES, "shared")


def shared(world: World) -> list[dict[str, Any]]:
    return [e for e in world.broker.ledger.events if e["code"].startswith("address_")]


@pytest.mark.parametrize("delay_ms", [40, 400])
def test_two_meters_at_one_address_are_told_and_not_believed(tmp_path: Path, delay_ms: int) -> None:
    world = World(tmp_path, 1, area=area(delay_ms), hidden=["B1"], period_s=60)
    world.run(2 * HOUR_S)

    (event,) = shared(world)
    assert (event["code"], event["meter"], event["line"]) == ("address_shared", "A1", "line0")
    assert event["detail"].startswith("two meters answer at address 000000000001; nothing of it")
    told_at = datetime.fromisoformat(event["at"]).timestamp()
    after = [
        one
        for one in readings(world)
        if one["meter"] == "A1" and datetime.fromisoformat(one["taken"]).timestamp() > told_at
    ]
    assert not [one for one in after if one["values"]]
    assert [one for one in readings(world) if one["meter"] == "A2" and one["values"]]
    assert not [key for key in world.broker.ledger.freezes if key[0] == "A1"]
    (state,) = [m for m in world.states[0]["meters"] if m["asset"] == "A1"]
    assert state["reason"] == "two meters answer at its address"
    world.stop()


def test_two_meters_that_damage_each_other_wholly_are_silent_with_that_reason(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, 1, area=area(95), hidden=["B1"], period_s=60)
    world.run(HOUR_S)

    assert not [one for one in readings(world) if one["meter"] == "A1"]
    (event,) = [e for e in world.broker.ledger.events if e.get("meter") == "A1"]
    assert event["code"] == "comm_lost"
    assert "whether two meters share the address" in event["detail"]
    world.stop()


def test_a_meter_is_believed_again_a_day_after_the_other_was_taken_away(tmp_path: Path) -> None:
    world = World(tmp_path, 1, area=area(400), hidden=["B1"], period_s=900)
    world.run(HOUR_S)
    assert [e["code"] for e in shared(world)] == ["address_shared"]
    world.area.meters["B1"].meter.silent = True
    world.run(25.5 * HOUR_S)

    assert [e["code"] for e in shared(world)] == ["address_shared", "address_restored"]
    assert [m["reason"] for m in world.states[0]["meters"]] == ["", ""]
    last = [one for one in readings(world) if one["meter"] == "A1" and "frozen" not in one][-1]
    assert last["values"]
    world.stop()


@pytest.mark.parametrize("faults", ["bit_errors=0.001", "bit_errors=0.006", "late=0.2,noise=0.5"])
def test_noise_is_not_taken_for_a_second_meter(tmp_path: Path, faults: str) -> None:
    alone = area(0, faults, second=False)
    world = World(tmp_path, 1, area=alone, period_s=60)
    world.run(6 * HOUR_S)

    assert shared(world) == []
    assert world.states[0]["lines"][0]["strays"]
    world.stop()
