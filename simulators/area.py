"""A whole transformer area (台区) that does not exist: lines, meters, customers, and the truth.

An area is a TOML file::

    seed = 1

    [[line]]
    name = "line1"

    [[line.meter]]
    asset = "A01"
    profile = "dlt645-2007-single-phase"    # a file of config/meters
    address = "000000000001"
    kind = "home"                           # home, shop or solar
    daily_kwh = 9
    baud = 2400                             # else as the profile says; so with parity
    delay_ms = 40
    faults = "late=0.02,babble=0.001"       # see simulators.faults; a [[line]] takes them, too
    relay = "welded"                        # see simulators.relay_scenarios; "any" is drawn

``MeterTable`` says what else a meter may do.  ``demo_area`` is a small area without a file.  The
same seed gives the same customers and the same faults, for ever.

Not supported: line losses and an area meter.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from protocols.base import Value
from protocols.model import Profile
from protocols.profile import SHIPPED, ProfileError, load
from simulators.area_meter import AreaMeter, MeterTable, Name, Table, make_meter
from simulators.faults import NONE, Faults, FaultsError, FaultyLine
from simulators.line import Line, Pair
from simulators.relay_scenarios import ScenarioError

PROFILES = SHIPPED
"""Where the meter models are."""


class AreaError(Exception):
    """An area file cannot be used.  The message lists everything that is wrong with it."""

    def __init__(self, place: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{place}: {problem}" for problem in problems))
        self.problems = tuple(problems)


class LineTable(Table):
    """``[[line]]``."""

    name: Name
    tcp: bool = False
    """Its Modbus meters speak Modbus TCP: no pair, but a network."""
    faults: str = ""
    meter: list[MeterTable] = Field(min_length=1)


class AreaTable(Table):
    """The file."""

    seed: int = 1
    line: list[LineTable] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class AreaLine:
    """One RS-485 line of an area."""

    name: str
    meters: tuple[AreaMeter, ...]
    faults: Faults = NONE
    seed: str = ""

    def open(self) -> Pair:
        """The pair itself, to be spoken to; its faults begin anew."""
        every = [each.meter for meter in self.meters for each in (meter, meter.twin) if each]
        line = Line(every)
        meters = {meter.meter.address: meter.faults for meter in self.meters if meter.faults}
        if not self.faults and not meters:
            return line
        return FaultyLine(line, self.faults, Random(self.seed), meters)


@dataclass(frozen=True, slots=True)
class Area:
    """Lines with meters."""

    lines: tuple[AreaLine, ...]

    @property
    def meters(self) -> dict[str, AreaMeter]:
        """Every meter, by its asset number."""
        return {meter.asset: meter for line in self.lines for meter in line.meters}

    def truth(self, now: float) -> dict[str, dict[str, Value]]:
        """What every meter would show, by asset number and point."""
        return {asset: meter.truth(now) for asset, meter in self.meters.items()}


def load_area(path: Path, profiles: Path = PROFILES) -> Area:
    """Read an area file.  Raises AreaError with every problem found in it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AreaError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise AreaError(str(path), [f"not valid TOML: {error}"]) from error
    return build_area(raw, profiles, str(path))


def demo_area(seed: int = 1, profiles: Path = PROFILES) -> Area:
    """Twelve customers on one line: six with DL/T 645-2007 meters at 9600 baud, six with -1997
    meters at 2400.  On the other line two Modbus meters at 9600 8N1 and two DL/T 645-2007 meters at
    2400 8E1 on the same pair.

    No meter counts money down by itself: balances are the gateway's.  Who is allowed to close the
    relay again presses its button after 8 s.

    Raises AreaError if ``profiles`` lacks a model.
    """
    kinds = ("home", "home", "shop")
    slow = {"baud": 2400, "parity": "E"}
    homes = [
        {
            "asset": f"A{n:02}",
            "profile": f"dlt645-{'2007' if n <= 6 else '1997'}-single-phase",
            "address": f"{20260100 + n:012}",
            "kind": kinds[n % 3],
            "daily_kwh": 6 + 3 * (n % 4),
            "delay_ms": 25 + 5 * (n % 5),
            "preamble": n % 5,
            "prepays": "none",
            "relay": "button=8",
            **({"baud": 9600, "parity": "E"} if n <= 6 else slow),
        }
        for n in range(1, 13)
    ]
    shop = {"kind": "shop", "daily_kwh": 40, "prepays": "none"}
    big = [
        {"asset": "B01", "profile": "eastron-sdm630", "address": "1", **shop},
        {"asset": "B02", "profile": "chint-dtsu666", "address": "2", **shop, "kind": "solar"},
        *(
            {
                "asset": f"B{n:02}",
                "profile": "dlt645-2007-three-phase",
                "address": f"{20260200 + n:012}",
                **shop,
                **slow,
            }
            for n in (3, 4)
        ),
    ]
    lines = [{"name": "line1", "meter": homes}, {"name": "line2", "meter": big}]
    return build_area({"seed": seed, "line": lines}, profiles, "demo area")


