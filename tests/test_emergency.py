from dataclasses import replace

import pytest

from gateway.prepayment.account import Mode
from gateway.prepayment.emergency import draw, is_due
from gateway.prepayment.ledger import Balances, Draft, Ledger
from gateway.prepayment.top_up import Refused, TopUp, Why, judge
from tests.accounts import POLICY, YUAN, Book, account

PREPAID, EMERGENCY = Ledger.PREPAID, Ledger.EMERGENCY
MONDAY = 1_767_571_200.0


def balances(prepaid: int, emergency: int = 0) -> Balances:
    """In yuan."""
    return Balances({PREPAID: prepaid * YUAN, EMERGENCY: emergency * YUAN})


def pay(book: Book, payment: str, yuan: int) -> None:
    one = TopUp(payment=payment, account="K1", amount_e4=yuan * YUAN, channel="bank", paid=MONDAY)
    found = judge(one, account(), book.balances(), POLICY, posted=None)
    assert isinstance(found, Draft)
    book.post(found)


def refused(found: Draft | Refused) -> Why:
    assert isinstance(found, Refused)
    return found.why


def test_it_is_given_once_until_it_is_repaid() -> None:
    book = Book()

    def state() -> tuple[int, int]:
        return book.balances()[EMERGENCY] // YUAN, book.balances()[PREPAID] // YUAN

    def ask(cause: str) -> Draft | Refused:
        return draw(account(), book.balances(), POLICY, cause, MONDAY)

    first = ask("c-1")
    assert isinstance(first, Draft)
    book.post(first)
    assert state() == (-10, 10)
    assert refused(ask("c-2")) is Why.EMERGENCY_OWED

    pay(book, "P1", 4)  # less than the sum: it all goes there
    assert state() == (-6, 10)
    assert refused(ask("c-3")) is Why.EMERGENCY_OWED

    pay(book, "P2", 16)
    assert state() == (0, 20)
    again = ask("c-4")
    assert isinstance(again, Draft)
    assert again.key == "emergency:K1:c-4"


@pytest.mark.parametrize(
    ("prepaid", "mode", "sum_e4", "why"),
    [
        (21, Mode.PREPAY_CUT, YUAN, Why.NOT_LOW),
        (0, Mode.POSTPAY, YUAN, Why.NO_EMERGENCY),
        (0, Mode.PREPAY_CUT, 0, Why.NO_EMERGENCY),
    ],
)
def test_when_there_is_no_emergency_credit(prepaid: int, mode: Mode, sum_e4: int, why: Why) -> None:
    policy = replace(POLICY, emergency_e4=sum_e4)
    of = replace(account(), mode=mode)

    assert refused(draw(of, balances(prepaid), policy, "c", 0.0)) is why
    assert not is_due(of, balances(prepaid), replace(policy, emergency_automatic=True))


def test_automatic_emergency_credit_comes_at_zero() -> None:
    automatic = replace(POLICY, emergency_automatic=True)

    assert is_due(account(), balances(0), automatic)
    assert not is_due(account(), balances(1), automatic)
    assert not is_due(account(), balances(0), POLICY)
    assert not is_due(account(), balances(0, emergency=-1), automatic)
