"""The right to cut, each rule by its number, in a whole gateway on simulated time: what pure facts
say (tests/test_right_to_cut.py) must come about by real orders, readings, clocks and messages.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from gateway.north.contract import instant, unix_s
from protocols.base import Value
from tests.switch_world import DAY, HOUR, SwitchWorld
from tests.world import START

Make = Callable[..., SwitchWorld]
NOON = 4 * HOUR
OXYGEN = {"reason": "oxygen at home"}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def world(*relays: str, **more: Any) -> SwitchWorld:
        return SwitchWorld(tmp_path, relays=relays, **more)

    return world


def indebted(world: SwitchWorld, **keys: Any) -> None:
    """Beyond the limit, with a calendar and a delegation; the account as ``keys`` say."""
    world.run(180)
    world.open(**keys)
    world.run(5)
    world.agree()
    world.run(5)


def shed(world: SwitchWorld, *accounts: str) -> None:
    """Load shedding, asked for by one person and agreed to by another."""
    today = instant(world.clock.now())[:10]
    id_ = world.order(
        "shed",
        order="2026-1",
        first=today,
        last=today,
        rows=[{"account": one, "load": "1.0"} for one in accounts],
        goal="1.0",
        until=instant(world.clock.now() + 4 * HOUR),
        reason="the transformer is too hot",
    )
    world.run(5)
    world.order("disconnect.approve", action="shed", request=id_)


def asked(world: SwitchWorld) -> list[str]:
    return [one["asks"] for one in world.events("disconnection") if one.get("asks")]


def turns(world: SwitchWorld) -> list[str]:
    return [one["what"] for one in world.events("relay")]


def payment_of(command: str) -> str:
    """The payment that a world's top-up named."""
    return f"p{int(command[1:]) - 1}"


def balance_e4(world: SwitchWorld) -> int:
    assert world.core._prepaid is not None
    row = world.database.row(
        "select amount from balance where account = '1001' and ledger = 'prepaid'"
    )
    return int(row[0]) if row else 0


# --- who is never cut -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "standing",
    [
        {"no_cut": OXYGEN},
        {"class": "critical"},
        {"class": "life_support"},
        {"mode": "prepay_agreement"},
        {"regime": "unknown"},
    ],
)
def test_r08_who_is_never_cut_is_not_even_noticed(make: Make, standing: dict[str, Any]) -> None:
    world = make()
    indebted(world, **standing)
    world.run(8 * HOUR)
    assert balance_e4(world) < 0
    assert set(asked(world)) <= {"warn"}
    assert world.told() == []


@pytest.mark.parametrize(
    "standing", [{"no_cut": OXYGEN}, {"class": "life_support"}, {"mode": "prepay_agreement"}]
)
def test_r08_nor_shed(make: Make, standing: dict[str, Any]) -> None:
    world = make(switching="cuts_per_day_percent = 100")
    indebted(world, **standing)
    world.run(2.2 * HOUR)
    shed(world, "1001")
    world.run(HOUR)
    assert world.told() == []


def test_who_is_cut_already_does_not_hold_up_load_shedding(make: Make) -> None:
    world = make(switching="cuts_per_day_percent = 100")
    world.to_cut()
    world.open("1002", "M1", mode="postpay")
    world.run(600)
    shed(world, "1001", "1002")
    world.until(lambda: world.relay_state("M1") is At.OPEN, HOUR)
    assert (world.told("M0"), world.told("M1")) == (["trip"], ["trip"])


# --- before a cut ---------------------------------------------------------------------------------


def test_r10_the_steps_keep_their_distances(make: Make) -> None:
    world = make()
    world.to_cut()
    [(_, trip)] = world.store.operations("M0")
    proofs: dict[str, float] = dict(world.database.rows("select what, received from notice_served"))
    assert trip.at - proofs["notice"] >= 2 * HOUR
    assert trip.at - proofs["last_call"] >= 1800


def test_r12_a_dispute_ends_it_and_holds_it_off(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, NOON)
    world.order("account.change", account="1001", version=1, dispute=True)
    world.run(10)
    assert world.case_state() is State.WATCH
    world.run(NOON)
    assert world.told() == []
    assert asked(world)[-1] == "report"


