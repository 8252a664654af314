"""How complete each day is: counted, told to the head-end, shown to the technician.

A day has the freezes of its end, and the moments of its grid.  It is told when all of them are
settled, or else when the time for the freezes is over; and once more when nothing of it is open.
What is told is counted from the rows, inside the transaction that stores the message.

Used by the core alone.
"""

from datetime import date
from functools import partial
from zoneinfo import ZoneInfo

from gateway.acquisition.collection import Collection
from gateway.acquisition.days import end_of
from gateway.livestate import CollectionState, DayState
from gateway.metering.grid import Grid
from gateway.north import contract
from gateway.north.completeness import Completeness as Message
from gateway.north.completeness import CompletenessGrid, CompletenessMeter
from gateway.recorder import Recorder
from gateway.store.readings import Readings

GRACE_S = 900.0
"""After the start, how long nobody is told that something is missing."""


class Completeness:
    """The days of one gateway."""

    def __init__(
        self,
        gateway: str,
        zone: ZoneInfo,
        in_time: str,
        collection: Collection,
        readings: Readings,
        grid: Grid,
        recorder: Recorder,
    ) -> None:
        """``in_time`` is the local time by which yesterday's freezes should be read."""
        self._gateway = gateway
        self._zone = zone
        hours, minutes = map(int, in_time.split(":"))
        self._in_time_s = 3600 * hours + 60 * minutes
        self._collection = collection
        self._readings = readings
        self._grid = grid
        self._recorder = recorder
        self._told = readings.told()
        self._began_at: float | None = None
        self._open: dict[date, int] = {}
        self._reasons: dict[tuple[str, date], str] = {}
        self._shown: tuple[date, dict[str, DayState]] | None = None
        """What ``look`` found, while it holds."""

    def missed(self, meter: str, day: date, reason: str) -> None:
        """A freeze could not be read, for now."""
        self._reasons[meter, day] = reason
        self._shown = None

    def changed(self) -> None:
        """The rows have changed."""
        self._shown = None

    def settled(self, meter: str, day: date) -> None:
        """One more freeze is stored, or will never be.  Call it after the collection knows."""
        self._reasons.pop((meter, day), None)
        if day in self._open:
            self._open[day] -= 1
        else:
            self._open[day] = self._count_open(day)
        self.grid_settled(day)

    def grid_settled(self, day: date) -> None:
        """No moment of the day's grid is open any more."""
        if day not in self._open:
            self._open[day] = self._count_open(day)
        if self._is_settled(day):
            self._tell(day, settled=True)

    def tick(self, now: float, wall: float, newest: date) -> None:
        """Tell of the newest day when its time is over."""
        if self._began_at is None:
            self._began_at = now
        if newest in self._told or now < self._began_at + GRACE_S:
            return
        if not (self._collection.meters or self._grid.meters):
            return
        if wall >= end_of(newest, self._zone) + self._in_time_s:
            self._open[newest] = self._count_open(newest)
            self._tell(newest, settled=self._is_settled(newest))
            self._open = {day: left for day, left in self._open.items() if left}
            self._reasons = {key: why for key, why in self._reasons.items() if key[1] >= newest}

    def look(self, day: date | None, again: int, dropped: int) -> CollectionState:
        """How ``day`` stands, for the live state."""
        if day and (self._shown is None or self._shown[0] != day):
            self._shown = day, self._states(day)
        return CollectionState(
            day=day.isoformat() if day else "",
            meters=self._shown[1] if self._shown else {},
            again=again,
            dropped=dropped,
        )

    def _states(self, day: date) -> dict[str, DayState]:
        clocks = self._readings.clocks()
        return {
            one.meter: DayState(
                freeze=one.state,
                reason=one.reason,
                clock_offset_s=clocks[one.meter].offset_s if one.meter in clocks else None,
            )
            for one in self._meters(day)
        }

    def _count_open(self, day: date) -> int:
        newest = self._collection.newest or day
        back = (newest - day).days + 1
        return sum(
            back in self._collection.wanted(meter) and not self._collection.settled(meter, day)
            for meter in self._collection.meters
        )

    def _is_settled(self, day: date) -> bool:
        return not self._open[day] and not self._grid.open(day)

    def _tell(self, day: date, *, settled: bool) -> None:
        if self._told.get(day):
            return
        self._told[day] = settled
        self._recorder.later(partial(self._write, day, settled))

    def _write(self, day: date, settled: bool) -> None:
        """Store the message: inside the transaction that stores the freezes it counts."""
        self._readings.set_told(day, settled=settled)
        meters = self._meters(day)
        latest = end_of(day, self._zone) + self._in_time_s
        read = [one for one in meters if one.state == "read"]
        in_time = sum(contract.unix_s(one.taken) <= latest for one in read if one.taken)
        good = sum(one.quality == "good" for one in read)
        grid = tuple(
            CompletenessGrid(meter=one.meter, due=one.due, read=one.read, absent=one.absent)
            for one in self._grid.counts(day)
        )
        grid_due, grid_read = sum(one.due for one in grid), sum(one.read for one in grid)
        at, clock = self._recorder.stamp()
        self._recorder.completeness(
            lambda seq: Message(
                gateway=self._gateway,
                epoch=self._recorder.epoch,
                lane="urgent",
                seq=seq,
                day=day.isoformat(),
                at=at,
                clock=clock,
                settled=settled,
                due=len(meters),
                read=len(read),
                in_time=in_time,
                good=good,
                rate_read=_percent(len(read), len(meters)),
                rate_in_time=_percent(in_time, len(meters)),
                rate_good=_percent(good, len(read)),
                meters=meters,
                grid_due=grid_due if grid else None,
                grid_read=grid_read if grid else None,
                rate_grid=_percent(grid_read, grid_due),
                grid=grid or None,
            )
        )

    def _meters(self, day: date) -> tuple[CompletenessMeter, ...]:
        """Every meter whose freeze is due, as the rows have it."""
        held, gaps = self._readings.held(day), self._readings.gaps(day)
        clocks = self._readings.clocks()
        found = []
        for meter in self._collection.meters:
            clock = clocks.get(meter)
            offset = f"{clock.offset_s:.0f}" if clock and clock.day == day else None
            if one := held.get(meter):
                found.append(
                    CompletenessMeter(
                        meter=meter,
                        state="read",
                        reason=one.reason,
                        taken=contract.instant(one.taken),
                        quality=one.quality,
                        clock_offset_s=offset,
                    )
                )
                continue
            state, reason = gaps.get(meter, ("missing", ""))
            reason = reason or self._reasons.get((meter, day), "not asked yet")
            found.append(
                CompletenessMeter(
                    meter=meter, state=state, reason=reason[:500], clock_offset_s=offset
                )
            )
        return tuple(found)


def _percent(part: int, whole: int) -> str | None:
    """A share in percent with two decimals, rounded down: 100.00 means all."""
    if not whole:
        return None
    hundredths = 10_000 * part // whole
    return f"{hundredths // 100}.{hundredths % 100:02d}"
