"""What a meter's answers say about a part of its load curve (负荷曲线).  Pure.

A record counts for the moment that the meter stamped it with.  Records of other moments (the meter
records more often than the grid has moments) are passed over.

A refusal may only mean that there is no record of that time, so a meter that refused is asked for
its newest record as well: it keeps no load curve if it refuses that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.acquisition.confirm import Limits, Seen, impossible
from gateway.acquisition.moments import Gap
from gateway.config import MeterConfig
from gateway.events import Fault, Outcome
from protocols.base import Quality, Value
from protocols.exchanges import CurveExchange

Registers = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Records:
    """Some moments of the gap, oldest first; all registers of each are good."""

    moments: Mapping[float, Registers]
    data: bytes
    """As the meter sent them."""
    taken_at: float


@dataclass(frozen=True, slots=True)
class Lacking:
    """The meter has nothing of the gap, up to ``until``; it may have later moments."""

    until: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The meter refuses the read; ``wholly``: its newest record as well."""

    wholly: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """The meter did not answer, or not well; asking again may help."""


Found = Records | Lacking | Refused | Unread


def plan(meter: MeterConfig, gap: Gap, zone: tzinfo, *, doubt: bool) -> tuple[CurveExchange, ...]:
    """What to ask.  In ``doubt`` whether there is a load curve at all, its newest record too."""
    local = datetime.fromtimestamp(gap.at, zone)
    exchanges = [meter.profile.plan_curve(meter.address, meter.grid, local, gap.quarters)]
    exchanges += [newest(meter)] if doubt else []
    return tuple(exchange for exchange in exchanges if exchange)


def newest(meter: MeterConfig) -> CurveExchange | None:
    """The read of the newest record; None for a model that keeps no load curve."""
    return meter.profile.plan_curve(meter.address, meter.grid, None, 1)


def interpret(
    meter: MeterConfig,
    gap: Gap,
    exchange: CurveExchange,
    outcomes: Sequence[Outcome],
    zone: tzinfo,
) -> Found:
    """What the outcomes of ``plan``'s exchanges, of which ``exchange`` is the first, say."""
    first = outcomes[0]
    if first.reply is None:
        refusals = [one.fault is Fault.REFUSED and one.permanent for one in outcomes]
        if not refusals[0]:
            return Unread()
        if len(outcomes) == 1 or refusals[1]:
            return Refused(wholly=len(outcomes) > 1, reason=outcomes[-1].error)
        return Lacking(gap.until) if outcomes[1].reply else Unread()
    found = {
        record.at.replace(tzinfo=zone).timestamp(): good(record.values, meter.grid)
        for record in exchange.moments(first.reply.data, meter.ratio)
        if record.at and not record.problem
    }
    moments = {
        at: values
        for at, values in sorted(found.items())
        if at in gap.moments and len(values) == len(meter.grid)
    }
    if moments:
        return Records(moments, first.reply.data, first.taken_at)
    return Lacking(min(max(found, default=gap.until), gap.until))


def good(values: Mapping[str, Value], wanted: Sequence[str]) -> Registers:
    """Those registers wanted that are there."""
    return {
        name: value
        for name, value in values.items()
        if name in wanted and value.quality is Quality.GOOD and isinstance(value.amount, int)
    }


def amounts(values: Mapping[str, Value]) -> dict[str, int]:
    """The registers in steps of their points' resolution."""
    return {name: value.amount for name, value in values.items() if isinstance(value.amount, int)}


def broken(moments: Mapping[float, Registers], limits: Limits) -> str:
    """Why these registers cannot have run on like this; empty if they can."""
    last: dict[str, Seen] = {}
    for at, values in moments.items():
        seen = {name: Seen(amount, at) for name, amount in amounts(values).items()}
        for name in seen.keys() & last.keys():
            if problem := impossible(name, seen[name], last[name], limits):
                return problem
        last |= seen
    return ""
