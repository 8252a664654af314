"""``taiqu decode``: hex as people paste it, the right protocol, the right exit status."""

import contextlib
import json

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gateway.technician.cli import main
from gateway.technician.decode import HexError, explain, parse_hex, table

VOLTAGES = "68 18 20 12 22 20 65 68 91 0A 33 32 34 35 33 33 33 33 C7 56 13 16"
ENERGY = "FE FE FE FE 68 78 56 34 12 00 00 68 91 08 33 33 34 33 C7 34 33 33 AB 16"
READ_INPUT = "01 04 00 00 00 02 71 CB"


def decode(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["decode", *arguments], input=text)


@pytest.mark.parametrize(
    "text",
    [
        "68 AA 16",
        "68aa16",
        "0x68, 0xAA, 0x16",
        "68,AA;16",
        "68:aa:16",
        "68\n  AA\r\n16",
        "\\x68\\xaa\\x16",
    ],
)
def test_hex_is_read_as_people_write_it(text: str) -> None:
    assert parse_hex(text) == b"\x68\xaa\x16"


@pytest.mark.parametrize(
    ("text", "told"), [("68 zz", "'zz'"), ("6", "half a byte"), (" ", "no bytes")]
)
def test_what_is_no_hex_is_wrong_use(text: str, told: str) -> None:
    result = decode(text)

    assert result.exit_code == 2
    assert told in result.stderr


@given(data=st.binary(min_size=1, max_size=300))
def test_any_bytes_can_be_pasted_and_are_all_shown(data: bytes) -> None:
    assert parse_hex(data.hex(" ")) == data
    explanation = explain(data)
    assert bytes.fromhex("".join(row.bytes_hex for row in explanation.rows)) == data
    assert table(explanation)


@given(text=st.text())
def test_any_text_is_bytes_or_a_named_error(text: str) -> None:
    with contextlib.suppress(HexError):
        assert parse_hex(text)


def test_a_voltage_reply_is_explained_byte_by_byte() -> None:
    result = decode(VOLTAGES)

    assert result.exit_code == 0
    assert "652022122018" in result.stdout
    assert "239.4 V" in result.stdout


def test_json_is_one_object_with_the_item() -> None:
    result = decode("--json", *ENERGY.split())

    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["protocol"] == "dlt645"
    assert facts["year"] == 2007
    assert facts["valid"] is True
    assert facts["error"] is None
    assert facts["address"] == "000012345678"
    assert facts["control"] == "91"
    assert bytes.fromhex(facts["data"]) == bytes.fromhex("0000010094010000")
    assert facts["di"] == "00010000"
    assert facts["point"] == "energy_active_import"
    assert facts["value"] == "1.94"
    assert facts["unit"] == "kWh"


def test_a_damaged_frame_is_still_explained_and_is_a_failure() -> None:
    result = decode(VOLTAGES.replace("13 16", "14 16"))

    assert result.exit_code == 1
    assert "239.4 V" in result.stdout
    assert "checksum" in result.stderr


def test_standard_input_is_read_for_a_dash() -> None:
    result = decode("--json", "-", text=f"{READ_INPUT[:11]}\n{READ_INPUT[12:]}\n")

    facts = json.loads(result.stdout)
    assert facts["protocol"] == "modbus-rtu"
    assert facts["function"] == 4
    assert facts["valid"] is True


def test_a_damaged_frame_goes_to_the_protocol_it_resembles() -> None:
    assert explain(bytes.fromhex("68AAAAAAAAAAAA681300DF")).facts["protocol"] == "dlt645"
    assert explain(bytes.fromhex("0104000000027100")).facts["protocol"] == "modbus-rtu"


def test_a_long_row_is_shortened_on_the_page_only() -> None:
    data = bytes([1, 3, 60]) + bytes(60)
    facts = explain(data).facts

    assert facts["protocol"] == "modbus-rtu"
    assert max(map(len, table(explain(data)).splitlines())) < 160


def test_a_relay_command_is_told_in_words() -> None:
    trip = "68 61 10 01 30 12 15 68 1C 10 35 6A 39 35 34 33 33 33 4D 33 33 33 33 63 45 CC 2C 16"
    result = decode(*trip.split())

    assert result.exit_code == 0
    assert "1AH trip" in result.stdout
    assert result.stdout.endswith("\ntrip, until 2099-12-30 00:00:00\n")
