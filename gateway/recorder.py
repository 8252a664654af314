"""What has been taken and is not yet on flash, and how it gets there: a group in one transaction.

A commit per reading wears the flash a hundred times faster than a group every few seconds, so
readings, events and deliveries wait here, in memory, for the next commit.  An order's commit
carries them along.  While the disk is full or another process holds the database they go on
waiting, up to a bound beyond which the oldest readings are dropped and counted.

Used by the core alone.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace

import structlog

from gateway.clock import ClockState
from gateway.config import StoreTable
from gateway.north import contract
from gateway.north.readings import Reading, Readings
from gateway.store.database import Database
from gateway.store.faults import DiskFullError, LockedError
from gateway.store.outbox import Lane, Message, Outbox, Shed
from gateway.store.startup import How, Started
from gateway.timekeeping import Unstamped, restamped, shifted, worth_then

Build = Callable[[int], contract.Numbered]
"""Makes a message of its sequence number."""

READINGS_MAX = 20_000
"""Readings that may wait in memory: hours of an area, some 10 MiB."""
VALUES_PER_MESSAGE = 400
"""A message of about 12 kB: well below any broker's limit, and little to send again."""
DELIVERED_S = 60.0
DELIVERED_MAX = 500
"""Deliveries that may wait to be noted: a power cut makes us send so many again."""
SHED_STEP = 0.75
"""On a full disk this share of the messages is kept: room for hours, not for the next group."""
MIB = 1024 * 1024

log = structlog.get_logger()


