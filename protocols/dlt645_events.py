"""The data identifiers of what happened to a meter: event counts and records (03, 10, 13, 1D, 1E).

Records that differ between filings are given as the base standard lays them out; a meter that
answers with another length (some export firmware sends start, end and voltage only) gives invalid
values.

Source: DL/T 645-2007 table A.4; extensions filed by State Grid and Southern Grid: 0332, 0333 and
0334 (purchases), 0335 (magnetic interference), 10 and 13 (losses of voltage and phase), 1D and 1E
(relay).
"""

from collections.abc import Iterable

from protocols.dlt645_fields import Field
from protocols.dlt645_patterns import Pattern, family

_COUNT = Field("XXXXXX", "times", name="count")
_MINUTES = Field("XXXXXX", "min", name="duration")
_TIME = Field("YYMMDDhhmmss", name="time")
_START, _END = Field("YYMMDDhhmmss", name="start"), Field("YYMMDDhhmmss", name="end")
_OPERATOR = Field("hex 4", name="operator")
_PHASES = ("phase A", "phase B", "phase C")

_QUADRANTS = tuple((f"quadrant {n}", "kvarh") for n in (1, 2, 3, 4))
_DIRECTIONS = (("import", "kWh"), ("export", "kWh"))
_COMBINED = (("combined reactive 1", "kvarh"), ("combined reactive 2", "kvarh"))


def _energies(kinds: Iterable[tuple[str, str]], of: str = "") -> tuple[Field, ...]:
    """One register for each kind of energy."""
    return tuple(Field("XXXXXX.XX", unit, name=f"{of} {kind}".strip()) for kind, unit in kinds)


_INCREMENTS = _energies((*_DIRECTIONS, *_COMBINED), "total")
"""What was counted while the event lasted; the phases' follow, with what was measured at its start:
the sign bit of current, powers and power factor is that of the variables."""


def _phase_increments(phase: str) -> tuple[Field, ...]:
    return _energies((*_DIRECTIONS, *_COMBINED), phase)


def _phase_state(phase: str) -> tuple[Field, ...]:
    return (
        Field("XXX.X", "V", name=f"{phase} voltage"),
        Field("XXX.XXX", "A", signed=True, name=f"{phase} current"),
        Field("XX.XXXX", "kW", signed=True, name=f"{phase} active power"),
        Field("XX.XXXX", "kvar", signed=True, name=f"{phase} reactive power"),
        Field("X.XXX", signed=True, name=f"{phase} power factor"),
    )


_STATES = tuple(f for p in _PHASES for f in (*_phase_increments(p), *_phase_state(p)))
_PHASES_ONLY = tuple(f for p in _PHASES for f in _phase_increments(p))
_AMPERE_HOURS = tuple(
    Field("XXXXXX.XX", "Ah", name=f"{of} ampere-hours") for of in ("total", *_PHASES)
)

_LOSS_RECORD = (_START, _END, *_INCREMENTS, *_STATES, *_AMPERE_HOURS)
_CURRENT_RECORD = (_START, _END, *_INCREMENTS, *_STATES)
_ENERGY_RECORD = (_START, _END, *_INCREMENTS, *_PHASES_ONLY)
_UNBALANCE_RECORD = (
    _START, _END, Field("XX.XX", "%", name="highest rate"), *_INCREMENTS, *_PHASES_ONLY,
)  # fmt: skip

