"""``taiqu voucher``: read one, issue one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.keys import write_private
from gateway.north.signatures import Signer
from gateway.prepayment.voucher import Key, parse, verify
from gateway.technician.cli import main
from tests.rooms import write_config

SEED = bytes(range(32))
SELLER = Signer("seller", SEED)
SELLER_PUBLIC = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
"""Of the seed 00 01 .. 1F: a known pair."""


def taiqu(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["voucher", *map(str, arguments)])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "seller.key"
    write_private(path, SELLER)
    return path


def issued(key: Path, *more: object) -> str:
    found = taiqu("issue", "1001", "25.00", "--key", key, "--number", 7, *more)
    assert found.exit_code == 0, found.output
    return found.stdout.splitlines()[0]


def gateway(directory: Path, signer: Signer) -> Path:
    key = f'[[voucher_key]]\nid = 1\npublic = "{signer.public()}"'
    policy = '[[policy]]\nname = "home"\nalert_1 = "20.00"\nalert_2 = "10.00"'
    return write_config(directory, more=f"[prepayment]\n{policy}\n{key}")


def test_what_is_issued_is_signed_and_says_what_was_asked(key: Path) -> None:
    found = parse(issued(key, "--year", 2031, "--payment", "p-1"))

    verify(found, {1: Key(id=1, public=SELLER_PUBLIC)})
    assert (found.account, found.number, found.amount_fen) == ("1001", 7, 2500)
    assert (found.last_year, found.payment) == (2031, "p-1")


def test_each_voucher_is_a_payment_of_its_own(key: Path) -> None:
    assert parse(issued(key)).payment != parse(issued(key)).payment


def test_as_json_it_carries_its_text(key: Path) -> None:
    tree = json.loads(issued(key, "--json"))

    assert parse(tree["text"]).number == tree["number"] == 7
    assert tree["amount"] == "25.00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("issue", "1001", "25.005", "--number", 1), "whole fen"),
        (("issue", "1001", "25,5", "--number", 1), "is no amount"),
        (("issue", "1001", "25", "--number", 0), "number: 0 is not within"),
        (("issue", "10 01", "25", "--number", 1), "letters, digits and hyphens"),
    ],
)
def test_what_a_voucher_cannot_say_is_refused(
    key: Path, arguments: tuple[object, ...], said: str
) -> None:
    found = taiqu(*arguments, "--key", key)

    assert found.exit_code == 1
    assert said in found.output


def test_a_voucher_is_shown_however_it_is_typed(key: Path) -> None:
    text = issued(key, "--year", 2031).lower().replace("-", " ")
    found = taiqu("show", *text.split())

    assert found.exit_code == 0
    assert "25.00 yuan" in found.output
    assert "the end of 2031" in found.output
    assert "not verified" in found.output


def test_the_gateway_s_keys_say_whether_it_is_genuine(key: Path, tmp_path: Path) -> None:
    text = issued(key)
    good = taiqu("show", text, "--config", gateway(tmp_path, SELLER), "--json")
    forged = taiqu("show", text, "--config", gateway(tmp_path, Signer("x", bytes(32))))

    assert good.exit_code == 0
    assert json.loads(good.output)["holds"] is True
    assert forged.exit_code == 1
    assert "its signature is wrong" in forged.output


def test_a_gateway_without_voucher_keys_knows_none(key: Path, tmp_path: Path) -> None:
    found = taiqu("show", issued(key), "--config", write_config(tmp_path))

    assert found.exit_code == 1
    assert "key 1, which this gateway does not know" in found.output


def test_a_mistyped_group_is_named(key: Path) -> None:
    text = issued(key)
    wrong = ("1" if text[0] == "0" else "0") + text[1:]

    found = taiqu("show", wrong)
    assert found.exit_code == 1
    assert "check group 1" in found.output


def test_a_qr_code_is_drawn_when_it_is_wanted(key: Path) -> None:
    assert "█" in taiqu("show", issued(key), "--qr").output
    assert "█" not in taiqu("show", issued(key)).output
