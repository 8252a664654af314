"""Prepayment (预付费) as the core sees it: all rooms of money, put together.

Orders come in by ``execute``, readings by ``kept``; ``tick`` does what the day brings: accounts
that waited for missing readings, charges to be derived again, and each night the books of every
account looked at and a signed digest sent.

Used by the core alone.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from gateway.acquisition.days import end_of
from gateway.acquisition.polling import Found, Polling
from gateway.clock import ClockState
from gateway.config import Config
from gateway.config_prepayment import Prepayment
from gateway.disconnection.mass_changes import Change
from gateway.events import Job, JobDone
from gateway.metering.midnight import Midnight
from gateway.money.account_desk import AccountDesk
from gateway.money.books import Books
from gateway.money.cashier import Cashier
from gateway.money.enquiries import Enquiries
from gateway.money.foresight import Foresight, Gate
from gateway.money.inspection import Inspection
from gateway.money.journal_messages import digest_message
from gateway.money.mirror import Mirror
from gateway.money.settlement import Settlement
from gateway.money.time_tables import TimeTables
from gateway.north import contract
from gateway.north import contract_orders as orders
from gateway.north.commands import key_of
from gateway.north.contract_money import Digest
from gateway.north.signatures import Signer
from gateway.orders import Outcome
from gateway.prepayment.tariff_reader import TariffError, parse
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.database import Database
from gateway.store.journal import Journal
from gateway.store.meter_facts import MeterFacts
from gateway.store.readings import Readings
from gateway.store.refusals import Refusals
from gateway.store.rulings import Rulings
from gateway.store.tariffs import Tariffs
from gateway.store.verify import verify
from gateway.store.vouchers import Vouchers
from protocols.base import Quality, Value

LOOK_S = 3600.0
"""How often accounts are looked at that wait for a missing reading."""
STEP_S = 1.0
"""Work that has piled up is done in steps this far apart, so that nothing else waits."""
ACCOUNTS_PER_STEP = 10
NIGHT_S = 4 * 3600.0
"""The books are looked at this long after midnight: by then the freezes are read."""
NIGHT_DAYS = 3
"""So many days are derived again each night."""
DIGEST = "digest of"
"""The stored day of the last digest."""
LOAD_W = 100
LOAD_STEPS_PER_W = 100
POWER = "power_active"

Teller = Callable[[Any, str, str, float], Outcome]
"""Carries out one kind of order, given its command's id, who answers for it, and Unix time."""

log = structlog.get_logger()


