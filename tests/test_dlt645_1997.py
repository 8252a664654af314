"""DL/T 645-1997: frames as meters and masters send them, items, and laws over all bytes.

tests/golden/dlt645-1997.txt has the form of the other dlt645-*.txt; a set of blocks is written
``90FF 901F: values; 902F: values``.  tests/golden/dlt645-1997-di.csv.gz lists the identifiers with
format, bytes, unit and sign as firmwares and concentrators know them.
"""

import contextlib
import csv
import gzip
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645_1997 as old
from protocols.base import Codec, Quality, RefusedError, Reply, RequestError, Stray
from protocols.dlt645 import Frame, encode_frame, find_frame
from protocols.dlt645_1997 import Request, decode, encode, follow_up, read, reply_size
from protocols.dlt645_1997_items import blocks, decode_set, find
from protocols.dlt645_explain import explain
from protocols.points import point
from tests.test_dlt645_golden import NOISE_BEFORE, NOISE_BEHIND, Case, cases, told

CODEC: Codec[Request] = old
METER = "123456789012"
ENERGY = read(METER, "9010")
ANSWER = encode_frame(Frame(METER, 0x81, bytes.fromhex("1090 24541100")), preamble=4)
GOOD = Reply(METER, bytes.fromhex("24541100"))

with gzip.open(Path(__file__).parent / "golden" / "dlt645-1997-di.csv.gz", "rt") as lines:
    ROWS = list(csv.DictReader(lines))
TARIFFS = 4
PRINTED = {
    "XXX": "XXXX", "XXX × 3": "XXXX", "XXXXXX.XX × (1+k)": "XXXXXX.XX", "XX.XX × 3": "XX.XX",
    "NN × 5": "NN", "NNNNNN.N": "NNNNNNN.N", "NNNNNNNN": "hex", "vendor": "hex", "blocks": "hex",
}  # fmt: skip
SIGNED = {"B630", "B631", "B632", "B633"}
"""The lists have no sign here, but say that some meters send one."""

noise = st.binary(max_size=40)
heards = st.lists(
    st.one_of(st.binary(max_size=20), st.just(b"\x68"), st.just(ANSWER), st.just(encode(ENERGY))),
    max_size=6,
).map(b"".join)


def is_damaged(case: Case) -> bool:
    return case.expected[0].startswith("checksum")


def request_for(case: Case) -> Request:
    """What this reply may have answered."""
    frame = case.frame
    function = frame.control & 0x1F
    data = {0x01: frame.data[:2].ljust(2, b"\x00"), 0x02: frame.data[:2], 0x04: bytes(6)}
    return Request(frame.address, function, data.get(function, b""))


def listen(buffer: bytes, request: Request) -> Reply | str:
    """The reply in ``buffer``, listening past strays, or why there is none."""
    try:
        while True:
            found, used = decode(buffer, request)
            if not isinstance(found, Stray):
                return found or "nothing"
            buffer = buffer[used:]
            if not buffer:
                return found.value
    except RefusedError as error:
        return f"refused: {str(error).split(': ', 1)[1].split(' (error')[0]}"


def test_every_frame_is_there() -> None:
    assert len(cases("1997")) == 22 + 10 + 1


@pytest.mark.parametrize("case", cases("1997"))
def test_golden(case: Case) -> None:
    facts = explain(case.raw).facts
    if is_damaged(case):
        assert facts["error"] == case.expected[0]
        assert listen(case.raw, ENERGY) == "nothing"
        return
    preamble = len(case.raw) - len(case.raw.lstrip(b"\xfe"))
    assert encode_frame(case.frame, preamble) == case.raw
    assert find_frame(NOISE_BEFORE + case.raw + NOISE_BEHIND)[0] == case.frame
    said = facts.get("value")
    if isinstance(said, dict):
        parts = (f"{block}: {', '.join(values)}" for block, values in said.items())
        assert f"{facts['di']} {'; '.join(parts)}" == case.expected[1]
    else:
        assert told(facts) == "".join(case.expected[1:])
    shared = case.frame.control == 0x08
    assert (facts["valid"], facts["year"]) == (True, 2007 if shared else 1997)
    if case.sent:
        request = Request(case.frame.address, case.frame.control, case.frame.data)
        assert encode(request) == b"\xfe" * 4 + case.raw.lstrip(b"\xfe")
        assert decode(case.raw, request) == (Stray.ECHO, len(case.raw))
        return
    request = request_for(case)
    expected: Reply | str = case.expected[-1]
    if not case.frame.control & 0x40:
        skipped = 2 if request.control in (0x01, 0x02) else 0
        more = case.frame.control == 0xA1
        expected = Reply(case.frame.address, case.frame.data[skipped:], more)
    assert listen(NOISE_BEFORE + encode(request) + case.raw + NOISE_BEHIND, request) == expected
    for end in range(len(case.raw)):
        assert decode(case.raw[:end], request)[0] is None


