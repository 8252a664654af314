"""How the daemon tells a line to speak to each of its meters."""

from pathlib import Path

import pytest

from gateway.config import load
from gateway.daemon import manners_of
from protocols.modbus import tcp
from protocols.modbus_unnumbered import unnumbered
from simulators.area import PROFILES

CONFIG = f"""
[gateway]
name = "g"
profiles = "{PROFILES}"
[mqtt]
brokers = ["mqtt://127.0.0.1"]
[[line]]
name = "pair"
port = "/dev/null"
[[line]]
name = "net"
port = "tcp://127.0.0.1:502"
[[meter]]
asset = "DLT"
line = "pair"
address = "000000000001"
profile = "dlt645-2007-single-phase"
[[meter]]
asset = "RTU"
line = "pair"
address = 1
profile = "eastron-sdm630"
[[meter]]
asset = "FAST"
line = "pair"
address = 2
profile = "eastron-sdm630"
baud = 115200
[[meter]]
asset = "TCP"
line = "net"
address = 1
profile = "eastron-sdm630"
"""


def test_silence_before_a_request_is_what_its_protocol_needs(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    config = load(path)

    pair = manners_of(config, "pair", tcp=False)
    net = manners_of(config, "net", tcp=True)
    assert pair["DLT"].silence_s == pytest.approx(11 / 2400)
    assert pair["RTU"].silence_s == pytest.approx(3.5 * 10 / 9600)
    assert pair["FAST"].silence_s == 0.00175
    assert net["TCP"].silence_s == 0.0
    assert (net["TCP"].codec, net["TCP"].reconnect) == (tcp, False)
    assert [m.wire for m in (pair["RTU"], net["TCP"])] == [True, False]
    assert (pair["DLT"].guard_s, pair["RTU"].guard_s) == (0.05, 0.1)


def test_a_gateway_without_numbers_is_connected_to_anew_after_a_miss(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    port = 'port = "tcp://127.0.0.1:502"'
    path.write_text(CONFIG.replace(port, port + '\ntransaction_ids = "ignored"'))

    net = manners_of(load(path), "net", tcp=True)
    assert (net["TCP"].codec, net["TCP"].reconnect, net["TCP"].late_s) == (unnumbered, True, 0.0)
