from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.case import SENT, Cancel, Case, State
from gateway.disconnection.friendly import Calendar, Hours
from gateway.disconnection.preflight import CHECKS as TABLE
from gateway.disconnection.regimes import Regimes
from gateway.disconnection.relay_table import State as RelayState
from gateway.disconnection.why import Setting, ended, missing_e4, why
from gateway.disconnection.why_words import CHECKS, ENDED, SENTENCES, STATES
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from tests.accounts import POLICY, YUAN
from tests.switching import DAY, FACTS, HOUR, NOW, but

ZONE = ZoneInfo("Asia/Shanghai")
CALENDAR = Calendar(
    version="1",
    zone=ZONE,
    first=date(2026, 1, 1),
    last=date(2026, 12, 31),
    hours=(Hours(begin_minute=17 * 60, end_minute=9 * 60),),
)
SETTING = Setting(regimes=Regimes(), policy=POLICY, calendar=CALENDAR, zone=ZONE)
CASE = Case(
    account="K1",
    meter="A1",
    regime=Regime.CONTRACT_PREPAY,
    class_=Class.ORDINARY,
    state=State.NOTICE_SERVED,
    notice_at=NOW - 2 * HOUR,
)


def told(
    case: Case = CASE, language: str = "en", setting: Setting = SETTING, **changed: Any
) -> str:
    facts = but("box", **changed) if changed else FACTS
    return "\n".join(why(case, facts, setting, language))


def test_what_when_and_what_helps() -> None:
    assert told(protected="night", stopped=True).splitlines() == [
        "The notice was delivered on 2026-10-09 10:00; an approval is awaited.",
        "The balance is -6.00 yuan; only at -5.00 yuan or less may the supply be cut.",
        "The earliest possible moment of the cut: 2026-10-09 12:30.",
        "At present it cannot happen: a protected time, now or soon; the stop switch is on.",
        "A top-up of 1.01 yuan ends this.",
        SENTENCES["en"]["else"],
    ]


def test_the_same_in_chinese() -> None:
    assert told(language="zh").splitlines()[:3] == [
        "停电通知已于 2026年10月9日 10:00 送达，正在等待审批。",
        "当前余额 -6.00 元；余额降到 -5.00 元及以下才可能停电。",
        "最早可能停电的时间：2026年10月9日 12:30。",
    ]
    assert told(language="fr") == told(language="zh")
    assert told(language="en-GB") == told(language="en")


def test_the_earliest_moment_respects_the_calendar() -> None:
    late = replace(CASE, notice_at=NOW)  # two hours of notice and the last call: 14:30

    assert "the cut: 2026-10-12 09:00" in told(late)  # after the night and the weekend
    assert "no valid calendar" in told(late, setting=replace(SETTING, calendar=None))


def test_who_is_cut_hears_what_restores_the_supply() -> None:
    cut = replace(CASE, state=State.OPEN, since=NOW - DAY)

    assert "was cut on 2026-10-08 12:00" in told(cut)
    assert "A top-up of 11.00 yuan restores the supply." in told(cut)
    assert missing_e4(cut, but("money", balance_e4=5 * YUAN), POLICY) == 0


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (RelayState.ALLOWED, "hold its button"),
        (RelayState.HELD, "a technician has to release it"),
        (RelayState.STUCK_OPEN, "tried again and again"),
        (RelayState.RESTORE_SENT, "tried until it succeeds"),
    ],
)
def test_what_stands_at_the_meter(position: RelayState, text: str) -> None:
    facts = but("meter", position=position)

    first, *_ = why(replace(CASE, state=State.WATCH), facts, SETTING, "en")
    assert text in first, "who has no supply hears of that before anything else"


def test_who_was_cut_by_an_order_is_not_told_to_pay() -> None:
    facts = but("meter", position=RelayState.OPEN)
    lines = why(replace(CASE, state=State.WATCH), facts, SETTING, "en")
    assert "by an order" in lines[0]
    assert "top-up" not in "\n".join(lines)


