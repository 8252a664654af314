"""What strangers, mistakes and insiders without the right send a gateway: none of it changes a row.

    attempts = Attempts(door)
    attempts.heard(payload)            each good order, so that it can be sent again, and copied
    attempts.one()                     one attempt, drawn: sent, and judged (R03, R04, R06, R07)

A world that wants them gives a ``Door``.  And what its area's meter tells in a bad hour (R36):
``strained(draw)``.
"""

import json
from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, Protocol

from gateway.disconnection.mass_limits import Load
from gateway.north.contract import instant
from gateway.north.signatures import Signer
from gateway.north.strict import PAYLOAD_MAX_BYTES
from gateway.store.connection import Connection
from tests.keyring import sealed
from tests.switch_auditor import Auditor
from tests.switch_judge import WrongError
from tests.switch_street import DAY, Home

STATES = (
    *("account", "approval", "approval_end", "balance", "calendar", "disconnection", "dry_run"),
    *("mass_limit", "notice_served", "relay", "stop", "stop_end", "switching_order"),
    *("unprotected", "weather"),
)
"""Tables that must stay as they are, row by row."""
RECORDS = ("decision", "journal", "operation", "operation_step")
"""Tables that only grow, and must not."""
KEPT = 20
"""So many good orders are remembered, to be sent again."""
RIGHTS = {
    "relay.trip": "relay",
    "relay.close": "relay",
    "relay.protect": "protect",
    "disconnect.approve": "approve",
    "delegate": "approve",
    "mass.release": "approve",
    "calendar.put": "protect",
    "notice.served": "request",
    "resume": "stop",
    "dry_run": "stop",
}
"""Which role an order needs."""


class Door(Protocol):
    """What a world provides."""

    draw: Random
    homes: list[Home]
    auditor: Auditor
    gateway: str
    """Its name."""

    @property
    def persons(self) -> Mapping[str, tuple[Signer, Collection[str]]]:
        """By key id: the key, and its roles."""

    def wall(self) -> float:
        """Unix time by the gateway's clock."""

    def connection(self) -> Connection:
        """The rows as committed."""

    def deliver(self, payload: bytes, *, retained: bool = False) -> None:
        """Hand a message in as the broker does.  What it leads to at once is committed on return;
        nothing else may happen meanwhile.
        """


