"""A pair with meters of two protocols and two speeds on it, without any port or clock."""

import pytest

from protocols import dlt645, modbus
from simulators.area import demo_area
from simulators.dlt645_meter import DLT645Meter
from simulators.household import Household
from simulators.line import Line, Pair

NOW = 1_795_320_000.0
READ = dlt645.encode(dlt645.read("000020260203", "00010000"))
ASK = modbus.rtu.encode(modbus.Request(1, 4, 0, 2))


def pair() -> Pair:
    return demo_area().lines[1].open()


def test_each_meter_hears_its_own_settings_only() -> None:
    line = pair()

    assert len(line.hear(READ, NOW, 2400, "E")) == 1
    assert len(line.hear(ASK, NOW + 1, 9600, "N")) == 1
    assert line.hear(READ, NOW + 2, 9600, "N") == []
    assert line.hear(READ, NOW + 3, 2400, "N") == []
    assert line.hear(ASK, NOW + 4, 4800, None) == []
    assert len(line.hear(READ, NOW + 5, 2400, None)) == 1, "a pty cannot tell the parity"


@pytest.mark.parametrize("request_bytes", [READ, ASK])
def test_a_request_in_pieces_is_answered_once_it_is_whole(request_bytes: bytes) -> None:
    line = pair()
    heard = [line.hear(bytes([byte]), NOW + n / 100) for n, byte in enumerate(request_bytes)]

    assert [len(answers) for answers in heard] == [0] * (len(request_bytes) - 1) + [1]


def test_after_a_pause_or_another_speed_the_rest_of_a_request_is_noise() -> None:
    line = pair()

    assert line.hear(READ[:10], NOW) == []
    assert line.hear(READ[10:], NOW + 0.6) == []
    assert line.hear(READ[:10], NOW + 2, 2400) == []
    assert line.hear(READ[10:], NOW + 2.1, 9600) == []
    assert line.hear(READ[10:], NOW + 2.2, 2400) == []


def test_noise_in_front_and_two_requests_in_one_go() -> None:
    line = pair()

    assert len(line.hear(b"\x00\xff\x68\x01" + READ, NOW)) == 1
    assert len(line.hear(READ + ASK, NOW + 1)) == 2
    assert line.hear(bytes(5000), NOW + 2) == []


def test_a_silenced_meter_is_silent_until_it_is_woken() -> None:
    area = demo_area()
    line, meter = area.lines[1].open(), area.meters["B03"].meter

    meter.silent = True
    assert line.hear(READ, NOW) == []
    meter.silent = False
    assert len(line.hear(READ, NOW + 1)) == 1


def test_two_answers_collide_into_one_damaged_one() -> None:
    meters = [DLT645Meter(f"00000000000{n}", Household(str(n)), delay_s=n / 100) for n in (1, 2, 3)]
    request = dlt645.encode(dlt645.read_address())

    [(delay_s, heard)] = Line(meters).hear(request, NOW)

    assert delay_s == 0.01
    assert dlt645.find_frame(heard)[0] is None
    assert dlt645.find_frame(Line(meters[:1]).hear(request, NOW)[0][1])[0] is not None


def test_how_long_a_character_takes() -> None:
    line = pair()

    assert line.character_s(2400) == 11 / 2400
    assert line.character_s(9600) == 10 / 9600
    assert line.character_s(1200) == 10 / 1200, "nobody listens, so nobody knows"
    assert line.character_s(None) == 0
