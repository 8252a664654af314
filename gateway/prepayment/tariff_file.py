"""The tables of a tariff file as models: what may stand where, and what to write.

A field's description completes the sentence "write ..." in an error message.  Every number that is
priced, or priced by, is quoted text (``"0.588"``): a TOML float is no longer what was written.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.prepayment.charges import DemandRule
from gateway.prepayment.energy import Filling
from gateway.prepayment.reckoning import Category
from gateway.prepayment.windows import DayType

PriceText = Annotated[str, Field(pattern=r"^-?[0-9]{1,7}(\.[0-9]{1,10})?$")]
AmountText = Annotated[str, Field(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,10})?$")]
EnergyText = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,3})?$")]
UnitText = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,3}|0\.[0-9]{0,3}[1-9])$")]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
SeasonText = Annotated[str, Field(pattern=r"^[0-9]{2}-[0-9]{2}\.\.[0-9]{2}-[0-9]{2}$")]
WindowText = Annotated[str, Field(pattern=r"^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$")]
Day = Annotated[date, Field(ge=date(1980, 1, 1), le=date(2999, 12, 31))]
Register = Literal["t1", "t2", "t3", "t4", "t5", "t6"]
Mode = Literal["half_up", "half_even", "floor", "ceil", "truncate"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

PRICE = 'a price as quoted text, like "0.588"'
AMOUNT = 'an amount as quoted text, like "15.50"'
SEASONS = 'a list of days of the year, like ["07-01..08-31"]'
BOUNDS = 'kWh as quoted text, from the lowest limit up, like ["2760", "4800"]'
ROUNDING = 'a unit and how: { unit = "0.01", mode = "half_up" }'
OF = 'the ids of components that stand before it, like ["energy"]'
BASIS = "30 if each month counts as 30 days; leave it out for the days the period has"


class Table(BaseModel):
    """What all tables share: frozen, strict, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RoundingTable(Table):
    """To which unit and how something is rounded."""

    unit: UnitText
    mode: Mode = "half_up"


class RoundingsTable(Table):
    """``[rounding]``: what is rounded when."""

    usage: RoundingTable | None = Field(
        None, description='before pricing, in kWh: { unit = "1", mode = "half_up" }'
    )
    line: RoundingTable | None = Field(None, description=ROUNDING)
    total: RoundingTable = Field(RoundingTable(unit="0.01"), description=ROUNDING)


class SettlementTable(Table):
    """``[settlement]``: the periods that are billed."""

    every: Literal["month", "two_months", "days"] = Field(
        description='"month", "two_months" or "days"'
    )
    start_day: int = Field(1, ge=1, le=28, description="the day on which it begins, 1 to 28")
    start_month: int = Field(1, ge=1, le=12, description="a month in which one begins, 1 to 12")
    days: int | None = Field(None, ge=1, le=62, description="how many days, 1 to 62")
    anchor: Day | None = Field(None, description="a day on which one begins, like 2026-01-05")


class SeasonBoundsTable(Table):
    """``[[steps.season]]``: other limits in some seasons."""

    seasons: list[SeasonText] = Field(min_length=1, max_length=8, description=SEASONS)
    bounds: list[EnergyText] = Field(min_length=1, max_length=19, description=BOUNDS)


class ChangeTable(Table):
    """``[[steps.change]]``: other limits from a day on."""

    since: Day = Field(description="the first day, like 2026-07-01")
    bounds: list[EnergyText] = Field(min_length=1, max_length=19, description=BOUNDS)


class StepsTable(Table):
    """``[steps]``: the limits that all components with steps share."""

    period: Literal["settlement", "month", "two_months", "year", "season"] = Field(
        description='"settlement", "month", "two_months", "year" or "season"'
    )
    start_day: int = Field(1, ge=1, le=28, description="the day on which it begins, 1 to 28")
    start_month: int = Field(1, ge=1, le=12, description="a month in which one begins, 1 to 12")
    bounds: list[EnergyText] = Field([], max_length=19, description=BOUNDS)
    scale_days: int | None = Field(
        None, ge=1, le=366, description="for how many days the limits are, like 30"
    )
    proration: Literal["none", "months", "days"] = Field(
        "none", description='"none", "months" or "days"'
    )
    season: list[dict[str, object]] = Field([], max_length=12, description="[[steps.season]]")
    change: list[dict[str, object]] = Field([], max_length=50, description="[[steps.change]]")


