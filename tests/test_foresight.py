"""What an order would do to balances: foreseen, and then what comes of it."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.disconnection.mass_changes import Change
from gateway.prepayment.ledger import Ledger
from gateway.prepayment.tariff_reader import parse
from tests.money_rig import Money, flat
from tests.test_settlement import day, days

YUAN = 10_000


class Gate:
    """Notes what it is asked, and says what it is told to."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.asked: list[Change] = []
        self.made: list[Change] = []

    def refuse(self, change: Change, wall: float) -> str:
        del wall
        self.asked.append(change)
        return self.reason

    def done(self, change: Change, wall: float) -> None:
        del wall
        self.made.append(change)


@pytest.fixture
def money(tmp_path: Path) -> Money:
    made = Money(tmp_path)
    for n in range(3):
        assert made.open(f"100{n}", f"M{n}").stage == "confirmed"
        made.top_up(f"p{n}", "10.00", f"100{n}")
    # 5 kWh a day of the first account, 1 kWh of the second; of the third nothing is known.
    days(made, 6, 11, 16)
    for n, wh in enumerate((2000, 3000, 4000), 1):
        made.freeze("M1", day(n), wh)
    return made


def put(money: Money, price: str, since: date, version: int = 2) -> Any:
    text = flat(price, version=version, since=since.isoformat())
    return money.order("tariff.put", tariff="flat", version=version, text=text)


@pytest.mark.parametrize("price", ["0.80", "3.00", "0.10"])
@pytest.mark.parametrize("since", [date(2026, 1, 1), day(2), day(3), day(40)])
def test_a_tariff_does_to_balances_what_was_foreseen(money: Money, price: str, since: date) -> None:
    tariff = parse(flat(price, version=2, since=since.isoformat()))
    foreseen = money.prepaid.settlement.foresee(tariff)
    before = {number: money.balance(number) for number in foreseen}
    assert put(money, price, since).stage == "confirmed"
    money.tick()
    assert {number: money.balance(number) for number in foreseen} == foreseen
    assert (foreseen != before) is (since <= day(3))
    assert sorted(foreseen) == ["1000", "1001", "1002"]


def test_a_tariff_waits_and_nothing_of_it_is_kept(money: Money) -> None:
    gate = money.prepaid.gate = Gate("a second person has to order the same")
    outcome = put(money, "3.00", date(2026, 1, 1))
    assert (outcome.stage, outcome.data) == ("refused", {"code": "below_zero", "accounts": 1})
    assert [one.fallen for one in gate.asked] == [{"1000"}]
    money.tick()
    assert money.balance("1000") == 10 * YUAN - 75_000
    gate.reason = ""
    assert put(money, "3.00", date(2026, 1, 1)).stage == "confirmed"
    assert gate.made == gate.asked[1:]
    money.tick()
    assert money.balance("1000") == 10 * YUAN - 450_000
    assert put(money, "3.00", date(2026, 1, 1)).stage == "confirmed"
    assert len(gate.asked) == 2, "it is known by now"


def test_a_tariff_of_the_configuration_waits_too(money: Money) -> None:
    text = flat("3.00", version=2, since="2026-01-01")
    (money.path.parent / "tariffs" / "flat2.toml").write_text(text)
    money.database.close()
    flush = money.flush
    gate = Gate("a second person has to order the same")

    def wired() -> None:
        money.prepaid.gate = gate
        flush()

    money.flush = wired  # type: ignore[method-assign]
    money.start()
    money.tick()
    assert [(one.key, one.fallen) for one in gate.asked] == [("", frozenset(("1000",)))]
    assert money.balance("1000") == 10 * YUAN - 75_000


def test_adjustments_are_looked_at_and_money_that_came_or_went_never_is(money: Money) -> None:
    gate = money.prepaid.gate = Gate("too many")
    refused = money.order("adjust", account="1001", amount="-9.00", reason="a mistake")
    assert refused.stage == "refused"
    assert money.order("topup.reverse", payment="p0", reason="bounced").stage == "confirmed"
    assert money.balance("1000") < 0
    assert money.top_up("p9", "5.00", "1001").stage == "confirmed"
    assert [one.fallen for one in gate.asked] == [{"1001"}]


def test_a_row_of_limits_with_less_room_is_looked_at(money: Money) -> None:
    money.order("adjust", account="1001", amount="-12.00", reason="still within the limit of -5")
    assert -5 * YUAN < money.balance("1001") < 0
    gate = money.prepaid.gate = Gate("too many")
    for policy, stage in (("kind", "refused"), ("nonsense", "refused"), ("home", "confirmed")):
        outcome = money.order("account.change", account="1001", version=1, policy=policy)
        assert outcome.stage == stage
    assert [one.fallen for one in gate.asked] == [{"1001"}]


@pytest.mark.parametrize(
    "order",
    [
        {"account": "1001", "amount": "-8.00", "reason": "enough is left"},
        {"account": "1001", "amount": "-90.00", "ledger": "debt", "reason": "old arrears"},
        {"account": "nobody", "amount": "-90.00", "reason": "no such account"},
    ],
)
def test_what_puts_nobody_below_zero_is_not_asked_about(money: Money, order: Any) -> None:
    gate = money.prepaid.gate = Gate("too many")
    money.order("adjust", **order)
    assert not gate.asked
    assert money.balance("1001", Ledger.PREPAID) >= 0
