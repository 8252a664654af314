"""Every message between gateway and head-end (主站), as a model; the single source of docs/schemas.

    taiqu/v1/<gateway>/readings, history, events, results    up, numbered, QoS 1
    taiqu/v1/<gateway>/completeness                          up, numbered, daily
    taiqu/v1/<gateway>/journal                               up, numbered: every transaction
    taiqu/v1/<gateway>/digest                                up, numbered, daily, retained, signed
    taiqu/v1/<gateway>/supply                                up, numbered, daily, retained
    taiqu/v1/<gateway>/status, inventory                     up, retained: how things stand
    taiqu/v1/<gateway>/hello                                 up, after each connect
    taiqu/v1/<gateway>/commands, acks                        down

A numbered message is known by (gateway, epoch, lane, seq).  ``seq`` counts 1, 2, 3 ... in each lane
of an epoch, so a receiver drops repeats and sees gaps without a clock.  A new epoch means that the
gateway's database is new, restored or rolled back: numbering starts again, and it is reported.

Times are UTC, amounts exact decimals as text, absent fields are left out.  A message is complete
without MQTT 5 properties.

Built of gateway/north/words.py; what is about money stands in contract_money.py (up) and
contract_orders.py (down), what is about supply in contract_supply.py (up) and contract_switching.py
(down).  gateway/north/parts.py puts them together.

Not supported yet: the topic area.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, SerializeAsAny, model_validator

from gateway.north.words import (
    DOWN,
    VERSION,
    Address,
    Amount,
    Clock,
    Day,
    Epoch,
    Fact,
    GatewayId,
    Id,
    Instant,
    Lane,
    Line,
    Message,
    Meter,
    Numbered,
    Offset,
    Order,
    Point,
    PublicKey,
    Sentence,
    Seq,
    Signature,
    SwitchingOrder,
    instant,
    is_id,
    topic,
    unix_s,
)

__all__ = [
    "DOWN",
    "VERSION",
    "Amount",
    "Clock",
    "Day",
    "Fact",
    "Id",
    "Instant",
    "Message",
    "Meter",
    "Numbered",
    "Offset",
    "Order",
    "Signature",
    "SwitchingOrder",
    "instant",
    "is_id",
    "topic",
    "unix_s",
]

# --- up, numbered ---------------------------------------------------------------------------------


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
    "reading_kept_out",
    "meter_prepays",
    "meter_prepays_no_more",
    "rates_refused",
    "rates_differ",
    "rates_accepted",
    "rates_unchecked",
    "books_differ",
    "charges_differ",
    "journal_damaged",
    "disk_full",
    "disk_restored",
    "taken_over",
    "message_parked",
    "command_refused",
    "ack_refused",
    "letterbox_set_aside",
    "letterbox_unusable",
    "cuts_latched",
    "cuts_released",
    "keys_changed",
    "keys_refused",
]


class Event(Fact):
    """Something happened that the head-end should know."""

    code: EventCode
    meter: Meter | None = None
    line: Line | None = None
    offset_s: Offset | None = Field(
        None,
        description="clock_changed: by how much our clock was set."
        " clock_offset: how far the meter's clock is ahead; clock_set: after it was set.",
    )
    detail: Sentence = ""


class Shed(Fact):
    """Messages were given up before they were delivered: this range will not come."""

    code: Literal["shed"] = "shed"
    of_epoch: Epoch | None = Field(
        None, description="The epoch that numbered them; left out if it is the envelope's."
    )
    lane: Lane
    first: Seq
    last: Seq
    count: int = Field(ge=1, description="Undelivered messages in the range that were given up.")
    reason: Sentence


class StoreNewEpoch(Fact):
    """The database began anew: everything is numbered from 1 again."""

    code: Literal["store_new_epoch"] = "store_new_epoch"
    previous: Epoch | None = Field(None, description="The epoch before, where it is known.")
    reason: Sentence


class Restamp(Message):
    """Messages that were stamped by a clock that nobody had set."""

    lane: Lane
    first: Seq
    last: Seq
    offset_s: Annotated[
        Offset,
        Field(
            description="Add it to every time in these messages that stands with clock unknown, and"
            " to the at of results; what is exact in it then is worth holdover."
        ),
    ]


class ClockFound(Fact):
    """The time is known: what this run of the gateway stamped before can be put right.

    Numbers are those of the envelope's epoch; each range is named once, when its time is known.
    """

    code: Literal["clock_found"] = "clock_found"
    restamp: tuple[Restamp, ...]


class Events(Numbered):
    """One event.  Lane urgent."""

    event: SerializeAsAny[Fact]


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
    signing_key: PublicKey | None = None


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
    signing_key: PublicKey | None = None


# --- down -----------------------------------------------------------------------------------------


class Resend(Order):
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


class Read(Order):
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
    command: SerializeAsAny[Order]
    signature: Signature | None = Field(
        None, description="Needed where money, accounts, tariffs or supply change: see the role."
    )

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
