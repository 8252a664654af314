"""Bills: what each component does, and the laws that hold for all of them."""

from datetime import date
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.prepayment.bill import Bill, bill, bill_by_days
from gateway.prepayment.money import FEN_E4, YUAN_E4, parse_yuan
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.tariff_reader import parse
from gateway.prepayment.usage import Usage, UsageError
from tests.tariffs import charge, component, make, table

CONFIG = Path(__file__).parent.parent / "config" / "tariffs"
YEAR = table(period="year", bounds=["2760", "4800"])
PRICES = ["0.538", "0.588", "0.838"]
EDGES_WH = (2_760_000, 4_800_000)
RATES = ["peak", "valley"]
BY_RATE = {"peak": ["0.617", "0.677", "0.977"], "valley": ["0.307", "0.337", "0.487"]}

TELESCOPIC = make(component("steps", mode="telescopic", prices=PRICES), steps=YEAR)
WHOLE = make(component("steps", mode="whole_usage", prices=PRICES), steps=YEAR)
PROPORTIONAL = make(
    component("step_tou", prices=BY_RATE, filling="proportional"), rates=RATES, steps=YEAR
)
PEAK_FIRST, VALLEY_FIRST = (
    make(
        component("step_tou", prices=BY_RATE, filling="in_order", order=order),
        rates=RATES,
        steps=YEAR,
    )
    for order in (["peak", "valley"], ["valley", "peak"])
)
energies = st.integers(0, 8_000_000)


def used(wh: int, before_wh: int = 0, filled: tuple[int, ...] = ()) -> Usage:
    return Usage(
        energy_wh={"total": wh},
        days=30,
        period_days=30,
        step_before_wh=before_wh,
        step_used_wh=filled,
    )


def by_rate(peak_wh: int, valley_wh: int, before_wh: int = 0) -> Usage:
    energy_wh = {"t1": peak_wh, "t2": valley_wh}
    return Usage(energy_wh=energy_wh, days=30, period_days=30, step_before_wh=before_wh)


def exact_e4(made: Bill) -> Fraction:
    return sum((Fraction(*line.exact) for line in made.lines), Fraction(0))


def amounts(made: Bill) -> dict[str, int]:
    return {line.component: line.amount_e4 for line in made.lines}


# Laws.


@given(wh=energies, more_wh=st.integers(0, 10_000), before_wh=energies)
def test_more_energy_never_costs_less(wh: int, more_wh: int, before_wh: int) -> None:
    less, more = (bill(TELESCOPIC, used(each, before_wh)) for each in (wh, wh + more_wh))

    assert less.total_e4 <= more.total_e4


def test_whole_usage_may_cost_less_for_more_where_a_price_falls() -> None:
    falling = make(
        component("steps", mode="whole_usage", prices=["1", "0.5"]),
        steps=table(period="month", bounds=["100"]),
    )

    assert bill(falling, used(100_001)).total_e4 < bill(falling, used(100_000)).total_e4


@given(parts=st.lists(st.integers(0, 2_000_000), min_size=1, max_size=8))
@pytest.mark.parametrize("tariff", [TELESCOPIC, WHOLE], ids=["telescopic", "whole usage"])
def test_segments_of_a_step_period_add_up_to_the_whole(tariff: Tariff, parts: list[int]) -> None:
    apart: Fraction = Fraction(0)
    filled: tuple[int, ...] = (0, 0, 0)
    for wh in parts:
        made = bill(tariff, used(wh, filled=filled))
        apart += exact_e4(made)
        filled = tuple(old + new for old, new in zip(filled, made.step_wh, strict=True))

    whole = bill(tariff, used(sum(parts)))
    assert apart == exact_e4(whole)
    assert filled == whole.step_wh


def test_whole_usage_forgets_nothing_of_what_was_before() -> None:
    alone = exact_e4(bill(WHOLE, used(2_000_000))) * 2

    assert alone != exact_e4(bill(WHOLE, used(4_000_000)))


