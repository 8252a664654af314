"""The figures of switching, read from its record (R43): decisions, operations and their steps.

The record only grows, for years, and is in the order of time; so the first row of the last days is
found by halving, not by looking at all.
"""

from bisect import bisect_left

from gateway.disconnection.facts import Purpose
from gateway.disconnection.figures import Figures, Restored, late, spread
from gateway.disconnection.relay_table import RESTORING
from gateway.prepayment.ledger import Ledger
from gateway.store.connection import Connection
from gateway.store.journal import JournalReader
from gateway.store.switching import SwitchingReader

WRONG = "wrong_cut"
"""The step of an operation that says so."""


def figures(file: Connection, since: float, now: float, late_s: float) -> Figures:
    """What the record says of the time since ``since``; ``late_s`` makes a restore late.

    Times are Unix seconds.
    """
    first = _first(file, "operation", since)
    cuts, cut_s = _cuts(file, first)
    restored = _restored(file, first)
    waited_s = [
        now - kept.relay.wanted_since
        for kept in SwitchingReader(file).relays_not_closed()
        if kept.relay.state in RESTORING and not kept.relay.wanted_open
    ]
    return Figures(
        trips=_count(
            file, "from operation where number >= ? and action = 'trip' and not dry", first
        ),
        cuts=cuts,
        restores=len(restored),
        wrong_cuts=_count(
            file, "from operation_step where operation >= ? and what = ?", first, WRONG
        ),
        late_restores=late(restored, waited_s, late_s),
        waiting=len(waited_s),
        cut=spread(cut_s),
        restore=spread(one.took_s for one in restored if one.owed),
        refused=_refused(file, since),
    )


def _cuts(file: Connection, first: int) -> tuple[int, list[float]]:
    """How many cuts were proven, and how long those for arrears took from zero on."""
    rows = file.rows(
        "select account, purpose, at from (select o.account, o.purpose, min(s.at) as at"
        " from operation o join operation_step s on s.operation = o.number"
        " where o.number >= ? and o.action = 'trip' and s.what = 'state'"
        " and json_extract(s.data, '$.state') = 'open' group by o.number)",
        first,
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


def _restored(file: Connection, first: int) -> list[Restored]:
    """The restores that were proven, each once: by when it was wanted."""
    rows = file.rows(
        "select min(s.at), json_extract(s.data, '$.wanted_since') as wanted, o.purpose"
        " from operation o join operation_step s on s.operation = o.number"
        " where o.number >= ? and o.action in ('close', 'allow_close') and s.what = 'state'"
        " and json_extract(s.data, '$.state') in ('closed', 'allowed') and wanted is not null"
        " group by o.meter, wanted",
        first,
    )
    return [Restored(at - wanted, purpose == Purpose.ARREARS) for at, wanted, purpose in rows]


def _refused(file: Connection, since: float) -> tuple[tuple[str, str, int], ...]:
    rows = file.rows(
        "select json_extract(value, '$[1]') as rule, json_extract(value, '$[0]') as code, count(*)"
        " from decision, json_each(failed) where number >= ? and not allowed and not dry"
        " group by rule, code order by rule, code",
        _first(file, "decision", since),
    )
    return tuple((rule, code, count) for rule, code, count in rows)


def _first(file: Connection, table: str, since: float) -> int:
    """Number of the first row of a record that is not older than ``since``."""
    last = _count(file, f"from {table}")

    def at(number: int) -> float:
        row = file.row(f"select at from {table} where number = ?", number)  # noqa: S608
        return row[0] if row else 0.0

    return 1 + bisect_left(range(1, last + 1), since, key=at)


def _count(file: Connection, rest: str, *parameters: object) -> int:
    [count] = file.row(f"select count(*) {rest}", *parameters) or (0,)
    return int(count)
