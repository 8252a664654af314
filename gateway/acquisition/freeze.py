"""What a meter's answers say about one daily freeze (日冻结).  Pure.

A freeze counts for a day only if the meter stamped it with the midnight that ended the day: an
index ("the third newest") means another day as soon as a meter has missed one, or its clock is
wrong.

Source: DL/T 645-2007 table A.6 and the extension 0506 filed with State Grid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from gateway.acquisition.confirm import Limits, Seen, imbalance, impossible, skews
from gateway.acquisition.days import is_freeze_of
from gateway.events import Fault, Outcome
from protocols.base import Quality, Value
from protocols.exchanges import Exchange
from protocols.model import FREEZE_TIME

SUFFIX = "_daily_freeze"
"""What the points of a freeze end in; without it they name the register."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One exchange, what came of it, and the values in its reply, if there was one."""

    exchange: Exchange
    outcome: Outcome
    values: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True)
class Read:
    """The freeze of the day."""

    values: Mapping[str, Value]
    """By point, as in messages."""
    registers: dict[str, int]
    """By register, in steps of its point's resolution."""
    taken_at: float
    """Unix time when the last reply was complete."""


@dataclass(frozen=True, slots=True)
class Odd:
    """The meter answered, but not with the freeze of the day."""

    kind: Literal["absent", "wrong_time"]
    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """The meter did not answer, or not well; asking again may help."""

    reason: str


def interpret(day: date, answers: Sequence[Answer]) -> Read | Odd | Unread:
    """What ``answers``, the freeze's time first, say about the freeze at the end of ``day``."""
    faults = [answer.outcome for answer in answers if answer.values is None]
    for outcome in faults:
        if not (outcome.fault is Fault.REFUSED and outcome.permanent):
            return Unread(outcome.error or "no answer")
    stamp = answers[0].values[FREEZE_TIME] if answers[0].values else None
    if stamp is None or stamp.quality is Quality.ABSENT:
        return Odd("absent", "the meter says it has no freeze of this day")
    if not is_freeze_of(day, str(stamp.amount)):
        return Odd("wrong_time", f"the meter's freeze is of {stamp.amount or 'no time at all'}")
    values: dict[str, Value] = {}
    for answer in answers[1:]:
        values |= answer.values or {}
    if bad := [name for name, value in values.items() if value.quality is Quality.INVALID]:
        return Unread(f"no value in {', '.join(bad)}")
    good = {name: value for name, value in values.items() if value.quality is Quality.GOOD}
    registers = {
        name.removesuffix(SUFFIX): value.amount
        for name, value in good.items()
        if isinstance(value.amount, int)
    }
    if not registers:
        return Odd("absent", "the meter has no registers in its freeze of this day")
    return Read(good, registers, answers[-1].outcome.taken_at)


def doubtful(
    registers: Mapping[str, int],
    at: float,
    beside: Iterable[tuple[float, Mapping[str, int]]],
    limits: Limits,
) -> str:
    """Why a freeze may be wrong; empty if nothing speaks against it.

    ``at`` is the moment it shows; ``beside`` are the freezes before and after it, with theirs.
    """
    usual: dict[str, int] = {}
    for moment, known in beside:
        usual |= skews(known, limits)
        for name in registers.keys() & known.keys():
            seen, other = Seen(registers[name], at), Seen(known[name], moment)
            if problem := impossible(name, seen, other, limits):
                return problem
    return imbalance(registers, usual, limits)
