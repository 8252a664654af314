"""The journal as messages: exact, complete enough to follow the chain, and signed."""

import hashlib
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money.journal_messages import (
    amount_text,
    digest_message,
    journal_message,
    kwh,
    statement_message,
)
from gateway.north.contract import Clock, encode
from gateway.north.contract_money import Journal
from gateway.north.contract_orders import StatementOf
from gateway.north.signatures import Domain, from_text, holds
from gateway.north.strict import canonical, without
from gateway.prepayment.drafts import Priced, charge, top_up, top_up_of_nobody
from gateway.prepayment.ledger import Draft, Ledger, Span, reversal
from gateway.store.database import Database, open_store
from gateway.store.journal import Journal as Books
from gateway.store.journal import Totals
from tests.keyring import MONEY

ZONE = ZoneInfo("Asia/Shanghai")
JULY = datetime(2026, 7, 1, tzinfo=ZONE).timestamp()
DAY_S = 86_400.0
ENVELOPE = ("gw", "0" * 16, 9)
STAMP: tuple[str, Clock] = ("2026-07-04T00:10:00.000Z", "trusted")


def paid(payment: str, effective: float, amount_e4: int, account: str = "1001") -> Draft:
    return top_up(
        account=account,
        key=f"top_up:{payment}",
        effective=effective,
        channel="counter",
        shares_e4={Ledger.PREPAID: amount_e4},
        detail='{"by":"key cash"}',
    )


def used(day: int, cost_e4: int, energy_wh: int) -> Draft:
    return charge(
        account="1001",
        key=f"charge:1001:{day}",
        effective=JULY + day * DAY_S,
        priced=Priced(
            lines_e4={"energy": cost_e4, "funds": 123}, rounding_e4=-23, energy_wh=energy_wh
        ),
        tariff="home/1",
        spans=(Span("A1", date(2026, 7, day) - timedelta(days=1), date(2026, 7, day)),),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "taiqu.db", lambda: 0.0, bytes, ballast_bytes=0) as store:
        books = Books(store)
        with store.transaction():
            books.post(paid("p-1", JULY + 100.125, 500_000), JULY + 101.5, "trusted")
            first = books.post(used(1, 30_000, 5_125), JULY + DAY_S + 700, "holdover").transaction
            books.post(used(2, 40_000, 6_000), JULY + 2 * DAY_S + 700, "trusted")
            books.post(reversal(first, "reversal:2", JULY + 3 * DAY_S), JULY + 3e5, "trusted")
            books.post(
                top_up_of_nobody(
                    claimed="9999",
                    key="top_up:p-2",
                    effective=JULY,
                    channel="bank",
                    amount_e4=12_345,
                ),
                JULY + 3e5,
                "unknown",
            )
        yield store


