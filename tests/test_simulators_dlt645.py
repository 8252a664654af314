"""A simulated DL/T 645 meter, asked by the real codec."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645
from protocols import dlt645_load_curve as load_curve
from protocols.base import Quality, RefusedError, Reply
from protocols.dlt645_items import find
from simulators.dlt645_meter import DLT645Meter, Quirks
from simulators.dlt645_old_meter import OldDLT645Meter
from simulators.household import Household, in_steps
from simulators.line import Line
from simulators.load import Kind
from simulators.meter import MeterClock

NOW = 1_795_320_000.0
ADDRESS = "000012345678"


def meter(phases: int = 1, **quirks: object) -> DLT645Meter:
    return DLT645Meter(ADDRESS, Household("a", phases=phases), quirks=Quirks(**quirks))  # type: ignore[arg-type]


def ask(meter: DLT645Meter, request: dlt645.Request, now: float = NOW) -> bytes:
    """The whole answer, follow-ups included."""
    line, data = Line([meter]), b""
    following: dlt645.Request | None = request
    while following:
        [(delay_s, heard)] = line.hear(dlt645.encode(following), now, 2400, "E")
        assert delay_s == meter.delay_s
        reply, used = dlt645.decode(heard, following)
        assert isinstance(reply, Reply)
        assert (reply.address, used) == (ADDRESS, len(heard))
        data += reply.data
        following = dlt645.follow_up(following, reply)
    return data


def read(meter: DLT645Meter, di: str, now: float = NOW) -> list[int | str | None]:
    item = find(di)
    assert item is not None
    values = item.decode(ask(meter, dlt645.read(ADDRESS, di), now))
    assert all(value.quality is not Quality.INVALID for value in values)
    return [value.amount for value in values]


def test_energy_is_cut_to_the_meters_resolution() -> None:
    house = Household("a")
    exact_mwh = house.energies(NOW)["energy_active_import"]

    assert read(meter(), "00010000") == [exact_mwh // 10_000]


@pytest.mark.parametrize(
    ("block", "members"),
    [
        ("0001FF00", ["00010000", "00010100", "00010200", "00010300", "00010400"]),
        ("000100FF", [f"000100{n:02X}" for n in range(13)]),
        ("0101FF00", ["01010000", "01010100", "01010200", "01010300", "01010400"]),
        ("0201FF00", ["02010100", "02010200", "02010300"]),
        ("0202FF00", ["02020100", "02020200", "02020300"]),
        ("0203FF00", ["02030000", "02030100", "02030200", "02030300"]),
        ("0206FF00", ["02060000", "02060100", "02060200", "02060300"]),
        ("040005FF", [f"040005{n:02X}" for n in range(1, 8)]),
        ("009002FF", ["00900200", "00900201"]),
    ],
)
def test_a_block_is_its_items(block: str, members: list[str]) -> None:
    three_phase = meter(phases=3)

    assert read(three_phase, block) == [value for di in members for value in read(three_phase, di)]


def test_absent_phases_are_ff_in_a_block_and_no_such_data_alone() -> None:
    voltages = read(meter(), "0201FF00")

    assert voltages[0] is not None
    assert voltages[1:] == [None, None]
    with pytest.raises(RefusedError, match="no such data") as refused:
        read(meter(), "02010200")
    assert refused.value.permanent


@pytest.mark.parametrize("back", [1, 2, 62])
def test_a_daily_freeze_is_the_register_at_midnight(back: int) -> None:
    house = Household("a")
    midnight = house.midnight(NOW, back)
    assert midnight is not None

    frozen = read(meter(), f"050601{back:02X}")
    assert frozen == read(meter(), "0001FF00", midnight)
    assert read(meter(), f"050600{back:02X}") == [f"{house.local(midnight):%Y-%m-%d %H:%M}"]


def test_days_that_were_not_frozen_are_absent() -> None:
    young = DLT645Meter(ADDRESS, Household("a", installed=date(2026, 11, 20)))

    assert read(young, "05060105") == [None] * 5
    assert read(meter(), "0506003F") == [None]  # 63 days back, the meter keeps 62


def test_clock_and_identity() -> None:
    assert read(meter(), "0400010C") == ["2026-11-22 w0 12:00:00"]
    assert read(meter(), "04000401") == [ADDRESS]


def test_a_plant_shows_negative_power_and_reverse_direction() -> None:
    plant = DLT645Meter(ADDRESS, Household("s", kind=Kind.SOLAR, daily_wh=60_000))
    power_mw = Household("s", kind=Kind.SOLAR, daily_wh=60_000).moment(NOW)["power_active"]

    assert read(plant, "02030000") == [in_steps("power_active", power_mw, "kW", 4)]
    assert power_mw < 0
    assert read(plant, "04000501") == [0x10]
    assert read(plant, "01020000")[0] != 0


@pytest.mark.parametrize("size", [48, 100, 196])
def test_a_long_answer_is_read_on(size: int) -> None:
    whole = ask(meter(phases=3), dlt645.read(ADDRESS, "0506FF01"))
    small = meter(phases=3, data_bytes_max=size)

    assert len(whole) > 200
    assert ask(small, dlt645.read(ADDRESS, "0506FF01")) == whole
    assert ask(small, dlt645.read(ADDRESS, "000100FF")) == ask(
        meter(phases=3), dlt645.read(ADDRESS, "000100FF")
    )


def spoken(meter: DLT645Meter, control: int, data: bytes, address: str = ADDRESS) -> str:
    """The meter's reply to any frame: control code and data in hex."""
    heard = dlt645.encode_frame(dlt645.Frame(address, control, data))
    answers = Line([meter]).hear(heard, NOW)
    if not answers:
        return ""
    frame, _ = dlt645.find_frame(answers[0][1])
    assert frame is not None
    return f"{frame.control:02X} {frame.data.hex().upper()}"


