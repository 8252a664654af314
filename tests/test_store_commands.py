import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.commands import Commands, Known, Result
from gateway.store.database import Database, open_store

NOON = 1_767_268_800.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def test_a_command_is_new_once(store: Database) -> None:
    commands = Commands(store)

    with store.transaction():
        assert commands.remember("c-1", "digest", "head-end", NOON) is Known.NEW
    with store.transaction():
        assert commands.remember("c-1", "digest", "head-end", NOON + 9) is Known.KNOWN
        assert commands.remember("c-1", "other", "head-end", NOON + 9) is Known.CONFLICT
        assert commands.remember("c-2", "digest", "technician", NOON) is Known.NEW


def test_a_repeated_command_gets_the_same_results(store: Database) -> None:
    commands = Commands(store)
    accepted = Result(stage="accepted", at=NOON)
    done = Result(stage="confirmed", reason="read back", data='{"v":1}', at=NOON + 2, final=True)
    with store.transaction():
        commands.remember("c-1", "digest", "head-end", NOON)
        commands.add_result("c-1", accepted)
    assert commands.results("c-1") == [accepted]
    assert commands.open() == ["c-1"]

    with store.transaction():
        commands.add_result("c-1", done)

    assert commands.results("c-1") == [accepted, done]
    assert commands.open() == []
    assert commands.results("never seen") == []


def test_money_and_what_is_unfinished_is_never_forgotten(store: Database) -> None:
    commands = Commands(store)
    final = Result(stage="confirmed", at=NOON, final=True)
    with store.transaction():
        for command, keep, result in (
            ("read", False, final),
            ("top-up", True, final),
            ("running", False, Result(stage="accepted", at=NOON)),
        ):
            commands.remember(command, "digest", "head-end", NOON, keep=keep)
            commands.add_result(command, result)

    with store.transaction():
        assert commands.forget(before=NOON) == 0
        assert commands.forget(before=NOON + 1) == 1

    assert commands.results("read") == []
    assert commands.results("top-up") == [final]
    with store.transaction():
        assert commands.remember("running", "digest", "head-end", NOON) is Known.KNOWN
