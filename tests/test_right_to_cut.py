"""The invariants R01 to R44 of switching, by number: those that pure code decides.

Most have closer tests beside their module; here stands one for each, so that none is forgotten.
"""

import re
from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from gateway.disconnection.case import BEFORE_SENT, SENT, Case, Signal, State
from gateway.disconnection.case import Do as CaseDo
from gateway.disconnection.facts import Facts, Purpose, from_json, to_json
from gateway.disconnection.friendly import Calendar, Hours, protected_within
from gateway.disconnection.mass_changes import Change, Room, done, falls, proposed
from gateway.disconnection.mass_changes import refuse as refuse_change
from gateway.disconnection.mass_limits import (
    LatchError,
    Limits,
    Load,
    asked,
    reconnected,
    refuse,
    release,
    restore_turn,
    sent,
    slot,
    started,
    withdrawn,
)
from gateway.disconnection.mass_limits import State as Mass
from gateway.disconnection.mass_limits import from_json as mass_from_json
from gateway.disconnection.mass_limits import to_json as mass_to_json
from gateway.disconnection.preflight import preflight
from gateway.disconnection.procedure import follow, step, tick, verdict, why_cancel
from gateway.disconnection.regimes import Regimes
from gateway.disconnection.relay import Relay, Times, lateness
from gateway.disconnection.relay import from_json as relay_from_json
from gateway.disconnection.relay import step as switch
from gateway.disconnection.relay import tick as relay_tick
from gateway.disconnection.relay import to_json as relay_to_json
from gateway.disconnection.relay_table import Do
from gateway.disconnection.relay_table import Signal as At
from gateway.disconnection.relay_table import State as Stands
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from gateway.prepayment.account_rules import AccountError, change
from tests.accounts import POLICY, YUAN, account, site
from tests.switching import APPROVAL, DAY, FACTS, HOUR, NOW, but, ordered

WIRES = {
    3: "the store of commands: one id, one operation",
    5: "the frame's deadline, against the meter's own clock",
    6: "signatures and roles",
    30: "settlement, which asks no relay",
    40: "the record of an operation: registers, frames, latency",
    43: "the figures of switching, from the record",
}
"""What only the daemon can show."""

REGIMES, TIMES, LIMITS = Regimes(), Times(), Limits()
CASE = Case(account="K1", meter="A1", regime=Regime.CONTRACT_PREPAY, class_=Class.ORDINARY)
BEYOND = FACTS.money
CLOSED = Relay(meter="A1", since=NOW)
READY = Mass(quiet_from=NOW - DAY)


def rules(facts: Facts) -> list[str]:
    return sorted({one.rule for one in preflight(facts).failed})


def refused(state: Mass) -> list[str]:
    return [rule for rule, _ in refuse(state, LIMITS, 1000, NOW)]


def relay(*signals: At, start: Relay = CLOSED) -> tuple[Relay, list[Do]]:
    now, doing = start, list[Do]()
    for signal in signals:
        now, effects = switch(relay_from_json(relay_to_json(now)), signal, NOW, TIMES)
        doing += [one.do for one in effects]
    return now, doing


TRIP = (At.WANT_OPEN, At.ACCEPTED, At.SEEN_OPEN, At.STILL)


@pytest.mark.parametrize(
    "address", ["AAAAAAAAAAAA", "999999999999", "00001234567A", "0", "248", ""]
)
def test_r01_no_control_frame_to_all_or_to_a_pattern(address: str) -> None:
    for purpose in Purpose:
        assert "R01" in rules(ordered(purpose, but("meter", address=address)))


def test_r02_the_meter_number_was_just_read() -> None:
    assert rules(but("meter", number_read="000012345670")) == ["R02"]
    assert rules(but("meter", number_age_s=120.1)) == ["R02"]


def test_r04_no_trip_after_its_time_and_an_unknown_clock_is_too_late() -> None:
    assert rules(but("due", valid_until=NOW - 1)) == ["R04"]
    assert "R04" in rules(but("box", clock_trusted=False))


def test_r07_no_trip_of_a_meter_that_nobody_configured() -> None:
    assert rules(but(meter=None)) == ["R07"]


