"""What data identifiers hold: the whole catalogue, and values from bytes and back.

tests/golden/dlt645-di.csv.gz lists the identifiers of DL/T 645-2007 annex A and of the filed
extensions, as printed there: format, bytes, unit, sign bit, block.
"""

import csv
import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.base import Quality, RequestError, Value
from protocols.dlt645_fields import Field
from protocols.dlt645_items import Item, find
from protocols.points import point

CATALOGUE = Path(__file__).parent / "golden" / "dlt645-di.csv.gz"
with gzip.open(CATALOGUE, "rt", encoding="utf-8") as lines:
    ROWS = list(csv.DictReader(lines))

TARIFFS = 4
OTHER_UNIT = {
    # One printed unit for six registers; ours are kWh or kvarh each.
    *(f"{group}000{n}01" for group in ("1D", "1E") for n in range(3, 9)),
    # An amount and a count in one item.
    "04900000",
    # The two filings disagree (a current of three bytes, a delay of two); we hold the current.
    "04001402",
}
OTHER_BLOCK = {
    # A count of two bytes cannot stand among amounts of four.
    "00900202"
}
COMPOSED = {"record", "items separated by AA in filing meters", "see spec.md", "vendor"}
KNOWN = {
    "bits (LE 16)": ("status 2",),
    "2 × 7": ("status 2",),
    "PA P0 P1 P2": ("hex 4",),
    "C0C1C2C3": ("hex 4",),
    "NNNNNNNN": ("DI",),
    "amount 4 + count 4": ("XXXXXX.XX", "XXXXXXXX"),
    "NNN.NNN or NNNN": ("NNN.NNN",),
}


def item(di: str) -> Item:
    found = find(di)
    assert found is not None, di
    return found


def plain(form: str) -> str:
    """A number's format with X for every digit, an ASCII or mask format without its size."""
    digits = re.fullmatch("[XNx]+([.][XNx]+)?", form)
    return re.sub("[XNx]", "X", form) if digits else form.partition(" ")[0]


def printed(row: dict[str, str]) -> list[str] | None:
    """The formats of one group as the table prints them, or None if it describes them in words."""
    form = row["format"]
    if form in COMPOSED or form.startswith("request adds"):
        return None
    if form in KNOWN:
        return list(KNOWN[form])
    return [part.strip(" ()") for part in re.split("[+,]", form.partition(" × ")[0])]


def test_every_identifier_is_found_with_its_size() -> None:
    assert len(ROWS) == 3113
    for row in ROWS:
        size = item(row["di"]).size(TARIFFS)
        terms = row["bytes"].replace("(1+k)", str(1 + TARIFFS)).replace("n", "21").split("|")[0]
        expected = None
        if terms != "var":
            left, _, right = terms.partition("*")
            expected = int(left) * int(right or 1)
        assert size == expected, row


def test_every_identifier_has_its_formats() -> None:
    for row in ROWS:
        formats = printed(row)
        fields = item(row["di"]).fields
        if formats is None:
            assert len(fields) > 1 or fields[0].format.startswith("hex"), row
        else:
            repeated = len(fields) // len(formats)
            assert [plain(f.format) for f in fields] == [plain(f) for f in formats] * repeated, row


def test_every_identifier_has_its_unit_and_sign() -> None:
    for row in ROWS:
        if row["format"] == "record":
            continue
        fields = item(row["di"]).fields
        assert fields[0].signed == (row["signed"] == "true"), row
        units = ",".join(dict.fromkeys(field.unit for field in fields if field.unit))
        assert (units == row["unit"]) != (row["di"] in OTHER_UNIT), row


def test_every_identifier_has_its_block_and_every_block_is_found() -> None:
    for row in ROWS:
        member = item(row["di"])
        assert ((member.block or "") == row["block"]) != (row["di"] in OTHER_BLOCK), row
        if member.block:
            block = item(member.block)
            if member.index is not None and block.over and block.fields == member.fields:
                place = member.index // len(member.fields)
                assert 0 <= place < block.over.most, row


