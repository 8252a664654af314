"""Statements: in the order in which things became true, with a balance that adds up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.drafts import Priced, adjustment, charge, fee, refund, top_up
from gateway.prepayment.ledger import Draft, Ledger, Span, Transaction, reversal
from gateway.prepayment.statement import statement, words
from tests.accounts import OPENED

A = "1001"


def posted(number: int, draft: Draft) -> Transaction:
    return Transaction(number=number, draft=draft, recorded=1e6, clock="trusted", hash=bytes(32))


def paid(number: int, effective: float, amount_e4: int, debt_e4: int = 0) -> Transaction:
    shares = {Ledger.PREPAID: amount_e4 - debt_e4, Ledger.DEBT: debt_e4}
    key = f"top_up:p-{number}"
    return posted(
        number,
        top_up(account=A, key=key, effective=effective, channel="counter", shares_e4=shares),
    )


def used(number: int, effective: float, cost_e4: int, energy_wh: int) -> Transaction:
    priced = Priced(lines_e4={"energy": cost_e4}, energy_wh=energy_wh)
    draft = charge(
        account=A,
        key=f"charge:{number}",
        effective=effective,
        priced=priced,
        tariff="home/1",
        spans=(Span("A1", OPENED, OPENED.replace(day=OPENED.day + 1)),),
    )
    return posted(number, draft)


SPAN = charge(
    account=A,
    key="charge:2",
    effective=1,
    priced=Priced(lines_e4={"energy": 1}, energy_wh=1),
    tariff="home/1",
    spans=(Span("A1", OPENED, OPENED.replace(day=OPENED.day + 3)),),
)
WHY = '{"by":"alice","reason":"wrong factor"}'


def test_each_line_says_what_changed_and_what_was_left() -> None:
    found = statement(A, [paid(1, 10, 500_000, 100_000), used(2, 20, 30_000, 5_000)])

    assert (found.opening_e4, found.closing_e4, found.more) == (0, 370_000, None)
    assert [(one.amount_e4, one.balance_e4, one.energy_wh) for one in found.lines] == [
        (400_000, 400_000, 0),
        (-30_000, 370_000, 5_000),
    ]


def test_a_late_charge_stands_where_it_belongs() -> None:
    found = statement(A, [paid(1, 10, 1), paid(2, 30, 2), used(3, 20, 1, 1)])
    assert [one.transaction.number for one in found.lines] == [1, 3, 2]


def test_a_day_s_charge_belongs_to_the_day_that_ends() -> None:
    """Effective at midnight: it is the last of the day before, not the first of the next."""
    transactions = [paid(1, 5, 100), used(2, 10, 7, 1), used(3, 20, 9, 1), used(4, 30, 11, 1)]

    found = statement(A, transactions, since=10, until=20)

    assert [one.transaction.number for one in found.lines] == [3]
    assert (found.opening_e4, found.closing_e4) == (93, 84)


def test_nothing_in_a_time_is_the_balance_then() -> None:
    found = statement(A, [paid(1, 5, 100), used(2, 50, 7, 1)], since=10, until=20)
    assert (found.opening_e4, found.closing_e4, found.lines) == (100, 100, ())


@given(
    amounts=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10**9)), max_size=30),
    limit=st.integers(1, 7),
    since=st.none() | st.integers(0, 50),
    until=st.none() | st.integers(0, 50),
)
def test_parts_join_to_the_whole(
    amounts: list[tuple[int, int]], limit: int, since: int | None, until: int | None
) -> None:
    transactions = [
        paid(n, effective, e4) if n % 2 else used(n, effective, e4, n)
        for n, (effective, e4) in enumerate(amounts, 1)
    ]
    whole = statement(A, transactions, since=since, until=until, limit=1000)
    parts = [statement(A, transactions, since=since, until=until, limit=limit)]
    while (more := parts[-1].more) is not None:
        parts.append(statement(A, transactions, since=since, until=until, limit=limit, skip=more))

    assert tuple(line for part in parts for line in part.lines) == whole.lines
    assert [one.closing_e4 for one in parts[:-1]] == [one.opening_e4 for one in parts[1:]]
    assert parts[0].opening_e4 == whole.opening_e4
    assert whole.opening_e4 + sum(one.amount_e4 for one in whole.lines) == whole.closing_e4


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (paid(1, 1, 1), "p-1"),
        (used(2, 1, 1, 1), "A1 2026-01-02, home/1"),
        (posted(2, SPAN), "A1 2026-01-02 to 2026-01-04, home/1"),
        (
            posted(
                3, adjustment(account=A, key="adjust:c-1", effective=1, amount_e4=1, detail=WHY)
            ),
            "wrong factor",
        ),
        (
            posted(
                4,
                refund(
                    account=A, key="close_out:1:refund", effective=1, channel="bank", amount_e4=100
                ),
            ),
            "the account was closed",
        ),
        (posted(3, reversal(paid(1, 1, 1), "reversal:p-1", 2)), "of 1"),
        (
            posted(4, fee(account=A, key="fee:late", effective=1, category="penalty", amount_e4=1)),
            "late",
        ),
    ],
)
def test_a_line_says_in_words_what_it_was(of: Transaction, said: str) -> None:
    assert words(of) == said
    assert words(replace(of, number=9)) == said
