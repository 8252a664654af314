"""What may be posted: balanced, the right ledgers, the right way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.drafts import (
    Priced,
    adjustment,
    charge,
    emergency,
    fee,
    refund,
    top_up,
    top_up_of_nobody,
    transfer,
)
from gateway.prepayment.ledger import (
    AMOUNT_MAX,
    Draft,
    Kind,
    Ledger,
    Posting,
    Span,
    Transaction,
    UnbalancedError,
    check,
    mirror,
    mirrors,
    reversal,
    unit_of,
)
from tests.drafts import DAY, NOON, bought, drafts, used

WHO: dict[str, Any] = {"account": "1001", "key": "k", "effective": NOON}


def posted(draft: Draft) -> Transaction:
    return Transaction(number=7, draft=draft, recorded=NOON, clock="trusted", hash=bytes(32))


def in_short(draft: Draft) -> dict[str, int]:
    return {f"{one.ledger} {one.account}".strip(): one.amount for one in draft.postings}


def test_a_charge_takes_money_and_says_where_its_energy_went() -> None:
    draft = charge(
        **WHO,
        priced=Priced(
            lines_e4={"energy": 29_991, "funds": 0, "export": -500},
            rounding_e4=9,
            energy_wh=5_000,
            unpriced_wh=700,
        ),
        tariff="home/3",
        spans=(Span("M1", DAY, DAY + timedelta(1)),),
    )

    assert in_short(draft) == {
        "prepaid 1001": -29_500,
        "revenue energy": 29_991,
        "revenue export": -500,
        "rounding": 9,
        "metered 1001": -5_700,
        "charged 1001": 5_000,
        "unpriced 1001": 700,
    }
    assert {one.ledger for one in draft.postings if one.unit == "Wh"} == {
        Ledger.METERED,
        Ledger.CHARGED,
        Ledger.UNPRICED,
    }


def test_a_day_without_any_use_is_a_charge_too() -> None:
    draft = charge(
        **WHO, priced=Priced(lines_e4={}), tariff="home/3", spans=(Span("M1", DAY, NEXT_DAY),)
    )

    assert set(in_short(draft).values()) == {0}


NEXT_DAY = DAY + timedelta(1)


def test_every_other_kind_says_where_money_comes_from_and_goes() -> None:
    share = {Ledger.DEBT: 1_000, Ledger.EMERGENCY: 0, Ledger.PREPAID: 9_000}
    some = [
        top_up(**WHO, channel="wechat", shares_e4=share),
        top_up_of_nobody(claimed="99", key="k", effective=NOON, channel="bank", amount_e4=5),
        fee(**WHO, category="penalty", amount_e4=10_000),
        emergency(**WHO, amount_e4=50_000),
        emergency(**WHO, amount_e4=-50_000),
        adjustment(**WHO, amount_e4=-7, ledger=Ledger.DEBT),
        refund(**WHO, channel="bank", amount_e4=3),
        transfer(**WHO, part="99", amount_e4=5),
    ]

    assert [in_short(draft) for draft in some] == [
        {"cash wechat": -10_000, "debt 1001": 1_000, "prepaid 1001": 9_000},
        {"cash bank": -5, "suspense 99": 5},
        {"prepaid 1001": -10_000, "revenue penalty": 10_000},
        {"emergency 1001": -50_000, "prepaid 1001": 50_000},
        {"emergency 1001": 50_000, "prepaid 1001": -50_000},
        {"debt 1001": -7, "write_off": 7},
        {"prepaid 1001": -3, "cash bank": 3},
        {"suspense 99": -5, "prepaid 1001": 5},
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda: top_up(**WHO, channel="wechat", shares_e4={Ledger.PREPAID: -1}),
        lambda: top_up(**WHO, channel="wechat", shares_e4={}),
        lambda: top_up(**WHO, channel="wechat", shares_e4={Ledger.REVENUE: 5}),
        lambda: fee(**WHO, category="penalty", amount_e4=-1),
        lambda: refund(**WHO, channel="bank", amount_e4=-1),
        lambda: emergency(**WHO, amount_e4=0),
        lambda: adjustment(**WHO, amount_e4=5, against=Ledger.CASH),
        lambda: transfer(**WHO, part="99", amount_e4=AMOUNT_MAX + 1),
    ],
)
def test_the_wrong_sign_or_ledger_is_refused_where_it_is_built(build: Callable[[], Draft]) -> None:
    with pytest.raises(UnbalancedError):
        build()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"postings": ()}, "no postings"),
        ({"postings": (Posting(Ledger.PREPAID, "1001", 5),)}, "not to zero"),
        (
            {"postings": (Posting(Ledger.PREPAID, "1001", 5), Posting(Ledger.CASH, "x", -4))},
            "not to zero",
        ),
        (
            {"postings": (Posting(Ledger.PREPAID, "1002", 5), Posting(Ledger.CASH, "x", -5))},
            "of 1002 in a transaction of 1001",
        ),
        (
            {"postings": (Posting(Ledger.PREPAID, "", 5), Posting(Ledger.CASH, "x", -5))},
            "of nobody",
        ),
        (
            {"postings": (Posting(Ledger.PREPAID, "1001", 5), Posting(Ledger.REVENUE, "x", -5))},
            "a top_up does not touch it",
        ),
        (
            {"postings": (Posting(Ledger.PREPAID, "1001", -5), Posting(Ledger.CASH, "x", 5))},
            "the other way",
        ),
        (
            {
                "postings": (
                    Posting(Ledger.PREPAID, "1001", 5, "Wh"),
                    Posting(Ledger.CASH, "x", -5, "Wh"),
                )
            },
            "does not count in Wh",
        ),
        ({"postings": (Posting(Ledger.CASH, "x", 0),)}, "nothing is moved"),
        ({"postings": (Posting(Ledger.PREPAID, "1001", 0.5),)}, "not an integer"),  # type: ignore[arg-type]
        ({"reverses": 3}, "names what it reverses"),
        ({"kind": Kind.REVERSAL}, "names what it reverses"),
        ({"spans": used().spans}, "does not lie between readings"),
        ({"key": ""}, "no key"),
        ({"key": "two\nlines"}, "control characters"),
        ({"detail": "half a pair \ud800"}, "control characters"),
    ],
)
def test_what_may_not_be_posted_is_refused_with_the_reason(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(UnbalancedError, match=reason):
        check(replace(bought(), **change))  # type: ignore[arg-type]


def test_a_span_has_at_least_a_day() -> None:
    with pytest.raises(UnbalancedError, match="ends before it begins"):
        check(replace(used(), spans=(Span("M1", DAY, DAY),)))


@given(drafts(st.just("k")))
def test_whatever_is_built_may_be_posted_and_reversed(draft: Draft) -> None:
    undo = reversal(posted(draft), "undo", NOON)

    check(draft)
    check(undo)
    assert mirrors(undo, draft)
    assert mirror(undo.postings) == draft.postings
    assert all(one.unit == unit_of(one.ledger) for one in draft.postings)


@given(drafts(st.just("k")), st.data())
def test_a_posting_more_or_less_is_no_transaction(draft: Draft, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(draft.postings) - 1))
    taken = draft.postings[number]
    rest = draft.postings[:number] + draft.postings[number + 1 :]

    for postings in (rest, (*draft.postings, taken)) if taken.amount else ():
        with pytest.raises(UnbalancedError):
            check(replace(draft, postings=postings))


def test_a_reversal_is_not_reversed() -> None:
    undo = reversal(posted(bought()), "undo", NOON)

    with pytest.raises(UnbalancedError, match="transaction 7 is a reversal; post anew"):
        reversal(posted(undo), "undo undo", NOON)
