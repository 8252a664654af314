"""Charging from reading to reading, and deriving it again."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.prepayment import rerate
from gateway.prepayment.account import Account, Metering, Mode
from gateway.prepayment.ledger import Draft, Ledger, Transaction
from gateway.prepayment.rerate import Start
from gateway.prepayment.segment import priced
from gateway.prepayment.settle import Books, Part, advance, begin
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.validity import Flag, Meter, Odd, Shown, Usual
from tests.tariffs import component, make

TOTAL = "energy_active_import"
START = date(2026, 1, 31)
YEAR_STEPS = 'period = "year"\nbounds = ["10", "20"]'
FLAT = make(component("flat", id="energy", price="0.538"))
STEPS = make(
    component("steps", id="energy", mode="telescopic", prices=["0.538", "0.588", "0.838"]),
    steps=YEAR_STEPS,
)
TOU = make(
    component("tou", id="energy", prices={"peak": "0.568", "flat": "0.5", "valley": "0.288"}),
    rates=("peak", "flat", "valley"),
)
USUAL = Usual(jump_times=10, jump_floor_wh=50_000, days_max=62)


def day(n: int) -> date:
    return START + timedelta(days=n)


def ends(at: date) -> float:
    return datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp() + 86_400


def account(**more: object) -> Account:
    made = Account(
        number="1001",
        version=1,
        opened=day(1),
        mode=Mode.PREPAY_CUT,
        policy="home",
        tariffs=((day(0), "test"),),
        meterings=(Metering(meter="M1", since=START, start={TOTAL: 1000}),),
    )
    return replace(made, **more)  # type: ignore[arg-type]


Registers = dict[tuple[str, date], dict[str, int]]


def books(registers: Registers, *tariffs: Tariff, refused: frozenset[str] = frozenset()) -> Books:
    def shown(meter: str, at: date) -> Shown | None:
        found = registers.get((meter, at))
        return None if found is None else Shown(registers=found)

    limits = Meter(capacity_wh=1_000_000_000, step_wh=10, max_kw=20)
    return Books(
        prices=lambda _id, at: priced(list(tariffs), at),
        shown=shown,
        limits={"M1": limits, "M2": limits, "S1": limits},
        usual=USUAL,
        rates_refused=lambda meter, _after, _to: meter in refused,
    )


def totals(*wh: int, meter: str = "M1") -> Registers:
    """One reading a day, from the day after the start."""
    return {(meter, day(n)): {TOTAL: one} for n, one in enumerate(wh, 1)}


def charged_e4(parts: list[Part]) -> int:
    return sum(sum(part.charged.values()) for part in parts)


def days_of(registers: Registers) -> list[date]:
    return sorted({at for _, at in registers})


def post(made: list[Draft]) -> list[Transaction]:
    return [
        Transaction(number=n, draft=draft, recorded=0.0, clock="trusted", hash=b"")
        for n, draft in enumerate(made, 1)
    ]


def charge(
    of: Account, registers: Registers, *tariffs: Tariff
) -> tuple[list[Part], list[Transaction]]:
    parts, _, doubts = advance(of, begin(of), days_of(registers), books(registers, *tariffs))
    assert not doubts
    return parts, post([rerate.draft(of, part, 0, ends) for part in parts])


def test_a_day_is_charged_what_the_bill_has_grown_by() -> None:
    parts, posted = charge(account(), totals(4010, 7020, 10030), FLAT)
    # 3.01 kWh a day at 0.538: 1.62 once, but 3.24 for two days and 4.86 for three (4.85814).
    assert [sum(part.charged.values()) for part in parts] == [16_200, 16_200, 16_200]
    assert posted[0].draft.spans[0].after == START
    sums = dict.fromkeys(Ledger, 0)
    for one in posted:
        for posting in one.draft.postings:
            sums[posting.ledger] += posting.amount
    assert sums[Ledger.PREPAID] == -48_600
    assert sums[Ledger.CHARGED] == 9030
    assert sums[Ledger.METERED] == -9030


def test_a_year_of_days_has_no_drift() -> None:
    one_year = totals(*(1000 + 3010 * n for n in range(1, 366)))
    parts, _ = charge(account(), one_year, FLAT)
    # Settled by month: each month is rounded once.  Vector RD-01: 591.07 in one piece.
    months: dict[tuple[int, int], int] = {}
    for part in parts:
        key = (part.to.year, part.to.month)
        months[key] = months.get(key, 0) + 3010
    expected = sum((wh * 538 // 100 + 50) // 100 * 100 for wh in months.values())
    assert charged_e4(parts) == expected


def test_missing_days_are_covered_by_the_next_reading() -> None:
    registers = {("M1", day(5)): {TOTAL: 11_000}}
    parts, posted = charge(account(), registers, FLAT)
    assert [part.flags for part in parts] == [{Flag.SPAN}]
    assert charged_e4(parts) == 53_800
    assert (posted[0].draft.spans[0].after, posted[0].draft.spans[0].to) == (START, day(5))


def test_a_span_over_a_months_end_is_cut_there_and_spread_by_days() -> None:
    registers = {("M1", date(2026, 2, 27)): {TOTAL: 1000}, ("M1", date(2026, 3, 2)): {TOTAL: 4001}}
    parts, _ = charge(account(), registers, FLAT)
    assert [(part.to, part.used_wh) for part in parts[1:]] == [
        (date(2026, 2, 28), 1000),
        (date(2026, 3, 2), 2001),
    ]


def test_steps_go_on_over_months_and_begin_again_with_the_year() -> None:
    start = date(2026, 11, 30)
    of = account(
        opened=date(2026, 1, 1),
        meterings=(Metering(meter="M1", since=start, start={TOTAL: 0}),),
    )
    registers = {
        ("M1", date(2026, 12, 31)): {TOTAL: 12_000},
        ("M1", date(2027, 1, 1)): {TOTAL: 15_000},
    }
    parts, _ = charge(of, registers, STEPS)
    first = 10 * 5380 + 2 * 5880
    assert [sum(part.charged.values()) for part in parts] == [
        (first + 50) // 100 * 100,
        (3 * 5380 + 50) // 100 * 100,
    ]


def test_a_far_too_high_reading_is_believed_when_the_next_continues_it() -> None:
    calm = [1000 + 5000 * n for n in range(1, 10)]
    jump = calm[-1] + 300_000
    of = account()
    alone = totals(*calm, jump)
    parts, position, doubts = advance(of, begin(of), days_of(alone), books(alone, FLAT))
    assert [doubt.odd for doubt in doubts] == [Odd.JUMP]
    assert position.day == day(9)
    more = totals(*calm, jump, jump + 4000)
    parts, position, doubts = advance(of, begin(of), days_of(more), books(more, FLAT))
    assert not doubts
    assert Flag.JUMP in parts[-2].flags
    assert position.day == day(11)


def test_a_reading_that_was_damaged_is_skipped() -> None:
    calm = [1000 + 5000 * n for n in range(1, 10)]
    registers = totals(*calm, calm[-1] + 300_000, calm[-1] + 9000)
    parts, position, doubts = advance(
        account(), begin(account()), days_of(registers), books(registers, FLAT)
    )
    assert [(doubt.day, doubt.odd) for doubt in doubts] == [(day(10), Odd.JUMP)]
    assert position.day == day(11)
    assert sum(part.used_wh for part in parts) == calm[-1] + 8000


def test_a_swapped_meter_goes_on_with_the_new_ones_registers() -> None:
    of = account(
        meterings=(
            Metering(
                meter="M1", since=START, start={TOTAL: 1000}, until=day(2), final={TOTAL: 6000}
            ),
            Metering(meter="M2", since=day(2), start={TOTAL: 70}),
        )
    )
    registers = totals(3000) | {("M2", day(3)): {TOTAL: 1070}}
    parts, posted = charge(of, registers, FLAT)
    assert sum(part.used_wh for part in parts) == 6000
    spans = [(span.meter, span.after, span.to) for one in posted for span in one.draft.spans]
    assert spans == [("M1", START, day(1)), ("M1", day(1), day(2)), ("M2", day(2), day(3))]


def test_a_sub_meter_is_taken_off() -> None:
    of = account(
        meterings=(
            Metering(meter="M1", since=START, start={TOTAL: 1000}),
            Metering(meter="S1", since=START, start={TOTAL: 0}, minus=True),
        )
    )
    registers = totals(6000) | totals(2000, meter="S1")
    parts, _ = charge(of, registers, FLAT)
    assert [part.used_wh for part in parts] == [3000]
    waits = totals(6000)
    assert advance(of, begin(of), days_of(waits), books(waits, FLAT))[0] == []
    more = totals(6000) | totals(5001, meter="S1")
    _, _, doubts = advance(of, begin(of), days_of(more), books(more, FLAT))
    assert [doubt.odd for doubt in doubts] == [Odd.NEGATIVE]


def test_without_a_tariff_energy_waits_and_is_priced_when_there_is_one() -> None:
    of = account()
    registers = totals(4000, 8000)
    parts, _, _ = advance(of, begin(of), days_of(registers), books(registers))
    posted = post([rerate.draft(of, part, 0, ends) for part in parts])
    assert charged_e4(parts) == 0
    assert all(Flag.UNPRICED in part.flags for part in parts)
    unpriced = [
        p.amount for one in posted for p in one.draft.postings if p.ledger is Ledger.UNPRICED
    ]
    assert unpriced == [3000, 4000]
    again = rerate.rerate(
        of, Start(0, begin(of), posted), days_of(registers), books(registers, FLAT)
    )
    assert [one.number for one in again.undo] == [2, 1]
    assert charged_e4(again.parts) == (7 * 5380 + 50) // 100 * 100


def test_a_meter_without_the_tariffs_registers_is_not_priced_and_not_lost() -> None:
    parts, posted = charge(account(), totals(4000), TOU)
    assert charged_e4(parts) == 0
    assert posted[0].draft.postings[-1].amount == 3000
    assert posted[0].draft.postings[-1].ledger is Ledger.UNPRICED


def rates(*wh: int) -> dict[str, int]:
    return {TOTAL: sum(wh)} | {f"{TOTAL}_t{n}": one for n, one in enumerate(wh, 1)}


def test_rates_of_a_wrong_time_table_are_refused_and_all_is_priced_flat_for_now() -> None:
    of = account(meterings=(Metering(meter="M1", since=START, start=rates(0, 0, 0)),))
    registers = {("M1", day(1)): rates(4000, 3000, 2000)}
    looks = books(registers, TOU, refused=frozenset(("M1",)))
    [part], _, _ = advance(of, begin(of), [day(1)], looks)
    assert sum(part.charged.values()) == 9 * 5000
    assert Flag.RATES_REFUSED in part.flags
    [right], _, _ = advance(of, begin(of), [day(1)], books(registers, TOU))
    expected = 4 * 5680 + 3 * 5000 + 2 * 2880
    assert sum(right.charged.values()) == (expected + 50) // 100 * 100


def test_an_expired_tariff_goes_on_and_says_so() -> None:
    until = replace(FLAT, valid_to=day(1))
    parts, _ = charge(account(), totals(2000, 3000), until)
    assert Flag.TARIFF_EXPIRED not in parts[0].flags
    assert Flag.TARIFF_EXPIRED in parts[1].flags
    assert charged_e4(parts) == 2 * 5400


def test_a_tariff_announced_late_undoes_only_what_it_changes() -> None:
    of, registers = account(), totals(2000, 3000, 4000)
    _, posted = charge(of, registers, FLAT)
    dearer = make(component("flat", id="energy", price="0.638"), head="")
    later = replace(dearer, version=2, valid_from=day(3))
    again = rerate.rerate(
        of, Start(0, begin(of), posted), days_of(registers), books(registers, FLAT, later)
    )
    assert [one.number for one in again.undo] == [3]
    assert [part.to for part in again.parts] == [day(3)]
    assert charged_e4(again.parts) == 6400


def test_where_charging_stands_is_in_each_charge() -> None:
    of, registers = account(), totals(4010, 7020, 10030)
    parts, posted = charge(of, registers, STEPS)
    for part, one in zip(parts, posted, strict=True):
        assert rerate.stand(one).position == part.position
    # From the middle on, the same comes out.
    middle = rerate.stand(posted[0]).position
    rest, _, _ = advance(of, middle, days_of(registers)[1:], books(registers, STEPS))
    assert rest == parts[1:]


def test_a_changed_charge_is_found() -> None:
    of, registers = account(), totals(4010, 7020, 10030)
    _, posted = charge(of, registers, FLAT)
    assert not rerate.derived(of, Start(0, begin(of), posted), books(registers, FLAT)).undo
    wrong = replace(posted[1].draft, detail=posted[1].draft.detail.replace("6020", "6021"))
    bent = [posted[0], replace(posted[1], draft=wrong), posted[2]]
    assert (
        rerate.derived(of, Start(0, begin(of), bent), books(registers, FLAT)).undo[-1].number == 2
    )


DAILY = st.lists(st.integers(0, 400_000), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(DAILY, st.data())
def test_whatever_days_are_missing_the_sum_is_the_same(
    used: list[int], data: st.DataObject
) -> None:
    """Within one settlement period and step period: split invariance."""
    start = date(2026, 2, 28)
    of = account(
        opened=date(2026, 1, 1), meterings=(Metering(meter="M1", since=start, start={TOTAL: 0}),)
    )
    shown, total = {}, 0
    for n, wh in enumerate(used[:31], 1):
        total += wh
        shown["M1", start + timedelta(days=n)] = {TOTAL: total}
    last = max(at for _, at in shown)
    kept = {
        key: found
        for key, found in shown.items()
        if key[1] == last or data.draw(st.booleans(), label=str(key[1]))
    }
    looks = replace(books(shown, STEPS), usual=replace(USUAL, jump_floor_wh=10**9))
    every, _, _ = advance(of, begin(of), days_of(shown), looks)
    some, _, _ = advance(of, begin(of), days_of(kept), looks)
    assert charged_e4(every) == charged_e4(some)
    assert sum(part.used_wh for part in every) == sum(part.used_wh for part in some) == total


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=3, max_size=60))
def test_any_charge_can_be_derived_from_the_one_before(used: list[int]) -> None:
    total, registers = 1000, {}
    for n, wh in enumerate(used, 1):
        total += wh
        registers["M1", day(n)] = {TOTAL: total}
    of = account()
    parts, posted = charge(of, registers, STEPS)
    assert charged_e4(parts) >= 0
    found = rerate.derived(of, Start(0, begin(of), posted), books(registers, STEPS))
    assert not found.undo
    assert not found.parts


def test_a_meter_that_nobody_knows_any_more_is_charged() -> None:
    shown = totals(5000, 9000)
    looks = replace(books(shown, FLAT), limits={})
    parts, _, doubts = advance(account(), begin(account()), days_of(shown), looks)
    assert [part.used_wh for part in parts] == [4000, 4000]
    assert not doubts
    fell = totals(5000, 4990)
    looks = replace(books(fell, FLAT), limits={})
    _, _, doubts = advance(account(), begin(account()), days_of(fell), looks)
    assert [one.odd for one in doubts] == [Odd.NEGATIVE]