def test_reading_on_needs_the_right_number_and_may_be_repeated() -> None:
    small = meter(data_bytes_max=20)
    di = bytes.fromhex("000100FF")[::-1]

    assert spoken(small, 0x12, di + b"\x01") == "D2 02"
    first = spoken(small, 0x11, di)
    assert first.startswith("B1 ")
    second = spoken(small, 0x12, di + b"\x01")
    assert second.startswith("B2 ")
    assert second.endswith("01")
    assert spoken(small, 0x12, di + b"\x01") == second
    assert spoken(small, 0x12, di + b"\x09") == "D2 02"
    spoken(small, 0x11, bytes.fromhex("00010000")[::-1])
    assert spoken(small, 0x12, di + b"\x01") == "D2 02"


@pytest.mark.parametrize(
    ("control", "data", "address", "expected"),
    [
        (0x13, "", "AAAAAAAAAAAA", "93 785634120000"),
        (0x13, "", ADDRESS, ""),
        (0x11, "00000100", "AAAAAAAA5678", "91"),
        (0x11, "00000100", "AAAAAAAA5679", ""),
        (0x11, "00000100", "999999999999", ""),
        (0x91, "00000100", ADDRESS, ""),
        (0x11, "0000010000", ADDRESS, "D1 01"),
        (0x11, "FFFFFFFF", ADDRESS, "D1 02"),
        (0x14, "00000100", ADDRESS, "D4 04"),
        (0x1C, "", ADDRESS, "DC 04"),
        (0x03, "", ADDRESS, "C3 01"),
        (0x08, "000000010126", "999999999999", ""),
    ],
)
def test_what_it_says_to_other_frames(control: int, data: str, address: str, expected: str) -> None:
    assert spoken(meter(), control, bytes.fromhex(data), address).startswith(expected)
    if not expected:
        assert spoken(meter(), control, bytes.fromhex(data), address) == ""


def test_a_meter_without_blocks_refuses_them_all() -> None:
    simple = meter(blocks=False)

    assert read(simple, "00010000") == read(meter(), "00010000")
    with pytest.raises(RefusedError, match="no such data"):
        read(simple, "0001FF00")


def test_as_many_wake_up_bytes_as_wished() -> None:
    request = dlt645.encode(dlt645.read(ADDRESS, "00010000"))
    for preamble in (0, 2, 7):
        [(_, heard)] = Line([meter(preamble=preamble)]).hear(request, NOW)
        assert len(heard) - len(heard.lstrip(b"\xfe")) == preamble


