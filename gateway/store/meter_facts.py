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


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A meter's time tables, compared with the tariffs that they count for."""

    tariffs: str
    """``id/version`` of each, with its first day if that is to come."""
    outcome: str
    """``agrees``; ``differs``, some time ahead; ``refused``, so that its rates do not count;
    ``unknown`` if the meter does not tell its tables."""
    reason: str
    at: float
    """Unix time."""


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

    def compared(self) -> dict[str, Compared]:
        """Of each meter the last comparison of its time tables."""
        rows = self._connection.rows("select meter, tariffs, outcome, reason, at from meter_tables")
        return {
            meter: Compared(tariffs=tariffs, outcome=outcome, reason=reason, at=at)
            for meter, tariffs, outcome, reason, at in rows
        }

    def tariff_versions(self) -> int:
        """How many versions of tariffs there are: another number, and one has come."""
        [count] = self._connection.row("select count(*) from tariff_version") or (0,)
        return int(count)


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

    def set_compared(self, meter: str, found: Compared) -> None:
        """Note a comparison; a former one is replaced."""
        self._database.write(
            "insert or replace into meter_tables (meter, tariffs, outcome, reason, at)"
            " values (?, ?, ?, ?, ?)",
            *(meter, found.tariffs, found.outcome, found.reason, found.at),
        )

    def refuse_rates(self, meter: str, since: date, reason: str) -> None:
        """From ``since`` on the meter's rates do not count, if they do so far."""
        day = since.isoformat()
        self._database.write(
            "update rates_refused set until = null where meter = ? and until > ?", meter, day
        )
        self._database.write(
            "update rates_refused set since = ?2 where meter = ?1 and until is null and since > ?2",
            *(meter, day),
        )
        self._database.write(
            "insert into rates_refused (meter, since, reason) select ?1, ?2, ?3 where not exists"
            " (select 1 from rates_refused where meter = ?1 and until is null)",
            *(meter, day, reason),
        )

    def accept_rates(self, meter: str, since: date) -> None:
        """From ``since`` on the meter's rates count again."""
        day = since.isoformat()
        self._database.write(
            "delete from rates_refused where meter = ? and until is null and since >= ?", meter, day
        )
        self._database.write(
            "update rates_refused set until = ? where meter = ? and until is null", day, meter
        )
