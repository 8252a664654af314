"""What votes are worth: two persons, amounts, times, roles; and the preflight that counts them."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.facts import Approval
from gateway.disconnection.preflight import preflight
from gateway.disconnection.votes import Action, Step, Vote
from gateway.north.approvals import (
    APPROVAL_S,
    DAY_S,
    REQUEST_S,
    ApprovalError,
    Moment,
    Subject,
    approvals,
    persons,
    refuse,
    void,
    vote_of,
)
from gateway.north.contract import instant
from gateway.north.signatures import Role, Signer
from tests.accounts import YUAN
from tests.keyring import known, ring
from tests.switching import FACTS, NOW, but
from tests.switching_orders import (
    ASKER,
    BOTH,
    BY_NAME,
    CHIEF,
    DEPUTY,
    FITTER,
    GUARD,
    WARD,
    keys,
    signed_by,
)
from tests.world import START

MOMENT = Moment(START + 10, trusted=True, keys=keys())
SUBJECT = Subject(action=Action.DISCONNECT, account="1001", policy="home")
APPROVE = {"name": "disconnect.approve", "account": "1001", "debt_max": "100.00"}
REQUEST = BY_NAME["disconnect.request"]
DELEGATE = BY_NAME["delegate"]


def vote(signer: Signer, body: dict[str, Any], id_: str = "v-1", **times: float) -> Vote:
    return vote_of(signed_by(signer, id_, body, **times), START + 1)


def counted(*votes: Vote, moment: Moment = MOMENT, **changed: str) -> list[str]:
    return [one.id for one in approvals(votes, replace(SUBJECT, **changed), moment)]  # type: ignore[arg-type]


# --- what a command says --------------------------------------------------------------------------


def test_an_approval_names_account_amount_times_and_who() -> None:
    [found] = approvals([vote(CHIEF, APPROVE)], SUBJECT, MOMENT)
    assert found == Approval(
        id="v-1",
        by="chief",
        account="1001",
        debt_max_e4=100 * YUAN,
        not_before=START,
        expires=START + APPROVAL_S,
    )


def test_times_count_from_what_was_signed_not_from_when_it_came() -> None:
    """Held back for a month, it must not be fresh when it comes."""
    late = vote_of(signed_by(CHIEF, "v-1", APPROVE, for_s=90 * DAY_S), START + 30 * DAY_S)
    assert (late.not_before, late.expires) == (START, START + APPROVAL_S)
    assert vote(ASKER, REQUEST).expires == START + REQUEST_S


def test_a_trip_is_a_request_as_long_as_the_order_lasts() -> None:
    asked = vote(FITTER, BY_NAME["relay.trip"], for_s=120)
    assert (asked.action, asked.step, asked.expires) == (Action.TRIP, Step.REQUEST, START + 120)
    shed = vote(FITTER, BY_NAME["shed"])
    assert (shed.action, shed.step, shed.account) == (Action.SHED, Step.REQUEST, "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (APPROVE | {"expires": instant(START + 8 * DAY_S)}, "approval is for 7 days at most"),
        (APPROVE | {"expires": instant(START)}, "over before it begins"),
        (APPROVE | {"not_before": "2026-12-01T00:00:00Z"} | {"expires": instant(START)}, "over"),
        (DELEGATE | {"expires": instant(START + 91 * DAY_S)}, "delegation is for 90 days"),
        (REQUEST | {"expires": instant(START + 91 * DAY_S)}, "request is for 90 days at most"),
        (BY_NAME["shed"] | {"until": instant(START + 8 * DAY_S)}, "request is for 7 days"),
    ],
)
def test_times_that_cannot_be_meant(body: dict[str, Any], said: str) -> None:
    with pytest.raises(ApprovalError, match=said):
        vote(BOTH, body)


def test_what_is_no_vote_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="stop is no vote"):
        vote(BOTH, BY_NAME["stop"])


# --- two persons ----------------------------------------------------------------------------------


def test_who_asked_does_not_agree() -> None:
    asked = vote(BOTH, REQUEST, "r-1")
    assert "the key both asked for it" in refuse(vote(BOTH, APPROVE), [asked])
    assert "the key both agreed to it before" in refuse(asked, [vote(BOTH, APPROVE)])
    assert refuse(vote(CHIEF, APPROVE), [asked]) == ""
    assert counted(vote(BOTH, APPROVE), requested_by="both") == []
    assert counted(vote(BOTH, APPROVE), vote(CHIEF, APPROVE, "v-2"), requested_by="both") == ["v-2"]


def test_asking_for_one_account_and_agreeing_to_another_is_allowed() -> None:
    asked = vote(BOTH, REQUEST | {"account": "1002"}, "r-1")
    assert refuse(vote(BOTH, APPROVE), [asked]) == ""
    assert refuse(vote(BOTH, APPROVE | {"action": "trip"}), [vote(BOTH, REQUEST, "r-1")]) == ""


def test_an_approval_of_a_request_that_is_not_there() -> None:
    asked = vote(ASKER, REQUEST, "r-1")
    named = APPROVE | {"request": "r-1"}
    assert refuse(vote(CHIEF, named), [asked]) == ""
    assert "there is no disconnect r-1 for account 1001" in refuse(vote(CHIEF, named), [])
    other = vote(CHIEF, named | {"account": "1002"})
    assert "for account 1002" in refuse(other, [asked])
    assert counted(vote(CHIEF, named), request="r-1") == ["v-1"]
    assert counted(vote(CHIEF, named), request="r-2") == []
    assert counted(vote(CHIEF, named)) == []


def test_an_approval_is_for_its_action_alone() -> None:
    trip = vote(CHIEF, APPROVE | {"action": "trip"})
    assert counted(trip) == []
    assert [one.id for one in approvals([trip], replace(SUBJECT, action=Action.TRIP), MOMENT)]


def test_shedding_is_approved_as_a_whole() -> None:
    shed = vote(FITTER, BY_NAME["shed"], "s-1")
    agreed = vote(CHIEF, {"name": "disconnect.approve", "action": "shed", "request": "s-1"})
    assert refuse(agreed, [shed]) == ""
    subject = Subject(
        action=Action.SHED, account="1002", policy="home", request="s-1", requested_by="fitter"
    )
    [found] = approvals([shed, agreed], subject, MOMENT)
    assert (found.account, found.by) == ("1002", "chief")
    assert approvals([shed, agreed], replace(subject, request="s-2"), MOMENT) == ()


def test_the_same_person_twice_is_one_person() -> None:
    remove = BY_NAME["protect.remove"]
    votes = [vote(GUARD, remove, "a"), vote(GUARD, remove, "b")]
    assert persons(votes, MOMENT) == {"guard"}
    assert persons([*votes, vote(WARD, remove, "c")], MOMENT) == {"guard", "ward"}


# --- delegations ----------------------------------------------------------------------------------


def test_a_delegation_is_for_its_accounts_and_rows_of_limits() -> None:
    given = vote(CHIEF, DELEGATE)
    [found] = approvals([given], SUBJECT, MOMENT)
    assert (found.account, found.debt_max_e4) == (None, 50 * YUAN)
    assert counted(given, account="1009") == ["v-1"], "by its row of limits"
    assert counted(given, policy="shop") == ["v-1"], "by its number"
    assert counted(given, account="1009", policy="shop") == []


# --- times, keys, clock ---------------------------------------------------------------------------


def test_each_reason_why_a_vote_is_worth_nothing() -> None:
    one = vote(CHIEF, APPROVE)

    def at(seconds: float) -> Moment:
        return replace(MOMENT, at=START + seconds)

    assert void(one, at(0)) == ""
    assert "has not begun" in void(one, at(-1))
    assert "is over" in void(one, at(DAY_S))
    assert void(one, at(DAY_S - 1)) == ""
    assert "clock is not trusted" in void(one, replace(MOMENT, trusted=False))
    assert void(one, replace(MOMENT, keys=keys(revoked="chief"))) == "revoked key: chief"
    assert "unknown key" in void(one, replace(MOMENT, keys=ring()))
    old = ring(known(CHIEF, Role.APPROVE, not_after=date(2020, 1, 1)))
    assert "expired key" in void(one, replace(MOMENT, keys=old))
    demoted = ring(known(CHIEF, Role.REQUEST))
    assert "out of role: this needs the role approve" in void(one, replace(MOMENT, keys=demoted))
    assert counted(one, moment=replace(MOMENT, trusted=False)) == []


@pytest.mark.parametrize(
    ("signer", "name", "role"),
    [
        (ASKER, "disconnect.request", Role.REQUEST),
        (FITTER, "relay.trip", Role.RELAY),
        (FITTER, "shed", Role.RELAY),
        (CHIEF, "delegate", Role.APPROVE),
        (GUARD, "protect.remove", Role.PROTECT),
        (CHIEF, "mass.release", Role.APPROVE),
    ],
)
def test_a_vote_needs_its_role_for_as_long_as_it_stands(
    signer: Signer, name: str, role: Role
) -> None:
    one = vote(signer, BY_NAME[name])
    others = [other for other in Role if other is not role]
    assert void(one, MOMENT) == ""
    assert "out of role" in void(one, replace(MOMENT, keys=ring(known(signer, *others))))


# --- the preflight --------------------------------------------------------------------------------


def judged(debt_yuan: int, debt_max: str, *, asker: Signer = ASKER) -> list[str]:
    """The checks that fail for a debt, with one approval by chief."""
    body = APPROVE | {"account": "K1", "debt_max": debt_max}
    command = signed_by(CHIEF, "v-1", body, issued_s=NOW - START - 60)
    subject = replace(SUBJECT, account="K1", requested_by=asker.id)
    found = approvals([vote_of(command, NOW)], subject, Moment(NOW, True, keys()))
    facts = but("due", approved=found, requested_by=asker.id)
    return [one.code for one in preflight(but("money", facts, balance_e4=-debt_yuan * YUAN)).failed]


def test_r11_an_approval_for_another_amount_does_not_count() -> None:
    assert preflight(FACTS).allowed
    assert judged(50, "100.00") == []
    assert judged(100, "100.00") == []
    assert judged(101, "100.00") == ["approval"]
    assert judged(50, "0.0001") == ["approval"]


def test_r11_who_asked_is_no_second_person() -> None:
    assert judged(50, "100.00", asker=CHIEF) == ["approval"]


@given(
    signer=st.sampled_from([CHIEF, DEPUTY, BOTH, ASKER, FITTER]),
    at=st.integers(-2 * 86_400, 3 * 86_400),
    trusted=st.booleans(),
    asker=st.sampled_from(["", "asker", "both", "chief"]),
)
def test_what_counts_is_in_time_in_role_and_of_another(
    signer: Signer, at: int, *, trusted: bool, asker: str
) -> None:
    moment = Moment(START + at, trusted, keys())
    found = counted(vote(signer, APPROVE), moment=moment, requested_by=asker)
    may = signer in (CHIEF, DEPUTY, BOTH) and signer.id != asker
    assert found == (["v-1"] if may and trusted and 0 <= at < DAY_S else [])
