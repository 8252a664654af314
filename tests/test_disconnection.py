import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.case import (
    BEFORE_SENT,
    ROWS,
    SENT,
    TABLE,
    Cancel,
    Case,
    CaseTextError,
    Do,
    Effect,
    Signal,
    State,
    from_json,
    to_json,
)
from gateway.disconnection.diagrams import page
from gateway.disconnection.facts import Money, Standing
from gateway.disconnection.preflight import preflight
from gateway.disconnection.procedure import (
    due_of,
    duties,
    follow,
    next_at,
    step,
    tick,
    verdict,
    why_cancel,
)
from gateway.disconnection.regimes import Regimes
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from tests.accounts import POLICY, YUAN
from tests.switching import DAY, FACTS, HOUR, NOW, but

PAGE = Path(__file__).parent.parent / "docs" / "switching.md"
REGIMES = Regimes()
CONTRACT = Case(
    account="K1", meter="A1", regime=Regime.CONTRACT_PREPAY, class_=Class.ORDINARY, since=NOW
)
STATUTORY = replace(CONTRACT, regime=Regime.STATUTORY)
UNKNOWN = replace(CONTRACT, regime=Regime.UNKNOWN)
STANDING = FACTS.account or pytest.fail("the facts have an account")
BEYOND = Money(balance_e4=-6 * YUAN, limit_e4=-5 * YUAN, journal=1)


class Walk:
    """A case on its way, on simulated time."""

    def __init__(self, case: Case) -> None:
        self.case, self.now, self.done = case, NOW, list[Effect]()

    def tell(self, signal: Signal, moment: float | None = None, draw: float = 0.0) -> "Walk":
        self.case, effects = step(
            self.case, signal, self.now, REGIMES, moment=moment, draw=draw, reason=""
        )
        self.done += effects
        return self

    def wait(self, seconds: float) -> Signal | None:
        """Let time pass; its own signals are told as they come up."""
        self.now += seconds
        signal = tick(self.case, self.now, REGIMES)
        if signal:
            self.tell(signal)
        return signal

    @property
    def doing(self) -> list[Do]:
        doing = [one.do for one in self.done]
        self.done.clear()
        return doing


def at_preflight(case: Case = CONTRACT) -> Walk:
    walk = Walk(case).tell(Signal.LOW).tell(Signal.BEYOND)
    walk.wait(0)
    walk.tell(Signal.NOTICE).tell(Signal.APPROVED, moment=NOW + DAY)
    walk.wait(2 * HOUR)
    walk.tell(Signal.LAST_CALL)
    walk.wait(1800)
    return walk


def test_a_contract_is_cut_at_its_limit_after_notice_and_last_call() -> None:
    walk = Walk(CONTRACT).tell(Signal.LOW)
    assert walk.doing == [Do.WARN]
    assert walk.wait(DAY) is None

    walk.tell(Signal.BEYOND)
    assert walk.wait(0) is Signal.DUE
    assert walk.doing == [Do.SERVE_NOTICE]
    walk.tell(Signal.NOTICE)
    assert walk.done == [Effect(Do.ASK_APPROVAL, walk.now + 2 * HOUR, "notice proven")]
    walk.done.clear()
    walk.tell(Signal.APPROVED, moment=walk.now + DAY)
    assert walk.wait(2 * HOUR - 1) is None
    assert walk.wait(1) is Signal.LEAD_OVER
    assert walk.done == [Effect(Do.LAST_CALL, walk.now + 1800, "lead time over")]
    walk.done.clear()
    assert walk.wait(60) is None
    walk.tell(Signal.LAST_CALL)
    assert walk.wait(1799) is None
    assert walk.wait(1) is Signal.TIME
    assert walk.doing == [Do.RUN_PREFLIGHT]

    walk.tell(verdict(preflight(FACTS)))
    assert walk.doing == [Do.SEND_TRIP]
    walk.tell(Signal.ANSWERED).tell(Signal.RELAY_OPEN)
    assert walk.doing == [Do.READ_BACK, Do.REPORT]
    assert walk.case.state is State.OPEN