def test_r08_protected_accounts_are_not_cut() -> None:
    assert rules(but("account", no_cut=NoCut(reason="oxygen"))) == ["R08"]
    assert rules(but("account", class_=Class.CRITICAL)) == ["R08"]
    assert rules(but("account", class_=Class.LIFE_SUPPORT)) == ["R08"]
    assert rules(but("account", mode=Mode.PREPAY_AGREEMENT)) == ["R08"]
    assert rules(but("account", regime=Regime.UNKNOWN)) == ["R08"]


@pytest.mark.parametrize("state", BEFORE_SENT)
def test_r09_protection_acts_at_once(state: State) -> None:
    standing = FACTS.account or pytest.fail("the facts have an account")
    case = replace(CASE, state=state)
    reason = why_cancel(case, standing, BEYOND, POLICY, meter="A1", no_cut=NoCut(reason="oxygen"))
    assert reason == "protected"
    assert step(case, Signal.CANCEL, NOW, REGIMES, reason=reason)[0].state is State.WATCH


def test_r09_protection_ends_by_two_persons_and_after_a_delay() -> None:
    today = date(2026, 10, 9)
    now = replace(account(), no_cut=NoCut(reason="oxygen"))
    with pytest.raises(AccountError, match="two persons"):
        change(now, replace(now, no_cut=None), site(now), today)
    assert rules(but("due", unprotected_at=NOW - DAY + 1)) == ["R09"]
    assert rules(but("due", unprotected_at=NOW - DAY)) == []


def test_r10_notice_and_last_call_come_first() -> None:
    assert rules(but("due", notice_at=None)) == ["R10"]
    assert rules(but("due", notice_at=NOW - 3599)) == ["R10"]
    assert rules(but("due", last_call_at=NOW - 1799)) == ["R10"]


def test_r11_an_approval_by_somebody_else_for_this_account_and_amount() -> None:
    for approval in (
        replace(APPROVAL, account="K2"),
        replace(APPROVAL, debt_max_e4=YUAN),
        replace(APPROVAL, expires=NOW),
    ):
        assert rules(but("due", approved=(approval,))) == ["R11"]
    assert rules(but("due", requested_by=APPROVAL.by)) == ["R11"]


def test_r12_no_cut_during_a_dispute() -> None:
    assert rules(but("account", dispute=True)) == ["R12"]


def test_r13_no_cut_in_or_shortly_before_a_protected_time() -> None:
    calendar = Calendar(
        version="1",
        zone=ZoneInfo("Asia/Shanghai"),
        first=date(2026, 10, 1),
        last=date(2026, 10, 31),
        hours=(Hours(begin_minute=960, end_minute=540),),
    )
    lead_s = FACTS.margins.restore_lead_s
    for at, loaded in ((NOW, calendar), (NOW - 1, None), (NOW + 40 * DAY, calendar)):
        reason = protected_within(at, lead_s, loaded)
        assert rules(but("box", protected=reason)) == ["R13"]
    assert protected_within(NOW - 1, lead_s, calendar) == ""


def test_r14_no_cut_on_estimated_provisional_or_old_data() -> None:
    assert rules(but("money", provisional_e4=2 * YUAN)) == ["R14"]
    assert rules(but("money", reading_age_s=49 * HOUR)) == ["R14"]
    assert rules(but("money", doubts=("a reading is in quarantine",))) == ["R14"]
    assert rules(but("money", tariff_valid=False)) == ["R14"]


def test_r15_no_cut_without_a_trusted_clock() -> None:
    assert "R15" in rules(but("box", clock_trusted=False))


def test_r16_no_cut_by_a_gateway_that_does_not_trust_itself() -> None:
    assert rules(but("box", journal_sound=False)) == ["R16"]
    assert rules(but("box", disk_writable=False)) == ["R16"]
    assert rules(but("box", replayed=False)) == ["R16"]


def test_r17_no_cut_above_the_limit_counting_every_top_up() -> None:
    assert rules(but("money", balance_e4=BEYOND.limit_e4 + 1)) == ["R17"]
    assert rules(but("money", top_ups_waiting=1)) == ["R17"]


