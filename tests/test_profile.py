"""Profile files: what a good one becomes, and what is said about every mistake in a bad one."""

import contextlib
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645, dlt645_1997, dlt645_load_curve, modbus
from protocols.base import Quality, RequestError, Value
from protocols.exchanges import ItemSource, Ratio
from protocols.model import Dlt645Profile, ModbusProfile
from protocols.profile import SHIPPED, Profile, ProfileError, load, parse

METERS = Path(__file__).parent.parent / "config" / "meters"
MODELS = sorted(METERS.glob("*.toml"))
GOLDEN = Path(__file__).parent / "golden"

HEAD = """
model = "M1"
manufacturer = "Maker"
protocol = "{}"
default_points = ["{}"]
[line]
baud = 9600
parity = "N"
stop_bits = 1
"""


def modbus_profile(points: str, table: str = "", default: str = "voltage_l1n") -> Profile:
    text = HEAD.format("modbus", default) + f"[modbus]\n{table}\n[points]\n{points}\n"
    return parse(text.encode(), "m1")


def dlt645_profile(points: str, table: str = "", default: str = "voltage_l1n") -> Profile:
    text = HEAD.format("dlt645-2007", default) + f"[dlt645]\n{table}\n[points]\n{points}\n"
    return parse(text.encode(), "m1")


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "m1", "meters/m1.toml")
    assert str(caught.value) == "\n".join(f"meters/m1.toml: {p}" for p in caught.value.problems)
    return caught.value.problems


def test_a_file_becomes_a_profile() -> None:
    profile = load(METERS / "eastron-sdm630.toml")

    assert isinstance(profile, ModbusProfile)
    assert (profile.name, profile.protocol) == ("eastron-sdm630", "modbus")
    assert (profile.line.baud, profile.line.parity, profile.line.guard_ms) == (9600, "N", 100)
    assert profile.line.character_s == 10 / 9600
    assert profile.unknown(["voltage_l1n", "balance"]) == ("balance",)
    assert profile.codec() is modbus.rtu
    assert profile.codec(tcp=True) is modbus.tcp
    assert load(METERS / "dlt645-2007-single-phase.toml").codec() is dlt645


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_delivered_profile_is_good(path: Path) -> None:
    profile = load(path)

    assert len(profile.points) == len(set(profile.points)) >= len(profile.default_points)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_identifiers_stand_behind_the_names_that_the_catalogue_gives_them(path: Path) -> None:
    profile = load(path)
    sources = profile.sources if isinstance(profile, Dlt645Profile) else {}

    plain = {
        name: source.item.point
        for name, source in sources.items()
        if source.number == 0 and source.meaning.bits is None
    }
    assert all(name == point for name, point in plain.items()), plain
    assert bool(plain) == isinstance(profile, Dlt645Profile)


def test_addresses() -> None:
    modbus_meter = modbus_profile("voltage_l1n = 0")
    dlt645_meter = dlt645_profile('voltage_l1n = "02010100"')

    assert modbus_meter.check_address("247") is None
    assert dlt645_meter.check_address("000012345678") is None
    for wrong in ("0", "248", "1.5", "", "०१"):
        assert modbus_meter.check_address(wrong) == (
            f"{wrong!r} is no Modbus unit; write a number from 1 to 247"
        )
    for wrong in ("12345678", "00001234567A", "१२३४५६७८९०१२"):
        assert dlt645_meter.check_address(wrong) == (
            f"{wrong!r} is no DL/T 645 address; write its 12 digits, with leading zeros"
        )


def test_a_plan_for_what_cannot_be_asked_is_refused() -> None:
    profile = modbus_profile("voltage_l1n = 0")

    with pytest.raises(RequestError, match="M1 has no point balance, power_active; see m1"):
        profile.plan("1", ["voltage_l1n", "balance", "power_active"])
    with pytest.raises(RequestError, match="'300' is no Modbus unit"):
        profile.plan("300", ["voltage_l1n"])


