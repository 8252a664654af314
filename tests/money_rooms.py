"""The rooms of money as the daemon has them, between a store and the tests; and mains that fail."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.acquisition.polling import Polling
from gateway.clock import ClockState
from gateway.config import load
from gateway.events import Arrived
from gateway.money.prepaid import Prepaid
from gateway.north.commands import Judge
from gateway.north.delivery import Delivery, DeliverySettings
from gateway.orders import Orders
from gateway.recorder import Recorder
from gateway.store.commands import Commands
from gateway.store.connection import Connection
from gateway.store.database import Database, open_store
from gateway.store.letterbox import Letter
from gateway.store.outbox import Message, Outbox
from gateway.store.readings import Readings
from gateway.store.startup import How
from tests.money_site import GATEWAY, KEYS


class PowerCutError(Exception):
    """The mains are gone."""


class Rooms:
    """All that has to do with money, built from the files."""

    def __init__(self, config: Path, wall: Callable[[], float], draw: random.Random) -> None:
        settings = load(config)
        assert settings.prepayment
        self.wall = wall
        settings.store_directory.mkdir(parents=True, exist_ok=True)
        path = settings.store_directory / "taiqu.db"
        self.database: Database = open_store(path, wall, draw.randbytes, ballast_bytes=0)
        assert self.database.started.how in (How.CONTINUED, How.FRESH)
        self.outbox = Outbox(self.database, wall)
        self.commands = Commands(self.database)
        self.readings = Readings(self.database)
        parts = self.database, self.outbox, GATEWAY, settings.store, wall
        self.recorder = Recorder(*parts, lambda: ClockState.TRUSTED)
        self.prepaid = Prepaid(
            settings,
            settings.prepayment,
            self.database,
            self.recorder,
            wall,
            lambda: ClockState.TRUSTED,
            None,
        )
        assert self.prepaid.sound
        delivery: Delivery[Message] = Delivery(DeliverySettings(brokers=("mqtt://one",)), draw)
        self.orders = Orders(
            Judge(GATEWAY, KEYS),
            self.commands,
            self.outbox,
            Polling((), (), draw.random),
            self.recorder,
            delivery,
            lambda _line, _job: None,
        )
        self.orders.cashier = self.prepaid

    def arrive(self, payload: bytes) -> None:
        """A command from the head-end; when this returns it may be acknowledged."""
        event = Arrived(1, 1, f"taiqu/v1/{GATEWAY}/commands", payload, False)
        self.orders.arrived(event, self.wall(), self.wall(), trusted=True, live=False)

    def post(self, id_: str, payload: bytes) -> None:
        """A technician's letter."""
        letter = Letter(id=id_, who="technician", what=payload, posted=self.wall())
        self.orders.letter(letter, self.wall(), self.wall(), trusted=True, live=False)


class Mains:
    """Fail at a random write, in the middle of a transaction, once in so many writes."""

    def __init__(self, draw: random.Random, writes_per_cut: int) -> None:
        self._draw = draw
        self._writes_per_cut = writes_per_cut
        self._left = self._next()
        self.cuts = 0

    def feed(self, rooms: Rooms) -> None:
        """From now on these rooms may lose their power."""
        for name in ("write", "write_all"):
            may_fail = self._wrapped(rooms.database, getattr(rooms.database, name))
            setattr(rooms.database, name, may_fail)

    def fail(self, rooms: Rooms) -> None:
        """The rooms are gone; their directory holds what the disk held at that instant."""
        directory = rooms.database.path.parent
        with rooms.database._held.pop_all():
            Connection.close(rooms.database)
        shutil.rmtree(directory)
        directory.with_name("image").rename(directory)

    def _wrapped(self, database: Database, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*of: Any) -> Any:
            self._left -= 1
            if self._left > 0:
                return write(*of)
            self._left = self._next()
            self.cuts += 1
            directory = database.path.parent
            ignored = shutil.ignore_patterns("*-shm", "*.lock")
            shutil.copytree(directory, directory.with_name("image"), ignore=ignored)
            raise PowerCutError

        return wrapped

    def _next(self) -> int:
        return self._draw.randint(1, 2 * self._writes_per_cut)
