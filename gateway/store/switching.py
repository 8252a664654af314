"""Switching as it is kept: relays, disconnections, the limits on many at once, and the record.

A relay and a case are values of gateway/prepayment; here stands their last state, beside what the
core has to find by SQL.  The record (decisions, operations, their steps) only grows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.disconnection import case as cases
from gateway.disconnection import mass_limits
from gateway.disconnection import relay as relays
from gateway.disconnection.case import Case
from gateway.disconnection.case import State as CaseState
from gateway.disconnection.facts import Purpose
from gateway.disconnection.relay import Relay
from gateway.disconnection.relay_table import State
from gateway.store.connection import Connection, Row
from gateway.store.database import Database

AREA = "area"
"""One gateway serves one area (台区)."""
Seen = Mapping[str, object]
"""What a meter showed: exact decimals by point, and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRelay:
    """A relay, and for whom it was switched last."""

    relay: Relay
    account: str = ""
    purpose: Purpose = Purpose.ARREARS
    command: str = ""
    """The order that waits for it; empty: none."""
    operation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCase:
    """A case, and what was judged with it."""

    case: Case
    command: str = ""
    """The order that waits for it; empty: none."""
    limit_e4: int = 0
    worsened_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision as it is recorded."""

    at: float
    meter: str
    account: str
    purpose: Purpose
    allowed: bool
    dry: bool
    failed: Sequence[tuple[str, str, str]]
    """Code, rule, words of each check that failed."""
    journal: int
    facts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A command to a relay, before it is sent."""

    at: float
    meter: str
    account: str
    action: str
    purpose: Purpose
    cause: str
    operator: str
    decision: int | None = None
    journal: int = 0
    dry: bool = False
    seen: Seen = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What came of an operation."""

    at: float
    what: str
    data: Seen


@dataclass(frozen=True, slots=True)
class Underway:
    """An order that is being carried out."""

    id: str
    """Of the command."""
    command: str
    """JSON: the command itself."""
    progress: Mapping[str, object]


class SwitchingReader:
    """Switching as anybody may see it who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def relay(self, meter: str) -> KeptRelay | None:
        """The relay of one meter; None while nothing was ever wanted or seen of it."""
        return next(iter(self._relays("where meter = ?", meter)), None)

    def relays(self) -> list[KeptRelay]:
        """Every relay there is."""
        return self._relays("order by meter")

    def relays_not_closed(self) -> list[KeptRelay]:
        """Those that need looking after."""
        return self._relays("where state <> 'closed' order by meter")

    def relays_in(self, state: State) -> list[KeptRelay]:
        """Those in one state."""
        return self._relays("where state = ? order by meter", state)

    def case(self, account: str) -> KeptCase | None:
        """The disconnection of one account; None if there never was anything to watch."""
        return next(iter(self._cases("where account = ?", account)), None)

    def cases(self) -> list[KeptCase]:
        """All of them."""
        return self._cases("order by account")

    def under_way(self) -> list[tuple[str, CaseState]]:
        """The accounts whose case is not merely watched, and how far each is."""
        rows = self._connection.rows(
            "select account, state from disconnection where state <> 'watch' order by account"
        )
        return [(account, CaseState(state)) for account, state in rows]

    def closes_since(self, at: float) -> list[tuple[float, str]]:
        """The restores sent after a Unix time, as (time, meter)."""
        return [
            (sent_at, meter)
            for sent_at, meter in self._connection.rows(
                "select at, meter from operation where action in ('close', 'allow_close')"
                " and at > ? order by number",
                at,
            )
        ]

    def mass(self) -> mass_limits.State:
        """What has to be remembered for the limits on many cuts at once."""
        row = self._connection.row("select body from mass_limit where area = ?", AREA)
        return mass_limits.from_json(row[0]) if row else mass_limits.State()

    def orders(self) -> list[Underway]:
        """The orders under way, in the order of their ids."""
        rows = self._connection.rows(
            "select id, command, progress from switching_order order by id"
        )
        return [Underway(id_, command, json.loads(progress)) for id_, command, progress in rows]

    def order(self, id_: str) -> Underway | None:
        """One of them."""
        row = self._connection.row(
            "select command, progress from switching_order where id = ?", id_
        )
        return Underway(id_, row[0], json.loads(row[1])) if row else None

    def operations(self, meter: str, limit: int = 20) -> list[tuple[int, Operation]]:
        """The last commands to a relay, newest first, with their numbers."""
        rows = self._connection.rows(
            "select number, at, meter, account, action, purpose, cause, operator, decision,"
            " journal, dry, seen from operation where meter = ? order by number desc limit ?",
            *(meter, limit),
        )
        return [(row[0], _operation(row[1:])) for row in rows]

    def steps(self, operation: int) -> list[Step]:
        """What came of an operation, in order."""
        rows = self._connection.rows(
            "select at, what, data from operation_step where operation = ? order by number",
            operation,
        )
        return [Step(at, what, json.loads(data)) for at, what, data in rows]

    def decisions(self, account: str, limit: int = 20) -> list[Decided]:
        """The last decisions about an account, newest first."""
        rows = self._connection.rows(
            "select at, meter, purpose, allowed, dry, failed, journal, facts from decision"
            " where account = ? order by number desc limit ?",
            *(account, limit),
        )
        return [
            Decided(
                at=at,
                meter=meter,
                account=account,
                purpose=Purpose(purpose),
                allowed=bool(allowed),
                dry=bool(dry),
                failed=[(code, rule, text) for code, rule, text in json.loads(failed)],
                journal=journal,
                facts=facts,
            )
            for at, meter, purpose, allowed, dry, failed, journal, facts in rows
        ]

    def _relays(self, where: str, *parameters: object) -> list[KeptRelay]:
        rows = self._connection.rows(
            f"select body, account, purpose, command, operation from relay {where}",  # noqa: S608
            *parameters,
        )
        return [
            KeptRelay(
                relay=relays.from_json(body),
                account=account,
                purpose=Purpose(purpose),
                command=command,
                operation=operation,
            )
            for body, account, purpose, command, operation in rows
        ]

    def _cases(self, where: str, *parameters: object) -> list[KeptCase]:
        rows = self._connection.rows(
            f"select body, command, limit_e4, worsened_at from disconnection {where}",  # noqa: S608
            *parameters,
        )
        return [
            KeptCase(
                case=cases.from_json(body),
                command=command,
                limit_e4=limit_e4,
                worsened_at=worsened_at,
            )
            for body, command, limit_e4, worsened_at in rows
        ]


