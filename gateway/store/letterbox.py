"""The letterbox: how another process on this machine orders something of the daemon.

    letterbox/                directory, group may write: who may write here may order
    letterbox/letterbox.db    one table of letters (SQLite, rollback journal, not WAL)

Whoever has an order posts a letter: a row whose ``what`` is a command as it would come by MQTT.
The daemon looks twice a second (``pragma data_version``: a few microseconds), takes the letters in
their order, and deletes what it has taken.  The answer is not here: it is the command's result in
the daemon's own file, committed together with its effect, so nothing can part the two.  A letter
found again after a crash is known by its id and does nothing.

Nothing that happens to this file harms the daemon: it never waits for a lock here; a file that is
damaged, too large or not ours is set aside and a new one begun.  What stands in a letter is as
little trusted as what comes by MQTT; ``who`` is what its writer says of himself.

A rollback journal because there are several writers: before 3.51.3 SQLite can damage a WAL file
that two connections checkpoint at once.

Not supported: telling the members of the group apart.
"""

import contextlib
import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

from gateway.store.connection import connect
from gateway.store.faults import SqliteFaults, StoreError, damaged, os_faults, sync_directory
from gateway.store.startup import quarantine

DIRECTORY = "letterbox"
"""Below the store's directory."""
FILE = "letterbox.db"
DIRECTORY_MODE = 0o2770
"""Set-group-id, so that SQLite's journal belongs to the group whoever makes it."""
FILE_MODE = 0o660
FILE_BYTES_MAX = 16 * 1024 * 1024
WHAT_BYTES_MAX = 65_536
"""As large as a message from the head-end; a larger one comes out cut off, and is refused."""
AT_ONCE = 32
WAITING_MAX = 1000
POST_TIMEOUT_MS = 5000

_TABLE = """CREATE TABLE letter (
    number integer primary key autoincrement,
    id     text not null unique,      -- the command's
    who    text not null,             -- who posted it, as he says
    what   blob not null,             -- the command, JSON
    posted real not null              -- Unix time
) strict"""
_SCHEMA = [
    (b"table", b"letter", _TABLE.encode()),
    (b"index", b"sqlite_autoindex_letter_1", None),
    (b"table", b"sqlite_sequence", b"CREATE TABLE sqlite_sequence(name,seq)"),
]


class NoLetterboxError(StoreError):
    """Nothing can be posted here: there is no letterbox, it may not be written to, or is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An order, as somebody posted it."""

    number: int = 0
    """In the order of posting; given by the letterbox."""
    id: str
    who: str
    what: bytes
    posted: float


