"""Published bills of many countries, to the last digit (tests/golden/tariff_vectors.json).

Every vector goes through a tariff file, or through the function that the gateway has for it; what
it has to give stands in the vectors' file only.  Where a vector does not agree with its source, the
source's own figure is wrong and our ``expected_charge`` counts.
"""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import pytest

from gateway.prepayment.backbill import meter_error_wh, power_factor_e4, register_difference
from gateway.prepayment.bill import bill_by_days
from gateway.prepayment.debt import DebtShare
from gateway.prepayment.money import parse_yuan
from gateway.prepayment.penalty import HOME, OTHER, Overdue, penalty_e4
from gateway.prepayment.periods import Days
from gateway.prepayment.power_factor import STANDARDS, adjustment, power_factor
from gateway.prepayment.purchase import energy_wh
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.usage_file import read_usage
from tests.tariffs import charge, component, make, table

FILE = json.loads((Path(__file__).parent / "golden" / "tariff_vectors.json").read_text())
VECTORS = FILE["vectors"]
Vector = dict[str, Any]
FEN = {"unit": "0.01"}


def text(found: object) -> str:
    """A number of the vectors as a tariff file has it: ``.064`` is ``0.064``."""
    return format(Decimal(str(found)), "f")


def texts(found: list[object]) -> list[str]:
    return [text(each) for each in found]


def yuan_of(amount_e4: int) -> Decimal:
    return Decimal(amount_e4) / 10_000


def total(tariff: Tariff, **usage: object) -> Decimal:
    return yuan_of(charge(tariff, **usage).total_e4)


def roundings(total: tuple[str, str] = ("0.01", "half_up"), **others: object) -> str:
    unit, mode = total
    return "[rounding]\n" + table(total={"unit": unit, "mode": mode}, **others)


def annual_step(vector: Vector) -> Decimal:
    tariff, usage = vector["tariff"], vector["usage"]
    steps = table(period="year", bounds=texts(tariff["bounds_kwh"]))
    before = text(usage["cumulative_before"])
    if rates := [rate for rate in tariff["tou"] if rate in usage]:
        prices = {rate: tariff["tou"][rate] for rate in rates}
        made = make(component("step_tou", prices=prices), rates=rates, steps=steps)
        kwh = {rate: text(usage[rate]) for rate in rates}
        return total(made, kwh=kwh, step_before_kwh=before)
    made = make(component("steps", mode="telescopic", prices=tariff["price"]), steps=steps)
    return total(made, kwh=text(usage["kwh"]), step_before_kwh=before)


def annual_step_tou(vector: Vector) -> Decimal:
    tariff, usage = vector["tariff"], vector["usage"]
    rates = [key for key in tariff if isinstance(usage.get(key), int)]
    filling: dict[str, object] = {"filling": "proportional"}
    if "proportional" not in vector["name"]:
        filling = {"filling": "in_order", "order": rates}
    made = make(
        component("step_tou", prices={rate: tariff[rate] for rate in rates}, **filling),
        rates=rates,
        steps=table(period="year", bounds=texts(tariff["bounds_kwh"])),
    )
    kwh = {rate: usage[rate] for rate in rates}
    return total(made, kwh=kwh, step_before_kwh=usage["cumulative_before"])


def power_factor_adjustment(vector: Vector) -> Decimal:
    usage, standard = vector["usage"], vector["tariff"]["standard"]
    if "bill_paid" in usage:
        kwh, read, true = (usage[key] * 1000 for key in ("kwh", "kvarh_read", "kvarh_true"))
        paid_e4 = parse_yuan(text(usage["bill_paid"]))
        return yuan_of(power_factor_e4(paid_e4, kwh, read, true, hundredths(standard)))
    made = make(
        component("fixed", id="base", amount=text(usage["bill_base"])),
        component("power_factor", standard=standard, of=["base"], rounding=FEN),
    )
    kwh = text(usage.get("kwh", "10000"))
    return adjusted(made, kwh, text(usage.get("kvarh", reactive(usage["pf"]))))


