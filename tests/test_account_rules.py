from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from gateway.prepayment.account import Account, Class, Contract, Mode, NoCut, Regime
from gateway.prepayment.account_rules import (
    AccountError,
    Swap,
    change,
    close,
    open_account,
    protection_lost,
    swap,
    unprotect,
)
from tests.accounts import OPENED, TOTAL, account, metering, site

TODAY = date(2026, 3, 10)
DAY = timedelta(days=1)


def places(error: AccountError) -> list[str]:
    return [problem.split(":")[0] for problem in error.problems]


def test_a_good_account_is_opened() -> None:
    assert open_account(replace(account(), version=7), site()) == account()


def test_every_mistake_is_named_at_once() -> None:
    wanted = replace(
        account(number="K 1"),
        language="chinese!",
        no_cut=NoCut(reason=" "),
        closed=date(2025, 1, 1),
        policy="hoem",
        tariffs=((TODAY, "flat"), (OPENED, "nowhere")),
        capacity_changes=((TODAY, Contract(capacity_va=-1)),),
        meterings=(
            replace(metering("A1", since=date(2025, 12, 1)), start={TOTAL: -1}),
            replace(metering("A2"), until=OPENED),
            replace(metering("A9"), start={}),
        ),
    )

    with pytest.raises(AccountError) as caught:
        open_account(wanted, site())

    assert places(caught.value) == [
        "number",
        "language",
        "no_cut.reason",
        "closed",
        "tariffs",  # not in order
        "contract",
        "tariffs",  # later than the first meter
        "meterings[0].since",
        f"meterings[0].start.{TOTAL}",
        "meterings[1].until",
        "meterings[1].final",
        "meterings[2].start",
        "policy",
        "tariffs[1]",
        "meterings[2].meter",
        "closed",  # not at the opening
        "meterings[1].until",
    ]
    assert str(caught.value).splitlines()[0] == (
        "account K 1: number: found 'K 1'; write 1 to 32 letters, digits or hyphens"
    )


def test_a_number_is_given_once() -> None:
    closed = close(account(), TODAY, {"A1": {TOTAL: 2000}}, TODAY)

    with pytest.raises(AccountError, match="a number is never given twice"):
        open_account(account(), site(closed))


def test_a_meter_counts_for_one_account_and_is_taken_off_one_other() -> None:
    shop = account("K1")
    cellar = account("K2", ["A2"])
    flat = replace(account("K3", ["A3"]))
    flat = replace(flat, meterings=(*flat.meterings, metering("A1", minus=True)))
    again = replace(flat, number="K4", meterings=(metering("A4"), metering("A1", minus=True)))

    with pytest.raises(AccountError, match="A1 is counted for account K1 too"):
        open_account(account("K5"), site(shop))
    assert open_account(flat, site(shop, cellar)) == flat
    with pytest.raises(AccountError, match="A1 is taken off account K3 too"):
        open_account(again, site(shop, flat))


def test_a_meter_is_free_again_when_its_account_is_closed() -> None:
    closed = close(account(), TODAY, {"A1": {TOTAL: 2000}}, TODAY)
    next_one = replace(
        account("K2"), opened=TODAY, meterings=(metering("A1", since=TODAY),), tariffs=()
    )
    next_one = replace(next_one, tariffs=((TODAY, "flat"),))

    assert open_account(next_one, site(closed)).meterings[0].meter == "A1"


def test_an_account_needs_a_meter_of_its_own() -> None:
    with pytest.raises(AccountError, match="no meter counts for it"):
        open_account(replace(account(), meterings=(metering("A1", minus=True),)), site())


def test_a_mirrored_account_needs_neither_tariff_nor_registers() -> None:
    mirror = replace(
        account(), mode=Mode.MIRROR, tariffs=(), meterings=(replace(metering("A1"), start={}),)
    )

    assert open_account(mirror, site()) == mirror


