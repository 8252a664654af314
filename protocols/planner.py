"""Which exchanges read some points at the least line time.  Pure, and the same for ever.

DL/T 645: items of one block are read by the block where that is faster than one by one.  Modbus:
registers side by side, or with a gap between them that the profile says is readable, are read
together while that is faster than another exchange; no value is ever split.

What a meter refused is given as keys (see protocols/exchanges.py); with ``AGREED`` in front, what
it was found to read rightly over registers that the profile does not know.  A refused block is read
item by item; a refused range of registers is cut, at the gap nearest its middle or in its middle,
until only what is really refused is left out; ranges that hold none of it grow together again.

Source: the frame lengths of DL/T 645-2007 §5.2 and MODBUS over Serial Line 1.02 §2.5.1.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from protocols import dlt645, dlt645_1997, dlt645_1997_items, modbus
from protocols.dlt645_items import Item, find
from protocols.exchanges import (
    ItemExchange,
    ItemSource,
    RegisterExchange,
    RegisterSource,
    register_spans,
)

AGREED = "agreed "
"""In front of a key: this read over unknown registers gave the same as single reads."""

_READ_645_BYTES = 2 * (4 + 12)
"""Request and reply of an item without identifier and value: wake-up bytes, frame."""
_READ_MODBUS_BYTES = 8 + 5
"""Request and reply of an RTU read without the registers."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What an exchange costs on a line."""

    character_s: float
    turnaround_s: float
    """The meter's delay and the guard time, together."""

    def exchange_s(self, size_bytes: int) -> float:
        """How long request and reply of ``size_bytes`` together occupy the line."""
        return self.turnaround_s + size_bytes * self.character_s


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of the two DL/T 645: how an item is found by its identifier, and how it is asked for."""

    year: int
    di_bytes: int
    find: Callable[[str], Item | None]
    read: Callable[[str, str], dlt645.Request | dlt645_1997.Request]

    def read_bytes(self, item: Item, tariffs: int) -> int:
        """Request and reply of a read of ``item``, together."""
        return _READ_645_BYTES + 2 * self.di_bytes + (item.size(tariffs) or 0)


DIALECT_2007 = Dialect(2007, 4, find, dlt645.read)
DIALECT_1997 = Dialect(1997, 2, dlt645_1997_items.find, dlt645_1997.read)


def plan_items(
    dialect: Dialect,
    address: str,
    wanted: Sequence[ItemSource],
    refused: AbstractSet[str],
    timing: Timing,
    *,
    tariffs: int,
    blocks: bool,
) -> tuple[ItemExchange, ...]:
    """The exchanges with a DL/T 645 meter, in the order of ``wanted``.

    ``tariffs`` is how many the meter has; without ``blocks`` every item is read by itself.
    """
    groups: dict[str, list[ItemSource]] = {}
    for source in wanted:
        block = _block(dialect, source.item, tariffs) if blocks else None
        usable = block is not None and block.di not in refused
        groups.setdefault(block.di if block and usable else source.item.di, []).append(source)
    exchanges = []
    for key, group in groups.items():
        singles = list({source.item.di: source.item for source in group}.values())
        block = dialect.find(key)
        if block and block not in singles:
            block_s = timing.exchange_s(dialect.read_bytes(block, tariffs))
            singles_s = (timing.exchange_s(dialect.read_bytes(i, tariffs)) for i in singles)
            if block_s < sum(singles_s):
                exchanges.append(_item_exchange(dialect, address, block, group))
                continue
        exchanges += [
            _item_exchange(dialect, address, item, [s for s in group if s.item.di == item.di])
            for item in singles
            if item.di not in refused
        ]
    return tuple(exchanges)


def _block(dialect: Dialect, item: Item, tariffs: int) -> Item | None:
    """The block that ``item`` can be read by, if the place of its value there is known."""
    if item.block is None or item.index is None:
        return None
    block = dialect.find(item.block)
    if block is None or block.over is None or block.size(tariffs) is None:
        return None
    values = block.over.groups(tariffs) * len(block.fields)
    return block if item.index + len(item.fields) <= values else None


def _item_exchange(
    dialect: Dialect, address: str, read: Item, group: Sequence[ItemSource]
) -> ItemExchange:
    def number(source: ItemSource) -> int:
        return source.number + (0 if source.item.di == read.di else source.item.index or 0)

    parts = tuple((number(source), source.meaning) for source in group)
    return ItemExchange(dialect.read(address, read.di), read, parts)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a Modbus meter lets us read at once."""

    max_registers: int
    readable: tuple[range, ...] = ()
    """Registers that may all be read, also those that hold no point."""

    def joins(self, left: range, right: range, refused: Sequence[range]) -> bool:
        """Whether one read may reach from ``left`` over the gap to ``right``."""
        gap = range(left.stop, right.start)
        if not gap:
            return True
        readable = any(_inside(gap, span) for span in self.readable)
        return readable and not any(_inside(span, gap) for span in refused)


