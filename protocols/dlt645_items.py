"""Data identifiers (数据标识) of DL/T 645-2007: what an identifier holds, in patterns.

``find("02010100")`` gives the item: its fields, its size, the block that reads it together with its
neighbours, and the name of the point.  protocols/dlt645_patterns.py says where the patterns stand.

Load-profile records (06xxxxxx) and "all that is switched on" freeze blocks (05xxFFxx) depend on the
meter's mode words: given as hex here, taken apart in dlt645_load_curve.py and dlt645_freeze.py.

Not supported: security data (07xxxxxx), given as hex.  Vendors' identifiers only where public
sources agree.

Source: DL/T 645-2007 annex A and the extensions filed with State Grid and Southern Grid.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
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


class Catalogue:
    """Items by identifier, found by patterns whose parts are all ``digits`` characters long."""

    def __init__(self, patterns: Iterable[Pattern], axes: Mapping[str, Axis], digits: int) -> None:
        self._axes, self._digits = axes, digits
        self._patterns: dict[str, list[tuple[tuple[str, ...], Pattern]]] = {}
        for pattern in patterns:
            shape = self._parts(pattern.di)
            self._patterns.setdefault(shape[0], []).append((shape, pattern))

    def find(self, di: str) -> Item | None:
        """What the identifier ``di``, in upper case and of the right length, holds."""
        parts = self._parts(di)
        for shape, pattern in self._patterns.get(parts[0], ()):
            numbers = self._match(shape, parts)
            if numbers is not None:
                return self._item(pattern, di, numbers)
        return None

    def _parts(self, text: str) -> tuple[str, ...]:
        return tuple(text[at : at + self._digits] for at in range(0, len(text), self._digits))

    def _match(self, shape: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, int] | None:
        """The numbers that an identifier has on the pattern's axes, or None if it does not fit."""
        numbers = {}
        for wanted, found in zip(shape, parts, strict=True):
            if wanted == found:
                continue
            axis = self._axes.get(wanted)
            if axis is None or not axis.first <= int(found, 16) <= axis.last:
                return None
            numbers[wanted] = int(found, 16)
        return numbers

    def _item(self, pattern: Pattern, di: str, numbers: dict[str, int]) -> Item:
        axes, every = self._axes, "F" * self._digits
        words = [axes[name].word(number) for name, number in numbers.items()]
        block, index = None, pattern.index
        if pattern.block:
            block_parts = self._parts(pattern.block)
            parts = zip(block_parts, self._parts(di), strict=True)
            block = "".join(found if part in axes else part for part, found in parts)
            for part, own in zip(block_parts, self._parts(pattern.di), strict=True):
                if part == every and own in axes:
                    index = (numbers[own] - axes[own].first) * len(pattern.fields)
        return Item(
            di=di,
            name=", ".join([pattern.name, *filter(None, words)]),
            fields=pattern.fields,
            over=axes[pattern.over] if pattern.over else None,
            block=block,
            index=index,
            point=self._point(pattern, numbers),
        )

    def _point(self, pattern: Pattern, numbers: dict[str, int]) -> str | None:
        """The canonical name: an axis that it does not mention must stand at its first number."""
        suffixes = {}
        for name, number in numbers.items():
            axis = self._axes[name]
            if f"{{{name}}}" not in pattern.point and number != axis.first:
                return None
            total = number == 0 and axis.first == 0
            suffixes[name] = "" if total else axis.suffix.format(n=number)
        return pattern.point.format(**suffixes) or None


_CATALOGUE = Catalogue((*QUANTITIES, *PARAMETERS, *EVENTS), AXES, 2)


@lru_cache(maxsize=4096)
def find(di: str) -> Item | None:
    """What the identifier ``di`` (eight hex digits, DI3 first) holds; None if nobody told us."""
    di = di.upper()
    return _CATALOGUE.find(di) if re.fullmatch("[0-9A-F]{8}", di) else None