class Letterbox:
    """The daemon's side.  Opens and makes what is missing when it is first looked into.

    Raises StoreError, each meaning "not now": LockedError, or StoreIOError and DiskFullError where
    the file cannot be used; StoreDamagedError calls for ``set_aside``.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._version = 0
        self._upto = 0
        """All letters up to this number are taken."""
        self._empty = False
        """Nothing waited when the file was at ``_version``."""

    def waiting(self) -> list[Letter]:
        """The letters not taken yet, oldest first; some of them, if there are many."""
        connection = self._opened()
        with SqliteFaults(self.path):
            [(version,)] = connection.execute("pragma data_version")
            if version == self._version and self._empty:
                return []
            _check_schema(self.path, connection)
            rows = connection.execute(
                "select number, substr(id, 1, 100), substr(who, 1, 100), substr(what, 1, ?), posted"
                " from letter where number > ? order by number limit ?",
                (WHAT_BYTES_MAX + 1, self._upto, AT_ONCE),
            ).fetchall()
        self._version, self._empty = version, not rows
        return [
            Letter(
                number=number,
                id=id_.decode(errors="replace"),
                who=who.decode(errors="replace"),
                what=what,
                posted=posted,
            )
            for number, id_, who, what, posted in rows
        ]

    def taken(self, letter: Letter) -> None:
        """The letter has its answer: it is not shown again."""
        self._upto = letter.number

    def clear(self) -> None:
        """Delete what was taken.  Where that cannot be now, the next time does."""
        connection = self._opened()
        with SqliteFaults(self.path):
            connection.execute("delete from letter where number <= ?", (self._upto,))

    def set_aside(self) -> Path | None:
        """Move the file out of the way; the next look makes a new one.  Returns its name now."""
        self.close()
        return quarantine(self.path)

    def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        """The connection to the file that has the name now."""
        if self._connection and _inode(self.path) == self._inode:
            return self._connection
        self.close()
        with os_faults(self.path):
            _make(self.path)
        self._check_file()
        self._inode = _inode(self.path)
        self._connection = _connect(self.path, 0)
        self._version, self._upto, self._empty = 0, 0, False
        return self._connection

    def _check_file(self) -> None:
        """Raise StoreDamagedError for what is no file of ours, before SQLite touches it."""
        with os_faults(self.path):
            found = self.path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise damaged(self.path, "not a plain file")
        if found.st_size > FILE_BYTES_MAX:
            raise damaged(self.path, f"{found.st_size} bytes large")


def post(directory: Path, letter: Letter) -> None:
    """Post a letter.  It is on flash when this returns; an id that waits already waits once.

    Raises NoLetterboxError, with what to do, or another StoreError.
    """
    path = directory / FILE
    try:
        path.stat()
    except FileNotFoundError as error:
        raise NoLetterboxError(
            f"{path}: no letterbox there; the gateway makes one when it starts:"
            " systemctl start taiqu"
        ) from error
    except PermissionError as error:
        raise _forbidden(path) from error
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(directory, os.W_OK):
        raise _forbidden(path)
    connection = _connect(path, POST_TIMEOUT_MS)
    with contextlib.closing(connection), SqliteFaults(path):
        connection.execute("pragma journal_mode = truncate")
        connection.execute("begin immediate")
        _check_schema(path, connection)
        [(waiting,)] = connection.execute("select count(*) from letter")
        if waiting >= WAITING_MAX:
            raise NoLetterboxError(
                f"{path}: {waiting} letters wait already; the gateway does not take them: look at"
                " journalctl -u taiqu"
            )
        connection.execute(
            "insert into letter (id, who, what, posted) values (?, ?, ?, ?)"
            " on conflict (id) do nothing",
            (letter.id, letter.who, letter.what, letter.posted),
        )
        connection.execute("commit")


def _connect(path: Path, timeout_ms: int) -> sqlite3.Connection:
    connection = connect(path, "rw", timeout_ms)
    # A stranger's text may be no UTF-8.
    connection.text_factory = bytes
    with SqliteFaults(path):
        connection.execute("pragma trusted_schema = off")
        connection.execute("pragma cell_size_check = on")
        connection.execute("pragma synchronous = full")
    return connection


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Raise StoreDamagedError unless our table is there and nothing else: no view, no trigger."""
    found = connection.execute("select type, name, sql from sqlite_schema").fetchall()
    if sorted(found) != sorted(_SCHEMA):
        raise damaged(path, "not a letterbox of ours")


def _make(path: Path) -> None:
    """Make the directory and the file, unless they are there."""
    directory = path.parent
    if not directory.exists():
        directory.mkdir()
        directory.chmod(DIRECTORY_MODE)
    if os.path.lexists(path):
        return
    # Made aside and then named: nobody sees a letterbox without its table.
    draft = path.with_name(path.name + ".new")
    for suffix in ("", "-journal"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    draft.chmod(FILE_MODE)
    connection = _connect(draft, 0)
    with contextlib.closing(connection), SqliteFaults(draft):
        connection.execute(_TABLE)
    draft.rename(path)
    sync_directory(directory)


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.lstat()
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _forbidden(path: Path) -> NoLetterboxError:
    return NoLetterboxError(
        f"{path}: you may not post here; run this as root, or join the group that owns it"
        " (sudo usermod -aG taiqu NAME) and log in again"
    )
