"""A customer behind a meter: every quantity a meter can show, at any moment, from a seed.

The phases of the customer (``simulators.load``) give energy and power; from them follow, each phase
consistent in itself, voltage, current, reactive and apparent power and power factor
(S = U x I, P = S x power factor), demands, and a prepaid balance that is topped up whenever it is
used up.  Points are named as in ``protocols.points``.

While its ``supply`` is cut it draws nothing, and its registers stand still.

Amounts are integers: energy in mWh (10**-6 kWh), everything else in thousandths of the point's unit
(mV, mA, mW, mHz, 0.001 yuan).  Times are UTC seconds.

Not supported: a customer who draws and feeds in turn, daylight saving time.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import atan, degrees, isqrt

from protocols.base import Value
from protocols.points import exponent
from protocols.points import point as meaning_of
from simulators.load import TARIFF_OF_HOUR, TARIFFS, WINDOW_MINUTES, Kind, Load, noise
from simulators.supply import Supply

DAY_MS = 86_400_000
NOMINAL_MV = 220_000
FREEZE = "_daily_freeze"
"""What the name of a register at the last local midnight ends in."""
PRICE = 538
"""Of one kWh, in 0.001 yuan."""
TOP_UP = 100_000
"""What the customer buys each time, in 0.001 yuan."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The highest mean power of a demand window (最大需量), and the moment the window ended."""

    power_mw: int = 0
    at: float = 0.0
    """UTC seconds; 0 if there was none yet."""