# DI2, event, layout of a record; one record per phase
_PHASE_EVENTS = (
    ("01", "loss of voltage", _LOSS_RECORD),
    ("02", "under-voltage", _LOSS_RECORD),
    ("03", "over-voltage", _LOSS_RECORD),
    ("04", "phase failure", _LOSS_RECORD),
    ("0B", "loss of current", _CURRENT_RECORD),
    ("0C", "over-current", _CURRENT_RECORD),
    ("0D", "current break", _CURRENT_RECORD),
    ("0E", "power-flow reversal", _ENERGY_RECORD),
    ("0F", "overload", _ENERGY_RECORD),
)
# DI2, event, layout of a record; one record for all phases
_COMMON_EVENTS = (
    ("05", "total loss of voltage", (_START, Field("XXX.XXX", "A", name="current"), _END)),
    ("06", "auxiliary supply failure", (_START, _END)),
    ("07", "voltage reverse sequence", _ENERGY_RECORD),
    ("08", "current reverse sequence", _ENERGY_RECORD),
    ("09", "voltage unbalance", _UNBALANCE_RECORD),
    ("0A", "current unbalance", _UNBALANCE_RECORD),
)

_DONE = (_TIME, _OPERATOR)
_BEFORE_AND_AFTER = (*_DIRECTIONS, *_QUADRANTS)
_CLEARED = tuple(f for of in ("total", *_PHASES) for f in _energies(_BEFORE_AND_AFTER, of))
_DEMAND_UNITS = {"kWh": "kW", "kvarh": "kvar"}
_CLEARED_DEMANDS = tuple(
    part
    for field in _CLEARED
    for part in (
        Field("XX.XXXX", _DEMAND_UNITS[field.unit], name=f"{field.name} demand"),
        Field("YYMMDDhhmm", name=f"{field.name} demand at"),
    )
)
_COVER_RECORD = (
    _START, _END, *_energies(_BEFORE_AND_AFTER, "before"), *_energies(_BEFORE_AND_AFTER, "after"),
)  # fmt: skip


def _numbered(form: str, name: str, count: int) -> tuple[Field, ...]:
    return tuple(Field(form, name=f"{name} {n}") for n in range(1, count + 1))


# DI1 of 0330, what was done, layout of a record
_ACTIONS = (
    ("00", "programming", (*_DONE, *_numbered("DI", "identifier", 10))),
    ("01", "meter clear", (*_DONE, *_CLEARED)),
    ("02", "demand clear", (*_DONE, *_CLEARED_DEMANDS)),
    ("03", "event clear", (*_DONE, Field("DI", name="identifier"))),
    (
        "04",
        "clock set",
        (_OPERATOR, Field(_TIME.format, name="before"), Field(_TIME.format, name="after")),
    ),
    ("05", "day-table programming", (*_DONE, *_numbered("hhmmNN", "period", 16 * 14))),
    ("06", "season-table programming", (*_DONE, *_numbered("MMDDNN", "zone", 28))),
    ("07", "weekly-rest-day programming", (*_DONE, Field("NN", name="old table"))),
    ("08", "holiday programming", (*_DONE, *_numbered("YYMMDDNN", "holiday", 254))),
    ("09", "active combination programming", (*_DONE, Field("bits 1", name="old word"))),
    ("0A", "reactive combination 1 programming", (*_DONE, Field("bits 1", name="old word"))),
    ("0B", "reactive combination 2 programming", (*_DONE, Field("bits 1", name="old word"))),
    ("0C", "settlement-day programming", (*_DONE, *_numbered("DDhh", "old day", 3))),
    ("0D", "meter cover open", _COVER_RECORD),
    ("0E", "terminal cover open", _COVER_RECORD),
)

_QUALIFICATION = (
    Field("XXXXXX", "min", name="monitored"),
    Field("XXXX.XX", "%", name="within limits"),
    Field("XXXX.XX", "%", name="outside limits"),
    Field("XXXXXX", "min", name="over the limit"),
    Field("XXXXXX", "min", name="under the limit"),
    Field("XXX.X", "V", name="highest voltage"),
    Field("MMDDhhmm", name="highest at"),
    Field("XXX.X", "V", name="lowest voltage"),
    Field("MMDDhhmm", name="lowest at"),
)
_OVER_DEMAND = (
    _START, _END, Field("XX.XXXX", "kW", name="demand"), Field("YYMMDDhhmm", name="demand at"),
)  # fmt: skip


