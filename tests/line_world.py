"""A line on simulated time: a toy protocol, meters that behave or not, and a clock that jumps.

The toy's frames: ``? address item seq check`` asks, ``! address item seq more size data check``
answers, ``# address code check`` declines.  A *nameless* reply has item 0, as Modbus RTU's replies
do not say which register they are about.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from gateway.acquisition.acts import Listen, Open, Transmit
from gateway.acquisition.exchange import Manners
from gateway.acquisition.line import Line
from gateway.events import Event, Job, JobDone, PortChanged, PortSettings, Priority
from protocols.base import RefusedError, Reply, RequestError, Stray

WALL = 1_767_225_600.0
SLOW = PortSettings(2400, "E", 1)
FAST = PortSettings(9600, "N", 1)
UNANSWERED = 255
"""An item that is told to all meters, and answered by none."""


@dataclass(frozen=True)
class Ask:
    meter: int
    item: int
    seq: int = 0

    @property
    def address(self) -> str:
        return str(self.meter)


def sealed(body: bytes) -> bytes:
    return body + bytes([sum(body) & 0xFF])


def answer(ask: Ask, data: bytes, *, nameless: bool = False, more: bool = False) -> bytes:
    item = 0 if nameless else ask.item
    return sealed(bytes([0x21, ask.meter, item, ask.seq, more, len(data)]) + data)


def truth(ask: Ask) -> bytes:
    """What an honest meter says, different for every request, of one length for all."""
    return bytes([ask.meter, ask.item, ask.seq, 0xAB])


class Toy:
    """A codec in the sense of protocols.base.Codec."""

    def __init__(self, *, nameless: bool = False) -> None:
        self.nameless = nameless

    def encode(self, request: Ask, number: int = 0) -> bytes:  # noqa: ARG002
        if request.item > 255:
            raise RequestError(f"item {request.item} is above 255")
        return sealed(bytes([0x3F, request.meter, request.item, request.seq]))

    def reply_size(self, request: Ask) -> int:
        return 0 if request.item == UNANSWERED else 64

    def follow_up(self, request: Ask, reply: Reply) -> Ask | None:
        if not reply.more:
            return None
        return Ask(request.meter, request.item, (request.seq + 1) & 0xFF)

    def decode(
        self,
        buffer: bytes,
        request: Ask,
        number: int = 0,  # noqa: ARG002
    ) -> tuple[Reply | Stray | None, int]:
        start = min((at for at, byte in enumerate(buffer) if byte in b"?!#"), default=len(buffer))
        size = {0x3F: 5, 0x23: 4}.get(buffer[start] if start < len(buffer) else 0, 0)
        if not size:
            size = 7 + buffer[start + 5] if len(buffer) > start + 5 else 99
        frame = buffer[start : start + size]
        if len(frame) < size:
            return None, start
        return self._judge(frame, request), start + size

    def _judge(self, frame: bytes, request: Ask) -> Reply | Stray:
        if frame != sealed(frame[:-1]):
            return Stray.DAMAGED
        if frame[0] == 0x3F:
            return Stray.ECHO
        if frame[1] != request.meter:
            return Stray.FOREIGN
        if frame[0] == 0x23:
            raise RefusedError(
                request.address,
                "read",
                frame[2],
                "no such item",
                "ask less",
                permanent=frame[2] < 5,
                reasons=("no_such_item",) if frame[2] < 5 else (),
            )
        if not self.nameless and frame[2:4] != bytes([request.item, request.seq]):
            return Stray.LATE
        return Reply(request.address, frame[6:-1], bool(frame[4]))


Behaviour = Callable[[Ask], list[tuple[float, bytes]]]
"""What appears on the line for a request: seconds after its end, and the bytes."""


def honest(ask: Ask) -> list[tuple[float, bytes]]:
    return [(0.1, answer(ask, truth(ask)))]


def silent(ask: Ask) -> list[tuple[float, bytes]]:
    return []


def says(*pieces: tuple[float, bytes]) -> Behaviour:
    return lambda _: list(pieces)


@dataclass
class World:
    """Runs a Line as its shell would, jumping from one happening to the next."""

    manners: dict[str, Manners]
    behaviour: dict[int, Behaviour] = field(default_factory=dict)
    port: list[str] = field(default_factory=list)
    """What the next tries to open the port fail with; "" opens it."""

    def __post_init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.sent: list[tuple[float, str, Ask]] = []
        self.opened: list[float] = []
        self.line = Line("east", self.manners, self.events.append, Random(1))
        self._happenings: list[tuple[float, int, object]] = []
        self._count = 0
        self._number = 0
        self._heard = b""

    def at(self, when: float, what: Job | bytes | str) -> None:
        """Later: submit a job, hear bytes, or lose the port for the reason given."""
        self._count += 1
        self._happenings.append((when, self._count, what))

    def job(
        self, meter: str, *items: int, priority: Priority = Priority.POLL, tries: int = 3,
        not_after: float = 1e9, at: float | None = None,
    ) -> Job:  # fmt: skip
        self._number += 1
        requests = tuple(Ask(int(meter), item) for item in items)
        job = Job(
            id=self._number, meter=meter, priority=priority, requests=requests,
            not_after=not_after, tries=tries,
        )  # fmt: skip
        self.at(self.now if at is None else at, job)
        return job

    def run(self, until: float) -> None:
        """Let the time pass, to a moment when nothing is left to do or ``until``."""
        while self.now <= until:
            self._happen()
            act = self.line.advance(self.now, self.now + WALL, self._heard)
            self._heard = b""
            if isinstance(act, Open):
                self.opened.append(self.now)
                reason = self.port.pop(0) if self.port else ""
                if reason:
                    self.line.port_lost(self.now, reason)
                else:
                    self.line.port_up(self.now)
            elif isinstance(act, Transmit):
                self._transmit(act)
            else:
                assert act.until > self.now, "the shell would spin"
                self.listening = isinstance(act, Listen)
                nearest = min((when for when, _, _ in self._happenings), default=1e12)
                self.now = max(self.now, min(act.until, nearest))

    def _happen(self) -> None:
        due = sorted(each for each in self._happenings if each[0] <= self.now)
        for happening in due:
            self._happenings.remove(happening)
            what = happening[2]
            if isinstance(what, Job):
                self.line.submit(what, self.now)
            elif isinstance(what, bytes):
                self._heard += what
            elif isinstance(what, str):
                self.line.port_lost(self.now, what)

    def _transmit(self, act: Transmit) -> None:
        assert self.line._exchange
        task = self.line._exchange.task
        waiting = [min(each.job.priority, Priority.POLL) for each in self.line._tasks]
        assert min(task.job.priority, Priority.POLL) == min(waiting), "urgent work had to wait"
        ask = Ask(*act.data[1:4])
        self.sent.append((self.now, task.job.meter, ask))
        end = self.now + len(act.data) * act.settings.character_s
        usual = silent if ask.item == UNANSWERED else honest
        for delay_s, data in self.behaviour.get(ask.meter, usual)(ask):
            self.at(end + delay_s, data)

    @property
    def done(self) -> list[JobDone]:
        return [event for event in self.events if isinstance(event, JobDone)]

    @property
    def port_changes(self) -> list[PortChanged]:
        return [event for event in self.events if isinstance(event, PortChanged)]

    @property
    def asked(self) -> list[tuple[str, int]]:
        return [(meter, ask.item) for _, meter, ask in self.sent]


def world(*meters: str, nameless: bool = False, **manners: object) -> World:
    """Meters that all have the same manners."""
    usual: dict[str, object] = {
        "codec": Toy(nameless=nameless), "settings": SLOW, "timeout_s": 0.5, "late_s": 0.0,
    }  # fmt: skip
    same = Manners(**(usual | manners))  # type: ignore[arg-type]
    return World(dict.fromkeys(meters, same))
