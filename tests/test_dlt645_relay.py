"""The relay command 1CH: its bytes as captured, who may be told, and how long it lives."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645, dlt645_relay
from protocols.base import NotOneMeterError, RefusedError, Reply, RequestError
from protocols.dlt645 import Frame, decode, encode, encode_frame
from protocols.dlt645_control import Authority
from protocols.dlt645_explain import explain
from protocols.dlt645_refusals import RelayRefusal, refusal
from protocols.dlt645_relay import CODES, DeadlineError, KeyServiceError, parse, switch
from protocols.relay import TAKING, Action, ControlRelay

METER = "123456789012"
NOON = datetime(2026, 11, 21, 23, 54, 59)  # noqa: DTZ001 - a meter's clock knows no zone
ORDINARY = ControlRelay(
    measured=True,
    button=True,
    settle_s=5,
    rest_s=10,
    authority=Authority(bytes.fromhex("02000000"), bytes.fromhex("01000000")),
    codes=CODES,
    secured=frozenset(),
    reserved=0,
    close_expiry=b"",
)
WRITES = Path(__file__).parent / "golden" / "dlt645-writes.txt"


def golden() -> list[bytes]:
    """Every relay command there, without its wake-up bytes."""
    lines = [line[3:] for line in WRITES.read_text().splitlines() if line.startswith(">>")]
    frames = [bytes.fromhex(line).lstrip(b"\xfe") for line in lines]
    return [raw for raw in frames if raw[8] == 0x1C]


def hexed(request: dlt645.Request) -> str:
    return encode(request).lstrip(b"\xfe").hex(" ").upper()


@pytest.mark.parametrize("raw", golden(), ids=lambda raw: raw[10:].hex())
def test_a_captured_command_is_understood_byte_for_byte(raw: bytes) -> None:
    frame, _ = dlt645.find_frame(raw)
    assert frame
    control = parse(frame.data)
    assert control

    assert encode_frame(Frame(frame.address, 0x1C, bytes(control))) == raw
    assert control.action
    assert CODES[control.action] == raw[18] - 0x33
    facts = explain(raw).facts
    assert facts["action"] == control.action
    assert json.dumps(facts)
    rows = explain(raw).rows
    assert b"".join(bytes.fromhex(row.bytes_hex) for row in rows) == raw


def test_there_are_captured_commands() -> None:
    assert len(golden()) == 11


@pytest.mark.parametrize(
    ("action", "minutes", "expected"),
    [
        (Action.ALLOW_CLOSE, 0, "4E 33 8C 8C 56 54 44 59 2D 16"),
        (Action.CLOSE, 0, "4F 33 8C 8C 56 54 44 59 2E 16"),
        (Action.TRIP_THEN_CLOSE, 30, "50 39 8C 8C 56 54 44 59 35 16"),
        (Action.ALARM_ON, 0, "5D 33 8C 8C 56 54 44 59 3C 16"),
        (Action.PROTECT_ON, 0, "6D 33 8C 8C 56 54 44 59 4C 16"),
    ],
)
def test_a_command_is_made_as_the_vectors_have_it(
    action: Action, minutes: int, expected: str
) -> None:
    made = switch(METER, action, ORDINARY, NOON, minutes=minutes)

    start = "68 12 90 78 56 34 12 68 1C 10 35 33 33 33 34 33 33 33 "
    assert hexed(made) == start + expected


@pytest.mark.parametrize(
    ("action", "password", "operator", "clock", "vector"),
    [
        (
            Action.TRIP,
            "02370602",
            "01000000",
            datetime(2099, 12, 29, 23, 55),  # noqa: DTZ001
            "68 61 10 01 30 12 15 68 1C 10 35 6A 39 35 34 33 33 33 4D 33 33 33 33 63 45 CC 2C 16",
        ),
        (
            Action.TRIP,
            "02000000",
            "31313131",
            datetime(2099, 1, 1, 0, 56, 1),  # noqa: DTZ001
            "68 04 00 28 10 19 20 68 1C 10 35 33 33 33 64 64 64 64 4D 33 34 34 34 34 34 CC 1F 16",
        ),
        (
            Action.CLOSE,
            "02000000",
            "31313131",
            datetime(2099, 1, 1, 0, 56, 1),  # noqa: DTZ001
            "68 34 00 00 00 19 20 68 1C 10 35 33 33 33 64 64 64 64 4F 33 34 34 34 34 34 CC 19 16",
        ),
    ],
)
def test_a_command_is_made_as_others_have_sent_it(
    action: Action, password: str, operator: str, clock: datetime, vector: str
) -> None:
    """Frames from real lines; their deadlines lie five minutes after such a clock."""
    address = bytes.fromhex(vector)[6:0:-1].hex()
    authority = Authority(bytes.fromhex(password), bytes.fromhex(operator))
    model = replace(ORDINARY, authority=authority)
    assert hexed(switch(address, action, model, clock, valid_s=300)) == vector


def test_actions_are_numbered_as_the_extension_has_them() -> None:
    """Those of which no frame was captured, too: 1EH, 2BH, 3BH."""
    numbers = "1A 1B 1C 1D 1E 2A 2B 3A 3B"
    assert bytes(
        CODES[action]
        for action in (
            Action.TRIP,
            Action.ALLOW_CLOSE,
            Action.CLOSE,
            Action.TRIP_THEN_CLOSE,
            Action.TRIP_THEN_ALLOW,
            Action.ALARM_ON,
            Action.ALARM_OFF,
            Action.PROTECT_ON,
            Action.PROTECT_OFF,
        )
    ) == bytes.fromhex(numbers)


@pytest.mark.parametrize(
    ("address", "operator", "expiry", "vector"),
    [
        (
            "000000219998",
            "30303030",
            "000000000000",
            "68 98 99 21 00 00 00 68 1C 10 35 33 33 33 63 63 63 63 4E 33 33 33 33 33 33 33 5B 16",
        ),
        (
            "000028848129",
            "00000000",
            "990101000000",
            "68 29 81 84 28 00 00 68 1C 10 35 33 33 33 33 33 33 33 4E 33 33 33 33 34 34 CC 3A 16",
        ),
    ],
)
def test_what_gives_supply_may_live_for_ever_where_the_model_wants_it(
    address: str, operator: str, expiry: str, vector: str
) -> None:
    model = replace(ORDINARY, close_expiry=bytes.fromhex(expiry)[::-1])

    made = switch(address, Action.ALLOW_CLOSE, model, operator=bytes.fromhex(operator))
    assert hexed(made) == vector
    for action in TAKING:
        with pytest.raises(DeadlineError, match="read it first"):
            switch(address, action, model, minutes=30)


@pytest.mark.parametrize(
    "address", ["99" * 6, "AA" * 6, "AAAAAAAA0001", "12", "", "00000000000G", "١" * 12]
)
@pytest.mark.parametrize("action", list(Action))
def test_r01_a_command_is_for_one_meter(address: str, action: Action) -> None:
    with pytest.raises(NotOneMeterError, match="a change needs all its 12 digits"):
        switch(address, action, ORDINARY, NOON, minutes=30)


@pytest.mark.parametrize("valid_s", [-1, 0, 301, 86_400])
def test_r05_a_command_lives_five_minutes_at_most(valid_s: int) -> None:
    with pytest.raises(DeadlineError, match="lives 1 to 300 s"):
        switch(METER, Action.TRIP, ORDINARY, NOON, valid_s=valid_s)
    with pytest.raises(DeadlineError, match="needs a deadline by the meter's own clock"):
        switch(METER, Action.CLOSE, ORDINARY)


@given(
    now=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001
    valid_s=st.integers(-10, 400),
    action=st.sampled_from(Action),
)
def test_r05_whatever_the_clock_a_command_dies_in_time(
    now: datetime, valid_s: int, action: Action
) -> None:
    now = now.replace(microsecond=0)
    try:
        made = switch(METER, action, ORDINARY, now, valid_s=valid_s, minutes=30)
    except DeadlineError:
        past = not 2000 <= (now + timedelta(seconds=valid_s)).year <= 2099
        assert past or not 1 <= valid_s <= 300
        return
    control = parse(made.data)
    assert control
    assert control.deadline
    assert timedelta(0) < control.deadline - now <= timedelta(minutes=5)


def test_level_98_needs_the_key_service() -> None:
    filed = replace(ORDINARY, secured=frozenset({Action.TRIP}))

    with pytest.raises(KeyServiceError, match="needs the utility's key service"):
        switch(METER, Action.TRIP, filed, NOON)
    assert switch(METER, Action.CLOSE, filed, NOON)
    for level in ("98000000", "99000000"):
        secured = replace(ORDINARY, authority=Authority(bytes.fromhex(level)))
        with pytest.raises(KeyServiceError, match="takes close encrypted only"):
            switch(METER, Action.CLOSE, secured, NOON)


def test_what_the_model_does_not_know_is_not_sent() -> None:
    simple = replace(ORDINARY, codes={Action.TRIP: 0x2A, Action.CLOSE: 0x2B}, reserved=0xFF)

    assert switch(METER, Action.TRIP, simple, NOON).data[8:10] == b"\x2a\xff"
    with pytest.raises(RequestError, match="no relay command protect_on; it has close, trip"):
        switch(METER, Action.PROTECT_ON, simple, NOON)


@pytest.mark.parametrize("minutes", [0, 3, -5, 1280])
def test_a_trip_that_ends_by_itself_lasts_whole_steps(minutes: int) -> None:
    with pytest.raises(RequestError, match="use 5 to 1275 in steps of 5"):
        switch(METER, Action.TRIP_THEN_ALLOW, ORDINARY, NOON, minutes=minutes)
    assert switch(METER, Action.TRIP_THEN_ALLOW, ORDINARY, NOON, minutes=1275).data[9] == 255


@pytest.mark.parametrize(
    ("data", "reasons", "words"),
    [
        ("2000", ["protected"], "trip refused: supply is protected"),
        ("1000", ["expired"], "time invalid or expired"),
        ("0200", ["mac"], "MAC wrong"),
        ("0401", ["password", "already_tripped"], "password wrong"),
        ("04", ["password"], "password wrong"),
        ("01", [], "other error"),
        ("", [], "no reason given"),
    ],
)
def test_a_refusal_has_names(data: str, reasons: list[str], words: str) -> None:
    request = switch(METER, Action.TRIP, ORDINARY, NOON)
    said = encode_frame(Frame(METER, 0xDC, bytes.fromhex(data)))

    with pytest.raises(RefusedError, match=f"to switch its relay \\(1AH\\): {words}") as caught:
        decode(said, request)
    assert list(caught.value.reasons) == reasons
    assert "02000000" not in str(caught.value), "a password stays out of the log"


def test_only_relays_have_named_reasons() -> None:
    assert refusal(0x14, b"\x04").reasons == ()
    assert refusal(0x03, b"\x04\x00").reasons == ()
    assert refusal(0x1C, b"\xff\xff").reasons == tuple(RelayRefusal)


def test_a_reply_says_accepted_and_perhaps_what_was_done() -> None:
    request = switch(METER, Action.TRIP, ORDINARY, NOON)
    plain, told = (encode_frame(Frame(METER, 0x9C, data)) for data in (b"", b"\x08\x00"))

    assert decode(plain, request) == (Reply(METER, b""), len(plain))
    assert decode(told, request) == (Reply(METER, b"\x08\x00"), len(told))
    assert dlt645_relay.done(b"") == ()
    assert dlt645_relay.done(b"\x08\x40") == (
        "trip delayed: the delay is running",
        "unknown bit 14",
    )
    assert explain(told).facts["words"] == "trip delayed: the delay is running"


@given(st.binary(max_size=40))
def test_any_bytes_are_a_command_or_none(data: bytes) -> None:
    control = parse(data)

    assert (control is not None) == (len(data) == 16)
    if control:
        assert bytes(control) == data
        assert control.action_words
        assert control.deadline_words
        assert explain(encode_frame(Frame(METER, 0x1C, data))).facts["words"]


def test_a_status_word_is_told_in_words() -> None:
    assert dlt645_relay.status_words(0x0050) == "relay open, told to be open"
    assert dlt645_relay.status_words(0x12A0) == (
        "relay closed, told to be closed, trip announced, prepays money, supply protected"
    )
    frame = encode_frame(Frame(METER, 0x91, bytes.fromhex("030500045000")))
    assert explain(frame).facts["words"] == "relay open, told to be open"