def test_every_mistake_is_reported_at_once() -> None:
    broken = (GOLDEN / "broken-profile.toml").read_bytes()

    assert "\n".join(problems(broken)) + "\n" == (GOLDEN / "broken-profile.txt").read_text()


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ("voltage_l1n = { register = 0xFFFF, type = 'f32' }",
         "points.voltage_l1n.register: f32 takes 2 registers, 65535 is the last"),
        ("voltage_l1n = { register = 0, type = 'f64' }",
         ("points.voltage_l1n.type: f64 takes 4 registers; a read has at most"
         " modbus.max_registers = 3")),
        ("voltage_l1n = { register = 0, type = 'i16', bits = [1] }",
         "points.voltage_l1n.bits: i16 has no bits to choose; write type u16 or u32"),
        ("voltage_l1n = { register = 0, bits = [1, 3] }",
         "points.voltage_l1n.bits: [1, 3] must be neighbours, lowest first, below 16"),
        ("voltage_l1n = { register = 0, bits = [16] }",
         "points.voltage_l1n.bits: [16] must be neighbours, lowest first, below 16"),
        ("voltage_l1n = { register = 0, names = ['low', 'high'] }",
         "points.voltage_l1n.names: voltage_l1n is a number; leave the names out"),
        ("voltage_l1n = 0\nrelay_state = { register = 1, names = ['on', 'off'] }",
         ("points.relay_state.names: 'on' or 'off' is not what relay_state can be; write 'closed'"
         " or 'tripped'")),
        ("voltage_l1n = 0\nrelay_state = 1",
         ("points.relay_state.names: no name is not what relay_state can be; write 'closed' or"
         " 'tripped'")),
        (("voltage_l1n = 0\nprepay_mode = { register = 1, bits = [0],"
         " names = ['none', 'energy', 'money'] }"),
         "points.prepay_mode.names: 3 names, but 1 bit(s) count to 2"),
        ("voltage_l1n = { register = 0, absent = 70000 }",
         "points.voltage_l1n.absent: 70000 is no raw number of type u16"),
        ("voltage_l1n = { register = 0, type = 'f32', absent = 0 }",
         "points.voltage_l1n.absent: 0 is no raw number of type f32"),
        ("voltage_l1n = '02010100'",
         ("points.voltage_l1n.register: '02010100' must be a valid integer; it is the first"
         " register as on the wire, from 0")),
    ],
)  # fmt: skip
def test_mistakes_in_modbus_points(points: str, problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        modbus_profile(points, "max_registers = 3")

    assert caught.value.problems == (problem,)


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ("voltage_l1n = '020101'",
         ("points.voltage_l1n.di: '020101' must match pattern '^([0-9A-Fa-f]{4}){1,2}$'; it"
         " is the data identifier as printed, like \"00010000\" (1997: \"9010\")")),
        ("voltage_l1n = 'FFFFFFFF'",
         ("points.voltage_l1n.di: 'FFFFFFFF' is no data identifier of DL/T 645-2007; write its 4"
         " bytes as printed, DI3 first")),
        ("voltage_l1n = 'B611'",
         ("points.voltage_l1n.di: 'B611' is no data identifier of DL/T 645-2007; write its 4"
          " bytes as printed, DI3 first")),
        ("voltage_l1n = '02030000'",
         "points.voltage_l1n.unit: 'kW' cannot become 'V'; write 'mV' or 'V' or 'kV' or 'MV'"),
        ("voltage_l1n = { di = '02010100', bits = [0] }",
         "points.voltage_l1n.bits: 02010100 (voltage, phase A) is no bit mask; leave bits out"),
        ("voltage_l1n = '02010100'\nvoltage_l2n = '02010100'",
         "points.voltage_l2n: reads the same value as voltage_l1n; give each its own"),
        ("voltage_l1n = '04000102'",
         ("points.voltage_l1n: 04000102 (time of day) is a text, voltage_l1n a number,"
          " bits or names; choose another identifier or point")),
    ],
)  # fmt: skip
def test_mistakes_in_dlt645_points(points: str, problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        dlt645_profile(points)

    assert caught.value.problems == (problem,)


def test_a_field_that_the_item_does_not_have() -> None:
    with pytest.raises(ProfileError, match=r"field: 3 does not exist; 05060101 .* values 0 to 2"):
        dlt645_profile("voltage_l1n = { di = '05060101', field = 3 }", "tariffs = 2")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"model = ", "not valid TOML: Invalid value (at end of document)"),
        (b"model = '\xff'", "byte 9 is not UTF-8; save the file as UTF-8"),
        (b"a = " + b"9" * 5000, "a number in it cannot be read: Exceeds the limit"),
        (b"a = 1e99999999999999999999", "a number in it cannot be read: "),
        (b"a = " + b"[" * 5000, "its brackets are nested too deep"),
        (b"", "model: missing; write the model as on its label"),
    ],
)
def test_what_is_no_profile_at_all(data: bytes, problem: str) -> None:
    assert problems(data)[0].startswith(problem)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"m2\.toml: cannot be read: No such file"):
        load(tmp_path / "m2.toml")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_profile_error(data: bytes) -> None:
    with pytest.raises(ProfileError):
        parse(data, "noise")


