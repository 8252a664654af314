"""The contract: the documents are the models, and what we send is what they describe."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.north.commands import ROLES
from gateway.north.contract import (
    Hello,
    Marks,
    Message,
    Results,
    Shed,
    Status,
    encode,
    instant,
    topic,
    unix_s,
)
from gateway.north.parts import MONEY, SWITCHING, command_of, events
from gateway.north.readings import Reading, Readings
from gateway.north.schemas import ASYNCAPI, SCHEMAS, documents, write
from gateway.north.strict import DEPTH_MAX, PAYLOAD_MAX_BYTES, ContractError, canonical
from tests.switching_orders import BY_NAME

ROOT = Path(__file__).parent.parent
AT = "2026-07-01T00:15:02.125Z"
READING = Reading(
    meter="M-1",
    address="000012345678",
    line="east",
    taken=AT,
    clock="trusted",
    values={"energy_active_import": "1234.56", "power_active": "-0.5"},
    absent=("current_l2",),
)
ENVELOPE = {"gateway": "gw-1", "epoch": "0123456789abcdef", "seq": 7}


# --- documents ------------------------------------------------------------------------------------


def test_the_documents_are_those_of_the_models() -> None:
    for path, text in documents().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, (
            f"{path} is old: run python -m gateway.north.schemas"
        )
    on_disk = {f"{SCHEMAS}/{path.name}" for path in (ROOT / SCHEMAS).iterdir()}
    assert on_disk | {ASYNCAPI} == documents().keys()


def test_documents_can_be_written_anew(tmp_path: Path) -> None:
    write(tmp_path)
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.json")}
    assert written == documents().keys()


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(documents()[ASYNCAPI])
    references = [
        line for line in documents()[ASYNCAPI].split('"') if line.startswith(("#/", "./"))
    ]
    assert len(references) == 2 * len(document["channels"]) + len(
        document["components"]["messages"]
    )
    for reference in references:
        if reference.startswith("./"):
            assert f"docs/{reference[2:]}" in documents()
            continue
        place = document
        for key in reference[2:].split("/"):
            place = place[key]
        assert place


def test_every_message_that_goes_up_numbered_has_the_same_envelope() -> None:
    for name in ("readings", "events", "results"):
        schema = json.loads(documents()[f"{SCHEMAS}/{name}.json"])
        assert {"gateway", "epoch", "lane", "seq"} <= set(schema["required"])
        assert schema["additionalProperties"] is False


# --- messages -------------------------------------------------------------------------------------


def test_a_reading_on_the_wire() -> None:
    message = Readings.model_validate({**ENVELOPE, "lane": "live", "readings": [READING]})

    assert json.loads(encode(message)) == {
        "gateway": "gw-1",
        "epoch": "0123456789abcdef",
        "lane": "live",
        "seq": 7,
        "readings": [
            {
                "meter": "M-1",
                "address": "000012345678",
                "line": "east",
                "taken": AT,
                "clock": "trusted",
                "values": {"energy_active_import": "1234.56", "power_active": "-0.5"},
                "absent": ["current_l2"],
                "invalid": [],
            }
        ],
    }


@pytest.mark.parametrize(
    "message",
    [
        events().model_validate(
            {
                **ENVELOPE,
                "lane": "urgent",
                "event": Shed(
                    at=AT, clock="holdover", lane="live", first=3, last=9, count=7, reason="age"
                ),
            }
        ),
        Results.model_validate(
            {**ENVELOPE, "lane": "urgent", "id": "a1", "stage": "confirmed", "at": AT}
        ),
        Status(
            gateway="gw-1",
            epoch="0123456789abcdef",
            state="online",
            at=AT,
            clock="unknown",
            software="0.1.0",
            started=AT,
        ),
        Hello(
            gateway="gw-1",
            epoch="0123456789abcdef",
            at=AT,
            clock="trusted",
            software="0.1.0",
            started=AT,
            config_hash="ab",
            lanes={"live": Marks(first=3, last=9), "urgent": Marks(last=0)},
        ),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_encoded_is_read_back(message: Message) -> None:
    text = encode(message)

    assert type(message).model_validate_json(text, strict=True) == message
    assert b"null" not in text
    assert canonical(text)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"meter": ""}, "meter"),
        ({"clock": "good"}, "clock"),
        ({"taken": "2026-02-30T00:00:00Z"}, "taken"),
        ({"taken": "2026-07-01T00:00:00+08:00"}, "taken"),
        ({"values": {"Energy": "1"}}, "values"),
        ({"values": {"energy": "1" * 129}}, "values"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_message_cannot_be_built(change: dict[str, object], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        Reading.model_validate({**READING.model_dump(), **change})


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        READING.meter = "M-2"  # type: ignore[misc]


@given(st.floats(0, 4e9))
def test_an_instant_keeps_the_millisecond(moment: float) -> None:
    assert abs(unix_s(instant(moment)) - moment) < 0.0011
    assert len(instant(moment)) == len(AT)


# --- topics ---------------------------------------------------------------------------------------


def test_topics() -> None:
    assert topic("gw-1", "readings") == "taiqu/v1/gw-1/readings"


@pytest.mark.parametrize("gateway", ["", "a/b", "a+", "#", "a" * 33, "gw\n", "网关", "gw_1"])
def test_an_id_cannot_step_into_other_topics(gateway: str) -> None:
    with pytest.raises(ContractError, match="use 1 to 32 of"):
        topic(gateway, "readings")


# --- hostile bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON: Expecting value at character 0"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{} {}", "not JSON: Extra data"),
        (b'{"a":1,}', "not JSON"),
        (b"\xff\xfe{}", "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":1,"a":1}', "the key 'a' stands there twice"),
        (b'{"a":{"b":1,"\\u0062":2}}', "the key 'b' stands there twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":1.5}', "1.5: numbers are whole here"),
        (b'{"a":1e999}', "1e999: numbers are whole here"),
        (b'{"a":' + b"9" * 5000 + b"}", "an integer of more than 16 digits"),
        (b'{"a":"\\ud800"}', "half a surrogate pair"),
        (b'{"\\udfff":1}', "half a surrogate pair"),
        (b'{"a":"\x00"}', "not JSON: Invalid control character"),
        (b"[" * 60_000, "nested deeper than 16"),
        (b'{"a":' * 10_000, "nested deeper than 16"),
        (b"{" + b" " * PAYLOAD_MAX_BYTES + b"}", "send at most 65536"),
    ],
    ids=lambda part: str(part)[:30] if isinstance(part, str) else "",
)
def test_hostile_bytes_get_a_short_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(ContractError) as caught:
        canonical(payload)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


def test_brackets_inside_a_text_are_no_depth() -> None:
    payload = b'{"a":"' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"}'
    assert canonical(payload) == payload


def test_the_deepest_that_is_allowed() -> None:
    depth = DEPTH_MAX - 1
    assert canonical(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    try:
        whole = canonical(payload)
    except ContractError:
        return
    assert canonical(whole) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_same_content_has_one_form(tree: dict[str, object]) -> None:
    plain = json.dumps(tree, ensure_ascii=False).encode()
    other = json.dumps(dict(reversed(tree.items())), indent=3, ensure_ascii=True).encode()

    assert canonical(plain) == canonical(other)
    assert json.loads(canonical(plain)) == tree


def test_the_schema_of_commands_names_every_command() -> None:
    schema = command_of().model_json_schema()
    orders = schema["properties"]["command"]["discriminator"]["mapping"].keys()
    assert orders == MONEY | SWITCHING | {"read", "resend"}
    assert BY_NAME.keys() == SWITCHING
    assert orders > ROLES.keys()


@pytest.mark.parametrize(("money", "switching"), [(False, False), (True, False), (True, True)])
def test_a_command_is_one_of_the_parts_that_are_there(*, money: bool, switching: bool) -> None:
    schema = command_of(money=money, switching=switching).model_json_schema()
    orders = schema["properties"]["command"]["discriminator"]["mapping"].keys()
    assert orders >= {"read", "resend"}
    assert (orders >= MONEY, orders >= SWITCHING) == (money, switching)
