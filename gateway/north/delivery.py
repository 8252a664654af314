"""What to send next, what has arrived, and when a connection is no good.  Pure: no I/O, no clock.

Messages stand in the outbox until they are delivered; here is only what a restart may forget: the
window of those on their way over this connection, and who has to wait.

    urgent   oldest first, before everything else
    live     newest first: after an outage the present comes before the past
    history  oldest first, at a limited rate, only while no live message waits

``confirm`` says what delivered means.  ``broker``: the broker acknowledged it (PUBACK); a broker
killed in that moment may still forget it, and the head-end asks for the range again.  ``head_end``:
the head-end's watermark passed it; what makes no progress is sent again.

A message the broker refuses stays, and its lane pauses.  A message at which the broker hangs up is
found by sending what was on its way one by one; at the third time it is parked: left out for an
hour, and reported, so that the messages behind it leave.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Generic, Protocol, TypeVar

from gateway.events import Delivered, LinkDown, LinkUp
from gateway.north.pace import Pace
from gateway.north.reconnect import Reconnect

URGENT, LIVE, HISTORY = LANES = ("urgent", "live", "history")

ANSWER_TIMEOUT_S = 20.0
"""From the attempt to connect to its end, one way or the other."""
ENVELOPE_BYTES = 128
"""Topic and MQTT header around a body, at the most."""
SUSPICIOUS_BYTES = 1024
"""A broker hangs up for a message's size; below this a cut is just a cut."""
STRIKES = 3
PARKED_S = 3600.0
REFUSED_PAUSE_MAX_S = 60.0
UNCONFIRMED_MAX = 2000
"""Per lane, acknowledged by the broker and not yet by the head-end's watermark."""
WATERMARK_TIMEOUT_MAX_S = 900.0


class Confirm(StrEnum):
    """Whose word makes a message delivered."""

    BROKER = "broker"
    HEAD_END = "head_end"


class Outgoing(Protocol):
    """What we need to know of a message in the outbox."""

    @property
    def lane(self) -> str:
        """One of LANES."""
        ...

    @property
    def seq(self) -> int:
        """Its number in the lane."""
        ...

    @property
    def body(self) -> bytes:
        """Its payload."""
        ...


M = TypeVar("M", bound=Outgoing)

Pending = Callable[[str, int, bool, AbstractSet[int]], Sequence[M]]
"""The outbox: (lane, limit, newest first, sequence numbers to leave out) -> messages to send."""
Publish = Callable[[M], int | None]
"""The link: its message id for this connection, or None if it cannot send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How hard to try."""

    brokers: tuple[str, ...]
    confirm: Confirm = Confirm.BROKER
    window: int = 20
    """Messages on their way at once; more than 100 is slower."""
    puback_timeout_s: float = 30.0
    """A connection that answers nothing for this long is dropped."""
    watermark_timeout_s: float = 60.0
    """Without progress for this long, everything unconfirmed is sent again; doubles to 15 min."""
    history_per_s: float = 50.0
    """Messages of lane history per second; about 70 % of what the network carries."""
    history_bytes_per_s: float | None = None
    """Likewise their bytes, where the network is slow; None: no limit."""
    pause_s: float = 5.0
    """Most to wait before the first new attempt; doubles to ``pause_max_s``."""
    pause_max_s: float = 60.0
    start_spread_s: float = 0.0
    """Most to wait before the very first attempt; 60 where many gateways share a mains supply."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Connect now."""

    connection: int
    broker: str


@dataclass(frozen=True, slots=True)
class Parked(Generic[M]):
    """A message that is left out for a while, and why."""

    message: M
    reason: str


@dataclass(frozen=True, slots=True)
class _Sent(Generic[M]):
    message: M
    at: float


class _Lane:
    """What we remember of one lane until the next start."""

    def __init__(self, timeout_s: float) -> None:
        self.paused_until = 0.0
        self.refusals = 0
        self.unconfirmed: set[int] = set()
        self.progress_at = 0.0
        self.timeout_s = timeout_s
        self.behind = False
        """The watermark needs the oldest: newest first would never move it."""


