import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlite_utils
from sqlite_utils import Migrations

from gateway.store import schema, upgrade
from gateway.store.commands import Commands
from gateway.store.database import Database, ReadOnly, open_store
from gateway.store.faults import DiskFullError, LockedError, StoreDamagedError, StoreIOError
from gateway.store.learned import Learned
from gateway.store.outbox import Lane, Outbox
from gateway.store.schema import StoreForeignError, StoreNewerError, migrations
from gateway.store.startup import How, StoreBusyError

GOLDEN = Path(__file__).parent / "golden"
NOON = 1_767_268_800.0
Open = Callable[[], Database]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "taiqu.db"


@pytest.fixture
def open_it(path: Path) -> Iterator[Open]:
    entropy = random.Random(1)
    with contextlib.ExitStack() as opened:

        def opener() -> Database:
            store = open_store(
                path, lambda: NOON, entropy.randbytes, ballast_bytes=0, busy_timeout_ms=20
            )
            opened.callback(close_quietly, store)
            return store

        yield opener


def close_quietly(store: Database) -> None:
    """Whatever state a test left it in."""
    with contextlib.suppress(sqlite3.ProgrammingError):
        store.close()


def add(store: Database, lane: Lane, count: int = 1) -> None:
    outbox = Outbox(store, lambda: NOON)
    with store.transaction():
        for _ in range(count):
            outbox.add(lane, "events", lambda seq: b"%d" % seq)


def carry(source: Path, target: Path, *, without: str = "") -> None:
    """What a cut would leave: the files as they are while the daemon has them open."""
    target.mkdir()
    for file in source.glob("taiqu.db*"):
        if not without or not file.name.endswith(without):
            shutil.copy(file, target)


def test_every_setting_is_read_back(open_it: Open) -> None:
    store = open_it()

    assert store.rows("pragma journal_mode") == [("wal",)]
    assert store.rows("pragma synchronous") == [(2,)]
    assert store.rows("pragma foreign_keys") == [(1,)]
    assert store.rows("pragma secure_delete") == [(0,)]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StoreIOError, match=r"nowhere/t\.db\.lock: No such file or directory; check"
    ):
        open_store(tmp_path / "nowhere" / "t.db", lambda: NOON, os.urandom, ballast_bytes=0)


def test_a_store_goes_on_where_it_was(open_it: Open) -> None:
    store = open_it()
    epoch = store.epoch
    add(store, Lane.LIVE, 3)
    with store.transaction():
        store.set_meta("time floor", "1767268800")
        store.set_meta("time floor", "1767268801")
    store.close()

    again = open_it()

    assert again.started.how is How.CONTINUED
    assert again.epoch == epoch
    assert again.meta("time floor") == "1767268801"
    assert again.meta("never set") is None
    assert Outbox(again, lambda: NOON).marks()[Lane.LIVE].last == 3


def test_a_cut_before_the_first_number_tells_the_beginning_again(open_it: Open) -> None:
    first = open_it()
    first.close()
    second = open_it()
    assert (second.started.how, second.epoch) == (How.FRESH, first.epoch)

    add(second, Lane.URGENT)
    second.close()
    assert open_it().started.how is How.CONTINUED


def test_an_older_copy_put_back_is_a_new_epoch(path: Path, open_it: Open, tmp_path: Path) -> None:
    store = open_it()
    add(store, Lane.LIVE, 2)
    store.close()
    shutil.copy(path, tmp_path / "copy")
    store = open_it()
    add(store, Lane.LIVE, 3)
    store.note_head(0.0)
    store.close()
    shutil.copy(tmp_path / "copy", path)

    again = open_it()

    assert again.started.how is How.ROLLED_BACK
    assert again.started.detail == "live ends at 2 of 5"
    assert again.epoch != store.epoch
    assert again.started.previous == store.epoch


def test_a_file_without_its_head_is_a_new_epoch(path: Path, open_it: Open) -> None:
    store = open_it()
    add(store, Lane.LIVE)
    store.close()
    path.with_name("taiqu.db.head").unlink()

    again = open_it()

    assert again.started.how is How.RESTORED
    assert again.epoch != store.epoch
    assert again.started.previous == store.epoch


