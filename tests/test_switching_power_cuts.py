"""A power cut after each single transaction from the wish to switch to the proof that it was done.

Whatever was on flash at that instant, after the restart: each relay that is wanted otherwise than
it is proven is read before anything is switched; one decision sends one trip at most; a restore is
never lost.  The meters are DL/T 645 with a button or direct close, and Modbus by register or coil.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from protocols.base import Request
from protocols.relay import Action, ControlRelay
from protocols.relay_control import relay_points, relay_requests
from tests.switch_faults import lose_the_first_command
from tests.switch_world import HOUR, SwitchWorld

ACREL: dict[str, Any] = {
    "profile": "acrel-ddsy1352-legacy",
    "address": "5",
    "parity": "N",
    "baud": 9600,
}
COIL: dict[str, Any] = {"profile": "external-breaker", "address": "5"}
ABOUT = re.compile(
    r"(into|from) (relay|disconnection|operation(_step)?|decision|switching_order|mass_limit)\b"
)
"""Changes of what switching goes by."""
STEPS_MAX = 20
CLOSED = (At.CLOSED, At.ALLOWED)


class PowerCutError(Exception):
    """The power went, right after a commit."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A way from a wish to its proof."""

    make: Callable[[Path], SwitchWorld]
    wish: Callable[[SwitchWorld], object]
    """Makes it; the transactions from here on are counted."""
    proven: Callable[[SwitchWorld], bool]


# --- worlds ---------------------------------------------------------------------------------------


def other(world: SwitchWorld, **changed: Any) -> SwitchWorld:
    """The same gateway with another line in its configuration."""
    meters = tuple(replace(meter, **changed) for meter in world.config.meters)
    world.power_cut()
    world.config = replace(world.config, meters=meters)
    world.start()
    return world


def shortly_before(directory: Path) -> SwitchWorld:
    """A case whose time has nearly come."""
    world = SwitchWorld(directory)
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    kept = world.store.case("1001")
    assert kept is not None
    world.until(lambda: world.clock.now() > kept.case.trip_at - 10, 4 * HOUR)
    return world


def tripped(directory: Path) -> SwitchWorld:
    world = SwitchWorld(directory)
    world.to_cut()
    return world


def tripped_directly(directory: Path) -> SwitchWorld:
    world = other(SwitchWorld(directory), direct_close=True)
    world.to_cut()
    return world


def by_register(directory: Path) -> SwitchWorld:
    """A Modbus meter, with an account and somebody's leave to trip it."""
    world = SwitchWorld(directory, count=1, switching="quiet_minutes = 0", **ACREL)
    world = other(world, number="000000000000")
    world.run(60)
    world.open()
    world.order("calendar.put", windows={"version": 1, "first": "2026-01-01", "last": "2026-12-31"})
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(60)
    return world


def order_trip(world: SwitchWorld) -> None:
    world.order("relay.trip", meter="M0", account="1001", reason="the maker wants it back")


def tripped_by_register(directory: Path) -> SwitchWorld:
    world = by_register(directory)
    order_trip(world)
    world.until(lambda: world.relay_state() is At.OPEN, HOUR)
    return world


def held(directory: Path) -> SwitchWorld:
    """A breaker that somebody else has opened."""
    world = SwitchWorld(directory, count=1, period_s=60, **COIL)
    world.run(60)
    relay = world.meter().relay
    assert relay is not None
    relay.advance(world.clock.true())
    relay.command(Action.TRIP)
    world.until(lambda: world.relay_state() is At.HELD, HOUR)
    return world


def order_close(world: SwitchWorld) -> None:
    world.order("relay.close", meter="M0", reason="work is over")


def pay(world: SwitchWorld) -> None:
    world.top_up("60.00")


def pay_while_it_is_silent(world: SwitchWorld) -> None:
    meter = world.meter().meter
    meter.silent = True
    world.later(30, lambda: setattr(meter, "silent", False))
    pay(world)


def closes(world: SwitchWorld) -> bool:
    return world.relay_state() in CLOSED


def is_open(world: SwitchWorld) -> bool:
    return world.relay_state() is At.OPEN