def test_r18_what_cancels_a_request() -> None:
    standing = FACTS.account or pytest.fail("the facts have an account")
    case = replace(CASE, state=State.SCHEDULED, notice_written_at=NOW)
    paid = replace(BEYOND, balance_e4=0)
    corrected = replace(BEYOND, worsened_at=NOW + 1)
    agreed = replace(standing, mode=Mode.POSTPAY)
    disputed = replace(standing, dispute=True)
    oxygen = NoCut(reason="oxygen")
    reasons = [
        why_cancel(case, standing, paid, POLICY, meter="A1", no_cut=None),
        why_cancel(case, standing, BEYOND, POLICY, meter="A1", no_cut=oxygen),
        why_cancel(case, disputed, BEYOND, POLICY, meter="A1", no_cut=None),
        why_cancel(case, agreed, BEYOND, POLICY, meter="A1", no_cut=None),
        why_cancel(case, standing, BEYOND, POLICY, meter="A2", no_cut=None),
        why_cancel(case, standing, corrected, POLICY, meter="A1", no_cut=None),
    ]
    assert [str(one) for one in reasons] == [
        "paid",
        "protected",
        "dispute",
        "mode or rules changed",
        "meter replaced",
        "charges or limit corrected",
    ]


def test_r19_a_lowered_limit_needs_a_fresh_notice() -> None:
    assert rules(but("money", worsened_at=NOW - HOUR)) == ["R19"]
    assert rules(but("money", worsened_at=NOW - 3 * HOUR)) == []


def test_r20_protected_supply_is_not_released_without_a_fresh_notice() -> None:
    facts = ordered(Purpose.UNPROTECT, but("due", notice_at=None))

    assert rules(facts) == ["R20"]
    assert rules(but("money", facts, balance_e4=0)) == []


def test_r21_few_cuts_at_a_time() -> None:
    three = sent(sent(sent(READY, NOW - 500), NOW - 300), NOW - 100)
    assert refused(mass_from_json(mass_to_json(three))) == ["R21"]
    assert rules(but("box", mass=refuse(three, LIMITS, 1000, NOW))) == ["R21"]


def test_r22_too_many_at_once_latch_until_two_persons_release_it() -> None:
    state = READY
    for n in range(500):
        state = asked(state, LIMITS, 10_000, NOW + n, NOW)
    assert refused(state) == ["R22"]
    assert rules(but("box", mass=refuse(state, LIMITS, 1000, NOW))) == ["R22"]
    with pytest.raises(LatchError):
        release(state, ["chen"], key_at_box=False)
    assert refused(release(state, ["chen", "wang"], key_at_box=False)) == []


def test_r23_quiet_after_a_start_and_until_the_broker_is_drained() -> None:
    assert refused(started(READY, NOW)) == ["R23"]
    assert refused(reconnected(READY, LIMITS, DAY, NOW)) == ["R23"]
    assert rules(but("box", drained=False)) == ["R23"]


def test_r24_each_cut_is_delayed_visible_and_can_be_stopped() -> None:
    assert slot(READY, LIMITS, 100, NOW, 0.25) == NOW + 150
    case = replace(CASE, state=State.APPROVED, notice_at=NOW - DAY)
    case, effects = step(case, Signal.LEAD_OVER, NOW, REGIMES, draw=0.5)
    assert (case.state, effects[0].at) == (State.SCHEDULED, case.trip_at)
    assert step(case, Signal.CANCEL, NOW, REGIMES)[0].state is State.WATCH
    waiting = asked(READY, LIMITS, 20, NOW, NOW)
    assert withdrawn(waiting, NOW) == READY


def test_r25_the_stop_switch_prevents_every_trip() -> None:
    for purpose in Purpose:
        assert "R25" in rules(ordered(purpose, but("box", stopped=True)))


