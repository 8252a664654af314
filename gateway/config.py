"""The configuration: TOML in, frozen structs out, every problem reported at once.

A problem names the file, the place in it, what was found and what to write instead.  Nobody behind
this module sees a dict, and nothing behind it checks again.  The meters' profiles belong to the
configuration: a point that a model does not have is a mistake here, not at three in the morning.
"""

import difflib
import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from gateway.acquisition.ports import parse_port
from gateway.events import PortSettings
from protocols.profile import Profile, ProfileError
from protocols.profile import load as load_profile

BAUD_RATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
PARITIES = {"none": "N", "even": "E", "odd": "O"}

Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9-]{1,32}$", description="1 to 32 letters, digits or hyphens"),
]
Baud = Annotated[
    Literal[300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200],
    Field(description="one of " + ", ".join(map(str, BAUD_RATES))),
]
Address = Annotated[
    str,
    BeforeValidator(lambda found: str(found) if type(found) is int else found),
    Field(description="the communication address, in quotes"),
]
BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883}


class ConfigError(Exception):
    """The configuration cannot be used.  The message lists everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GatewayTable(_Table):
    """``[gateway]``: who we are."""

    name: Name
    profiles: str = Field("meters", description="a directory, relative to this file")
    run_directory: str = Field("/run/taiqu", description="a directory on tmpfs, for live state")


class StoreTable(_Table):
    """``[store]``: where and how what was read is kept."""

    directory: str = Field("/var/lib/taiqu", description="a directory that survives a restart")
    group_commit_s: float = Field(
        5.0, ge=0.5, le=600, description="seconds between two commits of readings, 0.5 to 600"
    )
    keep_days: int = Field(
        30, ge=1, le=3650, description="days for which messages are kept, 1 to 3650"
    )
    max_mib: int = Field(
        256, ge=4, le=65536, description="MiB that messages may take on flash, 4 to 65536"
    )
    ballast_mib: int = Field(
        8, ge=1, le=1024, description="MiB held back for a full disk, 1 to 1024"
    )


class MqttTable(_Table):
    """``[mqtt]``: the head-end's broker."""

    brokers: tuple[str, ...] = Field(
        strict=False,
        min_length=1,
        description='addresses like "mqtt://host:1883" or "mqtts://host:8883"',
    )
    username: str = Field("", description="the user name the broker knows us by")
    password_file: str = Field("", description="a file that holds the password alone, mode 0600")
    ca_file: str = Field("", description="the PEM file of the authority that signed the broker")
    cert_file: str = Field("", description="the PEM file of our certificate")
    key_file: str = Field("", description="the PEM file of our private key, mode 0600")
    keepalive_s: int = Field(60, ge=5, le=3600, description="seconds, 5 to 3600")
    confirm: Literal["broker", "head_end"] = Field(
        "broker", description='"broker" (PUBACK) or "head_end" (watermarks on the topic acks)'
    )


class LineTable(_Table):
    """``[[line]]``: one RS-485 pair, or one Modbus TCP address."""

    name: Name
    port: str = Field(
        min_length=1,
        description='"/dev/serial/by-id/...", "socket://host:port" (raw) or "tcp://host:port"'
        " (Modbus TCP)",
    )


class MeterTable(_Table):
    """``[[meter]]``: one meter on a line.  What is not given stands in its profile."""

    asset: Name
    line: Name
    address: Address
    profile: Name
    points: tuple[str, ...] = Field((), strict=False, description="names of points of the profile")
    period_s: int = Field(900, ge=1, le=86400, description="seconds from poll to poll, 1 to 86400")
    baud: Baud | None = None
    parity: Literal["none", "even", "odd"] | None = Field(
        None, description='"none", "even" or "odd"'
    )
    stop_bits: Literal[1, 2] | None = Field(None, description="1 or 2")
    timeout_ms: int | None = Field(
        None, ge=50, le=10000, description="milliseconds for the first byte, 50 to 10000"
    )
    guard_ms: int | None = Field(
        None, ge=0, le=5000, description="milliseconds of silence before a request, 0 to 5000"
    )


