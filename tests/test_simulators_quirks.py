"""What makers' meters do differently, as an area file says it, asked by the real codecs."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from protocols import dlt645, modbus
from protocols.base import RefusedError, Reply
from protocols.dlt645_items import find
from simulators.area import PROFILES, Area, AreaError, build_area, load_area
from simulators.faults import Faults, FaultyLine
from simulators.line import Line
from simulators.meter import MeterClock

NOW = 1_795_320_000.0
ADDRESS = "000000000001"
SINGLE, THREE = "dlt645-2007-single-phase", "dlt645-2007-three-phase"


def area_with(profile: str = SINGLE, address: str = ADDRESS, **quirks: Any) -> Area:
    meter = {"asset": "M1", "profile": profile, "address": address, **quirks}
    return build_area({"line": [{"name": "east", "meter": [meter]}]}, PROFILES, "test")


def asked(area: Area, request: dlt645.Request, now: float = NOW) -> Reply:
    [(_, heard)] = area.lines[0].open().hear(dlt645.encode(request), now, 2400, "E")
    reply, _ = dlt645.decode(heard, request)
    assert isinstance(reply, Reply)
    return reply


def read(area: Area, di: str, now: float = NOW) -> list[int | str | None]:
    item = find(di)
    assert item
    return [v.amount for v in item.decode(asked(area, dlt645.read(ADDRESS, di), now).data)]


def registers(area: Area, point: str, now: float = NOW) -> int | str | None:
    meter = area.meters["M1"]
    [exchange] = meter.profile.plan(meter.address, (point,), frozenset(), 0.001)
    heard = area.lines[0].open().hear(modbus.rtu.encode(exchange.request), now)  # type: ignore[arg-type]
    reply, _ = modbus.rtu.decode(heard[0][1], exchange.request)  # type: ignore[arg-type]
    assert isinstance(reply, Reply)
    return exchange.values(reply.data)[point].amount


def test_a_wildcard_may_stay_in_the_header() -> None:
    request = dlt645.read("AAAAAAAA0001", "00010000")

    assert asked(area_with(), request).address == ADDRESS
    assert asked(area_with(wildcard_header=True), request).address == "AAAAAAAA0001"
    told = asked(area_with(wildcard_header=True), dlt645.read_address())
    assert told.address == ADDRESS, "what it tells is in the data"


@pytest.mark.parametrize(
    ("absent", "others"), [("FF", [None, None]), ("00", [0, 0]), ("short", [])]
)
def test_phases_that_are_not_there(absent: str, others: list[int | None]) -> None:
    voltage, *rest = read(area_with(absent=absent), "0201FF00")

    assert voltage
    assert rest == others


@pytest.mark.parametrize("filler", ["AA", "DD"])
def test_a_filler_ends_a_block_and_not_an_item(filler: str) -> None:
    plain, filled = area_with(THREE), area_with(THREE, filler=filler)
    block, item = dlt645.read(ADDRESS, "0001FF00"), dlt645.read(ADDRESS, "00010000")

    assert asked(filled, block).data == asked(plain, block).data + bytes.fromhex(filler)
    assert read(filled, "0001FF00") == read(plain, "0001FF00")
    assert asked(filled, item).data == asked(plain, item).data


def test_what_a_meter_has_not_it_refuses() -> None:
    area = area_with(refuses=["voltage_l1n"])

    assert read(area, "02020100")
    with pytest.raises(RefusedError, match="no such data"):
        read(area, "02010100")


def test_a_modbus_meter_refuses_every_read_that_touches_the_register() -> None:
    area = area_with("eastron-sdm630", "1", refuses=["voltage_l2n"])

    assert registers(area, "voltage_l1n")
    with pytest.raises(RefusedError, match="error 02H"):
        registers(area, "voltage_l2n")
    several = modbus.rtu.encode(modbus.Request(1, 4, 0, 6))
    assert area.lines[0].open().hear(several, NOW)[0][1][1] == 0x84


def test_a_meter_lives_by_its_own_clock() -> None:
    right, ahead = area_with(), area_with(clock_offset_s=90)

    assert read(right, "0400010C") == ["2026-11-22 w0 12:00:00"]
    assert read(ahead, "0400010C") == ["2026-11-22 w0 12:01:30"]
    for area, energy in ((right, right.truth(NOW)), (ahead, right.truth(NOW + 90))):
        shown = area.truth(NOW)["M1"]["energy_active_import"]
        assert shown == energy["M1"]["energy_active_import"]
        assert isinstance(shown.amount, int)
        assert read(area, "00010000") == [shown.amount // 10_000]
    # Its daily freeze is taken at its own midnight, so it is taken 90 s early.
    midnight = datetime(2026, 11, 21, 16, tzinfo=UTC).timestamp()
    frozen = read(ahead, "05060101", midnight - 60)
    assert frozen[0] == read(ahead, "00010000", midnight - 90)[0]
    assert frozen[0] != read(right, "05060101", midnight - 60)[0]


def test_a_clock_drifts() -> None:
    day = 1_767_225_600.0 + 86_400

    assert MeterClock(0, 100).shows(day) == pytest.approx(day + 8.64)
    assert MeterClock(-5, 0).shows(day) == day - 5


@pytest.mark.parametrize(
    ("profile", "rollover_wh"),
    [(SINGLE, 800_000_000), (SINGLE, 1_000_000_000), ("chint-dtsu666", 4_294_967_296)],
)
def test_a_register_rolls_over(profile: str, rollover_wh: int) -> None:
    address = ADDRESS if profile == SINGLE else "1"
    quirks = {"start_wh": rollover_wh - 6_250_000, "rollover_wh": rollover_wh, "daily_kwh": 9}
    area = area_with(profile, address, **quirks)
    shown = []
    for day in range(100):
        value = area.truth(NOW + day * 86_400.0)["M1"]["energy_active_import"]
        assert isinstance(value.amount, int)
        shown.append(value.amount)

    falls = [(a, b) for a, b in pairwise(shown) if b < a]
    assert len(falls) == 1
    [(before, after)] = falls
    assert 0 < after + rollover_wh * 1000 - before < 2 * 9_000_000
    if profile == SINGLE:
        assert read(area, "00010000", NOW) == [shown[0] // 10_000]


@pytest.mark.parametrize(("profile", "address"), [(SINGLE, ADDRESS), ("eastron-sdm630", "1")])
def test_a_meter_is_swapped(profile: str, address: str) -> None:
    swap = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
    area = area_with(profile, address, swapped_at=swap)
    old, new = (area.truth(at)["M1"]["energy_active_import"] for at in (NOW - 1, NOW + 3600))

    assert isinstance(old.amount, int)
    assert isinstance(new.amount, int)
    assert new.amount < old.amount
    if profile == SINGLE:
        assert read(area, "00010000", NOW - 1) == [old.amount // 10_000]
        assert read(area, "00010000", NOW + 3600) == [new.amount // 10_000]
        assert read(area, "04000402", NOW - 1) == [ADDRESS]
        assert read(area, "04000402", NOW) == ["910000000001"]
        assert read(area, "04000401", NOW) == [ADDRESS]
        assert read(area, "05060101", NOW)[0] is not None, "it was put up at its first midnight"
        assert read(area, "05060102", NOW)[0] is None
    else:
        assert registers(area, "serial_number", NOW - 1) != registers(area, "serial_number", NOW)


def test_an_area_file_takes_quirks_and_faults(tmp_path: Path) -> None:
    path = tmp_path / "area.toml"
    path.write_text(
        '[[line]]\nname = "east"\nfaults = "split=1"\n'
        f'[[line.meter]]\nasset = "M1"\nprofile = "{SINGLE}"\naddress = "{ADDRESS}"\n'
        'absent = "short"\nrefuses = ["frequency"]\nswapped_at = 2026-11-22T12:00:00+08:00\n'
        'clock_drift_ppm = -40\nfaults = "late=0.5"\ndelay_ms = 900\n'
    )
    area = load_area(path)
    line = area.lines[0].open()

    assert isinstance(line, FaultyLine)
    assert line.faults == Faults(split=1)
    assert line.meters == {ADDRESS: Faults(late=0.5)}
    assert area.meters["M1"].successor
    assert area.meters["M1"].successor[0] == NOW
    assert isinstance(area_with().lines[0].open(), Line), "without faults there is nothing between"


@pytest.mark.parametrize(
    ("quirks", "problem"),
    [
        ({"faults": "lat=1"}, "line east, meter M1: faults: unknown fault 'lat'"),
        ({"refuses": ["volts"]}, "line east, meter M1: refuses volts: no points of its model"),
        ({"absent": "AA"}, "line.0.meter.0.absent: "),
        ({"filler": "BB"}, "line.0.meter.0.filler: "),
        ({"swapped_at": datetime(2026, 1, 1)}, "line.0.meter.0.swapped_at: "),  # noqa: DTZ001
    ],
)
def test_quirks_that_do_not_exist(quirks: dict[str, Any], problem: str) -> None:
    with pytest.raises(AreaError) as caught:
        area_with(**quirks)
    assert problem in str(caught.value)
