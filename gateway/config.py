"""The configuration: TOML in, frozen structs out, every problem reported at once.

Nobody behind this module sees a dict, and nothing behind it checks again.  The meters' profiles
belong to the configuration: a point that a model does not have is a mistake here, not at three in
the morning.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config_reader import ConfigError, Reader
from gateway.config_tables import (
    BAUD_RATES,
    CollectionTable,
    GatewayTable,
    KeysTable,
    LineTable,
    MeterTable,
    MqttTable,
    StoreTable,
    as_fraction,
)
from gateway.events import PortSettings
from gateway.keys import load_keys
from gateway.north.signatures import NO_KEYS, Keys
from protocols.exchanges import DIRECT, Ratio
from protocols.profile import Profile

if TYPE_CHECKING:
    from gateway.config_prepayment import Prepayment
    from gateway.config_switching import Switching

__all__ = ["BAUD_RATES", "Config", "ConfigError", "LineTable", "MeterConfig", "StoreTable", "load"]

MAX_KW = 100
"""More than any meter without transformers in front of it can measure: three phases of 100 A."""
_TABLES = (
    *("gateway", "store", "collection", "mqtt", "keys", "prepayment"),
    *("policy", "voucher_key", "switching", "line", "meter"),
)
GRID = ("energy_active_import", "energy_active_export")
GRID_ELSE = "energy_active_total"
PARITIES = {"none": "N", "even": "E", "odd": "O"}


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One meter, everything resolved: its own settings over those of its profile."""

    asset: str
    line: str
    address: str
    profile: Profile
    points: tuple[str, ...]
    period_s: int
    settings: PortSettings
    timeout_s: float
    guard_s: float
    max_kw: int
    """More than this it cannot have measured: a register that grew faster is read again."""
    ratio: Ratio = DIRECT
    """What the transformers in front of it divide by (倍率)."""
    least_timeout_s: float = 0.25
    """No learned timeout is shorter."""
    grid: tuple[str, ...] = ()
    """The registers that are collected for every moment of the grid; none if it is left out."""
    try_gaps: bool = False
    """Whether reads over unknown registers may be tried (Modbus)."""
    number: str = ""
    """The number that it says it has (表号); empty: nobody knows, so it is never tripped."""
    phase: str = ""
    """``L1`` to ``L3``; empty: all, or nobody knows."""
    direct_close: bool = False
    """The contract lets its supply come back without the customer's button."""


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    path: Path
    gateway: GatewayTable
    store: StoreTable
    collection: CollectionTable
    mqtt: MqttTable
    lines: tuple[LineTable, ...]
    meters: tuple[MeterConfig, ...]
    digest: str
    """SHA-256 of the file and the key file, shortened: the head-end sees when they changed."""
    keys: Keys = NO_KEYS
    """Whose signatures count, as the key file was at the start."""
    prepayment: "Prepayment | None" = None
    """All about money; None: no balance is kept here."""
    switching: "Switching | None" = None
    """All about relays; None: none is switched from here."""
    key_file: Path | None = None
    """Where the keys stand; None: there are none."""

    @property
    def store_directory(self) -> Path:
        """Where the database lives; a relative directory counts from the file."""
        return self.path.parent / self.store.directory

    @property
    def database(self) -> Path:
        """The daemon's file; the daemon alone writes it."""
        return self.store_directory / "taiqu.db"

    @property
    def run_directory(self) -> Path:
        """Where the live state lives."""
        return self.path.parent / self.gateway.run_directory

    def meters_on(self, line: str) -> tuple[MeterConfig, ...]:
        """The meters of one line, in the order of the file."""
        return tuple(meter for meter in self.meters if meter.line == line)


