"""What travels between the threads.  All of it immutable, so nothing needs a lock.

To a line goes a ``Job``.  Into the core's inbox come ``JobDone``, ``Overheard``, ``Doubled``,
``PortChanged`` and ``Heartbeat`` from the lines; ``LinkUp``, ``LinkDown``, ``Delivered`` and
``Arrived`` from the MQTT connection; ``Crashed`` from any thread that ended by an error nobody
expected.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from protocols.base import Reply, Request, Stray


class Priority(IntEnum):
    """Which job a line does first, decided anew before each exchange.

    Down to ``COLLECTION`` strict: the lower number goes first.  The others share what is left of
    the line's time.
    """

    RESTORE = 0  # give a customer the supply back
    RELAY = 1  # every other relay work, and its read-back
    COMMAND = 2  # a read somebody waits for
    COLLECTION = 3  # clock-aligned collection: daily freezes, the 15-minute grid
    POLL = 4  # periodic live values
    BACKFILL = 5  # what was missed
    PROBE = 6  # is a silent meter back?


@dataclass(frozen=True, slots=True)
class PortSettings:
    """How the UART is set for one meter; meters on one pair may differ."""

    baud: int = 9600
    parity: str = "N"
    """``N``, ``E`` or ``O``; always eight data bits."""
    stop_bits: int = 1

    @property
    def character_s(self) -> float:
        """How long one character takes on the wire, in seconds."""
        return (9 + (self.parity != "N") + self.stop_bits) / self.baud


@dataclass(frozen=True, slots=True)
class Timed:
    """A request that tells the time, so it is made at the moment it is sent."""

    address: str
    make: Callable[[float], Request]
    """Of the Unix time at which it is heard.  Raises RequestError where it must not be sent then.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Some requests to one meter, done one exchange at a time."""

    id: int
    """Given by the core, never reused while it runs."""
    meter: str
    """Asset number (资产编号) of the meter, as in the configuration."""
    priority: Priority
    requests: tuple[Request, ...]
    not_after: float
    """Monotonic time after which it is no use any more."""
    tries: int = 3
    """How often each request may be sent in all."""


class Fault(StrEnum):
    """Why a request got no reply."""

    SILENT = "silent"  # not one byte before the deadline
    DAMAGED = "damaged"  # bytes, but no good frame that answers
    REFUSED = "refused"  # the meter declined; the error text says what
    PORT = "port"  # the port is not there
    EXPIRED = "expired"  # ``not_after`` came first


class Sound(StrEnum):
    """What a line heard, counted for its diagnosis.  Frames by their size, other bytes one by one.

    A frame is long from ``LONG_BYTES`` on.
    """

    SHORT = "short"  # good replies
    LONG = "long"
    SHORT_DAMAGED = "short damaged"  # frames with a wrong checksum or without an end
    LONG_DAMAGED = "long damaged"
    NOISE = "noise"  # bytes that belong to no frame, ...
    FLAT = "flat"  # ... of them 00H and FFH
    IDLE = "idle"  # bytes while nobody was asked


LONG_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one request of a job.  Without reply and fault: it was sent, nobody answers."""

    request: Request
    reply: Reply | None = None
    fault: Fault | None = None
    error: str = ""
    permanent: bool = False
    """A refusal for good: asking this meter again is pointless."""
    reasons: tuple[str, ...] = ()
    """Of a refusal, where the protocol has names for them (DL/T 645: RelayRefusal)."""
    taken_at: float = 0.0
    """Unix time when the reply was complete, or the request nobody answers; 0 with a fault."""
    round_trip_s: float = 0.0
    """From the end of our request to the first byte of the reply."""
    tries: int = 0
    said: bytes = field(default=b"", compare=False)
    """What was sent by the last try, follow-ups included, as it went out; empty: nothing was."""
    heard: bytes = field(default=b"", compare=False)
    """The frames of the reply or the refusal as they came, with what came in front of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDone:
    """A job is over, whole or in part."""

    line: str
    job: Job
    outcomes: tuple[Outcome, ...]
    """One for each request, in their order."""
    busy_s: float
    """Line time it took, all tries together."""
    waited_s: float
    """From its submission to its first exchange."""
    strays: tuple[tuple[Stray, int], ...] = ()
    """Frames that were not ours, counted by kind."""
    sounds: tuple[tuple[Sound, int], ...] = ()
    """What the line heard since the last job was done, whoever was asked."""


@dataclass(frozen=True, slots=True)
class Overheard:
    """A meter that did not answer its last request has shown a sign of life since."""

    line: str
    meter: str


@dataclass(frozen=True, slots=True)
class Doubled:
    """Two meters answer at the address of this one.  Told each time there is a sign of it."""

    line: str
    meter: str


@dataclass(frozen=True, slots=True)
class PortChanged:
    """A line's port was opened, or was lost.  One event per change, not per try."""

    line: str
    up: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A line's thread is alive: sent every few seconds, whatever the line does."""

    line: str
    at: float
    """Monotonic."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted us.  ``connection`` numbers our attempts; later events repeat it."""

    connection: int
    broker: str
    mqtt5: bool
    max_packet_bytes: int
    """What the broker accepts; 0 when it names no limit."""
    in_flight_max: int = 0
    """Unacknowledged messages the broker accepts at once; 0 when it names no limit."""
    deaf: str = ""
    """Why nothing of the head-end's can reach us though we can send; empty when it can."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection ended, or could not be made."""

    connection: int
    reason: str
    taken_over: bool = False
    """Somebody else connected with our client id."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker answered a publish (PUBACK)."""

    connection: int
    mid: int
    refused: str = ""
    """Its failure code in words; empty means accepted."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message from the head-end.  It is acknowledged only after its effect is on flash."""

    connection: int
    mid: int
    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Crashed:
    """A thread ended by an exception that nobody expected.  The core raises it."""

    thread: str
    error: BaseException


Event = (
    JobDone
    | Overheard
    | Doubled
    | PortChanged
    | Heartbeat
    | LinkUp
    | LinkDown
    | Delivered
    | Arrived
    | Crashed
)
