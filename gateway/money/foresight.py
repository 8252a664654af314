"""What an order would do to balances, before it is carried out: whom it would put below zero (R26).

Looked at are adjustments, tariffs that hold for days which were charged already, and other rows of
limits for accounts: those are the ways in which a person's order takes an account's room at once.

Not looked at: payments and their reversals, which are facts; a ruling about one reading and a meter
swap, which concern one supply; tariffs for days to come, whose charges come with use.

Used by the core alone.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol

from gateway.disconnection.mass_changes import Change, Room, falls
from gateway.money.books import Books
from gateway.money.settlement import Settlement
from gateway.north import contract_orders as orders
from gateway.prepayment.account import Policy
from gateway.prepayment.ledger import Ledger
from gateway.prepayment.money import MoneyError, parse_yuan
from gateway.prepayment.tariff_reader import TariffError, parse
from gateway.store.accounts import Accounts
from gateway.store.tariffs import Tariffs


class Gate(Protocol):
    """Who says whether a change may be made; inside the order's transaction."""

    def refuse(self, change: Change, wall: float) -> str:
        """Why it waits for a second person, which is noted; empty: it may be made."""

    def done(self, change: Change, wall: float) -> None:
        """It was made."""


class Foresight:
    """Looks ahead for one gateway."""

    def __init__(
        self,
        policies: Mapping[str, Policy],
        books: Books,
        settlement: Settlement,
        accounts: Accounts,
        tariffs: Tariffs,
    ) -> None:
        self._policies = policies
        self._books = books
        self._settlement = settlement
        self._accounts = accounts
        self._tariffs = tariffs

    def change(self, order: Any, key: str) -> Change:
        """What an order signed by ``key`` would do; nothing, where it will be refused anyway."""
        match order:
            case orders.Adjust(ledger="prepaid"):
                after = self._adjusted(order)
            case orders.AccountChange(policy=str(policy)):
                after = self._limited(order.account, policy)
            case orders.TariffPut():
                after = self._priced(order)
            case _:
                after = {}
        content = order.model_dump_json(exclude={"reason"})
        return Change(
            content=sha256(content.encode()).hexdigest(),
            key=key,
            fallen=frozenset(one for one in after if falls(self._room(one), after[one])),
        )

    def _room(self, number: str) -> Room:
        account = self._accounts.current(number)
        policy = self._books.policy(account) if account else None
        balances = self._books.journal.balances(number)
        return Room(balances[Ledger.PREPAID], policy.limit_e4 if policy else 0)

    def _adjusted(self, order: orders.Adjust) -> Mapping[str, Room]:
        try:
            amount_e4 = parse_yuan(order.amount)
        except MoneyError:
            return {}
        if self._accounts.current(order.account) is None:
            return {}
        now = self._room(order.account)
        return {order.account: Room(now.balance_e4 + amount_e4, now.limit_e4)}

    def _limited(self, number: str, policy: str) -> Mapping[str, Room]:
        wanted = self._policies.get(policy)
        if wanted is None or self._accounts.current(number) is None:
            return {}
        return {number: Room(self._room(number).balance_e4, wanted.limit_e4)}

    def _priced(self, order: orders.TariffPut) -> Mapping[str, Room]:
        try:
            tariff = parse(order.text)
        except TariffError:
            return {}
        known = {one.version for one in self._tariffs.versions(tariff.id)}
        if tariff.version in known:
            return {}
        foreseen = self._settlement.foresee(tariff)
        return {
            one: Room(balance_e4, self._room(one).limit_e4) for one, balance_e4 in foreseen.items()
        }
