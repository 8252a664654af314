"""One meter of an area file: what its table may say, and the meter that comes of it.

Quirks that a model's protocol does not know (blocks, of a Modbus meter) are passed over, and so is
the relay of a model without one.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from protocols.base import Value
from protocols.model import Dlt645Profile, ModbusProfile, OldDlt645Profile, Profile
from protocols.relay import ControlRelay
from simulators import dlt645_meter, modbus_meter
from simulators.dlt645_memory import Absent
from simulators.dlt645_meter import DLT645Meter
from simulators.dlt645_old_meter import OldDLT645Meter
from simulators.dlt645_switch import STANDARD_RELAY
from simulators.faults import NONE, Faults
from simulators.household import Household
from simulators.load import Kind
from simulators.meter import Meter, MeterClock, Settings, Swapped
from simulators.modbus_meter import ModbusMeter
from simulators.relay import SimRelay
from simulators.relay_scenarios import Behaviour, behaviour

_TWIN = 8
"""The generation of a meter that has another one's address from the beginning."""
Name = Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$")]


class Table(BaseModel):
    """A table of an area file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MeterTable(Table):
    """``[[line.meter]]``; the defaults are an ordinary meter."""

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
    load_curve: bool = True
    wildcard_header: bool = False
    absent: Absent = Field(Absent.FF, strict=False)
    filler: Literal["", "AA", "DD"] = ""
    refuses: tuple[str, ...] = Field((), strict=False)
    """Points that the meter does not have, though its model has."""
    clock_offset_s: int = 0
    clock_drift_ppm: int = Field(0, ge=-10_000, le=10_000)
    start_wh: int | None = Field(None, ge=0)
    rollover_wh: int = Field(0, ge=0)
    swapped_at: AwareDatetime | None = None
    """From then on another meter answers at this address."""
    relay: str = "normal"
    """What is wrong with its relay: see simulators.relay_scenarios."""
    prepays: Literal["none", "energy", "money"] = "none"
    """What it says that it counts down by itself."""
    switches: Name | None = None
    """The asset whose customer hangs behind this breaker; None: the meter's own."""
    faults: str = ""


@dataclass(frozen=True, slots=True)
class AreaMeter:
    """One meter of an area: what a configuration needs to know of it, and what stands behind it."""

    asset: str
    profile: Profile
    address: str
    settings: Settings
    household: Household
    meter: Meter
    faults: Faults = NONE
    successor: tuple[float, Household] | None = None
    """From this moment on, UTC seconds, another meter hangs there, with a household of its own."""
    twin: "AreaMeter | None" = None
    """Another meter on the same line with the same address, and a customer of its own."""

    def truth(self, now: float) -> dict[str, Value]:
        """What it would show if it had enough digits, for every point of its profile it has."""
        self.meter.advance(now)
        exact = self._there(now).truth(self.meter.clock.shows(now))
        return {point: exact[point] for point in self.profile.points if point in exact}

    def supplied(self, now: float) -> bool:
        """Whether its customer really has supply, whatever any relay says."""
        self.meter.advance(now)
        return self._there(now).supply.on(self.meter.clock.shows(now))

    @property
    def relay(self) -> SimRelay | None:
        """The relay, with every movement and every command so far; None if it has none."""
        return self.meter.relay

    def switch(self, other: "AreaMeter") -> None:
        """Cut off the customer of ``other``, too: this is the breaker before it."""
        if self.relay:
            other.meter.before.append(self.relay)
            clock, supply = other.meter.clock, other.household.supply
            self.relay.feeds(
                lambda at, on: supply.switch(clock.shows(at), on=on, contact=self.asset)
            )

    def _there(self, now: float) -> Household:
        return self.successor[1] if self.successor and now >= self.successor[0] else self.household


