"""What strangers and insiders without the right send the whole gateway changes nothing in it."""

import json
import sqlite3
from pathlib import Path
from random import Random

import pytest

from gateway.store.connection import Connection
from tests.switch_attempts import ATTEMPTS, RECORDS, RULES, STATES, Attempts, strained
from tests.switch_auditor import Auditor
from tests.switch_judge import WrongError
from tests.switch_street import homes
from tests.switch_world import HOUR, KEYS, ROLES, SwitchWorld
from tests.world import START


class Doorway:
    """The door of a whole gateway, two hours after its start: quiet time is over."""

    gateway = "world"

    def __init__(self, directory: Path) -> None:
        self.draw = Random(7)
        self.persons = {name: (KEYS[name], roles) for name, roles in ROLES.items()}
        self.homes = homes(Random(7), 7)[:2]
        self.world = SwitchWorld(directory)
        self.world.to_debt()
        for home, (account, meter) in zip(
            self.homes, (("1001", "M0"), ("1002", "M1")), strict=True
        ):
            home.becomes(number=account)
            home.meter.asset = meter
        self.world.open("1002", "M1")
        self.world.run(2.1 * HOUR)
        self.auditor = Auditor(self.homes)
        self._told = len(self.world.broker.ledger.events)

    def wall(self) -> float:
        return self.world.clock.now()

    def connection(self) -> Connection:
        return self.world.database

    def deliver(self, payload: bytes, *, retained: bool = False) -> None:
        self.world.deliver(payload, retained=retained)
        self.world.quickly(lambda: False, 0.3)

    def listen(self) -> None:
        """What goes up within a minute."""
        self.world.run(60)
        events = list(self.world.broker.ledger.events)
        for event in events[self._told :]:
            self.auditor.told(event)
        self._told = len(events)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Doorway:
    return Doorway(tmp_path_factory.mktemp("door"))


@pytest.mark.parametrize("what", sorted(ATTEMPTS))
def test_an_attempt_changes_nothing_and_is_refused_aloud(door: Doorway, what: str) -> None:
    attempts = Attempts(door)
    good = door.world.order("stop", reason="so that something can be sent again")
    door.world.run(5)
    attempts.heard(door.world.payloads[good])
    refusals = door.auditor.count["refusals"]

    assert attempts.one(what) == what
    door.listen()
    door.auditor.look(door.connection(), door.wall() + HOUR)
    assert door.auditor.count["refusals"] == refusals + (what != "sent again")
    assert door.world.told("M0") == door.world.told("M1") == []


def test_without_a_good_order_none_can_be_sent_again(door: Doorway) -> None:
    assert Attempts(door).one("sent again") == ""


def test_an_attempt_that_changes_something_is_found_out(door: Doorway) -> None:
    attempts = Attempts(door)
    attempts.heard(attempts.by_relays(attempts.body() | {"account": "1001", "meter": "M0"}))
    with pytest.raises(WrongError, match=r"R03.*'sent again' changed .*switching_order"):
        attempts.one("sent again")


def test_an_attempt_without_an_answer_is_found_out(door: Doorway) -> None:
    auditor = Auditor(door.homes)
    auditor.attempted(door.wall())
    auditor.look(door.connection(), door.wall() + 60)
    with pytest.raises(WrongError, match="R06"):
        auditor.look(door.connection(), door.wall() + HOUR)


class Yielding:
    """The door of a gateway that does whatever it is told."""

    gateway = "world"

    def __init__(self) -> None:
        self.draw, self.homes = Random(7), homes(Random(7), 7)
        self.persons = {name: (KEYS[name], roles) for name, roles in ROLES.items()}
        self.auditor = Auditor(self.homes)
        self.rows = sqlite3.connect(":memory:")
        for name in (*STATES, *RECORDS):
            self.rows.execute(f"create table {name} (body text)")
        self.rows.execute("create table command (id text)")

    def wall(self) -> float:
        return START

    def connection(self) -> Connection:
        return Connection(Path(":memory:"), self.rows)

    def deliver(self, payload: bytes, *, retained: bool = False) -> None:
        self.rows.execute("insert into operation values (?)", (f"{retained} {payload!r}",))


@pytest.mark.parametrize(
    ("what", "rule"),
    [
        ("forged", "R06"),
        ("out of role", "R06"),
        ("retained", "R06"),
        ("an id used again", "R03"),
        ("three months old", "R04"),
        ("valid for a week", "R04"),
        ("another's meter", "R07"),
        ("a meter by a pattern", "R01"),
    ],
)
def test_a_gateway_that_obeys_is_found_out(what: str, rule: str) -> None:
    door = Yielding()
    attempts = Attempts(door)
    good = attempts.by_relays()
    attempts.heard(good)
    door.rows.execute("insert into command values (?)", (json.loads(good)["id"],))
    with pytest.raises(WrongError, match=f"{rule}.*changed operation"):
        attempts.one(what)


def test_every_attempt_breaks_a_rule_that_there_is() -> None:
    assert RULES.keys() <= ATTEMPTS.keys()


def test_a_bad_hour_of_the_area() -> None:
    draw = Random(1)
    loads = [strained(draw) for _ in range(50)]
    assert all(one.current_percent > 80 or one.voltage_mv < 198_000 for one in loads)
    assert len({one.current_percent for one in loads}) > 5
