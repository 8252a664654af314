"""A day on lines where everything goes wrong at once: what is published is true all the same."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from protocols.base import Value
from protocols.points import point as meaning_of
from simulators.area import PROFILES, Area, build_area
from simulators.faults import Faults, FaultyLine
from tests.world import START, World

DAY_S = 86_400.0
PERIOD_S = 900
LATEST_S = 8.0
"""A value may be this much older than its time: an answer to a try before is an answer."""
WIRE = (
    "bit_errors=1e-5,lost=0.002,extra=0.002,doubled=0.002,echo=0.05,echo_part=0.02,"
    "split=0.05,tail=0.02,ghost=0.02,noise=0.02"
)
SINGLE, THREE = "dlt645-2007-single-phase", "dlt645-2007-three-phase"
TARIFFS = [f"energy_active_import_t{n}" for n in (1, 2, 3, 4)]
POINTS = {
    SINGLE: [
        *("energy_active_import", *TARIFFS, "voltage_l1n", "current_l1", "power_active"),
        *("status_word_3", "relay_state", "energy_active_import_daily_freeze"),
    ],
    THREE: [
        *("energy_active_import", *TARIFFS, "voltage_l1n", "voltage_l2n", "voltage_l3n"),
        *("current_l1", "power_active", "power_active_l1", "status_word_3"),
    ],
}
ALWAYS = {"status_word_3": "0", "relay_state": "closed"}
CULPRITS = {
    "late": "late=0.5",
    "silence": "silence=0.05,silence_s=7200",
    "babble": "babble=0.05",
    "misread": "misread=0.6",
    "foreign": "foreign=0.5",
}
INNOCENT = ("Q-", "M-sdm", "M-dtsu", "M-645")
DOUBLED = {"C-twin": "H-twin", "C-pair": "H-pair"}
HIDDEN = set(DOUBLED.values())
EVERY_KIND = [each.name for each in fields(Faults) if not each.name.endswith("_s")]
NAMED = {
    "C-late": ("faults", "silent"),  # in time it says nothing
    "C-silence": ("faults", "silent"),
    "C-babble": ("strays", "damaged"),  # it answers, and then does not stop
    "C-misread": ("faults", "damaged"),
    "C-foreign": ("strays", "foreign"),
    "C-speed": ("faults", "silent"),
    "C-twin": ("faults", "damaged"),
    "C-pair": ("strays", "late"),
    "M-late": ("faults", "silent"),
    "M-silence": ("faults", "silent"),
    "M-misread": ("faults", "damaged"),
    "M-foreign": ("strays", "foreign"),
}
"""What the live state must show of each culprit."""
Truth = Mapping[str, Value]
CLOCKS_S = 300
"""A meter freezes at its own midnight; its clock may be this far off."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def area_of_faults(seed: int) -> Area:
    """Innocent meters with their makers' quirks, and beside them a culprit of each kind."""
    quirks: dict[str, dict[str, Any]] = {
        "Q-plain": {},
        "Q-blocks": {"blocks": False},
        "Q-frames": {"data_bytes_max": 16, "preamble": 0},
        "Q-filler": {"filler": "AA", "wildcard_header": True},
        "Q-refuses": {"refuses": ["power_active"], "filler": "DD"},
        "Q-clock": {"clock_offset_s": -200, "clock_drift_ppm": 300},
        "Q-rolls": {
            # A year of 60 kWh a day until the day begins, and some 40 kWh into it.
            "start_wh": 800_000_000 - 365 * 60_000 - 40_000,
            "rollover_wh": 800_000_000,
            "daily_kwh": 60,
        },
        "Q-swapped": {"swapped_at": NOON},
        "Q-slow": {"delay_ms": 480},
        "Q-zeros": {"profile": THREE, "absent": "00"},
    }
    culprits: dict[str, dict[str, Any]] = {
        **{f"C-{kind}": {"faults": spec} for kind, spec in CULPRITS.items()},
        "C-speed": {"baud": 4800},
        # Of two answers at one address one hurts the other, or comes after it.
        "C-twin": {"address": "000000000999", "delay_ms": 40},
        "H-twin": {"address": "000000000999", "delay_ms": 60},
        "C-pair": {"address": "000000000998", "delay_ms": 40},
        "H-pair": {"address": "000000000998", "delay_ms": 320},
    }
    rows = [
        {"asset": asset, "profile": SINGLE, "address": f"{n:012}", **table}
        for n, (asset, table) in enumerate((quirks | culprits).items(), 101)
    ]
    mixed: list[dict[str, Any]] = [
        {"asset": "M-sdm", "profile": "eastron-sdm630", "address": "1", "kind": "shop"},
        {"asset": "M-dtsu", "profile": "chint-dtsu666", "address": "2", "kind": "solar"},
        {"asset": "M-645", "profile": SINGLE, "address": "000000000201"},
        *(
            {"asset": f"M-{kind}", "profile": "eastron-sdm630", "address": f"{n}", "faults": spec}
            for n, (kind, spec) in enumerate(CULPRITS.items(), 11)
        ),
    ]
    lines = [
        {"name": "slow", "meter": rows, "faults": WIRE},
        {"name": "mixed", "meter": mixed, "faults": WIRE},
    ]
    return build_area({"seed": seed, "line": lines}, PROFILES, "the fault day")


