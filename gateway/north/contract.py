"""Every message between gateway and head-end (主站), as a model; the single source of docs/schemas.

    taiqu/v1/<gateway>/readings, history, events, results    up, numbered, QoS 1
    taiqu/v1/<gateway>/completeness                          up, numbered, daily
    taiqu/v1/<gateway>/status, inventory                     up, retained: how things stand
    taiqu/v1/<gateway>/hello                                 up, after each connect
    taiqu/v1/<gateway>/commands, acks                        down

A numbered message is known by (gateway, epoch, lane, seq).  ``seq`` counts 1, 2, 3 ... in each lane
of an epoch, so a receiver drops repeats and sees gaps without a clock.  A new epoch means that the
gateway's database is new, restored or rolled back: numbering starts again, and it is reported.

Times are UTC, amounts exact decimals as text, absent fields are left out.  A message is complete
without MQTT 5 properties.

Not supported yet: the topics journal, area and digest; signatures on commands.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from gateway.north.strict import ContractError

VERSION = "v1"
DOWN = ("commands", "acks")
"""The kinds we subscribe to."""
_ID = re.compile(r"[A-Za-z0-9-]{1,32}")


def topic(gateway: str, kind: str) -> str:
    """The topic of ``kind`` (``readings``, ``commands`` ...) of one gateway.

    Raises ContractError for an id that could step into another gateway's topics.
    """
    if not _ID.fullmatch(gateway):
        raise ContractError(f"gateway id {gateway[:40]!r}: use 1 to 32 of A-Z a-z 0-9 -")
    return f"taiqu/{VERSION}/{gateway}/{kind}"


def instant(unix_s: float) -> str:
    """A moment as messages carry it: ``2026-07-01T00:15:02.125Z``."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def unix_s(moment: str) -> float:
    """The Unix time of an ``instant``.  Raises ValueError if there is no such day or hour."""
    return datetime.fromisoformat(moment).timestamp()


def _is_real(moment: str) -> str:
    unix_s(moment)
    return moment


GatewayId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,32}$"), Field(description="Gateway id.")
]
Id = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$"),
    Field(description="Command id, chosen by its issuer; a UUID serves."),
]
Epoch = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{16}$"),
    Field(description="64 random bits; new when the database is new, restored or rolled back."),
]
Lane = Annotated[
    Literal["urgent", "live", "history"],
    Field(description="Each lane is numbered by itself; urgent goes first, history last."),
]
Seq = Annotated[
    int, Field(ge=1, le=2**53 - 1, description="Number in its lane and epoch, without gaps.")
]
Instant = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"
    ),
    AfterValidator(_is_real),
    Field(description="UTC, ISO 8601, as in 2026-07-01T00:15:02.125Z."),
]
Clock = Annotated[
    Literal["trusted", "holdover", "unknown"],
    Field(description="The gateway's clock: synchronised; not now but plausible; certainly wrong."),
]
Meter = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Field(description="Asset number (资产编号) of the meter."),
]
Address = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32),
    Field(description="The meter's address on its line (通信地址)."),
]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32),
    Field(description="Name of the RS-485 line (485 总线)."),
]
Point = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"),
    Field(description="Name of the point (数据项); one name has one unit."),
]
Amount = Annotated[
    str,
    StringConstraints(max_length=128),
    Field(description="Exact decimal as text in the point's unit; text where it has none."),
]
Day = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    Field(description="A local day of the area, as in 2026-07-01."),
]
Offset = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,3})?$"),
    Field(description="Seconds, exact decimal as text; positive is ahead."),
]
Sentence = Annotated[str, StringConstraints(max_length=500)]


class Message(BaseModel):
    """What all messages share: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Numbered(Message):
    """The envelope of what must arrive: numbered in the transaction that made it true."""

    gateway: GatewayId
    epoch: Epoch
    lane: Lane
    seq: Seq


# --- up, numbered ---------------------------------------------------------------------------------


FreezeQuality = Annotated[
    Literal["good", "clock_off", "suspect"],
    Field(description="Good; the meter's clock is off; it does not continue the days beside it."),
]


class Frozen(Message):
    """A daily freeze (日冻结): the values are those of a day's end, not of when they were read."""

    day: Day
    at: Annotated[Instant, Field(description="The local midnight that ended the day.")]
    quality: FreezeQuality
    reason: Sentence = ""


class Reading(Message):
    """Values (示值) of one meter, taken in one go."""

    meter: Meter
    address: Address
    line: Line
    taken: Annotated[Instant, Field(description="When the meter's reply was complete.")]
    clock: Clock
    values: dict[Point, Amount] = Field(default_factory=dict)
    absent: tuple[Point, ...] = Field((), description="The meter says it has no such value now.")
    invalid: tuple[Point, ...] = Field((), description="The meter sent bytes that are no value.")
    suspect: tuple[Point, ...] | None = Field(
        None, description="Registers read twice alike that do not continue what was read before."
    )
    frozen: Frozen | None = Field(None, description="Given for a daily freeze; sent once.")


class Readings(Numbered):
    """Readings of one group commit.  Lane live on topic readings, lane history on history."""

    readings: tuple[Reading, ...]


