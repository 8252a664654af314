"""The calendar of friendly windows: from the contract's message to what the preflight asks.

Used by the core alone.
"""

from datetime import date, tzinfo

from gateway.disconnection.friendly import Calendar, Days, Hours, Weather
from gateway.north.contract_switching import FriendlyWindows
from gateway.store.precautions import PrecautionReader

MINUTES_PER_HOUR = 60


def calendar_of(
    windows: FriendlyWindows, weather: tuple[str, float] | None, zone: tzinfo
) -> Calendar:
    """The calendar that a message describes; ``weather`` is (reason, until when).

    Raises CalendarError if it makes no sense.
    """
    return Calendar(
        version=str(windows.version),
        zone=zone,
        first=date.fromisoformat(windows.first),
        last=date.fromisoformat(windows.last),
        hours=tuple(
            Hours(
                begin_minute=_minute(row.begin),
                end_minute=_minute(row.end),
                weekdays=frozenset(row.weekdays),
                reason=row.reason,
            )
            for row in windows.hours
        ),
        weekend=frozenset(windows.weekend),
        working_days=frozenset(map(date.fromisoformat, windows.working_days)),
        days=tuple(
            Days(
                first=date.fromisoformat(row.first),
                last=date.fromisoformat(row.last),
                reason=row.reason,
            )
            for row in windows.days
        ),
        weather=Weather(reason=weather[0], until=weather[1]) if weather else None,
        weather_needed=windows.weather_needed,
    )


def stored_calendar(precautions: PrecautionReader, zone: tzinfo) -> Calendar | None:
    """The calendar that counts now; None, which protects everybody, if none was ever put."""
    found = precautions.calendar()
    if found is None:
        return None
    windows = FriendlyWindows.model_validate_json(found[1], strict=True)
    return calendar_of(windows, precautions.weather(), zone)


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * MINUTES_PER_HOUR + int(minutes)