class Recorder:
    """Gathers, and writes in groups.  ``wall`` gives Unix time, ``state`` what it is worth."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        gateway: str,
        limits: StoreTable,
        wall: Callable[[], float],
        state: Callable[[], ClockState],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._gateway = gateway
        self._limits = limits
        self._wall = wall
        self._state = state
        self._readings: deque[Reading] = deque()
        self._late: deque[Reading] = deque()
        self._actions: list[Callable[[], object]] = []
        self._facts: list[list[contract.Fact]] = []
        """Those that wait, each in a place of its own: it may be re-stamped there."""
        self._unstamped = Unstamped()
        self._numbered: list[tuple[Lane, int]] = []
        """Given in the transaction that runs to what an unknown clock has stamped."""
        self._delivered: list[Message] = []
        """Without their bodies: a backlog that drains must not be held in memory."""
        self._unnoted: dict[str, set[int]] = {lane.value: set() for lane in Lane}
        self.gathered: Callable[[], None] = lambda: None
        """Called before each urgent message and at a transaction's end: adds the message of what
        was gathered for it until then."""
        self.when_undone: list[Callable[[], None]] = []
        """Called when a transaction has failed: what was read in it may never have been there."""
        self._obstacle = ""
        self._full = False
        self._added = 0
        self._written_at = 0.0
        self.taken = 0
        """Readings since the start."""
        self.dropped = 0
        """Readings lost because they could not be written for too long."""
        self.stored = 0
        """Messages written since the start."""

    def waits(self, monotonic_s: float) -> bool:
        """Whether there is something to write.

        What was delivered goes along with the next group; alone it waits a while, since a power cut
        in between only sends it twice.
        """
        if self._readings or self._late or self._actions:
            return True
        return bool(self._delivered) and monotonic_s - self._written_at >= DELIVERED_S

    @property
    def unwritten(self) -> int:
        """Readings that wait to be written."""
        return len(self._readings) + len(self._late)

    @property
    def obstacle(self) -> str:
        """Why what waits cannot be written; empty if nothing is in the way."""
        return self._obstacle

    @property
    def epoch(self) -> str:
        """The present epoch of the database."""
        return self._database.epoch

    def reading(self, reading: Reading, *, late: bool = False) -> None:
        """Take a reading.  ``late``: it belongs to the past, whatever the connection."""
        waiting = self._late if late else self._readings
        waiting.append(reading)
        self.taken += 1
        if len(waiting) > READINGS_MAX:
            waiting.popleft()
            self.dropped += 1

    def event(
        self,
        code: contract.EventCode,
        meter: str = "",
        line: str = "",
        detail: str = "",
        offset_s: float | None = None,
    ) -> None:
        """Take an event that the head-end is to know."""
        self._fact(
            contract.Event(
                code=code,
                at=contract.instant(self._wall()),
                clock=self._state().value,
                meter=meter or None,
                line=line or None,
                offset_s=None if offset_s is None else f"{offset_s:.3f}",
                detail=detail[:500],
            )
        )

    @property
    def clock(self) -> contract.Clock:
        """What our clock is worth."""
        return self._state().value

    def stamp(self) -> tuple[str, contract.Clock]:
        """Now, as messages carry it, and what our clock is worth."""
        return contract.instant(self._wall()), self.clock

    def began(self, started: Started) -> None:
        """Tell how the database was found, if it did not simply go on."""
        if started.how not in (How.CONTINUED, How.FRESH):
            log.error("the database began anew", how=started.how.value, reason=started.detail)
        if started.how is not How.CONTINUED:
            reason = f"{started.how.value}: {started.detail}".rstrip(": ")
            self.new_epoch(started.previous or None, reason)

    def new_epoch(self, previous: str | None, reason: str) -> None:
        """The database began anew; the head-end must not be surprised by numbers from 1."""
        at, clock = contract.instant(self._wall()), self._state().value
        self._fact(
            contract.StoreNewEpoch(at=at, clock=clock, previous=previous, reason=reason[:500])
        )

    def restamp(self, seconds: float) -> None:
        """The clock was set by so much: put right what waits, tell of what is written already."""
        state = self._state()
        for waiting in (self._readings, self._late):
            for n, one in enumerate(waiting):
                waiting[n] = restamped(one, seconds, state)
        for place in self._facts:
            if place[0].clock == ClockState.UNKNOWN.value:
                changes = {"at": shifted(place[0].at, seconds), "clock": worth_then(state).value}
                place[0] = place[0].model_copy(update=changes)
        self._unstamped.stepped(seconds)
        if state is ClockState.UNKNOWN:
            return
        if found := self._unstamped.found():
            at, clock = self.stamp()
            self._fact(contract.ClockFound(at=at, clock=clock, restamp=found))

    @property
    def full(self) -> bool:
        """Whether so much was delivered that it is better noted now."""
        return len(self._delivered) >= DELIVERED_MAX

    def unnoted(self, lane: str) -> Set[int]:
        """Numbers of ``lane`` that are delivered, which the file does not know yet."""
        return self._unnoted[lane]

    def later(self, action: Callable[[], object]) -> None:
        """Do this inside the next commit; again in the one after, if that one fails."""
        self._actions.append(action)

    def delivered(self, message: Message) -> None:
        """The head-end has this message."""
        self._delivered.append(replace(message, body=b""))
        self._unnoted[message.lane].add(message.seq)

    def result(self, build: Build) -> None:
        """Add a command's result: inside ``commit``, or in an action given to ``later``."""
        self._add(Lane.URGENT, "results", build)

    def completeness(self, build: Build) -> None:
        """Add a day's completeness: in an action given to ``later``."""
        self._add(Lane.URGENT, "completeness", build)

    def journal(self, build: Build) -> None:
        """Add transactions of the journal: inside ``commit``, or in an action for ``later``."""
        self._add(Lane.URGENT, "journal", build)

    def digest(self, build: Build) -> None:
        """Add a day's digest: inside ``commit``, or in an action for ``later``."""
        self._add(Lane.URGENT, "digest", build)

    def supply(self, build: Build) -> None:
        """Add a day's figures of switching: in an action given to ``later``."""
        self._add(Lane.URGENT, "supply", build)

    def fact(self, fact: contract.Fact) -> None:
        """Add an event to what makes it true: inside ``commit``, or in an action for ``later``."""
        self._add(Lane.URGENT, "events", self._event(fact))

    def turned(self, code: contract.EventCode, detail: str) -> None:
        """The same for an event of the gateway itself: it is told, or it did not come about."""
        at, clock = self.stamp()
        self.fact(contract.Event(code=code, at=at, clock=clock, detail=detail[:500]))

    @contextlib.contextmanager
    def commit(self, monotonic_s: float, *, live: bool) -> Iterator[None]:
        """One transaction around the caller's changes; everything that waits goes with it.

        ``live`` says whether the head-end can be reached: readings then go to the live lane.
        """
        self._added = 0
        self._numbered.clear()
        waiting = len(self._actions), len(self._facts)
        try:
            with self._database.transaction():
                # First: what the caller makes pending again must not be noted as delivered after.
                self._write(Lane.LIVE if live else Lane.HISTORY)
                actions, facts = len(self._actions), len(self._facts)
                yield
                self.gathered()
        except BaseException:
            self._undone(*waiting)
            raise
        self._note_unstamped()
        self._readings.clear()
        self._late.clear()
        del self._facts[:facts]
        # The caller may have given more to do later: that waits for the next commit.
        del self._actions[:actions]
        self._delivered.clear()
        for unnoted in self._unnoted.values():
            unnoted.clear()
        self.stored += self._added
        self._written_at = monotonic_s
        # What was committed stays so; a head file that lags behind is caught up by the next one.
        with contextlib.suppress(DiskFullError):
            self._database.note_head(monotonic_s)

    def _undone(self, actions: int, facts: int) -> None:
        """Forget what the failed transaction gave: whoever does it again gives it again."""
        del self._actions[actions:]
        del self._facts[facts:]
        for forget in self.when_undone:
            forget()

    def flush(self, monotonic_s: float, *, live: bool) -> bool:
        """Write what waits.  False if it must go on waiting: the log says why, once."""
        try:
            with self.commit(monotonic_s, live=live):
                pass
        except DiskFullError as error:
            return self._relieved(error) and self.flush(monotonic_s, live=live)
        except LockedError as error:
            self._tell(str(error))
            return False
        self._tell("")
        return True

    def shed(self) -> None:
        """Keep the outbox within its limits, and the ballast in its place.  Once a minute."""
        limits = self._limits
        with contextlib.suppress(DiskFullError, LockedError):
            self._shed(limits.max_mib * MIB, limits.keep_days * 86_400.0)
            self._database.restore_ballast()

    def _write(self, lane: Lane) -> None:
        for action in self._actions:
            action()
        self._write_readings(lane, self._readings)
        self._write_readings(Lane.HISTORY, self._late)
        self._outbox.acknowledge(self._delivered)

    def _write_readings(self, lane: Lane, readings: Iterable[Reading]) -> None:
        kind = "readings" if lane is Lane.LIVE else "history"
        for group in _groups(readings):
            unstamped = any(one.clock == ClockState.UNKNOWN.value for one in group)
            self._add(lane, kind, self._of(lane, group), unstamped=unstamped)

    def _add(self, lane: Lane, kind: str, build: Build, *, unstamped: bool = False) -> None:
        if lane is Lane.URGENT:
            self.gathered()
        seq = self._outbox.add(lane, kind, lambda seq: contract.encode(build(seq)))
        if unstamped or self._state() is ClockState.UNKNOWN:
            self._numbered.append((lane, seq))
        self._added += 1

    def _note_unstamped(self) -> None:
        """What was just committed may be put right when the time is found."""
        for lane, seq in self._numbered:
            self._unstamped.note(lane.value, seq)

    def _of(self, lane: Lane, group: tuple[Reading, ...]) -> Build:
        return lambda seq: Readings(
            gateway=self._gateway, epoch=self.epoch, lane=lane.value, seq=seq, readings=group
        )

    def _fact(self, fact: contract.Fact) -> None:
        place = [fact]
        self._facts.append(place)
        self.later(lambda: self._add(Lane.URGENT, "events", self._event(place[0])))

    def _event(self, fact: contract.Fact) -> Build:
        return lambda seq: contract.Events(
            gateway=self._gateway, epoch=self.epoch, lane="urgent", seq=seq, event=fact
        )

    def _relieved(self, error: DiskFullError) -> bool:
        """Make room on a full disk: the ballast, then the oldest telemetry.  False if neither."""
        self._tell(str(error), full=True)
        released = self._database.release_ballast()
        kept = self._outbox.size_bytes()
        with contextlib.suppress(DiskFullError, LockedError):
            return self._shed(int(kept * SHED_STEP), float("inf")) or released
        return released

    def _shed(self, max_bytes: int, max_age_s: float) -> bool:
        self._added = 0
        self._numbered.clear()
        with self._database.transaction():
            lost = self._outbox.shed(max_bytes, max_age_s, self._wall())
            # In the same transaction: a cut must not leave a gap that nobody explains.
            for gone in lost:
                self._add(Lane.URGENT, "events", self._event(self._loss(gone)))
        self._note_unstamped()
        self.stored += self._added
        for gone in lost:
            log.warning("messages given up", lane=gone.lane, count=gone.count, reason=gone.reason)
        return bool(lost)

    def _loss(self, gone: Shed) -> contract.Shed:
        return contract.Shed(
            at=contract.instant(self._wall()),
            clock=self._state().value,
            of_epoch=None if gone.epoch == self.epoch else gone.epoch,
            lane=gone.lane.value,
            first=gone.first,
            last=gone.last,
            count=gone.count,
            reason=gone.reason,
        )

    def _tell(self, obstacle: str, *, full: bool = False) -> None:
        """Log a change, not a state; the head-end hears of a full disk."""
        if obstacle and not self._obstacle:
            log.error("readings cannot be written, they wait in memory", reason=obstacle)
        elif self._obstacle and not obstacle:
            log.info("readings are written again", dropped=self.dropped)
        self._obstacle = obstacle
        if full and not self._full:
            self._full = True
            self.event("disk_full", detail=obstacle)
        elif self._full and not obstacle:
            self._full = False
            self.event("disk_restored", detail=f"readings lost since the start: {self.dropped}")


def _groups(readings: Iterable[Reading]) -> Iterator[tuple[Reading, ...]]:
    """Cut what waits into messages of a good size."""
    group: list[Reading] = []
    values = 0
    for reading in readings:
        group.append(reading)
        values += len(reading.values) + len(reading.absent) + len(reading.invalid) + 1
        if values >= VALUES_PER_MESSAGE:
            yield tuple(group)
            group, values = [], 0
    if group:
        yield tuple(group)