@given(edge=st.sampled_from(EDGES_WH), off=st.integers(-1, 1))
def test_one_watt_hour_at_an_edge(edge: int, off: int) -> None:
    wh = edge + off
    step = (off > 0) + (edge == EDGES_WH[1])

    dearer = exact_e4(bill(TELESCOPIC, used(wh + 1))) - exact_e4(bill(TELESCOPIC, used(wh)))
    beyond = sum(wh + 1 > bound for bound in EDGES_WH)
    assert dearer == Fraction(PRICES[beyond]) * YUAN_E4 / 1000
    assert beyond in {step, step + 1}

    repriced = exact_e4(bill(WHOLE, used(wh)))
    assert repriced == wh * Fraction(PRICES[step]) * YUAN_E4 / 1000


@given(wh=energies, before_wh=energies)
def test_before_as_one_sum_or_by_step_is_the_same(wh: int, before_wh: int) -> None:
    filled = bill(TELESCOPIC, used(before_wh)).step_wh

    assert bill(TELESCOPIC, used(wh, before_wh)).lines == (
        bill(TELESCOPIC, used(wh, filled=filled)).lines
    )


@given(peak_wh=energies, valley_wh=energies, before_wh=energies)
def test_a_filling_rule_moves_money_but_no_energy(
    peak_wh: int, valley_wh: int, before_wh: int
) -> None:
    bills = [
        bill(tariff, by_rate(peak_wh, valley_wh, before_wh))
        for tariff in (PEAK_FIRST, PROPORTIONAL, VALLEY_FIRST)
    ]

    # A step adds more to the peak price, so the more peak is filled first, the cheaper.
    charges = [exact_e4(made) for made in bills]
    assert charges == sorted(charges)
    assert len({made.step_wh for made in bills}) == 1
    assert sum(bills[0].step_wh) == peak_wh + valley_wh


@given(peak_wh=energies, valley_wh=energies, before_wh=energies)
def test_filling_in_order_is_what_an_oracle_does_watt_hour_by_watt_hour(
    peak_wh: int, valley_wh: int, before_wh: int
) -> None:
    def cost(rate: str, first: int, last: int) -> Fraction:
        """Of the energy of a rate that fills the year from ``first`` to ``last``."""
        bounds = [0, *EDGES_WH, max(last, EDGES_WH[1])]
        parts = [max(0, min(last, upper) - max(first, lower)) for lower, upper in pairwise(bounds)]
        priced = zip(parts, BY_RATE[rate], strict=True)
        return sum((wh * Fraction(price) * 10 for wh, price in priced), Fraction(0))

    peak_end = before_wh + peak_wh
    expected = cost("peak", before_wh, peak_end)
    expected += cost("valley", peak_end, peak_end + valley_wh)

    assert exact_e4(bill(PEAK_FIRST, by_rate(peak_wh, valley_wh, before_wh))) == expected


@given(daily=st.lists(st.integers(0, 20_000), min_size=1, max_size=60))
def test_daily_differences_add_up_to_the_bill(daily: list[int]) -> None:
    total_wh = before_e4 = posted_e4 = 0
    for wh in daily:
        total_wh += wh
        now_e4 = bill(TELESCOPIC, used(total_wh)).total_e4
        # No day is off by more than the rounding of the two bills it lies between.
        exact = exact_e4(bill(TELESCOPIC, used(total_wh))) - exact_e4(
            bill(TELESCOPIC, used(total_wh - wh))
        )
        assert abs(now_e4 - before_e4 - exact) <= FEN_E4
        posted_e4 += now_e4 - before_e4
        before_e4 = now_e4

    assert posted_e4 == bill(TELESCOPIC, used(sum(daily))).total_e4


@given(wh=energies, before_wh=energies)
def test_lines_and_rounding_are_the_total(wh: int, before_wh: int) -> None:
    made = bill(TELESCOPIC, used(wh, before_wh))

    assert sum(made.by_category().values()) + made.rounding_e4 == made.total_e4
    assert made.total_e4 % FEN_E4 == 0
    assert abs(made.total_e4 - exact_e4(made)) <= FEN_E4 // 2


