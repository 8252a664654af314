"""What every simulated meter is to the line it hangs on: something that hears and may answer.

A meter is deaf at other port settings than its own, silent while somebody says so, and otherwise
answers what is meant for it after its reply delay.  It owns no port, thread or clock; the time
comes with each question.  ``simulators.dlt645_meter`` and ``simulators.modbus_meter`` are the two
kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from simulators.relay import SimRelay


@dataclass(frozen=True, slots=True)
class Settings:
    """How a meter's port is set; always eight data bits and one stop bit."""

    baud: int
    parity: str = "N"
    """``N``, ``E`` or ``O``."""

    @property
    def character_s(self) -> float:
        """How long one character takes on the wire, in seconds."""
        return (10 + (self.parity != "N")) / self.baud


@dataclass(frozen=True, slots=True)
class MeterClock:
    """What a meter's clock shows.  It lives by it: loads, tariffs and freezes come by this time."""

    offset_s: float = 0.0
    """Ahead of the true time at ``SET_AT``; negative is behind."""
    drift_ppm: float = 0.0
    """How much faster than the true time it runs, in millionths."""

    def shows(self, now: float) -> float:
        """Its time at ``now``, both UTC seconds."""
        return now + self.offset_s + (now - SET_AT) * self.drift_ppm / 1e6


SET_AT = 1_767_225_600.0
"""2026-01-01 00:00 UTC: when every meter's clock was set."""
RIGHT = MeterClock()


TIME_STEP_MAX_S = 300
"""A broadcast time that is further off than this is ignored.  Source: DL/T 645-2007, 08H."""

Find = Callable[[bytes], tuple[Any, int]]
"""Finds the first request of one protocol in what was heard: the request, or None, and how many
bytes are done with.  Meters of one protocol share it, so a line looks once for all of them."""


class Meter(ABC):
    """One simulated meter.  ``silent`` may be set at any time."""

    def __init__(
        self,
        address: str,
        settings: Settings,
        find: Find,
        delay_s: float,
        clock: MeterClock = RIGHT,
    ) -> None:
        self.address = address
        self.settings = settings
        self.find = find
        self.delay_s = delay_s
        """From the end of the request to the first byte of the reply."""
        self.clock = clock
        self.silent = False
        self.relay: SimRelay | None = None
        """What cuts its customer off; None if it has none."""
        self.before: list[SimRelay] = []
        """Breakers in front of it that cut its customer off, too."""
        self._set_on: date | None = None
        """The day on which it obeyed a broadcast time."""

    def hears(self, baud: int | None, parity: str | None) -> bool:
        """Whether a request sent like this is more than noise to it; None: nobody can tell."""
        return baud in (None, self.settings.baud) and parity in (None, self.settings.parity)

    def answer(self, request: Any, now: float) -> tuple[float, bytes] | None:
        """The reply delay in seconds and the reply's bytes; None if it does not answer.

        ``request`` is what ``find`` returned, ``now`` UTC seconds at the end of the request.
        """
        self.advance(now)
        reply = None if self.silent else self.reply(request, self.clock.shows(now))
        return (self.delay_s, reply) if reply else None

    def advance(self, now: float) -> None:
        """Let what falls due until ``now`` (true UTC seconds) happen: a relay moves late."""
        for relay in self.before:
            relay.advance(now)
        if self.relay:
            self.relay.advance(now)

    def take_time(self, data: bytes, local: datetime) -> None:
        """Set the clock, which shows ``local``, to a broadcast time: ss mm hh DD MM YY in BCD.

        Obeyed once a day, and only where the step is no more than five minutes.
        """
        try:
            told = datetime.strptime(data[::-1].hex(), "%y%m%d%H%M%S").replace(tzinfo=local.tzinfo)
        except ValueError:
            return
        step_s = (told - local).total_seconds()
        if abs(step_s) <= TIME_STEP_MAX_S and self._set_on != local.date():
            self._set_on = local.date()
            self.clock = replace(self.clock, offset_s=self.clock.offset_s + step_s)

    @abstractmethod
    def reply(self, request: Any, now: float) -> bytes | None:
        """The bytes of its answer to ``request``; None if the request is not for this meter.

        ``now`` is UTC seconds by the meter's own clock.
        """


class Swapped(Meter):
    """A meter that is taken down, and the one that is put into its place, with the same address."""

    def __init__(self, old: Meter, new: Meter, at: float) -> None:
        """``at`` is the moment of the exchange in UTC seconds."""
        super().__init__(old.address, old.settings, old.find, old.delay_s)
        self._old, self._new, self._at = old, new, at
        self.relay = old.relay

    def answer(self, request: Any, now: float) -> tuple[float, bytes] | None:
        """The answer of the one that hangs there."""
        return None if self.silent else self._there(now).answer(request, now)

    def advance(self, now: float) -> None:
        """Of both."""
        super().advance(now)
        self._old.advance(now)
        self._new.advance(now)
        self.relay = self._there(now).relay

    def reply(self, request: Any, now: float) -> bytes | None:
        """Likewise, without the delay."""
        return self._there(now).reply(request, now)

    def _there(self, now: float) -> Meter:
        return self._old if now < self._at else self._new
