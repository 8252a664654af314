"""What is sent to the relays of the shipped models, what is read of them, and what it means."""

from datetime import datetime

import pytest

from protocols import dlt645, modbus
from protocols.base import NotOneMeterError, Quality, RequestError, Value
from protocols.dlt645_relay import DeadlineError
from protocols.profile import SHIPPED, Profile, load, parse
from protocols.relay import Action, Position, RelayStatus
from protocols.relay_control import meter_time, relay_points, relay_requests, relay_status

SINGLE = load(SHIPPED / "dlt645-2007-single-phase.toml")
MODELS = [load(path) for path in sorted(SHIPPED.glob("*.toml"))]
WITH_RELAY = {profile.name for profile in MODELS if profile.relay}
NOON = datetime(2026, 11, 21, 12, 0)  # noqa: DTZ001 - a meter's clock knows no zone
METER = "000000000161"


def sent(name: str, action: Action) -> list[str]:
    requests = relay_requests(load(SHIPPED / f"{name}.toml"), "1", action)
    return [modbus.rtu.encode(each).hex(" ").upper() for each in requests]  # type: ignore[arg-type]


def test_which_models_can_be_switched() -> None:
    switched = {
        "acrel-ddsy1352-legacy",
        "dlt645-2007-single-phase",
        "dlt645-2007-three-phase",
        "eastron-sdm530y-prepay",
        "external-breaker",
        "external-breaker-blind",
        "external-breaker-load-side",
        "hiking-dds238-2-relay",
    }
    assert switched == WITH_RELAY


@pytest.mark.parametrize(
    ("name", "trip", "close"),
    [
        # As published by its seller for the SDM530 with LoRa.
        (
            "eastron-sdm530y-prepay",
            "01 10 FD 00 00 01 02 00 00 8A 9F",
            "01 10 FD 00 00 01 02 FF 00 CB 6F",
        ),
        (
            "acrel-ddsy1352-legacy",
            "01 10 00 57 00 02 04 00 01 00 01",
            "01 10 00 57 00 02 04 00 01 00 00",
        ),
        ("hiking-dds238-2-relay", "01 10 00 1A 00 01 02 00 00", "01 10 00 1A 00 01 02 00 01"),
        ("external-breaker", "01 05 00 00 FF 00 8C 3A", "01 05 00 00 00 00 CD CA"),
        ("external-breaker-blind", "01 05 00 00 FF 00 8C 3A", "01 05 00 00 00 00 CD CA"),
    ],
)
def test_modbus_relays_are_written_as_their_files_say(name: str, trip: str, close: str) -> None:
    assert [frame[: len(trip)] for frame in sent(name, Action.TRIP)] == [trip]
    assert [frame[: len(close)] for frame in sent(name, Action.CLOSE)] == [close]
    with pytest.raises(RequestError, match="cannot be told to protect_on"):
        sent(name, Action.PROTECT_ON)


def test_a_dlt645_meter_is_told_by_its_own_clock() -> None:
    [request] = relay_requests(
        SINGLE, METER, Action.TRIP, NOON, valid_s=60, operator=b"\x07\x00\x00\x00"
    )

    assert isinstance(request, dlt645.Request)
    assert (request.address, request.control) == (METER, 0x1C)
    assert request.data.hex(" ") == "02 00 00 00 07 00 00 00 1a 00 00 01 12 21 11 26"


@pytest.mark.parametrize("address", ["0", "248", "255", "FE", "", "01"])
def test_r01_no_modbus_relay_is_told_by_a_broadcast(address: str) -> None:
    breaker = load(SHIPPED / "external-breaker.toml")

    with pytest.raises(NotOneMeterError, match="at one meter only"):
        relay_requests(breaker, address, Action.TRIP)


@pytest.mark.parametrize("valid_s", [0, 301])
def test_r05_no_command_is_made_to_live_longer(valid_s: int) -> None:
    for name, address in (("external-breaker", "1"), ("dlt645-2007-three-phase", METER)):
        with pytest.raises(DeadlineError):
            relay_requests(
                load(SHIPPED / f"{name}.toml"), address, Action.TRIP, NOON, valid_s=valid_s
            )


def test_a_model_without_a_relay_cannot_be_switched() -> None:
    with pytest.raises(RequestError, match=r"SDM630.* at 1 cannot be told to trip; see \[relay\]"):
        relay_requests(load(SHIPPED / "eastron-sdm630.toml"), "1", Action.TRIP)


@pytest.mark.parametrize("name", sorted(WITH_RELAY))
def test_what_must_be_known_can_be_planned(name: str) -> None:
    profile = load(SHIPPED / f"{name}.toml")
    points = relay_points(profile)
    address = METER if profile.protocol.startswith("dlt645") else "1"

    wanted = (*points.state, *points.identity, *points.clock, *points.load)
    plan = profile.plan(address, wanted)
    assert {point for each in plan for point in each.points} == set(wanted)
    assert points.state
    energies = [point for point in points.load if point.startswith("energy_")]
    assert energies == list(points.load[: len(energies)])