JOURNEYS = {
    "trip": Journey(shortly_before, lambda _: None, is_open),
    "trip, the first one lost": Journey(shortly_before, lose_the_first_command, is_open),
    "allow close, silent at first": Journey(tripped, pay_while_it_is_silent, closes),
    "allow close": Journey(tripped, pay, closes),
    "direct close": Journey(tripped_directly, pay, closes),
    "register trip": Journey(by_register, order_trip, is_open),
    "register close": Journey(tripped_by_register, order_close, closes),
    "coil close": Journey(held, order_close, closes),
}


# --- the cut --------------------------------------------------------------------------------------


def cut_after(world: SwitchWorld, count: int) -> None:
    """The power goes right after so many transactions from now on that are about switching."""
    database, done, about = world.database, [0], [False]
    transaction, write = database.transaction, database.write

    def noted(sql: str, *parameters: object) -> int:
        about[0] |= ABOUT.search(sql) is not None
        return write(sql, *parameters)

    @contextmanager
    def counted() -> Iterator[None]:
        about[0] = False
        with transaction():
            yield
        done[0] += about[0]
        if about[0] and done[0] == count:
            raise PowerCutError

    database.transaction, database.write = counted, noted  # type: ignore[method-assign]


def is_cut(world: SwitchWorld, journey: Journey, count: int) -> bool:
    """Whether the journey has so many transactions; then the power went after the last."""
    cut_after(world, count)
    try:
        journey.wish(world)
        world.until(lambda: journey.proven(world), 2 * HOUR)
    except PowerCutError:
        world.power_cut()
        return True
    assert journey.proven(world)
    return False


# --- what must be so afterwards -------------------------------------------------------------------


def frames(world: SwitchWorld, requests: list[Request]) -> set[bytes]:
    codec = world.meter().profile.codec()
    return {codec.encode(request) for request in requests}


def switching(world: SwitchWorld, sent: list[bytes]) -> list[int]:
    """Where in ``sent`` commands to the relay are."""
    profile = world.meter().profile
    if isinstance(profile.relay, ControlRelay):
        relay = {bytes(frame.data) for frame in world.frames()}
        return [n for n, data in enumerate(sent) if any(one in data for one in relay)]
    address = world.meter().address
    known = frames(
        world,
        [
            request
            for action in (Action.TRIP, Action.CLOSE)
            for request in relay_requests(profile, address, action, None)
        ],
    )
    return [n for n, data in enumerate(sent) if data in known]


def reading(world: SwitchWorld, sent: list[bytes]) -> list[int]:
    """Where in ``sent`` the relay's state is asked for."""
    profile, address = world.meter().profile, world.meter().address
    plan = profile.plan(address, relay_points(profile).state)
    known = frames(world, [exchange.request for exchange in plan])
    return [n for n, data in enumerate(sent) if data in known]


def trips_and_decisions(world: SwitchWorld) -> tuple[int, int]:
    operations = [one for _, one in world.store.operations("M0", 100) if one.action == "trip"]
    return world.told().count("trip"), len({one.decision for one in operations})


LONG = "allow close, silent at first"


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.torture] * (one == LONG)) for one in JOURNEYS]
)
def test_r34_a_power_cut_after_each_transaction(name: str, tmp_path: Path) -> None:
    journey, tested = JOURNEYS[name], 0
    for count in range(1, STEPS_MAX):
        world = journey.make(tmp_path / str(count))
        foreign = world.told().count("trip") - len(
            [one for _, one in world.store.operations("M0", 100) if one.action == "trip"]
        )
        if not is_cut(world, journey, count):
            break
        before = len(world.sent)
        world.run(300)
        world.start()
        wanted = world.store.relay("M0")
        world.run(900)
        tested += 1

        sent = world.sent[before:]
        switched, read = switching(world, sent), reading(world, sent)
        assert not switched or (read and read[0] < switched[0]), "read before anything is switched"
        told, decided = trips_and_decisions(world)
        assert told - foreign <= decided, "one decision, one trip"
        if wanted is not None and not wanted.relay.wanted_open:
            assert closes(world), "no restore is lost"
        kept = world.relay_state()
        assert kept in (None, At.OPEN, At.HELD, *CLOSED)
        relay = world.meter().relay
        assert relay is not None
        assert relay.commanded_open == (kept in (At.OPEN, At.HELD)), "and that is the truth"
    else:
        raise AssertionError("it never ends")
    assert tested >= 2
