"""What persons ask for and take back: requests and their answers, keys, protection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.case import State
from tests.switch_world import HOUR, SwitchWorld

Make = Callable[..., SwitchWorld]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **more)

    return world


# --- a request and its answers --------------------------------------------------------------------


def asked(world: SwitchWorld) -> str:
    """An account in debt whose disconnection somebody asked for."""
    world.to_debt()
    id_ = world.order("disconnect.request", account="1001", reason="not paid")
    world.run(5)
    return id_


def test_a_request_is_answered_as_its_case_goes_on(make: Make) -> None:
    world = make()
    id_ = asked(world)
    assert world.stages(id_) == ["accepted"]
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    world.power_cut()
    world.start()
    world.run(10)
    assert world.stages(id_) == ["accepted"], "a restart does not end it"
    world.until(lambda: world.case_state() is State.OPEN, 8 * HOUR)
    world.run(10)
    assert world.stages(id_) == ["accepted", "sent", "confirmed"]
    assert world.result(id_)["data"] == {"account": "1001", "meter": "M0", "case": "open"}


def test_a_request_whose_account_pays_has_failed_and_says_why(make: Make) -> None:
    world = make()
    id_ = asked(world)
    world.top_up("40.00")
    world.run(10)
    assert world.stages(id_) == ["accepted", "failed"]
    assert world.result(id_)["reason"] == "paid"


def test_a_request_whose_cut_fails_says_so(make: Make) -> None:
    world = make("deaf")
    id_ = asked(world)
    world.until(lambda: world.case_state() is State.FAILED, 8 * HOUR)
    world.run(10)
    assert world.stages(id_) == ["accepted", "sent", "failed"]
    assert world.result(id_)["reason"] == "trip_failed"


def test_a_request_that_is_taken_back_is_answered_and_the_rules_go_on(make: Make) -> None:
    world = make()
    id_ = asked(world)
    world.order("approval.revoke", by="agrees", approval=id_, reason="the wrong house")
    world.run(30)
    assert world.stages(id_) == ["accepted", "failed"]
    assert "the wrong house" in world.result(id_)["reason"]
    assert world.case_state() is not State.WATCH


def test_a_request_where_nothing_is_due_is_refused(make: Make) -> None:
    world = make()
    world.run(180)
    world.open()
    world.top_up("50.00")
    world.run(10)
    paid = world.order("disconnect.request", account="1001", reason="not paid")
    unknown = world.order("disconnect.request", account="9999", reason="not paid")
    world.run(10)
    assert (world.stages(paid), world.stages(unknown)) == (["refused"], ["refused"])
    assert world.result(paid)["reason"] == "account 1001 cannot be cut: paid"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"no_cut": {"reason": "oxygen"}}, "protected"),
        ({"mode": "postpay"}, "mode or rules changed"),
        ({"regime": "unknown"}, "no rules allow it"),
    ],
)
def test_a_request_for_whom_nobody_may_cut_is_refused(
    make: Make, keys: dict[str, Any], why: str
) -> None:
    world = make()
    world.run(180)
    world.open(**keys)
    world.run(10)
    id_ = world.order("disconnect.request", account="1001", reason="not paid")
    world.run(10)
    assert world.stages(id_) == ["refused"]
    assert world.result(id_)["reason"] == f"account 1001 cannot be cut: {why}"


def test_a_second_request_is_refused_while_one_stands(make: Make) -> None:
    world = make()
    first = asked(world)
    second = world.order("disconnect.request", account="1001", reason="not paid")
    world.run(10)
    assert world.stages(second) == ["refused"]
    assert first in world.result(second)["reason"]