def test_r13_no_calendar_no_cut(make: Make) -> None:
    world = make()
    world.run(180)
    world.open()
    world.run(5)
    expires = instant(world.clock.now() + DAY)
    world.order("delegate", accounts=["1001"], debt_max="1000.00", expires=expires)
    world.run(8 * HOUR)
    assert world.case_state() is State.APPROVED
    assert world.told() == []


def test_r13_no_cut_shortly_before_the_night(make: Make) -> None:
    world = make()
    world.run(6 * HOUR)  # 14:00; the night begins at 20:00, a restore may need four hours
    indebted(world)
    world.run(5 * HOUR)
    assert world.told() == []
    began = world.clock.now()
    world.until(lambda: world.relay_state() is At.OPEN, DAY)
    cut = world.clock.now()
    assert cut - began > 12 * HOUR
    assert unix_s("2026-01-02T00:00:00Z") < cut < unix_s("2026-01-02T08:00:00Z")


def test_r13_the_weather_speaks_against_it_at_the_last_moment(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, NOON)
    until = instant(world.clock.now() + 3 * HOUR)
    world.order("calendar.put", weather={"reason": "typhoon", "until": until})
    world.run(2 * HOUR)
    assert world.told() == []
    assert world.failed()[0] == ["R13"]


def test_r14_no_cut_for_what_is_only_estimated(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.DUE, HOUR)
    world.rule("estimate", used_kwh=50)
    world.until(lambda: balance_e4(world) < -200_000, 600)
    assert balance_e4(world) < -200_000
    world.run(NOON)
    assert world.case_state() is State.APPROVED
    assert world.told() == []


def test_r15_no_cut_by_a_clock_that_nobody_trusts(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, NOON)
    world.clock.synced = False
    world.clock.step(5 * DAY)
    world.run(2 * DAY)
    assert world.told() == []


# --- what ends a request --------------------------------------------------------------------------


def pay(world: SwitchWorld) -> None:
    world.top_up("40.00")


def protect(world: SwitchWorld) -> None:
    world.order("account.change", account="1001", version=1, no_cut=OXYGEN)


def dispute(world: SwitchWorld) -> None:
    world.order("account.change", account="1001", version=1, dispute=True)


def other_mode(world: SwitchWorld) -> None:
    world.order("account.change", account="1001", version=1, mode="postpay")


def other_rules(world: SwitchWorld) -> None:
    world.order("account.change", account="1001", version=1, regime="statutory")


def swap(world: SwitchWorld) -> None:
    world.order(
        "account.swap_meter",
        by="office",
        account="1001",
        old="M0",
        new="M1",
        day="2025-12-31",
        final={"energy_active_import": "94972.00"},
        start={"energy_active_import": "1.00"},
    )


ENDS: dict[Callable[[SwitchWorld], None], str] = {
    pay: "paid",
    protect: "protected",
    dispute: "dispute",
    other_mode: "mode or rules changed",
    other_rules: "mode or rules changed",
    swap: "meter replaced",
}


@pytest.mark.parametrize("act", ENDS, ids=lambda one: one.__name__)
def test_r18_what_ends_a_request_ends_it_before_anything_is_sent(
    make: Make, act: Callable[[SwitchWorld], None]
) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, NOON)
    kept = world.store.case("1001")
    assert kept is not None
    # At the last moment: the fresh look at the meter is under way.
    world.until(lambda: world.clock.now() > kept.case.trip_at - 10, NOON)
    world.quickly(lambda: world.case_state() is State.PREFLIGHT, 600)
    act(world)
    world.run(60)
    after = world.store.case("1001")
    assert after is not None
    assert world.told() == world.told("M1") == []
    assert after.case.round > kept.case.round or after.case.ended == ENDS[act]


