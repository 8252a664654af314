"""The demo's prepaid customers: what is ordered for them, and what is made of the journal."""

import json
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.north.commands import Judge, Valid
from gateway.technician.demo_accounts import (
    CUSTOMERS,
    DEBTOR,
    OTHERS,
    PAID_AFTER_CUT,
    Counter,
    opening_id,
)
from gateway.technician.demo_books import (
    EXPORT,
    IMPORT,
    Transaction,
    bill_of,
    expected_e4,
    periods,
    price,
    standings,
)
from gateway.technician.demo_site import GATEWAY, HOME, SHOP, TARIFF_FILES, Site
from gateway.technician.demo_verdict import counted
from simulators.area import Area, demo_area
from simulators.ledger import Ledger
from simulators.seller import Seller

TODAY = date(2026, 7, 20)
NOW = 1_784_500_000.0
FIRST = CUSTOMERS[0]
SEED = bytes(range(32))


@pytest.fixture(scope="module")
def area() -> Area:
    return demo_area(1)


class Rig:
    """The counter, and a gateway that answers when it is told to."""

    def __init__(self, area: Area) -> None:
        self.counter = Counter(area, Seller("demo-ops", SEED), TODAY)
        self.ledger = Ledger()
        self.sent: list[dict[str, Any]] = []
        self._seq = 0

    def step(self, now: float = NOW) -> list[dict[str, Any]]:
        """What is sent in this step."""
        before = len(self.sent)
        self.counter.step(self.ledger, self._send, now)
        return self.sent[before:]

    def hello(self) -> None:
        self._take("hello", {"gateway": GATEWAY})

    def answer(self, id_: str, stage: str = "confirmed", reason: str = "") -> None:
        self._number("results", id=id_, stage=stage, reason=reason)

    def answer_all(self) -> None:
        for id_ in {order["id"] for order in self.sent} - self.ledger.results.keys():
            self.answer(id_)

    def warn(self, number: str, level: str, **more: str) -> None:
        self.tell({"code": "low_balance", "account": number, "level": level, "at": "x", **more})

    def tell(self, event: Mapping[str, str]) -> None:
        self._number("events", event=event)

    def post(self, *transactions: Transaction) -> None:
        self._number("journal", transactions=list(transactions))

    def opened(self) -> None:
        self.hello()
        self.step()
        self.answer_all()
        self.step()
        self.answer_all()

    def _number(self, kind: str, **message: object) -> None:
        self._seq += 1
        envelope = {"gateway": GATEWAY, "epoch": "e", "lane": "urgent", "seq": self._seq}
        self._take(kind, envelope | message)

    def _take(self, kind: str, message: Mapping[str, Any]) -> None:
        self.ledger.take(f"taiqu/v1/{GATEWAY}/{kind}", json.dumps(message).encode())

    def _send(self, gateway: str, kind: str, message: Mapping[str, Any]) -> None:
        assert (gateway, kind) == (GATEWAY, "commands")
        self.sent.append(dict(message))


@pytest.fixture
def rig(area: Area) -> Rig:
    return Rig(area)


# --- the counter ----------------------------------------------------------------------------------


def test_nothing_is_ordered_before_the_gateway_listens(rig: Rig) -> None:
    assert rig.step() == []

    rig.hello()
    assert [order["command"]["name"] for order in rig.step()] == ["account.open"] * len(OTHERS)


def test_the_gateway_of_the_demo_takes_every_order(rig: Rig, area: Area, tmp_path: Path) -> None:
    site = Site(tmp_path)
    judge = Judge(GATEWAY, load(site.write_config(area, "mosquitto", 1883)).keys)
    rig.counter.seller = Seller(site.signer.id, site.signer.seed)
    rig.opened()

    names = set()
    for order in rig.sent:
        verdict = judge.message(
            f"taiqu/v1/{GATEWAY}/commands",
            json.dumps(order).encode(),
            NOW,
            retained=False,
            trusted=True,
        )
        assert isinstance(verdict, Valid)
        assert verdict.by == f"key {site.signer.id}"
        names.add(verdict.command.command.name)
    assert names == {"account.open", "topup"}


def test_an_account_begins_with_what_its_meter_showed(rig: Rig, area: Area) -> None:
    order = rig.counter.opening(FIRST)

    [metered] = order["meters"]
    assert metered["since"] == "2026-07-17"
    rates = [Decimal(metered["start"][f"energy_active_import_t{n}"]) for n in (1, 2, 3, 4)]
    total = Decimal(metered["start"]["energy_active_import"])
    assert abs(total - sum(rates)) <= Decimal("0.04")


def test_nobody_pays_before_his_account_is_open(rig: Rig) -> None:
    rig.hello()
    rig.step()
    rig.answer(opening_id(FIRST))

    accounts = {order["command"]["account"] for order in rig.step()}
    assert accounts == {FIRST.number}


def test_each_payment_is_ordered_three_times_under_two_ids(rig: Rig) -> None:
    rig.hello()
    rig.step()
    rig.answer(opening_id(FIRST))

    sales = rig.step()
    assert len(sales) == 3
    assert sales[0] == sales[1]
    assert sales[2]["id"] != sales[0]["id"]
    assert sales[2]["command"] == sales[0]["command"]


def test_an_order_without_an_answer_is_sent_again_as_it_was(rig: Rig) -> None:
    rig.hello()
    first = rig.step()
    rig.answer(opening_id(FIRST))
    rig.step()

    assert rig.step(NOW + 4.9) == []
    again = rig.step(NOW + 5)
    assert [order for order in again if order in first] == first[1:]


