"""Clocks in the simulated world: set by the broadcast time where the rules allow it, else told."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ConfigError
from protocols.dlt645 import BROADCAST, BROADCAST_TIME, find_frame
from simulators.area import PROFILES, Area, build_area
from tests.world import World

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MIDNIGHT = 16 * HOUR_S
"""From the world's start (08:00 local) to the first local midnight."""


def area(**offsets_s: int) -> Area:
    """One pair with two speeds: meters by name, those of S at 2400 baud, O of 1997 at 1200."""
    models = {"O": "dlt645-1997-single-phase"}
    rows = [
        {
            "asset": asset,
            "profile": models.get(asset[0], "dlt645-2007-single-phase"),
            "address": f"{n + 1:012}",
            "clock_offset_s": offset_s,
        }
        for n, (asset, offset_s) in enumerate(offsets_s.items())
    ]
    return build_area({"seed": 1, "line": [{"name": "line0", "meter": rows}]}, PROFILES, "clocks")


class Heard:
    """What the pair of a world hears of broadcasts: local time, and speed."""

    def __init__(self, world: World) -> None:
        self.times: list[tuple[datetime, int]] = []
        self.told: list[datetime] = []
        self._world = world
        self.listen()

    def listen(self) -> None:
        pair = self._world.wires["line0"].pair
        self._hear: Callable[..., list[tuple[float, bytes]]] = pair.hear
        pair.hear = self.hear  # type: ignore[method-assign,assignment]

    def hear(self, data: bytes, now: float, baud: int, parity: str) -> Any:
        frame, _ = find_frame(data)
        if frame and (frame.address, frame.control) == (BROADCAST, BROADCAST_TIME):
            self.times.append((local(now), baud))
            told = datetime.strptime(frame.data[::-1].hex(), "%y%m%d%H%M%S").replace(tzinfo=UTC)
            assert abs((told - local(now)).total_seconds()) <= 0.51, "a wrong time was broadcast"
        return self._hear(data, now, baud, parity)


def local(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC) + timedelta(hours=8)


def make(directory: Path, set_s: int = 10, **offsets_s: int) -> tuple[World, Heard]:
    meters = area(**offsets_s)
    directory.mkdir(exist_ok=True)
    world = World(directory, 1, area=meters, period_s=7200, collection=f"clock_set_s = {set_s}")
    return world, Heard(world)


def off_s(world: World, asset: str) -> float:
    now = world.clock.now()
    return world.area.meters[asset].meter.clock.shows(now) - now


def told(world: World, asset: str) -> list[tuple[str, float]]:
    return [
        (e["code"], float(e["offset_s"]))
        for e in world.broker.ledger.events
        if e.get("meter") == asset and e["code"].startswith("clock_")
    ]


def test_clocks_are_set_and_read_again_and_one_too_far_off_is_told(tmp_path: Path) -> None:
    world, heard = make(tmp_path, S1=3, S2=90, S3=1000, O1=-45)
    world.run(HOUR_S)

    assert sorted(baud for _, baud in heard.times) == [1200, 2400]
    assert [abs(off_s(world, asset)) <= 1 for asset in ("S1", "S2", "O1")] == [True] * 3
    assert off_s(world, "S3") == 1000
    (before, before_s), (after, after_s) = told(world, "S2")
    assert (before, after) == ("clock_offset", "clock_set")
    assert abs(before_s - 90) <= 2
    assert abs(after_s) <= 2
    assert [code for code, _ in told(world, "O1")] == ["clock_set"]
    assert told(world, "S1") == []
    (event,) = [e for e in world.broker.ledger.events if e.get("meter") == "S3"]
    assert event["code"] == "clock_offset"
    assert "write its date and time (04000101 and 04000102) with its password" in event["detail"]
    (event,) = [e for e in world.broker.ledger.events if e.get("meter") == "O1"]
    assert re.fullmatch("it was off by -4[3-7] s before the broadcast time", event["detail"])
    world.stop()


