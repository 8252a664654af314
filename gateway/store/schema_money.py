"""The tables of money: the journal, what its balances are, the tariffs; and what guards them.

A row of the journal is the record of a transaction (gateway/prepayment/chain.py), field by field.
Its postings stand in one field and not in rows of their own: at each start half a million
transactions are verified within seconds, and a third of the file is saved.
"""

MONEY = (
    """
    create table journal (
        number       integer primary key,
        recorded_ms  integer not null,
        clock        text    not null,
        kind         text    not null,
        key          text    not null unique,
        account      text    not null,     -- of the customer; empty for suspense
        effective_ms integer not null,
        tariff       text    not null,     -- id/version
        spans        text    not null,     -- meter, after, to .. parted by tabs
        reverses     integer,
        detail       text    not null,     -- JSON
        postings     text    not null,     -- ledger, account, amount .. parted by tabs
        hash         blob    not null check (length(hash) = 32)
    ) strict
    """,
    "create index journal_account on journal (account)",
    "create unique index journal_reverses on journal (reverses) where reverses is not null",
    # Sums of the postings, kept along with them (L3).
    """
    create table balance (
        account text    not null,          -- of the customer, or the part of a shared ledger
        ledger  text    not null,
        amount  integer not null,          -- 1/10,000 yuan or Wh
        primary key (account, ledger)
    ) strict, without rowid
    """,
    """
    create table tariff_version (
        id         text not null,
        version    integer not null,
        digest     text not null,          -- of its content
        text       text not null,          -- as it was received
        valid_from text not null check (valid_from glob '????-??-??'),
        received   real not null,          -- Unix time
        primary key (id, version)
    ) strict
    """,
    """
    create trigger journal_has_no_holes before insert on journal
    when new.number is not (select coalesce(max(number), 0) + 1 from journal)
    begin
        select raise(abort, 'the journal goes on with the next number and no other');
    end
    """,
)

APPEND_ONLY = ("journal", "tariff_version", "freeze", "freeze_value")
"""L2: what bills are made of, and what was made of it."""

GUARDS = tuple(
    f"""
    create trigger {table}_refuses_{verb} before {verb} on {table}
    begin
        select raise(abort, '{table} is append only');
    end
    """
    for table in APPEND_ONLY
    for verb in ("update", "delete")
)
