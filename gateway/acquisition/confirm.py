"""Whether a register can be believed.  Pure: told what was read and when, it answers.

The checksum of DL/T 645 has eight bits, so among many damaged frames one passes with a wrong value.
What will be billed is therefore compared with what is known: the rates sum up to their total, a
register does not fall, and it does not grow faster than the meter's customer can draw.  What fits
is accepted and costs nothing; anything else is read again:

    fits what is known                          accepted
    two readings agree, though not with that    accepted, marked as suspect
    they contradict each other                  the older one is dropped, and counted

The first reading of a register has nothing to be compared with, so it takes two that agree.

Not supported: registers that start again at zero beyond their last digit; they become suspect, as
does another meter in the old one's place.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.config import MeterConfig
from protocols.exchanges import ItemSource, Ratio, RegisterSource
from protocols.model import Dlt645Profile, ModbusProfile
from protocols.points import point

AGAIN_MAX = 3
"""Readings in a row that may contradict each other before the next poll has to do."""
MARGIN_PERCENT = 110
"""Of the most that can have been drawn: the clocks differ, and so do maximum and mean."""
FLOAT_DIGITS = 22
"""Bits of a four-byte float that are surely exact."""


class Verdict(StrEnum):
    """What to do with a reading."""

    ACCEPT = "accept"
    SUSPECT = "suspect"  # accept with a mark: it was confirmed, but does not fit
    AGAIN = "again"  # ask the same again, at once
    WITHHOLD = "withhold"  # neither believed nor asked again before its next turn


@dataclass(frozen=True, slots=True)
class Limits:
    """What is physically possible at one meter."""

    max_kw: int
    steps: Mapping[str, int]
    """The cumulative points, and the step of each register in the point's resolution."""
    rates: Mapping[str, tuple[str, ...]]
    """Each total with all its rates, as far as the profile has them."""

    def growth(self, name: str, elapsed_s: float) -> int:
        """The most that a register can have grown, in the point's resolution."""
        known = point(name)
        if known is None or not name.startswith("energy_"):
            return 2**63
        resolution = int(10**known.decimals)
        drawn = self.max_kw * resolution * int(elapsed_s + 1) * MARGIN_PERCENT // (3600 * 100)
        return drawn + 2 * self.steps.get(name, 1)


def limits_of(config: MeterConfig) -> Limits:
    """The limits of a configured meter."""
    profile = config.profile
    sources: Mapping[str, ItemSource | RegisterSource] = {}
    if isinstance(profile, Dlt645Profile | ModbusProfile):
        sources = profile.sources
    steps = {
        name: max(1, int(source.meaning.factor(config.ratio)))
        for name, source in sources.items()
        if source.meaning.point.cumulative
    }
    rates = {name: tuple(_rates(name, steps)) for name in steps}
    return Limits(config.max_kw, steps, {name: found for name, found in rates.items() if found})


def limits_of_all(meters: Iterable[MeterConfig]) -> dict[str, Limits]:
    """The limits of each meter by its asset number; meters of one kind share them."""
    shared: dict[tuple[str, Ratio, int], Limits] = {}
    found = {}
    for meter in meters:
        kind = (meter.profile.name, meter.ratio, meter.max_kw)
        if kind not in shared:
            shared[kind] = limits_of(meter)
        found[meter.asset] = shared[kind]
    return found


def _rates(total: str, names: Iterable[str]) -> Iterable[str]:
    freeze = "_daily_freeze"
    base, suffix = (total.removesuffix(freeze), freeze if total.endswith(freeze) else "")
    tariffs = (f"{base}_t{n}{suffix}" for n in range(1, 64))
    known = set(names)
    return (name for name in tariffs if name in known)


@dataclass(frozen=True, slots=True)
class Seen:
    """A register as it was read."""

    amount: int
    at: float
    """Seconds, on one clock for all readings of a meter."""


def impossible(name: str, one: Seen, other: Seen, limits: Limits) -> str:
    """Why one register cannot have shown both; empty if it can.  Their order does not matter."""
    before, after = sorted((one, other), key=lambda seen: seen.at)
    grown = after.amount - before.amount
    if grown < 0:
        return f"{name} fell from {before.amount} to {after.amount}"
    if grown > limits.growth(name, after.at - before.at):
        elapsed_s = round(after.at - before.at)
        return f"{name} grew from {before.amount} to {after.amount} in {elapsed_s} s"
    return ""


