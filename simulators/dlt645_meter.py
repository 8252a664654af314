"""A DL/T 645-2007 meter: what it answers to the frames it hears.

    11H  read: single items and blocks; 91H, or B1H with more to follow, or D1H "no such data"
    12H  the rest of a long answer, frame by frame
    13H  what is your address, asked of AAAAAAAAAAAA
    08H  broadcast time: obeyed once a day and within five minutes, in silence

    1CH  the relay (simulators/dlt645_switch.py); 9CH, or DCH with the reason

Addresses may be shortened: high pairs of AA are anybody's.  Everything else that would change the
meter (14H to 1BH) is refused for lack of a password, other functions for "other"; other
broadcasts are heard in silence.

Not supported: DL/T 645-1997, security (03H).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from protocols.dlt645 import BROADCAST, BROADCAST_TIME, Frame, encode_frame, find_frame
from protocols.relay import ControlRelay
from simulators.dlt645_memory import Absent, Memory
from simulators.dlt645_switch import STANDARD_RELAY, STATUS, Switch
from simulators.household import Household
from simulators.meter import RIGHT, Meter, MeterClock, Settings
from simulators.relay import SimRelay

READ, READ_ON, READ_ADDRESS, RELAY = 0x11, 0x12, 0x13, 0x1C
DONE, MORE, REFUSED = 0x80, 0xA0, 0xC0
"""Added to the function in a reply."""
OTHER, NO_SUCH_DATA, NOT_AUTHORISED = 0x01, 0x02, 0x04
"""Reasons for a refusal: bits of the standard's error word."""
ANYBODY = "AA" * 6
KINDS = ("none", "energy", "money")
"""Bits 8 and 9 of status word 3."""
STANDARD = Settings(2400, "E")
"""What DL/T 645-2007 prescribes for RS-485."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What one maker's meters do differently from another's."""

    preamble: int = 4
    """How many FE it sends first."""
    data_bytes_max: int = 200
    """How much of an answer it puts into one frame, identifier included."""
    blocks: bool = True
    """Whether it knows block identifiers."""
    load_curve: bool = True
    """Whether it keeps a load curve."""
    wildcard_header: bool = False
    """To a request with AA in its address it answers with the same AA."""
    absent: Absent = Absent.FF
    """What stands in a block for a phase or tariff that is not there."""
    filler: bytes = b""
    """What it adds to the end of a block: AA or DD."""
    refuses: Collection[str] = ()
    """Identifiers that it calls "no such data", though the standard has them."""
    switched_by: ControlRelay = STANDARD_RELAY
    """What its model's file says of the relay: password and codes."""
    prepays: str = "none"
    """What it says that it counts down by itself: one of ``KINDS``."""


ORDINARY = Quirks()


class DLT645Meter(Meter):
    """One meter.  ``address`` has twelve digits; ``number`` is its own where that differs."""

    def __init__(
        self,
        address: str,
        household: Household,
        *,
        settings: Settings = STANDARD,
        delay_s: float = 0.04,
        clock: MeterClock = RIGHT,
        number: str | None = None,
        quirks: Quirks = ORDINARY,
        relay: SimRelay | None = None,
    ) -> None:
        super().__init__(address, settings, find_frame, delay_s, clock)
        self._household = household
        self._memory = Memory(household, address, number or address, quirks.absent)
        self.relay = relay or SimRelay()
        self._memory.facts[STATUS] = KINDS.index(quirks.prepays) << 8
        self._switch = Switch(self.relay, quirks.switched_by, household, self._memory.facts)
        self.relay.feeds(lambda at, on: self._switch.moved(self.clock.shows(at), on=on))
        self._quirks = quirks
        self._reading = b""
        """The identifier, as on the wire, of the answer that is being read on."""
        self._rest: list[bytes] = []
        """Its frames, from the one with sequence number 1 on."""
        self._called = address
        """Whom the request was for, wildcards and all."""

    def reply(self, request: Frame, now: float) -> bytes | None:
        """Its answer to a frame; None if the frame is no request to this meter."""
        if (request.address, request.control) == (BROADCAST, BROADCAST_TIME):
            self.take_time(request.data, self._household.local(now))
        if request.control & DONE or not self._meant(request.address):
            return None
        self._called = request.address
        function, data = request.control, request.data
        if function == READ:
            return self._read(data, now)
        if function == READ_ON:
            return self._read_on(data)
        if function == READ_ADDRESS:
            asked = request.address == ANYBODY and not data
            return self._frame(function | DONE, self._wire_address()) if asked else None
        if function == RELAY:
            return self._relay_reply(data, now)
        return self._refuse(function, NOT_AUTHORISED if 0x14 <= function <= 0x1C else OTHER)

    def _relay_reply(self, data: bytes, now: float) -> bytes | None:
        """What it says to a relay command, as far as its relay lets it speak."""
        reason = self._switch.obey(data, now)
        reply = self._frame(RELAY | DONE, b"")
        if reason is not None:
            reply = self._frame(RELAY | REFUSED, reason)
        return self._switch.disguised(reply, self._quirks.preamble)

    def _meant(self, address: str) -> bool:
        if address == self.address:
            return True
        shortened = address.startswith("AA")
        return shortened and self.address.endswith(re.sub("^(AA)+", "", address))

    def _read(self, data: bytes, now: float) -> bytes:
        self._reading, self._rest = b"", []
        di = data[3::-1].hex().upper()
        if len(data) != 4 and not di.startswith("06"):
            return self._refuse(READ, OTHER)
        self._switch.tell()
        found = None
        if not self._refuses(di):
            of_curve = di.startswith("06") and len(data) > 4
            read_curve, read = self._memory.read_curve, self._memory.read
            found = read_curve(di, data[4:], now) if of_curve else read(di, now)
        if found is None:
            return self._refuse(READ, NO_SUCH_DATA)
        if "FF" in di:
            found += self._quirks.filler
        data = data[:4]
        size = self._quirks.data_bytes_max - len(data)
        first, rest = found[:size], found[size:]
        if not rest:
            return self._frame(READ | DONE, data + first)
        # Frames that read on also hold their sequence number.
        self._reading = data
        self._rest = [rest[at : at + size - 1] for at in range(0, len(rest), size - 1)]
        return self._frame(READ | MORE, data + first)

    def _refuses(self, di: str) -> bool:
        if di.startswith("06") and not self._quirks.load_curve:
            return True
        return di in self._quirks.refuses or ("FF" in di and not self._quirks.blocks)

    def _read_on(self, data: bytes) -> bytes:
        number = data[-1] if len(data) == 5 else 0
        if data[:4] != self._reading or not 1 <= number <= len(self._rest):
            return self._refuse(READ_ON, NO_SUCH_DATA)
        control = READ_ON | (DONE if number == len(self._rest) else MORE)
        return self._frame(control, data[:4] + self._rest[number - 1] + data[4:])

    def _refuse(self, function: int, reason: int) -> bytes:
        return self._frame(function | REFUSED, bytes([reason]))

    def _wire_address(self) -> bytes:
        return bytes.fromhex(self.address)[::-1]

    def _frame(self, control: int, data: bytes) -> bytes:
        called = self._called if self._quirks.wildcard_header else self.address
        return encode_frame(Frame(called, control, data), self._quirks.preamble)