T = TypeVar("T", bound=_Table)


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


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    path: Path
    gateway: GatewayTable
    store: StoreTable
    mqtt: MqttTable
    lines: tuple[LineTable, ...]
    meters: tuple[MeterConfig, ...]
    digest: str
    """SHA-256 of the file, shortened: the head-end sees when it changed."""

    @property
    def store_directory(self) -> Path:
        """Where the database lives; a relative directory counts from the file."""
        return self.path.parent / self.store.directory

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
    reader = _Reader(path)
    data = reader.toml()
    reader.no_others(data, ("gateway", "store", "mqtt", "line", "meter"))
    gateway = reader.table(GatewayTable, data, "gateway")
    store = reader.table(StoreTable, data, "store")
    mqtt = reader.table(MqttTable, data, "mqtt")
    lines = reader.rows(LineTable, data, "line")
    tables = reader.rows(MeterTable, data, "meter")
    if mqtt:
        reader.check_mqtt(mqtt)
    profiles = reader.profiles(gateway.profiles if gateway else "meters", tables)
    reader.check_lines(lines, tables, profiles)
    reader.check_meters(lines, tables, profiles)
    if reader.problems or not (gateway and store and mqtt):
        raise ConfigError(reader.problems)
    meters = tuple(_resolve(table, profiles[table.profile]) for _, table in tables)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return Config(path, gateway, store, mqtt, tuple(line for _, line in lines), meters, digest)


def _resolve(table: MeterTable, profile: Profile) -> MeterConfig:
    line = profile.line
    settings = PortSettings(
        table.baud or line.baud,
        PARITIES[table.parity] if table.parity else line.parity,
        table.stop_bits or line.stop_bits,
    )
    return MeterConfig(
        asset=table.asset,
        line=table.line,
        address=table.address,
        profile=profile,
        points=table.points or profile.default_points,
        period_s=table.period_s,
        settings=settings,
        timeout_s=(table.timeout_ms or line.timeout_ms) / 1000,
        guard_s=(line.guard_ms if table.guard_ms is None else table.guard_ms) / 1000,
    )


