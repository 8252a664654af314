from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.account import Account, Mode, Policy
from gateway.prepayment.ledger import Balances, Draft, Kind, Ledger, Posting
from gateway.prepayment.top_up import (
    Early,
    Refused,
    Repeated,
    Reversal,
    TopUp,
    Why,
    debt_paid_e4,
    debt_share_e4,
    judge,
    judge_reversal,
    week_of,
)
from tests.accounts import POLICY, YUAN, Book, account

DAY_S = 86_400.0
MONDAY = 1_767_571_200.0  # 2026-01-05, UTC
DEBTOR = replace(POLICY, debt_share_percent=10, debt_cap_e4=5 * YUAN)
PREPAID, DEBT, EMERGENCY, CASH = Ledger.PREPAID, Ledger.DEBT, Ledger.EMERGENCY, Ledger.CASH


def top_up(payment: str = "P1", amount_e4: int = 100 * YUAN, **more: object) -> TopUp:
    return replace(
        TopUp(payment=payment, account="K1", amount_e4=amount_e4, channel="bank", paid=MONDAY),
        **more,  # type: ignore[arg-type]
    )


def balances(prepaid: int = 0, debt: int = 0, emergency: int = 0) -> Balances:
    """In yuan."""
    of = {PREPAID: prepaid * YUAN, DEBT: debt * YUAN, EMERGENCY: emergency * YUAN}
    return Balances(of)


def moved(draft: object) -> dict[Ledger, int]:
    assert isinstance(draft, Draft)
    return {posting.ledger: posting.amount for posting in draft.postings}


def refused(found: object) -> Why:
    assert isinstance(found, Refused)
    assert found.reason
    return found.why


class Till(Book):
    """A book that top-ups and reversals go into, as the gateway would let them."""

    policy: Policy = POLICY

    def __init__(self, policy: Policy = POLICY) -> None:
        super().__init__()
        self.policy = policy
        self.early: dict[str, Reversal] = {}

    def pay(self, one: TopUp) -> object:
        week = debt_paid_e4(self.transactions, MONDAY, MONDAY + 7 * DAY_S)
        found = judge(
            one,
            account() if one.account == "K1" else None,
            self.balances(),
            self.policy,
            posted=self.by_key(one.key),
            debt_paid_e4=week,
        )
        if isinstance(found, Draft):
            self.post(found)
            if order := self.early.pop(one.payment, None):
                self.undo(order)
        return found

    def undo(self, order: Reversal) -> object:
        posted = self.by_key(f"top_up:{order.payment}")
        by = [one for one in self.transactions if posted and one.draft.reverses == posted.number]
        found = judge_reversal(
            order,
            posted=posted,
            reversed_by=by[0] if by else None,
            suspense_e4=self.amount(Ledger.SUSPENSE, "K9"),
        )
        if isinstance(found, Draft):
            self.post(found)
        if isinstance(found, Early):
            self.early[order.payment] = order
        return found


def reverse(payment: str = "P1") -> Reversal:
    return Reversal(payment=payment, reason="wrong customer", at=MONDAY + 9)


def test_a_top_up_is_cash_turned_into_balance() -> None:
    draft = judge(top_up(), account(), balances(), POLICY, posted=None)

    assert draft == Draft(
        kind=Kind.TOP_UP,
        key="top_up:P1",
        account="K1",
        effective=MONDAY,
        postings=(Posting(CASH, "bank", -100 * YUAN), Posting(PREPAID, "K1", 100 * YUAN)),
        detail='{"account":"K1","payment":"P1"}',
    )


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"amount_e4": 0}, Why.AMOUNT),
        ({"amount_e4": -100}, Why.AMOUNT),
        ({"amount_e4": 101}, Why.AMOUNT),
        ({"amount_e4": 10**15 + 100}, Why.AMOUNT),
        ({"currency": "USD"}, Why.CURRENCY),
    ],
)
def test_what_is_no_top_up(more: dict[str, object], why: Why) -> None:
    assert refused(judge(top_up(**more), account(), balances(), POLICY, posted=None)) is why  # type: ignore[arg-type]
    assert refused(judge(top_up(**more), None, balances(), None, posted=None)) is why  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [None, replace(account(), closed=date(2026, 1, 4))])
def test_money_for_nobody_waits_in_suspense(of: Account | None) -> None:
    draft = judge(top_up(), of, balances(), POLICY, posted=None)

    assert isinstance(draft, Draft)
    assert draft.account == ""
    assert draft.postings[1] == Posting(Ledger.SUSPENSE, "K1", 100 * YUAN)