class Delivery(Generic[M]):
    """The core's advisor on the head-end.  ``now`` is monotonic everywhere.

    After every event and every commit the core calls ``overdue``, ``wants_connect`` and ``send``,
    and again no later than ``next_due``.
    """

    def __init__(self, settings: DeliverySettings, random: Random) -> None:
        self._settings = settings
        self._reconnect = Reconnect(
            settings.brokers,
            random,
            pause_s=settings.pause_s,
            pause_max_s=settings.pause_max_s,
            start_spread_s=settings.start_spread_s,
        )
        self._connection = 0
        self._began_at: float | None = None
        self._up: LinkUp | None = None
        self._flight: dict[int, _Sent[M]] = {}
        self._lanes = {lane: _Lane(settings.watermark_timeout_s) for lane in LANES}
        self._doubtful: set[tuple[str, int]] = set()
        """On their way when a connection ended: while there are any, the window is one."""
        self._strikes: dict[tuple[str, int], int] = {}
        self._parked: dict[tuple[str, int], float] = {}
        self._told: list[Parked[M]] = []
        self._pace = Pace(settings.history_per_s, float(settings.window))
        bytes_per_s = settings.history_bytes_per_s
        self._bytes = Pace(bytes_per_s, bytes_per_s) if bytes_per_s else None

    @property
    def connected(self) -> bool:
        """Whether a broker has accepted us."""
        return self._up is not None

    @property
    def in_flight(self) -> int:
        """Messages on their way, not answered yet."""
        return len(self._flight)

    # --- the connection ---------------------------------------------------------------------------

    def wants_connect(self, now: float) -> Attempt | None:
        """The attempt to begin now, named once; LinkUp or LinkDown of its number must follow."""
        broker = self._reconnect.wants(now)
        if broker is None:
            return None
        self._connection += 1
        self._began_at = now
        return Attempt(self._connection, broker)

    def link_up(self, event: LinkUp, now: float) -> bool:
        """The broker accepted us.  False if the event is of a connection given up since."""
        if event.connection != self._connection or self._began_at is None:
            return False
        self._up = event
        self._reconnect.up(now)
        return True

    def link_down(self, event: LinkDown, now: float) -> bool:
        """The connection ended.  What was on its way is pending again.  False if the event is of a
        connection given up since.
        """
        if event.connection != self._connection or self._began_at is None:
            return False
        self._reconnect.down(now, taken_over=event.taken_over)
        lost, self._flight = list(self._flight.values()), {}
        self._up = self._began_at = None
        self._doubtful |= {_key(sent.message) for sent in lost}
        suspects = self._doubtful | self._parked.keys()
        self._strikes = {key: n for key, n in self._strikes.items() if key in suspects}
        hung = any(now - sent.at >= self._settings.puback_timeout_s for sent in lost)
        if len(lost) == 1 and not event.taken_over and not hung:
            self._strike(lost[0].message, now)
        return True

    def overdue(self, now: float) -> LinkDown | None:
        """The end of a connection that does not end by itself.  The core closes the link and
        handles this event as if the link had sent it.
        """
        if self._began_at is None:
            return None
        if self._up is None:
            # The same sum as in next_due, or rounding could make the core call again and again.
            if now < self._began_at + ANSWER_TIMEOUT_S:
                return None
            return LinkDown(self._connection, f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
        waited_s = max((now - sent.at for sent in self._flight.values()), default=0.0)
        if waited_s < self._settings.puback_timeout_s:
            return None
        reason = f"{self._up.broker}: connected, but nothing acknowledged for {waited_s:.0f} s"
        return LinkDown(self._connection, reason)

    # --- the messages -----------------------------------------------------------------------------

    def send(self, now: float, pending: Pending[M], publish: Publish[M]) -> int:
        """Fill the window.  Returns how many messages were sent."""
        self._forget_unconfirmed(now)
        self._release_parked(now)
        self._refill(now)
        count = 0
        for lane in LANES:
            limit = self._room(lane, now)
            if not limit:
                continue
            # Where a lane has more than fits, no room is left for those below it.
            messages = pending(lane, limit, self._newest_first(lane), self._left_out(lane))
            if not messages:
                self._trust(lane)  # its doubtful ones were delivered otherwise, or shed
            for message in messages:
                if lane == HISTORY and not self._room(lane, now):
                    break
                if self._is_too_large(message, now):
                    continue
                mid = publish(message)
                if mid is None:
                    return count
                self._flight[mid] = _Sent(message, now)
                self._spend(message)
                count += 1
        return count

    def delivered(self, event: Delivered, now: float) -> M | None:
        """The broker answered.  Returns the message if that makes it delivered."""
        if event.connection != self._connection or event.mid not in self._flight:
            return None
        message = self._flight.pop(event.mid).message
        self._doubtful.discard(_key(message))
        lane = self._lanes[message.lane]
        if event.refused:
            self._trust(message.lane)
            if now >= lane.paused_until:
                lane.paused_until = now + min(2.0**lane.refusals, REFUSED_PAUSE_MAX_S)
                lane.refusals = min(lane.refusals + 1, 16)
            return None
        lane.refusals = 0
        self._strikes.pop(_key(message), None)
        if self._settings.confirm is Confirm.BROKER:
            return message
        if not lane.unconfirmed:
            lane.progress_at = now
        lane.unconfirmed.add(message.seq)
        return None

    def watermark(self, lane: str, upto: int, now: float) -> None:
        """The head-end keeps everything up to ``upto``; the outbox knows already."""
        state = self._lanes[lane]
        left = {seq for seq in state.unconfirmed if seq > upto}
        if len(left) < len(state.unconfirmed):
            state.progress_at = now
            state.timeout_s = self._settings.watermark_timeout_s
            state.behind = state.behind and bool(left)
        state.unconfirmed = left

    def resend(self, lane: str, first: int, last: int) -> None:
        """The outbox made this range pending again: send it whether confirmed or not."""
        state = self._lanes[lane]
        state.unconfirmed = {seq for seq in state.unconfirmed if not first <= seq <= last}

    def take_parked(self) -> list[Parked[M]]:
        """What was parked since the last call, for an event to the head-end."""
        told, self._told = self._told, []
        return told

    def next_due(self, now: float) -> float | None:
        """When the core must call again at the latest, even if nothing happens."""
        if self._began_at is None:
            return self._reconnect.next_due()
        if self._up is None:
            return self._began_at + ANSWER_TIMEOUT_S
        due = [sent.at + self._settings.puback_timeout_s for sent in self._flight.values()][:1]
        due += [lane.paused_until for lane in self._lanes.values()]
        due += [x.progress_at + x.timeout_s for x in self._lanes.values() if x.unconfirmed]
        due += self._parked.values()
        due += [at for pace in self._paces if (at := pace.due()) is not None]
        return min((at for at in due if at > now), default=None)

    def _room(self, lane: str, now: float) -> int:
        if self._up is None or now < self._lanes[lane].paused_until:
            return 0
        window = self._settings.window
        if self._doubtful:
            window = 1
        elif self._up.in_flight_max:
            window = min(window, self._up.in_flight_max)
        room = window - len(self._flight)
        room = min(room, UNCONFIRMED_MAX - len(self._lanes[lane].unconfirmed))
        if lane == HISTORY:
            room = min(room, int(self._pace.left))
            room = 0 if self._bytes and self._bytes.left < 1 else room
        return max(0, room)

    def _newest_first(self, lane: str) -> bool:
        state = self._lanes[lane]
        state.behind = state.behind or len(state.unconfirmed) >= UNCONFIRMED_MAX // 2
        return lane == LIVE and not state.behind

    def _left_out(self, lane: str) -> set[int]:
        on_their_way = {_key(sent.message) for sent in self._flight.values()}
        keys = on_their_way | self._parked.keys()
        return {seq for of, seq in keys if of == lane} | self._lanes[lane].unconfirmed

    def _release_parked(self, now: float) -> None:
        for key in [key for key, until in self._parked.items() if now >= until]:
            del self._parked[key]
            self._doubtful.add(key)

    def _forget_unconfirmed(self, now: float) -> None:
        """Send again, oldest first, what the head-end's watermark did not reach in time."""
        for state in self._lanes.values():
            if self._up and state.unconfirmed and now >= state.progress_at + state.timeout_s:
                state.unconfirmed.clear()
                state.behind = True
                state.timeout_s = min(state.timeout_s * 2, WATERMARK_TIMEOUT_MAX_S)

    def _refill(self, now: float) -> None:
        for pace in self._paces:
            pace.refill(now)

    def _spend(self, message: M) -> None:
        if message.lane == HISTORY:
            self._pace.spend(1)
            if self._bytes:
                self._bytes.spend(len(message.body) + ENVELOPE_BYTES)

    @property
    def _paces(self) -> tuple[Pace, ...]:
        return (self._pace, self._bytes) if self._bytes else (self._pace,)

    def _trust(self, lane: str) -> None:
        self._doubtful = {key for key in self._doubtful if key[0] != lane}

    def _is_too_large(self, message: M, now: float) -> bool:
        limit = self._up.max_packet_bytes if self._up else 0
        if not limit or len(message.body) + ENVELOPE_BYTES <= limit:
            return False
        self._park(message, f"{len(message.body)} bytes; the broker accepts {limit}", now)
        return True

    def _strike(self, message: M, now: float) -> None:
        if len(message.body) < SUSPICIOUS_BYTES:
            return
        strikes = self._strikes.get(_key(message), 0) + 1
        self._strikes[_key(message)] = strikes
        if strikes >= STRIKES:
            size = len(message.body)
            self._park(message, f"{size} bytes; the broker hung up {strikes} times at it", now)

    def _park(self, message: M, reason: str, now: float) -> None:
        self._parked[_key(message)] = now + PARKED_S
        self._doubtful.discard(_key(message))
        self._told.append(Parked(message, reason))


def _key(message: Outgoing) -> tuple[str, int]:
    return message.lane, message.seq
