"""The gateway's disk in memory, and mains that fail on either side of a commit.

What was committed outlives every object that stands around it.  Nothing is synced here: what a
medium loses is tested by tests/test_store_powercut.py.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random

from gateway.prepayment.tariff_reader import parse
from gateway.store.ballast import Ballast
from gateway.store.database import Database
from gateway.store.head import Head, HeadFile
from gateway.store.outbox import Lane, Outbox
from gateway.store.startup import How
from gateway.store.tariffs import Tariffs, TariffVersion
from gateway.store.upgrade import upgrade
from tests.money_rig import flat

NOWHERE = Path("torture.db")


class PowerCutError(Exception):
    """The mains are gone."""


class MemoryHead(HeadFile):
    """The head file without a file."""

    def __init__(self) -> None:
        self.remembered: Head | None = None

    def write(self, head: Head) -> None:
        self.remembered = head

    def close(self) -> None:
        pass


class Platter:
    """What stays: the committed rows and the head file."""

    def __init__(self) -> None:
        self.connection = _connect()
        _template().backup(self.connection)
        self.head = MemoryHead()
        self.published: list[tuple[str, bytes]] = []
        """Kind and body of each message since somebody looked, committed."""


class Disk(Database):
    """The database of one life.  ``fails`` says whether the mains fail in this transaction."""

    def __init__(self, platter: Platter, fails: Callable[[], bool], draw: Random) -> None:
        ballast = Ballast(NOWHERE, 0, draw.randbytes)
        super().__init__(NOWHERE, platter.connection, platter.head, ballast)
        self.platter, self._fails, self._draw = platter, fails, draw
        self.said: list[tuple[str, bytes]] = []

    def power_up(self, wall: float) -> None:
        self.begin(wall, self._draw.randbytes, damage="", without_log=False)
        assert self.started.how in (How.CONTINUED, How.FRESH), self.started

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        fails = self._fails()
        before = fails and self._draw.random() < 0.5
        self.said.clear()
        with super().transaction():
            yield
            if before:
                raise PowerCutError
        self.platter.published += self.said
        if fails:
            raise PowerCutError


class Ears(Outbox):
    """An outbox that remembers what it was given."""

    def __init__(self, disk: Disk, now: Callable[[], float]) -> None:
        super().__init__(disk, now)
        self._disk = disk

    def add(self, lane: Lane, kind: str, build: Callable[[int], bytes]) -> int:
        def built(seq: int) -> bytes:
            body = build(seq)
            self._disk.said.append((kind, body))
            return body

        return super().add(lane, kind, built)


def _connect() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for setting in ("foreign_keys = on", "recursive_triggers = on", "temp_store = memory"):
        connection.execute(f"pragma {setting}")
    return connection


@cache
def _template() -> sqlite3.Connection:
    """A new database with one tariff; its nights were all looked at already."""
    connection = _connect()
    upgrade(connection, NOWHERE)
    disk = Disk.__new__(Disk)
    Database.__init__(disk, NOWHERE, connection, MemoryHead(), Ballast(NOWHERE, 0, bytes))
    tariff = parse(flat())
    with Database.transaction(disk):
        Tariffs(disk).put(
            TariffVersion(
                id=tariff.id,
                version=tariff.version,
                digest=tariff.digest,
                text=flat(),
                valid_from=tariff.valid_from,
                received=0.0,
            )
        )
        # Tests of money look at the books every night; the charges here come of no readings.
        disk.set_meta("digest of", "9999-12-31")
    return connection
