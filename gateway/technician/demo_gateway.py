"""The demo's gateway: the real daemon, which takes this machine's clock for right.

    python -m gateway.technician.demo_gateway --config FILE

A gateway cuts nobody while its clock follows no time source (R15).  In the demo meters, gateway and
head-end have one clock between them, so there is no other time it could be wrong by; many a laptop
and every container would never show a cut otherwise.
"""

import sys

from gateway.clock import SystemClock
from gateway.daemon import main


class DemoClock(SystemClock):
    """The machine's."""

    def synchronised(self) -> bool:
        """Every part of the demo goes by it."""
        return True


if __name__ == "__main__":
    sys.exit(main(clock=DemoClock()))
