"""How a data identifier of DL/T 645-2007 is written as a pattern, and what its bytes count.

A pattern's identifier is eight characters in pairs, DI3 first.  A pair is two hex digits, or the
name of an axis: ``0001ttss`` is import energy by tariff and settlement.  FF instead of an axis is a
block along it, and has a pattern of its own.

The patterns themselves: protocols/dlt645_quantities.py (what is measured), dlt645_parameters.py
(what is set) and dlt645_events.py (what happened).

Source: DL/T 645-2007 §6 and annex A.
"""

from dataclasses import dataclass

from protocols.dlt645_fields import Field


@dataclass(frozen=True, slots=True)
class Axis:
    """One byte of an identifier that counts something."""

    first: int
    last: int
    words: str
    """How a number is spoken: ``tariff {n}``; phases are ``phase {phase}``."""
    zero: str = ""
    """How 0 is spoken where it is not one of many: ``total``."""
    suffix: str = ""
    """What a number adds to a point's name: ``_t{n}``; the total adds nothing."""
    tariffs: bool = False
    """A block has the total (if the axis begins at 0) and as many tariffs as the meter uses."""
    upto: bool = False
    """A block has as many as the meter uses, which nothing but the meter tells."""
    spare: int = 0
    """Groups that some meters send behind the last one of a block."""

    @property
    def fixed(self) -> bool:
        """Whether the standard says how many groups a block has."""
        return not (self.tariffs or self.upto)

    @property
    def most(self) -> int:
        """The most groups a block can have."""
        return self.last - self.first + 1 + self.spare

    def groups(self, tariffs: int) -> int:
        """Groups in a block of a meter with so many tariffs."""
        every = self.last - self.first + 1
        return min(every, tariffs + (self.first == 0)) if self.tariffs else every

    def word(self, number: int) -> str:
        """What ``number`` on this axis is called; empty where it needs no name."""
        if number == 0 and self.first == 0:
            return self.zero
        return self.words.format(n=number, phase="_ABC"[number] if number < 4 else "")


AXES = {
    "tt": Axis(0x00, 0x3F, "tariff {n}", zero="total", suffix="_t{n}", tariffs=True),
    "ss": Axis(0, 12, "settlement -{n}"),
    "qq": Axis(0, 3, "phase {phase}", zero="total", suffix="_l{n}"),
    "pp": Axis(1, 3, "phase {phase}", suffix="_l{n}"),
    "vv": Axis(1, 3, "phase {phase}", suffix="_l{n}n"),
    "hh": Axis(1, 21, "harmonic {n}", upto=True),
    "rr": Axis(1, 10, "{n} back"),
    "nn": Axis(1, 254, "{n} back"),
    "ww": Axis(1, 7, "word {n}", suffix="_{n}", spare=2),
    "kk": Axis(1, 0x3F, "tariff {n}", suffix="_t{n}", tariffs=True),
    "ll": Axis(1, 6, "step {n}", suffix="_step{n}", upto=True),
    "mm": Axis(0, 12, "{n} months back", zero="this month"),
    "x3": Axis(1, 3, "{n}"),
    "x6": Axis(1, 6, "{n}"),
    "x8": Axis(1, 8, "{n}"),
    "oo": Axis(0, 1, "overdrawn", zero="remaining"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pattern:
    """Identifiers of one shape, and what they hold."""

    di: str
    name: str
    fields: tuple[Field, ...]
    block: str = ""
    """The block's identifier, with the same axes; FF where this one has its axis."""
    over: str = ""
    """The axis along which the group of fields repeats."""
    point: str = ""
    """Canonical name, with the axes whose suffix it takes: ``voltage{vv}``."""
    index: int | None = None
    """Place in the block, where no axis tells it."""


_SPOKEN = {
    "tt": "tariff", "ss": "settlement", "qq": "phase", "pp": "phase", "vv": "phase",
    "hh": "harmonic", "rr": "record", "ww": "word", "kk": "tariff", "ll": "step",
    "t": "tariff", "q": "phase", "p": "phase", "v": "phase", "z": "zone", "d": "period",
    "h": "holiday",
}  # fmt: skip


def family(
    di: str, name: str, fields: tuple[Field, ...], *axes: str, point: str = ""
) -> list[Pattern]:
    """An item and its blocks: one along each of ``axes``, the first being the usual one."""
    blocks = [di.replace(axis, "F" * len(axis)) for axis in axes]
    patterns = [Pattern(di, name, fields, block=blocks[0] if blocks else "", point=point)]
    for axis, block in zip(axes, blocks, strict=True):
        patterns.append(Pattern(block, f"{name} by {_SPOKEN[axis]}", fields, over=axis))
    return patterns
