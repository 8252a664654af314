"""Keys for tests, what a gateway's key file says of them, and orders as a head-end sends them."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from gateway.keys import key_table
from gateway.north.commands import signed
from gateway.north.signatures import Key, Keys, Role, Signer, from_text

MONEY = Signer("cash", b"m" * 32)
OFFICE = Signer("office", b"o" * 32)
TARIFF = Signer("prices", b"t" * 32)
STRANGER = Signer("cash", b"x" * 32)
"""Calls himself like a key that is known."""


def known(
    signer: Signer,
    *roles: Role,
    not_before: date | None = None,
    not_after: date | None = None,
    revoked: bool = False,
) -> Key:
    return Key(
        id=signer.id,
        public=from_text(signer.public()) or b"",
        roles=frozenset(roles),
        not_before=not_before,
        not_after=not_after,
        revoked=revoked,
    )


def ring(*keys: Key) -> Keys:
    return Keys({key.id: key for key in keys})


KEYS = ring(known(MONEY, Role.MONEY), known(OFFICE, Role.ACCOUNT), known(TARIFF, Role.TARIFF))


def write_keys(directory: Path) -> str:
    """Write ``keys.toml`` with the three keys; returns what the configuration needs for it."""
    tables = [
        key_table(MONEY, ("money",)),
        key_table(OFFICE, ("account",)),
        key_table(TARIFF, ("tariff",)),
    ]
    path = directory / "keys.toml"
    path.write_text("\n".join(tables))
    path.chmod(0o600)
    return '[keys]\nfile = "keys.toml"\n'


def sealed(command: Mapping[str, Any], signer: Signer) -> bytes:
    return signed(json.dumps(command).encode(), signer)


TOP_UP = {
    "name": "topup",
    "payment": "p-1",
    "account": "1001",
    "amount": "50.00",
    "channel": "counter",
    "paid": "2026-01-01T00:00:00Z",
}
OPEN = {
    "name": "account.open",
    "account": "1001",
    "opened": "2026-01-01",
    "mode": "prepay_cut",
    "regime": "contract_prepay",
    "class": "ordinary",
    "policy": "home",
    "tariffs": [{"since": "2026-01-01", "tariff": "home"}],
    "meters": [{"meter": "A1", "since": "2026-01-01", "start": {"energy_active_import": "12.34"}}],
}