@given(wh=energies, days=st.integers(1, 30))
def test_the_same_prices_by_days_are_the_same_bill(wh: int, days: int) -> None:
    blended = bill_by_days([(TELESCOPIC, days), (TELESCOPIC, 31 - days)], used(wh))

    assert exact_e4(blended) == exact_e4(bill(TELESCOPIC, used(wh)))


def test_block_edges_are_not_split_by_days() -> None:
    # KEPCO's own example: 350 kWh, 21 days of old and 10 of new prices; 45,648 won.
    old, new = (
        make(
            component("steps", mode="telescopic", prices=prices),
            steps=table(period="settlement", bounds=["200", "400"]),
            more='[rounding]\ntotal = { unit = "1", mode = "floor" }',
        )
        for prices in (["88.3", "182.9", "275.6"], ["93.2", "187.8", "280.5"])
    )

    assert bill_by_days([(old, 21), (new, 10)], used(350_000)).total_e4 == 45_648 * YUAN_E4


def test_versions_of_other_components_are_not_blended() -> None:
    flat = make(component("flat", price="1"))

    with pytest.raises(UsageError, match="different components"):
        bill_by_days([(flat, 21), (TELESCOPIC, 10)], used(1))


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.stem)
def test_nothing_used_on_no_day_costs_nothing(path: Path) -> None:
    tariff = parse(path.read_text())
    usage = Usage(
        energy_wh={"total": 0} | dict.fromkeys(tariff.registers.values(), 0),
        demand_w=0,
        contract_w=1_000_000,
        days=0,
        period_days=30,
        day=date(2026, 1, 1),
    )

    assert bill(tariff, usage).total_e4 == 0


# Limits that change, and parts of limits.


def test_a_higher_limit_in_mid_year_tops_up_what_is_left() -> None:
    changed = make(
        component("steps", mode="telescopic", prices=PRICES),
        steps=YEAR + '[[steps.change]]\nsince = 2026-07-01\nbounds = ["3360", "5400"]\n',
    )
    first = charge(changed, kwh="2900", day="2026-06-30")
    assert first.step_wh == (2_760_000, 140_000, 0)

    filled = ["2760", "140", "0"]
    second = charge(changed, kwh="700", day="2026-07-31", step_used_kwh=filled)

    # 600 kWh more in the first step, though 140 of the second are used already.
    assert second.step_wh == (600_000, 100_000, 0)


def test_limits_grow_with_the_days_of_the_bill() -> None:
    # Sri Lanka: blocks of 30, 60, 90, 120 and 180 kWh for 30 days.
    tariff = make(
        component("steps", mode="telescopic", prices=["1", "2", "3", "4", "5", "6"]),
        steps=table(period="settlement", bounds=["30", "60", "90", "120", "180"], scale_days=30),
    )

    filled = charge(tariff, kwh="200", period_days=31).step_wh
    assert filled == (31_000, 31_000, 31_000, 31_000, 62_000, 14_000)


def test_a_table_by_total_grows_with_the_days_too() -> None:
    tariff = make(
        component("by_total", table=[{"up_to": "60", "prices": ["1"]}, {"prices": ["2"]}]),
        steps=table(period="settlement", bounds=["60"], scale_days=30),
    )

    assert charge(tariff, kwh="62", period_days=31).total_e4 == 62 * YUAN_E4
    assert charge(tariff, kwh="62", period_days=30).total_e4 == 124 * YUAN_E4


# Components.


def test_free_energy_is_for_the_first_of_a_period() -> None:
    tariff = make(
        component("flat", price="0.5"),
        component("per_kwh", id="free", category="adjustment", price="-0.5", first_kwh="15"),
    )

    assert charge(tariff, kwh="10").total_e4 == 0
    assert charge(tariff, kwh="20").total_e4 == parse_yuan("2.50")
    assert charge(tariff, kwh="20", days=10, period_days=30).total_e4 == parse_yuan("7.50")


