"""What is known of the meters behind the accounts, beside their readings (m007).

All of it bears on charges, so that what a charge was made by is there years later: the limits of a
meter that has long left the configuration, the days on which its rate registers did not count.
"""

METERS = (
    # What is possible at each meter that ever was configured, as it was configured last.
    """
    create table meter_limits (
        meter       text    primary key,  -- asset number
        capacity_wh integer not null,     -- where its registers begin again; 0: unknown
        step_wh     integer not null,
        max_kw      integer not null
    ) strict, without rowid
    """,
    # Whether a meter counts down a balance of its own (status word 3, bits 8-9).
    """
    create table meter_prepays (
        meter text primary key,
        kind  text not null,              -- none, energy, money, reserved
        since text not null,              -- the day on which it was found to be so
        at    real not null               -- Unix time when it was read last
    ) strict, without rowid
    """,
    # What such a meter said it had left, by point (balance, balance_overdraft).
    """
    create table meter_balance (
        meter  text not null,
        point  text not null,
        amount text not null,             -- exact decimal in the point's unit
        at     real not null,             -- Unix time
        primary key (meter, point)
    ) strict, without rowid
    """,
    # The days on which a meter's time tables are not the tariff's: its rate registers do not count.
    """
    create table rates_refused (
        meter  text not null,
        since  text not null,             -- the first such day
        until  text,                      -- the first day after it; null: still
        reason text not null,
        primary key (meter, since)
    ) strict, without rowid
    """,
    # When a meter's time tables were compared last, and with which tariffs.
    """
    create table meter_tables (
        meter   text primary key,
        tariffs text not null,            -- id/version, each with its first day if that is to come
        outcome text not null check (outcome in ('agrees', 'differs', 'refused', 'unknown')),
        reason  text not null,
        at      real not null             -- Unix time
    ) strict, without rowid
    """,
    # SHA-256 of the body, so that a damaged account is found; empty in rows of older releases.
    "alter table account add column digest text not null default ''",
)
