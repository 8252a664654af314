"""Switching (停送电) as the core sees it: all its rooms put together.

``posted`` is told of every account whose books changed, in the same transaction: so who has paid is
wanted back on flash together with his payment.  ``tick`` does what time, persons and rows ask for
and knows when it is needed next; ``done`` takes the jobs back.  After an order, a posting or a job
that is over it has to be called at once.

The stop switch is asked with every judgement, every half a second, and when the frame of a trip is
made: once it is on, no such frame is made any more (R25).  Of the clock and the connection nobody
tells: they are looked at in each tick, so the core calls it every few seconds.

Used by the core alone.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from gateway.acquisition.found import Found
from gateway.acquisition.polling import Polling
from gateway.clock import ClockState
from gateway.config import Config
from gateway.config_switching import Switching as Settings
from gateway.disconnection import mass_limits
from gateway.disconnection.case import State
from gateway.disconnection.facts import Purpose
from gateway.disconnection.mass_limits import LatchError, Load
from gateway.events import Job, JobDone
from gateway.money.prepaid import Prepaid
from gateway.north import contract
from gateway.north.contract_supply import StopTurned
from gateway.north.contract_switching import DisconnectApprove, ShedEnd
from gateway.north.signatures import Keys
from gateway.orders import Outcome
from gateway.prepayment.account import Account
from gateway.recorder import Recorder
from gateway.store.database import Database
from gateway.store.rulings import Rulings
from gateway.store.switching import KeptRelay, Switching
from gateway.switching.approval_desk import ApprovalDesk, Site
from gateway.switching.case_steps import Answer, CaseSteps
from gateway.switching.clearance import Clearance
from gateway.switching.cutting import Cutting
from gateway.switching.evidence import Evidence, Rooms
from gateway.switching.figures_report import FiguresReport
from gateway.switching.herald import Herald
from gateway.switching.judging import Judging
from gateway.switching.mass_gate import MassGate
from gateway.switching.relay_look import Look
from gateway.switching.relay_sending import STEPPED_S
from gateway.switching.relay_work import RelayWork
from gateway.switching.relays import Relays
from gateway.switching.stop_switch import StopSwitch
from gateway.switching.supply_orders import SupplyOrders
from gateway.uplink import Reach
from protocols.base import Quality, Value

TICK_S = 0.5
CURRENTS = ("current_l1", "current_l2", "current_l3")
VOLTAGES = ("voltage_l1n", "voltage_l2n", "voltage_l3n")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What switching needs of the rest of the gateway."""

    config: Config
    database: Database
    recorder: Recorder
    prepaid: Prepaid
    polling: Polling
    submit: Callable[[str, Job], None]
    state: Callable[[], ClockState]
    """What our clock is worth."""
    wall: Callable[[], float]
    reach: Callable[[], Reach]
    waiting: Callable[[], int]
    """How many messages of the head-end wait to be acted on."""
    draw: Callable[[], float]
    """A source of [0, 1)."""
    answer: Answer


