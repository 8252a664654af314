"""The meters' own time tables against the tariffs: where they differ, rate registers do not count.

Of the meters whose accounts are priced by rate, the tables are read when the account is opened,
when another version of its tariff comes, and every week; a difference is believed when it was read
twice.  From the first day on which the meter counts other rates than the tariff has, until the
tables agree again, its energy is charged at the flat rate, for the time being, and nobody is
disconnected for it.  Those days are kept, so that the charges can be derived again.

Not supported: tables of DL/T 645-1997 and of Modbus meters, or of a meter that refuses them: the
configuration says whether such rates are accepted.  Pricing such days by the load curve.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Literal

import structlog

from gateway.acquisition.freeze import Answer
from gateway.config import MeterConfig
from gateway.events import Fault
from gateway.money.books import Books
from gateway.money.inspection import Plan
from gateway.north.contract import EventCode
from gateway.prepayment.account import Account, Mode
from gateway.prepayment.meter_times import MeterTimes, mismatches
from gateway.prepayment.segment import Prices, tariff_on
from gateway.prepayment.tariff import Tariff
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.meter_facts import Compared, MeterFacts
from protocols import dlt645_times as times
from protocols.model import Dlt645Profile

WEEK_S = 7 * 86_400.0
AHEAD_DAYS = 366
"""So far ahead a difference is told."""
NEAR_DAYS = 8
"""So far ahead it has effect: before that the tables are read again."""
DAY = timedelta(days=1)
FIRST = (times.STATUS, *times.SEASONS.values(), times.REST_WORD, times.REST_TABLE, times.HOLIDAYS)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Run:
    """Some days that one version of a tariff prices by rate."""

    tariff: Tariff
    first: date
    last: date

    def label(self, today: date) -> str:
        """The version, and from when on if that is to come."""
        since = f" from {self.first}" if self.first > today else ""
        return f"{self.tariff.id}/{self.tariff.version}{since}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison came to."""

    outcome: Literal["agrees", "differs", "unknown"]
    reasons: tuple[str, ...] = ()
    since: date | None = None
    """The first day that differs, if it is near."""


@dataclass(slots=True)
class _Reading:
    """The items of one meter, as far as they were read."""

    data: dict[str, bytes] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    doubt: Verdict | None = None