def _base_events() -> Iterable[Pattern]:
    for event, name, record in _PHASE_EVENTS:
        count = (_COUNT, _MINUTES)
        yield Pattern(f"03{event}0000", f"{name}, count and duration by phase", count, over="pp")
        yield from family(f"03{event}pprr", f"{name} record", record, "rr")
    for event, name, record in _COMMON_EVENTS:
        yield Pattern(f"03{event}0000", f"{name}, count and duration", (_COUNT, _MINUTES))
        yield from family(f"03{event}00rr", f"{name} record", record, "rr")
    yield Pattern("0310qqmm", "voltage qualification", _QUALIFICATION)
    yield Pattern("03110000", "power failure count", (_COUNT,))
    yield from family("031100rr", "power failure record", (_START, _END), "rr")
    directions = ("import", "export", *(name for name, _ in _QUADRANTS))
    counts = tuple(Field(_COUNT.format, "times", name=name) for name in directions)
    yield Pattern("03120000", "demand-over-limit counts", counts)
    yield Pattern("0312x6rr", "demand-over-limit record", _OVER_DEMAND)
    for action, name, record in _ACTIONS:
        yield Pattern(f"0330{action}00", f"{name} count", (_COUNT,))
        yield from family(f"0330{action}rr", f"{name} record", record, "rr")


def _purchases() -> Iterable[Pattern]:
    for group, kind, unit, money in (("32", "energy", "kWh", False), ("33", "money", "yuan", True)):
        register = Field("XXXXXX.XX", unit)
        for number, name, field, point in (
            (1, "time", Field("YYMMDDhhmm"), "purchase_time_last"),
            (2, "count", Field("XXXX", "times"), "purchase_count"),
            (3, "amount", register, "purchase_amount_last" if money else ""),
            (4, "remaining before", register, ""),
            (5, "remaining after", register, ""),
            (6, "all so far", register, "purchase_amount_total" if money else ""),
        ):
            di = f"03{group}0{number}rr"
            yield from family(di, f"{kind} purchase, {name}", (field,), "rr", point=point)
    yield Pattern("03340001", "refund count", (Field("XXXX", "times"),))
    before_and_after = (*_energies(_DIRECTIONS, "start"), *_energies(_DIRECTIONS, "end"))
    yield Pattern("03350000", "magnetic interference count", (_COUNT,))
    yield Pattern("03350001", "magnetic interference record", (_START, _END, *before_and_after))


def _filed() -> Iterable[Pattern]:
    yield Pattern("10000001", "loss of voltage count", (_COUNT,))
    yield Pattern("10000101", "last loss of voltage, start", (_START,))
    yield Pattern("10000201", "last loss of voltage, end", (_END,))
    for number, phase in enumerate(_PHASES, 1):
        yield Pattern(f"130{number}0001", f"{phase} failure count", (_COUNT,))
        yield Pattern(f"130{number}0002", f"{phase} failure duration", (_MINUTES,))
        yield Pattern(f"130{number}0101", f"{phase} failure start", (_START,))
        yield Pattern(f"130{number}2501", f"{phase} failure end", (_END,))
    registers = _energies(_BEFORE_AND_AFTER)
    for group, name in (("1D", "trip"), ("1E", "close")):
        block = f"{group}00FFrr"
        point = f"relay_{name}_count"
        yield Pattern(f"{group}000001", f"relay {name} count", (_COUNT,), point=point)
        record = (_TIME, _OPERATOR, *registers)
        for index, field in enumerate(record):
            point = f"relay_{name}_time" if field is _TIME else ""
            of = f"relay {name} record, {field.name}"
            yield Pattern(f"{group}00{index + 1:02X}rr", of, (field,), block, "", point, index)
        yield Pattern(block, f"relay {name} record", record)


EVENTS: tuple[Pattern, ...] = (*_base_events(), *_purchases(), *_filed())
