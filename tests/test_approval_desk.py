"""Where the words of persons are taken in, with a real store; and protection taken by two."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.clock import ClockState
from gateway.disconnection.friendly import protected
from gateway.disconnection.votes import Action, Step
from gateway.north.approvals import DAY_S, Subject
from gateway.north.contract import instant
from gateway.north.contract_switching import ProtectRemove, SupplyOrder
from gateway.north.signatures import Signer
from gateway.orders import Outcome
from gateway.store.database import Database, open_store
from gateway.switching.approval_desk import ApprovalDesk, Site
from gateway.switching.calendars import stored_calendar
from gateway.switching.stop_switch import StopSwitch
from tests.money_rig import Money
from tests.switching_orders import (
    ASKER,
    BOTH,
    BY_NAME,
    CHIEF,
    DEPUTY,
    FITTER,
    GUARD,
    WARD,
    WATCH,
    WINDOWS,
    keys,
    signed_by,
)
from tests.world import START

ZONE = ZoneInfo("Asia/Shanghai")
SUBJECT = Subject(action=Action.DISCONNECT, account="1001", policy="home")
APPROVE = {"name": "disconnect.approve", "account": "1001", "debt_max": "100.00"}
REQUEST = BY_NAME["disconnect.request"]
REMOVE = BY_NAME["protect.remove"]
RELEASE = BY_NAME["mass.release"]


class Rig:
    """A desk, and what it asks of others, noted."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "t.db"
        self.database = self._open()
        self.keys = keys()
        self.state = ClockState.TRUSTED
        self.unprotected: list[tuple[str, str]] = []
        self.released: list[tuple[frozenset[str], bool]] = []
        self.unprotect_says = Outcome("confirmed")
        self.latch_says = ""
        self.count = 0
        self.start()

    def _open(self) -> Database:
        return open_store(self.path, lambda: START, os.urandom, ballast_bytes=0)

    def start(self) -> None:
        site = Site(
            keys=self.keys,
            zone=ZONE,
            state=lambda: self.state,
            is_account=lambda account: account in ("1001", "1002"),
            unprotect=self.unprotect,
            latch=self,
        )
        self.desk = ApprovalDesk(self.database, site)
        self.switch = StopSwitch(self.path.parent, None, self.desk.stop_orders)

    def restart(self) -> None:
        self.database.close()
        self.database = self._open()
        self.start()

    def unprotect(self, order: ProtectRemove, id_: str, by: str) -> Outcome:
        assert order.account == "1001"
        self.unprotected.append((id_, by))
        return self.unprotect_says

    def release(self, by: frozenset[str], *, key_at_box: bool) -> str:
        self.released.append((by, key_at_box))
        return self.latch_says

    def order(
        self,
        signer: Signer | None,
        body: dict[str, Any],
        *,
        id_: str = "",
        at_s: float = 1.0,
        at_box: bool = False,
    ) -> Outcome:
        self.count += 1
        command = signed_by(signer, id_ or f"o-{self.count}", body, issued_s=at_s - 1)
        by = f"key {signer.id}" if signer else "alice"
        with self.database.transaction():
            return self.desk.execute(command, by, START + at_s, at_box=at_box)

    def counted(self, **changed: Any) -> list[str]:
        with_ = replace(SUBJECT, **changed)
        return [one.by for one in self.desk.approvals(with_, START + 10)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.database.close()


def test_every_order_has_its_clerk(rig: Rig) -> None:
    switched = {"relay.close", "relay.protect", "shed.end"}
    assert rig.desk.takes == BY_NAME.keys() - switched
    names = {one.model_fields["name"].annotation for one in SupplyOrder.__args__}
    assert len(names) == len(BY_NAME)


# --- requests and approvals -----------------------------------------------------------------------


def test_r11_one_asks_another_agrees(rig: Rig) -> None:
    asked = rig.order(ASKER, REQUEST, id_="r-1")
    assert (asked.stage, asked.data["expires"]) == ("accepted", instant(START + 30 * DAY_S))
    assert rig.counted(requested_by="asker") == []
    assert rig.order(CHIEF, APPROVE).stage == "confirmed"
    assert rig.counted(requested_by="asker") == ["chief"]
    found = rig.desk.request(Action.DISCONNECT, "1001", START + 10)
    assert found
    assert (found.id, found.key, found.step) == ("r-1", "asker", Step.REQUEST)
    assert rig.desk.request(Action.TRIP, "1001", START + 10) is None


def test_r11_the_same_key_is_refused_and_nothing_is_kept(rig: Rig) -> None:
    rig.order(BOTH, REQUEST)
    refused = rig.order(BOTH, APPROVE, id_="v-1")
    assert refused == Outcome("refused", "the key both asked for it: another person has to agree")
    assert rig.desk.votes.vote("v-1") is None
    assert rig.counted() == []


def test_votes_outlive_a_restart_and_a_revoked_key_does_not(rig: Rig) -> None:
    rig.order(ASKER, REQUEST)
    rig.order(CHIEF, APPROVE)
    rig.restart()
    assert rig.counted() == ["chief"]
    rig.keys = keys(revoked="chief")
    rig.restart()
    assert rig.counted() == []


def test_without_a_trusted_clock_no_approval_counts(rig: Rig) -> None:
    rig.order(CHIEF, APPROVE)
    rig.state = ClockState.HOLDOVER
    assert rig.counted() == []


def test_what_was_given_can_be_taken_back_once(rig: Rig) -> None:
    rig.order(CHIEF, APPROVE, id_="v-1")
    revoke = {"name": "approval.revoke", "approval": "v-1", "reason": "wrong house"}
    assert rig.order(DEPUTY, revoke).stage == "confirmed"
    assert rig.counted() == []
    assert rig.order(DEPUTY, revoke).reason == "approval: v-1 is over: revoked: wrong house"
    assert "or delegation v-2 here" in rig.order(DEPUTY, revoke | {"approval": "v-2"}).reason


def test_cancelled_is_cancelled_for_requests_and_approvals_not_for_delegations(rig: Rig) -> None:
    rig.order(ASKER, REQUEST)
    rig.order(CHIEF, APPROVE)
    rig.order(CHIEF, APPROVE | {"account": "1002"})
    rig.order(DEPUTY, BY_NAME["delegate"])
    assert rig.order(ASKER, BY_NAME["disconnect.cancel"]).stage == "confirmed"
    assert rig.counted() == ["deputy"]
    assert rig.counted(account="1002", policy="shop") == ["chief"]


def test_an_approval_is_good_for_one_cut(rig: Rig) -> None:
    rig.order(CHIEF, APPROVE)
    with rig.database.transaction():
        rig.desk.over(SUBJECT, START + 5, "gateway", "used: the relay is open")
    assert rig.counted() == []


def test_shedding_is_over_with_its_approvals(rig: Rig) -> None:
    agree = {"name": "disconnect.approve", "action": "shed", "request": "s-1"}
    assert "there is no shed s-1" in rig.order(CHIEF, agree).reason
    shed = BY_NAME["shed"] | {"until": instant(START + 3600)}
    assert rig.order(FITTER, shed, id_="s-1").stage == "accepted"
    assert rig.order(CHIEF, agree).stage == "confirmed"
    subject = replace(SUBJECT, action=Action.SHED, request="s-1", requested_by="fitter")
    assert [one.by for one in rig.desk.approvals(subject, START + 10)] == ["chief"]
    with rig.database.transaction():
        rig.desk.over(subject, START + 20, "gateway", "ended")
    assert rig.desk.approvals(subject, START + 30) == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (APPROVE | {"account": "9"}, "no account 9 here"),
        (BY_NAME["delegate"] | {"accounts": ["1001", "9"]}, "no account 9 here"),
        (APPROVE | {"not_before": instant(START - 90_000)}, "this approval is over already"),
        (APPROVE | {"expires": instant(START + 99 * DAY_S)}, "7 days at most"),
        (APPROVE | {"request": "r-9"}, "there is no disconnect r-9"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(rig: Rig, body: dict[str, Any], said: str) -> None:
    outcome = rig.order(CHIEF, body)
    assert outcome.stage == "refused"
    assert said in outcome.reason
    assert rig.desk.votes.standing(START) == []


# --- acts of two persons --------------------------------------------------------------------------


def test_r09_protection_is_taken_by_two(rig: Rig) -> None:
    first = rig.order(GUARD, REMOVE)
    assert (first.stage, first.data) == ("confirmed", {"persons": ["guard"], "needed": 2})
    assert rig.order(GUARD, REMOVE).data["persons"] == ["guard"], "the same person again"
    assert rig.order(WARD, REMOVE | {"version": 3}).data["persons"] == ["ward"], "another order"
    assert rig.unprotected == []
    assert rig.order(WARD, REMOVE, id_="p-9", at_s=60).stage == "confirmed"
    assert rig.unprotected == [("p-9", "keys guard and ward")]
    assert rig.desk.votes.unprotected_at("1001") == START + 60
    assert rig.order(GUARD, REMOVE, at_s=61).data["persons"] == ["guard"], "used up"


def test_r09_the_first_word_is_forgotten_after_a_day(rig: Rig) -> None:
    rig.order(GUARD, REMOVE)
    assert rig.order(WARD, REMOVE, at_s=DAY_S + 2).data["persons"] == ["ward"]
    assert rig.unprotected == []


def test_a_removal_that_is_refused_leaves_no_trace(rig: Rig) -> None:
    rig.order(GUARD, REMOVE)
    rig.unprotect_says = Outcome("refused", "it is at version 3, not 2; look again")
    assert rig.order(WARD, REMOVE, id_="p-2").stage == "refused"
    assert rig.desk.votes.vote("p-2") is None
    assert rig.desk.votes.unprotected_at("1001") is None


def test_r22_the_latch_is_released_by_two_from_afar(rig: Rig) -> None:
    assert rig.order(CHIEF, RELEASE).data["needed"] == 2
    assert rig.released == []
    assert rig.order(DEPUTY, RELEASE).data == {"persons": ["chief", "deputy"]}
    assert rig.released == [(frozenset(("chief", "deputy")), False)]


def test_r22_the_latch_is_released_by_one_key_at_the_box(rig: Rig) -> None:
    assert rig.order(CHIEF, RELEASE, at_box=True).stage == "confirmed"
    assert rig.released == [(frozenset(("chief",)), True)]
    rig.latch_says = "it is not latched"
    assert rig.order(CHIEF, RELEASE, at_box=True) == Outcome("refused", "it is not latched")


# --- notices and calendars ------------------------------------------------------------------------


def test_r10_a_proof_is_kept_with_its_time_and_who_signed_it(rig: Rig) -> None:
    served = BY_NAME["notice.served"]
    assert rig.order(ASKER, served | {"served": instant(START - 60)}).stage == "confirmed"
    [found] = rig.desk.precautions.served("1001", 1)
    assert (found.what, found.served, found.key) == ("notice", START - 60, "asker")
    for at, said in ((START + 400, "in the future"), (START - 31 * DAY_S, "30 days ago")):
        assert said in rig.order(ASKER, served | {"served": instant(at)}).reason
    assert len(rig.desk.precautions.served("1001")) == 1


def shanghai(*moment: int) -> float:
    return datetime(*moment, tzinfo=ZONE).timestamp()  # type: ignore[misc, arg-type]


def test_r13_a_calendar_takes_the_place_of_the_one_before(rig: Rig) -> None:
    precautions = rig.desk.precautions
    assert stored_calendar(precautions, ZONE) is None
    put = BY_NAME["calendar.put"]
    assert rig.order(GUARD, put).stage == "confirmed"
    calendar = stored_calendar(precautions, ZONE)
    assert "nothing recent" in protected(shanghai(2026, 3, 4, 12), calendar)
    fair = {"until": instant(shanghai(2026, 3, 5))}
    weather = {"name": "calendar.put", "weather": fair}
    at_s = shanghai(2026, 3, 4) - START
    assert rig.order(GUARD, weather, at_s=at_s).stage == "confirmed"
    calendar = stored_calendar(precautions, ZONE)
    assert calendar
    assert calendar.version == "1"
    assert protected(shanghai(2026, 3, 4, 12), calendar) == ""
    assert protected(shanghai(2026, 3, 1, 12), calendar) == "weekend"
    assert protected(shanghai(2026, 2, 17, 12), calendar)
    assert protected(shanghai(2027, 1, 4, 12), calendar)
    assert "version 1 is here already" in rig.order(GUARD, put).reason
    longer = put | {"windows": WINDOWS | {"version": 2, "weather_needed": False}}
    assert rig.order(GUARD, longer).stage == "confirmed"
    found = stored_calendar(precautions, ZONE)
    assert found
    assert found.version == "2"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"windows": WINDOWS | {"first": "2027-01-01"}}, "lies before 2027-01-01"),
        (
            {
                "windows": WINDOWS
                | {"days": [{"first": "2026-03-02", "last": "2026-03-01", "reason": "x"}]}
            },
            "windows: x: it ends on 2026-03-01",
        ),
        ({"weather": {"until": instant(START + 4 * DAY_S)}}, "believed for 3 days at most"),
        (
            {"windows": WINDOWS, "weather": {"until": instant(START + 4 * DAY_S)}},
            "believed for 3 days at most",
        ),
    ],
)
def test_a_calendar_that_makes_no_sense_changes_nothing(
    rig: Rig, body: dict[str, Any], said: str
) -> None:
    outcome = rig.order(GUARD, {"name": "calendar.put", **body})
    assert outcome.stage == "refused"
    assert said in outcome.reason
    assert rig.desk.precautions.calendar() is None
    assert rig.desk.precautions.weather() is None