@pytest.mark.parametrize(
    ("asked", "answering", "believed"),
    [
        (METER, METER, METER),
        (METER, "123456789013", None),
        (METER, "AAAAAAAAAAAA", None),
        ("AAAAAAAAAAAA", METER, METER),
        ("AAAAAAAAAAAA", "AAAAAAAAAAAA", "AAAAAAAAAAAA"),
        ("AAAA56789012", METER, METER),
        ("AAAA56789012", "AAAA56789012", "AAAA56789012"),
        ("AAAA56789012", "123456789013", None),
        ("000000000003", "AAAAAAAAAA03", "000000000003"),
        ("000000000003", "AAAAAAAAAAAA", None),
        ("000012000003", "AAAA12000003", "000012000003"),
        ("000012000003", "AAAAAAAAAA03", None),
        ("AAAA12000003", "000012000003", "000012000003"),
    ],
)
def test_a_reply_is_believed_by_its_address(
    asked: str, answering: str, believed: str | None
) -> None:
    raw = encode_frame(Frame(answering, 0x81, bytes.fromhex("1090 24541100")))

    found, _ = decode(raw, read(asked, "9010"))

    assert found == (Reply(believed, GOOD.data) if believed else Stray.FOREIGN)


@pytest.mark.parametrize(
    ("frame", "stray"),
    [
        (Frame(METER, 0x01, b"\x10\x90"), Stray.ECHO),
        (Frame(METER, 0x01, b"\x11\x90"), Stray.FOREIGN),
        (Frame(METER, 0x81, b"\x11\x90\x00\x00\x00\x00"), Stray.LATE),
        (Frame(METER, 0x82, b"\x10\x90\x00\x00\x00\x00"), Stray.LATE),
        (Frame(METER, 0x91, b"\x10\x90\x00\x00\x00\x00"), Stray.LATE),
        (Frame(METER, 0xC4, b"\x04"), Stray.LATE),
    ],
    ids=str,
)
def test_what_does_not_answer_is_a_stray(frame: Frame, stray: Stray) -> None:
    raw = encode_frame(frame)

    assert decode(raw, ENERGY) == (stray, len(raw))
    assert listen(raw + ANSWER, ENERGY) == GOOD


def test_a_long_answer_is_fetched_without_numbers() -> None:
    request = read(METER, "90FF")
    first = Reply(METER, b"one", more=True)

    second = follow_up(request, first)

    assert second == Request(METER, 0x02, b"\xff\x90", part=1)
    assert encode(second) == encode(Request(METER, 0x02, b"\xff\x90"))
    raw = encode_frame(Frame(METER, 0xA2, b"\xff\x90two"))
    assert decode(raw, second)[0] == Reply(METER, b"two", more=True)
    third = follow_up(second, Reply(METER, b"two", more=True))
    assert third == Request(METER, 0x02, b"\xff\x90", part=2)
    assert follow_up(third, Reply(METER, b"end")) is None


def test_a_meter_that_always_has_more_is_left_alone() -> None:
    more = Reply(METER, b"more", more=True)
    request, parts = follow_up(read(METER, "90FF"), more), 0
    while request:
        request, parts = follow_up(request, more), parts + 1

    assert parts == old.PARTS_MAX


def test_a_write_is_confirmed_without_data() -> None:
    request = old.write(METER, "C011", bytes.fromhex("301514"), bytes.fromhex("04000000"))

    assert request.data == bytes.fromhex("11C0 04000000 301514")
    assert decode(encode_frame(Frame(METER, 0x84)), request)[0] == Reply(METER, b"")
    assert decode(encode_frame(Frame(METER, 0x84, b"\x00")), request)[0] is Stray.LATE
    with pytest.raises(RefusedError, match="refused to write C011: password wrong") as caught:
        decode(encode_frame(Frame(METER, 0xC4, b"\x04")), request)
    assert caught.value.permanent


