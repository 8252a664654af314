"""Odd readings: each row of the journal contract's table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.validity import (
    Flag,
    Judged,
    Kept,
    Meter,
    Odd,
    Shown,
    Usual,
    judge,
)

KWH = 1000
METER = Meter(capacity_wh=1_000_000 * KWH, step_wh=10, max_kw=20)
USUAL = Usual(jump_times=10, jump_floor_wh=50 * KWH, days_max=62)
TOTAL = "energy_active_import"


def rates(*kwh: str) -> dict[str, int]:
    wh = [round(float(one) * KWH) for one in kwh]
    return {TOTAL: sum(wh)} | {f"{TOTAL}_t{n}": one for n, one in enumerate(wh, 1)}


def kept(found: Judged | Kept) -> Odd:
    assert isinstance(found, Kept), found
    assert found.text
    return found.odd


def judged(found: Judged | Kept) -> Judged:
    assert isinstance(found, Judged), found
    return found


def test_what_was_used_is_the_difference_of_each_register() -> None:
    found = judge(rates("10", "20"), Shown(registers=rates("11.5", "22")), 1, METER, USUAL, 4 * KWH)
    assert judged(found).used == {TOTAL: 3500, f"{TOTAL}_t1": 1500, f"{TOTAL}_t2": 2000}
    assert judged(found).flags == frozenset()


def test_a_register_that_passes_its_last_digit_goes_on_from_zero() -> None:
    before, after = {TOTAL: 999_998_500}, Shown(registers={TOTAL: 3_200})
    found = judged(judge(before, after, 1, METER, USUAL, None))
    assert found.used == {TOTAL: 4_700}  # 4.70 kWh: vector MR-01
    assert found.flags == {Flag.ROLLOVER}


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(500_000 * KWH, id="far from the top"),
        pytest.param(12 * KWH, id="just above zero"),
        pytest.param(999_000 * KWH, id="near the top, but it would have gone far beyond zero"),
    ],
)
def test_a_register_that_fell_is_never_credited(before: int) -> None:
    after = Shown(registers={TOTAL: 11 * KWH})
    assert kept(judge({TOTAL: before}, after, 1, METER, USUAL, None)) is Odd.NEGATIVE


def test_without_a_known_capacity_nothing_rolls_over() -> None:
    unknown = Meter(capacity_wh=0, step_wh=10, max_kw=20)
    after = Shown(registers={TOTAL: 3_200})
    assert kept(judge({TOTAL: 999_998_500}, after, 1, unknown, USUAL, None)) is Odd.NEGATIVE


def test_more_than_the_connection_can_carry_is_impossible() -> None:
    most = 20 * 24 * KWH
    ok = Shown(registers={TOTAL: most})
    assert judged(judge({TOTAL: 0}, ok, 1, METER, USUAL, None)).used == {TOTAL: most}
    more = Shown(registers={TOTAL: most + 1})
    assert kept(judge({TOTAL: 0}, more, 1, METER, USUAL, None)) is Odd.IMPOSSIBLE
    assert judged(judge({TOTAL: 0}, more, 2, METER, USUAL, None)).flags == {Flag.SPAN}


@pytest.mark.parametrize(
    ("used_kwh", "usual_kwh", "odd"),
    [
        (100, 10, False),
        (101, 10, True),
        (50, 1, False),  # below the floor: somebody came home
        (51, 1, True),
        (400, None, False),  # too young to have a usual day
    ],
)
def test_far_more_than_usual_is_a_jump(used_kwh: int, usual_kwh: int | None, odd: bool) -> None:
    usual = None if usual_kwh is None else usual_kwh * KWH
    found = judge({TOTAL: 0}, Shown(registers={TOTAL: used_kwh * KWH}), 1, METER, USUAL, usual)
    assert isinstance(found, Kept) is odd
    if odd:
        assert kept(found) is Odd.JUMP


def test_far_less_than_usual_is_charged_and_told() -> None:
    found = judge({TOTAL: 0}, Shown(registers={TOTAL: 999}), 1, METER, USUAL, 10 * KWH)
    assert judged(found).flags == {Flag.DROP}


def test_nothing_counted_while_a_load_was_seen_is_a_stuck_register() -> None:
    still = Shown(registers={TOTAL: 5}, load_seen=True)
    assert judged(judge({TOTAL: 5}, still, 1, METER, USUAL, None)).flags == {Flag.STUCK}
    away = Shown(registers={TOTAL: 5})
    assert judged(judge({TOTAL: 5}, away, 1, METER, USUAL, None)).flags == frozenset()


def test_rates_must_sum_up_to_the_total_but_for_a_step_each() -> None:
    before = rates("10", "20")
    off = rates("11", "21") | {TOTAL: 32_000 + 30}
    assert judged(judge(before, Shown(registers=off), 1, METER, USUAL, None))
    off[TOTAL] += 1
    assert kept(judge(before, Shown(registers=off), 1, METER, USUAL, None)) is Odd.RATES


def test_an_old_meter_whose_rates_never_summed_up_is_not_odd() -> None:
    before = rates("10", "20") | {TOTAL: 35 * KWH}
    after = rates("11", "21") | {TOTAL: 37 * KWH}
    assert judged(judge(before, Shown(registers=after), 1, METER, USUAL, None)).used[TOTAL] == 2000


def test_a_register_may_not_go_missing() -> None:
    assert kept(judge(rates("1"), Shown(registers={TOTAL: 2000}), 1, METER, USUAL, None)) is (
        Odd.MISSING
    )


@pytest.mark.parametrize(
    ("offset_s", "flags", "odd"),
    [
        (300, set(), None),
        (-301, {Flag.CLOCK_OFF}, None),
        (86_400, {Flag.CLOCK_OFF}, None),
        (-86_401, set(), Odd.CLOCK),
    ],
)
def test_a_wrong_clock_of_the_meter(offset_s: int, flags: set[Flag], odd: Odd | None) -> None:
    found = judge(
        {TOTAL: 0}, Shown(registers={TOTAL: 5}, clock_offset_s=offset_s), 1, METER, USUAL, None
    )
    if odd:
        assert kept(found) is odd
    else:
        assert judged(found).flags == flags


def test_a_long_stretch_is_for_a_person_who_may_confirm_it() -> None:
    after = {TOTAL: 700 * KWH}
    assert kept(judge({TOTAL: 0}, Shown(registers=after), 63, METER, USUAL, None)) is Odd.LONG
    ruled = Shown(registers=after, ruled=True)
    assert judged(judge({TOTAL: 0}, ruled, 63, METER, USUAL, None)).flags == {Flag.RULED, Flag.SPAN}


def test_even_a_person_cannot_make_a_register_run_backwards() -> None:
    ruled = Shown(registers={TOTAL: 1}, ruled=True)
    assert kept(judge({TOTAL: 5 * KWH}, ruled, 1, METER, USUAL, None)) is Odd.NEGATIVE


@given(
    st.dictionaries(
        st.sampled_from([TOTAL, f"{TOTAL}_t1", f"{TOTAL}_t2", "energy_active_export"]),
        st.tuples(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1)),
        min_size=1,
    ),
    st.integers(1, 90),
    st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_whatever_is_shown_nothing_used_is_negative_or_beyond_what_is_possible(
    shown: dict[str, tuple[int, int]], days: int, usual: int | None
) -> None:
    before = {name: pair[0] for name, pair in shown.items()}
    after = Shown(registers={name: pair[1] for name, pair in shown.items()})
    found = judge(before, after, days, METER, USUAL, usual)
    if isinstance(found, Judged):
        for name, used in found.used.items():
            assert 0 <= used <= METER.max_kw * 24 * KWH * days
            assert (before[name] + used) % METER.capacity_wh == after.registers[name]