class Switching(SwitchingReader):
    """Switching for the daemon.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def set_relay(self, kept: KeptRelay) -> None:
        """Note what a relay has come to."""
        relay = kept.relay
        self._database.write(
            "insert or replace into relay (meter, state, wanted, confirmed, since, account,"
            " purpose, command, operation, body) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(relay.meter, relay.state, "open" if relay.wanted_open else "closed"),
            *(relay.confirmed, relay.since, kept.account, kept.purpose, kept.command),
            *(kept.operation, relays.to_json(relay)),
        )

    def set_case(self, kept: KeptCase) -> None:
        """Note what a case has come to."""
        case = kept.case
        self._database.write(
            "insert or replace into disconnection (account, state, since, command, limit_e4,"
            " worsened_at, body) values (?, ?, ?, ?, ?, ?, ?)",
            *(case.account, case.state, case.since, kept.command),
            *(kept.limit_e4, kept.worsened_at, cases.to_json(case)),
        )

    def set_mass(self, state: mass_limits.State) -> None:
        """Note what is to be remembered for the limits on many cuts at once."""
        self._database.write(
            "insert or replace into mass_limit (area, body) values (?, ?)",
            *(AREA, mass_limits.to_json(state)),
        )

    def set_order(self, underway: Underway) -> None:
        """Note how far an order has come."""
        self._database.write(
            "insert or replace into switching_order (id, command, progress) values (?, ?, ?)",
            *(underway.id, underway.command),
            json.dumps(dict(underway.progress), sort_keys=True),
        )

    def end_order(self, id_: str) -> None:
        """An order is done, or cannot be."""
        self._database.write("delete from switching_order where id = ?", id_)

    def add_decision(self, decided: Decided) -> int:
        """Record a decision; returns its number."""
        self._database.write(
            "insert into decision (at, meter, account, purpose, allowed, dry, failed, journal,"
            " facts) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(decided.at, decided.meter, decided.account, decided.purpose),
            *(decided.allowed, decided.dry),
            *(json.dumps(list(decided.failed), ensure_ascii=False), decided.journal),
            decided.facts,
        )
        return self._last()

    def add_operation(self, operation: Operation) -> int:
        """Record a command that is about to be sent; returns its number."""
        self._database.write(
            "insert into operation (at, meter, account, action, purpose, cause, operator, decision,"
            " journal, dry, seen) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(operation.at, operation.meter, operation.account, operation.action),
            *(operation.purpose, operation.cause, operation.operator, operation.decision),
            *(operation.journal, operation.dry),
            json.dumps(dict(operation.seen), ensure_ascii=False, sort_keys=True),
        )
        return self._last()

    def add_step(self, operation: int, step: Step) -> None:
        """Record what came of an operation."""
        self._database.write(
            "insert into operation_step (operation, number, at, what, data) values (?1,"
            " (select count(*) + 1 from operation_step where operation = ?1), ?, ?, ?)",
            *(operation, step.at, step.what),
            json.dumps(dict(step.data), ensure_ascii=False, sort_keys=True),
        )

    def _last(self) -> int:
        [(number,)] = self._database.rows("select last_insert_rowid()")
        return int(number)


def _operation(row: Row) -> Operation:
    at, meter, account, action, purpose, cause, operator, decision, journal, dry, seen = row
    return Operation(
        at=at,
        meter=meter,
        account=account,
        action=action,
        purpose=Purpose(purpose),
        cause=cause,
        operator=operator,
        decision=decision,
        journal=journal,
        dry=bool(dry),
        seen=json.loads(seen),
    )