class TimeTables:
    """The comparison of all meters that are charged by rate."""

    def __init__(
        self,
        books: Books,
        accounts: Accounts,
        facts: MeterFacts,
        prices: Prices,
        recorder: Recorder,
        changed: Callable[[], None],
        *,
        refuse_unchecked: bool,
    ) -> None:
        """``changed`` is called in the transaction in which what is known has changed;
        ``refuse_unchecked``: the rates of a meter that does not tell its tables do not count.
        """
        self._books = books
        self._accounts = accounts
        self._facts = facts
        self._prices = prices
        self._recorder = recorder
        self._changed = changed
        self._refuse_unchecked = refuse_unchecked
        self._seen: tuple[date, int, int] | None = None
        self._runs: dict[str, list[Run]] = {}
        self._compared = facts.compared()
        self._readings: dict[str, _Reading] = {}

    def due(self, wall: float) -> list[str]:
        """Those never compared, compared with other tariffs, or a week ago."""
        today = self._books.day_of(wall)
        self._look(today)
        found = []
        for meter, runs in self._runs.items():
            last = self._compared.get(meter)
            if last is None or last.tariffs != _label(runs, today) or wall - last.at >= WEEK_S:
                found.append(meter)
        return found

    def begin(self, meter: MeterConfig) -> Plan:
        """The tables that say which others there are."""
        doubt = self._readings[meter.asset].doubt if meter.asset in self._readings else None
        self._readings[meter.asset] = _Reading(doubt=doubt)
        return self._plan(meter, FIRST)

    def take(self, meter: MeterConfig, answers: Sequence[Answer], wall: float) -> Plan | None:
        """Ask for the tables that are named; then compare."""
        reading = self._readings[meter.asset]
        for one in answers:
            outcome = one.outcome
            if outcome.reply is not None:
                reading.data[one.exchange.key] = outcome.reply.data
            elif not (outcome.fault is Fault.REFUSED and outcome.permanent):
                return None
        if not answers:
            verdict = Verdict("unknown", (f"{meter.profile.model} does not tell its time tables",))
        else:
            try:
                missing = [item for item in _named(reading.data) if item not in reading.asked]
                if missing:
                    return self._plan(meter, missing)
                verdict = self._verdict(meter.asset, meter_times(reading.data), wall)
            except times.TableError as error:
                verdict = Verdict("unknown", (str(error),))
        if answers and verdict.outcome != "agrees" and verdict != reading.doubt:
            first, reading.doubt = reading.doubt is None, verdict
            return self.begin(meter) if first else None
        del self._readings[meter.asset]
        self._settle(meter.asset, verdict, wall)
        return ()

    def _plan(self, meter: MeterConfig, items: Sequence[str]) -> Plan:
        self._readings[meter.asset].asked |= set(items)
        profile = meter.profile
        if not isinstance(profile, Dlt645Profile) or profile.protocol != "dlt645-2007":
            return ()
        return profile.read_items(meter.address, items)

    # --- what is wanted -------------------------------------------------------------------------

    def _look(self, today: date) -> None:
        """Whose meters are to be compared; anew each day, and when an account or tariff came."""
        seen = today, self._accounts.versions(), self._facts.tariff_versions()
        if seen == self._seen:
            return
        self._seen = seen
        self._runs = {}
        known: dict[object, list[Run]] = {}
        for account in self._accounts.all().values():
            if account.closed or account.mode is Mode.MIRROR:
                continue
            if account.tariffs not in known:
                known[account.tariffs] = self._runs_of(account, today)
            for one in account.meterings:
                if one.until is None and known[account.tariffs]:
                    runs = self._runs.setdefault(one.meter, [])
                    runs += [run for run in known[account.tariffs] if run not in runs]
        for meter, spans in self._facts.rates_refused().items():
            if meter not in self._runs and any(end == date.max for _, end in spans):
                self._recorder.later(partial(self._accept, meter, today + DAY))

    def _runs_of(self, account: Account, today: date) -> list[Run]:
        runs: list[Run] = []
        for n in range(AHEAD_DAYS):
            day = today + n * DAY
            found = self._prices(tariff_on(account, day), day)
            if found is None or not found.tariff.uses_rates or found.tariff.windows is None:
                continue
            if runs and runs[-1].tariff is found.tariff and runs[-1].last == day - DAY:
                runs[-1] = Run(found.tariff, runs[-1].first, day)
            else:
                runs.append(Run(found.tariff, day, day))
        return runs

    # --- what is found --------------------------------------------------------------------------

    def _verdict(self, meter: str, tables: MeterTimes | None, wall: float) -> Verdict:
        if tables is None:
            return Verdict("unknown", ("the meter refuses its time tables (0401, 0402)",))
        today = self._books.day_of(wall)
        told: list[str] = []
        near = []
        for run in self._runs.get(meter, []):
            told += mismatches(run.tariff, tables, run.first, run.last)
            days = (today + n * DAY for n in range(NEAR_DAYS))
            near += [
                day
                for day in days
                if run.first <= day <= run.last and mismatches(run.tariff, tables, day, day)
            ]
        since = min(near, default=None)
        return Verdict("differs" if told else "agrees", tuple(told), since)

    def _settle(self, meter: str, verdict: Verdict, wall: float) -> None:
        today = self._books.day_of(wall)
        since = verdict.since
        if verdict.outcome == "unknown" and self._refuse_unchecked:
            since = today
        refused = verdict.outcome == "differs" and since is not None
        now = Compared(
            tariffs=_label(self._runs.get(meter, []), today),
            outcome="refused" if refused else verdict.outcome,
            reason="; ".join(verdict.reasons[:5]),
            at=wall,
        )
        before = self._compared.get(meter)
        self._compared[meter] = now
        self._recorder.later(partial(self._keep, meter, now, since, today))
        if before is None or _gist(before) != _gist(now):
            self._tell(meter, now, since, first=before is None)

    def _keep(self, meter: str, now: Compared, since: date | None, today: date) -> None:
        self._facts.set_compared(meter, now)
        if since:
            self._facts.refuse_rates(meter, since, now.reason)
            self._changed()
        elif now.outcome != "unknown" or not self._refuse_unchecked:
            self._accept(meter, today + DAY)

    def _accept(self, meter: str, since: date) -> None:
        self._facts.accept_rates(meter, since)
        self._changed()

    def _tell(self, meter: str, now: Compared, since: date | None, *, first: bool) -> None:
        if first and now.outcome == "agrees":
            return
        code: EventCode = "rates_accepted"
        text = "the meter's time tables are the tariff's"
        if now.outcome == "refused":
            code, text = "rates_refused", f"from {since} on its rates do not count: {now.reason}"
        elif now.outcome == "differs":
            code, text = "rates_differ", f"set its tables before: {now.reason}"
        elif now.outcome == "unknown":
            code = "rates_unchecked"
            effect = "do not count" if since else "are accepted unchecked"
            text = f"{now.reason}; its rates {effect}"
        log.warning("time tables compared", meter=meter, code=code, reason=text)
        self._recorder.event(code, meter, detail=f"{now.tariffs}: {text}")


