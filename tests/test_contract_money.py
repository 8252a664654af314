"""What the contract says about money: what is good, what is refused, and what it looks like."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.north.contract import Command, Message, encode
from gateway.north.contract_money import (
    Digest,
    Journal,
    LedgerSum,
    LowBalance,
    MoneyRefused,
    Statement,
)
from gateway.north.parts import command_of, events
from gateway.north.schemas import SCHEMAS, documents
from gateway.north.strict import canonical
from tests.keyring import OPEN, TOP_UP

AT = "2026-07-01T00:15:02.125Z"
ENVELOPE: dict[str, Any] = {
    "gateway": "gw-1",
    "epoch": "0123456789abcdef",
    "lane": "urgent",
    "seq": 7,
}
TRANSACTION: dict[str, Any] = {
    "number": 1,
    "kind": "top_up",
    "key": "top_up:p-1",
    "account": "1001",
    "effective": AT,
    "recorded": AT,
    "clock": "trusted",
    "postings": [
        {"ledger": "cash", "account": "counter", "unit": "CNY", "amount": "-50.00"},
        {"ledger": "prepaid", "account": "1001", "unit": "CNY", "amount": "50.00"},
    ],
    "hash": "ab" * 32,
}
SUM = LedgerSum(ledger="charged", unit="kWh", amount="123456789012.345")


@pytest.mark.parametrize(
    "message",
    [
        Journal.model_validate(
            {**ENVELOPE, "transactions": [TRANSACTION, {**TRANSACTION, "number": 2, "reverses": 1}]}
        ),
        Digest(
            **ENVELOPE,
            day="2026-07-01",
            at=AT,
            clock="trusted",
            accounts=3,
            number=17,
            head="cd" * 32,
            sums=(SUM,),
            charged="12.345",
        ),
        events()(
            **ENVELOPE,
            event=LowBalance(
                at=AT,
                clock="holdover",
                account="1001",
                level="alert_1",
                balance="9.99",
                days_left=3,
                lasts_days=14,
                top_up="37.50",
            ),
        ),
        events()(
            **ENVELOPE,
            event=MoneyRefused(
                at=AT, clock="trusted", command="c-1", name="topup", reason="currency: USD"
            ),
        ),
        Statement(account="1001", opening="0.00", closing="0.00", lines=()),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_encoded_is_read_back(message: Message) -> None:
    text = encode(message)
    assert type(message).model_validate_json(text, strict=True) == message
    assert canonical(text)


def command(body: dict[str, Any]) -> Command:
    tree = {"id": "c", "issuer": "h", "issued": AT, "not_after": AT, "command": body}
    return command_of().model_validate_json(json.dumps(tree), strict=True)


ORDERS: list[dict[str, Any]] = [
    OPEN,
    {"name": "account.change", "account": "1", "version": 3, "no_cut": {"reason": "oxygen"}},
    {
        "name": "account.change",
        "account": "1",
        "version": 3,
        "contract": {"capacity_kva": "315"},
        "contract_since": "2026-08-01",
    },
    {
        "name": "account.close",
        "account": "1",
        "day": "2026-07-31",
        "final": {"A1": {"energy_active_import": "99.5"}},
        "refund": "pay_out",
    },
    {"name": "account.swap_meter", "account": "1", "old": "A", "new": "B", "day": "2026-07-31"},
    TOP_UP,
    {"name": "topup.reverse", "payment": "p-1", "reason": "stolen card"},
    {"name": "adjust", "account": "1", "amount": "-0.0001", "reason": "factor", "ledger": "debt"},
    {"name": "tariff.put", "tariff": "home", "version": 2, "text": "x" * 60_000},
    {"name": "statement", "account": "1"},
    {"name": "statement", "account": "1", "first": "2026-07-01", "last": "2026-07-31", "skip": 200},
    {
        "name": "reconcile",
        "number": 17,
        "hash": "ab" * 32,
        "balances": {"1001": "-3.00"},
        "payments": [{"payment": "p-1", "account": "1001", "amount": "50.00"}],
    },
    {"name": "journal.resend", "first": 1, "last": 17},
    {"name": "voucher", "account": "1", "text": "ABCD-EFGH"},
    {"name": "emergency", "account": "1"},
]


@pytest.mark.parametrize("body", ORDERS, ids=lambda body: str(body["name"]))
def test_good_orders(body: dict[str, Any]) -> None:
    found = command(body).command
    again = json.loads(found.model_dump_json(exclude_unset=True, by_alias=True))
    assert again == body


@pytest.mark.parametrize(
    ("base", "change", "where"),
    [
        (TOP_UP, {"amount": 50}, "amount"),
        (TOP_UP, {"amount": "5e1"}, "amount"),
        (TOP_UP, {"amount": "1.00001"}, "amount"),
        (TOP_UP, {"amount": "+5"}, "amount"),
        (TOP_UP, {"amount": "５"}, "amount"),
        (TOP_UP, {"amount": "9" * 13}, "amount"),
        (TOP_UP, {"payment": "p 1"}, "payment"),
        (TOP_UP, {"account": ""}, "account"),
        (TOP_UP, {"channel": "A"}, "channel"),
        (TOP_UP, {"tip": "1"}, "tip"),
        (OPEN, {"opened": "2026-02-30"}, "opened"),
        (OPEN, {"mode": "free"}, "mode"),
        (OPEN, {"class_": "critical"}, "class_"),
        (OPEN, {"tariffs": []}, "tariffs"),
        (OPEN, {"no_cut": {"reason": ""}}, "no_cut"),
        (ORDERS[1], {"no_cut": None}, "nothing to change"),
        (ORDERS[2], {"contract_since": None}, "belong together"),
        (ORDERS[12], {"last": 0}, "last"),
        (ORDERS[12], {"first": 18}, "last is before first"),
    ],
)
def test_wrong_orders(base: dict[str, Any], change: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        command({**base, **change})


def test_money_goes_up_numbered_like_everything_else() -> None:
    for name in ("journal", "digest"):
        schema = json.loads(documents()[f"{SCHEMAS}/{name}.json"])
        assert {"gateway", "epoch", "lane", "seq"} <= set(schema["required"])
        assert schema["additionalProperties"] is False
