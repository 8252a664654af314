"""Areas: the demo's, and those of files, right and wrong."""

import io
import json
from pathlib import Path

import pytest

from protocols import dlt645
from protocols.relay import Action
from simulators.__main__ import write_movements
from simulators.area import PROFILES, AreaError, demo_area, load_area

NOW = 1_795_320_000.0
SMALL = """
seed = 5

[[line]]
name = "east"

[[line.meter]]
asset = "M1"
profile = "dlt645-2007-single-phase"
address = "000000000001"
baud = 1200
delay_ms = 100

[[line.meter]]
asset = "M2"
profile = "eastron-sdm630"
address = "7"
"""
BROKEN = """
[[line]]
name = "east"

[[line.meter]]
asset = "M1"
profile = "dlt645-2007-single-phase"
address = "12"

[[line.meter]]
asset = "M1"
profile = "eastron-sdm630"
address = "300"

[[line.meter]]
asset = "M3"
profile = "missing"
address = "1"
"""


def test_the_demo_has_two_lines_and_sixteen_meters() -> None:
    area = demo_area()

    assert [(line.name, len(line.meters)) for line in area.lines] == [("line1", 12), ("line2", 4)]
    homes = {(m.profile.name, m.settings.baud) for m in area.lines[0].meters}
    assert homes == {("dlt645-2007-single-phase", 9600), ("dlt645-1997-single-phase", 2400)}
    assert [(m.profile.name, m.settings.baud, m.settings.parity) for m in area.lines[1].meters] == [
        ("eastron-sdm630", 9600, "N"),
        ("chint-dtsu666", 9600, "N"),
        ("dlt645-2007-three-phase", 2400, "E"),
        ("dlt645-2007-three-phase", 2400, "E"),
    ]
    assert all(m.profile.check_address(m.address) is None for m in area.meters.values())


def test_the_truth_covers_what_is_polled_and_depends_on_the_seed() -> None:
    area = demo_area(seed=3)
    truth = area.truth(NOW)

    for asset, meter in area.meters.items():
        numbers = set(meter.profile.default_points) - {"status_word_3", "relay_state"}
        assert numbers <= truth[asset].keys()
    assert demo_area(seed=3).truth(NOW) == truth
    assert demo_area(seed=4).truth(NOW) != truth


def test_what_the_relays_truly_do_is_written_down_as_it_happens() -> None:
    area, out = demo_area(1), io.StringIO()
    write_movements(area, out)
    relay = area.meters["A06"].relay
    assert relay
    relay.advance(1_767_225_600.0)
    relay.command(Action.TRIP)
    relay.command(Action.ALLOW_CLOSE)
    relay.advance(1_767_225_700.0)

    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"at": 1_767_225_600.0, "meter": "A06", "closed": False, "cause": "trip"},
        {"at": 1_767_225_608.0, "meter": "A06", "closed": True, "cause": "button"},
    ]


def test_a_file_says_what_stands_where(tmp_path: Path) -> None:
    path = tmp_path / "area.toml"
    path.write_text(SMALL)
    area = load_area(path)

    m1, m2 = area.meters["M1"], area.meters["M2"]
    assert (m1.settings.baud, m1.settings.parity, m1.meter.delay_s) == (1200, "E", 0.1)
    assert (m2.settings.baud, m2.address) == (9600, "7")
    request = dlt645.encode(dlt645.read("000000000001", "00010000"))
    assert len(area.lines[0].open().hear(request, NOW, 1200, "E")) == 1


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "area.toml"
    path.write_text(BROKEN)

    with pytest.raises(AreaError) as caught:
        load_area(path)

    problems = "\n".join(caught.value.problems)
    assert "profile missing: cannot be read" in problems
    assert "line east, meter M1: address '12' is no DL/T 645 address" in problems
    assert "line east, meter M1: address '300' is no Modbus unit" in problems
    assert "line east, meter M1: asset M1 is already taken" in problems
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "not valid TOML"),
        (b"[[line", "not valid TOML"),
        (b"", "line: Field required"),
        (b"[[line]]\nname='a'\nmeter=[]", "line.0.meter: "),
        (b"sed = 1", "sed: Extra inputs"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "area.toml"
    path.write_bytes(content)
    with pytest.raises(AreaError, match=problem):
        load_area(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match=r"no\.toml: cannot be read: No such file"):
        load_area(tmp_path / "no.toml")
    with pytest.raises(AreaError, match="profile eastron-sdm630: cannot be read"):
        demo_area(profiles=tmp_path)
    assert PROFILES.is_dir()
