"""The command line as a whole, and the commands that are small."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway import livestate
from gateway.clock import SystemClock
from gateway.livestate import (
    CollectionState,
    DayState,
    LaneState,
    LineState,
    LinkState,
    MeterState,
    State,
)
from gateway.technician.cli import COMMANDS, main
from gateway.technician.status import age, report

ROOT = Path(__file__).parent.parent
HEAVY = ("pydantic", "pymodbus", "serial", "paho", "sqlite3", "structlog")


def taiqu(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def config(tmp_path: Path, **replaced: str) -> Path:
    """A good configuration with live state under ``tmp_path``; texts replaced as told."""
    text = f"""
[gateway]
name = "tq-1"
profiles = "{ROOT / "config" / "meters"}"
run_directory = "run"

[mqtt]
brokers = ["mqtt://192.0.2.10:1883"]

[[line]]
name = "east"
port = "/dev/ttyS1"

[[meter]]
asset = "A1"
line = "east"
address = "000012345678"
profile = "dlt645-2007-single-phase"
period_s = 900
"""
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def test_every_command_is_there_and_says_what_it_does() -> None:
    page = taiqu("--help").stdout
    for name, (_, summary) in COMMANDS.items():
        assert name in page
        assert summary in page
        assert taiqu(name, "--help").exit_code == 0


def test_help_answers_without_loading_the_gateway() -> None:
    code = (
        "import sys; from gateway.technician.cli import main;"
        " main(['--help'], standalone_mode=False);"
        f" print([name for name in {HEAVY} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["chek"], ["check", "--confg", "x"], ["decode"], ["read"]])
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    result = taiqu(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""


def test_run_becomes_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, argv: became.append(argv))

    taiqu("run", "--config", "/etc/x.toml")

    assert became == [[sys.executable, "-m", "gateway.daemon", "--config", "/etc/x.toml"]]


def test_the_contract_is_printed_or_written(tmp_path: Path) -> None:
    printed = taiqu("contract").stdout
    written = taiqu("contract", "--directory", str(tmp_path))

    assert written.exit_code == 0
    files = [Path(line) for line in written.stdout.splitlines()]
    assert tmp_path / "asyncapi.json" in files
    assert tmp_path / "schemas" / "readings.json" in files
    for file in files:
        assert json.loads(file.read_text())
        assert file.read_text() in printed


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "schemas").write_text("a file")
    result = taiqu("contract", "--directory", str(tmp_path))

    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


# --- check ----------------------------------------------------------------------------------------


def test_a_good_configuration_shows_what_its_lines_have_to_do(tmp_path: Path) -> None:
    result = taiqu("check", "--config", str(config(tmp_path)))

    assert result.exit_code == 0, result.stderr
    first, _, _, meter, *_, last = result.stdout.splitlines()
    assert first.startswith("line east on /dev/ttyS1: 1 meter, ")
    assert meter.split()[:3] == ["A1", "000012345678", "dlt645-2007-single-phase"]
    assert last.endswith("good")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = config(tmp_path, **{"000012345678": "12", '"/dev/ttyS1"': '"ttyS1"', "tq-1": "tq 1"})
    result = taiqu("check", "--config", str(path))

    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 3


def test_a_line_that_cannot_do_it_in_time_is_refused(tmp_path: Path) -> None:
    result = taiqu("check", "--config", str(config(tmp_path, **{"900": "1"})))

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "line[0] east: its meters need" in result.stderr
    assert "period_s" in result.stderr


def test_a_port_name_that_may_change_is_a_warning(tmp_path: Path) -> None:
    result = taiqu("check", "--config", str(config(tmp_path, ttyS1="ttyUSB0")))

    assert result.exit_code == 0
    assert result.stderr.startswith("warning: line east: '/dev/ttyUSB0' may be another adapter")


def test_the_shipped_configuration_is_good() -> None:
    assert taiqu("check", "--config", str(ROOT / "config" / "gateway.toml")).exit_code == 0


def test_no_file_is_wrong_use(tmp_path: Path) -> None:
    result = taiqu("check", "--config", str(tmp_path / "none.toml"))

    assert result.exit_code == 2
    assert "none.toml" in result.stderr


# --- status ---------------------------------------------------------------------------------------


def state(at: float) -> State:
    return State(
        gateway="tq-1",
        software="taiqu 0.1.0",
        at=at,
        started=at - 7200,
        clock="trusted",
        epoch="00112233445566ff",
        readings_taken=40,
        messages_stored=12,
        messages_delivered=11,
        readings_dropped=0,
        meters=[
            MeterState(
                asset="A1",
                address="000012345678",
                line="east",
                model="single-phase",
                silent=True,
                reason="no reply",
                last_good=at - 600,
                asked=40,
                answered=30,
                round_trip_ms=131.4,
                faults={"silent": 10},
                strays={"late": 3},
                refused=[],
                values={"voltage_l1n": "220.1"},
            ),
        ],
        lines=[
            LineState(
                name="east",
                port="/dev/ttyS1",
                up=True,
                reason="",
                use=0.126,
                exchanges=321,
                faults={"silent": 10, "damaged": 0},
                strays={"echo": 2},
                noise_bytes=17,
                diagnosis="only garbage is heard",
            )
        ],
        collection=CollectionState(
            day="2026-01-01",
            meters={
                "A1": DayState(freeze="missing", reason="no reply", clock_offset_s=-90.0),
            },
            again=3,
            dropped=1,
        ),
        link=LinkState(up=False, broker="", since=at - 90, reason="connection refused"),
        lanes={"live": LaneState(last=12, pending=1, pending_bytes=345)},
    )


def test_status_shows_meters_lines_and_what_waits() -> None:
    page = report(state(1000.0), 1003.0)

    meter = next(line for line in page.splitlines() if line.startswith("A1"))
    assert "10 silent, 3 late stray" in meter
    assert "10 min ago" in meter
    assert "75.0%" in meter
    assert "131 ms" in meter
    assert "silent: no reply" in meter
    assert "missing: no reply, clock -90 s" in meter
    assert "0 of 1 read of 2026-01-01" in page
    assert "3 read again, 1 dropped" in page
    line = next(line for line in page.splitlines() if line.startswith("east"))
    assert "13%" in line
    assert "10 silent, 2 echo stray" in line
    assert line.endswith("17")
    assert "line east: only garbage is heard" in page
    assert "not connected: connection refused" in page
    assert "1 waiting (345 bytes), last 12" in page


def test_status_reads_what_the_daemon_wrote(tmp_path: Path) -> None:
    livestate.write(tmp_path / "run", state(SystemClock.now()))
    result = taiqu("status", "--config", str(config(tmp_path)), "--json")

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["running"] is True
    assert found["meters"][0]["asset"] == "A1"


def test_an_old_state_is_shown_with_a_warning(tmp_path: Path) -> None:
    livestate.write(tmp_path / "run", state(1000.0))
    result = taiqu("status", "--config", str(config(tmp_path)))

    assert result.exit_code == 1
    assert "tq-1" in result.stdout
    assert "not running" in result.stderr


def test_no_state_says_how_to_start(tmp_path: Path) -> None:
    result = taiqu("status", "--config", str(config(tmp_path)))

    assert result.exit_code == 1
    assert "taiqu run" in result.stderr


def _directory(place: Path) -> None:
    place.mkdir()


def _list(place: Path) -> None:
    place.write_text("[]")


@pytest.mark.parametrize("make", [_directory, _list])
def test_a_state_that_is_none_is_one_sentence(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "run").mkdir()
    make(tmp_path / "run" / livestate.FILE)
    result = taiqu("status", "--config", str(config(tmp_path)))

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "told"), [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (1e6, "11 d")]
)
def test_ages_are_told_as_people_do(seconds: float, told: str) -> None:
    assert age(seconds) == told
