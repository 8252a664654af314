"""Meters without freezes of their own are read live at midnight, and charged by that."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.prepayment.rerate import stand
from gateway.prepayment.validity import Flag
from gateway.store.journal import JournalReader
from gateway.store.readings import Readings
from tests.charged import DAY_S, FIRST, NIGHT_S, TOTAL, Charged

MIDNIGHT_S = 16 * 3600.0
"""From the world's start, 08:00 local, to its first midnight."""
MODBUS = {"profile": "eastron-sdm630", "address": "7"}
OLD = {"profile": "dlt645-1997-single-phase", "address": "000000000097"}


def opened(directory: Path, **meter: Any) -> Charged:
    """An account whose meter was read when it was installed."""
    world = Charged(directory, {"asset": "X0"} | meter)
    since = FIRST - timedelta(days=1)
    shown = world.area.meters["X0"].household.energies(world.clock.now())[TOTAL] // 1_000_000
    start = {TOTAL: str(shown)}
    meters = [{"meter": "X0", "since": since.isoformat(), "start": start}]
    assert world.open("1001", "X0", meters=meters).stage == "confirmed"
    return world


@pytest.mark.parametrize("meter", [MODBUS, OLD])
def test_a_meter_without_freezes_is_read_at_midnight_and_charged(
    tmp_path: Path, meter: dict[str, Any]
) -> None:
    world = opened(tmp_path, **meter)
    world.run(NIGHT_S + DAY_S)

    held = [Readings(world.database).held(FIRST + timedelta(days=n))["X0"] for n in range(2)]
    assert [one.quality for one in held] == ["good", "good"]
    assert all(one.reason.startswith("taken live, ") for one in held)
    ends = [MIDNIGHT_S + n * DAY_S for n in range(2)]
    late = [one.taken - world.clock.now() + world.clock.monotonic() for one in held]
    assert all(end <= at < end + 60 for end, at in zip(ends, late, strict=True))
    assert world.charged_to("1001") == FIRST + timedelta(days=1)
    truth = world.area.meters["X0"].household.energies(held[1].taken)[TOTAL] // 1_000_000
    shown = Readings(world.database).values("X0", FIRST + timedelta(days=1))[TOTAL]
    assert abs(shown - 1000 * truth) <= 1000
    told = [one for key, [one] in world.broker.ledger.freezes.items() if key[0] == "X0"]
    assert [one["frozen"]["day"] for one in told] == ["2026-01-01", "2026-01-02"]


def test_a_meter_that_is_silent_at_midnight_is_charged_the_day_after(tmp_path: Path) -> None:
    world = opened(tmp_path, **MODBUS)
    meter = world.area.meters["X0"].meter
    world.run(MIDNIGHT_S - 600)
    meter.silent = True
    world.run(1800)
    meter.silent = False
    assert Readings(world.database).gaps(FIRST).keys() == {"X0"}
    assert world.charged_to("1001") is None
    world.run(DAY_S)

    [*_, charge] = JournalReader(world.database).of_account("1001")
    assert Flag.SPAN in stand(charge).flags
    assert world.charged_to("1001") == FIRST + timedelta(days=1)


def test_a_restart_at_midnight_reads_once(tmp_path: Path) -> None:
    world = opened(tmp_path, **MODBUS)
    world.run(MIDNIGHT_S - 60)
    world.power_cut()
    world.run(120)
    world.start()
    world.run(300)
    world.power_cut()
    world.start()
    world.run(3600)

    assert Readings(world.database).held(FIRST)["X0"].quality == "good"
    assert len(JournalReader(world.database).of_account("1001")) == 1
    assert len(world.broker.ledger.freezes["X0", FIRST.isoformat()]) == 1


def test_meters_with_freezes_of_their_own_are_left_alone(tmp_path: Path) -> None:
    world = Charged(tmp_path, {"asset": "M0"})
    world.run(MIDNIGHT_S + 240)
    assert not Readings(world.database).held(FIRST)