def test_another_gateways_file_is_a_new_epoch(path: Path, open_it: Open, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with open_store(other, lambda: NOON, os.urandom, ballast_bytes=0) as store:
        add(store, Lane.LIVE, 9)
    ours = open_it()
    add(ours, Lane.LIVE, 2)
    ours.close()
    shutil.copy(other, path)

    again = open_it()
    assert again.started.how is How.RESTORED
    assert again.started.previous == ours.epoch, "what this gateway's head-end knows"


def test_a_lost_log_is_noticed_though_the_head_file_did_not_know(
    path: Path, open_it: Open, tmp_path: Path
) -> None:
    """SQLite itself finds nothing wrong: what remains is a valid, older database."""
    store = open_it()
    add(store, Lane.LIVE)
    store.note_head(0.0)
    store.close()
    store = open_it()
    add(store, Lane.LIVE)
    store.note_head(0.0)
    store.rows("pragma wal_checkpoint(passive)")
    add(store, Lane.LIVE, 5)
    store.note_head(1.0)  # within the minute, so not written
    carry(path.parent, tmp_path / "cut", without="-wal")
    carry(path.parent, tmp_path / "whole")

    for name, how in (("cut", How.ROLLED_BACK), ("whole", How.CONTINUED)):
        copy = tmp_path / name / "taiqu.db"
        with open_store(copy, lambda: NOON, os.urandom, ballast_bytes=0) as found:
            assert found.started.how is how


def test_a_missing_file_that_is_remembered_is_not_a_first_start(path: Path, open_it: Open) -> None:
    store = open_it()
    add(store, Lane.URGENT)
    store.close()
    path.unlink()

    again = open_it()
    assert (again.started.how, again.started.previous) == (How.MISSING, store.epoch)
    again.close()
    again = open_it()
    assert again.started.previous == store.epoch, "nobody was told before the next start"


@pytest.mark.parametrize("damage", ["empty", "cut short", "rubbish", "page zeroed"])
def test_a_damaged_file_is_set_aside(path: Path, open_it: Open, damage: str) -> None:
    store = open_it()
    add(store, Lane.LIVE, 100)
    store.close()
    good = path.read_bytes()
    bad = {
        "empty": b"",
        "cut short": good[: len(good) // 2],
        "rubbish": random.Random(2).randbytes(len(good)),
        "page zeroed": good[:4096] + bytes(4096) + good[8192:],
    }[damage]
    path.write_bytes(bad)

    again = open_it()

    assert again.started.how is How.DAMAGED
    assert again.epoch != store.epoch
    assert again.started.previous == store.epoch
    assert path.with_name("taiqu.db.corrupt.1").read_bytes() == bad
    add(again, Lane.LIVE)


def test_a_damaged_name_in_the_schema_is_damage(path: Path, open_it: Open) -> None:
    """SQLite quotes the name in its complaint, and Python cannot read that."""
    open_it().close()
    content = path.read_bytes()
    bad = content.replace(b"tablelearned", b"tablel\xe5arned").replace(
        b"CREATE TABLE le", b"CREATE TABLX le"
    )
    path.write_bytes(bad)

    assert open_it().started.how is How.DAMAGED


def test_damage_under_the_feet_ends_all_writing(path: Path, open_it: Open) -> None:
    store = open_it()
    add(store, Lane.LIVE, 1000)
    store.rows("pragma wal_checkpoint(truncate)")
    store.rows("pragma shrink_memory")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))

    with pytest.raises(StoreDamagedError, match="restart the daemon: it checks the file"):
        add(store, Lane.LIVE)
    with pytest.raises(StoreDamagedError), store.transaction():
        pytest.fail("a transaction after damage")


def test_a_second_daemon_is_told_who_has_the_store(open_it: Open) -> None:
    open_it()

    with pytest.raises(StoreBusyError, match=f"process {os.getpid()}.*systemctl stop taiqu"):
        open_it()


def test_another_process_that_writes_is_named_and_waited_out(path: Path, open_it: Open) -> None:
    store = open_it()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")

    with pytest.raises(LockedError, match="another program is writing"):
        add(store, Lane.URGENT)
    other.execute("rollback")
    other.close()

    add(store, Lane.URGENT)
    assert Outbox(store, lambda: NOON).marks()[Lane.URGENT].last == 1


def test_others_may_read_and_only_read(path: Path, open_it: Open) -> None:
    store = open_it()
    add(store, Lane.LIVE, 2)

    with ReadOnly(path) as reader:
        assert reader.row("select last from lane") == (2,)
        with pytest.raises(StoreIOError, match="readonly"):
            reader.rows("delete from lane")


