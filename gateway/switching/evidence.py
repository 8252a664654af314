"""The facts of a decision, gathered from the rows of one transaction and one fresh look.

Whatever is not there, is old, or nobody knows, is left as unknown: that never speaks for a cut.

Used by the core alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice

from gateway.acquisition.days import end_of
from gateway.clock import ClockState
from gateway.config import MeterConfig
from gateway.config_switching import Switching as Settings
from gateway.disconnection import friendly, mass_limits
from gateway.disconnection.case import Case
from gateway.disconnection.facts import AtMeter, Box, Due, Facts, Money, Purpose, Standing
from gateway.disconnection.procedure import due_of
from gateway.disconnection.relay import Relay
from gateway.disconnection.relay_table import State
from gateway.money.books import Books
from gateway.money.settlement import Settlement
from gateway.prepayment import rerate
from gateway.prepayment.account import Account, Metering, Policy
from gateway.prepayment.ledger import Ledger
from gateway.prepayment.validity import PROVISIONAL, Flag
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.rulings import Rulings
from gateway.store.switching import KeptCase, Switching
from gateway.switching.clearance import Clearance, subject_of
from gateway.switching.relay_look import Look
from gateway.uplink import Reach

CHARGES_MAX = 100
"""Older charges are not looked through for provisional ones: they have been settled long since."""
DRAINED_S = 60.0
"""So long after a connect the broker has handed over what it kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Where facts are looked up."""

    books: Books
    accounts: Accounts
    settlement: Settlement
    rulings: Rulings
    store: Switching
    recorder: Recorder
    clearance: Clearance
    state: Callable[[], ClockState]
    """What our clock is worth."""
    reach: Callable[[], Reach]
    waiting: Callable[[], int]
    """How many messages of the head-end wait to be acted on: each may be a top-up."""
    sound: Callable[[], bool]
    """Whether the journal was found whole."""
    replayed: Callable[[], bool]
    """Whether all accounts were looked at since the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be judged, beyond the account's own case."""

    purpose: Purpose = Purpose.ARREARS
    request: str = ""
    """Id of the order; empty: the gateway's own rules."""
    requested_by: str = ""
    """Key id of who gave it."""
    valid_until: float | None = None


OWN = Order()