def test_statutory_waits_for_thirty_days_dunning_and_seven_days_notice() -> None:
    walk = Walk(STATUTORY).tell(Signal.LOW).tell(Signal.BEYOND, moment=NOW - 29 * DAY)
    assert walk.wait(DAY) is None  # not dunned
    walk.tell(Signal.DUNNED)
    assert walk.wait(0) is Signal.DUE
    walk.tell(Signal.NOTICE).tell(Signal.APPROVED, moment=walk.now + 30 * DAY)
    assert walk.wait(7 * DAY - 1) is None
    assert walk.wait(1) is Signal.LEAD_OVER


def test_statutory_is_not_due_before_thirty_days() -> None:
    walk = Walk(STATUTORY).tell(Signal.BEYOND, moment=NOW).tell(Signal.DUNNED)
    assert walk.wait(30 * DAY - 1) is None
    assert walk.wait(1) is Signal.DUE


@given(st.lists(st.tuples(st.sampled_from(Signal), st.integers(0, 40)), max_size=30))
def test_an_unknown_regime_never_leaves_watch(signals: list[tuple[Signal, int]]) -> None:
    for case in (UNKNOWN, replace(CONTRACT, class_=Class.LIFE_SUPPORT)):
        walk = Walk(case)
        for signal, days in signals:
            walk.wait(days * DAY)
            walk.tell(signal)
        assert walk.case == case
        assert walk.done == []


@given(st.lists(st.tuples(st.sampled_from(Signal), st.integers(0, 100)), max_size=60))
def test_whatever_happens_a_trip_has_all_its_steps_behind_it(
    signals: list[tuple[Signal, int]],
) -> None:
    walk = Walk(CONTRACT)
    for signal, hours in signals:
        walk.wait(hours * 1800)
        before = walk.case
        walk.tell(signal, moment=walk.now + DAY)
        if Do.SEND_TRIP in walk.doing:
            assert before.state is State.PREFLIGHT
            assert before.notice_at is not None
            assert before.last_call_at is not None
            assert walk.now - before.notice_at >= 2 * HOUR
            assert walk.now - before.last_call_at >= 1800
            assert before.approved_until is not None


@given(
    st.lists(st.tuples(st.sampled_from(Signal), st.integers(0, 40)), max_size=40),
    st.sampled_from((CONTRACT, STATUTORY)),
    st.floats(0, 0.999),
)
def test_nothing_happens_by_time_alone_before_it_was_foretold(
    signals: list[tuple[Signal, int]], case: Case, share: float
) -> None:
    walk = Walk(case)
    for signal, hours in signals:
        walk.now += hours * HOUR / 4
        walk.tell(signal, moment=walk.now + hours * HOUR)
        if tick(walk.case, walk.now, REGIMES) is None:
            at = min(next_at(walk.case, walk.now, REGIMES), walk.now + 60 * DAY)
            before = walk.now + share * (at - walk.now)
            assert tick(walk.case, before, REGIMES) is None


def test_what_the_time_brings_is_foretold() -> None:
    walk = Walk(CONTRACT).tell(Signal.BEYOND)
    walk.wait(0)
    assert walk.case.state is State.DUE
    assert next_at(walk.case, walk.now, REGIMES) == walk.now + 6 * HOUR, "the notice again"
    walk.tell(Signal.NOTICE).tell(Signal.APPROVED, moment=walk.now + DAY)
    assert next_at(walk.case, walk.now, REGIMES) == walk.now + 2 * HOUR, "its lead time"
    assert next_at(replace(walk.case, regime=Regime.UNKNOWN), walk.now, REGIMES) == math.inf


@pytest.mark.parametrize("state", BEFORE_SENT)
def test_before_it_is_sent_a_cancellation_switches_nothing(state: State) -> None:
    case, effects = step(
        replace(CONTRACT, state=state, notice_at=NOW), Signal.CANCEL, NOW, REGIMES, reason="paid"
    )

    assert [one.do for one in effects] == [Do.REPORT]
    assert (case.state, case.notice_at, case.ended) == (State.WATCH, None, "paid")


@pytest.mark.parametrize("state", SENT)
def test_from_then_on_it_restores(state: State) -> None:
    case, effects = step(replace(CONTRACT, state=state), Signal.CANCEL, NOW, REGIMES, reason="paid")

    assert case.state is State.WATCH
    assert [one.do for one in effects] == [Do.RESTORE, Do.REPORT]


def test_a_result_counts_even_when_the_rules_are_gone() -> None:
    case, _ = step(replace(UNKNOWN, state=State.VERIFYING), Signal.RELAY_OPEN, NOW, REGIMES)

    assert case.state is State.OPEN


