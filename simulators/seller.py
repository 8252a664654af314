"""What a head-end does about money: signed orders, made as an outsider reads the contract.

Written from the documents alone: canonical JSON and Ed25519 are done here again, so that a mistake
in the gateway's own way shows.

Not supported: key rotation, vouchers.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Seller:
    """A head-end with one signing key."""

    key: str
    """Its id in the gateways' key files."""
    seed: bytes
    """The private key: 32 bytes."""

    @property
    def public(self) -> str:
        """What goes into the gateways' key files."""
        return _base64(self._private().public_key().public_bytes_raw())

    def order(
        self, gateway: str, id_: str, issued: str, not_after: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A signed command.  Times are UTC, as in ``2026-07-01T00:15:02Z``."""
        command: dict[str, Any] = {
            "gateway": gateway,
            "id": id_,
            "issuer": self.key,
            "issued": issued,
            "not_after": not_after,
            "command": dict(body),
        }
        canonical = json.dumps(command, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        signed = self._private().sign(b"taiqu/v1/command\n" + canonical.encode())
        return {**command, "signature": {"key": self.key, "value": _base64(signed)}}

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def top_up(payment: str, account: str, amount: str, paid: str) -> dict[str, Any]:
    """The body of a top-up of ``amount`` yuan."""
    return {
        "name": "topup",
        "payment": payment,
        "account": account,
        "amount": amount,
        "channel": "simulated",
        "paid": paid,
    }
