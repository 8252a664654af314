from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.account import (
    Account,
    AccountTextError,
    Class,
    Contract,
    Metering,
    Mode,
    NoCut,
    Regime,
    from_json,
    to_json,
)
from tests.accounts import OPENED, POLICY, account, metering

days = st.dates(date(2000, 1, 1), date(2099, 12, 31))
registers = st.dictionaries(st.sampled_from(["energy_active_import", "t1"]), st.integers(0, 2**53))
meterings = st.builds(
    Metering,
    meter=st.text(max_size=8),
    since=days,
    start=registers,
    until=st.none() | days,
    final=registers,
    minus=st.booleans(),
)
contracts = st.builds(Contract, capacity_va=st.integers(0, 10**9), demand_w=st.integers(0, 10**9))
accounts = st.builds(
    Account,
    number=st.text(max_size=12),
    version=st.integers(1, 10**6),
    opened=days,
    closed=st.none() | days,
    mode=st.sampled_from(Mode),
    regime=st.sampled_from(Regime),
    class_=st.sampled_from(Class),
    no_cut=st.none() | st.builds(NoCut, reason=st.text(), until=st.none() | days),
    dispute=st.booleans(),
    policy=st.text(),
    tariffs=st.lists(st.tuples(days, st.text()), max_size=3).map(tuple),
    meterings=st.lists(meterings, max_size=3).map(tuple),
    contract=contracts,
    capacity_changes=st.lists(st.tuples(days, contracts), max_size=2).map(tuple),
    language=st.text(max_size=5),
)


@given(accounts)
def test_what_is_written_is_read(one: Account) -> None:
    text = to_json(one)

    assert from_json(text) == one
    assert to_json(from_json(text)) == text


def test_the_text_is_what_it_was() -> None:
    assert to_json(account()) == (
        '{"capacity_changes":[],"class":"ordinary","closed":null,'
        '"contract":{"capacity_va":0,"demand_w":0},"dispute":false,"language":"zh",'
        '"meterings":[{"final":{},"meter":"A1","minus":false,"since":"2026-01-01",'
        '"start":{"energy_active_import":1000},"until":null}],"mode":"prepay_cut","no_cut":null,'
        '"number":"K1","opened":"2026-01-01","policy":"home","regime":"unknown","schema":1,'
        '"tariffs":[["2026-01-01","flat"]],"version":1}'
    )


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", "{}", '{"schema":1}', to_json(account()).replace("prepay_cut", "cut_all")],
)
def test_what_is_no_account_is_named(text: str) -> None:
    with pytest.raises(AccountTextError, match="no account"):
        from_json(text)


def test_a_newer_text_is_refused() -> None:
    text = to_json(account()).replace('"schema":1', '"schema":2')

    with pytest.raises(AccountTextError, match=r"schema 2, this release knows 1; install"):
        from_json(text)


def test_a_swap_at_a_days_end_does_not_overlap() -> None:
    day = date(2026, 3, 1)
    old = replace(metering("A1"), until=day)

    assert not old.overlaps(metering("A1", since=day))
    assert metering("A1", since=OPENED).overlaps(old)


def test_overdraft_and_guarantee_are_room_below_zero() -> None:
    assert replace(POLICY, overdraft_e4=50_000, guarantee_e4=1).limit_e4 == -50_001
