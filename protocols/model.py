"""One meter model: which points it has, how to ask for them, how its addresses look.

Built from a file by protocols/profile.py.  Immutable and shared by all meters of the model; what a
single meter refused is the caller's to remember.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from protocols import dlt645, dlt645_1997, dlt645_control, dlt645_load_curve, modbus
from protocols.base import Codec, RequestError
from protocols.exchanges import (
    CurveExchange,
    Exchange,
    ItemExchange,
    ItemSource,
    RegisterExchange,
    RegisterSource,
)
from protocols.identify import Sign
from protocols.planner import (
    DIALECT_1997,
    DIALECT_2007,
    Dialect,
    Layout,
    Timing,
    plan_items,
    plan_registers,
    plan_trial,
)
from protocols.relay import Relay

_MODBUS_DELAY_S = 0.05
_DLT645_DELAY_S = 0.1
"""What meters usually take to begin a reply.  DL/T 645-2007 §5 allows 20 to 500 ms."""
FREEZE_TIME = "daily_freeze_time"
"""The point that says when a daily freeze was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDefaults:
    """How a meter of this model is delivered; the configuration may say otherwise."""

    baud: int
    parity: str
    """``N``, ``E`` or ``O``; always eight data bits."""
    stop_bits: int
    timeout_ms: int
    """How long to wait for a reply to begin."""
    guard_ms: int
    """Silence that the meter needs before the next request."""

    @property
    def character_s(self) -> float:
        """How long one character takes on the wire, in seconds."""
        return (9 + (self.parity != "N") + self.stop_bits) / self.baud


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(ABC):
    """One meter model."""

    protocol: ClassVar[str]
    """``dlt645-2007``, ``dlt645-1997`` or ``modbus``."""
    _delay_s: ClassVar[float]

    name: str
    """The file's name without ``.toml``: what the configuration calls it."""
    model: str
    manufacturer: str
    line: LineDefaults
    default_points: tuple[str, ...]
    """What is polled when the configuration names no points."""
    freezes: int = 0
    """How many daily freezes (日冻结) the meter keeps; 0: it makes none."""
    freeze_points: tuple[str, ...] = ()
    """What of a daily freeze is collected, each point as the newest freeze has it."""
    relay: Relay | None = None
    """How its relay is switched; None if it has none, or none that we could switch."""

    @property
    @abstractmethod
    def points(self) -> tuple[str, ...]:
        """Every point the model has, in the order of its file."""

    @abstractmethod
    def codec(self, *, tcp: bool = False) -> Codec[Any]:
        """Whoever frames the requests.  ``tcp``: the meter speaks Modbus TCP."""

    @abstractmethod
    def check_address(self, text: str) -> str | None:
        """What is wrong with an address in the configuration, or None."""

    @abstractmethod
    def _exchanges(
        self, address: str, points: Sequence[str], refused: AbstractSet[str], timing: Timing
    ) -> tuple[Exchange, ...]:
        """The plan for points that exist, each named once."""

    def unknown(self, points: Sequence[str]) -> tuple[str, ...]:
        """Which of ``points`` the model does not have."""
        return tuple(point for point in points if point not in self.points)

    def plan_freeze(self, address: str, back: int) -> tuple[Exchange, ...]:
        """The exchanges that read the daily freeze ``back`` (1 is the newest), its time first."""
        raise RequestError(f"{self.model} makes no daily freezes; freeze {back} of {address}")

    def plan_curve(
        self,
        address: str,  # noqa: ARG002
        points: Sequence[str],  # noqa: ARG002
        at: datetime | None,  # noqa: ARG002
        count: int,  # noqa: ARG002
    ) -> CurveExchange | None:
        """The exchange that reads ``count`` records of the load curve (负荷曲线) from ``at`` on.

        ``at`` is local time; None is the newest record, alone.  None comes back where this model
        keeps no load curve, or not of all these points.
        """
        return None

    def plan(
        self,
        address: str,
        points: Sequence[str],
        refused: AbstractSet[str] = frozenset(),
        character_s: float | None = None,
        turnaround_s: float | None = None,
    ) -> tuple[Exchange, ...]:
        """The exchanges that read ``points`` from the meter ``address`` at the least line time.

        ``refused`` holds the keys of exchanges that this very meter refused for good; a point that
        can only be read by those is left out.  ``character_s`` is the time of one character,
        ``turnaround_s`` the meter's delay and the guard time together; without them those of
        delivery count.

        Raises RequestError for a wrong address or a point that the model does not have.
        """
        if problem := self.check_address(address):
            raise RequestError(problem)
        if unknown := self.unknown(points):
            raise RequestError(f"{self.model} has no point {', '.join(unknown)}; see {self.name}")
        timing = self._timing(character_s, turnaround_s)
        return self._exchanges(address, tuple(dict.fromkeys(points)), refused, timing)

    def _timing(self, character_s: float | None, turnaround_s: float | None = None) -> Timing:
        return Timing(
            self.line.character_s if character_s is None else character_s,
            self._delay_s + self.line.guard_ms / 1000 if turnaround_s is None else turnaround_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlt645Profile(Profile):
    """A meter model that speaks DL/T 645-2007."""

    protocol = "dlt645-2007"
    dialect: ClassVar[Dialect] = DIALECT_2007
    _delay_s = _DLT645_DELAY_S

    sources: Mapping[str, ItemSource]
    """Where each point stands, by name."""
    tariffs: int
    """How many tariffs (费率) the meter has."""
    blocks: bool
    """Whether the meter knows blocks at all."""
    padding: str
    """What stands in address pairs that the meter does not use: ``00`` or ``AA``."""

    @property
    def points(self) -> tuple[str, ...]:
        """Every point the model has, in the order of its file."""
        return tuple(self.sources)

    def codec(self, *, tcp: bool = False) -> Codec[Any]:  # noqa: ARG002
        """DL/T 645 frames, whatever carries them."""
        return dlt645

    def check_address(self, text: str) -> str | None:
        """What is wrong with an address in the configuration, or None."""
        if len(text) == 12 and text.isascii() and text.isdecimal():
            return None
        return f"{text!r} is no DL/T 645 address; write its 12 digits, with leading zeros"

    def plan_freeze(self, address: str, back: int) -> tuple[Exchange, ...]:
        """The exchanges that read the daily freeze ``back`` (1 is the newest), its time first.

        Raises RequestError for a freeze that the meter does not keep.
        """
        if not 1 <= back <= self.freezes:
            raise RequestError(f"{self.model} keeps {self.freezes} daily freezes, not {back}")
        wanted = []
        for name in (FREEZE_TIME, *self.freeze_points):
            source = self.sources[name]
            # The last pair counts the days back: 01 is the newest.
            item = self.dialect.find(f"{source.item.di[:6]}{back:02X}")
            if item is not None:
                wanted.append(replace(source, item=item))
        timing = Timing(self.line.character_s, self._delay_s)
        return plan_items(
            self.dialect,
            self._padded(address),
            wanted,
            frozenset(),
            timing,
            tariffs=self.tariffs,
            blocks=False,
        )

    def read_items(self, address: str, identifiers: Sequence[str]) -> tuple[ItemExchange, ...]:
        """Reads of items that are no points, one by one; unknown identifiers are left out."""
        padded = self._padded(address)
        found = (self.dialect.find(identifier) for identifier in identifiers)
        return tuple(
            ItemExchange(self.dialect.read(padded, item.di), item, ()) for item in found if item
        )

    def plan_curve(
        self, address: str, points: Sequence[str], at: datetime | None, count: int
    ) -> CurveExchange | None:
        """The exchange that reads ``count`` records of the load curve (负荷曲线) from ``at`` on."""
        if not set(points) <= {field.name for field in dlt645_load_curve.ENERGIES}:
            return None
        group, padded = dlt645_load_curve.ENERGY_GROUP, self._padded(address)
        request = dlt645_load_curve.read_newest(padded, group)
        if at is not None:
            request = dlt645_load_curve.read_from(padded, group, at, count)
        return CurveExchange(request, tuple(self.sources[point].meaning for point in points))

    def broadcast_time(self, now: datetime) -> dlt645.Request | dlt645_1997.Request:
        """Tell all meters on a line that it is ``now``, local time (广播校时)."""
        return dlt645_control.broadcast_time(now)

    def _exchanges(
        self, address: str, points: Sequence[str], refused: AbstractSet[str], timing: Timing
    ) -> tuple[Exchange, ...]:
        wanted = [self.sources[point] for point in points]
        return plan_items(
            self.dialect,
            self._padded(address),
            wanted,
            refused,
            timing,
            tariffs=self.tariffs,
            blocks=self.blocks,
        )

    def _padded(self, address: str) -> str:
        """``address`` as this model pads it; the last pair stays, lest all meters be meant."""
        unused = 0
        while unused < len(address) - 2 and address[unused : unused + 2] == "00":
            unused += 2
        return self.padding * (unused // 2) + address[unused:]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldDlt645Profile(Dlt645Profile):
    """A meter model that speaks DL/T 645-1997."""

    protocol = "dlt645-1997"
    dialect: ClassVar[Dialect] = DIALECT_1997

    def codec(self, *, tcp: bool = False) -> Codec[Any]:  # noqa: ARG002
        """The older frames' contents, whatever carries them."""
        return dlt645_1997

    plan_curve = Profile.plan_curve

    def broadcast_time(self, now: datetime) -> dlt645.Request | dlt645_1997.Request:
        """The same in the older frames."""
        return dlt645_1997.broadcast_time(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusProfile(Profile):
    """A meter model that speaks Modbus."""

    protocol = "modbus"
    _delay_s = _MODBUS_DELAY_S

    sources: Mapping[str, RegisterSource]
    """Where each point stands, by name."""
    layout: Layout
    signs: tuple[Sign, ...] = ()
    """How to know the model (protocols/identify.py); none if nothing is known."""

    @property
    def points(self) -> tuple[str, ...]:
        """Every point the model has, in the order of its file."""
        return tuple(self.sources)

    def codec(self, *, tcp: bool = False) -> Codec[Any]:
        """RTU frames on RS-485 and raw TCP, else Modbus TCP."""
        return modbus.tcp if tcp else modbus.rtu

    def check_address(self, text: str) -> str | None:
        """What is wrong with an address in the configuration, or None."""
        # Written in one way only, so that two meters with one unit are noticed.
        if text in map(str, range(1, 248)):
            return None
        return f"{text!r} is no Modbus unit; write a number from 1 to 247"

    def _exchanges(
        self, address: str, points: Sequence[str], refused: AbstractSet[str], timing: Timing
    ) -> tuple[Exchange, ...]:
        wanted = [self.sources[point] for point in points]
        return plan_registers(int(address), wanted, refused, timing, self.layout)

    def trial(
        self,
        address: str,
        points: Sequence[str],
        refused: AbstractSet[str],
        character_s: float | None = None,
    ) -> tuple[RegisterExchange, tuple[RegisterExchange, ...]] | None:
        """A read over unknown registers that would save time, and those it would replace."""
        wanted = [self.sources[point] for point in dict.fromkeys(points)]
        return plan_trial(int(address), wanted, refused, self._timing(character_s), self.layout)
