"""One SQLite connection: how it is opened and set, and its faults as ours."""

import contextlib
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from gateway.store.faults import (
    SqliteFaults,
    damaged,
    unusable,
)

# What is set, and how SQLite reads it back.
_SETTINGS: dict[str, tuple[str, object]] = {
    "journal_mode": ("wal", "wal"),
    "synchronous": ("full", 2),  # on flash when a commit returns
    "foreign_keys": ("on", 1),
    # Else "insert or replace" would delete without a word to the triggers that refuse it.
    "recursive_triggers": ("on", 1),
    "cell_size_check": ("on", 1),
    "trusted_schema": ("off", 0),
    # Debian's SQLite overwrites what is dropped with zeros: a hundred times the wear.
    "secure_delete": ("off", 0),
    # A small log is reused in place; a growing one costs the file system's journal as well.
    "wal_autocheckpoint": ("250", 250),
    "journal_size_limit": ("1048576", 1048576),
    "temp_store": ("memory", 2),
}

Row = tuple[Any, ...]


class Connection:
    """One SQLite connection.  Every fault of it comes out as a StoreError."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._faults = SqliteFaults(path)

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """All rows of a query."""
        with self._faults:
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Any) -> Row | None:
        """The first row of a query, or None."""
        with self._faults:
            row: Row | None = self._connection.execute(sql, parameters).fetchone()
            return row

    def close(self) -> None:
        """Close it."""
        with self._faults:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(path: Path, mode: str, busy_timeout_ms: int) -> sqlite3.Connection:
    """Open the file at ``path``; ``mode`` is SQLite's: ``ro``, or ``rwc`` to make it if needed."""
    with SqliteFaults(path):
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=busy_timeout_ms / 1000,
        )


def open_sound(path: Path, busy_timeout_ms: int) -> sqlite3.Connection:
    """Open it for writing, set it, read the settings back and check the whole file.

    Raises StoreDamagedError if it does not pass SQLite's own check.
    """
    with contextlib.ExitStack() as opened:
        connection = connect(path, "rwc", busy_timeout_ms)
        opened.callback(connection.close)
        with SqliteFaults(path):
            for name, (wanted, expected) in _SETTINGS.items():
                connection.execute(f"pragma {name} = {wanted}")
                [(found,)] = connection.execute(f"pragma {name}")
                if found != expected:
                    raise unusable(path, f"{name} stays {found!r} here, we need {expected!r}")
            [found] = connection.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                raise damaged(path, found)
        opened.pop_all()
        return connection
