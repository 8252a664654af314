"""The messages with what meters showed; part of the contract.

A reading is of the moment it was taken, unless it says otherwise: a daily freeze is of a day's end,
a moment of the grid that came from a load curve is of that moment.
"""

from typing import Annotated, Literal

from pydantic import Field

from gateway.north.words import (
    Address,
    Amount,
    Clock,
    Day,
    Instant,
    Line,
    Message,
    Meter,
    Numbered,
    Offset,
    Point,
    Sentence,
)

FreezeQuality = Annotated[
    Literal["good", "clock_off", "suspect"],
    Field(description="Good; the meter's clock is off; it does not continue the days beside it."),
]


class Frozen(Message):
    """A daily freeze (日冻结): the values are those of a day's end, not of when they were read."""

    day: Day
    at: Annotated[Instant, Field(description="The local midnight that ended the day.")]
    quality: FreezeQuality
    reason: Sentence = ""


class Grid(Message):
    """A moment of the 15-minute grid (15 分钟曲线): which one these registers are for."""

    at: Annotated[Instant, Field(description="The quarter of an hour.")]
    source: Literal["live", "curve"] = Field(
        description="Read within a minute after ``at``; or taken from the meter's load curve"
        " (负荷曲线), then the values are those of ``at`` by the meter's clock."
    )
    clock_offset_s: Offset | None = Field(
        None, description="How far that clock was ahead, where it is further than it may be."
    )


class Reading(Message):
    """Values (示值) of one meter, taken in one go."""

    meter: Meter
    address: Address
    line: Line
    taken: Annotated[Instant, Field(description="When the meter's reply was complete.")]
    clock: Clock
    values: dict[Point, Amount] = Field(default_factory=dict)
    absent: tuple[Point, ...] = Field((), description="The meter says it has no such value now.")
    invalid: tuple[Point, ...] = Field((), description="The meter sent bytes that are no value.")
    suspect: tuple[Point, ...] | None = Field(
        None, description="Registers read twice alike that do not continue what was read before."
    )
    frozen: Frozen | None = Field(None, description="Given for a daily freeze; sent once.")
    grid: Grid | None = Field(None, description="Given for a moment of the grid; sent once.")


class Readings(Numbered):
    """Readings of one group commit.  Lane live on topic readings, lane history on history."""

    readings: tuple[Reading, ...]
