"""The facts of a decision, gathered from the rows of one transaction and one fresh look.

Whatever is not there, is old, or nobody knows, is left as unknown: that never speaks for a cut.

Used by the core alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

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
from gateway.prepayment.account import Account, Policy
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.rulings import Rulings
from gateway.store.switching import KeptCase, Switching
from gateway.switching import grounds
from gateway.switching.clearance import Clearance, subject_of
from gateway.switching.relay_look import Look
from gateway.switching.relay_sending import only_directly
from gateway.uplink import Reach
from protocols.relay_control import relay_points

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
        self._charges: dict[str, tuple[bytes, grounds.Charged]] = {}
        """By account, what ``_charged`` gave, and the hash of the transaction it was true for."""
        self._open = (0, 0)
        """How many versions of accounts there were, and how many accounts were open then."""
        rooms.recorder.when_undone.append(self._forget)

    def money(self, account: Account, policy: Policy, kept: KeptCase | None) -> Money:
        """What the books say, as far as it costs nothing to know: enough to cancel by."""
        rooms = self._rooms
        return grounds.money(rooms.books.journal, account, policy, kept, rooms.waiting())

    def due(self, account: Account, case: Case, wall: float, order: Order = OWN) -> Due:
        """The legal steps that were taken, and who agreed."""
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
            due=self.due(account, kept.case, wall, order),
            meter=self._at_meter(relay, found, wall),
            box=self._box(wall, relay),
            margins=self._settings.margins,
            today=today,
        )

    def _known(self, account: Account, money: Money, wall: float, today: date) -> Money:
        """Money, and how well it is known."""
        rooms = self._rooms
        return grounds.how_known(
            money,
            account,
            self._charged(account.number),
            rooms.books.journal,
            rooms.rulings,
            wall=wall,
            zone=rooms.books.zone,
            priced=rooms.settlement.priced(account, today),
        )

    def _charged(self, number: str) -> grounds.Charged:
        journal = self._rooms.books.journal
        hash_, known = journal.newest_hash(number), self._charges.get(number)
        if known is None or known[0] != hash_:
            known = self._charges[number] = hash_, grounds.charged(journal, number)
        return known[1]

    def _at_meter(self, relay: Relay, found: Look | None, wall: float) -> AtMeter | None:
        meter = self._meters.get(relay.meter)
        if meter is None:
            return None
        seen, switch = found or Look(), meter.switch
        prepaying = relay.meter in self._rooms.settlement.prepaying()
        # A look without the register is none: a cut is recorded with it (R40).
        whole = seen.energy is not None or not relay_points(meter.profile).load
        status_at = seen.status_at if whole else None
        return AtMeter(
            address=meter.address,
            number=meter.number,
            number_read=seen.number,
            number_age_s=None if seen.number_at is None else wall - seen.number_at,
            position=relay.state.value,
            fault=relay.fault,
            closed=seen.status.open is False,
            status_age_s=None if status_at is None else wall - status_at,
            protected_supply=bool(seen.status.protected),
            prepays_itself=prepaying or seen.status.prepays not in (None, "none"),
            operations=relay.operations,
            only_directly=only_directly(switch),
            direct=meter.direct_close,
            breaker=meter.breaker.asset if meter.breaker else "",
            breaker_address=meter.breaker.address if meter.breaker else "",
            breaker_number=meter.breaker.number if meter.breaker else "",
            breaker_number_read=seen.breaker_number,
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
        heard = reach.up and not reach.deaf and reach.for_s >= DRAINED_S
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
        versions = self._rooms.accounts.versions()
        if self._open[0] != versions:
            self._open = versions, self._rooms.accounts.count()
        return self._open[1]

    def _forget(self) -> None:
        self._open = (0, 0)
