"""``taiqu demo``: its parts, and the whole once for real."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.config import load
from gateway.livestate import State
from gateway.technician.check import overloads
from gateway.technician.cli import main
from gateway.technician.demo_books import Standing
from gateway.technician.demo_broker import NoBrokerError, choose
from gateway.technician.demo_site import ProcessError, Site, site
from gateway.technician.demo_verdict import Counts, Verdict, wrong
from gateway.technician.demo_view import Moment, Screen, page, plain
from simulators.area import Area, demo_area
from simulators.ledger import Last, Ledger
from tests.test_cli import state

TAKEN = "2026-07-01T00:15:02.125Z"
TAKEN_AT = 1782864902.125
DEADLINE_S = 60


@pytest.fixture(scope="module")
def area() -> Area:
    return demo_area(1)


# --- the site -------------------------------------------------------------------------------------


def test_the_configuration_is_good_and_fits_on_its_lines(tmp_path: Path, area: Area) -> None:
    odd = tmp_path / 'a "quoted" name'
    odd.mkdir()
    config = load(Site(odd).write_config(area, "mosquitto", 1883))

    assert [len(config.meters_on(line.name)) for line in config.lines] == [12, 4]
    assert overloads(config) == []


def test_a_process_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    with site(tmp_path) as parts:
        process = parts.start(
            "talker", [sys.executable, "-c", "print('farewell'); raise SystemExit(3)"]
        )
        process.popen.wait(DEADLINE_S)

        with pytest.raises(ProcessError, match="talker ended by itself with exit status 3"):
            parts.check()
        assert "farewell" in parts.last_words()


@pytest.mark.parametrize("status", [0, 1])
def test_a_process_may_end_when_its_work_is_done(tmp_path: Path, status: int) -> None:
    with site(tmp_path) as parts:
        program = [sys.executable, "-c", f"raise SystemExit({status})"]
        parts.start("worker", program, ends=True).popen.wait(DEADLINE_S)

        with pytest.raises(ProcessError) if status else contextlib.nullcontext():
            parts.check()


def test_leaving_ends_every_process_even_on_an_error(tmp_path: Path) -> None:
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    with contextlib.suppress(KeyboardInterrupt), site(tmp_path) as parts:
        processes = [parts.start(name, waits) for name in ("one", "two")]
        raise KeyboardInterrupt

    assert [process.popen.returncode for process in processes] == [-signal.SIGTERM] * 2


def test_mosquitto_is_preferred_and_without_any_broker_the_demo_says_how_to_get_one() -> None:
    assert choose(["mosquitto", "amqtt"]) == "mosquitto"
    assert choose(["mosquitto", "amqtt"], "amqtt") == "amqtt"
    with pytest.raises(NoBrokerError, match="apt-get install mosquitto"):
        choose([])
    with pytest.raises(NoBrokerError):
        choose(["amqtt"], "mosquitto")


@pytest.mark.parametrize("left", ["store", "gateway.toml"])
def test_a_directory_of_an_earlier_demo_is_left_alone(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    result = CliRunner().invoke(main, ["demo", "--directory", str(tmp_path)])

    assert result.exit_code == 2
    assert "earlier demo" in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == [left]


# --- the verdict ----------------------------------------------------------------------------------


def reading(area: Area, asset: str, off_kwh: str = "0") -> Last:
    """What the head-end would have of a meter; every register off by so much."""
    registers = area.meters[asset].household.energies(TAKEN_AT)
    shown = {
        name: str(Decimal(mwh).scaleb(-6) + Decimal(off_kwh)) for name, mwh in registers.items()
    }
    return Last(TAKEN, "line1", "1", {**shown, "voltage_l1n": "1.0"})


def test_registers_as_the_meter_showed_them_are_right(area: Area) -> None:
    assert wrong(area, {asset: reading(area, asset) for asset in area.meters}) == []


@pytest.mark.parametrize("off_kwh", ["1", "-1"])
def test_a_register_that_the_meter_never_showed_is_wrong(area: Area, off_kwh: str) -> None:
    found = wrong(area, {"A01": reading(area, "A01", off_kwh)})

    assert any(line.startswith("A01 energy_active_import: ") for line in found)
    assert not any("voltage" in line for line in found)


def test_a_complaint_is_a_failure() -> None:
    counts = Counts(
        meters=16,
        readings_taken=9,
        messages_delivered=5,
        gaps=0,
        duplicates=0,
        lost=1,
        wrong=0,
        seconds=10,
        accounts=6,
        balances_wrong=0,
        topups_counted_once=6,
        journal_unsound=0,
        cuts=1,
        restored=1,
        wrong_cuts=0,
        cut_after_s=9_000,
        restored_after_s=9.4,
    )

    assert Verdict(counts).good
    assert not Verdict(counts, ("1 stored message did not arrive",)).good
    assert "1 lost" in Verdict(counts).told()
    assert "6 accounts, 0 balances wrong" in Verdict(counts).told()
    assert Verdict(counts, (), ("cut", "back")).told().endswith("1 restored, 0 wrongly cut")
    assert Verdict(counts, (), ("cut", "back")).told().startswith("cut\nback\n6 meters"[:8])


# --- the view -------------------------------------------------------------------------------------


def moment(shown: State | None, elapsed_s: float = 45.0) -> Moment:
    meters = {"A1": Last(TAKEN, "east", "000012345678", {"energy_active_import": "6489.620"})}
    customer = Standing(
        account="1001", balance_e4=153_900, days_left=3, alert="alert 1", last_top_up="50.00"
    )
    return Moment(
        now=TAKEN_AT + 3,
        elapsed_s=elapsed_s,
        broker="mosquitto on 127.0.0.1:1883",
        state=shown,
        meters=meters if shown else {},
        summary=Ledger().summary(),
        standings={"A1": customer} if shown else {},
        sold=2,
        cut="1006: is cut in 9 s",
        hint="Ctrl-C ends it.",
        more=("taiqu disconnect why 1006", "Simulated."),
    )


def test_a_wide_window_shows_everything() -> None:
    lines = page(moment(state(TAKEN_AT)), 160, 40)

    (row,) = [line for line in lines if line.startswith("A1")]
    assert row.split() == [
        *("A1", "east", "000012345678", "single-phase", "6489.62", "-", "-", "-", "silent"),
        *("1001", "15.39", "3", "d", "alert", "1", "50.00"),
    ]
    assert lines[0] == "taiqu demo, 45 s: 1 accounts, 15.39 yuan left, 1 low, 2 top-ups sold"
    assert "east: in use 13%, 321 exchanges, 10 silent" in lines
    assert lines[1] == "1006: is cut in 9 s"
    assert lines[-3:] == ["Ctrl-C ends it.", "taiqu disconnect why 1006", "Simulated."]


@pytest.mark.parametrize("width", [20, 40, 64, 80, 100])
@pytest.mark.parametrize("height", [1, 5, 12, 24])
def test_any_window_is_filled_and_never_overflown(width: int, height: int) -> None:
    crowd = state(TAKEN_AT)
    crowd["meters"] *= 40
    for shown in (crowd, None):
        lines = page(moment(shown), width, height)

        assert 1 <= len(lines) <= max(1, height - 1)
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("taiqu demo"[:width])


def test_a_narrow_window_keeps_what_matters() -> None:
    header = page(moment(state(TAKEN_AT)), 48, 24)[3]

    assert header.split() == ["meter", "import", "kWh", "voltage", "V", "power", "W", "read"]


def test_a_usual_window_shows_the_money() -> None:
    header = page(moment(state(TAKEN_AT)), 80, 24)[3]

    assert header.split()[-4:] == ["account", "balance", "lasts", "alert"]


def test_a_usual_window_shows_all_meters_and_the_way_out() -> None:
    crowd = state(TAKEN_AT)
    crowd["meters"] *= 16
    crowd["lines"] *= 2
    crowd["link"] |= {"up": True, "reason": ""}
    lines = page(moment(crowd), 80, 24)

    assert len(lines) == 23
    assert len([line for line in lines if line.startswith("A1")]) == 16
    assert lines[1] == "1006: is cut in 9 s"
    assert lines[-1] == "Ctrl-C ends it."
    assert any(line.endswith("0 gaps") for line in lines)
    assert not any("mosquitto" in line for line in lines)

    later = page(moment(crowd, 50.0), 80, 24)
    assert later[-1] == "taiqu disconnect why 1006"

    crowd["link"] |= {"up": False, "reason": "nobody listens"}
    assert any("not connected: nobody listens" in line for line in page(moment(crowd), 80, 24))


def test_meters_that_do_not_fit_are_counted() -> None:
    crowd = state(TAKEN_AT)
    crowd["meters"] *= 16
    lines = page(moment(crowd), 80, 14)

    rows = [line for line in lines if line.startswith("A1")]
    assert f"... {16 - len(rows)} meters more; make the window higher" in lines
    assert 0 < len(rows) < 16
    assert lines[-1] == "Ctrl-C ends it."


def test_a_line_that_is_down_says_why() -> None:
    shown = state(TAKEN_AT)
    shown["lines"][0] |= {"up": False, "reason": "gone; was the adapter unplugged?"}

    assert "east: down: gone; was the adapter unplugged?" in page(moment(shown), 120, 40)


def test_a_pipe_gets_a_plain_line_now_and_then() -> None:
    out = io.StringIO()
    screen = Screen(out)
    for elapsed_s in (0.0, 1.0, 4.9, 5.2, 6.0):
        screen.show(moment(state(TAKEN_AT), elapsed_s))
    screen.close()

    lines = out.getvalue().splitlines()
    assert lines == [plain(moment(state(TAKEN_AT), elapsed_s)) for elapsed_s in (0.0, 5.2)]
    assert "\x1b" not in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_given_back_with_the_last_page_on_it() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.show(moment(state(TAKEN_AT)))
    screen.close()
    screen.close()

    before, _, after = out.getvalue().partition("\x1b[?1049l")
    assert before.startswith("\x1b[?1049h")
    assert "A1" in after
    assert "\x1b" not in after


# --- the whole ------------------------------------------------------------------------------------


def children(directory: Path) -> dict[str, int]:
    """The processes that work in ``directory``: command line and process id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if any(os.fsencode(directory) in word for word in words):
                found[os.fsdecode(b" ".join(words))] = int(entry.name)
    return found