# --- the stop -------------------------------------------------------------------------------------

STOP, RESUME = BY_NAME["stop"], BY_NAME["resume"]


def test_r25_an_order_stops_outlives_a_restart_and_is_taken_back_by_its_giver(rig: Rig) -> None:
    assert rig.switch.stopped() == ""
    rig.order(WATCH, STOP)
    rig.restart()
    assert rig.switch.stopped() == "key watch ordered it: work on the line"
    refused = rig.order(BOTH, RESUME)
    assert refused.reason == ("only who stopped it resumes: key watch ordered it: work on the line")
    assert rig.order(None, RESUME, at_box=True).stage == "refused"
    assert rig.order(WATCH, RESUME).data == {"taken_back": 1, "stopped": ""}
    assert rig.switch.stopped() == ""


def test_r25_a_stop_at_the_box_is_not_taken_back_from_afar(rig: Rig) -> None:
    rig.order(None, STOP, at_box=True)
    rig.order(WATCH, STOP)
    assert rig.order(WATCH, RESUME).data == {
        "taken_back": 1,
        "stopped": "alice ordered it: work on the line",
    }
    assert rig.order(WATCH, RESUME).stage == "refused"
    assert rig.order(None, RESUME, at_box=True).stage == "confirmed"
    assert rig.switch.stopped() == ""
    assert rig.order(None, RESUME, at_box=True).data["taken_back"] == 0, "nothing to do"


