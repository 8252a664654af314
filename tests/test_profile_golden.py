"""Every meter model reads real frames as its golden file says; a model without one fails here.

A golden file is tests/golden/profile-<model>.txt, any number of cases:

    # what it shows, and where the frames are from
    ?? 000000000161 energy_active_import power_active       the meter's address, the points asked
    !! 0001FF00                                             what this meter refused before (or none)
    >> FE FE FE FE 68 61 01 00 00 00 00 68 11 04 ...        the requests, each with its reply
    << 68 61 01 00 00 00 00 68 91 08 ...
    => energy_active_import 0.260 kWh                       the values, in any order

    ?= 1                                                    the meter's address, asked who it is
    >> 01 03 89 60 00 02 ...                                one request for each sign of the model
    << 01 03 04 42 32 33 20 ...
    => known                                                or: unknown
"""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocols.base import Quality, Reply, Value
from protocols.identify import recognised
from protocols.modbus import rtu
from protocols.model import ModbusProfile
from protocols.profile import Profile, load

ROOT = Path(__file__).parent.parent
MODELS = sorted((ROOT / "config" / "meters").glob("*.toml"))
GOLDEN = sorted((ROOT / "tests" / "golden").glob("profile-*.txt"))


@dataclass
class Case:
    address: str
    points: list[str]
    refused: frozenset[str] = frozenset()
    who: bool = False
    sent: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


def cases(path: Path) -> list[Case]:
    found: list[Case] = []
    for line in path.read_text().splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "??":
            address, *points = rest.split()
            found.append(Case(address, points))
        elif mark == "?=":
            found.append(Case(rest, [], who=True))
        elif mark == "!!":
            found[-1].refused = frozenset(rest.split())
        elif mark == ">>":
            found[-1].sent.append(bytes.fromhex(rest))
        elif mark == "<<":
            found[-1].received.append(bytes.fromhex(rest))
        elif mark == "=>":
            name, _, value = rest.partition(" ")
            found[-1].values[name] = value
        else:
            assert not line or mark == "#", f"{path.name}: what is {line!r}?"
    return found


def in_words(value: Value) -> str:
    if value.quality is not Quality.GOOD:
        return value.quality.value
    return f"{value.text()} {value.unit}".strip()


def answer(profile: Profile, case: Case) -> dict[str, str]:
    codec = profile.codec()
    plan = profile.plan(case.address, case.points, case.refused)
    assert [codec.encode(exchange.request).hex(" ") for exchange in plan] == [
        sent.hex(" ") for sent in case.sent
    ]
    values: dict[str, Value] = {}
    for exchange, received in zip(plan, case.received, strict=True):
        reply, used = codec.decode(received, exchange.request)
        assert isinstance(reply, Reply)
        assert used == len(received)
        values |= exchange.values(reply.data)
    return {name: in_words(value) for name, value in values.items()}


def who(profile: Profile, case: Case) -> dict[str, str]:
    assert isinstance(profile, ModbusProfile)
    unit, answers = int(case.address), {}
    requests = [sign.request(unit) for sign in profile.signs]
    assert [rtu.encode(request).hex(" ") for request in requests] == [
        sent.hex(" ") for sent in case.sent
    ]
    for request, received in zip(requests, case.received, strict=True):
        reply, _ = rtu.decode(received, request)
        assert isinstance(reply, Reply)
        answers[request] = reply.data
    return {"known" if recognised(profile.signs, unit, answers) else "unknown": ""}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    profile = load(ROOT / "config" / "meters" / f"{path.stem.removeprefix('profile-')}.toml")

    for case in cases(path):
        assert (who if case.who else answer)(profile, case) == case.values


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_model_has_a_golden_file_that_asks_its_default_points(path: Path) -> None:
    golden = ROOT / "tests" / "golden" / f"profile-{path.stem}.txt"
    assert golden.exists(), f"{path.name}: write {golden.relative_to(ROOT)}"

    asked = {point for case in cases(golden) for point in case.points}
    assert set(load(path).default_points) <= asked


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_sign_of_a_model_is_shown_by_its_golden_file(path: Path) -> None:
    profile = load(path)
    asked = [case for case in cases(ROOT / f"tests/golden/profile-{path.stem}.txt") if case.who]

    has_signs = isinstance(profile, ModbusProfile) and bool(profile.signs)
    assert has_signs == any("known" in case.values for case in asked)
