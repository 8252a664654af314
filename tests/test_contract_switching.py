"""What the contract says about supply: good orders, wrong ones, and what goes up."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.disconnection.case import State
from gateway.north.commands import PROMPT, ROLES
from gateway.north.contract import Command, Message, SwitchingOrder, encode
from gateway.north.contract_supply import (
    DisconnectionEvent,
    FailedCheck,
    RelayEvent,
    StopTurned,
    SwitchingRefused,
)
from gateway.north.parts import command_of, events
from gateway.north.strict import canonical
from tests.switching_orders import BY_NAME, GOOD, WINDOWS, ask

AT = "2026-07-01T00:15:02.125Z"


def command(body: dict[str, Any]) -> Command:
    return command_of().model_validate_json(json.dumps(ask("c", body)), strict=True)


@pytest.mark.parametrize("body", GOOD, ids=lambda body: str(body["name"]))
def test_good_orders(body: dict[str, Any]) -> None:
    found = command(body).command
    assert isinstance(found, SwitchingOrder)
    assert json.loads(found.model_dump_json(exclude_unset=True, by_alias=True)) == body


def test_every_order_needs_a_key_by_its_role() -> None:
    assert BY_NAME.keys() <= ROLES.keys()
    assert BY_NAME.keys() >= PROMPT


def test_what_could_lead_to_a_cut_is_told_from_what_keeps_supply() -> None:
    keeping = [body for body in GOOD if _switching(body).keeps_supply]
    assert [body["name"] for body in keeping] == [
        "relay.protect",
        "disconnect.cancel",
        "approval.revoke",
        "shed.end",
        "stop",
        "dry_run",
    ]
    assert not _switching(BY_NAME["dry_run"] | {"on": False}).keeps_supply


def _switching(body: dict[str, Any]) -> SwitchingOrder:
    found = command(body).command
    assert isinstance(found, SwitchingOrder)
    return found


@pytest.mark.parametrize(
    ("name", "change", "where"),
    [
        ("relay.trip", {"account": None}, "account"),
        ("relay.trip", {"meter": ""}, "meter"),
        ("relay.trip", {"reason": ""}, "reason"),
        ("relay.trip", {"all": True}, "all"),
        ("relay.close", {"all": True}, "give a meter, or all"),
        ("relay.close", {"meter": None}, "give a meter, or all"),
        ("relay.protect", {"on": "yes"}, "on"),
        ("disconnect.approve", {"debt_max": None}, "names its account and debt_max"),
        ("disconnect.approve", {"debt_max": "-1"}, "debt_max"),
        ("disconnect.approve", {"debt_max": "1e3"}, "debt_max"),
        ("disconnect.approve", {"account": None}, "names its account and debt_max"),
        ("disconnect.approve", {"action": "shed"}, "names its request, and no account"),
        ("disconnect.approve", {"action": "unprotect"}, "action"),
        ("delegate", {"accounts": [], "policies": []}, "give accounts or policies"),
        ("delegate", {"expires": None}, "expires"),
        ("protect.remove", {"no_cut": False}, "nothing to remove"),
        ("notice.served", {"round": 0}, "round"),
        ("notice.served", {"receipt": ""}, "receipt"),
        ("notice.served", {"what": "letter"}, "what"),
        ("calendar.put", {"windows": None}, "give windows, weather or both"),
        ("calendar.put", {"windows": WINDOWS | {"weekend": [7]}}, "weekend"),
        (
            "calendar.put",
            {"windows": WINDOWS | {"hours": [{"begin": "25:00", "end": "09:00", "reason": "x"}]}},
            "begin",
        ),
        ("shed", {"rows": []}, "rows"),
        ("shed", {"goal": "-1"}, "goal"),
        ("shed", {"until": None}, "until"),
        ("stop", {"until": "tomorrow"}, "until"),
    ],
)
def test_wrong_orders(name: str, change: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        command({**BY_NAME[name], **change})


@pytest.mark.parametrize(
    "event",
    [
        RelayEvent(
            at=AT,
            clock="trusted",
            meter="A1",
            account="1001",
            what="open",
            cause="arrears",
            reason="欠费停电",
            next_step="充值 12.00 元后自动恢复供电",
            since=AT,
            took_s=17,
            before={"voltage_l1n": "229.8"},
            after={"voltage_l1n": "229.9", "energy_active_import": "12.34"},
        ),
        DisconnectionEvent(
            at=AT,
            clock="trusted",
            account="1001",
            meter="A1",
            state="preflight",
            round=2,
            asks="last_call",
            reason="欠费",
            next_step="充值",
            due=AT,
            balance="-12.00",
            to_pay="12.01",
            failed=(FailedCheck(code="calendar", rule="R13", text="a protected time: night"),),
        ),
        StopTurned(at=AT, clock="unknown", on=True, reason="/var/lib/taiqu/stop is there"),
        SwitchingRefused(
            at=AT, clock="trusted", command="c-1", name="relay.trip", meter="A9", reason="no meter"
        ),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_goes_up_is_read_back(event: Message) -> None:
    envelope = {"gateway": "gw-1", "epoch": "0123456789abcdef", "lane": "urgent", "seq": 7}
    message = events().model_validate({**envelope, "event": event})
    text = encode(message)
    assert events().model_validate_json(text, strict=True) == message
    assert canonical(text)


def test_every_state_of_a_case_can_be_told() -> None:
    states = DisconnectionEvent.model_json_schema()["properties"]["state"]["enum"]
    assert states == [state.value for state in State]
