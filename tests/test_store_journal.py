"""The journal on SQLite: against a ledger in dicts, against changes, against repeats."""

# ruff: noqa: S608 - the tables are named above

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.prepayment.chain import FIELDS, GENESIS
from gateway.prepayment.ledger import (
    Draft,
    Kind,
    Ledger,
    Posting,
    UnbalancedError,
    mirror,
    reversal,
)
from gateway.store.connection import Connection
from gateway.store.database import Database, ReadOnly, open_store
from gateway.store.faults import StoreDamagedError
from gateway.store.journal import (
    Journal,
    JournalReader,
    KeyReusedError,
    NotReversibleError,
    Posted,
)
from gateway.store.outbox import Lane, Outbox
from gateway.store.startup import How
from gateway.store.verify import verify
from tests.drafts import ACCOUNTS, NOON, DictLedger, bought, drafts, used


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "taiqu.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def post(store: Database, *some: Draft) -> list[Posted]:
    with store.transaction():
        return [Journal(store).post(one, NOON + 0.1234, "trusted") for one in some]


def test_a_top_up_is_in_the_balance_and_in_the_journal(store: Database) -> None:
    [posted] = post(store, bought())

    journal = Journal(store)
    assert not posted.repeated
    assert posted.transaction.draft == bought()
    assert posted.transaction.number == 1
    assert posted.transaction.recorded == NOON + 0.123
    assert journal.balances("1001")[Ledger.PREPAID] == 1_000_000
    assert journal.balances("1001")[Ledger.DEBT] == 0
    assert journal.balances("wechat").of == {}
    assert journal.transactions(1, 9) == [posted.transaction] == list(journal.all())
    assert journal.by_key("top_up:p1") == posted.transaction
    assert journal.by_key("top_up:p2") is None
    assert journal.head() == (1, posted.transaction.hash)


def test_an_empty_journal_is_sound(store: Database) -> None:
    journal = Journal(store)

    assert journal.head() == (0, GENESIS)
    assert list(journal.all()) == []
    assert journal.totals().charged_wh == 0
    assert verify(store) == []


def test_the_same_payment_counts_once(store: Database) -> None:
    [first] = post(store, bought())
    [again] = post(store, bought())

    assert again == Posted(first.transaction, repeated=True)
    assert Journal(store).balances("1001")[Ledger.PREPAID] == 1_000_000


@pytest.mark.parametrize(
    "other",
    [
        bought(amount_e4=2_000_000),
        bought(account="1002"),
        replace(bought(), detail="{}"),
        replace(bought(), effective=NOON + 0.001),
    ],
)
def test_a_key_with_other_content_is_refused(store: Database, other: Draft) -> None:
    post(store, bought())

    with pytest.raises(KeyReusedError, match="top_up:p1 belongs to transaction 1") as caught:
        post(store, other)

    assert caught.value.first.draft == bought()
    assert Journal(store).head()[0] == 1


def test_a_reversal_undoes_all_and_only_once(store: Database) -> None:
    [charged] = post(store, used())
    undo = reversal(charged.transaction, "undo", NOON)

    post(store, undo)

    journal = Journal(store)
    assert set(journal.balances("1001").of.values()) == {0}
    undone = journal.reversal_of(1)
    assert undone is not None
    assert undone.draft == undo
    with pytest.raises(NotReversibleError, match="transaction 2 did it already"):
        post(store, replace(undo, key="undo again"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reverses": 9}, "there is no such transaction"),
        ({"reverses": 2}, "it is a reversal; post anew"),
        ({"reverses": 3, "postings": mirror(bought(amount_e4=5).postings)}, "not its mirror"),
        ({"reverses": 3, "spans": used().spans}, "not its mirror"),
    ],
)
def test_what_is_no_reversal_is_refused(
    store: Database, change: dict[str, object], reason: str
) -> None:
    [one] = post(store, bought())
    post(store, reversal(one.transaction, "undo 1", NOON), bought(key="p3"))
    draft = replace(reversal(one.transaction, "undo", NOON), **change)  # type: ignore[arg-type]

    with pytest.raises(NotReversibleError, match=reason):
        post(store, draft)

    assert Journal(store).head()[0] == 3


def test_a_draft_that_does_not_balance_leaves_nothing(store: Database) -> None:
    lost = replace(bought(), postings=(Posting(Ledger.PREPAID, "1001", 5),))

    with pytest.raises(UnbalancedError):
        post(store, bought(key="p2"), lost)

    assert Journal(store).head() == (0, GENESIS)
    assert Journal(store).all_balances() == {}


def test_an_account_has_its_own_transactions(store: Database) -> None:
    post(store, bought(), used("1002"), used(day=1), used(day=2))

    journal = Journal(store)
    assert [one.number for one in journal.of_account("1001")] == [1, 3, 4]
    assert [one.number for one in journal.of_account("1001", after_number=3)] == [4]


