"""The letterbox itself: what is posted is read once, and nothing done to it does harm."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.commands import Commands
from gateway.store.commands import Result as AnswerRow
from gateway.store.database import open_store
from gateway.store.faults import LockedError, StoreDamagedError, StoreIOError
from gateway.store.letterbox import (
    AT_ONCE,
    FILE,
    WAITING_MAX,
    WHAT_BYTES_MAX,
    Letter,
    Letterbox,
    NoLetterboxError,
    post,
)

ROOT = os.geteuid() == 0


def letter(id_: str, what: bytes = b"{}") -> Letter:
    return Letter(id=id_, who="alice", what=what, posted=1.5)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Letterbox]:
    box = Letterbox(tmp_path / "letterbox")
    assert box.waiting() == []
    yield box
    box.close()


def ids(box: Letterbox) -> list[str]:
    return [one.id for one in box.waiting()]


def take(box: Letterbox) -> list[str]:
    """Take all that waits."""
    taken = []
    while letters := box.waiting():
        for one in letters:
            box.taken(one)
            taken.append(one.id)
    box.clear()
    return taken


def count(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (found,) = connection.execute("select count(*) from letter").fetchone()
    connection.close()
    return int(found)


def test_a_letter_comes_as_it_was_posted(box: Letterbox) -> None:
    post(box.path.parent, letter("c-1", b'{"id":"c-1"}'))

    (found,) = box.waiting()
    assert found == Letter(number=1, id="c-1", who="alice", what=b'{"id":"c-1"}', posted=1.5)


def test_letters_are_shown_until_they_are_taken_and_then_gone(box: Letterbox) -> None:
    for n in range(AT_ONCE + 3):
        post(box.path.parent, letter(f"c-{n}"))

    assert ids(box) == ids(box) == [f"c-{n}" for n in range(AT_ONCE)]
    assert take(box) == [f"c-{n}" for n in range(AT_ONCE + 3)]
    assert ids(box) == []
    assert count(box.path) == 0
    post(box.path.parent, letter("again"))
    assert take(box) == ["again"]


def test_looking_into_an_empty_box_reads_nothing(box: Letterbox) -> None:
    assert box._connection
    asked: list[str] = []
    box._connection.set_trace_callback(asked.append)
    for _ in range(5):
        assert box.waiting() == []
    assert asked == ["pragma data_version"] * 5


def test_an_id_that_waits_already_waits_once(box: Letterbox) -> None:
    post(box.path.parent, letter("c-1", b"first"))
    post(box.path.parent, letter("c-1", b"second"))

    assert [one.what for one in box.waiting()] == [b"first"]


def test_what_was_taken_and_not_cleared_is_shown_after_a_restart(box: Letterbox) -> None:
    """The core knows it by its id."""
    post(box.path.parent, letter("c-1"))
    (found,) = box.waiting()
    box.taken(found)
    assert box.waiting() == []

    other = Letterbox(box.path.parent)
    assert ids(other) == ["c-1"]
    other.close()


# --- permissions ----------------------------------------------------------------------------------


def test_the_group_may_order_and_nobody_else(box: Letterbox) -> None:
    assert box.path.parent.stat().st_mode & 0o7777 == 0o2770
    assert box.path.stat().st_mode & 0o777 == 0o660


POST_AS = """
import os, sys
from pathlib import Path
from gateway.store.letterbox import Letter, NoLetterboxError, post
os.setgroups([int(group) for group in sys.argv[3].split(",") if group])
os.setgid(4242)
os.setuid(4242)
try:
    post(Path(sys.argv[1]), Letter(id=sys.argv[2], who="bob", what=b"{}", posted=0.0))
except NoLetterboxError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_another_user_may_post_if_he_is_of_the_group() -> None:
    # Not in pytest's own directory: that is closed to everybody else.
    with tempfile.TemporaryDirectory() as folder, closing(Letterbox(Path(folder) / "box")) as box:
        Path(folder).chmod(0o755)
        assert box.waiting() == []
        for path in (box.path.parent, box.path):
            os.chown(path, -1, 4343)
        box.path.parent.chmod(0o2770)

        def as_bob(id_: str, groups: str) -> str:
            command = [sys.executable, "-c", POST_AS, str(box.path.parent), id_, groups]
            return subprocess.run(command, capture_output=True, text=True, check=False).stderr

        assert "you may not post here" in as_bob("c-1", "")
        assert as_bob("c-2", "4343") == ""
        journal = box.path.with_name(box.path.name + "-journal").stat()
        assert (journal.st_gid, journal.st_mode & 0o777) == (4343, 0o660)
        assert take(box) == ["c-2"]


