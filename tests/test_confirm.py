"""Which registers are believed, which are read again, which are dropped."""

from dataclasses import replace

from gateway.acquisition.confirm import (
    AGAIN_MAX,
    Confirmation,
    Limits,
    Verdict,
    imbalance,
    limits_of,
    limits_of_all,
)
from gateway.config import MeterConfig
from gateway.events import PortSettings
from protocols.profile import SHIPPED, load

IMPORT = "energy_active_import"
RATES = tuple(f"{IMPORT}_t{n}" for n in (1, 2))
LIMITS = Limits(10, dict.fromkeys((IMPORT, *RATES), 10), {IMPORT: RATES})
HOUR_S = 3600.0


def confirmation(known: int | None = None, at: float = 0.0) -> Confirmation:
    found = Confirmation({"M": LIMITS})
    if known is not None:
        found.remember("M", {IMPORT: known}, at)
    return found


def verdict(found: Confirmation, amount: int, at: float) -> Verdict:
    return found.judge("M", "00010000", {IMPORT: amount}, at)[0]


def meter() -> MeterConfig:
    profile = load(SHIPPED / "dlt645-2007-single-phase.toml")
    return MeterConfig(
        asset="M",
        line="east",
        address="000000000001",
        profile=profile,
        points=profile.default_points,
        period_s=900,
        settings=PortSettings(),
        timeout_s=1.0,
        guard_s=0.05,
        max_kw=23,
    )


def test_what_fits_is_accepted_and_costs_nothing() -> None:
    found = confirmation(50_000)

    assert verdict(found, 50_000, HOUR_S) is Verdict.ACCEPT
    assert verdict(found, 60_000, 2 * HOUR_S) is Verdict.ACCEPT
    assert not found.again["M"]


def test_the_first_reading_takes_two() -> None:
    found = confirmation()

    assert verdict(found, 50_000, 0) is Verdict.AGAIN
    assert verdict(found, 50_000, 1) is Verdict.ACCEPT
    assert (found.again["M"], found.dropped["M"]) == (1, 0)


def test_a_wrong_reading_is_dropped_when_the_second_one_fits() -> None:
    for wrong in (40_000, 900_000):
        found = confirmation(50_000)

        assert verdict(found, wrong, HOUR_S) is Verdict.AGAIN
        assert verdict(found, 50_100, HOUR_S + 1) is Verdict.ACCEPT
        assert (found.again["M"], found.dropped["M"]) == (1, 1)


def test_what_was_read_twice_alike_is_accepted_with_a_mark() -> None:
    found = confirmation(50_000)

    assert verdict(found, 20, HOUR_S) is Verdict.AGAIN
    last, reason = found.judge("M", "00010000", {IMPORT: 30}, HOUR_S + 1)

    assert last is Verdict.SUSPECT
    assert reason == "energy_active_import fell from 50000 to 30"
    # From then on the new register is what is known.
    assert verdict(found, 40, HOUR_S + 900) is Verdict.ACCEPT


def test_readings_that_all_contradict_each_other_end() -> None:
    found = confirmation(50_000)
    wild = [1_000_000_000 - 100_000_000 * n for n in range(AGAIN_MAX + 1)]
    verdicts = [verdict(found, amount, HOUR_S + n) for n, amount in enumerate(wild)]

    assert verdicts == [Verdict.AGAIN] * AGAIN_MAX + [Verdict.WITHHOLD]
    assert found.dropped["M"] == AGAIN_MAX
    assert verdict(found, 50_000, 2 * HOUR_S) is Verdict.ACCEPT


def test_growth_is_limited_by_power_and_time() -> None:
    found = confirmation(50_000)
    # 10 kW for an hour and a tenth more, and two steps.
    assert verdict(found, 50_000 + 11_000 + 20, HOUR_S) is Verdict.ACCEPT
    assert verdict(found, 61_020 + 11_000 + 40, 2 * HOUR_S) is Verdict.AGAIN


def test_readings_that_arrive_out_of_order_are_compared_in_the_order_they_were_taken() -> None:
    found = confirmation(50_000, at=100.0)

    assert verdict(found, 49_990, 90.0) is Verdict.ACCEPT
    assert verdict(found, 50_010, 90.0) is Verdict.AGAIN


def test_rates_sum_up_to_their_total() -> None:
    good = {IMPORT: 3_000, RATES[0]: 1_000, RATES[1]: 1_980}

    assert not imbalance(good, {}, LIMITS)
    assert "not the sum" in imbalance({**good, IMPORT: 3_100}, {}, LIMITS)
    # A rate that was not read proves nothing.
    assert not imbalance({IMPORT: 3_100, RATES[0]: 1_000}, {}, LIMITS)


def test_a_meter_that_always_miscounts_is_asked_twice_once() -> None:
    found = confirmation()
    off = {IMPORT: 3_000, RATES[0]: 1_000, RATES[1]: 1_500}

    assert found.judge("M", "0001FF00", off, 0)[0] is Verdict.AGAIN
    assert found.judge("M", "0001FF00", off, 1)[0] is Verdict.SUSPECT
    assert found.judge("M", "0001FF00", {**off, IMPORT: 3_010}, 2)[0] is Verdict.ACCEPT
    assert found.again["M"] == 1


def test_the_limits_of_a_meter_come_from_its_profile() -> None:
    limits = limits_of(meter())

    assert limits.steps[IMPORT] == 10
    assert limits.rates[IMPORT] == tuple(f"{IMPORT}_t{n}" for n in (1, 2, 3, 4))
    freeze = f"{IMPORT}_daily_freeze"
    assert limits.rates[freeze] == tuple(f"{IMPORT}_t{n}_daily_freeze" for n in (1, 2, 3, 4))
    assert "voltage_l1n" not in limits.steps
    assert limits.growth(IMPORT, 3599.0) == 25_300 + 20


def test_a_register_of_the_past_may_contradict_what_is_known() -> None:
    confirmation = Confirmation({"A1": LIMITS})
    confirmation.remember("A1", {"energy_active_import": 100_000}, at=7200.0)

    assert confirmation.contradiction("A1", {"energy_active_import": 99_000}, 3600.0) == ""
    fell = confirmation.contradiction("A1", {"energy_active_import": 100_001}, 3600.0)
    assert "fell from 100001 to 100000" in fell
    grew = confirmation.contradiction("A1", {"energy_active_import": 1}, 7190.0)
    assert "grew from 1 to 100000 in 10 s" in grew
    assert confirmation.contradiction("A1", {"energy_active_export": 5}, 0.0) == ""


def test_meters_of_one_kind_share_their_limits() -> None:
    one = meter()

    limits = limits_of_all([one, replace(one, asset="N"), replace(one, asset="O", max_kw=24)])

    assert limits["M"] is limits["N"]
    assert limits["O"].max_kw == 24
