"""Faults of a line that hit just the frames that switch."""

from gateway.acquisition.acts import Transmit
from protocols.dlt645 import find_frame
from protocols.dlt645_refusals import RELAY
from tests.switch_world import SwitchWorld


def lose_the_first_command(world: SwitchWorld) -> list[bytes]:
    """The first control frame from now on never arrives; it is put into the list."""
    [wire] = world.wires.values()
    transmit, lost = wire._transmit, list[bytes]()

    def lossy(act: Transmit) -> None:
        frame, _ = find_frame(act.data)
        if frame and frame.control == RELAY and not lost:
            lost.append(act.data)
        else:
            transmit(act)

    wire._transmit = lossy  # type: ignore[method-assign]
    return lost
