"""The message that says how complete a day is, its freezes and its grid; part of the contract.

Once a day for yesterday, when all of it is read or the time for freezes is over; and again for each
day when nothing of it is open any more.
"""

from typing import Literal

from pydantic import Field

from gateway.north.readings import FreezeQuality
from gateway.north.words import (
    Amount,
    Clock,
    Day,
    Instant,
    Message,
    Meter,
    Numbered,
    Offset,
    Sentence,
)


class CompletenessMeter(Message):
    """One meter on one day."""

    meter: Meter
    state: Literal["read", "absent", "wrong_time", "missing"] = Field(
        description="Read; the meter has none; it froze at another time; not read so far."
    )
    reason: Sentence = ""
    taken: Instant | None = None
    quality: FreezeQuality | None = None
    clock_offset_s: Offset | None = Field(
        None, description="How far its clock was ahead when last compared."
    )


class CompletenessGrid(Message):
    """One meter's moments of the 15-minute grid on one day."""

    meter: Meter
    due: int = Field(ge=0, description="Moments of the day.")
    read: int = Field(ge=0, description="Of those, how many were sent, live or from a load curve.")
    absent: int = Field(ge=0, description="Of those, how many the meter has no record of.")


class Completeness(Numbered):
    """How complete one day is: once a day, and again when nothing is open any more.

    Lane urgent.  Meters that make no daily freezes are not counted among the freezes, meters that
    are left out of the 15-minute grid not in it.  Where there is no grid, or for a day before what
    is kept of it, what is said of the grid is left out.
    """

    day: Day
    at: Instant
    clock: Clock
    settled: bool = Field(description="Nothing is open: what is not there will not come.")
    due: int = Field(ge=0, description="Meters whose freeze was due.")
    read: int = Field(ge=0, description="Meters whose freeze is stored.")
    in_time: int = Field(ge=0, description="Of those, how many were read in time.")
    good: int = Field(ge=0, description="Of those read, how many without complaint.")
    rate_read: Amount | None = Field(None, description="read / due (实抄率), percent.")
    rate_in_time: Amount | None = Field(None, description="in_time / due (到位率), percent.")
    rate_good: Amount | None = Field(None, description="good / read (准确率), percent.")
    meters: tuple[CompletenessMeter, ...]
    grid_due: int | None = Field(None, ge=0, description="Moments of all meters of the grid.")
    grid_read: int | None = Field(None, ge=0, description="Of those, how many were sent.")
    rate_grid: Amount | None = Field(
        None, description="grid_read / grid_due (曲线采集完整率), percent."
    )
    grid: tuple[CompletenessGrid, ...] | None = None
