"""What waits for the next commit."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clock import ClockState
from gateway.config import StoreTable
from gateway.recorder import DELIVERED_MAX, Recorder
from gateway.store.database import Database, open_store
from gateway.store.outbox import Lane, Outbox

NOON = 1_767_268_800.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "taiqu.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def recorder_of(store: Database) -> tuple[Recorder, Outbox]:
    outbox = Outbox(store, lambda: NOON)
    limits = StoreTable()
    made = Recorder(store, outbox, "g", limits, lambda: NOON, lambda: ClockState.TRUSTED)
    return made, outbox


def test_what_was_delivered_is_noted_with_the_next_commit_and_holds_no_bodies(
    store: Database,
) -> None:
    recorder, outbox = recorder_of(store)
    with store.transaction():
        for _ in range(DELIVERED_MAX):
            outbox.add(Lane.HISTORY, "history", lambda _: bytes(10_000))

    for message in outbox.pending(Lane.HISTORY, DELIVERED_MAX):
        assert not recorder.full
        recorder.delivered(message)

    assert recorder.full
    assert recorder.unnoted("history") == set(range(1, DELIVERED_MAX + 1))
    assert recorder.unnoted("live") == set()
    assert not any(message.body for message in recorder._delivered)
    assert recorder.flush(0.0, live=True)
    assert not recorder.full
    assert recorder.unnoted("history") == set()
    assert outbox.pending(Lane.HISTORY, 1) == []
