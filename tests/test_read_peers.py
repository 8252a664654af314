"""``taiqu read`` with new profiles against pymodbus's server: nothing but the profile is ours."""

import asyncio
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.technician.cli import main

DEADLINE_S = 20
UNIT = 7
SCHEMES = {"tcp": FramerType.SOCKET, "socket": FramerType.RTU}
PROTOCOLS = {"tcp": "modbus-tcp", "socket": "modbus-rtu"}

TOY = """
model = "Toy 1"
manufacturer = "Toymaker"
protocol = "modbus"
default_points = ["voltage_l1n", "energy_active_import"]

[line]
baud = 9600
parity = "N"
stop_bits = 1

[modbus]
function = 4

[points]
voltage_l1n = { register = 0x0010, scale = 0.1 }
energy_active_import = { register = 0x0020, type = "u32", unit = "Wh" }
meter_model = { register = 0x0030, type = "ascii", registers = 4 }
"""


def filled(*values: SimData) -> list[SimData]:
    """The values, with zeros in the gaps between them."""
    sizes = {DataType.UINT16: 1, DataType.INT16: 1, DataType.INT64: 4, DataType.UINT64: 4}
    found: list[SimData] = []
    free = values[0].address
    for value in values:
        if value.address > free:
            gap = value.address - free
            found.append(SimData(free, values=[0] * gap, datatype=DataType.REGISTERS))
        found.append(value)
        words = len(value.values) if isinstance(value.values, list) else 1
        free = value.address + words * sizes.get(value.datatype, 2)
    return found


@contextmanager
def pymodbus_meter(scheme: str, data: list[SimData]) -> Iterator[str]:
    """A server in a thread of its own; gives the URL for ``--port``."""
    ports: queue.Queue[int] = queue.Queue()
    loop, done = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        device = SimDevice(UNIT, data)
        server = ModbusTcpServer(device, framer=SCHEMES[scheme], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert isinstance(server.transport, asyncio.Server)
        ports.put(server.transport.sockets[0].getsockname()[1])
        await done.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{ports.get(timeout=DEADLINE_S)}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(DEADLINE_S)
        loop.close()


def read(port: str, profile: str, *points: str) -> dict[str, str | None]:
    """The values that ``taiqu read --json`` shows."""
    protocol = PROTOCOLS[port.partition(":")[0]]
    options = ["--protocol", protocol, "--address", str(UNIT), "--profile", profile, "--json"]
    result = CliRunner().invoke(main, ["read", "--port", port, *options, *points])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["values"]
    return {name: value["value"] for name, value in found.items()}


BOTH = pytest.mark.parametrize("scheme", SCHEMES)


@BOTH
def test_an_abb_b23_that_measures_two_phases(scheme: str) -> None:
    data = [
        SimData(0x5000, values=1234567, datatype=DataType.UINT64),
        *filled(
            SimData(0x5B00, values=[2301, 2298, 0xFFFFFFFF], datatype=DataType.UINT32),
            SimData(0x5B14, values=[-86300, 100, -86400], datatype=DataType.INT32),
            SimData(0x5B1A, values=0x7FFFFFFF, datatype=DataType.INT32),
            SimData(0x5B2C, values=5001, datatype=DataType.UINT16),
        ),
    ]
    points = ("energy_active_import", "voltage_l1n", "voltage_l3n", "power_active")

    with pymodbus_meter(scheme, data) as port:
        found = read(port, "abb-b23", *points, "power_active_l3", "frequency")

    assert found == {
        "energy_active_import": "12345.670",
        "voltage_l1n": "230.100",
        "voltage_l3n": None,
        "power_active": "-863.00",
        "power_active_l3": None,
        "frequency": "50.010",
    }


@BOTH
def test_a_schneider_with_an_export_it_does_not_have(scheme: str) -> None:
    data = [
        SimData(0x0BD3, values=[230.1, 229.8, 231.5], datatype=DataType.FLOAT32),
        SimData(0x0BF3, values=-1.2, datatype=DataType.FLOAT32),
        SimData(0x0C0B, values=-1.013, datatype=DataType.FLOAT32),
        SimData(0x0C83, values=[12_345_670, -(2**63)], datatype=DataType.INT64),
    ]

    with pymodbus_meter(scheme, data) as port:
        found = read(
            port, "schneider-iem3155", "voltage_l2n", "power_active", "power_factor",
            "energy_active_import", "energy_active_export",
        )  # fmt: skip

    assert found == {
        "voltage_l2n": "229.800",
        "power_active": "-1200.00",
        "power_factor": "-0.9870",
        "energy_active_import": "12345.670",
        "energy_active_export": None,
    }


@BOTH
def test_a_gavazzi_low_word_first(scheme: str) -> None:
    data = filled(
        SimData(0x0028, values=[0xD8F0, 0xFFFF], datatype=DataType.REGISTERS),
        SimData(0x0031, values=-987, datatype=DataType.INT16),
        SimData(0x0033, values=501, datatype=DataType.INT16),
        SimData(0x0034, values=[0xE240, 0x0001], datatype=DataType.REGISTERS),
    )

    with pymodbus_meter(scheme, data) as port:
        found = read(
            port, "gavazzi-em340", "power_active", "power_factor", "frequency",
            "energy_active_import",
        )  # fmt: skip

    assert found == {
        "power_active": "-1000.00",
        "power_factor": "-0.9870",
        "frequency": "50.100",
        "energy_active_import": "12345.600",
    }


@BOTH
def test_a_model_is_added_by_writing_its_file(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "toy.toml").write_text(TOY)
    data = [
        SimData(0x0010, values=2301, datatype=DataType.UINT16),
        SimData(0x0020, values=12_345_670, datatype=DataType.UINT32),
        SimData(0x0030, values="TOY 1\0\0\0", datatype=DataType.STRING),
    ]

    with pymodbus_meter(scheme, data) as port:
        usual = read(port, str(tmp_path / "toy.toml"))
        model = read(port, str(tmp_path / "toy.toml"), "meter_model")

    assert usual == {"voltage_l1n": "230.100", "energy_active_import": "12345.670"}
    assert model == {"meter_model": "TOY 1"}
