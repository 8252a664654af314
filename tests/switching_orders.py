"""Good orders about supply, and the keys of the persons who give them."""

from typing import Any

from gateway.north.contract import Command, instant
from gateway.north.parts import command_of
from gateway.north.signatures import Keys, Role, Signer
from tests.keyring import known, ring
from tests.world import START

ASKER = Signer("asker", b"a" * 32)
CHIEF = Signer("chief", b"c" * 32)
DEPUTY = Signer("deputy", b"d" * 32)
GUARD = Signer("guard", b"g" * 32)
WARD = Signer("ward", b"w" * 32)
FITTER = Signer("fitter", b"f" * 32)
WATCH = Signer("watch", b"s" * 32)
BOTH = Signer("both", b"b" * 32)
"""May ask and approve; never for the same cut."""

RIGHTS: dict[str, tuple[Signer, tuple[Role, ...]]] = {
    one.id: (one, roles)
    for one, roles in (
        (ASKER, (Role.REQUEST,)),
        (CHIEF, (Role.APPROVE,)),
        (DEPUTY, (Role.APPROVE,)),
        (GUARD, (Role.PROTECT,)),
        (WARD, (Role.PROTECT,)),
        (FITTER, (Role.RELAY,)),
        (WATCH, (Role.STOP,)),
        (BOTH, (Role.REQUEST, Role.APPROVE, Role.STOP)),
    )
}


def keys(revoked: str = "") -> Keys:
    return ring(*(known(one, *roles, revoked=one.id == revoked) for one, roles in RIGHTS.values()))


REASON = "not paid"
WINDOWS = {
    "version": 1,
    "first": "2026-01-01",
    "last": "2026-12-31",
    "hours": [{"begin": "17:00", "end": "09:00", "weekdays": [0, 6], "reason": "night"}],
    "weekend": [5, 6],
    "working_days": ["2026-02-14"],
    "days": [{"first": "2026-02-16", "last": "2026-02-22", "reason": "Spring Festival"}],
    "weather_needed": True,
}
GOOD: list[dict[str, Any]] = [
    {"name": "relay.trip", "meter": "A1", "account": "1001", "reason": REASON},
    {"name": "relay.close", "meter": "A1", "reason": "paid"},
    {"name": "relay.close", "all": True, "reason": "emergency"},
    {"name": "relay.protect", "meter": "A1", "on": True, "reason": "oxygen"},
    {"name": "relay.protect", "meter": "A1", "on": False, "reason": "moved out"},
    {"name": "disconnect.request", "account": "1001", "reason": REASON},
    {
        "name": "disconnect.approve",
        "account": "1001",
        "debt_max": "100.00",
        "request": "c-1",
        "not_before": "2026-01-01T00:00:00Z",
        "expires": "2026-01-02T00:00:00Z",
    },
    {"name": "disconnect.approve", "account": "1001", "debt_max": "100.00", "action": "trip"},
    {"name": "disconnect.approve", "action": "shed", "request": "s-1"},
    {"name": "disconnect.cancel", "account": "1001", "reason": "paid at the counter"},
    {
        "name": "delegate",
        "accounts": ["1001"],
        "policies": ["home"],
        "debt_max": "50.00",
        "expires": "2026-03-01T00:00:00Z",
    },
    {"name": "approval.revoke", "approval": "c-1", "reason": "wrong house"},
    {"name": "protect.remove", "account": "1001", "version": 2, "no_cut": True, "reason": "moved"},
    {
        "name": "protect.remove",
        "account": "1001",
        "version": 2,
        "class": "ordinary",
        "dispute": True,
        "reason": "settled",
    },
    {
        "name": "notice.served",
        "account": "1001",
        "round": 1,
        "what": "notice",
        "channel": "sms",
        "served": "2026-01-01T00:00:00Z",
        "receipt": "DELIVRD 4711",
    },
    {"name": "calendar.put", "windows": WINDOWS},
    {"name": "calendar.put", "weather": {"reason": "frost", "until": "2026-01-03T00:00:00Z"}},
    {
        "name": "shed",
        "order": "2026-1",
        "first": "2026-01-01",
        "last": "2026-12-31",
        "rows": [{"account": "1001", "load": "12.5"}, {"account": "1002", "load": "3"}],
        "goal": "12",
        "until": "2026-01-01T06:00:00Z",
        "reason": "transformer",
    },
    {"name": "shed.end", "shed": "s-1", "reason": "cool again"},
    {"name": "stop", "reason": "work on the line"},
    {"name": "resume", "reason": "done"},
    {"name": "mass.release", "reason": "looked at"},
    {"name": "dry_run", "on": True, "reason": "rehearsal"},
]
BY_NAME = {body["name"]: body for body in reversed(GOOD)}
"""One of each."""


def ask(
    id_: str, body: dict[str, Any], *, issued_s: float = 0.0, for_s: float = 300.0
) -> dict[str, Any]:
    """An order as it is signed; times count from START."""
    return {
        "gateway": "gw",
        "id": id_,
        "issuer": "head-end",
        "issued": instant(START + issued_s),
        "not_after": instant(START + issued_s + for_s),
        "command": body,
    }


def signed_by(signer: Signer | None, id_: str, body: dict[str, Any], **times: float) -> Command:
    """A command that the judge has found valid."""
    tree = ask(id_, body, **times)
    if signer:
        tree["signature"] = {"key": signer.id, "value": "A" * 86 + "=="}
    return command_of().model_validate(tree)
