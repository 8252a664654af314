import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.facts import (
    Facts,
    FactsTextError,
    Margins,
    Purpose,
    Standing,
    from_json,
    to_json,
)
from gateway.disconnection.preflight import CHECKS, Decision, agreed_until, preflight
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from tests.accounts import YUAN, account
from tests.switching import APPROVAL, DAY, FACTS, HOUR, NOW, but, ordered

SPOILT: list[tuple[str, Facts]] = [
    ("address", but("meter", address="AAAAAAAAAAAA")),
    ("address", but("meter", address="999999999999")),
    ("address", but("meter", address="0")),
    ("address", but("meter", address="248")),
    ("meter_number", but("meter", number_read="000012345679")),
    ("meter_number", but("meter", number_age_s=121.0)),
    ("meter_number", but("meter", number_age_s=-1.0)),
    ("meter_number", but("meter", number_age_s=None)),
    ("meter_number", but("meter", number="", number_read="")),
    ("expired", but("due", valid_until=NOW)),
    ("expired", but("due", valid_until=None)),
    ("meter", but(meter=None)),
    ("account", but("account", closed=date(2026, 10, 1))),
    ("regime", but("account", regime=Regime.UNKNOWN)),
    ("regime", but("due", lead_s=None)),
    ("mode", but("account", mode=Mode.PREPAY_AGREEMENT)),
    ("mode", but("account", mode=Mode.POSTPAY)),
    ("mode", but("account", mode=Mode.MIRROR)),
    ("protected", but("account", no_cut=NoCut(reason="oxygen"))),
    ("protected", but("account", no_cut=NoCut(reason="oxygen", until=date(2026, 10, 9)))),
    ("protected_supply", but("meter", protected_supply=True)),
    ("unprotected_lately", but("due", unprotected_at=NOW - DAY + 1)),
    ("notice", but("due", notice_at=None)),
    ("notice", but("due", notice_at=NOW - 3599)),
    ("notice", but("due", notice_at=NOW - 31 * DAY)),
    ("last_call", but("due", last_call_at=None)),
    ("last_call", but("due", last_call_at=NOW - 1799)),
    ("last_call", but("due", last_call_at=NOW - 5 * HOUR)),
    ("approval", but("due", approved=())),
    ("approval", but("due", requested_by="chen")),
    ("approval", but("due", approvals=2)),
    ("dispute", but("account", dispute=True)),
    ("calendar", but("box", protected="night")),
    ("provisional", but("money", provisional_e4=1 * YUAN + 1)),
    ("data", but("money", reading_age_s=None)),
    ("data", but("money", reading_age_s=49 * HOUR)),
    ("data", but("money", doubts=("a reading is in quarantine",))),
    ("tariff", but("money", tariff_valid=False)),
    ("box", but("box", journal_sound=False)),
    ("box", but("box", disk_writable=False)),
    ("box", but("box", replayed=False)),
    ("balance", but("money", balance_e4=-5 * YUAN + 1)),
    ("balance", but("money", emergency_left_e4=2 * YUAN)),
    ("top_ups_waiting", but("money", top_ups_waiting=1)),
    ("fresh_notice", but("money", worsened_at=NOW - HOUR)),
    ("mass_limit", but("box", mass=(("R21", "3 cuts in 10 minutes"),))),
    ("latched", but("box", mass=(("R22", "latched"),))),
    ("quiet", but("box", mass=(("R23", "quiet"),))),
    ("drained", but("box", drained=False)),
    ("stopped", but("box", stopped=True)),
    ("relay", but("meter", closed=False)),
    ("relay", but("meter", position="trip_sent")),
    ("relay", but("meter", status_age_s=None)),
    ("relay", but("meter", prepays_itself=True)),
    ("relay_fault", but("meter", fault="weld_or_bypass")),
    ("operations", but("meter", operations=(NOW - 599,))),
    ("operations", but("meter", operations=(NOW - 5 * HOUR, NOW - 4 * HOUR, NOW - HOUR))),
    ("address", but("meter", breaker="K1", breaker_address="0")),
    ("meter_number", but("meter", breaker="K1", breaker_address="9", breaker_number="7")),
    ("way_back", but("meter", only_directly=True)),
]


def codes(facts: Facts) -> list[str]:
    return [one.code for one in preflight(facts).failed]


def test_these_facts_allow_it() -> None:
    assert preflight(FACTS) == Decision(allowed=True, failed=(), dry=False)
    assert preflight(FACTS).send


@pytest.mark.parametrize(("code", "facts"), SPOILT)
def test_each_check_speaks_alone(code: str, facts: Facts) -> None:
    assert codes(facts) == [code]
    assert not preflight(facts).send


@pytest.mark.parametrize("class_", [Class.CRITICAL, Class.LIFE_SUPPORT])
def test_a_class_that_would_be_harmed_is_protected_for_every_purpose(class_: Class) -> None:
    for purpose in (Purpose.ARREARS, Purpose.SHEDDING, Purpose.ORDER):
        assert codes(ordered(purpose, but("account", class_=class_))) == ["protected"]


def test_without_a_trusted_clock_no_order_is_in_time() -> None:
    assert codes(but("box", clock_trusted=False)) == ["expired", "clock"]


def test_an_unknown_account_fails_by_name() -> None:
    assert codes(but(account=None)) == ["account", "approval"]


def test_every_check_has_a_spoilt_case() -> None:
    shown = {code for code, _ in SPOILT} | {"clock", "unprotect"}
    assert {check.code for check in CHECKS} == shown


