"""The names of what a meter measures: one name, one unit, one resolution, for ever.

A name reads ``<quantity>[_<direction>][_<phase>][_t<tariff>][_<qualifier>]``, in lower case:
``energy_active_import_t2``, ``voltage_l1n``, ``power_active_demand_max``.  Inside, a value
is a whole number of steps of ``10**-decimals`` of the unit; the steps are fine enough that nothing
a known meter sends exactly is lost.  The names are patterns, so a meter with twelve tariffs needs
nothing new here.

Not supported: names of one maker's own, and values whose unit depends on a setting of the meter.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from itertools import product


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one canonical name means."""

    name: str
    unit: str
    """For people and messages: ``kWh``, ``V``; empty for counts, bits and texts."""
    decimals: int
    """Resolution inside: the value is a whole number of ``10**-decimals`` of the unit."""
    text: bool
    """The value is a text (a state, a time, a serial number), not a number."""
    choices: tuple[str, ...]
    """The only texts it may be; empty where any will do."""
    cumulative: bool
    """A register that only grows: a smaller value is another meter, or an error."""
    ct: bool
    """Measured behind current transformers (电流互感器), so to be multiplied by their ratio."""
    pt: bool
    """Measured behind voltage transformers (电压互感器), so to be multiplied by their ratio."""
    description: str
    """One line for people."""


@dataclass(frozen=True, slots=True)
class _Quantity:
    unit: str = ""
    decimals: int = 0
    ct: bool = False
    pt: bool = False
    text: bool = False


_KWH, _KVARH, _KVAH = (_Quantity(unit, 3, ct=True, pt=True) for unit in ("kWh", "kvarh", "kVAh"))
_W, _VAR, _VA = (_Quantity(unit, 2, ct=True, pt=True) for unit in ("W", "var", "VA"))
_VOLT, _AMPERE = _Quantity("V", 3, pt=True), _Quantity("A", 4, ct=True)
_CREDIT_KWH, _MONEY, _PRICE = _Quantity("kWh", 3), _Quantity("yuan", 2), _Quantity("yuan/kWh", 4)
_COUNT, _TEXT = _Quantity(), _Quantity(text=True)

_SEGMENT = re.compile(r"\[([^]]+)\]|\(([^)]+)\)|([^[(]+)")
_NUMBER = "(?:[1-9]|[1-5][0-9]|6[0-3])"
"""Tariffs and steps 1 to 63: DL/T 645-2007 annex A, item 04000204."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Names that differ in direction, phase, tariff or qualifier only."""

    pattern: str
    """``(a|b)`` is one of them, ``[a|b]`` one of them or nothing; ``#`` is 1 to 63."""
    quantity: _Quantity
    description: str
    cumulative: bool = False
    choices: tuple[str, ...] = ()

    def segments(self) -> Iterator[list[str]]:
        """What may stand in each place of the name; an empty text where nothing may."""
        for optional, needed, plain in _SEGMENT.findall(self.pattern):
            yield [*optional.split("|"), ""] if optional else (needed or plain).split("|")

    def regex(self) -> re.Pattern[str]:
        places = ("|".join(options).replace("#", _NUMBER) for options in self.segments())
        return re.compile("".join(f"({place})" for place in places))

    def examples(self) -> Iterator[str]:
        """Its names, with tariffs and steps 1 to 4."""
        for words in product(*self.segments()):
            name = "".join(words)
            yield from (name.replace("#", str(n)) for n in range(1, 5)) if "#" in name else [name]


_PHASES = "_l1|_l2|_l3"
_SPLIT = f"[{_PHASES}|_t#][_daily_freeze]"
_RELAY = ("closed", "tripped")

