"""Daily freezes in the simulated world: every one of every day, once, and equal to the truth."""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.events import Arrived
from protocols.dlt645 import Frame, encode_frame
from simulators.area_meter import AreaMeter
from tests.test_world import assert_nothing_lost, assert_true
from tests.world import START, World

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MIDNIGHT = 16 * HOUR_S
"""From the world's start (08:00 local) to the first local midnight."""
FIRST = date(2026, 1, 1)


def end_of(day: str) -> float:
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    return midnight.timestamp() - 8 * HOUR_S


def days(count: int, since: date = FIRST - timedelta(days=3)) -> set[str]:
    return {(since + timedelta(days=n)).isoformat() for n in range(count)}


def freezing(world: World) -> dict[str, AreaMeter]:
    return {a: m for a, m in world.area.meters.items() if m.profile.freezes}


def assert_frozen_truth(world: World, asset: str, day: str) -> dict[str, Any]:
    """Exactly one freeze of the day arrived, and it is what the registers showed at its end."""
    [reading] = world.broker.ledger.freezes[asset, day]
    truth = world.area.meters[asset].household.energies(end_of(day))
    assert reading["values"].keys() >= {"energy_active_import_daily_freeze"}
    for name, text in reading["values"].items():
        steps = truth[name.removesuffix("_daily_freeze")] // 10_000
        assert text == f"{steps // 100}.{steps % 100:02}0", (asset, day, name)
    assert datetime.fromisoformat(reading["frozen"]["at"]).timestamp() == end_of(day)
    return dict(reading)


def assert_all_frozen(world: World, expected: set[str]) -> None:
    found = {(asset, day) for asset in freezing(world) for day in expected}
    assert world.broker.ledger.freezes.keys() == found
    for asset, day in found:
        assert_frozen_truth(world, asset, day)


def last_report(world: World, day: str) -> dict[str, Any]:
    return dict(world.broker.ledger.completeness[day][-1])


def spoil(meter: AreaMeter, change: Callable[[bytes, float], bytes | None]) -> None:
    """Let ``change`` have every reply before the line does."""
    honest = meter.meter.reply

    def reply(request: Any, now: float) -> bytes | None:
        answer = honest(request, now)
        return answer and change(answer, now)

    meter.meter.reply = reply  # type: ignore[method-assign]


def shift(meter: AreaMeter, seconds: Callable[[], float]) -> None:
    """Let the meter's clock be off."""
    honest = meter.meter.reply
    meter.meter.reply = lambda request, now: honest(request, now + seconds())  # type: ignore[method-assign]


def asked(world: World) -> Counter[tuple[str, str]]:
    """From now on, the identifiers each meter is asked for."""
    found: Counter[tuple[str, str]] = Counter()

    def note(asset: str, honest: Callable[[Any, float], bytes | None]) -> Any:
        def reply(request: Any, now: float) -> bytes | None:
            if request.address == world.area.meters[asset].address:
                found[asset, request.data[::-1].hex().upper()[-8:]] += 1
            return honest(request, now)

        return reply

    for asset, meter in freezing(world).items():
        meter.meter.reply = note(asset, meter.meter.reply)  # type: ignore[method-assign]
    return found


def test_every_freeze_arrives_once_and_is_true(tmp_path: Path) -> None:
    world = World(tmp_path, seed=1, meters=6, period_s=3600)
    world.run(3 * DAY_S)

    assert_all_frozen(world, days(6))
    for day in days(6):
        report = last_report(world, day)
        assert (report["settled"], report["due"], report["read"], report["good"]) == (True, 4, 4, 4)
        assert report["rate_read"] == report["rate_good"] == "100.00"
        assert report["rate_in_time"] == ("100.00" if day >= FIRST.isoformat() else "0.00")
        assert len(world.broker.ledger.completeness[day]) == 1
    topics = {
        topic.rsplit("/", 1)[1] for _, topic, body in world.broker.arrived if b"frozen" in body
    }
    assert topics == {"readings", "history"}, "what was missed goes the way of history"
    assert world.states[0]["collection"]["dropped"] == 0
    world.stop()
    assert_nothing_lost(world)