@dataclass(frozen=True)
class Reading:
    """What of one meter reached the head-end at once."""

    meter: str
    taken: float
    values: dict[str, str]
    frozen: float | None = None
    """A daily freeze: the midnight at which its registers stood like this."""


def readings(world: World) -> Iterator[Reading]:
    for _, _, payload in world.broker.arrived:
        for one in json.loads(payload).get("readings", ()):
            taken = datetime.fromisoformat(one["taken"]).timestamp()
            stamp = one.get("frozen")
            frozen = datetime.fromisoformat(stamp["at"]).timestamp() if stamp else None
            yield Reading(one["meter"], taken, one["values"], frozen)


def wrong_values(world: World, reading: Reading) -> list[str]:
    """Each value that no meter at this address showed, in words."""
    meters = [world.area.meters[reading.meter]]
    if reading.meter in DOUBLED:
        meters.append(world.area.meters[DOUBLED[reading.meter]])
    begin, end = reading.taken - LATEST_S, reading.taken
    if reading.frozen is not None:
        begin, end = reading.frozen - CLOCKS_S, reading.frozen + CLOCKS_S
    truths = [(m.truth(begin), m.truth(end)) for m in meters]
    return [
        f"{reading.meter} {name} = {text} at {reading.taken - START:.1f} s,"
        f" but it showed {truths[0][1][name].text() if name in truths[0][1] else ALWAYS.get(name)}"
        for name, text in reading.values.items()
        if not any(_shown(_register(name, reading), text, *truth) for truth in truths)
    ]


def _register(name: str, reading: Reading) -> str:
    """A collected freeze is what the register itself showed at that midnight."""
    return name if reading.frozen is None else name.removesuffix("_daily_freeze")


def _shown(name: str, text: str, before: Truth, after: Truth) -> bool:
    """Whether a meter showed this between two moments."""
    if name in ALWAYS:
        return text == ALWAYS[name]
    known = meaning_of(name)
    if name not in after or known is None:
        return Decimal(text) == 0  # what a customer has not is shown as nothing
    value, low, high = (Decimal(t or "") for t in (text, before[name].text(), after[name].text()))
    if not known.cumulative:
        return min(abs(value - low), abs(value - high)) <= TOLERANCES[known.unit]
    step = Decimal("0.01")  # kWh, what the coarsest register shows
    if high < low:  # it rolled over, or was swapped
        return value >= low - step or value <= high + step
    return low - step <= value <= high + step


TOLERANCES = {
    "V": Decimal("0.06"),
    "A": Decimal("0.0006"),
    "W": Decimal("0.06"),
    "": Decimal("0.0006"),
    "Hz": Decimal("0.006"),
}


