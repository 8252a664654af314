"""Orders that the office of the money world gives: who signs, and what is ordered."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from simulators.customers import Customer, Fitted, Reading
from simulators.seller import Seller
from tests.money_site import OFFICE, PRICES, Version

Order = tuple[Seller, Mapping[str, Any]]


def put(version: Version) -> Order:
    body = {"tariff": version.id, "version": version.number, "text": version.text}
    return PRICES, {"name": "tariff.put", **body}


def open_account(customer: Customer, tariff: tuple[date, str], policy: str) -> Order:
    meter = customer.fitted[0]
    return OFFICE, {
        "name": "account.open",
        "account": customer.number,
        "opened": (customer.start + timedelta(days=1)).isoformat(),
        "mode": "prepay_cut",
        "policy": policy,
        "tariffs": [{"since": tariff[0].isoformat(), "tariff": tariff[1]}],
        "meters": [
            {"meter": meter.meter, "since": meter.since.isoformat(), "start": kwh(meter.start)}
        ],
    }


def swap(customer: Customer, old: Fitted, new: Fitted) -> Order:
    assert old.final
    return OFFICE, {
        "name": "account.swap_meter",
        "account": customer.number,
        "old": old.meter,
        "new": new.meter,
        "day": new.since.isoformat(),
        "final": kwh(old.final),
        "start": kwh(new.start),
    }


def change_tariff(customer: Customer, version: int, since: date, tariff: str) -> Order:
    return OFFICE, {
        "name": "account.change",
        "account": customer.number,
        "version": version,
        "tariff": {"since": since.isoformat(), "tariff": tariff},
    }


def rule(reading: Reading) -> Order:
    return OFFICE, {
        "name": "reading.rule",
        "meter": reading.meter,
        "day": reading.day.isoformat(),
        "action": "replace",
        "registers": kwh(reading.shown),
        "reason": "a picture of the display",
    }


def kwh(registers: Mapping[str, int]) -> dict[str, str]:
    """Registers as orders write them."""
    return {name: f"{wh // 1000}.{wh % 1000:03d}" for name, wh in registers.items()}