def test_a_change_is_the_next_version() -> None:
    wanted = replace(
        account(),
        class_=Class.LIFE_SUPPORT,
        regime=Regime.CONTRACT_PREPAY,
        dispute=True,
        tariffs=((OPENED, "flat"), (TODAY, "steps")),
        meterings=(metering("A1"), metering("A2", since=TODAY, minus=True)),
    )

    assert change(account(), wanted, site(account()), TODAY) == replace(wanted, version=2)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"number": "K2"}, "number: it is K1 and stays so"),
        ({"opened": OPENED - DAY}, "opened: it is 2026-01-01 and stays so"),
        ({"meterings": (metering("A2"),)}, "meters are replaced by a swap"),
        ({"tariffs": ((OPENED, "steps"),)}, "tariffs: days before 2026-03-10 cannot be changed"),
        ({"tariffs": ((OPENED, "flat"), (TODAY - DAY, "steps"))}, "begin on 2026-03-10 or later"),
        ({"contract": Contract(capacity_va=1)}, "add the new one to capacity_changes"),
        ({"capacity_changes": ((TODAY - DAY, Contract()),)}, "capacity_changes: days before"),
    ],
)
def test_what_was_stays(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(AccountError, match=told):
        change(account(), replace(account(), **wanted), site(account()), TODAY)


def test_a_closed_account_is_not_changed() -> None:
    closed = close(account(), TODAY, {"A1": {TOTAL: 2000}}, TODAY)

    with pytest.raises(AccountError, match="closed: it is closed since 2026-03-10"):
        change(closed, replace(closed, dispute=True), site(closed), TODAY)


PROTECTED = replace(
    account(),
    class_=Class.CRITICAL,
    no_cut=NoCut(reason="court order"),
    dispute=True,
    mode=Mode.PREPAY_AGREEMENT,
)


@pytest.mark.parametrize(
    "less",
    [
        {"class_": Class.VULNERABLE},
        {"no_cut": None},
        {"no_cut": NoCut(reason="court order", until=TODAY)},
        {"dispute": False},
        {"mode": Mode.PREPAY_CUT},
    ],
)
def test_protection_is_added_by_one_and_taken_away_by_two(less: dict[str, Any]) -> None:
    wanted = replace(PROTECTED, **less)

    assert change(wanted, PROTECTED, site(), TODAY).version == 2
    with pytest.raises(AccountError, match="needs two persons"):
        change(PROTECTED, wanted, site(), TODAY)
    assert unprotect(PROTECTED, wanted, site()) == replace(wanted, version=2)


def test_taking_protection_away_changes_nothing_else() -> None:
    wanted = replace(PROTECTED, no_cut=None, language="en")

    with pytest.raises(AccountError, match="language: only protection may differ here"):
        unprotect(PROTECTED, wanted, site())


def test_what_left_the_configuration_keeps_nobody_from_protecting() -> None:
    bare = replace(site(account()), policies=(), tariffs=(), meters=())
    wanted = replace(account(), class_=Class.LIFE_SUPPORT)

    assert change(account(), wanted, bare, TODAY).class_ is Class.LIFE_SUPPORT
    with pytest.raises(AccountError, match="policy: found 'shop'"):
        change(account(), replace(wanted, policy="shop"), bare, TODAY)


def test_a_veto_that_has_run_out_protects_no_more() -> None:
    over = replace(account(), no_cut=NoCut(reason="winter", until=TODAY - DAY))

    assert protection_lost(over, account(), TODAY) == []
    assert protection_lost(over, account(), TODAY - DAY) != []


def swap_to(new: str, day: date = TODAY, old: str = "A1", final: int = 5000) -> Swap:
    return Swap(old=old, final={TOTAL: final}, new=new, start={TOTAL: 3}, day=day)


def test_a_swap_ends_the_old_meter_and_begins_the_new_one() -> None:
    (after,) = swap(swap_to("A2"), site(account(), account("K2", ["A3"])), TODAY)

    old, new = after.meterings
    assert (after.number, after.version) == ("K1", 2)
    assert (old.meter, old.until, old.final) == ("A1", TODAY, {TOTAL: 5000})
    assert (new.meter, new.since, new.start, new.until) == ("A2", TODAY, {TOTAL: 3}, None)


def test_a_sub_meter_is_swapped_in_both_its_accounts() -> None:
    tenant = account("K1")
    landlord = replace(account("K2"), meterings=(metering("A2"), metering("A1", minus=True)))

    after = swap(swap_to("A3"), site(tenant, landlord), TODAY)

    assert [(one.number, one.meterings[-1].meter, one.meterings[-1].minus) for one in after] == [
        ("K1", "A3", False),
        ("K2", "A3", True),
    ]


def test_a_changed_ratio_is_a_swap_to_the_same_meter() -> None:
    (after,) = swap(swap_to("A1"), site(account()), TODAY)

    assert [one.meter for one in after.meterings] == ["A1", "A1"]


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (swap_to("A2", old="A9"), "no account counts meter A9"),
        (swap_to("A2", day=OPENED), "counts from the end of 2026-01-01 on; write a later day"),
        (swap_to("A2", day=TODAY + DAY), "has not ended"),
        (swap_to("A2", final=-1), "a register is not below zero"),
        (swap_to("A3"), "A3 is counted for account K2 too"),
        (swap_to("A9"), "no such meter in the configuration"),
    ],
)
def test_what_is_no_swap(done: Swap, told: str) -> None:
    with pytest.raises(AccountError, match=told):
        swap(done, site(account(), account("K2", ["A3"])), TODAY)


def test_two_swaps_on_one_day_are_refused() -> None:
    (after,) = swap(swap_to("A2"), site(account()), TODAY)

    with pytest.raises(AccountError, match="counts from the end of 2026-03-10 on"):
        swap(swap_to("A3", old="A2"), site(after), TODAY)


def test_closing_needs_the_final_registers_of_every_meter() -> None:
    two = account(meters=["A1", "A2"])

    with pytest.raises(AccountError) as caught:
        close(two, TODAY, {"A1": {TOTAL: 5}, "A3": {TOTAL: 5}}, TODAY)
    assert caught.value.problems == [
        "finals: meter A3 does not count for this account; leave it out",
        f"final of meter A2: no {TOTAL}; write what the meter showed",
    ]

    closed = close(two, TODAY, {"A1": {TOTAL: 5}, "A2": {TOTAL: 6}}, TODAY)
    assert (closed.version, closed.closed) == (2, TODAY)
    assert [one.final for one in closed.meterings] == [{TOTAL: 5}, {TOTAL: 6}]
    with pytest.raises(AccountError, match="it is closed since"):
        close(closed, TODAY, {}, TODAY)


def test_the_same_rules_hold_for_each_account_of_a_site() -> None:
    everybody: list[Account] = []
    for n in (1, 2, 3):
        everybody.append(open_account(account(f"K{n}", [f"A{n}"]), site(*everybody)))

    assert [one.number for one in everybody] == ["K1", "K2", "K3"]
