"""A command to a relay is made at the last moment, or not at all."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.config import MeterConfig, load
from gateway.switching.relay_sending import (
    NotSentError,
    Permit,
    Sending,
    close_action,
    needs_clock,
)
from protocols.dlt645_relay import parse
from protocols.relay import Action
from tests.rooms import write_config

NOW = 1_767_225_600.0
SHOWN = datetime(2026, 1, 1, 8, 0, 0)  # noqa: DTZ001 - a meter's clock knows no zone


@pytest.fixture
def meter(tmp_path: Path) -> MeterConfig:
    return load(write_config(tmp_path)).meters[0]


def sending(meter: MeterConfig, permit: Permit) -> Sending:
    def shows(wall: float) -> datetime:
        return SHOWN + timedelta(seconds=wall - NOW)

    return Sending(meter, Action.TRIP, permit, shows, 120)


def test_the_deadline_counts_from_the_moment_it_is_sent(meter: MeterConfig) -> None:
    command = sending(meter, Permit(NOW))
    [timed] = command.timed(NOW)
    request = timed.make(NOW + 15)
    control = parse(getattr(request, "data", b""))
    assert control is not None
    assert control.deadline == SHOWN + timedelta(seconds=15 + 120)


def test_r25_a_permit_that_was_withdrawn_makes_no_frame(meter: MeterConfig) -> None:
    permit = Permit(NOW)
    command = sending(meter, permit)
    [timed] = command.timed(NOW)
    permit.withdrawn = "the stop switch is on"
    with pytest.raises(NotSentError, match="stop switch"):
        timed.make(NOW + 1)


@pytest.mark.parametrize("late_s", [-3600.0, -6.0, 26.0, 86_400.0])
def test_r04_a_permit_that_is_old_or_whose_clock_was_set_makes_none(
    meter: MeterConfig, late_s: float
) -> None:
    command = sending(meter, Permit(NOW))
    [timed] = command.timed(NOW)
    with pytest.raises(NotSentError):
        timed.make(NOW + late_s)


def test_r35_supply_comes_back_by_the_button_unless_the_contract_says_else(
    meter: MeterConfig,
) -> None:
    assert close_action(meter, direct=False) is Action.ALLOW_CLOSE
    assert close_action(meter, direct=True) is Action.CLOSE
    assert needs_clock(meter, Action.ALLOW_CLOSE)
