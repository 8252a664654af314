"""Signatures: who said it.  Pure: keys and bytes in, a verdict out.

What is signed begins with a line that says what it is (``taiqu/v1/command``), so that a signature
under one kind of message is worth nothing under another; then comes its canonical JSON.

The cryptography is in ``holds``, ``public_of`` and ``Signer.sign`` alone: another algorithm (SM2)
would go there.  The library is imported when it is first needed: it takes some 10 MB, and a gateway
without money needs none of it.

Not supported: two signatures under one message (approvals are messages of their own), SM2.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType

from gateway.north.words import Signature

KEY_BYTES = 32


class Domain(StrEnum):
    """What a signature stands under."""

    COMMAND = "taiqu/v1/command"
    DIGEST = "taiqu/v1/digest"

    def message(self, canonical: bytes) -> bytes:
        """The bytes that are signed."""
        return self.encode() + b"\n" + canonical


class Role(StrEnum):
    """What a key may be used for."""

    MONEY = "money"  # top-ups, reversals, adjustments
    TARIFF = "tariff"
    ACCOUNT = "account"  # open, change, close, swap a meter
    RELAY = "relay"
    REQUEST = "request"  # ask for a disconnection
    APPROVE = "approve"  # ... and agree to it
    PROTECT = "protect"  # add or remove protection
    STOP = "stop"


class Why(StrEnum):
    """Why a signature is not accepted: the first words of the refusal."""

    UNSIGNED = "unsigned"
    UNKNOWN = "unknown key"
    WRONG = "wrong signature"
    REVOKED = "revoked key"
    EARLY = "key not valid yet"
    LATE = "expired key"
    OUT_OF_ROLE = "out of role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key that we know."""

    id: str
    public: bytes
    roles: frozenset[Role]
    not_before: date | None = None
    """The first day it may be used; None: from ever."""
    not_after: date | None = None
    """The last day; None: for ever."""
    revoked: bool = False

    def refuse(self, role: Role, today: date | None) -> str:
        """Why it gives no right to ``role`` now; empty: it does."""
        if self.revoked:
            return f"{Why.REVOKED}: {self.id}"
        if today and self.not_before and today < self.not_before:
            return f"{Why.EARLY}: {self.id} is valid from {self.not_before} on"
        if today and self.not_after and today > self.not_after:
            return f"{Why.LATE}: {self.id} was valid until {self.not_after}"
        if role not in self.roles:
            has = ", ".join(sorted(self.roles))
            return f"{Why.OUT_OF_ROLE}: this needs the role {role}, {self.id} has {has}"
        return ""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one gateway, by id."""

    of: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))

    def refuse(
        self, signature: Signature | None, message: bytes, role: Role, today: date | None
    ) -> str:
        """Why ``signature`` gives no right to ``role`` over ``message``; empty: it does.

        ``message`` is a ``Domain.message``.  ``today`` is None while no clock is trusted: then a
        key's days are not judged.
        """
        if signature is None:
            return f"{Why.UNSIGNED}: this needs the signature of a key with the role {role}"
        key = self.of.get(signature.key)
        if key is None:
            return f"{Why.UNKNOWN}: {signature.key} is not in the gateway's key file"
        # The signature before anything else: a stranger learns nothing about a key.
        if not holds(key.public, message, signature.value):
            return f"{Why.WRONG}: the content is not what the key {key.id} signed"
        return key.refuse(role, today)


NO_KEYS = Keys()


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and its name."""

    id: str
    seed: bytes = field(repr=False)
    """The 32 bytes everything follows from (RFC 8032 §5.1.5)."""

    def sign(self, message: bytes) -> Signature:
        """Sign a ``Domain.message``."""
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - see above

        value = ed25519.Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)
        return Signature(key=self.id, value=text(value))

    def public(self) -> str:
        """Its public half, in base64."""
        return public_of(self.seed)


def new_seed() -> bytes:
    """A new private key."""
    return secrets.token_bytes(KEY_BYTES)


def public_of(seed: bytes) -> str:
    """The public key that belongs to a private one, in base64."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - see above

    return text(ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def holds(public: bytes, message: bytes, value: str) -> bool:
    """Whether ``value`` (base64) is the signature of ``message`` by the key ``public``.

    Strict where two spellings would do: one base64 text per signature.  That S is below the group's
    order (RFC 8032 §5.1.7) is checked by OpenSSL.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    raw = from_text(value)
    if raw is None:
        return False
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(raw, message)
    except InvalidSignature:
        return False
    return True


def text(raw: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(raw).decode()


def from_text(value: str) -> bytes | None:
    """The bytes of a base64 text, or None if it is none, or not the one that ``text`` writes."""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if text(raw) == value else None
