"""Votes about cuts as they are kept: who asked, who agreed, what is over.

Nothing is changed or deleted; a vote that was used, revoked or cancelled has an end beside it.
What a vote is worth is judged each time anew: gateway/north/approvals.py.
"""

import json
from typing import Any

from gateway.disconnection.votes import Action, Step, Vote
from gateway.store.connection import Connection
from gateway.store.database import Database

_COLUMNS = (
    "id, action, step, key, account, request, content, accounts, policies, debt_max_e4,"
    " not_before, expires, received"
)
_STANDING = (
    f"select {_COLUMNS} from approval where expires > ?1"  # noqa: S608 - our own words
    " and id not in (select approval from approval_end)"
)


class ApprovalReader:
    """The votes as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def vote(self, id_: str) -> Vote | None:
        """The vote that a command gave, standing or not."""
        rows = self._connection.rows(
            f"select {_COLUMNS} from approval where id = ?",  # noqa: S608 - our own words
            id_,
        )
        return _vote(rows[0]) if rows else None

    def standing(self, now: float, account: str | None = None) -> list[Vote]:
        """The votes that are neither over at ``now`` nor ended, in the order they came.

        With ``account`` those about it, and those that name none: delegations, shedding, the latch.
        """
        rows = self._connection.rows(
            f"{_STANDING} and (?2 is null or account in (?2, '')) order by received, id",
            *(now, account),
        )
        return [_vote(row) for row in rows]

    def begins(self, now: float, account: str) -> float | None:
        """When the next vote about an account, or that names none, begins; None: none is to."""
        row = self._connection.row(
            "select min(not_before) from approval where not_before > ? and account in (?, '')",
            *(now, account),
        )
        return row[0] if row else None

    def ended(self, id_: str) -> str:
        """Why a vote is over before its time; empty: it is not."""
        row = self._connection.row("select reason from approval_end where approval = ?", id_)
        return row[0] if row else ""

    def unprotected_at(self, account: str) -> float | None:
        """When protection was taken from an account last, Unix time; None: never."""
        row = self._connection.row("select max(at) from unprotected where account = ?", account)
        return row[0] if row else None


class Approvals(ApprovalReader):
    """The votes in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def add(self, vote: Vote) -> None:
        """Keep a vote; its id is new, as its command was."""
        self._database.write(
            f"insert into approval ({_COLUMNS})"  # noqa: S608 - our own words
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(vote.id, vote.action, vote.step, vote.key, vote.account, vote.request, vote.content),
            *(json.dumps(vote.accounts), json.dumps(vote.policies), vote.debt_max_e4),
            *(vote.not_before, vote.expires, vote.received),
        )

    def end(self, id_: str, at: float, by: str, reason: str) -> bool:
        """A vote is over: used, revoked, cancelled.  False if it was over already."""
        return bool(
            self._database.write(
                "insert into approval_end (approval, at, by, reason) values (?, ?, ?, ?)"
                " on conflict do nothing",
                *(id_, at, by, reason),
            )
        )

    def unprotected(self, account: str, at: float, keys: frozenset[str]) -> None:
        """Protection was taken from an account by these two."""
        self._database.write(
            "insert into unprotected (account, at, keys) values (?, ?, ?)",
            *(account, at, json.dumps(sorted(keys))),
        )


def _vote(row: tuple[Any, ...]) -> Vote:
    id_, action, step, key, account, request, content, accounts, policies, *rest = row
    debt_max_e4, not_before, expires, received = rest
    return Vote(
        id=id_,
        action=Action(action),
        step=Step(step),
        key=key,
        account=account,
        request=request,
        content=content,
        accounts=tuple(json.loads(accounts)),
        policies=tuple(json.loads(policies)),
        debt_max_e4=debt_max_e4,
        not_before=not_before,
        expires=expires,
        received=received,
    )