def test_the_newest_are_read_as_far_as_they_are_asked_for(store: Database) -> None:
    post(store, *(used("1001" if n % 3 else "1002", n) for n in range(1, 31)))
    journal = Journal(store)
    every = [one.number for one in journal.of_account("1001")]
    assert [one.number for one in journal.newest("1001")] == every[::-1]
    assert next(journal.newest("1001")).number == every[-1]
    assert list(journal.newest("nobody")) == []
    assert journal.hash_of(7) == journal.transactions(7, 7)[0].hash
    assert journal.hash_of(31) == b""


def test_the_totals_add_up_to_nothing(store: Database) -> None:
    post(store, bought(), used(wh=7_000))

    totals = Journal(store).totals()

    assert totals.transactions == 2
    assert totals.charged_wh == 7_000
    assert totals.sums[Ledger.CASH] == -1_000_000
    assert sum(totals.sums.values()) == 0


@pytest.mark.parametrize("table", ["journal", "freeze", "freeze_value", "tariff_version"])
def test_what_bills_are_made_of_is_append_only(store: Database, table: str) -> None:
    post(store, bought())
    with store.transaction():
        store.write(
            "insert into freeze (meter, day, frozen, taken, clock, quality, reason)"
            " values ('M1', '2026-01-01', 0.0, 0.0, 'trusted', 'good', '')"
        )
        store.write("insert into freeze_value values ('M1', '2026-01-01', 'energy', 1)")
        store.write("insert into tariff_version values ('t', 1, 'd', 'x', '2026-01-01', 0.0)")
    before = store.rows(f"select * from {table}")
    [column] = store.rows(f"select name from pragma_table_info('{table}') limit 1")[0]

    for change in (
        f"update {table} set {column} = {column}",
        f"delete from {table}",
        f"insert or replace into {table} select * from {table}",
    ):
        with (
            pytest.raises(sqlite3.IntegrityError, match=r"append only|next number"),
            store.transaction(),
        ):
            store.write(change)

    assert store.rows(f"select * from {table}") == before


@pytest.mark.parametrize("number", [1, 3, -1])
def test_no_number_is_left_out_or_given_twice(store: Database, number: int) -> None:
    post(store, bought())

    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store.write(
            "insert into journal select ?, recorded_ms, clock, kind, 'k', account, effective_ms,"
            " tariff, spans, reverses, detail, postings, hash from journal",
            number,
        )


@pytest.mark.parametrize("number", [10**15, -(10**15)])
def test_the_largest_amounts_are_exact(store: Database, number: int) -> None:
    sides = [Posting(Ledger.PREPAID, "1001", number), Posting(Ledger.WRITE_OFF, "", -number)]
    draft = replace(bought(), kind=Kind.ADJUSTMENT, postings=tuple(sides))
    post(store, draft, replace(draft, key="again"))

    assert Journal(store).balances("1001")[Ledger.PREPAID] == 2 * number
    assert verify(store) == []


keys = st.integers(1, 12).map("key {}".format)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Draft | int]]:
    """(key, draft) to post, or (key, number) to reverse."""
    some = draw(st.lists(st.one_of(drafts(keys), st.integers(1, 14)), max_size=14))
    return [(draw(keys), one) if isinstance(one, int) else (one.key, one) for one in some]