def e4(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, rest = digits.partition(".")
    return sign * int(whole + rest.ljust(4, "0"))


def of_customer(ledger: str) -> bool:
    return ledger in ("prepaid", "debt", "emergency", "metered", "charged", "unpriced")


def milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def follow(previous: bytes, of: dict[str, Any]) -> bytes:
    """The hash of a transaction as an outsider reckons it, from the message alone."""
    spans = [part for one in of["spans"] for part in (one["meter"], one["after"], one["to"])]
    postings = []
    for one in of["postings"]:
        amount = e4(one["amount"]) // (10 if one["unit"] == "kWh" else 1)
        part = "" if of_customer(one["ledger"]) else one["account"]
        postings += [one["ledger"], part, str(amount)]
    record = [
        str(of["number"]),
        str(milliseconds(of["recorded"])),
        of["clock"],
        of["kind"],
        of["key"],
        of["account"],
        str(milliseconds(of["effective"])),
        of["tariff"],
        "\t".join(spans),
        str(of.get("reverses", "")),
        of["detail"],
        "\t".join(postings),
    ]
    return hashlib.sha256(previous + "\n".join(record).encode()).digest()


def test_whoever_has_the_messages_can_follow_the_chain(store: Database) -> None:
    transactions = list(Books(store).all())
    message = journal_message("gw", "0123456789abcdef", transactions)(7)
    tree = json.loads(encode(message))

    assert Journal.model_validate_json(encode(message), strict=True) == message
    assert (tree["lane"], tree["seq"]) == ("urgent", 7)
    head = bytes(32)
    for one in tree["transactions"]:
        head = follow(head, one)
        assert head.hex() == one["hash"]
    assert len(tree["transactions"]) == 5
    assert head == Books(store).head()[1]


def test_postings_are_exact_text_in_yuan_and_kwh(store: Database) -> None:
    tree = json.loads(encode(journal_message("gw", "0" * 16, list(Books(store).all()))(1)))
    postings = tree["transactions"][1]["postings"]

    assert {(one["ledger"], one["unit"], one["amount"]) for one in postings} == {
        ("prepaid", "CNY", "-3.01"),
        ("revenue", "CNY", "3.00"),
        ("revenue", "CNY", "0.0123"),
        ("rounding", "CNY", "-0.0023"),
        ("metered", "kWh", "-5.125"),
        ("charged", "kWh", "5.125"),
    }


@given(st.integers(-(10**15), 10**15))
def test_energy_as_text_is_exact(energy_wh: int) -> None:
    text = kwh(energy_wh)
    assert e4(text) == energy_wh * 10
    assert len(text.partition(".")[2]) in (2, 3)


def test_units_follow_the_ledger() -> None:
    assert amount_text("charged", 1500) == "1.50"
    assert amount_text("prepaid", 15_000) == "1.50"


# --- statement ------------------------------------------------------------------------------------


def test_a_statement_of_some_days(store: Database) -> None:
    asked = StatementOf(name="statement", account="1001", first="2026-07-01", last="2026-07-02")
    found = statement_message(Books(store), asked, ZONE)

    assert (found.opening, found.closing, found.debt, found.more) == ("0.00", "42.98", "0.00", None)
    assert [(one.kind, one.amount, one.balance, one.energy) for one in found.lines] == [
        ("top_up", "50.00", "50.00", None),
        ("charge", "-3.01", "46.99", "5.125"),
        ("charge", "-4.01", "42.98", "6.00"),
    ]
    assert found.lines[0].effective == "2026-06-30T16:01:40.125Z"
    whole = statement_message(Books(store), StatementOf(name="statement", account="1001"), ZONE)
    assert whole.closing == "45.99"
    nobody = statement_message(Books(store), StatementOf(name="statement", account="9"), ZONE)
    assert (nobody.lines, nobody.closing) == ((), "0.00")


# --- digest ---------------------------------------------------------------------------------------


def test_a_digest_is_signed_and_shows_any_change(store: Database) -> None:
    totals = Books(store).totals()
    digest = digest_message(ENVELOPE, STAMP, date(2026, 7, 3), 1, totals, MONEY)
    payload = canonical(encode(digest))
    tree = json.loads(payload)
    signature = tree["signature"]["value"]
    public = from_text(MONEY.public()) or b""

    def good(content: bytes) -> bool:
        message = Domain.DIGEST.message(without(content, "signature"))
        return holds(public, message, signature)

    assert good(payload)
    assert not good(payload.replace(b'"number":5', b'"number":6'))
    assert (tree["number"], tree["head"]) == (5, totals.hash.hex())
    assert tree["charged"] == "6.00"
    sums = {"CNY": 0, "kWh": 0}
    for one in tree["sums"]:
        sums[one["unit"]] += e4(one["amount"])
    assert sums == {"CNY": 0, "kWh": 0}


def test_without_a_key_a_digest_is_unsigned() -> None:
    totals = Totals(transactions=0, hash=bytes(32), sums={})
    digest = digest_message(ENVELOPE, STAMP, date(2026, 7, 3), 0, totals, None)
    assert digest.signature is None
    assert digest.head is None
    assert b"signature" not in encode(digest)
