"""What is known of meters beside their readings: see schema_meters.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from gateway.prepayment.validity import Meter
from gateway.store.connection import Connection
from gateway.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepays:
    """What a meter said of itself."""

    meter: str
    kind: str
    """``none``, ``energy`` or ``money``; ``unknown`` if it does not say."""
    since: date
    """The day on which it was found to be so."""
    at: float
    """Unix time when it was read last."""

    @property
    def prepays(self) -> bool:
        """Whether it counts down a balance of its own."""
        return self.kind in ("energy", "money")


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

    def prepays(self) -> dict[str, Prepays]:
        """What each meter said, by asset number."""
        rows = self._connection.rows("select meter, kind, since, at from meter_prepays")
        return {
            meter: Prepays(meter=meter, kind=kind, since=date.fromisoformat(since), at=at)
            for meter, kind, since, at in rows
        }

    def balance(self, meter: str) -> dict[str, tuple[str, float]]:
        """What a meter said it had left, and when (Unix time), by point."""
        rows = self._connection.rows(
            "select point, amount, at from meter_balance where meter = ? order by point", meter
        )
        return {point: (amount, at) for point, amount, at in rows}

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

    def set_prepays(self, found: Prepays) -> None:
        """Note what a meter said; a former note is replaced."""
        self._database.write(
            "insert or replace into meter_prepays (meter, kind, since, at) values (?, ?, ?, ?)",
            *(found.meter, found.kind, found.since.isoformat(), found.at),
        )

    def set_balance(self, meter: str, amounts: Mapping[str, str], at: float) -> None:
        """Note what a meter said it had left, by point."""
        for point, amount in amounts.items():
            self._database.write(
                "insert or replace into meter_balance (meter, point, amount, at)"
                " values (?, ?, ?, ?)",
                *(meter, point, amount, at),
            )
