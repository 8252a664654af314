"""A gateway on simulated time: the real core, store and lines; an hour passes in a blink.

``Played`` is what the daemon is on real time: the same core, with a clock that moves only from one
event to the next, simulated meters on the pairs, and somebody who hears what the gateway says.

Not supported: outages, serial faults, the letterbox.
"""

import heapq
import secrets
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

from gateway.acquisition.acts import Open, Transmit
from gateway.acquisition.line import Line
from gateway.config import Config
from gateway.core import Core
from gateway.daemon import MIB, manners_of
from gateway.events import Arrived, Delivered, Event, Job, LinkUp
from gateway.store.database import open_store
from simulators.area import Area
from simulators.line import Pair

LATENCY_S = 0.04
"""To the head-end and back."""
DRAIN_S = 10.0


class PlayedClock:
    """Moves when it is told to, and is always right."""

    def __init__(self, now: float) -> None:
        self._began, self._monotonic = now, 0.0

    def now(self) -> float:
        """Unix time."""
        return self._began + self._monotonic

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._monotonic

    def synchronised(self) -> bool:
        """Nobody else has the time here."""
        return True

    def advance(self, to: float) -> None:
        """Let it be ``to``, monotonic."""
        self._monotonic = to


class Ticking(Protocol):
    """What says how late it is."""

    def now(self) -> float:
        """Unix time."""

    def monotonic(self) -> float:
        """Seconds since some moment."""

    def synchronised(self) -> bool:
        """Whether somebody who knows the time has set it."""

    def advance(self, to: float) -> None:
        """Let it be ``to``, monotonic."""


class Stage:
    """Where time passes from one event to the next, and a core acts on what happens."""

    core: Core

    def __init__(self, clock: Ticking) -> None:
        self.clock: Ticking = clock
        self.inbox: list[Event] = []
        """What has happened, and the core does not know yet."""
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = self._turn = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have something done at a monotonic time."""
        if when < float("inf"):
            self._order += 1
            heapq.heappush(self._heap, (when, self._order, what))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something done after so many seconds."""
        self.at(self.clock.monotonic() + seconds, what)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.clock.monotonic() + seconds
        while self._heap and self._heap[0][0] <= until:
            when, _, what = heapq.heappop(self._heap)
            self.clock.advance(max(when, self.clock.monotonic()))
            what()
            self.settle()
        self.clock.advance(until)

    def settle(self) -> None:
        """Let the core act on what has happened, then on the time."""
        happened = bool(self.inbox)
        while self.inbox:
            self.core.handle(self.inbox.pop(0))
        if happened or self.clock.monotonic() >= self._next_tick:
            self.tick()

    def tick(self) -> None:
        """Let the core act on the time; it says when the next tick is due."""
        self._next_tick = self.core.tick()
        self._turn += 1
        self.at(self._next_tick, partial(self._wake, self._turn))

    def _wake(self, turn: int) -> None:
        if turn == self._turn:
            self._next_tick = self.clock.monotonic()


class Wire:
    """A line's pair: carries out what the line says, with simulated meters on it."""

    def __init__(self, stage: Stage, pair: Pair, line: Line) -> None:
        self._stage, self.pair, self.line = stage, pair, line
        self._turn = 0
        self.alive = True
        """Becomes False with the power."""

    def submit(self, job: Job) -> None:
        """Take a job of the core's."""
        self.line.submit(job, self._stage.clock.monotonic())
        self._stage.later(0.0, self.step)

    def step(self, heard: bytes = b"") -> None:
        """Go on, with what was heard."""
        clock = self._stage.clock
        while self.alive:
            act = self.line.advance(clock.monotonic(), clock.now(), heard)
            heard = b""
            if isinstance(act, Open):
                self.line.port_up(clock.monotonic())
            elif isinstance(act, Transmit):
                self._transmit(act)
            else:
                self._turn += 1
                self._stage.at(act.until, partial(self._wake, self._turn))
                return

    def _wake(self, turn: int) -> None:
        if turn == self._turn:
            self.step()

    def _transmit(self, act: Transmit) -> None:
        settings, clock = act.settings, self._stage.clock
        spent_s = len(act.data) * settings.character_s
        answers = self.pair.hear(act.data, clock.now() + spent_s, settings.baud, settings.parity)
        for delay_s, data in answers:
            ends_s = spent_s + delay_s + len(data) * settings.character_s
            self._stage.later(ends_s, partial(self.step, data))


class PlayedLink:
    """The way to the head-end: nothing is lost on it."""

    def __init__(self, played: "Played", hear: Callable[[str, bytes], None]) -> None:
        self._played, self._hear = played, hear
        self.connection = self._mid = 0

    def open(self, connection: int, broker: str) -> None:
        """Connect."""
        self.connection = connection
        self._played.tell(LinkUp(connection, broker, mqtt5=True, max_packet_bytes=0))

    def close(self) -> None:
        """Say goodbye."""
        self.connection = 0

    def publish(self, topic_: str, payload: bytes, *, retain: bool = False) -> int | None:  # noqa: ARG002
        """Have it heard, and answer."""
        if not self.connection:
            return None
        self._mid += 1
        self._hear(topic_, payload)
        self._played.tell(Delivered(self.connection, self._mid))
        return self._mid

    def acknowledge(self, arrived: Arrived) -> None:
        """It counts as told."""


class Played(Stage):
    """A gateway whose time passes as fast as it can be computed, from the Unix time ``began``.

    ``hear`` is given every message it publishes: topic and payload.
    """

    def __init__(
        self, config: Config, area: Area, began: float, hear: Callable[[str, bytes], None]
    ) -> None:
        super().__init__(PlayedClock(began))
        self._link = PlayedLink(self, hear)
        random = Random(began)
        config.store_directory.mkdir(parents=True, exist_ok=True)
        self._database = open_store(
            config.database,
            self.clock.now,
            secrets.token_bytes,
            ballast_bytes=config.store.ballast_mib * MIB,
        )
        wires = {
            line.name: Wire(
                self,
                line.open(),
                Line(
                    line.name,
                    manners_of(config, line.name, tcp=False),
                    self.inbox.append,
                    Random(random.random()),
                ),
            )
            for line in area.lines
        }
        self.core = Core(
            config,
            self._database,
            lines={name: wire.submit for name, wire in wires.items()},
            connect=lambda _will: self._link,
            clock=self.clock,
            random=random,
            show=lambda _state: None,
        )
        for wire in wires.values():
            self.later(0.0, wire.step)
        self.tick()

    def tell(self, event: Event) -> None:
        """Let the core know of something, a moment later."""
        self.later(LATENCY_S, partial(self.inbox.append, event))

    def order(self, topic: str, payload: bytes) -> None:
        """A message of the head-end's arrives."""
        self.tell(Arrived(self._link.connection, 0, topic, payload, retained=False))

    def stop(self) -> None:
        """End as a daemon that is told to: everything is on flash, and heard."""
        self.core.stop()
        deadline = self.clock.monotonic() + DRAIN_S
        while self.core.draining() and self.clock.monotonic() < deadline:
            self.run(LATENCY_S)
        self.core.close()
        self._database.close()