def skews(amounts: Mapping[str, int], limits: Limits) -> dict[str, int]:
    """For each total whose rates all were read, how far their sum is from it."""
    found = {}
    for total, rates in limits.rates.items():
        present = [amounts[rate] for rate in rates if rate in amounts]
        if total in amounts and len(present) == len(rates):
            found[total] = amounts[total] - sum(present)
    return found


def imbalance(amounts: Mapping[str, int], usual: Mapping[str, int], limits: Limits) -> str:
    """Why the rates do not sum up to their total; empty if they do.

    ``usual`` is what some meters are always off by: old ones lose a few steps over the years.
    """
    for total, skew in skews(amounts, limits).items():
        # A float is only as fine as its size allows.
        step = max(limits.steps[total], amounts[total] >> FLOAT_DIGITS)
        if abs(skew - usual.get(total, 0)) > step * (len(limits.rates[total]) + 1):
            return f"{total} {amounts[total]} is not the sum of its rates, {skew} too much"
    return ""


@dataclass(slots=True)
class _Meter:
    limits: Limits
    known: dict[str, Seen] = field(default_factory=dict)
    usual: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, tuple[dict[str, Seen], int]] = field(default_factory=dict)
    """By exchange, the reading that waits for a second one, and how many there were."""


class Confirmation:
    """The live registers of all meters."""

    def __init__(self, limits: Mapping[str, Limits]) -> None:
        """Take the limits of each meter, by asset number."""
        self._meters = {asset: _Meter(found) for asset, found in limits.items()}
        self.again: Counter[str] = Counter()
        """By meter, how often something was read again."""
        self.dropped: Counter[str] = Counter()
        """By meter, how many readings were contradicted and given up."""

    def limits(self, meter: str) -> Limits:
        """What is possible at a meter."""
        return self._meters[meter].limits

    def cumulative(self, meter: str, names: Iterable[str]) -> set[str]:
        """Which of ``names`` are registers that must be confirmed."""
        return self._meters[meter].limits.steps.keys() & set(names)

    def knows(self, meter: str, names: Iterable[str]) -> bool:
        """Whether a reading of these points can be compared with something."""
        found = self._meters[meter]
        return self.cumulative(meter, names) <= found.known.keys()

    def remember(self, meter: str, amounts: Mapping[str, int], at: float) -> None:
        """Take registers that were confirmed before, in another way."""
        known = self._meters[meter].known
        for name, amount in amounts.items():
            if name not in known or known[name].at < at:
                known[name] = Seen(amount, at)

    def contradiction(self, meter: str, amounts: Mapping[str, int], at: float) -> str:
        """Why these registers cannot have been shown at ``at``; empty if they can."""
        found = self._meters[meter]
        seen = {name: Seen(amount, at) for name, amount in amounts.items()}
        return _conflict(seen, found.known, found.limits)

    def judge(
        self, meter: str, key: str, amounts: Mapping[str, int], at: float
    ) -> tuple[Verdict, str]:
        """What to do with the registers of one reply, and what is wrong with them.

        ``key`` names the exchange, ``at`` is when the reply was complete (monotonic).
        """
        found = self._meters[meter]
        seen = {name: Seen(amount, at) for name, amount in amounts.items()}
        problem = imbalance(amounts, found.usual, found.limits) or _conflict(
            seen, found.known, found.limits
        )
        doubt, count = found.doubts.pop(key, ({}, 0))
        if not problem and seen.keys() <= found.known.keys():
            # What was read before contradicted what is known; this one does not.
            self.dropped[meter] += bool(doubt)
            self._accept(found, seen, amounts)
            return Verdict.ACCEPT, ""
        if doubt and doubt.keys() == seen.keys() and not _conflict(seen, doubt, found.limits):
            self._accept(found, seen, amounts)
            return (Verdict.SUSPECT if problem else Verdict.ACCEPT), problem
        self.dropped[meter] += bool(doubt)
        found.doubts[key] = (seen, count + 1)
        if count + 1 > AGAIN_MAX:
            found.doubts[key] = (seen, 0)
            return Verdict.WITHHOLD, problem
        self.again[meter] += 1
        return Verdict.AGAIN, problem

    @staticmethod
    def _accept(found: _Meter, seen: Mapping[str, Seen], amounts: Mapping[str, int]) -> None:
        found.known |= seen
        found.usual |= skews(amounts, found.limits)


def _conflict(seen: Mapping[str, Seen], known: Mapping[str, Seen], limits: Limits) -> str:
    """The first register that cannot have shown both."""
    conflicts = (
        impossible(name, one, known[name], limits) for name, one in seen.items() if name in known
    )
    return next(filter(None, conflicts), "")