def _label(runs: Sequence[Run], today: date) -> str:
    return ", ".join(sorted(run.label(today) for run in runs))


def _gist(one: Compared) -> tuple[str, list[str]]:
    """What was found, without the days and how many they are: those change by themselves."""
    return one.outcome, [each.partition(": ")[2] or each for each in one.reason.split("; ")]


def _named(data: dict[str, bytes]) -> list[str]:
    """The day tables and holidays that the first items name."""
    zones_of, days_of = _sets(data)
    seasons = data.get(times.SEASONS[zones_of])
    if seasons is None:
        return []
    tables = {table for _, _, table in times.season_table(seasons)}
    holidays = range(1, _count(data, times.HOLIDAYS) + 1)
    found = {_holiday(data, n) for n in holidays} - {None}
    tables |= {one[1] for one in found if one} | {_count(data, times.REST_TABLE)}
    items = [times.day_table_item(days_of, number) for number in sorted(tables) if number]
    return [*map(times.holiday_item, holidays), *items]


def meter_times(data: dict[str, bytes]) -> MeterTimes | None:
    """The tables in use, of the items that were read; None if the meter does not tell them.

    Raises TableError.
    """
    zones_of, days_of = _sets(data)
    if times.SEASONS[zones_of] not in data:
        return None
    holidays = (_holiday(data, n) for n in range(1, _count(data, times.HOLIDAYS) + 1))
    day_tables = {
        number: times.day_table(data[item])
        for number in range(1, 256)
        if (item := times.day_table_item(days_of, number)) in data
    }
    return MeterTimes(
        zones=times.season_table(data[times.SEASONS[zones_of]]),
        day_tables=day_tables,
        holidays=tuple(one for one in holidays if one),
        rest_days=times.rest_days(data.get(times.REST_WORD, b"\x7f")),
        rest_table=_count(data, times.REST_TABLE) or None,
    )


def _sets(data: dict[str, bytes]) -> tuple[int, int]:
    return times.sets_in_use(data.get(times.STATUS, b"\0\0"))


def _count(data: dict[str, bytes], item: str) -> int:
    return times.count(data[item]) if item in data else 0


def _holiday(data: dict[str, bytes], number: int) -> tuple[date, int] | None:
    item = times.holiday_item(number)
    return times.holiday(data[item]) if item in data else None
