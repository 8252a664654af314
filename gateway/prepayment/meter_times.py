"""The time table in a meter against the windows of a tariff.

A meter counts its rate registers by its own table.  Where that differs from the tariff's windows
the registers are wrong for billing, so the tables are compared whenever one of them changes, and
rate registers are refused on a difference.

Not supported: which of a meter's two sets of tables (主用套、备用套) is in use; the caller knows
its switch times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from gateway.prepayment.periods import DAY
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.windows import DAY_MINUTES, DayTable, clock


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterTimes:
    """What a meter says about its rates.  Source: DL/T 645-2007 tables A.5 and annex C."""

    zones: tuple[tuple[int, int, int], ...]
    """Season table (年时区表, 04010000): month and day on which each begins, and its day table."""
    day_tables: Mapping[int, tuple[tuple[int, int], ...]]
    """Day tables (日时段表, 04010001 to 08) by number: minute of the day at which a rate begins,
    and its number; rate 1 is counted in register ``t1``."""
    holidays: tuple[tuple[date, int], ...] = ()
    """Holidays (公共假日, 040300nn) and their day tables."""
    rest_days: frozenset[int] = frozenset()
    """Days of the week that rest (周休日, 04000801); Monday is 0."""
    rest_table: int | None = None
    """Day table of the days that rest (04000802)."""

    def table_number(self, day: date) -> int:
        """The day table of ``day``: a holiday's before a rest day's before a season's."""
        for holiday, number in self.holidays:
            if holiday == day:
                return number
        if self.rest_table is not None and day.weekday() in self.rest_days:
            return self.rest_table
        # Before the first zone of the year the last one of the year before still holds.
        begun = [zone for zone in self.zones if zone[:2] <= (day.month, day.day)]
        return max(begun or self.zones)[2]


def mismatches(tariff: Tariff, meter: MeterTimes, first: date, last: date) -> list[str]:
    """Where the meter counts another rate than the tariff prices, from ``first`` to ``last``.

    One sentence per difference of two tables, with the first day it is met and on how many days.
    Empty if the tables agree, or the tariff does not say when its rates hold.
    """
    if tariff.windows is None:
        return []
    if not meter.zones:
        return ["the meter has no season table (04010000); set its time tables"]
    met: dict[tuple[int, int], tuple[date, int]] = {}
    tables: dict[int, DayTable] = {}
    day = first
    while day <= last:
        table = tariff.windows.table(day)
        key = id(table), meter.table_number(day)
        tables[key[0]] = table
        since, count = met.get(key, (day, 0))
        met[key] = since, count + 1
        day += DAY
    told = []
    for (table_id, number), (since, count) in met.items():
        when = f"{since}" + (f" and {count - 1} more days" if count > 1 else "")
        periods = meter.day_tables.get(number)
        if not periods:
            told.append(f"{when}: the meter has no day table {number}; set its time tables")
            continue
        told += [f"{when}: {each}" for each in _differences(tariff, tables[table_id], periods)]
    return told


def _differences(
    tariff: Tariff, table: DayTable, periods: tuple[tuple[int, int], ...]
) -> list[str]:
    """What two day tables disagree about, window by window."""
    edges = {switch.minute for switch in table.switches} | {minute for minute, _ in periods}
    cuts = [*sorted(edges | {0}), DAY_MINUTES]
    rates = {register: rate for rate, register in tariff.registers.items()}
    told = []
    for begin, end in pairwise(cuts):
        wanted = table.rate_at(begin)
        # Before the first switch of the day the last rate of the day before still holds.
        begun = [period for period in periods if period[0] <= begin]
        register = f"t{max(begun or periods)[1]}"
        if tariff.registers[wanted] != register:
            counted = rates.get(register, "a rate the tariff does not price")
            told.append(
                f"{clock(begin)}-{clock(end)} is {wanted} by the tariff,"
                f" but the meter counts it in {register} ({counted})"
            )
    return told
