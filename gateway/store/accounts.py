"""Accounts (账户) as they are kept: every version for ever, and what the next event is judged by.

Beside an account's versions stand where its charging has come to (its position) and which alerts
were told, so that a restart neither charges nor alerts twice.
"""

from hashlib import sha256

from gateway.prepayment.account import Account, from_json, to_json
from gateway.prepayment.alerts import Rung, State
from gateway.store.connection import Connection
from gateway.store.database import Database

_CURRENT = (
    "select body from account a where version ="
    " (select max(version) from account where number = a.number)"
)
_OF_METER = (
    "select body from account_meter join account a on number = account"
    " where meter = ? and version = (select max(version) from account where number = a.number)"
)


class AccountReader:
    """The accounts as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def current(self, number: str) -> Account | None:
        """The present version; None if there never was such an account."""
        row = self._connection.row(f"{_CURRENT} and number = ?", number)
        return from_json(row[0]) if row else None

    def version(self, number: str, version: int) -> Account | None:
        """One version, as decisions cite it."""
        row = self._connection.row(
            "select body from account where number = ? and version = ?", number, version
        )
        return from_json(row[0]) if row else None

    def all(self) -> dict[str, Account]:
        """The present version of every account, also of closed ones, by number."""
        accounts = [from_json(body) for (body,) in self._connection.rows(_CURRENT)]
        return {account.number: account for account in accounts}

    def count(self) -> int:
        """How many accounts are open."""
        [(count,)] = self._connection.rows(
            "select count(*) from account a where json_extract(body, '$.closed') is null and"
            " version = (select max(version) from account where number = a.number)"
        )
        return int(count)

    def of_meter(self, meter: str) -> list[Account]:
        """The accounts that have or had the meter with this asset number."""
        return [from_json(body) for (body,) in self._connection.rows(_OF_METER, meter)]

    def versions(self) -> int:
        """How many there are of all accounts together: another number, and one has changed."""
        [count] = self._connection.row("select count(*) from account") or (0,)
        return int(count)

    def damaged(self) -> list[tuple[str, int]]:
        """Number and version of those whose text is not what was stored."""
        # As a blob: a damaged text may be no UTF-8.
        rows = self._connection.rows(
            "select number, version, cast(body as blob), digest from account where digest != ''"
        )
        return [(number, version) for number, version, body, kept in rows if _digest(body) != kept]

    def position(self, number: str) -> str | None:
        """Where charging stands, as ``set_position`` was given it."""
        row = self._connection.row("select body from position where account = ?", number)
        return row[0] if row else None

    def alert_state(self, number: str) -> State | None:
        """Which alerts were told; None before the first time they were judged."""
        row = self._connection.row(
            "select balance_e4, alert_1_e4, alert_2_e4, zero_e4, limit_e4 from alert_state"
            " where account = ?",
            number,
        )
        if row is None:
            return None
        told = {rung: limit for rung, limit in zip(Rung, row[1:], strict=True) if limit is not None}
        return State(row[0], told)


class Accounts(AccountReader):
    """The accounts in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def add(self, account: Account, recorded: float, issuer: str, reason: str) -> None:
        """Store the next version of an account.

        ``recorded`` is Unix time, ``issuer`` ordered it, ``reason`` is the order's id or words.
        """
        body = to_json(account)
        self._database.write(
            "insert into account (number, version, recorded, issuer, reason, body, digest)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            *(account.number, account.version, recorded, issuer, reason, body),
            _digest(body.encode()),
        )
        for metering in account.meterings:
            self._database.write(
                "insert into account_meter (meter, account) values (?, ?) on conflict do nothing",
                *(metering.meter, account.number),
            )

    def set_position(self, number: str, body: str) -> None:
        """Note where charging stands, as JSON; a former note is replaced."""
        self._database.write(
            "insert into position (account, body) values (?, ?)"
            " on conflict (account) do update set body = excluded.body",
            *(number, body),
        )

    def set_alert_state(self, number: str, state: State) -> None:
        """Note which alerts were told."""
        self._database.write(
            "insert or replace into alert_state"
            " (account, balance_e4, alert_1_e4, alert_2_e4, zero_e4, limit_e4)"
            " values (?, ?, ?, ?, ?, ?)",
            *(number, state.balance_e4, *(state.told_e4.get(rung) for rung in Rung)),
        )


def _digest(body: bytes) -> str:
    return sha256(body).hexdigest()
