"""The 15-minute grid in the simulated world: every moment once, and equal to the truth."""

import random
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from protocols import dlt645_load_curve as load_curve
from protocols.dlt645 import Frame, encode_frame
from simulators.area import PROFILES, Area, build_area
from tests.test_collector import asked, last_report, shift, spoil
from tests.test_world import assert_nothing_lost
from tests.world import START, World

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MIDNIGHT = 16 * HOUR_S
"""From the world's start (08:00 local) to the first local midnight."""
GRID = "grid_days = 1"


def unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def moments(world: World, asset: str) -> dict[float, dict[str, Any]]:
    """The readings of a meter's moments; each came once."""
    found = {}
    for (meter, at), readings in world.broker.ledger.grid.items():
        if meter == asset:
            [found[unix(at)]] = readings
    return found


def sources(world: World, asset: str) -> Counter[str]:
    return Counter(one["grid"]["source"] for one in moments(world, asset).values())


def assert_grid(world: World, asset: str, first: float, last: float) -> None:
    """Every quarter from ``first`` to ``last`` (seconds from the start) is there, and true."""
    found = moments(world, asset)
    assert {at - START for at in found} >= set(range(int(first), int(last) + 1, 900))
    house = world.area.meters[asset].household
    for at, reading in found.items():
        live = reading["grid"]["source"] == "live"
        taken = unix(reading["taken"])
        assert (at <= taken <= at + 60) if live else taken > at
        shown_at = taken if live else at
        low, high = (
            house.energies(moment)["energy_active_import"] // 10_000
            for moment in (shown_at - 1 if live else at, shown_at)
        )
        kwh = reading["values"]["energy_active_import"]
        assert low <= round(float(kwh) * 100) <= high, (asset, at - START)


def homes(count: int = 2, **more: Any) -> Area:
    meters = [
        {"asset": f"H{n}", "profile": "dlt645-2007-single-phase", "address": f"{n + 1:012}"} | more
        for n in range(count)
    ]
    return build_area({"seed": 1, "line": [{"name": "one", "meter": meters}]}, PROFILES, "homes")


def test_a_gateway_in_order_serves_the_grid_by_its_polls(tmp_path: Path) -> None:
    world = World(tmp_path, 1, area=homes(), collection=GRID)
    before = asked(world)
    world.run(MIDNIGHT + 60)

    # What was before the start comes from the load curve: today's 8 hours, and yesterday.
    for asset in ("H0", "H1"):
        assert_grid(world, asset, -32 * HOUR_S, MIDNIGHT)
        assert sources(world, asset) == {"live": 65, "curve": 128}
    assert before["H0", "00010000"] == 65 + 1, "the first reading alone is confirmed"
    topics = {t.rsplit("/", 1)[1] for _, t, body in world.broker.arrived if b'"curve"' in body}
    assert topics == {"history"}
    world.stop()
    assert_nothing_lost(world)


@pytest.mark.parametrize("seed", range(3))
def test_silence_outages_and_power_cuts_leave_no_gap_and_repeat_nothing(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path, seed, area=homes(3), collection=GRID)
    rng = random.Random(seed)
    silent = world.area.meters["H1"].meter
    world.later(rng.uniform(HOUR_S, 3 * HOUR_S), partial(setattr, silent, "silent", True))
    world.later(rng.uniform(4 * HOUR_S, 6 * HOUR_S), partial(setattr, silent, "silent", False))
    world.later(rng.uniform(0, 4 * HOUR_S), world.broker_down)
    world.later(rng.uniform(4 * HOUR_S, 6 * HOUR_S), world.broker_up)
    for _ in range(6):
        # Cut when a quarter's values are being read and written.
        world.run(900 - world.clock.monotonic() % 900 + rng.uniform(0, 12))
        world.run(900.0 * rng.randint(0, 3))
        world.power_cut()
        world.run(rng.choice((5.0, 30.0, 3000.0)))
        world.start()
    world.run(max(0.0, 8 * HOUR_S - world.clock.monotonic()))

    for asset in ("H0", "H1", "H2"):
        assert_grid(world, asset, -32 * HOUR_S, 7.5 * HOUR_S)
    assert sources(world, "H1")["curve"] > 128 + 4
    world.stop()
    assert_nothing_lost(world)


