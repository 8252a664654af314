"""Money that was refused, and reversals that wait for their top-ups.

What was refused is a list that only grows: who asks where his money went finds it here.
"""

from dataclasses import dataclass

from gateway.store.connection import Connection
from gateway.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A top-up, voucher or reversal that was refused."""

    at: float
    """Unix time."""
    payment: str
    """Payment id, or empty where none could be read."""
    account: str
    """Account number as it was given."""
    code: str
    """Why, as a word: ``hoarding``."""
    reason: str
    """Why, in a sentence."""
    content: str = "{}"
    """What was asked for, as JSON."""


@dataclass(frozen=True, slots=True)
class Early:
    """A reversal that came before its top-up."""

    payment: str
    at: float
    """Unix time when it came."""
    content: str
    """The reversal, as JSON."""


class RefusalReader:
    """The refusals as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last(self, count: int, account: str | None = None) -> list[Refusal]:
        """The last refusals, newest first; of one account if it is named."""
        rows = self._connection.rows(
            "select at, payment, account, code, reason, content from refused"
            " where ?1 is null or account = ?1 order by number desc limit ?2",
            *(account, count),
        )
        return [
            Refusal(at=at, payment=payment, account=of, code=code, reason=reason, content=content)
            for at, payment, of, code, reason, content in rows
        ]

    def early(self, payment: str) -> Early | None:
        """The reversal that waits for this payment."""
        row = self._connection.row(
            "select payment, at, content from early_reversal where payment = ?", payment
        )
        return Early(*row) if row else None


class Refusals(RefusalReader):
    """The refusals in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def add(self, refusal: Refusal) -> None:
        """Note a refusal."""
        self._database.write(
            "insert into refused (at, payment, account, code, reason, content)"
            " values (?, ?, ?, ?, ?, ?)",
            *(refusal.at, refusal.payment, refusal.account),
            *(refusal.code, refusal.reason, refusal.content),
        )

    def remember(self, early: Early) -> None:
        """Keep a reversal until its top-up comes; a repeated one changes nothing."""
        self._database.write(
            "insert into early_reversal (payment, at, content) values (?, ?, ?)"
            " on conflict do nothing",
            *(early.payment, early.at, early.content),
        )

    def forget_early(self, payment: str) -> None:
        """The top-up came and was reversed."""
        self._database.write("delete from early_reversal where payment = ?", payment)
