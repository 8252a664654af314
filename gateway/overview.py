"""What the gateway knows of itself at this moment: kept by the core, shown by ``taiqu status``.

Counters and last values only, all of it gone with the process; nothing here decides anything.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.acquisition.health import Health
from gateway.config import Config
from gateway.events import JobDone, PortChanged
from gateway.livestate import LineState, MeterState
from protocols.base import Quality, Value

USE_OVER_S = 300.0
"""The use of a line is averaged over about this long."""


@dataclass(slots=True)
class _Line:
    up: bool = False
    reason: str = "not opened yet"
    exchanges: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0
    """Line time used, fading with ``USE_OVER_S``."""
    at: float | None = None

    def fade(self, now: float) -> None:
        if self.at is not None:
            self.busy_s *= math.exp((self.at - now) / USE_OVER_S)
        self.at = now


@dataclass(slots=True)
class _Meter:
    values: dict[str, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)


class Overview:
    """Lines and last values.  Times are monotonic where they are called ``now``."""

    def __init__(self, config: Config, started: float) -> None:
        self._config = config
        self._started = started
        self._lines = {line.name: _Line() for line in config.lines}
        self._meters = {meter.asset: _Meter() for meter in config.meters}
        self.readings_taken = 0

    def port(self, event: PortChanged) -> None:
        """A line's port came or went."""
        line = self._lines[event.line]
        line.up, line.reason = event.up, event.reason

    def job(self, event: JobDone, now: float) -> None:
        """A job was done."""
        line, meter = self._lines[event.line], self._meters[event.job.meter]
        line.fade(now)
        line.busy_s += event.busy_s
        for outcome in event.outcomes:
            line.exchanges += outcome.tries
            if outcome.fault:
                line.faults[outcome.fault.value] += 1
                meter.faults[outcome.fault.value] += 1
        for stray, count in event.strays:
            line.strays[stray.value] += count
            meter.strays[stray.value] += count

    def values(self, meter: str, values: Mapping[str, Value]) -> None:
        """Good values were read."""
        self.readings_taken += 1
        for point, value in values.items():
            if value.quality is Quality.GOOD:
                self._meters[meter].values[point] = value.text() or ""

    def meters(
        self, healths: Sequence[Health], refused: Mapping[str, set[str]]
    ) -> list[MeterState]:
        """Every meter, as the state file has it."""
        configured = {meter.asset: meter for meter in self._config.meters}
        return [
            MeterState(
                asset=health.meter,
                address=configured[health.meter].address,
                line=health.line,
                model=configured[health.meter].profile.model,
                silent=health.silent,
                reason=health.reason if health.failures else "",
                last_good=health.last_good_at,
                asked=health.asked,
                answered=health.answered,
                round_trip_ms=round(health.round_trip_s * 1000, 1),
                faults=dict(self._meters[health.meter].faults),
                strays=dict(self._meters[health.meter].strays),
                refused=sorted(refused.get(health.meter, ())),
                values=self._meters[health.meter].values,
            )
            for health in healths
        ]

    def lines(self, now: float) -> list[LineState]:
        """Every line, as the state file has it."""
        states = []
        for table in self._config.lines:
            line = self._lines[table.name]
            line.fade(now)
            # A young average would read low: it is taken over the time there was.
            over_s = USE_OVER_S * (1 - math.exp((self._started - now) / USE_OVER_S))
            states.append(
                LineState(
                    name=table.name,
                    port=table.port,
                    up=line.up,
                    reason=line.reason,
                    use=round(min(1.0, line.busy_s / over_s), 3) if over_s > 0 else 0.0,
                    exchanges=line.exchanges,
                    faults=dict(line.faults),
                    strays=dict(line.strays),
                )
            )
        return states
