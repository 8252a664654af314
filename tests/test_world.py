"""Days of an area in seconds: outages of the broker and power cuts by seed, and nothing is lost."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.events import Arrived
from protocols.points import point
from simulators.area import PROFILES, build_area
from tests.world import START, World

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def readings(world: World) -> list[dict[str, Any]]:
    bodies = [json.loads(payload) for _, _, payload in world.broker.arrived]
    return [reading for body in bodies for reading in body.get("readings", ())]


def assert_nothing_lost(world: World) -> None:
    """Every number of every lane that the store ever gave is at the head-end."""
    summary = world.broker.ledger.summary()
    assert summary.gaps == 0
    assert summary.conflicts == 0
    for epoch, lane, last in world.given:
        (key,) = [k for k in world.broker.ledger.lanes if (k.epoch, k.lane) == (epoch, lane)]
        assert world.broker.ledger.lanes[key].upto == last


def assert_true(world: World) -> int:
    """Every energy that arrived is what the meter's register showed when it was read."""
    checked = 0
    for reading in readings(world):
        if "frozen" in reading:
            continue
        taken = datetime.fromisoformat(reading["taken"]).timestamp()
        before = world.area.meters[reading["meter"]].truth(taken - 5)
        after = world.area.meters[reading["meter"]].truth(taken)
        for name, text in reading["values"].items():
            known = point(name)
            assert known is not None
            if not known.cumulative:
                continue
            low, high = Decimal(before[name].text() or ""), Decimal(after[name].text() or "")
            # A register shows whole steps of its own resolution: 10 Wh in DL/T 645.
            step = Decimal("0.01")
            assert low - step <= Decimal(text) <= high + step, (reading["meter"], name)
            checked += 1
    return checked


def test_a_day_of_64_meters_is_read_stored_and_delivered(tmp_path: Path) -> None:
    world = World(tmp_path, seed=1, meters=64, lines=4)

    world.run(DAY_S)

    per_meter = {m["asset"]: m for m in world.states[0]["meters"]}
    assert len(per_meter) == 64
    assert {m["answered"] for m in per_meter.values()} == {96}
    assert assert_true(world) >= 64 * 96
    world.stop()
    assert_nothing_lost(world)


def test_the_same_seed_gives_the_same_messages(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, seed)
        world.run(2 * HOUR_S)
        digests.append(world.digest)
        world.stop()

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize("seed", range(12))
def test_broker_outages_and_power_cuts_lose_nothing(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed, meters=6, period_s=60)
    for _ in range(world.random.randint(2, 5)):
        world.later(world.random.uniform(0, 3 * HOUR_S), world.broker_down)
        world.later(world.random.uniform(0, 3 * HOUR_S), world.broker_up)
    for _ in range(world.random.randint(1, 6)):
        world.run(world.random.uniform(0, HOUR_S / 2))
        world.power_cut()
        world.run(world.random.uniform(0, 60))
        world.start()

    world.run(max(0.0, 3 * HOUR_S - world.clock.monotonic()))
    world.broker_up()
    world.run(HOUR_S)
    assert world.broker.ledger.summary().epochs == 1
    assert assert_true(world) > 1000
    world.stop()
    assert_nothing_lost(world)


def test_a_line_with_more_work_than_time_gives_every_meter_its_turn(tmp_path: Path) -> None:
    world = World(tmp_path, seed=2, lines=1, period_s=1)
    world.run(600)

    answered = [meter["answered"] for meter in world.states[-1]["meters"]]
    assert len(answered) == 8
    assert min(answered) >= 10
    assert min(answered) >= 0.9 * max(answered)
    assert world.states[-1]["lines"][0]["faults"] == {}
    world.stop()


