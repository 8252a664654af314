"""What ``taiqu read`` was told: which of it goes together, and how to speak to the meter.

Port settings come from the command line, else from the meter's profile, else as meters of the
protocol are usually delivered.
"""

from dataclasses import dataclass, replace
from typing import Any

import click

from gateway.acquisition.exchange import Manners
from gateway.acquisition.ports import parse_port
from gateway.config import PARITIES
from gateway.events import PortSettings
from gateway.technician.questions import Registers
from protocols import dlt645, dlt645_1997, modbus
from protocols.base import Codec
from protocols.modbus_values import registers
from protocols.planner import DIALECT_1997, DIALECT_2007, Dialect
from protocols.profile import Profile

TIMEOUT_S = 1.0
GUARD_S = 0.02
LATE_S = 1.0
"""Modbus RTU's replies do not name what was asked: how long after its time one may still come."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One protocol as it is usually spoken, where no profile says it."""

    codec: Codec[Any]
    settings: PortSettings
    models: str
    """What profiles of its meters call it."""
    late_s: float = 0.0
    dialect: Dialect | None = None
    """Which DL/T 645 it is; None: Modbus."""
    usual: str = ""
    """The profile that is taken where none is named."""


_DLT645 = Speech(
    dlt645,
    PortSettings(2400, "E"),
    "dlt645-2007",
    dialect=DIALECT_2007,
    usual="dlt645-2007-three-phase",
)
SPEECHES = {
    "dlt645": _DLT645,
    "dlt645-2007": _DLT645,
    "dlt645-1997": Speech(
        dlt645_1997,
        PortSettings(1200, "E"),
        "dlt645-1997",
        dialect=DIALECT_1997,
        usual="dlt645-1997-three-phase",
    ),
    "modbus-rtu": Speech(modbus.rtu, PortSettings(9600, "N"), "modbus", LATE_S),
    "modbus-tcp": Speech(modbus.tcp, PortSettings(), "modbus"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was typed, as it was typed."""

    port: str
    protocol: str
    address: str | None
    points: tuple[str, ...]
    profile: str | None
    di: tuple[str, ...]
    register: int | None
    count: int | None
    function: str
    type: str
    byte_order: str
    word_order: str
    raw: str | None
    baud: str | None
    parity: str | None
    stop_bits: str | None
    timeout_ms: int | None
    tries: int
    as_json: bool

    @property
    def speech(self) -> Speech:
        """The protocol that was named."""
        return SPEECHES[self.protocol]

    def check(self) -> None:
        """Raises click.UsageError for what cannot be meant together."""
        if problem := parse_port(self.port):
            raise click.BadParameter(problem, param_hint="--port")
        if self.port.startswith("tcp://") != (self.protocol == "modbus-tcp"):
            raise click.UsageError(
                "tcp://HOST:PORT is Modbus TCP and --protocol modbus-tcp needs it;"
                " a serial server that passes bytes through is socket://HOST:PORT"
            )
        ways = {
            "points": bool(self.points),
            "--di": bool(self.di),
            "--register": self.register is not None,
            "--raw": self.raw is not None,
        }
        given = [way for way, used in ways.items() if used]
        if len(given) > 1:
            raise click.UsageError(f"{' and '.join(given)} cannot be asked together; choose one")
        wrong = {"--di": not self.speech.dialect, "--register": bool(self.speech.dialect)}
        if given and wrong.get(given[0]):
            raise click.UsageError(f"{given[0]} does not go with --protocol {self.protocol}")
        if self.address is None and not self.speech.dialect and not self.raw:
            raise click.UsageError("--address is missing: the meter's Modbus unit, 1 to 247")

    def manners(self, profile: Profile | None) -> Manners:
        """How to speak: as typed, else as in the profile, else as usual."""
        speech = self.speech
        settings, timeout_s, guard_s = speech.settings, TIMEOUT_S, GUARD_S
        if profile:
            line = profile.line
            settings = PortSettings(line.baud, line.parity, line.stop_bits)
            timeout_s, guard_s = line.timeout_ms / 1000, line.guard_ms / 1000
        if self.baud:
            settings = replace(settings, baud=int(self.baud))
        if self.parity:
            settings = replace(settings, parity=PARITIES[self.parity])
        if self.stop_bits:
            settings = replace(settings, stop_bits=int(self.stop_bits))
        if self.timeout_ms:
            timeout_s = self.timeout_ms / 1000
        return Manners(
            codec=speech.codec,
            settings=settings,
            timeout_s=timeout_s,
            guard_s=guard_s,
            late_s=speech.late_s,
        )

    def registers(self, first: int) -> Registers:
        """The registers meant by --register and what goes with it."""
        return Registers(
            function=int(self.function),
            first=first,
            count=self.count or registers(self.type),
            type=self.type,
            byte_order="little" if self.byte_order == "little" else "big",
            word_order="little" if self.word_order == "little" else "big",
        )