class SwitchingRoom:
    """The relays and disconnections of one gateway."""

    def __init__(self, settings: Settings, world: World) -> None:
        self._settings = settings
        self._world = world
        self._recorder = world.recorder
        self._store = Switching(world.database)
        self._begun = False
        self._down_at: float | None = None
        """Since when the head-end has been out of reach, monotonic; None: it is there."""
        self._trusted = False
        self._offset = 0.0
        """Of Unix time to the monotonic one."""
        self._cases_at = 0.0
        """The earliest of the next."""
        self._case_at: dict[str, float] = {}
        """By account, Unix time before which its case need not be looked at."""
        self._area: tuple[float, Load] | None = None
        """Unix time and what the area meter said then."""
        self._open_rooms()

    def _open_rooms(self) -> None:
        world, settings = self._world, self._settings
        prepaid, database, config = world.prepaid, world.database, world.config
        zone = ZoneInfo(config.gateway.timezone)
        desk = ApprovalDesk(
            database,
            Site(
                keys=config.keys,
                zone=zone,
                state=world.state,
                is_account=lambda number: prepaid.accounts.current(number) is not None,
                unprotect=prepaid.desk.unprotect,
                latch=self,
            ),
        )
        self._desk = desk
        switch = StopSwitch(config.store_directory, settings.stop_pin, desk.stop_orders)
        self.clearance = Clearance(desk, switch, zone, dry_run=settings.dry_run)
        rooms = Rooms(
            books=prepaid.books,
            accounts=prepaid.accounts,
            settlement=prepaid.settlement,
            rulings=Rulings(database),
            store=self._store,
            recorder=world.recorder,
            clearance=self.clearance,
            state=world.state,
            reach=world.reach,
            waiting=world.waiting,
            sound=lambda: prepaid.sound,
            replayed=lambda: self._begun and prepaid.looked,
        )
        meters = {meter.asset: meter for meter in config.meters}
        herald = Herald(world.recorder)
        self.relays = Relays(meters, settings, self._store, prepaid.accounts, herald)
        evidence = Evidence(meters, settings, rooms)
        steps = CaseSteps(meters, settings, rooms, evidence, self.relays, herald, world.answer)
        steps.stepped = self._wake
        self.cutting = Cutting(steps, world.draw)
        self.judging = Judging(steps)
        self.work = RelayWork(
            self.relays,
            self._store,
            world.polling,
            world.recorder,
            world.submit,
            lambda: world.reach().up,
        )
        self._orders = SupplyOrders(steps, self.cutting, self.judging, self.work, desk, world.draw)
        self._evidence = evidence
        self.work.recheck = self._recheck
        self.work.stopped = switch.at_hand
        self._report = FiguresReport(
            config.gateway.name, settings.times, database, world.recorder, prepaid.books.day_of
        )
        self._listen()
        prepaid.gate = MassGate(
            settings.limits, self._store, config.keys, evidence.accounts, world.state
        )

    def _listen(self) -> None:
        """Be told of what relays come to, of the area's load when it matters, and of payments."""
        self.relays.listeners.came_to = self._came_to
        self.relays.listeners.load = self._load
        self._world.prepaid.books.watcher = self.posted

    # --- orders -----------------------------------------------------------------------------------

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        """Take an order about supply on, in the transaction that remembers it."""
        outcome = self._orders.execute(command, by, wall, at_box=at_box)
        if outcome.stage != "refused":
            account = getattr(command.command, "account", None) or ""
            self._wake(account)
            if isinstance(command.command, DisconnectApprove | ShedEnd):
                self._orders.wake(account)
        return outcome

    def use(self, keys: Keys) -> None:
        """From now on these keys count, for what was approved already, too."""
        self._desk.use(keys)
        self._wake()
        self._orders.wake()

    def works_on(self, command: str) -> bool:
        """Whether the order with this id goes on after a restart."""
        return self._orders.works_on(command)

    def release(self, by: frozenset[str], *, key_at_box: bool) -> str:
        """Release the latch (闭锁) if these persons may; else why not.  In a transaction."""
        try:
            state = mass_limits.release(self._store.mass(), by, key_at_box=key_at_box)
        except LatchError as error:
            return str(error)
        self._store.set_mass(state)
        self._recorder.turned("cuts_released", ", ".join(sorted(by)) or "at the box")
        return ""

    # --- what the others bring --------------------------------------------------------------------

    def posted(self, account: Account) -> None:
        """The books or the account changed; in the same transaction."""
        self._wake(account.number)
        if kept := self._store.case(account.number):
            self.work.hurry(kept.case.meter)
        self.cutting.posted(account, self._world.wall())

    def polled(self, meter: str, values: Mapping[str, Value], wall: float) -> None:
        """Values were polled."""
        good = {name: one for name, one in values.items() if one.quality is Quality.GOOD}
        if good:
            self.work.hurry(self.relays.breakers.get(meter, meter))
        if "relay_state" in good:
            self.work.polled(meter, tripped=good["relay_state"].amount == "tripped")
        if meter == self._settings.area_meter:
            self._note_load(good, wall)

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return self.work.asked(event)

    def done(self, event: JobDone, found: list[Found], now: float, wall: float) -> None:
        """One of our jobs is over."""
        self.work.done(event, found, now, wall)

    # --- time -------------------------------------------------------------------------------------

    def look_at_stop(self) -> bool:
        """See whether the stop switch was turned; asked every half a second.  True if it was."""
        reason = self.clearance.turned()
        if reason is None:
            return False
        log.warning("stop switch", on=bool(reason), reason=reason)
        self._wake()
        if reason:
            self.work.withdraw_all(f"the stop switch is on: {reason}"[:200])
        at, clock = self._recorder.stamp()
        fact = StopTurned(at=at, clock=clock, on=bool(reason), reason=reason[:500])
        self._recorder.later(partial(self._recorder.fact, fact))
        return True

    def tick(self, now: float, wall: float) -> float:
        """Do what is due; returns the monotonic time of the next tick, if nothing else happens."""
        if not self._begun and not self._begin(now, wall):
            return now + TICK_S
        self._look_at_clock(now, wall)
        cases_at = self._look_at_cases(now, wall)
        if self._trusted:
            self._report.tick(wall)
        orders_at = self._orders.tick(now, wall)
        next_at = now + max(TICK_S, min(cases_at, orders_at) - wall)
        return min(self.work.tick(now, wall), next_at)

    def _begin(self, now: float, wall: float) -> bool:
        # Nobody knows how long it was offline before: then that was long.
        self._down_at = None if self._world.reach().up else -math.inf
        self._begun = self.work.act(now, partial(self.relays.start, wall))
        return self._begun

    def _look_at_clock(self, now: float, wall: float) -> None:
        """R23: a quiet time begins when the time is known, and after a long time offline."""
        trusted = self._world.state() is ClockState.TRUSTED
        if abs(wall - now - self._offset) > STEPPED_S or trusted is not self._trusted:
            self._offset = wall - now
            self._wake()
            self._orders.wake()
            self.work.clock_set()
        known = trusted and not self._trusted
        if known and not self.work.act(now, partial(self._time_is_known, wall)):
            return
        self._trusted = trusted
        self._look_at_reach(now, wall)

    def _look_at_reach(self, now: float, wall: float) -> None:
        reach = self._world.reach()
        if not reach.up:
            self._down_at = now - reach.for_s if self._down_at is None else self._down_at
        elif self._down_at is not None:
            limits, offline_s = self._settings.limits, now - reach.for_s - self._down_at
            after = mass_limits.reconnected(self._store.mass(), limits, offline_s, wall)
            if self.work.act(now, partial(self._store.set_mass, after)):
                self._down_at = None

    def _time_is_known(self, wall: float) -> None:
        self._store.set_mass(mass_limits.started(self._store.mass(), wall))
        # What was posted by the old clock asked for no step.
        for account in self._world.prepaid.accounts.all():
            self.cutting.look(account, wall)

    def _wake(self, account: str = "") -> None:
        """Something happened to a case, or may have happened to all: look at the next tick."""
        self._cases_at = 0.0
        if account:
            self._case_at.pop(account, None)
        else:
            self._case_at.clear()

    def _look_at_cases(self, now: float, wall: float) -> float:
        """Look at the cases that are due, all in one transaction, and at the meters of those that
        are to be cut now; returns the Unix time of the next look.
        """
        if wall < self._cases_at:
            return self._cases_at
        under_way = self.cutting.under_way()
        due = [account for account, _ in under_way if wall >= self._case_at.get(account, 0.0)]
        next_at: dict[str, float] = {}

        def look() -> None:
            for account in due:
                next_at[account] = self.cutting.look(account, wall)

        if due and self.work.act(now, look):
            self._case_at |= next_at
        under_way = self.cutting.under_way()
        judged = [one for one, state in under_way if state is State.PREFLIGHT and self._trusted]
        for account in judged:
            if case := self.cutting.case(account):
                self._examine(account, case.meter, now)
        soonest = min((self._case_at.get(one, 0.0) for one, _ in under_way), default=math.inf)
        self._cases_at = 0.0 if judged else soonest
        return soonest

    # --- judgements -------------------------------------------------------------------------------

    def _examine(self, account: str, meter: str, now: float) -> None:
        if meter in self.relays.meters:
            self.work.examine(meter, partial(self._judge, account), now)

    def _judge(self, account: str, found: Look, now: float, wall: float) -> None:
        """A fresh look has come: the last balance check stands in the commit that says sent."""
        sent: list[KeptRelay] = []

        def judge() -> None:
            self.cutting.look(account, wall)
            kept = self.judging.arrears(account, found, wall)
            sent.extend([kept] if kept else [])

        if self.work.act(now, judge) and sent:
            self.work.send_trip(sent[0], found, now, wall)

    def _recheck(self, kept: KeptRelay, now: float, wall: float) -> None:
        if kept.purpose is Purpose.ARREARS and kept.account:
            self._examine(kept.account, kept.relay.meter, now)
        else:
            self._orders.recheck(kept, now, wall)

    def _came_to(self, kept: KeptRelay, wall: float) -> None:
        self._wake(kept.account)
        self.judging.came_to(kept, wall)
        self._orders.came_to(kept, wall)

    # --- the area's load --------------------------------------------------------------------------

    def _note_load(self, good: Mapping[str, Value], wall: float) -> None:
        currents = [_steps(good[name], 1) for name in CURRENTS if name in good]
        voltages = [_steps(good[name], 1000) for name in VOLTAGES if name in good]
        rated_a, enough_mv = self._settings.transformer_a, self._settings.limits.voltage_min_mv
        if voltages or (currents and rated_a):
            percent = 100 * max(currents, default=0) // rated_a if rated_a else 0
            voltage_mv = min(voltages, default=enough_mv)
            load = Load(age_s=0.0, current_percent=percent, voltage_mv=voltage_mv)
            self._area = wall, load

    def _load(self, wall: float) -> Load | None:
        if self._area is None:
            return None
        at, load = self._area
        return Load(
            age_s=wall - at, current_percent=load.current_percent, voltage_mv=load.voltage_mv
        )


def _steps(value: Value, per_unit: int) -> int:
    """A number in whole steps of 1/``per_unit`` of its unit."""
    amount = value.amount if isinstance(value.amount, int) else 0
    return amount * per_unit // int(10**value.decimals)
