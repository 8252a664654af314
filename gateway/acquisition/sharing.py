"""Two meters at one address: told by what a single one would not say.

They answer one after the other where their delays differ enough: then the same request gets a
second good answer, though it was sent once.  The line listens for that once a day, after one answer
of each meter, for as long as a meter may take to begin.

Or they answer at the same time.  What both say alike (address, control code, identifier) arrives,
what they say differently does not: answers with a good head and damaged data, again and again,
while the same request never gets a good one.  Noise damages heads as well, and lets some pass.

Not supported: telling from noise two that begin some characters apart and so damage each other's
heads, or that speak Modbus, whose head has three bytes only.  Nothing is read of them; why they are
silent names the possibility.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.acquisition.exchange import Exchange, Task
from gateway.events import Doubled, Priority
from protocols.base import RefusedError, Reply, Request, Stray

ANSWERS = 3
"""Second answers, each to another exchange, until we are sure: another master may be there."""
GARBLED = 8
"""Answers in a row, to more than one request, of which the data alone is damaged.  Heavy noise
spares a head one time in three; a meter that cannot build one of its answers does no other harm."""
LISTEN_EVERY_S = 86_400.0
KEPT_BYTES_MAX = 512


@dataclass(slots=True)
class _Signs:
    """What speaks for a second meter at one address."""

    answers: int = 0
    garbled: int = 0
    requests: set[Request] = field(default_factory=set)
    """Those with garbled answers."""
    listened_at: float = float("-inf")


class Sharing:
    """The signs of one line."""

    def __init__(self) -> None:
        self._signs: dict[str, _Signs] = {}
        self._last: Exchange | None = None
        """The exchange that was answered last, while its second answer may come."""
        self._after = b""
        self._told: list[str] = []
        self._listens_until = float("-inf")

    def begin(self) -> None:
        """Another request is sent: what is heard from now on is no second answer."""
        self._last, self._after = None, b""

    def over(self, exchange: Exchange, now: float, *, answered: bool, owed: bool) -> None:
        """An exchange has ended.  ``owed``: the meter might still answer an earlier one."""
        signs = self._signs.setdefault(exchange.task.job.meter, _Signs())
        if answered:
            if exchange.request in signs.requests:
                signs.garbled = 0
                signs.requests.clear()
            if exchange.manners.listen_s and not owed and exchange.task.tries == 1:
                self._last, self._after = exchange, bytes(exchange.heard)
                if now >= signs.listened_at + LISTEN_EVERY_S:
                    signs.listened_at = now
                    self._listens_until = now + exchange.manners.listen_s
                self._judge()
        elif exchange.garbled:
            signs.garbled += 1
            signs.requests.add(exchange.request)
            if signs.garbled >= GARBLED and len(signs.requests) > 1:
                self._told.append(exchange.task.job.meter)
        elif exchange.noise or exchange.heard:
            signs.garbled = 0
            signs.requests.clear()

    def idle(self, data: bytes) -> None:
        """Bytes came while nobody was asked."""
        if self._last:
            self._after = (self._after + data)[-KEPT_BYTES_MAX:]
            self._judge()

    def free_at(self, task: Task) -> float:
        """When a task's next request may be sent: urgent work does not wait for second answers."""
        urgent = task.follow_up or task.job.priority <= Priority.COMMAND
        return float("-inf") if urgent else self._listens_until

    def take(self, line: str) -> Iterator[Doubled]:
        """The meters at whose address two answer, each time there was a sign of it."""
        told, self._told = self._told, []
        for meter in told:
            yield Doubled(line, meter)

    def _judge(self) -> None:
        """Whether a second answer stands in what was heard after the first one."""
        while self._last and self._after:
            last = self._last
            try:
                found, used = last.manners.codec.decode(self._after, last.request, last.number)
            except RefusedError:
                found, used = Stray.FOREIGN, 0
            if found is None or found is Stray.DAMAGED:
                self._after = self._after[used:]
                if found is None:
                    return
                continue
            self._last = None
            if isinstance(found, Reply):
                self._second(last.task.job.meter)

    def _second(self, meter: str) -> None:
        signs = self._signs[meter]
        signs.answers += 1
        # Listen again after its next answer, until we are sure; and then, for as long as it lasts.
        signs.listened_at = float("-inf")
        if signs.answers >= ANSWERS:
            self._told.append(meter)
