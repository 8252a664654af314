"""Clock-aligned collection: which daily freeze of which meter is asked for, and when.

From 00:05 local time every meter that makes daily freezes is asked for yesterday's, and once a day
for its clock; what is missing of earlier days is asked for in the background, newest first, as far
back as the meter keeps it.  What failed is tried again after a growing pause, all day.  A day that
is stored, or that the meter says it does not have, is never asked for again.

Hands out ``Ask``s and is told what came of them; gateway/metering/collector.py makes jobs of them
and judges the replies.  Reads no clock, owns no row.

Not here: meters that make none (gateway/metering/midnight.py), the 15-minute grid
(gateway/metering/grid.py).
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta, tzinfo

from gateway.acquisition.days import latest
from gateway.config import MeterConfig
from gateway.events import Priority
from protocols.exchanges import Exchange

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
LOOK_S = 60.0
"""How often the wall clock is looked at: it may have been stepped over midnight."""
AT_ONCE = {Priority.COLLECTION: 16, Priority.BACKFILL: 4}
"""Jobs of one line that may wait in its queue, by priority; commands need room there too."""
CLOCK = ("meter_date", "meter_clock")
"""Read together they are the meter's clock, in every DL/T 645 meter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to ask of a meter next: a freeze, its clock, or both in one go."""

    meter: str
    priority: Priority
    day: date | None
    """The day whose freeze is wanted."""
    exchanges: tuple[Exchange, ...]
    """Of the freeze, its time first; then of the clock."""
    clock: bool
    """Whether the last exchanges read the meter's clock."""


@dataclass(slots=True)
class _Work:
    """One meter's asking at one priority.  At most one job at a time."""

    busy: bool = False
    failures: int = 0
    wake_at: float = 0.0


@dataclass(slots=True)
class _Meter:
    config: MeterConfig
    settled: set[int] = field(default_factory=set)
    """Ordinals of the days that are stored, or that the meter does not have."""
    clock_day: date | None = None
    """The last day on which its clock was compared with ours."""
    work: dict[Priority, _Work] = field(
        default_factory=lambda: {priority: _Work() for priority in AT_ONCE}
    )


@dataclass(slots=True)
class _Track:
    """The meters of one line at one priority: who is next, and how many are being asked."""

    running: int = 0
    waiting: list[tuple[float, int, str]] = field(default_factory=list)