@pytest.mark.parametrize(
    ("changed", "valid"),
    [
        ({}, True),
        ({"account": "K2"}, False),
        ({"debt_max_e4": 6 * YUAN}, True),
        ({"debt_max_e4": 6 * YUAN - 1}, False),
        ({"expires": NOW}, False),
        ({"not_before": NOW + 1}, False),
        ({"account": None}, True),  # a standing delegation
    ],
)
def test_an_approval_names_account_amount_and_time(changed: dict[str, Any], valid: bool) -> None:
    facts = but("due", approved=(replace(APPROVAL, **changed),))

    assert (codes(facts) == []) == valid


@pytest.mark.parametrize(
    "facts",
    [
        but("account", regime=Regime.STATUTORY),
        but("account", class_=Class.VULNERABLE),
        but("due", delegation=False),
    ],
)
def test_a_standing_delegation_is_for_ordinary_contracts_only(facts: Facts) -> None:
    delegated = replace(APPROVAL, account=None)

    assert codes(facts) == []
    assert codes(but("due", facts, approved=(delegated,))) == ["approval"]


def test_two_approvals_are_two_persons() -> None:
    again = replace(APPROVAL, id="c8")
    other = replace(APPROVAL, id="c9", by="wang")
    two = but("due", approvals=2)

    assert codes(but("due", two, approved=(APPROVAL, again))) == ["approval"]
    assert codes(but("due", two, approved=(APPROVAL, other))) == []


def test_a_dry_run_decides_but_does_not_send() -> None:
    decision = preflight(but("box", dry_run=True))

    assert decision.allowed
    assert not decision.send


def test_shedding_asks_no_balance_and_no_calendar_but_approval() -> None:
    rich = but("money", balance_e4=100 * YUAN, reading_age_s=None)
    night = but("box", rich, protected="night")

    assert codes(ordered(Purpose.SHEDDING, night)) == []
    assert codes(ordered(Purpose.ORDER, night)) == ["calendar"]
    unapproved = but("due", rich, approved=())
    assert codes(ordered(Purpose.SHEDDING, unapproved)) == ["approval"]


def test_protection_is_not_taken_from_a_meter_that_would_trip_at_once() -> None:
    facts = ordered(Purpose.UNPROTECT, but("meter", protected_supply=True))

    assert codes(facts) == []
    assert codes(but("due", facts, notice_at=None)) == ["unprotect"]
    assert codes(but("due", facts, lead_s=None)) == ["unprotect"]
    assert codes(but("money", facts, worsened_at=NOW)) == ["unprotect"]
    rich = but("money", facts, balance_e4=0)
    assert codes(but("due", rich, notice_at=None)) == []


def test_r44_facts_that_know_of_no_breaker_are_judged_as_they_were() -> None:
    tree = json.loads(to_json(FACTS))
    for name in [one for one in tree["meter"] if one.startswith("breaker")] + ["only_directly"]:
        del tree["meter"][name]
    assert from_json(json.dumps(tree)) == FACTS


def test_a_standing_is_taken_from_an_account() -> None:
    assert Standing.of(account("K9")) == Standing(
        number="K9",
        version=1,
        mode=Mode.PREPAY_CUT,
        regime=Regime.UNKNOWN,
        class_=Class.ORDINARY,
    )


@given(st.sets(st.sampled_from(range(len(SPOILT))), max_size=6), st.sampled_from(Purpose))
def test_a_stored_decision_replays(chosen: set[int], purpose: Purpose) -> None:
    facts = FACTS
    for index in chosen:
        spoilt = SPOILT[index][1]
        for place in ("account", "money", "due", "meter", "box"):
            if getattr(spoilt, place) != getattr(FACTS, place):
                facts = replace(facts, **{place: getattr(spoilt, place)})
    facts = ordered(purpose, facts)

    again = from_json(to_json(facts))

    assert again == facts
    assert to_json(again) == to_json(facts)
    assert preflight(again) == preflight(facts)


@given(st.lists(st.sampled_from(SPOILT), max_size=4))
def test_more_that_is_wrong_never_allows_it(spoilt: list[tuple[str, Facts]]) -> None:
    facts, touched = FACTS, False
    for _, other in spoilt:
        for place in ("account", "money", "due", "meter", "box"):
            if getattr(other, place) != getattr(FACTS, place):
                facts, touched = replace(facts, **{place: getattr(other, place)}), True

    assert preflight(facts).allowed is not touched


def test_damaged_or_foreign_facts_are_refused() -> None:
    tree = json.loads(to_json(FACTS))
    with pytest.raises(FactsTextError, match="no facts"):
        from_json("{")
    with pytest.raises(FactsTextError, match="schema 2"):
        from_json(json.dumps({**tree, "schema": 2}))
    with pytest.raises(FactsTextError, match="no facts"):
        from_json(json.dumps({**tree, "money": {}}))


def test_margins_are_part_of_the_record() -> None:
    strict = but(margins=Margins(reading_age_max_s=3600))

    assert codes(strict) == ["data"]
    assert from_json(to_json(strict)).margins.reading_age_max_s == 3600


def test_each_person_agrees_as_long_as_his_longest_approval_that_counts() -> None:
    approved = (
        APPROVAL,
        replace(APPROVAL, id="c8", expires=NOW + 2 * HOUR),
        replace(APPROVAL, id="c9", expires=NOW + DAY, debt_max_e4=1),
        replace(APPROVAL, id="c10", by="wang", expires=NOW + DAY),
        replace(APPROVAL, id="c11", by="li", expires=NOW),
    )
    facts = but("due", approved=approved, requested_by="wang")
    until = agreed_until(facts.account, facts.money, facts.due, facts.purpose, facts.at)
    assert until == {"chen": NOW + 2 * HOUR}
