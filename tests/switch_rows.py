"""What the gateway of the torture has on its disk, and what it wants done after a commit."""

from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.disconnection import case as cases
from gateway.disconnection import mass_limits
from gateway.disconnection import relay as relays
from gateway.disconnection.case import Case
from gateway.disconnection.facts import Purpose
from gateway.disconnection.relay import Relay
from tests.switch_street import Home


@dataclass
class Rows:
    """What is on the disk."""

    cases: dict[str, Case] = field(default_factory=dict)
    relays: dict[str, Relay] = field(default_factory=dict)
    purpose: dict[str, tuple[Purpose, float]] = field(default_factory=dict)
    """Of the last trip of a relay, and until when its order was valid."""
    commands: dict[str, str] = field(default_factory=dict)
    mass: mass_limits.State = field(default_factory=mass_limits.State)
    restores: tuple[tuple[float, str, str], ...] = ()
    """(time, phase, account) of the last ones that had their turn."""
    known: dict[str, object] = field(default_factory=dict)
    """What was written and read before."""

    def copy(self) -> "Rows":
        return Rows(
            dict(self.cases),
            dict(self.relays),
            dict(self.purpose),
            dict(self.commands),
            self.mass,
            self.restores,
            self.known,
        )

    def read_again(self) -> "Rows":
        """As after a power cut.  What has not changed since the last one is not written twice."""
        after, known = self.copy(), self.known
        for k, case in self.cases.items():
            if known.get(k) is not case:
                after.cases[k] = known[k] = cases.from_json(cases.to_json(case))
        for k, relay in self.relays.items():
            if known.get(k) is not relay:
                after.relays[k] = known[k] = relays.from_json(relays.to_json(relay))
        after.mass = mass_limits.from_json(mass_limits.to_json(self.mass))
        return after


class Out(NamedTuple):
    """Something to be done outside; ``at`` is Unix time by the gateway's clock."""

    what: str
    home: Home
    at: float = 0.0
    said: str = ""
    direct: bool = False