def test_a_dlt645_meter_tells_all_of_its_relay_in_one_exchange() -> None:
    points = relay_points(SINGLE)

    [exchange] = SINGLE.plan(METER, points.state)
    assert exchange.key == "04000503"
    assert points.identity == ("serial_number", "meter_number")
    assert points.clock == ("meter_time", "meter_date", "meter_clock")


def status(word: int, profile: Profile = SINGLE) -> RelayStatus:
    [exchange] = profile.plan(METER, relay_points(profile).state)
    return relay_status(profile, exchange.values(word.to_bytes(2, "little")))


@pytest.mark.parametrize(
    ("word", "position", "told"),
    [
        (0x0000, Position.CLOSED, {"open": False, "commanded_open": False, "protected": False}),
        (0x0050, Position.OPEN, {"open": True, "commanded_open": True}),
        (0x0010, Position.CLOSE_ALLOWED, {"open": True, "commanded_open": False}),
        (0x00C0, Position.TRIP_PENDING, {"pre_trip_alarm": True, "open": False}),
        (0x1200, Position.CLOSED, {"protected": True, "prepays": "money"}),
        (0x0100, Position.CLOSED, {"prepays": "energy", "pre_trip_alarm": False}),
        (0x0000, Position.CLOSED, {"prepays": "none", "measured": True, "fault": None}),
    ],
)
def test_status_word_3_is_a_status(word: int, position: Position, told: dict[str, object]) -> None:
    found = status(word)

    assert found.position is position
    assert {name: getattr(found, name) for name in told} == told


INVERTED = """
model = "inverted"
manufacturer = "any"
like = "dlt645-2007-single-phase"
protocol = "dlt645-2007"
default_points = ["relay_state"]
[points]
relay_state = { di = "04000503", bits = [4], names = ["tripped", "closed"] }
relay_command_state = { di = "04000503", bits = [6], names = ["tripped", "closed"] }
"""


def test_inverted_bits_are_a_matter_of_the_file() -> None:
    inverted = parse(INVERTED.encode(), "inverted")

    assert status(0x0050, inverted).position is Position.CLOSED
    assert status(0x0000, inverted).position is Position.OPEN
    assert status(0x0040, inverted).position is Position.CLOSE_ALLOWED


def test_without_a_button_nobody_waits_for_one() -> None:
    breaker = load(SHIPPED / "external-breaker.toml")
    values = {"relay_state": Value("tripped"), "relay_command_state": Value("closed")}

    assert relay_status(breaker, values).position is Position.OPEN


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"relay_load_voltage": Value(1)}, True),
        ({"relay_load_voltage": Value(0)}, False),
        ({"voltage_load_l1n": Value(3_000, 3), "voltage_load_l2n": Value(231_000, 3)}, True),
        ({"voltage_load_l1n": Value(49_999, 3)}, False),
        ({"voltage_load_l1n": Value(50_000, 3)}, True),
    ],
)
def test_r35_voltage_behind_the_relay(values: dict[str, Value], *, expected: bool | None) -> None:
    breaker = load(SHIPPED / "external-breaker-load-side.toml")

    assert relay_status(breaker, values).load_voltage is expected
    assert relay_points(breaker).load_side


def test_what_was_not_read_is_not_known() -> None:
    bad = Value(None, quality=Quality.INVALID)

    assert relay_status(SINGLE, {}) == RelayStatus(measured=True, button=True)
    found = relay_status(SINGLE, {"relay_state": bad, "relay_command_state": Value("tripped")})
    assert found.position is Position.UNKNOWN
    blind = load(SHIPPED / "external-breaker-blind.toml")
    told = relay_status(blind, {"relay_command_state": Value("tripped")})
    assert (told.measured, told.position) == (False, Position.UNKNOWN)
    dds = load(SHIPPED / "hiking-dds238-2-relay.toml")
    assert relay_status(dds, {"relay_state": Value("tripped")}) == RelayStatus(open=True)
    eastron = load(SHIPPED / "eastron-sdm530y-prepay.toml")
    assert relay_status(eastron, {"relay_fault": Value(1)}).fault is True


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"meter_time": "2026-11-21 w6 23:59:58"}, "2026-11-21T23:59:58"),
        ({"meter_time": "2026-11-21T22:08:23"}, "2026-11-21T22:08:23"),
        ({"meter_date": "2026-11-21 w6", "meter_clock": "12:00:01"}, "2026-11-21T12:00:01"),
        ({"meter_date": "2026-11-21 w6", "meter_clock": "23:58:00"}, None),
        ({"meter_date": "2026-11-21 w6"}, None),
        ({"meter_time": "never"}, None),
        ({}, None),
    ],
)
def test_the_meters_clock(values: dict[str, str], expected: str | None) -> None:
    found = meter_time({name: Value(text) for name, text in values.items()})

    assert (found.isoformat() if found else None) == expected


def test_a_word_that_is_absent_says_nothing() -> None:
    [exchange] = SINGLE.plan(METER, relay_points(SINGLE).state)

    told = relay_status(SINGLE, exchange.values(b"\x00"))
    assert told == RelayStatus(measured=True, button=True)
