"""What one phase of a customer draws: a pure function of a seed and the time.

The energy of a day in one tariff is known in closed form, and the day's minutes share it by weight,
so no register needs the past to be stepped through:

    register(t) = whole days + energy of the day x (weight up to t) // (weight of the day)

So a register is exactly the integral of the power, and never falls.  All amounts are integers:
energy in mWh (10**-6 kWh), power in mW.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import shake_128
from itertools import accumulate, chain, pairwise

TARIFFS = 4
"""1 sharp 尖, 2 peak 峰, 3 flat 平, 4 valley 谷: the numbers DL/T 645 meters give them."""
TARIFF_OF_HOUR = (4,) * 7 + (3,) * 2 + (2,) * 3 + (3,) * 5 + (2,) * 2 + (1,) * 2 + (2, 3, 4)
"""The tariff of each hour of the local day."""
WINDOW_MINUTES = 15
"""Length of a demand window (需量周期); no window spans two tariffs."""


class Kind(StrEnum):
    """What sort of customer it is."""

    HOME = "home"
    SHOP = "shop"
    SOLAR = "solar"  # a plant that only feeds the grid


# fmt: off
_LOAD_AT_HOUR = {
    Kind.HOME: (
        30, 27, 25, 25, 26, 32, 60, 85, 60, 45, 42, 55,
        70, 52, 42, 42, 50, 75, 110, 140, 150, 130, 90, 50,
    ),
    Kind.SHOP: (
        15, 15, 14, 14, 15, 18, 25, 45, 80, 105, 115, 115,
        90, 95, 110, 115, 110, 105, 95, 85, 70, 45, 25, 18,
    ),
    Kind.SOLAR: (
        0, 0, 0, 0, 0, 0, 6, 25, 60, 100, 135, 155,
        160, 155, 130, 95, 55, 20, 4, 0, 0, 0, 0, 0,
    ),
}
# fmt: on


def noise(seed: str, size: int) -> bytes:
    """Bytes that depend on ``seed`` alone, on every machine and in every Python."""
    return shake_128(seed.encode()).digest(size)


@dataclass(frozen=True, slots=True)
class Day:
    """One phase on one day."""

    before_mwh: tuple[int, ...]
    """Per tariff, what was drawn until the day began."""
    drawn_mwh: tuple[int, ...]
    """Per tariff, what is drawn in the whole day."""
    weights: tuple[int, ...]
    """Of each minute."""
    sums: tuple[tuple[int, ...], ...]
    """Per tariff, the weights of all minutes before each minute; the last is the day's."""

    def energy_mwh(self, ms: int) -> list[int]:
        """Per tariff, what was drawn until ``ms`` into this day."""
        minute, rest_ms = divmod(ms, 60_000)
        running = TARIFF_OF_HOUR[minute // 60] - 1
        energies = []
        for tariff, sums in enumerate(self.sums):
            share = sums[minute] * 60_000
            if tariff == running:
                share += self.weights[minute] * rest_ms
            drawn = self.drawn_mwh[tariff] * share // (sums[-1] * 60_000) if sums[-1] else 0
            energies.append(self.before_mwh[tariff] + drawn)
        return energies

    def power_mw(self, minute: int) -> int:
        """The power in this minute."""
        tariff = TARIFF_OF_HOUR[minute // 60] - 1
        whole = self.sums[tariff][-1]
        return self.drawn_mwh[tariff] * self.weights[minute] * 60 // whole if whole else 0

    def window_mw(self, minute: int) -> int:
        """The mean power of the demand window that begins at ``minute``."""
        tariff = TARIFF_OF_HOUR[minute // 60] - 1
        sums = self.sums[tariff]
        weight = (sums[minute + WINDOW_MINUTES] - sums[minute]) * 60 // WINDOW_MINUTES
        return self.drawn_mwh[tariff] * weight // sums[-1] if sums[-1] else 0


class Load:
    """What one phase draws, from day 0 on."""

    def __init__(self, seed: str, kind: Kind, daily_wh: int) -> None:
        self._seed = seed
        # Solar plants all see the same sun; people do not all rise at the same minute.
        shift = 0 if kind is Kind.SOLAR else noise(seed, 1)[0] % 90 - 45
        curve = tuple(_minutes(_LOAD_AT_HOUR[kind]))
        self._shape = curve[-shift:] + curve[:-shift]
        by_tariff = [0] * TARIFFS
        for minute, height in enumerate(self._shape):
            by_tariff[TARIFF_OF_HOUR[minute // 60] - 1] += height
        self._daily_mwh = tuple(daily_wh * 1000 * part // sum(by_tariff) for part in by_tariff)
        self._days: dict[int, Day] = {}

    def before_mwh(self, day: int) -> tuple[int, ...]:
        """Per tariff, what was drawn from day 0 until ``day`` began."""
        # The wobble is under a quarter of a day, so each day draws 0.75 to 1.25 of the mean.
        wobble = noise(f"{self._seed}/{day}/energy", TARIFFS) if day else bytes(TARIFFS)
        daily = zip(self._daily_mwh, wobble, strict=True)
        return tuple(day * mean + mean * part // 1024 for mean, part in daily)

    def day(self, day: int) -> Day:
        """Everything about one day; the last three asked for are kept."""
        if day not in self._days:
            if len(self._days) > 2:
                del self._days[next(iter(self._days))]
            self._days[day] = self._make_day(day)
        return self._days[day]

    def _make_day(self, day: int) -> Day:
        before = self.before_mwh(day)
        drawn = (b - a for a, b in zip(before, self.before_mwh(day + 1), strict=True))
        sway = noise(f"{self._seed}/{day}/minutes", 240 + 1440)
        # Every six minutes something is switched; the rest of the noise is per minute.
        switched = chain.from_iterable((256 + 2 * part,) * 6 for part in sway[:240])
        rows = zip(self._shape, switched, sway[240:], strict=True)
        weights = tuple(height * (level + part // 2) for height, level, part in rows)
        sums = tuple(_sums(weights, tariff) for tariff in range(1, TARIFFS + 1))
        return Day(before, tuple(drawn), weights, sums)


def _sums(weights: tuple[int, ...], tariff: int) -> tuple[int, ...]:
    """How much weight of ``tariff`` has passed at the beginning of each minute."""
    hours = enumerate(TARIFF_OF_HOUR)
    parts = (weights[h * 60 : h * 60 + 60] if t == tariff else (0,) * 60 for h, t in hours)
    return tuple(accumulate(chain.from_iterable(parts), initial=0))


def _minutes(hours: tuple[int, ...]) -> Iterator[int]:
    """Hourly values as a smooth curve of one value per minute, times 60."""
    for here, there in pairwise((*hours, hours[0])):
        for minute in range(60):
            yield here * (60 - minute) + there * minute
