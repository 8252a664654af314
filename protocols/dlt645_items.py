"""Data identifiers (数据标识) of DL/T 645-2007: what an identifier holds, in patterns.

``find("02010100")`` gives the item: its fields, its size, the block that reads it together with its
neighbours, and the name of the point.  protocols/dlt645_patterns.py says where the patterns stand.

Not supported: the inside of load-profile records (06xxxxxx) and of "all that is switched on" freeze
blocks (05xxFFxx), which depend on the meter's mode words; security data (07xxxxxx).  They are found
and given as hex.  Vendors' identifiers only where public sources agree.

Source: DL/T 645-2007 annex A and the extensions filed with State Grid and Southern Grid.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from protocols.base import Quality, RequestError, Value
from protocols.dlt645_events import EVENTS
from protocols.dlt645_fields import Field
from protocols.dlt645_parameters import PARAMETERS
from protocols.dlt645_patterns import AXES, Axis, Pattern
from protocols.dlt645_quantities import QUANTITIES

_FILLERS = (0xAA, 0xDD)
"""Some makers end a block with one of these."""


@dataclass(frozen=True, slots=True)
class Item:
    """What one data identifier holds: a group of fields, once or repeated along an axis."""

    di: str
    name: str
    fields: tuple[Field, ...]
    """One group: a register alone, or a demand and when it was."""
    over: Axis | None = None
    """What the groups are of: tariffs, phases, settlements.  None: there is one group."""
    block: str | None = None
    """The identifier that reads this item together with its neighbours."""
    index: int | None = None
    """Where this item's first value stands among the values of its block."""
    point: str | None = None
    """Canonical name of the (first) value."""

    @property
    def variable(self) -> bool:
        """The number of groups is the meter's: its total and its k tariffs, its harmonics."""
        return self.over is not None and not self.over.fixed

    @property
    def signed(self) -> bool:
        """Whether the (first) value can be negative."""
        return self.fields[0].signed

    def size(self, tariffs: int = 4) -> int | None:
        """Bytes behind the identifier for a meter of ``tariffs`` tariffs; None: not foreseeable."""
        group = sum(field.size for field in self.fields)
        if not group:
            return None
        return group * (self.over.groups(tariffs) if self.over else 1)

    def label(self, number: int) -> str:
        """What the value at ``number`` is: ``tariff 1``, ``phase A``, the field's own name."""
        group, place = divmod(number, len(self.fields))
        words = [self.over.word(self.over.first + group)] if self.over else []
        if len(self.fields) > 1 or not words:
            words.append(self.fields[place].name)
        return " ".join(words)

    def decode(self, data: bytes) -> tuple[Value, ...]:
        """The values in ``data`` (behind the identifier), one per field, group by group.

        A block shorter than the standard's gives the groups that are there.  No data at all is
        how meters say "nothing recorded": one group of absent values.  Any other wrong length
        makes the values invalid; nothing raises.
        """
        size = sum(field.size for field in self.fields)
        if not size:
            return tuple(field.decode(data) for field in self.fields)
        if len(data) % size == 1 % size and len(data) > size and data[-1] in _FILLERS:
            data = data[:-1]
        groups, rest = divmod(len(data), size)
        most = self.over.most if self.over else 1
        if rest or not 0 < groups <= most:
            quality = Quality.INVALID if data else Quality.ABSENT
            return tuple(Value(None, f.decimals, f.unit, quality) for f in self.fields)
        values = []
        at = 0
        for field in self.fields * groups:
            values.append(field.decode(data[at : at + field.size]))
            at += field.size
        return tuple(values)

    def encode(self, values: Sequence[int | str | None]) -> bytes:
        """The bytes behind the identifier, as a meter sends them; None is "absent" (FF).

        Raises RequestError if the number of values is no number of groups, or if a field's format
        cannot say its value.
        """
        groups, rest = divmod(len(values), len(self.fields))
        most = self.over.most if self.over else 1
        if rest or not 0 < groups <= most:
            raise RequestError(
                f"{self.di} ({self.name}) takes 1 to {most} group(s)"
                f" of {len(self.fields)} value(s), not {len(values)} value(s)"
            )
        pairs = zip(self.fields * groups, values, strict=True)
        return b"".join(field.encode(value) for field, value in pairs)


@lru_cache(maxsize=4096)
def find(di: str) -> Item | None:
    """What the identifier ``di`` (eight hex digits, DI3 first) holds; None if nobody told us."""
    di = di.upper()
    if not re.fullmatch("[0-9A-F]{8}", di):
        return None
    pairs = _pairs(di)
    for shape, pattern in _PATTERNS.get(pairs[0], ()):
        numbers = _match(shape, pairs)
        if numbers is not None:
            return _item(pattern, di, numbers)
    return None


def _pairs(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + 2] for at in range(0, len(text), 2))


def _by_first_pair(patterns: Iterable[Pattern]) -> dict[str, list[tuple[tuple[str, ...], Pattern]]]:
    found: dict[str, list[tuple[tuple[str, ...], Pattern]]] = {}
    for pattern in patterns:
        shape = _pairs(pattern.di)
        found.setdefault(shape[0], []).append((shape, pattern))
    return found


_PATTERNS = _by_first_pair((*QUANTITIES, *PARAMETERS, *EVENTS))


def _match(shape: tuple[str, ...], pairs: tuple[str, ...]) -> dict[str, int] | None:
    """The numbers that an identifier has on the pattern's axes, or None if it does not fit."""
    numbers = {}
    for wanted, found in zip(shape, pairs, strict=True):
        if wanted == found:
            continue
        axis = AXES.get(wanted)
        if axis is None or not axis.first <= int(found, 16) <= axis.last:
            return None
        numbers[wanted] = int(found, 16)
    return numbers


def _item(pattern: Pattern, di: str, numbers: dict[str, int]) -> Item:
    words = [AXES[name].word(number) for name, number in numbers.items()]
    block, index = None, pattern.index
    if pattern.block:
        parts = zip(_pairs(pattern.block), _pairs(di), strict=True)
        block = "".join(found if part in AXES else part for part, found in parts)
        for part, own in zip(_pairs(pattern.block), _pairs(pattern.di), strict=True):
            if part == "FF" and own in AXES:
                index = (numbers[own] - AXES[own].first) * len(pattern.fields)
    return Item(
        di=di,
        name=", ".join([pattern.name, *filter(None, words)]),
        fields=pattern.fields,
        over=AXES[pattern.over] if pattern.over else None,
        block=block,
        index=index,
        point=_point(pattern, numbers),
    )


def _point(pattern: Pattern, numbers: dict[str, int]) -> str | None:
    """The canonical name: an axis that it does not mention must stand at its first number."""
    suffixes = {}
    for name, number in numbers.items():
        axis = AXES[name]
        if f"{{{name}}}" not in pattern.point and number != axis.first:
            return None
        total = number == 0 and axis.first == 0
        suffixes[name] = "" if total else axis.suffix.format(n=number)
    return pattern.point.format(**suffixes) or None
