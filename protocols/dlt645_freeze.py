"""A whole freeze record (冻结数据块, 05xxFFnn) of a DL/T 645-2007 meter, taken apart.

What it holds is set in the meter by a mode word, one for each kind of freeze (04000902 to 906):
first the time, then, in ascending order of identifiers, every item that is switched on.  The base
standard puts them side by side; filed meters put AA behind each.  AA is no BCD digit, so it cannot
stand within a good item.

Not supported: the prepayment items that filings add to daily freezes (050802nn).

Source: DL/T 645-2007 table A.6 and 04000902; extensions filed by State Grid.
"""

import re
from collections.abc import Iterable

from protocols.base import Quality, Value
from protocols.dlt645_items import Item, find

MODE_WORDS = {
    "00": "04000902", "01": "04000903", "02": "04000904", "03": "04000904", "04": "04000905",
    "05": "04000904", "06": "04000906", "07": "04000904",
}  # fmt: skip
"""Where a meter keeps the mode word, by the kind of freeze (DI2): the switches of tables and prices
share the word of agreed freezes (约定冻结)."""

_TIME = "00"
_CONTENTS = (
    ("01",), ("02",), ("03",), ("04",), ("05", "06", "07", "08"), ("09",), ("0A",), ("10",),
)  # fmt: skip
"""DI1 of the items that each bit of the mode word switches on, from bit 0."""
_SEPARATOR = b"\xaa"
_NOTHING_MORE = (b"", _SEPARATOR, b"\xdd")
"""Some makers end a block with one of these."""


def items(di: str, mode_word: int) -> tuple[Item, ...]:
    """The items that the freeze block ``di`` (``0506FF01``) holds at this mode word, in order.

    None of them if ``di`` is no freeze block.
    """
    match = re.fullmatch("05(0[0-7])FF([0-9A-F]{2})", di.upper())
    if match is None:
        return ()
    contents = [_TIME]
    for bit, switched in enumerate(_CONTENTS):
        contents += switched if mode_word >> bit & 1 else ()
    found = (find(f"05{match[1]}{content}{match[2]}") for content in contents)
    return tuple(item for item in found if item)


def decode(di: str, mode_word: int, data: bytes, tariffs: int = 4) -> dict[str, tuple[Value, ...]]:
    """The values of each item in ``data``, the reply to a read of ``di``, by identifier.

    ``tariffs``, how many the meter has, is needed only where there is no AA between items.  No data
    is how meters say "nothing recorded": no values.  Data that does not fit the mode word makes all
    values invalid; nothing raises.
    """
    wanted = items(di, mode_word)
    if not data:
        return {}
    parts = data.removesuffix(_SEPARATOR).split(_SEPARATOR)
    if len(parts) == 1 and len(wanted) > 1:
        parts = _cut(data, [item.size(tariffs) or 0 for item in wanted])
    if len(parts) != len(wanted):
        return {item.di: _invalid(item) for item in wanted}
    return {item.di: item.decode(part) for item, part in zip(wanted, parts, strict=True)}


def _cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """``data`` in parts of these sizes; none if it is longer or shorter."""
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return parts if data in _NOTHING_MORE and parts[-1] else []


def _invalid(item: Item) -> tuple[Value, ...]:
    return tuple(Value(None, f.decimals, f.unit, Quality.INVALID) for f in item.fields)