class WindowTable(Table):
    """``[[window]]``: which rate holds when, on some days."""

    seasons: list[SeasonText] = Field([], max_length=8, description=SEASONS)
    days: list[DayType] = Field(
        ["weekday", "weekend", "holiday"],
        min_length=1,
        description='some of "weekday", "weekend", "holiday"',
    )
    dates: list[Day] = Field([], max_length=400, description="days, like [2026-10-01]")
    rates: Mapping[str, list[WindowText]] = Field(
        description='windows by rate, like { peak = ["08:00-22:00"], valley = ["22:00-08:00"] }'
    )


class LossTable(Table):
    """``[[loss]]``: energy added before it is priced."""

    label: str = Field("losses", max_length=80, description="what it is called on the bill")
    kwh: EnergyText | None = Field(None, description='kWh, quoted, like "304"')
    kvarh: EnergyText = Field("0", description='kvarh, quoted, like "1200"')
    days_basis: int | None = Field(None, ge=28, le=31, description=BASIS)
    rate: str | None = Field(None, description="the rate to which the energy is added")
    percent: PriceText | None = Field(None, description='a percentage, quoted, like "2.5"')
    rounding: RoundingTable = Field(
        RoundingTable(unit="1"), description='in kWh: { unit = "1", mode = "half_up" }'
    )


class ComponentTable(Table):
    """What every ``[[component]]`` has."""

    type: str = Field(description="what kind of component it is")
    id: Id | None = Field(None, description="a short name of small letters, like energy")
    label: str | None = Field(None, max_length=80, description="what it is called on the bill")
    category: Category | None = Field(None, description="energy, basic, funds, fixed or tax")
    seasons: list[SeasonText] = Field([], max_length=8, description=SEASONS)
    rounding: RoundingTable | None = Field(None, description=ROUNDING)


class FlatTable(ComponentTable):
    """``flat`` and ``per_kwh``: one price for every kWh."""

    price: PriceText = Field(description=PRICE)
    first_kwh: EnergyText | None = Field(None, description='kWh a period, quoted, like "15"')


class TouTable(ComponentTable):
    """``tou``: a price per rate, or a price and a ratio per rate."""

    prices: dict[str, PriceText] = Field({}, description="a price per rate")
    price: PriceText | None = Field(None, description=PRICE)
    ratios: dict[str, PriceText] = Field({}, description="a ratio of the price per rate")
    price_rounding: RoundingTable | None = Field(None, description=ROUNDING)


class StepPricesTable(ComponentTable):
    """``steps``: a price per step; a first price of "0" makes a surcharge on the steps above."""

    mode: Literal["telescopic", "whole_usage"] = Field(description='"telescopic" or "whole_usage"')
    prices: list[PriceText] = Field(min_length=2, max_length=20, description="a price per step")


class StepTouTable(ComponentTable):
    """``step_tou``: a price per rate and step."""

    prices: dict[str, list[PriceText]] = Field(description="for each rate a price per step")
    filling: Filling | None = Field(None, description='"proportional" or "in_order"')
    order: list[str] = Field([], description="the rates in the order in which they fill the steps")


class TotalTable(Table):
    """``table`` of ``by_total``: the prices for totals up to a limit."""

    up_to: EnergyText | None = Field(None, description='kWh, quoted, like "500"')
    bounds: list[EnergyText] = Field([], max_length=19, description=BOUNDS)
    prices: list[PriceText] = Field(min_length=1, max_length=20, description="a price per step")
    fixed: AmountText | None = Field(None, description=AMOUNT)


class ByTotalTable(ComponentTable):
    """``by_total``: the whole table changes with the total of the step period."""

    table: list[dict[str, object]] = Field(
        min_length=1, max_length=20, description="tables with up_to, bounds, prices and fixed"
    )


class CapacityTable(ComponentTable):
    """``capacity``: a price per kVA and settlement period."""

    price: PriceText = Field(description=PRICE)
    days_basis: int | None = Field(None, ge=28, le=31, description=BASIS)


class DiscountTable(Table):
    """``discount`` of a demand price."""

    kwh_per_kva: EnergyText
    percent: PriceText


