"""Which moments of the grid are there: one row for each meter and day, forgotten after some days.

The values themselves go to the head-end through the outbox; what is kept here only keeps them from
being asked for, and sent, a second time.
"""

from dataclasses import dataclass
from datetime import date

from gateway.store.database import Database

BITS_BYTES = 13
"""One bit for each quarter of the longest day, 25 hours."""


@dataclass(frozen=True, slots=True)
class GridDay:
    """One meter's day."""

    meter: str
    day: date
    there: int
    """A bit for each moment that was given to the head-end, the lowest is midnight's."""
    absent: int
    """Likewise for each that the meter has no record of."""


class GridRows:
    """The rows in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, row: GridDay) -> None:
        """Store a day, in place of what was known of it."""
        self._database.write(
            "insert into grid (day, meter, there, absent) values (?, ?, ?, ?)"
            " on conflict (day, meter) do update"
            " set there = excluded.there, absent = excluded.absent",
            *(row.day.isoformat(), row.meter),
            *(bits.to_bytes(BITS_BYTES, "little") for bits in (row.there, row.absent)),
        )

    def all(self) -> list[GridDay]:
        """Everything that is kept."""
        rows = self._database.rows("select meter, day, there, absent from grid")
        return [
            GridDay(
                meter,
                date.fromisoformat(day),
                int.from_bytes(there, "little"),
                int.from_bytes(absent, "little"),
            )
            for meter, day, there, absent in rows
        ]

    def forget(self, before: date) -> None:
        """Drop the days before this one."""
        self._database.write("delete from grid where day < ?", before.isoformat())
