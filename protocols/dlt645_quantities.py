"""The data identifiers of what a meter measures: energy, demand, variables, freezes, money.

Source: DL/T 645-2007 tables A.1, A.2, A.3 and A.6.  Extensions filed by State Grid and Southern
Grid: prepayment (0090), prices and authentication (0280000B, 02800020..23), freezes 0504 to 0507.
02920200..02A50000 are the wider ranges of meters with large current transformers.
"""

from collections.abc import Iterable

from protocols.dlt645_fields import Field
from protocols.dlt645_patterns import Pattern, family

_DEMAND_TIME = Field("YYMMDDhhmm", name="at")

# DI2 of the total, name, unit of energy, unit of demand, sign bit, point of the energy
_KINDS = (
    (0x00, "combined active", "kWh", "kW", True, "energy_active_total"),
    (0x01, "import active", "kWh", "kW", False, "energy_active_import"),
    (0x02, "export active", "kWh", "kW", False, "energy_active_export"),
    (0x03, "combined reactive 1", "kvarh", "kvar", True, "energy_reactive_import"),
    (0x04, "combined reactive 2", "kvarh", "kvar", True, "energy_reactive_export"),
    (0x05, "quadrant 1 reactive", "kvarh", "kvar", False, "energy_reactive_q1"),
    (0x06, "quadrant 2 reactive", "kvarh", "kvar", False, "energy_reactive_q2"),
    (0x07, "quadrant 3 reactive", "kvarh", "kvar", False, "energy_reactive_q3"),
    (0x08, "quadrant 4 reactive", "kvarh", "kvar", False, "energy_reactive_q4"),
    (0x09, "import apparent", "kVAh", "kVA", False, "energy_apparent_import"),
    (0x0A, "export apparent", "kVAh", "kVA", False, "energy_apparent_export"),
)
_DEMAND_POINTS = {1: "power_active_demand_max", 2: "power_active_export_demand_max"}
_SPECIAL_KINDS = (
    "associated", "import fundamental", "export fundamental", "import harmonic", "export harmonic",
    "copper loss", "iron loss",
)  # fmt: skip
_PHASE_STEP = 0x14
"""DI2 of a phase's kinds: 15H, 29H and 3DH onwards, in the order of the totals from 01H."""


def _energies() -> Iterable[Pattern]:
    for kind, name, unit, _, signed, point in _KINDS:
        field = (Field("XXXXXX.XX", unit, signed),)
        di, every = f"00{kind:02X}ttss", point + "{tt}"
        yield from family(di, f"{name} energy", field, "tt", "ss", point=every)
        for phase in (1, 2, 3) if kind else ():
            di = f"00{kind + _PHASE_STEP * phase:02X}00ss"
            of_phase = f"phase {'_ABC'[phase]} {name} energy"
            yield from family(di, of_phase, field, "ss", point=f"{point}_l{phase}")
    field = (Field("XXXXXX.XX", "kWh"),)
    for phase, of_phase in enumerate(("", "phase A ", "phase B ", "phase C ")):
        for offset, name in enumerate(_SPECIAL_KINDS):
            di = f"00{0x80 + offset + _PHASE_STEP * phase:02X}00ss"
            yield from family(di, f"{of_phase}{name} energy", field, "ss")
    yield from family("000B00ss", "usage in a settlement period", field, "ss")


def _prepayment() -> Iterable[Pattern]:
    for kind, name, unit, point in (
        (1, "energy", "kWh", "balance_energy"),
        (2, "amount", "yuan", "balance"),
    ):
        field = (Field("XXXXXX.XX", unit),)
        block = f"00900{kind}FF"
        yield Pattern(f"00900{kind}00", f"remaining {name}", field, block, point=point, index=0)
        yield Pattern(
            f"00900{kind}01", f"overdrawn {name}", field, block, point=f"{point}_overdraft", index=1
        )
        yield Pattern(block, f"remaining and overdrawn {name}", field, over="oo")
    yield Pattern("00900202", "number of purchases", (Field("XXXX", "times"),))
    yield Pattern("00900220", "free amount", (Field("XXXXXX.XX", "yuan"),))


def _demands() -> Iterable[Pattern]:
    for kind, name, _, unit, signed, _ in _KINDS[1:]:
        fields = (Field("XX.XXXX", unit, signed, name="demand"), _DEMAND_TIME)
        di, point = f"01{kind:02X}ttss", _DEMAND_POINTS.get(kind, "")
        yield from family(di, f"{name} maximum demand", fields, "tt", "ss", point=point)
        for phase in (1, 2, 3):
            di = f"01{kind + _PHASE_STEP * phase:02X}00ss"
            yield from family(di, f"phase {'_ABC'[phase]} {name} maximum demand", fields, "ss")


