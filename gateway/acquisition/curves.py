"""Which part of which load curve (负荷曲线) is asked for next, to fill the grid's gaps.

The newest day first, because somebody waits for it, and within a day the oldest gap first.  Every
ask is one short exchange, so nothing on the line waits long for it; the meters of a line take
turns.  What failed is tried again after a growing pause, all day.

Hands out ``CurveAsk``s and is told what came of them; gateway/metering/grid.py makes jobs of them
and judges the replies.  Reads no clock, owns no row.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

from gateway.acquisition.days import day_of
from gateway.acquisition.moments import Gap, Moments
from gateway.config import MeterConfig

READY_S = 180.0
"""A moment's record is asked for so long after it: then it was not read live, and is made."""
RECORDS = 6
"""Of the energies alone, so many fit into one frame of 200 bytes."""
AT_ONCE = 4
"""Jobs of one line that may wait in its queue."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
LOOK_S = 60.0


@dataclass(frozen=True, slots=True)
class CurveAsk:
    """What to ask of a meter's load curve."""

    meter: str
    gap: Gap
    """No longer than what one exchange holds."""


@dataclass(slots=True)
class _Meter:
    config: MeterConfig
    busy: bool = False
    failures: int = 0
    wake_at: float = 0.0


class Curves:
    """All meters that may keep a load curve.  Times are monotonic where they are called ``now``."""

    def __init__(
        self,
        meters: Iterable[MeterConfig],
        moments: Moments,
        zone: tzinfo,
        days: int,
        jitter: Callable[[], float],
    ) -> None:
        """``days`` are looked back, today being one; ``jitter`` is a source of [0, 1)."""
        self._meters = {meter.asset: _Meter(meter) for meter in meters}
        self._lines = sorted({meter.config.line for meter in self._meters.values()})
        self._moments = moments
        self._zone = zone
        self._days = days
        self._jitter = jitter
        self.next_at = 0.0
        """When ``due`` may have something again."""

    @property
    def meters(self) -> tuple[str, ...]:
        """Those that keep a load curve, as far as anybody knows."""
        return tuple(self._meters)

    def leave(self, meter: str) -> None:
        """This meter keeps none: it is not asked any more."""
        self._meters.pop(meter, None)

    def woke(self, meter: str, now: float) -> None:
        """A meter answers again: what it owes is asked for at once."""
        if found := self._meters.get(meter):
            found.failures, found.wake_at = 0, now
            self.next_at = now

    def due(
        self,
        now: float,
        wall: float,
        silent: Callable[[str], bool],
        offset_s: Callable[[str], float],
    ) -> Iterator[CurveAsk]:
        """What is to be asked now.

        ``silent`` says whether a meter is only probed, ``offset_s`` how far its clock is ahead.
        """
        self.next_at = now + LOOK_S
        today = day_of(wall, self._zone)
        for line in self._lines:
            meters = [one for one in self._meters.values() if one.config.line == line]
            free = AT_ONCE - sum(one.busy for one in meters)
            for meter in sorted(meters, key=lambda one: one.wake_at):
                if not free:
                    break
                if meter.busy or silent(meter.config.asset):
                    continue
                if meter.wake_at > now:
                    self.next_at = min(self.next_at, meter.wake_at)
                    break
                # What a slow clock has not come to yet is not recorded yet.
                until = wall - READY_S + min(0.0, offset_s(meter.config.asset))
                if gap := self._gap(meter.config.asset, today, until):
                    meter.busy = True
                    free -= 1
                    yield CurveAsk(meter.config.asset, gap)
                else:
                    meter.wake_at = now + LOOK_S

    def done(self, ask: CurveAsk, now: float, *, failed: bool, again: bool = False) -> None:
        """An ask was answered, or not.  ``failed``: try after a pause; ``again``: at once."""
        self.next_at = now
        meter = self._meters.get(ask.meter)
        if meter is None:
            return
        meter.busy = False
        meter.wake_at = now
        if not failed:
            meter.failures = 0
        elif not again:
            pause_s = min(FIRST_PAUSE_S * 2**meter.failures, LONGEST_PAUSE_S)
            meter.wake_at += pause_s * (0.75 + 0.5 * self._jitter())
            meter.failures += 1

    def _gap(self, meter: str, today: date, until: float) -> Gap | None:
        for back in range(self._days):
            if gap := self._moments.gap(meter, today - timedelta(days=back), until):
                return gap.cut(RECORDS)
        return None