def test_the_last_frame_again_keeps_its_identifier_and_its_refusal() -> None:
    request = old.read_again(METER)

    again = encode_frame(Frame(METER, 0x83, bytes.fromhex("1090 24541100")))
    assert decode(again, request)[0] == Reply(METER, bytes.fromhex("1090 24541100"))
    with pytest.raises(RefusedError, match="to repeat its last reply: no such data"):
        decode(encode_frame(Frame(METER, 0xC3, b"\x02")), request)


def test_the_time_is_for_all_and_answered_by_none() -> None:
    now = datetime(2026, 11, 21, 14, 15, 30, tzinfo=timezone(timedelta(hours=8)))

    request = old.broadcast_time(now)

    assert request == Request("999999999999", 0x08, bytes.fromhex("301514211126"))
    assert reply_size(request) == 0


def test_a_reply_is_as_long_as_what_was_asked() -> None:
    assert reply_size(ENERGY) == 4 + 12 + 2 + 4 + 4
    assert reply_size(read(METER, "901F")) == reply_size(read(METER, "90FF")) == 4 + 12 + 240
    assert reply_size(old.write(METER, "C011", bytes(3), bytes(4))) == 4 + 12 + 4


@pytest.mark.parametrize(
    ("address", "di", "says"),
    [
        ("12345678", "9010", "'12345678' is not 12 digits"),
        ("0000AA345678", "9010", "only leading pairs may be AA"),
        (METER, "00010000", "'00010000' is not 4 hex digits; write it like 9010"),
        (METER, "90G0", "is not 4 hex digits"),
    ],
)
def test_a_malformed_read_is_refused_at_birth(address: str, di: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        read(address, di)


@pytest.mark.parametrize("address", ["AAAA56789012", "999999999999", "12"])
def test_a_write_is_for_one_meter(address: str) -> None:
    with pytest.raises(RequestError, match="a change needs all its 12 digits"):
        old.write(address, "C011", bytes(3), bytes(4))


def test_a_request_that_fits_no_frame_is_refused_at_birth() -> None:
    with pytest.raises(RequestError, match="81H is no request"):
        Request(METER, 0x81)
    with pytest.raises(RequestError, match="01H with 1 bytes of data; it takes 2 to 200"):
        Request(METER, 0x01, b"\x10")
    with pytest.raises(RequestError, match="04H with 201 bytes"):
        Request(METER, 0x04, bytes(201))
    with pytest.raises(RequestError, match="a password of 3 bytes"):
        old.write(METER, "C011", bytes(3), bytes(3))


def test_every_identifier_of_the_lists_is_found_as_they_have_it() -> None:
    assert len(ROWS) == 267
    for row in ROWS:
        item = find(row["di"])
        assert item is not None, row
        length = None
        if row["bytes"] not in ("var", "2|3"):
            left, _, right = row["bytes"].replace("(1+k)", str(1 + TARIFFS)).partition("*")
            length = int(left) * int(right or 1)
        assert item.size(TARIFFS) == length, row
        form = re.sub(" .*", "", item.fields[0].format)
        printed = PRINTED.get(row["format"], row["format"])
        assert form.replace("N", "X") == printed.replace("N", "X"), row
        units = {field.unit for field in item.fields if field.format[:3] != "hex"}
        assert units <= {row["unit"]}, row
        assert item.signed == (row["signed"] == "true" or row["di"] in SIGNED), row


def test_every_point_is_canonical_and_belongs_to_one_identifier() -> None:
    every = [find(f"{number:04X}") for number in range(0x10000)]
    named = [item.point for item in every if item and item.point]

    assert [name for name in named if point(name) is None] == []
    assert len(set(named)) == len(named) > 100


def test_every_block_is_found_and_has_its_members() -> None:
    for number in range(0x10000):
        item = find(f"{number:04X}")
        if item and item.block and item.index is not None:
            block = find(item.block)
            assert block is not None, item
            most = block.over.most if block.over else 1
            assert 0 <= item.index < most * len(block.fields), item


@pytest.mark.parametrize(
    ("di", "name"),
    [
        ("9010", "energy_active_import"),
        ("9012", "energy_active_import_t2"),
        ("9410", None),
        ("9140", "energy_reactive_q4"),
        ("A010", "power_active_demand_max"),
        ("B020", "power_active_export_demand_max_time"),
        ("B612", "voltage_l2n"),
        ("B693", "voltage_l3l1"),
        ("C032", "meter_number"),
        ("90FF", None),
    ],
)
def test_points(di: str, name: str | None) -> None:
    item = find(di)
    assert item is not None
    assert item.point == name


@pytest.mark.parametrize("di", ["", "90", "00010000", "90G0", "9080", "C361F", "FFFF", "é" * 4])
def test_what_nobody_told_us_is_not_found(di: str) -> None:
    assert find(di) is None


@pytest.mark.parametrize(
    ("di", "data", "expected"),
    [
        ("901F", "29010000 62000000 AA", ["1.29", "0.62"]),
        ("901F", "29010000 62000000", ["1.29", "0.62"]),
        ("9010", "FFFFFFFF", ["absent"]),
        ("9010", "290100", ["invalid"]),
        ("B611", "2302", ["223"]),
        ("B640", "341200", ["invalid"]),
        ("B630", "341280", ["-0.1234"]),
        ("C010", "06211126", ["2026-11-21 w6"]),
        ("C31F", "0101040400", ["1", "1", "4", "4", "0"]),
        ("B010", "30152111", ["11-21 15:30"]),
    ],
)
def test_values(di: str, data: str, expected: list[str]) -> None:
    item = find(di)
    assert item is not None
    values = item.decode(bytes.fromhex(data.replace(" ", "")))
    assert [value.text() or value.quality for value in values] == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("29010000 AA 62000000 AA", {"901F": ["1.29"], "902F": ["0.62"]}),
        ("29010000 AA 62000000", {"901F": ["1.29"], "902F": ["0.62"]}),
        ("29010000 AA", {"901F": ["1.29"]}),
        ("", {}),
        ("AA", {"901F": ["invalid"], "902F": ["invalid"]}),
        ("29010000 AA 620000 AA", {"901F": ["invalid"], "902F": ["invalid"]}),
        ("00000000 AA" * 3, {"901F": ["invalid"], "902F": ["invalid"]}),
        ("2901000E AA 62000000 AA", {"901F": ["invalid"], "902F": ["0.62"]}),
    ],
)
def test_a_set_is_taken_apart(data: str, expected: dict[str, list[str]]) -> None:
    found = decode_set("90FF", bytes.fromhex(data.replace(" ", "")))

    assert {
        di: [value.text() or value.quality for value in values] for di, values in found.items()
    } == expected


