"""Which part of a load curve is asked for when: newest day first, in turns, not in vain."""

from datetime import date
from zoneinfo import ZoneInfo

from gateway.acquisition.curves import AT_ONCE, LONGEST_PAUSE_S, READY_S, RECORDS, CurveAsk, Curves
from gateway.acquisition.days import begin_of
from gateway.acquisition.moments import STEP_S, Moments
from tests.test_collection import SHANGHAI, meter

DAY = date(2026, 1, 2)
BEGIN = begin_of(DAY, SHANGHAI)
ZONE = ZoneInfo("Asia/Shanghai")


class Rig:
    """Load curves, and the time: at first 02:00."""

    def __init__(self, *assets: str, days: int = 2) -> None:
        self.moments = Moments(ZONE, 15)
        meters = [meter(asset, line=asset[0]) for asset in assets]
        self.curves = Curves(meters, self.moments, ZONE, days, lambda: 0.5)
        self.now = 0.0
        self.silent: set[str] = set()
        self.offset_s = 0.0

    def due(self) -> list[CurveAsk]:
        wall = BEGIN + 7200 + self.now
        silent = self.silent.__contains__
        return list(self.curves.due(self.now, wall, silent, lambda _: self.offset_s))

    def good(self, ask: CurveAsk) -> None:
        for at in ask.gap.moments:
            self.moments.settle(ask.meter, at)
        self.curves.done(ask, self.now, failed=False)

    def all_good(self) -> list[CurveAsk]:
        found = []
        while asks := self.due():
            for ask in asks:
                self.good(ask)
            found += asks
        return found


def test_today_comes_first_in_parts_that_fit_into_a_frame() -> None:
    rig = Rig("A1")

    asks = rig.all_good()

    # The moment of 02:00 may still be read live.
    assert [(ask.gap.at - BEGIN, ask.gap.quarters) for ask in asks[:3]] == [
        (0, RECORDS), (6 * STEP_S, 2), (-86_400, RECORDS),
    ]  # fmt: skip
    assert sum(ask.gap.quarters for ask in asks) == 8 + 96
    rig.now += READY_S
    assert [ask.gap.at for ask in rig.due()] == [BEGIN + 7200]


def test_what_a_slow_clock_has_not_come_to_is_not_asked_for() -> None:
    rig = Rig("A1", days=1)
    rig.offset_s = -3600.0

    assert sum(ask.gap.quarters for ask in rig.all_good()) == 4


def test_what_fails_is_tried_again_after_growing_pauses() -> None:
    rig = Rig("A1")
    pauses = []
    for _ in range(8):
        [ask] = rig.due()
        rig.curves.done(ask, rig.now, failed=True)
        assert not rig.due()
        pauses.append(rig.curves._meters["A1"].wake_at - rig.now)
        rig.now = rig.curves._meters["A1"].wake_at

    assert pauses == sorted(pauses)
    assert pauses[0] == 60.0
    assert pauses[-1] == LONGEST_PAUSE_S
    [ask] = rig.due()
    rig.curves.done(ask, rig.now, failed=True, again=True)
    assert rig.due()


def test_the_meters_of_a_line_take_turns_and_lines_do_not_wait_for_each_other() -> None:
    rig = Rig(*(f"A{n}" for n in range(AT_ONCE + 2)), "B1")

    first = rig.due()
    assert [ask.meter for ask in first] == [f"A{n}" for n in range(AT_ONCE)] + ["B1"]
    rig.now = 1.0
    rig.good(first[0])
    assert [ask.meter for ask in rig.due()] == [f"A{AT_ONCE}"]


def test_silent_meters_wait_and_those_without_a_curve_are_left() -> None:
    rig = Rig("A1", "A2")
    rig.silent = {"A1"}
    assert {ask.meter for ask in rig.all_good()} == {"A2"}

    rig.silent = set()
    rig.curves.woke("A1", rig.now)
    [ask] = rig.due()
    assert ask.meter == "A1"
    rig.curves.leave("A1")
    rig.curves.done(ask, rig.now, failed=False)
    assert rig.curves.meters == ("A2",)
    assert not rig.due()