def test_a_meter_that_prepays_by_itself_is_topped_up_itself() -> None:
    mirror = replace(account(), mode=Mode.MIRROR)

    assert refused(judge(top_up(), mirror, balances(), POLICY, posted=None)) is Why.MIRROR


def test_the_hoarding_limit_refuses_the_whole_and_is_reached_exactly() -> None:
    till = Till()

    assert isinstance(till.pay(top_up("P1", 600 * YUAN)), Draft)
    assert refused(till.pay(top_up("P2", 400 * YUAN + 100))) is Why.HOARDING
    assert isinstance(till.pay(top_up("P3", 400 * YUAN)), Draft)
    assert refused(till.pay(top_up("P4", 100))) is Why.HOARDING
    assert till.balances()[PREPAID] == 1000 * YUAN


def test_without_a_hoarding_limit_or_a_policy_nothing_is_too_much() -> None:
    much = top_up(amount_e4=10**15)
    free = replace(POLICY, hoarding_e4=0)

    assert isinstance(judge(much, account(), balances(), free, posted=None), Draft)
    assert isinstance(judge(much, account(), balances(), None, posted=None), Draft)


def test_the_order_is_debt_then_emergency_then_balance() -> None:
    owing = balances(prepaid=-3, debt=-50, emergency=-10)
    for amount, shares in (
        (100, {CASH: -100, DEBT: 5, EMERGENCY: 10, PREPAID: 85}),
        (10, {CASH: -10, DEBT: 1, EMERGENCY: 9}),
    ):
        draft = judge(top_up(amount_e4=amount * YUAN), account(), owing, DEBTOR, posted=None)

        assert moved(draft) == {ledger: yuan * YUAN for ledger, yuan in shares.items()}


def test_ten_percent_and_no_more_than_five_a_week() -> None:
    """10 a day from Monday to Sunday: 1 on each of the first five (GB SMETS2, vector PP-01)."""
    till = Till(DEBTOR)
    till.transactions += Book().post(
        Draft(
            kind=Kind.ADJUSTMENT,
            key="adjust:1",
            account="K1",
            effective=0.0,
            postings=(Posting(DEBT, "K1", -30 * YUAN), Posting(Ledger.WRITE_OFF, "", 30 * YUAN)),
        )
    )

    drafts = [till.pay(top_up(f"P{n}", 10 * YUAN, paid=MONDAY + n * DAY_S)) for n in range(7)]

    assert [moved(draft).get(DEBT, 0) // YUAN for draft in drafts] == [1, 1, 1, 1, 1, 0, 0]
    till.undo(reverse("P0"))
    assert debt_paid_e4(till.transactions, MONDAY, MONDAY + 7 * DAY_S) == 4 * YUAN
    assert debt_paid_e4(till.transactions, MONDAY + 7 * DAY_S, MONDAY + 14 * DAY_S) == 0


def test_a_week_begins_on_monday() -> None:
    week = (date(2026, 1, 5), date(2026, 1, 11))

    assert week_of(date(2026, 1, 5)) == week_of(date(2026, 1, 11)) == week
    assert week_of(date(2026, 1, 4)) == (date(2025, 12, 29), date(2026, 1, 4))


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 100), st.integers(0, 10**8))
def test_the_debt_share_is_whole_fen_and_never_too_much(
    fen: int, owed_e4: int, percent: int, paid_e4: int
) -> None:
    policy = replace(DEBTOR, debt_share_percent=percent)

    share_e4 = debt_share_e4(fen * 100, owed_e4, policy, paid_e4)

    assert 0 <= share_e4 <= min(owed_e4, fen * percent)
    assert share_e4 + paid_e4 <= max(paid_e4, policy.debt_cap_e4)
    assert share_e4 % 100 == 0 or share_e4 in (owed_e4, policy.debt_cap_e4 - paid_e4)


def test_a_payment_counts_once_by_whichever_way_it_comes() -> None:
    till = Till()
    till.pay(top_up("P1"))

    assert till.pay(top_up("P1")) == Repeated(1)
    assert till.pay(top_up("P1", channel="voucher", paid=MONDAY + 5)) == Repeated(1)
    assert refused(till.pay(top_up("P1", 99 * YUAN))) is Why.REUSED
    assert refused(till.pay(top_up("P1", account="K9"))) is Why.REUSED
    assert len(till.transactions) == 1


def test_a_payment_in_suspense_counts_once_too() -> None:
    till = Till()
    till.pay(top_up("P1", account="K9"))

    assert till.pay(top_up("P1", account="K9")) == Repeated(1)