class Household:
    """A customer with one or three phases.

    ``seed`` makes the customer, ``daily_wh`` is what it draws in a day, on average, in all.  The
    meter began to count at the local midnight of ``installed``; before, its registers stand still.
    ``start_wh`` is what the valley tariff showed then, else the seed says so; at ``rollover_wh``
    every register begins again at 0 (翻转), 800,000,000 for a display of 799,999.99 kWh.
    """

    def __init__(
        self,
        seed: str,
        *,
        kind: Kind = Kind.HOME,
        phases: int = 1,
        daily_wh: int = 9_000,
        installed: date = date(2025, 1, 1),
        utc_offset_s: int = 8 * 3600,
        start_wh: int | None = None,
        rollover_wh: int = 0,
    ) -> None:
        self.phases = phases
        self.kind = kind
        self.utc_offset_s = utc_offset_s
        traits = noise(seed, 4 + 2 * phases)
        own_mwh = int.from_bytes(traits[:4]) // 4
        self._start_mwh = own_mwh if start_wh is None else start_wh * 1000
        self._rollover_mwh = rollover_wh * 1000
        self._tangents = tuple(150 + part for part in traits[4 : 4 + phases])
        """Per phase, reactive to active power, in thousandths."""
        self._angles = tuple(round(1000 * degrees(atan(t / 1000))) for t in self._tangents)
        self._offsets_mv = tuple(10 * part - 1_280 for part in traits[4 + phases :])
        parts = (100,) if phases == 1 else (40, 25, 35)
        self._loads = tuple(
            Load(f"{seed}/{n}", kind, daily_wh * part // 100) for n, part in enumerate(parts)
        )
        midnight = datetime(installed.year, installed.month, installed.day, tzinfo=UTC)
        self._day0_ms = (int(midnight.timestamp()) - utc_offset_s) * 1000
        self.supply = Supply(self._count)
        self._energies: tuple[tuple[float, int], dict[str, int]] = ((-1.0, 0), {})
        self._moment: tuple[tuple[int, bool], dict[str, int]] = ((-1, True), {})
        self._peaks: dict[tuple[int, int], tuple[Demand, ...]] = {}
        """By day and how often the supply had changed."""

    def local(self, at: float) -> datetime:
        """The customer's wall clock."""
        return datetime.fromtimestamp(at, UTC) + timedelta(seconds=self.utc_offset_s)

    def midnight(self, now: float, back: int) -> float | None:
        """The local midnight of the daily freeze ``back`` (1 is the newest), in UTC seconds.

        None if the meter did not count yet.
        """
        day = self._when(now)[0] + 1 - back
        return (self._day0_ms + day * DAY_MS) / 1000 if day >= 0 else None

    def settlement(self, now: float, back: int) -> float | None:
        """The settlement (结算日: the first of a month) ``back`` (1 is the newest), likewise."""
        local = self.local(now)
        year, month = divmod(local.year * 12 + local.month - back, 12)
        at = datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - self.utc_offset_s
        return at if at * 1000 >= self._day0_ms else None

    def energies(self, at: float) -> dict[str, int]:
        """Every energy register at any time, by point, in mWh (mvarh)."""
        counted = self._counted(at)
        if not self._rollover_mwh:
            return counted
        return {point: mwh % self._rollover_mwh for point, mwh in counted.items()}

    def moment(self, now: float) -> dict[str, int]:
        """Voltages, currents, powers and so on, by point, in thousandths of the point's unit."""
        day, ms = self._when(now)
        minute = day * 1440 + ms // 60_000
        supplied = self.supply.on(now)
        if self._moment[0] != (minute, supplied):
            self._moment = (minute, supplied), self._measure(day, ms // 60_000, supplied=supplied)
        return self._moment[1]

    def money(self, now: float) -> dict[str, int]:
        """The prepaid account, by point, in 0.001 yuan (and the count in thousandths)."""
        spent = self._counted(now)["energy_active_import"] * PRICE // 10**6
        purchases = spent // TOP_UP + 1
        return {
            "balance": purchases * TOP_UP - spent,
            "balance_overdraft": 0,
            "purchase_count": purchases * 1000,
            "purchase_amount_total": purchases * TOP_UP,
            "purchase_amount_last": TOP_UP,
            "tariff_price": PRICE,
        }

    def demands(self, now: float) -> tuple[Demand, ...]:
        """The highest demand since the month began: in all, then in each tariff."""
        today, ms = self._when(now)
        first = max(0, today - self.local(now).day + 1)
        peaks = [Demand()] * (1 + TARIFFS)
        for day in range(first, today + 1):
            found = self._peaks_of(day, (ms + 1) // 60_000 if day == today else 1440)
            peaks = [max(a, b, key=lambda d: d.power_mw) for a, b in zip(peaks, found, strict=True)]
        return tuple(peaks)

    def value(self, point: str, now: float) -> int | None:
        """The amount of one point; None if this customer has none."""
        if point.endswith(FREEZE):
            at = self.midnight(now, 1)
            return None if at is None else self.energies(at).get(point.removesuffix(FREEZE))
        if point.startswith("energy_"):
            return self.energies(now).get(point)
        found = self.moment(now).get(point)
        return self.money(now).get(point) if found is None else found

    def truth(self, now: float) -> dict[str, Value]:
        """Every point, at full resolution, in thousandths (energies: millionths) of its unit."""
        exact = {point: Value(mwh, 6) for point, mwh in self.energies(now).items()}
        frozen = self.energies(self.midnight(now, 1) or 0)
        exact |= {point + FREEZE: Value(mwh, 6) for point, mwh in frozen.items()}
        others = self.moment(now) | self.money(now)
        return exact | {point: Value(amount, 3) for point, amount in others.items()}

    def _when(self, at: float) -> tuple[int, int]:
        """Days since the meter began to count, and ms of the day."""
        return divmod(max(0, int(at * 1000) - self._day0_ms), DAY_MS)

    def _counted(self, at: float) -> dict[str, int]:
        key = at, self.supply.changes
        if self._energies[0] != key:
            self._energies = key, self.supply.energies(at)
        return self._energies[1]

    def _count(self, at: float) -> dict[str, int]:
        day, ms = self._when(at)
        phases = [load.day(day).energy_mwh(ms) for load in self._loads]
        phases[0][3] += self._start_mwh
        reactive = [
            sum(phase) * tangent // 1000
            for phase, tangent in zip(phases, self._tangents, strict=True)
        ]
        feeds = self.kind is Kind.SOLAR
        this, other = ("export", "import") if feeds else ("import", "export")
        found = {f"energy_active_{other}": 0, f"energy_reactive_{other}": 0}
        found |= {f"energy_reactive_q{n}": 0 for n in (1, 2, 3, 4)}
        for n, tariff in enumerate(zip(*phases, strict=True), 1):
            mwh = sum(tariff)
            found[f"energy_active_{this}_t{n}"] = found[f"energy_active_total_t{n}"] = mwh
            found[f"energy_active_{other}_t{n}"] = 0
        for n, phase in enumerate(phases, 1):
            mwh = sum(phase)
            found[f"energy_active_{this}_l{n}"] = found[f"energy_active_total_l{n}"] = mwh
            found[f"energy_active_{other}_l{n}"] = found[f"energy_reactive_{other}_l{n}"] = 0
            found[f"energy_reactive_{this}_l{n}"] = reactive[n - 1]
        total = sum(map(sum, phases))
        found[f"energy_active_{this}"] = found["energy_active_total"] = total
        found[f"energy_reactive_{this}"] = found["energy_reactive_total"] = sum(reactive)
        found["energy_reactive_q3" if feeds else "energy_reactive_q1"] = sum(reactive)
        return found

    def _measure(self, day: int, minute: int, *, supplied: bool) -> dict[str, int]:
        sway = noise(f"{day}/{minute}", 1 + self.phases)
        """The grid's own restlessness: neighbours see the same frequency and voltage."""
        sign = -1 if self.kind is Kind.SOLAR else 1
        found: dict[str, int] = {"frequency": 49_968 + sway[0] // 4}
        sums = [0, 0, 0]
        for n, load in enumerate(self._loads, 1):
            active = load.day(day).power_mw(minute) if supplied else 0
            reactive = active * self._tangents[n - 1] // 1000
            apparent = isqrt(active**2 + reactive**2)
            sag_mv = sign * apparent // 1500
            voltage = NOMINAL_MV + self._offsets_mv[n - 1] + 10 * sway[n] - sag_mv
            found[f"voltage_l{n}n"] = voltage
            found[f"current_l{n}"] = sign * (apparent * 1000 // voltage)
            found |= _power(f"_l{n}", sign * active, sign * reactive, apparent)
            sums = [a + b for a, b in zip(sums, (active, reactive, apparent), strict=True)]
        found |= _power("", sign * sums[0], sign * sums[1], isqrt(sums[0] ** 2 + sums[1] ** 2))
        start = minute // WINDOW_MINUTES * WINDOW_MINUTES
        found["power_active_demand"] = sign * self._window_mw(day, start)
        return found | self._derived(found)

    def _derived(self, found: dict[str, int]) -> dict[str, int]:
        """What follows from the phases: means, sums, line-to-line voltages, neutral current."""
        volts = [found[f"voltage_l{n + 1}n"] for n in range(self.phases)]
        amps = [abs(found[f"current_l{n + 1}"]) for n in range(self.phases)]
        more = {
            "voltage_ln_avg": sum(volts) // self.phases,
            "current_sum": sum(amps),
            "current_avg": sum(amps) // self.phases,
            "current_n": amps[0],
            "phase_angle": self._angles[0],
            "thd_voltage_avg": 1_300,
            "temperature_1": 24_000 + amps[0] // 4,
        }
        for n, angle in enumerate(self._angles, 1):
            more |= {f"phase_angle_l{n}": angle, f"thd_voltage_l{n}": 1_300}
            more[f"thd_current_l{n}"] = 4_000 + angle // 10
        if self.phases == 3:
            pairs = ((0, 1), (1, 2), (2, 0))
            # 120 degrees apart: c^2 = a^2 + b^2 + ab, and three currents leave this in the neutral.
            lines = [isqrt(volts[a] ** 2 + volts[b] ** 2 + volts[a] * volts[b]) for a, b in pairs]
            squares = sum(amps[a] ** 2 - amps[a] * amps[b] for a, b in pairs)
            names = ("voltage_l1l2", "voltage_l2l3", "voltage_l3l1")
            more |= dict(zip(names, lines, strict=True))
            more |= {"voltage_ll_avg": sum(lines) // 3, "current_n": isqrt(squares)}
        return more

    def _peaks_of(self, day: int, minutes: int) -> tuple[Demand, ...]:
        """The highest demand of the first ``minutes`` of a day: in all, then in each tariff."""
        whole = minutes == 1440
        key = day, self.supply.changes
        if whole and key in self._peaks:
            return self._peaks[key]
        peaks = [Demand()] * (1 + TARIFFS)
        for start in range(0, minutes - WINDOW_MINUTES + 1, WINDOW_MINUTES):
            power_mw = self._window_mw(day, start)
            for n in (0, TARIFF_OF_HOUR[start // 60]):
                if power_mw > peaks[n].power_mw:
                    end_ms = self._day0_ms + day * DAY_MS + (start + WINDOW_MINUTES) * 60_000
                    peaks[n] = Demand(power_mw, end_ms / 1000)
        if whole:
            if len(self._peaks) > 62:
                self._peaks.clear()
            self._peaks[key] = tuple(peaks)
        return tuple(peaks)

    def _window_mw(self, day: int, start: int) -> int:
        """The mean power of the demand window that begins at this minute."""
        begin = (self._day0_ms + day * DAY_MS + start * 60_000) / 1000
        end = begin + WINDOW_MINUTES * 60
        if not self.supply.touched(begin, end):
            return sum(load.day(day).window_mw(start) for load in self._loads)
        before, after = (self.supply.energies(at)["energy_active_total"] for at in (begin, end))
        return (after - before) * 60 // WINDOW_MINUTES


def in_steps(point: str, amount: int, unit: str, decimals: int) -> int:
    """A customer's ``amount`` of ``point`` as a display shows it: in ``10**-decimals`` of ``unit``.

    A register shows whole steps only, everything else the nearest step.
    """
    energy = point.startswith("energy_")
    canonical = meaning_of(point)
    shift = exponent(canonical.unit if canonical else unit, unit) or 0
    finer = (6 if energy else 3) - shift - decimals
    step: int = 10 ** abs(finer)
    if finer <= 0:
        return amount * step
    return (amount + (0 if energy else step // 2)) // step


def _power(suffix: str, active: int, reactive: int, apparent: int) -> dict[str, int]:
    return {
        f"power_active{suffix}": active,
        f"power_reactive{suffix}": reactive,
        f"power_apparent{suffix}": apparent,
        f"power_factor{suffix}": active * 1000 // apparent if apparent else 1000,
    }
