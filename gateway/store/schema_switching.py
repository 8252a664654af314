"""The tables of switching (m009): how far each relay and disconnection has come, and the record.

Decisions, operations and what came of them are append only: triggers refuse to change or delete
them.  The other tables hold what the next event is judged by; each row is whole in itself, so that
a restart goes on from it.
"""

SWITCHING = (
    # What is wanted of each relay (继电器), and what is proven.
    """
    create table relay (
        meter     text    primary key,     -- asset number
        state     text    not null,        -- gateway/disconnection/relay_table.py: State
        wanted    text    not null check (wanted in ('open', 'closed')),
        confirmed integer not null check (confirmed in (0, 1)),
        since     real    not null,        -- Unix time
        account   text    not null,        -- whose wish it was last; empty: an order's
        purpose   text    not null,        -- arrears, shedding, order
        command   text    not null,        -- the order that waits for it; empty: none
        operation integer,                 -- the last one
        body      text    not null         -- JSON: gateway/disconnection/relay.py
    ) strict, without rowid
    """,
    "create index relay_not_closed on relay (state) where state <> 'closed'",
    # How far the disconnection of each account has come.
    """
    create table disconnection (
        account     text    primary key,
        state       text    not null,      -- gateway/disconnection/case.py: State
        since       real    not null,      -- Unix time
        command     text    not null,      -- the order that waits for it; empty: none
        limit_e4    integer not null,      -- the limit it was judged by last, 1/10,000 yuan
        worsened_at real,                  -- Unix time when the limit was lowered last
        body        text    not null       -- JSON: gateway/disconnection/case.py
    ) strict, without rowid
    """,
    # The limits on many cuts at once.
    """
    create table mass_limit (
        area text primary key,
        body text not null                 -- JSON: gateway/disconnection/mass_limits.py
    ) strict, without rowid
    """,
    # Orders under way: a trip, protected supply (保电), a load shedding.
    """
    create table switching_order (
        id       text primary key,         -- the command's
        command  text not null,            -- JSON: the command itself
        progress text not null             -- JSON: how far it has come
    ) strict, without rowid
    """,
    # Every decision, also those against, with all it was based on (R39).
    """
    create table decision (
        number  integer primary key autoincrement,
        at      real    not null,          -- Unix time
        meter   text    not null,
        account text    not null,
        purpose text    not null,
        allowed integer not null check (allowed in (0, 1)),
        dry     integer not null check (dry in (0, 1)),
        failed  text    not null,          -- JSON: [[code, rule, text], ...]
        journal integer not null,          -- the last transaction it knew
        facts   text    not null           -- JSON: gateway/disconnection/facts.py
    ) strict
    """,
    "create index decision_account on decision (account, number)",
    # Every command to a relay, written before it is sent.
    """
    create table operation (
        number   integer primary key autoincrement,
        at       real    not null,         -- Unix time
        meter    text    not null,
        account  text    not null,
        action   text    not null,         -- trip, allow_close, close, protect_on, protect_off
        purpose  text    not null,
        cause    text    not null,         -- the order's id, or what led to it
        operator text    not null,         -- who answers for it; the code in the frame
        decision integer references decision,
        journal  integer not null,
        dry      integer not null check (dry in (0, 1)),
        seen     text    not null          -- JSON: what the meter showed before
    ) strict
    """,
    "create index operation_meter on operation (meter, number)",
    # What came of it, step by step: frames, latency, what the meter showed after (R40).
    """
    create table operation_step (
        operation integer not null references operation,
        number    integer not null,
        at        real    not null,        -- Unix time
        what      text    not null,        -- sent, expired, refused, no_reply, seen, state
        data      text    not null,        -- JSON
        primary key (operation, number)
    ) strict, without rowid
    """,
)

RECORDS = tuple(
    f"""
    create trigger {table}_{word} before {verb} on {table}
    begin select raise(abort, 'the record of switching is never changed'); end
    """
    for table in ("decision", "operation", "operation_step")
    for word, verb in (("stays", "update"), ("remains", "delete"))
)
