"""What settlement keeps besides the journal: what a reading is worth, and what waits (m006)."""

SETTLEMENT = (
    # How far the meter's clock was ahead when it was compared last; null: never.
    "alter table freeze add column offset_s integer",
    # Power was drawn that day, by what was polled.
    "alter table freeze add column loaded integer not null default 0 check (loaded in (0, 1))",
    # What a person decided about a meter and day; the last one counts.
    """
    create table ruling (
        number    integer primary key autoincrement,
        meter     text not null,
        day       text not null check (day glob '????-??-??'),
        action    text not null check (action in ('accept', 'reject', 'replace', 'estimate')),
        registers text not null,          -- JSON, in steps of the points' resolution
        issuer    text not null,
        reason    text not null,
        at        real not null           -- Unix time
    ) strict
    """,
    "create index ruling_day on ruling (meter, day)",
    """
    create trigger ruling_stays before update on ruling
    begin select raise(abort, 'a ruling is never changed'); end
    """,
    """
    create trigger ruling_remains before delete on ruling
    begin select raise(abort, 'a ruling is never deleted'); end
    """,
    # Readings that were kept out, so that each is told once.
    """
    create table doubt (
        account text not null,
        meter   text not null,
        day     text not null,
        odd     text not null,            -- gateway/prepayment/validity.py: Odd
        at      real not null,            -- Unix time
        primary key (account, meter, day, odd)
    ) strict, without rowid
    """,
    # Accounts whose books did not agree when they were last looked at: nobody is disconnected for
    # such a balance.
    """
    create table differs (
        account text primary key,
        reason  text not null,
        at      real not null             -- Unix time
    ) strict, without rowid
    """,
    # Accounts whose charges have to be derived again, and from which day on.
    """
    create table derive_again (
        account text primary key,
        since   text not null
    ) strict, without rowid
    """,
)
