from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.config import MeterConfig, load
from gateway.prepayment.account import Account
from gateway.switching.supply_point import REASONS, NoPoint, meter_of, point_of, why_none
from tests.accounts import account, metering
from tests.rooms import write_config

ONE = account("1001")
SUM = account("1001", ("A1", "A2"))
OTHERS = replace(ONE, meterings=(*ONE.meterings, metering("A2", minus=True)))
REMOVED = replace(ONE.meterings[0], until=date(2026, 2, 1))


@pytest.fixture
def meters(tmp_path: Path) -> dict[str, MeterConfig]:
    """A1 with a relay, A2 with a breaker K2 instead, X1 with nothing."""
    found = {one.asset: one for one in load(write_config(tmp_path)).meters}
    bare = replace(found["X1"], asset="A2")
    breaker = replace(found["A1"], asset="K2", breaker_of="A2")
    return found | {"A2": replace(bare, breaker=breaker), "K2": breaker}


@pytest.mark.parametrize(
    ("given", "point"),
    [
        (ONE, "A1"),
        (account("1001", ("A2",)), "A2"),
        (SUM, NoPoint.SEVERAL),
        (OTHERS, NoPoint.OTHERS),
        (replace(ONE, meterings=(REMOVED,)), NoPoint.NO_METER),
        (replace(SUM, meterings=(REMOVED, SUM.meterings[1])), "A2"),
        (account("1001", ("B9",)), NoPoint.UNKNOWN),
        (account("1001", ("K2",)), NoPoint.SHARED),
        (account("1001", ("X1",)), NoPoint.NO_RELAY),
    ],
)
def test_an_account_is_cut_at_one_point_or_not_at_all(
    meters: dict[str, MeterConfig], given: Account, point: str
) -> None:
    assert point_of(given, meters) == point
    refused = isinstance(point, NoPoint)
    assert meter_of(given, meters) == ("" if refused else point)
    assert bool(why_none(given, meters)) == refused


def test_every_reason_has_its_words_in_both_languages() -> None:
    assert REASONS.keys() == set(NoPoint)
    assert all(chinese and english for chinese, english in REASONS.values())