def test_the_days_completeness_counts_the_grid(tmp_path: Path) -> None:
    area = build_area(
        {
            "seed": 1,
            "line": [
                {
                    "name": "one",
                    "meter": [
                        {"asset": "H0", "profile": "dlt645-2007-single-phase", "address": "1" * 12},
                        {"asset": "X", "profile": "eastron-sdm630", "address": "7"},
                    ],
                }
            ],
        },
        PROFILES,
        "two",
    )
    world = World(tmp_path, 1, area=area, collection=GRID)
    world.run(4 * HOUR_S)
    modbus = world.area.meters["X"].meter
    modbus.silent = True
    world.run(2 * HOUR_S)
    modbus.silent = False
    world.area.meters["H0"].meter.silent = True
    world.later(MIDNIGHT - 3 * HOUR_S, lambda: setattr(world.area.meters["H0"].meter, "silent", 0))
    world.run(MIDNIGHT)

    reports = world.broker.ledger.completeness["2026-01-01"]
    assert [one["settled"] for one in reports] == [False, True], "told in time, and when whole"
    rows = {row["meter"]: row for row in reports[-1]["grid"]}
    assert rows["H0"] == {"meter": "H0", "due": 96, "read": 96, "absent": 0}
    # A Modbus meter has no load curve: the night before the start and its silence stay away.
    assert rows["X"]["read"] in range(64 - 9, 64 - 6)
    total = reports[-1]["grid_read"]
    assert (total, reports[-1]["grid_due"]) == (96 + rows["X"]["read"], 192)
    assert reports[-1]["rate_grid"] == f"{int(10_000 * total / 192) / 100:.2f}"
    assert "grid" not in last_report(world, "2025-12-30"), "before what is kept of it"
    world.stop()


def test_a_meter_without_a_load_curve_is_remembered(tmp_path: Path) -> None:
    world = World(tmp_path, 1, area=homes(1, load_curve=False), collection=GRID)
    counted = asked(world)
    world.run(HOUR_S + 60)
    assert counted["H0", "06040002"] == 1
    assert world.states[0]["meters"][0]["refused"] == ["06040002"]
    assert sources(world, "H0") == {"live": 5}

    world.power_cut()
    world.start()
    counted.clear()
    world.run(2 * HOUR_S)
    assert not [key for key in counted if key[1].startswith("06")]
    world.run(MIDNIGHT)
    [report] = world.broker.ledger.completeness["2026-01-01"]
    assert report["settled"], "what it missed will not come"
    assert report["grid"][0]["read"] in (63, 64)
    world.stop()


def test_two_registers_in_two_frames_are_one_reading(tmp_path: Path) -> None:
    area = build_area(
        {
            "seed": 1,
            "line": [
                {
                    "name": "one",
                    "meter": [
                        {
                            "asset": "T0",
                            "profile": "dlt645-2007-three-phase",
                            "address": "000000000009",
                            "kind": "shop",
                        }
                    ],
                }
            ],
        },
        PROFILES,
        "three-phase",
    )
    world = World(tmp_path, 1, area=area, collection=GRID)
    world.run(HOUR_S + 60)

    found = moments(world, "T0")
    assert sources(world, "T0")["live"] == 5
    for reading in found.values():
        assert reading["values"].keys() == {"energy_active_import", "energy_active_export"}
    assert_grid(world, "T0", -8 * HOUR_S, HOUR_S)
    world.stop()


def test_registers_that_are_not_polled_are_asked_for_on_the_quarter(tmp_path: Path) -> None:
    points = {"dlt645-2007-single-phase": ["voltage_l1n", "current_l1"]}
    world = World(
        tmp_path, 1, area=homes(), period_s=420, points=points, collection="grid_minutes = 30"
    )
    world.run(4 * HOUR_S + 60)

    for asset in ("H0", "H1"):
        live = [one for one in moments(world, asset).values() if one["grid"]["source"] == "live"]
        assert len(live) == 8, "the first was past before the meter was known to answer"
        assert all(unix(one["taken"]) - unix(one["grid"]["at"]) < 5 for one in live)
        assert all(at % 1800 == 0 for at in moments(world, asset))
    world.stop()


