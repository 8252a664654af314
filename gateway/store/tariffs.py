"""Tariffs (电价方案) as they were received: each version once, and never changed.

A charge names the version it was priced by, so every one is kept for ever: it must be possible to
derive the charge again years later.
"""

from dataclasses import dataclass
from datetime import date

from gateway.store.connection import Connection
from gateway.store.database import Database
from gateway.store.faults import StoreError


class TariffChangedError(StoreError):
    """A version of a tariff came again with other content.  Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffVersion:
    """One version of a tariff."""

    id: str
    version: int
    digest: str
    """Of its content: equal for equal tariffs, however they are written down."""
    text: str
    """TOML, as it was received."""
    valid_from: date
    """The first day of consumption that it may price."""
    received: float
    """Unix time."""


class TariffReader:
    """The tariffs as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def versions(self, id: str) -> list[TariffVersion]:  # noqa: A002 - the field's name
        """All versions of a tariff, by the day from which they hold, then as they came."""
        return self._found("where id = ?", id)

    def all(self) -> list[TariffVersion]:
        """All versions of all tariffs."""
        return self._found("")

    def _found(self, where: str, *parameters: str) -> list[TariffVersion]:
        rows = self._connection.rows(
            "select id, version, digest, text, valid_from, received from tariff_version"  # noqa: S608
            f" {where} order by id, valid_from, rowid",
            *parameters,
        )
        return [
            TariffVersion(
                id=id_,
                version=version,
                digest=digest,
                text=text,
                valid_from=date.fromisoformat(valid_from),
                received=received,
            )
            for id_, version, digest, text, valid_from, received in rows
        ]


class Tariffs(TariffReader):
    """The tariffs for the daemon.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def put(self, tariff: TariffVersion) -> bool:
        """Keep a version.  False if it was there already.

        Raises TariffChangedError if the version was there with other content.
        """
        for known in self.versions(tariff.id):
            if known.version != tariff.version:
                continue
            if (known.digest, known.valid_from) != (tariff.digest, tariff.valid_from):
                raise TariffChangedError(
                    f"tariff {tariff.id} has another version {tariff.version} already (digest"
                    f" {known.digest}, valid from {known.valid_from}); a version never changes:"
                    " give the new one a new number"
                )
            return False
        self._database.write(
            "insert into tariff_version (id, version, digest, text, valid_from, received)"
            " values (?, ?, ?, ?, ?, ?)",
            *(tariff.id, tariff.version, tariff.digest, tariff.text),
            *(tariff.valid_from.isoformat(), tariff.received),
        )
        return True