class DemandTable(ComponentTable):
    """``demand``: a price per kW of maximum demand and settlement period."""

    price: PriceText = Field(description=PRICE)
    rule: DemandRule = Field(description='"actual", "contract_105" or "band_95_105"')
    days_basis: int | None = Field(None, ge=28, le=31, description=BASIS)
    discount: DiscountTable | None = Field(
        None, description='what is paid of the price: { kwh_per_kva = "260", percent = "90" }'
    )


class FixedTable(ComponentTable):
    """``fixed``: an amount per settlement period."""

    amount: AmountText = Field(description=AMOUNT)
    days_basis: int | None = Field(None, ge=28, le=31, description=BASIS)
    zero_use: AmountText | None = Field(None, description=AMOUNT)


class DailyTable(ComponentTable):
    """``daily``: an amount per day."""

    amount: AmountText = Field(description=AMOUNT)


class PowerFactorTable(ComponentTable):
    """``power_factor``: the adjustment by the tables of 1983."""

    standard: Literal["0.90", "0.85", "0.80"] = Field(description='"0.90", "0.85" or "0.80"')
    of: list[str] = Field(min_length=1, description=OF)


class PercentTable(ComponentTable):
    """``percent``: a part of other components."""

    percent: PriceText = Field(description='a percentage as quoted text, like "10"')
    of: list[str] = Field(min_length=1, description=OF)


class MinimumTable(ComponentTable):
    """``minimum``: at least so much for other components, per settlement period."""

    amount: AmountText = Field(description=AMOUNT)
    of: list[str] = Field([], description=OF)


class ExportTable(ComponentTable):
    """``export``: what exported energy earns, as one price or one per rate."""

    price: PriceText | None = Field(None, description=PRICE)
    prices: dict[str, PriceText] = Field({}, description="a price per rate")


COMPONENTS: Mapping[str, type[ComponentTable]] = {
    "flat": FlatTable,
    "per_kwh": FlatTable,
    "tou": TouTable,
    "steps": StepPricesTable,
    "step_tou": StepTouTable,
    "by_total": ByTotalTable,
    "capacity": CapacityTable,
    "demand": DemandTable,
    "fixed": FixedTable,
    "daily": DailyTable,
    "power_factor": PowerFactorTable,
    "percent": PercentTable,
    "minimum": MinimumTable,
    "export": ExportTable,
}
"""Type to model."""


class CheckTable(Table):
    """``[[check]]``: a usage and what it has to cost."""

    name: str = Field("", max_length=120, description="what it shows")
    usage: dict[str, object] = Field(description='a usage, like { kwh = "100" }')
    charge: AmountText = Field(description=AMOUNT)


class TariffTable(Table):
    """The file."""

    id: Id = Field(description="a short name of small letters, digits and hyphens")
    version: int = Field(ge=1, le=10**9, description="a number that grows with every change")
    name: str = Field("", max_length=200, description="what people call it")
    valid_from: Day = Field(description="the first day it holds, like 2026-01-01")
    valid_to: Day | None = Field(None, description="the last day it holds, like 2026-12-31")
    currency: str = Field("CNY", pattern=r"^[A-Z]{3}$", description="three letters, like CNY")
    example: bool = Field(False, description="true if its prices are not to be relied on")
    source: str = Field("", max_length=400, description="where its prices were published")
    source_date: Day | None = Field(None, description="when, like 2026-01-01")
    settlement: dict[str, object] = Field(description="[settlement]")
    registers: dict[Register, Id] = Field(
        {}, description='which rate a register counts, like { t1 = "sharp", t2 = "peak" }'
    )
    weekend: list[Weekday] = Field(
        ["saturday", "sunday"], description='days of the week, like ["saturday", "sunday"]'
    )
    holidays: list[Day] = Field([], max_length=400, description="days, like [2026-10-01]")
    rounding: dict[str, object] = Field({}, description="[rounding]")
    steps: dict[str, object] | None = Field(None, description="[steps]")
    window: list[dict[str, object]] = Field([], max_length=64, description="[[window]]")
    loss: list[dict[str, object]] = Field([], max_length=8, description="[[loss]]")
    component: list[dict[str, object]] = Field(
        min_length=1, max_length=64, description="[[component]], at least one"
    )
    check: list[dict[str, object]] = Field(
        min_length=1, max_length=200, description="[[check]], at least one usage with its charge"
    )