# fmt: off
_FAMILIES = (
    _Family(f"energy_active(_import|_export){_SPLIT}", _KWH, "active energy", cumulative=True),
    # The meter decides what it combines (04000601), and it may subtract: so not cumulative.
    _Family(f"energy_active(_total|_net){_SPLIT}", _KWH, "active energy"),
    _Family("energy_active(_import|_export)_resettable", _KWH, "active energy since its reset"),
    _Family("energy_active_free", _CREDIT_KWH, "active energy given free of charge"),
    _Family(f"energy_reactive(_import|_export|_q1|_q2|_q3|_q4){_SPLIT}", _KVARH,
            "reactive energy", cumulative=True),
    _Family(f"energy_reactive_total{_SPLIT}", _KVARH, "reactive energy, all directions"),
    _Family("energy_reactive(_import|_export)_resettable", _KVARH,
            "reactive energy since its reset"),
    _Family(f"energy_apparent(_import|_export){_SPLIT}", _KVAH, "apparent energy",
            cumulative=True),
    _Family("energy_apparent_total", _KVAH, "apparent energy, both directions"),

    _Family(f"power_active[_import|_export][{_PHASES}]", _W, "active power, import positive"),
    _Family(f"power_reactive[_import|_export][{_PHASES}]", _VAR, "reactive power"),
    _Family(f"power_apparent[{_PHASES}]", _VA, "apparent power"),
    _Family("power_active[_import|_export][_t#](_demand|_demand_max)[_daily_freeze]", _W,
            "active power"),
    _Family("power_reactive[_import|_export][_t#](_demand|_demand_max)[_daily_freeze]", _VAR,
            "reactive power"),
    _Family("power_apparent(_demand|_demand_max)", _VA, "apparent power"),
    _Family("power_(active|reactive)[_import|_export][_t#]_demand_max_time[_daily_freeze]", _TEXT,
            "when the highest demand was, by the meter's clock"),
    _Family(f"power_factor[{_PHASES}]", _Quantity("", 4), "power factor, sign as active power"),
    _Family("power_factor_type", _TEXT, "current after or before the voltage",
            choices=("inductive", "capacitive")),
    _Family("power_limit", _W, "active power above which the meter trips"),

    _Family("voltage(_l1n|_l2n|_l3n)", _VOLT, "voltage to neutral"),
    _Family("voltage_load(_l1n|_l2n|_l3n)", _VOLT, "voltage to neutral behind the relay"),
    _Family("voltage(_l1l2|_l2l3|_l3l1)", _VOLT, "voltage between phases"),
    _Family("voltage(_ln_avg|_ll_avg)", _VOLT, "mean voltage"),
    _Family("current(_l1|_l2|_l3|_n|_avg|_sum)", _AMPERE, "current"),
    _Family("frequency", _Quantity("Hz", 3), "mains frequency"),
    _Family(f"phase_angle[{_PHASES}]", _Quantity("deg", 2), "angle from voltage to current"),
    _Family(f"thd_(voltage|current)[{_PHASES}|_avg]", _Quantity("%", 2), "harmonic distortion"),
    _Family("phase_sequence", _COUNT, "order of the phases, as the meter codes it"),
    _Family("temperature_(1|2|3|4)", _Quantity("degC", 1), "temperature in or at the meter"),
    _Family("battery_voltage[_readout]", _Quantity("V", 3), "battery of the clock or the read-out"),
    _Family("battery_time", _Quantity("min", 0), "time the clock has run on its battery",
            cumulative=True),

    _Family("meter_time", _TEXT, "date and time by the meter's clock, in its local time"),
    _Family("meter_date", _TEXT, "date by the meter's clock"),
    _Family("meter_clock", _TEXT, "time of day by the meter's clock"),
    _Family("daily_freeze_time", _TEXT, "when the meter froze its registers last"),
    _Family("(serial_number|meter_number|meter_model|device_type)", _TEXT, "which meter this is"),
    _Family("(firmware_version|hardware_version)", _TEXT, "version of the meter"),
    _Family("(ct|pt)_ratio", _Quantity("", 1), "transformer ratio as set in the meter"),
    _Family("tariff_active", _COUNT, "number of the tariff in force"),
    _Family("tariff_count", _COUNT, "number of tariffs configured"),
    _Family("status_word[_1|_2|_3|_4|_5|_6|_7]", _COUNT, "running status, one bit per fact"),
    _Family("fault_code", _COUNT, "the meter's own fault number"),
    _Family("(comm_unit_id|comm_baud)", _COUNT, "how the meter is set to talk, in its own code"),
    _Family("(event_last|event_relay_last)", _TEXT, "the meter's last record, in hexadecimal"),
    _Family("alarm_overpower", _COUNT, "1 while more power is drawn than the meter was told"),

    _Family("balance", _MONEY, "money left (剩余金额)"),
    _Family("balance_overdraft", _MONEY, "money owed (透支金额), never negative"),
    _Family("balance_energy", _CREDIT_KWH, "energy left (剩余电量)"),
    _Family("balance_energy_overdraft", _CREDIT_KWH, "energy owed, never negative"),
    _Family("balance_alarm(1|2)_threshold", _MONEY, "alert amount (报警金额)"),
    _Family("balance_energy_alarm(1|2)_threshold", _CREDIT_KWH, "alert energy (报警电量)"),
    _Family("balance(_overdraft_limit|_emergency_amount)", _MONEY, "credit beyond zero"),
    _Family("balance_energy_overdraft_limit", _CREDIT_KWH, "credit beyond zero"),
    _Family("purchase_count", _COUNT, "top-ups so far (购电次数)", cumulative=True),
    _Family("purchase_amount_last", _MONEY, "last top-up"),
    _Family("purchase_amount_total", _MONEY, "all top-ups together", cumulative=True),
    _Family("purchase_time_last", _TEXT, "when the last top-up was, by the meter's clock"),
    _Family("tariff_price[_t#|_step#]", _PRICE, "price; without a number the one in force"),
    _Family("relay_state", _TEXT, "the relay as measured", choices=_RELAY),
    _Family("relay_command_state", _TEXT, "the relay as last commanded", choices=_RELAY),
    _Family("relay_forced", _COUNT, "1 while the supply is protected (保电): no trip"),
    _Family("relay_pre_trip_alarm", _COUNT, "1 while the meter warns that it will trip"),
    _Family("relay_fault", _COUNT, "1 while the contact does not follow its command"),
    _Family("relay_load_voltage", _COUNT, "1 while there is voltage behind the relay"),
    _Family("relay(_trip_count|_close_count)", _COUNT, "relay operations so far", cumulative=True),
    _Family("relay(_trip_time|_close_time)", _TEXT, "last relay operation, by the meter's clock"),
    _Family("forced_control_enable", _COUNT, "1 while a command, not the balance, rules the relay"),
    _Family("overload_trip_count", _COUNT, "trips for too much power so far", cumulative=True),
    _Family("overload_trip_allowed", _COUNT, "trips for too much power before it stays tripped"),
    _Family("prepay_mode", _TEXT, "what the meter counts down",
            choices=("none", "energy", "money", "reserved")),
    _Family("arrears", _COUNT, "1 while the customer owes"),
)
# fmt: on

