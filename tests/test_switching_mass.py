"""R26 through the real rooms: who puts many accounts below zero, and that nobody is cut for it."""

from pathlib import Path

import pytest

from gateway.disconnection.case import State
from tests.money_rig import flat
from tests.switch_world import HOUR, SwitchWorld

HOMES = 6
DEAR = flat("9.00", version=2, since="2025-12-01")


@pytest.fixture
def street(tmp_path: Path) -> SwitchWorld:
    """Six homes, 24 kWh a day each, and 20 yuan left."""
    world = SwitchWorld(tmp_path, count=HOMES, switching="cuts_per_day_percent = 100")
    world.run(180)
    for n in range(HOMES):
        world.open(f"100{n}", f"M{n}")
        world.top_up("40.00", f"100{n}")
    world.run(5)
    world.agree(*(f"100{n}" for n in range(HOMES)))
    world.run(60)
    return world


def put(world: SwitchWorld, by: str) -> str:
    id_ = world.order("tariff.put", by=by, tariff="flat", version=2, text=DEAR)
    world.run(5)
    return id_


def adjust(world: SwitchWorld, account: str, by: str = "cash") -> str:
    id_ = world.order("adjust", by=by, account=account, amount="-100.00", reason="a list")
    world.run(5)
    return id_


def low(world: SwitchWorld) -> list[str]:
    """Accounts below zero."""
    rows = world.database.rows(
        "select account from balance where ledger = 'prepaid' and amount < 0"
    )
    return sorted(account for (account,) in rows)


def trips(world: SwitchWorld) -> int:
    return sum(world.told(f"M{n}").count("trip") for n in range(HOMES))


def test_r26_a_tariff_that_empties_the_street_waits_for_a_second_person(
    street: SwitchWorld,
) -> None:
    first = put(street, "prices")
    assert street.result(first)["stage"] == "refused"
    assert street.result(first)["data"] == {"code": "below_zero", "accounts": HOMES}
    [told] = street.events("money_refused")
    assert (told["command"], told["name"]) == (first, "tariff.put")
    assert "a second person" in told["reason"]
    assert street.result(put(street, "prices"))["stage"] == "refused", "the same person again"
    street.run(60)
    assert low(street) == []

    # It is known after a power cut what the first person ordered.
    street.power_cut()
    street.run(30)
    street.start()
    street.run(60)
    second = put(street, "prices2")
    assert street.result(second)["stage"] == "confirmed"
    street.run(60)
    assert len(low(street)) == HOMES


def test_r26_two_persons_err_and_the_latch_keeps_everybody_supplied(street: SwitchWorld) -> None:
    put(street, "prices")
    put(street, "prices2")
    street.run(7 * HOUR)
    assert len(low(street)) == HOMES
    assert "fell due at once" in street.store.mass().latched
    assert [one["code"] for one in street.broker.ledger.events].count("cuts_latched") == 1
    assert trips(street) == 0
    # By now one may have been judged: it was refused by the latch.
    assert all("R22" in rules for n in range(HOMES) for rules in street.failed(f"100{n}"))


def test_r26_order_by_order_one_person_does_not_get_further(street: SwitchWorld) -> None:
    stages = [street.result(adjust(street, f"100{n}"))["stage"] for n in range(HOMES)]
    assert stages == ["confirmed", "confirmed", "refused", "refused", "refused", "refused"]
    assert low(street) == ["1000", "1001"]
    street.power_cut()
    street.run(HOUR)
    street.start()
    street.run(60)
    again = adjust(street, "1003")
    assert street.result(again)["stage"] == "refused", "an hour and a restart later"
    # What people pay is taken in, whatever waits.
    assert street.result(adjust(street, "1003", "cash2"))["stage"] == "confirmed"
    paid = [street.top_up("150.00", account) for account in ("1000", "1003", "1004")]
    street.run(10)
    assert [street.result(one)["stage"] for one in paid] == ["confirmed"] * 3
    assert low(street) == ["1001"]


def test_r26_payments_that_bounce_are_facts_and_the_latch_answers_them(
    street: SwitchWorld,
) -> None:
    rows = street.database.rows("select key from journal where kind = 'top_up'")
    payments = [key.removeprefix("top_up:") for (key,) in rows]
    assert len(payments) == HOMES
    stages = []
    for payment in payments:
        id_ = street.order("topup.reverse", payment=payment, reason="the bank took it back")
        street.run(120)
        stages.append(street.result(id_)["stage"])
    assert stages == ["confirmed"] * HOMES
    assert len(low(street)) == HOMES
    assert "fell due at once" in street.store.mass().latched
    street.run(6 * HOUR)
    assert trips(street) == 0
    assert all(street.case_state(f"100{n}") is not State.OPEN for n in range(HOMES))