def plan_registers(
    unit: int,
    wanted: Sequence[RegisterSource],
    refused: AbstractSet[str],
    timing: Timing,
    layout: Layout,
) -> tuple[RegisterExchange, ...]:
    """The exchanges with a Modbus meter, by function and register."""
    exchanges = []
    for function in sorted({source.function for source in wanted}):
        spans = register_spans(refused, function)
        agreed = (key.removeprefix(AGREED) for key in refused if key.startswith(AGREED))
        near = replace(layout, readable=(*layout.readable, *register_spans(agreed, function)))
        sources = sorted(
            (source for source in wanted if source.function == function),
            key=lambda source: source.register,
        )
        # A refusal of what lies within a value is a refusal of the value.
        sources = [s for s in sources if not any(_inside(span, s.span) for span in spans)]
        for segment in _segments(sources, spans, timing, near):
            for part in _without_refused(segment, spans):
                reach = _reach(part)
                request = modbus.Request(unit, function, reach.start, len(reach))
                exchanges.append(RegisterExchange(request, tuple(part)))
    return tuple(exchanges)


def plan_trial(
    unit: int,
    wanted: Sequence[RegisterSource],
    refused: AbstractSet[str],
    timing: Timing,
    layout: Layout,
) -> tuple[RegisterExchange, tuple[RegisterExchange, ...]] | None:
    """A read over gaps of which nothing is known that would save time, and those it would replace.

    None if there is none.
    """
    plan = plan_registers(unit, wanted, refused, timing, layout)
    anywhere = replace(layout, readable=(range(0x10000),))
    for merged in plan_registers(unit, wanted, refused, timing, anywhere):
        function, reach = merged.request.function, _reach(merged.sources)
        parts = tuple(
            each
            for each in plan
            if each.request.function == function and _inside(_reach(each.sources), reach)
        )
        if len(parts) > 1:
            return merged, parts
    return None


def _segments(
    sources: Sequence[RegisterSource], refused: Sequence[range], timing: Timing, layout: Layout
) -> list[Sequence[RegisterSource]]:
    """Cut ``sources`` where reading them costs least, among all possible cuts."""
    cost_s, cuts = [0.0], [0]
    for end in range(1, len(sources) + 1):
        options = []
        for start in reversed(range(end)):
            reach = _reach(sources[start:end])
            near = end - start > 1
            if near and (
                len(reach) > layout.max_registers
                or not layout.joins(sources[start].span, sources[start + 1].span, refused)
            ):
                break
            size_bytes = _READ_MODBUS_BYTES + 2 * len(reach)
            options.append((cost_s[start] + timing.exchange_s(size_bytes), start))
        cheapest_s, cut = min(options)
        cost_s.append(cheapest_s)
        cuts.append(cut)
    segments: list[Sequence[RegisterSource]] = []
    end = len(sources)
    while end:
        segments.insert(0, sources[cuts[end] : end])
        end = cuts[end]
    return segments


def _without_refused(
    segment: Sequence[RegisterSource], refused: Sequence[range]
) -> list[Sequence[RegisterSource]]:
    """Cut ``segment`` until no part contains a range that was refused as a whole."""
    reach = _reach(segment)
    if not any(_inside(span, reach) for span in refused):
        return [segment]

    def quality(cut: int) -> tuple[bool, int]:
        gap = segment[cut - 1].span.stop < segment[cut].span.start
        return gap, -abs(2 * cut - len(segment))

    # Points that are bits of one register stay together.
    cuts = [n for n in range(1, len(segment)) if segment[n - 1].span != segment[n].span]
    cut = max(cuts, key=quality)
    return [
        *_without_refused(segment[:cut], refused),
        *_without_refused(segment[cut:], refused),
    ]


def _reach(sources: Sequence[RegisterSource]) -> range:
    return range(sources[0].span.start, sources[-1].span.stop)


def _inside(inner: range, outer: range) -> bool:
    return outer.start <= inner.start and inner.stop <= outer.stop
