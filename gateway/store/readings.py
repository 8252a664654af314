"""Daily freezes (日冻结) as they are kept: what bills are made of.

A freeze is stored once per meter and day, only after it was confirmed, and never changed.  Beside
it stand the days for which there is none and never will be, so that a restart asks for neither
again; how far each meter's clock was off, and when it was told the time; and what the head-end was
told of each day.

Rows are kept for ever: some 300 bytes per meter and day.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from gateway.store.database import Database

Quality = Literal["good", "clock_off", "suspect"]
Kind = Literal["absent", "wrong_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """What one meter's registers showed at the end of one local day."""

    meter: str
    """Asset number."""
    day: date
    frozen: float
    """Unix time of the day's end."""
    taken: float
    """Unix time when the reply was complete."""
    clock: str
    """What our clock was worth then: ``trusted`` or ``holdover``."""
    quality: Quality
    """``clock_off``: the meter's midnight was not ours; ``suspect``: it was read twice alike, but
    does not continue the registers before or after it."""
    reason: str = ""
    offset_s: float | None = None
    """How far the meter's clock was ahead when it was compared last; None: never."""
    loaded: bool = False
    """Power was drawn that day, by what was polled."""
    values: Mapping[str, int]
    """By register (``energy_active_import_t1``), in steps of its point's resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A day for which a meter has no freeze that counts."""

    meter: str
    day: date
    kind: Kind
    reason: str
    at: float
    """Unix time when it was found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterClock:
    """How far a meter's clock was off."""

    meter: str
    day: date
    """The day whose freeze was the newest."""
    offset_s: float
    """Ahead of ours; good to a second."""
    taken: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is kept of one meter and day, without its registers."""

    meter: str
    taken: float
    quality: Quality
    reason: str


class Readings:
    """The freezes in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, freeze: Freeze) -> None:
        """Store a freeze.  A day that is stored already stays as it is."""
        day = freeze.day.isoformat()
        added = self._database.write(
            "insert into freeze (meter, day, frozen, taken, clock, quality, reason, offset_s,"
            " loaded) values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
            *(freeze.meter, day, freeze.frozen, freeze.taken, freeze.clock),
            *(freeze.quality, freeze.reason),
            *(None if freeze.offset_s is None else round(freeze.offset_s), freeze.loaded),
        )
        if added:
            self._database.write_all(
                "insert into freeze_value (meter, day, point, amount) values (?, ?, ?, ?)",
                ((freeze.meter, day, point, amount) for point, amount in freeze.values.items()),
            )

    def add_gap(self, gap: Gap) -> None:
        """Note that a day has no freeze."""
        self._database.write(
            "insert into freeze_gap (meter, day, kind, reason, at) values (?, ?, ?, ?, ?)"
            " on conflict do nothing",
            *(gap.meter, gap.day.isoformat(), gap.kind, gap.reason, gap.at),
        )

    def set_clock(self, clock: MeterClock) -> None:
        """Note how far a meter's clock is off; a former note is replaced."""
        self._database.write(
            "insert into meter_clock (meter, day, offset_s, taken) values (?, ?, ?, ?)"
            " on conflict (meter) do update set day = excluded.day,"
            " offset_s = excluded.offset_s, taken = excluded.taken",
            *(clock.meter, clock.day.isoformat(), clock.offset_s, clock.taken),
        )

    def set_told(self, day: date, *, settled: bool) -> None:
        """Note that the head-end was told of a day, and whether nothing of it was open."""
        self._database.write(
            "insert into completeness (day, settled) values (?, ?)"
            " on conflict (day) do update set settled = excluded.settled",
            *(day.isoformat(), settled),
        )

    def set_time_told(self, whom: str, day: date) -> None:
        """Note that the time was broadcast to ``whom`` on a local day."""
        self._database.set_meta(f"time told {whom}", day.isoformat())

    def time_told(self, whom: str) -> date | None:
        """The last local day on which the time was broadcast to ``whom``."""
        day = self._database.meta(f"time told {whom}")
        return date.fromisoformat(day) if day else None

    def values(self, meter: str, day: date) -> dict[str, int]:
        """The registers of one freeze; empty if there is none."""
        return dict(
            self._database.rows(
                "select point, amount from freeze_value where meter = ? and day = ?",
                *(meter, day.isoformat()),
            )
        )

    def neighbours(self, meter: str, day: date) -> list[tuple[date, float]]:
        """The nearest stored days before and after ``day``, with the moments they show."""
        found = []
        for sign, order in (("<", "desc"), (">", "asc")):
            row = self._database.row(
                f"select day, frozen from freeze where meter = ? and day {sign} ?"  # noqa: S608
                f" order by day {order} limit 1",
                *(meter, day.isoformat()),
            )
            if row:
                found.append((date.fromisoformat(row[0]), row[1]))
        return found

    def newest(self) -> list[tuple[str, date, float]]:
        """Of each meter its newest freeze: the day, and the moment it shows."""
        rows = self._database.rows("select meter, max(day), max(frozen) from freeze group by meter")
        return [(meter, date.fromisoformat(day), frozen) for meter, day, frozen in rows]

    def settled(self, since: date) -> list[tuple[str, date]]:
        """Every meter and day from ``since`` on that need not be asked for."""
        rows = self._database.rows(
            "select meter, day from freeze where day >= ?1"
            " union select meter, day from freeze_gap where day >= ?1",
            since.isoformat(),
        )
        return [(meter, date.fromisoformat(day)) for meter, day in rows]

    def held(self, day: date) -> dict[str, Held]:
        """The freezes of one day, by meter."""
        rows = self._database.rows(
            "select meter, taken, quality, reason from freeze where day = ?", day.isoformat()
        )
        return {row[0]: Held(*row) for row in rows}

    def gaps(self, day: date) -> dict[str, tuple[Kind, str]]:
        """The meters without a freeze of that day, with kind and reason."""
        rows = self._database.rows(
            "select meter, kind, reason from freeze_gap where day = ?", day.isoformat()
        )
        return {meter: (kind, reason) for meter, kind, reason in rows}

    def clocks(self) -> dict[str, MeterClock]:
        """How far each meter's clock was off, by meter."""
        rows = self._database.rows("select meter, day, offset_s, taken from meter_clock")
        return {
            meter: MeterClock(
                meter=meter, day=date.fromisoformat(day), offset_s=offset_s, taken=taken
            )
            for meter, day, offset_s, taken in rows
        }

    def told(self) -> dict[date, bool]:
        """The days that the head-end was told of, and whether nothing of them was open."""
        rows = self._database.rows("select day, settled from completeness")
        return {date.fromisoformat(day): bool(settled) for day, settled in rows}