@pytest.mark.parametrize("seed", range(2))
def test_silence_outages_and_power_cuts_lose_no_day(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed, meters=6, period_s=3600)
    silent = world.area.meters["L0M01"].meter
    world.later(MIDNIGHT - HOUR_S, partial(setattr, silent, "silent", True))
    world.later(MIDNIGHT + 5 * HOUR_S, partial(setattr, silent, "silent", False))
    world.later(DAY_S + MIDNIGHT - HOUR_S, world.broker_down)
    world.later(2 * DAY_S + 6 * HOUR_S, world.broker_up)
    # The power fails while the freezes are read, at night for a day, and somewhere.
    rng = random.Random(seed)
    for at, off_s in (
        (MIDNIGHT + 300 + rng.uniform(0, 12), 30.0),
        (2 * DAY_S + MIDNIGHT - rng.uniform(0, HOUR_S), DAY_S),
        (4 * DAY_S + rng.uniform(0, 10 * HOUR_S), 60.0),
    ):
        world.run(at - world.clock.monotonic())
        world.power_cut()
        world.run(off_s)
        world.start()
    world.run(5 * DAY_S + MIDNIGHT - HOUR_S - world.clock.monotonic())

    assert_all_frozen(world, days(8))
    first = world.broker.ledger.completeness[FIRST.isoformat()]
    assert (first[0]["settled"], first[0]["read"], first[0]["rate_read"]) == (False, 3, "75.00")
    assert [one["state"] for one in first[0]["meters"] if one["meter"] == "L0M01"] == ["missing"]
    assert (first[-1]["settled"], first[-1]["read"], first[-1]["in_time"]) == (True, 4, 3)
    assert first[-1]["rate_in_time"] == "75.00"
    for day in days(8):
        report = last_report(world, day)
        assert (report["settled"], report["read"], report["good"]) == (True, 4, 4), day
    assert assert_true(world) > 100
    world.stop()
    assert_nothing_lost(world)


def test_after_a_start_every_meter_is_read_before_anything_twice_or_of_the_past(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, seed=2, meters=12, lines=1, collection="")
    requests: list[tuple[str, str]] = []
    for asset, meter in freezing(world).items():
        honest = meter.meter.reply

        def reply(request: Any, now: float, asset: str = asset, honest: Any = honest) -> Any:
            if request.address == world.area.meters[asset].address:
                requests.append((asset, request.data[3::-1].hex().upper()))
            return honest(request, now)

        meter.meter.reply = reply  # type: ignore[method-assign]
    world.run(120)

    first = [asset for asset, di in requests if di == "00010000"][:11]
    assert len(set(first)) == 11, "nobody's register is read again before all were read"
    past = [n for n, (_, di) in enumerate(requests) if di.startswith(("05", "06"))]
    polled = {asset for asset, _ in requests[: past[0]]}
    assert len(polled) == 11
    world.stop()


def test_a_dead_line_does_not_hold_up_the_past_for_long(tmp_path: Path) -> None:
    world = World(tmp_path, seed=2, meters=6, lines=2)
    world.wires["line1"].alive = False
    world.run(120)

    assert {asset for asset, _ in world.broker.ledger.freezes} == {"L0M00", "L0M01"}
    world.stop()


def test_a_restart_asks_for_nothing_again(tmp_path: Path) -> None:
    world = World(tmp_path, seed=2, meters=6, period_s=3600)
    world.run(MIDNIGHT + HOUR_S)
    world.power_cut()
    counted = asked(world)
    world.start()
    world.run(DAY_S - 2 * HOUR_S)

    assert sum(counted.values()) > 100
    assert not [key for key in counted if key[1].startswith(("0506", "040001"))]
    world.stop()


