"""The tables, and how an older file becomes a newer one.

A migration that has shipped is never edited; a new one is added below it.  Each runs in one
transaction together with the note that it ran, so a power cut leaves the old schema or the new.
The outbox's own tables, one per lane and day, are made and dropped by gateway/store/outbox.py.
"""

from contextlib import closing
from pathlib import Path

from sqlite_utils import Database, Migrations

from gateway.store.faults import StoreError
from gateway.store.schema_accounts import ACCOUNTS
from gateway.store.schema_approvals import APPROVALS
from gateway.store.schema_meters import METERS
from gateway.store.schema_money import GUARDS, MONEY
from gateway.store.schema_settlement import SETTLEMENT
from gateway.store.schema_switching import RECORDS, SWITCHING

migrations = Migrations("taiqu")


APPLICATION_ID = 0x74616971
"""``taiq``: how `file` and we tell our files from other programs' SQLite files."""


class StoreNewerError(StoreError):
    """A newer taiqu has changed the file.  Nothing was touched."""


class StoreForeignError(StoreError):
    """The file is some other program's database.  Nothing was touched."""


@migrations()
def m001_begin(db: Database) -> None:
    """Epochs, the outbox's books, commands with their results, small facts."""
    db.execute(f"pragma application_id = {APPLICATION_ID}")
    for table in _TABLES:
        db.execute(table)


_TABLES = (
    # Small facts: the time floor, whether the file was closed properly.
    """
    create table meta (
        key   text primary key,
        value text not null
    ) strict, without rowid
    """,
    # One row per life of the sequence numbers; the last one is the present epoch.
    """
    create table epoch (
        number integer primary key autoincrement,
        epoch  text    not null unique,   -- 64 random bits, hexadecimal
        began  real    not null,          -- Unix time
        how    text    not null,          -- why a new one was needed: startup.How
        detail text    not null           -- the same in words
    ) strict
    """,
    # The counters.  They outlive the messages, so a number is never given twice.
    """
    create table lane (
        epoch       integer not null references epoch,
        lane        text    not null,
        last        integer not null,     -- the highest sequence number given
        total_bytes integer not null,     -- of all bodies ever added
        primary key (epoch, lane)
    ) strict, without rowid
    """,
    # Which outbox tables there are.  Each holds one unbroken range of one lane.
    """
    create table segment (
        id           integer primary key autoincrement,
        epoch        integer not null references epoch,
        lane         text    not null,
        day          text    not null,    -- YYYYMMDD, UTC, when it was begun
        first        integer not null,
        last         integer,             -- null while messages are still added to it
        bytes_before integer not null,    -- the lane's total_bytes when it was begun
        unique (epoch, lane, first)
    ) strict
    """,
    # What the head-end has, as ranges: a few rows stand for a million messages, and
    # acknowledging never rewrites the messages' own pages.
    """
    create table acknowledged (
        epoch integer not null references epoch,
        lane  text    not null,
        first integer not null,
        last  integer not null check (last >= first),
        primary key (epoch, lane, first)
    ) strict, without rowid
    """,
    # Requests that a meter refuses, so that it is not asked again.
    """
    create table learned (
        meter  text not null,
        key    text not null,
        reason text not null,
        at     real not null,             -- Unix time
        primary key (meter, key)
    ) strict, without rowid
    """,
    # Every command ever taken, so that a repeated one gets the same answer.
    """
    create table command (
        id       text    primary key,
        digest   text    not null,        -- of its content
        issuer   text    not null,
        received real    not null,        -- Unix time
        keep     integer not null check (keep in (0, 1)),
        done     integer not null default 0 check (done in (0, 1))
    ) strict, without rowid
    """,
    """
    create table result (
        command text    not null references command on delete cascade,
        number  integer not null,
        stage   text    not null,
        reason  text    not null,
        data    text    not null,         -- JSON
        at      real    not null,         -- Unix time
        primary key (command, number)
    ) strict, without rowid
    """,
)


@migrations()
def m002_freezes(db: Database) -> None:
    """Daily freezes, the days that have none, the meters' clocks, what was told of each day."""
    for table in _COLLECTION:
        db.execute(table)