def make_meter(
    table: MeterTable,
    profile: Profile,
    seed: int,
    faults: Faults,
    *,
    tcp: bool,
    generation: int = 0,
) -> AreaMeter:
    """The meter of ``table`` and who draws behind it; ``seed`` is the area's.

    ``generation`` tells apart those that have one address: their own numbers differ.
    """
    household = Household(
        f"{seed}/{table.asset}",
        kind=table.kind,
        phases=3 if "voltage_l2n" in profile.points else 1,
        daily_wh=table.daily_kwh * 1000,
        start_wh=table.start_wh,
        rollover_wh=table.rollover_wh,
    )
    does = behaviour(table.relay, f"{seed}/{table.asset}/relay")
    clock = MeterClock(table.clock_offset_s + does.clock_ahead_s, table.clock_drift_ppm)
    meter = _device(table, profile, household, clock, does, tcp=tcp, generation=generation)
    successor = None
    if table.swapped_at:
        clock_zone = timedelta(seconds=household.utc_offset_s)
        another = Household(
            f"{seed}/{table.asset}/2",
            kind=table.kind,
            phases=household.phases,
            daily_wh=table.daily_kwh * 1000,
            installed=(table.swapped_at + clock_zone).date(),
            start_wh=0,
        )
        successor = table.swapped_at.timestamp(), another
        new = _device(table, profile, another, MeterClock(), does, tcp=tcp, generation=1)
        meter = Swapped(meter, new, successor[0])
    settings = meter.settings
    twin = None
    if does.twin_delay_s is not None:
        delay_ms = table.delay_ms + round(1000 * does.twin_delay_s)
        like = {"asset": f"{table.asset}-twin", "relay": "normal", "delay_ms": delay_ms}
        other = table.model_copy(update=like)
        twin = make_meter(other, profile, seed, faults, tcp=tcp, generation=_TWIN)
    return AreaMeter(
        table.asset, profile, table.address, settings, household, meter, faults, successor, twin
    )


def _device(
    table: MeterTable,
    profile: Profile,
    household: Household,
    clock: MeterClock,
    does: Behaviour,
    *,
    tcp: bool,
    generation: int = 0,
) -> Meter:
    """The meter itself.  Those that came later at one address have another serial number."""
    settings = Settings(table.baud or profile.line.baud, table.parity or profile.line.parity)
    delay_s = table.delay_ms / 1000
    if isinstance(profile, ModbusProfile):
        unit = int(table.address)
        return ModbusMeter(
            unit,
            household,
            profile,
            settings=settings,
            delay_s=delay_s,
            tcp=tcp,
            clock=clock,
            quirks=modbus_meter.Quirks(
                serial_number=20_260_000 + unit + 1000 * generation,
                refuses=table.refuses,
                relay=does,
            ),
        )
    if isinstance(profile, OldDlt645Profile):
        return OldDLT645Meter(
            table.address,
            household,
            settings=settings,
            delay_s=delay_s,
            data_bytes_max=table.data_bytes_max,
            keeps_wildcards=table.wildcard_header,
            clock=clock,
        )
    return DLT645Meter(
        table.address,
        household,
        settings=settings,
        delay_s=delay_s,
        clock=clock,
        number=f"9{generation}{table.address[2:]}" if generation else table.address,
        quirks=_quirks(table, profile),
        relay=SimRelay(does),
    )


def _quirks(table: MeterTable, profile: Profile) -> dlt645_meter.Quirks:
    """In what a DL/T 645-2007 meter differs from others."""
    model = profile.relay
    sources = profile.sources if isinstance(profile, Dlt645Profile) else {}
    return dlt645_meter.Quirks(
        preamble=table.preamble,
        data_bytes_max=table.data_bytes_max,
        blocks=table.blocks,
        load_curve=table.load_curve,
        wildcard_header=table.wildcard_header,
        absent=table.absent,
        filler=bytes.fromhex(table.filler),
        refuses=[sources[point].item.di for point in table.refuses],
        switched_by=model if isinstance(model, ControlRelay) else STANDARD_RELAY,
        prepays=table.prepays,
    )