def test_the_sets_have_their_blocks_in_order() -> None:
    assert [item.di for item in blocks("91ff")] == [f"91{n}F" for n in range(1, 7)]
    assert [item.di for item in blocks("B8FF")] == ["B81F", "B82F"]
    assert blocks("901F") == ()


@given(di=st.sampled_from([f"{g}{m}FF" for g in "9AB" for m in "014589"]), data=st.binary())
def test_any_bytes_become_a_set(di: str, data: bytes) -> None:
    for values in decode_set(di, data).values():
        assert all((v.amount is None) == (v.quality is not Quality.GOOD) for v in values)


@given(heards)
def test_no_bytes_raise_anything_but_a_refusal(heard: bytes) -> None:
    for request in (ENERGY, old.read_again(METER), Request(METER, 0x02, b"\x10\x90")):
        with contextlib.suppress(RefusedError):
            found, used = decode(heard, request)
            assert (0 if found is None else 1) <= used <= len(heard)


@given(before=noise, behind=noise)
def test_noise_around_an_answer_does_not_hide_it(before: bytes, behind: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert listen(before + ANSWER + behind, ENERGY) == GOOD


@given(data=st.binary(max_size=230))
def test_any_frame_is_explained_byte_by_byte(data: bytes) -> None:
    raw = encode_frame(Frame(METER, 0x81, data))

    rows = explain(raw).rows

    assert bytes.fromhex("".join(row.bytes_hex for row in rows)) == raw
