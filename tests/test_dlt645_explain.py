"""What ``taiqu decode`` says of DL/T 645 bytes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import Frame, encode_frame
from protocols.dlt645_explain import explain

METER = "123456789012"


def test_each_byte_has_its_row() -> None:
    frame = "FE FE 68 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 54 16"

    rows = [(row.bytes_hex, row.field, row.meaning) for row in explain(bytes.fromhex(frame)).rows]

    assert rows == [
        ("FE FE", "wake-up", "before the frame"),
        ("68", "start", ""),
        ("12 90 78 56 34 12", "address", METER),
        ("68", "start", ""),
        ("91", "control", "read, reply"),
        ("08", "length", "8 bytes of data"),
        ("33 33 34 33", "identifier", "00010000 import active energy, total"),
        ("89 67 45 33", "value", "1234.56 kWh"),
        ("54", "checksum", "right"),
        ("16", "end", "16H"),
    ]


def test_the_facts_are_one_json_object() -> None:
    frame = Frame(METER, 0x91, bytes.fromhex("00010102 5622"))

    assert json.loads(json.dumps(explain(encode_frame(frame)).facts)) == {
        "protocol": "dlt645",
        "year": 2007,
        "valid": True,
        "error": None,
        "address": METER,
        "control": "91",
        "data": "000101025622",
        "di": "02010100",
        "item": "voltage, phase A",
        "point": "voltage_l1n",
        "value": "225.6",
        "unit": "V",
        "quality": "good",
    }


def test_a_demand_is_an_object_and_a_block_a_list() -> None:
    demand = bytes.fromhex("00000101 563412 0403020126")
    assert explain(encode_frame(Frame(METER, 0x91, demand))).facts["value"] == {
        "demand": "12.3456",
        "at": "2026-01-02 03:04",
    }

    block = explain(encode_frame(Frame(METER, 0x91, bytes.fromhex("00FF0102 5622 FFFF")))).facts
    assert block["value"] == ["225.6", None]
    assert block["quality"] == ["good", "absent"]


def test_the_values_of_a_block_are_called_by_name() -> None:
    block = encode_frame(Frame(METER, 0x91, bytes.fromhex("00FF0100 29010000 62000000")))

    rows = [(row.field, row.meaning) for row in explain(block).rows[6:8]]

    assert rows == [("total", "1.29 kWh"), ("tariff 1", "0.62 kWh")]


def test_data_of_another_size_is_not_taken_apart() -> None:
    def said(data: str) -> tuple[str, str]:
        row = explain(encode_frame(Frame(METER, 0x91, bytes.fromhex(data)))).rows[6]
        return row.bytes_hex, row.meaning

    assert said("00010102 000000") == ("33 33 33", "invalid: not the size of this item")
    assert said("01000106") == ("", "absent: nothing recorded")


def test_the_reply_to_a_write_has_no_identifier() -> None:
    write = bytes.fromhex("01060004 02000000 00000000 05")

    assert explain(encode_frame(Frame(METER, 0x14, write))).facts["di"] == "04000601"
    assert "di" not in explain(encode_frame(Frame(METER, 0x94, write))).facts


def test_a_frame_of_1997_is_recognised() -> None:
    frame = "FE FE FE FE 68 16 82 11 00 18 11 68 81 06 43 C3 57 87 44 33 84 16"

    facts = explain(bytes.fromhex(frame)).facts

    assert facts == {
        "protocol": "dlt645",
        "year": 1997,
        "valid": True,
        "error": None,
        "address": "111800118216",
        "control": "81",
        "data": "109024541100",
        "di": "9010",
        "item": "import active energy, total",
        "point": "energy_active_import",
        "value": "1154.24",
        "unit": "kWh",
        "quality": "good",
    }


def test_the_blocks_of_a_set_are_told_apart() -> None:
    data = bytes.fromhex("FF90 29010000 62000000 AA 00000000 FFFFFFFF AA")

    explanation = explain(encode_frame(Frame(METER, 0x81, data)))

    assert [(row.field, row.meaning) for row in explanation.rows[5:8]] == [
        ("identifier", "90FF all blocks 901F to 902F"),
        ("block 901F", "1.29, 0.62 kWh"),
        ("block 902F", "0.00, absent kWh"),
    ]
    assert explanation.facts["value"] == {"901F": ["1.29", "0.62"], "902F": ["0.00", None]}
    broken = explain(encode_frame(Frame(METER, 0x81, data[:-3])))
    assert [row.meaning for row in broken.rows[6:8]] == ["invalid kWh", "invalid kWh"]
    assert explain(encode_frame(Frame(METER, 0xA1, data))).rows[6].field == "data"


def test_a_damaged_frame_says_what_is_wrong_and_what_it_claims() -> None:
    facts = explain(
        bytes.fromhex("68 01 72 00 72 00 00 68 91 08 33 33 34 33 33 33 33 33 E8 16")
    ).facts

    assert facts["valid"] is False
    assert facts["error"] == "checksum E8 in the frame, computed E7"
    assert facts["address"] == "000072007201"

    cut = explain(bytes.fromhex("00 68 01 72 00 72 00 00 68 91 08 33")).facts
    assert cut["error"] == "no complete frame: one may begin at byte 2, but its end is missing"


def test_a_good_frame_behind_a_damaged_one_is_the_one_explained() -> None:
    good = encode_frame(Frame(METER, 0x94))
    damaged = bytearray(good)
    damaged[-2] ^= 1

    assert explain(bytes(damaged) + good).facts["valid"] is True


@given(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda control, data: encode_frame(Frame(METER, control, data)),
            control=st.integers(0, 255),
            data=st.one_of(
                st.binary(max_size=40),
                st.sampled_from(["00FF0100", "01010006", "00000101", "00FF0302"]).flatmap(
                    lambda di: st.binary(max_size=40).map(lambda rest: bytes.fromhex(di) + rest)
                ),
            ),
        ),
    )
)
def test_any_bytes_are_explained_once_each(data: bytes) -> None:
    explanation = explain(data)

    assert b"".join(bytes.fromhex(row.bytes_hex) for row in explanation.rows) == data
    assert json.loads(json.dumps(explanation.facts))["protocol"] == "dlt645"
