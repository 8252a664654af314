"""What points of DL/T 645 and of Modbus profiles have in common: names, units, bits, words."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from protocols.exchanges import Meaning
from protocols.points import Point, exponent, point, suggest, units
from protocols.profile_tables import Entry, Table, check, key_path

T = TypeVar("T", bound=Table)
E = TypeVar("E", bound=Entry)


def checked(form: type[T], raw: Mapping[str, Any], key: str, problems: list[str]) -> T | None:
    """The table ``key`` of the file as a ``form``; None if it is wrong or not there."""
    found = raw.get(key)
    return check(form, found, (key,), problems) if isinstance(found, dict) else None


def entries(
    found: Mapping[str, Any], form: type[E], short: str, problems: list[str]
) -> Iterator[tuple[Point, E, str]]:
    """Each good entry with its point and place; a bare value is short for its key ``short``."""
    for name, value in found.items():
        where = key_path("points", name)
        meant = point(name)
        if meant is None:
            near = either(suggest(name)) or "a name of protocols/points.py"
            problems.append(f"{where}: no point has this name; write {near}")
        table = value if isinstance(value, dict) else {short: value}
        entry = check(form, table, ("points", name), problems)
        if meant and entry:
            yield meant, entry, where


def meaning_of(
    meant: Point,
    entry: Entry,
    unit: str,
    scale: Fraction,
    width: int,
    where: str,
    problems: list[str],
) -> Meaning:
    """How a raw number of ``width`` bits, ``scale`` to one ``unit``, becomes the point's value."""
    problems += [f"{where}.{problem}" for problem in _value_problems(meant, entry, unit, width)]
    power = exponent(unit, meant.unit) or 0
    return Meaning(
        point=meant,
        multiplier=scale * Fraction(10) ** (power + (0 if meant.text else meant.decimals)),
        bits=range(entry.bits[0], entry.bits[-1] + 1) if entry.bits else None,
        names=tuple(entry.names),
        primary=entry.primary,
    )


def _value_problems(meant: Point, entry: Entry, unit: str, width: int) -> Iterator[str]:
    bits = entry.bits
    if bits and (bits != list(range(bits[0], bits[0] + len(bits))) or bits[-1] >= width):
        yield f"bits: {bits} must be neighbours, lowest first, below {width}"
    if entry.names and not meant.text:
        yield f"names: {meant.name} is a number; leave the names out"
    if bits and len(entry.names) > 2 ** len(bits):
        yield f"names: {len(entry.names)} names, but {len(bits)} bit(s) count to {2 ** len(bits)}"
    wrong = [name for name in entry.names if meant.choices and name not in meant.choices]
    if wrong or (meant.choices and not entry.names):
        found = either(tuple(wrong)) or "no name"
        yield f"names: {found} is not what {meant.name} can be; write {either(meant.choices)}"
    if not meant.text and exponent(unit, meant.unit) is None:
        yield f"unit: {unit!r} cannot become {meant.unit!r}; write {either(units(meant.unit))}"


def either(names: tuple[str, ...]) -> str:
    """``'a' or 'b'``."""
    return " or ".join(map(repr, names))
