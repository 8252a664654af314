"""The load curve of DL/T 645-2007 annex B: requests, records, and whatever else may come."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645_load_curve as curve
from protocols.base import Quality, Reply, RequestError
from protocols.dlt645 import Frame, decode, encode_frame
from protocols.dlt645_load_curve import GROUPS, Record
from protocols.points import point

METER = "123456789012"
AT = datetime(2026, 1, 2, 3, 15, tzinfo=timezone(timedelta(hours=8)))
TIME = bytes.fromhex("15 03 02 01 26")
VOLTAGES = bytes.fromhex("3022 3122 FFFF 341200 785680 000000 0050")
POWERS = bytes.fromhex("563412" * 7 + "563492")
FACTORS = bytes.fromhex("0010 9909 9889 FFFF")
ENERGIES = bytes.fromhex("29010000 62000000 60000000 03000080")
QUADRANTS = bytes.fromhex("01000000 02000000 03000000 04000000")
DEMANDS = bytes.fromhex("563412 563492")
ALL = (VOLTAGES, POWERS, FACTORS, ENERGIES, QUADRANTS, DEMANDS)


def record(*groups: bytes, start: int = 0xA0, time: bytes = TIME, checksum: int = 0) -> bytes:
    body = time + b"".join(group + b"\xaa" for group in groups)
    raw = bytes([start, start, len(body)]) + body
    return raw + bytes([(sum(raw) + checksum) & 0xFF, 0xE5])


def shown(found: Record) -> dict[str, str]:
    return {name: value.text() or value.quality for name, value in found.values.items()}


def test_the_whole_record_has_a_value_for_each_field() -> None:
    (found,) = curve.decode(record(*ALL))

    assert (found.at.text(), found.problem) == ("2026-01-02 03:15", "")
    values = shown(found)
    assert len(values) == sum(map(len, GROUPS)) == 29
    assert [values[f"voltage_l{n}n"] for n in (1, 2, 3)] == ["223.0", "223.1", "absent"]
    assert [values[f"current_l{n}"] for n in (1, 2, 3)] == ["1.234", "-5.678", "0.000"]
    assert values["frequency"] == "50.00"
    assert (values["power_active"], values["power_reactive_l3"]) == ("12.3456", "-12.3456")
    assert (values["power_factor_l1"], values["power_factor_l2"]) == ("0.999", "-0.998")
    assert values["energy_active_import"] == "1.29"
    assert values["energy_reactive_export"] == "-0.03"
    assert values["energy_reactive_q4"] == "0.04"
    assert values["power_reactive_demand"] == "-12.3456"
    assert len(record(*ALL)) == 3 + 5 + 87 + 6 + 2


def test_every_name_is_a_point() -> None:
    names = [field.name for group in GROUPS for field in group]

    assert [name for name in names if point(name) is None] == []
    assert len(set(names)) == len(names)


def test_groups_that_are_switched_off_are_not_there() -> None:
    off = b""
    (found,) = curve.decode(record(off, off, off, ENERGIES, off, off))

    assert list(shown(found)) == [field.name for field in GROUPS[3]]
    (short,) = curve.decode(record(VOLTAGES))
    assert list(shown(short)) == [field.name for field in GROUPS[0]]
    (empty,) = curve.decode(record(*[off] * 6))
    assert (empty.values, empty.problem) == ({}, "")


def test_no_record_is_no_error() -> None:
    assert curve.decode(b"") == ()


def test_records_stand_behind_one_another() -> None:
    found = curve.decode(record(*ALL) + record(*ALL, time=bytes.fromhex("30 03 02 01 26")))

    assert [each.at.text() for each in found] == ["2026-01-02 03:15", "2026-01-02 03:30"]


@pytest.mark.parametrize(
    ("raw", "at", "problem"),
    [
        (record(*ALL, start=0xE0), "2026-01-02 03:15", "the meter marks it as damaged"),
        (record(*ALL, time=bytes(5)), None, "its time is absent"),
        (record(*ALL, time=b"\xee" * 5), None, "its time is invalid"),
        (record(*ALL, DEMANDS), "2026-01-02 03:15", "7 groups; there are 6"),
        (record(), "2026-01-02 03:15", ""),
        (record(time=b"\x15"), None, "its time is invalid"),
        (record(*ALL)[:-1], None, "102 bytes that are no record"),
        (record(*ALL)[1:], None, "102 bytes that are no record"),
        (b"\xa0\xa0", None, "2 bytes that are no record"),
        (VOLTAGES, None, "17 bytes that are no record"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(raw: bytes, at: str | None, problem: str) -> None:
    (found,) = curve.decode(raw)

    assert (found.at.text(), found.problem) == (at, problem)
    assert found.values == {}


def test_a_wrong_checksum_is_named() -> None:
    (found,) = curve.decode(record(*ALL, checksum=1))

    assert found.problem.startswith("checksum ")
    assert found.at.quality is Quality.INVALID


def test_a_group_of_another_length_is_invalid_and_the_others_are_not() -> None:
    (found,) = curve.decode(record(VOLTAGES[:7], POWERS, b"", b"", b"", b""))

    values = shown(found)
    assert {values[field.name] for field in GROUPS[0]} == {"invalid"}
    assert values["power_active"] == "12.3456"
    assert "power_factor" not in values


def test_a_good_record_is_found_behind_bad_bytes() -> None:
    found = curve.decode(b"\x00\xa0\xa0" + record(*ALL)[:40] + record(*ALL) + b"\x00")

    assert [each.problem for each in found] == [
        "43 bytes that are no record",
        "",
        "1 bytes that are no record",
    ]


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (curve.read_oldest(METER, 1, 12), "00 00 01 06 12"),
        (curve.read_from(METER, 0, AT, 2), "01 00 00 06 02 15 03 02 01 26"),
        (curve.read_newest(METER, 6), "02 00 06 06 01"),
    ],
)
def test_requests_say_how_many_and_from_when(request_: object, data: str) -> None:
    assert str(request_).startswith("read 06")
    assert getattr(request_, "data", b"").hex(" ").upper() == data


def test_the_answer_is_told_by_its_identifier() -> None:
    request = curve.read_from(METER, 1, AT, 1)
    di = request.data[:4]

    raw = encode_frame(Frame(METER, 0x91, di + record(VOLTAGES)))
    assert decode(raw, request)[0] == Reply(METER, record(VOLTAGES))
    none = encode_frame(Frame(METER, 0x91, di))
    assert decode(none, request)[0] == Reply(METER, b"")


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(RequestError, match="no load curve 7"):
        curve.read_newest(METER, 7)
    with pytest.raises(RequestError, match="0 records cannot be asked for"):
        curve.read_oldest(METER, 1, 0)
    with pytest.raises(RequestError, match="100 records"):
        curve.read_from(METER, 1, AT, 100)
    with pytest.raises(RequestError, match="not 12 digits"):
        curve.read_newest("12", 1)


pieces = st.one_of(
    st.binary(max_size=20), st.just(record(*ALL)), st.just(b"\xa0\xa0\x05"), st.just(b"\xaa\xe5")
)


@given(st.lists(pieces, max_size=6).map(b"".join))
def test_any_bytes_become_records(data: bytes) -> None:
    for found in curve.decode(data):
        assert not (found.problem and found.values)
        for value in found.values.values():
            assert (value.amount is None) == (value.quality is not Quality.GOOD)


@given(position=st.integers(0, 102), flip=st.integers(1, 255))
def test_a_changed_byte_never_passes(position: int, flip: int) -> None:
    raw = bytearray(record(*ALL))
    raw[position] ^= flip

    assert not any(each.values for each in curve.decode(bytes(raw)))


@given(
    st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2099-12-31")),
    st.dictionaries(
        st.sampled_from([field.name for field in curve.ENERGIES[:2]]), st.integers(0, 99_999_999)
    ),
)
def test_what_is_encoded_is_read_again(at: datetime, values: dict[str, int]) -> None:
    (found,) = curve.decode(curve.encode(at, values))

    assert (found.at.text(), found.problem) == (f"{at:%Y-%m-%d %H:%M}", "")
    good = {name: value.amount for name, value in found.values.items() if value.amount is not None}
    assert good == values
