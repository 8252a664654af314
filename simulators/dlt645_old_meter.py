"""A DL/T 645-1997 meter: what it answers to the frames it hears.

    01H  read: single items, blocks and sets of blocks; 81H, A1H with more to follow, or C1H
    02H  the next part of a long answer, which the meter counts for itself
    03H  the last frame again
    08H  broadcast time: obeyed once a day and within five minutes, in silence

Energies, demands of the current month, momentary values, clock and number of a simulated customer.
Addresses may be shortened: high pairs of AA are anybody's.  Writing (04H) is refused for lack of a
password; other broadcasts are heard in silence.

Not supported: last months, events, load profiles; these identifiers are "no such data".
"""

import re

from protocols.dlt645 import BROADCAST, BROADCAST_TIME, Frame, encode_frame, find_frame
from protocols.dlt645_1997 import FOLLOW_UP, READ, READ_AGAIN, WRITE
from protocols.dlt645_1997_items import SEPARATOR, blocks, find
from protocols.dlt645_items import Item
from simulators.household import Household, in_steps
from simulators.load import TARIFFS
from simulators.meter import RIGHT, Meter, MeterClock, Settings

DONE, MORE, REFUSED = 0x80, 0xA0, 0xC0
"""Added to the function in a reply."""
NO_SUCH_DATA, NOT_AUTHORISED = 0x02, 0x04
STANDARD = Settings(1200, "E")
"""How meters of 1997 are delivered."""


class OldDLT645Meter(Meter):
    """One meter.  ``address`` has twelve digits."""

    def __init__(
        self,
        address: str,
        household: Household,
        *,
        settings: Settings = STANDARD,
        delay_s: float = 0.1,
        data_bytes_max: int = 200,
        keeps_wildcards: bool = False,
        clock: MeterClock = RIGHT,
    ) -> None:
        """``data_bytes_max``: how much of an answer it puts into one frame, identifier included;
        ``keeps_wildcards``: it answers with the address it was asked by.
        """
        super().__init__(address, settings, find_frame, delay_s, clock)
        self._household = household
        self._part_bytes = data_bytes_max - 2
        self._keeps_wildcards = keeps_wildcards
        self._rest = b""
        """What is still to be told of the last read."""
        self._last: tuple[int, bytes] | None = None
        """Control bits and data of the last reply."""

    def reply(self, request: Frame, now: float) -> bytes | None:
        """Its answer to a frame; None if the frame is no request to this meter."""
        if (request.address, request.control) == (BROADCAST, BROADCAST_TIME):
            self.take_time(request.data, self._household.local(now))
        if request.control & DONE or not self._meant(request.address):
            return None
        function, data = request.control, request.data
        if function == READ:
            self._rest, self._last = self._read(data, now) or b"", None
        if function in (READ, FOLLOW_UP) and self._rest:
            part, self._rest = self._rest[: self._part_bytes], self._rest[self._part_bytes :]
            self._last = (MORE if self._rest else DONE), data + part
        elif function != READ_AGAIN:
            reason = NOT_AUTHORISED if function == WRITE else NO_SUCH_DATA
            self._last = REFUSED, bytes([reason])
        status, said = self._last or (REFUSED, bytes([NO_SUCH_DATA]))
        address = request.address if self._keeps_wildcards else self.address
        return encode_frame(Frame(address, function | status, said), 4)

    def _meant(self, address: str) -> bool:
        fixed = re.sub("^(AA)+", "", address)
        return self.address.endswith(fixed)

    def _read(self, data: bytes, now: float) -> bytes | None:
        di = data[::-1].hex().upper()
        of_set = blocks(di)
        if of_set:
            found = [self._item(block, now) for block in of_set]
            return b"".join(part + bytes([SEPARATOR]) for part in found if part)
        item = find(di)
        return self._item(item, now) if item else None

    def _item(self, item: Item, now: float) -> bytes | None:
        """The bytes of an item or a block; None if the meter has none of it."""
        if item.over is None:
            value = self._value(item, now)
            return None if value is None else item.encode([value])
        groups = range(item.over.first, item.over.first + item.over.groups(TARIFFS))
        members = [find(f"{item.di[:3]}{group:X}") for group in groups]
        values = [self._value(member, now) if member else None for member in members]
        return None if set(values) == {None} else item.encode(values)

    def _value(self, item: Item, now: float) -> int | str | None:
        local = self._household.local(now)
        told: dict[str, int | str] = {
            "C010": f"{local:%Y-%m-%d} w{local.isoweekday() % 7}",
            "C011": f"{local:%H:%M:%S}",
            "C020": 0,
            "C032": self.address,
            "C313": TARIFFS,
        }
        if item.di in told:
            return told[item.di]
        amount = self._household.value(item.point, now) if item.point else None
        if amount is None or item.point is None:
            return None
        field = item.fields[0]
        shown = in_steps(item.point, amount, field.unit, field.decimals)
        return shown if field.signed else abs(shown)
