"""The ``[relay]`` table: what a good one becomes, and what is said of every mistake."""

import pytest

from protocols.base import RequestError
from protocols.dlt645_control import Authority
from protocols.profile import ProfileError, parse
from protocols.relay import Action, ControlRelay, RegisterRelay, Write

HEAD = """
model = "M1"
manufacturer = "Maker"
protocol = "{}"
default_points = ["{}"]
[line]
baud = 9600
parity = "N"
stop_bits = 1
[points]
{} = {}
[relay]
{}
"""
STATE = '{ di = "04000503", bits = [4], names = ["closed", "tripped"] }'
MEASURED = "true if relay_state is the contact's, not the command's"
ON, OFF = (f"[{{ function = 5, register = 0, values = [{bit}] }}]" for bit in (1, 0))


def dlt645(table: str, protocol: str = "dlt645-2007") -> str:
    return HEAD.format(protocol, "relay_state", "relay_state", STATE, table)


def modbus(table: str) -> str:
    return HEAD.format("modbus", "voltage_l1n", "voltage_l1n", "0", table)


def relay_of(text: str) -> object:
    return parse(text.encode(), "m1").relay


def problems(text: str) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        parse(text.encode(), "m1")
    return list(caught.value.problems)


def test_a_table_becomes_a_control_relay() -> None:
    relay = relay_of(
        dlt645(
            "measured = true\npassword = '04ACBECC'\noperator = '01020304'\nreserved = 255\n"
            "actions = ['trip', 'close']\ncodes = { trip = 0x2A }\nsecured = ['trip']\n"
            "close_expiry = '991231235959'\nrest_s = 600"
        )
    )

    assert relay == ControlRelay(
        measured=True,
        button=False,
        settle_s=5,
        rest_s=600,
        authority=Authority(bytes.fromhex("04ACBECC"), bytes.fromhex("01020304")),
        codes={Action.TRIP: 0x2A, Action.CLOSE: 0x1C},
        secured=frozenset({Action.TRIP}),
        reserved=255,
        close_expiry=bytes.fromhex("595923311299"),
    )
    assert "ACBECC" not in repr(relay).upper()


def test_a_table_becomes_a_register_relay() -> None:
    relay = relay_of(modbus(f"measured = false\ntrip = {ON}\nclose = {OFF}"))

    assert isinstance(relay, RegisterRelay)
    assert relay.writes == {
        Action.TRIP: (Write(function=5, register=0, values=(1,)),),
        Action.CLOSE: (Write(function=5, register=0, values=(0,)),),
    }


def test_without_the_table_there_is_no_relay() -> None:
    assert relay_of(modbus("").replace("[relay]", "")) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            dlt645("password = '02000000'"),
            "relay.measured: missing; write " + MEASURED,
        ),
        (
            dlt645("measured = true\npasword = '02'"),
            "relay.pasword: unknown key; did you mean 'password'?",
        ),
        (
            dlt645("measured = true\nactions = ['trip', 'alarm_on']"),
            "relay: it can trip but not close; write close or allow_close, too",
        ),
        (
            dlt645("measured = true\nactions = ['trip', 'close']\nsecured = ['alarm_on']"),
            "relay.secured: 'alarm_on' is not in relay.actions; write it there, or leave it out",
        ),
        (
            dlt645("measured = true", "dlt645-1997").replace(STATE, '"9010"'),
            "relay: a dlt645-1997 meter has no relay command; leave it out",
        ),
        (
            modbus(f"measured = true\ntrip = {ON}\nclose = {OFF}"),
            "relay.measured: true needs relay_state in [points]; add it, or write false",
        ),
        (
            modbus(f"measured = false\ntrip = {ON}"),
            "relay: it can trip but not close; write close or allow_close, too",
        ),
        (
            modbus(f"measured = false\nclose = {ON.replace('[1]', '[2]')}"),
            "relay.close[0]: Modbus value must be 0..1, got 2",
        ),
        (
            modbus(f"measured = false\nclose = {ON.replace('[1]', '[1, 0]')}"),
            "relay.close[0]: Modbus count for function 5 must be 1..1, got 2",
        ),
    ],
)
def test_mistakes_are_told_with_the_way_out(text: str, problem: str) -> None:
    assert problem in problems(text)


def test_coils_and_inputs_are_points_of_one_bit() -> None:
    text = modbus(f"measured = false\nclose = {ON}").replace(
        "voltage_l1n = 0",
        'voltage_l1n = 0\nrelay_fault = { register = 1, function = 2, type = "i16" }',
    )

    assert problems(text) == [
        "points.relay_fault.type: a coil or an input is one bit; leave type and bits out"
    ]


def test_neighbouring_inputs_are_read_together() -> None:
    text = modbus(f"measured = false\nclose = {ON}").replace(
        "voltage_l1n = 0",
        "voltage_l1n = 0\nrelay_fault = { register = 8, function = 2 }\n"
        "arrears = { register = 9, function = 2 }",
    )

    profile = parse(text.encode(), "m1")
    [exchange] = profile.plan("1", ("relay_fault", "arrears"))
    values = exchange.values(b"\x02")
    assert {name: value.amount for name, value in values.items()} == {
        "relay_fault": 0,
        "arrears": 1,
    }
    assert all(value.amount is None for value in exchange.values(b"\x02\x00").values())


def test_a_write_of_nothing_is_none() -> None:
    with pytest.raises(RequestError):
        Write(function=16, register=0, values=()).request(1)
