"""What a DL/T 645-2007 meter has behind its data identifiers, for a simulated customer.

Energies with settlements, demands, daily freezes, momentary values, prepayment amounts, status
words, clock and identity; and their blocks, put together from the single items.  Formats and blocks
are those of ``protocols.dlt645_items``.

The load curve has the energies alone (class 4), every quarter of an hour for forty days.

Not supported: the other classes of the load curve, events, harmonics, timed, instant and hourly
freezes; these identifiers are "no such data", as on many a cheap meter.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from protocols import dlt645_load_curve
from protocols.dlt645_items import Item, find
from simulators.household import Household, in_steps
from simulators.load import TARIFF_OF_HOUR, TARIFFS, Kind

DAILY_FREEZES = 62
CURVE_STEP_S, CURVE_DAYS = 900, 40
SEPARATOR = b"\xaa"
"""Between the items of a whole freeze record, as the filed extension has it."""


class Absent(StrEnum):
    """What stands in a block for a phase or tariff that a meter does not have."""

    FF = "FF"
    ZERO = "00"
    SHORT = "short"  # nothing: the block ends before it


Entries = Sequence[int | str | None]
"""What the fields of an item hold; None is shown as FF: not there."""


_CLOCK: dict[str, Callable[[datetime], str]] = {
    "04000101": lambda local: f"{local:%Y-%m-%d} w{local.isoweekday() % 7}",
    "04000102": lambda local: f"{local:%H:%M:%S}",
    "0400010C": lambda local: f"{local:%Y-%m-%d} w{local.isoweekday() % 7} {local:%H:%M:%S}",
}
_FACTS: dict[str, int | str | None] = {
    "02800008": 360,  # the clock's battery, 0.01 V
    "02800009": 580,
    "0280000A": 0,
    "04000204": TARIFFS,
    "04000205": 0,  # no holidays, ...
    "04000801": 0x7F,  # ... and no day of the week rests
    "04000802": 1,
    "04000306": 1,
    "04000307": 1,
    **dict.fromkeys(("04000502", "04000504", "04000505", "04000506", "04000507"), 0),
    "04000503": 0,  # the meter puts in what it is and what its relay tells
    "04001001": 20_00,  # alert amounts, fen
    "04001002": 5_00,
    "04001003": 0,
    "0400040B": "SIM",
    "04800001": "taiqu simulator",
    "1D000001": 0,  # never tripped, so there is no time of it
    "1D000101": None,
    "1E000001": 0,
    "1E000101": None,
}
"""What is the same in all meters, and all the time; None is absent."""
_SWITCHES = [
    f"{hour:02}:00 #{TARIFF_OF_HOUR[hour]:02}"
    for hour in range(24)
    if hour == 0 or TARIFF_OF_HOUR[hour] != TARIFF_OF_HOUR[hour - 1]
]
_TABLES: dict[str, Entries] = {
    f"040{of_set}00{number:02X}": [*entries, *entries[-1:] * (14 - len(entries))]
    for of_set in (1, 2)
    for number, entries in ((0, ["01-01 #01"]), (1, _SWITCHES))
}
"""The season table and day table 1 of both sets, by which the customer's tariffs run."""


