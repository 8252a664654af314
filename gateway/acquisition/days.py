"""Local days: when they begin, and which daily freeze a moment still belongs to.

A day is named by its date in the area's time zone.  The daily freeze (日冻结) of a day is what the
registers showed at its end, the next local midnight.  Summer time is the time zone's business: a
day may have 23 or 25 hours.
"""

from datetime import date, datetime, time, timedelta, tzinfo

OPENS_S = 5 * 60
"""After midnight, how long meters are left alone with their freezing."""
CLOSES_S = 30 * 60
"""Before midnight, when the newest freeze is no longer asked for: it may become the second newest
between two questions."""
FREEZE_LATE = timedelta(minutes=5)
"""A freeze stamped later than this after midnight is not the midnight's."""


def day_of(wall: float, zone: tzinfo) -> date:
    """The local day that ``wall`` (Unix time) falls on."""
    return datetime.fromtimestamp(wall, zone).date()


def begin_of(day: date, zone: tzinfo) -> float:
    """Unix time of a day's first moment."""
    return datetime.combine(day, time(), zone).timestamp()


def end_of(day: date, zone: tzinfo) -> float:
    """Unix time of a day's end: what its freeze shows."""
    return begin_of(day + timedelta(days=1), zone)


def latest(wall: float, zone: tzinfo) -> date | None:
    """The day whose freeze is the newest at ``wall``; None around midnight, when nobody knows."""
    today = day_of(wall, zone)
    begins, ends = begin_of(today, zone), end_of(today, zone)
    if not begins + OPENS_S <= wall < ends - CLOSES_S:
        return None
    return today - timedelta(days=1)


def is_freeze_of(day: date, stamp: str) -> bool:
    """Whether a freeze that the meter stamped ``YYYY-MM-DD hh:mm`` is the one at the day's end."""
    try:
        made = datetime.fromisoformat(stamp)
    except ValueError:
        return False
    midnight = datetime.combine(day + timedelta(days=1), time())
    return made.tzinfo is None and timedelta() <= made - midnight <= FREEZE_LATE


def clock_offset_s(shown: str, at: float, zone: tzinfo) -> float | None:
    """How many seconds a meter's clock is ahead of ours; None if ``shown`` is no date and time.

    ``shown`` is what it said (``2026-01-31 23:59:58``) at ``at`` (Unix time); good to a second.
    """
    try:
        local = datetime.fromisoformat(shown)
    except ValueError:
        return None
    if local.tzinfo is not None:
        return None
    # When the clocks go back, an hour comes twice: the meter means the one that is nearer.
    moments = [local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)]
    return min((moment - at for moment in moments), key=abs)