def test_a_reversal_takes_the_whole_back_even_below_zero() -> None:
    till = Till()
    till.pay(top_up("P1"))
    till.post(
        Draft(
            kind=Kind.FEE,
            key="fee:1",
            account="K1",
            effective=0.0,
            postings=(Posting(PREPAID, "K1", -40 * YUAN), Posting(Ledger.REVENUE, "", 40 * YUAN)),
        )
    )

    draft = till.undo(reverse())

    assert isinstance(draft, Draft)
    assert (draft.reverses, draft.key) == (1, "reversal:top_up:P1")
    assert draft.detail == '{"payment":"P1","reason":"wrong customer"}'
    assert till.balances()[PREPAID] == -40 * YUAN
    assert till.undo(reverse()) == Repeated(3)
    assert till.pay(top_up("P1")) == Repeated(1)


def test_a_reversal_that_comes_first_waits_for_its_top_up() -> None:
    till = Till()

    found = till.undo(reverse("P1"))
    assert isinstance(found, Early)
    assert "P1 never came" in found.reason

    till.pay(top_up("P1"))
    assert len(till.transactions) == 2
    assert till.balances()[PREPAID] == 0


def test_a_reversal_finds_money_in_suspense_unless_it_was_moved() -> None:
    till = Till()
    till.pay(top_up("P1", account="K9"))
    till.pay(top_up("P2", account="K9"))
    till.post(
        Draft(
            kind=Kind.TRANSFER,
            key="transfer:1",
            account="K1",
            effective=0.0,
            postings=(
                Posting(Ledger.SUSPENSE, "K9", -100 * YUAN),
                Posting(PREPAID, "K1", 100 * YUAN),
            ),
        )
    )

    assert isinstance(till.undo(reverse("P2")), Draft)
    assert refused(till.undo(reverse("P1"))) is Why.MOVED


orders = st.lists(
    st.one_of(
        st.builds(top_up, st.sampled_from("ABCDE"), st.sampled_from([100, 10 * YUAN, 33_300])),
        st.builds(reverse, st.sampled_from("ABCDE")),
    ),
    max_size=12,
)


@given(orders, st.data())
def test_the_order_of_arrival_does_not_matter(
    arrivals: Sequence[TopUp | Reversal], data: st.DataObject
) -> None:
    """The same payments and reversals, repeated and shuffled, leave the same balance."""
    amounts = {one.payment: one for one in arrivals if isinstance(one, TopUp)}
    arrivals = [amounts[one.payment] if isinstance(one, TopUp) else one for one in arrivals]
    shuffled = data.draw(st.permutations([*arrivals, *arrivals]))

    tills = [Till(), Till()]
    for till, some in zip(tills, (arrivals, shuffled), strict=True):
        for one in some:
            till.pay(one) if isinstance(one, TopUp) else till.undo(one)

    undone = {one.payment for one in arrivals if isinstance(one, Reversal)}
    paid_e4 = sum(one.amount_e4 for one in amounts.values() if one.payment not in undone)
    assert [till.balances()[PREPAID] for till in tills] == [paid_e4, paid_e4]
    assert [till.amount(CASH, "bank") for till in tills] == [-paid_e4, -paid_e4]
    assert tills[0].early.keys() == tills[1].early.keys() == undone - amounts.keys()


@given(st.permutations([(n, (n + 1) * 123_400) for n in range(6)]), st.sets(st.integers(0, 5)))
def test_with_debt_and_emergency_the_sum_does_not_depend_on_the_order(
    payments: Sequence[tuple[int, int]], undone: set[int]
) -> None:
    till = Till(DEBTOR)
    till.transactions += Book().post(
        Draft(
            kind=Kind.ADJUSTMENT,
            key="adjust:1",
            account="K1",
            effective=0.0,
            postings=(
                Posting(DEBT, "K1", -20 * YUAN),
                Posting(EMERGENCY, "K1", -10 * YUAN),
                Posting(Ledger.WRITE_OFF, "", 30 * YUAN),
            ),
        )
    )
    for n, amount_e4 in payments:
        till.pay(top_up(f"P{n}", amount_e4))
        if n in undone:
            till.undo(reverse(f"P{n}"))

    owned = till.balances()
    paid_e4 = sum(amount_e4 for n, amount_e4 in payments if n not in undone)
    assert owned[PREPAID] + owned[DEBT] + owned[EMERGENCY] == paid_e4 - 30 * YUAN
    assert owned[DEBT] <= 0
    assert owned[EMERGENCY] <= 0
