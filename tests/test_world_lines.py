"""What silent meters, dead lines and urgent reads do to a line that is never idle."""

import json
from collections import Counter
from pathlib import Path

import pytest

from gateway.events import Arrived
from gateway.livestate import MeterState
from tests.world import World


def codes(world: World) -> Counter[tuple[str, str | None]]:
    events = world.broker.ledger.events
    return Counter((e["code"], e.get("meter")) for e in events)


def silence(world: World, assets: list[str], *, silent: bool = True) -> None:
    for asset in assets:
        world.area.meters[asset].meter.silent = silent


def meters_of(world: World) -> dict[str, MeterState]:
    return {meter["asset"]: meter for meter in world.states[0]["meters"]}


def polls_per_second(directory: Path, meters: int, silent: list[str], run_s: float) -> float:
    """Of the living, on a line that is asked for more than it can."""
    directory.mkdir()
    world = World(directory, seed=1, meters=meters, lines=1, period_s=1)
    silence(world, silent)
    world.run(run_s)
    answered = [m["answered"] for asset, m in meters_of(world).items() if asset not in silent]
    assert min(answered) > 0
    world.stop()
    return sum(answered) / len(answered) / run_s


@pytest.mark.parametrize(("silent", "slower", "run_s"), [(3, 1.05, 600), (30, 1.10, 1200)])
def test_the_living_notice_next_to_nothing_of_the_silent(
    tmp_path: Path, silent: int, slower: float, run_s: float
) -> None:
    """Beside the same line without the silent meters; finding out that they are is included."""
    alone = polls_per_second(tmp_path / "alone", 32 - silent, [], 300)
    dead = [f"L0M{m:02}" for m in range(31 - silent, 31)]
    among = polls_per_second(tmp_path / "among", 32, dead, run_s)

    assert alone / among <= slower


def test_the_living_notice_little_of_thirty_that_die_at_once(tmp_path: Path) -> None:
    alone = polls_per_second(tmp_path / "alone", 2, [], 300)
    world = World(tmp_path, seed=1, meters=32, lines=1, period_s=1)
    world.run(600)
    dead = [f"L0M{m:02}" for m in range(1, 31)]
    living = meters_of(world).keys() - dead
    before = {asset: meters_of(world)[asset]["answered"] for asset in living}
    silence(world, dead)
    world.run(600)

    answered = [meters_of(world)[asset]["answered"] - before[asset] for asset in living]
    among = sum(answered) / len(answered) / 600
    assert alone / among <= 1.10
    world.stop()


def test_a_dead_line_is_one_event_and_its_dead_meters_are_told_afterwards(tmp_path: Path) -> None:
    world = World(tmp_path, seed=9, period_s=60)
    world.run(300)
    on_line = [asset for asset in world.area.meters if asset.startswith("L0")]
    silence(world, on_line)
    world.run(600)

    assert codes(world)["line_fault", None] == 1
    assert not [meter for code, meter in codes(world) if code == "comm_lost"]
    states = meters_of(world)
    assert all(states[asset]["silent"] for asset in on_line)
    assert all(states[asset]["reason"].startswith("line fault: ") for asset in on_line)
    assert all(not states[asset]["silent"] for asset in states if asset not in on_line)

    silence(world, on_line[1:], silent=False)
    world.run(600)

    assert codes(world)["line_restored", None] == 1
    lost = [meter for code, meter in codes(world) if code == "comm_lost"]
    assert lost == on_line[:1]
    states = meters_of(world)
    assert [asset for asset in states if states[asset]["silent"]] == on_line[:1]
    world.stop()


def test_a_poll_lost_to_a_short_silence_is_made_up_for_in_its_slot(tmp_path: Path) -> None:
    world = World(tmp_path, seed=6, period_s=900)
    world.run(895)
    silence(world, ["L1M02"])
    world.run(15)
    silence(world, ["L1M02"], silent=False)
    world.run(60)

    state = meters_of(world)["L1M02"]
    last_good = state["last_good"]
    assert last_good is not None
    assert world.clock.now() - last_good < 60
    assert not [code for code, _ in codes(world) if code == "comm_lost"]
    world.stop()


def test_a_silent_meter_overheard_is_asked_at_once(tmp_path: Path) -> None:
    """Another master asks it: its answer, not ours to believe, shows that it lives."""
    world = World(tmp_path, seed=8, period_s=900)
    world.run(60)
    meter = world.area.meters["L0M01"].meter
    meter.silent = True
    world.run(4 * 3600.0)
    (health,) = (h for h in world.core._intake.polling.health if h.meter == "L0M01")
    assert health.silent

    meter.silent = False
    health.probe_at = world.clock.monotonic() + 7 * 86400.0
    wire = world.wires["line0"]
    asked = bytes.fromhex("FEFEFEFE68") + bytes.fromhex(meter.address)[::-1] + b"\x68\x11\x04"
    data = asked + bytes(byte + 0x33 for byte in (0, 0, 1, 0))
    data += bytes([sum(data[4:]) & 0xFF, 0x16])
    ((_, answer),) = wire.pair.hear(data, world.clock.now(), 2400, "E")
    woken_at = world.clock.now()
    world.later(0.0, lambda: wire.step(answer))
    world.run(900 - world.clock.now() % 900 + 60)

    last_good = meters_of(world)["L0M01"]["last_good"]
    assert last_good is not None
    assert last_good > woken_at
    world.stop()


def test_a_read_that_somebody_waits_for_passes_by_all_the_polls(tmp_path: Path) -> None:
    world = World(tmp_path, seed=3, meters=32, lines=1, period_s=1)
    silence(world, ["L0M03", "L0M04"])
    world.run(120)
    order = {
        "id": "read-1",
        "issuer": "head-end",
        "issued": "2026-01-01T00:01:00Z",
        "not_after": "2026-01-01T00:10:00Z",
        "command": {"name": "read", "meter": "L0M07", "points": ["voltage_l1n"]},
    }
    asked_at = world.clock.monotonic()
    topic = "taiqu/v1/world/commands"
    payload = json.dumps(order).encode()
    world.tell(world.link, Arrived(world.link.connection, 1, topic, payload, False))
    world.run(10)

    (result,) = (r for r in world.broker.ledger.results["read-1"] if r["stage"] == "confirmed")
    assert result["data"]["values"].keys() == {"voltage_l1n"}
    answered_at = max(at for at, topic, _ in world.broker.arrived if topic.endswith("/results"))
    # One exchange with a silent meter, the read itself, and the way up.
    assert answered_at - asked_at < 1.0 + 0.5 + 0.5
    world.stop()
