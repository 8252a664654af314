"""What Modbus profiles say beyond numbers: marks for no value, texts, times, signs, likeness."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.base import Quality, RequestError
from protocols.exchanges import DIRECT, RegisterSource
from protocols.identify import recognised
from protocols.modbus_identity import reply_data
from protocols.modbus_texts import decode_text, encode_text
from protocols.modbus_values import Order, encode_value
from protocols.model import ModbusProfile
from protocols.profile import ProfileError, load, parse

METERS = Path(__file__).parent.parent / "config" / "meters"
MODELS = [
    model
    for path in sorted(METERS.glob("*.toml"))
    if isinstance(model := load(path), ModbusProfile)
]
HEAD = """
model = "M1"
manufacturer = "Maker"
protocol = "modbus"
default_points = ["voltage_l1n"]
line = { baud = 9600, parity = "N", stop_bits = 1 }
"""


def profile(points: str, tables: str = "") -> ModbusProfile:
    made = parse(f"{HEAD}{tables}\n[points]\n{points}\n".encode(), "m1")
    assert isinstance(made, ModbusProfile)
    return made


def problems(points: str, tables: str = "") -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        profile(points, tables)
    return caught.value.problems


def source(entry: str, tables: str = "") -> RegisterSource:
    return profile(f"voltage_l1n = 0\n{entry}", tables).sources[entry.partition(" ")[0]]


def quality(entry: str, data: str, tables: str = "") -> Quality:
    return source(entry, tables).decode(bytes.fromhex(data), DIRECT).quality


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_zero_is_never_absent(model: ModbusProfile) -> None:
    for name, each in model.sources.items():
        if each.text_registers:
            continue
        value = each.decode(bytes(2 * len(each.span)), DIRECT)
        assert value.quality is Quality.GOOD, name
        assert value.amount == 0 or isinstance(value.amount, str)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@given(data=st.data())
def test_no_bytes_of_any_model_raise_anything(model: ModbusProfile, data: st.DataObject) -> None:
    each = data.draw(st.sampled_from(list(model.sources.values())))
    size = 2 * len(each.span)
    value = each.decode(data.draw(st.binary(min_size=size, max_size=size)), DIRECT)

    assert (value.amount is None) == (value.quality is not Quality.GOOD)


def test_every_mark_for_no_value_is_a_pattern_of_bits() -> None:
    several = "current_l1 = { register = 2, type = 'i16', absent = [0x8000, 0x7FFF, -3] }"
    assert [quality(several, data) for data in ("8000", "7FFF", "FFFD", "FFFF", "0000")] == [
        Quality.ABSENT, Quality.ABSENT, Quality.ABSENT, Quality.GOOD, Quality.GOOD,
    ]  # fmt: skip
    bcd = "current_l1 = { register = 2, type = 'bcd32', absent = 0xFFFFFFFF }"
    assert quality(bcd, "FFFFFFFF") is Quality.ABSENT
    assert quality(bcd, "FFFF0000") is Quality.INVALID
    swapped = "current_l1 = { register = 2, type = 'i32', absent = 0x7FFFFFFF }"
    assert quality(swapped, "FFFF7FFF", "modbus = { word_order = 'little' }") is Quality.ABSENT


def test_marks_of_a_type_hold_for_its_points_unless_they_have_their_own() -> None:
    table = "modbus = { absent = { u16 = 0xFFFF, u64 = -1, f32 = 'nan' } }"
    assert quality("current_l1 = 2", "FFFF", table) is Quality.ABSENT
    assert quality("current_l1 = { register = 2, absent = [] }", "FFFF", table) is Quality.GOOD
    assert quality("current_l1 = { register = 2, type = 'u64' }", "FF" * 8, table) is Quality.ABSENT
    number = "current_l1 = { register = 2, type = 'f32' }"
    assert quality(number, "7FC00000", table) is Quality.ABSENT
    assert quality(number, "7FC00000") is Quality.INVALID


@given(st.floats(-1, 1).filter(lambda factor: factor != 0), st.booleans())
def test_a_folded_power_factor_keeps_size_and_direction(factor: float, leading: bool) -> None:
    raw = math.copysign(2, factor) - factor if leading else factor
    entry = source("power_factor = { register = 2, type = 'f64', folded = true }")

    value = entry.decode(encode_value(raw, "f64"), DIRECT)

    assert isinstance(value.amount, int)
    assert abs(value.amount - 10_000 * factor) <= 0.6


@pytest.mark.parametrize(
    ("type_name", "data", "text"),
    [
        ("ascii", "42 31 2E 32 32 20 00 00", "B1.22"),
        ("ascii", "00 53 00 4F 00 43 00 4F", "SOCO"),
        ("ascii", "00 00 00 00", ""),
        ("ascii", "FF FF", None),
        ("ascii", "41 0A", None),
        ("hex", "FF00 2611", "FF002611"),
        ("ymdhms", "1A 0B 15 16 08 17", "2026-11-21T22:08:23"),
        ("ymdhms", "1A 0D 15 16 08 17", None),
        ("ymdwhms", "1A 0B 15 06 16 08 17 00", "2026-11-21T22:08:23"),
        ("ymdwhms", "1A 0B 15", None),
    ],
)
def test_texts(type_name: str, data: str, text: str | None) -> None:
    assert decode_text(bytes.fromhex(data), type_name) == text


@pytest.mark.parametrize(
    ("type_name", "text", "registers"),
    [
        ("ascii", "iEM3155", 20),
        ("hex", "FF002611", 2),
        ("ymdhms", "2026-11-21T22:08:23", 3),
        ("ymdwhms", "2026-11-21T22:08:23", 4),
    ],
)
def test_texts_come_back(type_name: str, text: str, registers: int) -> None:
    orders: list[Order] = ["big", "little"]
    for order in orders:
        data = encode_text(text, type_name, registers, order)
        assert len(data) == 2 * registers
        assert decode_text(data, type_name, order) == text
    with pytest.raises(RequestError):
        encode_text("äöü" * 20, type_name, registers)


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ("voltage_l1n = { register = 0, type = 'ascii', registers = 4 }",
         "points.voltage_l1n.type: ascii is a text, voltage_l1n a number or names"),
        ("meter_model = { register = 4, type = 'ascii' }",
         ("points.meter_model.registers: 0; ascii and hex need a number of registers, others"
          " none")),
        ("power_factor = { register = 4, folded = true }",
         "points.power_factor.folded: u16 has no four quadrants; write type f32"),
        ("current_l1 = { register = 4, absent = ['nan'] }",
         "points.current_l1.absent: nan is no raw number of type u16"),
        ("current_l1 = { register = 4, absent = [1, 65536] }",
         "points.current_l1.absent: 65536 is no raw number of type u16"),
        ("meter_time = { register = 4, type = 'ymdhms', absent = 0 }",
         "points.meter_time.absent: 0 is no raw number of type ymdhms"),
    ],
)  # fmt: skip
def test_mistakes_in_points(points: str, problem: str) -> None:
    assert problem in problems(points if "voltage_l1n" in points else f"voltage_l1n = 0\n{points}")


@pytest.mark.parametrize(
    ("sign", "problem"),
    [
        ("values = [1]", "register: name either a register or an object of function 43"),
        ("register = 1\nobject = 0\nvalues = [1]", "register: name either a register or an object"),
        ("register = 1", "values: say in one way what it must be"),
        ("register = 1\nvalues = [1]\nunit = true", "values: say in one way what it must be"),
        ("register = 1\nbetween = [2, 1]", "between: [2, 1] must be the lowest and the highest"),
        ("register = 1\ntext = 'x'", "text: belongs to an object, or to a register of type ascii"),
        ("object = 1\nvalues = [3]", "text: belongs to an object, or to a register of type ascii"),
        ("register = 1\ntype = 'ascii'\ntext = 'x'", "registers: 0 does not go with type ascii"),
        ("register = 1\nbits = [1, 3]\nvalues = [1]", "bits: [1, 3] must be neighbours"),
        ("register = 1\ntype = 'i16'\nbits = [1]\nvalues = [1]", "bits: i16 has no bits to choose"),
    ],
)
def test_mistakes_in_signs(sign: str, problem: str) -> None:
    found = problems("voltage_l1n = 0", f"[[identify]]\n{sign}")
    assert any(each.startswith(f"identify[0].{problem}") for each in found), found
    assert problems("voltage_l1n = 0", "[[identify]]\nregistre = 1")[0].startswith(
        "identify[0].registre: unknown key; did you mean 'register"
    )


@given(st.binary(max_size=60))
def test_no_bytes_make_a_sign_raise_anything(data: bytes) -> None:
    for model in MODELS:
        for sign in model.signs:
            assert sign.holds(1, data) in (True, False)


def test_a_model_is_known_by_all_of_its_signs() -> None:
    iem = next(model for model in MODELS if model.name == "schneider-iem3155")
    maker, name = (sign.request(7) for sign in iem.signs)
    told = reply_data({0: "Schneider Electric"}, 4, 0) or b""
    answers = {maker: told, name: b"iEM3155".ljust(40, b"\0")}

    assert recognised(iem.signs, 7, answers)
    assert not recognised(iem.signs, 7, answers | {name: b"PM5110".ljust(40, b"\0")})
    assert not recognised(iem.signs, 7, {maker: told})
    assert not recognised(iem.signs, 7, answers | {maker: told[:-1]})
    assert not recognised((), 7, {})


def variant(folder: Path, text: str) -> ModbusProfile:
    (folder / "mine.toml").write_text(text)
    made = load(folder / "mine.toml")
    assert isinstance(made, ModbusProfile)
    return made


def test_a_variant_has_what_it_does_not_say_from_the_model_it_is_like(tmp_path: Path) -> None:
    like = 'like = "eastron-sdm120"\nwithout = ["energy_reactive_total"]\nmodel = "Mine"\n'
    mine = variant(tmp_path, like + "[line]\nbaud = 19200\n[points]\nphase_angle = 0x24\n")
    base = load(METERS / "eastron-sdm120.toml")

    assert (mine.model, mine.manufacturer, mine.line.baud) == ("Mine", "Eastron", 19_200)
    assert mine.line.guard_ms == base.line.guard_ms
    assert set(mine.points) == {*base.points, "phase_angle"} - {"energy_reactive_total"}
    assert base.line.baud == 2400


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('like = "nobody"', "like: no model is called 'nobody'; write the name of a file"),
        ('like = "../sdm"', "like: no model is called '../sdm'"),
        ("like = 3.5", "like: no model is called"),
        ('like = "eastron-sdm230"',
         "like: 'eastron-sdm230' is itself like 'eastron-sdm120'; write that one"),
        ('like = "eastron-sdm120"\nwithout = ["balance"]',
         "without: 'balance' is not in the [points] of eastron-sdm120"),
        ('like = "eastron-sdm120"\nwithout = [[1]]', "without: [1] is not in the [points]"),
    ],
)  # fmt: skip
def test_mistakes_in_variants(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        variant(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}: {problem}")


def test_a_dlt645_meter_has_no_signs_and_without_needs_a_model() -> None:
    dlt645 = HEAD.replace('"modbus"', '"dlt645-2007"') + "identify = []\n[points]\n"
    with pytest.raises(ProfileError, match="identify: a dlt645-2007 meter is known by its address"):
        parse(f'{dlt645}voltage_l1n = "02010100"'.encode(), "m1")
    with pytest.raises(ProfileError, match="like: no model is called None"):
        parse(f'{HEAD}without = ["balance"]\n[points]\nvoltage_l1n = 0'.encode(), "m1")
