"""Who said it: laws of signatures, and every reason why one is not accepted."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.north.commands import ROLES, Judge, Refusal, Valid, digest, signed
from gateway.north.contract import unix_s
from gateway.north.signatures import (
    Domain,
    Keys,
    Role,
    Signer,
    from_text,
    holds,
    public_of,
    text,
)
from gateway.north.strict import ContractError, canonical, without
from tests.keyring import KEYS, MONEY, OFFICE, OPEN, STRANGER, TOP_UP, known, ring, sealed
from tests.switching_orders import BY_NAME

NOW = unix_s("2026-07-01T12:00:00Z")
TOPIC = "taiqu/v1/gw/commands"


def order(body: dict[str, Any] = TOP_UP, **more: object) -> dict[str, Any]:
    return {
        "gateway": "gw",
        "id": "c-1",
        "issuer": "head-end",
        "issued": "2026-07-01T11:59:00Z",
        "not_after": "2026-07-01T12:05:00Z",
        "command": body,
        **more,
    }


def judged(payload: bytes, keys: Keys = KEYS, *, trusted: bool = True) -> Valid | Refusal:
    verdict = Judge("gw", keys).message(TOPIC, payload, NOW, retained=False, trusted=trusted)
    assert isinstance(verdict, Valid | Refusal)
    return verdict


def refusal(payload: bytes, keys: Keys = KEYS, *, trusted: bool = True) -> str:
    verdict = judged(payload, keys, trusted=trusted)
    assert isinstance(verdict, Refusal), verdict
    assert verdict.id == "c-1"
    return verdict.reason


def plain(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree).encode()


# --- the algorithm --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "public", "message", "value"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
                "f9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
                "f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
    ],
    ids=["RFC 8032 test 1", "RFC 8032 test 2"],
)
def test_the_vectors_of_the_standard(seed: str, public: str, message: str, value: str) -> None:
    signer = Signer("a", bytes.fromhex(seed))

    assert from_text(public_of(signer.seed)) == bytes.fromhex(public)
    assert from_text(signer.sign(bytes.fromhex(message)).value) == bytes.fromhex(value)
    assert holds(bytes.fromhex(public), bytes.fromhex(message), text(bytes.fromhex(value)))


def test_a_signature_has_one_spelling() -> None:
    """S + L verifies in careless implementations; so does base64 with other padding bits."""
    message = b"message"
    value = MONEY.sign(message).value
    raw = from_text(value) or b""
    order_of_the_group = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(raw[32:], "little") + order_of_the_group
    public = from_text(MONEY.public()) or b""

    assert holds(public, message, value)
    assert not holds(public, message, text(raw[:32] + s.to_bytes(32, "little")))
    swapped = {"A": "B", "Q": "R", "g": "h", "w": "x"}[value[-3]]
    assert not holds(public, message, value[:-3] + swapped + "==")
    assert not holds(public, message, value + "\n")
    assert not holds(public, message, text(raw[:63]))


def test_a_private_key_is_not_shown() -> None:
    assert "m" * 8 not in repr(MONEY)


# --- laws -----------------------------------------------------------------------------------------


SEALED = canonical(sealed(order(), MONEY))


@given(bit=st.integers(0, 8 * len(SEALED) - 1))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    flipped = bytearray(SEALED)
    flipped[bit // 8] ^= 1 << bit % 8

    assert isinstance(judged(bytes(flipped)), Refusal)


@given(bit=st.integers(0, 511))
def test_any_flipped_bit_of_the_signature_is_a_wrong_signature(bit: int) -> None:
    tree = json.loads(SEALED)
    raw = bytearray(from_text(tree["signature"]["value"]) or b"")
    raw[bit // 8] ^= 1 << bit % 8
    tree["signature"]["value"] = text(bytes(raw))

    assert refusal(plain(tree)).startswith("wrong signature: ")


@given(payload=st.binary(max_size=300))
def test_random_bytes_are_never_signed(payload: bytes) -> None:
    assert isinstance(judged(payload), Refusal)


def test_spelling_does_not_matter_only_content() -> None:
    tree = json.loads(SEALED)
    spelled = json.dumps(dict(reversed(tree.items())), indent=2).replace("cash", "\\u0063ash")
    one, other = judged(SEALED), judged(spelled.encode())

    assert isinstance(one, Valid)
    assert one == other
    assert one.by == "key cash"


def test_the_digest_leaves_the_signature_out() -> None:
    """The same order, signed anew by another key, is the same order."""
    both = ring(known(MONEY, Role.MONEY), known(OFFICE, Role.MONEY))
    one, other = (judged(sealed(order(), signer), both) for signer in (MONEY, OFFICE))

    assert isinstance(one, Valid)
    assert isinstance(other, Valid)
    assert one.digest == other.digest == digest(plain(order()))
    assert (one.by, other.by) == ("key cash", "key office")


def test_a_signature_under_one_kind_of_message_is_worth_nothing_under_another() -> None:
    content = without(canonical(plain(order())), "signature")
    for message in (content, Domain.DIGEST.message(content)):
        tree = order(signature=MONEY.sign(message).model_dump())
        assert refusal(plain(tree)).startswith("wrong signature: ")


# --- refusals -------------------------------------------------------------------------------------


def test_each_refusal_has_its_name() -> None:
    day = date(2026, 7, 1)
    good = sealed(order(), MONEY)

    def with_(**days: Any) -> Keys:
        return ring(known(MONEY, Role.MONEY, **days))

    assert refusal(plain(order())) == (
        "unsigned: this needs the signature of a key with the role money"
    )
    assert refusal(good, Keys()) == "unknown key: cash is not in the gateway's key file"
    assert refusal(sealed(order(), STRANGER)) == (
        "wrong signature: the content is not what the key cash signed"
    )
    assert refusal(good, with_(revoked=True)) == "revoked key: cash"
    assert refusal(good, with_(not_after=date(2026, 6, 30))) == (
        "expired key: cash was valid until 2026-06-30"
    )
    assert refusal(good, with_(not_before=date(2026, 7, 2))) == (
        "key not valid yet: cash is valid from 2026-07-02 on"
    )
    assert isinstance(judged(good, with_(not_before=day, not_after=day)), Valid)
    assert refusal(sealed(order(), OFFICE)) == (
        "out of role: this needs the role money, office has account"
    )


def test_days_are_not_judged_by_a_clock_that_nobody_trusts() -> None:
    old = ring(known(MONEY, Role.MONEY, not_after=date(2020, 1, 1)))
    assert isinstance(judged(sealed(order(), MONEY), old, trusted=False), Valid)


def test_a_revoked_key_stays_revoked_whatever_the_clock() -> None:
    revoked = ring(known(MONEY, Role.MONEY, revoked=True))
    assert refusal(sealed(order(), MONEY), revoked, trusted=False) == "revoked key: cash"


def test_a_signed_order_must_name_its_gateway() -> None:
    tree = order()
    del tree["gateway"]
    assert "must name its gateway" in refusal(sealed(tree, MONEY))
    assert refusal(sealed(order(gateway="gw-2"), MONEY)) == (
        "it names another gateway than its topic"
    )


@pytest.mark.parametrize("name", sorted(ROLES))
def test_every_order_with_a_role_is_refused_without_it(name: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "account.open": OPEN,
        "account.change": {"account": "1001", "version": 1, "dispute": True},
        "account.close": {"account": "1001", "day": "2026-07-01"},
        "account.swap_meter": {
            "account": "1001",
            "old": "A1",
            "new": "A2",
            "day": "2026-07-01",
        },
        "topup": TOP_UP,
        "topup.reverse": {"payment": "p-1", "reason": "card was stolen"},
        "adjust": {"account": "1001", "amount": "-5.00", "reason": "wrong meter factor"},
        "emergency": {"account": "1001"},
        "tariff.put": {"tariff": "home", "version": 1, "text": "id = 'home'"},
        "reading.rule": {
            "meter": "A1",
            "day": "2026-07-01",
            "action": "accept",
            "reason": "read twice at the meter",
        },
        **BY_NAME,
    }
    body = {**bodies[name], "name": name}
    role = ROLES[name]
    signer = Signer("k", b"k" * 32)
    others = tuple(other for other in Role if other is not role)

    assert refusal(plain(order(body))).startswith("unsigned: ")
    payload = sealed(order(body), signer)
    assert refusal(payload, ring(known(signer, *others))).startswith("out of role: ")
    assert isinstance(judged(payload, ring(known(signer, role))), Valid)


def test_what_changes_nothing_needs_no_signature_and_a_needless_one_says_nothing() -> None:
    body = {"name": "statement", "account": "1001"}
    verdict = judged(sealed(order(body), STRANGER))
    assert isinstance(verdict, Valid)
    assert verdict.by == "head-end"


# --- letters --------------------------------------------------------------------------------------


def test_a_technician_may_order_some_things_by_being_there() -> None:
    judge = Judge("gw", KEYS)

    def verdict(body: dict[str, Any], signer: Signer | None = None) -> Valid | Refusal:
        payload = sealed(order(body), signer) if signer else plain(order(body))
        return judge.letter(payload, NOW, trusted=True)

    assert isinstance(verdict(OPEN), Valid)
    assert isinstance(verdict({"name": "voucher", "account": "1", "text": "X"}), Valid)
    assert isinstance(verdict({"name": "emergency", "account": "1"}), Valid)
    assert isinstance(verdict(TOP_UP), Refusal)
    assert isinstance(verdict(TOP_UP, MONEY), Valid)
    assert isinstance(verdict(OPEN, STRANGER), Refusal), "a signature that is there must hold"


def test_an_order_is_signed_anew_not_twice() -> None:
    assert signed(signed(plain(order()), OFFICE), MONEY) == SEALED
    with pytest.raises(ContractError, match="not JSON"):
        signed(b"", MONEY)
