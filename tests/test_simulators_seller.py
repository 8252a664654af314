"""A head-end that was written from the documents is understood by the gateway."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.north.commands import Judge, Valid
from gateway.north.contract_orders import TopUp
from gateway.north.signatures import Role, Signer
from simulators.ledger import Ledger
from simulators.seller import Seller, top_up
from tests.keyring import known, ring

SELLER = Seller("shop", b"s" * 32)
SIGNER = Signer("shop", b"s" * 32)
KEYS = ring(known(SIGNER, Role.MONEY))
AT, LATER = "2026-07-01T12:00:00Z", "2026-08-01T12:00:00Z"


def test_a_signed_top_up_is_accepted() -> None:
    order = SELLER.order("gw", "t-1", AT, LATER, top_up("p-1", "1001", "50.00", AT))
    verdict = Judge("gw", KEYS).letter(json.dumps(order).encode(), 0.0, trusted=False)

    assert isinstance(verdict, Valid)
    assert isinstance(verdict.command.command, TopUp)
    assert verdict.by == "key shop"
    assert SELLER.public == SIGNER.public()


@given(reason=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_both_sign_the_same_bytes_whatever_the_text(reason: str) -> None:
    body = {"name": "topup.reverse", "payment": "p-1", "reason": reason}
    order = SELLER.order("gw", "t-1", AT, LATER, body)
    payload = json.dumps(order).encode()

    assert isinstance(Judge("gw", KEYS).letter(payload, 0.0, trusted=False), Valid)


def journal(seq: int, *numbers: int, **more: Any) -> bytes:
    transactions = [{"number": number, **more} for number in numbers]
    tree = {"gateway": "gw", "epoch": "e", "lane": "urgent", "seq": seq}
    return json.dumps({**tree, "transactions": transactions}).encode()


def test_the_head_end_s_books_see_holes_and_changes_in_a_journal() -> None:
    ledger = Ledger()
    ledger.take("taiqu/v1/gw/journal", journal(1, 1, 2))
    ledger.take("taiqu/v1/gw/journal", journal(2, 4))
    assert ledger.unsound("gw") == [3]
    ledger.take("taiqu/v1/gw/journal", journal(3, 2, 3))
    assert ledger.unsound("gw") == []
    ledger.take("taiqu/v1/gw/journal", journal(4, 2, hash="other"))
    assert ledger.unsound("gw") == [2]
    digest = {"gateway": "gw", "epoch": "e", "lane": "urgent", "seq": 5, "sums": []}
    ledger.take("taiqu/v1/gw/digest", json.dumps(digest).encode())
    assert [one["seq"] for one in ledger.digests["gw"]] == [5]