def test_a_refused_preflight_waits_and_calls_again() -> None:
    walk = at_preflight().tell(Signal.REFUSED, moment=NOW + 5 * HOUR)
    assert walk.case.state is State.APPROVED
    walk.done.clear()

    walk.now = NOW + 5 * HOUR - 1
    assert walk.wait(0) is None
    assert walk.wait(1) is Signal.LEAD_OVER
    assert walk.doing == [Do.LAST_CALL]
    assert walk.case.last_call_at is None


def test_a_last_call_that_nobody_proves_is_not_repeated_for_ever() -> None:
    walk = at_preflight()
    walk.case = replace(walk.case, state=State.APPROVED, approved_until=NOW + 60 * DAY)
    walk.done.clear()
    calls = 0
    for _ in range(10 * 24 * 12):
        walk.wait(300)
        calls += walk.doing.count(Do.LAST_CALL)
        walk.done.clear()

    assert 0 < calls < 10 * 4 * 4, (
        "each try is at most three or four calls, and a day has few tries"
    )
    assert walk.case.state in (State.APPROVED, State.SCHEDULED)


def test_after_a_refusal_it_is_tried_the_later_the_older_the_notice_is() -> None:
    fresh, old = at_preflight(), at_preflight()
    old.case = replace(old.case, notice_at=NOW - 20 * DAY)

    assert 900 <= fresh.tell(Signal.REFUSED).case.not_before - fresh.now < 1200
    assert old.tell(Signal.REFUSED).case.not_before - old.now == 6 * HOUR


def test_a_dry_run_ends_where_it_began() -> None:
    walk = at_preflight().tell(verdict(preflight(but("box", dry_run=True))))

    assert walk.case.state is State.WATCH
    assert Do.SEND_TRIP not in walk.doing


def test_a_lapsed_approval_is_asked_for_again() -> None:
    walk = at_preflight()
    walk.case = replace(walk.case, state=State.SCHEDULED)
    walk.done.clear()

    assert walk.wait(DAY) is Signal.LAPSED
    assert walk.case.state is State.NOTICE_SERVED
    assert walk.doing == [Do.ASK_APPROVAL]


def test_a_notice_without_proof_is_served_again_and_an_old_one_anew() -> None:
    walk = Walk(CONTRACT).tell(Signal.BEYOND)
    walk.wait(0)
    written = walk.case.notice_written_at
    assert walk.wait(6 * HOUR) is Signal.RENEW
    assert walk.case.notice_written_at != written
    walk.tell(Signal.NOTICE)
    assert walk.wait(30 * DAY + 1) is Signal.STALE
    assert walk.case.state is State.DUE
    assert walk.case.notice_at is None


def test_a_notice_that_cannot_be_delivered_is_served_ever_less_often() -> None:
    walk = Walk(CONTRACT).tell(Signal.BEYOND)
    walk.wait(0)
    waits = []
    for _ in range(8):
        at = next_at(walk.case, walk.now, REGIMES)
        waits.append((at - walk.now) / HOUR)
        assert tick(walk.case, at - 1, REGIMES) is None
        assert walk.wait(at - walk.now) is Signal.RENEW
    assert waits == [6, 6, 12, 24, 48, 96, 168, 168]


def test_the_random_delay_and_the_slot_move_the_trip() -> None:
    approved = replace(CONTRACT, state=State.APPROVED, notice_at=NOW - DAY)
    later, _ = step(approved, Signal.LEAD_OVER, NOW, REGIMES, draw=0.5)
    slot, _ = step(approved, Signal.LEAD_OVER, NOW, REGIMES, draw=0.5, moment=NOW + HOUR)

    assert later.trip_at == NOW + 1800 + 300
    assert slot.trip_at == NOW + HOUR


def test_each_round_has_its_number() -> None:
    walk = Walk(CONTRACT).tell(Signal.LOW)
    assert walk.case.round == 1
    walk.tell(Signal.RECOVERED)
    assert (walk.case.state, walk.case.round) == (State.WATCH, 1)
    assert walk.tell(Signal.LOW).case.round == 2


