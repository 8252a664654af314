"""The persons of the torture: their keys, and what they order."""

from typing import Any

from gateway.north.contract import instant
from gateway.north.signatures import Role, Signer
from tests.keyring import known, ring, sealed

PERSONS: dict[str, tuple[Role, ...]] = {
    "cash": (Role.MONEY,),
    "office": (Role.ACCOUNT,),
    "wang": (Role.APPROVE,),
    "chen": (Role.APPROVE,),
    "li": (Role.APPROVE,),
    "asks": (Role.REQUEST,),
    "guard": (Role.PROTECT,),
    "ward": (Role.PROTECT,),
    "fitter": (Role.RELAY,),
    "watch": (Role.STOP,),
}
SIGNERS = {name: Signer(name, name.encode().ljust(32, b"-")) for name in PERSONS}
KEYS = ring(*(known(SIGNERS[name], *roles) for name, roles in PERSONS.items()))
WINDOWS: dict[str, Any] = {
    "version": 1,
    "first": "2026-09-07",
    "last": "2026-12-06",
    "hours": [{"begin": "20:00", "end": "08:00", "reason": "night"}],
    "days": [{"first": "2026-10-01", "last": "2026-10-07", "reason": "National Day"}],
}


def command(
    id_: str, by: str, issued: float, order: dict[str, Any], *, for_s: float, gateway: str
) -> bytes:
    """An order as a head-end sends it, signed."""
    tree = {
        "gateway": gateway,
        "id": id_,
        "issuer": "head-end",
        "issued": instant(issued),
        "not_after": instant(issued + for_s),
        "command": order,
    }
    return sealed(tree, SIGNERS[by])


def yuan(amount_e4: int) -> str:
    """An amount as orders write it."""
    return f"{amount_e4 // 10_000}.{amount_e4 % 10_000 // 100:02}"
