"""What the demo's head-end makes of the journal it was sent, and what it should have been.

``standings`` is what a customer service sees.  ``expected_e4`` is an oracle: the truth of the area,
priced from the tariff file in the most naive way.  It shares no code with the gateway's own bill.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from gateway.acquisition.days import end_of
from gateway.prepayment.forecast import Charged, forecast
from gateway.prepayment.money import parse_yuan
from gateway.technician.demo_accounts import CUSTOMERS, STEPS_MWH, ZONE, Customer
from gateway.technician.demo_site import GATEWAY, LIMITS, TARIFF_FILES
from simulators.area import Area
from simulators.ledger import Ledger

Transaction = dict[str, Any]
"""As it stands in the message."""
IMPORT, EXPORT = "energy_active_import", "energy_active_export"
QUIET_E4 = parse_yuan(LIMITS["alert_1"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a prepaid customer stands, as far as the head-end was told."""

    account: str
    balance_e4: int
    days_left: int | None
    """At the present use; None while too little is known of it."""
    alert: str
    """The last warning, while the balance is still low; else empty."""
    last_top_up: str
    """Yuan; empty if there was none."""


def standings(ledger: Ledger) -> dict[str, Standing]:
    """Every customer of whom something was posted, by meter."""
    warned = {
        str(event.get("account")): str(event.get("level"))
        for event in ledger.events
        if event.get("code") == "low_balance"
    }
    for event in ledger.events:
        if event.get("code") == "relay" and event.get("what") in ("open", "closed"):
            warned[str(event.get("account"))] = "is cut" if event["what"] == "open" else ""
    posted = by_account(ledger)
    return {
        customer.meter: _standing(customer, posted[customer.number], warned)
        for customer in CUSTOMERS
        if customer.number in posted
    }


def by_account(ledger: Ledger) -> dict[str, list[Transaction]]:
    """The gateway's transactions as they arrived, in their order, by account."""
    found: dict[str, list[Transaction]] = {}
    for (gateway, _), copies in sorted(ledger.transactions.items()):
        if gateway == GATEWAY:
            found.setdefault(str(copies[0].get("account", "")), []).append(copies[0])
    return found


def _standing(customer: Customer, posted: list[Transaction], warned: Mapping[str, str]) -> Standing:
    balance_e4 = sum(prepaid_e4(one) for one in posted)
    found = forecast(balance_e4, _charged(posted), 1)
    top_ups = [prepaid_e4(one) for one in posted if one["kind"] == "top_up"]
    alert = warned.get(customer.number, "") if balance_e4 <= QUIET_E4 else ""
    return Standing(
        account=customer.number,
        balance_e4=balance_e4,
        days_left=found.days_left if found else None,
        alert=alert.replace("_", " "),
        last_top_up=f"{Decimal(top_ups[-1]).scaleb(-4):.2f}" if top_ups else "",
    )


def prepaid_e4(one: Transaction) -> int:
    """What a transaction did to the customer's balance."""
    return sum(
        parse_yuan(posting["amount"])
        for posting in one["postings"]
        if posting["ledger"] == "prepaid" and posting["account"] == one.get("account")
    )


def charges(posted: Iterable[Transaction]) -> list[Transaction]:
    """The charges that stand: those reversed, and their reversals, left out."""
    found = list(posted)
    undone = {one.get("reverses") for one in found}
    return [one for one in found if one["kind"] == "charge" and one["number"] not in undone]


def _charged(posted: Iterable[Transaction]) -> list[Charged]:
    return [
        Charged(
            date.fromisoformat(min(span["after"] for span in one["spans"])),
            charged_to(one),
            -prepaid_e4(one),
        )
        for one in charges(posted)
    ]


def charged_to(charge: Transaction) -> date:
    """The last day that a charge is for."""
    return date.fromisoformat(max(span["to"] for span in charge["spans"]))


# --- the oracle -----------------------------------------------------------------------------------


def expected_e4(area: Area, customer: Customer, since: date, posted: list[Transaction]) -> int:
    """What the balance must be: all that was paid, less the price of what was truly used.

    ``since`` is the day at whose end the meter began to count for the account.
    """
    standing = charges(posted)
    numbers = {one["number"] for one in posted if one["kind"] == "charge"}
    others = [
        one for one in posted if one["kind"] != "charge" and one.get("reverses") not in numbers
    ]
    paid_e4 = sum(prepaid_e4(one) for one in others)
    last = max(map(charged_to, standing), default=since)
    return paid_e4 - parse_yuan(str(price(area, customer, since, last)))


def price(area: Area, customer: Customer, since: date, last: date) -> Decimal:
    """What the days after ``since`` up to ``last`` cost, in yuan.

    Each settlement period is priced as a whole: the energy between its first and last register.
    """
    tariff = tomllib.loads((TARIFF_FILES / f"{customer.tariff}.toml").read_text())
    household = area.meters[customer.meter].household
    total = Decimal(0)
    for after, to in periods(tariff["settlement"], since, last):
        before, then = (household.energies(end_of(day, ZONE)) for day in (after, to))
        kwh = {
            name: Decimal(then[name] // STEPS_MWH - before[name] // STEPS_MWH).scaleb(-2)
            for name in (IMPORT, EXPORT)
        }
        total += bill_of(tariff, kwh, (to - after).days)
    return total


def bill_of(tariff: Mapping[str, Any], kwh: Mapping[str, Decimal], days: int) -> Decimal:
    """The bill for ``kwh`` (by register) in so many days of one settlement period, in yuan."""
    line_unit = tariff.get("rounding", {}).get("line", {}).get("unit")
    total = Decimal(0)
    for component in tariff["component"]:
        match component["type"]:
            case "flat" | "per_kwh":
                amount = kwh[IMPORT] * Decimal(component["price"])
            case "daily":
                amount = days * Decimal(component["amount"])
            case "export":
                amount = -kwh[EXPORT] * Decimal(component["price"])
            case other:
                raise ValueError(f"{tariff['id']}: the demo does not know how to price {other}")
        total += _rounded(amount, line_unit) if line_unit else amount
    return _rounded(total, "0.01")


def _rounded(amount: Decimal, unit: str) -> Decimal:
    return amount.quantize(Decimal(unit), ROUND_HALF_UP)


def periods(settlement: Mapping[str, Any], since: date, last: date) -> Iterator[tuple[date, date]]:
    """The days after ``since`` up to ``last``, cut where a settlement period ends."""
    after = since
    while after < last:
        to = min(last, _period_end(settlement, after + timedelta(days=1)))
        yield after, to
        after = to


def _period_end(settlement: Mapping[str, Any], day: date) -> date:
    """The last day of the period that ``day`` lies in."""
    if settlement["every"] == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    length = settlement["days"]
    gone = (day - settlement["anchor"]).days % length
    return day + timedelta(days=length - 1 - gone)
