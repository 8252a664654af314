"""A customer without supply draws nothing, and what was not drawn never comes back."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from simulators.household import Household
from simulators.load import Kind

NOW = 1_795_320_000.0  # 2026-11-22 12:00 in China
DAY = 86_400.0


def cut(house: Household, *times: float) -> Household:
    for n, at in enumerate(times):
        house.supply.switch(at, on=bool(n % 2))
    return house


def test_a_register_stands_still_and_goes_on() -> None:
    house, other = Household("a"), Household("a")
    before = house.energies(NOW)
    cut(house, NOW, NOW + 7200)

    assert house.energies(NOW - 60) == other.energies(NOW - 60)
    assert house.energies(NOW) == house.energies(NOW + 3600) == house.energies(NOW + 7200) == before
    missed = other.energies(NOW + 7200)["energy_active_import"] - before["energy_active_import"]
    later = NOW + 30 * DAY
    assert missed > 0
    assert (
        other.energies(later)["energy_active_import"]
        - house.energies(later)["energy_active_import"]
        == missed
    )
    assert house.value("energy_active_import_daily_freeze", NOW + DAY) is not None


def test_without_supply_there_is_no_current_but_a_voltage() -> None:
    house = cut(Household("a", phases=3), NOW)
    moment = house.moment(NOW + 1)

    assert all(moment[name] == 0 for name in ("current_l1", "current_l3", "power_active"))
    assert moment["voltage_l1n"] > 200_000
    assert house.moment(NOW - 60)["power_active"] > 0
    house.supply.switch(NOW + 2, on=True)
    assert house.moment(NOW + 3)["power_active"] > 0


def test_the_demand_of_a_cut_window_is_what_was_drawn_in_it() -> None:
    whole, house = Household("a", daily_wh=40_000), Household("a", daily_wh=40_000)
    cut(house, NOW - 3600, NOW + DAY)

    assert house.moment(NOW)["power_active_demand"] == 0
    assert house.demands(NOW + DAY)[0].at <= NOW
    assert house.demands(NOW + DAY)[0].power_mw <= whole.demands(NOW + DAY)[0].power_mw
    half = cut(Household("a", daily_wh=40_000), NOW + 450, NOW + DAY)
    assert (
        0 < half.moment(NOW + 460)["power_active_demand"] < whole.moment(NOW)["power_active_demand"]
    )


def test_all_contacts_together_give_supply() -> None:
    house = Household("a")
    house.supply.switch(NOW, on=False)
    house.supply.switch(NOW + 10, on=False, contact="breaker")
    house.supply.switch(NOW + 20, on=True)

    assert not house.supply.on(NOW + 30)
    house.supply.switch(NOW + 40, on=True, contact="breaker")
    assert [house.supply.on(NOW + s) for s in (-1, 0, 39, 40)] == [True, False, False, True]


def test_a_clock_that_goes_back_makes_no_energy() -> None:
    house = cut(Household("a"), NOW, NOW + 600, NOW + 300, NOW + 200)

    amounts = [house.energies(NOW + s)["energy_active_import"] for s in range(-600, 1800, 60)]
    assert amounts == sorted(amounts)


@given(
    gaps=st.lists(st.integers(1, 3 * 86_400), max_size=8),
    kind=st.sampled_from([Kind.HOME, Kind.SOLAR]),
)
def test_registers_never_fall_and_agree_with_the_power(gaps: list[int], kind: Kind) -> None:
    house = Household("b", kind=kind)
    at = NOW
    times = [at := at + gap for gap in gaps]
    cut(house, *times)
    moments = sorted({NOW, *times, *(t + 30 for t in times), NOW + 5 * DAY})

    counted = [house.energies(t) for t in moments]
    for before, after in pairwise(counted):
        assert all(after[name] >= amount for name, amount in before.items())
    for (t, before), (u, after) in pairwise(zip(moments, counted, strict=True)):
        if not house.supply.on(t) and not house.supply.on(u - 0.001):
            assert after == before
    last = counted[-1]
    assert last["energy_active_total"] == sum(
        last[f"energy_active_total_t{n}"] for n in range(1, 5)
    )