class Collection:
    """All meters with freezes or a clock.  Times are monotonic where they are called ``now``."""

    def __init__(
        self,
        meters: Iterable[MeterConfig],
        zone: tzinfo,
        backfill_days: int,
        jitter: Callable[[], float],
    ) -> None:
        """``zone`` says where midnight is, ``jitter`` is a source of [0, 1)."""
        self._zone = zone
        self._backfill_days = backfill_days
        self._jitter = jitter
        self._meters = {
            m.asset: _Meter(m)
            for m in meters
            if m.profile.freezes or set(CLOCK) <= set(m.profile.points)
        }
        self._tracks = {
            (meter.config.line, priority): _Track()
            for meter in self._meters.values()
            for priority in AT_ONCE
        }
        self._order = 0
        self._day: date | None = None
        self._trusted = False
        self.newest: date | None = None
        """The day whose freeze was the newest the last time that was certain."""
        self.next_at = 0.0
        """When ``due`` may have something again."""

    @property
    def meters(self) -> tuple[str, ...]:
        """The meters whose freezes are due every day, by asset number."""
        return tuple(a for a, meter in self._meters.items() if meter.config.profile.freezes)

    def wanted(self, meter: str) -> range:
        """How many days back this meter's freezes are wanted: from 1, yesterday's."""
        return range(1, min(self._meters[meter].config.profile.freezes, self._backfill_days) + 1)

    def settle(self, meter: str, day: date) -> None:
        """This day is stored, or will never be: it is not asked for (again)."""
        if meter in self._meters:
            self._meters[meter].settled.add(day.toordinal())

    def settled(self, meter: str, day: date) -> bool:
        """Whether this day is not asked for any more."""
        return day.toordinal() in self._meters[meter].settled

    def clock_read(self, meter: str, day: date) -> None:
        """The meter's clock was compared with ours on this day."""
        if meter in self._meters:
            self._meters[meter].clock_day = day

    def woke(self, meter: str, now: float) -> None:
        """A meter answers again: what it owes is asked for at once."""
        if found := self._meters.get(meter):
            for priority, work in found.work.items():
                work.failures = 0
                self._wake(found, priority, now)

    def due(
        self, now: float, wall: float, *, trusted: bool, silent: Callable[[str], bool]
    ) -> Iterator[Ask]:
        """What is to be asked now.

        ``trusted``: our clock can judge others; ``silent`` says whether a meter is only probed.
        Not to be called while our clock may be wrong by days.
        """
        newest = latest(wall, self._zone)
        if newest != self._day:
            self._begin(newest, now)
        if trusted and not self._trusted:
            for meter in self._meters.values():
                self._wake(meter, Priority.COLLECTION, now)
        self._trusted = trusted
        self.next_at = now + LOOK_S
        if newest is None:
            return
        for (_, priority), track in self._tracks.items():
            while track.waiting and track.running < AT_ONCE[priority]:
                wake_at, _, asset = track.waiting[0]
                if wake_at > now:
                    self.next_at = min(self.next_at, wake_at)
                    break
                heapq.heappop(track.waiting)
                found = self._meters[asset]
                work = found.work[priority]
                if work.busy or wake_at != work.wake_at or silent(asset):
                    continue
                if ask := self._ask(found, priority, newest, trusted=trusted):
                    work.busy = True
                    track.running += 1
                    yield ask

    def done(self, ask: Ask, now: float, *, failed: bool, again: bool = False) -> None:
        """An ask was answered, or not.

        ``failed``: what it was for was not achieved, try after a pause; ``again``: at once.
        """
        meter = self._meters[ask.meter]
        work = meter.work[ask.priority]
        self._tracks[meter.config.line, ask.priority].running -= 1
        work.busy = False
        pause_s = 0.0
        if failed and not again:
            pause_s = min(FIRST_PAUSE_S * 2**work.failures, LONGEST_PAUSE_S)
            pause_s *= 0.75 + 0.5 * self._jitter()
            work.failures += 1
        elif not failed:
            work.failures = 0
        self._wake(meter, ask.priority, now + pause_s)
        self.next_at = now

    def _begin(self, newest: date | None, now: float) -> None:
        """Another day's freeze is the newest: everybody is asked anew."""
        self._day = newest
        for track in self._tracks.values():
            track.waiting.clear()
        if newest is None:
            return
        self.newest = newest
        for meter in self._meters.values():
            oldest = newest.toordinal() - len(self.wanted(meter.config.asset))
            meter.settled = {day for day in meter.settled if day > oldest}
            for priority, work in meter.work.items():
                work.failures = 0
                self._wake(meter, priority, now)

    def _wake(self, meter: _Meter, priority: Priority, at: float) -> None:
        self._order += 1
        meter.work[priority].wake_at = at
        track = self._tracks[meter.config.line, priority]
        heapq.heappush(track.waiting, (at, self._order, meter.config.asset))
        self.next_at = min(self.next_at, at)

    def _ask(self, meter: _Meter, priority: Priority, newest: date, *, trusted: bool) -> Ask | None:
        config = meter.config
        if priority is Priority.COLLECTION:
            settled = newest.toordinal() in meter.settled
            back = 1 if config.profile.freezes and not settled else None
            clock = (
                trusted and meter.clock_day != newest and set(CLOCK) <= set(config.profile.points)
            )
        else:
            days = self.wanted(config.asset)[1:]
            back = next(
                (back for back in days if newest.toordinal() + 1 - back not in meter.settled), None
            )
            clock = False
        exchanges = config.profile.plan_freeze(config.address, back) if back else ()
        if clock:
            exchanges += config.profile.plan(config.address, CLOCK)
        if not exchanges:
            return None
        day = newest - timedelta(days=back - 1) if back else None
        return Ask(meter=config.asset, priority=priority, day=day, exchanges=exchanges, clock=clock)