def test_a_meter_that_lives_in_another_day_is_not_believed(tmp_path: Path) -> None:
    world = World(tmp_path, seed=3, meters=6, period_s=3600)
    ahead_s = 3 * DAY_S
    shift(world.area.meters["L0M01"], lambda: ahead_s)
    world.run(2 * HOUR_S)

    assert not [key for key in world.broker.ledger.freezes if key[0] == "L0M01"]
    [event] = [e for e in world.broker.ledger.events if e["code"] == "clock_offset"]
    assert event["meter"] == "L0M01"
    assert abs(float(event["offset_s"]) - ahead_s) < 2
    state = world.states[0]["collection"]["meters"]["L0M01"]
    assert (state["freeze"], state["reason"]) == (
        "missing", "the meter's freeze is of 2026-01-04 00:00",
    )  # fmt: skip

    # Once its clock is right it has a freeze again; the days it told wrongly stay as they are.
    ahead_s = 0.0
    world.run(DAY_S)
    reading = assert_frozen_truth(world, "L0M01", FIRST.isoformat())
    assert reading["frozen"]["quality"] == "good"
    report = last_report(world, (FIRST - timedelta(days=3)).isoformat())
    assert report["settled"]
    [one] = [one for one in report["meters"] if one["meter"] == "L0M01"]
    assert one["state"] == "wrong_time"
    world.stop()
    assert_nothing_lost(world)


def test_a_slow_meter_freezes_late_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, seed=3, meters=6, period_s=3600)
    shift(world.area.meters["L0M01"], lambda: -2.5 * HOUR_S)
    world.run(MIDNIGHT + 6 * HOUR_S)

    reading = assert_frozen_truth(world, "L0M01", FIRST.isoformat())
    assert reading["frozen"]["quality"] == "clock_off"
    assert reading["frozen"]["reason"] in {
        f"the meter's clock is off by {offset_s} s" for offset_s in (-9001, -9000, -8999)
    }
    report = last_report(world, FIRST.isoformat())
    assert (report["read"], report["in_time"], report["good"]) == (4, 3, 3)
    [one] = [one for one in report["meters"] if one["meter"] == "L0M01"]
    assert abs(int(one["clock_offset_s"]) + 9000) <= 1
    world.stop()


def test_a_meter_without_freezes_is_settled_as_absent(tmp_path: Path) -> None:
    world = World(tmp_path, seed=3, meters=6, period_s=3600)
    meter = world.area.meters["L0M01"]

    def none(answer: bytes, _now: float) -> bytes:
        data = bytes(byte - 0x33 & 0xFF for byte in answer[14:18])
        if data[::-1].hex().startswith("0506"):
            return encode_frame(Frame(meter.address, 0xD1, b"\x02"), 4)
        return answer

    spoil(meter, none)
    world.run(MIDNIGHT + 12 * HOUR_S)

    old = (FIRST - timedelta(days=2)).isoformat()
    [one] = [one for one in last_report(world, old)["meters"] if one["meter"] == "L0M01"]
    assert one["state"] == "absent"
    assert last_report(world, old)["settled"]
    assert not last_report(world, FIRST.isoformat())["settled"], "yesterday's may still come"
    assert "05060001" not in world.states[0]["meters"][1]["refused"]
    world.stop()


def test_another_meter_in_the_old_ones_place_is_told_and_marked(tmp_path: Path) -> None:
    world = World(tmp_path, seed=5, meters=6, period_s=900)
    world.run(12 * HOUR_S)
    new, old = world.area.meters["L0M01"], world.area.meters["L0M00"]
    other = old.meter.reply

    def swapped(request: Any, now: float) -> bytes | None:
        answer = other(Frame(old.address, request.control, request.data), now)
        if answer is None or request.address != new.address:
            return None
        body = Frame(new.address, answer[12], bytes(b - 0x33 & 0xFF for b in answer[14:-2]))
        return encode_frame(body, 4)

    new.meter.reply = swapped  # type: ignore[method-assign]
    world.run(DAY_S)

    codes = [(e["code"], e.get("meter")) for e in world.broker.ledger.events]
    assert codes.count(("reading_suspect", "L0M01")) == 1
    assert codes.count(("freeze_suspect", "L0M01")) == 1
    bodies = [json.loads(body) for _, _, body in world.broker.arrived]
    marked = [r for b in bodies for r in b.get("readings", ()) if r.get("suspect")]
    assert [(r["meter"], r["suspect"]) for r in marked] == [("L0M01", ["energy_active_import"])]
    [reading] = world.broker.ledger.freezes["L0M01", FIRST.isoformat()]
    assert reading["frozen"]["quality"] == "suspect"
    assert last_report(world, FIRST.isoformat())["good"] == 3
    world.stop()