def test_r19_a_payment_that_is_taken_back_needs_a_fresh_notice(make: Make) -> None:
    world = make()
    world.run(180)
    world.open()
    world.run(5)
    world.agree()
    payment = payment_of(world.top_up("9.00"))
    world.until(lambda: world.case_state() is State.SCHEDULED, NOON)
    notices = asked(world).count("serve_notice")
    world.order("topup.reverse", by="cash", payment=payment, reason="bounced")
    world.run(60)
    assert world.told() == []
    written = [
        unix_s(e["at"]) for e in world.events("disconnection") if e["asks"] == "serve_notice"
    ]
    assert len(written) == notices + 1
    world.until(lambda: world.relay_state() is At.OPEN, 8 * HOUR)
    [(_, trip)] = world.store.operations("M0")
    assert trip.at - written[-1] >= 2 * HOUR


def test_r20_protected_supply_is_not_released_on_an_old_notice(make: Make) -> None:
    world = make("protected")
    world.helpful = False
    world.to_debt()
    off = world.order("relay.protect", meter="M0", on=False, reason="the exam is over")
    world.run(60)
    assert world.stages(off) == ["accepted", "failed"]
    assert world.told() == []
    world.helpful = True
    world.run(2.2 * HOUR)
    off = world.order("relay.protect", meter="M0", on=False, reason="the exam is over")
    world.run(60)
    assert world.stages(off) == ["accepted", "confirmed"]
    assert world.told() == ["protect_off"]


def test_r20_a_notice_about_a_debt_that_was_paid_releases_no_protection(make: Make) -> None:
    world = make()
    world.to_cut()
    world.top_up("12.00")
    world.run(60)
    assert world.relay_state() is At.OPEN, "that is too little to close"
    world.order("relay.protect", meter="M0", on=True, reason="an exam")
    world.run(60)
    world.order("adjust", account="1001", amount="-12.00", reason="mistyped")
    world.run(60)
    off = world.order("relay.protect", meter="M0", on=False, reason="the exam is over")
    world.run(60)
    assert world.stages(off) == ["accepted", "failed"]
    assert "no notice was served" in world.result(off)["reason"]
    assert world.told() == ["trip", "protect_on"]


# --- many, and again ------------------------------------------------------------------------------


def test_r24_each_waits_a_random_while_is_seen_to_wait_and_can_be_stopped(make: Make) -> None:
    world = make(switching="cuts_per_day_percent = 100")
    world.run(180)
    for n in range(3):
        world.open(f"100{n}", f"M{n}")
    world.run(5)
    world.agree("1000", "1001", "1002")
    accounts = ["1000", "1001", "1002"]
    world.until(lambda: all(world.case_state(one) is State.SCHEDULED for one in accounts), NOON)
    calls = [one for one in world.events("disconnection") if one["asks"] == "last_call"]
    waits = [unix_s(one["due"]) - unix_s(one["at"]) - 1800 for one in calls]
    assert len({round(one, 1) for one in waits}) == 3
    assert all(one > 0 for one in waits)

    world.order("disconnect.cancel", account="1001", reason="a mistake")
    world.run(2 * HOUR)
    assert [len(world.told(f"M{n}")) for n in range(3)] == [1, 0, 1]


def order_trip(world: SwitchWorld) -> str:
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    world.run(5)
    return world.order("relay.trip", meter="M0", account="1001", reason="works on the line")


def pending(world: SwitchWorld) -> dict[str, Any]:
    """A trip by order that waits for its turn; what the head-end was told of it."""
    order_trip(world)
    world.quickly(lambda: "trip_pending" in turns(world), 10)
    [told] = world.events("relay")
    assert told["command"] == f"c{world.commands}"
    assert told["next_step"]
    return dict(told)


def ready_to_trip(make: Make, seed: int = 1) -> SwitchWorld:
    world = make(switching="cuts_per_day_percent = 100", seed=seed)
    world.to_debt()
    world.run(2.1 * HOUR)
    return world


def test_r24_a_trip_by_order_waits_a_random_while_too(tmp_path: Path) -> None:
    waits = []
    for seed in range(3):
        world = SwitchWorld(tmp_path / str(seed), seed=seed)
        world.to_debt()
        world.run(2.1 * HOUR)
        told = pending(world)
        due = unix_s(told["due"])
        waits.append(due - unix_s(told["at"]))
        world.until(lambda world=world: bool(world.told()), 300)
        [(_, trip)] = world.store.operations("M0")
        assert due <= trip.at < due + 60
    assert all(0 < one <= 150 for one in waits), "half of what it is valid for"
    assert len({round(one) for one in waits}) == 3


