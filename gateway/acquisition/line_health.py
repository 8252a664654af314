"""Which meters of one line are lost, or whether it is the line itself.

A meter that stopped answering is told alone only if the line is known to work: some other meter
has answered since.  Where nobody has, the others are asked first.  If they are silent as well, it
is one *line fault*, not thirty-two dead meters; and when one of them answers again, those that
still do not are judged anew, one by one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.acquisition.health import SILENT_AFTER_S, Health, ProbeBudget

FAULTY_FROM = 2
"""Meters that must have fallen silent together: of one alone, nobody can tell."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Turned:
    """A meter fell silent, or answers again."""

    meter: str
    line: str
    silent: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LineTurned:
    """All meters of a line fell silent together, or one of them answers again."""

    line: str
    fault: bool
    reason: str


Told = Turned | LineTurned


class LineHealth:
    """The meters of one line.  Times are monotonic."""

    def __init__(self, line: str, meters: Sequence[Health], jitter: Callable[[], float]) -> None:
        self.line = line
        self.budget = ProbeBudget()
        self.fault = False
        self._meters = tuple(meters)
        self._jitter = jitter
        self._alive_at = -math.inf
        """When some meter of the line answered last."""

    def answered(self, health: Health, now: float, *, now_alive: bool = True) -> list[Told]:
        """A meter answered a poll or a probe; returns what is to be told now.

        ``now_alive``: to its end, so the line works at this moment.
        """
        if now_alive:
            self._alive_at = now
        misses = health.failures
        told: list[Told] = [self._restore(now)] if self.fault else []
        health.good()
        if health.told:
            health.told = False
            log.info("meter answers again", meter=health.meter, line=self.line, misses=misses)
            told.append(Turned(health.meter, self.line, silent=False, reason=""))
        if now_alive:
            for meter in self._meters:
                meter.suspected = False
        return told + self._tell(now)

    def missed(self, health: Health, now: float, reason: str) -> list[Told]:
        """A poll or a probe got no reply; returns what is to be told now."""
        health.bad(now, reason, self._jitter)
        return [] if self.fault else self._tell(now)

    def _tell(self, now: float) -> list[Told]:
        asked = [meter for meter in self._meters if meter.askable]
        well = [meter for meter in asked if not meter.failures]
        untold = [meter for meter in asked if meter.failures and not meter.told]
        since = min((meter.failing_since or now for meter in untold), default=now)
        if not well and len(untold) >= FAULTY_FROM and now - since >= SILENT_AFTER_S:
            return [self._break(untold)]
        told: list[Told] = []
        for meter in untold:
            if not meter.silent:
                continue
            if well and self._alive_at < (meter.failing_since or now):
                for other in well:
                    other.suspected = True
                continue
            meter.told = True
            reason = meter.reason
            log.warning("meter stopped answering", meter=meter.meter, line=self.line, reason=reason)
            told.append(Turned(meter.meter, self.line, silent=True, reason=reason))
        return told

    def _break(self, untold: Sequence[Health]) -> LineTurned:
        self.fault = True
        for meter in untold:
            meter.silent = meter.line_fault = True
        reason = (
            f"all {len(self._meters)} meters of the line are silent; check its wires, its adapter"
            f" and who else uses it; the last of them: {untold[-1].reason}"
        )
        log.error("line fault", line=self.line, reason=reason)
        return LineTurned(self.line, fault=True, reason=reason)

    def _restore(self, now: float) -> LineTurned:
        self.fault = False
        for meter in self._meters:
            meter.line_fault = False
            if meter.told:
                meter.stir(now)
            else:
                meter.begin_anew()
        log.info("line works again", line=self.line)
        return LineTurned(self.line, fault=False, reason="")
