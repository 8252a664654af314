"""The figures of switching, read from its record (R43): decisions, operations and their steps.

The record only grows, for years: so it is looked through from its end, as far as the last days go.

What was stamped before the clock was known lies in the past and is in no figure.
"""

from gateway.disconnection.facts import Purpose
from gateway.disconnection.figures import Figures, Restored, late, spread
from gateway.disconnection.relay_table import RESTORING
from gateway.prepayment.ledger import Ledger
from gateway.store.connection import Connection
from gateway.store.journal import JournalReader
from gateway.store.switching import SwitchingReader

WRONG = "wrong_cut"
"""The step of an operation that says so."""
SLICE = 500
"""So many rows are looked at together."""


def figures(file: Connection, since: float, now: float, late_s: float) -> Figures:
    """What the record says of the time since ``since``; ``late_s`` makes a restore late.

    Times are Unix seconds.
    """
    last_days = _first(file, "operation", since), since
    cuts, cut_s = _cuts(file, *last_days)
    restored = _restored(file, *last_days)
    waited_s = [
        now - kept.relay.wanted_since
        for kept in SwitchingReader(file).relays_not_closed()
        if kept.relay.state in RESTORING and not kept.relay.wanted_open
    ]
    return Figures(
        trips=_count(
            file,
            "from operation where number >= ? and at >= ? and action = 'trip' and not dry",
            *last_days,
        ),
        cuts=cuts,
        restores=len(restored),
        wrong_cuts=_count(
            file,
            "from operation_step where operation >= ? and at >= ? and what = ?",
            *(*last_days, WRONG),
        ),
        late_restores=late(restored, waited_s, late_s),
        waiting=len(waited_s),
        cut=spread(cut_s),
        restore=spread(one.took_s for one in restored if one.owed),
        refused=_refused(file, since),
    )


def _cuts(file: Connection, first: int, since: float) -> tuple[int, list[float]]:
    """How many cuts were proven, and how long those for arrears took from zero on."""
    rows = file.rows(
        "select account, purpose, at from (select o.account, o.purpose, min(s.at) as at"
        " from operation o join operation_step s on s.operation = o.number"
        " where o.number >= ? and o.at >= ? and o.action = 'trip' and s.what = 'state'"
        " and json_extract(s.data, '$.state') = 'open' group by o.number)",
        *(first, since),
    )
    zeros = (
        (at, _zero_at(file, account, at))
        for account, purpose, at in rows
        if purpose == Purpose.ARREARS
    )
    return len(rows), [at - zero_at for at, zero_at in zeros if zero_at is not None]


def _zero_at(file: Connection, account: str, until: float) -> float | None:
    """When the balance fell to zero or below, to stay there until ``until``."""
    journal = JournalReader(file)
    balance_e4 = journal.balances(account)[Ledger.PREPAID]
    found = None
    for one in journal.newest(account):
        if one.recorded <= until:
            if balance_e4 > 0:
                break
            found = one.recorded
        postings = one.draft.postings
        balance_e4 -= sum(each.amount for each in postings if each.ledger is Ledger.PREPAID)
    return found


def _restored(file: Connection, first: int, since: float) -> list[Restored]:
    """The restores that were proven, each once: by when it was wanted."""
    rows = file.rows(
        "select min(s.at), json_extract(s.data, '$.wanted_since') as wanted, o.purpose"
        " from operation o join operation_step s on s.operation = o.number"
        " where o.number >= ? and o.action in ('close', 'allow_close') and s.what = 'state'"
        " and json_extract(s.data, '$.state') in ('closed', 'allowed') and wanted >= ?"
        " group by o.meter, wanted",
        *(first, since),
    )
    return [Restored(at - wanted, purpose == Purpose.ARREARS) for at, wanted, purpose in rows]


def _refused(file: Connection, since: float) -> tuple[tuple[str, str, int], ...]:
    rows = file.rows(
        "select json_extract(value, '$[1]') as rule, json_extract(value, '$[0]') as code, count(*)"
        " from decision, json_each(failed) where number >= ? and at >= ? and not allowed"
        " and not dry group by rule, code order by rule, code",
        *(_first(file, "decision", since), since),
    )
    return tuple((rule, code, count) for rule, code, count in rows)


def _first(file: Connection, table: str, since: float) -> int:
    """A number before which no row of a record is of the time since ``since``."""
    before = _count(file, f"from {table}") + 1
    newest = f"select max(at) from {table} where number >= ? and number < ?"  # noqa: S608
    while before > 1:
        row = file.row(newest, before - SLICE, before)
        if row is None or row[0] < since:
            break
        before -= SLICE
    return before


def _count(file: Connection, rest: str, *parameters: object) -> int:
    [count] = file.row(f"select count(*) {rest}", *parameters) or (0,)
    return int(count)