ODD = st.sampled_from([
    "0", "-1", "99999", "''", "'modbus'", "'dlt645-2007'", "true", "1.5", "1e400", "inf", "nan",
    "[]", "[[1]]", "[1, 2]", "['voltage_l1n']", "{}", "{ a = 1 }", "1979-05-27", "'02010100'",
    "{ register = 1, bits = [63] }", "{ di = '05060101', field = 4 }", "['x', 1]", "'f32'",
    "{ register = 3, type = 'f64', scale = -1e-9, unit = 'kV', absent = 1 }",
])  # fmt: skip
TABLES = {
    "": ("model", "manufacturer", "protocol", "default_points"),
    "line": ("baud", "parity", "stop_bits", "timeout_ms"),
    "modbus": ("function", "type", "byte_order", "max_registers", "readable"),
    "dlt645": ("tariffs", "blocks"),
    "points": ("voltage_l1n", "relay_state", "energy_active_import", "x"),
}


@given(st.data())
def test_no_value_of_any_key_raises_anything_but_a_profile_error(data: st.DataObject) -> None:
    lines = [f'protocol = "{data.draw(st.sampled_from(["modbus", "dlt645-2007", "x"]))}"']
    for table, keys in TABLES.items():
        lines += [f"[{table}]"] if table else []
        chosen = data.draw(st.lists(st.sampled_from(keys), unique=True))
        lines += [f"{key} = {data.draw(ODD)}" for key in chosen if key != "protocol"]

    with contextlib.suppress(ProfileError):
        profile = parse("\n".join(lines).encode(), "odd")
        assert profile.points


def test_ratios_scale_what_stands_behind_transformers() -> None:
    profile = dlt645_profile(
        'voltage_l1n = "02010100"\ncurrent_l1 = "02020100"\npower_active = "02030000"\n'
        'energy_active_import = { di = "00010000", primary = true }\nfrequency = "02800002"'
    )
    replies = {
        "voltage_l1n": "7705",
        "current_l1": "341200",
        "power_active": "560080",
        "energy_active_import": "01000000",
        "frequency": "0050",
    }
    ratio = Ratio(ct=Fraction(200), pt=Fraction(35000, 380))

    values: dict[str, Value] = {}
    for exchange in profile.plan("000000000001", list(replies)):
        values |= exchange.values(bytes.fromhex(replies[exchange.points[0]]), ratio)

    assert {name: value.text() for name, value in values.items()} == {
        "voltage_l1n": "5314.474",  # 57.7 V x 35000 / 380
        "current_l1": "246.8000",
        "power_active": "-103157.89",  # -0.0056 kW x 200 x 35000 / 380
        "energy_active_import": "0.010",
        "frequency": "50.000",
    }


def test_a_reply_that_is_too_short_leaves_points_absent_or_invalid() -> None:
    profile = dlt645_profile(
        'energy_active_import = "00010000"\nenergy_active_import_t1 = "00010100"',
        default="energy_active_import",
    )
    (exchange,) = profile.plan("000000000001", profile.points)

    def qualities(data: str) -> list[Quality]:
        return [value.quality for value in exchange.values(bytes.fromhex(data)).values()]

    assert exchange.key == "0001FF00"
    assert qualities("78563412" + "FFFFFFFF") == [Quality.GOOD, Quality.ABSENT]
    assert qualities("78563412") == [Quality.GOOD, Quality.ABSENT]
    assert qualities("785634") == [Quality.INVALID] * 2
    assert qualities("") == [Quality.ABSENT] * 2


def test_numbers_of_registers_become_values() -> None:
    profile = modbus_profile(
        "voltage_l1n = { register = 0, scale = 0.1 }\n"
        "current_l1 = { register = 1, type = 'i16', unit = 'mA', absent = -1 }\n"
        "energy_active_import = { register = 2, type = 'u64', unit = 'Wh' }\n"
        "frequency = { register = 6, type = 'f32' }\n"
        "relay_state = { register = 8, bits = [2], names = ['closed', 'tripped'] }\n"
        "arrears = { register = 8, bits = [5] }\n"
        "prepay_mode = { register = 9, names = ['none', 'energy'] }\n"
        "serial_number = { register = 10, type = 'u32' }\n"
    )

    def read(data: str) -> list[str | None]:
        (exchange,) = profile.plan("1", profile.points)
        return [value.text() for value in exchange.values(bytes.fromhex(data)).values()]

    assert read("08FD FF9C 000000000001E240 42480000 0024 0001 00BC614E") == [
        "230.100", "-0.1000", "123.456", "50.000", "tripped", "1", "energy", "12345678",
    ]  # fmt: skip
    assert read("08FD FFFF FFFFFFFFFFFFFFFF 7FC00000 0000 0002 00000000") == [
        "230.100", None, None, None, "closed", "0", None, "0",
    ]  # fmt: skip
    assert read("08FD") == [None] * 8