def test_losses_are_added_to_what_is_priced() -> None:
    tariff = make(
        component("tou", prices={"peak": "1", "flat": "0.5"}),
        rates=["peak", "flat"],
        more='[[loss]]\npercent = "2.5"\n[[loss]]\nkwh = "304"\nrate = "flat"\ndays_basis = 30\n',
    )
    made = charge(tariff, kwh={"peak": "1000", "flat": "2000"}, days=20, period_days=30)

    # 1025 x 1 + (2050 + 203) x 0.5
    assert made.total_e4 == parse_yuan("2151.50")
    assert [line.quantity for line in made.lines[:2]] == [75_000, 203_000]


def test_reactive_losses_change_the_power_factor() -> None:
    parts = component("flat", price="1"), component("power_factor", standard="0.90", of=["flat"])
    without = make(*parts)
    lossy = make(*parts, more='[[loss]]\nkwh = "0"\nkvarh = "100"\n')

    assert charge(without, kwh="100", kvarh="0").total_e4 == parse_yuan("99.25")
    assert charge(lossy, kwh="100", kvarh="0").total_e4 == parse_yuan("109.50")


def test_no_energy_has_no_power_factor() -> None:
    tariff = make(
        component("fixed", amount="100"),
        component("power_factor", standard="0.90", of=["fixed"]),
    )

    assert charge(tariff, kwh="0", kvarh="500").total_e4 == parse_yuan("100")


@pytest.mark.parametrize(
    ("rule", "measured", "billed"),
    [
        (rule, kw, billed)
        for rule, row in {
            "band_95_105": (38_000, 40_000, 42_000, 48_000),
            "contract_105": (40_000, 40_000, 40_000, 46_000),
            "actual": (36_000, 40_000, 42_000, 44_000),
        }.items()
        for kw, billed in zip((900, 1000, 1050, 1100), row, strict=True)
    ],
)
def test_demand_rules(rule: str, measured: int, billed: int) -> None:
    tariff = make(component("demand", price="40", rule=rule))

    made = charge(tariff, kwh="0", demand_kw=measured, contract_kw="1000")
    assert made.total_e4 == billed * YUAN_E4


def test_a_suspended_transformer_costs_nothing_for_its_days() -> None:
    tariff = make(component("capacity", price="10", days_basis=30))
    parts = [{"kva": "400", "days": 10}, {"kva": "0", "days": 15}, {"kva": "400", "days": 6}]

    made = charge(tariff, kwh="0", capacity=parts, days=31, period_days=31)
    # A whole month counts 30 days, however many it has.
    assert made.total_e4 == 400 * 10 * 15 * YUAN_E4 // 30
    assert [line.share for line in made.lines] == [(10, 30), (15, 30), (5, 30)]


@given(days=st.integers(1, 31), basis=st.sampled_from([None, 30]))
def test_a_price_per_period_accrues_day_by_day(days: int, basis: int | None) -> None:
    keys = {} if basis is None else {"days_basis": basis}
    tariff = make(component("fixed", amount="31", **keys))
    bills = [charge(tariff, kwh="0", days=n, period_days=31).total_e4 for n in (days - 1, days)]

    assert bills[0] <= bills[1] <= 31 * YUAN_E4
    assert (bills[1] == 31 * YUAN_E4) == (days >= (basis or 31))


def test_no_use_pays_half_and_little_use_the_minimum() -> None:
    tariff = make(
        component("fixed", amount="286", zero_use="143"),
        component("minimum", amount="231.55"),
        more='[rounding]\ntotal = { unit = "1", mode = "floor" }',
    )

    assert charge(tariff, kwh="0").total_e4 == 231 * YUAN_E4
    assert charge(tariff, kwh="1").total_e4 == 286 * YUAN_E4


@pytest.mark.parametrize(("mode", "tax_e4"), [("half_up", 989_600), ("truncate", 989_500)])
def test_a_components_rounding_goes_before_that_of_lines(mode: str, tax_e4: int) -> None:
    # As on a Thai bill (TH-01), which cuts the tax off where everything else is rounded.
    tariff = make(
        component("flat", price="1413.685"),
        component("percent", percent="7", of=["flat"], rounding={"unit": "0.01", "mode": mode}),
        more='[rounding]\nline = { unit = "0.01" }',
    )

    assert charge(tariff, kwh="1").lines[1].amount_e4 == tax_e4