def test_a_load_curve_by_a_wrong_clock_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, 1, area=homes(1), collection=GRID)
    shift(world.area.meters["H0"], lambda: 600.0)
    world.run(2 * HOUR_S)

    curve = [one for one in moments(world, "H0").values() if one["grid"]["source"] == "curve"]
    assert len(curve) == 128
    told = {one["grid"].get("clock_offset_s") for one in curve[24:]}
    assert told <= {"599", "600", "601"}
    world.stop()


def test_a_curve_that_does_not_fit_is_read_twice_and_marked(tmp_path: Path) -> None:
    world = World(tmp_path, 1, area=homes(1), collection=GRID)
    meter = world.area.meters["H0"]
    lies = {"2025-12-31 09:00": 3, "2025-12-31 15:00": 1}
    """Moments, and how often they are told wrongly."""

    def lie(answer: bytes, _now: float) -> bytes:
        data = bytes(byte - 0x33 & 0xFF for byte in answer[14:-2])
        if answer[12] != 0x91 or data[:4] != bytes.fromhex("01000406"):
            return answer
        first, *rest = load_curve.decode(data[4:])
        at = str(first.at.amount)
        if not lies.get(at):
            return answer
        lies[at] -= 1
        wrong = load_curve.encode(datetime.fromisoformat(at), {"energy_active_import": 1})
        whole = wrong + data[4 + len(data[4:]) // (1 + len(rest)) :]
        return encode_frame(Frame(meter.address, 0x91, data[:4] + whole), 4)

    spoil(meter, lie)
    world.run(4 * HOUR_S)

    suspect = {
        datetime.fromtimestamp(at, UTC).isoformat()
        for at, one in moments(world, "H0").items()
        if one.get("suspect")
    }
    assert "2025-12-31T01:00:00+00:00" in suspect, "told twice alike"
    assert "2025-12-31T07:00:00+00:00" not in suspect, "told wrongly once"
    assert len(suspect) <= 6
    world.stop()


def test_nothing_is_a_moment_while_nobody_knows_the_time(tmp_path: Path) -> None:
    world = World(tmp_path, 1, area=homes(1), collection=GRID)
    world.power_cut()
    world.clock.synced = False
    world.clock.step(-20 * 365 * DAY_S)
    world.start()
    world.run(2 * HOUR_S)
    assert not world.broker.ledger.grid

    world.clock.step(20 * 365 * DAY_S)
    world.clock.synced = True
    world.run(2 * HOUR_S)
    assert_grid(world, "H0", -32 * HOUR_S, 3 * HOUR_S)
    assert min(moments(world, "H0")) > START - 2 * DAY_S
    world.stop()


@pytest.mark.parametrize("seed", range(2))
def test_a_noisy_line_gives_no_wrong_moment_and_takes_none_away(tmp_path: Path, seed: int) -> None:
    meters = [
        {"asset": f"H{n}", "profile": "dlt645-2007-single-phase", "address": f"{n + 1:012}"}
        for n in range(2)
    ]
    # Of the long replies of load curves every second is damaged.
    line = {"name": "one", "meter": meters, "faults": "bit_errors=3e-4"}
    area = build_area({"seed": seed, "line": [line]}, PROFILES, "noise")
    world = World(tmp_path, seed, area=area, collection=GRID)
    world.run(6 * HOUR_S + 300)

    assert world.states[0]["lines"][0]["faults"]["damaged"] > 2
    for asset in ("H0", "H1"):
        assert_grid(world, asset, -32 * HOUR_S, 6 * HOUR_S)
        assert not any(one.get("suspect") for one in moments(world, asset).values())
    assert not any(meter["refused"] for meter in world.states[0]["meters"])
    world.stop()