@pytest.mark.parametrize(
    ("name", "keys", "rule"),
    [
        ("stop", {"reason": "the head-end runs wild"}, "R25"),
        ("approval.revoke", {"by": "agrees", "reason": "the wrong house"}, "R11"),
        ("account.change", {"account": "1001", "version": 1, "no_cut": OXYGEN}, "R08"),
    ],
)
def test_r24_a_trip_by_order_can_be_stopped_while_it_waits(
    make: Make, name: str, keys: dict[str, Any], rule: str
) -> None:
    world = ready_to_trip(make)
    told = pending(world)
    if name == "approval.revoke":
        keys = {**keys, "approval": f"c{world.commands - 1}"}
    world.order(name, **keys)
    world.until(lambda: world.stages(told["command"])[-1:] == ["failed"], 200)
    assert world.stages(told["command"]) == ["accepted", "failed"]
    assert rule in world.failed()[0]
    assert world.told() == []


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("relay.close", {"meter": "M0", "reason": "the wrong house"}),
        ("disconnect.cancel", {"account": "1001", "reason": "the wrong house"}),
    ],
)
def test_r24_who_wants_supply_ends_a_trip_that_waits(
    make: Make, name: str, keys: dict[str, Any]
) -> None:
    world = ready_to_trip(make)
    told = pending(world)
    id_ = world.order(name, **keys)
    world.until(lambda: world.stages(id_)[-1:] == ["confirmed"], 60)
    assert world.stages(told["command"]) == ["accepted", "failed"]
    assert id_ in world.result(told["command"])["reason"]
    world.run(200)
    assert world.told() == []
    again = order_trip(world)
    world.until(lambda: world.stages(again)[-1:] == ["confirmed"], 700)
    assert world.told() == ["trip"], "a later order is another one"


def test_r24_no_cut_is_announced_that_could_not_follow(make: Make) -> None:
    world = ready_to_trip(make)
    world.order("stop", reason="the head-end runs wild")
    id_ = order_trip(world)
    world.until(lambda: world.stages(id_)[-1:] == ["failed"], 10)
    assert world.stages(id_) == ["accepted", "failed"]
    assert world.result(id_)["data"]["failed"] == ["stopped"]
    assert turns(world) == []
    assert "R25" in world.failed()[0]


def test_r24_a_power_cut_does_not_give_it_another_turn(make: Make) -> None:
    world = ready_to_trip(make)
    due = unix_s(pending(world)["due"])
    world.power_cut()
    world.run(5)
    world.start()
    world.run(200)
    assert turns(world).count("trip_pending") == 1
    assert all(one.at >= due for _, one in world.store.operations("M0"))


def test_r24_load_shedding_begins_at_a_random_moment(tmp_path: Path) -> None:
    waits = []
    for seed in range(3):
        world = SwitchWorld(tmp_path / str(seed), seed=seed, switching="quiet_minutes = 0")
        world.to_debt()
        world.run(HOUR)
        shed(world, "1001")
        asked_at = world.clock.now()
        world.until(lambda world=world: bool(world.told()), 700)
        waits.append(world.clock.now() - asked_at)
    assert all(waited < 660 for waited in waits)
    assert max(waits) - min(waits) > 30


def test_r31_no_trip_within_ten_minutes_of_a_restore(make: Make) -> None:
    world = make(switching="cuts_per_day_percent = 100")
    world.to_cut()
    world.order("relay.close", meter="M0", reason="a look at the meter")
    world.until(lambda: world.relay_state() is At.ALLOWED, 120)
    relay = world.meter().relay
    assert relay is not None
    relay.press(world.clock.true())
    world.until(lambda: world.relay_state() is At.CLOSED, 600)
    world.order("disconnect.approve", action="trip", account="1001", debt_max="100.00")
    id_ = world.order("relay.trip", meter="M0", account="1001", reason="works")
    world.until(lambda: world.stages(id_)[-1:] == ["failed"], 300)
    assert "R31" in world.failed()[0]
    assert world.told() == ["trip", "allow_close"]