def test_what_is_exported_is_paid_and_never_netted() -> None:
    tariff = make(
        component("flat", price="0.60"),
        component("export", prices={"peak": "0.45", "valley": "0.30"}),
        rates=["peak", "valley"],
    )
    made = charge(
        tariff,
        kwh={"peak": "100", "valley": "0"},
        reverse_kwh={"peak": "100", "valley": "10"},
    )

    assert made.by_category() == {"energy": parse_yuan("60"), "export": parse_yuan("-48")}
    with pytest.raises(UsageError, match="reverse energy t2: missing"):
        charge(tariff, kwh={"peak": "1", "valley": "0"}, reverse_kwh={"peak": "100"})


def test_seasonal_prices_hold_in_their_season() -> None:
    tariff = make(
        component("flat", id="summer", price="0.8", seasons=["07-01..08-31"]),
        component("flat", id="other", price="0.5", seasons=["09-01..06-30"]),
    )

    assert amounts(charge(tariff, kwh="10", day="2026-07-01")) == {"summer": parse_yuan("8")}
    assert amounts(charge(tariff, kwh="10", day="2026-06-30")) == {"other": parse_yuan("5")}
    with pytest.raises(UsageError, match="day: missing"):
        charge(tariff, kwh="10")


def test_a_formula_can_be_followed() -> None:
    made = charge(TELESCOPIC, kwh="300.005", step_before_kwh="2600")

    assert [made.formula(line) for line in made.lines] == [
        "160 kWh x 0.538 yuan/kWh = 86.08",
        "140.005 kWh x 0.588 yuan/kWh = 82.32294, rounded 82.3229",
    ]
    assert made.rounding_e4 == -29


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([component("capacity", price="30")], "capacity: missing"),
        ([component("demand", price="30", rule="contract_105")], "demand: missing"),
        ([component("tou", prices={"peak": "1"})], "energy t1: missing"),
    ],
)
def test_a_usage_that_lacks_something_is_refused(parts: list[str], told: str) -> None:
    tariff = make(*parts, rates=["peak"])

    with pytest.raises(UsageError, match=told):
        charge(tariff, kwh="10")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"energy_wh": {"total": -1}}, "energy total: found -1"),
        ({"energy_wh": {"total": 10**16}}, "energy total: found"),
        ({"days": 31}, "days: found 31 of 30"),
        ({"step_share": (13, 12)}, "step share"),
        ({"capacity": ((315_000, 29),)}, "cover 29 days of 30"),
        ({"capacity": ((-1, 30),)}, "write VA and days of 0 or more"),
        ({"step_used_wh": (-1,)}, "energy by step"),
    ],
)
def test_an_impossible_usage_is_refused(keys: dict[str, object], told: str) -> None:
    usual: dict[str, object] = {"energy_wh": {"total": 1}, "days": 30, "period_days": 30}

    with pytest.raises(UsageError, match=told):
        Usage(**{**usual, **keys})  # type: ignore[arg-type]


def test_a_bill_that_no_journal_holds_is_refused() -> None:
    dear = make(component("flat", price="9999999"))

    with pytest.raises(UsageError, match="larger than any amount"):
        bill(dear, used(10**15))


@given(wh=energies, before_wh=energies, share=st.integers(1, 12))
def test_a_smaller_share_of_the_limits_never_costs_less(
    wh: int, before_wh: int, share: int
) -> None:
    assume(share < 12)
    whole = used(wh, before_wh)
    part = Usage(
        energy_wh={"total": wh},
        days=30,
        period_days=30,
        step_before_wh=before_wh,
        step_share=(share, 12),
    )

    assert bill(TELESCOPIC, part).total_e4 >= bill(TELESCOPIC, whole).total_e4
