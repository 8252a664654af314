"""The tables of accounts and of what is known of their top-ups besides the journal (m005).

What was true once stays: triggers refuse to change or delete an account's versions and the list of
what was refused.  The other tables hold what the next event is judged by.
"""

ACCOUNTS = (
    # Every version an account ever had; the highest is the present one.
    """
    create table account (
        number   text    not null,        -- account number (户号)
        version  integer not null check (version > 0),
        recorded real    not null,        -- Unix time
        issuer   text    not null,        -- who ordered it
        reason   text    not null,        -- the order: its id or its words
        body     text    not null,        -- JSON: gateway/prepayment/account.py
        primary key (number, version)
    ) strict, without rowid
    """,
    """
    create trigger account_is_contiguous before insert on account
    when new.version <>
        (select coalesce(max(version), 0) + 1 from account where number = new.number)
    begin select raise(abort, 'the versions of an account have no holes'); end
    """,
    """
    create trigger account_stays before update on account
    begin select raise(abort, 'a version of an account is never changed'); end
    """,
    """
    create trigger account_remains before delete on account
    begin select raise(abort, 'a version of an account is never deleted'); end
    """,
    # Which accounts have or had a meter: where to look for whom a meter counts.
    """
    create table account_meter (
        meter   text not null,            -- asset number
        account text not null,
        primary key (meter, account)
    ) strict, without rowid
    """,
    # Where charging stands: a projection of readings and journal.
    """
    create table position (
        account text primary key,
        body    text not null             -- JSON
    ) strict, without rowid
    """,
    # Which alerts were told: the limits they were told for, in 1/10,000 yuan; null is armed.
    """
    create table alert_state (
        account    text primary key,
        balance_e4 integer not null,      -- when it was judged last
        alert_1_e4 integer,
        alert_2_e4 integer,
        zero_e4    integer,
        limit_e4   integer
    ) strict, without rowid
    """,
    # Which vouchers were used: all numbers up to the floor are over, bit i is number floor + 1 + i.
    """
    create table voucher_window (
        account text    not null,
        key     integer not null,
        floor   integer not null check (floor >= 0),
        bitmap  blob    not null check (length(bitmap) = 8),
        primary key (account, key)
    ) strict, without rowid
    """,
    # Bad vouchers in a row.
    """
    create table voucher_tries (
        account  text    primary key,     -- whom they were typed for
        failures integer not null,
        last     real    not null         -- Unix time
    ) strict, without rowid
    """,
    # Top-ups, vouchers and reversals that were refused, and why.
    """
    create table refused (
        number  integer primary key autoincrement,
        at      real not null,            -- Unix time
        payment text not null,
        account text not null,
        code    text not null,
        reason  text not null,            -- the same in words
        content text not null             -- JSON: what was asked for
    ) strict
    """,
    """
    create trigger refused_stays before update on refused
    begin select raise(abort, 'a refusal is never changed'); end
    """,
    """
    create trigger refused_remains before delete on refused
    begin select raise(abort, 'a refusal is never deleted'); end
    """,
    # Reversals that came before their top-ups.
    """
    create table early_reversal (
        payment text primary key,
        at      real not null,            -- Unix time
        content text not null             -- JSON
    ) strict, without rowid
    """,
)
