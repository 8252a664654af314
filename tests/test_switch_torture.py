"""The torture of switching: many seeds of sixty days, judged from outside.

A seed that fails is replayed by ``python -m tests.switch_torture SEED``.
"""

from collections import Counter
from dataclasses import replace

import pytest

from gateway.disconnection.facts import Approval
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from tests.accounts import YUAN
from tests.switch_judge import WrongError
from tests.switch_street import BEGIN, DAY, HOUR, Look, friendly
from tests.switch_torture import Torture, torture

AT_ONCE = 10
"""Seeds of one test, so that a failure is told early."""
SHORT, LONG = range(0, 200, AT_ONCE), range(200, 2200, AT_ONCE)


def several(first: int) -> Counter[str]:
    """What happened in ten seeds."""
    seen: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        try:
            world = torture(seed)
        except WrongError as error:
            pytest.fail(f"{error}\nreplay it: python -m tests.switch_torture {seed}")
        seen.update(world.judge.count)
        seen["power cuts"] += world.power_cuts
        seen["refused"] += sum(world.judge.refused.values())
    return seen


@pytest.mark.parametrize("first", SHORT)
def test_sixty_days_of_everything(first: int) -> None:
    seen = several(first)
    assert min(seen[one] for one in ("trip", "proven", "restore", "power cuts", "refused")) > 0


@pytest.mark.torture
@pytest.mark.parametrize("first", LONG)
def test_sixty_days_of_everything_at_length(first: int) -> None:
    seen = several(first)
    assert min(seen[one] for one in ("trip", "proven", "restore", "power cuts", "refused")) > 0


def test_a_seed_gives_the_same_days_again() -> None:
    one, other = torture(7, days=20), torture(7, days=20)
    assert (one.judge.count, one.events) == (other.judge.count, other.events)
    assert one.judge.refused == other.judge.refused


# --- the judge himself: a trip that would be right, spoilt in one place --------------------------

NOON = BEGIN + 3 * DAY + 10 * HOUR
"""A Thursday, 10:00."""


def ready() -> Torture:
    """A world in which the first home may be cut at ``NOON``."""
    world = Torture(0)
    home, judge = world.homes[0], world.judge
    home.meter.twin = ""
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
    judge.files.clear()
    file = judge.files[home.number]
    file.written_at = file.notice_at = NOON - 3 * HOUR
    file.last_calls = (NOON - HOUR,)
    found = home.meter.look(NOON - 5, world.draw)
    assert isinstance(found, Look)
    judge.polled(home, found, NOON - 5)
    return world


def test_the_judge_lets_a_right_trip_pass() -> None:
    world = ready()
    world.judge.trip(world.homes[0], NOON)
    assert world.judge.count["trip"] == 1


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
    world = ready()
    home, judge = world.homes[0], world.judge
    if place == "standing":
        home.becomes(**changed)
    else:
        places = {"home": home, "judge": judge, "outside": judge.outside}
        for name, value in changed.items():
            setattr(places.get(place, judge.files[home.number]), name, value)
    with pytest.raises(WrongError, match=rule):
        judge.trip(home, NOON)


def test_the_almanac_on_the_wall() -> None:
    assert not friendly(NOON)
    assert friendly(NOON + 11 * HOUR)
    assert friendly(NOON + 2 * DAY)
    assert friendly(BEGIN + 24 * DAY + 12 * HOUR)  # 1 October