@settings(max_examples=30)
@given(histories())
def test_the_journal_is_the_ledger_in_dicts(history: list[tuple[str, Draft | int]]) -> None:
    model, problem = DictLedger(), {KeyReusedError: "key", NotReversibleError: "reversal"}
    with (
        TemporaryDirectory() as name,
        open_store(Path(name) / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store,
    ):
        journal = Journal(store)
        for key, what in history:
            if isinstance(what, int):
                of = journal.transaction(what)
                if of is None or of.draft.kind is Kind.REVERSAL:
                    continue
                draft = reversal(of, key, NOON)
            else:
                draft = replace(what, effective=round(what.effective * 1000) / 1000)
            got: str | int
            try:
                with store.transaction():
                    got = journal.post(draft, NOON, "holdover").transaction.number
            except (KeyReusedError, NotReversibleError) as error:
                got = problem[type(error)]
            assert got == model.post(draft)
        assert [one.draft for one in journal.all()] == model.posted
        assert {k: v for k, v in journal.all_balances().items() if v} == {
            k: v for k, v in model.sums.items() if v
        }
        assert verify(store) == []


@settings(max_examples=12)
@given(st.data())
def test_the_order_of_arrival_does_not_matter(data: st.DataObject) -> None:
    some = data.draw(st.lists(drafts(keys), unique_by=lambda one: one.key, max_size=8))
    orders = [some, data.draw(st.permutations(some))]

    balances = []
    for order in orders:
        with (
            TemporaryDirectory() as name,
            open_store(Path(name) / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store,
        ):
            post(store, *order, *order[:3])
            balances.append(Journal(store).all_balances())

    assert balances[0] == balances[1]


def several(store: Database) -> None:
    """Thirty transactions of all accounts, with a reversal among them."""
    for account in ACCOUNTS:
        post(store, bought(account, account), *(used(account, day) for day in range(1, 9)))
    [first] = Journal(store).transactions(5, 5)
    post(store, reversal(first, "undo 5", NOON), used("1001", 4, 1, again=":2"))


def test_a_journal_that_is_older_or_another_is_noticed(tmp_path: Path) -> None:
    path, head = tmp_path / "t.db", tmp_path / "t.db.head"

    def life(*keys: str) -> How:
        with open_store(path, lambda: NOON, os.urandom, ballast_bytes=0) as store:
            with store.transaction():
                Outbox(store, lambda: NOON).add(Lane.URGENT, "journal", lambda _: b"")
            post(store, *(bought(key=key) for key in keys))
            store.note_head(0.0)
            return store.started.how

    life("1")
    older, older_head = path.read_bytes(), head.read_bytes()
    assert life("2", "3") is How.CONTINUED
    newer_head = head.read_bytes()

    # A copy that lived on by itself, then the head of the first: the lanes are alike.
    path.write_bytes(older)
    head.write_bytes(older_head)
    assert life("4", "5", "6") is How.CONTINUED
    head.write_bytes(newer_head)
    with open_store(path, lambda: NOON, os.urandom, ballast_bytes=0) as store:
        assert store.started.how is How.ROLLED_BACK
        assert store.started.detail == "transaction 3 is not the one that was committed"
        post(store, bought(key="7"))
        store.note_head(0.0)
        before_head = head.read_bytes()
        post(store, bought(key="8"))
        store.note_head(0.1)
        assert head.read_bytes() != before_head


def test_readers_see_what_the_daemon_posted_and_can_verify_it(store: Database) -> None:
    several(store)

    with ReadOnly(store.path) as file:
        reader = JournalReader(file)
        assert reader.totals() == Journal(store).totals()
        assert verify(file) == []


COLUMNS = {"journal": (*FIELDS, "hash"), "balance": ("account", "ledger", "amount")}


def flip_a_bit(raw: sqlite3.Connection, table: str, column: str, draw: random.Random) -> None:
    """In one value of a column, wherever it stands."""
    [kind] = raw.execute(f"select typeof({column}) from {table} limit 1").fetchone()
    values = raw.execute(f"select distinct cast({column} as blob) from {table}").fetchall()
    old: bytes = draw.choice([value for (value,) in values if value])
    new: int | bytes
    if kind == "integer" or column == "reverses":
        new, cast = int(old) ^ 1 << draw.randrange(5, 40), "?"
    else:
        changed = bytearray(old)
        changed[draw.randrange(len(old))] ^= 1 << draw.randrange(8)
        new, cast = bytes(changed), "?" if kind == "blob" else "cast(? as text)"
    raw.execute(
        f"update {table} set {column} = {cast} where cast({column} as blob) = ?", (new, old)
    )


@pytest.mark.parametrize(
    ("table", "column"), [(table, one) for table, some in COLUMNS.items() for one in some]
)
def test_a_flipped_bit_in_any_column_is_found(store: Database, table: str, column: str) -> None:
    several(store)
    draw = random.Random(f"{table} {column}")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as raw:
        raw.execute("drop trigger if exists journal_refuses_update")
        for _ in range(12):
            raw.execute("begin")
            flip_a_bit(raw, table, column, draw)
            assert verify(Connection(store.path, raw))
            raw.execute("rollback")


def test_a_flipped_bit_anywhere_in_the_file_is_found_or_harmless(
    store: Database, tmp_path: Path
) -> None:
    several(store)
    store.rows("pragma wal_checkpoint(truncate)")
    sound = store.path.read_bytes()
    journal, balances = list(Journal(store).all()), Journal(store).all_balances()
    draw, found, copy = random.Random(4), 0, tmp_path / "copy.db"
    for _ in range(300):
        bad = bytearray(sound)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        copy.write_bytes(bad)
        try:
            with ReadOnly(copy) as file:
                if file.rows("pragma quick_check(1)") != [("ok",)] or verify(file):
                    found += 1
                    continue
                assert list(JournalReader(file).all()) == journal
                assert JournalReader(file).all_balances() == balances
        except (StoreDamagedError, sqlite3.DatabaseError):
            found += 1

    assert found > 10, "most of the file is empty pages"


@pytest.mark.parametrize("number", [1, 12, 29])
def test_a_transaction_taken_out_is_missed(store: Database, number: int) -> None:
    several(store)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as raw:
        raw.execute("drop trigger journal_refuses_delete")
        raw.execute("delete from journal where number = ?", (number,))

    assert {"L3", *({"L10", "L11"} if number < 29 else ())} == {one.code for one in verify(store)}


def test_a_row_that_cannot_be_read_is_named(store: Database) -> None:
    several(store)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as forger:
        forger.execute("drop trigger journal_refuses_update")
        forger.execute("update journal set detail = cast(x'ff00fe' as text) where number = 7")

    assert [finding.transaction for finding in verify(store)] == [7]
    with pytest.raises(StoreDamagedError, match="transaction 7 cannot be read"):
        list(Journal(store).all())
