"""What the gateway knows of itself at this moment: kept by the core, shown by ``taiqu status``.

Counters and last values only, all of it gone with the process; nothing here decides anything.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.acquisition.diagnosis import diagnose
from gateway.acquisition.health import Health
from gateway.config import Config
from gateway.events import Fault, JobDone, PortChanged, Sound
from gateway.livestate import LineState, MeterState
from protocols.base import Quality, Stray, Value

USE_OVER_S = 300.0
"""The use of a line is averaged over about this long."""
DIAGNOSED_OVER_S = 3600.0
"""And so are the counters that its diagnosis goes by."""


@dataclass(slots=True)
class _Line:
    up: bool = False
    reason: str = "not opened yet"
    exchanges: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)
    noise_bytes: int = 0
    signs: dict[Fault | Sound | Stray, float] = field(default_factory=dict)
    """What the diagnosis goes by, fading with ``DIAGNOSED_OVER_S``."""
    busy_s: float = 0.0
    """Line time used, fading with ``USE_OVER_S``."""
    at: float | None = None

    def fade(self, now: float) -> None:
        if self.at is not None:
            self.busy_s *= math.exp((self.at - now) / USE_OVER_S)
            fading = math.exp((self.at - now) / DIAGNOSED_OVER_S)
            self.signs = {sign: count * fading for sign, count in self.signs.items()}
        self.at = now

    def sign(self, sign: Fault | Sound | Stray, count: int) -> None:
        self.signs[sign] = self.signs.get(sign, 0.0) + count


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
                line.sign(outcome.fault, max(1, outcome.tries))
                meter.faults[outcome.fault.value] += 1
        for stray, count in event.strays:
            line.strays[stray.value] += count
            line.sign(stray, count)
            meter.strays[stray.value] += count
        for sound, count in event.sounds:
            line.sign(sound, count)
            line.noise_bytes += count if sound is Sound.NOISE else 0

    def values(self, meter: str, values: Mapping[str, Value]) -> None:
        """Good values were read."""
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
                reason=_reason(health),
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
                    noise_bytes=line.noise_bytes,
                    diagnosis=diagnose(line.signs),
                )
            )
        return states


def _reason(health: Health) -> str:
    """Why the meter is not read; empty while it answers."""
    if health.doubled_at is not None:
        return "two meters answer at its address"
    if not health.failures:
        return ""
    return f"line fault: {health.reason}" if health.line_fault else health.reason
