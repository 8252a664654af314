"""The words that all messages are made of: topics, moments, ids, units; and the envelope.

Beneath gateway/north/contract.py, which is the door: others import these names from there.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

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


def _is_a_day(day: str) -> str:
    date.fromisoformat(day)
    return day


def is_id(text: str) -> bool:
    """Whether ``text`` can be the id of a command."""
    return _COMMAND_ID.fullmatch(text) is not None


GatewayId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,32}$"), Field(description="Gateway id.")
]
_COMMAND_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
Id = Annotated[
    str,
    StringConstraints(pattern=f"^{_COMMAND_ID.pattern}$"),
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
    AfterValidator(_is_a_day),
    Field(description="A local day of the area, as in 2026-07-01."),
]
Offset = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,3})?$"),
    Field(description="Seconds, exact decimal as text; positive is ahead."),
]
Sentence = Annotated[str, StringConstraints(max_length=500)]
AccountNumber = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]{1,32}$"),
    Field(description="Account number (户号)."),
]
Money = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,4})?$"),
    Field(description="Yuan, exact decimal as text, to 1/10,000 yuan."),
]
Energy = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,3})?$"),
    Field(description="kWh, exact decimal as text, to the Wh."),
]
MoneyOrEnergy = Annotated[
    str,
    StringConstraints(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,4})?$"),
    Field(description="Yuan or kWh, as ``unit`` says; exact decimal as text."),
]
PaymentId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$"),
    Field(description="Id of the payment, whichever way it comes: it counts once, for ever."),
]
TariffId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$"),
    Field(description="Id of the tariff (电价方案); its version follows from the day."),
]
KeyId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]{1,32}$"),
    Field(description="Id of the signing key, as the gateway's key file has it."),
]
PublicKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$"),
    Field(description="Ed25519 public key, 32 bytes in base64."),
]
TransactionNumber = Annotated[
    int, Field(ge=1, le=2**53 - 1, description="Number in the journal (流水): 1, 2, 3 ...")
]
Hash = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    Field(description="SHA-256 of a transaction and of the hash of the one before."),
]


class Message(BaseModel):
    """What all messages share: frozen, and an unknown key is an error."""

    # Many are only ever a part of another one, which brings their validators along.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Numbered(Message):
    """The envelope of what must arrive: numbered in the transaction that made it true."""

    gateway: GatewayId
    epoch: Epoch
    lane: Lane
    seq: Seq


class Fact(Message):
    """Something that the head-end should know: what an event is about."""

    code: str
    at: Instant
    clock: Clock


class Order(Message):
    """What a command wants done."""

    name: str


class SwitchingOrder(Order):
    """An order about supply."""

    @property
    def keeps_supply(self) -> bool:
        """Whether it can only keep supply or prevent a cut: then it may come by any clock."""
        return False


class Signature(Message):
    """An Ed25519 signature (RFC 8032) over a message without its signature.

    Signed is a line that names the kind of message (``taiqu/v1/command`` and a line feed), then the
    message's canonical JSON: keys sorted by code point, no spaces, plain UTF-8, no ``signature``.
    """

    key: KeyId
    value: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9+/]{86}==$"),
        Field(description="64 bytes in base64."),
    ]
