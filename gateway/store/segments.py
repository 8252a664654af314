"""Segments: the tables that hold the outbox's messages, one per lane and day.

A segment holds one unbroken range of a lane's numbers.  It ends with its day (UTC) or when it is
full, and is dropped whole: dropping a table writes a hundredth of what deleting its rows writes.
Its rows are never touched after they were added.  What is written wears the flash, so long bodies
are packed: a message of readings shrinks to a tenth.  The kind of a packed row ends with ``;zlib``.

Each row carries the size of the lane up to and including itself, so the size of any range is two
look-ups, not a scan.

The clock may jump: a segment's day is only its label, the numbers alone give the order.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.store.connection import Row
from gateway.store.database import Database
from gateway.store.runs import Run

PACKED = ";zlib"
PACKED_FROM_BYTES = 512
PACKING = 1
"""zlib's level: the fastest; higher ones gain little on messages of readings."""
_SELECT = """
    select id, segment.epoch, segment.lane, day, first, coalesce(segment.last, lane.last)
      from segment join lane on lane.epoch = segment.epoch and lane.lane = segment.lane
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """One table of messages."""

    id: int
    epoch: int
    lane: str
    day: str
    """YYYYMMDD, UTC, by the clock as it was when the segment was begun."""
    first: int
    last: int

    @property
    def table(self) -> str:
        """Its name: ``outbox_live_20260131_7``."""
        return f"outbox_{self.lane}_{self.day}_{self.id}"


class Segments:
    """All segments of ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database, segment_bytes_max: int) -> None:
        self._database = database
        self._segment_bytes_max = segment_bytes_max

    def all(self) -> list[Segment]:
        """Every segment, oldest first."""
        return [Segment(*row) for row in self._database.rows(_SELECT + " order by id")]

    def of(self, epoch: int, lane: str) -> list[Segment]:
        """One lane's segments, by their numbers."""
        rows = self._database.rows(
            _SELECT + " where segment.epoch = ? and segment.lane = ? order by first", epoch, lane
        )
        return [Segment(*row) for row in rows]

    def last(self, epoch: int, lane: str) -> int:
        """The highest number given in a lane; 0 before the first."""
        return self._counters(epoch, lane)[0]

    def append(self, epoch: int, lane: str, kind: str, created: float, body: bytes) -> None:
        """Add a message under the lane's next number."""
        last, lane_bytes = self._counters(epoch, lane)
        seq = last + 1
        day = datetime.fromtimestamp(created, UTC).strftime("%Y%m%d")
        table = self._table_for(epoch, lane, seq, day, lane_bytes)
        if len(body) >= PACKED_FROM_BYTES:
            kind, body = kind + PACKED, zlib.compress(body, PACKING)
        lane_bytes += len(body)
        self._database.write(
            "insert into lane (epoch, lane, last, total_bytes) values (?, ?, ?, ?)"
            " on conflict (epoch, lane)"
            " do update set last = excluded.last, total_bytes = excluded.total_bytes",
            *(epoch, lane, seq, lane_bytes),
        )
        self._database.write(
            f"insert into {table} (seq, kind, created, upto_bytes, body) values (?, ?, ?, ?, ?)",  # noqa: S608
            *(seq, kind, created, lane_bytes, body),
        )

    def read(self, segment: Segment, run: Run, limit: int, *, newest_first: bool) -> list[Row]:
        """Up to ``limit`` rows ``(seq, kind, created, body)`` of ``run``."""
        order = "desc" if newest_first else "asc"
        rows = self._database.rows(
            f"select seq, kind, created, body from {segment.table}"  # noqa: S608
            f" where seq between ? and ? order by seq {order} limit ?",
            *(*run, limit),
        )
        return [_unpacked(row) for row in rows]

    def size_bytes(self, segment: Segment, run: Run) -> int:
        """What the bodies of ``run``, which lies within ``segment``, take as they are packed."""
        rows = self._database.rows(
            f"select upto_bytes, length(body) from {segment.table}"  # noqa: S608
            " where seq in (?, ?) order by seq",
            *run,
        )
        before = rows[0][0] - rows[0][1]
        size: int = rows[-1][0] - before
        return size

    def ended_at(self, segment: Segment) -> float:
        """Unix time of its newest message."""
        [(created,)] = self._database.rows(
            f"select created from {segment.table} where seq = ?",  # noqa: S608
            segment.last,
        )
        ended: float = created
        return ended

    def drop(self, segment: Segment) -> None:
        """Drop its messages, and what was noted of numbers that are no longer there."""
        self._database.write(f"drop table {segment.table}")
        self._database.write("delete from segment where id = ?", segment.id)
        self._database.write(
            "delete from acknowledged where epoch = ?1 and lane = ?2 and last < coalesce("
            "(select min(first) from segment where epoch = ?1 and lane = ?2), last + 1)",
            *(segment.epoch, segment.lane),
        )

    def _counters(self, epoch: int, lane: str) -> tuple[int, int]:
        row = self._database.row(
            "select last, total_bytes from lane where epoch = ? and lane = ?", epoch, lane
        )
        return (row[0], row[1]) if row else (0, 0)

    def _table_for(self, epoch: int, lane: str, seq: int, day: str, lane_bytes: int) -> str:
        """The table that takes the message ``seq``; a new one where the former has ended."""
        row = self._database.row(
            "select id, day, bytes_before from segment"
            " where epoch = ? and lane = ? and last is null",
            *(epoch, lane),
        )
        if row and row[1] == day and lane_bytes - row[2] < self._segment_bytes_max:
            return Segment(row[0], epoch, lane, day, 0, 0).table
        if row:
            self._database.write("update segment set last = ? where id = ?", seq - 1, row[0])
        self._database.write(
            "insert into segment (epoch, lane, day, first, bytes_before) values (?, ?, ?, ?, ?)",
            *(epoch, lane, day, seq, lane_bytes),
        )
        [(number,)] = self._database.rows("select last_insert_rowid()")
        table = Segment(number, epoch, lane, day, 0, 0).table
        self._database.write(
            f"create table {table} ("
            " seq integer primary key, kind text not null, created real not null,"
            " upto_bytes integer not null, body blob not null) strict"
        )
        return table


def _unpacked(row: Row) -> Row:
    seq, kind, created, body = row
    if not kind.endswith(PACKED):
        return row
    return seq, kind.removesuffix(PACKED), created, zlib.decompress(body)
