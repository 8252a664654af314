from dataclasses import replace
from pathlib import Path

import pytest

from gateway.acquisition.health import Health
from gateway.config import load
from gateway.events import Fault, Job, Outcome, PortChanged, Priority
from gateway.livestate import LineState
from gateway.metering.overview import USE_OVER_S, Overview
from protocols import dlt645
from protocols.base import Quality, Stray, Value
from tests.rooms import done, good, missed, refusal, write_config

REQUEST = dlt645.read("000000000001", "00010000")
JOB = Job(id=1, meter="A1", priority=Priority.POLL, requests=(REQUEST,), not_after=60.0)


@pytest.fixture
def overview(tmp_path: Path) -> Overview:
    return Overview(load(write_config(tmp_path)), started=0.0)


def east(overview: Overview, now: float = 0.0) -> LineState:
    return overview.lines(now)[0]


def test_a_line_is_down_until_its_port_is_open(overview: Overview) -> None:
    assert (east(overview)["up"], east(overview)["reason"]) == (False, "not opened yet")
    overview.port(PortChanged("east", True))
    assert (east(overview)["up"], east(overview)["reason"]) == (True, "")
    overview.port(PortChanged("east", False, "unplugged"))
    assert (east(overview)["up"], east(overview)["reason"]) == (False, "unplugged")
    assert overview.lines(0.0)[1]["reason"] == "not opened yet"


def test_exchanges_faults_and_strays_are_counted_by_kind(overview: Overview) -> None:
    outcomes = [
        good(REQUEST, 1.0),
        missed(REQUEST),
        missed(REQUEST, Fault.DAMAGED),
        refusal(REQUEST),
        Outcome(request=REQUEST, fault=Fault.SILENT),
    ]
    event = done("east", JOB, outcomes)
    overview.job(event, 1.0)
    overview.job(replace(event, strays=((Stray.LATE, 2),)), 2.0)

    line = east(overview, 3.0)
    assert line["exchanges"] == 2 * (1 + 3 + 3 + 1)
    assert line["faults"] == {"silent": 4, "damaged": 2, "refused": 2}
    assert line["strays"] == {"late": 2}
    culprit, innocent = overview.meters([Health("A1", "east"), Health("X1", "west")], {})
    assert (culprit["faults"], culprit["strays"]) == (line["faults"], line["strays"])
    assert (innocent["faults"], innocent["strays"]) == ({}, {})
    assert overview.lines(3.0)[1]["exchanges"] == 0


def work(overview: Overview, seconds: int, busy_s: float, start: int = 0) -> None:
    for second in range(start, start + seconds):
        overview.job(done("east", JOB, [good(REQUEST, 1.0)], busy_s=busy_s), second + 1.0)


@pytest.mark.parametrize("seconds", [10, 300, 3600])
def test_the_use_of_a_line_is_right_from_the_beginning(overview: Overview, seconds: int) -> None:
    work(overview, seconds, busy_s=0.4)

    assert east(overview, float(seconds))["use"] == pytest.approx(0.4, abs=0.01)


def test_the_use_follows_and_fades(overview: Overview) -> None:
    work(overview, 3600, busy_s=0.1)
    work(overview, 3600, busy_s=0.9, start=3600)
    assert east(overview, 7200.0)["use"] == pytest.approx(0.9, abs=0.01)

    assert east(overview, 7200.0 + 3 * USE_OVER_S)["use"] < 0.05
    assert overview.lines(7200.0)[1]["use"] == 0.0


def test_a_line_is_never_busier_than_always(overview: Overview) -> None:
    work(overview, 60, busy_s=1.5)

    assert east(overview, 60.0)["use"] == 1.0
    assert Overview(overview._config, started=5.0).lines(5.0)[0]["use"] == 0.0


def test_last_good_values_stay_when_a_meter_has_none(overview: Overview) -> None:
    health = [Health("A1", "east"), Health("X1", "west")]
    overview.values("A1", {"voltage_l1n": Value(2301, 1, "V"), "current_l1": Value(-5, 3, "A")})
    absent = Value(None, 1, "V", Quality.ABSENT)
    overview.values("A1", {"voltage_l1n": absent})

    first, second = overview.meters(health, {})
    assert first["values"] == {"voltage_l1n": "230.1", "current_l1": "-0.005"}
    assert second["values"] == {}


def test_a_meter_is_shown_with_what_is_known_of_it(overview: Overview) -> None:
    health = Health("A1", "east")
    health.bad(0.0, "did not answer", lambda: 0.5)
    assert overview.meters([health], {})[0]["reason"] == "did not answer"
    health.replied(1000.0, 0.1234)
    health.good()

    (meter,) = overview.meters([health], {"A1": {"02010100", "00010000"}})

    assert meter == {
        "asset": "A1",
        "address": "000000000001",
        "line": "east",
        "model": "DL/T 645-2007 single-phase",
        "silent": False,
        "reason": "",
        "last_good": 1000.0,
        "asked": 2,
        "answered": 1,
        "round_trip_ms": 123.4,
        "faults": {},
        "strays": {},
        "refused": ["00010000", "02010100"],
        "values": {},
    }
