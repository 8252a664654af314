"""The audit finds what is wrong, and nothing in what is right."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.audit import Audited, Starts, audit
from gateway.prepayment.chain import GENESIS, chain, milliseconds
from gateway.prepayment.ledger import Draft, Ledger, Posting, Span, Transaction, reversal
from tests.drafts import DAY, NOON, bought, drafts, used


def chained(some: Iterable[Draft], first: int = 1) -> list[Transaction]:
    """Posted without asking whether they may be."""
    transactions: list[Transaction] = []
    previous = GENESIS
    for number, draft in enumerate(some, first):
        previous = chain(previous, number, draft, milliseconds(NOON), "trusted")
        transactions.append(
            Transaction(number=number, draft=draft, recorded=NOON, clock="trusted", hash=previous)
        )
    return transactions


def sums(transactions: Iterable[Transaction]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for one in transactions:
        for posting in one.draft.postings:
            key = (posting.ledger, posting.account)
            found[key] = found.get(key, 0) + posting.amount
    return found


def audited(transactions: list[Transaction], starts: Starts | None = None) -> Audited:
    by_number = {one.number: one for one in transactions}
    return audit(transactions, by_number.get, sums(transactions), starts)


def told(transactions: list[Transaction], starts: Starts | None = None) -> list[str]:
    return [str(finding) for finding in audited(transactions, starts).findings]


def undo(one: Transaction, key: str = "undo") -> Draft:
    return reversal(one, key, NOON)


def corrected() -> list[Draft]:
    """Five days, of which the third was charged wrongly first."""
    days = [used(day=day) for day in range(1, 6)]
    wrong = chained(days)[2]
    return [bought(), *days[:2], used("1002"), days[2], *days[3:], undo(replace(wrong, number=5))]


def test_a_journal_with_a_correction_is_sound() -> None:
    found = audited(chained([*corrected(), used(day=3, wh=4_000, again=":2")]))

    assert found == Audited(findings=(), transactions=9, postings=50, accounts=2, charged_wh=29_000)


@given(st.lists(drafts(st.text("abc", min_size=1)), max_size=8))
def test_what_was_posted_adds_up(some: list[Draft]) -> None:
    found = audited(chained(some))

    assert {one.code for one in found.findings} <= {"L6"}
    assert found.transactions == len(some)


def test_a_changed_transaction_breaks_the_chain_there_and_only_there() -> None:
    good = chained([bought(key=str(number)) for number in range(5)])
    good[2] = replace(good[2], recorded=NOON + 1)

    assert told(good) == ["L10 transaction 3: it is not what was posted: its hash does not fit"]


def test_a_missing_number_is_named() -> None:
    transactions = chained([bought(key=str(number)) for number in range(4)])
    del transactions[1]

    assert [text[:19] for text in told(transactions)] == [
        "L11 transaction 3: ",
        "L10 transaction 3: ",
    ]
    assert told(chained([bought()], first=2))[0] == "L11 transaction 2: it follows 0"


def test_a_transaction_that_could_not_have_been_posted_is_found() -> None:
    lost = replace(bought(), postings=(Posting(Ledger.PREPAID, "1001", 5),))

    codes = [one.code for one in audited(chained([lost])).findings]

    assert codes == ["L1", "L9"]


def test_a_balance_that_is_not_the_sum_is_found() -> None:
    transactions = chained([bought()])

    found = audit(
        transactions, transactions.__getitem__, {("prepaid", "1001"): 999_999, ("cash", "bank"): 1}
    )

    assert [str(one) for one in found.findings] == [
        "L3 cash of bank is kept as 1, its postings sum to 0",
        "L3 cash of wechat is kept as 0, its postings sum to -1000000",
        "L3 prepaid of 1001 is kept as 999999, its postings sum to 1000000",
    ]


@pytest.mark.parametrize(
    ("draft", "text"),
    [
        (undo(chained([bought()])[0], "again"), "it reverses 1, which was reversed before"),
        (replace(undo(chained([bought()])[0]), reverses=9), "it reverses 9, which it cannot"),
        (replace(undo(chained([bought()])[0]), reverses=2), "it reverses 2, which it cannot"),
        (replace(undo(chained([bought()])[0]), reverses=3), "it reverses 3, which it cannot"),
        (replace(undo(chained([bought("1002")])[0]), reverses=1), "it is not the mirror of 1"),
    ],
)
def test_a_reversal_that_is_none_is_found(draft: Draft, text: str) -> None:
    first = undo(chained([bought()])[0])

    assert f"L8 transaction 3: {text}" in told(chained([bought(), first, draft]))


def test_a_day_charged_twice_is_found() -> None:
    twice = replace(used(day=3), key="again", spans=(Span("M1001", DAY, DAY + timedelta(2)),))

    [text] = told(chained([used(day=2), used(day=3), twice]))

    assert text.startswith("L6 transaction 3: meter M1001 after 2026-01-01 to 2026-01-03: a day")


def test_giving_back_days_that_were_never_charged_is_found() -> None:
    first, second = chained([used(day=1), used(day=2)])
    forged = replace(undo(first), spans=second.draft.spans, reverses=1)

    assert [one.code for one in audited(chained([used(day=1), forged])).findings] == ["L8", "L6"]


def test_days_that_were_never_charged_are_found_unless_the_meter_was_not_there() -> None:
    transactions = chained([used(day=day) for day in (5, 1, 2, 9)])
    text = "L6 account 1001, meter M1001: {} to {} not charged"

    assert told(transactions) == [
        text.format("2026-01-02", "2026-01-04"),
        text.format("2026-01-05", "2026-01-08"),
    ]
    starts = {("1001", "M1001"): {date(2026, 1, 8)}}
    assert told(transactions, starts) == [text.format("2026-01-02", "2026-01-04")]


def test_days_reversed_and_not_charged_again_are_a_gap() -> None:
    assert told(chained(corrected())) == [
        "L6 account 1001, meter M1001: 2026-01-02 to 2026-01-03 not charged"
    ]


spans = st.tuples(st.integers(0, 30), st.integers(1, 9))


@given(st.lists(spans, max_size=12))
def test_days_are_counted_as_in_a_list(some: list[tuple[int, int]]) -> None:
    """Against a plain set of days: twice-charged ones and gaps."""
    charges, taken, twice = [], set[int](), 0
    for number, (after, length) in enumerate(some):
        span = Span("M", DAY + timedelta(after), DAY + timedelta(after + length))
        charges.append(replace(used(), key=str(number), spans=(span,)))
        days = set(range(after + 1, after + length + 1))
        twice += bool(taken & days)
        taken |= days
    gaps = sum(1 for day in taken if day - 1 not in taken and min(taken) < day)

    texts = told(chained(charges))

    assert sum("charged for before" in text for text in texts) == twice
    assert sum("not charged" in text for text in texts) == gaps
