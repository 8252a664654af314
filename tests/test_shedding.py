from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disconnection.shedding import Order, OrderError, Row, Turn, next_cut, next_restore

TODAY = date(2026, 8, 1)


def order(*accounts: str) -> Order:
    return Order(
        version="2026",
        first=date(2026, 7, 1),
        last=date(2026, 9, 30),
        rows=tuple(Row(account=one, load_w=1000) for one in accounts),
    )


def test_the_order_is_walked_until_enough_is_off() -> None:
    table = order("K1", "K2", "K3")

    assert next_cut(table, [], 2000, {}, TODAY) == Turn(account="K1")
    assert next_cut(table, ["K1"], 2000, {}, TODAY) == Turn(account="K2")
    assert next_cut(table, ["K1", "K2"], 2000, {}, TODAY) == Turn(ended="2000 W are off")
    assert "no more rows" in next_cut(table, ["K1", "K2", "K3"], 9000, {}, TODAY).ended


def test_it_stops_at_a_protected_row() -> None:
    turn = next_cut(order("K1", "K2", "K3"), ["K1"], 9000, {"K2": "hospital"}, TODAY)

    assert turn == Turn(ended="K2 is protected: hospital")


def test_who_is_dark_anyway_is_passed_over_and_takes_no_load_off() -> None:
    table = order("K1", "K2", "K3")

    assert next_cut(table, [], 1000, {}, TODAY, {"K1"}) == Turn(account="K2")
    assert next_cut(table, ["K2"], 2000, {}, TODAY, {"K1"}) == Turn(account="K3")


def test_an_order_that_is_not_approved_today_cuts_nobody() -> None:
    turn = next_cut(order("K1"), [], 9000, {}, date(2026, 10, 1))

    assert (turn.account, "approved from" in turn.ended) == ("", True)


@given(
    st.lists(st.text("KLM123", min_size=1), unique=True),
    st.integers(0, 9000),
    st.sets(st.integers(0, 8)),
)
def test_supply_comes_back_in_reverse(accounts: list[str], goal_w: int, at: set[int]) -> None:
    table, shed = order(*accounts), list[str]()
    protected = {one: "x" for n, one in enumerate(accounts) if n in at}
    while account := next_cut(table, shed, goal_w, protected, TODAY).account:
        assert account not in protected
        shed.append(account)
    assert shed == accounts[: len(shed)]

    back = []
    while account := next_restore(table, shed):
        shed.remove(account)
        back.append(account)
    assert back == accounts[: len(back)][::-1]


def test_who_left_the_order_comes_back_first() -> None:
    assert next_restore(order("K1", "K2"), ["K1", "K9", "K2"]) == "K9"


def test_an_impossible_order_is_refused() -> None:
    with pytest.raises(OrderError, match="K1 stand in the order twice"):
        order("K1", "K1")
    with pytest.raises(OrderError, match="load_w"):
        Order(version="1", first=TODAY, last=TODAY, rows=(Row(account="K1", load_w=0),))
    with pytest.raises(OrderError, match="before"):
        Order(version="1", first=TODAY, last=date(2026, 7, 1), rows=())
