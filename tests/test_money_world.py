"""Years of money, with everything that goes wrong; and not a fen of it is lost or made.

The short form is two months, the long one (``-m torture``) three years of two hundred accounts.
"""

import time
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.prepayment.drafts import adjustment
from gateway.prepayment.ledger import Ledger
from gateway.store.database import ReadOnly
from gateway.technician.audit import examine
from simulators.shop import NOBODY
from tests.money_world import MoneyWorld


def judge(world: MoneyWorld) -> str:
    """Nothing differs, wherever one looks; returns what there was, in a line."""
    began = time.perf_counter()
    messages = world.drain()
    held, paid, worth_e4 = world.oracle(), world.shop.counted_e4(), world.worth_e4()
    journal = world.rooms.prepaid.journal

    assert world.shop.unanswered() == []
    assert world.shop.contradictions() == []
    expected = {number: paid[number] - one.charged_e4 for number, one in held.items()}
    assert worth_e4 == expected
    charged = {number: journal.balances(number)[Ledger.CHARGED] for number in held}
    assert charged == {number: one.energy_wh for number, one in held.items()}
    for nobody in (account for account in paid if account.startswith(NOBODY)):
        assert journal.part(Ledger.SUSPENSE, nobody) == paid[nobody]

    book = world.shop.journal
    assert (book.number, book.head) == journal.head()
    kept = {key: amount for key, amount in journal.all_balances().items() if amount}
    assert {key: amount for key, amount in book.sums.items() if amount} == kept
    assert Decimal(book.digest["charged"]).scaleb(3) == sum(charged.values())

    rows = world.rooms.database.rows
    assert rows("select * from differs") == rows("select * from derive_again") == []
    assert world.mains.cuts > 0
    world.rooms.database.close()
    with ReadOnly(world.rooms.database.path) as file:
        audited = examine(file)
    assert audited.findings == ()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(book.kinds.items()))
    return (
        f"{audited.transactions} transactions ({kinds}), {messages} messages,"
        f" {world.mains.cuts} power cuts, {audited.charged_wh / 1000:.2f} kWh;"
        f" judged in {time.perf_counter() - began:.0f} s"
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_months_with_power_cuts_come_to_what_the_oracle_says(tmp_path: Path, seed: int) -> None:
    world = MoneyWorld(tmp_path, seed, accounts=24, days=60, writes_per_cut=1000)
    world.run()
    digest = world.digest
    print(f"seed {seed}: {judge(world)}; digest {digest}")


def test_the_same_seed_gives_the_same_journal(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / name).mkdir()
        world = MoneyWorld(tmp_path / name, seed, accounts=5, days=30, writes_per_cut=300)
        world.run()
        digests.append(world.digest)
        world.rooms.database.close()
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_fen_too_much_is_noticed(tmp_path: Path) -> None:
    world = MoneyWorld(tmp_path, 9, accounts=5, days=30, writes_per_cut=300)
    world.run()
    prepaid, number = world.rooms.prepaid, world.customers[0].number
    fen = adjustment(account=number, key="adjust:1", effective=world.wall, amount_e4=100)
    with world.rooms.recorder.commit(world.wall, live=False):
        prepaid.books.post([fen])
    with pytest.raises(AssertionError, match=number):
        judge(world)


@pytest.mark.torture
def test_three_years_offline_with_two_hundred_accounts(tmp_path: Path) -> None:
    world = MoneyWorld(tmp_path, 2026, accounts=200, days=3 * 365, writes_per_cut=30_000, looks=0.3)
    world.run()
    digest = world.digest
    print(f"seed 2026: {judge(world)}; digest {digest}")
