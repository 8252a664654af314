"""What has to be known before anybody is cut: notices served, calendars, stops, the dry run.

All of it only grows: the last word counts, and what was said before stays as evidence.
"""

from dataclasses import dataclass
from typing import Literal

from gateway.store.connection import Connection
from gateway.store.database import Database

What = Literal["dunning", "notice", "last_call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The proof that a customer was told."""

    account: str
    round: int
    """Of its disconnections: an older one proves nothing for a newer."""
    what: What
    channel: str
    served: float
    """Unix time when it was delivered."""
    receipt: str
    key: str
    """Key id of who signed for it."""
    received: float
    """Unix time when the proof came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """An order that no cut is made."""

    id: str
    """Of the command."""
    key: str
    """Key id of who signed it; empty: somebody at the box."""
    by: str
    """The same in words."""
    reason: str
    at: float
    """Unix time."""


class PrecautionReader:
    """The precautions as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def served(self, account: str, round_: int | None = None) -> list[Served]:
        """The proofs of an account, of one round or of all, in the order they came."""
        rows = self._connection.rows(
            "select account, round, what, channel, served, receipt, key, received"
            " from notice_served where account = ?1 and (?2 is null or round = ?2) order by number",
            *(account, round_),
        )
        return [
            Served(
                account=of,
                round=round_,
                what=what,
                channel=channel,
                served=served,
                receipt=receipt,
                key=key,
                received=received,
            )
            for of, round_, what, channel, served, receipt, key, received in rows
        ]

    def calendar(self) -> tuple[int, str] | None:
        """Version and body of the calendar that counts; None: there is none."""
        row = self._connection.row(
            "select version, body from calendar order by version desc limit 1"
        )
        return (row[0], row[1]) if row else None

    def weather(self) -> tuple[str, float] | None:
        """The last word on the weather: (reason, until when it may be believed)."""
        row = self._connection.row("select reason, until from weather order by number desc limit 1")
        return (row[0], row[1]) if row else None

    def stops(self) -> list[Stop]:
        """The orders to stop that were not taken back, oldest first."""
        rows = self._connection.rows(
            "select id, key, by, reason, at from stop"
            " where id not in (select stop from stop_end) order by at, id"
        )
        return [
            Stop(id=id_, key=key, by=by, reason=reason, at=at) for id_, key, by, reason, at in rows
        ]

    def dry_run(self) -> bool | None:
        """Whether cuts are only rehearsed; None: nobody ever said."""
        row = self._connection.row("select dry from dry_run order by number desc limit 1")
        return bool(row[0]) if row else None


class Precautions(PrecautionReader):
    """The precautions in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def add_served(self, one: Served) -> None:
        """Keep a proof."""
        self._database.write(
            "insert into notice_served"
            " (account, round, what, channel, served, receipt, key, received)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            *(one.account, one.round, one.what, one.channel),
            *(one.served, one.receipt, one.key, one.received),
        )

    def put_calendar(self, version: int, body: str, key: str, received: float) -> None:
        """Keep a calendar; its version is above that of the one before."""
        self._database.write(
            "insert into calendar (version, body, key, received) values (?, ?, ?, ?)",
            *(version, body, key, received),
        )

    def put_weather(self, reason: str, until: float, key: str, received: float) -> None:
        """Keep a word on the weather."""
        self._database.write(
            "insert into weather (reason, until, key, received) values (?, ?, ?, ?)",
            *(reason, until, key, received),
        )

    def add_stop(self, stop: Stop) -> None:
        """From now on no cut is made."""
        self._database.write(
            "insert into stop (id, key, by, reason, at) values (?, ?, ?, ?, ?)",
            *(stop.id, stop.key, stop.by, stop.reason, stop.at),
        )

    def end_stop(self, id_: str, at: float, by: str) -> None:
        """A stop was taken back."""
        self._database.write("insert into stop_end (stop, at, by) values (?, ?, ?)", *(id_, at, by))

    def set_dry_run(self, by: str, reason: str, at: float, *, dry: bool) -> None:
        """From now on cuts are rehearsed only, or not any more."""
        self._database.write(
            "insert into dry_run (dry, by, reason, at) values (?, ?, ?, ?)", *(dry, by, reason, at)
        )