def test_every_point_is_canonical_and_belongs_to_one_identifier() -> None:
    named = [(found.point, found.di) for found in (item(row["di"]) for row in ROWS) if found.point]

    assert [name for name, _ in named if point(str(name)) is None] == []
    names = [name for name, _ in named]
    # Energy and money meters keep their purchases in different places.
    assert {n for n in names if names.count(n) > 1} == {"purchase_count", "purchase_time_last"}


@pytest.mark.parametrize(
    ("di", "name"),
    [
        ("00010000", "energy_active_import"),
        ("00010200", "energy_active_import_t2"),
        ("00010001", None),
        ("0001FF00", None),
        ("00290000", "energy_active_import_l2"),
        ("02010100", "voltage_l1n"),
        ("02030000", "power_active"),
        ("02030300", "power_active_l3"),
        ("02800002", "frequency"),
        ("01010000", "power_active_demand_max"),
        ("01010100", None),
        ("00900200", "balance"),
        ("03330201", "purchase_count"),
        ("03330202", None),
        ("04000503", "status_word_3"),
        ("04050103", "tariff_price_t3"),
        ("05060101", "energy_active_import_daily_freeze"),
        ("05060102", None),
        ("1D000101", "relay_trip_time"),
    ],
)
def test_points(di: str, name: str | None) -> None:
    assert item(di).point == name


@pytest.mark.parametrize(
    ("di", "block", "index"),
    [
        ("00010000", "0001FF00", 0),
        ("00010203", "0001FF03", 2),
        ("01010400", "0101FF00", 8),
        ("02030000", "0203FF00", 0),
        ("02010300", "0201FF00", 2),
        ("00150002", "001500FF", 2),
        ("00900201", "009002FF", 1),
        ("05060101", "0506FF01", None),
        ("1D000301", "1D00FF01", 2),
        ("02800002", None, None),
    ],
)
def test_a_member_knows_its_place_in_the_block(
    di: str, block: str | None, index: int | None
) -> None:
    assert (item(di).block, item(di).index) == (block, index)


@pytest.mark.parametrize(
    "di",
    ["", "0001", "0001000G", "00014000", "0001000D", "0001FFFF", "02010400", "FFFFFFFF", "é" * 8],
)
def test_what_nobody_told_us_is_not_found(di: str) -> None:
    assert find(di) is None


def texts(di: str, data: str) -> list[str | None]:
    return [
        v.text() if v.amount is not None else v.quality
        for v in item(di).decode(bytes.fromhex(data))
    ]


@pytest.mark.parametrize(
    ("di", "data", "expected"),
    [
        ("00010000", "11 32 67 95", ["956732.11"]),
        ("00000000", "11 32 67 95", ["-156732.11"]),
        ("00010000", "FF FF FF FF", ["absent"]),
        ("00010000", "00 00 0E 00", ["invalid"]),
        ("00010000", "00 00 00 00 AA", ["0.00"]),
        ("00010000", "00 00 00 00 00", ["invalid"]),
        ("00010000", "00 00 00", ["invalid"]),
        ("00010000", "", ["absent"]),
        ("02020100", "34 12 80", ["-1.234"]),
        ("02010100", "34 82", ["823.4"]),
        ("02060000", "00 90", ["-1.000"]),
        ("02800007", "05 80", ["-0.5"]),
        ("0001FF00", "29 01 00 00 62 00 00 00 DD", ["1.29", "0.62"]),
        ("0001FF00", "", ["absent"]),
        ("0001FF00", "29 01 00 00 62 00", ["invalid"]),
        ("0203FF00", "02 00 80 FF FF FF", ["-0.0002", "absent"]),
        ("0201FF00", "00 00 00 00 00 00 00 00", ["invalid"]),
        ("040005FF", "00 00 FF FF 50 00", ["0", "absent", "80"]),
        ("040005FF", "00" * 18, ["0"] * 9),
        ("04000902", "FF", ["255"]),
        ("01010000", "56 34 12 04 03 02 01 26", ["12.3456", "2026-01-02 03:04"]),
        ("01010000", "00 00 00 00 00 00 00 00", ["0.0000", "absent"]),
        ("05060001", "00 00 30 02 26", ["invalid"]),
        ("05060001", "00 00 29 02 24", ["2024-02-29 00:00"]),
        ("05060001", "60 00 01 02 24", ["invalid"]),
        ("04000102", "00 00 00", ["00:00:00"]),
        ("0400010C", "30 15 14 06 21 11 26", ["2026-11-21 w6 14:15:30"]),
        ("04000B01", "99 99", ["absent"]),
        ("04000401", "78 56 34 12 00 00", ["000012345678"]),
        ("04000404", "56 30 2E 30 32 32", ["220.0V"]),
        ("04000404", "32 32 30 56 00 00", ["220V"]),
        ("04000404", "00 00 56 30 32 32", ["220V"]),
        ("04000404", "00 00 00 00 00 00", ["absent"]),
        ("04000404", "56 30 2E 30 32 80", ["invalid"]),
        ("04040101", "00 FF 01 00", ["0001FF00"]),
        ("06010001", "A0 A0 E5", ["A0A0E5"]),
        ("06010001", "", ["absent"]),
    ],
)
def test_values(di: str, data: str, expected: list[str]) -> None:
    assert texts(di, data) == expected


