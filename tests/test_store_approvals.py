"""Votes and precautions as they are kept: they only grow."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.disconnection.votes import Action, Step, Vote
from gateway.store.approvals import ApprovalReader, Approvals
from gateway.store.database import Database, ReadOnly, open_store
from gateway.store.precautions import PrecautionReader, Precautions, Served, Stop

NOON = 1_767_268_800.0
VOTE = Vote(
    id="v-1",
    action=Action.DISCONNECT,
    step=Step.APPROVAL,
    key="chief",
    account="1001",
    request="r-1",
    debt_max_e4=1_000_000,
    not_before=NOON,
    expires=NOON + 100,
    received=NOON + 1,
)
MANY = replace(
    VOTE, id="v-2", step=Step.DELEGATION, account="", accounts=("1001", "1002"), policies=("家",)
)
SERVED = Served(
    account="1001",
    round=2,
    what="notice",
    channel="sms",
    served=NOON,
    receipt="DELIVRD",
    key="asker",
    received=NOON + 1,
)
STOP = Stop(id="s-1", key="watch", by="key watch", reason="storm", at=NOON)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def filled(store: Database) -> tuple[Approvals, Precautions]:
    votes, precautions = Approvals(store), Precautions(store)
    with store.transaction():
        for vote in (VOTE, MANY, replace(VOTE, id="v-3", account="1002", request="")):
            votes.add(vote)
        votes.end("v-3", NOON, "key chief", "revoked: wrong house")
        votes.unprotected("1001", NOON, frozenset(("ward", "guard")))
        precautions.add_served(SERVED)
        precautions.add_served(replace(SERVED, round=3))
        precautions.put_calendar(1, "{}", "guard", NOON)
        precautions.put_calendar(5, '{"a":1}', "guard", NOON)
        precautions.put_weather("frost", NOON + 10, "guard", NOON)
        precautions.put_weather("", NOON + 20, "guard", NOON)
        precautions.add_stop(STOP)
        precautions.add_stop(replace(STOP, id="s-2", key="", by="alice"))
        precautions.end_stop("s-2", NOON + 5, "alice")
        precautions.set_dry_run("key watch", "try", NOON, dry=True)
    return votes, precautions


def test_what_is_kept_is_read_by_another_process(store: Database) -> None:
    filled(store)
    with ReadOnly(store.path) as file:
        votes, precautions = ApprovalReader(file), PrecautionReader(file)
        assert votes.vote("v-1") == VOTE
        assert votes.vote("v-2") == MANY
        assert votes.vote("v-9") is None
        assert votes.standing(NOON) == [VOTE, MANY]
        assert votes.ended("v-3") == "revoked: wrong house"
        assert votes.ended("v-1") == ""
        assert (votes.unprotected_at("1001"), votes.unprotected_at("1002")) == (NOON, None)
        assert precautions.served("1001") == [SERVED, replace(SERVED, round=3)]
        assert precautions.served("1001", 3) == [replace(SERVED, round=3)]
        assert precautions.served("1002") == []
        assert precautions.calendar() == (5, '{"a":1}')
        assert precautions.weather() == ("", NOON + 20)
        assert precautions.stops() == [STOP]
        assert precautions.dry_run() is True


def test_what_stands_for_an_account(store: Database) -> None:
    votes, _ = filled(store)
    assert votes.standing(NOON, "1001") == [VOTE, MANY]
    assert votes.standing(NOON, "1002") == [MANY], "v-3 was revoked"
    assert votes.standing(NOON + 100) == []


def test_a_vote_ends_once(store: Database) -> None:
    votes, _ = filled(store)
    with store.transaction():
        assert votes.end("v-1", NOON, "key chief", "used")
        assert not votes.end("v-1", NOON, "key chief", "revoked")
    assert votes.ended("v-1") == "used"
    assert votes.standing(NOON) == [MANY]


def test_nothing_was_said_yet(store: Database) -> None:
    precautions = PrecautionReader(store)
    assert precautions.calendar() is None
    assert precautions.weather() is None
    assert precautions.stops() == []
    assert precautions.dry_run() is None


@pytest.mark.parametrize(
    "table",
    [
        *("approval", "approval_end", "unprotected", "notice_served", "calendar", "weather"),
        *("stop", "stop_end", "dry_run"),
    ],
)
def test_nothing_is_changed_or_deleted(store: Database, table: str) -> None:
    filled(store)
    [(column,)] = store.rows("select name from pragma_table_info(?) limit 1", table)
    change = f"update {table} set {column} = {column}"  # noqa: S608 - our own words
    for sql in (f"delete from {table}", change):  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match="never"), store.transaction():
            store.write(sql)


def test_the_same_vote_is_not_given_twice(store: Database) -> None:
    votes, _ = filled(store)
    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        votes.add(replace(VOTE, key="deputy"))
    assert votes.vote("v-1") == VOTE