_REGEXES = tuple((family, family.regex()) for family in _FAMILIES)

_WORDS = {
    "import": "imported",
    "export": "exported",
    "total": "as the meter combines it",
    "net": "import less export",
    "demand": "mean over the demand period",
    "demand_max": "highest mean over a demand period",
    "daily_freeze": "at the last daily freeze (日冻结)",
    "avg": "mean of the phases",
    "sum": "sum of the phases",
    "n": "neutral",
    "readout": "for reading without mains",
}
_NUMBERED = {"l": "phase L{}", "q": "quadrant {}", "t": "tariff {}", "step": "step {}"}


def _in_words(part: str) -> str | None:
    """What one part of a name adds to its family's description."""
    part = part.strip("_")
    letters = part.rstrip("0123456789")
    if letters in _NUMBERED and letters != part:
        return _NUMBERED[letters].format(part[len(letters) :])
    return _WORDS.get(part)


@lru_cache(maxsize=1024)
def point(name: str) -> Point | None:
    """The meaning of ``name``, or None if it is no canonical name."""
    for family, regex in _REGEXES:
        match = regex.fullmatch(name)
        if match is None:
            continue
        quantity = family.quantity
        words = [family.description, *filter(None, map(_in_words, match.groups()))]
        return Point(
            name=name,
            unit=quantity.unit,
            decimals=quantity.decimals,
            text=quantity.text,
            choices=family.choices,
            cumulative=family.cumulative,
            ct=quantity.ct,
            pt=quantity.pt,
            description=", ".join(words),
        )
    return None


@cache
def _examples() -> tuple[str, ...]:
    return tuple(name for family in _FAMILIES for name in family.examples())


def suggest(name: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """At most three names close to ``name``, best first: of ``known``, or of all there are."""
    names = known or _examples()
    words = sorted(name.split("_"))
    swapped = [other for other in names if sorted(other.split("_")) == words]
    return tuple(dict.fromkeys([*swapped, *get_close_matches(name, names, 3)]))[:3]


_UNITS = {
    "": ("", 0),
    "times": ("", 0),
    **{
        f"{prefix}{base}": (base, exponent)
        for base in ("Wh", "varh", "VAh", "W", "var", "VA", "V", "A", "Hz")
        for prefix, exponent in (("m", -3), ("", 0), ("k", 3), ("M", 6))
    },
    "deg": ("deg", 0),
    "degC": ("degC", 0),
    "%": ("%", 0),
    "min": ("min", 0),
    "yuan": ("yuan", 0),
    "fen": ("yuan", -2),
    "yuan/kWh": ("yuan/kWh", 0),
    "fen/kWh": ("yuan/kWh", -2),
}


def exponent(unit: str, into: str) -> int | None:
    """The power of ten that turns a number of ``unit`` into one of ``into`` (kW into W: 3).

    None where the two measure different things, or where a unit is unknown.
    """
    a, b = _UNITS.get(unit), _UNITS.get(into)
    return a[1] - b[1] if a and b and a[0] == b[0] else None


def units(like: str) -> tuple[str, ...]:
    """Every unit that ``exponent`` turns into ``like``."""
    return tuple(unit for unit in _UNITS if exponent(unit, like) is not None)
