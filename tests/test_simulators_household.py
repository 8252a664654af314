"""A simulated customer: registers are the integral of the power, and everything fits together."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.household import Demand, Household, in_steps
from simulators.load import TARIFF_OF_HOUR, Kind

NOON = 1_795_320_000.0  # 2026-11-22 12:00 in Beijing
DAY_S = 86_400
HOUSES = {
    "home": Household("a"),
    "shop": Household("b", kind=Kind.SHOP, phases=3, daily_wh=40_000),
    "solar": Household("c", kind=Kind.SOLAR, phases=3, daily_wh=60_000),
}
houses = st.sampled_from(sorted(HOUSES)).map(HOUSES.__getitem__)
times = st.floats(NOON - 400 * DAY_S, NOON + 400 * DAY_S)


@given(house=houses, at=times, later_s=st.floats(0, 3 * DAY_S))
def test_a_register_never_falls(house: Household, at: float, later_s: float) -> None:
    before, after = house.energies(at), house.energies(at + later_s)

    assert before.keys() == after.keys()
    assert all(after[point] >= before[point] for point in before)


@given(house=houses, minute=st.integers(0, 1439), second=st.integers(1, 59))
def test_a_register_is_the_integral_of_the_power(
    house: Household, minute: int, second: int
) -> None:
    start = NOON + 60 * minute
    grown = (
        house.energies(start + second)["energy_active_total"]
        - house.energies(start)["energy_active_total"]
    )

    power_mw = abs(house.moment(start)["power_active"])
    # mW x s / 3600 = mWh; every phase and tariff cuts off less than one at either end.
    assert abs(grown - power_mw * second // 3600) <= 8


@given(house=houses, at=times)
def test_tariffs_and_phases_add_up_to_the_total(house: Household, at: float) -> None:
    energies = house.energies(at)
    way = "export" if house.kind is Kind.SOLAR else "import"
    total = energies[f"energy_active_{way}"]

    assert sum(energies[f"energy_active_{way}_t{n}"] for n in (1, 2, 3, 4)) == total
    phases = range(1, house.phases + 1)
    assert sum(energies[f"energy_active_{way}_l{n}"] for n in phases) == total


def test_only_the_tariff_in_force_counts() -> None:
    house = HOUSES["home"]
    before, after = house.energies(NOON), house.energies(NOON + 1800)

    counting = {
        n
        for n in (1, 2, 3, 4)
        if after[f"energy_active_import_t{n}"] > before[f"energy_active_import_t{n}"]
    }
    assert counting == {TARIFF_OF_HOUR[12]}


@given(house=houses, at=times)
def test_a_phase_is_consistent_in_itself(house: Household, at: float) -> None:
    now = house.moment(at)
    for n in range(1, house.phases + 1):
        active, apparent = abs(now[f"power_active_l{n}"]), now[f"power_apparent_l{n}"]
        volts_by_amps = now[f"voltage_l{n}n"] * abs(now[f"current_l{n}"]) // 1000
        assert apparent - volts_by_amps <= now[f"voltage_l{n}n"] // 1000 + 1
        assert volts_by_amps <= apparent
        squares = active**2 + now[f"power_reactive_l{n}"] ** 2
        assert apparent**2 <= squares < (apparent + 1) ** 2
        assert 198_000 < now[f"voltage_l{n}n"] < 236_000
    assert 49_900 < now["frequency"] < 50_100


def test_a_plant_feeds_and_draws_nothing() -> None:
    plant = HOUSES["solar"]

    assert plant.moment(NOON)["power_active"] < -1_000_000
    assert plant.moment(NOON + 12 * 3600)["power_active"] == 0
    assert plant.energies(NOON)["energy_active_import"] == 0


def test_the_seed_makes_the_customer() -> None:
    assert Household("a").truth(NOON) == HOUSES["home"].truth(NOON)
    assert Household("z").truth(NOON) != HOUSES["home"].truth(NOON)


def test_a_day_draws_what_was_asked_for_within_a_quarter() -> None:
    house = HOUSES["home"]
    midnight = house.midnight(NOON, 1)
    assert midnight is not None
    for back in range(1, 60):
        start, end = house.midnight(NOON, back + 1), house.midnight(NOON, back)
        assert start is not None
        assert end is not None
        drawn_mwh = (
            house.energies(end)["energy_active_import"]
            - house.energies(start)["energy_active_import"]
        )
        assert 0.74 * 9_000_000 < drawn_mwh < 1.26 * 9_000_000


def test_midnights_and_settlements_are_local() -> None:
    house = HOUSES["home"]
    midnight, settlement = house.midnight(NOON, 1), house.settlement(NOON, 1)
    last_year = house.settlement(NOON, 11)

    assert midnight == NOON - 12 * 3600
    assert settlement is not None
    assert last_year is not None
    assert f"{house.local(settlement):%Y-%m-%d %H:%M}" == "2026-11-01 00:00"
    assert f"{house.local(last_year):%Y-%m-%d %H:%M}" == "2026-01-01 00:00"


def test_nothing_was_counted_before_the_meter_was_installed() -> None:
    house = Household("new", installed=date(2026, 11, 20))

    assert [house.midnight(NOON, back) is None for back in (1, 2, 3, 4)] == [False] * 3 + [True]
    assert house.settlement(NOON, 1) is None
    assert house.energies(0.0) == house.energies(NOON - 10 * DAY_S)


@pytest.mark.parametrize("name", ["home", "shop"])
def test_the_highest_demand_is_found_again_by_stepping(name: str) -> None:
    house = HOUSES[name]
    first = house.settlement(NOON, 1)
    assert first is not None
    expected = Demand()
    for start in range(int(first), int(NOON), 900):
        grown = (
            house.energies(start + 900)["energy_active_import"]
            - house.energies(start)["energy_active_import"]
        )
        if grown * 4 > expected.power_mw + 100:
            expected = Demand(grown * 4, start + 900)

    found = house.demands(NOON)[0]
    assert abs(found.power_mw - expected.power_mw) <= 100
    assert found.at == expected.at


@given(at=times)
def test_the_balance_is_topped_up_when_it_is_used_up(at: float) -> None:
    money = HOUSES["home"].money(at)

    assert 0 < money["balance"] <= money["purchase_amount_last"]


@pytest.mark.parametrize(
    ("point", "amount", "unit", "decimals", "shown"),
    [
        ("energy_active_import", 12_349_999, "kWh", 2, 1234),  # a register shows whole steps
        ("energy_active_import", 12_349_999, "kWh", 3, 12349),
        ("power_active", 1_234_560, "kW", 4, 12346),
        ("power_active", -1_234_560, "W", 1, -12346),
        ("current_l1", 1_234, "A", 4, 12340),
        ("voltage_l1n", 219_950, "V", 1, 2200),
        ("power_factor", 987, "", 3, 987),
    ],
)
def test_what_a_display_shows(
    point: str, amount: int, unit: str, decimals: int, shown: int
) -> None:
    assert in_steps(point, amount, unit, decimals) == shown