_SINGLE_VARIABLES = (
    ("02800001", "XXX.XXX", "A", True, "neutral current", "current_n"),
    ("02800002", "XX.XX", "Hz", False, "grid frequency", "frequency"),
    ("02800003", "XX.XXXX", "kW", True, "one-minute average active power", ""),
    ("02800004", "XX.XXXX", "kW", True, "present active demand", "power_active_demand"),
    ("02800005", "XX.XXXX", "kvar", True, "present reactive demand", "power_reactive_demand"),
    ("02800006", "XX.XXXX", "kVA", True, "present apparent demand", "power_apparent_demand"),
    ("02800007", "XXX.X", "degC", True, "temperature inside the meter", "temperature_1"),
    ("02800008", "XX.XX", "V", False, "clock battery voltage", "battery_voltage"),
    (
        "02800009",
        "XX.XX",
        "V",
        False,
        "power-off reading battery voltage",
        "battery_voltage_readout",
    ),
    ("0280000A", "XXXXXXXX", "min", False, "time run on the internal battery", "battery_time"),
    ("0280000B", "XXXX.XXXX", "yuan/kWh", False, "present step price", ""),
    ("02800020", "XXXX.XXXX", "yuan/kWh", False, "present price", "tariff_price"),
    ("02800021", "XXXX.XXXX", "yuan/kWh", False, "present tariff price", ""),
    ("02800022", "XXXX", "min", False, "minutes left of the identity authentication", ""),
    ("02800023", "XXXX", "min", False, "minutes left of the infrared authentication", ""),
    ("02920200", "XXXXX.X", "A", True, "phase A current, wide range (vendor)", ""),
    ("02920300", "XXXXX.X", "A", True, "phase B current, wide range (vendor)", ""),
    ("02920400", "XXXXX.X", "A", True, "phase C current, wide range (vendor)", ""),
    ("02930000", "XXXX.XX", "kW", True, "active power, wide range (vendor)", ""),
    ("02A30000", "XXXX.XXXX", "kW", True, "active power, wide range (vendor)", ""),
    ("02A40000", "XXXX.XXXX", "kvar", True, "reactive power, wide range (vendor)", ""),
    ("02A50000", "XXXX.XXXX", "kVA", True, "apparent power, wide range (vendor)", ""),
    ("028011FF", "hex", "", False, "live-data block (vendor)", ""),
)


def _variables() -> Iterable[Pattern]:
    for di, axis, name, form, unit, signed, point in (
        ("0201vv00", "vv", "voltage", "XXX.X", "V", False, "voltage{vv}"),
        ("0202pp00", "pp", "current", "XXX.XXX", "A", True, "current{pp}"),
        ("0203qq00", "qq", "active power", "XX.XXXX", "kW", True, "power_active{qq}"),
        ("0204qq00", "qq", "reactive power", "XX.XXXX", "kvar", True, "power_reactive{qq}"),
        ("0205qq00", "qq", "apparent power", "XX.XXXX", "kVA", True, "power_apparent{qq}"),
        ("0206qq00", "qq", "power factor", "X.XXX", "", True, "power_factor{qq}"),
        ("0207pp00", "pp", "phase angle", "XXX.X", "deg", False, "phase_angle{pp}"),
        ("0208pp00", "pp", "voltage THD", "XX.XX", "%", False, "thd_voltage{pp}"),
        ("0209pp00", "pp", "current THD", "XX.XX", "%", False, "thd_current{pp}"),
        ("020Apphh", "hh", "voltage harmonic content", "XX.XX", "%", False, ""),
        ("020Bpphh", "hh", "current harmonic content", "XX.XX", "%", False, ""),
    ):
        yield from family(di, name, (Field(form, unit, signed),), axis, point=point)
    for di, form, unit, signed, name, point in _SINGLE_VARIABLES:
        yield Pattern(di, name, (Field(form, unit, signed),), point=point)


_KINDS_OF_FREEZE = (
    "timed", "instant", "season-table switch", "day-table switch", "hourly", "price switch",
    "daily", "step switch",
)  # fmt: skip


def _freezes() -> Iterable[Pattern]:
    powers = tuple(
        Field("XX.XXXX", unit, signed=True, name=f"{name} power {of}".strip())
        for name, unit in (("active", "kW"), ("reactive", "kvar"))
        for of in ("total", "phase A", "phase B", "phase C")
    )
    for kind, word in enumerate(_KINDS_OF_FREEZE):
        daily = word == "daily"
        di, block = f"05{kind:02X}", f"05{kind:02X}FFnn"
        name = f"{word} freeze"
        point = "daily_freeze_time" if daily else ""
        yield Pattern(f"{di}00nn", f"{name} time", (Field("YYMMDDhhmm"),), block, point=point)
        for content, what, unit, _, signed, energy in _KINDS[1:9]:
            item, field = f"{di}{content:02X}nn", (Field("XXXXXX.XX", unit, signed),)
            point = f"{energy}_daily_freeze" if daily else ""
            yield Pattern(item, f"{name} {what} energy", field, block, "tt", point)
        for content, what in ((9, "import"), (10, "export")):
            fields = (Field("XX.XXXX", "kW", name="demand"), _DEMAND_TIME)
            yield Pattern(
                f"{di}{content:02X}nn", f"{name} {what} maximum demand", fields, block, "tt"
            )
        yield Pattern(f"{di}10nn", f"{name} powers", powers, block)
        yield Pattern(block, f"{name}, all that is switched on", (Field("hex"),), block)
    yield Pattern("050802nn", "daily freeze remaining amount", (Field("XXXXXX.XX", "yuan"),))


QUANTITIES: tuple[Pattern, ...] = (
    *_energies(), *_prepayment(), *_demands(), *_variables(), *_freezes(),
)  # fmt: skip