@pytest.mark.parametrize("seed", range(2))
def test_wrong_registers_that_no_checksum_shows_are_never_published(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path, seed, meters=6, period_s=300)
    rng = random.Random(seed)
    wrong = 0

    def lie(meter: AreaMeter, answer: bytes, _now: float) -> bytes:
        """One in thirty register replies has high digits changed, and a right checksum."""
        nonlocal wrong
        data = bytearray(byte - 0x33 & 0xFF for byte in answer[14:-2])
        energy = answer[12] == 0x91 and data[3] in (0x00, 0x05) and len(data) >= 8
        if not energy or data[2] == 0x90 or rng.random() > 0.03:
            return answer
        wrong += 1
        data[6], data[7] = (bytes.fromhex(f"{rng.randint(1, 79):02}")[0] for _ in range(2))
        return encode_frame(Frame(meter.address, 0x91, bytes(data)), 4)

    for meter in freezing(world).values():
        spoil(meter, partial(lie, meter))
    world.run(MIDNIGHT + 6 * HOUR_S)

    assert wrong > 20
    assert assert_true(world) > 500
    assert_all_frozen(world, days(4))
    collection = world.states[0]["collection"]
    assert collection["dropped"] > 5
    assert collection["again"] < 2 * wrong + 20
    assert not [e for e in world.broker.ledger.events if e["code"].endswith("suspect")]
    world.stop()


def test_a_command_reads_registers_twice_before_it_tells_them(tmp_path: Path) -> None:
    world = World(tmp_path, seed=6)
    world.run(60)
    order = {
        "id": "r-1",
        "issuer": "head-end",
        "issued": "2026-01-01T00:00:00Z",
        "not_after": "2026-01-01T01:00:00Z",
        "command": {"name": "read", "meter": "L0M00", "points": ["energy_active_import_t1"]},
    }
    counted = asked(world)
    topic, payload = "taiqu/v1/world/commands", json.dumps(order).encode()
    world.tell(world.link, Arrived(world.link.connection, 1, topic, payload, False))
    world.run(60)

    last = world.broker.ledger.results["r-1"][-1]
    truth = world.area.meters["L0M00"].household.energies(START + 60)["energy_active_import_t1"]
    assert last["stage"] == "confirmed"
    assert last["data"]["values"]["energy_active_import_t1"] == f"{truth // 10_000 / 100:.2f}0"
    assert counted["L0M00", "00010100"] == 2
    world.stop()


def test_nothing_is_collected_while_nobody_knows_the_day(tmp_path: Path) -> None:
    world = World(tmp_path, seed=7, meters=6, period_s=3600)
    world.run(MIDNIGHT + 6 * HOUR_S)
    known = set(world.broker.ledger.freezes)
    world.power_cut()
    world.clock.synced = False
    world.clock.step(-20 * 365 * DAY_S)
    world.start()
    world.run(12 * HOUR_S)
    assert set(world.broker.ledger.freezes) == known

    world.clock.step(20 * 365 * DAY_S)
    world.clock.synced = True
    world.run(DAY_S)

    assert_all_frozen(world, days(5))
    offsets = [float(e["offset_s"]) for e in world.broker.ledger.events if "offset_s" in e]
    assert 20 * 365 * DAY_S in [round(offset) for offset in offsets]
    world.stop()
