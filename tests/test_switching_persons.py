"""What persons ask for and take back: requests and their answers, keys, protection."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.case import State
from gateway.disconnection.facts import from_json
from gateway.disconnection.relay_table import State as At
from gateway.keys import key_table
from gateway.letters import Letters
from gateway.north.contract import instant
from gateway.store.letterbox import Letter, Letterbox, post
from tests.switch_world import DAY, HOUR, KEYS, NIGHT, ROLES, SwitchWorld

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


# --- keys that are revoked while the gateway runs -------------------------------------------------


def revoke(world: SwitchWorld, *revoked: str, **roles: tuple[str, ...]) -> None:
    """Write the key file again, with some keys revoked or with other roles."""
    tables = []
    for name, of in ROLES.items():
        table = key_table(KEYS[name], roles.get(name, of))
        tables.append(f"{table}\nrevoked = true" if name in revoked else table)
    (world.config.path.parent / "keys.toml").write_text("\n".join(tables))


def test_r06_a_revoked_key_counts_no_more_without_a_restart(make: Make) -> None:
    world = make()
    world.to_debt()
    revoke(world, "cash", "asks")
    world.run(61)
    assert [one["detail"] for one in world.events("keys_changed")] == ["revoked: asks, cash"]
    top_up = world.top_up("40.00")
    request = world.order("disconnect.request", account="1001", reason="not paid")
    world.run(5)
    assert (world.stages(top_up), world.stages(request)) == (["refused"], ["refused"])
    assert "revoked key: cash" in world.result(top_up)["reason"]


@pytest.mark.parametrize(
    "change", [{"revoked": ("agrees",)}, {"roles": {"agrees": ("stop",)}}], ids=["key", "role"]
)
def test_r11_what_a_revoked_key_agreed_to_is_worth_nothing_any_more(
    make: Make, change: dict[str, Any]
) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    revoke(world, *change.get("revoked", ()), **change.get("roles", {}))
    world.run(4 * HOUR)
    assert world.failed()[0] == ["R11"]
    assert world.told() == []
    revoke(world)
    world.until(lambda: world.case_state() is State.OPEN, 6 * HOUR)
    assert world.told() == ["trip"]


def test_a_key_file_that_cannot_be_used_is_told_once_and_the_old_keys_go_on(make: Make) -> None:
    world = make()
    world.run(60)
    file = world.config.path.parent / "keys.toml"
    good = file.read_text()
    file.write_text("[[key]\n")
    world.run(300)
    assert len(world.events("keys_refused")) == 1
    id_ = world.open()
    world.run(5)
    assert world.stages(id_) == ["confirmed"]
    file.write_text(good)
    world.run(120)
    assert world.events("keys_changed") == []
    file.unlink()
    world.run(120)
    assert len(world.events("keys_refused")) == 2


# --- protection: added by one, removed by two -----------------------------------------------------


def test_r09_protection_is_added_at_once_by_one_and_removed_by_two_after_a_day(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    world.order("account.change", account="1001", version=1, no_cut={"reason": "oxygen"})
    world.run(5)
    assert world.case_state() is State.WATCH

    alone = world.order("account.change", account="1001", version=2, no_cut=None)
    keys: dict[str, Any] = {"account": "1001", "version": 2, "no_cut": True, "reason": "moved out"}
    first = world.order("protect.remove", by="guards", **keys)
    again = world.order("protect.remove", by="guards", **keys)
    out_of_role = world.order("protect.remove", by="office", **keys)
    world.run(10)
    assert world.stages(alone) == world.stages(out_of_role) == ["refused"]
    assert world.result(first)["data"]["needed"] == world.result(again)["data"]["needed"] == 2
    assert protected(world)

    world.order("protect.remove", by="stops2", **keys)
    world.run(5)
    assert not protected(world)
    removed_at = world.clock.now()
    world.until(lambda: world.case_state() is State.OPEN, 3 * DAY)
    [trip] = [one for _, one in world.store.operations("M0")]
    assert trip.at >= removed_at + DAY


def protected(world: SwitchWorld) -> bool:
    assert world.core._prepaid is not None
    account = world.core._prepaid.accounts.current("1001")
    return account is not None and account.no_cut is not None


def test_r09_two_who_would_remove_different_things_remove_nothing(make: Make) -> None:
    world = make()
    world.to_debt()
    world.order("account.change", account="1001", version=1, no_cut={"reason": "oxygen"})
    world.run(5)
    keys: dict[str, Any] = {"account": "1001", "version": 2, "reason": "moved out"}
    world.order("protect.remove", by="guards", no_cut=True, **keys)
    world.order("protect.remove", by="stops2", dispute=True, **keys)
    world.run(5)
    assert protected(world)


# --- two persons for each trip --------------------------------------------------------------------


def test_r11_an_approval_of_a_trip_is_good_for_one_trip(make: Make) -> None:
    world = make(switching="quiet_minutes = 0\ncuts_per_day_percent = 100")
    world.to_debt()
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(60)
    trip: dict[str, Any] = {"meter": "M0", "account": "1001", "reason": "the roof burns"}
    first = world.order("relay.trip", **trip)
    world.until(lambda: world.relay_state() is At.OPEN, HOUR)
    world.order("relay.close", meter="M0", reason="it is out")
    world.until(lambda: world.relay_state() is At.ALLOWED, 60)
    relay = world.meter().relay
    assert relay is not None
    relay.press(world.clock.true())
    world.run(HOUR)

    second = world.order("relay.trip", **trip)
    world.run(400)
    assert world.stages(first) == ["accepted", "sent", "confirmed"]
    assert world.stages(second) == ["accepted", "expired"]
    assert world.told() == ["trip", "allow_close"]


# --- offline: two persons at the box, each with a key file ----------------------------------------


def take_to_the_box(world: SwitchWorld) -> None:
    """The head-end is gone; from now on orders come as letters."""
    world.broker_down()
    world.helpful = False
    core = world.core
    box = Letterbox(world.config.store_directory / "letterbox")
    core._letters = Letters(box, core._orders, core._recorder, world.clock.monotonic())
    core._due["letters"] = world.clock.monotonic()
    world.run(5)

    def deliver(payload: bytes, *, retained: bool = False) -> None:
        assert not retained
        id_ = json.loads(payload)["id"]
        letter = Letter(id=id_, who="technician", what=payload, posted=world.clock.now())
        post(world.config.store_directory / "letterbox", letter)

    world.deliver = deliver  # type: ignore[method-assign]


def served(world: SwitchWorld, what: str) -> None:
    world.order(
        "notice.served",
        account="1001",
        round=1,
        what=what,
        channel="by-hand",
        served=instant(world.clock.now()),
        receipt="signed by the customer",
    )


def test_r11_amounts_and_expiry_offline_with_two_key_files(make: Make) -> None:
    world = make(switching="cut_offline = true")
    world.run(180)
    world.order("calendar.put", windows=NIGHT)
    world.open()
    world.run(10)
    take_to_the_box(world)
    world.order("disconnect.request", account="1001", reason="not paid")
    world.until(lambda: world.case_state() is State.DUE, 60)
    served(world, "notice")
    world.until(lambda: world.case_state() is State.NOTICE_SERVED, 60)

    world.order("disconnect.approve", account="1001", debt_max="0.01")
    world.order("disconnect.approve", by="asks", account="1001", debt_max="100.00")
    world.run(60)
    assert world.case_state() is State.NOTICE_SERVED, "too small an amount; no role for it"
    soon = instant(world.clock.now() + 600)
    world.order("disconnect.approve", account="1001", debt_max="100.00", expires=soon)
    world.run(60)
    assert world.case_state() is State.APPROVED
    world.run(600)
    assert world.case_state() is State.NOTICE_SERVED, "that one has expired"

    world.order("disconnect.approve", account="1001", debt_max="100.00")
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    served(world, "last_call")
    world.until(lambda: world.case_state() is State.OPEN, 4 * HOUR)
    assert world.told() == ["trip"]
    assert not world.broker.up
    [decided] = [one for one in world.store.decisions("1001") if one.allowed]
    facts = from_json(decided.facts)
    assert {one.by for one in facts.due.approved} == {"agrees"}
    assert facts.due.requested_by == "asks"


# --- taking a disconnection back ------------------------------------------------------------------


def test_a_cancelled_cut_is_confirmed_when_the_supply_is_back(make: Make) -> None:
    world = make()
    world.to_cut()
    world.meter().meter.silent = True
    id_ = world.order("disconnect.cancel", account="1001", reason="the wrong house")
    world.run(60)
    assert world.stages(id_) == ["accepted"]
    world.power_cut()
    world.start()
    world.meter().meter.silent = False
    world.until(lambda: world.relay_state() is At.ALLOWED, 600)
    world.run(10)
    assert world.stages(id_) == ["accepted", "confirmed"]
    assert world.told() == ["trip", "allow_close"]
    relay = world.meter().relay
    assert relay is not None
    relay.press(world.clock.true())
    world.until(lambda: world.relay_state() is At.CLOSED, HOUR)
    world.run(10)
    assert world.stages(id_) == ["accepted", "confirmed"], "said once"


def test_a_case_that_has_cut_nobody_is_cancelled_at_once(make: Make) -> None:
    world = make()
    world.to_debt()
    id_ = world.order("disconnect.cancel", account="1001", reason="the wrong house")
    world.run(5)
    assert world.stages(id_) == ["confirmed"]
    assert "按命令撤销" in world.events("disconnection")[-1]["reason"]


def test_a_trip_that_is_taken_back_on_the_way_is_answered(make: Make) -> None:
    world = make(switching="quiet_minutes = 0")
    world.to_debt()
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(60)
    trip = world.order("relay.trip", meter="M0", account="1001", reason="the roof burns")
    world.until(lambda: world.relay_state() is At.TRIP_WATCHING, HOUR)
    close = world.order("relay.close", meter="M0", reason="it does not")
    world.until(lambda: world.relay_state() is At.ALLOWED, 120)
    world.run(10)
    assert world.stages(trip) == ["accepted", "sent", "failed"]
    assert world.stages(close) == ["accepted", "confirmed"]
    assert world.store.orders() == []
