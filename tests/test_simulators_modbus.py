"""Simulated Modbus meters of every model in config/meters, asked by the real codec."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import modbus, modbus_values
from protocols.base import RefusedError, Reply
from protocols.model import ModbusProfile
from protocols.points import point
from protocols.profile import load
from simulators.household import Household, in_steps
from simulators.line import Line
from simulators.load import Kind
from simulators.modbus_meter import ModbusMeter

METERS = Path(__file__).parent.parent / "config" / "meters"
PROFILES = [
    profile for path in sorted(METERS.glob("*.toml"))
    if isinstance(profile := load(path), ModbusProfile)
]  # fmt: skip
SDM630 = next(profile for profile in PROFILES if profile.name == "eastron-sdm630")
NOW = 1_795_320_000.0


def ask(line: Line, request: modbus.Request, *, tcp: bool = False, number: int = 0) -> bytes:
    codec = modbus.tcp if tcp else modbus.rtu
    [(_, heard)] = line.hear(codec.encode(request, number), NOW)
    reply, used = codec.decode(heard, request, number)
    assert isinstance(reply, Reply)
    assert used == len(heard)
    return reply.data


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("kind", [Kind.SHOP, Kind.SOLAR])
def test_every_point_of_every_model_is_the_customers(profile: ModbusProfile, kind: Kind) -> None:
    house = Household("a", kind=kind, phases=3, daily_wh=40_000)
    line = Line([ModbusMeter(17, house, profile)])
    compared = 0
    for exchange in profile.plan("17", profile.points):
        assert isinstance(exchange.request, modbus.Request)
        for name, value in exchange.values(ask(line, exchange.request)).items():
            amount, meaning = house.value(name, NOW), point(name)
            assert value.text() is not None
            if amount is None or meaning is None:
                continue
            shown = in_steps(name, amount, meaning.unit, meaning.decimals)
            source = profile.sources[name]
            shown = abs(shown) if source.type.startswith("u") else shown
            # A float32 has 24 bits; the register may be coarser than the point.
            step = int(source.meaning.multiplier)
            assert isinstance(value.amount, int)
            assert abs(value.amount - shown) <= max(10, abs(shown) >> 22, step), name
            compared += 1
    assert compared > 0 or profile.name.startswith("external-breaker"), "a breaker measures nothing"


@pytest.mark.parametrize(
    ("function", "register", "count", "values", "meaning"),
    [
        (3, 0x0000, 2, (), "illegal data address"),
        (6, 0x0000, 1, (0,), "illegal function"),
        (16, 0x0000, 2, (0, 0), "illegal function"),
        (4, 0x2000, 2, (), "illegal data address"),
        (4, 0x0000, 80, (), "illegal data address"),
    ],
)
def test_what_it_refuses(
    function: int, register: int, count: int, values: tuple[int, ...], meaning: str
) -> None:
    line = Line([ModbusMeter(1, Household("a", phases=3), SDM630)])

    with pytest.raises(RefusedError, match=meaning):
        ask(line, modbus.Request(1, function, register, count, values))


def test_the_number_of_a_tcp_request_comes_back() -> None:
    line = Line([ModbusMeter(1, Household("a", phases=3), SDM630, tcp=True)])

    data = ask(line, modbus.Request(1, 4, 0, 2), tcp=True, number=0xBEEF)
    assert 198 < modbus_float(data) < 236
    with pytest.raises(RefusedError, match="illegal data address"):
        ask(line, modbus.Request(1, 4, 0x2000, 2), tcp=True, number=7)


def test_another_unit_is_not_answered() -> None:
    line = Line([ModbusMeter(1, Household("a", phases=3), SDM630)])

    assert line.hear(modbus.rtu.encode(modbus.Request(2, 4, 0, 2)), NOW) == []


def modbus_float(data: bytes) -> float:
    value = modbus_values.decode_value(data, "f32")
    assert isinstance(value, float)
    return value


@given(
    profile=st.sampled_from(PROFILES),
    function=st.sampled_from([3, 4]),
    register=st.integers(0, 0x2100),
    count=st.integers(1, 125),
)
def test_every_read_is_data_or_a_refusal(
    profile: ModbusProfile, function: int, register: int, count: int
) -> None:
    line = Line([ModbusMeter(1, Household("a", phases=3), profile)])
    request = modbus.Request(1, function, register, count)
    [(_, heard)] = line.hear(modbus.rtu.encode(request), NOW)

    refusals = [modbus.rtu.encode_exception(request, code) for code in (1, 2)]
    if heard not in refusals:
        reply, _ = modbus.rtu.decode(heard, request)
        assert isinstance(reply, Reply)
        assert len(reply.data) == 2 * count


def test_a_customer_too_big_for_the_registers_is_a_device_failure() -> None:
    class Monster(Household):
        def value(self, point: str, now: float) -> int | None:  # noqa: ARG002
            return 10**60

    line = Line([ModbusMeter(1, Monster("a", phases=3), SDM630)])
    with pytest.raises(RefusedError, match="device failure"):
        ask(line, modbus.Request(1, 4, 0, 2))
