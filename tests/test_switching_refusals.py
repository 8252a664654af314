"""What bad orders about supply get, from the broker to the pair of wires, through the real rooms.

Each is refused by name and published, so it was a row of the outbox before; nothing is switched.
The same order made as it should be is carried out: it was not refused for something else.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.relay_table import State as At
from gateway.events import Arrived, LinkUp
from gateway.north.contract import instant
from gateway.north.signatures import Signer
from gateway.orders import REFUSALS_PER_MINUTE
from gateway.store.letterbox import Letter
from protocols.relay import Action
from tests.keyring import sealed
from tests.switch_world import DAY, HOUR, KEYS, SwitchWorld

Make = Callable[..., SwitchWorld]
Tree = dict[str, Any]
FITTER = KEYS["relays"]
TRIP: Tree = {"name": "relay.trip", "meter": "M0", "account": "1001", "reason": "works on the line"}
ALL_OF_THEM = "cuts_per_day_percent = 100"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **({"switching": ALL_OF_THEM} | more))

    return world


def ready(world: SwitchWorld) -> SwitchWorld:
    """All is there that a trip by order needs, but the order."""
    world.helpful = False
    world.to_debt()
    world.run(2.1 * HOUR)
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(5)
    return world


def tree(world: SwitchWorld, *, issued_s: float = 0.0, for_s: float = 300.0, **keys: Any) -> Tree:
    """A trip as it is signed; its times count from now."""
    now = world.clock.now()
    return {
        "id": "bad",
        "gateway": "world",
        "issuer": "head-end",
        "issued": instant(now + issued_s),
        "not_after": instant(now + issued_s + for_s),
        "command": TRIP | keys,
    }


def untouched(world: SwitchWorld) -> bool:
    """No control frame was on the wire, and no operation is on record."""
    assets = world.area.meters
    return not world.frames() and not any(world.store.operations(one) for one in assets)


def carried_out(world: SwitchWorld) -> bool:
    """The same order, made as it should be."""
    id_ = world.order(**TRIP)
    world.until(lambda: world.relay_state() is At.OPEN, HOUR)
    world.run(10)
    return world.told() == ["trip"] and world.stages(id_) == ["accepted", "sent", "confirmed"]


# --- before it is looked at: form, sender, time ---------------------------------------------------

BAD: dict[str, tuple[str, Callable[[SwitchWorld], bytes]]] = {
    "unsigned": ("unsigned: ", lambda w: json.dumps(tree(w)).encode()),
    "forged": ("wrong signature: ", lambda w: sealed(tree(w), Signer("relays", b"x" * 32))),
    "a stranger's": ("unknown key: ", lambda w: sealed(tree(w), Signer("nobody", b"x" * 32))),
    "changed on its way": (
        "wrong signature: ",
        lambda w: sealed(tree(w), FITTER).replace(b'"M0"', b'"M1"'),
    ),
    "out of role": ("out of role: ", lambda w: sealed(tree(w), KEYS["agrees"])),
    "for another gateway": (
        "it names another gateway",
        lambda w: sealed(tree(w) | {"gateway": "other"}, FITTER),
    ),
    "for any gateway": (
        "must name its gateway",
        lambda w: sealed({k: v for k, v in tree(w).items() if k != "gateway"}, FITTER),
    ),
    "late": ("not_after has passed", lambda w: sealed(tree(w, issued_s=-301), FITTER)),
    "three months old": (
        "not_after has passed",
        lambda w: sealed(tree(w, issued_s=-90 * DAY), FITTER),
    ),
    "valid for a day": ("valid for 600 s at most", lambda w: sealed(tree(w, for_s=DAY), FITTER)),
    "from tomorrow": ("in the future", lambda w: sealed(tree(w, issued_s=DAY), FITTER)),
    "with too long a reason": (
        "reason: ",
        lambda w: sealed(tree(w, reason="x" * 501), FITTER),
    ),
    "with a key too many": (
        "command.relay.trip.force: ",
        lambda w: sealed(tree(w, force=True), FITTER),
    ),
    "to no meter": ("meter: ", lambda w: sealed(tree(w, meter=None), FITTER)),
}


@pytest.mark.parametrize("what", BAD)
def test_r06_a_trip_that_is(make: Make, what: str) -> None:
    world = ready(make())
    said, payload = BAD[what]
    world.deliver(payload(world))
    world.run(600)

    assert untouched(world)
    answer = world.result("bad")
    assert answer["stage"] == ("expired" if "not_after" in said else "refused")
    assert said in answer["reason"]
    [event] = world.events("command_refused")
    assert event["detail"] == f"bad: {answer['reason']}"
    assert carried_out(world)


def test_r06_retained_misdirected_and_oversized(make: Make) -> None:
    """Whose id nobody can or will read: there is no answer, but it is told."""
    world = ready(make())
    good = sealed(tree(world), FITTER)
    world.deliver(good, retained=True)
    link = world.link
    for topic in ("taiqu/v1/other/commands", "taiqu/v1/world/acks", "taiqu/v1/world/results"):
        arrived = Arrived(link.connection, 900, topic, good, retained=False)
        world.later(0.0, lambda arrived=arrived: world.tell(link, arrived))  # type: ignore[misc]
    world.deliver(good + b" " * 70_000)
    world.deliver(good[:-1])
    world.run(600)

    assert untouched(world)
    told = [event["detail"] for event in world.events("command_refused")]
    assert len(told) == 6
    assert "retained messages are not accepted" in told[0]
    assert "topic" in told[1]
    assert "bad" not in world.broker.ledger.results
    assert carried_out(world)


def test_r06_a_flood_of_forged_trips_fills_no_disk_and_is_counted(make: Make) -> None:
    world = ready(make())
    forger = Signer("relays", b"x" * 32)
    rows = "select (select count(*) from command), (select count(*) from result)"
    before = world.database.rows(rows)
    for n in range(500):
        world.deliver(sealed(tree(world) | {"id": f"bad-{n}"}, forger))
    world.run(120)

    assert untouched(world)
    assert world.database.rows(rows) == before
    told = [event["detail"] for event in world.events("command_refused")]
    assert len(told) == REFUSALS_PER_MINUTE + 1
    assert told[-1].startswith(f"{500 - REFUSALS_PER_MINUTE} more")
    assert sum(one.startswith("bad-") for one in world.broker.ledger.results) == REFUSALS_PER_MINUTE
    assert carried_out(world)


# --- in good form: whose meter, whose word, how much ----------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"meter": "M1"}, "meter M1 is not the one that switches account 1001: that is M0"),
        ({"meter": "M9"}, "meter M9 is not the one"),
        ({"meter": "*"}, "meter * is not the one"),
        ({"meter": "AAAAAAAAAAAA"}, "meter AAAAAAAAAAAA is not the one"),
        ({"meter": "999999999999"}, "meter 999999999999 is not the one"),
        ({"account": "4711"}, "no account 4711 here"),
    ],
)
def test_r01_r07_a_trip_of_another_meter(make: Make, body: Tree, said: str) -> None:
    world = ready(make())
    id_ = world.order(**(TRIP | body))
    world.run(600)

    assert untouched(world)
    assert world.stages(id_) == ["refused"]
    assert said in world.result(id_)["reason"]
    [event] = world.events("switching_refused")
    assert (event["command"], event["name"]) == (id_, "relay.trip")
    assert said in event["reason"]
    [kept] = world.core._commands.results(id_)
    assert kept.stage == "refused"
    assert carried_out(world)


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ({"account": "1001", "debt_max": "0.01"}, "is for 0.01 owed at most"),
        ({"account": "1002", "debt_max": "100.00"}, "0 valid approvals"),
        ({"account": "1001", "debt_max": "100.00", "action": "disconnect"}, "0 valid approvals"),
        ({"account": "1001", "debt_max": "100.00", "request": "c-other"}, "0 valid approvals"),
    ],
    ids=["another amount", "another account", "another act", "another request"],
)
def test_r11_an_approval_for(make: Make, approval: Tree, said: str) -> None:
    world = make()
    world.to_debt()
    world.open("1002", "M1")
    world.helpful = False
    world.run(2.1 * HOUR)
    body: Tree = {"name": "disconnect.approve", "action": "trip"}
    world.order(**body | approval)
    world.run(5)
    decided = len(world.store.decisions("1001"))
    id_ = world.order(**TRIP)
    world.run(330)

    assert untouched(world)
    assert world.stages(id_) == ["accepted", "expired"]
    assert said in world.result(id_)["reason"]
    [decision] = world.store.decisions("1001")[: -decided or None]
    assert not decision.allowed
    assert [said in text for code, _, text in decision.failed if code == "approval"] == [True]


def test_r11_who_asks_cannot_agree_nor_a_revoked_approval_count(make: Make) -> None:
    world = make()
    world.to_debt()
    world.helpful = False
    world.run(2.1 * HOUR)
    yes = world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(5)
    world.order("approval.revoke", by="agrees", approval=yes, reason="wrong house")
    forged = world.order(
        "disconnect.approve", by="relays", action="trip", account="1001", debt_max="100.00"
    )
    id_ = world.order(**TRIP)
    world.run(330)

    assert untouched(world)
    assert world.stages(forged) == ["refused"]
    assert "out of role" in world.result(forged)["reason"]
    assert world.stages(id_) == ["accepted", "expired"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class": "life_support"}, "an account of the class life_support is never cut"),
        ({"no_cut": {"reason": "oxygen"}}, "protected until removed: oxygen"),
        ({"dispute": True}, "a charge is disputed"),
    ],
)
def test_r08_r12_a_trip_of_whom_no_second_person_could_cut(
    make: Make, change: Tree, said: str
) -> None:
    world = ready(make())
    world.order("account.change", account="1001", version=1, **change)
    world.run(5)
    id_ = world.order(**TRIP)
    world.run(60)
    assert untouched(world)
    assert world.stages(id_) == ["refused"]
    assert said in world.result(id_)["reason"]
    assert not world.store.decisions("1001")[0].allowed


@pytest.mark.parametrize(
    "change", [{"class": "life_support"}, {"regime": "unknown"}, {"mode": "prepay_agreement"}]
)
def test_r08_who_is_never_cut_is_not_even_requested(make: Make, change: Tree) -> None:
    world = make()
    world.helpful = False
    world.run(180)
    world.open(**change)
    world.run(5)
    id_ = world.order("disconnect.request", account="1001", reason="not paid")
    world.run(5)
    assert world.stages(id_) == ["refused"]
    assert "cannot be cut" in world.result(id_)["reason"]
    assert world.events("switching_refused")[-1]["name"] == "disconnect.request"


def test_r11_an_approval_of_a_trip_is_good_for_one(make: Make) -> None:
    world = ready(make())
    assert carried_out(world)
    world.order("relay.close", meter="M0", reason="the work is done")
    world.run(HOUR)
    id_ = world.order(**TRIP)
    world.run(330)
    assert world.told() == ["trip", "allow_close"]
    assert world.stages(id_) == ["accepted", "expired"]
    assert "0 valid approvals" in world.result(id_)["reason"]


def test_r25_who_resumes_hears_what_else_stops(make: Make) -> None:
    world = make()
    world.order("stop", reason="storm")
    (world.config.store_directory / "stop").touch()
    world.run(5)
    id_ = world.order("resume", reason="over")
    world.run(5)
    assert "stop is there: remove it" in world.result(id_)["data"]["stopped"]


def at_the_box(world: SwitchWorld, id_: str, **body: Any) -> None:
    """Somebody puts a letter into the letterbox, without a key."""
    what = json.dumps(tree(world, for_s=600) | {"id": id_, "command": body}).encode()
    letter = Letter(id=id_, who="alice", what=what, posted=world.clock.now())
    now, wall = world.clock.monotonic(), world.clock.now()
    world.core._orders.letter(letter, now, wall, trusted=True, live=True)


def test_all_relays_are_closed_at_the_box_only_also_those_that_were_believed_closed(
    make: Make,
) -> None:
    """Somebody opened them while we did not look; one meter is out of reach."""
    world = make(count=4)
    world.to_cut()
    world.meter("M3").meter.silent = True
    for asset in ("M1", "M2"):
        relay = world.meter(asset).relay
        assert relay is not None
        relay.advance(world.clock.true())
        relay.command(Action.TRIP)
    afar = world.order("relay.close", all=True, reason="let there be light")
    world.run(5)
    assert "at the box only" in world.result(afar)["reason"]
    assert all(world.relay_state(one) is None for one in ("M1", "M2"))

    at_the_box(world, "all", name="relay.close", all=True, reason="all are cut")
    world.run(900)
    assert world.stages("all") == ["accepted", "confirmed"]
    data = world.result("all")["data"]
    assert (sorted(data["meters"]), data["not_reached"]) == (["M0", "M1", "M2"], ["M3"])
    for asset in ("M0", "M1", "M2"):
        assert world.relay_state(asset) in (At.ALLOWED, At.CLOSED)
        assert world.told(asset)[-1] == "allow_close"


def test_closing_all_ends_what_would_cut_again(make: Make) -> None:
    world = make(count=3, switching="quiet_minutes = 0\ncuts_per_day_percent = 100")
    world.to_debt()
    world.open("1002", "M1")
    world.run(HOUR)
    until = instant(world.clock.now() + 4 * HOUR)
    rows = [{"account": one, "load": "1.0"} for one in ("1002", "1001")]
    shed = world.order(
        "shed", order="1", first="2026-01-01", last="2026-01-31", rows=rows, goal="2.0",
        until=until, reason="the transformer is too hot",
    )  # fmt: skip
    world.order("disconnect.approve", action="shed", request=shed)
    world.until(lambda: world.relay_state("M1") is At.OPEN, HOUR)
    cut = len(world.told())
    at_the_box(world, "all", name="relay.close", all=True, reason="all are cut")
    world.run(HOUR)
    assert world.stages(shed)[-1] == "confirmed"
    assert world.result(shed)["reason"] == "ordered for all"
    assert world.told("M1") == ["trip", "allow_close"]
    assert world.told()[cut:] in ([], ["allow_close"]), "the walk has gone no further"


# --- again, much later, and very many -------------------------------------------------------------


def test_r03_a_replayed_trip_after_restore_and_restart_cuts_nobody_again(make: Make) -> None:
    world = ready(make())
    assert carried_out(world)
    [old] = [one for one in world.payloads.values() if b'"relay.trip"' in one]
    world.order("relay.close", meter="M0", reason="the work is done")
    world.until(lambda: world.told() == ["trip", "allow_close"], HOUR)
    world.run(DAY)
    world.deliver(old)
    world.run(60)
    world.power_cut()
    world.start()
    world.run(60)
    world.deliver(old)
    changed = old.replace(b'"M0"', b'"M1"')
    world.deliver(changed)
    world.run(HOUR)
    assert world.told() == ["trip", "allow_close"]
    assert world.told("M1") == []
    assert "wrong signature" in world.events("command_refused")[-1]["detail"]


def test_r04_a_trip_of_three_months_ago_comes_with_the_reconnect(make: Make) -> None:
    """The broker kept it for us: it is the first that the new connection hands over."""
    world = ready(make())
    old = sealed(tree(world, issued_s=-90 * DAY), FITTER)
    world.broker_down()
    world.run(HOUR)
    world.broker_up()
    tell = world.tell

    def first(link: Any, event: Any) -> None:
        tell(link, event)
        if isinstance(event, LinkUp):
            world.deliver(old)

    world.tell = first  # type: ignore[method-assign]
    world.until(lambda: bool(world.events("command_refused")), HOUR)
    world.run(600)
    assert untouched(world)
    assert world.stages("bad") == ["expired"]
    [event] = world.events("command_refused")
    assert event["detail"] == "bad: not_after has passed"


def test_r22_500_trips_at_once_switch_nothing_and_hold_up_no_restore(make: Make) -> None:
    world = make(count=8)
    world.to_cut()
    for n in range(1, 8):
        world.open(f"200{n}", f"M{n}")
    world.run(5)
    for n in range(1, 8):
        world.order("disconnect.approve", action="trip", account=f"200{n}", debt_max="100.00")
    world.run(5)
    trips = [
        world.order(**(TRIP | {"meter": f"M{1 + n % 7}", "account": f"200{1 + n % 7}"}))
        for n in range(500)
    ]
    world.top_up("40.00")
    restored_s = world.until(lambda: world.told()[-1:] == ["allow_close"], 60)
    assert restored_s <= 15
    world.run(330)

    assert all(world.told(f"M{n}") == [] for n in range(1, 8))
    assert len(world.events("cuts_latched")) == 1
    answers = [world.result(one) for one in trips]
    assert {one["stage"] for one in answers} <= {"refused", "failed"}
    assert all("latched" in one["reason"] or "under way" in one["reason"] for one in answers)
    told = [one["command"] for one in world.events("switching_refused")]
    refused = [id_ for id_, one in zip(trips, answers, strict=True) if one["stage"] == "refused"]
    assert sorted(told) == sorted(refused)
    assert len(refused) >= 490
    assert world.store.orders() == []


def test_a_second_trip_of_a_meter_waits_for_nothing(make: Make) -> None:
    world = ready(make())
    first = world.order(**TRIP)
    second = world.order(**TRIP)
    world.until(lambda: world.relay_state() is At.OPEN, HOUR)
    world.run(10)
    assert world.told() == ["trip"]
    assert world.stages(first) == ["accepted", "sent", "confirmed"]
    assert world.stages(second) == ["refused"]
    assert f"the trip {first} of meter M0 is under way" in world.result(second)["reason"]


# --- at the pair of wires -------------------------------------------------------------------------


def test_r02_a_meter_that_answers_for_another_is_named(make: Make) -> None:
    """Another meter hangs at its place since this morning and answers at its address."""
    world = ready(make(swapped_at=datetime(2026, 1, 1, 1, tzinfo=UTC)))
    id_ = world.order(**TRIP)
    world.run(200)

    assert untouched(world)
    assert world.stages(id_) == ["accepted", "failed"]
    answer = world.result(id_)
    assert "meter_number" in answer["data"]["failed"]
    assert "the meter says it is" in answer["reason"]
    [decision, *_] = world.store.decisions("1001")
    assert "R02" in {rule for _, rule, _ in decision.failed}


def test_r02_a_foreign_address_in_the_reply_to_the_look_is_no_look(make: Make) -> None:
    """What a neighbour says is not heard: without a look of its own nothing is sent."""
    world = ready(make())
    wire = world.wires["east"]
    transmit = wire._transmit

    def neighbour(act: Any) -> None:
        if bytes.fromhex("000100000000") in act.data:  # asked was M0, it is M1 who answers
            body = act.data.replace(bytes.fromhex("000100000000"), bytes.fromhex("010100000000"))
            start = body.index(0x68)
            body = body[:-2] + bytes([sum(body[start:-2]) & 0xFF]) + body[-1:]
            act = type(act)(data=body, settings=act.settings)
        transmit(act)

    wire._transmit = neighbour  # type: ignore[method-assign]
    id_ = world.order(**TRIP)
    world.run(400)
    assert untouched(world)
    assert world.told("M1") == []
    answer = world.result(id_)
    assert answer["stage"] == "failed"
    assert {"meter_number", "relay"} <= set(answer["data"]["failed"])