@given(control=st.integers(0, 255), data=st.binary(max_size=20), phases=st.sampled_from([1, 3]))
def test_any_frame_is_answered_by_a_good_frame_or_not_at_all(
    control: int, data: bytes, phases: int
) -> None:
    answer = spoken(meter(phases), control, data)

    assert answer == "" or int(answer[:2], 16) & 0x80


@given(st.sampled_from(["00", "01", "02", "04", "05"]), st.binary(min_size=3, max_size=3))
def test_every_identifier_of_the_common_groups_is_data_or_a_refusal(
    group: str, rest: bytes
) -> None:
    answer = spoken(meter(3), 0x11, rest[::-1] + bytes.fromhex(group))

    assert answer[:2] in ("91", "B1", "D1")


def test_the_load_curve_is_what_the_registers_showed_at_each_quarter() -> None:
    at = datetime.fromisoformat("2026-11-21T10:00")
    house, request = Household("a"), load_curve.read_from(ADDRESS, 4, at, 3)

    records = load_curve.decode(ask(meter(), request))

    assert [one.at.text() for one in records] == [f"2026-11-21 10:{m}" for m in ("00", "15", "30")]
    for n, record in enumerate(records):
        moment = datetime(2026, 11, 21, 2, 15 * n, tzinfo=UTC).timestamp()
        exact_mwh = house.energies(moment)["energy_active_import"]
        assert record.values["energy_active_import"].amount == exact_mwh // 10_000
        assert set(record.values) == {field.name for field in load_curve.ENERGIES}


def test_a_load_curve_ends_at_the_present_and_begins_forty_days_ago() -> None:
    local = Household("a").local(NOW)
    late = load_curve.read_from(ADDRESS, 4, local - timedelta(minutes=20), 6)
    early = load_curve.read_from(ADDRESS, 4, local - timedelta(days=300), 2)
    future = load_curve.read_from(ADDRESS, 4, local + timedelta(days=1), 2)

    assert [one.at.text() for one in load_curve.decode(ask(meter(), late))] == [
        "2026-11-22 11:45", "2026-11-22 12:00",
    ]  # fmt: skip
    [first, _] = load_curve.decode(ask(meter(), early))
    assert first.at.text() == "2026-10-13 12:15"
    oldest = load_curve.decode(ask(meter(), load_curve.read_oldest(ADDRESS, 4, 1)))
    assert oldest == (first,)
    assert ask(meter(), future) == b""
    [newest] = load_curve.decode(ask(meter(), load_curve.read_newest(ADDRESS, 4)))
    assert newest.at.text() == "2026-11-22 12:00"


def test_a_meter_may_keep_no_load_curve() -> None:
    with pytest.raises(RefusedError, match="no such data"):
        ask(meter(load_curve=False), load_curve.read_newest(ADDRESS, 4))


@pytest.mark.parametrize("model", [DLT645Meter, OldDLT645Meter])
def test_a_broadcast_time_is_obeyed_once_a_day_and_within_five_minutes(
    model: type[DLT645Meter] | type[OldDLT645Meter],
) -> None:
    device = model(ADDRESS, Household("one"), clock=MeterClock(offset_s=200.0))

    def tell(now: float, off_s: float = 0.0, address: str = dlt645.BROADCAST) -> float:
        """How far the clock is ahead after it was told a time."""
        local = datetime.fromtimestamp(now + off_s, UTC) + timedelta(hours=8)
        data = bytes.fromhex(f"{local:%S%M%H%d%m%y}")
        frame = dlt645.encode_frame(dlt645.Frame(address, dlt645.BROADCAST_TIME, data))
        device_line = Line([device])
        assert device_line.hear(frame, now) == []
        return device.clock.shows(now) - now

    now = float(int(NOW))
    assert tell(now, off_s=-101) == 200
    assert tell(now, off_s=501) == 200
    assert tell(now) == 0
    assert tell(now + 60, off_s=30) == 0
    assert tell(now + 86_400, off_s=30) == 30
