"""Orders that a look at the meter decides: protected supply (保电), a close where all is closed.

The meter is looked at, told if it has not obeyed yet, and looked at again, three times at most.
Whether it obeyed is read back; protected supply is never taken off without a judgement (R20).

Used by the core alone, through gateway/switching/supply_orders.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.disconnection.facts import Purpose
from gateway.north import contract
from gateway.north import contract_switching as orders
from gateway.north.commands import key_of
from gateway.north.contract_supply import RelayTurn
from gateway.store.switching import KeptRelay, Step, Underway
from gateway.switching.case_steps import CaseSteps
from gateway.switching.evidence import Order
from gateway.switching.judging import Judging, said
from gateway.switching.relay_look import Look, seen
from gateway.switching.relay_work import RelayWork
from gateway.switching.relays import Wish
from gateway.switching.supply_point import meter_of
from protocols.relay import Action, Position

Finish = Callable[[str, str, float, str, Mapping[str, object]], None]
"""Ends an order, in a transaction: id, stage, Unix time, reason, data."""
WantClosed = Callable[[str, str, float], bool]
"""Wants a relay closed for a command, in a transaction: asset, id, Unix time."""
TRIES_MAX = 3


class Errands:
    """Such orders under way."""

    def __init__(
        self,
        steps: CaseSteps,
        judging: Judging,
        work: RelayWork,
        finish: Finish,
        want_closed: WantClosed,
    ) -> None:
        self._steps = steps
        self._store = steps.rooms.store
        self._relays = steps.relays
        self._judging = judging
        self._work = work
        self._finish = finish
        self._want_closed = want_closed

    def account_of(self, meter: str) -> str | None:
        """The account that is supplied through this meter."""
        for account in self._steps.rooms.accounts.of_meter(meter):
            if account.closed is None and meter_of(account, self._steps.meters) == meter:
                return account.number
        return None

    def looked(self, command: contract.Command, found: Look, now: float, wall: float) -> None:
        """The meter was looked at: command it, or see whether it has obeyed."""
        underway, order = self._store.order(command.id), command.command
        if underway is None:
            return
        if isinstance(order, orders.RelayProtect):
            self._protect(command, order, underway, found, now, wall)
        elif isinstance(order, orders.RelayClose) and order.meter:
            self._work.act(now, partial(self._close, command, order.meter, found, wall))

    def _protect(
        self,
        command: contract.Command,
        order: orders.RelayProtect,
        underway: Underway,
        found: Look,
        now: float,
        wall: float,
    ) -> None:
        send: list[int] = []

        def judge() -> None:
            self._note(underway, found, wall)
            if found.status.protected is order.on:
                self._obeyed(command, order, found, wall)
            elif why := self._late(command, underway, wall):
                self._finish(command.id, "failed", wall, why, _data(order.meter, found))
            else:
                send.extend(self._begin(command, order, underway, found, wall))

        if self._work.act(now, judge) and send:
            action = Action.PROTECT_ON if order.on else Action.PROTECT_OFF
            self._work.send(order.meter, action, found, send[0], now, wall)

    def _begin(
        self,
        command: contract.Command,
        order: orders.RelayProtect,
        underway: Underway,
        found: Look,
        wall: float,
    ) -> list[int]:
        """Record what is about to be sent; its number, or nothing if a judgement is against it."""
        decision = None
        if not order.on:
            judged = self._against(command, order, found, wall)
            if isinstance(judged, str):
                self._finish(command.id, "failed", wall, judged, _data(order.meter, found))
                return []
            decision = judged
        wish = Wish(
            cause=command.id,
            decision=decision,
            journal=self._steps.rooms.books.journal.head()[0],
        )
        action = Action.PROTECT_ON if order.on else Action.PROTECT_OFF
        number = self._relays.record(self._for(order), action, wall, wish)
        progress = {"tries": _tries(underway) + 1, "operation": number}
        self._store.set_order(replace(underway, progress=progress))
        return [number]

    def _obeyed(
        self, command: contract.Command, order: orders.RelayProtect, found: Look, wall: float
    ) -> None:
        kept = replace(self._for(order), command=command.id)
        account = self._steps.rooms.accounts.current(kept.account) if kept.account else None
        what: RelayTurn = "protected" if order.on else "unprotected"
        self._steps.herald.relay(kept, what, wall, account, cause=order.reason, after=found.values)
        self._finish(command.id, "confirmed", wall, "", _data(order.meter, found))

    def _for(self, order: orders.RelayProtect) -> KeptRelay:
        """The relay as its record names it: for whose supply, and that a person ordered it."""
        kept = self._relays.get(order.meter)
        return replace(kept, account=self.account_of(order.meter) or "", purpose=Purpose.ORDER)

    def _note(self, underway: Underway, found: Look, wall: float) -> None:
        """What the meter shows after a command (R40)."""
        number = underway.progress.get("operation")
        if isinstance(number, int):
            data = {"protected": found.status.protected, "values": found.values}
            self._store.add_step(number, Step(wall, "seen", data))

    def _against(
        self, command: contract.Command, order: orders.RelayProtect, found: Look, wall: float
    ) -> int | str:
        """The number of the decision for it, or what speaks against it."""
        account = self.account_of(order.meter)
        if account is None:
            return "no account is supplied through it"
        wanted = Order(
            purpose=Purpose.UNPROTECT,
            request=command.id,
            requested_by=key_of(command),
            valid_until=contract.unix_s(command.not_after),
        )
        decision, number = self._judging.unprotect(account, found, wall, wanted)
        return number if decision.allowed else said(decision)

    def _close(self, command: contract.Command, meter: str, found: Look, wall: float) -> None:
        """A relay that should be closed already; if it is not, it is restored as any other."""
        underway = self._store.order(command.id)
        if underway is None:
            return
        if found.status.open is False or found.status.position is Position.CLOSE_ALLOWED:
            self._finish(command.id, "confirmed", wall, "", _data(meter, found))
        elif why := self._late(command, underway, wall):
            self._finish(command.id, "failed", wall, why, _data(meter, found))
        else:
            self._relays.signal(meter, seen(found), wall)
            if self._want_closed(meter, command.id, wall):
                self._store.end_order(command.id)

    def look_at_all(
        self, underway: Underway, command: contract.Command, now: float, wall: float
    ) -> None:
        """A closing of all: look at those that are left, until its time is over."""
        left, wanted = _names(underway, "left"), _names(underway, "wanted")
        if left and wall <= contract.unix_s(command.not_after):
            for meter in left:
                self._work.examine(meter, partial(self._one_of_all, command, meter), now)
            return
        data = {"meters": wanted, "not_reached": left}
        said = "each of the meters is tried until it has supply"
        if left:
            said += "; those that were not reached were believed closed"
        self._work.act(now, partial(self._finish, command.id, "confirmed", wall, said, data))

    def _one_of_all(
        self, command: contract.Command, meter: str, found: Look, now: float, wall: float
    ) -> None:
        underway = self._store.order(command.id)
        if underway is None or found.status_at is None:
            return
        left, wanted = _names(underway, "left"), _names(underway, "wanted")

        def note() -> None:
            if found.status.open is not False:
                self._relays.signal(meter, seen(found), wall)
                if self._want_closed(meter, "", wall):
                    wanted.append(meter)
            progress = {"left": [one for one in left if one != meter], "wanted": wanted}
            self._store.set_order(replace(underway, progress=progress))

        self._work.act(now, note)

    def _late(self, command: contract.Command, underway: Underway, wall: float) -> str:
        """Why it is not tried any more; empty: it is."""
        tries = _tries(underway)
        if tries < TRIES_MAX and wall <= contract.unix_s(command.not_after):
            return ""
        return "the meter does not do it" if tries else "the meter was not reached"


def _tries(underway: Underway) -> int:
    return int(str(underway.progress.get("tries", 0)))


def _data(meter: str, found: Look) -> dict[str, object]:
    return {"meter": meter, "position": found.status.position.value}


def _names(underway: Underway, key: str) -> list[str]:
    found: Any = underway.progress.get(key, ())
    return list(found)
