"""Settlement on a real store: what it remembers between transactions, and what comes late."""

from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest

from gateway.north import contract_orders
from gateway.prepayment.account import Account
from gateway.prepayment.forecast import Charged, forecast
from gateway.prepayment.rerate import costs
from gateway.store.readings import Freeze
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


def days(money: Money, *kwh: float, first: int = 1) -> None:
    """One freeze a day, the register at so many kWh."""
    for n, one in enumerate(kwh, first):
        money.at(day(n))
        money.freeze("M0", day(n), round(one * 1000))


def keep(money: Money, n: int, wh: int) -> None:
    """Store and charge a freeze within the caller's transaction."""
    one = Freeze(
        meter="M0",
        day=day(n),
        frozen=money.wall,
        taken=money.wall,
        clock="trusted",
        quality="good",
        values={TOTAL: wh},
    )
    money.readings.add(one)
    money.prepaid.kept("M0", day(n))


def undone(money: Money, what: Callable[[], object]) -> None:
    """Do something in a transaction that fails in the end."""
    with suppress(InterruptedError), money.recorder.commit(0.0, live=False):
        what()
        raise InterruptedError


def account(money: Money) -> Account:
    found = money.prepaid.accounts.current("1001")
    assert found
    return found


# --- transactions that fail -----------------------------------------------------------------------


def test_a_failed_transaction_leaves_no_tariff_behind(money: Money) -> None:
    days(money, 11)
    put = contract_orders.TariffPut(
        name="tariff.put", tariff="flat", version=2, text=flat("9.00", 2, day(1).isoformat())
    )
    seen = []

    def put_and_charge() -> None:
        assert money.prepaid.desk.put_tariff(put, money.wall).stage == "confirmed"
        prices = money.prepaid.settlement.looks.prices("flat", day(2))
        seen.append(prices and prices.key)

    undone(money, put_and_charge)
    assert seen == ["flat/2"]
    days(money, 21, first=2)
    assert money.balance() == -10 * YUAN


@pytest.mark.parametrize("again", [21, 31])
def test_a_charge_that_was_undone_is_not_built_upon(money: Money, again: int) -> None:
    """The reading may even be another when the day is read again."""
    days(money, 11)
    seen = []

    def charge() -> None:
        keep(money, 2, 21_000)
        seen.append(money.balance())

    undone(money, charge)
    assert (seen, money.balance()) == ([-10 * YUAN], -5 * YUAN)
    days(money, again, 41, first=2)
    assert money.balance() == -20 * YUAN
    assert not money.prepaid.settlement.wrong(account(money), START)
    told = [one["number"] for message in money.told("journal") for one in message["transactions"]]
    assert told == [1, 2, 3]


def test_the_look_at_the_books_goes_on_from_where_it_was(money: Money) -> None:
    settlement = money.prepaid.settlement
    days(money, *(1 + 10 * n for n in range(1, 41)))
    assert not settlement.wrong(account(money), day(38))
    money.top_up("p1", "50")

    def charge_and_look() -> None:
        keep(money, 41, 411_000)
        assert not settlement.wrong(account(money), day(38))

    undone(money, charge_and_look)
    assert not settlement.wrong(account(money), day(38))
    days(money, 421, first=41)
    assert not settlement.wrong(account(money), day(38))
    with money.database.transaction():
        money.database.write("update balance set amount = amount - 1 where ledger = 'charged'")
    assert "charged" in settlement.wrong(account(money), day(38))


def test_transactions_of_one_commit_go_into_few_messages(money: Money) -> None:
    for n in (1, 2):
        assert money.open(f"200{n}", f"M{n}").stage == "confirmed"
    money.told()
    money.at(day(1))
    with money.recorder.commit(0.0, live=False):
        for meter in ("M0", "M1", "M2"):
            one = Freeze(
                meter=meter,
                day=day(1),
                frozen=money.wall,
                taken=money.wall,
                clock="trusted",
                quality="good",
                values={TOTAL: 2_000},
            )
            money.readings.add(one)
            money.prepaid.kept(meter, day(1))
    # Each is in debt by now, and told so after the charge that made it.
    told = money.told("journal")
    numbers = [one["number"] for message in told for one in message["transactions"]]
    assert numbers == [1, 2, 3]
    kinds = [message["kind"] for message in money.messages[-6:]]
    assert kinds == ["journal", "events"] * 3


# --- late readings --------------------------------------------------------------------------------


def test_a_day_that_comes_after_it_was_charged_is_charged_by_its_own_reading(money: Money) -> None:
    """L13: two readings around a month's end, and the one between them a week late."""
    text = flat("1.00", 2, "2026-03-01")
    assert money.order("tariff.put", tariff="flat", version=2, text=text).stage == "confirmed"
    first = (date(2026, 2, 27) - START).days
    for n in range(1, first + 8):
        # 10 kWh a day, but 30 on the last of February
        kwh = 1 + 10 * n + (20 if n > first else 0)
        if n != first + 1:
            money.at(day(n))
            money.freeze("M0", day(n), kwh * 1000)
            money.wall += 7 * 3600
            money.tick()
    assert money.balance() == -(270 * 0.5 + 20 * 0.5 + 20 + 50) * YUAN
    money.freeze("M0", day(first + 1), (1 + 10 * (first + 1) + 20) * 1000)
    money.tick()
    assert money.balance() == -(270 * 0.5 + 30 * 0.5 + 10 + 50) * YUAN
    assert not money.prepaid.settlement.wrong(account(money), START)


def test_a_late_day_that_changes_nothing_undoes_nothing(money: Money) -> None:
    days(money, 11, 21)
    money.tick()
    head = money.prepaid.journal.head()
    money.gap("M0", day(1))
    money.freeze("M1", day(1), 5_000)
    money.tick()
    assert money.prepaid.journal.head() == head


# --- forecast -------------------------------------------------------------------------------------


def test_a_forecast_needs_only_the_last_month(money: Money) -> None:
    days(money, *(1 + n * n for n in range(1, 51)))
    journal = money.prepaid.journal
    charged = costs(journal.newest("1001"))
    assert (charged[0].to, charged[-1].after) == (day(50), day(20))
    every = [
        Charged(one.draft.spans[0].after, one.draft.spans[0].to, -one.draft.postings[0].amount)
        for one in journal.of_account("1001")
    ]
    assert forecast(500_000, charged, 30) == forecast(500_000, every, 30) is not None