def load(path: Path) -> Config:
    """Read and check the file and the profiles it names.

    Raises ConfigError with every problem in any of them.
    """
    reader = Reader(path)
    data = reader.toml()
    reader.no_others(data, _TABLES)
    gateway = reader.table(GatewayTable, data, "gateway")
    store = reader.table(StoreTable, data, "store")
    collection = reader.table(CollectionTable, data, "collection")
    mqtt = reader.table(MqttTable, data, "mqtt")
    key_table = reader.table(KeysTable, data, "keys")
    key_file = path.parent / key_table.file if key_table and key_table.file else None
    keys, key_bytes = _keys(reader, key_file)
    prepayment, switching = _parts(reader, data)
    lines = reader.rows(LineTable, data, "line")
    tables = reader.rows(MeterTable, data, "meter")
    if gateway:
        reader.check_timezone(gateway)
    if mqtt:
        reader.check_mqtt(mqtt)
    profiles = reader.profiles(data, tables)
    reader.check_lines(lines, tables, profiles)
    reader.check_meters(lines, tables, profiles)
    if reader.problems or not (gateway and store and collection and mqtt):
        raise ConfigError(reader.problems)
    minutes = collection.grid_minutes
    if switching:
        profiles = {name: switching.armed(profile) for name, profile in profiles.items()}
    # Hundreds of meters name the same points: they are kept in memory once.
    points = {table.points: table.points for _, table in tables}
    meters = tuple(
        _resolve(table, profiles[table.profile], points[table.points], minutes)
        for _, table in tables
    )
    digest = hashlib.sha256(reader.raw + key_bytes).hexdigest()[:16]
    return Config(
        path,
        gateway,
        store,
        collection,
        mqtt,
        tuple(line for _, line in lines),
        meters,
        digest,
        keys,
        prepayment,
        switching if prepayment else None,
        key_file,
    )


def _parts(reader: Reader, data: dict[str, object]) -> "tuple[Prepayment | None, Switching | None]":
    """What is said of money and of switching; each is loaded only where something is said."""
    prepayment, switching = None, None
    if not data.keys().isdisjoint(("prepayment", "policy", "voucher_key")):
        from gateway.config_prepayment import read_prepayment  # noqa: PLC0415 - some MB

        prepayment = read_prepayment(reader, data)
    if "switching" in data:
        from gateway.config_switching import read_switching  # noqa: PLC0415 - likewise

        switching = read_switching(reader, data)
    return prepayment, switching


def _keys(reader: Reader, file: Path | None) -> tuple[Keys, bytes]:
    """The keys in the file that the configuration names; its problems are the configuration's."""
    if file is None:
        return NO_KEYS, b""
    try:
        return load_keys(file)
    except ConfigError as error:
        reader.problems += error.problems
        return NO_KEYS, b""


def _resolve(
    table: MeterTable, profile: Profile, points: tuple[str, ...], grid_minutes: int
) -> MeterConfig:
    line = profile.line
    settings = PortSettings(
        table.baud or line.baud,
        PARITIES[table.parity] if table.parity else line.parity,
        table.stop_bits or line.stop_bits,
    )
    points = points or profile.default_points
    ratio = Ratio(as_fraction(table.ct_ratio), as_fraction(table.pt_ratio))
    return MeterConfig(
        asset=table.asset,
        line=table.line,
        address=table.address,
        profile=profile,
        points=points,
        period_s=table.period_s,
        settings=settings,
        timeout_s=(table.timeout_ms or line.timeout_ms) / 1000,
        least_timeout_s=table.timeout_min_ms / 1000,
        guard_s=(line.guard_ms if table.guard_ms is None else table.guard_ms) / 1000,
        max_kw=table.max_kw or ceil(MAX_KW * ratio.ct * ratio.pt),
        ratio=DIRECT if ratio == DIRECT else ratio,
        grid=_grid(points, profile) if grid_minutes and table.grid else (),
        try_gaps=table.try_gaps,
        # A DL/T 645 meter's number is its address, unless somebody wrote another.
        number=table.number or (table.address if profile.protocol == "dlt645-2007" else ""),
        phase=table.phase,
        direct_close=table.direct_close,
    )


def _grid(points: Sequence[str], profile: Profile) -> tuple[str, ...]:
    """The registers of the grid: those polled, else the first that the model has."""
    polled = tuple(point for point in GRID if point in points)
    return polled or tuple(point for point in (*GRID, GRID_ELSE) if point in profile.points)[:1]