_COLLECTION = (
    # What the registers showed at the end of a local day.  Bills are made of these rows.
    """
    create table freeze (
        meter   text not null,            -- asset number
        day     text not null check (day glob '????-??-??'),
        frozen  real not null,            -- Unix time of the day's end
        taken   real not null,            -- Unix time when the reply was complete
        clock   text not null check (clock in ('trusted', 'holdover')),
        quality text not null check (quality in ('good', 'clock_off', 'suspect')),
        reason  text not null,            -- why it is not good; empty if it is
        primary key (meter, day)
    ) strict, without rowid
    """,
    # Its registers, in steps of the point's resolution; named without "_daily_freeze".
    """
    create table freeze_value (
        meter  text    not null,
        day    text    not null,
        point  text    not null,
        amount integer not null,
        primary key (meter, day, point),
        foreign key (meter, day) references freeze (meter, day) on delete cascade
    ) strict, without rowid
    """,
    # Days that the meter says it did not freeze, or froze at another time.
    """
    create table freeze_gap (
        meter  text not null,
        day    text not null,
        kind   text not null,             -- absent, wrong_time
        reason text not null,
        at     real not null,             -- Unix time when it was found out
        primary key (meter, day)
    ) strict, without rowid
    """,
    # How far each meter's clock was off when it was last compared.
    """
    create table meter_clock (
        meter    text primary key,
        day      text not null,           -- the newest freeze was this day's
        offset_s real not null,           -- ahead of ours
        taken    real not null            -- Unix time
    ) strict, without rowid
    """,
    # Which days the head-end was told the completeness of, and whether nothing was open.
    """
    create table completeness (
        day     text primary key,
        settled integer not null check (settled in (0, 1))
    ) strict, without rowid
    """,
)


@migrations()
def m003_grid(db: Database) -> None:
    """Which moments of the 15-minute grid are there."""
    # Today's rows stand side by side: a group commit touches one page of them.
    db.execute("""
        create table grid (
            day    text not null check (day glob '????-??-??'),
            meter  text not null,             -- asset number
            there  blob not null,             -- a bit for each quarter hour, bit 0 is midnight
            absent blob not null,             -- likewise: the meter has no record of it
            primary key (day, meter)
        ) strict, without rowid
    """)


@migrations()
def m004_money(db: Database) -> None:
    """The journal with its balances, tariffs; what bills are made of is append only."""
    for statement in MONEY + GUARDS:
        db.execute(statement)


@migrations()
def m005_accounts(db: Database) -> None:
    """Accounts, their alerts and vouchers, where charging stands, what was refused."""
    for statement in ACCOUNTS:
        db.execute(statement)


@migrations()
def m006_settlement(db: Database) -> None:
    """What a reading is worth, what was kept out, what has to be derived again."""
    for statement in SETTLEMENT:
        db.execute(statement)


@migrations()
def m007_meters(db: Database) -> None:
    """What is possible at a meter, whether it prepays, when its rates count."""
    for statement in METERS:
        db.execute(statement)


@migrations()
def m008_switching_orders(db: Database) -> None:
    """Who asked for a cut and who agreed, notices served, calendars, stops, the dry run."""
    for statement in APPROVALS:
        db.execute(statement)


@migrations()
def m009_switching(db: Database) -> None:
    """What relays and disconnections have come to; the record of switching, append only."""
    for statement in SWITCHING + RECORDS:
        db.execute(statement)


def migrate(db: Database, path: Path) -> None:
    """Bring the schema up to date.

    Raises StoreNewerError if the file has been through migrations that we do not know, and
    StoreForeignError if it never was ours.
    """
    [application_id] = db.execute("pragma application_id").fetchone()
    # The table of migrations alone: our own first start, cut off in the middle.
    if application_id != APPLICATION_ID and set(db.table_names()) - {Migrations.migrations_table}:
        raise StoreForeignError(
            f"{path}: this is a database of another program; nothing was touched; give the store"
            " a path of its own in the configuration"
        )
    with closing(Database(memory=True, execute_plugins=False)) as empty:
        known = {migration.name for migration in migrations.pending(empty)}
    unknown = [one.name for one in migrations.applied(db) if one.name not in known]
    if unknown:
        raise StoreNewerError(
            f"{path}: a newer taiqu has changed this file ({', '.join(unknown)}); nothing was"
            " touched; install that release again, or put back the file from before it"
        )
    migrations.apply(db)
