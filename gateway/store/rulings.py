"""What a meter is taken to have shown at a day's end: its freeze, or what a person ruled.

A freeze is never changed.  Who knows better (a picture of the display, a second reading, a repaired
clock) adds a ruling that names the day; the last ruling counts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from gateway.prepayment.validity import Shown
from gateway.store.connection import Connection
from gateway.store.database import Database

Action = Literal["accept", "reject", "replace", "estimate"]
"""Charge the freeze though it is odd; never charge it; charge these registers instead; the same,
but they are an estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a person decided about one meter and day."""

    meter: str
    """Asset number."""
    day: date
    action: Action
    registers: Mapping[str, int]
    """For ``replace`` and ``estimate``: in steps of the points' resolution."""
    issuer: str
    reason: str
    at: float
    """Unix time."""


class RulingReader:
    """Freezes and rulings as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def shown(self, meter: str, day: date) -> Shown | None:
        """What the meter is taken to have shown at the end of ``day``; None: nothing is known."""
        where = (meter, day.isoformat())
        ruling = self._connection.row(
            "select action, registers from ruling where meter = ? and day = ?"
            " order by number desc limit 1",
            *where,
        )
        action = ruling[0] if ruling else ""
        if ruling and action in ("replace", "estimate"):
            registers = json.loads(ruling[1])
            return Shown(registers=registers, ruled=True, estimated=action == "estimate")
        rows = self._connection.rows(
            "select point, amount, offset_s, loaded from freeze join freeze_value"
            " using (meter, day) where meter = ? and day = ?",
            *where,
        )
        if not rows or action == "reject":
            return None
        _, _, offset_s, loaded = rows[0]
        return Shown(
            registers={row[0]: row[1] for row in rows},
            clock_offset_s=offset_s or 0,
            ruled=action == "accept",
            load_seen=bool(loaded),
        )

    def is_again(self, account: str) -> bool:
        """Whether an account's charges have to be derived again before it is charged further."""
        return bool(self._connection.row("select 1 from derive_again where account = ?", account))

    def doubted(self, account: str, after: date) -> int:
        """How many readings of an account are kept out that were made after ``after``."""
        [(count,)] = self._connection.rows(
            "select count(*) from doubt where account = ? and day > ?",
            *(account, after.isoformat()),
        )
        return int(count)

    def differs(self, account: str) -> str:
        """Why an account's books did not agree when they were last looked at; empty: they did."""
        row = self._connection.row("select reason from differs where account = ?", account)
        return row[0] if row else ""


class Rulings(RulingReader):
    """Freezes and rulings for the daemon.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def add(self, ruling: Ruling) -> None:
        """Store a ruling; it takes the place of former ones on that day."""
        self._database.write(
            "insert into ruling (meter, day, action, registers, issuer, reason, at)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            *(ruling.meter, ruling.day.isoformat(), ruling.action),
            json.dumps(dict(ruling.registers), sort_keys=True),
            *(ruling.issuer, ruling.reason, ruling.at),
        )

    def days(self, meters: Iterable[str], after: date) -> list[date]:
        """The days after ``after`` on which something is known of any of the meters, ascending."""
        found = set()
        for meter in meters:
            found |= {
                day
                for (day,) in self._database.rows(
                    "select day from freeze where meter = ?1 and day > ?2"
                    " union select day from ruling where meter = ?1 and day > ?2",
                    *(meter, after.isoformat()),
                )
            }
        return sorted(map(date.fromisoformat, found))

    def first_open(self, meter: str, after: date, before: date) -> date | None:
        """The first day between the two of which it is not known whether there is a freeze."""
        day = after + timedelta(days=1)
        if day >= before:
            return None
        known = {
            day
            for (day,) in self._database.rows(
                "select day from freeze where meter = ?1 and day > ?2 and day < ?3"
                " union select day from freeze_gap where meter = ?1 and day > ?2 and day < ?3"
                " union select day from ruling where meter = ?1 and day > ?2 and day < ?3",
                *(meter, after.isoformat(), before.isoformat()),
            )
        }
        while day < before:
            if day.isoformat() not in known:
                return day
            day += timedelta(days=1)
        return None

    def taken(self, meter: str, day: date) -> float | None:
        """Unix time when the freeze was read; None if there is none."""
        row = self._database.row(
            "select taken from freeze where meter = ? and day = ?", meter, day.isoformat()
        )
        return row[0] if row else None

    def doubt(self, account: str, meter: str, day: date, odd: str, at: float) -> bool:
        """Note that a reading is kept out; False if that was noted before."""
        return bool(
            self._database.write(
                "insert into doubt (account, meter, day, odd, at) values (?, ?, ?, ?, ?)"
                " on conflict do nothing",
                *(account, meter, day.isoformat(), odd, at),
            )
        )

    def again(self, account: str, since: date) -> None:
        """Note that an account's charges from a day on have to be derived again."""
        self._database.write(
            "insert into derive_again (account, since) values (?, ?)"
            " on conflict (account) do update set since = min(since, excluded.since)",
            *(account, since.isoformat()),
        )

    def next_again(self) -> tuple[str, date] | None:
        """An account whose charges have to be derived again, and from which day on."""
        row = self._database.row("select account, since from derive_again limit 1")
        return (row[0], date.fromisoformat(row[1])) if row else None

    def done_again(self, account: str) -> None:
        """It was derived again."""
        self._database.write("delete from derive_again where account = ?", account)

    def set_differs(self, account: str, reason: str, at: float) -> None:
        """Note what was found; empty: they agree."""
        if not reason:
            self._database.write("delete from differs where account = ?", account)
            return
        self._database.write(
            "insert into differs (account, reason, at) values (?, ?, ?) on conflict (account)"
            " do update set reason = excluded.reason, at = excluded.at",
            *(account, reason[:500], at),
        )
