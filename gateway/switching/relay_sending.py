"""A command to a relay on its way to the wire: made at the last moment, or not at all.

A command may wait for its turn on the line.  So its frame is made when the turn comes: the deadline
in it counts from then, and whoever has changed his mind meanwhile withdraws the ``Permit``, from
any thread: after that no frame is made (R17, R25).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from gateway.config import MeterConfig
from gateway.events import JobDone, Timed
from protocols.base import Request, RequestError
from protocols.relay import Action, ControlRelay
from protocols.relay_control import relay_requests

SEND_WITHIN_S = 20.0
"""A command that has not had its turn by then is not sent; what it was based on has aged."""
STEPPED_S = 5.0
"""A clock that was set meanwhile: the meter's time cannot be told from ours any more."""
TAKES = (Action.TRIP, Action.PROTECT_OFF)
"""What takes supply away, or lets the meter do so."""
TRIP_VALID_S = 120
"""So long a meter may obey a trip; what gives supply may be obeyed for the standard's five minutes.
"""


class NotSentError(RequestError):
    """Nothing was sent: the permit was withdrawn, or is too old."""


@dataclass(slots=True)
class Permit:
    """The leave to send one command."""

    given_at: float
    """Unix time."""
    withdrawn: str = ""
    """Why nothing may be sent any more.  Set by the core, read by the line's thread."""
    stopped: Callable[[], str] = lambda: ""
    """Why no supply may be taken just now: asked by the line's thread."""

    def check(self, wall: float) -> None:
        """Raises NotSentError if nothing may be sent at ``wall`` (Unix time)."""
        if reason := self.withdrawn or self.stopped():
            raise NotSentError(f"not sent: {reason}")
        if not -STEPPED_S <= wall - self.given_at <= SEND_WITHIN_S + STEPPED_S:
            age_s = wall - self.given_at
            raise NotSentError(f"not sent: {age_s:.0f} s lie between its permit and its turn")


@dataclass(slots=True)
class Sending:
    """One command to one meter."""

    meter: MeterConfig
    action: Action
    permit: Permit
    meter_time: Callable[[float], datetime | None]
    """What the meter's clock shows at a Unix time."""
    valid_s: int
    made: list[Request] = field(default_factory=list)
    """The requests that were really made, so that they were on the wire."""

    def requests(self, wall: float) -> tuple[Request, ...]:
        """The requests as they would be sent at ``wall``.  Raises RequestError."""
        return relay_requests(
            self.meter.profile,
            self.meter.address,
            self.action,
            self.meter_time(wall),
            valid_s=self.valid_s,
        )

    def timed(self, wall: float) -> tuple[Timed, ...]:
        """What the line is given.  Raises RequestError if there are no words for it now."""
        return tuple(
            Timed(self.meter.address, self._maker(n)) for n in range(len(self.requests(wall)))
        )

    def frames(self) -> list[str]:
        """What was on the wire, in hexadecimal."""
        codec = self.meter.profile.codec()
        return [codec.encode(request).hex().upper() for request in self.made]

    def _maker(self, number: int) -> Callable[[float], Request]:
        def make(wall: float) -> Request:
            self.permit.check(wall)
            request = self.requests(wall)[number]
            self.made.append(request)
            return request

        return make


def needs_clock(meter: MeterConfig, action: Action) -> bool:
    """Whether the command carries a deadline by the meter's own clock."""
    relay = meter.profile.relay
    return isinstance(relay, ControlRelay) and (action is Action.TRIP or not relay.close_expiry)


def close_action(meter: MeterConfig, *, direct: bool) -> Action:
    """How supply is given back: by the customer's button where the model has that (R35)."""
    relay = meter.profile.relay
    known = relay.codes if isinstance(relay, ControlRelay) else getattr(relay, "writes", {})
    wanted = Action.CLOSE if direct else Action.ALLOW_CLOSE
    if wanted in known:
        return wanted
    return Action.ALLOW_CLOSE if direct else Action.CLOSE


def outcome_of(sending: Sending, event: JobDone) -> dict[str, object]:
    """What came of it, for the record (R40)."""
    last = event.outcomes[-1]
    replies = [one.reply.data.hex().upper() for one in event.outcomes if one.reply]
    return {
        "action": sending.action.value,
        "frames": sending.frames(),
        "replies": replies,
        "fault": last.fault.value if last.fault else "",
        "reasons": [reason for one in event.outcomes for reason in one.reasons],
        "error": last.error,
        "waited_ms": round(event.waited_s * 1000),
        "round_trip_ms": round(last.round_trip_s * 1000),
    }
