"""Brings the schema of an open file up to date.

sqlite_utils is loaded only where there is something to migrate: it and what it brings along would
take 2.7 MB of the daemon's memory for months, for the work of a moment.
"""

import sqlite3
from pathlib import Path

from gateway.store.connection import Connection

MIGRATIONS = (
    *("m001_begin", "m002_freezes", "m003_grid"),
    *("m004_money", "m005_accounts", "m006_settlement", "m007_meters"),
    "m009_switching_orders",
)
"""All that gateway/store/schema.py has, in its order; a test compares them."""


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the migrations that are missing.  Raises StoreNewerError or StoreForeignError."""
    if _applied(connection) == MIGRATIONS:
        return
    import sqlite_utils  # noqa: PLC0415 - see above

    from gateway.store import schema  # noqa: PLC0415

    schema.migrate(sqlite_utils.Database(connection, execute_plugins=False), path)


def is_older(file: Connection) -> bool:
    """Whether a file that is only read lacks what this release expects in it."""
    if file.row("select 1 from sqlite_schema where name = '_sqlite_migrations'") is None:
        return True
    rows = file.rows("select name from _sqlite_migrations where migration_set = 'taiqu'")
    return not set(MIGRATIONS) <= {name for (name,) in rows}


def _applied(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The migrations that the file has been through."""
    noted = "select count(*) from sqlite_schema where name = '_sqlite_migrations'"
    if connection.execute(noted).fetchone() == (0,):
        return ()
    applied = "select name from _sqlite_migrations where migration_set = 'taiqu' order by rowid"
    return tuple(name for (name,) in connection.execute(applied))