def test_each_speed_of_a_pair_is_told_once(tmp_path: Path) -> None:
    world, heard = make(tmp_path, S1=90, O1=-90, S2=60)
    world.run(HOUR_S)

    assert sorted(baud for _, baud in heard.times) == [1200, 2400]
    assert all(abs(off_s(world, asset)) <= 1 for asset in ("S1", "O1", "S2"))
    world.stop()


@pytest.mark.parametrize("set_s", [0, 120])
def test_no_clock_is_set_that_need_not_be(tmp_path: Path, set_s: int) -> None:
    world, heard = make(tmp_path, set_s, S1=90)
    world.run(DAY_S)

    assert heard.times == []
    assert off_s(world, "S1") == 90
    world.stop()


def test_the_time_is_never_told_around_midnight(tmp_path: Path) -> None:
    world, heard = make(tmp_path, S1=0, S2=0)
    meter = world.area.meters["S1"].meter
    world.run(MIDNIGHT - HOUR_S / 2)
    meter.clock = type(meter.clock)(100.0)
    world.run(HOUR_S)

    assert len(heard.times) == 1
    for moment, _ in heard.times:
        assert 600 <= moment.hour * 3600 + moment.minute * 60 + moment.second < 900
    world.stop()


def test_a_meter_that_does_not_obey_is_told_once_a_day_and_reported(tmp_path: Path) -> None:
    world, heard = make(tmp_path, S1=90)
    meter = world.area.meters["S1"].meter
    meter.take_time = lambda _data, _local: None  # type: ignore[method-assign,assignment]
    world.run(DAY_S)

    days = [moment.date() for moment, _ in heard.times]
    assert len(days) == 2
    assert len(set(days)) == 2
    details = [e["detail"] for e in world.broker.ledger.events if e["code"] == "clock_offset"]
    assert sum(detail.startswith("did not obey, it was off by +") for detail in details) == 2
    assert not [e for e in world.broker.ledger.events if e["code"] == "clock_set"]
    world.stop()


def test_nothing_is_set_by_a_clock_that_is_not_trusted(tmp_path: Path) -> None:
    world, heard = make(tmp_path, S1=90)
    world.clock.synced = False
    world.run(2 * HOUR_S)
    assert len(heard.times) <= 1
    begun = len(heard.times)

    world.clock.step(200)
    world.run(DAY_S)
    assert len(heard.times) == begun
    world.stop()


@pytest.mark.parametrize("cut_s", [0.5, 3.0, 5.8, 6.2, 10.9, 12.0, 90.0])
def test_a_power_cut_never_tells_the_time_twice_a_day(tmp_path: Path, cut_s: float) -> None:
    world, heard = make(tmp_path, S1=90)
    world.run(cut_s)
    world.power_cut()
    world.run(1.0)
    world.start()
    heard.listen()
    world.run(HOUR_S)

    assert len(heard.times) <= 1
    assert (abs(off_s(world, "S1")) <= 1) == bool(heard.times)
    world.stop()


def test_a_power_cut_between_note_and_broadcast_costs_a_day(tmp_path: Path) -> None:
    world, heard = make(tmp_path, S1=90)
    while not world.database.meta("time told line0 2400 8E1"):
        world.run(0.01)
    world.power_cut()
    world.run(1.0)
    world.start()
    heard.listen()
    world.run(HOUR_S)
    assert heard.times == []

    world.run(DAY_S)
    assert len(heard.times) == 1
    assert abs(off_s(world, "S1")) <= 1
    world.stop()


@pytest.mark.parametrize("set_s", [5, 301])
def test_a_limit_that_makes_no_sense_is_refused(tmp_path: Path, set_s: int) -> None:
    with pytest.raises(ConfigError, match="10 to 300; 0 for never"):
        make(tmp_path, set_s, S1=0)
