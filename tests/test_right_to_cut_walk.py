"""One account through days of everything at once: case, preflight and relay, wired together.

The laws: nobody is cut who may not be, and who has paid gets supply, whatever else happens.
"""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.disconnection.case import Case, Do, Effect, Signal, State
from gateway.disconnection.case import from_json as case_from_json
from gateway.disconnection.case import to_json as case_to_json
from gateway.disconnection.facts import Facts
from gateway.disconnection.preflight import preflight
from gateway.disconnection.procedure import due_of, duties, result, step, tick, verdict, why_cancel
from gateway.disconnection.regimes import Regimes
from gateway.disconnection.relay import Effect as Order
from gateway.disconnection.relay_table import Do as AtRelay
from gateway.disconnection.relay_table import Signal as Told
from gateway.disconnection.relay_table import State as Stands
from gateway.prepayment.account import Class, NoCut, Regime
from tests.accounts import POLICY, YUAN
from tests.meter_bench import FAULTS, Bench
from tests.switching import APPROVAL, DAY, FACTS, HOUR, NOW

REGIMES = Regimes()
OXYGEN = NoCut(reason="oxygen")


class Street(Bench):
    """An account, its case, and the bench with its meter."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.case = Case(
            account="K1", meter="A1", regime=Regime.CONTRACT_PREPAY, class_=Class.ORDINARY
        )
        self.balance_e4 = 20 * YUAN
        self.no_cut: NoCut | None = None
        self.stopped = False
        self.cuts: list[Facts] = []

    def facts(self) -> Facts:
        assert FACTS.account is not None
        assert FACTS.meter is not None
        recent = self.relay.operations
        return replace(
            FACTS,
            at=self.now,
            account=replace(FACTS.account, no_cut=self.no_cut),
            money=replace(FACTS.money, balance_e4=self.balance_e4),
            due=due_of(
                self.case,
                REGIMES,
                approved=(replace(APPROVAL, expires=self.now + 1, debt_max_e4=10**9),),
            ),
            meter=replace(
                FACTS.meter,
                position=self.relay.state,
                fault=self.relay.fault,
                closed=not self.meter.is_open,
                operations=recent,
            ),
            box=replace(FACTS.box, stopped=self.stopped),
        )

    def signal(self, signal: Signal, reason: str = "") -> None:
        moment = self.now + 30 * DAY if signal is Signal.APPROVED else None
        self.case, effects = step(
            case_from_json(case_to_json(self.case)),
            signal,
            self.now,
            REGIMES,
            moment=moment,
            reason=reason,
            draw=0.5,
        )
        for effect in effects:
            self.do(effect)

    def do(self, effect: Effect) -> None:
        match effect.do:
            case Do.SERVE_NOTICE:
                self.signal(Signal.NOTICE)
            case Do.ASK_APPROVAL:
                self.signal(Signal.APPROVED)
            case Do.LAST_CALL:
                self.signal(Signal.LAST_CALL)
            case Do.RUN_PREFLIGHT:
                self.signal(verdict(preflight(self.facts())))
            case Do.SEND_TRIP:
                self.tell(Told.WANT_OPEN)
            case Do.RESTORE:
                self.tell(Told.WANT_CLOSED)

    def carry_out(self, effect: Order) -> None:
        if effect.do is AtRelay.RECHECK:
            decision = preflight(self.facts())
            if decision.allowed:
                self.judged += 1
                self.tell(Told.WANT_OPEN)
            else:
                self.signal(verdict(decision))
        else:
            trip = effect.do is AtRelay.SEND_TRIP and self.relay.state is Stands.TRIP_SENT
            if trip and self.stopped:
                # Its permit is withdrawn, whatever was judged before.
                self.tell(Told.NO_REPLY)
                return
            if trip:
                self.cuts.append(self.facts())
            super().carry_out(effect)

    def tell(self, signal: Told) -> None:
        before = self.relay.state
        super().tell(signal)
        outcome = result(self.relay.state) if self.relay.state is not before else None
        if outcome:
            self.signal(outcome)

    def look(self) -> None:
        """What the core does after each event."""
        facts = self.facts()
        assert facts.account is not None
        if reason := why_cancel(
            self.case, facts.account, facts.money, POLICY, meter="A1", no_cut=self.no_cut
        ):
            self.signal(Signal.CANCEL, reason)
        if self.balance_e4 <= facts.money.beyond_e4:
            self.signal(Signal.BEYOND)
        while signal := tick(self.case, self.now, REGIMES):
            self.signal(signal)

    def pass_time(self, seconds: int) -> None:
        end = self.now + seconds
        while self.now < end:
            self.run(min(end, self.now + 300))
            self.look()

    def start_anew(self) -> None:
        self.restart()
        for effect in duties(self.case):
            self.do(effect)


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["pay", "use", "use", "protect", "stop", "restart", "clear", *FAULTS]),
        st.integers(1, 4 * 3600),
    ),
    max_size=25,
)


def happen(street: Street, what: str) -> None:
    match what:
        case "pay":
            street.balance_e4 += 12 * YUAN
        case "use":
            street.balance_e4 -= 9 * YUAN
        case "protect":
            street.no_cut = None if street.no_cut else OXYGEN
        case "stop":
            street.stopped = not street.stopped
        case "restart":
            street.start_anew()
        case "clear":
            street.signal(Signal.CANCEL, "ordered")
            street.tell(Told.RELEASED)
        case _:
            street.meter.fault = what
    street.look()


@given(HAPPENINGS)
@example([("use", 1), ("use", 7139), ("pay", 2100), ("stop", 1)])
def test_nobody_is_cut_who_may_not_be_and_who_has_paid_gets_supply(
    happenings: list[tuple[str, int]],
) -> None:
    street = Street()
    for what, seconds in [("use", 60), ("use", 60), ("use", 60), *happenings]:
        happen(street, what)
        street.pass_time(seconds)
        for facts in street.cuts:
            assert facts.money.balance_e4 <= facts.money.beyond_e4
            assert facts.account is not None
            assert facts.account.no_cut is None
            assert facts.due.notice_at is not None
            assert facts.due.last_call_at is not None
            assert facts.at >= facts.due.notice_at + 2 * HOUR
            assert facts.at >= facts.due.last_call_at + 1800
            assert not facts.box.stopped

    street.balance_e4, street.meter.fault = 100 * YUAN, "none"
    street.pass_time(2 * 3600)
    assert street.case.state in (State.WATCH, State.WARNED)
    assert street.relay.state in (Stands.CLOSED, Stands.ALLOWED)
    assert not street.meter.ordered_open


def test_the_usual_way() -> None:
    street = Street()
    for _ in range(3):
        happen(street, "use")
    street.pass_time(4 * 3600)
    assert (street.case.state, street.relay.state) == (State.OPEN, Stands.OPEN)
    assert len(street.cuts) == 1
    happen(street, "pay")
    street.pass_time(60)
    assert (street.case.state, street.relay.state) == (State.WATCH, Stands.ALLOWED)
