"""A meter model as data: a TOML file becomes a ``Profile``, or the list of all that is wrong.

A profile is ``config/meters/<model>.toml``; adding a model needs no code.  A DL/T 645 point is a
data identifier, a Modbus point a register::

    [points]
    voltage_l1n = "02010100"                        # DL/T 645: the identifier as printed
    voltage_l1n = 0x0000                            # Modbus: the register as on the wire
    voltage_l1n = { register = 0x2006, scale = 0.1 }

A variant (same map, other line settings, say) names what it is ``like`` and gives the differences.

How a relay is switched: protocols/profile_relay.py.

Not supported: other writing, points computed from others.
"""

import re
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from protocols.dlt645_fields import Field
from protocols.exchanges import ItemSource, Meaning
from protocols.model import (
    FREEZE_TIME,
    Dlt645Profile,
    LineDefaults,
    OldDlt645Profile,
    Profile,
)
from protocols.planner import Dialect
from protocols.points import Point, suggest
from protocols.profile_modbus import modbus_profile
from protocols.profile_relay import control_relay
from protocols.profile_tables import (
    Dlt645Table,
    HeadTable,
    ItemEntry,
    LineTable,
    check,
    filled_up,
    read_toml,
)
from protocols.profile_values import checked, either, entries, meaning_of

__all__ = ["SHIPPED", "Profile", "ProfileError", "load", "parse"]

_SOURCE = Path(__file__).parents[1] / "config" / "meters"
SHIPPED = _SOURCE if _SOURCE.is_dir() else Path(sys.prefix) / "share" / "taiqu" / "meters"
"""The directory of this release's models: in the source tree, or where pip laid them."""