def test_a_stop_by_a_key_that_is_worth_nothing_any_more_is_taken_back_by_another(rig: Rig) -> None:
    rig.order(WATCH, STOP)
    rig.keys = keys(revoked="watch")
    rig.restart()
    assert rig.switch.stopped(), "it goes on stopping"
    assert rig.order(None, RESUME, at_box=True).stage == "refused", "but not by just anybody"
    assert rig.order(BOTH, RESUME).stage == "confirmed"
    assert rig.switch.stopped() == ""


def test_the_dry_run(rig: Rig) -> None:
    for on in (True, False):
        assert rig.order(WATCH, BY_NAME["dry_run"] | {"on": on}).stage == "confirmed"
        assert rig.desk.precautions.dry_run() is on


# --- protection, by the accounts' own desk --------------------------------------------------------


def test_the_accounts_desk_takes_protection_away(tmp_path: Path) -> None:
    money = Money(tmp_path)
    money.open(no_cut={"reason": "oxygen"}, **{"class": "vulnerable"})
    number = next(iter(money.prepaid.accounts.all()))

    def remove(**given: Any) -> Outcome:
        order = ProtectRemove.model_validate(
            {"name": "protect.remove", "account": number, "version": 1, "reason": "x", **given}
        )
        with money.database.transaction():
            return money.prepaid.desk.unprotect(order, "c-1", "keys guard and ward")

    assert "it is at version 1, not 7" in remove(version=7, no_cut=True).reason
    assert "no account 9" in remove(account="9", no_cut=True).reason
    assert "no such protection" in remove(dispute=True).reason
    assert remove(no_cut=True, **{"class": "ordinary"}).stage == "confirmed"
    account = money.prepaid.accounts.current(number)
    assert account
    assert (account.version, account.no_cut, account.class_) == (2, None, "ordinary")
    assert datetime.fromtimestamp(money.wall, UTC).year == 2026
