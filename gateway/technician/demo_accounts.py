"""The demo's prepaid customers, and the head-end's counter (营业厅) that serves them.

Six of the area's meters get accounts, opened for some days back with the registers of that day.
As their daily freezes (日冻结) are back-filled, balances fall; when one is told to be low, the
customer comes and pays.  Every order is signed, as from any head-end; every top-up is sent three
times, twice as the same command and once as another one for the same payment, and must count once.

One of them, the ``DEBTOR``, has his account from before the start (demo_past.py), and comes only
once his supply is cut.

Not supported: reversals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from gateway.acquisition.days import end_of
from gateway.north.contract import instant
from gateway.technician.demo_site import GATEWAY, HOME, POLICY, SHOP
from simulators.area import Area
from simulators.ledger import Ledger
from simulators.seller import Seller, top_up

ZONE = ZoneInfo("Asia/Shanghai")
VALID_S = 600.0
ANSWER_S = 5.0
"""An order without an answer is sent again after so long."""
COMES_S = 4.0
"""So long after a warning its customer pays."""
PAID_AFTER_CUT = "60.00"
"""What the debtor pays to have supply again."""
PAID_UNASKED = "50.00"
"""What he pays where the warning names no amount: the account is too young for a forecast."""
STEPS_MWH = 10_000
"""One step of a meter's display, 0.01 kWh, in mWh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A prepaid customer of the demo."""

    number: str
    meter: str
    tariff: str
    days: int
    """The account is opened for so many days ago."""
    first: str
    """What is paid at the opening, in yuan."""


def _customer(number: int, tariff: str, days: int, first: str) -> Customer:
    meter = f"A{number - 1000:02}"
    return Customer(number=str(number), meter=meter, tariff=tariff, days=days, first=first)


DEBTOR = _customer(1006, HOME, 8, "25.00")
"""He does not pay when he is warned."""
CUSTOMERS = (
    _customer(1001, HOME, 3, "60.00"),
    _customer(1002, SHOP, 5, "50.00"),
    _customer(1003, HOME, 7, "60.00"),
    _customer(1004, HOME, 8, "35.00"),
    _customer(1005, SHOP, 12, "90.00"),
    DEBTOR,
)
"""The days differ, so that the balances fall one after the other."""
OTHERS = CUSTOMERS[:-1]
DELEGATION, CALENDAR = "delegate-1", "calendar-1"
NOTICE, LAST_CALL = f"notice-{DEBTOR.number}", f"last-call-{DEBTOR.number}"
"""Ids of the orders in which persons have their say about a cut."""


class Send(Protocol):
    """How an order goes to the gateway: ``HeadEnd.send``."""

    def __call__(self, gateway: str, kind: str, message: Mapping[str, Any]) -> None:
        """Publish ``message``."""


@dataclass(slots=True)
class _Sent:
    order: dict[str, Any]
    at: float


