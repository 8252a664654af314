"""The simulated shop: what it sells it signs, what it prints can be read, what it books adds up."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.money.journal_messages import journal_message
from gateway.north.commands import Judge, Valid
from gateway.north.contract import encode
from gateway.north.contract_orders import TopUp, TopUpReverse
from gateway.prepayment.chain import GENESIS, chain, milliseconds
from gateway.prepayment.ledger import Draft, Transaction, reversal
from gateway.prepayment.voucher import Voucher, issue, parse
from simulators.journal_book import ChainError, JournalBook
from simulators.shop import NOBODY, Delivery, Shop
from simulators.vouchers import print_voucher
from tests.drafts import bought, used
from tests.money_site import CASH, GATEWAY, KEYS, VOUCHER_SEED

MORNING = datetime(2026, 1, 1, 22, tzinfo=UTC)
ACCOUNTS = [f"{number}" for number in range(1000, 1040)]


def opened(seed: int = 1, days: int = 60) -> tuple[Shop, dict[date, list[Delivery]]]:
    shop = Shop(CASH, VOUCHER_SEED, GATEWAY, ACCOUNTS, seed)
    due = {}
    for n in range(days + 31):
        now = MORNING + timedelta(days=n)
        if n < days:
            shop.sell(now)
        due[now.date()] = shop.due(now.date())
    return shop, due


def test_the_same_seed_sells_the_same() -> None:
    assert opened(1)[1] == opened(1)[1] != opened(2)[1]


def test_what_it_sells_is_signed_and_says_so_again_in_other_words() -> None:
    shop, due = opened()
    judge, orders = Judge(GATEWAY, KEYS), Counter[str]()
    contents: dict[str, set[bytes]] = {}
    for day, deliveries in due.items():
        at = datetime(day.year, day.month, day.day, 22, tzinfo=UTC).timestamp()
        for one in deliveries:
            contents.setdefault(one.command, set()).add(one.payload)
            verdict: object
            if one.typed:
                verdict = judge.letter(one.payload, at, trusted=False)
            else:
                topic = f"taiqu/v1/{GATEWAY}/commands"
                verdict = judge.message(topic, one.payload, at, retained=False, trusted=False)
            assert isinstance(verdict, Valid), verdict
            orders[verdict.command.command.name] += 1
            if isinstance(verdict.command.command, TopUp | TopUpReverse):
                assert verdict.command.command.payment in shop.sales
    assert set(orders) == {"topup", "topup.reverse", "voucher"}
    assert sum(orders.values()) > len(contents)  # some come again
    assert any(len(payloads) > 1 for payloads in contents.values())  # and are written anew
    assert any(sale.account.startswith(NOBODY) for sale in shop.sales.values())


def test_a_printed_voucher_is_the_one_that_the_gateway_would_print() -> None:
    printed = print_voucher(VOUCHER_SEED, 1, "1001", 7, 12_345, 2027, "260101-3")
    meant = Voucher(
        key=1, account="1001", number=7, amount_fen=12_345, last_year=2027, payment="260101-3"
    )
    assert printed == issue(meant, VOUCHER_SEED)
    assert parse(printed).payment == "260101-3"


def answer(command: str, seq: int, stage: str) -> bytes:
    message = {"id": command, "lane": "urgent", "seq": seq, "stage": stage, "data": {}}
    return json.dumps(message).encode()


def test_only_an_answer_says_what_a_sale_has_become() -> None:
    shop, _ = opened()
    [payment, other, third] = list(shop.sales)[:3]
    for n, one in enumerate((payment, other, third), 1):
        shop._undoing[one] = [f"undo-{n}"]
    first = {one: shop._of_payment[one][0] for one in (payment, other, third)}
    assert not shop.counts(payment)
    shop.take(answer(first[payment], 1, "confirmed"))
    shop.take(answer(first[payment], 1, "confirmed"))
    shop.take(answer(first[other], 2, "refused"))
    shop.take(answer(first[third], 3, "confirmed"))
    shop.take(answer("undo-3", 4, "confirmed"))
    assert [shop.counts(one) for one in (payment, other, third)] == [True, False, False]
    sale = shop.sales[payment]
    assert shop.counted_e4() == {sale.account: sale.fen * 100}
    assert len(shop.answers[first[payment]]) == 1
    shop.take(answer(first[other], 5, "confirmed"))
    assert shop.contradictions() == [first[other]]


# --- the journal ----------------------------------------------------------------------------------


def posted(*drafts: Draft) -> list[Transaction]:
    found: list[Transaction] = []
    for number, draft in enumerate(drafts, 1):
        before = found[-1].hash if found else GENESIS
        at = 1_767_268_800.123 + number
        made = chain(before, number, draft, milliseconds(at), "trusted")
        found.append(
            Transaction(number=number, draft=draft, recorded=at, clock="trusted", hash=made)
        )
    return found


def messages(*groups: list[Transaction]) -> list[dict[str, object]]:
    return [
        json.loads(encode(journal_message("gw", "0" * 16, group)(seq)))
        for seq, group in enumerate(groups, 1)
    ]


def three() -> list[Transaction]:
    first = posted(bought(), used())
    return posted(bought(), used(), reversal(first[1], "reversal:2", 1_767_300_000.0))


def test_the_chain_can_be_followed_by_the_messages_alone() -> None:
    transactions = three()
    book = JournalBook()
    for message in messages(transactions[:2], transactions[2:]):
        book.take(message)
        book.take(message)
    assert (book.number, book.head) == (3, transactions[-1].hash)
    assert book.total("prepaid") == book.sums["prepaid", "1001"] == 1_000_000
    assert book.total("charged") == 0
    assert book.kinds == {"top_up": 1, "charge": 1, "reversal": 1}


@pytest.mark.parametrize("key", ["key", "account", "recorded", "detail", "kind"])
def test_a_transaction_that_was_changed_on_the_way_does_not_fit(key: str) -> None:
    [message] = messages(three())
    transactions = message["transactions"]
    assert isinstance(transactions, list)
    transactions[1][key] = "2026-01-01T00:00:00.000Z" if key == "recorded" else "fee"
    with pytest.raises(ChainError, match="transaction 2: its hash does not fit"):
        JournalBook().take(message)


def test_a_hole_and_a_foreign_digest_are_seen() -> None:
    transactions = three()
    book = JournalBook()
    [first, last] = messages(transactions[:1], transactions[2:])
    book.take(first)
    with pytest.raises(ChainError, match="transaction 3 follows 1"):
        book.take(last)
    digest = {"day": "2026-01-01", "number": 1, "head": transactions[0].hash.hex()}
    prepaid = {"ledger": "prepaid", "unit": "CNY", "amount": "100.00"}
    book.take(digest | {"sums": [prepaid]})
    with pytest.raises(ChainError, match="not the messages' sum"):
        book.take(digest | {"sums": [prepaid | {"amount": "100.01"}]})
    with pytest.raises(ChainError, match="another journal"):
        book.take(digest | {"head": "00" * 32, "sums": []})
