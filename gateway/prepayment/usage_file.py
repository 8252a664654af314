"""A usage as people write it: in a check of a tariff file, or as USAGE.json for ``taiqu rate``.

All numbers are decimal text (or whole numbers) in kWh, kvarh, kW and kVA; a JSON or TOML float is
refused, because it is no longer what was written.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.explain import did_you_mean, explain
from gateway.prepayment.periods import Days, Months
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.usage import Usage, UsageError

Number = Annotated[
    str,
    BeforeValidator(lambda found: str(found) if type(found) is int else found),
    Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,3})?$"),
]
Day = Annotated[
    date,
    BeforeValidator(lambda found: date.fromisoformat(found) if isinstance(found, str) else found),
    Field(ge=date(1980, 1, 1), le=date(2999, 12, 31)),
]
BY_RATE = 'as text, like "360.5", or by rate, like { "peak": "120.5", "valley": "240" }'


class CapacityPart(BaseModel):
    """``capacity``: so much for so many days."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kva: Number
    days: int = Field(ge=0, le=400)


class UsageTable(BaseModel):
    """What was used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kwh: Number | dict[str, Number] = Field(description=f"kWh {BY_RATE}")
    kvarh: Number = Field("0", description='kvarh as text, like "81"')
    reverse_kwh: Number | dict[str, Number] = Field({}, description=f"exported kWh {BY_RATE}")
    demand_kw: Number | None = Field(None, description='maximum demand as text, like "950.5"')
    contract_kw: Number | None = Field(None, description='contracted demand, like "1000"')
    capacity: Number | list[CapacityPart] = Field(
        [], description='kVA as text, like "315", or [{ "kva": "315", "days": 18 }, ...]'
    )
    days: int | None = Field(None, ge=0, le=400, description="days covered, 0 to 400")
    period_days: int | None = Field(
        None, ge=1, le=400, description="days of the whole settlement period, 1 to 400"
    )
    day: Day | None = Field(None, description='the last day covered, like "2026-07-31"')
    step_before_kwh: Number = Field("0", description="kWh before in the same step period")
    step_used_kwh: list[Number] = Field([], description="the same by step, from the first step up")
    step_share: Literal["1"] | Annotated[str, Field(pattern=r"^[0-9]{1,3}/[0-9]{1,3}$")] = Field(
        "1", description='a part of the step limits, like "5/12"'
    )


def read_usage(found: object, tariff: Tariff, where: str = "usage") -> Usage:
    """The usage that ``found`` describes, with the rate names and periods of ``tariff``.

    Raises UsageError with every problem, one a line.
    """
    try:
        table = UsageTable.model_validate(found)
    except ValidationError as error:
        told = [explain(UsageTable, each, where) for each in error.errors(include_url=False)]
        # A union is tried part by part; the person made one mistake.
        problems = dict.fromkeys(f"{place}: {problem}" for place, problem in told)
        raise UsageError("\n".join(problems)) from error
    period_days = _period_days(table, tariff)
    days = period_days if table.days is None else table.days
    share, _, whole = table.step_share.partition("/")
    try:
        return Usage(
            energy_wh=_energy(table.kwh, tariff, f"{where}.kwh"),
            reactive_varh=milli(table.kvarh),
            reverse_wh=_energy(table.reverse_kwh, tariff, f"{where}.reverse_kwh"),
            demand_w=None if table.demand_kw is None else milli(table.demand_kw),
            contract_w=None if table.contract_kw is None else milli(table.contract_kw),
            capacity=_capacity(table.capacity, days),
            days=days,
            period_days=period_days,
            day=table.day,
            step_before_wh=milli(table.step_before_kwh),
            step_used_wh=tuple(milli(each) for each in table.step_used_kwh),
            step_share=(int(share), int(whole or 1)),
        )
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def milli(text: str) -> int:
    """A decimal with at most three decimals in thousandths: kWh in Wh."""
    return int(Decimal(text).scaleb(3))


def _period_days(table: UsageTable, tariff: Tariff) -> int:
    if table.period_days is not None:
        return table.period_days
    if table.day is not None:
        first, last = tariff.settlement_period(table.day)
        return (last - first).days + 1
    match tariff.settlement:
        case Days(days=days):
            return days
        case Months(months=months):
            # A month of 31 days is one, too.
            return max(30 * months, table.days or 0)


def _energy(found: str | Mapping[str, str], tariff: Tariff, where: str) -> dict[str, int]:
    if isinstance(found, str):
        return {"total": milli(found)}
    known = {"total": "total"} | {register: register for register in tariff.registers.values()}
    known |= tariff.registers
    energy_wh: dict[str, int] = {}
    for name, text in found.items():
        if name not in known:
            raise UsageError(f"{where}.{name}: no such rate; {did_you_mean(name, tuple(known))}")
        if known[name] in energy_wh:
            raise UsageError(f"{where}.{name}: its register {known[name]} stands there twice")
        energy_wh[known[name]] = milli(text)
    return energy_wh


def _capacity(found: str | list[CapacityPart], days: int) -> tuple[tuple[int, int], ...]:
    if isinstance(found, str):
        return ((milli(found), days),)
    return tuple((milli(part.kva), part.days) for part in found)
