"""One step of an account's disconnection: stored, told, and what follows from it wanted.

Used by the core alone, through gateway/switching/cutting.py and gateway/switching/judging.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from gateway.config import MeterConfig
from gateway.config_switching import Switching as Settings
from gateway.disconnection import mass_limits
from gateway.disconnection.case import Case, Do, Effect, Signal, State
from gateway.disconnection.facts import Facts, Standing
from gateway.disconnection.preflight import Failed
from gateway.disconnection.procedure import follow, step
from gateway.disconnection.relay_table import Signal as At
from gateway.disconnection.why import Setting
from gateway.prepayment.account import Account, Policy
from gateway.store.switching import KeptCase
from gateway.switching.evidence import OWN, Evidence, Order, Rooms
from gateway.switching.herald import Herald
from gateway.switching.relay_look import Look
from gateway.switching.relays import Relays, Wish
from gateway.switching.supply_point import meter_of

Answer = Callable[[str, str, float, str, Mapping[str, object] | None], None]
"""Stores the next stage of an answer, in a transaction: id, stage, Unix time, reason, data."""
IN_FLIGHT = (State.SENT, State.VERIFYING)
TAKES_A_TURN = (State.SCHEDULED, State.PREFLIGHT)

log = structlog.get_logger()
Mass = mass_limits.State


@dataclass(slots=True)
class Moment:
    """One account at one moment."""

    account: Account
    policy: Policy
    kept: KeptCase
    wall: float
    """Unix time."""
    failed: tuple[Failed, ...] = ()
    """What the last judgement found."""

    @property
    def case(self) -> Case:
        """Its disconnection."""
        return self.kept.case


class CaseSteps:
    """The cases of one gateway, step by step."""

    def __init__(
        self,
        meters: Mapping[str, MeterConfig],
        settings: Settings,
        rooms: Rooms,
        evidence: Evidence,
        relays: Relays,
        herald: Herald,
        answer: Answer,
    ) -> None:
        self.meters = meters
        self.settings = settings
        self.rooms = rooms
        self.evidence = evidence
        self.relays = relays
        self.herald = herald
        self.answer = answer
        self.stepped: Callable[[str], None] = lambda _account: None
        """Told of each account whose case has come a step on, in the same transaction."""

    def moment(self, account: Account | None, wall: float) -> Moment | None:
        """An account now; None for one that has no limits, or nothing that could be switched.

        What the case knows of account and limit is brought up to date; in a transaction.
        """
        policy = self.rooms.books.policy(account) if account else None
        if account is None or policy is None:
            return None
        meter = meter_of(account, self.meters)
        stored = self.rooms.store.case(account.number)
        if stored is None:
            if not meter:
                return None
            fresh = Case(
                account=account.number, meter=meter, regime=account.regime, class_=account.class_
            )
            return Moment(account, policy, KeptCase(case=fresh, limit_e4=policy.limit_e4), wall)
        lowered = policy.limit_e4 > stored.limit_e4
        kept = replace(
            stored,
            case=follow(stored.case, Standing.of(account), meter),
            limit_e4=policy.limit_e4,
            worsened_at=wall if lowered else stored.worsened_at,
        )
        if kept != stored:
            self.rooms.store.set_case(kept)
        return Moment(account, policy, kept, wall)

    def of(self, number: str, wall: float) -> Moment | None:
        """The same by the account's number."""
        return self.moment(self.rooms.accounts.current(number), wall)

    def facts(self, now: Moment, found: Look | None = None, order: Order = OWN) -> Facts:
        """What there is to judge by."""
        relay = self.relays.get(now.case.meter).relay
        return self.evidence.facts(now.account, now.policy, now.kept, relay, found, now.wall, order)

    def step(
        self,
        now: Moment,
        signal: Signal,
        *,
        until: float | None = None,
        reason: str = "",
        draw: float = 0.0,
        command: str = "",
    ) -> None:
        """One step; in a transaction.  ``until`` is the moment that comes with some signals."""
        before, command = now.case, command or now.kept.command
        after, effects = step(
            before,
            signal,
            now.wall,
            self.settings.regimes,
            moment=until,
            reason=reason,
            draw=draw,
        )
        if after == before:
            return
        if before.state in TAKES_A_TURN and after.state not in (*TAKES_A_TURN, *IN_FLIGHT):
            self.mass(lambda mass, *_: mass_limits.withdrawn(mass, before.trip_at), now.wall)
        log.info("case", account=after.account, state=after.state.value, signal=signal.value)
        if after.state is not before.state:
            self._answer(now, after, signal, reason or signal.value)
        now.kept = replace(now.kept, case=after)
        self.rooms.store.set_case(now.kept)
        self.stepped(after.account)
        for effect in effects:
            self._effect(now, effect, reason or signal.value, command)

    def _answer(self, now: Moment, after: Case, signal: Signal, reason: str) -> None:
        """Tell whoever asked for the cut (``disconnect.request``) what has become of it."""
        stage, said = "", ""
        match after.state:
            case State.SENT:
                stage = "sent"
            case State.OPEN:
                stage = "confirmed"
            case State.WATCH | State.FAILED | State.UNKNOWN:
                dry = signal is Signal.PASSED_DRY
                stage, said = ("confirmed" if dry else "failed"), reason
        if stage and now.kept.command:
            data = {"account": after.account, "meter": after.meter, "case": after.state.value}
            self.answer(now.kept.command, stage, now.wall, said, data)
        if stage and stage != "sent":
            now.kept = replace(now.kept, command="")

    def mass(
        self, change: Callable[[Mass, mass_limits.Limits, int, float], Mass], wall: float
    ) -> None:
        """Note something that the limits on many cuts count; in a transaction."""
        before = self.rooms.store.mass()
        after = change(before, self.settings.limits, self.evidence.accounts(), wall)
        if after != before:
            self.rooms.store.set_mass(after)
            if after.latched and not before.latched:
                log.error("all cuts are latched", reason=after.latched)
                self.relays.listeners.withdraw_all(f"all cuts are latched: {after.latched}")
                self.rooms.recorder.turned("cuts_latched", after.latched)

    def _effect(self, now: Moment, effect: Effect, reason: str, command: str) -> None:
        if effect.do is Do.RESTORE:
            self._restore(now, reason, command)
        elif effect.do not in (Do.RUN_PREFLIGHT, Do.SEND_TRIP, Do.READ_BACK):
            # Those follow from the rows.
            setting = Setting(
                regimes=self.settings.regimes,
                policy=now.policy,
                calendar=self.rooms.clearance.calendar(),
                zone=self.rooms.books.zone,
            )
            self.herald.case(
                now.case,
                effect,
                self.facts(now),
                setting,
                now.account,
                failed=now.failed,
                command=command,
            )

    def _restore(self, now: Moment, reason: str, command: str) -> None:
        meter = now.case.meter
        if meter not in self.relays.meters:
            log.error("its meter cannot be switched any more", meter=meter)
            return
        wish = Wish(account=now.account.number, command=command, cause=reason)
        self.relays.signal(meter, At.WANT_CLOSED, now.wall, wish=wish)
