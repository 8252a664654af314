"""The tables of orders about supply (m007): votes, proofs of notices, calendars, stops, dry run.

All of it is evidence, so all of it only grows: what ends is followed by a row that says so.
"""

_TABLES = {
    # What one person asked for or agreed to, by a signed command.
    "approval": """
    create table approval (
        id          text    primary key,  -- of the command
        action      text    not null check (
            action in ('disconnect', 'trip', 'shed', 'unprotect', 'release')),
        step        text    not null check (step in ('request', 'approval', 'delegation')),
        key         text    not null,     -- who signed it
        account     text    not null,     -- empty: not about one
        request     text    not null,     -- the command it agrees to; empty: any
        content     text    not null,     -- JSON: of an unprotect, what is taken away
        accounts    text    not null,     -- JSON: of a delegation, for whom
        policies    text    not null,     -- JSON: likewise, by row of limits
        debt_max_e4 integer not null,
        not_before  real    not null,     -- Unix time, as the others
        expires     real    not null,
        received    real    not null
    ) strict, without rowid
    """,
    # Votes that are over before their time: used, revoked, cancelled.
    "approval_end": """
    create table approval_end (
        approval text primary key references approval,
        at       real not null,           -- Unix time
        by       text not null,
        reason   text not null
    ) strict, without rowid
    """,
    # When protection was taken from an account: for a day nobody is cut for it.
    "unprotected": """
    create table unprotected (
        number  integer primary key autoincrement,
        account text not null,
        at      real not null,            -- Unix time
        keys    text not null             -- JSON: the two who ordered it
    ) strict
    """,
    # Proofs that a customer was told.
    "notice_served": """
    create table notice_served (
        number   integer primary key autoincrement,
        account  text    not null,
        round    integer not null,        -- of its disconnections
        what     text    not null check (what in ('dunning', 'notice', 'last_call')),
        channel  text    not null,
        served   real    not null,        -- Unix time when it was delivered
        receipt  text    not null,
        key      text    not null,        -- who signed for it
        received real    not null         -- Unix time
    ) strict
    """,
    # Friendly windows; the highest version counts.
    "calendar": """
    create table calendar (
        version  integer primary key,
        body     text not null,           -- JSON: FriendlyWindows of the contract
        key      text not null,
        received real not null            -- Unix time
    ) strict
    """,
    # What was said of the weather; the last word counts.
    "weather": """
    create table weather (
        number   integer primary key autoincrement,
        reason   text not null,           -- empty: nothing against a cut
        until    real not null,           -- Unix time
        key      text not null,
        received real not null            -- Unix time
    ) strict
    """,
    # Orders that no cut is made.
    "stop": """
    create table stop (
        id     text primary key,          -- of the command
        key    text not null,             -- who signed it; empty: somebody at the box
        by     text not null,             -- who, in words
        reason text not null,
        at     real not null              -- Unix time
    ) strict, without rowid
    """,
    "stop_end": """
    create table stop_end (
        stop text primary key references stop,
        at   real not null,               -- Unix time
        by   text not null
    ) strict, without rowid
    """,
    # Whether cuts are only rehearsed; the last row counts.
    "dry_run": """
    create table dry_run (
        number integer primary key autoincrement,
        dry    integer not null check (dry in (0, 1)),
        by     text not null,
        reason text not null,
        at     real not null              -- Unix time
    ) strict
    """,
}


def _guards(table: str) -> list[str]:
    return [
        f"create trigger {table}_{name} before {verb} on {table}"
        f" begin select raise(abort, 'a row of {table} is never {verb}d'); end"
        for name, verb in (("stays", "update"), ("remains", "delete"))
    ]


APPROVALS = (
    *_TABLES.values(),
    "create index approval_account on approval (account)",
    "create index notice_account on notice_served (account, round)",
    *(guard for table in _TABLES for guard in _guards(table)),
)