READ_AS = """
import os, sys
from pathlib import Path
from gateway.store.commands import Answers
from gateway.store.database import ReadOnly
os.setgroups([int(group) for group in sys.argv[2].split(",") if group])
os.setgid(4242)
os.setuid(4242)
with ReadOnly(Path(sys.argv[1])) as file:
    print([one.stage for one in Answers(file).results("c-1")])
"""


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_the_group_may_read_the_answers_while_the_gateway_runs() -> None:
    """With the unit's UMask and StateDirectoryMode."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / "state"
        state.mkdir()
        os.chown(state, -1, 4343)
        state.chmod(0o2750)
        umask = os.umask(0o027)
        try:
            store = open_store(state / "taiqu.db", lambda: 0.0, os.urandom, ballast_bytes=0)
        finally:
            os.umask(umask)
        with store, store.transaction():
            commands = Commands(store)
            commands.remember("c-1", "d", "i", 0.0)
            commands.add_result("c-1", AnswerRow(stage="confirmed", at=0.0, final=True))
        store = open_store(state / "taiqu.db", lambda: 0.0, os.urandom, ballast_bytes=0)

        def as_bob(groups: str) -> str:
            command = [sys.executable, "-c", READ_AS, str(store.path), groups]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout

        with store:
            assert as_bob("4343") == "['confirmed']\n"
            assert as_bob("") == ""


def test_without_a_letterbox_the_writer_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoLetterboxError, match="no letterbox there; the gateway makes one"):
        post(tmp_path / "letterbox", letter("c-1"))
    assert not (tmp_path / "letterbox").exists()


# --- strangers ------------------------------------------------------------------------------------


def tampered(box: Letterbox, *statements: str) -> None:
    with sqlite3.connect(box.path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "create trigger t after delete on letter begin delete from letter; end",
        "create view v as select 1",
        "alter table letter add column x text",
        "drop table letter",
    ],
)
def test_a_letterbox_that_was_tampered_with_is_set_aside(box: Letterbox, statement: str) -> None:
    post(box.path.parent, letter("c-1"))
    tampered(box, statement)

    with pytest.raises(StoreDamagedError, match="not a letterbox of ours"):
        box.waiting()
    with pytest.raises(StoreDamagedError, match="not a letterbox of ours"):
        post(box.path.parent, letter("c-2"))
    aside = box.set_aside()

    assert aside is not None
    assert aside.name == f"{FILE}.corrupt.1"
    assert box.waiting() == []
    post(box.path.parent, letter("c-3"))
    assert take(box) == ["c-3"]


@pytest.mark.parametrize("garbage", [b"", b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_garbage_is_set_aside(box: Letterbox, garbage: bytes) -> None:
    box.close()
    box.path.write_bytes(garbage)
    with pytest.raises(StoreDamagedError):
        box.waiting()
    box.set_aside()
    assert box.waiting() == []


def test_a_link_or_a_directory_in_its_place_is_set_aside(box: Letterbox, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"do not touch")
    for n in range(3):
        box.close()
        box.path.unlink()
        if n == 0:
            box.path.symlink_to(precious)
        elif n == 1:
            os.link(precious, box.path)
        else:
            box.path.mkdir()
        with pytest.raises(StoreDamagedError, match="not a plain file"):
            box.waiting()
        box.set_aside()
        assert box.waiting() == []
    assert precious.read_bytes() == b"do not touch"


def test_a_file_that_grows_without_end_is_set_aside(box: Letterbox) -> None:
    box.close()
    os.truncate(box.path, 17 * 1024 * 1024)
    with pytest.raises(StoreDamagedError, match="bytes large"):
        box.waiting()


def test_a_file_that_is_replaced_or_removed_is_noticed(box: Letterbox) -> None:
    box.path.unlink()
    assert box.waiting() == []
    post(box.path.parent, letter("c-1"))
    assert take(box) == ["c-1"]


def test_what_is_no_text_and_what_is_too_long_comes_cut(box: Letterbox) -> None:
    with sqlite3.connect(box.path) as connection:
        connection.execute(
            "insert into letter (id, who, what, posted) values"
            " (cast(x'ff' as text), cast(zeroblob(1000) as text), zeroblob(1000000), 0.0)"
        )
    connection.close()

    (found,) = box.waiting()
    assert found.id == "�"
    assert len(found.who) <= 100
    assert len(found.what) == WHAT_BYTES_MAX + 1


def test_a_full_letterbox_refuses_more(box: Letterbox) -> None:
    with sqlite3.connect(box.path) as connection:
        connection.executemany(
            "insert into letter (id, who, what, posted) values (?, 'x', x'00', 0.0)",
            [(str(n),) for n in range(WAITING_MAX)],
        )
    connection.close()
    with pytest.raises(NoLetterboxError, match="1000 letters wait already"):
        post(box.path.parent, letter("c-1"))


def test_a_lock_is_never_waited_for(box: Letterbox) -> None:
    post(box.path.parent, letter("c-1"))
    other = sqlite3.connect(box.path, isolation_level=None)
    other.execute("begin exclusive")
    with pytest.raises(LockedError):
        box.waiting()
    other.execute("rollback")

    assert ids(box) == ["c-1"]
    other.execute("begin immediate")
    (found,) = box.waiting()
    box.taken(found)
    with pytest.raises(LockedError):
        box.clear()
    other.execute("rollback")
    other.close()
    box.clear()
    assert count(box.path) == 0


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreIOError):
        Letterbox(tmp_path / "file" / "letterbox").waiting()


# --- kill -9 --------------------------------------------------------------------------------------

POSTER = """
import os, sys
from pathlib import Path
from gateway.store.letterbox import Letter, post
n = int(sys.argv[2])
while True:
    n += 1
    post(Path(sys.argv[1]), Letter(id=f"c-{n}", who="w", what=b"x" * 5000, posted=0.0))
    os.write(1, b"%d\\n" % n)
"""


def test_kill_9_of_the_writer_loses_no_letter_and_leaves_no_lock(box: Letterbox) -> None:
    seen: list[str] = []
    n = 0
    for round_ in range(6):
        command = [sys.executable, "-c", POSTER, str(box.path.parent), str(n)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for _ in range(3 + round_):
                reported = int(child.stdout.readline())
            child.kill()
            rest = child.stdout.read().split("\n")
        reported = max(reported, *(int(line) for line in rest[:-1]), 0)
        got = take(box)
        n = int(got[-1].removeprefix("c-"))
        assert n >= reported, "what was reported was on flash"
        seen += got
    assert seen == [f"c-{number}" for number in range(1, n + 1)]
