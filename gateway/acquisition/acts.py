"""What a line (gateway/acquisition/line.py) tells its shell to do next."""

from dataclasses import dataclass

from gateway.events import PortSettings


@dataclass(frozen=True, slots=True)
class Open:
    """Open the port, then call ``port_up`` or ``port_lost``."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """Set the port, forget what it has received, write; then ``advance`` with the time of that."""

    settings: PortSettings
    data: bytes


@dataclass(frozen=True, slots=True)
class Listen:
    """Read until bytes come or ``until`` (monotonic) is reached; then ``advance`` with them."""

    until: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to send before ``until`` (monotonic, may be infinite), unless a job comes.

    Bytes that an open port has received meanwhile go to ``advance`` as well.
    """

    until: float


Act = Open | Transmit | Listen | Rest
