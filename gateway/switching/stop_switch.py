"""The manual stop (R25): while it is on, nobody is cut, whatever else allows it.

Three ways turn it on, and each is turned off the way it was turned on:

    a file     touch /var/lib/taiqu/stop          rm /var/lib/taiqu/stop
    a line     a switch at a GPIO pin, read as a file with one digit
    an order   the command stop                   the command resume by the same key, or at the box

The file and the order outlive a restart; the switch is where somebody left it.  What cannot be read
counts as on.  ``stopped`` looks each time it is asked, so it holds for the very next judgement;
``at_hand`` is what any thread may ask when it makes a frame; ``turned`` is for whoever wants to
tell the change.

Not supported: a push button (the line has to stay at its level), the GPIO character device (export
the pin, or let a small service write its level into a file on tmpfs).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FILE = "stop"
"""In the store's directory."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A GPIO line."""

    path: Path
    """As /sys/class/gpio/gpio17/value."""
    stop: str = "0"
    """The level that stops: 0, so that a broken wire with a pull-down stops as well."""


class StopSwitch:
    """The stop switch of one gateway."""

    def __init__(self, directory: Path, pin: Pin | None, ordered: Callable[[], str]) -> None:
        """``directory`` is the store's; ``ordered`` says which orders stop, empty if none does."""
        self._file = directory / FILE
        self._pin = pin
        self._ordered = ordered
        self._told = ""

    def stopped(self) -> str:
        """Why nobody is cut now: everything that stops; empty: the switch is off."""
        return "; ".join(reason for reason in (self.at_hand(), self._ordered()) if reason)

    def at_hand(self) -> str:
        """The same without the orders, which only the core's thread can look up."""
        return "; ".join(reason for reason in (self._by_file(), self._by_pin()) if reason)

    def turned(self) -> str | None:
        """What ``stopped`` says, if it has changed since this was last asked."""
        reason = self.stopped()
        if reason == self._told:
            return None
        self._told = reason
        return reason

    def _by_file(self) -> str:
        try:
            os.lstat(self._file)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"{self._file} cannot be looked for: {error.strerror}"
        return f"{self._file} is there: remove it to go on"

    def _by_pin(self) -> str:
        if self._pin is None:
            return ""
        path = self._pin.path
        try:
            # A pipe in its place must not hold us up.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                level = os.read(handle, 16).strip()
            finally:
                os.close(handle)
        except OSError as error:
            return f"the stop line {path} cannot be read: {error.strerror}"
        if level not in (b"0", b"1"):
            return f"the stop line {path} shows neither 0 nor 1"
        return f"the stop line {path} is on" if level.decode() == self._pin.stop else ""