class Attempts:
    """The attempts of one world."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._good: list[bytes] = []
        self._serial = 0

    def heard(self, payload: bytes) -> None:
        """A good order was delivered."""
        self._good = [*self._good[1 - KEPT :], payload]

    def one(self, what: str = "") -> str:
        """Make an attempt, a drawn one if none is named; returns which.  Raises WrongError."""
        what = what or self._door.draw.choice(list(ATTEMPTS))
        payload = ATTEMPTS[what](self)
        if payload is None:
            return ""
        door = self._door
        at, before = door.wall(), footprint(door.connection())
        if what != "sent again":
            door.auditor.attempted(at)
        door.deliver(payload, retained=what == "retained")
        after = footprint(door.connection())
        changed = sorted(name for name in before if before[name] != after[name])
        if changed:
            rule = RULES.get(what, "R06")
            raise WrongError(f"{rule} at {at:.3f}: {what!r} changed {', '.join(changed)}")
        return what

    # --- what is sent -----------------------------------------------------------------------------

    def order(self, body: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
        """An order as it should be, but for what is changed."""
        self._serial += 1
        now = self._door.wall()
        return {
            "id": f"x{self._serial}-{self._door.draw.randrange(10**6)}",
            "gateway": self._door.gateway,
            "issuer": "head-end",
            "issued": instant(now),
            "not_after": instant(now + 300),
            "command": dict(body or self.body()),
        } | changed

    def body(self, name: str = "relay.trip") -> dict[str, Any]:
        """An order to a home drawn."""
        home = self._door.draw.choice(self._door.homes)
        number, reason = home.number, "an attempt"
        bodies: dict[str, dict[str, Any]] = {
            "relay.trip": {"meter": home.meter.asset, "account": number, "reason": reason},
            "relay.close": {"meter": home.meter.asset, "reason": reason},
            "relay.protect": {"meter": home.meter.asset, "on": False, "reason": reason},
            "disconnect.approve": {"account": number, "debt_max": "1000.00"},
            "delegate": {
                "accounts": [number],
                "debt_max": "1000.00",
                "expires": instant(self._door.wall() + 30 * DAY),
            },
            "calendar.put": {
                "windows": {"version": 9, "first": "2026-01-01", "last": "2027-12-31"}
            },
            "notice.served": {
                "account": number,
                "round": 1,
                "what": "notice",
                "channel": "sms",
                "served": instant(self._door.wall()),
                "receipt": "none",
            },
        }
        return {"name": name} | bodies.get(name, {"reason": reason})

    def signer(self, role: str = "relay", *, has: bool = True) -> Signer:
        """Somebody who has a role, or has not."""
        found = [key for key, roles in self._door.persons.values() if (role in roles) is has]
        return self._door.draw.choice(found)

    def forger(self) -> Signer:
        """Who calls himself like a key that is known."""
        return Signer(self.signer().id, b"f" * 32)

    def out_of_role(self) -> bytes:
        """A good order by a person who may give others, and not this one."""
        name = self._door.draw.choice(sorted(RIGHTS))
        body = self.body(name) | ({"on": True} if name == "dry_run" else {})
        return sealed(self.order(body), self.signer(RIGHTS[name], has=False))

    def tampered(self) -> bytes:
        """A good order in which one word was changed after it was signed."""
        tree = json.loads(sealed(self.order(), self.signer()))
        tree["command"]["reason"] = "another one"
        return json.dumps(tree).encode()

    def sent_again(self) -> bytes | None:
        """A good order of the past, bit by bit."""
        return self._door.draw.choice(self._good) if self._good else None

    def copied(self) -> bytes | None:
        """The id of a good order, with other content, by somebody who may."""
        connection = self._door.connection()
        ids = [json.loads(payload)["id"] for payload in self._good]
        # One that came too late was refused, and never taken: its id is free.
        taken = [id_ for id_ in ids if connection.row("select 1 from command where id = ?", id_)]
        return (
            sealed(self.order(id=self._door.draw.choice(taken)), self.signer()) if taken else None
        )

    def anothers(self) -> bytes:
        """A trip of one home's meter for another home's account."""
        one, other = self._door.draw.sample(self._door.homes, 2)
        body = self.body() | {"account": one.number, "meter": other.meter.asset}
        return sealed(self.order(body), self.signer())

    def timed(self, issued_s: float, for_s: float) -> bytes:
        """A trip with wrong times, counted from now."""
        issued = self._door.wall() + issued_s
        times = {"issued": instant(issued), "not_after": instant(issued + for_s)}
        return sealed(self.order() | times, self.signer())

    def by_relays(self, body: Mapping[str, Any] | None = None, **changed: Any) -> bytes:
        """A trip signed by who may order one."""
        return sealed(self.order(body, **changed), self.signer())


def _nameless(attempts: Attempts) -> bytes:
    tree = attempts.order()
    del tree["gateway"]
    return sealed(tree, attempts.signer())


ATTEMPTS: Mapping[str, Callable[[Attempts], bytes | None]] = {
    "forged": lambda one: sealed(one.order(), one.forger()),
    "tampered": Attempts.tampered,
    "unsigned": lambda one: json.dumps(one.order()).encode(),
    "by a key that nobody knows": lambda one: sealed(one.order(), Signer("nobody", b"n" * 32)),
    "out of role": Attempts.out_of_role,
    "sent again": Attempts.sent_again,
    "an id used again": Attempts.copied,
    "retained": Attempts.by_relays,
    "three months old": lambda one: one.timed(-90 * DAY, 300),
    "an hour old": lambda one: one.timed(-3600, 300),
    "of tomorrow": lambda one: one.timed(DAY, 300),
    "valid for a week": lambda one: one.timed(0, 7 * DAY),
    "for another gateway": lambda one: one.by_relays(gateway="another"),
    "for no gateway": _nameless,
    "a meter that nobody configured": lambda one: one.by_relays(one.body() | {"meter": "Z9"}),
    "an account that nobody has": lambda one: one.by_relays(one.body() | {"account": "Z9"}),
    "another's meter": Attempts.anothers,
    "a meter by a pattern": lambda one: one.by_relays(one.body() | {"meter": "AAAAAAAAAAAA"}),
    "with a word too many": lambda one: one.by_relays(one.body() | {"now": True}),
    "too long": lambda one: one.by_relays() + b" " * PAYLOAD_MAX_BYTES,
    "rubbish": lambda one: one._door.draw.randbytes(200),
}
"""By name, what makes its payload; None: there is nothing to make it of yet."""
RULES = {
    "sent again": "R03",
    "an id used again": "R03",
    "three months old": "R04",
    "an hour old": "R04",
    "valid for a week": "R04",
    "a meter that nobody configured": "R07",
    "another's meter": "R07",
    "a meter by a pattern": "R01",
}
"""Which rule it would break; the others R06."""


def footprint(connection: Connection) -> dict[str, object]:
    """What an order could change."""
    found: dict[str, object] = {}
    for name in STATES:
        found[name] = connection.rows(f"select * from {name}")  # noqa: S608
    for name in RECORDS:
        found[name] = connection.row(f"select count(*) from {name}")  # noqa: S608
    return found


# --- the area --------------------------------------------------------------------------


def strained(draw: Random) -> Load:
    """What the area's meter tells in a bad hour: too much current, or too little voltage.

    While the world tells the gateway so at least every two minutes, the judge's
    ``outside.strained_at`` is when that began; else None.
    """
    if draw.random() < 0.5:
        return Load(age_s=0.0, current_percent=draw.randrange(81, 130), voltage_mv=225_000)
    return Load(age_s=0.0, current_percent=40, voltage_mv=draw.randrange(170_000, 198_000))
