"""The smallest gateway around the pure rules of switching: rows, jobs, and nothing else.

It stands where the daemon's own rooms stand, so that thousands of days pass in a second.  What a
power cut leaves is ``Rows``: everything else is forgotten.  One call from outside is one
transaction; what has to be done outside is put into ``out`` and done after the commit.
"""

from dataclasses import replace
from datetime import date
from typing import Protocol

from gateway.disconnection import case as cases
from gateway.disconnection import facts as kept_facts
from gateway.disconnection import friendly, mass_limits
from gateway.disconnection import relay as relays
from gateway.disconnection.case import BEFORE_SENT, IN_FLIGHT, Case, Do, Signal, State
from gateway.disconnection.facts import AtMeter, Box, Facts, Money, Purpose
from gateway.disconnection.friendly import Calendar
from gateway.disconnection.mass_limits import Limits
from gateway.disconnection.preflight import Decision, preflight
from gateway.disconnection.procedure import (
    due_of,
    duties,
    follow,
    result,
    step,
    tick,
    verdict,
    why_cancel,
)
from gateway.disconnection.regimes import Regimes
from gateway.disconnection.relay import Relay, Times
from gateway.disconnection.relay_table import Do as AtRelay
from gateway.disconnection.relay_table import Signal as Told
from gateway.disconnection.relay_table import State as Stands
from tests.switch_rows import Out, Rows
from tests.switch_street import Home, Look

REGIMES, TIMES, LIMITS = Regimes(), Times(), Limits()
SEND_WITHIN_S = 20.0
CALL_BEFORE_S = 7200.0


class World(Protocol):
    """What the gateway sees of the world around it."""

    trusted: bool
    stopped: bool
    drained: bool
    sound: bool
    dry_run: bool
    calendar: Calendar | None
    homes: list[Home]

    def wall(self) -> float: ...
    def today(self) -> date: ...
    def random(self) -> float: ...


