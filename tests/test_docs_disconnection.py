"""The head-end's guide says what is: its examples are good messages, and nothing is left out."""

import json
import re
from pathlib import Path

import pytest

from gateway.disconnection.case import State
from gateway.north.commands import PROMPT, ROLES, Judge, Valid
from gateway.north.contract import Results, unix_s
from gateway.north.parts import command_of, events
from gateway.north.signatures import Role, Signer
from gateway.north.words import SwitchingOrder
from tests.keyring import known, ring

PAGE = Path(__file__).parent.parent / "docs" / "disconnection.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```json (\w+)\n(.*?)```", TEXT, re.DOTALL)
ENVELOPE = {"gateway": "tq-0001", "epoch": "0123456789abcdef", "lane": "urgent", "seq": 1}
CHIEF = Signer("chief", b"c" * 32)


def test_every_example_says_what_it_is() -> None:
    assert TEXT.count("```json") == len(BLOCKS)
    assert {kind for kind, _ in BLOCKS} == {"signed", "command", "event", "result"}


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_an_example_is_a_good_message(kind: str, text: str) -> None:
    tree = json.loads(text)
    match kind:
        case "command":
            whole = {
                "id": "c-1",
                "issuer": "billing",
                "issued": "2026-01-05T02:00:00Z",
                "not_after": "2026-01-05T02:10:00Z",
                "command": tree,
            }
            command = command_of().model_validate_json(json.dumps(whole), strict=True)
            assert isinstance(command.command, SwitchingOrder)
        case "event":
            events().model_validate_json(json.dumps(ENVELOPE | {"event": tree}), strict=True)
        case "result":
            Results.model_validate_json(text, strict=True)


def test_the_signed_example_is_signed_as_the_page_says() -> None:
    [payload] = [text.encode() for kind, text in BLOCKS if kind == "signed"]
    judge = Judge("tq-0001", ring(known(CHIEF, Role.APPROVE)))
    now = unix_s("2026-01-05T02:30:00Z")
    found = judge.message("taiqu/v1/tq-0001/commands", payload, now, retained=False, trusted=True)
    assert isinstance(found, Valid), found
    assert CHIEF.public() in TEXT
    tree = json.loads(payload)
    content = {key: value for key, value in tree.items() if key != "signature"}
    by_the_page = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    signature = CHIEF.sign(b"taiqu/v1/command\n" + by_the_page.encode())
    assert tree["signature"] == signature.model_dump()


def test_every_order_about_supply_that_is_prompt_is_named() -> None:
    assert all(f"`{name}`" in TEXT or f'"{name}"' in TEXT for name in PROMPT)
    orders = {name for name in ROLES if name.split(".")[0] in ("relay", "disconnect", "shed")}
    assert not {name for name in orders if name not in TEXT}


def test_the_states_that_ask_for_something_are_those_of_the_procedure() -> None:
    named = set(re.findall(r"`([a-z_]+)`", TEXT))
    silent = {State.PREFLIGHT, State.SENT, State.VERIFYING}
    assert {state.value for state in set(State) - silent} <= named
