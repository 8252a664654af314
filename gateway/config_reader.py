"""Reads and checks the configuration file; a mistake does not hide the next one.

A problem names the file, the place in it, what was found and what to write instead.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from gateway.acquisition.ports import parse_port
from gateway.config_tables import GatewayTable, LineTable, MeterTable, MqttTable, Table
from gateway.explain import did_you_mean, explain
from gateway.north.broker import broker_problem
from protocols.profile import Profile, ProfileError
from protocols.profile import load as load_profile

T = TypeVar("T", bound=Table)


class ConfigError(Exception):
    """The configuration cannot be used.  The message lists everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True)
class Reader:
    """Collects what is wrong, so that a mistake does not hide the next one."""

    path: Path
    problems: list[str] = field(default_factory=list)
    raw: bytes = b""
    """The file, once read."""
    broken: set[str] = field(default_factory=set)
    """Kinds of tables of which one or more could not be read."""

    def say(self, where: str, problem: str) -> None:
        """Note a problem at a place in the file."""
        self.problems.append(f"{self.path}: {where}: {problem}")

    def toml(self) -> dict[str, object]:
        """The file as it stands.  Raises ConfigError if it cannot be read at all."""
        try:
            self.raw = self.path.read_bytes()
            return tomllib.loads(self.raw.decode())
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 text at byte {error.start}"
        except (ValueError, RecursionError) as error:
            # Not only TOMLDecodeError: Python refuses a number of 5000 digits by itself.
            problem = f"not valid TOML: {error}"
        raise ConfigError([f"{self.path}: {problem}"])

    def no_others(self, data: dict[str, object], known: Sequence[str]) -> None:
        """There are no tables but the known ones."""
        for key in data:
            if key not in known:
                self.say(f"[{key}]", f"unknown table; {did_you_mean(key, known)}")

    def table(self, model: type[T], data: dict[str, object], key: str) -> T | None:
        """The table ``[key]``, or None if it is missing or wrong."""
        if key not in data and any(info.is_required() for info in model.model_fields.values()):
            self.say(f"[{key}]", "missing; every gateway needs this table")
            return None
        return self._validate(model, data.get(key, {}), key)

    def rows(self, model: type[T], data: dict[str, object], key: str) -> list[tuple[int, T]]:
        """The good rows of ``[[key]]`` with their places in the file."""
        found = data.get(key)
        if not isinstance(found, list) or not found:
            self.broken.add(key)
            if isinstance(found, dict):
                self.say(f"[{key}]", f"found one table; write [[{key}]], there may be several")
            else:
                self.say(f"[[{key}]]", "missing; write at least one such table")
            return []
        rows = [(n, self._validate(model, row, f"{key}[{n}]")) for n, row in enumerate(found)]
        if any(row is None for _, row in rows):
            self.broken.add(key)
        return [(n, row) for n, row in rows if row is not None]

    def _validate(self, model: type[T], found: object, where: str) -> T | None:
        try:
            return model.model_validate(found)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.say(*explain(model, detail, where))
        return None

    def check_timezone(self, gateway: GatewayTable) -> None:
        """The time zone is one that this machine knows."""
        try:
            ZoneInfo(gateway.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.say(
                "gateway.timezone",
                f"found {gateway.timezone!r}: no such time zone here; write a name like"
                " Asia/Shanghai, and see that the package tzdata is installed",
            )

    def check_mqtt(self, mqtt: MqttTable) -> None:
        """What belongs together is there, and the files exist."""
        for n, broker in enumerate(mqtt.brokers):
            if problem := broker_problem(broker):
                self.say(f"mqtt.brokers[{n}]", problem)
        if bool(mqtt.cert_file) != bool(mqtt.key_file):
            given, other = ("cert", "key") if mqtt.cert_file else ("key", "cert")
            self.say(f"mqtt.{other}_file", f"missing; {given}_file is given, both belong together")
        if mqtt.password_file and not mqtt.username:
            self.say("mqtt.username", "missing; a password needs a user name")
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            name = getattr(mqtt, key)
            if name and not _is_file(self.path.parent / name):
                self.say(f"mqtt.{key}", f"found {name!r}: no such file; write a path that exists")

    def profiles(
        self, data: dict[str, object], tables: list[tuple[int, MeterTable]]
    ) -> dict[str, Profile]:
        """Every profile that some meter names, loaded once."""
        # From the file itself: another mistake in [gateway] must not hide the directory.
        gateway = data.get("gateway")
        directory = gateway.get("profiles", "meters") if isinstance(gateway, dict) else "meters"
        loaded: dict[str, Profile] = {}
        if not isinstance(directory, str):
            return loaded
        folder = self.path.parent / directory
        try:
            known = sorted(file.stem for file in folder.iterdir() if file.suffix == ".toml")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            write = "write the directory of the meter models"
            self.say("gateway.profiles", f"found {directory!r}: {reason}; {write}")
            return loaded
        for name in dict.fromkeys(table.profile for _, table in tables):
            if name not in known:
                where = next(f"meter[{n}].profile" for n, row in tables if row.profile == name)
                hint = did_you_mean(name, known)
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
        """Names and ports are unique, every line has meters that can be read over it."""
        self._unique("line", "name", [(n, line.name) for n, line in lines])
        self._unique("line", "port", [(n, line.port) for n, line in lines])
        used = {table.line for _, table in tables}
        for n, line in lines:
            if problem := parse_port(line.port):
                self.say(f"line[{n}].port", f"found {line.port!r}: {problem}")
            if line.name not in used and "meter" not in self.broken:
                problem = "no meter is on this line; give it a [[meter]], or remove it"
                self.say(f"line[{n}].name", f"found {line.name!r}: {problem}")
            if line.rs485 == "kernel" and not line.port.startswith("/"):
                self.say(
                    f"line[{n}].rs485",
                    "found 'kernel': it switches serial devices (/dev/...) only; leave rs485 out",
                )
            if not line.port.startswith("tcp://"):
                if line.transaction_ids == "ignored":
                    self.say(
                        f"line[{n}].transaction_ids",
                        "found 'ignored': only Modbus TCP (tcp://...) has any; leave it out",
                    )
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
        """Each meter is there once, on a line that exists, with points its model has."""
        names = [line.name for _, line in lines]
        self._unique("meter", "asset", [(n, table.asset) for n, table in tables])
        self._unique(
            "meter", "address", [(n, f"{table.address} on {table.line}") for n, table in tables]
        )
        for n, table in tables:
            if table.line not in names and "line" not in self.broken:
                hint = did_you_mean(table.line, names)
                self.say(f"meter[{n}].line", f"found {table.line!r}: no such line; {hint}")
            profile = profiles.get(table.profile)
            if profile is None:
                continue
            if problem := profile.check_address(table.address):
                self.say(f"meter[{n}].address", f"found {table.address!r}: {problem}")
            for point in profile.unknown(table.points):
                hint = did_you_mean(point, profile.points)
                self.say(
                    f"meter[{n}].points",
                    f"found {point!r}: {table.profile} has no such point; {hint}",
                )

    def check_breakers(
        self, tables: list[tuple[int, MeterTable]], profiles: dict[str, Profile]
    ) -> None:
        """Each breaker is there, tells what its contact does, and is the only switch of one meter.

        Two relays for one meter would undo each other's work; one breaker before two meters would
        cut a customer for his neighbour's debt.
        """
        known = {table.asset: table for _, table in tables}
        before: dict[str, str] = {}
        for n, table in tables:
            if not table.breaker:
                continue
            where, found = f"meter[{n}].breaker", f"found {table.breaker!r}: "
            breaker = known.get(table.breaker)
            own, other = (
                profiles.get(table.profile),
                profiles.get(breaker.profile if breaker else ""),
            )
            if breaker is None:
                if "meter" not in self.broken:
                    self.say(
                        where, f"{found}no such asset; {did_you_mean(table.breaker, list(known))}"
                    )
            elif breaker.breaker or breaker is table:
                self.say(where, f"{found}it is no breaker, or has one itself; name the last one")
            elif table.breaker in before:
                first = before[table.breaker]
                self.say(where, f"{found}already the breaker of {first}; give each meter its own")
            elif own and own.relay:
                self.say(
                    where,
                    f"{found}a second relay; {table.asset} has one of its own by {table.profile};"
                    " leave breaker out, or write a model like that with an empty [relay]",
                )
            elif other and not (other.relay and other.relay.measured):
                self.say(
                    where,
                    f"{found}{breaker.profile} tells no contact (relay.measured); wire its"
                    " auxiliary contact, and name a model that reads it",
                )
            before.setdefault(table.breaker, table.asset)

    def _unique(self, key: str, column: str, found: list[tuple[int, str]]) -> None:
        first: dict[str, int] = {}
        for n, value in found:
            if value in first:
                where = f"{key}[{n}].{column}"
                used = f"already used by {key}[{first[value]}]"
                self.say(where, f"found {value!r}: {used}; give each its own")
            first.setdefault(value, n)


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
