"""Switching where things cross: an old look and a new command, a second judgement, a stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.relay_table import State as At
from gateway.switching.relay_look import What
from tests.switch_world import HOUR, SwitchWorld
from tests.world import World

Make = Callable[..., SwitchWorld]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **more)

    return world


def looked_at(world: SwitchWorld) -> bool:
    """Whether a look at the first meter is under way."""
    assert world.core._switching is not None
    work = world.core._switching.work._busy.get("M0")
    return work is not None and work.sending is None and work.what is What.STATE


def test_a_look_that_fails_after_the_payment_is_not_the_restores_reply(make: Make) -> None:
    world = make()
    world.to_cut()
    world.meter().meter.silent = True
    world.quickly(lambda: looked_at(world), 400)
    world.top_up("40.00")
    World.run(world, 0.1)
    assert world.relay_state() is At.RESTORE_SENT
    world.quickly(lambda: not looked_at(world), 60)
    assert world.relay_state() is At.RESTORE_SENT, "nothing was sent yet"
    world.meter().meter.silent = False
    world.quickly(lambda: world.relay_state() is At.ALLOWED, 30)
    assert world.told() == ["trip", "allow_close"]
    [(number, _), _] = world.store.operations("M0")
    assert [one.what for one in world.store.steps(number)] == ["sent", "state", "state"]