def test_r26_a_change_that_empties_many_accounts_waits_for_a_second_person() -> None:
    assert falls(Room(0, -5), Room(-1, -5))
    five = Change(content="tariff", key="chen", fallen=frozenset(f"K{n}" for n in range(5)))
    four = replace(five, fallen=five.fallen - {"K0"})

    def waits(state: Mass, change: Change, now: float = NOW) -> bool:
        return bool(refuse_change(state, change, LIMITS, 40, now, lambda key: key != "revoked"))

    assert waits(READY, five)
    assert not waits(READY, four)
    once = proposed(READY, five, NOW)
    assert waits(once, five), "the same person again"
    assert waits(proposed(READY, replace(five, key="revoked"), NOW), five)
    assert waits(once, replace(five, key="wang", content="another"))
    assert waits(once, replace(five, key="wang", fallen=five.fallen | {"K9"})), "it became worse"
    assert waits(once, replace(five, key="wang"), NOW + DAY)
    assert not waits(once, replace(five, key="wang"))

    one = replace(five, content="adjust", fallen=frozenset(("K9",)))
    assert waits(done(READY, four, NOW), one), "those of a day count together"
    assert not waits(done(READY, four, NOW), one, NOW + DAY)
    assert done(once, replace(five, key="wang"), NOW).fallen == ()


def test_r27_a_cut_is_proven_by_status_and_by_energy() -> None:
    for n in range(len(TRIP)):
        assert relay(*TRIP[:n])[0].state is not Stands.OPEN
    assert relay(*TRIP)[0].state is Stands.OPEN


def test_r28_a_lost_reply_is_read_and_three_tries_are_the_end() -> None:
    lost = (At.WANT_OPEN, At.NO_REPLY, At.SEEN_CLOSED)
    assert relay(*lost)[1] == [Do.SEND_TRIP, Do.READ, Do.RECHECK]
    now, doing = relay(*lost * 3, *TRIP[:2])
    assert now.state is Stands.UNKNOWN
    assert doing.count(Do.SEND_TRIP) == 3
    assert Do.WORK_ORDER in doing


def test_r29_what_conducts_though_open_is_not_toggled() -> None:
    now, doing = relay(*TRIP[:3], At.GREW, *TRIP, At.START, At.TIME, *TRIP)
    assert now.fault == "weld_or_bypass"
    assert doing.count(Do.SEND_TRIP) == 1
    assert rules(but("meter", fault=now.fault)) == ["R29"]


def test_r31_few_operations_a_day_and_a_distance_between_them() -> None:
    assert rules(but("meter", operations=(NOW - 599,))) == ["R31"]
    three = (NOW - 5 * HOUR, NOW - 3 * HOUR, NOW - HOUR)
    assert rules(but("meter", operations=three)) == ["R31"]
    again = (At.WANT_CLOSED, At.ACCEPTED, At.SEEN_CLOSED, *TRIP, At.WANT_CLOSED)
    assert relay(*TRIP, At.WANT_CLOSED)[0].state is Stands.RESTORE_SENT
    assert relay(*TRIP, *again)[0].state is Stands.RESTORE_WANTED


def test_r32_a_restore_goes_out_at_once_and_its_lateness_is_known() -> None:
    now, doing = relay(*TRIP, At.WANT_CLOSED)
    assert doing[-1] is Do.SEND_CLOSE
    assert [lateness(now, NOW + n * 60, TIMES) for n in (14, 15, 30, 120)] == [
        *("", "late", "alarm", "breach")
    ]


def test_r33_a_restore_asks_for_nothing_but_to_be_wanted() -> None:
    for state in SENT:
        _, effects = step(replace(CASE, state=state), Signal.CANCEL, NOW, REGIMES)
        assert effects[0].do is CaseDo.RESTORE
    assert relay(*TRIP, At.WANT_CLOSED)[1][-1] is Do.SEND_CLOSE


def test_r34_a_restore_survives_a_restart_at_any_point() -> None:
    steps = (At.WANT_CLOSED, At.ACCEPTED)
    for n in range(1, 3):
        for fault in (At.NO_REPLY, At.REFUSED, At.START):
            now, _ = relay(*TRIP, *steps[:n], fault, At.START)
            if signal := relay_tick(now, now.next_at):
                now, _ = switch(now, signal, now.next_at, TIMES)
            for signal in (At.SEEN_OPEN, At.ACCEPTED, At.SEEN_CLOSED):
                now, _ = switch(now, signal, NOW + 10, TIMES)
            assert now.state is Stands.CLOSED


@pytest.mark.parametrize(
    ("start", "direct"),
    [
        (CLOSED, False),
        (replace(CLOSED, direct=True), True),
        (replace(CLOSED, direct=True, unsafe=True), False),
        (replace(CLOSED, direct=True, load_voltage=True), False),
    ],
)
def test_r35_close_is_allowed_not_forced(start: Relay, *, direct: bool) -> None:
    now, _ = relay(*TRIP, start=start)
    _, effects = switch(now, At.WANT_CLOSED, NOW, TIMES)
    assert effects[0].direct is direct