def assert_on_time(world: World, asset: str) -> None:
    """Every point that was ever read was read in each cycle, or at least in every other."""
    period_s, end = PERIOD_S, world.clock.now()
    cycles: dict[str, list[int]] = {}
    for reading in readings(world):
        if reading.meter == asset and reading.frozen is None:
            for name in reading.values:
                cycles.setdefault(name, []).append(int(reading.taken // period_s))
    assert cycles, f"{asset} was never read"
    for name, read in cycles.items():
        expected = [int(START // period_s) - 1, *sorted(read), int(end // period_s)]
        longest = max(b - a for a, b in pairwise(expected))
        assert longest <= 2, f"{asset}: {name} was {longest} cycles old"


def assert_named(world: World, culprit: str, where: str, kind: str) -> None:
    """The live state shows more errors of this kind with the culprit than with any innocent."""
    states = {meter["asset"]: meter for meter in world.states[0]["meters"]}
    errors: dict[str, int] = {
        asset: (state["faults"] if where == "faults" else state["strays"]).get(kind, 0)
        for asset, state in states.items()
        if state["line"] == states[culprit]["line"]
    }
    most = max(errors[asset] for asset in errors if asset.startswith(INNOCENT))
    # What a babbling device says late is counted with the meter that is asked meanwhile.
    margin = 2 if where == "faults" else 1
    assert errors[culprit] > margin * most, f"{culprit}: {kind}: {errors}"


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(1, 9))]
)
def test_a_day_of_every_fault_at_once(tmp_path: Path, seed: int) -> None:
    area = area_of_faults(seed)
    world = World(tmp_path, seed, period_s=PERIOD_S, area=area, hidden=HIDDEN, points=POINTS)
    world.run(DAY_S)

    taken = list(readings(world))
    problems = [problem for reading in taken for problem in wrong_values(world, reading)]
    assert not problems, f"seed {seed}: {len(problems)} wrong values, first {problems[:5]}"
    assert sum(len(reading.values) for reading in taken) > 15_000, f"seed {seed}"
    injected = sum((pair.injected for pair in faulty(world)), Counter[str]())
    assert all(injected[kind] for kind in EVERY_KIND), f"seed {seed}: {injected}"
    for asset in area.meters:
        if asset.startswith(INNOCENT):
            assert_on_time(world, asset)
    for culprit, error in NAMED.items():
        assert_named(world, culprit, *error)
    assert_quirks_were_met(world, taken)
    world.stop()


def faulty(world: World) -> list[FaultyLine]:
    pairs = [wire.pair for wire in world.wires.values()]
    return [pair for pair in pairs if isinstance(pair, FaultyLine)]


def assert_quirks_were_met(world: World, taken: list[Reading]) -> None:
    """The day really had what it was made for."""
    shown = {
        asset: [
            Decimal(r.values["energy_active_import"])
            for r in taken
            if r.meter == asset and "energy_active_import" in r.values
        ]
        for asset in ("Q-rolls", "Q-swapped", "Q-plain")
    }
    falls = {asset: sum(b < a for a, b in pairwise(v)) for asset, v in shown.items()}
    assert falls == {"Q-rolls": 1, "Q-swapped": 1, "Q-plain": 0}
    refused = {meter["asset"]: meter["refused"] for meter in world.states[0]["meters"]}
    assert refused["Q-blocks"] == ["0001FF00"]
    assert refused["Q-refuses"] == ["02030000"]
    assert not any(keys for asset, keys in refused.items() if asset.startswith("C-"))


NOISY = "bit_errors=1e-3"


def noisy_world(directory: Path, seed: int) -> World:
    """Ordinary meters on a pair so bad that every fourth exchange fails."""
    rows = [{"asset": f"Q-{n}", "profile": SINGLE, "address": f"{n:012}"} for n in range(1, 7)]
    line = {"name": "slow", "meter": rows, "faults": NOISY}
    area = build_area({"seed": seed, "line": [line]}, PROFILES, "the noisy pair")
    world = World(directory, seed, period_s=60, area=area, points=POINTS)
    world.run(10_000)
    return world


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = noisy_world(tmp_path_factory.mktemp("noisy"), seed=2)
    yield world
    world.stop()


def test_a_very_noisy_line_takes_no_point_and_no_meter_away(noisy: World) -> None:
    [pair] = faulty(noisy)
    assert pair.injected["bit_errors"] > 2000
    for meter in noisy.states[0]["meters"]:
        assert not meter["refused"], meter
        assert not meter["silent"], meter
        # Each poll is six exchanges of which every fourth fails, and a first miss ends its tries.
        assert meter["answered"] > 0.9 * meter["asked"], meter


def test_a_very_noisy_line_publishes_no_wrong_register(noisy: World) -> None:
    taken = [
        replace(reading, values={n: v for n, v in reading.values.items() if _is_register(n)})
        for reading in readings(noisy)
    ]
    assert sum(len(reading.values) for reading in taken) > 5000
    problems = [problem for reading in taken for problem in wrong_values(noisy, reading)]
    assert not problems, f"seed 2: {problems}"


def _is_register(name: str) -> bool:
    known = meaning_of(name)
    return known is not None and known.cumulative


def test_the_same_seed_gives_the_same_faulty_day(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        area = area_of_faults(seed)
        world = World(tmp_path / name, seed, area=area, hidden=HIDDEN, points=POINTS)
        world.run(1800)
        digests.append((world.digest, [pair.injected for pair in faulty(world)]))
        world.stop()

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
