"""What is made of a message from the head-end, good or hostile."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.north.commands import Judge, Refusal, Valid, expired
from gateway.north.contract import Ack, Read, Resend, unix_s

TOPIC, ACKS = "taiqu/v1/gw-1/commands", "taiqu/v1/gw-1/acks"
JUDGE = Judge("gw-1")
NOW = unix_s("2026-07-01T12:00:00Z")
COMMAND: dict[str, object] = {
    "id": "c-1",
    "issuer": "head-end",
    "issued": "2026-07-01T11:59:00Z",
    "not_after": "2026-07-01T12:05:00Z",
    "command": {"name": "resend", "lane": "live", "first": 3, "last": 9},
}
ACK: dict[str, object] = {"epoch": "0123456789abcdef", "lane": "urgent", "upto": 12}


def judged(
    tree: object, *, topic: str = TOPIC, retained: bool = False, now: float = NOW, sure: bool = True
) -> Valid | Ack | Refusal:
    return JUDGE.message(topic, json.dumps(tree).encode(), now, retained=retained, trusted=sure)


def valid(tree: object) -> Valid:
    found = judged(tree)
    assert isinstance(found, Valid), found
    return found


def refusal(tree: object, **how: object) -> Refusal:
    found = judged(tree, **how)  # type: ignore[arg-type]
    assert isinstance(found, Refusal), found
    return found


def test_commands_and_watermarks() -> None:
    assert valid(COMMAND).command.command == Resend(name="resend", lane="live", first=3, last=9)
    read = {"name": "read", "meter": "M-1", "points": ["voltage_l1n"]}
    assert valid({**COMMAND, "command": read}).command.command == Read.model_validate(read)
    assert judged(ACK, topic=ACKS) == Ack.model_validate(ACK)
    assert valid({**COMMAND, "gateway": "gw-1"}).command.gateway == "gw-1"


def test_the_digest_is_of_the_content_not_of_its_spelling() -> None:
    one = judged(COMMAND)
    spelled = json.dumps(dict(reversed(COMMAND.items())), indent=2).replace("c-1", "\\u0063-1")
    other = JUDGE.message(TOPIC, spelled.encode(), NOW, retained=False, trusted=True)
    assert isinstance(one, Valid)
    assert one == other

    changed = {**COMMAND, "command": {"name": "resend", "lane": "live", "first": 3, "last": 10}}
    assert valid(changed).digest != one.digest


def test_only_a_trusted_clock_says_expired() -> None:
    late = NOW + 301

    found = refusal(COMMAND, now=late)
    assert (found.stage, found.id, found.reason) == ("expired", "c-1", "not_after has passed")
    assert found.digest == valid(COMMAND).digest
    assert isinstance(judged(COMMAND, now=late, sure=False), Valid)
    assert isinstance(judged(COMMAND, now=NOW + 300), Valid)
    assert expired(valid(COMMAND).command, late)


@pytest.mark.parametrize(
    ("change", "reason", "id_known"),
    [
        ({"gateway": "gw-2"}, "it names another gateway than its topic", True),
        ({"not_after": "2026-07-01T11:00:00Z"}, "not_after is before issued", True),
        ({"issued": "yesterday"}, "issued:", True),
        ({"issued": "2026-13-01T00:00:00Z"}, "issued:", True),
        ({"command": {"name": "trip"}}, "command: Input tag 'trip'", True),
        (
            {"command": {"name": "resend", "lane": "live", "first": 9, "last": 3}},
            "before first",
            True,
        ),
        ({"command": {"name": "resend", "lane": "live", "first": 0, "last": 3}}, "first:", True),
        ({"command": {"name": "resend", "lane": "live", "first": "1", "last": 3}}, "integer", True),
        ({"command": {"name": "read", "meter": "M", "points": []}}, "points:", True),
        ({"command": {"name": "read", "meter": "M", "points": ["a"] * 65}}, "points:", True),
        ({"命\n" * 100: 1}, r"\u547d\n", True),
        ({"id": "../x"}, "id:", False),
        ({"id": 7}, "id:", False),
    ],
)
def test_a_wrong_command_is_refused_in_one_plain_line(
    change: dict[str, object], reason: str, id_known: bool
) -> None:
    found = refusal({**COMMAND, **change})

    assert reason in found.reason
    assert found.reason.isascii()
    assert found.reason.isprintable()
    assert len(found.reason) < 200
    assert found.id == ("c-1" if id_known else None)
    assert found.stage == "refused"


def test_retained_messages_are_refused() -> None:
    assert "retained" in refusal(COMMAND, retained=True).reason
    assert "retained" in refusal(ACK, topic=ACKS, retained=True).reason


@pytest.mark.parametrize(
    "topic", ["", "taiqu/v1/gw-2/commands", "taiqu/v1/gw-1/commands/", "taiqu/v1/gw-1/status"]
)
def test_other_topics_are_refused(topic: str) -> None:
    assert "a topic we did not subscribe to" in refusal(COMMAND, topic=topic).reason


@pytest.mark.parametrize(
    "change", [{"upto": -1}, {"upto": True}, {"lane": "money"}, {"epoch": "X"}, {"gateway": "gw-2"}]
)
def test_a_wrong_watermark_is_refused(change: dict[str, object]) -> None:
    assert refusal({**ACK, **change}, topic=ACKS).reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NEARLY = st.fixed_dictionaries({}, optional={key: st.just(v) | JSON for key, v in COMMAND.items()})


@given(
    payload=st.binary(max_size=200) | (NEARLY | JSON).map(lambda tree: json.dumps(tree).encode()),
    topic=st.sampled_from([TOPIC, ACKS]),
)
def test_no_bytes_on_earth_raise_anything(payload: bytes, topic: str) -> None:
    found = JUDGE.message(topic, payload, NOW, retained=False, trusted=True)

    assert isinstance(found, (Valid, Ack, Refusal))
    if isinstance(found, Refusal):
        assert found.reason
        assert found.reason.isascii()
        assert len(found.reason) < 200
