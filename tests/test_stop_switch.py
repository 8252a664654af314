"""The manual stop: a file, a line, an order; R25."""

import os
from pathlib import Path

import pytest

from gateway.switching.stop_switch import Pin, StopSwitch


def switch(directory: Path, pin: Pin | None = None, ordered: str = "") -> StopSwitch:
    return StopSwitch(directory, pin, lambda: ordered)


def test_r25_a_file_stops_and_goes_on_stopping_after_a_restart(tmp_path: Path) -> None:
    assert switch(tmp_path).stopped() == ""
    (tmp_path / "stop").touch()
    for _ in range(2):
        assert switch(tmp_path).stopped() == f"{tmp_path}/stop is there: remove it to go on"
    (tmp_path / "stop").unlink()
    assert switch(tmp_path).stopped() == ""


def test_a_name_that_leads_nowhere_stops_as_well(tmp_path: Path) -> None:
    (tmp_path / "stop").symlink_to(tmp_path / "gone")
    assert switch(tmp_path).stopped()


def test_where_the_file_cannot_be_looked_for_nobody_is_cut(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the directory was")
    assert "cannot be looked for" in switch(tmp_path / "store").stopped()


@pytest.mark.parametrize(
    ("level", "stop", "said"),
    [
        (b"0\n", "0", "is on"),
        (b"1\n", "0", ""),
        (b"1", "1", "is on"),
        (b"0\n", "1", ""),
        (b"", "0", "shows neither 0 nor 1"),
        (b"7", "0", "shows neither 0 nor 1"),
        (b"01", "0", "shows neither 0 nor 1"),
        (b"\xff" * 100, "0", "shows neither 0 nor 1"),
    ],
)
def test_r25_a_line(tmp_path: Path, level: bytes, stop: str, said: str) -> None:
    path = tmp_path / "value"
    path.write_bytes(level)
    found = switch(tmp_path, Pin(path, stop)).stopped()
    assert said in found
    assert bool(said) == bool(found)


def test_a_line_that_cannot_be_read_stops(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in switch(tmp_path, Pin(tmp_path / "value")).stopped()
    os.mkfifo(tmp_path / "pipe")
    assert switch(tmp_path, Pin(tmp_path / "pipe")).stopped(), "and does not wait for a writer"


def test_r25_an_order_stops(tmp_path: Path) -> None:
    assert switch(tmp_path, ordered="key watch ordered it: storm").stopped() == (
        "key watch ordered it: storm"
    )


def test_all_reasons_are_named_and_each_turn_is_told_once(tmp_path: Path) -> None:
    ordered = [""]
    stop = StopSwitch(tmp_path, None, lambda: ordered[0])
    assert stop.turned() is None
    (tmp_path / "stop").touch()
    ordered[0] = "an order"
    reason = stop.turned()
    assert reason
    assert "remove it" in reason
    assert reason.endswith("; an order")
    assert stop.turned() is None
    (tmp_path / "stop").unlink()
    assert stop.turned() == "an order"
    ordered[0] = ""
    assert stop.turned() == ""
    assert stop.turned() is None


def test_after_a_restart_a_stop_that_stands_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    assert switch(tmp_path).turned()