class ProfileError(Exception):
    """A meter profile cannot be used.  The message lists everything that is wrong, one per line."""

    def __init__(self, place: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{place}: {problem}" for problem in problems))
        self.problems = tuple(problems)


def load(path: Path) -> Profile:
    """Read the file of one model.  Raises ProfileError, also where there is no such file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileError(str(path), [f"cannot be read: {error.strerror}"]) from error
    return parse(data, path.stem, str(path), path.parent)


def parse(data: bytes, name: str, place: str = "", folder: Path | None = None) -> Profile:
    """The profile in ``data``; ``place`` is what error messages call the file, and ``folder`` is
    where a model that it is ``like`` is looked for, before the models of this release.

    Raises ProfileError with every problem in it, whatever the bytes.
    """
    place = place or name
    try:
        raw = read_toml(data)
        if "like" in raw or "without" in raw:
            raw = _variant(raw, folder)
    except ValueError as error:
        raise ProfileError(place, [str(error)]) from error
    problems: list[str] = []
    profile = _profile(raw, name, problems)
    if problems or profile is None:
        raise ProfileError(place, problems)
    return profile


def _variant(raw: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """The file of a model that is like another, filled up from that.  Raises ValueError."""
    like = raw.get("like")
    places = [folder or SHIPPED, SHIPPED]
    files = [place / f"{like}.toml" for place in places if re.fullmatch("[A-Za-z0-9-]+", str(like))]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise ValueError(f"like: no model is called {like!r}; write the name of a file, no .toml")
    try:
        base = read_toml(file.read_bytes())
    except (ValueError, OSError) as error:
        raise ValueError(f"like: {like}.toml: {error}") from error
    if "like" in base:
        raise ValueError(f"like: {like!r} is itself like {base['like']!r}; write that one")
    return filled_up(raw, base)


_Builder = Callable[
    [Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], list[str]], Profile | None
]


def _profile(raw: dict[str, Any], name: str, problems: list[str]) -> Profile | None:
    """Check every table, and build what can be built of them."""
    head = check(HeadTable, raw, (), problems)
    line = checked(LineTable, raw, "line", problems)
    protocol = raw.get("protocol")
    builders: dict[str, _Builder] = {
        "dlt645-2007": partial(_dlt645, Dlt645Profile),
        "dlt645-1997": partial(_dlt645, OldDlt645Profile),
        "modbus": modbus_profile,
    }
    build = builders.get(protocol) if isinstance(protocol, str) else None
    if build is None:
        return None
    own, other = ("modbus", "dlt645") if protocol == "modbus" else ("dlt645", "modbus")
    if raw.get("relay") and protocol == "dlt645-1997":
        problems.append("relay: a dlt645-1997 meter has no relay command; leave it out")
    if "identify" in raw and protocol != "modbus":
        problems.append(f"identify: a {protocol} meter is known by its address; leave it out")
    if other in raw:
        problems.append(f"{other}: a {protocol} meter has no such table; did you mean [{own}]?")
    points = raw.get("points")
    found = points if isinstance(points, dict) else {}
    defaults = raw.get("default_points")
    for n, wanted in enumerate(defaults if isinstance(defaults, list) else []):
        if isinstance(wanted, str) and wanted not in found:
            near = either(suggest(wanted, tuple(found))) or "one that [points] has"
            problems.append(f"default_points[{n}]: {wanted!r} is not in [points]; write {near}")
    common: dict[str, Any] = {}
    if head and line:
        common = {
            "name": name,
            "model": head.model,
            "manufacturer": head.manufacturer,
            "default_points": tuple(head.default_points),
            "line": LineDefaults(**line.model_dump()),
        }
    return build(raw, found, common, problems)


def _dlt645(
    model: type[Dlt645Profile],
    raw: Mapping[str, Any],
    found: Mapping[str, Any],
    common: Mapping[str, Any],
    problems: list[str],
) -> Profile | None:
    table = checked(Dlt645Table, raw, "dlt645", problems) or Dlt645Table()
    sources = {}
    taken: dict[tuple[str, int], str] = {}
    for meant, entry, where in entries(found, ItemEntry, "di", problems):
        source = _item_source(model.dialect, meant, entry, table.tariffs, where, problems)
        if source is None:
            continue
        sources[meant.name] = source
        other = taken.setdefault((source.item.di, source.number), meant.name)
        if other != meant.name and not entry.bits:
            problems.append(f"{where}: reads the same value as {other}; give each its own")
    problems += _freeze_problems(table, sources)
    relay = control_relay(raw, sources, problems)
    if not common:
        return None
    return model(sources=sources, relay=relay, **table.model_dump(), **common)


def _freeze_problems(table: Dlt645Table, sources: Mapping[str, ItemSource]) -> list[str]:
    """A daily freeze is collected by its time and by the points that stand beside it."""
    if not table.freezes and not table.freeze_points:
        return []
    problems = []
    if not table.freezes or not table.freeze_points:
        problems.append("dlt645: freezes and freeze_points belong together; write both or neither")
    for name in (FREEZE_TIME, *table.freeze_points):
        source = sources.get(name)
        if source is None or not re.fullmatch("0506..01", source.item.di):
            problems.append(
                f"dlt645.freeze_points: {name} must be in [points] as the newest daily freeze,"
                " 0506..01"
            )
    return problems


def _item_source(
    dialect: Dialect,
    meant: Point,
    entry: ItemEntry,
    tariffs: int,
    where: str,
    problems: list[str],
) -> ItemSource | None:
    item = dialect.find(entry.di.upper())
    if item is None:
        problems.append(
            f"{where}.di: {entry.di!r} is no data identifier of DL/T 645-{dialect.year};"
            f" write its {dialect.di_bytes} bytes as printed, DI{dialect.di_bytes - 1} first"
        )
        return None
    count = len(item.fields) * (item.over.groups(tariffs) if item.over else 1)
    if entry.field >= count:
        problems.append(
            f"{where}.field: {entry.field} does not exist; {entry.di} ({item.name}) has values"
            f" 0 to {count - 1}"
        )
        return None
    field = item.fields[entry.field % len(item.fields)]
    if not _is_number(field):
        if not meant.text or entry.names or entry.bits:
            problems.append(
                f"{where}: {entry.di} ({item.name}) is a text, {meant.name} a number, bits or"
                " names; choose another identifier or point"
            )
        return ItemSource(Meaning(point=meant), item, entry.field)
    if entry.bits and not field.mask:
        problems.append(f"{where}.bits: {entry.di} ({item.name}) is no bit mask; leave bits out")
    decimals = field.decimals if entry.decimals is None else entry.decimals
    scale = Fraction(1, 10**decimals)
    meaning = meaning_of(meant, entry, field.unit, scale, 8 * field.size, where, problems)
    return ItemSource(meaning, item, entry.field)


def _is_number(field: Field) -> bool:
    """Whether its values are numbers: told by the value of bytes that every format can say."""
    return isinstance(field.decode(b"\x01" * field.size).amount, int)