def test_what_a_simulated_meter_encodes_is_read_back() -> None:
    profile = load(METERS / "chint-dtsu666.toml")
    assert isinstance(profile, ModbusProfile)
    source = profile.sources["power_active"]

    assert source.decode(source.encode(-123456), Ratio()).text() == "-1234.56"
    assert source.function == 3
    assert not isinstance(source, ItemSource)


def old_profile(points: str, table: str = "") -> Profile:
    text = HEAD.format("dlt645-1997", "voltage_l1n") + f"[dlt645]\n{table}\n[points]\n{points}\n"
    return parse(text.encode(), "m1")


def asked(profile: Profile, address: str) -> tuple[str, str]:
    exchange, *_ = profile.plan(address, ["voltage_l1n"])
    return str(exchange.request.address), str(exchange.request)


def test_a_meter_of_1997_is_asked_in_its_own_words() -> None:
    profile = old_profile("voltage_l1n = 'B611'")

    assert profile.protocol == "dlt645-1997"
    assert profile.codec() is dlt645_1997
    assert asked(profile, "000012345678") == ("000012345678", "read B611")


@pytest.mark.parametrize(
    ("address", "padded"),
    [
        ("000012345678", "AAAA12345678"),
        ("120000000078", "120000000078"),
        ("010000000078", "010000000078"),
        ("000000000078", "AAAAAAAAAA78"),
        ("000000000000", "AAAAAAAAAA00"),
    ],
)
def test_a_short_number_is_padded_as_the_model_wants_it(address: str, padded: str) -> None:
    assert asked(old_profile("voltage_l1n = 'B611'", "padding = 'AA'"), address)[0] == padded
    assert asked(dlt645_profile("voltage_l1n = '02010100'", "padding = 'AA'"), address)[0] == padded


def test_a_meter_may_have_other_digits_behind_the_point() -> None:
    profile = old_profile("voltage_l1n = { di = 'B611', decimals = 1 }")
    exchange, *_ = profile.plan("000012345678", ["voltage_l1n"])

    assert exchange.values(bytes.fromhex("3022"))["voltage_l1n"].text() == "223.000"


def test_an_identifier_of_2007_is_none_of_1997() -> None:
    with pytest.raises(ProfileError) as caught:
        old_profile("voltage_l1n = '02010100'")

    (problem,) = caught.value.problems
    assert "'02010100' is no data identifier of DL/T 645-1997; write its 2 bytes" in problem


def test_a_load_curve_is_planned_where_the_model_keeps_one() -> None:
    at = datetime.fromisoformat("2026-01-02T03:15")
    energy = ("energy_active_import", "energy_active_export")
    new, old, modbus = (
        load(SHIPPED / f"{name}.toml")
        for name in ("dlt645-2007-three-phase", "dlt645-1997-single-phase", "eastron-sdm630")
    )

    exchange = new.plan_curve("000000000001", energy, at, 6)

    assert exchange is not None
    assert (exchange.key, exchange.points) == ("06040001", energy)
    newest = new.plan_curve("000000000001", energy, None, 1)
    assert newest is not None
    assert newest.key == "06040002"
    assert new.plan_curve("000000000001", ("voltage_l1n",), at, 6) is None
    assert old.plan_curve("000000000001", energy[:1], at, 6) is None
    assert modbus.plan_curve("1", energy, at, 6) is None


def test_a_record_of_a_load_curve_becomes_points_behind_transformers() -> None:
    at = datetime.fromisoformat("2026-01-02T03:15")
    profile = load(SHIPPED / "dlt645-2007-three-phase.toml")
    exchange = profile.plan_curve("000000000001", ("energy_active_import",), at, 1)
    assert exchange is not None
    data = dlt645_load_curve.encode(at, {"energy_active_import": 12_345})

    [moment, bad] = exchange.moments(data + data[:-2] + b"\x00\xe5", Ratio(ct=Fraction(50)))

    assert (moment.at, moment.problem) == (at, "")
    assert moment.values["energy_active_import"].text() == "6172.500"
    assert (bad.values, "checksum" in bad.problem) == ({}, True)
    assert exchange.moments(dlt645_load_curve.encode(at, {}))[0].values == {}