class Prepaid:
    """The money of one gateway."""

    def __init__(
        self,
        config: Config,
        prepayment: Prepayment,
        database: Database,
        recorder: Recorder,
        wall: Callable[[], float],
        state: Callable[[], ClockState],
        signer: Signer | None,
    ) -> None:
        """``wall`` gives Unix time, ``state`` what it is worth; ``signer`` signs the digest."""
        self._gateway = config.gateway.name
        self._zone = ZoneInfo(config.gateway.timezone)
        self._database = database
        self._recorder = recorder
        self._wall = wall
        self._state = state
        self._signer = signer
        self._refuse_unchecked = prepayment.refuse_unchecked
        self._meters = {meter.asset: meter for meter in config.meters}
        self._open_rooms(config, prepayment)
        self._loaded: set[tuple[str, date]] = set()
        self._waiting: deque[str] = deque()
        """Accounts to be looked at for readings that were waited for."""
        self._night: deque[str] = deque()
        """Accounts whose books are looked at tonight."""
        self._inspection: Inspection | None = None
        self._look_at = 0.0
        self.looked = False
        """Whether every account was looked at since the start."""
        self.sound = not self._verify()
        """Whether the journal was whole at the start: else nobody is disconnected."""
        self._bring_in(prepayment)

    def _open_rooms(self, config: Config, prepayment: Prepayment) -> None:
        database, recorder = self._database, self._recorder
        self.accounts = Accounts(database)
        self._rulings = Rulings(database)
        self._tariffs = Tariffs(database)
        self.facts = MeterFacts(database)
        self.journal = Journal(database)
        self.books = Books(
            self._gateway,
            self._zone,
            prepayment.policies,
            prepayment.reserve_days,
            self.journal,
            self.accounts,
            recorder,
            self._wall,
        )
        self.settlement = Settlement(
            config.meters,
            prepayment.usual,
            self.books,
            self.accounts,
            self._rulings,
            self._tariffs,
            self.facts,
            recorder,
        )
        self._cashier = Cashier(
            self.books,
            self.accounts,
            Refusals(database),
            Vouchers(database),
            prepayment.voucher_keys,
            lambda: self._state() is ClockState.TRUSTED,
        )
        self.desk = AccountDesk(
            (meter.asset for meter in config.meters),
            prepayment.policies,
            self.books,
            self.settlement,
            self.accounts,
            self._rulings,
            self._tariffs,
            recorder,
        )
        self._enquiries = Enquiries(self.books, self.accounts, recorder)
        self._foresight = Foresight(
            prepayment.policies, self.books, self.settlement, self.accounts, self._tariffs
        )
        self.gate: Gate | None = None
        """Given by the rooms of switching: without them nobody is cut from here."""
        self._tellers = self._staff()

    # --- orders ---------------------------------------------------------------------------------

    def execute(self, command: contract.Command, by: str, wall: float) -> Outcome:
        """Carry out an order about money, in the caller's transaction."""
        order = command.command
        change = self._foresight.change(order, key_of(command))
        if refusal := self._too_many(change, wall):
            return refusal
        outcome = self._tellers[order.name](order, command.id, by, wall)
        self._made(change, outcome, wall)
        return outcome

    def _too_many(self, change: Change, wall: float) -> Outcome | None:
        """R26: what would put many accounts below zero waits for a second person."""
        if self.gate is None or not change.fallen:
            return None
        reason = self.gate.refuse(change, wall)
        data = {"code": "below_zero", "accounts": len(change.fallen)}
        return Outcome("refused", reason, data) if reason else None

    def _made(self, change: Change, outcome: Outcome, wall: float) -> None:
        if self.gate and change.fallen and outcome.stage == "confirmed":
            self.gate.done(change, wall)

    def _staff(self) -> dict[str, Teller]:
        """Who carries out which order."""
        till, desk, asked = self._cashier, self.desk, self._enquiries
        return {
            "topup": lambda order, _id, _by, _wall: till.top_up(order),
            "topup.reverse": lambda order, _id, _by, wall: till.reverse(order, wall),
            "voucher": lambda order, _id, _by, wall: till.voucher(order, wall),
            "adjust": till.adjust,
            "emergency": lambda order, id_, _by, wall: till.emergency(order, id_, wall),
            "account.open": lambda order, id_, by, _wall: desk.open(order, id_, by),
            "account.change": lambda order, id_, by, _wall: desk.change(order, id_, by),
            "account.close": lambda order, id_, by, _wall: desk.close(order, id_, by),
            "account.swap_meter": lambda order, id_, by, _wall: desk.swap_meter(order, id_, by),
            "tariff.put": lambda order, _id, _by, wall: desk.put_tariff(order, wall),
            "reading.rule": desk.rule,
            "statement": lambda order, _id, _by, _wall: asked.statement(order),
            "reconcile": lambda order, _id, _by, _wall: asked.reconcile(order),
            "journal.resend": lambda order, _id, _by, _wall: asked.resend(order),
        }

    # --- readings -------------------------------------------------------------------------------

    def kept(self, meter: str, day: date) -> None:
        """The freeze of a day, or that there is none, was stored in this transaction."""
        self.settlement.meter(meter, day)

    def seen(self, meter: str, values: Mapping[str, Value], wall: float) -> None:
        """Values were polled: whether power is drawn tells a stuck register."""
        power = values.get(POWER)
        if power is None or power.quality is not Quality.GOOD:
            return
        if isinstance(power.amount, int) and abs(power.amount) > LOAD_W * LOAD_STEPS_PER_W:
            self._loaded.add((meter, self.books.day_of(wall)))

    def loaded(self, meter: str, day: date) -> bool:
        """Whether power was drawn on ``day``, as far as this process has seen."""
        return (meter, day) in self._loaded

    # --- meters -----------------------------------------------------------------------------------

    def inspect(self, polling: Polling, submit: Callable[[str, Job], None]) -> None:
        """From now on, ask the accounts' meters what has to be known of them."""
        changed = self.settlement.facts_changed
        mirror = Mirror(self.books, self.accounts, self.facts, self._recorder, changed)
        tables = TimeTables(
            self.books,
            self.accounts,
            self.facts,
            self.settlement.looks.prices,
            self._recorder,
            changed,
            refuse_unchecked=self._refuse_unchecked,
        )
        midnight = Midnight(
            tuple(self._meters.values()),
            Readings(self._database),
            self.books,
            self._recorder,
            self.kept,
            self.loaded,
        )
        checks = (midnight, mirror, tables)
        self._inspection = Inspection(self._meters, polling, submit, self._state, checks)

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return self._inspection is not None and self._inspection.asked(event)

    def done(self, event: JobDone, found: Sequence[Found], now: float, wall: float) -> None:
        """One of our jobs is over; ``found`` is what polling made of it."""
        if self._inspection:
            self._inspection.done(event, found, now, wall)

    # --- time -----------------------------------------------------------------------------------

    def tick(self, now: float, wall: float) -> float:
        """Do what the time has brought; returns the monotonic time of the next tick."""
        if self._state() is ClockState.UNKNOWN:
            return now + STEP_S
        inspect_at = self._inspection.tick(now, wall) if self._inspection else math.inf
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._waiting = deque(self.accounts.all())
            self._begin_night(wall)
        again = self._rulings.next_again() is not None
        if again:
            self._recorder.later(self.settlement.again)
        for _ in range(min(ACCOUNTS_PER_STEP, len(self._waiting))):
            self._recorder.later(partial(self._look, self._waiting.popleft()))
        for _ in range(min(ACCOUNTS_PER_STEP, len(self._night))):
            self._recorder.later(partial(self._check, self._night.popleft(), wall))
        if again or self._waiting or self._night:
            return now + STEP_S
        self.looked = True
        return min(self._look_at, inspect_at)

    def _look(self, number: str) -> None:
        if account := self.accounts.current(number):
            self.settlement.account(account)

    def _begin_night(self, wall: float) -> None:
        yesterday = self.books.day_of(wall - NIGHT_S) - timedelta(days=1)
        told = self._database.meta(DIGEST) or ""
        if yesterday.isoformat() <= told or wall < end_of(yesterday, self._zone) + NIGHT_S:
            return
        self._loaded = {one for one in self._loaded if one[1] >= yesterday}
        self._night = deque(self.accounts.all())
        self._recorder.later(partial(self._tell_digest, yesterday))

    def _check(self, number: str, wall: float) -> None:
        """Look at the books of one account; nobody is disconnected for books that differ."""
        account = self.accounts.current(number)
        if account is None or self._rulings.is_again(number):
            return
        since = self.books.day_of(wall) - timedelta(days=NIGHT_DAYS)
        reason = self.settlement.wrong(account, since)
        before = self._rulings.differs(number)
        if reason == before:
            return
        self._rulings.set_differs(number, reason, wall)
        if reason:
            log.error("books differ", account=number, reason=reason)
            self._recorder.event("charges_differ", detail=f"account {number}: {reason}")

    def _tell_digest(self, day: date) -> None:
        if (self._database.meta(DIGEST) or "") >= day.isoformat():
            return
        self._database.set_meta(DIGEST, day.isoformat())
        self._recorder.digest(partial(self._digest, day))

    def _digest(self, day: date, seq: int) -> Digest:
        envelope = self._gateway, self._recorder.epoch, seq
        accounts = sum(one.closed is None for one in self.accounts.all().values())
        totals = self.journal.totals()
        stamp = self._recorder.stamp()
        return digest_message(envelope, stamp, day, accounts, totals, self._signer)

    # --- the start ------------------------------------------------------------------------------

    def _verify(self) -> bool:
        """Whether the journal is damaged: then the head-end is told."""
        findings = verify(self._database)
        for one in findings[:10]:
            log.critical("the journal is damaged", finding=str(one))
        if findings:
            detail = f"{len(findings)} findings; the first: {findings[0]}"
            self._recorder.event("journal_damaged", detail=detail)
        return bool(findings)

    def _bring_in(self, prepayment: Prepayment) -> None:
        """Take the tariff files of the configuration into the store, each version once."""
        for path in sorted(prepayment.tariffs_directory.glob("*.toml")):
            try:
                tariff = parse(path.read_text())
            except (TariffError, OSError, UnicodeDecodeError) as error:
                log.error("tariff not taken", file=str(path), reason=str(error))
                continue
            order = orders.TariffPut(
                name="tariff.put",
                tariff=tariff.id,
                version=tariff.version,
                text=path.read_text(),
            )
            self._recorder.later(partial(self._put, order, path.name))

    def _put(self, order: orders.TariffPut, file: str) -> None:
        wall = self._wall()
        change = self._foresight.change(order, "")
        outcome = self._too_many(change, wall) or self.desk.put_tariff(order, wall)
        self._made(change, outcome, wall)
        if outcome.stage == "refused":
            log.error("tariff not taken", file=file, reason=outcome.reason)
