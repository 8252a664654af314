"""``taiqu read --protocol dlt645-1997`` against a simulated meter behind a real TCP port."""

import json
from datetime import date

import pytest
from click.testing import CliRunner, Result

from gateway.technician.cli import main
from protocols.dlt645 import Frame, find_frame
from protocols.dlt645_1997_items import find
from simulators.dlt645_old_meter import OldDLT645Meter
from simulators.household import Household
from simulators.load import Kind
from tests.test_read import served

ADDRESS = "000012345678"
NOW = 1_795_000_000.0


def meter(*, data_bytes_max: int = 200, keeps_wildcards: bool = False) -> OldDLT645Meter:
    household = Household("test", phases=3, installed=date(2025, 1, 1))
    return OldDLT645Meter(
        ADDRESS,
        household,
        delay_s=0.0,
        data_bytes_max=data_bytes_max,
        keeps_wildcards=keeps_wildcards,
    )


def read(port: str, *arguments: str) -> Result:
    words = ["read", "--port", port, "--protocol", "dlt645-1997", "--json", *arguments]
    return CliRunner().invoke(main, words)


def test_points_are_read_by_their_names() -> None:
    with served(meter()) as port:
        result = read(
            port, "--address", ADDRESS, "energy_active_import", "voltage_l1n", "current_l2"
        )

    found = json.loads(result.stdout)
    assert result.exit_code == 0, result.stderr
    assert sorted(found["values"]) == ["current_l2", "energy_active_import", "voltage_l1n"]
    assert 150 < float(found["values"]["voltage_l1n"]["value"]) < 280


def test_the_usual_points_of_a_single_meter_are_read_without_its_address() -> None:
    for kept in (False, True):
        with served(meter(keeps_wildcards=kept)) as port:
            result = read(port)

        found = json.loads(result.stdout)
        assert result.exit_code == 0, result.stderr
        assert found["meter"] == ADDRESS
        assert {"energy_active_import", "voltage_l3n", "power_factor"} <= found["values"].keys()


def test_a_set_is_read_in_parts_and_shown_block_by_block() -> None:
    with served(meter(data_bytes_max=17)) as port:
        result = read(port, "--address", ADDRESS, "--di", "90ff", "--di", "C032")

    values = json.loads(result.stdout)["values"]
    assert result.exit_code == 0, result.stderr
    assert [name for name in values if name.startswith("90")] == [
        f"{block}[{n}]" for block in ("901F", "902F") for n in range(5)
    ]
    assert values["901F[1]"]["meaning"] == "tariff 1"
    assert values["C032"]["value"] == ADDRESS


def test_what_it_has_not_is_refused() -> None:
    with served(meter()) as port:
        result = read(port, "--address", ADDRESS, "--di", "9410")

    (error,) = json.loads(result.stdout)["errors"]
    assert result.exit_code == 1
    assert "no such data" in error["error"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--di", "00010000"), "'00010000' is not 4 hex digits"),
        (("--profile", "dlt645-2007-single-phase"), "is for dlt645-2007, not for dlt645-1997"),
        (("--register", "1"), "--register does not go with --protocol dlt645-1997"),
    ],
)
def test_words_of_another_protocol_are_wrong_use(arguments: tuple[str, ...], says: str) -> None:
    result = read("socket://127.0.0.1:9", "--address", ADDRESS, *arguments)

    assert result.exit_code == 2
    assert says in result.stderr


def test_what_flows_back_has_a_sign_only_where_the_format_has_one() -> None:
    solar = Household("sun", kind=Kind.SOLAR, phases=3, installed=date(2025, 1, 1))
    device = OldDLT645Meter(ADDRESS, solar)
    noon = 1_781_668_800.0

    def shown(di: str) -> str:
        frame, item = heard(Frame(ADDRESS, 0x01, bytes.fromhex(di)[::-1]), device, noon), find(di)
        assert frame is not None
        assert item is not None
        return item.decode(frame.data[2:])[0].text() or "none"

    assert shown("B630").startswith("-")
    assert not shown("B650").startswith("-")


def heard(request: Frame, device: OldDLT645Meter, now: float = NOW) -> Frame | None:
    reply = device.reply(request, now)
    return find_frame(reply)[0] if reply else None


def test_the_simulated_meter_keeps_to_the_standard() -> None:
    device = meter()

    first = heard(Frame(ADDRESS, 0x01, b"\x1f\x90"), device)
    assert first is not None
    assert (first.control, len(first.data)) == (0x81, 2 + 5 * 4)
    again = heard(Frame(ADDRESS, 0x03), device)
    assert again == Frame(ADDRESS, 0x83, first.data)
    assert heard(Frame(ADDRESS, 0x02, b"\x1f\x90"), device) == Frame(ADDRESS, 0xC2, b"\x02")
    assert heard(Frame(ADDRESS, 0x04, bytes(9)), device) == Frame(ADDRESS, 0xC4, b"\x04")
    assert heard(Frame("999999999999", 0x08, bytes(6)), device) is None
    assert heard(Frame("000000000009", 0x01, b"\x10\x90"), device) is None
    assert device.reply(Frame(ADDRESS, 0x81, b"\x10\x90"), NOW) is None
