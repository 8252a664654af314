"""``taiqu read`` against simulated meters behind real TCP ports and a real pseudo terminal."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.clock import SystemClock
from gateway.technician.cli import main
from gateway.technician.questions import profile_path
from protocols.model import ModbusProfile
from protocols.profile import load
from simulators.dlt645_meter import DLT645Meter, Quirks
from simulators.household import Household
from simulators.line import Line
from simulators.meter import Meter, Settings
from simulators.modbus_meter import ModbusMeter
from simulators.server import Server, serving

ADDRESS = "000012345678"


def household() -> Household:
    return Household("test", phases=3, installed=date(2025, 1, 1))


def dlt645_meter(*, blocks: bool = True) -> DLT645Meter:
    return DLT645Meter(ADDRESS, household(), delay_s=0.0, quirks=Quirks(blocks=blocks))


def modbus_meter(*, tcp: bool) -> ModbusMeter:
    path = profile_path("eastron-sdm630")
    assert path
    profile = load(path)
    assert isinstance(profile, ModbusProfile)
    return ModbusMeter(7, household(), profile, settings=Settings(9600), delay_s=0.0, tcp=tcp)


@contextmanager
def served(*meters: Meter, modbus_tcp: bool = False) -> Iterator[str]:
    """The meters on one line behind a TCP port; gives its URL."""
    server = Server(SystemClock())
    port = server.add_tcp(lambda: Line(meters), "127.0.0.1", 0)
    with serving(server):
        yield f"{'tcp' if modbus_tcp else 'socket'}://127.0.0.1:{port}"


def read(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["read", *arguments])


def dlt645(port: str, *arguments: str) -> Result:
    return read("--port", port, "--protocol", "dlt645", *arguments)


def test_points_are_read_by_their_names() -> None:
    with served(dlt645_meter()) as port:
        result = dlt645(port, "--address", ADDRESS, "energy_active_import", "voltage_l1n")

    assert result.exit_code == 0, result.stderr
    _, _, head, _, energy, voltage = result.stdout.splitlines()
    assert head.split() == ["point", "value", "unit"]
    assert energy.split()[::2] == ["energy_active_import", "kWh"]
    assert 150 < float(voltage.split()[1]) < 280


def test_json_holds_values_and_errors() -> None:
    with served(dlt645_meter()) as port:
        result = dlt645(
            port, "--address", ADDRESS, "--json", "--di", "02010100", "--di", "12345678"
        )

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["meter"] == ADDRESS
    voltage = found["values"]["02010100"]
    assert (voltage["unit"], voltage["meaning"]) == ("V", "voltage_l1n")
    (error,) = found["errors"]
    assert error["points"] == ["12345678"]
    assert error["fault"] == "refused"
    assert "no such data" in error["error"]


def test_a_single_meter_is_asked_for_its_address() -> None:
    with served(dlt645_meter()) as port:
        result = dlt645(port, "--di", "0001FF00", "--json")

    found = json.loads(result.stdout)
    assert found["meter"] == ADDRESS
    shown = found["values"]
    assert shown["0001FF00[0]"]["meaning"] == "total"
    assert len(shown) == 5


def test_a_meter_without_blocks_is_asked_item_by_item() -> None:
    voltages = ["voltage_l1n", "voltage_l2n", "voltage_l3n"]
    with served(dlt645_meter(blocks=False)) as port:
        result = dlt645(port, "--address", ADDRESS, "--json", *voltages)

    found = json.loads(result.stdout)
    assert result.exit_code == 0, result.stderr
    assert sorted(found["values"]) == voltages
    assert found["errors"] == []


def test_a_silent_meter_is_a_failure_with_advice() -> None:
    with served(dlt645_meter()) as port:
        brief = ("--timeout", "30", "--tries", "2")
        result = dlt645(port, "--address", "000000000009", *brief, "voltage_l1n", "frequency")

    assert result.exit_code == 1
    assert result.stdout == ""
    (complaint,) = result.stderr.splitlines()
    assert complaint.startswith("silent: voltage_l1n, frequency: ")
    assert "000000000009" in complaint
    assert "A and B" in complaint


@pytest.mark.parametrize("tcp", [False, True], ids=["rtu", "tcp"])
def test_modbus_registers_and_points(*, tcp: bool) -> None:
    with served(modbus_meter(tcp=tcp), modbus_tcp=tcp) as port:
        protocol = "modbus-tcp" if tcp else "modbus-rtu"
        how = ("--port", port, "--protocol", protocol, "--address", "7", "--json")
        raw = read(*how, "--register", "0x0", "--count", "4", "--function", "4", "--type", "f32")
        named = read(*how, "--profile", "eastron-sdm630", "voltage_l1n", "voltage_l2n")

    assert raw.exit_code == named.exit_code == 0, raw.stderr + named.stderr
    registers = json.loads(raw.stdout)["values"]
    points = json.loads(named.stdout)["values"]
    assert list(registers) == ["0", "2"]
    assert all(150 < float(each["value"]) < 280 for each in [*registers.values(), *points.values()])
    assert points["voltage_l1n"]["unit"] == "V"


def test_raw_bytes_go_out_as_they_are_and_the_answer_is_explained() -> None:
    with served(dlt645_meter()) as port:
        result = dlt645(port, "--raw", "68 AA AA AA AA AA AA 68 13 00 DF 16")
        silence = dlt645(port, "--raw", "00", "--timeout", "30")

    assert result.exit_code == 0
    assert "read address, reply" in result.stdout
    assert ADDRESS in result.stdout
    assert silence.exit_code == 1
    assert silence.stderr.startswith("silent: ")


def test_a_pseudo_terminal_at_the_wrong_speed_hears_nothing(tmp_path: Path) -> None:
    server = Server(SystemClock())
    link = server.add_pty(Line([dlt645_meter()]), tmp_path / "line")
    with serving(server):
        good = dlt645(str(link), "--address", ADDRESS, "voltage_l1n", "--json")
        bad = dlt645(str(link), "--baud", "9600", "--timeout", "60", "--tries", "1", "--json")

    assert good.exit_code == 0, good.stderr
    assert list(json.loads(good.stdout)["values"]) == ["voltage_l1n"]
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["errors"][0]["fault"] == "silent"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--port line1 --protocol dlt645", "is not a port"),
        ("--port tcp://h:1 --protocol dlt645", "Modbus TCP"),
        ("--port /dev/x --protocol modbus-tcp --address 1", "Modbus TCP"),
        ("--port /dev/x --protocol modbus-rtu voltage_l1n", "--address is missing"),
        ("--port /dev/x --protocol modbus-rtu --address 1 voltage_l1n", "--profile is missing"),
        ("--port /dev/x --protocol modbus-rtu --address 1 --register 1.5", "no number"),
        ("--port /dev/x --protocol modbus-rtu --address 300 --register 1", "unit"),
        ("--port /dev/x --protocol modbus-rtu --address 1 --di 00010000", "does not go with"),
        ("--port /dev/x --protocol dlt645 --address 12 voltage_l1n", "12 digits"),
        ("--port /dev/x --protocol dlt645 --address 1234 --di 00010000", "1234"),
        ("--port /dev/x --protocol dlt645 --address 000000000001 --di 0001", "0001"),
        ("--port /dev/x --protocol dlt645 --address 000000000001 voltage_1n", "voltage_l1n"),
        ("--port /dev/x --protocol dlt645 --profile sdm630 --di 00010000", "eastron-sdm630"),
        ("--port /dev/x --protocol dlt645 --profile eastron-sdm630", "is for modbus"),
        ("--port /dev/x --protocol dlt645 --profile /nowhere/x.toml", "No such file"),
        ("--port /dev/x --protocol dlt645 --raw 68x", "not hexadecimal"),
        ("--port /dev/x --protocol dlt645 --raw 68 voltage_l1n", "choose one"),
    ],
)
def test_wrong_use_is_told_before_a_port_is_opened(arguments: str, told: str) -> None:
    result = read(*arguments.split())

    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("port", "told"),
    [("/dev/taiqu-no-such-port", "plugged in"), ("socket://127.0.0.1:1", "refused")],
)
def test_a_port_that_is_not_there_is_one_sentence(port: str, told: str) -> None:
    result = dlt645(port, "--address", ADDRESS, "voltage_l1n")

    assert result.exit_code == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