def test_a_last_call_that_is_not_proven_is_not_said_to_be_made() -> None:
    case = replace(CASE, state=State.SCHEDULED, trip_at=NOW + HOUR)
    assert "is being made" in told(case)
    assert "was made" in told(replace(case, last_call_at=NOW))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"dispute": True}, "a charge is disputed"),
        ({"no_cut": NoCut(reason="oxygen")}, "the account is protected"),
        ({"mode": Mode.PREPAY_AGREEMENT}, "such accounts are not cut automatically"),
    ],
)
def test_whom_a_veto_protects_hears_that_nothing_is_cut(changed: Any, text: str) -> None:
    lines = why(replace(CASE, state=State.WATCH), but("account", **changed), SETTING, "en")
    assert lines[2] == f"Whatever the balance, nothing is cut now: {text}."


def test_what_was_not_looked_at_yet_stands_in_nobodys_way() -> None:
    """The look at the meter comes just before a cut, and so does the last call."""
    facts = but("meter", number_age_s=None, status_age_s=None)
    facts = replace(facts, due=replace(facts.due, last_call_at=None, valid_until=None))
    assert "Nothing stands in its way" in "\n".join(why(CASE, facts, SETTING, "en"))


def test_emergency_credit_and_debt_are_paid_on_top() -> None:
    owed = but("money", emergency_owed_e4=10 * YUAN, debt_e4=3 * YUAN)
    share = replace(POLICY, debt_share_percent=10)

    assert missing_e4(CASE, owed, POLICY) == 11 * YUAN + 100
    assert missing_e4(CASE, owed, share) == 122_300
    assert missing_e4(CASE, owed, replace(POLICY, debt_share_percent=100)) == 14 * YUAN + 100


def test_before_it_is_due() -> None:
    contract = replace(CASE, state=State.WARNED)
    statutory = replace(contract, regime=Regime.STATUTORY, owed_since=NOW)

    low = "\n".join(why(contract, but("money", balance_e4=YUAN), SETTING, "en"))
    assert "when the balance has fallen to -5.00 yuan" in low
    assert "follows only" not in told(contract), "it has fallen already"
    assert "30 days overdue (2026-11-08 12:00)" in told(statutory)


def test_who_is_never_cut_is_told_so() -> None:
    watched = replace(CASE, state=State.WATCH)
    assert "Nobody has said by which rules" in told(replace(watched, regime=Regime.UNKNOWN))
    assert "protected class" in told(replace(watched, class_=Class.LIFE_SUPPORT))


def test_every_check_and_state_has_its_words_in_both_languages() -> None:
    assert CHECKS.keys() == {check.code for check in TABLE}
    assert STATES["zh"].keys() == STATES["en"].keys() == set(State)
    assert SENTENCES["zh"].keys() == SENTENCES["en"].keys()
    assert ENDED.keys() == set(Cancel)


def test_why_it_ended_is_said_in_the_customers_language() -> None:
    paid = replace(CASE, ended=Cancel.PAID.value)
    assert [ended(paid, one) for one in ("zh", "en", "fr")] == ["已缴费", "paid", "已缴费"]
    assert ended(CASE, "en") == ""


@given(st.sampled_from(State), st.sampled_from(["zh", "en"]), st.integers(-(10**9), 10**9))
def test_what_is_asked_for_ends_it_and_a_fen_less_does_not(
    state: State, language: str, balance_e4: int
) -> None:
    case = replace(CASE, state=state)
    facts = but("money", balance_e4=balance_e4)

    assert all("{" not in line and line for line in why(case, facts, SETTING, language))
    amount_e4 = missing_e4(case, facts, POLICY)
    goal_e4 = POLICY.close_allowed_e4 if state in SENT else facts.money.beyond_e4 + 1
    assert amount_e4 % 100 == 0
    assert balance_e4 + amount_e4 >= goal_e4
    assert amount_e4 == 0 or balance_e4 + amount_e4 - 100 < goal_e4
