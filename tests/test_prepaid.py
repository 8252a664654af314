"""The rooms of money together, with a real store."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.prepayment.ledger import Ledger
from tests.money_rig import START, TOTAL, Money, flat

YUAN = 10_000


@pytest.fixture
def money(tmp_path: Path) -> Money:
    made = Money(tmp_path)
    assert made.open().stage == "confirmed"
    made.told()
    return made


def day(n: int) -> date:
    return START + timedelta(days=n)


def days(money: Money, *kwh: float, meter: str = "M0", first: int = 1) -> None:
    """One freeze a day, the register at so many kWh."""
    for n, one in enumerate(kwh, first):
        money.at(day(n))
        money.freeze(meter, day(n), round(one * 1000))


# --- charging -------------------------------------------------------------------------------------


def test_a_freeze_is_charged_in_the_transaction_that_stores_it(money: Money) -> None:
    days(money, 11)
    assert money.balance() == -5 * YUAN
    [journal] = money.told("journal")
    [transaction] = journal["transactions"]
    assert transaction["kind"] == "charge"
    assert transaction["tariff"] == "flat/1"
    assert {p["ledger"]: p["amount"] for p in transaction["postings"]} == {
        "prepaid": "-5.00",
        "revenue": "5.00",
        "metered": "-10.00",
        "charged": "10.00",
    }


def test_a_day_that_may_still_come_is_waited_for_some_hours(money: Money) -> None:
    money.at(day(2))
    money.freeze("M0", day(2), 21_000)
    assert money.balance() == 0
    money.wall += 5 * 3600
    money.tick()
    assert money.balance() == 0
    money.wall += 2 * 3600
    money.tick()
    assert money.balance() == -10 * YUAN


def test_a_day_that_never_comes_is_not_waited_for(money: Money) -> None:
    money.at(day(2))
    money.freeze("M0", day(2), 21_000)
    money.gap("M0", day(1))
    assert money.balance() == -10 * YUAN


def test_late_days_come_in_any_order_and_the_balance_is_the_same(tmp_path: Path) -> None:
    shown = {1: 5_000, 2: 9_000, 3: 12_000, 4: 20_000}
    balances = set()
    for order in ((1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3)):
        made = Money(tmp_path / "".join(map(str, order)))
        made.open()
        made.at(day(4))
        for n in order:
            made.freeze("M0", day(n), shown[n])
        balances.add(made.balance())
    assert balances == {-round(19 * 0.5 * YUAN)}


def test_what_is_odd_is_kept_out_and_told_once(money: Money) -> None:
    days(money, 11, 5)
    money.tick()
    assert money.balance() == -5 * YUAN
    [kept_out] = [one["event"] for one in money.told() if one["event"]["code"] != "low_balance"]
    assert kept_out["code"] == "reading_kept_out"
    assert "fell" in kept_out["detail"]
    money.wall += 7 * 3600
    money.tick()
    assert not money.told()


def test_a_person_rules_what_a_damaged_reading_should_have_been(money: Money) -> None:
    days(money, 11, 5, 31)
    money.wall += 7 * 3600
    money.tick()
    assert money.balance() == -15 * YUAN
    ruled = money.order(
        "reading.rule",
        meter="M0",
        day=day(3).isoformat(),
        action="replace",
        registers={TOTAL: "29"},
        reason="picture of the display",
    )
    assert ruled.stage == "confirmed"
    money.tick()
    assert money.balance() == -14 * YUAN
    kinds = [one["transactions"][0]["kind"] for one in money.told("journal")]
    assert kinds[-2:] == ["charge", "reversal"] or "reversal" in kinds


def test_a_ruling_can_be_ruled_over(money: Money) -> None:
    days(money, 11)
    for kwh, balance in (("15", -7), ("11", -5), ("13", -6)):
        money.order(
            "reading.rule",
            meter="M0",
            day=day(1).isoformat(),
            action="replace",
            registers={TOTAL: kwh},
            reason="again",
        )
        money.tick()
        assert money.balance() == balance * YUAN
    days(money, 21, first=2)
    assert money.balance() == -10 * YUAN


def test_a_tariff_announced_late_prices_its_days_again(money: Money) -> None:
    days(money, 11, 21, 31)
    assert money.balance() == -15 * YUAN
    text = flat("0.60", 2, day(2).isoformat())
    put = money.order("tariff.put", tariff="flat", version=2, text=text)
    assert put.stage == "confirmed", put
    money.tick()
    assert money.balance() == -(5 + 6 + 6) * YUAN
    again = money.order("tariff.put", tariff="flat", version=2, text=text)
    assert again.data["new"] is False
    other = money.order("tariff.put", tariff="flat", version=2, text=flat("0.70", 2))
    assert (other.stage, "never changes" in other.reason) == ("refused", True)


def test_a_tariff_that_cannot_reckon_its_own_example_is_refused(money: Money) -> None:
    wrong = flat("0.60", 2).replace('charge = "6.00"', 'charge = "6.01"')
    put = money.order("tariff.put", tariff="flat", version=2, text=wrong)
    assert put.stage == "refused"
    assert "comes out at 6.00" in put.reason


def test_energy_without_a_tariff_is_not_lost(tmp_path: Path) -> None:
    money = Money(tmp_path)
    later = flat("0.80", 3, "2026-01-01").replace('id = "flat"', 'id = "other"')
    money.order("tariff.put", tariff="other", version=3, text=flat_from(later, day(2)))
    money.open(tariffs=[{"since": START.isoformat(), "tariff": "other"}])
    days(money, 11)
    assert money.balance() == 0
    assert money.balance(ledger=Ledger.UNPRICED) == 10_000
    money.order(
        "tariff.put", tariff="other", version=2, text=later.replace("version = 3", "version = 2")
    )
    money.tick()
    assert money.balance() == -8 * YUAN
    assert money.balance(ledger=Ledger.UNPRICED) == 0


def flat_from(text: str, since: date) -> str:
    return text.replace("valid_from = 2026-01-01", f"valid_from = {since.isoformat()}")


def test_a_swapped_meter_keeps_the_money(money: Money) -> None:
    days(money, 11)
    money.top_up("p1", "50")
    money.at(day(2))
    swapped = money.order(
        "account.swap_meter",
        account="1001",
        old="M0",
        new="M1",
        day=day(2).isoformat(),
        final={TOTAL: "13"},
        start={TOTAL: "100.5"},
    )
    assert swapped.stage == "confirmed", swapped
    money.tick()
    assert money.balance() == (50 - 6) * YUAN
    days(money, 102.5, meter="M1", first=3)
    assert money.balance() == (50 - 7) * YUAN


def test_a_closed_account_is_charged_to_its_last_day_and_paid_out(money: Money) -> None:
    days(money, 11)
    money.top_up("p1", "50")
    money.at(day(2))
    order: dict[str, Any] = {"account": "1001", "day": day(2).isoformat(), "refund": "pay_out"}
    missing = money.order("account.close", **order)
    assert (missing.stage, "no daily freeze" in missing.reason) == ("refused", True)
    closed = money.order("account.close", **order, final={"M0": {TOTAL: "13.001"}})
    assert closed.stage == "confirmed", closed
    assert money.balance() == 0
    sums = money.prepaid.journal.totals().sums
    assert sums[Ledger.CASH] == -6 * YUAN
    later = money.top_up("p2", "10")
    assert "suspense" in later.data


# --- money ----------------------------------------------------------------------------------------


def test_a_payment_counts_once_however_often_it_comes(money: Money) -> None:
    first = money.top_up("p1", "50.00")
    again = money.top_up("p1", "50")
    assert money.balance() == 50 * YUAN
    assert again.data["transaction"] == first.data["transaction"]
    other = money.top_up("p1", "51.00")
    assert (other.stage, other.data["code"]) == ("refused", "reused_payment_id")
    assert money.balance() == 50 * YUAN


@pytest.mark.parametrize("amount", ["0", "-5", "0.001", "1e3", "ten"])
def test_an_amount_that_is_none_is_refused_and_listed(money: Money, amount: str) -> None:
    try:
        refused = money.top_up("p1", amount)
    except ValueError:
        return  # the contract has refused it already
    assert (refused.stage, refused.data["code"]) == ("refused", "amount")
    assert money.balance() == 0


def test_a_hoarding_limit_refuses_the_whole(money: Money) -> None:
    money.top_up("p1", "990")
    refused = money.top_up("p2", "10.01")
    assert (refused.stage, refused.data["code"]) == ("refused", "hoarding_limit")
    assert money.balance() == 990 * YUAN


def test_money_for_nobody_is_kept(money: Money) -> None:
    done = money.top_up("p1", "30", account="9999")
    assert done.stage == "confirmed"
    assert money.prepaid.journal.part(Ledger.SUSPENSE, "9999") == 30 * YUAN


def test_a_reversal_may_come_before_its_payment(money: Money) -> None:
    early = money.order("topup.reverse", payment="p1", reason="bank recall")
    assert early.data == {"early": True}
    money.top_up("p1", "30")
    assert money.balance() == 0
    money.top_up("p2", "30")
    money.order("topup.reverse", payment="p2", reason="bank recall")
    again = money.order("topup.reverse", payment="p2", reason="bank recall")
    assert again.data["repeated"] is True
    assert money.balance() == 0


def test_alerts_are_told_once_on_the_way_down_also_over_a_restart(money: Money) -> None:
    money.top_up("p1", "25")
    money.told()
    days(money, 21)  # 15 left
    [low] = money.told()
    assert low["event"]["code"] == "low_balance"
    assert (low["event"]["level"], low["event"]["balance"]) == ("alert_1", "15.00")
    money.database.close()
    money.start()
    days(money, 23, first=2)  # 14 left
    assert not [one for one in money.told() if one["event"]["code"] == "low_balance"]
    days(money, 51, first=3)  # 0 left
    assert [one["event"]["level"] for one in money.told()] == ["zero"]


def test_a_low_balance_comes_with_what_lasts_for_a_month(money: Money) -> None:
    money.top_up("p1", "60")
    days(money, *(1 + 10 * n for n in range(1, 9)))  # 5 yuan a day: 20 left
    low = [one["event"] for one in money.told() if one["event"]["code"] == "low_balance"]
    assert low[-1]["days_left"] == 4
    assert (low[-1]["lasts_days"], low[-1]["top_up"]) == (30, "130.00")


def test_emergency_credit_comes_once_and_is_repaid_first(money: Money) -> None:
    money.top_up("p1", "10")
    drawn = money.order("emergency", account="1001")
    assert drawn.data["balance"] == "20.00"
    assert money.order("emergency", account="1001").stage == "refused"
    money.top_up("p2", "15")
    assert money.balance() == 25 * YUAN
    assert money.balance(ledger=Ledger.EMERGENCY) == 0


def test_emergency_credit_may_come_by_itself(tmp_path: Path) -> None:
    money = Money(tmp_path)
    money.open(policy="kind")
    days(money, 3)
    assert money.balance() == 9 * YUAN
    assert money.balance(ledger=Ledger.EMERGENCY) == -10 * YUAN


def test_a_statement_can_be_followed_line_by_line(money: Money) -> None:
    money.top_up("p1", "50")
    days(money, 11, 21)
    answer = money.order("statement", account="1001")
    lines = answer.data["lines"]
    assert isinstance(lines, list | tuple)
    assert [(one["kind"], one["amount"], one["balance"]) for one in lines] == [
        ("top_up", "50.00", "50.00"),
        ("charge", "-5.00", "45.00"),
        ("charge", "-5.00", "40.00"),
    ]
    assert answer.data["closing"] == "40.00"
    json.dumps(answer.data)


def test_the_head_ends_view_is_compared_and_nothing_overwritten(money: Money) -> None:
    money.top_up("p1", "50")
    number = money.prepaid.journal.head()[0]
    same = money.order(
        "reconcile",
        number=number,
        hash=money.prepaid.journal.head()[1].hex(),
        balances={"1001": "50.00"},
        payments=[{"payment": "p1", "account": "1001", "amount": "50.00"}],
    )
    assert same.data["differs"] == []
    other = money.order(
        "reconcile",
        number=number,
        balances={"1001": "80.00"},
        payments=[{"payment": "p2", "account": "1001", "amount": "30.00"}],
    )
    assert other.data["differs"] == ["balances", "payments"]
    assert other.data["balances"] == {"1001": "50.00"}
    money.flush()
    assert [one["event"]["code"] for one in money.told()][-1] == "books_differ"
    assert money.balance() == 50 * YUAN


# --- the night ------------------------------------------------------------------------------------


def test_each_night_a_digest_is_sent_once(money: Money) -> None:
    money.top_up("p1", "50")
    days(money, 11, 21)
    money.tick()
    [digest] = money.told("digest")
    assert digest["day"] == day(2).isoformat()
    assert digest["charged"] == "20.00"
    assert digest["number"] == 3
    money.wall += 3600
    money.tick()
    assert not money.told("digest")


def test_books_that_do_not_agree_are_found_at_night(money: Money) -> None:
    days(money, 11, 21)
    money.tick()
    money.told()
    with money.database.transaction():
        money.database.write("update balance set amount = amount + 1 where ledger = 'prepaid'")
    money.at(day(3))
    money.tick()
    assert [one["event"]["code"] for one in money.told()] == ["charges_differ"]
    money.at(day(4))
    money.tick()
    assert not money.told()


def test_a_journal_that_was_changed_is_found_at_the_start(money: Money) -> None:
    days(money, 11, 21)
    with money.database.transaction():
        money.database.write("drop trigger journal_refuses_update")
        money.database.write("update journal set postings = replace(postings, '50000', '40000')")
    money.database.close()
    money.start()
    assert not money.prepaid.sound
    assert "journal_damaged" in [one["event"]["code"] for one in money.told()]
