"""Commands (命令) and their results: the same command gets the same answer, however often it comes.

A command is known by its id and the digest of its content.  Whoever takes one remembers it and its
first result in the transaction that gives it its effect, and acknowledges only after the commit; so
a repeated delivery, also after a crash, finds either nothing or the whole.

Commands about money are kept for ever.  The others age out, long after they expired.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.store.connection import Connection
from gateway.store.database import Database


class Known(StrEnum):
    """What is known of a command that has just come."""

    NEW = "new"  # never seen
    KNOWN = "known"  # seen: send its results again, do nothing
    CONFLICT = "conflict"  # the id was seen with other content: refuse and report


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One stage of the answer to a command."""

    stage: str
    """``accepted``, ``sent``, ``confirmed``, ``failed``, ``refused`` or ``expired``."""
    reason: str = ""
    data: str = "{}"
    """JSON."""
    at: float
    """Unix time."""
    final: bool = False
    """Nothing more will follow."""


class Answers:
    """What is known of commands, for whoever may read the file: another process, too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def known(self, command: str, digest: str) -> Known:
        """What is known of the command with this id and content."""
        row = self._connection.row("select digest from command where id = ?", command)
        if row is None:
            return Known.NEW
        return Known.KNOWN if row[0] == digest else Known.CONFLICT

    def results(self, command: str) -> list[Result]:
        """All stages of a command, in their order; empty for an unknown one."""
        rows = self._connection.rows(
            "select stage, reason, data, at, done and number = (select max(number) from result"
            " where command = command.id) from command join result on command = id"
            " where id = ? order by number",
            command,
        )
        return [
            Result(stage=stage, reason=reason, data=data, at=at, final=bool(final))
            for stage, reason, data, at, final in rows
        ]


class Commands(Answers):
    """The commands in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def remember(
        self, command: str, digest: str, issuer: str, received: float, *, keep: bool = False
    ) -> Known:
        """Remember the command with this id if it is new; says what was known of it.

        ``digest`` stands for its whole content, ``received`` is Unix time, ``keep`` is for money.
        """
        known = self.known(command, digest)
        if known is Known.NEW:
            self._database.write(
                "insert into command (id, digest, issuer, received, keep) values (?, ?, ?, ?, ?)",
                *(command, digest, issuer, received, keep),
            )
        return known

    def add_result(self, command: str, result: Result) -> None:
        """Add the next stage to a remembered command."""
        self._database.write(
            "insert into result (command, number, stage, reason, data, at) values"
            " (?1, (select count(*) + 1 from result where command = ?1), ?, ?, ?, ?)",
            *(command, result.stage, result.reason, result.data, result.at),
        )
        if result.final:
            self._database.write("update command set done = 1 where id = ?", command)

    def open(self) -> list[str]:
        """The commands whose final result is still to come, oldest first."""
        rows = self._database.rows("select id from command where not done order by received, id")
        return [row[0] for row in rows]

    def forget(self, before: float) -> int:
        """Forget finished commands received before this Unix time.  Returns how many.

        Never those marked ``keep``: a top-up repeated after ten years is still the same top-up.
        """
        return self._database.write(
            "delete from command where received < ? and done and not keep", before
        )
