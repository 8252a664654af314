"""A look at a meter around switching: what is asked, and what its answers say.

    plan(meter, What.TRIP, refused)      whose number it is, the relay's state, the load, the clock
    look(meter, readings)                the same as values, with the moment of each

Where a breaker switches what is behind the meter, two devices are asked: the breaker where its
contact stands, the meter which it is and what it counts.  A clock is asked last, so that it is
fresh when the command is made.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from gateway.acquisition.found import Reading
from gateway.config import MeterConfig
from gateway.disconnection.relay_table import Signal
from protocols.base import Quality, Value
from protocols.exchanges import Exchange
from protocols.relay import Position, RelayStatus
from protocols.relay_control import meter_time, relay_points, relay_status

NUMBERS = ("meter_number", "serial_number")
"""Where a meter says which it is; the first that it has."""

CONDUCTS_W = 20
"""More than this behind an open relay is no noise."""


class What(StrEnum):
    """What a look is for."""

    TRIP = "trip"  # all of it
    STATE = "state"  # where the relay stands, and whether energy is counted
    CLOSE = "close"  # before a restore: what its deadline is made of, voltage behind the relay


@dataclass(frozen=True, slots=True)
class Part:
    """What one device is asked in a look."""

    meter: str
    """Its asset number."""
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look brought.  Times are Unix seconds; None is what was not read."""

    number: str = ""
    number_at: float | None = None
    breaker_number: str = ""
    """What the breaker says it is, where it has one."""
    status: RelayStatus = field(default_factory=RelayStatus)
    status_at: float | None = None
    clock: datetime | None = None
    """Of the device that is switched, in its local time."""
    clock_at: float | None = None
    energy: int | None = None
    """Of the register that grows, in steps of its point's resolution."""
    energy_at: float | None = None
    values: dict[str, str] = field(default_factory=dict)
    """Everything good, for the record."""

    def meter_time(self, wall: float) -> datetime | None:
        """What the clock shows at ``wall``."""
        if self.clock is None or self.clock_at is None:
            return None
        return self.clock + timedelta(seconds=round(wall - self.clock_at))


_SIGNALS = {
    Position.CLOSED: Signal.SEEN_CLOSED,
    Position.TRIP_PENDING: Signal.SEEN_MOVING,
    Position.OPEN: Signal.SEEN_OPEN,
    Position.CLOSE_ALLOWED: Signal.SEEN_ALLOWED,
    Position.UNKNOWN: Signal.NO_REPLY,
}


def seen(found: Look) -> Signal:
    """What the relay's procedure is told of a look."""
    return _SIGNALS[found.status.position]


def conducts(before: Look, after: Look) -> bool | None:
    """Whether current flows through a relay that says open; None: nobody can tell.

    ``before`` is the first look when it was open.
    """
    power = after.values.get("power_active")
    if power is not None and abs(Decimal(power)) > CONDUCTS_W:
        return True
    if before.energy is None or after.energy is None:
        return None
    return after.energy > before.energy


def plan(meter: MeterConfig, what: What, refused: Callable[[str], AbstractSet[str]]) -> list[Part]:
    """What is asked, device by device.  ``refused`` gives the exchanges that an asset refused; of
    the ways to read a clock the first that is not refused.
    """
    switch, load = meter.switch, relay_points(meter.profile).load
    state = relay_points(switch.profile).state
    at_switch: dict[What, tuple[Sequence[str], ...]] = {
        What.TRIP: (_number(switch), state),
        What.STATE: (state,),
        What.CLOSE: (_before_close(switch),),
    }
    at_meter: dict[What, tuple[Sequence[str], ...]] = {
        What.TRIP: (_number(meter), load) if meter.breaker else (load,),
        What.STATE: (load,),
        What.CLOSE: (),
    }
    asked = _all(switch, at_switch[what], refused(switch.asset))
    counted = _all(meter, at_meter[what], refused(meter.asset))
    clock = () if what is What.STATE else _clock(switch, refused(switch.asset))
    if meter.breaker is None:
        return [Part(meter.asset, (*asked, *counted, *clock))]
    # The breaker first: where its contact stands matters most, and its meter may be silent.
    parts = Part(switch.asset, (*asked, *clock)), Part(meter.asset, counted)
    return [part for part in parts if part.exchanges]


def look(meter: MeterConfig, readings: Iterable[Reading]) -> Look:
    """What the answers say."""
    switch = meter.switch
    values: dict[str, dict[str, Value]] = {meter.asset: {}, switch.asset: {}}
    at: dict[str, dict[str, float]] = {meter.asset: {}, switch.asset: {}}
    for reading in readings:
        good = {n: v for n, v in reading.values.items() if v.quality is Quality.GOOD}
        values[reading.meter] |= good
        at[reading.meter] |= dict.fromkeys(good, reading.taken_at)
    own, told = values[meter.asset], values[switch.asset]
    own_at, told_at = at[meter.asset], at[switch.asset]
    points, load = relay_points(switch.profile), relay_points(meter.profile).load[:1]
    clock = meter_time(told)
    energy = next((own[name].amount for name in load if name in own), None)
    return Look(
        number=_said(meter, own),
        number_at=_first(own_at, _number(meter)),
        breaker_number=_said(switch, told) if meter.breaker else "",
        status=relay_status(switch.profile, told),
        status_at=_first(told_at, points.state),
        clock=clock,
        clock_at=_last(told_at, points.clock) if clock else None,
        energy=energy if isinstance(energy, int) else None,
        energy_at=_first(own_at, load),
        # Of a point that both have the breaker's counts: it is asked for its contact alone.
        values={name: value.text() or "" for name, value in (own | told).items()},
    )


def tells_load_side(meter: MeterConfig) -> bool:
    """Whether a look shows if there is voltage behind the open relay."""
    return relay_points(meter.switch.profile).load_side


def _number(meter: MeterConfig) -> tuple[str, ...]:
    identity = relay_points(meter.profile).identity
    return tuple(name for name in NUMBERS if name in identity)[:1]


def _said(meter: MeterConfig, values: dict[str, Value]) -> str:
    """Which a device says it is."""
    return next((values[name].text() or "" for name in _number(meter) if name in values), "")


def _before_close(switch: MeterConfig) -> tuple[str, ...]:
    points = relay_points(switch.profile)
    return points.state if points.load_side else ()


def _clock(meter: MeterConfig, refused: AbstractSet[str]) -> tuple[Exchange, ...]:
    """Date and time in one, where the meter has that; else one after the other."""
    points = relay_points(meter.profile).clock
    whole = [name for name in points if name == "meter_time"]
    return _of(meter, whole, refused) or _of(
        meter, [name for name in points if name not in whole], refused
    )


def _all(
    meter: MeterConfig, groups: Iterable[Sequence[str]], refused: AbstractSet[str]
) -> tuple[Exchange, ...]:
    return tuple(one for group in groups for one in _of(meter, group, refused))


def _of(
    meter: MeterConfig, points: Sequence[str], refused: AbstractSet[str]
) -> tuple[Exchange, ...]:
    if not points:
        return ()
    return meter.profile.plan(meter.address, points, refused, meter.settings.character_s)


def _first(at: dict[str, float], names: Iterable[str]) -> float | None:
    return min((at[name] for name in names if name in at), default=None)


def _last(at: dict[str, float], names: Iterable[str]) -> float | None:
    return max((at[name] for name in names if name in at), default=None)