def test_after_an_outage_the_newest_comes_before_the_backlog(tmp_path: Path) -> None:
    # Twenty seconds' worth of backlog at the lane's rate, and something new every ten.
    world = World(tmp_path, seed=3, meters=4, period_s=10)
    world.run(600)
    world.broker_down()
    world.run(3 * HOUR_S)
    back_at = world.clock.monotonic()
    world.broker_up()
    world.run(600)

    after = [(at, topic) for at, topic, _ in world.broker.arrived if at >= back_at]
    kinds = [topic.rsplit("/", 1)[1] for _, topic in after]
    first_live, last_late = kinds.index("readings"), len(kinds) - 1 - kinds[::-1].index("history")
    assert first_live < last_late
    # What is new while the backlog drains does not wait behind it.
    for at, topic, payload in world.broker.arrived:
        if at >= back_at and topic.endswith("/readings"):
            taken = [r["taken"] for r in json.loads(payload)["readings"]]
            newest = datetime.fromisoformat(max(taken)).timestamp()
            assert START + at - newest < 30
    world.stop()
    assert_nothing_lost(world)


def test_a_broker_that_forgets_is_served_again_on_request(tmp_path: Path) -> None:
    world = World(tmp_path, seed=4, period_s=60)
    world.run(HOUR_S)
    sent = [p for _, t, p in world.broker.arrived if t.endswith("/readings")]
    order = {
        "id": "r-1",
        "issuer": "head-end",
        "issued": "2026-01-01T01:00:00Z",
        "not_after": "2026-01-01T02:00:00Z",
        "command": {"name": "resend", "lane": "live", "first": 2, "last": 4},
    }
    payload = json.dumps(order).encode()

    topic = "taiqu/v1/world/commands"
    for mid in (1, 2):  # the second is a repeat: the same answer, the range is not sent again
        world.tell(world.link, Arrived(world.link.connection, mid, topic, payload, False))
        world.run(60)

    again = [p for _, t, p in world.broker.arrived if t.endswith("/readings")][len(sent) :]
    assert sorted(p for p in again if p in sent) == sorted(sent[1:4])
    results = world.broker.ledger.results["r-1"]
    assert [(r["stage"], r["data"]) for r in results] == [
        ("confirmed", {"count": 3, "missing": []})
    ] * 2
    world.stop()


def test_a_silent_meter_costs_the_others_nothing_and_is_noticed_when_back(tmp_path: Path) -> None:
    world = World(tmp_path, seed=5, period_s=60)
    world.run(HOUR_S)
    meter = world.area.meters["L0M01"].meter
    meter.silent = True
    world.run(4 * HOUR_S)
    states = {m["asset"]: m for m in world.states[0]["meters"]}
    assert states["L0M01"]["silent"]
    assert states["L0M01"]["asked"] < 60 + 5 + 60, "a silent meter is probed, not polled"
    others = [m for asset, m in states.items() if asset != "L0M01"]
    # Some of them were asked once more: is it the meter, or the line?
    assert {m["answered"] for m in others} <= {300, 301}

    meter.silent = False
    world.run(HOUR_S)

    codes = [(e["code"], e.get("meter")) for e in world.broker.ledger.events]
    assert codes.count(("comm_lost", "L0M01")) == 1
    assert codes.count(("comm_restored", "L0M01")) == 1
    assert not world.states[0]["meters"][1]["silent"]
    world.stop()
    assert_nothing_lost(world)


def test_three_protocols_of_three_speeds_share_one_pair(tmp_path: Path) -> None:
    """DL/T 645-2007 at 2400 8E1, 1997 at 1200 8E1, Modbus at 9600 8N1: all read."""
    meters = [
        {"asset": "NEW", "profile": "dlt645-2007-single-phase", "address": "000000000001"},
        {"asset": "OLD", "profile": "dlt645-1997-single-phase", "address": "000000000002"},
        {"asset": "MOD", "profile": "eastron-sdm630", "address": "7"},
    ]
    area = build_area({"seed": 3, "line": [{"name": "mixed", "meter": meters}]}, PROFILES, "mixed")
    world = World(tmp_path, 3, area=area, period_s=60)

    world.run(HOUR_S)

    assert len({meter.settings for meter in world.config.meters}) == 3
    assert [m["answered"] for m in world.states[0]["meters"]] == [60, 60, 60]
    (line,) = world.states[0]["lines"]
    assert (line["faults"], line["strays"]) == ({}, {})
    assert assert_true(world) >= 180
    world.stop()
    assert_nothing_lost(world)