def test_a_warned_customer_comes_once_and_pays_what_he_was_told(rig: Rig) -> None:
    rig.opened()
    rig.warn(FIRST.number, "alert_1")
    rig.warn(FIRST.number, "alert_2", top_up="12.34")
    assert rig.step() == []

    sales = rig.step(NOW + 4)
    assert {order["command"]["amount"] for order in sales} == {"50.00"}
    rig.answer_all()
    rig.warn(FIRST.number, "zero", top_up="12.34")
    rig.step(NOW + 4)
    assert {order["command"]["amount"] for order in rig.step(NOW + 8)} == {"12.34"}
    rig.answer_all()
    assert rig.step(NOW + 60) == []


def test_the_debtor_comes_only_once_his_supply_is_cut(rig: Rig) -> None:
    rig.opened()
    rig.answer(opening_id(DEBTOR))
    rig.warn(DEBTOR.number, "alert_1", top_up="12.34")
    rig.step()
    assert rig.step(NOW + 4) == []

    cut = {"code": "relay", "what": "open", "account": DEBTOR.number, "at": "x"}
    rig.tell(cut)
    rig.step(NOW + 5)
    orders = {json.dumps(order["command"]) for order in rig.step(NOW + 9)}
    [body] = map(json.loads, orders)
    assert (body["account"], body["amount"]) == (DEBTOR.number, PAID_AFTER_CUT)
    rig.answer_all()
    assert rig.step(NOW + 60) == []


def test_what_is_refused_is_told(rig: Rig) -> None:
    rig.opened()
    assert rig.counter.refused(rig.ledger) == []

    rig.answer(opening_id(FIRST), "refused", "no such tariff")
    assert rig.counter.refused(rig.ledger) == ["open-1001 was refused: no such tariff"]
    assert FIRST not in rig.counter.opened(rig.ledger)


# --- the books ------------------------------------------------------------------------------------


def transaction(number: int, kind: str, amount: str, **more: Any) -> Transaction:
    return {
        "number": number,
        "kind": kind,
        "key": f"{kind}:{number}",
        "account": FIRST.number,
        "postings": [
            {"ledger": "prepaid", "account": FIRST.number, "unit": "CNY", "amount": amount},
            {"ledger": "revenue", "account": "", "unit": "CNY", "amount": "1.00"},
        ],
        **more,
    }


def charge(number: int, amount: str, after: str, to: str) -> Transaction:
    span = {"meter": FIRST.meter, "after": after, "to": to}
    return transaction(number, "charge", amount, spans=[span])


def test_a_customer_stands_where_the_journal_puts_him(rig: Rig) -> None:
    rig.post(transaction(1, "top_up", "60.00"))
    rig.post(charge(2, "-42.00", "2026-07-10", "2026-07-17"))
    rig.warn(FIRST.number, "alert_1")

    standing = standings(rig.ledger)[FIRST.meter]
    assert standing.balance_e4 == 180_000
    assert standing.days_left == 3
    assert standing.alert == "alert 1"
    assert standing.last_top_up == "60.00"

    rig.post(transaction(3, "top_up", "30.00"))
    standing = standings(rig.ledger)[FIRST.meter]
    assert (standing.alert, standing.last_top_up) == ("", "30.00")


@pytest.mark.parametrize("tariff", [HOME, SHOP])
def test_the_oracle_agrees_with_the_checks_of_the_tariffs(tariff: str) -> None:
    found = tomllib.loads((TARIFF_FILES / f"{tariff}.toml").read_text())

    for check in found["check"]:
        usage = check["usage"]
        kwh = {IMPORT: Decimal(usage["kwh"]), EXPORT: Decimal(usage.get("reverse_kwh", 0))}
        assert bill_of(found, kwh, usage.get("days", 7)) == Decimal(check["charge"])


def test_a_price_the_oracle_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="steps"):
        bill_of({"id": "x", "component": [{"type": "steps"}]}, {}, 1)


def test_periods_end_with_the_month_or_the_week() -> None:
    month = list(periods({"every": "month"}, date(2026, 1, 30), date(2026, 3, 2)))
    assert [to for _, to in month] == [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 2)]

    week = {"every": "days", "days": 7, "anchor": date(2026, 1, 5)}
    assert [to for _, to in periods(week, date(2026, 7, 11), date(2026, 7, 20))] == [
        date(2026, 7, 12),
        date(2026, 7, 19),
        date(2026, 7, 20),
    ]


def test_a_charge_that_is_off_by_a_fen_shows(area: Area) -> None:
    since, last = date(2026, 7, 17), date(2026, 7, 19)
    cost = price(area, FIRST, since, last)
    paid = transaction(1, "top_up", "60.00")

    def expected(amount: str) -> int:
        posted = [paid, charge(2, amount, since.isoformat(), last.isoformat())]
        return expected_e4(area, FIRST, since, posted)

    assert cost > 0
    assert expected(f"-{cost}") == int((60 - cost) * 10_000)
    # What was charged is not what it goes by.
    assert expected(f"-{cost + 1}") == expected(f"-{cost}")


def test_a_charge_that_was_reversed_counts_for_nothing(area: Area) -> None:
    since = date(2026, 7, 17)
    posted = [
        transaction(1, "top_up", "60.00"),
        charge(2, "-5.00", "2026-07-17", "2026-07-18"),
        transaction(3, "reversal", "5.00", reverses=2),
    ]

    assert expected_e4(area, FIRST, since, posted) == 600_000


def test_a_payment_counted_twice_shows(rig: Rig) -> None:
    rig.opened()
    payment = next(iter(rig.counter.sold))
    rig.post(transaction(1, "top_up", "60.00", key=f"top_up:{payment}"))
    assert counted(rig.ledger, rig.counter)[payment] == 1

    rig.post(transaction(2, "top_up", "60.00", key=f"top_up:{payment}"))
    assert counted(rig.ledger, rig.counter)[payment] == 2