def test_reading_where_there_is_nothing_is_an_error_with_advice(path: Path) -> None:
    with pytest.raises(StoreIOError, match="check that it is there"):
        ReadOnly(path)
    assert not path.exists()


def test_a_transaction_is_all_or_nothing(open_it: Open) -> None:
    store = open_it()

    with contextlib.suppress(KeyError), store.transaction():
        store.set_meta("half", "done")
        raise KeyError

    assert store.meta("half") is None


def test_transactions_do_not_nest_and_changes_need_one(open_it: Open) -> None:
    store = open_it()

    with pytest.raises(RuntimeError, match="outside a transaction"):
        store.set_meta("a", "b")
    with (
        pytest.raises(RuntimeError, match="inside another"),
        store.transaction(),
        store.transaction(),
    ):
        pytest.fail("nested")
    assert store.meta("a") is None


def test_closed_while_another_holds_the_lock_it_is_continued(path: Path, open_it: Open) -> None:
    store = open_it()
    add(store, Lane.LIVE, 3)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        store.close()
        other.execute("rollback")
        again = open_it()

    assert again.started.how is How.CONTINUED
    assert again.epoch == store.epoch
    assert len(Outbox(again, lambda: NOON).pending(Lane.LIVE, 10)) == 3


def test_a_full_disk_changes_nothing_and_shedding_makes_room(open_it: Open) -> None:
    store = open_it()
    outbox = Outbox(store, lambda: NOON, segment_bytes_max=20_000)
    store.rows("pragma max_page_count = 200")

    def fill() -> None:
        for _ in range(1000):
            with store.transaction():
                outbox.add(Lane.LIVE, "readings", lambda _: os.urandom(2000))

    with pytest.raises(DiskFullError, match="free space on its file system"):
        fill()
    full = outbox.marks()[Lane.LIVE]
    with store.transaction():
        lost = outbox.shed(full.pending_bytes // 2, 86_400, NOON)
    with store.transaction():
        outbox.add(Lane.URGENT, "events", lambda _: os.urandom(2000))

    assert full.pending == full.last > 50
    assert lost[0].first == 1
    assert outbox.marks()[Lane.LIVE].pending == full.last - sum(shed.count for shed in lost)
    assert outbox.marks()[Lane.URGENT].pending == 1


def test_the_ballast_is_real_space_that_can_be_given_up(path: Path) -> None:
    size = 300_000
    with open_store(path, lambda: NOON, os.urandom, ballast_bytes=size) as store:
        ballast = path.with_name("taiqu.db.ballast")
        assert ballast.stat().st_size == size
        assert ballast.stat().st_blocks * 512 >= size

        assert store.release_ballast()
        assert not ballast.exists()
        assert not store.release_ballast()
        assert store.restore_ballast()
        assert ballast.stat().st_size == size


def test_no_ballast_where_it_would_fill_the_disk(path: Path) -> None:
    free = os.statvfs(path.parent)
    too_big = free.f_bavail * free.f_frsize
    with open_store(path, lambda: NOON, os.urandom, ballast_bytes=too_big) as store:
        assert not store.restore_ballast()
        assert not path.with_name("taiqu.db.ballast").exists()


def test_the_head_is_noted_at_once_for_urgent_and_once_a_minute_else(
    path: Path, open_it: Open
) -> None:
    store = open_it()
    head = path.with_name("taiqu.db.head")

    def noted(lane: Lane, at_s: float) -> bool:
        before = head.read_bytes()
        add(store, lane)
        store.note_head(at_s)
        return head.read_bytes() != before

    assert noted(Lane.LIVE, 100.0)  # the first after opening
    assert not noted(Lane.LIVE, 159.0)
    assert noted(Lane.URGENT, 159.5)
    assert not noted(Lane.LIVE, 160.0)
    assert noted(Lane.LIVE, 219.5)


def test_a_newer_file_is_refused_with_the_way_out(path: Path, open_it: Open) -> None:
    open_it().close()
    file = sqlite_utils.Database(path)
    file.table("_sqlite_migrations").insert(
        {"migration_set": "taiqu", "name": "m999_future", "applied_at": "2031"}
    )
    file.close()

    with pytest.raises(StoreNewerError, match=r"m999_future.*install that release again"):
        open_it()


def test_another_programs_file_is_left_alone(path: Path, open_it: Open) -> None:
    file = sqlite_utils.Database(path)
    file.table("music").insert({"title": "Ode"})
    file.close()

    with pytest.raises(StoreForeignError, match="another program"):
        open_it()
    file = sqlite_utils.Database(path)
    assert file.table("music").count == 1
    file.close()


def test_a_first_start_that_was_cut_off_is_completed(path: Path, open_it: Open) -> None:
    file = sqlite_utils.Database(path)
    migrations.ensure_migrations_table(file)
    file.close()

    assert open_it().started.how is How.FRESH


def first_release(path: Path) -> None:
    """A file as release 0.1.0 left it, with three messages, a command and a refusal in it."""
    file = sqlite3.connect(path)
    file.executescript((GOLDEN / "store-m001.sql").read_text())
    file.close()


def test_a_file_of_the_first_release_is_opened_with_its_data(path: Path, open_it: Open) -> None:
    first_release(path)

    store = open_it()

    outbox = Outbox(store, lambda: NOON)
    assert store.started.how is How.RESTORED  # it came without its head file
    assert [m.body for m in outbox.pending(Lane.LIVE, 9)] == [b"first", b"second"]
    assert [m.kind for m in outbox.pending(Lane.URGENT, 9)] == ["events"]
    assert Commands(store).open() == ["c-1"]
    assert [refused.key for refused in Learned(store).refused()] == ["0001FF00"]


def test_the_first_migration_is_never_edited(path: Path, open_it: Open, tmp_path: Path) -> None:
    first_release(tmp_path / "first.db")
    fresh = sqlite_utils.Database(tmp_path / "fresh.db")
    migrations.apply(fresh, stop_before="m002_freezes")
    shipped = sqlite_utils.Database(tmp_path / "first.db")

    made = {table.name: table.schema for table in fresh.tables}
    before = {t.name: t.schema for t in shipped.tables if not t.name.startswith("outbox_")}
    fresh.close()
    shipped.close()
    assert made == before


def with_one_more(name: str, change: Callable[[sqlite_utils.Database], None]) -> Migrations:
    """All our migrations and another."""
    later = Migrations("taiqu")
    with contextlib.closing(sqlite_utils.Database(memory=True)) as empty:
        for one in migrations.pending(empty):
            later(name=one.name)(one.fn)
    later(name=name)(change)
    return later


def test_every_migration_is_known_without_loading_them(open_it: Open) -> None:
    open_it().close()
    with contextlib.closing(sqlite_utils.Database(memory=True)) as empty:
        every = [one.name for one in migrations.pending(empty)]

    assert list(upgrade.MIGRATIONS) == every


def test_a_file_that_needs_no_migration_is_opened_without_the_library_for_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "taiqu.db"
    code = (
        "import sys; from pathlib import Path; from gateway.store.database import open_store;"
        f"open_store(Path({str(path)!r}), lambda: 0.0, bytes, ballast_bytes=1).close();"
        "print('sqlite_utils' in sys.modules)"
    )
    said = [subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)]

    assert said == ["True\n", "False\n"]


def test_a_later_migration_keeps_what_is_there(
    path: Path, open_it: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_it()
    add(store, Lane.LIVE, 2)
    store.close()

    def change(db: sqlite_utils.Database) -> None:
        db.execute("alter table learned add column more text")

    monkeypatch.setattr(schema, "migrations", with_one_more("m999_later", change))
    monkeypatch.setattr(upgrade, "MIGRATIONS", (*upgrade.MIGRATIONS, "m999_later"))

    store = open_it()

    assert store.started.how is How.CONTINUED
    assert store.rows("select more from learned") == []
    assert len(Outbox(store, lambda: NOON).pending(Lane.LIVE, 10)) == 2


def test_a_migration_that_fails_leaves_the_old_file(
    path: Path, open_it: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_it().close()

    def broken(db: sqlite_utils.Database) -> None:
        db.execute("drop table learned")
        raise KeyError

    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrations", with_one_more("m999_broken", broken))
        patched.setattr(upgrade, "MIGRATIONS", (*upgrade.MIGRATIONS, "m999_broken"))
        with pytest.raises(KeyError):
            open_it()

    assert Learned(open_it()).refused() == []
