"""The judge of the torture himself: what is right passes, and spoilt in one place it does not."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from gateway.disconnection.facts import Approval
from gateway.disconnection.preflight import preflight
from gateway.disconnection.relay_table import Signal as Seen
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from protocols.relay import Action
from simulators.relay_scenarios import Behaviour, behaviour
from tests.accounts import YUAN
from tests.switch_judge import Judge, WrongError
from tests.switch_street import BEGIN, DAY, HOUR, ZONE, Home, Look, Meter, friendly, homes
from tests.switching import FACTS, NOW

NOON = BEGIN + 3 * DAY + 10 * HOUR
"""A Thursday, 10:00."""


def ready() -> tuple[Home, Judge]:
    """A home that may be cut at ``NOON``, and a judge who knows that."""
    home, judge = homes(Random(0), 0)[0], Judge()
    home.meter = Meter(asset="A0", address="000000010000", behaviour=Behaviour(), load_w=500)
    home.standing = replace(
        home.standing,
        mode=Mode.PREPAY_CUT,
        regime=Regime.CONTRACT_PREPAY,
        class_=Class.ORDINARY,
        no_cut=None,
        dispute=False,
    )
    home.balance_e4, home.emergency_left_e4, home.reading_at = -6 * YUAN, 0, NOON - 10 * HOUR
    home.approvals = [
        Approval(
            id="a",
            by="chen",
            account=home.number,
            debt_max_e4=9 * YUAN,
            not_before=0,
            expires=NOON + 1,
        )
    ]
    judge.outside.started_at = BEGIN
    file = judge.files[home.number]
    file.written_at = file.notice_at = NOON - 3 * HOUR
    file.last_calls = (NOON - HOUR,)
    found = home.meter.look(NOON - 5, Random(1))
    assert isinstance(found, Look)
    judge.polled(home, found, NOON - 5)
    return home, judge


def test_the_judge_lets_a_right_trip_pass() -> None:
    home, judge = ready()
    judge.trip(home, NOON)
    assert judge.count["trip"] == 1


@pytest.mark.parametrize(
    ("rule", "place", "changed"),
    [
        ("R02", "file", {"number_at": None}),
        ("R08", "standing", {"no_cut": NoCut(reason="oxygen")}),
        ("R08", "standing", {"class_": Class.LIFE_SUPPORT}),
        ("R08", "standing", {"mode": Mode.PREPAY_AGREEMENT}),
        ("R08", "standing", {"regime": Regime.UNKNOWN}),
        ("R09", "home", {"unprotected_at": NOON - HOUR}),
        ("R10", "file", {"notice_at": NOON - HOUR}),
        ("R10", "file", {"notice_at": None}),
        ("R10", "file", {"cleared_at": NOON - HOUR}),
        ("R10", "file", {"last_calls": (NOON - 600,)}),
        ("R11", "home", {"approvals": []}),
        ("R12", "standing", {"dispute": True}),
        ("R13", "outside", {"bad_weather": True}),
        ("R13", "outside", {"calendar_known": False}),
        ("R14", "home", {"provisional_e4": 3 * YUAN}),
        ("R14", "home", {"reading_at": NOON - 3 * DAY}),
        ("R15", "outside", {"trusted": False}),
        ("R16", "outside", {"sound": False}),
        ("R17", "home", {"balance_e4": -4 * YUAN}),
        ("R18", "file", {"ended_at": NOON - HOUR}),
        ("R19", "home", {"worsened_at": NOON - HOUR}),
        ("R21", "judge", {"cuts": [NOON - 900, NOON - 800, NOON - 700]}),
        ("R22", "judge", {"latched": True}),
        ("R23", "outside", {"started_at": NOON - HOUR}),
        ("R23", "outside", {"drained": False}),
        ("R25", "outside", {"stopped_at": NOON - 2}),
        ("R29", "file", {"welded": True}),
        ("R31", "file", {"closes": [NOON - 300]}),
        ("R31", "file", {"closes": [NOON - n * HOUR for n in (2, 4, 6, 8)]}),
        ("R42", "outside", {"dry_run": True}),
    ],
)
def test_the_judge_sees_what_is_wrong(rule: str, place: str, changed: dict[str, object]) -> None:
    home, judge = ready()
    if place == "standing":
        home.becomes(**changed)
    else:
        places = {"home": home, "judge": judge, "outside": judge.outside}
        for name, value in changed.items():
            setattr(places.get(place, judge.files[home.number]), name, value)
    with pytest.raises(WrongError, match=rule):
        judge.trip(home, NOON)


@pytest.mark.parametrize(
    ("meter", "rule"),
    [
        ("AAAAAAAAAAAA", "R01"),
        ("999999999999", "R01"),
        ("", "R01"),
    ],
)
def test_the_judge_sees_a_frame_to_many(meter: str, rule: str) -> None:
    home, judge = ready()
    home.meter.address = meter
    with pytest.raises(WrongError, match=rule):
        judge.trip(home, NOON)


def cut() -> tuple[Home, Judge]:
    """The same home, cut at ``NOON``, and looked at since."""
    home, judge = ready()
    judge.trip(home, NOON)
    home.meter.told(Action.TRIP, NOON, Random(1))
    return home, judge


def test_r13_a_trip_shortly_before_a_protected_time() -> None:
    home, judge = ready()
    found = home.meter.look(NOON + 7 * HOUR - 5, Random(1))
    assert found
    judge.polled(home, found, NOON + 7 * HOUR - 5)
    with pytest.raises(WrongError, match="R13"):
        judge.trip(home, NOON + 7 * HOUR)


def test_r18_what_ends_a_case_makes_its_notice_worthless() -> None:
    for change in ({"dispute": True}, {"mode": Mode.POSTPAY}, {"no_cut": NoCut(reason="oxygen")}):
        home, judge = ready()
        standing = home.standing
        home.becomes(**change)
        judge.books(home, NOON - HOUR)
        home.standing = standing
        with pytest.raises(WrongError, match="R18"):
            judge.trip(home, NOON)
    home, judge = ready()
    judge.swapped(home, NOON - HOUR)
    with pytest.raises(WrongError, match="R18"):
        judge.trip(home, NOON)


def test_r20_protection_of_supply_ends_only_after_a_fresh_notice() -> None:
    home, judge = ready()
    judge.unprotect(home, NOON)
    judge.files[home.number].notice_at = None
    with pytest.raises(WrongError, match="R20"):
        judge.unprotect(home, NOON)
    home.balance_e4 = YUAN
    judge.unprotect(home, NOON)


def test_r27_a_cut_that_is_told_before_it_is_proven() -> None:
    home, judge = cut()
    judge.files[home.number].quiet_from = NOON - 100
    with pytest.raises(WrongError, match=r"R27.*not watched"):
        judge.said(home, "open", NOON + 100)
    home.meter.relay.conducts = True
    with pytest.raises(WrongError, match=r"R27.*conducts"):
        judge.said(home, "open", NOON + 500)


def test_r28_a_trip_repeated_blindly_or_for_ever() -> None:
    home, judge = cut()
    with pytest.raises(WrongError, match=r"R28.*unseen"):
        judge.trip(home, NOON + 30)
    home, judge = cut()
    for n in range(1, 4):
        found = home.meter.look(NOON + 10 * n - 1, Random(1))
        assert found
        judge.polled(home, found, NOON + 10 * n - 1)
        if n < 3:
            judge.trip(home, NOON + 10 * n)
    with pytest.raises(WrongError, match=r"R28.*try 4"):
        judge.trip(home, NOON + 30)


@pytest.mark.parametrize("away", [False, True])
def test_r32_r33_a_restore_that_does_not_come(*, away: bool) -> None:
    home, judge = cut()
    home.balance_e4 = 100 * YUAN
    judge.outside.online = not away
    assert judge.owed(home, NOON + HOUR)
    judge.late(home, NOON + HOUR, NOON + HOUR + 60)
    with pytest.raises(WrongError, match="R33" if away else "R32"):
        judge.late(home, NOON + HOUR, NOON + HOUR + 61)
    judge.close(home, NOON + HOUR + 61, direct=False)
    judge.late(home, NOON + HOUR, NOON + 2 * HOUR)


def test_r35_a_direct_close_without_a_contract() -> None:
    home, judge = cut()
    home.direct = True
    judge.close(home, NOON + HOUR, direct=True)
    home, judge = cut()
    home.direct = False
    with pytest.raises(WrongError, match="R35"):
        judge.close(home, NOON + HOUR, direct=True)


@pytest.mark.parametrize(("strained", "most"), [(False, 4), (True, 2)])
def test_r36_restores_all_at_once(*, strained: bool, most: int) -> None:
    home, judge = cut()
    judge.outside.strained_at = NOON if strained else None
    phases = home.phase * 4 if not strained else "ABCA"
    judge.closes = [(NOON + HOUR - n, phases[n], f"K9{n}") for n in range(1, most)]
    judge.close(home, NOON + HOUR, direct=False)
    home, judge = cut()
    judge.outside.strained_at = NOON if strained else None
    judge.closes = [(NOON + HOUR - n, (phases * 2)[n], f"K9{n}") for n in range(most)]
    with pytest.raises(WrongError, match="R36"):
        judge.close(home, NOON + HOUR, direct=False)


def test_r37_a_wrong_cut_is_owed_though_the_balance_does_not_allow_to_close() -> None:
    home, judge = cut()
    home.balance_e4 = home.beyond_e4 + 1
    assert not judge.owed(home, NOON + HOUR)
    assert judge.owed(home, NOON + HOUR, wrong=True)


def test_r38_a_repeated_close_after_a_restart_without_a_look() -> None:
    home, judge = cut()
    judge.close(home, NOON + HOUR, direct=False)
    judge.outside.started_at = NOON + HOUR + 60
    with pytest.raises(WrongError, match="R38"):
        judge.close(home, NOON + HOUR + 120, direct=False)


def test_r44_a_decision_that_cannot_be_made_again() -> None:
    judge, decision = Judge(), preflight(FACTS)
    for _ in range(31):  # one in sixteen is made again
        judge.decided(FACTS, decision)
    with pytest.raises(WrongError, match="R44"):
        judge.decided(replace(FACTS, at=NOW + DAY), decision)


def test_a_meter_with_a_clock_a_year_ahead_obeys_by_its_own_time() -> None:
    home, _ = ready()
    meter = replace(home.meter, behaviour=behaviour("year-ahead"))
    ours = datetime.fromtimestamp(NOON, ZONE).replace(tzinfo=None) + timedelta(minutes=2)
    assert meter.told(Action.TRIP, NOON, Random(1), ours) is Seen.REFUSED
    by_its_own = meter.shows(NOON) + timedelta(minutes=2)
    assert meter.told(Action.TRIP, NOON, Random(1), by_its_own) is Seen.ACCEPTED


def test_a_meter_whose_password_was_mistyped_is_locked_for_a_day() -> None:
    home, _ = ready()
    meter = replace(home.meter, behaviour=behaviour("locked"))
    meter.mistyped(NOON)
    assert meter.told(Action.TRIP, NOON + HOUR, Random(1)) is Seen.REFUSED
    assert meter.told(Action.TRIP, NOON + 25 * HOUR, Random(1)) is Seen.ACCEPTED
    meter.mistyped(NOON + 26 * HOUR)
    meter.repaired(NOON + 27 * HOUR)
    assert meter.told(Action.TRIP, NOON + 28 * HOUR, Random(1)) is Seen.ACCEPTED


def test_the_almanac_on_the_wall() -> None:
    assert not friendly(NOON)
    assert friendly(NOON + 11 * HOUR)
    assert friendly(NOON + 2 * DAY)
    assert friendly(BEGIN + 24 * DAY + 12 * HOUR)  # 1 October
