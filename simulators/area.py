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

``demo_area`` is a small area without a file.  The same seed gives the same customers, for ever.

Not supported: line losses and an area meter.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from protocols.base import Value
from protocols.model import ModbusProfile, Profile
from protocols.profile import SHIPPED, ProfileError, load
from simulators.dlt645_meter import DLT645Meter
from simulators.household import Household
from simulators.line import Line
from simulators.load import Kind
from simulators.meter import Meter, Settings
from simulators.modbus_meter import ModbusMeter

PROFILES = SHIPPED
"""Where the meter models are."""

Name = Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$")]


class AreaError(Exception):
    """An area file cannot be used.  The message lists everything that is wrong with it."""

    def __init__(self, place: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{place}: {problem}" for problem in problems))
        self.problems = tuple(problems)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MeterTable(_Table):
    """``[[line.meter]]``."""

    asset: Name
    profile: str = Field(min_length=1)
    address: str
    kind: Kind = Field(Kind.HOME, strict=False)
    daily_kwh: int = Field(9, ge=1, le=500)
    baud: int | None = Field(None, ge=50, le=4_000_000)
    parity: Literal["N", "E", "O"] | None = None
    delay_ms: int = Field(40, ge=0, le=5000)
    preamble: int = Field(4, ge=0, le=20)
    data_bytes_max: int = Field(200, ge=16, le=200)
    blocks: bool = True


class LineTable(_Table):
    """``[[line]]``."""

    name: Name
    tcp: bool = False
    """Its Modbus meters speak Modbus TCP: no pair, but a network."""
    meter: list[MeterTable] = Field(min_length=1)


class AreaTable(_Table):
    """The file."""

    seed: int = 1
    line: list[LineTable] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class AreaMeter:
    """One meter of an area: what a configuration needs to know of it, and what stands behind it."""

    asset: str
    profile: Profile
    address: str
    settings: Settings
    household: Household
    meter: Meter

    def truth(self, now: float) -> dict[str, Value]:
        """What it would show if it had enough digits, for every point of its profile it has."""
        exact = self.household.truth(now)
        return {point: exact[point] for point in self.profile.points if point in exact}


@dataclass(frozen=True, slots=True)
class AreaLine:
    """One RS-485 line of an area."""

    name: str
    meters: tuple[AreaMeter, ...]

    def open(self) -> Line:
        """The pair itself, to be spoken to."""
        return Line([meter.meter for meter in self.meters])


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
    """Twelve customers at 2400 baud on one line; on the other two Modbus meters at 9600 8N1 and two
    DL/T 645 meters at 2400 8E1 on the same pair.

    Raises AreaError if ``profiles`` lacks a model.
    """
    kinds = ("home", "home", "shop")
    slow = {"baud": 2400, "parity": "E"}
    homes = [
        {
            "asset": f"A{n:02}",
            "profile": "dlt645-2007-single-phase",
            "address": f"{20260100 + n:012}",
            "kind": kinds[n % 3],
            "daily_kwh": 6 + 3 * (n % 4),
            "delay_ms": 25 + 5 * (n % 5),
            "preamble": n % 5,
            **slow,
        }
        for n in range(1, 13)
    ]
    shop = {"kind": "shop", "daily_kwh": 40}
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
    problems: list[str] = []
    models: dict[str, Profile] = {}
    for name in sorted({meter.profile for line in table.line for meter in line.meter}):
        try:
            models[name] = load(profiles / f"{name}.toml")
        except ProfileError as error:
            problems += [f"profile {name}: {problem}" for problem in error.problems]
    lines = []
    assets: set[str] = set()
    for line in table.line:
        meters = []
        for meter in line.meter:
            where = f"line {line.name}, meter {meter.asset}"
            if meter.asset in assets:
                problems.append(f"{where}: asset {meter.asset} is already taken; choose another")
            assets.add(meter.asset)
            model = models.get(meter.profile)
            problem = model.check_address(meter.address) if model else None
            if problem:
                problems.append(f"{where}: address {problem}")
            elif model:
                meters.append(_meter(meter, model, table.seed, tcp=line.tcp))
        lines.append(AreaLine(line.name, tuple(meters)))
    if problems:
        raise AreaError(place, problems)
    return Area(tuple(lines))


def _meter(table: MeterTable, profile: Profile, seed: int, *, tcp: bool) -> AreaMeter:
    household = Household(
        f"{seed}/{table.asset}",
        kind=table.kind,
        phases=3 if "voltage_l2n" in profile.points else 1,
        daily_wh=table.daily_kwh * 1000,
    )
    settings = Settings(table.baud or profile.line.baud, table.parity or profile.line.parity)
    delay_s = table.delay_ms / 1000
    meter: Meter
    if isinstance(profile, ModbusProfile):
        unit = int(table.address)
        meter = ModbusMeter(unit, household, profile, settings=settings, delay_s=delay_s, tcp=tcp)
    else:
        meter = DLT645Meter(
            table.address,
            household,
            settings=settings,
            delay_s=delay_s,
            preamble=table.preamble,
            data_bytes_max=table.data_bytes_max,
            blocks=table.blocks,
        )
    return AreaMeter(table.asset, profile, table.address, settings, household, meter)


def _problem(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"])) or "file"
    return f"{place}: {error['msg']}, found {error['input']!r:.60}"
