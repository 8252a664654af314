"""A DL/T 645-2007 meter's own time tables (时区表、日时段表): what to read, what the answers mean.

The season table names a day table for each part of the year; holidays and rest days have day tables
of their own.  Of both kinds of table there are two sets, and status word 3 says which is in use.
Unused places at a table's end repeat its last entry, or hold zeros.

Not supported: when the meter will change to its other set (04000106, 04000107).

Source: DL/T 645-2007 tables A.5 and annex C.
"""

from datetime import date

STATUS = "04000503"
SEASONS = {1: "04010000", 2: "04020000"}
"""The season table of each set."""
REST_WORD, REST_TABLE = "04000801", "04000802"
HOLIDAYS = "04000205"
"""How many holidays there are."""
_GROUP = 3


class TableError(ValueError):
    """What a meter sent is no time table."""


def day_table_item(of_set: int, number: int) -> str:
    """The identifier of a day table."""
    return f"040{of_set}00{number:02X}"


def holiday_item(number: int) -> str:
    """The identifier of a holiday, from 1."""
    return f"040300{number:02X}"


def sets_in_use(status: bytes) -> tuple[int, int]:
    """Which set of season tables, and which of day tables: 1 or 2."""
    if len(status) != 2:
        raise TableError(f"status word 3: {status.hex()}")
    word = int.from_bytes(status, "little")
    return 1 + (word >> 5 & 1), 1 + (word & 1)


def season_table(data: bytes) -> tuple[tuple[int, int, int], ...]:
    """Month and day on which each part of the year begins, and its day table."""
    zones = tuple(group for group in _groups(data) if group[0])
    for month, day, table in zones:
        if not (1 <= month <= 12 and 1 <= day <= 31 and table):
            raise TableError(f"season table: {month:02}-{day:02} with day table {table}")
    return zones


def day_table(data: bytes) -> tuple[tuple[int, int], ...]:
    """The minute of the day at which each rate begins, and the rate's number."""
    periods = []
    for hour, minute, rate in _groups(data):
        if not rate:
            continue
        if hour > 24 or minute > 59:
            raise TableError(f"day table: {hour:02}:{minute:02} with rate {rate}")
        if hour < 24:
            periods.append((60 * hour + minute, rate))
    return tuple(periods)


def holiday(data: bytes) -> tuple[date, int] | None:
    """A holiday and its day table; None for an unused place."""
    if len(data) != 4 or set(data) in ({0x00}, {0xFF}, {0x99}):
        return None
    table, day, month, year = (_bcd(byte) for byte in data)
    try:
        return date(2000 + year, month, day), table
    except ValueError as error:
        raise TableError(f"holiday: {data[::-1].hex()}") from error


def rest_days(word: bytes) -> frozenset[int]:
    """The days of the week that rest; Monday is 0.  In the word Sunday is bit 0, and 0 is rest."""
    if len(word) != 1:
        raise TableError(f"rest-day word: {word.hex()}")
    return frozenset((bit - 1) % 7 for bit in range(7) if not word[0] >> bit & 1)


def count(data: bytes) -> int:
    """A number of one or two bytes."""
    if not 1 <= len(data) <= 2:
        raise TableError(f"number: {data.hex()}")
    return sum(_bcd(byte) * 100**place for place, byte in enumerate(data))


def _groups(data: bytes) -> list[tuple[int, int, int]]:
    if not data or len(data) % _GROUP:
        raise TableError(f"table of {len(data)} bytes; each entry has {_GROUP}")
    groups = [data[at : at + _GROUP] for at in range(0, len(data), _GROUP)]
    return [
        (_bcd(high), _bcd(middle), _bcd(low))
        for low, middle, high in groups
        if {low, middle, high} != {0xFF}
    ]


def _bcd(byte: int) -> int:
    if byte >> 4 > 9 or byte & 0xF > 9:
        raise TableError(f"{byte:02X} is no decimal number")
    return 10 * (byte >> 4) + (byte & 0xF)
