"""``taiqu disconnect why`` beside a gateway at work: what a customer is told from day to day."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import livestate
from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from gateway.north.contract import instant
from gateway.technician.cli import main
from tests.switch_world import HOUR, NIGHT, SwitchWorld

Make = Callable[..., SwitchWorld]
LEAD = "until 2 hours after its delivery nothing is cut"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **more)

    return world


@pytest.fixture
def why(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the command says at this moment of the world."""

    def ask(world: SwitchWorld, language: str = "en") -> str:
        core, clock = world.core, world.clock
        livestate.write(world.config.run_directory, core._state(clock.monotonic(), clock.now()))
        monkeypatch.setattr("gateway.technician.letter.SystemClock", lambda: clock)
        command = ["disconnect", "why", "1001", "--language", language]
        found = CliRunner().invoke(main, [*command, "--config", str(world.config.path)])
        assert found.exit_code == 0, found.output
        return found.output

    return ask


def test_from_a_low_balance_to_the_button(make: Make, why: Callable[..., str]) -> None:
    world = make("button=3600")
    world.helpful = False
    world.run(180)
    world.open()
    world.top_up("12.00")
    world.run(5)
    said = why(world)
    assert "is low and a reminder was sent" in said
    assert "A notice follows only when the balance has fallen to 0.00 yuan." in said

    world.order("adjust", account="1001", amount="-12.00", reason="mistyped")
    world.run(5)
    world.agree()
    world.run(15)
    said = why(world)
    assert LEAD in said
    assert "A top-up of 10.91 yuan ends this." in said

    world._heard, world.helpful = 0, True
    world.until(lambda: world.case_state() is State.APPROVED, HOUR)
    said = why(world)
    assert "The earliest possible moment of the cut: 2026-01-01 10:3" in said
    assert "At present it cannot happen: the gateway started or reconnected only lately." in said

    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    world.run(20)
    said = why(world)
    assert "The last call was made; the supply is to be cut on 2026-01-01 10:" in said
    assert "Nothing stands in its way at present." in said

    world.until(lambda: world.case_state() is State.OPEN, 4 * HOUR)
    said = why(world)
    assert "The supply was cut on 2026-01-01 1" in said
    assert "A top-up of 15.90 yuan restores the supply." in said
    assert "judged 2026-01-01 1" in said
    assert "再充值 15.90 元，即恢复供电。" in why(world, "zh")

    world.meter().meter.silent = True
    world.top_up("60.00")
    world.run(10)
    assert why(world).startswith("The supply is being restored")
    world.meter().meter.silent = False
    world.until(lambda: world.relay_state() is At.ALLOWED, HOUR)
    assert why(world).startswith("The meter allows the supply: hold its button")


def test_what_a_refused_preflight_found(make: Make, why: Callable[..., str]) -> None:
    world = make("protected")
    world.to_debt()
    world.until(lambda: bool(world.failed()), 6 * HOUR)
    said = why(world)
    assert "nothing is cut now: the meter's supply is protected" in said
    assert "for arrears: not cut: the meter's supply is protected (保电)" in said


def test_an_approval_that_has_run_out_is_named(make: Make, why: Callable[..., str]) -> None:
    world = make()
    world.helpful = False
    world.run(180)
    world.open()
    world.order("calendar.put", windows=NIGHT)
    until = instant(world.clock.now() + HOUR)
    id_ = world.order("delegate", policies=["home"], debt_max="50.00", expires=until)
    world.run(10)
    assert "it does not count" not in why(world)
    world.run(1.5 * HOUR)
    said = why(world)
    assert "no valid approval" in said
    assert f"it does not count: delegation {id_} is over" in said


def test_the_stop_the_night_and_the_latch(make: Make, why: Callable[..., str]) -> None:
    world = make(count=6)
    world.run(180)
    for n in range(6):
        world.open(f"100{n}", f"M{n}")
    world.run(5)
    world.order("calendar.put", windows=NIGHT)
    world.order("stop", reason="storm")
    world.run(9 * HOUR)
    said = why(world)
    assert (
        "no valid approval; a protected time, now or soon; all cuts are latched; the stop" in said
    )
    assert "all cuts are stopped: key stops ordered it: storm" in said
    assert "taiqu disconnect release releases them" in said


def test_a_gateway_that_does_not_run_is_said_to(make: Make, why: Callable[..., str]) -> None:
    world = make()
    world.to_debt()
    why(world)
    world.power_cut()
    world.run(60)
    command = ["disconnect", "why", "1001", "--config", str(world.config.path)]
    assert "the gateway is not running" in CliRunner().invoke(main, command).output
