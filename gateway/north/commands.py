"""What to make of a message from the head-end.  Pure: judged from its bytes, topic and the time.

A stranger may have written it.  So size, form, topic and age are judged here; whether its id is
known already, and with which content, is for the store: the answer to a known id never changes.

Not supported yet: signatures and roles.  The commands of today move neither money nor relays.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ValidationError

from gateway.north.contract import Ack, Command, Id, topic, unix_s
from gateway.north.strict import ContractError, canonical


@dataclass(frozen=True, slots=True)
class Valid:
    """A command in good order.  Whether it is new, the store knows."""

    command: Command
    digest: str
    """SHA-256 of its content, whatever its key order and spaces: equal only for equal content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message we do not act on."""

    reason: str
    """One short line of printable ASCII."""
    id: str | None = None
    """The command's id, where it could be read: its issuer gets a result."""
    digest: str = ""
    """Given only with stage ``expired``: an id known with this digest has its answer already."""
    stage: Literal["refused", "expired"] = "refused"


def judge(
    arrived_topic: str,
    payload: bytes,
    retained: bool,
    gateway: str,
    now: float,
    clock_trusted: bool,
) -> Valid | Ack | Refusal:
    """Decide about one arrived message.  ``now`` is Unix time, of worth if ``clock_trusted``.

    Raises nothing, whatever the bytes.
    """
    if retained:
        # The broker would hand it out after each connect, for ever.
        return Refusal(reason="retained messages are not accepted; publish without retain")
    try:
        if arrived_topic == topic(gateway, "acks"):
            return _parse_ack(payload, gateway)
        if arrived_topic != topic(gateway, "commands"):
            return Refusal(reason="it came on a topic we did not subscribe to")
        valid = _parse_command(payload, gateway)
    except ContractError as error:
        return Refusal(reason=str(error), id=error.id)
    if clock_trusted and expired(valid.command, now):
        reason = "not_after has passed"
        return Refusal(reason=reason, id=valid.command.id, digest=valid.digest, stage="expired")
    return valid


def expired(command: Command, now: float) -> bool:
    """Whether it is too late for ``command``.  Only a trusted clock can say so."""
    return now > unix_s(command.not_after)


def _parse_command(payload: bytes, gateway: str) -> Valid:
    whole = canonical(payload)
    try:
        command = Command.model_validate_json(whole, strict=True)
    except ValidationError as error:
        raise ContractError(_reason(error), _id_in(whole)) from error
    if command.gateway not in (None, gateway):
        raise ContractError("it names another gateway than its topic", command.id)
    return Valid(command, hashlib.sha256(whole).hexdigest())


def _parse_ack(payload: bytes, gateway: str) -> Ack:
    try:
        ack = Ack.model_validate_json(canonical(payload), strict=True)
    except ValidationError as error:
        raise ContractError(_reason(error)) from error
    if ack.gateway not in (None, gateway):
        raise ContractError("it names another gateway than its topic")
    return ack


class _Named(BaseModel):
    id: Id


def _id_in(whole: bytes) -> str | None:
    try:
        return _Named.model_validate_json(whole, strict=True).id
    except ValidationError:
        return None


def _reason(error: ValidationError) -> str:
    """The first problem and its place; short and plain ASCII, since a stranger named the keys."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{_plain(place, 60)}: {_plain(first['msg'], 120)}"


def _plain(text: str, size: int) -> str:
    return ascii(text)[1:-1][:size]
