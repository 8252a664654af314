"""What to make of a command or a watermark.  Pure: judged from its bytes, way, and the time.

A stranger may have written it.  So size, form, topic, signature and age are judged here; whether
its id is known already, and with which content, is for the store: the answer to a known id never
changes.

Who may order what: ``ROLES`` says which role's signature an order needs; ``AT_THE_BOX`` which
orders a technician may give without one.  He proves who he is by being allowed to write into the
letterbox (gateway/store/letterbox.py).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import BaseModel, ValidationError

from gateway.north.contract import Ack, Command, Id, topic, unix_s
from gateway.north.signatures import NO_KEYS, Domain, Keys, Role, Signer
from gateway.north.strict import ContractError, canonical, without

ROLES: Mapping[str, Role] = {
    "account.open": Role.ACCOUNT,
    "account.change": Role.ACCOUNT,
    "account.close": Role.ACCOUNT,
    "account.swap_meter": Role.ACCOUNT,
    "topup": Role.MONEY,
    "topup.reverse": Role.MONEY,
    "adjust": Role.MONEY,
    "emergency": Role.MONEY,
    "tariff.put": Role.TARIFF,
    "reading.rule": Role.ACCOUNT,
}
"""An order that is not here needs no signature: it changes nothing, or carries its own (voucher).
"""
AT_THE_BOX = frozenset(("account.open", "emergency"))
"""What a technician may order without a signature, of what would need one from afar."""


@dataclass(frozen=True, slots=True)
class Valid:
    """A command in good order.  Whether it is new, the store knows."""

    command: Command
    digest: str
    """SHA-256 of its content, whatever its key order, spaces and signature: equal only for equal
    content."""
    by: str
    """Whose signature gives the right to it, in words (``key ops-1``), or else its issuer."""


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


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides about what arrives at one gateway.  Raises nothing, whatever the bytes.

    ``now`` is Unix time, of worth if ``trusted``.
    """

    gateway: str
    keys: Keys = NO_KEYS

    def message(
        self, arrived_topic: str, payload: bytes, now: float, *, retained: bool, trusted: bool
    ) -> Valid | Ack | Refusal:
        """Decide about a message from the head-end."""
        if retained:
            # The broker would hand it out after each connect, for ever.
            return Refusal(reason="retained messages are not accepted; publish without retain")
        try:
            if arrived_topic == topic(self.gateway, "acks"):
                return _parse_ack(payload, self.gateway)
        except ContractError as error:
            return Refusal(reason=str(error))
        if arrived_topic != topic(self.gateway, "commands"):
            return Refusal(reason="it came on a topic we did not subscribe to")
        return self._command(payload, now, frozenset(), trusted=trusted)

    def letter(self, payload: bytes, now: float, *, trusted: bool) -> Valid | Refusal:
        """Decide about a command from the letterbox."""
        return self._command(payload, now, AT_THE_BOX, trusted=trusted)

    def _command(
        self, payload: bytes, now: float, may: frozenset[str], *, trusted: bool
    ) -> Valid | Refusal:
        try:
            valid, content = _parse_command(payload, self.gateway)
        except ContractError as error:
            return Refusal(reason=str(error), id=error.id)
        command = valid.command
        today = datetime.fromtimestamp(now, UTC).date() if trusted else None
        if reason := self._unsigned(command, content, today, may):
            return Refusal(reason=reason, id=command.id)
        if trusted and expired(command, now):
            reason = "not_after has passed"
            return Refusal(reason=reason, id=command.id, digest=valid.digest, stage="expired")
        return valid

    def _unsigned(
        self, command: Command, content: bytes, today: date | None, may: frozenset[str]
    ) -> str:
        """Why its signature, or that it has none, gives no right to it; empty: it does."""
        name = command.command.name
        role = ROLES.get(name)
        if role is None or (name in may and command.signature is None):
            return ""
        message = Domain.COMMAND.message(content)
        if reason := self.keys.refuse(command.signature, message, role, today):
            return reason
        if command.gateway is None:
            return "a signed command must name its gateway: it could be sent to another one"
        return ""


def expired(command: Command, now: float) -> bool:
    """Whether it is too late for ``command``.  Only a trusted clock can say so."""
    return now > unix_s(command.not_after)


def _parse_command(payload: bytes, gateway: str) -> tuple[Valid, bytes]:
    """The command, and its content without the signature.  Raises ContractError."""
    whole = canonical(payload)
    try:
        command = Command.model_validate_json(whole, strict=True)
    except ValidationError as error:
        raise ContractError(_reason(error), _id_in(whole)) from error
    if command.gateway not in (None, gateway):
        raise ContractError("it names another gateway than its topic", command.id)
    content = without(whole, "signature")
    signature = command.signature
    # Where no signature is needed none is looked at, so it says nothing.
    by = command.issuer
    if signature and command.command.name in ROLES:
        by = f"key {signature.key}"
    return Valid(command, hashlib.sha256(content).hexdigest(), by), content


def signed(payload: bytes, signer: Signer) -> bytes:
    """The command in ``payload``, signed.  Raises ContractError if it is not strict JSON."""
    content = without(canonical(payload), "signature")
    signature = signer.sign(Domain.COMMAND.message(content))
    return canonical(
        json.dumps({**json.loads(content), "signature": signature.model_dump()}).encode()
    )


def digest(payload: bytes) -> str:
    """``Valid.digest`` of a command; of bytes that are none, just their SHA-256."""
    try:
        content = without(canonical(payload), "signature")
    except ContractError:
        content = payload
    return hashlib.sha256(content).hexdigest()


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
