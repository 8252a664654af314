"""The record of a transaction, and its hash."""

import hashlib
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.prepayment.chain import FIELDS, GENESIS, chain, content, link, record, restore
from gateway.prepayment.ledger import Draft, Transaction
from tests.drafts import bought, drafts, used

keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


def test_the_record_of_a_charge_is_what_the_docstring_says() -> None:
    fields = record(17, used(), 1_767_268_800_123, "trusted")

    assert dict(zip(FIELDS, fields, strict=True)) == {
        "number": "17",
        "recorded_ms": "1767268800123",
        "clock": "trusted",
        "kind": "charge",
        "key": "charge:1001:2026-01-01",
        "account": "1001",
        "effective_ms": "1767355200000",
        "tariff": "home/3",
        "spans": "M1001\t2025-12-31\t2026-01-01",
        "reverses": "",
        "detail": "{}",
        "postings": "prepaid\t\t-25717\trevenue\tenergy\t25000\trevenue\tfunds\t714"
        "\trounding\t\t3\tmetered\t\t-5000\tcharged\t\t5000",
    }


def test_the_hash_can_be_made_by_anybody() -> None:
    fields = record(1, bought("户3"), 1_767_268_800_123, "trusted")

    hash_ = chain(GENESIS, 1, bought("户3"), 1_767_268_800_123, "trusted")

    assert hash_ == hashlib.sha256(bytes(32) + "\n".join(fields).encode()).digest()
    assert hash_ == link(GENESIS, [text.encode() for text in fields])
    assert hash_.hex() == "fc50de1a19b541159ca053c98e536710feaba3ef9f3156b421a9d96ccc4eedd4"


@given(drafts(keys), st.integers(1), st.integers(0, 2**42))
def test_a_record_gives_back_its_transaction(draft: Draft, number: int, recorded_ms: int) -> None:
    draft = replace(draft, effective=round(draft.effective * 1000) / 1000)

    assert restore(record(number, draft, recorded_ms, "unknown"), b"hash") == Transaction(
        number=number, draft=draft, recorded=recorded_ms / 1000, clock="unknown", hash=b"hash"
    )


@given(drafts(keys), drafts(keys))
def test_different_drafts_have_different_hashes(one: Draft, other: Draft) -> None:
    assume(content(one) != content(other))

    assert chain(GENESIS, 1, one, 0, "trusted") != chain(GENESIS, 1, other, 0, "trusted")


def test_every_part_counts() -> None:
    hashes = {
        chain(previous, number, draft, recorded_ms, clock)
        for previous in (GENESIS, b"\1" * 32)
        for number in (1, 2)
        for draft in (bought(), bought(key="p2"))
        for recorded_ms in (0, 1)
        for clock in ("trusted", "unknown")
    }

    assert len(hashes) == 32