def reactive(factor: str) -> int:
    """kvarh that make 10,000 kWh of this power factor."""
    part = hundredths(factor)
    return isqrt(10**12 // (part * part) - 10**8)


def adjusted(made: Tariff, kwh: str, kvarh: str) -> Decimal:
    """The power-factor line of a bill."""
    lines = charge(made, kwh=kwh, kvarh=kvarh).lines
    return yuan_of(sum(line.amount_e4 for line in lines if line.category == "power_factor"))


def hundredths(number: str) -> int:
    return int(Decimal(number) * 100)


def two_part_capacity(vector: Vector) -> Decimal:
    tariff, usage = vector["tariff"], vector["usage"]
    if "pf_standard" in tariff:
        made = make(
            component("fixed", id="basic", amount=text(usage["basic"])),
            component("fixed", id="energy", amount=text(usage["energy"])),
            component(
                "power_factor",
                standard=tariff["pf_standard"],
                of=["basic", "energy"],
                rounding=FEN,
            ),
        )
        return adjusted(made, text(usage["kwh"]), text(usage["kvarh"]))
    basis = tariff["days_basis"]
    made = make(component("capacity", price=tariff["price"], days_basis=basis))
    parts = [{"kva": part["kva"], "days": part["days"]} for part in usage["seg"]]
    days = sum(part["days"] for part in usage["seg"])
    return total(made, kwh="0", capacity=parts, days=days, period_days=max(days, basis))


def power_factor_table(vector: Vector) -> Decimal:
    factor = hundredths(vector["usage"]["pf"])
    others = vector["rounding"].partition(": ")[2].split(" / ")
    for standard, percent in zip(STANDARDS, others, strict=True):
        assert adjustment(factor, standard) == hundredths(percent)
    return Decimal(adjustment(factor, 90)) / 100


def power_factor_ratio_edge(vector: Vector) -> Decimal:
    ratio = int(Decimal(vector["usage"]["ratio"]) * 10_000)
    factor = power_factor(10_000, ratio)
    assert power_factor(10_000, ratio + 1) == factor - 1
    return Decimal(factor) / 100


def segmented(vector: Vector) -> Decimal:
    one, two = vector["tariff"]["seg1"], vector["tariff"]["seg2"]
    old = make(
        component("flat", price=one["price"]),
        more="[[loss]]\n" + table(kwh=text(one["transformer_loss_kwh"]), days_basis=one["of"]),
    )
    used = vector["usage"]["seg1"]
    kwh = (used["curr"] - used["prev"]) * one["ratio"]
    first = total(old, kwh=kwh, days=one["days"], period_days=one["of"])
    ratios = {"peak": two["peak"], "flat": "1", "valley": two["valley"]}
    new = make(
        component("tou", id="energy", price=two["price_flat"], ratios=ratios),
        component("power_factor", standard=two["pf_standard"], of=["energy"], rounding=FEN),
        rates=list(ratios),
    )
    used = {key: found * two["ratio"] for key, found in vector["usage"]["seg2"].items()}
    flat = used["total"] - used["peak"] - used["valley"]
    by_rate = {"peak": used["peak"], "flat": flat, "valley": used["valley"]}
    return first + total(new, kwh=by_rate, kvarh=used["reactive"])


def two_part_demand(vector: Vector) -> Decimal:
    tariff = vector["tariff"]
    made = make(component("demand", price=tariff["price"], rule=tariff["rule"]))
    measured = text(vector["usage"]["max_demand_kw"])
    return total(made, kwh="0", demand_kw=measured, contract_kw=text(tariff["contract_kw"]))


def late_penalty(vector: Vector) -> Decimal:
    usage = vector["usage"]
    rates = HOME if usage["customer"] == "resident" else OTHER
    if "bills" in usage:
        paid = date.fromisoformat(usage["paid"])
        bills = [
            Overdue(parse_yuan(text(bill["amount"])), date.fromisoformat(bill["due"]))
            for bill in usage["bills"]
        ]
    else:
        paid = date(2026, 5, 1 + usage["days"])
        bills = [Overdue(parse_yuan(text(usage["amount"])), date(2026, 5, 1))]
    return yuan_of(penalty_e4(bills, paid, rates))


def meter_error_backbill(vector: Vector) -> Decimal:
    error, share = Fraction(vector["usage"]["error"]), Fraction(vector["tariff"]["share"])
    return Decimal(meter_error_wh(vector["usage"]["registered_kwh"] * 1000, error, share)) / 1000


def blocks(vector: Vector) -> Decimal:
    """Telescopic and whole-usage blocks with whatever else stands on the bill."""
    tariff, usage = vector["tariff"], vector["usage"]
    mode = "whole_usage" if tariff["type"] == "whole_usage_block" else "telescopic"
    cents = "price_cents" in tariff
    prices = [text(Decimal(p) / 100) for p in tariff["price_cents"]] if cents else tariff["price"]
    used = Decimal(str(usage["kwh"]))
    bounds = texts(tariff["bounds_kwh"])[: len(prices) - 1]
    parts = [component("steps", id="energy", mode=mode, prices=texts(prices))]
    if "base" in tariff:
        zero = {"zero_use": text(Decimal(tariff["base"]) / 2)} if "zero_use" in tariff else {}
        parts.append(component("fixed", id="base", amount=tariff["base"], **zero))
    if "minimum" in tariff:
        parts.append(component("minimum", amount=tariff["minimum"]))
    parts += taxes_and_fees(tariff)
    floor = "floor" in tariff.get("total_rounding", "")
    whole = {"usage": {"unit": "1"}} if "usage_rounding" in tariff else {}
    line = {} if floor else {"line": FEN}
    more = roundings(("1", "floor") if floor else ("0.01", "half_up"), **whole, **line)
    made = make(*parts, steps=table(period="settlement", bounds=bounds), more=more)
    return total(made, kwh=text(used))


def taxes_and_fees(tariff: Vector) -> list[str]:
    parts = []
    if "adder" in tariff:
        parts.append(component("per_kwh", id="power_cost", price=text(tariff["adder"])))
    if "customer" in tariff:
        parts.append(component("fixed", id="customer", amount=tariff["customer"]))
    if "tax" in tariff:
        of = ["energy", "power_cost", "customer"]
        parts.append(component("percent", id="tax", percent=percent(tariff["tax"]), of=of))
    if "duty" in tariff:
        duty = percent(tariff["duty"])
        parts.append(component("percent", id="duty", percent=duty, of=["energy"]))
    if "meter_rent" in tariff:
        parts.append(component("fixed", id="rent", amount=tariff["meter_rent"]))
        for key in ("rent_tax", "rent_cess"):
            part = percent(tariff[key])
            parts.append(component("percent", id=key, percent=part, of=["rent"]))
    if "fuel" in tariff:
        parts.append(component("per_kwh", id="fuel", price=tariff["fuel"]))
    if "fixed" in tariff:
        parts.append(component("fixed", id="fixed", amount=tariff["fixed"]))
    return parts


def percent(part: str) -> str:
    return text(Decimal(part) * 100)


def per_kwh_prorated_by_days(vector: Vector) -> Decimal:
    tariff = vector["tariff"]
    more = roundings(("1", "floor"))
    versions = [
        (make(component("per_kwh", price=tariff[key]), more=more), tariff[f"{key}_days"])
        for key in ("old", "new")
    ]
    usage = read_usage({"kwh": vector["usage"]["kwh"], "period_days": 31}, versions[0][0])
    return yuan_of(bill_by_days(versions, usage).total_e4)


def taxes(vector: Vector) -> Decimal:
    lines = vector["usage"]
    vat = {"unit": "1", "mode": "half_up"}
    fund = {"unit": "10", "mode": "floor"}
    made = make(
        *(component("fixed", id=key, amount=text(amount)) for key, amount in lines.items()),
        component(
            "percent", id="vat", percent=percent(vector["tariff"]["vat"]), of=[*lines], rounding=vat
        ),
        component(
            "percent",
            id="fund",
            percent=percent(vector["tariff"]["fund"]),
            of=[*lines],
            rounding=fund,
        ),
        more=roundings(("10", "floor")),
    )
    return total(made, kwh="0")


def purchase_blocks(vector: Vector) -> Decimal:
    tariff, usage = vector["tariff"], vector["usage"]
    made = make(
        component("steps", mode="telescopic", prices=tariff["price_incl_vat"]),
        steps=table(period="month", bounds=texts(tariff["bounds_kwh"])),
    )
    before = read_usage({"kwh": 0, "step_before_kwh": usage["bought_this_month_kwh"]}, made)
    unit_wh = 100 if "0.1" in vector["rounding"] else 10
    bought_wh = energy_wh(made, parse_yuan(text(usage["rand"])), before, unit_wh)
    return Decimal(bought_wh) / 1000


def vat(vector: Vector) -> Decimal:
    made = make(
        component("flat", id="price", price=vector["usage"]["price"]),
        component("percent", percent=percent(vector["tariff"]["vat"]), of=["price"]),
    )
    return total(made, kwh="1")


def unit_and_standing(vector: Vector) -> Decimal:
    tariff, usage = vector["tariff"], vector["usage"]
    pounds = {key: text(Decimal(found) / 100) for key, found in tariff.items() if "_p" in key}
    made = make(
        component("tou", prices={"elec": pounds["elec_unit_p"], "gas": pounds["gas_unit_p"]}),
        component("daily", id="elec_standing", amount=pounds["elec_standing_p_day"]),
        component("daily", id="gas_standing", amount=pounds["gas_standing_p_day"]),
        rates=["elec", "gas"],
        more=roundings(("1", "half_up")),
    )
    kwh = {"elec": usage["elec_kwh"], "gas": usage["gas_kwh"]}
    return total(made, kwh=kwh, days=usage["days"], period_days=usage["days"])


def flat(vector: Vector) -> Decimal:
    tariff, usage = vector["tariff"], vector["usage"]
    fixed = [component("fixed", amount=tariff["fixed"])] if "fixed" in tariff else []
    made = make(component("flat", price=tariff["price"]), *fixed)
    if "kwh_per_day" not in usage:
        return total(made, kwh=usage["curr"] - usage["prev"])
    # Rounding each day against the difference of the rounded bills, which is what we post.
    daily = total(made, kwh=usage["kwh_per_day"], days=1) * int(usage["days"])
    posted, before = Decimal(0), Decimal(0)
    for day in range(1, usage["days"] + 1):
        kwh = text(Decimal(usage["kwh_per_day"]) * day)
        now = total(made, kwh=kwh, days=day, period_days=365)
        posted, before = posted + now - before, now
    return daily - posted


def payment_debt(vector: Vector) -> Decimal:
    tariff = vector["tariff"]
    rule = DebtShare(
        share=Fraction(tariff["share"]),
        cap_e4=parse_yuan(tariff["cap"]),
        period=Days(7, date(2026, 1, 5)),
    )
    taken_e4 = 0
    for amount in vector["usage"]["topups"]:
        taken_e4 += rule.take_e4(parse_yuan(amount), taken_e4, parse_yuan("1000"))
    return yuan_of(taken_e4)


def register(vector: Vector) -> Decimal:
    previous, current = (int(Decimal(vector["usage"][key]) * 100) for key in ("prev", "curr"))
    modulus = int(vector["tariff"]["modulus"]) * 100
    return Decimal(register_difference(previous, current, modulus)) / 100


FAMILIES: dict[str, Callable[[Vector], Decimal]] = {
    "annual_step": annual_step,
    "annual_step_tou": annual_step_tou,
    "power_factor_adjustment": power_factor_adjustment,
    "two_part_capacity": two_part_capacity,
    "power_factor_table": power_factor_table,
    "power_factor_ratio_edge": power_factor_ratio_edge,
    "segmented": segmented,
    "two_part_demand": two_part_demand,
    "late_penalty": late_penalty,
    "meter_error_backbill": meter_error_backbill,
    "telescopic": blocks,
    "whole_usage_block": blocks,
    "per_kwh_prorated_by_days": per_kwh_prorated_by_days,
    "taxes": taxes,
    "purchase_blocks": purchase_blocks,
    "vat": vat,
    "unit+standing": unit_and_standing,
    "flat": flat,
    "payment_debt": payment_debt,
    "register": register,
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vector(vector: Vector) -> None:
    result = FAMILIES[vector["tariff"]["type"]](vector)

    assert result == Decimal(vector["expected_charge"])


def test_the_whole_power_factor_tables_are_the_rule() -> None:
    tables = FILE["power_factor_tables_percent"]
    found = {
        (standard, factor): adjustment(hundredths(factor), hundredths(standard))
        for standard, rows in tables.items()
        for factor in rows
    }

    assert len(found) == 3 * 75
    assert found == {key: hundredths(tables[key[0]][key[1]]) for key in found}
