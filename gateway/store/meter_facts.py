"""What is known of meters beside their readings: see schema_meters.py."""

from collections.abc import Mapping
from datetime import date

from gateway.prepayment.validity import Meter
from gateway.store.connection import Connection
from gateway.store.database import Database


class MeterFactsReader:
    """The facts as anybody may see them who may read the file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def limits(self) -> dict[str, Meter]:
        """What is possible at each meter that ever was configured."""
        rows = self._connection.rows("select meter, capacity_wh, step_wh, max_kw from meter_limits")
        return {
            meter: Meter(capacity_wh=capacity_wh, step_wh=step_wh, max_kw=max_kw)
            for meter, capacity_wh, step_wh, max_kw in rows
        }

    def rates_refused(self) -> dict[str, list[tuple[date, date]]]:
        """By meter, the days on which its rates do not count: the first, and the first after."""
        found: dict[str, list[tuple[date, date]]] = {}
        rows = self._connection.rows("select meter, since, until from rates_refused")
        for meter, since, until in rows:
            after = date.fromisoformat(until) if until else date.max
            found.setdefault(meter, []).append((date.fromisoformat(since), after))
        return found


class MeterFacts(MeterFactsReader):
    """The facts for the daemon.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def keep_limits(self, limits: Mapping[str, Meter]) -> None:
        """Note what is possible at these meters; others stay as they were."""
        for meter, one in limits.items():
            self._database.write(
                "insert or replace into meter_limits (meter, capacity_wh, step_wh, max_kw)"
                " values (?, ?, ?, ?)",
                *(meter, one.capacity_wh, one.step_wh, one.max_kw),
            )