def test_r36_restores_are_spread_and_pause_for_a_strained_area() -> None:
    two = [(NOW - 20, "A"), (NOW - 10, "A")]
    high = Load(age_s=0, current_percent=90, voltage_mv=230_000)
    assert restore_turn([], "A", NOW, high, LIMITS, NOW) == NOW
    assert restore_turn(two, "A", NOW, None, LIMITS, NOW) > NOW
    assert restore_turn(two[:1], "B", NOW, high, LIMITS, NOW) > NOW


def test_r37_a_wrong_cut_restores_at_once_with_its_cause() -> None:
    case = replace(CASE, state=State.OPEN)
    _, effects = step(case, Signal.CANCEL, NOW, REGIMES, reason="wrong cut")
    assert [(one.do, one.reason) for one in effects] == [
        (CaseDo.RESTORE, "wrong cut"),
        (CaseDo.REPORT, "wrong cut"),
    ]


@pytest.mark.parametrize("state", Stands)
def test_r38_a_power_return_switches_nothing(state: Stands) -> None:
    now = Relay(meter="A1", state=state, wanted_open=False, next_at=NOW + 5)
    _, effects = switch(now, At.START, NOW, TIMES)
    assert not {one.do for one in effects} & {Do.SEND_TRIP, Do.SEND_CLOSE}


def test_r39_the_record_holds_inputs_version_journal_and_every_failed_check() -> None:
    facts = but("box", but("money", balance_e4=0), stopped=True, protected="night")
    stored = from_json(to_json(facts))
    assert stored.account == facts.account
    assert (stored.account and stored.account.version, stored.money.journal) == (3, 4711)
    assert rules(stored) == ["R13", "R17", "R25"]


def test_r41_the_customer_is_told_before_and_after() -> None:
    told = []
    case, now = CASE, NOW
    for signal in (Signal.LOW, Signal.BEYOND, None, Signal.NOTICE, Signal.APPROVED):
        case, effects = step(case, signal or Signal.DUE, now, REGIMES)
        told += [one.do for one in effects]
    now += 2 * HOUR
    for signal in (tick(case, now, REGIMES), Signal.LAST_CALL, Signal.TIME, Signal.PASSED):
        case, effects = step(case, signal or Signal.LOW, now, REGIMES)
        told += [one.do for one in effects]
    case, effects = step(case, Signal.RELAY_OPEN, now, REGIMES)
    told += [one.do for one in effects]
    before = told[: told.index(CaseDo.SEND_TRIP)]
    assert [one for one in before if one is not CaseDo.ASK_APPROVAL] == [
        *(CaseDo.WARN, CaseDo.SERVE_NOTICE, CaseDo.LAST_CALL, CaseDo.RUN_PREFLIGHT)
    ]
    assert told[-1] is CaseDo.REPORT


def test_r42_a_dry_run_does_all_but_the_frame() -> None:
    dry = preflight(but("box", dry_run=True))
    assert dry.allowed
    assert not dry.send
    case = replace(CASE, state=State.PREFLIGHT)
    _, effects = step(case, verdict(dry), NOW, REGIMES)
    assert [one.do for one in effects] == [CaseDo.REPORT]


def test_r44_the_same_facts_give_the_same_decision() -> None:
    for facts in (FACTS, but(meter=None), but("money", balance_e4=0)):
        assert preflight(from_json(to_json(facts))) == preflight(facts)


def test_an_account_of_unknown_rules_stays_where_it_is() -> None:
    standing = FACTS.account or pytest.fail("the facts have an account")
    case = follow(CASE, replace(standing, regime=Regime.UNKNOWN), "A1")
    assert step(case, Signal.BEYOND, NOW, REGIMES) == (case, [])


def test_every_number_is_here_or_needs_the_wires() -> None:
    here = {int(found[1]) for name in globals() if (found := re.match(r"test_r(\d\d)_", name))}

    assert not here & WIRES.keys()
    assert here | WIRES.keys() == set(range(1, 45))
