"""A look at a meter around switching: what is asked, and what its answers say.

    plan(meter, What.TRIP, refused)      whose number it is, the relay's state, the load, the clock
    look(meter, readings)                the same as values, with the moment of each

The clock is asked last, so that it is fresh when the command is made.
"""

from collections.abc import Iterable, Sequence
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
    CLOCK = "clock"  # before a restore: what its deadline is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look brought.  Times are Unix seconds; None is what was not read."""

    number: str = ""
    number_at: float | None = None
    status: RelayStatus = field(default_factory=RelayStatus)
    status_at: float | None = None
    clock: datetime | None = None
    """The meter's own, in its local time."""
    clock_at: float | None = None
    energy: int | None = None
    """Of the register that grows, in steps of its point's resolution."""
    energy_at: float | None = None
    values: dict[str, str] = field(default_factory=dict)
    """Everything good, for the record."""

    def meter_time(self, wall: float) -> datetime | None:
        """What the meter's clock shows at ``wall``."""
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


def plan(meter: MeterConfig, what: What, refused: AbstractSet[str]) -> tuple[Exchange, ...]:
    """The exchanges of a look.  Of the ways to read a clock the first that is not refused."""
    points = relay_points(meter.profile)
    groups: dict[What, tuple[Sequence[str], ...]] = {
        What.TRIP: (_number(meter), points.state, points.load),
        What.STATE: (points.state, points.load),
        What.CLOCK: (),
    }
    exchanges = [one for group in groups[what] for one in _of(meter, group, refused)]
    clock = () if what is What.STATE else _clock(meter, refused)
    return (*exchanges, *clock)


def look(meter: MeterConfig, readings: Iterable[Reading]) -> Look:
    """What the answers say."""
    values: dict[str, Value] = {}
    at: dict[str, float] = {}
    for reading in readings:
        good = {n: v for n, v in reading.values.items() if v.quality is Quality.GOOD}
        values |= good
        at |= dict.fromkeys(good, reading.taken_at)
    points = relay_points(meter.profile)
    number = next((name for name in _number(meter) if name in values), "")
    clock = meter_time(values)
    energy = next((values[name].amount for name in points.load[:1] if name in values), None)
    return Look(
        number=(values[number].text() or "") if number else "",
        number_at=at.get(number),
        status=relay_status(meter.profile, values),
        status_at=_first(at, points.state),
        clock=clock,
        clock_at=_last(at, points.clock) if clock else None,
        energy=energy if isinstance(energy, int) else None,
        energy_at=_first(at, points.load[:1]),
        values={name: value.text() or "" for name, value in values.items()},
    )


def _number(meter: MeterConfig) -> tuple[str, ...]:
    identity = relay_points(meter.profile).identity
    return tuple(name for name in NUMBERS if name in identity)[:1]


def _clock(meter: MeterConfig, refused: AbstractSet[str]) -> tuple[Exchange, ...]:
    """Date and time in one, where the meter has that; else one after the other."""
    points = relay_points(meter.profile).clock
    whole = [name for name in points if name == "meter_time"]
    return _of(meter, whole, refused) or _of(
        meter, [name for name in points if name not in whole], refused
    )


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
