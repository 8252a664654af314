"""What meters have refused for good, so that they are not asked again after a restart."""

from dataclasses import dataclass

from gateway.store.database import Database


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that a meter refuses."""

    meter: str
    """Its asset number."""
    key: str
    """The request, as the meter's profile writes it."""
    reason: str
    """The meter's refusal in words."""
    at: float
    """Unix time when it was last refused."""


class Learned:
    """The refusals in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, refused: Refused) -> None:
        """Remember a refusal; a repeated one replaces the former."""
        self._database.write(
            "insert into learned (meter, key, reason, at) values (?, ?, ?, ?)"
            " on conflict (meter, key) do update set reason = excluded.reason, at = excluded.at",
            *(refused.meter, refused.key, refused.reason, refused.at),
        )

    def refused(self) -> list[Refused]:
        """All refusals, by meter and key."""
        rows = self._database.rows("select meter, key, reason, at from learned order by 1, 2")
        return [Refused(*row) for row in rows]
