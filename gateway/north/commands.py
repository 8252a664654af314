"""What to make of a command or a watermark.  Pure: judged from its bytes, way, and the time.

A stranger may have written it.  So size, form, topic, signature and age are judged here; whether
its id is known already, and with which content, is for the store: the answer to a known id never
changes.

Who may order what: ``ROLES`` says which role's signature an order needs; ``AT_THE_BOX`` which
orders a technician may give without one.  He proves who he is by being allowed to write into the
letterbox (gateway/store/letterbox.py).

How late an order may come: while no clock is trusted nothing expires, but for orders about supply
it is the other way round.  What could lead to a cut is expired then, and what switches or takes a
stop away (``PROMPT``) is valid for minutes only, whatever its ``not_after`` says.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import BaseModel, ValidationError

from gateway.north.contract import Ack, Command, Id, SwitchingOrder, topic, unix_s
from gateway.north.parts import MONEY, SWITCHING, command_of
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
    "relay.trip": Role.RELAY,
    "relay.close": Role.RELAY,
    "relay.protect": Role.PROTECT,
    "disconnect.request": Role.REQUEST,
    "disconnect.approve": Role.APPROVE,
    "disconnect.cancel": Role.REQUEST,
    "delegate": Role.APPROVE,
    "approval.revoke": Role.APPROVE,
    "protect.remove": Role.PROTECT,
    "notice.served": Role.REQUEST,
    "calendar.put": Role.PROTECT,
    "shed": Role.RELAY,
    "shed.end": Role.RELAY,
    "stop": Role.STOP,
    "resume": Role.STOP,
    "mass.release": Role.APPROVE,
    "dry_run": Role.STOP,
}
"""An order that is not here needs no signature: it changes nothing, or carries its own (voucher).
"""
AT_THE_BOX = frozenset(("account.open", "emergency", "relay.close", "stop", "resume"))
"""What a technician may order without a signature, of what would need one from afar."""
PROMPT = frozenset(
    ("relay.trip", "relay.close", "relay.protect", "shed", "resume", "mass.release", "dry_run")
)
"""Meant now: valid for ``PROMPT_S`` at most."""
PROMPT_S = 600.0
AHEAD_S = 60.0
"""An order that could lead to a cut may come from the future by this much: clocks differ."""


@dataclass(frozen=True, slots=True)
class Valid:
    """A command in good order.  Whether it is new, the store knows."""

    command: Command
    digest: str
    """SHA-256 of its content, whatever its key order, spaces and signature: equal only for equal
    content."""
    by: str
    """Whose signature gives the right to it, in words (``key ops-1``), or else its issuer."""
    at_box: bool = False
    """It came out of the letterbox: somebody stands there."""

    @property
    def key(self) -> str:
        """Id of the key whose signature gives the right to it; empty: none was needed."""
        return key_of(self.command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message we do not act on."""

    reason: str
    """One short line of printable ASCII."""
    id: str | None = None
    """The command's id, where it could be read: its issuer gets a result."""
    digest: str = ""
    """Given where it may have come in better times: an id known with it has its answer already."""
    stage: Literal["refused", "expired"] = "refused"


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides about what arrives at one gateway.  Raises nothing, whatever the bytes.

    ``now`` is Unix time, of worth if ``trusted``.
    """

    gateway: str
    keys: Keys = NO_KEYS
    money: bool = True
    """Whether prepayment is configured: somebody carries out orders about money."""
    switching: bool = True
    """Whether switching is: somebody carries out orders about supply."""

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
        return self._command(payload, now, trusted=trusted, at_box=False)

    def letter(self, payload: bytes, now: float, *, trusted: bool) -> Valid | Refusal:
        """Decide about a command from the letterbox."""
        return self._command(payload, now, trusted=trusted, at_box=True)

    def _command(
        self, payload: bytes, now: float, *, trusted: bool, at_box: bool
    ) -> Valid | Refusal:
        try:
            valid, content = self._parse(payload)
        except ContractError as error:
            if error.id and (reason := self._elsewhere(payload)):
                return Refusal(reason=reason, id=error.id, digest=digest(payload))
            return Refusal(reason=str(error), id=error.id)
        command = valid.command
        today = datetime.fromtimestamp(now, UTC).date() if trusted else None
        may = AT_THE_BOX if at_box else frozenset[str]()
        if reason := self._unsigned(command, content, today, may) or _lasting(command):
            return Refusal(reason=reason, id=command.id)
        if reason := _expired(command, now, trusted=trusted, at_box=at_box):
            return Refusal(reason=reason, id=command.id, digest=valid.digest, stage="expired")
        if trusted and _ahead(command, now):
            return Refusal(reason="issued lies in the future", id=command.id)
        return replace(valid, at_box=at_box)

    def _parse(self, payload: bytes) -> tuple[Valid, bytes]:
        """The command, and its content without the signature.  Raises ContractError."""
        whole = canonical(payload)
        model = command_of(money=self.money, switching=self.switching)
        try:
            command = model.model_validate_json(whole, strict=True)
        except ValidationError as error:
            raise ContractError(_reason(error), _id_in(whole)) from error
        if command.gateway not in (None, self.gateway):
            raise ContractError("it names another gateway than its topic", command.id)
        content = without(whole, "signature")
        # Where no signature is needed none is looked at, so it says nothing.
        key = key_of(command)
        by = f"key {key}" if key else command.issuer
        return Valid(command, hashlib.sha256(content).hexdigest(), by), content

    def _elsewhere(self, payload: bytes) -> str:
        """Which part is missing here that would know this command; empty: none is."""
        match json.loads(canonical(payload)):
            case {"command": {"name": str(name)}} if name in MONEY and not self.money:
                return "prepayment is not configured here"
            case {"command": {"name": str(name)}} if name in SWITCHING and not self.switching:
                return "switching is not configured here"
        return ""

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


def key_of(command: Command) -> str:
    """Id of the key that signed a command the judge found valid; empty: no signature counted."""
    counts = command.signature is not None and command.command.name in ROLES
    return command.signature.key if counts and command.signature else ""


def _expired(command: Command, now: float, *, trusted: bool, at_box: bool) -> str:
    """Why it is too late for it; empty: it is not.

    R04: whether an order that could lead to a cut is too late must be known; at the box somebody
    stands there and means it now.
    """
    order = command.command
    if trusted:
        return "not_after has passed" if expired(command, now) else ""
    if not isinstance(order, SwitchingOrder) or order.keeps_supply:
        return ""
    if at_box and order.name in AT_THE_BOX:
        return ""
    return "nobody knows whether it is too late: the gateway's clock is not trusted"


def _lasting(command: Command) -> str:
    """Why it would be valid for too long; empty: it would not."""
    name, valid_s = command.command.name, unix_s(command.not_after) - unix_s(command.issued)
    if name in PROMPT and valid_s > PROMPT_S + 1:
        return f"{name} is valid for {PROMPT_S:.0f} s at most; not_after is {valid_s:.0f} s later"
    return ""


def _ahead(command: Command, now: float) -> bool:
    order = command.command
    may_cut = isinstance(order, SwitchingOrder) and not order.keeps_supply
    return may_cut and unix_s(command.issued) > now + AHEAD_S


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
