from pathlib import Path

import pytest

from gateway.store.head import Head
from gateway.store.startup import How, judge, quarantine

A, B = "a" * 16, "b" * 16


@pytest.mark.parametrize(
    ("stored", "remembered", "parted", "how"),
    [
        (None, None, False, How.FRESH),
        (None, Head(A, {}), False, How.FRESH),  # cut off in the middle of the first start
        (None, Head(A, {"live": 1}), False, How.MISSING),
        (Head(A, {"live": 1}), None, False, How.RESTORED),
        (Head(A, {"live": 1}), Head(B, {"live": 1}), False, How.RESTORED),
        (Head(A, {"live": 9, "urgent": 1}), Head(A, {"live": 8}), False, How.CONTINUED),
        (Head(A, {"live": 9}), Head(A, {"live": 10}), False, How.ROLLED_BACK),
        (Head(A, {}), Head(A, {"urgent": 1}), False, How.ROLLED_BACK),
        (Head(A, {"live": 9}), Head(A, {"live": 9}), True, How.ROLLED_BACK),
        (Head(A, {}, 7, "AB"), Head(A, {}, 7, "AB"), False, How.CONTINUED),
        (Head(A, {}, 7, "AB"), Head(A, {}), False, How.CONTINUED),
        (Head(A, {}, 6, "AA"), Head(A, {}, 7, "AB"), False, How.ROLLED_BACK),
        (Head(A, {}, 7, "AC"), Head(A, {}, 7, "AB"), False, How.ROLLED_BACK),
    ],
)
def test_every_pair_of_heads_is_judged(
    stored: Head | None, remembered: Head | None, parted: bool, how: How
) -> None:
    assert judge(stored, remembered, parted=parted).how is how


def test_a_verdict_says_what_is_lacking() -> None:
    started = judge(Head(A, {"live": 600}), Head(A, {"live": 640, "urgent": 2}), parted=False)

    assert started.detail == "live ends at 600 of 640, urgent ends at 0 of 2"


def test_a_damaged_file_is_set_aside_with_its_log_and_the_last_three_are_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "taiqu.db"
    for number in range(1, 6):
        path.write_text(f"file {number}")
        path.with_name("taiqu.db-wal").write_text(f"log {number}")

        assert quarantine(path) == tmp_path / f"taiqu.db.corrupt.{number}"

    assert sorted(other.name for other in tmp_path.iterdir()) == [
        f"taiqu.db.corrupt.{number}{suffix}" for number in (3, 4, 5) for suffix in ("", "-wal")
    ]
    assert (tmp_path / "taiqu.db.corrupt.5-wal").read_text() == "log 5"


def test_an_orphaned_log_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / "taiqu.db-wal").write_text("orphan")

    assert quarantine(tmp_path / "taiqu.db") == tmp_path / "taiqu.db.corrupt.1"
    assert quarantine(tmp_path / "taiqu.db") is None
    assert [other.name for other in tmp_path.iterdir()] == ["taiqu.db.corrupt.1-wal"]