def test_r23_a_restart_does_not_shorten_a_long_time_offline(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, NOON)
    world.run(10)
    world.broker_down()
    world.run(20.5 * HOUR)
    world.power_cut()
    world.run(60)
    world.start()
    world.run(1.5 * HOUR)  # eight in the morning, and the start's own quiet time nearly over
    world.broker_up()
    back = world.clock.now()
    world.until(lambda: world.relay_state() is At.OPEN, 8 * HOUR)
    assert world.clock.now() - back > 2 * HOUR


def test_r36_low_voltage_holds_up_restores_where_nobody_gave_the_rated_current(make: Make) -> None:
    world = make(switching='cuts_per_day_percent = 100\narea_meter = "M3"', count=4)
    meters = ("M0", "M1", "M2")
    world.run(180)
    for n, meter in enumerate(meters):
        world.open(f"100{n}", meter)
    world.run(5)
    world.agree("1000", "1001", "1002")
    world.until(lambda: all(world.relay_state(one) is At.OPEN for one in meters), 8 * HOUR)
    low = {"voltage_l1n": Value(1900, 1)}
    for n in range(3):
        world.core._switching.polled("M3", low, world.clock.now())  # type: ignore[union-attr]
        world.top_up("60.00", f"100{n}")
    began = world.clock.now()
    while any(world.relay_state(one) is not At.ALLOWED for one in meters):
        world.core._switching.polled("M3", low, world.clock.now())  # type: ignore[union-attr]
        world.run(30)
        assert world.clock.now() - began < 900
    sent = sorted(one.at for meter in meters for _, one in world.store.operations(meter)[:1])
    assert all(later - first > 55 for first, later in pairwise(sent))


# --- a cut that was wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["3.00", "9.00"])
def test_r37_a_wrong_cut_is_told_as_one_however_much_there_is_then(make: Make, before: str) -> None:
    world = make()
    world.to_debt()
    world.top_up(before)
    world.until(lambda: world.relay_state() is At.OPEN, 8 * HOUR)
    world.rule("replace")
    world.until(lambda: world.relay_state() is At.ALLOWED, 120)
    world.run(10)
    assert world.told() == ["trip", "allow_close"]
    assert "wrong_cut" in turns(world)


def test_r37_who_pays_after_a_correction_against_him_was_not_cut_wrongly(make: Make) -> None:
    world = make()
    world.run(180)
    world.open()
    world.run(5)
    world.agree()
    payment = payment_of(world.top_up("1.00"))
    world.until(lambda: world.relay_state() is At.OPEN, 8 * HOUR)
    world.order("topup.reverse", by="cash", payment=payment, reason="bounced")
    world.run(10)
    world.top_up("12.00")  # back above the limit, and not enough to close
    world.run(120)
    assert 0 < balance_e4(world) < 50_000
    assert world.told() == ["trip"]
    assert "wrong_cut" not in turns(world)


# --- who is not really cut ------------------------------------------------------------------------


@pytest.mark.parametrize("relay", ["welded", "deaf", "back=600", "late=3000"])
def test_r30_whatever_the_relay_says_what_was_used_is_charged(make: Make, relay: str) -> None:
    world = make(relay)
    world.to_debt()
    world.run(16.5 * HOUR - (world.clock.now() - START))  # half past midnight
    world.run(600)
    assert world.told()[:1] == ["trip"]
    account = world.core._prepaid.accounts.current("1001") if world.core._prepaid else None
    assert account is not None
    start_wh = account.meterings[0].start["energy_active_import"]
    shown = world.meter().household.truth(START + 16 * HOUR)["energy_active_import"].text()
    used_wh = int(Decimal(shown or "0") * 100) * 10 - start_wh
    [(charged_wh,)] = world.database.rows(
        "select amount from balance where account = '1001' and ledger = 'charged'"
    )
    assert charged_wh == used_wh
    assert charged_wh > 24_000
