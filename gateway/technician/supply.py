"""What the command line shows of supply, read from the gateway's file while it runs.

Votes, notices, calendars and stops are there from the first start.  Relays, cases and decisions are
there once the gateway switches: their tables hold the texts of gateway/prepayment,

    relay (meter, body)              relay.to_json
    disconnection (account, body)    case.to_json
    decision (number, account, facts)    facts.to_json

and where a table is missing the answer is None: not available.
"""

from dataclasses import dataclass

from gateway.disconnection import case, facts, relay
from gateway.disconnection.facts import DAY_S
from gateway.disconnection.figures import DAYS, Figures, Spread
from gateway.store.connection import Connection
from gateway.store.figures import figures


@dataclass(frozen=True, slots=True)
class Judged:
    """A case and the facts of the last decision about it."""

    case: case.Case
    facts: facts.Facts | None
    """None: nothing was decided yet."""


def relays(file: Connection) -> list[relay.Relay] | None:
    """All relays as the gateway knows them; None: it switches none."""
    if not _has(file, "relay"):
        return None
    return [relay.from_json(body) for (body,) in file.rows("select body from relay order by meter")]


def cases(file: Connection) -> list[case.Case] | None:
    """The disconnections of all accounts, from watching on; None: nobody is disconnected here."""
    if not _has(file, "disconnection"):
        return None
    rows = file.rows("select body from disconnection order by account")
    return [case.from_json(body) for (body,) in rows]


def judged(file: Connection, account: str) -> Judged | None:
    """What is known of one account's disconnection; None: nothing."""
    found = [one for one in cases(file) or () if one.account == account]
    if not found:
        return None
    row = None
    if _has(file, "decision"):
        row = file.row(
            "select facts from decision where account = ? order by number desc limit 1", account
        )
    return Judged(found[0], facts.from_json(row[0]) if row else None)


def summary(file: Connection, now: float, late_s: float) -> str:
    """How well supply was cut and restored in the last days, in a few lines; empty: not at all."""
    if not _has(file, "operation"):
        return ""
    found = figures(file, now - DAYS * DAY_S, now, late_s)
    return _summary(found, late_s)


def _summary(found: Figures, late_s: float) -> str:
    refused = ", ".join(f"{rule} {check} {count}" for rule, check, count in found.refused)
    counts = (
        f"last {DAYS} days: {found.trips} trips, {found.cuts} cuts proven, {found.wrong_cuts} wrong"
        f"; {found.restores} restores, {found.late_restores} later than {late_s / 60:.0f} min,"
        f" {found.waiting} wanted now"
    )
    lines = (
        counts,
        f"zero to cut: {_took(found.cut)}; payment to supply: {_took(found.restore)}",
        f"refused cuts: {refused or 'none'}",
    )
    return "\n".join(lines)


def _took(found: Spread | None) -> str:
    if found is None:
        return "none"
    times = (found.p50_s, found.p99_s, found.max_s)
    p50, p99, longest = map(_duration, times)
    return f"p50 {p50}, p99 {p99}, at most {longest}"


def _duration(seconds: int) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds} s"


def _has(file: Connection, table: str) -> bool:
    sql = "select 1 from sqlite_schema where type = 'table' and name = ?"
    return file.row(sql, table) is not None
