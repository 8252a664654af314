"""What a meter's answers say about a daily freeze: that it is the day's, or why it is not."""

from datetime import date

import pytest

from gateway.acquisition.confirm import Limits
from gateway.acquisition.freeze import Answer, Odd, Read, Unread, doubtful, interpret
from gateway.events import Fault, Outcome
from protocols.base import Reply
from protocols.dlt645_items import find
from protocols.exchanges import Exchange
from protocols.profile import SHIPPED, load

DAY = date(2026, 1, 1)
METER = load(SHIPPED / "dlt645-2007-single-phase.toml")
TIME, IMPORT, EXPORT = METER.plan_freeze("000000000001", 1)
ENERGY = "energy_active_import"
LIMITS = Limits(10, {ENERGY: 10}, {})
DAY_S = 86_400.0


def answer(exchange: Exchange, *values: int | str | None) -> Answer:
    item = find(exchange.key)
    assert item is not None
    data = item.encode(values)
    outcome = Outcome(request=exchange.request, reply=Reply("1", data), taken_at=5.0)
    return Answer(exchange, outcome, exchange.values(data))


def fault(exchange: Exchange, kind: Fault, *, permanent: bool = False) -> Answer:
    outcome = Outcome(request=exchange.request, fault=kind, permanent=permanent, error="why")
    return Answer(exchange, outcome, None)


def test_a_freeze_of_the_day() -> None:
    answers = [
        answer(TIME, "2026-01-02 00:00"),
        answer(IMPORT, 1000, 100, 200, 300, 400),
        answer(EXPORT, None, None, None, None, None),
    ]

    found = interpret(DAY, answers)

    assert isinstance(found, Read)
    assert found.registers == {
        ENERGY: 10_000, **{f"{ENERGY}_t{n}": 1000 * n for n in (1, 2, 3, 4)},
    }  # fmt: skip
    assert found.values[f"{ENERGY}_daily_freeze"].text() == "10.000"


@pytest.mark.parametrize(
    ("stamp", "kind"),
    [("2026-01-01 00:00", "wrong_time"), ("2026-01-02 09:00", "wrong_time"), (None, "absent")],
)
def test_a_freeze_of_another_time_is_never_the_days(stamp: str | None, kind: str) -> None:
    found = interpret(DAY, [answer(TIME, stamp), answer(IMPORT, 1000, 100, 200, 300, 400)])

    assert isinstance(found, Odd)
    assert found.kind == kind


def test_a_meter_without_the_item_has_no_freeze() -> None:
    refused = fault(TIME, Fault.REFUSED, permanent=True)

    assert interpret(DAY, [refused, refused]) == Odd(
        "absent", "the meter says it has no freeze of this day"
    )


def test_a_register_that_the_meter_does_not_count_is_left_out() -> None:
    answers = [
        answer(TIME, "2026-01-02 00:00"),
        answer(IMPORT, 1000, 100, 200, 300, 400),
        fault(EXPORT, Fault.REFUSED, permanent=True),
    ]

    found = interpret(DAY, answers)

    assert isinstance(found, Read)
    assert "energy_active_export" not in found.registers


@pytest.mark.parametrize("kind", [Fault.SILENT, Fault.DAMAGED, Fault.EXPIRED, Fault.REFUSED])
def test_half_a_freeze_is_none(kind: Fault) -> None:
    answers = [answer(TIME, "2026-01-02 00:00"), fault(IMPORT, kind)]

    assert interpret(DAY, answers) == Unread("why")


def test_days_beside_each_other_are_compared_both_ways() -> None:
    before, after = (0.0, {ENERGY: 1000}), (2 * DAY_S, {ENERGY: 9000})

    assert not doubtful({ENERGY: 5000}, DAY_S, [before, after], LIMITS)
    assert "fell" in doubtful({ENERGY: 990}, DAY_S, [before, after], LIMITS)
    assert "fell" in doubtful({ENERGY: 9010}, DAY_S, [before, after], LIMITS)
    assert "grew" in doubtful({ENERGY: 300_000}, DAY_S, [before], LIMITS)