EventCode = Literal[
    "started",
    "stopping",
    "comm_lost",
    "comm_restored",
    "line_down",
    "line_up",
    "line_fault",
    "line_restored",
    "address_shared",
    "address_restored",
    "clock_changed",
    "clock_offset",
    "clock_set",
    "reading_suspect",
    "freeze_suspect",
    "disk_full",
    "disk_restored",
    "taken_over",
    "message_parked",
    "command_refused",
    "ack_refused",
]


class Event(Message):
    """Something happened that the head-end should know."""

    code: EventCode
    at: Instant
    clock: Clock
    meter: Meter | None = None
    line: Line | None = None
    offset_s: Offset | None = Field(
        None,
        description="clock_changed: by how much our clock was set; add it to what was taken before"
        " to re-stamp that. clock_offset: how far the meter's clock is ahead; clock_set: after it"
        " was set.",
    )
    detail: Sentence = ""


class Shed(Message):
    """Messages were given up before they were delivered: this range will not come."""

    code: Literal["shed"] = "shed"
    at: Instant
    clock: Clock
    of_epoch: Epoch | None = Field(
        None, description="The epoch that numbered them; left out if it is the envelope's."
    )
    lane: Lane
    first: Seq
    last: Seq
    count: int = Field(ge=1, description="Undelivered messages in the range that were given up.")
    reason: Sentence


class StoreNewEpoch(Message):
    """The database began anew: everything is numbered from 1 again."""

    code: Literal["store_new_epoch"] = "store_new_epoch"
    at: Instant
    clock: Clock
    previous: Epoch | None = Field(None, description="The epoch before, where it is known.")
    reason: Sentence


Fact = Event | Shed | StoreNewEpoch


class Events(Numbered):
    """One event.  Lane urgent."""

    event: Annotated[Fact, Field(discriminator="code")]


class Results(Numbered):
    """How far a command has come.  Lane urgent; a command has one result for each stage."""

    id: Id
    stage: Literal["accepted", "sent", "confirmed", "failed", "refused", "expired"]
    at: Instant
    reason: Sentence = ""
    data: dict[str, JsonValue] = Field(default_factory=dict, description="The command's answer.")


# --- up, not numbered: how things stand -----------------------------------------------------------


class Status(Message):
    """Retained; also the will, so a broker that loses us says offline."""

    gateway: GatewayId
    epoch: Epoch
    state: Literal["online", "offline"]
    reason: Sentence = ""
    at: Instant
    clock: Clock
    software: str
    started: Instant


class InventoryMeter(Message):
    """One meter as configured."""

    meter: Meter
    address: Address
    line: Line
    protocol: str
    model: str
    points: tuple[Point, ...]


class Inventory(Message):
    """Retained: what this gateway reads, and in which units."""

    gateway: GatewayId
    config_hash: str
    lines: tuple[Line, ...]
    meters: tuple[InventoryMeter, ...]
    units: dict[Point, str] = Field(description="Unit of each point of these meters; may be empty.")


class Marks(Message):
    """Where one lane stands."""

    first: Seq | None = Field(
        None, description="First not acknowledged; left out if there is none."
    )
    last: int = Field(ge=0, description="Last given; 0 before the first.")


class Hello(Message):
    """First message of each connection: what is open on our side."""

    gateway: GatewayId
    epoch: Epoch
    at: Instant
    clock: Clock
    software: str
    started: Instant
    config_hash: str
    lanes: dict[Lane, Marks]
    open_commands: tuple[Id, ...] = Field((), description="Without a final result yet.")


# --- down -----------------------------------------------------------------------------------------


class Resend(Message):
    """Send a range of a lane again."""

    name: Literal["resend"]
    lane: Lane
    first: Seq
    last: Seq

    @model_validator(mode="after")
    def _in_order(self) -> "Resend":
        if self.last < self.first:
            raise ValueError("last is before first")
        return self


class Read(Message):
    """Read points of a meter now."""

    name: Literal["read"]
    meter: Meter
    points: tuple[Point, ...] = Field(min_length=1, max_length=64)


class Command(Message):
    """A command (命令).  The same id with the same content gets the same answer, for ever."""

    gateway: GatewayId | None = Field(None, description="If given, must be the topic's.")
    id: Id
    issuer: Annotated[Id, Field(description="Who wants it.")]
    issued: Instant
    not_after: Annotated[Instant, Field(description="Expired after this moment.")]
    command: Annotated[Resend | Read, Field(discriminator="name")]

    @model_validator(mode="after")
    def _in_order(self) -> "Command":
        if unix_s(self.not_after) < unix_s(self.issued):
            raise ValueError("not_after is before issued")
        return self


class Ack(Message):
    """A watermark: the head-end keeps everything of the lane up to and including ``upto``."""

    gateway: GatewayId | None = Field(None, description="If given, must be the topic's.")
    epoch: Epoch
    lane: Lane
    upto: Annotated[int, Field(ge=0, le=2**53 - 1)]


def encode(message: Message) -> bytes:
    """The payload of a message: JSON, absent fields left out."""
    return message.model_dump_json(exclude_none=True).encode()
