"""Meters that prepay by themselves (本地费控): found out, never charged a second time, mirrored.

Status word 3 says whether a meter counts down a balance of its own (bits 8-9).  It is read when a
meter gets an account, after a start, and then every day.  Two balances on one supply would
charge the customer twice: so while a meter says that it prepays, its account is not charged.  The
balance of a meter that is mirrored is read daily, kept and published, and nothing more.

Not supported: Modbus meters, which do not say so.

Source: DL/T 645-2007 table A.5 and its State Grid extension, status word 3.
"""

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Literal

import structlog

from gateway.acquisition.days import begin_of
from gateway.acquisition.freeze import Answer
from gateway.config import MeterConfig
from gateway.events import Fault
from gateway.money.books import Books
from gateway.money.inspection import Plan
from gateway.north import contract, readings
from gateway.prepayment.account import Account, Mode
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.meter_facts import MeterFacts, Prepays
from protocols.base import Quality, Value

STATE = "prepay_mode"
OWN = ("balance", "balance_overdraft", "balance_energy", "balance_energy_overdraft")
"""What such a meter says it has left, and how far it is overdrawn."""
HOUR_S = 3600.0
"""After midnight the freezes are read first."""
Kind = Literal["none", "energy", "money", "unknown"]

log = structlog.get_logger()


class Mirror:
    """Whether the meters of accounts prepay by themselves, and what they then have left."""

    def __init__(
        self,
        books: Books,
        accounts: Accounts,
        facts: MeterFacts,
        recorder: Recorder,
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called in the transaction in which what is known has changed."""
        self._books = books
        self._accounts = accounts
        self._facts = facts
        self._recorder = recorder
        self._changed = changed
        self._versions = -1
        self._meters: dict[str, list[Account]] = {}
        """Who has each meter."""
        self._read: dict[str, float] = {}
        """When each meter was read last (Unix time) since the start."""
        self._doubts: dict[str, Kind] = {}
        """What was read once and is to be read again."""

    def due(self, wall: float) -> list[str]:
        """The meters of accounts, once a day; a new one at once."""
        self._look()
        since = begin_of(self._books.day_of(wall - HOUR_S), self._books.zone) + HOUR_S
        return [meter for meter in self._meters if self._read.get(meter, 0.0) < since]

    def begin(self, meter: MeterConfig) -> Plan:
        """The status word; the balance too of whoever is mirrored, or is known to have one."""
        known = self._facts.prepays().get(meter.asset)
        mirrored = any(one.mode is Mode.MIRROR for one in self._meters.get(meter.asset, ()))
        shown = mirrored or (known is not None and known.prepays)
        wanted = (STATE, *(OWN if shown else ()))
        points = [point for point in wanted if point in meter.profile.points]
        return meter.profile.plan(meter.address, points) if points else ()

    def take(self, meter: MeterConfig, answers: Sequence[Answer], wall: float) -> Plan | None:
        """Note what the meter says; that it prepays is believed when it says so twice."""
        asset = meter.asset
        for one in answers:
            if one.values is None and not (
                one.outcome.fault is Fault.REFUSED and one.outcome.permanent
            ):
                return None
        values = {name: value for one in answers for name, value in (one.values or {}).items()}
        kind = _kind(values.get(STATE))
        known = self._facts.prepays().get(asset)
        if kind != (known.kind if known else "none") and self._doubts.get(asset) != kind:
            first = asset not in self._doubts
            self._doubts[asset] = kind
            if answers:
                return self.begin(meter) if first else None
        self._doubts.pop(asset, None)
        self._read[asset] = wall
        self._recorder.later(partial(self._keep, asset, kind, wall))
        own = {name: values[name] for name in OWN if name in values}
        good = {name: one for name, one in own.items() if one.quality is Quality.GOOD}
        if good:
            self._show(meter, good, max(one.outcome.taken_at for one in answers))
        return ()

    def _look(self) -> None:
        """Accounts have changed if there are more versions of them."""
        versions = self._accounts.versions()
        if versions == self._versions:
            return
        self._versions = versions
        self._meters = {}
        for account in self._accounts.all().values():
            for one in account.meterings:
                if not account.closed and one.until is None and not one.minus:
                    self._meters.setdefault(one.meter, []).append(account)

    def _keep(self, meter: str, kind: Kind, wall: float) -> None:
        before = self._facts.prepays().get(meter)
        since = before.since if before and before.kind == kind else self._books.day_of(wall)
        now = Prepays(meter=meter, kind=kind, since=since, at=wall)
        self._facts.set_prepays(now)
        self._changed()
        if now.prepays != (before is not None and before.prepays):
            self._tell(now, before.since if before else since)

    def _tell(self, now: Prepays, since: date) -> None:
        charged = [
            one.number for one in self._meters.get(now.meter, ()) if one.mode is not Mode.MIRROR
        ]
        if not charged:
            return
        numbers = ", ".join(charged)
        if now.prepays:
            log.error("meter prepays by itself", meter=now.meter, accounts=numbers, kind=now.kind)
            detail = (
                f"status word 3: the meter counts down {now.kind} by itself; account {numbers} is"
                " not charged from here on: change its mode to mirror, or set the meter to remote"
                " fee control (远程费控)"
            )
            self._recorder.event("meter_prepays", now.meter, detail=detail)
        else:
            detail = (
                f"the meter does not count down a balance any more; account {numbers} is charged"
                f" again, and for the days since {since} too: adjust what was paid at the meter"
            )
            self._recorder.event("meter_prepays_no_more", now.meter, detail=detail)

    def _show(self, meter: MeterConfig, good: dict[str, Value], taken_at: float) -> None:
        texts = {name: value.text() or "" for name, value in good.items()}
        self._recorder.later(partial(self._facts.set_balance, meter.asset, texts, taken_at))
        self._recorder.reading(
            readings.Reading(
                meter=meter.asset,
                address=meter.address,
                line=meter.line,
                taken=contract.instant(taken_at),
                clock=self._recorder.stamp()[1],
                values=texts,
            )
        )


def _kind(value: Value | None) -> Kind:
    match value.amount if value else None:
        case "none":
            return "none"
        case "energy":
            return "energy"
        case "money":
            return "money"
    return "unknown"
