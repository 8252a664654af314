"""``taiqu simulate`` as a process of its own: real pseudo terminals, orders, signals, peers."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from click.testing import CliRunner

from protocols import dlt645, modbus
from protocols.base import Codec, Reply, Request
from simulators.__main__ import main
from simulators.area import PROFILES
from tests.mosquitto import require

DEADLINE_S = 20
READ = dlt645.read("000020260203", "00010000")
ASK = modbus.Request(1, 4, 0, 2)


@contextmanager
def simulate(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program, ended by SIGTERM; it must end well."""
    program = [sys.executable, "-m", "simulators", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def order(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return line_of(process)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    folder = tmp_path_factory.mktemp("area")
    with simulate("--area", "demo", "--directory", str(folder)) as process:
        assert line_of(process) == f"line1: {folder}/line1, 12 meter(s)"
        assert line_of(process) == f"line2: {folder}/line2, 4 meter(s)"
        yield folder, process
    assert not (folder / "line1").is_symlink()


@contextmanager
def opened(path: Path, baud: int) -> Iterator[serial.Serial]:
    # Parity does not exist on a pseudo terminal, and asking for it twice is an error there.
    with serial.Serial(str(path), baud, timeout=0.1) as port:
        port.reset_input_buffer()
        yield port


def exchange(port: serial.Serial, codec: Codec[Request], request: Request) -> Reply:
    """Ask, and wait for the answer."""
    port.write(codec.encode(request))
    heard = b""
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        heard += port.read(256)
        reply, _ = codec.decode(heard, request)
        if isinstance(reply, Reply):
            return reply
    pytest.fail(f"no answer, heard {heard.hex()}")


def test_two_protocols_at_two_speeds_on_one_pair(
    demo: tuple[Path, subprocess.Popen[str]],
) -> None:
    folder, _ = demo
    for _ in range(2):
        with opened(folder / "line2", 2400) as port:
            energy = exchange(port, dlt645, READ)  # type: ignore[arg-type]
            assert len(energy.data) == 4
        with opened(folder / "line2", 9600) as port:
            voltage = exchange(port, modbus.rtu, ASK)  # type: ignore[arg-type]
            assert len(voltage.data) == 4


def test_a_meter_at_another_speed_is_deaf(demo: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, _ = demo
    with opened(folder / "line2", 4800) as port:
        port.write(dlt645.encode(READ))
        port.baudrate = 9600
        # Only the second request is understood: nothing else comes before its answer.
        port.write(modbus.rtu.encode(ASK))
        heard = b""
        while len(heard) < 9:
            data = port.read(9 - len(heard))
            heard += data
    assert modbus.rtu.decode(heard, ASK)[1] == 9


def test_orders_are_obeyed_and_answered(demo: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, process = demo

    assert order(process, "silence B03") == "B03 is silent"
    with opened(folder / "line2", 2400) as port:
        port.write(dlt645.encode(READ))
        other = dlt645.read("000020260204", "00010000")
        assert exchange(port, dlt645, other).address == "000020260204"  # type: ignore[arg-type]
    assert order(process, "wake 000020260203") == "000020260203 is awake"
    with opened(folder / "line2", 2400) as port:
        assert exchange(port, dlt645, READ).address == "000020260203"  # type: ignore[arg-type]
    assert order(process, "silence X9").startswith("no meter 'X9'; there are: A01, ")
    assert order(process, "dance").startswith("unknown order 'dance'; use: silence ADDRESS")


def mbpoll(*arguments: str) -> list[float]:
    """What the values are, as told by a master of other authors (mbpoll on libmodbus)."""
    require("mbpoll")
    done = subprocess.run(
        ["mbpoll", "-1", "-o", "5", "-B", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values = re.findall(r"^\[\d+\]:\s+(\S+)", done.stdout, re.MULTILINE)
    return [float(value) for value in values]


def test_mbpoll_reads_our_sdm630_over_rtu(demo: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, _ = demo
    rtu = ("-m", "rtu", "-b", "9600", "-P", "none", str(folder / "line2"))

    volts = mbpoll("-a", "1", "-t", "3:float", "-r", "1", "-c", "3", *rtu)
    assert len(volts) == 3
    assert all(198 < value < 236 for value in volts)


def test_mbpoll_reads_our_dtsu666_over_tcp() -> None:
    profile = str(PROFILES / "chint-dtsu666.toml")
    with simulate("--profile", profile, "--address", "9", "--tcp", "127.0.0.1:0") as process:
        port = line_of(process).partition("127.0.0.1:")[2].partition(",")[0]
        tcp = ("-m", "tcp", "-p", port, "127.0.0.1")
        decivolts = mbpoll("-a", "9", "-t", "4:float", "-r", "8199", "-c", "3", *tcp)

    assert len(decivolts) == 3
    assert all(1980 < value < 2360 for value in decivolts)


def test_meters_named_on_the_command_line(tmp_path: Path) -> None:
    link = tmp_path / "line"
    addresses = ("000000000001", "000000000002")
    named = [word for address in addresses for word in ("--dlt645", address)]
    with simulate(*named, "--baud", "9600", "--pty", str(link)) as process:
        assert line_of(process) == f"line1: {link}, 2 meter(s)"
        with opened(link, 9600) as port:
            for address in addresses:
                request = dlt645.read(address, "0201FF00")
                assert len(exchange(port, dlt645, request).data) == 6  # type: ignore[arg-type]


def test_the_end_of_its_orders_does_not_end_it(tmp_path: Path) -> None:
    link = tmp_path / "line"
    with simulate("--dlt645", "000000000001", "--pty", str(link)) as process:
        assert line_of(process).startswith("line1: ")
        assert process.stdin
        process.stdin.close()
        with opened(link, 2400) as port:
            request = dlt645.read("000000000001", "00010000")
            assert len(exchange(port, dlt645, request).data) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ("", 2, "say who to be: one of --area, --profile, --dlt645"),
        ("--area demo", 2, "--area needs --directory"),
        ("--area demo --directory d --tcp h:1", 2, "--area has several lines"),
        ("--dlt645 000000000001 --tcp 1502", 2, "'1502' is no address; write HOST:PORT"),
        ("--dlt645 000000000001 --pty a --tcp h:1", 2, "choose one of --pty and --tcp"),
        ("--dlt645 000000000001 --directory d", 2, "--directory goes with --area"),
        ("--dlt645 12", 1, "address '12' is no DL/T 645 address"),
        ("--profile no.toml", 1, "profile no: cannot be read"),
        ("--area no.toml --directory d", 1, "no.toml: cannot be read"),
    ],
)
def test_wrong_use_is_explained(arguments: str, status: int, text: str) -> None:
    result = CliRunner().invoke(main, arguments.split())

    assert result.exit_code == status
    assert text in result.output


def stream(port: serial.Serial, request: dlt645.Request, times: int) -> bytes:
    """All that is heard until ``request`` has been answered so often, and one byte more."""
    heard, done = b"", 0
    for _ in range(times):
        port.write(dlt645.encode(request))
        frame = None
        while frame is None:
            byte = port.read(1)
            assert byte, f"nothing within {DEADLINE_S} s after {heard.hex()}"
            heard += byte
            frame, used = dlt645.find_frame(heard[done:])
        done += used
    return heard + port.read(1)


def test_faults_are_seen_on_a_real_pty_by_seed(tmp_path: Path) -> None:
    link, request = tmp_path / "faulty", dlt645.read("000000000001", "04000401")
    options = ("--dlt645", "000000000001", "--pty", str(link), "--baud", "2400")
    heard = []
    for faults in ((), ("--faults", "noise=1"), ("--faults", "noise=1")):
        with simulate(*options, *faults, "--seed", "3") as process:
            line_of(process)
            # Without faults the byte more does not come; a pty is opened anew, not set anew.
            wait_s = DEADLINE_S if faults else 1.0
            with serial.Serial(str(link), 2400, parity="E", timeout=wait_s) as port:
                heard.append(stream(port, request, 3))

    assert len(heard[0]) % 3 == 0, "without faults there is no byte more"
    assert len(heard[1]) > len(heard[0])
    assert heard[1] == heard[2], "the same seed, the same noise"


def test_faults_that_do_not_exist_are_named() -> None:
    asked = CliRunner().invoke(main, ["--dlt645", "000000000001", "--faults", "latte=1"])

    assert asked.exit_code == 2
    assert "unknown fault 'latte'; there are: all, bit_errors" in asked.output


def test_movements_that_cannot_be_written_down_are_a_mistake_at_the_start(tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "file"
    asked = CliRunner().invoke(main, ["--dlt645", "000000000001", "--movements", str(nowhere)])

    assert asked.exit_code == 2
    assert "No such file or directory" in asked.output