@dataclass(slots=True)
class _Reader:
    """Collects what is wrong, so that a mistake does not hide the next one."""

    path: Path
    problems: list[str] = field(default_factory=list)

    def say(self, where: str, problem: str) -> None:
        self.problems.append(f"{self.path}: {where}: {problem}")

    def toml(self) -> dict[str, object]:
        try:
            return tomllib.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 text at byte {error.start}"
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            problem = f"not valid TOML: {error}"
        raise ConfigError([f"{self.path}: {problem}"])

    def no_others(self, data: dict[str, object], known: Sequence[str]) -> None:
        for key in data.keys() - set(known):
            self.say(f"[{key}]", f"unknown table; {_did_you_mean(key, known)}")

    def table(self, model: type[T], data: dict[str, object], key: str) -> T | None:
        if key not in data and any(info.is_required() for info in model.model_fields.values()):
            self.say(f"[{key}]", "missing; every gateway needs this table")
            return None
        return self._validate(model, data.get(key, {}), key)

    def rows(self, model: type[T], data: dict[str, object], key: str) -> list[tuple[int, T]]:
        """The good rows of ``[[key]]`` with their places in the file."""
        found = data.get(key)
        if not isinstance(found, list) or not found:
            self.say(f"[[{key}]]", "missing; write at least one such table")
            return []
        rows = [(n, self._validate(model, row, f"{key}[{n}]")) for n, row in enumerate(found)]
        return [(n, row) for n, row in rows if row is not None]

    def _validate(self, model: type[T], found: object, where: str) -> T | None:
        try:
            return model.model_validate(found)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.say(*_explain(model, detail, where))
        return None

    def check_mqtt(self, mqtt: MqttTable) -> None:
        for n, broker in enumerate(mqtt.brokers):
            if problem := _broker_problem(broker):
                self.say(f"mqtt.brokers[{n}]", f"found {broker!r}: {problem}")
        if bool(mqtt.cert_file) != bool(mqtt.key_file):
            given, other = ("cert", "key") if mqtt.cert_file else ("key", "cert")
            self.say(f"mqtt.{other}_file", f"missing; {given}_file is given, both belong together")
        if mqtt.password_file and not mqtt.username:
            self.say("mqtt.username", "missing; a password needs a user name")
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            name = getattr(mqtt, key)
            if name and not (self.path.parent / name).is_file():
                self.say(f"mqtt.{key}", f"found {name!r}: no such file; write a path that exists")

    def profiles(self, directory: str, tables: list[tuple[int, MeterTable]]) -> dict[str, Profile]:
        """Every profile that some meter names, loaded once."""
        folder = self.path.parent / directory
        known = sorted(file.stem for file in folder.glob("*.toml"))
        loaded: dict[str, Profile] = {}
        for name in dict.fromkeys(table.profile for _, table in tables):
            if name not in known:
                where = next(f"meter[{n}].profile" for n, row in tables if row.profile == name)
                hint = _did_you_mean(name, known)
                self.say(where, f"found {name!r}: no such file in {folder}; {hint}")
                continue
            try:
                loaded[name] = load_profile(folder / f"{name}.toml")
            except ProfileError as error:
                self.problems += str(error).splitlines()
        return loaded

    def check_lines(
        self,
        lines: list[tuple[int, LineTable]],
        tables: list[tuple[int, MeterTable]],
        profiles: dict[str, Profile],
    ) -> None:
        self._unique("line", "name", [(n, line.name) for n, line in lines])
        self._unique("line", "port", [(n, line.port) for n, line in lines])
        used = {table.line for _, table in tables}
        for n, line in lines:
            if problem := parse_port(line.port):
                self.say(f"line[{n}].port", f"found {line.port!r}: {problem}")
            if line.name not in used:
                self.say(f"line[{n}].name", f"found {line.name!r}: no meter is on this line")
            if not line.port.startswith("tcp://"):
                continue
            for m, table in tables:
                profile = profiles.get(table.profile)
                if table.line == line.name and profile and profile.protocol != "modbus":
                    self.say(
                        f"meter[{m}].line",
                        f"found {line.name!r}: {profile.protocol} cannot go over Modbus TCP;"
                        f' write port = "socket://..." for a raw serial server',
                    )

    def check_meters(
        self,
        lines: list[tuple[int, LineTable]],
        tables: list[tuple[int, MeterTable]],
        profiles: dict[str, Profile],
    ) -> None:
        names = [line.name for _, line in lines]
        self._unique("meter", "asset", [(n, table.asset) for n, table in tables])
        self._unique(
            "meter", "address", [(n, f"{table.address} on {table.line}") for n, table in tables]
        )
        for n, table in tables:
            if table.line not in names:
                hint = _did_you_mean(table.line, names)
                self.say(f"meter[{n}].line", f"found {table.line!r}: no such line; {hint}")
            profile = profiles.get(table.profile)
            if profile is None:
                continue
            if problem := profile.check_address(table.address):
                self.say(f"meter[{n}].address", f"found {table.address!r}: {problem}")
            for point in profile.unknown(table.points):
                hint = _did_you_mean(point, profile.points)
                self.say(
                    f"meter[{n}].points",
                    f"found {point!r}: {table.profile} has no such point; {hint}",
                )

    def _unique(self, key: str, column: str, found: list[tuple[int, str]]) -> None:
        first: dict[str, int] = {}
        for n, value in found:
            if value in first:
                where = f"{key}[{n}].{column}"
                self.say(where, f"found {value!r}: already used by {key}[{first[value]}]")
            first.setdefault(value, n)


def _broker_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f'{error}; write "mqtts://host:8883"'
    if parts.scheme not in BROKER_PORTS or not parts.hostname or parts.path not in ("", "/"):
        return 'write "mqtt://host:1883" or, with TLS, "mqtts://host:8883"'
    if parts.username or parts.password:
        return "no password in the address; write username and password_file"
    return "" if port != 0 else "port 0 does not exist"


def _did_you_mean(found: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(found, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(sorted(known)[:12]) or "none")


def _explain(model: type[BaseModel], detail: ErrorDetails, where: str) -> tuple[str, str]:
    """One validation error as (place, what was found and what to write)."""
    keys = [key for key in detail["loc"] if key in model.model_fields or isinstance(key, int)]
    place = where + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"{where}.{key}", f"unknown key; {_did_you_mean(key, tuple(model.model_fields))}"
    if not keys:
        return (
            where,
            f"found {detail['input']!r}; write a table with {', '.join(model.model_fields)}",
        )
    write = _description(model, str(keys[0]))
    if detail["type"] == "missing":
        return place, f"missing; write {write}"
    return place, f"found {detail['input']!r}; write {write}"


def _description(model: type[BaseModel], key: str) -> str:
    info = model.model_fields[key]
    return info.description or next(
        (part.description for part in info.metadata if getattr(part, "description", None)), key
    )
