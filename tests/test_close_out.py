from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.close_out import close_out
from gateway.prepayment.ledger import Balances, Kind, Ledger
from tests.accounts import YUAN, Book, account

PREPAID, DEBT, EMERGENCY, CASH = Ledger.PREPAID, Ledger.DEBT, Ledger.EMERGENCY, Ledger.CASH
MONDAY = 1_767_571_200.0

cents = st.integers(-(10**7), 10**7)


@given(cents, st.integers(-(10**7), 0), st.integers(-(10**7), 0), st.booleans())
def test_closing_leaves_a_refund_or_a_debt(
    prepaid_e4: int, debt_e4: int, emergency_e4: int, pay_out: bool
) -> None:
    before = Balances({PREPAID: prepaid_e4, DEBT: debt_e4, EMERGENCY: emergency_e4})
    book = Book()

    book.post(close_out(account(), before, "counter", MONDAY, pay_out=pay_out))

    after = {of: before[of] + book.amount(of, "K1") for of in (PREPAID, DEBT, EMERGENCY)}
    left_e4 = prepaid_e4 + debt_e4 + emergency_e4
    kept_e4 = max(left_e4, 0) if not pay_out else 0
    assert after == {PREPAID: kept_e4, DEBT: min(left_e4, 0), EMERGENCY: 0}
    refund_e4 = book.amount(CASH, "counter")
    assert refund_e4 % 100 == 0
    assert abs(refund_e4 + kept_e4 - max(left_e4, 0)) <= 50
    assert all(posting.amount for one in book.transactions for posting in one.draft.postings)


def test_a_closed_account_is_settled_once() -> None:
    book = Book()
    drafts = close_out(
        account(), Balances({PREPAID: 7 * YUAN, DEBT: -2 * YUAN}), "counter", MONDAY, pay_out=True
    )

    book.post(drafts)
    book.post(drafts)

    assert [one.draft.kind for one in book.transactions] == [Kind.TRANSFER, Kind.REFUND]
    assert book.amount(CASH, "counter") == 5 * YUAN
