"""The vocabulary: what a name means, and how unknown names and units are answered."""

import pytest

from protocols.points import exponent, point, suggest, units


def test_a_name_says_its_unit_resolution_and_meaning() -> None:
    energy = point("energy_active_import_t2_daily_freeze")

    assert energy is not None
    assert (energy.unit, energy.decimals, energy.cumulative) == ("kWh", 3, True)
    assert energy.description == (
        "active energy, imported, tariff 2, at the last daily freeze (日冻结)"
    )


@pytest.mark.parametrize(
    ("name", "unit", "decimals"),
    [
        ("energy_reactive_q3", "kvarh", 3),
        ("power_active_l3", "W", 2),
        ("power_active_import_t4_demand_max", "W", 2),
        ("voltage_l3l1", "V", 3),
        ("current_n", "A", 4),
        ("power_factor_l1", "", 4),
        ("frequency", "Hz", 3),
        ("balance", "yuan", 2),
        ("tariff_price_step3", "yuan/kWh", 4),
        ("purchase_count", "", 0),
    ],
)
def test_units_and_resolutions(name: str, unit: str, decimals: int) -> None:
    found = point(name)

    assert found is not None
    assert (found.unit, found.decimals, found.text) == (unit, decimals, False)


def test_a_register_that_may_fall_is_not_cumulative() -> None:
    falling = ("energy_active_total", "energy_active_import_resettable", "balance", "power_active")

    assert [p.cumulative for name in falling if (p := point(name))] == [False] * 4


def test_transformers_scale_what_is_measured_behind_them() -> None:
    scaled = {
        name: (p.ct, p.pt)
        for name in ("energy_active_import", "current_n", "voltage_l1n", "frequency", "balance")
        if (p := point(name))
    }

    assert scaled == {
        "energy_active_import": (True, True),
        "current_n": (True, False),
        "voltage_l1n": (False, True),
        "frequency": (False, False),
        "balance": (False, False),
    }


@pytest.mark.parametrize(
    "name", ["", "energy", "voltage_l4n", "energy_active_import_t0", "energy_active_import_t64",
             "Voltage_l1n", "voltage_l1n ", "energy_active", "power_active_l1_t1"]
)  # fmt: skip
def test_unknown_names_are_none(name: str) -> None:
    assert point(name) is None


def test_a_mistyped_name_gets_the_right_one_first() -> None:
    assert suggest("volatge_l1n")[0] == "voltage_l1n"
    assert suggest("energy_import_active")[0] == "energy_active_import"
    assert suggest("voltage_l9", known=("voltage_l1n", "current_l1")) == ("voltage_l1n",)
    assert suggest("xyzzy") == ()


def test_units_of_one_kind_convert_by_powers_of_ten() -> None:
    assert exponent("kW", "W") == 3
    assert exponent("Wh", "kWh") == -3
    assert exponent("fen", "yuan") == -2
    assert exponent("", "") == 0
    assert exponent("kW", "kWh") is None
    assert exponent("furlong", "furlong") is None
    assert units("V") == ("mV", "V", "kV", "MV")