@dataclass(slots=True)
class Counter:
    """Opens the accounts and sells top-ups.  ``step`` it now and then.

    Times are Unix time.
    """

    area: Area
    seller: Seller
    today: date
    """The local day; ``Customer.days`` counts back from it."""
    sold: dict[str, str] = field(default_factory=dict)
    """Every payment, and the command that was its first."""
    _waiting: dict[str, _Sent] = field(default_factory=dict)
    """The orders that have no final answer yet, by id."""
    _began: bool = False
    _due: list[tuple[float, str, str]] = field(default_factory=list)
    """When who will come and pay how much."""
    _heard: set[tuple[str, ...]] = field(default_factory=set)
    """The warnings that are acted on."""

    def step(self, ledger: Ledger, send: Send, now: float) -> None:
        """Order what is due now, going by what has arrived."""
        if (GATEWAY, "hello") not in ledger.states:
            return
        if not self._began:
            self._began = True
            for customer in OTHERS:
                self._order(send, opening_id(customer), self.opening(customer), now)
                self._due.append((now, customer.number, customer.first))
        self._repeat(ledger, send, now)
        self._hear(ledger, now)
        opened = {customer.number for customer in self.opened(ledger)}
        due = [one for one in self._due if one[0] <= now and one[1] in opened]
        self._due = [one for one in self._due if one not in due]
        for _, number, amount in due:
            self._sell(send, number, amount, now)

    def opened(self, ledger: Ledger) -> list[Customer]:
        """The customers whose account the gateway has opened."""
        return [one for one in CUSTOMERS if _stage(ledger, opening_id(one)) == "confirmed"]

    def refused(self, ledger: Ledger) -> list[str]:
        """The orders that the gateway refused, with its reasons: there should be none."""
        ids = [opening_id(one) for one in CUSTOMERS] + [
            id_ for first in self.sold.values() for id_ in (first, _again(first))
        ]
        return [
            f"{id_} was {result['stage']}: {result.get('reason')}"
            for id_ in ids
            for result in ledger.results.get(id_, ())[-1:]
            if result.get("stage") != "confirmed"
        ]

    def since(self, customer: Customer) -> date:
        """The day at whose end the meter begins to count for the account."""
        return self.today - timedelta(days=customer.days)

    def opening(self, customer: Customer) -> dict[str, Any]:
        """The order that opens an account."""
        since = self.since(customer)
        household = self.area.meters[customer.meter].household
        shown = household.energies(end_of(since, ZONE))
        names = ["energy_active_import", *(f"energy_active_import_t{n}" for n in (1, 2, 3, 4))]
        start = {
            name: str(Decimal(shown[name] // STEPS_MWH).scaleb(-2))
            for name in (*names, "energy_active_export")
        }
        day = since.isoformat()
        return {
            "name": "account.open",
            "account": customer.number,
            "opened": day,
            "mode": "prepay_cut",
            "regime": "contract_prepay",
            "policy": POLICY,
            "tariffs": [{"since": day, "tariff": customer.tariff}],
            "meters": [{"meter": customer.meter, "since": day, "start": start}],
        }

    def _hear(self, ledger: Ledger, now: float) -> None:
        """Whoever is warned comes and pays, once for all the warnings he got meanwhile."""
        for event in ledger.events:
            number = str(event.get("account"))
            cut = event.get("code") == "relay" and event.get("what") == "open"
            warned = event.get("code") == "low_balance" and number != DEBTOR.number
            warning = number, str(event.get("level")), str(event.get("at"))
            if not (warned or cut) or warning in self._heard:
                continue
            self._heard.add(warning)
            if cut:
                self._due.append((now + COMES_S, number, PAID_AFTER_CUT))
                continue
            if all(number != coming for _, coming, _ in self._due):
                amount = str(event.get("top_up") or PAID_UNASKED)
                self._due.append((now + COMES_S, number, amount))

    def _sell(self, send: Send, number: str, amount: str, now: float) -> None:
        payment = f"demo-{number}-{len(self.sold) + 1}"
        body = top_up(payment, number, amount, instant(now))
        self.sold[payment] = f"sell-{payment}"
        self._order(send, self.sold[payment], body, now)
        send(GATEWAY, "commands", self._waiting[self.sold[payment]].order)
        self._order(send, _again(self.sold[payment]), body, now)

    def _order(self, send: Send, id_: str, body: Mapping[str, Any], now: float) -> None:
        order = self.seller.order(GATEWAY, id_, instant(now), instant(now + VALID_S), body)
        self._waiting[id_] = _Sent(order, now)
        send(GATEWAY, "commands", order)

    def _repeat(self, ledger: Ledger, send: Send, now: float) -> None:
        """Send again what has no answer: the same command gets the same answer."""
        self._waiting = {
            id_: sent for id_, sent in self._waiting.items() if _stage(ledger, id_) is None
        }
        for sent in self._waiting.values():
            if now - sent.at >= ANSWER_S:
                sent.at = now
                send(GATEWAY, "commands", sent.order)


def opening_id(customer: Customer) -> str:
    """The id of the command that opens an account."""
    return f"open-{customer.number}"


def _again(id_: str) -> str:
    """The id of the other command about the same payment."""
    return f"{id_}-again"


def _stage(ledger: Ledger, id_: str) -> str | None:
    """The newest stage of an order's answer."""
    results = ledger.results.get(id_)
    return str(results[-1].get("stage")) if results else None
