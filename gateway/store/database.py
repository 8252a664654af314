"""The SQLite file: opened, checked, migrated, and changed in transactions.  One thread only.

    taiqu.db               the database, write-ahead log (WAL), synchronous = FULL
    taiqu.db-wal, -shm     SQLite's own; never part them from it
    taiqu.db.head          how far the sequence numbers had come (gateway/store/head.py)
    taiqu.db.ballast       space in reserve for a full disk (gateway/store/ballast.py)
    taiqu.db.lock          held by the daemon while it lives
    taiqu.db.corrupt.N     set aside because it was unreadable

WAL with FULL is what survives a power cut: a commit that returned is on flash.  Both are set and
read back on each opening, because SQLite silently keeps another mode where it cannot comply.

The daemon alone writes and checkpoints the file.  Everybody else opens it with ``ReadOnly``: before
3.51.3 SQLite can damage a file that two connections checkpoint at once.

Not supported: network file systems, file systems mounted without barriers.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gateway.store.ballast import Ballast
from gateway.store.connection import Connection, connect, open_sound
from gateway.store.faults import (
    DiskFullError,
    LockedError,
    SqliteFaults,
    StoreDamagedError,
    StoreError,
    os_faults,
)
from gateway.store.head import Head, HeadFile
from gateway.store.startup import How, Started, judge, lock, quarantine
from gateway.store.upgrade import upgrade

BALLAST_BYTES = 8 * 1024 * 1024
BUSY_TIMEOUT_MS = 1000
"""How long a statement waits for another process; the core does nothing else meanwhile."""
HURRIED_MS = 200
"""Likewise, once the daemon has been told to stop."""
HEAD_INTERVAL_S = 60
"""At most this much telemetry may be given numbers that the head file does not know."""
URGENT = "urgent"
"""The lane whose every move goes into the head file at once."""

_IN_USE = "in use"
"""The fact (yes, no) that tells a crash from a proper end."""

_PREVIOUS = "previous epoch"
"""The fact that names the epoch before the present one."""

_LAST_EPOCH = "select number, epoch, how, detail from epoch order by number desc limit 1"


class ReadOnly(Connection):
    """The daemon's file as another process may see it: no writing, no checkpoint.

    While the daemon is stopped, SQLite has to make the file's -shm for it: then whoever reads must
    be allowed to write in the directory.

    Raises StoreIOError if there is no file or it may not be read.
    """

    def __init__(self, path: Path, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        super().__init__(path, connect(path, "ro", busy_timeout_ms))

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever the daemon writes meanwhile."""
        self.rows("begin")
        yield
        self.rows("rollback")


