"""What a finished job means: readings, and what was found out about the meters."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.acquisition.line_health import LineTurned, Turned
from protocols.base import Value
from protocols.exchanges import Exchange


@dataclass(frozen=True, slots=True)
class Reading:
    """The values (示值) of one good reply."""

    meter: str
    address: str
    line: str
    taken_at: float
    """Unix time when the reply was complete."""
    values: Mapping[str, Value]
    exchange: Exchange
    """What was asked."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A meter refuses this exchange for good: it is not asked again, here or after a restart.  Or,
    with ``AGREED`` before the key, it reads rightly over registers that the profile does not know.
    """

    meter: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Woke:
    """A meter answers that did not answer last, or was never heard before."""

    meter: str


@dataclass(frozen=True, slots=True)
class Shared:
    """A second meter answers at a meter's address, or has not for long."""

    meter: str
    line: str
    shared: bool
    address: str

    @property
    def detail(self) -> str:
        """The sentence for people: only they can part the two."""
        if not self.shared:
            return f"one meter answers at address {self.address} again"
        return (
            f"two meters answer at address {self.address}; nothing of it is believed: find the"
            " other one, and give each its own address"
        )


Found = Reading | Learned | Woke | Turned | LineTurned | Shared
