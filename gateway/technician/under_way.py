"""The cuts by order that are under way, as the technician and a customer on the phone are told."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.north.contract_switching import RelayTrip, ShedLoad
from gateway.north.parts import command_of
from gateway.store.switching import SwitchingReader
from gateway.technician.outlook import Window
from gateway.technician.relay import moment


@dataclass(frozen=True, slots=True)
class Ordered:
    """One of them."""

    said: str
    turn: float | None
    """Unix time before which a trip is not sent (R24); None: it has none yet, or was sent."""


def ordered_cuts(window: Window, account: str = "") -> Iterator[Ordered]:
    """Trips and load sheddings under way; with ``account``, those that name it."""
    for one in SwitchingReader(window.file).orders():
        order: Any = command_of().model_validate_json(one.command, strict=True).command
        progress: Any = one.progress
        turn = progress.get("turn")
        match order:
            case RelayTrip() if account in ("", order.account):
                stands = "waits for an approval by another key"
                if turn is not None:
                    stands = f"its turn is {moment(turn, window.zone)}"
                elif "sent" in progress:
                    stands = f"sent {moment(progress['sent'], window.zone)}"
                said = f"trip of meter {order.meter} by order {one.id}: {stands} ({order.reason})"
                yield Ordered(said, turn)
            case ShedLoad() if account in ("", *(row.account for row in order.rows)):
                shed = ", ".join(progress.get("shed", ())) or "nobody yet"
                said = f"load shedding {one.id} until {order.until}: {shed} ({order.reason})"
                yield Ordered(said, None)