class Gateway:
    """One life of it, from one start to the next power cut."""

    def __init__(self, world: World, rows: Rows) -> None:
        self.world, self.rows = world, rows
        self.out: list[Out] = []
        self.energy: dict[str, int] = {}
        self.decided: list[tuple[Facts, Decision]] = []
        for home in world.homes:
            asset = home.meter.asset
            rows.relays.setdefault(asset, Relay(meter=asset, direct=home.direct))
            if home.number not in rows.cases:
                standing = home.standing
                rows.cases[home.number] = Case(
                    account=home.number,
                    meter=asset,
                    regime=standing.regime,
                    class_=standing.class_,
                )

    def start(self) -> None:
        """After a power cut."""
        self.rows.mass = mass_limits.started(self.rows.mass, self.world.wall())
        for home in self.world.homes:
            relay = self.rows.relays[home.meter.asset]
            self.tell(home, Told.START)
            if relay.state in (Stands.RESTORE_WANTED, Stands.STUCK_OPEN):
                self.out.append(Out("turn", home, relay.next_at))
            for effect in duties(self.rows.cases[home.number]):
                self._do(home, effect)
            self.look_at(home)

    # --- the case -----------------------------------------------------------------------------

    def look_at(self, home: Home) -> None:
        """What follows from the books and from the time, for one account."""
        now, case = self.world.wall(), self.rows.cases[home.number]
        asset = home.meter.asset
        case = self.rows.cases[home.number] = follow(case, home.standing, asset)
        money = self.money(home)
        books = (home.standing, money, home.policy)
        veto = home.standing.no_cut
        reason = why_cancel(case, *books, meter=asset, no_cut=veto)
        if reason:
            self.signal(home, Signal.CANCEL, reason=reason)
        if not self.world.trusted:
            return  # nothing that leads to a cut happens at a time that nobody knows
        case = self.rows.cases[home.number]
        if case.state is State.WATCH:
            # What would be cancelled at once does not begin: no notices that are taken back.
            begun = replace(case, state=State.WARNED)
            if why_cancel(begun, *books, meter=asset, no_cut=veto):
                return
        beyond = home.balance_e4 <= home.beyond_e4
        if home.balance_e4 > home.policy.alert_2_e4 + home.policy.hysteresis_e4:
            self.signal(home, Signal.RECOVERED)
        elif home.balance_e4 <= home.policy.alert_2_e4:
            self.signal(home, Signal.LOW)
        if beyond:
            self.signal(home, Signal.BEYOND, moment=home.owed_since)
        self.by_time(home, now)

    def by_time(self, home: Home, now: float) -> None:
        """What the time alone brings."""
        for _ in range(10):
            signal = tick(self.rows.cases[home.number], now, REGIMES)
            if signal is None:
                break
            if signal is Signal.LEAD_OVER:
                self._schedule(home, now)
            else:
                self.signal(home, signal)
        if (at := self._next(self.rows.cases[home.number], now)) is not None:
            self.out.append(Out("tick", home, at))

    def signal(
        self, home: Home, signal: Signal, *, moment: float | None = None, reason: str = ""
    ) -> None:
        before = self.rows.cases[home.number]
        if (before.state, signal) not in cases.ROWS:
            return
        case, effects = step(
            before, signal, self.world.wall(), REGIMES, moment=moment, reason=reason
        )
        self.rows.cases[home.number] = case
        if before.state in (State.SCHEDULED, State.PREFLIGHT) and case.state in (
            *(State.WATCH, State.APPROVED, State.NOTICE_SERVED),
        ):
            self.rows.mass = mass_limits.withdrawn(self.rows.mass, before.trip_at)
        if case.state is State.DUE is not before.state:
            mass, accounts = self.rows.mass, len(self.world.homes)
            self._mass(mass_limits.fell_due(mass, LIMITS, accounts, self.world.wall()))
        for effect in effects:
            self._do(home, effect)

    def _mass(self, after: mass_limits.State) -> None:
        if after.latched and not self.rows.mass.latched:
            self.out.append(Out("latched", self.world.homes[0], said=after.latched))
        self.rows.mass = after

    def _schedule(self, home: Home, now: float) -> None:
        accounts = len(self.world.homes)
        lead_s = kept_facts.Margins().restore_lead_s
        earliest = friendly.next_free(now + 1800, lead_s, self.world.calendar) or now + 1800
        moment = mass_limits.slot(self.rows.mass, LIMITS, accounts, earliest, self.world.random())
        self.signal(home, Signal.LEAD_OVER, moment=moment)
        case = self.rows.cases[home.number]
        self._mass(mass_limits.asked(self.rows.mass, LIMITS, accounts, case.trip_at, now))

    def _do(self, home: Home, effect: cases.Effect) -> None:
        case = self.rows.cases[home.number]
        match effect.do:
            case Do.WARN | Do.SERVE_NOTICE | Do.ASK_APPROVAL | Do.REPORT | Do.WORK_ORDER:
                said = f"{case.state}: {effect.reason}" if effect.do is Do.REPORT else ""
                self.out.append(Out(effect.do, home, effect.at, said or str(case.round)))
            case Do.LAST_CALL:
                self.out.append(Out(effect.do, home, effect.at - CALL_BEFORE_S, str(case.round)))
            case Do.RUN_PREFLIGHT:
                self.out.append(Out("poll", home, said="preflight"))
            case Do.SEND_TRIP:
                self.tell(home, Told.WANT_OPEN)
            case Do.RESTORE:
                self.want_closed(home)

    @staticmethod
    def _next(case: Case, now: float) -> float | None:
        """The next moment at which the time alone may change something."""
        rules = REGIMES.find(case.regime, case.class_)
        if rules is None or case.state not in BEFORE_SENT:
            return None
        notice = case.notice_at or now
        called = case.last_call_at
        moments: tuple[float, ...] = (case.approved_until or 0.0,)
        match case.state:
            case State.WARNED:
                moments = ((case.owed_since or now) + rules.overdue_s,)
            case State.DUE:
                moments = (case.asked_at + rules.renew_s,)
            case State.NOTICE_SERVED | State.APPROVED:
                ready = max(notice + rules.lead_s[case.class_], case.not_before)
                moments = (*moments, ready, notice + rules.notice_age_max_s + 1)
            case State.SCHEDULED if called is None:
                # The call itself is made two hours before; nobody waits for its proof earlier.
                asked = max(case.asked_at, case.trip_at - CALL_BEFORE_S)
                moments = (*moments, asked + rules.last_call_renew_s)
            case State.SCHEDULED:
                moments = (*moments, max(case.trip_at, (called or now) + rules.last_call_s))
        return min((one for one in moments if one > now), default=None)

    # --- the decision -------------------------------------------------------------------------

    def polled(self, home: Home, why: str, found: Look | None) -> None:
        """A fresh poll, asked for by the procedure of the case or of the relay."""
        asset = home.meter.asset
        relay, state = self.rows.relays[asset], self.rows.cases[home.number].state
        if found and why != "energy":
            self.energy[asset] = found.energy_mj
        if why == "preflight":
            if state is State.PREFLIGHT:
                self.signal_of(home, self.decide(home, found))
        elif why == "recheck":
            if relay.state is Stands.TRIP_WANTED:
                self._again(home, found)
        elif why == "energy" and found and found.seen is Told.SEEN_OPEN:
            grew = found.energy_mj > self.energy.get(asset, found.energy_mj)
            known = asset in self.energy
            self.tell(home, (Told.GREW if grew else Told.STILL) if known else Told.NO_REPLY)
            self.energy[asset] = found.energy_mj
        else:
            self.tell(home, found.seen if found else Told.NO_REPLY)

    def signal_of(self, home: Home, decision: Decision) -> None:
        free = None
        if not decision.allowed:
            now, lead_s = self.world.wall(), kept_facts.Margins().restore_lead_s
            free = friendly.next_free(now, lead_s, self.world.calendar)
        self.signal(home, verdict(decision), moment=free)
        if not decision.allowed or decision.dry:
            self.by_time(home, self.world.wall())

    def _again(self, home: Home, found: Look | None) -> None:
        """A trip whose reply was lost, and that did not happen, is judged anew."""
        purpose, until = self.rows.purpose[home.meter.asset]
        decision = self.decide(home, found, purpose, until)
        if decision.send:
            self.tell(home, Told.WANT_OPEN)
        elif purpose is Purpose.ARREARS:
            self.signal(home, Signal.REFUSED)
        else:
            self.want_closed(home)

    def decide(
        self,
        home: Home,
        found: Look | None,
        purpose: Purpose = Purpose.ARREARS,
        until: float | None = None,
    ) -> Decision:
        facts = self._facts(home, found, purpose, until)
        decision = preflight(facts)
        self.decided.append((facts, decision))
        asset = home.meter.asset
        if decision.send and self.rows.relays[asset].state is Stands.CLOSED:
            self.rows.mass = mass_limits.sent(self.rows.mass, facts.at)
            self.rows.purpose[asset] = (purpose, facts.at + 600 if until is None else until)
        return decision

    def ordered(self, id_: str, home: Home, until: float, found: Look | None) -> str:
        """A person ordered this trip; the same id gives the same answer."""
        if id_ not in self.rows.commands:
            decision = self.decide(home, found, Purpose.ORDER, until)
            if decision.send:
                self.tell(home, Told.WANT_OPEN)
            self.rows.commands[id_] = "sent" if decision.send else "refused"
        return self.rows.commands[id_]

    def _facts(
        self, home: Home, found: Look | None, purpose: Purpose, until: float | None
    ) -> Facts:
        world, now = self.world, self.world.wall()
        asset = home.meter.asset
        relay = self.rows.relays[asset]
        lead_s = kept_facts.Margins().restore_lead_s
        reasons = mass_limits.refuse(self.rows.mass, LIMITS, len(world.homes), now)
        return Facts(
            at=now,
            purpose=purpose,
            account=home.standing,
            money=self.money(home),
            due=due_of(
                self.rows.cases[home.number],
                REGIMES,
                approved=tuple(home.approvals),
                unprotected_at=home.unprotected_at,
                valid_until=until,
            ),
            meter=AtMeter(
                address=home.meter.address,
                number=home.meter.address,
                number_read=found.number if found else "",
                number_age_s=1.0 if found else None,
                position=relay.state.value,
                fault=relay.fault,
                closed=found is not None and found.seen is Told.SEEN_CLOSED,
                status_age_s=1.0 if found else None,
                protected_supply=found is not None and found.protected,
                operations=relay.operations,
            ),
            box=Box(
                clock_trusted=world.trusted,
                protected=friendly.protected_within(now, lead_s, world.calendar),
                calendar=world.calendar.version if world.calendar else "",
                mass=reasons,
                drained=world.drained,
                stopped=world.stopped,
                journal_sound=world.sound,
                disk_writable=True,
                replayed=True,
                dry_run=world.dry_run,
            ),
            today=world.today(),
        )

    def money(self, home: Home) -> Money:
        return Money(
            balance_e4=home.balance_e4,
            provisional_e4=home.provisional_e4,
            emergency_left_e4=home.emergency_left_e4,
            limit_e4=home.policy.limit_e4,
            journal=home.standing.version,
            worsened_at=home.worsened_at,
            reading_age_s=self.world.wall() - home.reading_at,
            tariff_valid=True,
        )

    # --- the relay ----------------------------------------------------------------------------

    def want_closed(self, home: Home) -> None:
        """Supply is wanted: at once, or in its turn."""
        self.tell(home, Told.WANT_CLOSED, not_before=self._turn(home))

    def tell(self, home: Home, signal: Told, *, not_before: float = 0.0) -> None:
        asset, now = home.meter.asset, self.world.wall()
        before = self.rows.relays[asset]
        relay, effects = relays.step(before, signal, now, TIMES, not_before=not_before)
        self.rows.relays[asset] = relay
        for effect in effects:
            self._carry_out(home, relay, effect)
        outcome = result(relay.state) if relay.state is not before.state else None
        own = self.rows.purpose.get(asset, (Purpose.ARREARS, 0.0))[0] is Purpose.ARREARS
        if outcome and own:
            self.signal(home, outcome)
            self.look_at(home)
        elif own and self.rows.cases[home.number].state in IN_FLIGHT:
            self.look_at(home)

    def _carry_out(self, home: Home, relay: Relay, effect: relays.Effect) -> None:
        match effect.do:
            case AtRelay.SEND_TRIP | AtRelay.SEND_CLOSE:
                if effect.do is AtRelay.SEND_CLOSE and relay.tries == 1:
                    self._had_its_turn(home)
                self.out.append(
                    Out(effect.do, home, self.world.wall(), str(relay.sent_at), effect.direct)
                )
            case AtRelay.READ | AtRelay.RECHECK | AtRelay.WATCH_ENERGY:
                why = {AtRelay.READ: "state", AtRelay.RECHECK: "recheck"}.get(effect.do, "energy")
                self.out.append(Out("poll", home, effect.at, why))
            case AtRelay.WAIT:
                self.out.append(Out("turn", home, effect.at))
            case AtRelay.REPORT | AtRelay.WORK_ORDER:
                self.out.append(Out(f"relay {effect.do}", home, said=relay.state))

    def waited(self, home: Home) -> None:
        """A restore's turn or the end of a pause."""
        relay, now = self.rows.relays[home.meter.asset], self.world.wall()
        turn = self._turn(home) if relay.tries == 0 else now
        if relay.state is Stands.RESTORE_WANTED and turn > now:
            self.out.append(Out("turn", home, turn))
        elif signal := relays.tick(relay, now):
            if relay.tries == 0:
                self._had_its_turn(home)
            self.tell(home, signal)

    def may_send(self, home: Home, what: str, given: str) -> bool:
        """The last look before a frame: is it still what is wanted?"""
        relay, world = self.rows.relays[home.meter.asset], self.world
        trip = what == AtRelay.SEND_TRIP
        wanted = Stands.TRIP_SENT if trip else Stands.RESTORE_SENT
        if relay.state is not wanted or str(relay.sent_at) != given:
            return False
        in_time = 0 <= world.wall() - float(given) <= SEND_WITHIN_S
        return not trip or (in_time and world.trusted and not world.stopped)

    def _turn(self, home: Home) -> float:
        now = self.world.wall()
        relay = self.rows.relays[home.meter.asset]
        waits = relay.state is Stands.RESTORE_WANTED
        since = relay.wanted_since if waits else now
        recent = [(at, phase) for at, phase, one in self.rows.restores if one != home.number]
        return mass_limits.restore_turn(recent, home.phase, since, None, LIMITS, now)

    def _had_its_turn(self, home: Home) -> None:
        now = self.world.wall()
        near = [one for one in self.rows.restores if now - 60 < one[0] and one[2] != home.number]
        self.rows.restores = (*near, (now, home.phase, home.number))