class Evidence:
    """Gathers facts for one gateway."""

    def __init__(self, meters: Mapping[str, MeterConfig], settings: Settings, rooms: Rooms) -> None:
        self._meters = meters
        self._settings = settings
        self._rooms = rooms

    def money(self, account: Account, policy: Policy, kept: KeptCase | None) -> Money:
        """What the books say, as far as it costs nothing to know: enough to cancel by."""
        rooms = self._rooms
        balances = rooms.books.journal.balances(account.number)
        owed_e4 = -balances[Ledger.EMERGENCY]
        worsened = [
            at
            for at in (
                rooms.books.journal.corrected_at(account.number),
                kept.worsened_at if kept else None,
            )
            if at is not None
        ]
        return Money(
            balance_e4=balances[Ledger.PREPAID],
            emergency_left_e4=0 if owed_e4 > 0 else policy.emergency_e4,
            emergency_owed_e4=max(0, owed_e4),
            debt_e4=max(0, -balances[Ledger.DEBT]),
            limit_e4=policy.limit_e4,
            journal=rooms.books.journal.head()[0],
            top_ups_waiting=rooms.waiting(),
            worsened_at=max(worsened, default=None),
        )

    def facts(
        self,
        account: Account,
        policy: Policy,
        kept: KeptCase,
        relay: Relay,
        found: Look | None,
        wall: float,
        order: Order = OWN,
    ) -> Facts:
        """All of it at ``wall`` (Unix time); without a look the meter's side is unknown."""
        today = self._rooms.books.day_of(wall)
        return Facts(
            at=wall,
            purpose=order.purpose,
            account=Standing.of(account),
            money=self._known(account, self.money(account, policy, kept), wall, today),
            due=self._due(account, kept.case, wall, order),
            meter=self._at_meter(relay, found, wall),
            box=self._box(wall, relay),
            margins=self._settings.margins,
            today=today,
        )

    def _known(self, account: Account, money: Money, wall: float, today: date) -> Money:
        """Money, and how well it is known."""
        newest = rerate.standing(self._rooms.books.journal.newest(account.number))
        charges = list(islice(newest, CHARGES_MAX))
        flags = {one.number: rerate.stand(one).flags for one in charges}
        provisional_e4 = sum(
            -posting.amount
            for one in charges
            if flags[one.number] & PROVISIONAL
            for posting in one.draft.postings
            if posting.ledger is Ledger.PREPAID
        )
        actual = [one for one in charges if Flag.ESTIMATED not in flags[one.number]]
        last = max((span.to for one in actual for span in one.draft.spans), default=None)
        age_s = None if last is None else wall - end_of(last, self._rooms.books.zone)
        return replace(
            money,
            provisional_e4=provisional_e4,
            reading_age_s=age_s,
            doubts=tuple(self._doubts(account, last)),
            tariff_valid=self._rooms.settlement.priced(account, today),
        )

    def _doubts(self, account: Account, last: date | None) -> list[str]:
        rulings, number = self._rooms.rulings, account.number
        doubts = []
        if reason := rulings.differs(number):
            doubts.append(f"the books differ: {reason}"[:200])
        if rulings.is_again(number):
            doubts.append("its charges are still to be derived again")
        if last and (kept_out := rulings.doubted(number, last)):
            doubts.append(f"{kept_out} readings are kept out")
        if self._rooms.books.journal.balances(number)[Ledger.UNPRICED]:
            doubts.append("energy without a price")
        return doubts

    def _due(self, account: Account, case: Case, wall: float, order: Order) -> Due:
        clearance = self._rooms.clearance
        requested_by = order.requested_by or case.requested_by
        subject = subject_of(account, order.purpose, order.request, requested_by)
        return due_of(
            replace(case, requested_by=requested_by),
            self._settings.regimes,
            approved=clearance.approvals(subject, wall),
            unprotected_at=clearance.unprotected_at(account.number),
            valid_until=order.valid_until,
        )

    def _at_meter(self, relay: Relay, found: Look | None, wall: float) -> AtMeter | None:
        meter = self._meters.get(relay.meter)
        if meter is None:
            return None
        seen = found or Look()
        prepaying = relay.meter in self._rooms.settlement.prepaying()
        return AtMeter(
            address=meter.address,
            number=meter.number,
            number_read=seen.number,
            number_age_s=None if seen.number_at is None else wall - seen.number_at,
            position=relay.state.value,
            fault=relay.fault,
            closed=seen.status.open is False,
            status_age_s=None if seen.status_at is None else wall - seen.status_at,
            protected_supply=bool(seen.status.protected),
            prepays_itself=prepaying or seen.status.prepays not in (None, "none"),
            operations=relay.operations,
        )

    def _box(self, wall: float, relay: Relay) -> Box:
        rooms, settings = self._rooms, self._settings
        mass = rooms.store.mass()
        if relay.state is State.TRIP_WANTED:
            mass = mass_limits.unsent(mass, relay.sent_at)
        calendar = rooms.clearance.calendar()
        lead_s = settings.margins.restore_lead_s
        accounts = self.accounts()
        reach = rooms.reach()
        heard = reach.up and not reach.deaf and wall - reach.since >= DRAINED_S
        drained = heard or (settings.cut_offline and not reach.up)
        return Box(
            clock_trusted=rooms.state() is ClockState.TRUSTED,
            protected=friendly.protected_within(wall, lead_s, calendar),
            calendar=calendar.version if calendar else "",
            mass=mass_limits.refuse(mass, settings.limits, accounts, wall),
            drained=drained,
            stopped=bool(rooms.clearance.stopped()),
            journal_sound=rooms.sound(),
            disk_writable=not rooms.recorder.obstacle,
            replayed=rooms.replayed(),
            dry_run=rooms.clearance.dry_run(),
        )

    def accounts(self) -> int:
        """How many accounts there are, for what is counted in percent."""
        return self._rooms.accounts.count()


def meter_of(account: Account, meters: Mapping[str, MeterConfig]) -> str:
    """The meter whose relay gives this account its supply; empty: none, or nobody knows which.

    Not supported: accounts with several meters; they are never cut.
    """
    running = [one for one in account.meterings if one.until is None and not one.minus]
    [only] = running if len(running) == 1 else [None]
    if not isinstance(only, Metering) or only.meter not in meters:
        return ""
    return only.meter if meters[only.meter].profile.relay else ""