def test_a_value_carries_unit_and_decimals_also_when_it_is_absent() -> None:
    assert item("02010100").decode(b"\xff\xff") == (Value(None, 1, "V", Quality.ABSENT),)
    assert item("00900200").decode(bytes.fromhex("56980100")) == (Value(19856, 2, "yuan"),)


def test_a_record_has_a_value_for_each_field() -> None:
    record = item("03300401")
    data = bytes.fromhex("01000000 301514211126 312514211126")

    shown = {record.label(n): value.text() for n, value in enumerate(record.decode(data))}

    assert shown == {
        "operator": "01000000",
        "before": "2026-11-21 14:15:30",
        "after": "2026-11-21 14:25:31",
    }


@pytest.mark.parametrize(
    ("di", "values", "says"),
    [
        ("00010000", [100_000_000], "value cannot be 100000000; its format is XXXXXX.XX"),
        ("00010000", [-1], "cannot be -1"),
        ("00000000", [80_000_000], "its format is signed XXXXXX.XX"),
        ("00010000", ["1"], "cannot be '1'"),
        ("04000404", ["220.0 V"], "its format is ASCII 6"),
        ("04000404", ["220é"], "its format is ASCII 6"),
        ("05060001", ["2026-02-30 00:00"], "its format is YYMMDDhhmm"),
        ("05060001", ["yesterday"], "cannot be 'yesterday'"),
        ("0201FF00", [1, 2, 3, 4], "takes 1 to 3 group.s. of 1 value.s., not 4"),
        ("01010000", [1], "of 2 value.s., not 1"),
        ("00010000", [], "not 0 value"),
    ],
)
def test_what_a_format_cannot_say_is_refused(
    di: str, values: list[int | str | None], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        item(di).encode(values)


def test_a_wrong_format_is_a_fault_of_the_catalogue() -> None:
    with pytest.raises(ValueError, match=r"unknown DL/T 645 format 'XX\.YY'"):
        _ = Field("XX.YY").size


items = st.sampled_from(ROWS).map(lambda row: item(row["di"]))


@given(found=items, data=st.binary(max_size=60))
def test_any_bytes_become_values(found: Item, data: bytes) -> None:
    values = found.decode(data)

    assert len(values) % len(found.fields) == 0
    assert all((v.amount is None) == (v.quality is not Quality.GOOD) for v in values)


@given(found=items, data=st.data())
def test_what_is_decoded_is_encoded_again(found: Item, data: st.DataObject) -> None:
    """Whatever a meter can say well, a simulated meter can say too, and it means the same."""
    size = found.size(TARIFFS) or data.draw(st.integers(1, 40))
    raw = data.draw(st.binary(min_size=size, max_size=size))
    digits = bytes(byte // 16 % 10 * 16 + byte % 10 for byte in raw)
    values = found.decode(digits)

    assert found.decode(found.encode([value.amount for value in values])) == tuple(
        value
        if value.quality is Quality.GOOD
        else Value(None, value.decimals, value.unit, Quality.ABSENT)
        for value in values
    )
