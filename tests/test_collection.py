"""Which freeze is asked for when: by the calendar, by what is stored, by what failed."""

from collections.abc import Iterator
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from gateway.acquisition.collection import AT_ONCE, FIRST_PAUSE_S, LONGEST_PAUSE_S, Ask, Collection
from gateway.config import MeterConfig
from gateway.events import PortSettings, Priority
from protocols.profile import SHIPPED, load

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = 1_767_240_000.0  # 2026-01-01 12:00 in Shanghai
YESTERDAY = date(2025, 12, 31)
DAY_S = 86_400.0
METER = load(SHIPPED / "dlt645-2007-single-phase.toml")
MODBUS = load(SHIPPED / "eastron-sdm630.toml")
OLD = load(SHIPPED / "dlt645-1997-single-phase.toml")


def meter(asset: str, line: str = "east") -> MeterConfig:
    modbus = asset.startswith("X")
    profile = MODBUS if modbus else OLD if asset.startswith("O") else METER
    return MeterConfig(
        asset=asset,
        line=line,
        address="7" if modbus else "000000000001",
        profile=profile,
        points=profile.default_points,
        period_s=900,
        settings=PortSettings(),
        timeout_s=1.0,
        least_timeout_s=1.0,
        guard_s=0.05,
        max_kw=100,
    )


class Rig:
    """A collection, and the time."""

    def __init__(self, *assets: str, backfill_days: int = 3) -> None:
        self.collection = Collection(
            [meter(asset) for asset in assets], SHANGHAI, backfill_days, lambda: 0.5
        )
        self.now = 0.0
        self.trusted = True
        self.silent: set[str] = set()

    @property
    def wall(self) -> float:
        return NOON + self.now

    def due(self) -> list[Ask]:
        asks: Iterator[Ask] = self.collection.due(
            self.now, self.wall, trusted=self.trusted, silent=self.silent.__contains__
        )
        return list(asks)

    def good(self, ask: Ask) -> None:
        if ask.day:
            self.collection.settle(ask.meter, ask.day)
        if ask.clock and self.collection.newest:
            self.collection.clock_read(ask.meter, self.collection.newest)
        self.collection.done(ask, self.now, failed=False)

    def all_good(self) -> list[Ask]:
        done = []
        while asks := self.due():
            for ask in asks:
                self.good(ask)
            done += asks
        return done


def by(priority: Priority, asks: list[Ask]) -> list[date | None]:
    return [ask.day for ask in asks if ask.priority is priority]


def test_yesterday_comes_first_and_what_is_missing_newest_first() -> None:
    rig = Rig("A1")

    asks = rig.all_good()

    assert by(Priority.COLLECTION, asks) == [YESTERDAY]
    assert by(Priority.BACKFILL, asks) == [YESTERDAY - timedelta(days=n) for n in (1, 2)]
    first = next(ask for ask in asks if ask.day == YESTERDAY)
    assert [one.key for one in first.exchanges] == [
        "05060001", "05060101", "05060201", "04000101", "04000102",
    ]  # fmt: skip
    assert next(a for a in asks if a.day == date(2025, 12, 29)).exchanges[0].key == "05060003"


def test_what_is_settled_is_never_asked_for_again() -> None:
    rig = Rig("A1")
    rig.all_good()

    rig.now += DAY_S
    asks = rig.all_good()

    assert [ask.day for ask in asks] == [date(2026, 1, 1)]


def test_nobody_is_asked_around_midnight() -> None:
    rig = Rig("A1")
    rig.all_good()

    rig.now += DAY_S / 2 + 299
    assert not rig.due()
    rig.now += 1
    assert [ask.day for ask in rig.due()] == [date(2026, 1, 1)]


def test_what_failed_is_tried_again_after_a_growing_pause() -> None:
    rig = Rig("A1", backfill_days=1)
    pauses = []
    for _ in range(9):
        [ask] = rig.due()
        rig.collection.done(ask, rig.now, failed=True)
        began = rig.now
        while not (again := rig.due()):
            rig.now = rig.collection.next_at
        pauses.append(rig.now - began)
        rig.collection.done(again[0], rig.now, failed=True, again=True)

    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_silent_meter_is_left_alone_and_asked_at_once_when_it_wakes() -> None:
    rig = Rig("A1", "A2")
    rig.silent = {"A1"}
    assert {ask.meter for ask in rig.all_good()} == {"A2"}

    rig.silent = set()
    assert not rig.due()
    rig.collection.woke("A1", rig.now)

    assert {ask.day for ask in rig.due()} == {YESTERDAY, YESTERDAY - timedelta(days=1)}


def test_clocks_are_judged_only_while_ours_is_trusted() -> None:
    rig = Rig("A1")
    rig.trusted = False
    assert not any(ask.clock for ask in rig.all_good())

    rig.now += 3600
    rig.trusted = True
    [ask] = rig.due()

    assert ask.clock
    assert ask.day is None
    rig.good(ask)
    assert not rig.due()


def test_a_line_is_not_flooded() -> None:
    rig = Rig(*(f"A{n:03}" for n in range(100)))

    asks = rig.due()

    for priority, most in AT_ONCE.items():
        assert len(by(priority, asks)) == most
    for ask in asks:
        rig.good(ask)
    assert len(rig.all_good()) == 300 - len(asks)


def test_meters_without_freezes_are_not_due() -> None:
    rig = Rig("X1", "A1")

    assert rig.collection.meters == ("A1",)
    assert {ask.meter for ask in rig.all_good()} == {"A1"}


def test_a_meter_without_freezes_is_asked_for_its_clock_alone() -> None:
    rig = Rig("O1")

    (ask,) = rig.due()
    assert (ask.clock, ask.day) == (True, None)
    assert [exchange.key for exchange in ask.exchanges] == ["C010", "C011"]
    rig.good(ask)
    assert rig.due() == []
    assert rig.collection.meters == ()