def build_area(raw: Mapping[str, Any], profiles: Path, place: str) -> Area:
    """The area that ``raw``, a TOML file's content, describes; errors call it ``place``.

    Raises AreaError with every problem found, those of the profiles included.
    """
    try:
        table = AreaTable.model_validate(raw)
    except ValidationError as error:
        raise AreaError(place, [_problem(one) for one in error.errors()]) from error
    builder = _Builder(table.seed, profiles)
    lines = tuple(builder.line(line) for line in table.line)
    builder.wire(table, lines)
    if builder.problems:
        raise AreaError(place, builder.problems)
    return Area(lines)


@dataclass(slots=True)
class _Builder:
    """Makes meters and lines of their tables, and gathers what is wrong with these."""

    seed: int
    profiles: Path
    problems: list[str] = field(default_factory=list)
    _models: dict[str, Profile | None] = field(default_factory=dict)
    _assets: set[str] = field(default_factory=set)

    def line(self, table: LineTable) -> AreaLine:
        """The line with those of its meters that are right."""
        where = f"line {table.name}"
        meters = [self._meter(meter, where, tcp=table.tcp) for meter in table.meter]
        faults = self._faults(table.faults, where)
        there = tuple(meter for meter in meters if meter)
        return AreaLine(table.name, there, faults, f"{self.seed}/{table.name}")

    def wire(self, table: AreaTable, lines: tuple[AreaLine, ...]) -> None:
        """Put each breaker before the customer that it switches."""
        meters = Area(lines).meters
        for each in (meter for line in table.line for meter in line.meter):
            if each.switches and each.asset in meters:
                if each.switches in meters:
                    meters[each.asset].switch(meters[each.switches])
                else:
                    self.problems.append(
                        f"meter {each.asset}: switches {each.switches}, which is no asset here"
                    )

    def _meter(self, table: MeterTable, where: str, *, tcp: bool) -> AreaMeter | None:
        where = f"{where}, meter {table.asset}"
        if table.asset in self._assets:
            self.problems.append(f"{where}: asset {table.asset} is already taken; choose another")
        self._assets.add(table.asset)
        faults = self._faults(table.faults, where)
        model = self._model(table.profile)
        if model is None:
            return None
        if problem := model.check_address(table.address):
            self.problems.append(f"{where}: address {problem}")
            return None
        if unknown := [point for point in table.refuses if point not in model.points]:
            self.problems.append(f"{where}: refuses {', '.join(unknown)}: no points of its model")
            return None
        try:
            return make_meter(table, model, self.seed, faults, tcp=tcp)
        except ScenarioError as error:
            self.problems.append(f"{where}: relay: {error}")
            return None

    def _model(self, name: str) -> Profile | None:
        if name not in self._models:
            self._models[name] = None
            try:
                self._models[name] = load(self.profiles / f"{name}.toml")
            except ProfileError as error:
                self.problems += [f"profile {name}: {problem}" for problem in error.problems]
        return self._models[name]

    def _faults(self, text: str, where: str) -> Faults:
        try:
            return Faults.parse(text)
        except FaultsError as error:
            self.problems.append(f"{where}: faults: {error}")
            return NONE


def _problem(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"])) or "file"
    return f"{place}: {error['msg']}, found {error['input']!r:.60}"