@contextlib.contextmanager
def running_demo(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process; whatever the test finds, it is gone afterwards."""
    command = [sys.executable, "-c", "from gateway.technician.cli import main; main()", "demo"]
    with subprocess.Popen(
        [*command, "--directory", str(directory), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_everything_that_is_read_arrives(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--seconds", "10", "--json") as process:
        out, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 0, err
    counts = json.loads(out.splitlines()[-1])
    assert counts["meters"] > 0
    assert counts["readings_taken"] >= counts["meters"]
    assert counts["messages_delivered"] > 0
    assert [counts[name] for name in ("gaps", "lost", "wrong")] == [0, 0, 0]
    assert counts["accounts"] > 0
    assert counts["topups_counted_once"] > 0
    assert [counts[name] for name in ("balances_wrong", "journal_unsound")] == [0, 0]
    assert counts["wrong_cuts"] == 0
    assert children(tmp_path) == {}


def test_being_told_to_stop_is_an_orderly_end(tmp_path: Path) -> None:
    with running_demo(tmp_path) as process:
        assert process.stdout
        first = next(line for line in process.stdout if re.search("[1-9][0-9]* received", line))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE_S)

    assert "messages stored" in first
    assert process.returncode == 0, err
    assert "0 lost, 0 gaps" in out.splitlines()[-1]
    assert children(tmp_path) == {}


def test_a_part_that_dies_ends_the_demo_with_its_log(tmp_path: Path) -> None:
    with running_demo(tmp_path) as process:
        assert process.stdout
        next(line for line in process.stdout if re.search("[1-9][0-9]* received", line))
        (pid,) = [pid for words, pid in children(tmp_path).items() if "-m simulators" in words]
        os.kill(pid, signal.SIGKILL)
        _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 1
    assert "simulators ended by itself" in err
    assert "gateway, last lines of" in err
    assert "Traceback" not in err
    assert children(tmp_path) == {}
