"""The last judgement before a trip: facts, decision, record, in the transaction that says ``sent``.

    arrears(...)    of an account's own case
    order(...)      of a trip that a person ordered, or of load shedding

Both give the relay that is to be tripped now, or None; the frame follows the commit (R17).

Used by the core alone.
"""

import structlog

from gateway.disconnection import mass_limits
from gateway.disconnection.case import Signal, State
from gateway.disconnection.facts import Facts, Purpose, to_json
from gateway.disconnection.preflight import Decision, preflight
from gateway.disconnection.procedure import result, verdict
from gateway.disconnection.relay_table import Signal as At
from gateway.disconnection.relay_table import State as Stands
from gateway.store.switching import Decided, KeptRelay, Operation
from gateway.switching.case_steps import IN_FLIGHT, CaseSteps, Moment
from gateway.switching.clearance import subject_of
from gateway.switching.evidence import Order
from gateway.switching.relay_look import Look
from gateway.switching.relays import Wish
from protocols.relay import Action

log = structlog.get_logger()


class Judging:
    """Judges cuts."""

    def __init__(self, steps: CaseSteps) -> None:
        self._steps = steps
        self._store = steps.rooms.store

    def arrears(self, number: str, found: Look, wall: float) -> KeptRelay | None:
        """Judge an account's own case, a first time or after a lost reply."""
        now = self._steps.of(number, wall)
        if now is None or not self._waits(now):
            return None
        facts = self._steps.facts(now, found)
        decision = preflight(facts)
        now.failed = decision.failed
        number_ = self.record(facts, decision, now.case.meter)
        if now.case.state is State.PREFLIGHT:
            self._steps.step(now, verdict(decision), reason=said(decision))
        elif not decision.send:
            self._steps.step(now, Signal.REFUSED, reason=said(decision))
        cause = f"arrears, round {now.case.round}"
        wish = Wish(
            account=now.account.number,
            command=now.kept.command,
            cause=cause,
            decision=number_,
            journal=facts.money.journal,
        )
        return self._trip(now, decision, wish)

    def order(self, number: str, found: Look, wall: float, order: Order) -> KeptRelay | Decision:
        """Judge what was ordered.  The decision, if nothing is to be sent.

        Raises KeyError for an account with nothing to switch.
        """
        now = self._steps.of(number, wall)
        if now is None:
            raise KeyError(number)
        facts = self._steps.facts(now, found, order)
        decision = preflight(facts)
        number_ = self.record(facts, decision, now.case.meter)
        wish = Wish(
            account=now.account.number,
            purpose=order.purpose,
            command=order.request,
            cause=order.request,
            decision=number_,
            journal=facts.money.journal,
        )
        return self._trip(now, decision, wish) or decision

    def unprotect(self, number: str, found: Look, wall: float, order: Order) -> Decision:
        """Whether the protection (保电) may be taken off a meter (R20); recorded.

        Raises KeyError for an account with nothing to switch.
        """
        now = self._steps.of(number, wall)
        if now is None:
            raise KeyError(number)
        facts = self._steps.facts(now, found, order)
        decision = preflight(facts)
        self.record(facts, decision, now.case.meter)
        return decision

    def came_to(self, kept: KeptRelay, wall: float) -> None:
        """A relay came to a state: the case that waits for it is told; in the same transaction."""
        signal = result(kept.relay.state)
        if signal is None or kept.purpose is not Purpose.ARREARS or not kept.account:
            return
        now = self._steps.of(kept.account, wall)
        if now is None or now.case.meter != kept.relay.meter:
            return
        self._steps.step(now, signal, reason=kept.relay.state.value)
        if now.case.state is State.OPEN and kept.relay.state is Stands.OPEN:
            subject = subject_of(now.account, Purpose.ARREARS)
            self._steps.rooms.clearance.over(subject, wall, f"cut in round {now.case.round}")

    def record(self, facts: Facts, decision: Decision, meter: str) -> int:
        """Keep a decision with all it was based on (R39); returns its number."""
        account = facts.account.number if facts.account else ""
        codes = [one.code for one in decision.failed]
        log.info("judged", account=account, allowed=decision.allowed, failed=codes)
        return self._store.add_decision(
            Decided(
                at=facts.at,
                meter=meter,
                account=account,
                purpose=facts.purpose,
                allowed=decision.allowed,
                dry=decision.dry,
                failed=[(one.code, one.rule, one.text) for one in decision.failed],
                journal=facts.money.journal,
                facts=to_json(facts),
            )
        )

    def _waits(self, now: Moment) -> bool:
        """Whether the case waits for a judgement: a first one, or one after a lost reply."""
        again = self._steps.relays.get(now.case.meter).relay.state is Stands.TRIP_WANTED
        return now.case.state is State.PREFLIGHT or (now.case.state in IN_FLIGHT and again)

    def _trip(self, now: Moment, decision: Decision, wish: Wish) -> KeptRelay | None:
        if decision.allowed and decision.dry:
            self._rehearse(now, wish)
        if not decision.send:
            return None
        relay = self._steps.relays.get(now.case.meter).relay
        again_at = relay.sent_at if relay.state is Stands.TRIP_WANTED else 0.0
        self._steps.mass(
            lambda mass, _, __, wall: mass_limits.sent(mass_limits.unsent(mass, again_at), wall),
            now.wall,
        )
        return self._steps.relays.signal(now.case.meter, At.WANT_OPEN, now.wall, wish=wish)

    def _rehearse(self, now: Moment, wish: Wish) -> None:
        """R42: the same record, marked dry; no frame."""
        self._store.add_operation(
            Operation(
                at=now.wall,
                meter=now.case.meter,
                account=now.account.number,
                action=Action.TRIP.value,
                purpose=wish.purpose,
                cause=wish.cause,
                operator=self._steps.settings.operator.hex().upper(),
                decision=wish.decision,
                journal=wish.journal,
                dry=True,
            )
        )


def said(decision: Decision) -> str:
    """A decision in one sentence."""
    return "; ".join(one.text for one in decision.failed) or "allowed"