class Database(Connection):
    """The daemon's file, for the daemon.  Made by ``open_store``."""

    epoch: str
    """The present epoch (64 bits in hexadecimal): who the sequence numbers belong to."""
    epoch_number: int
    """Its row in the table ``epoch``."""
    started: Started
    """How the store began; anything but CONTINUED is to be told to the head-end."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, head: HeadFile, ballast: Ballast
    ) -> None:
        super().__init__(path, connection)
        self._head = head
        self._head_at_s: float | None = None
        self._ballast = ballast
        self._held = contextlib.ExitStack()

    def begin(
        self, now: float, entropy: Callable[[int], bytes], *, damage: str, without_log: bool
    ) -> None:
        """Continue the epoch that stands in the file, or begin a new one; ``open_store`` does.

        ``damage`` says why the former file was set aside, if it was; ``without_log`` that there
        was no -wal file beside it, or an empty one.
        """
        found = self._judge(damage, without_log)
        anew = found.how is not How.CONTINUED
        epoch = entropy(8).hex() if anew else ""
        if anew:
            # The head file first: after a cut between the two the epochs differ, and that is seen.
            self._write_head(Head(epoch, {}))
        with self.transaction():
            if anew:
                self.write(
                    "insert into epoch (epoch, began, how, detail) values (?, ?, ?, ?)",
                    *(epoch, now, found.how, found.detail),
                )
                self.set_meta(_PREVIOUS, found.previous)
            self.set_meta(_IN_USE, "yes")
        # Into the file itself, so that it is there even if the log is not.
        self.rows("pragma wal_checkpoint(passive)")

        [(self.epoch_number, self.epoch, how, detail)] = self.rows(_LAST_EPOCH)
        # While no number has been given, nobody has been told how the epoch began.
        previous = self.meta(_PREVIOUS) or ""
        self.started = found if self._lasts() else Started(How(how), detail, previous)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on flash when it ends.  They do not nest.

        After a StoreDamagedError or StoreIOError every further one raises the same: after a failed
        fsync a second one reports success for data that never reached the medium.
        """
        if self._faults.failed:
            raise self._faults.failed
        if self._connection.in_transaction:
            raise RuntimeError("a transaction was begun inside another; the outer one must do")
        try:
            # Immediate: a deferred one that has read cannot wait for another's write, it fails.
            self.rows("begin immediate")
            yield
            self.rows("commit")
        except BaseException:
            # SQLite may have undone it already, or be unable to: the error at hand matters more.
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            raise

    def write(self, sql: str, *parameters: Any) -> int:
        """Change something inside a transaction.  Returns how many rows were changed."""
        if not self._connection.in_transaction:
            raise RuntimeError(f"a change outside a transaction: {sql}")
        with self._faults:
            return self._connection.execute(sql, parameters).rowcount

    def write_all(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Change the same for each of ``rows``, inside a transaction."""
        if not self._connection.in_transaction:
            raise RuntimeError(f"a change outside a transaction: {sql}")
        with self._faults:
            self._connection.executemany(sql, rows)

    def meta(self, key: str) -> str | None:
        """The small fact stored under ``key``."""
        row = self.row("select value from meta where key = ?", key)
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Store a small fact, in the caller's transaction."""
        self.write(
            "insert into meta (key, value) values (?, ?)"
            " on conflict (key) do update set value = excluded.value",
            *(key, value),
        )

    def note_head(self, monotonic_s: float) -> None:
        """Note in the head file how far the numbers have come.  Call it after each commit.

        Written at once when the urgent lane or the journal has moved, else once a minute.
        """
        head, noted = self._present(), self._head.remembered
        urgent = (
            noted is None
            or head.last.get(URGENT) != noted.last.get(URGENT)
            or head.journal != noted.journal
        )
        due = self._head_at_s is None or monotonic_s - self._head_at_s >= HEAD_INTERVAL_S
        if head != noted and (urgent or due):
            self._write_head(head)
            self._head_at_s = monotonic_s

    def release_ballast(self) -> bool:
        """Give up the reserved space, so that shedding has room.  False if there was none."""
        return self._ballast.release()

    def restore_ballast(self) -> bool:
        """Take the reserve again where there is room for it twice.  True if it is held now."""
        return self._ballast.restore()

    def hurry(self) -> None:
        """Wait for other processes only briefly from now on: the daemon is about to end."""
        self.rows(f"pragma busy_timeout = {HURRIED_MS}")

    def keep(self, held: contextlib.ExitStack) -> None:
        """Take over what is to be let go of when the database is closed."""
        self._held = held

    def close(self) -> None:
        """Note the head, mark the file as properly closed, let go of everything.

        After a fault, or where the mark cannot be written, the files stay as they are: the next
        start judges what is on flash.
        """
        with self._held.pop_all() as held:
            if self._faults.failed is None and self._mark_closed():
                held.callback(super().close)
                self._write_head(self._present())
            else:
                self._abandon()

    def _mark_closed(self) -> bool:
        """False if there is no room for the mark, or another process holds the file."""
        try:
            with self.transaction():
                self.set_meta(_IN_USE, "no")
        except (DiskFullError, LockedError):
            return False
        return True

    def _abandon(self) -> None:
        """Close without folding the log into the file, as SQLite does for the last to close it."""
        with contextlib.suppress(sqlite3.Error, StoreError), ReadOnly(self.path) as last:
            last.rows("select count(*) from sqlite_schema")
            self._connection.close()
        self._connection.close()

    def _write_head(self, head: Head) -> None:
        with self._faults:
            self._head.write(head)

    def _judge(self, damage: str, without_log: bool) -> Started:
        remembered = self._head.remembered
        if damage:
            return Started(How.DAMAGED, damage, remembered.epoch if remembered else "")
        stored = None
        if row := self.row(_LAST_EPOCH):
            self.epoch_number, self.epoch = row[:2]
            known = self._head.remembered
            stored = self._present(known.journal if known else 0)
        parted = without_log and self.meta(_IN_USE) == "yes"
        return judge(stored, remembered, parted=parted)

    def _present(self, at_most: int = 0) -> Head:
        """How far all is; of the journal as it was at the transaction ``at_most``, if any."""
        number, hash_ = self.row(
            "select number, hex(hash) from journal where ?1 = 0 or number <= ?1"
            " order by number desc limit 1",
            at_most,
        ) or (0, "")
        return Head(self.epoch, self._lasts(), number, hash_)

    def _lasts(self) -> dict[str, int]:
        return dict(self.rows("select lane, last from lane where epoch = ?", self.epoch_number))


def open_store(
    path: Path,
    now: Callable[[], float],
    entropy: Callable[[int], bytes],
    *,
    ballast_bytes: int = BALLAST_BYTES,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
) -> Database:
    """Open the daemon's file at ``path``, whatever state it is in, or make it.

    ``now`` gives Unix time, ``entropy`` that many random bytes (for the epoch).  If the disk is
    full, the ballast is given up for it.

    Raises StoreBusyError if another daemon has it, StoreNewerError if a newer release wrote it,
    DiskFullError, LockedError or StoreIOError if it cannot be used at all.
    """
    ballast = Ballast(_beside(path, ".ballast"), ballast_bytes, entropy)
    try:
        database = _open(path, now, entropy, ballast, busy_timeout_ms)
    except DiskFullError:
        if not ballast.release():
            raise
        database = _open(path, now, entropy, ballast, busy_timeout_ms)
    ballast.restore()
    return database


def _open(
    path: Path,
    now: Callable[[], float],
    entropy: Callable[[int], bytes],
    ballast: Ballast,
    busy_timeout_ms: int,
) -> Database:
    with contextlib.ExitStack() as held:
        held.callback(os.close, lock(_beside(path, ".lock")))
        head = HeadFile(_beside(path, ".head"))
        held.callback(head.close)
        log = _beside(path, "-wal")
        without_log = not log.exists() or log.stat().st_size == 0
        connection, damage = _open_or_set_aside(path, head.remembered, busy_timeout_ms)
        with contextlib.ExitStack() as connected:
            connected.callback(connection.close)
            with SqliteFaults(path):
                upgrade(connection, path)
            database = Database(path, connection, head, ballast)
            database.begin(now(), entropy, damage=damage, without_log=without_log)
            connected.pop_all()
        database.keep(held.pop_all())
        return database


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _open_or_set_aside(
    path: Path, remembered: Head | None, busy_timeout_ms: int
) -> tuple[sqlite3.Connection, str]:
    """A connection to a sound file, and what was wrong with the one before it."""
    damage = ""
    with os_faults(path):
        there = path.exists()
        # SQLite takes an empty file for a new one and deletes the log that belongs to it.
        if there and path.stat().st_size == 0 and remembered and any(remembered.last.values()):
            damage = "the file was empty"
    if damage or not there:
        quarantine(path)
    # Twice: a failing disk has been seen to report damage in files that were sound.
    for _ in range(2):
        with contextlib.suppress(StoreDamagedError):
            return open_sound(path, busy_timeout_ms), damage
    aside = quarantine(path)
    return open_sound(path, busy_timeout_ms), f"the file was unreadable and is now {aside}"
