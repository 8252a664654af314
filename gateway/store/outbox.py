"""The outbox (待发队列): every message to the head-end, numbered, kept until age or space sheds it.

Each lane counts 1, 2, 3 .. within an epoch; a number is given inside the transaction that creates
the fact and never again.  So the head-end sees a gap or a repeat without looking at a clock.

What the head-end has is kept as ranges of numbers beside the messages; what is pending is the rest.
Both are a few ranges at any time, also while a backlog goes out newest first.  So acknowledging a
million messages changes a few rows, and finding the next ones needs neither an index nor a scan.

Messages of a former epoch (the database was restored or rolled back) stay pending under their own
epoch and numbers.

Not supported: changing or withdrawing a message.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from gateway.store.database import Database
from gateway.store.faults import StoreError
from gateway.store.runs import Run, count, gather, subtract
from gateway.store.segments import Segment, Segments

SEGMENT_BYTES_MAX = 4 * 1024 * 1024
"""A segment with this much in it takes no more, so that shedding is never coarser."""


class Lane(StrEnum):
    """In the order in which they are delivered."""

    URGENT = "urgent"  # money, events, results: never shed before they are acknowledged
    LIVE = "live"  # fresh readings
    HISTORY = "history"  # readings that could not be sent when they were fresh


class RangeError(StoreError):
    """The head-end speaks of numbers that cannot be meant.  Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it was added."""

    lane: Lane
    epoch: str
    seq: int
    kind: str
    body: bytes
    created: float
    """Unix time, by the gateway's clock as it then was."""

    @property
    def size_bytes(self) -> int:
        """The size of its body."""
        return len(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How far a lane is."""

    first_unacknowledged: int
    """In the present epoch; ``last + 1`` when nothing waits."""
    last: int
    """The highest number given in the present epoch; 0 before the first."""
    pending: int
    """How many messages wait, those of former epochs included."""
    pending_bytes: int


@dataclass(frozen=True, slots=True)
class Resend:
    """What can be sent again of a range that the head-end asked for."""

    count: int
    missing: tuple[Run, ...]
    """What cannot: shed, or never given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """Messages that are gone though nobody had them.  The caller announces each."""

    lane: Lane
    epoch: str
    first: int
    last: int
    reason: str

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Outbox:
    """The outbox in ``database``.  What changes it runs in the caller's transaction.

    ``now`` gives Unix time.  Make a new one whenever the database is opened.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], float],
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        self._database = database
        self._now = now
        self._segments = Segments(database, segment_bytes_max)
        self._epochs: dict[int, str] = dict(database.rows("select number, epoch from epoch"))
        self._numbers = {epoch: number for number, epoch in self._epochs.items()}

    def add(self, lane: Lane, kind: str, build: Callable[[int], bytes]) -> int:
        """Add the message whose body ``build`` makes of its number.  Returns that number."""
        epoch = self._database.epoch_number
        seq = self._segments.last(epoch, lane) + 1
        self._segments.append(epoch, lane, kind, self._now(), build(seq))
        return seq

    def pending(
        self,
        lane: Lane,
        limit: int,
        *,
        newest_first: bool = False,
        exclude: Set[int] = frozenset(),
    ) -> list[Message]:
        """Up to ``limit`` messages to be sent, without the numbers in ``exclude`` (in flight).

        All are of one epoch: in the urgent lane former epochs come first, in the others last.
        """
        in_flight = gather(exclude)
        for epoch in sorted(self._epochs, reverse=lane is not Lane.URGENT):
            messages: list[Message] = []
            for segment, run in self._waiting(epoch, lane, newest_first=newest_first):
                runs = subtract([run], in_flight)
                for part in reversed(runs) if newest_first else runs:
                    wanted = limit - len(messages)
                    messages += self._read(segment, part, wanted, newest_first=newest_first)
                if len(messages) >= limit:
                    break
            if messages:
                return messages
        return []

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """The head-end has these."""
        numbers = sorted((self._numbers[m.epoch], m.lane, m.seq) for m in messages)
        for (epoch, lane), group in groupby(numbers, key=lambda number: number[:2]):
            for run in gather(seq for _, _, seq in group):
                self._settle(epoch, lane, run)

    def watermark(self, lane: Lane, upto: int, epoch: str | None = None) -> int:
        """The head-end has everything up to ``upto``.  Returns how many that newly settles.

        ``epoch`` is the present one if not given.

        Raises RangeError for an epoch that never was here or a number that was never given:
        somebody would have us forget what was not delivered.
        """
        number = self._number_of(epoch)
        last = self._segments.last(number, lane)
        if not 0 <= upto <= last:
            raise RangeError(
                f"lane {lane}: confirmed up to {upto}, but the highest number given is {last};"
                " nothing was forgotten; the head-end may know another life of this gateway"
            )
        beyond = (upto + 1, last)
        newly = [
            run
            for _, waiting in self._waiting(number, lane)
            for run in subtract([waiting], [beyond])
        ]
        for run in newly:
            self._settle(number, lane, run)
        return count(newly)

    def resend(self, lane: Lane, first: int, last: int, epoch: str | None = None) -> Resend:
        """Make a range pending again.  ``epoch`` is the present one if not given.

        Raises RangeError for an epoch that never was here, or for what is no range.
        """
        number = self._number_of(epoch)
        if not 1 <= first <= last:
            raise RangeError(f"lane {lane}: {first} to {last} is no range; the first number is 1")
        kept = [(segment.first, segment.last) for segment in self._segments.of(number, lane)]
        missing = subtract([(first, last)], kept)
        found = subtract([(first, last)], missing)
        for run in found:
            self._unsettle(number, lane, run)
        return Resend(count(found), tuple(missing))

    def marks(self) -> dict[Lane, Marks]:
        """How far each lane is."""
        return {lane: self._marks(lane) for lane in Lane}

    def size_bytes(self) -> int:
        """How much the bodies kept take, delivered or not."""
        return sum(self._segments.size_bytes(s, (s.first, s.last)) for s in self._segments.all())

    def shed(self, max_bytes: int, max_age_s: float, now: float) -> list[Shed]:
        """Drop segments until the bodies kept are no more than ``max_bytes``.

        First what is acknowledged and older than ``max_age_s``, even where there is space; then
        whatever is acknowledged, oldest first; then the oldest telemetry though nobody has it.
        Urgent messages that wait are kept whatever they take; up to one segment more than needed
        goes, because segments go whole.

        Returns the losses.
        """
        segments = self._segments.all()
        waiting = {s.id: subtract([(s.first, s.last)], self._settled(s)) for s in segments}
        size = {s.id: self._segments.size_bytes(s, (s.first, s.last)) for s in segments}
        lost: list[Shed] = []
        # Acknowledged before waiting; within each, sorting keeps the order of age.
        for segment in sorted(segments, key=lambda s: bool(waiting[s.id])):
            runs = waiting[segment.id]
            aged = not runs and self._segments.ended_at(segment) < now - max_age_s
            kept = runs and segment.lane == Lane.URGENT
            if aged or (sum(size.values()) > max_bytes and not kept):
                self._segments.drop(segment)
                del size[segment.id]
                lost += [self._loss(segment, run) for run in runs]
        return lost

    def _loss(self, segment: Segment, run: Run) -> Shed:
        return Shed(
            lane=Lane(segment.lane),
            epoch=self._epochs[segment.epoch],
            first=run[0],
            last=run[1],
            reason="no space",
        )

    def _marks(self, lane: Lane) -> Marks:
        present = self._database.epoch_number
        waiting = [part for epoch in self._epochs for part in self._waiting(epoch, lane)]
        last = self._segments.last(present, lane)
        firsts = [run[0] for segment, run in waiting if segment.epoch == present]
        return Marks(
            first_unacknowledged=min(firsts, default=last + 1),
            last=last,
            pending=count(run for _, run in waiting),
            pending_bytes=sum(self._segments.size_bytes(*part) for part in waiting),
        )

    def _read(self, segment: Segment, run: Run, limit: int, *, newest_first: bool) -> list[Message]:
        rows = self._segments.read(segment, run, limit, newest_first=newest_first)
        return [
            Message(
                lane=Lane(segment.lane),
                epoch=self._epochs[segment.epoch],
                seq=seq,
                kind=kind,
                created=created,
                body=body,
            )
            for seq, kind, created, body in rows
        ]

    def _number_of(self, epoch: str | None) -> int:
        number = self._numbers.get(self._database.epoch if epoch is None else epoch)
        if number is None:
            raise RangeError(
                f"epoch {epoch!r} never was here; the present one is {self._database.epoch}"
            )
        return number

    def _waiting(
        self, epoch: int, lane: str, *, newest_first: bool = False
    ) -> Iterator[tuple[Segment, Run]]:
        """What is pending, as runs within segments."""
        segments = self._segments.of(epoch, lane)
        settled = self._settled(segments[0]) if segments else []
        for segment in reversed(segments) if newest_first else segments:
            runs = subtract([(segment.first, segment.last)], settled)
            for run in reversed(runs) if newest_first else runs:
                yield segment, run

    def _settled(self, segment: Segment) -> list[Run]:
        """What the head-end has of the segment's lane."""
        return self._database.rows(
            "select first, last from acknowledged where epoch = ? and lane = ? order by first",
            *(segment.epoch, segment.lane),
        )

    def _settle(self, epoch: int, lane: str, run: Run) -> None:
        """Note ``run`` as had by the head-end, melted together with its neighbours."""
        where = "epoch = ? and lane = ? and last >= ? and first <= ?"
        key = (epoch, lane, run[0] - 1, run[1] + 1)
        [(first, last)] = self._database.rows(
            f"select min(first), max(last) from acknowledged where {where}",  # noqa: S608
            *key,
        )
        self._database.write(f"delete from acknowledged where {where}", *key)  # noqa: S608
        melted = run if first is None else (min(first, run[0]), max(last, run[1]))
        self._note(epoch, lane, melted)

    def _unsettle(self, epoch: int, lane: str, run: Run) -> None:
        """Note ``run`` as not had, cut out of what is."""
        where = "epoch = ? and lane = ? and last >= ? and first <= ?"
        key = (epoch, lane, *run)
        touched = self._database.rows(
            f"select first, last from acknowledged where {where} order by first",  # noqa: S608
            *key,
        )
        self._database.write(f"delete from acknowledged where {where}", *key)  # noqa: S608
        for left in subtract(touched, [run]):
            self._note(epoch, lane, left)

    def _note(self, epoch: int, lane: str, run: Run) -> None:
        self._database.write(
            "insert into acknowledged (epoch, lane, first, last) values (?, ?, ?, ?)",
            *(epoch, lane, *run),
        )