def test_after_a_restart_a_trip_is_read_back_never_sent_again() -> None:
    doing = {state: [one.do for one in duties(replace(CONTRACT, state=state))] for state in State}

    assert doing.pop(State.PREFLIGHT) == [Do.RUN_PREFLIGHT]
    assert doing.pop(State.SENT) == doing.pop(State.VERIFYING) == [Do.READ_BACK]
    assert not any(doing.values())


def cancel(
    state: State = State.SCHEDULED,
    standing: Standing = STANDING,
    money: Money = BEYOND,
    meter: str = "A1",
    no_cut: NoCut | None = None,
) -> Cancel | None:
    case = replace(CONTRACT, state=state, notice_written_at=NOW)
    return why_cancel(case, standing, money, POLICY, meter=meter, no_cut=no_cut)


def test_what_cancels_a_case() -> None:
    assert cancel() is None
    assert cancel(no_cut=NoCut(reason="oxygen")) is Cancel.PROTECTED
    assert cancel(standing=replace(STANDING, class_=Class.CRITICAL)) is Cancel.PROTECTED
    assert cancel(standing=replace(STANDING, mode=Mode.PREPAY_AGREEMENT)) is Cancel.PROTECTED
    assert cancel(standing=replace(STANDING, dispute=True)) is Cancel.DISPUTE
    assert cancel(standing=replace(STANDING, regime=Regime.STATUTORY)) is Cancel.MODE
    assert cancel(standing=replace(STANDING, class_=Class.VULNERABLE)) is Cancel.MODE
    assert cancel(standing=replace(STANDING, closed=date(2026, 10, 1))) is Cancel.CLOSED
    assert cancel(meter="A2") is Cancel.SWAP
    assert cancel(money=replace(BEYOND, balance_e4=-5 * YUAN + 1)) is Cancel.PAID
    assert cancel(money=replace(BEYOND, worsened_at=NOW)) is Cancel.CORRECTION
    assert cancel(money=replace(BEYOND, worsened_at=NOW - 1)) is None


def test_who_is_cut_is_restored_from_the_close_allowed_amount_on() -> None:
    enough = replace(BEYOND, balance_e4=5 * YUAN)

    assert cancel(State.OPEN, money=replace(BEYOND, balance_e4=5 * YUAN - 1)) is None
    assert cancel(State.OPEN, money=enough) is Cancel.PAID
    assert cancel(State.SENT, money=replace(BEYOND, balance_e4=0)) is Cancel.PAID
    assert cancel(State.OPEN, standing=replace(STANDING, dispute=True)) is None
    assert cancel(State.OPEN, no_cut=NoCut(reason="oxygen")) is Cancel.PROTECTED


def test_nothing_cancels_what_has_not_begun() -> None:
    assert cancel(State.WATCH, no_cut=NoCut(reason="oxygen")) is None
    assert cancel(State.WARNED, money=replace(BEYOND, balance_e4=0)) is None


def test_a_case_follows_its_account_until_it_begins() -> None:
    statutory = replace(STANDING, regime=Regime.STATUTORY)

    assert follow(CONTRACT, statutory, "A2") == replace(STATUTORY, meter="A2")
    begun = replace(CONTRACT, state=State.DUE)
    assert follow(begun, statutory, "A2") == begun


def test_the_steps_taken_go_into_the_preflight() -> None:
    case = replace(at_preflight().case, requested_by="li")
    due = due_of(case, REGIMES, approved=FACTS.due.approved)
    later = NOW + 2 * HOUR + 1800
    assert (due.requested_by, due.valid_until) == ("li", later + HOUR)
    assert due_of(case, REGIMES, valid_until=later).valid_until == later
    approval = replace(FACTS.due.approved[0], expires=later + 1)

    assert preflight(but(facts=FACTS, at=later, due=replace(due, approved=(approval,)))).allowed
    assert due_of(UNKNOWN, REGIMES).lead_s is None


def test_no_pair_stands_twice() -> None:
    assert len(ROWS) == len(TABLE)
    assert {row.state for row in TABLE} == set(State)
    assert {row.signal for row in TABLE} == set(Signal)


def test_the_diagrams_in_the_docs_are_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: make docs"


@given(st.builds(Case))
def test_a_case_survives_a_restart(case: Case) -> None:
    assert from_json(to_json(case)) == case


def test_a_damaged_case_is_refused() -> None:
    with pytest.raises(CaseTextError, match="no case"):
        from_json("{}")