class Memory:
    """The items of one meter.  ``address`` is its communication address, ``number`` its own."""

    def __init__(
        self, household: Household, address: str, number: str, absent: Absent = Absent.FF
    ) -> None:
        self._household = household
        self._absent = absent
        self.facts: dict[str, int | str | None] = _FACTS | {
            "04000401": address,
            "04000402": number,
            "04000501": 0x0010 if household.kind is Kind.SOLAR else 0,
        }
        """What single items hold that is not the customer's; a meter may change its own."""
        self.tables: dict[str, Entries] = dict(_TABLES)
        """The meter's time tables, by identifier."""

    def read(self, di: str, now: float) -> bytes | None:
        """The bytes behind the identifier at ``now``; None if the meter has no such item."""
        item = find(di)
        if item is None:
            return None
        if di.startswith("0506FF"):
            return self._whole_freeze(int(di[6:], 16), now)
        if di.startswith("0506"):
            entries = self._freeze(item, now)
        elif "FF" in _pairs(di):
            entries = self._block(item, now)
        else:
            entries = self._single(item, now)
        return None if entries is None else item.encode(entries)

    def read_curve(self, di: str, more: bytes, now: float) -> bytes | None:
        """Records of the load curve; ``more`` is what the request holds behind the identifier.

        None if the meter has no such curve, or nobody asks like this.
        """
        which = {"06040000": "oldest", "06040001": "from", "06040002": "newest"}.get(di)
        if which is None or len(more) != (6 if which == "from" else 1):
            return None
        count = int(more[:1].hex())
        newest = now // CURVE_STEP_S * CURVE_STEP_S
        oldest = newest - CURVE_DAYS * 86_400 + CURVE_STEP_S
        first = {"oldest": oldest, "newest": newest}.get(which, oldest)
        if which == "from":
            asked = datetime.strptime(more[:0:-1].hex(), "%y%m%d%H%M").replace(tzinfo=UTC)
            wanted = asked.timestamp() - self._household.utc_offset_s
            first = max(oldest, -(-wanted // CURVE_STEP_S) * CURVE_STEP_S)
        moments = [first + n * CURVE_STEP_S for n in range(count)]
        return b"".join(self._curve_record(at) for at in moments if at <= newest)

    def _curve_record(self, at: float) -> bytes:
        energies = self._household.energies(at)
        names = {field.name for field in dlt645_load_curve.ENERGIES}
        steps = {name: mwh // 10_000 for name, mwh in energies.items() if name in names}
        return dlt645_load_curve.encode(self._household.local(at), steps)

    def _single(self, item: Item, now: float) -> Entries | None:
        group, settlement = item.di[:2], int(item.di[6:], 16)
        if group == "00" and item.di[2:4] != "90":
            at = self._household.settlement(now, settlement) if settlement else now
            return self._energy(item, at)
        if group == "01":
            at = self._household.settlement(now, settlement) if settlement else now
            return self._demand(item.di[2:4], int(item.di[4:6], 16), at)
        if item.di in _CLOCK:
            return [_CLOCK[item.di](self._household.local(now))]
        if item.di in self.tables:
            return self.tables[item.di]
        if item.di in self.facts:
            return [self.facts[item.di]]
        amount = self._household.value(item.point, now) if item.point else None
        return None if amount is None else [_shown(item, item.point or "", amount)]

    def _block(self, item: Item, now: float) -> Entries | None:
        """One after the other what the block is made of; what is not there is absent."""
        if item.over is None:
            return None
        groups = range(item.over.first, item.over.first + item.over.groups(TARIFFS))
        pairs = _pairs(item.di)
        place = pairs.index("FF")
        entries: list[int | str | None] = []
        found = False
        for group in groups:
            member = find("".join([*pairs[:place], f"{group:02X}", *pairs[place + 1 :]]))
            single = self._single(member, now) if member else None
            found = found or single is not None
            if single is None and self._absent is Absent.SHORT:
                break
            empty = 0 if self._absent is Absent.ZERO else None
            entries += single or [empty] * len(item.fields)
        return entries if found else None

    def _energy(self, item: Item, at: float | None) -> Entries | None:
        """An energy register at any time; None for a kind that this meter does not count."""
        present = find(item.di[:6] + "00")
        point = present.point if present else None
        energies = self._household.energies(at or 0)
        if point is None or point not in energies:
            return None
        return [_shown(item, point, energies[point])] if at is not None else [None]

    def _demand(self, kind: str, tariff: int, at: float | None) -> Entries | None:
        """A month's highest demand until ``at``, and when it was."""
        if kind not in ("01", "02") or tariff > TARIFFS:
            return None
        if at is None:
            return [None, None]
        runs = (kind == "02") == (self._household.kind is Kind.SOLAR)
        # A settlement closes its month: just before it, the new month has not begun.
        demand = self._household.demands(at - 0.001)[tariff]
        if not runs or not demand.at:
            return [0, None]
        return [demand.power_mw // 100, self._stamp(demand.at)]

    def _freeze(self, item: Item, now: float) -> Entries | None:
        """One item of a daily freeze."""
        content, back = item.di[4:6], int(item.di[6:], 16)
        at = self._household.midnight(now, back) if back <= DAILY_FREEZES else None
        if content == "00":
            return [None if at is None else self._stamp(at)]
        if content == "10":
            return self._frozen_powers(item, at)
        tariffs = range(TARIFFS + 1)
        if content in ("09", "0A"):
            kind = "01" if content == "09" else "02"
            rows = [self._demand(kind, tariff, at) for tariff in tariffs]
        else:
            members = [find(f"00{content}{tariff:02X}00") for tariff in tariffs]
            rows = [self._energy(member, at) if member else None for member in members]
        if rows[0] is None:
            return None
        return [entry for row in rows for entry in row or [None] * len(item.fields)]

    def _frozen_powers(self, item: Item, at: float | None) -> Entries:
        moment = self._household.moment(at) if at is not None else {}
        phases = ("", "_l1", "_l2", "_l3")
        points = [f"power_{kind}{phase}" for kind in ("active", "reactive") for phase in phases]
        pairs = zip(points, item.fields, strict=True)
        return [
            in_steps(point, moment[point], field.unit, field.decimals) if point in moment else None
            for point, field in pairs
        ]

    def _whole_freeze(self, back: int, now: float) -> bytes:
        """Everything a daily freeze holds, in ascending order."""
        items = (self.read(f"0506{content:02X}{back:02X}", now) for content in range(0x11))
        return b"".join(data + SEPARATOR for data in items if data)

    def _stamp(self, at: float) -> str:
        return f"{self._household.local(at):%Y-%m-%d %H:%M}"


def _pairs(di: str) -> list[str]:
    return [di[at : at + 2] for at in range(0, 8, 2)]


def _shown(item: Item, point: str, amount: int) -> int:
    field = item.fields[0]
    return in_steps(point, amount, field.unit, field.decimals)
