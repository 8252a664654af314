"""What every simulated meter is to the line it hangs on: something that hears and may answer.

A meter is deaf at other port settings than its own, silent while somebody says so, and otherwise
answers what is meant for it after its reply delay.  It owns no port, thread or clock; the time
comes with each question.  ``simulators.dlt645_meter`` and ``simulators.modbus_meter`` are the two
kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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


Find = Callable[[bytes], tuple[Any, int]]
"""Finds the first request of one protocol in what was heard: the request, or None, and how many
bytes are done with.  Meters of one protocol share it, so a line looks once for all of them."""


class Meter(ABC):
    """One simulated meter.  ``silent`` may be set at any time."""

    def __init__(self, address: str, settings: Settings, find: Find, delay_s: float) -> None:
        self.address = address
        self.settings = settings
        self.find = find
        self.delay_s = delay_s
        """From the end of the request to the first byte of the reply."""
        self.silent = False

    def hears(self, baud: int | None, parity: str | None) -> bool:
        """Whether a request sent like this is more than noise to it; None: nobody can tell."""
        return baud in (None, self.settings.baud) and parity in (None, self.settings.parity)

    def answer(self, request: Any, now: float) -> tuple[float, bytes] | None:
        """The reply delay in seconds and the reply's bytes; None if it does not answer.

        ``request`` is what ``find`` returned, ``now`` UTC seconds at the end of the request.
        """
        reply = None if self.silent else self.reply(request, now)
        return (self.delay_s, reply) if reply else None

    @abstractmethod
    def reply(self, request: Any, now: float) -> bytes | None:
        """The bytes of its answer to ``request``; None if the request is not for this meter."""
