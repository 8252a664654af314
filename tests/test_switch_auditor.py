"""The auditor of the torture, tried on a real cut and restore: right as it is, spoilt in one place
it is found out by its number.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.acquisition.acts import Transmit
from gateway.disconnection.relay_table import State as At
from gateway.events import Priority
from gateway.north.contract import instant
from gateway.prepayment.account import Class, Mode, NoCut, Regime
from gateway.store.connection import Connection
from protocols import dlt645
from protocols.dlt645_refusals import RELAY
from protocols.relay import Action
from simulators.relay_scenarios import Behaviour
from tests.accounts import YUAN
from tests.switch_auditor import Auditor, Sent
from tests.switch_judge import WrongError
from tests.switch_street import Home, Meter, homes
from tests.switch_world import SwitchWorld


@dataclass
class Tape:
    """What an auditor would have been told, in order."""

    home: Home
    told: list[Any] = field(default_factory=list)
    """Messages and frames; with each frame the rows as they were then."""
    rows: sqlite3.Connection | None = None
    ended_at: float = 0.0

    def play(self, sql: str = "", change: Callable[[Any], Any] = lambda one: one) -> Auditor:
        """Let an auditor hear it all, with every row spoilt by ``sql`` and every frame and message
        by ``change``; one that it makes None is left out.
        """
        auditor = Auditor([self.home])
        for one in self.told:
            if isinstance(one, dict):
                message = change(dict(one))
                if message:
                    auditor.told(message)
            else:
                sent, rows = change(one[0]), spoilt(one[1], sql)
                if sent:
                    auditor.frame(self.home, sent, rows)
        assert self.rows is not None
        auditor.end(spoilt(self.rows, sql), self.ended_at)
        return auditor


def copied(rows: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    rows.backup(copy)
    return copy


def spoilt(rows: sqlite3.Connection, sql: str) -> Connection:
    copy = copied(rows)
    copy.execute("pragma foreign_keys = off")
    for (name,) in copy.execute("select name from sqlite_master where type = 'trigger'").fetchall():
        copy.execute(f"drop trigger {name}")
    copy.executescript(sql)
    return Connection(Path(":memory:"), copy)


class Taped(SwitchWorld):
    """A world that notes each control frame and each message, with the rows as they then were."""

    def __init__(self, directory: Path, found: Tape) -> None:
        self.found, self.noted = found, 0
        super().__init__(directory)

    def _overhear(self, transmit: Any, act: Transmit) -> None:
        frame, _ = dlt645.find_frame(act.data)
        if frame and frame.control == RELAY:
            self.note()
            request = dlt645.Request(frame.address, frame.control, frame.data)
            sent = Sent.of(request, self.clock.now(), Priority.RESTORE)
            assert sent is not None
            self.found.told.append((sent, copied(self.database._connection)))
        super()._overhear(transmit, act)

    def note(self) -> None:
        events = list(self.broker.ledger.events)
        self.found.told.extend(events[self.noted :])
        self.noted = len(events)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """One account cut and restored by the whole gateway."""
    meter = Meter(asset="M0", address="000000000100", behaviour=Behaviour(), load_w=0)
    home = replace(homes(Random(1), 1)[0], meter=meter)
    home.standing = replace(
        home.standing,
        number="1001",
        mode=Mode.PREPAY_CUT,
        regime=Regime.CONTRACT_PREPAY,
        class_=Class.ORDINARY,
        no_cut=None,
        dispute=False,
    )
    found = Tape(home)
    world = Taped(tmp_path_factory.mktemp("tape"), found)
    world.to_cut()
    world.run(10)
    world.top_up("60.00")
    world.until(lambda: world.relay_state() is At.ALLOWED, 60)
    world.run(10)
    world.note()
    found.rows, found.ended_at = copied(world.database._connection), world.clock.now() + 600
    return found


def test_the_auditor_lets_a_real_cut_and_restore_pass(tape: Tape) -> None:
    auditor = tape.play()
    assert auditor.count["frames"] == 2
    assert auditor.count["replayed"] >= 1
    assert len(auditor.delays) == 1


TWICE = """
update operation set purpose = 'order', cause = 'c1' where action != 'trip';
insert into operation
select number + 10, at + 500, meter, account, action, purpose, cause, operator, decision, journal,
dry, seen from operation
where number in (select operation from operation_step where data like '%"allowed"%')
"""
"""An order that gives supply a second time."""
STOPPED = """update decision set facts = replace(facts, '"stopped":false', '"stopped":true')"""


@pytest.mark.parametrize(
    ("rule", "sql"),
    [
        ("R03", TWICE),
        ("R07", "update operation set meter = 'M9'"),
        ("R39", "update operation set decision = null"),
        ("R39", "update decision set account = '1002'"),
        ("R39", "update decision set at = at - 100"),
        ("R39", "update decision set allowed = 0"),
        ("R39", "update decision set journal = journal + 1"),
        ("R40", "delete from operation"),
        ("R40", "update operation set seen = '{}'"),
        ("R40", "update operation set operator = ''"),
        ("R40", "delete from operation_step where what = 'sent'"),
        ("R40", "update operation_step set data = replace(data, 'energy_active', 'nothing')"),
        ("R40", "update operation_step set data = replace(data, 'round_trip', 'nothing')"),
        ("R44", STOPPED),
    ],
)
def test_the_auditor_sees_what_is_wrong_in_the_rows(tape: Tape, rule: str, sql: str) -> None:
    with pytest.raises(WrongError, match=rule):
        tape.play(sql)


def later(sent: Any, **changed: Any) -> Any:
    return replace(sent, **changed) if isinstance(sent, Sent) else sent


def without(message: Any, **holds: str) -> Any:
    """No message in which all this holds."""
    if not isinstance(message, dict) or any(message.get(n) != v for n, v in holds.items()):
        return message
    return None


def silenced(message: Any, name: str) -> Any:
    return (
        message if not isinstance(message, dict) or name not in message else {**message, name: ""}
    )


def quiet(message: Any) -> Any:
    """Of a trip its sending is told, and nothing after it."""
    return message if not isinstance(message, dict) or message["code"] != "relay" else None


def sooner(message: Any) -> Any:
    """The last call was made when the cut was at hand."""
    if not isinstance(message, dict) or message.get("asks") != "last_call":
        return message
    return {**message, "at": message["due"]}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("R05", lambda one: later(one, deadline=None)),
        ("R05", lambda one: later(one, deadline=None, endless=True)),
        ("R05", lambda one: later(one, deadline=getattr(one, "deadline", None)
                                  and one.deadline + timedelta(seconds=301))),
        ("R07", lambda one: later(one, address="000000000101")),
        ("R24", sooner),
        ("R33", lambda one: later(one, priority=Priority.RELAY)),
        ("R40", lambda one: later(one, frame="68")),
        ("R41", lambda one: without(one, asks="last_call")),
        ("R41", lambda one: silenced(one, "reason")),
        ("R41", lambda one: silenced(one, "next_step")),
        ("R41", quiet),
    ],
)  # fmt: skip
def test_the_auditor_sees_what_is_wrong_on_the_wire_and_in_messages(
    tape: Tape, rule: str, change: Callable[[Any], Any]
) -> None:
    with pytest.raises(WrongError, match=rule):
        tape.play(change=change)


def test_r24_cuts_that_all_wait_equally_long_are_not_random(tape: Tape) -> None:
    auditor = tape.play()
    auditor.delays = [300.0, 20.0, 450.5, 71.0, 9.0]
    assert tape.rows is not None
    auditor.end(spoilt(tape.rows, ""), tape.ended_at)
    auditor.delays = [0.0] * 5
    with pytest.raises(WrongError, match="R24"):
        auditor.end(spoilt(tape.rows, ""), tape.ended_at)


def by_order(tape: Tape, waits_s: float, *turns: float) -> Auditor:
    """The same cut as if it were ordered, told of so long before its turn."""
    assert tape.rows is not None
    at = next(one[0].at for one in tape.told if not isinstance(one, dict))
    auditor = Auditor([tape.home])
    for turn in turns:
        auditor.told(
            {
                "code": "relay",
                "what": "trip_pending",
                "meter": "M0",
                "command": "c1",
                "at": instant(at - waits_s),
                "due": instant(at + turn),
                "reason": "an order",
                "next_step": "all is checked once more",
            }
        )
    for one in tape.told:
        if not isinstance(one, dict):
            auditor.frame(tape.home, one[0], spoilt(one[1], ORDERED))
    return auditor


ORDERED = "update operation set purpose = 'order', cause = 'c1' where action = 'trip'"


@pytest.mark.parametrize("turns", [(), (60.0,), (-5.0, -3.0)])
def test_r24_an_order_that_nobody_saw_wait_or_that_did_not_is_found(
    tape: Tape, turns: tuple[float, ...]
) -> None:
    with pytest.raises(WrongError, match="R24"):
        by_order(tape, 100.0, *turns)


def test_r24_an_order_that_waited_for_its_turn_is_right(tape: Tape) -> None:
    [waited] = by_order(tape, 100.0, -5.0).order_delays
    assert waited == pytest.approx(95.0, abs=0.01)


def test_r37_a_wrong_cut_is_told_within_a_minute(tape: Tape) -> None:
    assert tape.rows is not None
    rows = spoilt(tape.rows, "")
    auditor = tape.play()
    cut = next(one for one in tape.told if isinstance(one, dict) and one["code"] == "relay")
    auditor.look(rows, tape.ended_at)

    auditor = Auditor([tape.home])
    auditor.corrected(tape.home, 100.0)
    auditor.told({**cut, "what": "wrong_cut"})
    auditor.look(rows, 1000.0)
    auditor.corrected(tape.home, 1000.0)
    auditor.look(rows, 1050.0)
    with pytest.raises(WrongError, match="R37"):
        auditor.look(rows, 1100.0)


@pytest.mark.parametrize(
    ("state", "spoils"),
    [
        ("scheduled", {"balance_e4": 10 * YUAN}),
        ("sent", {"balance_e4": 10 * YUAN}),
        ("due", {"no_cut": NoCut(reason="oxygen")}),
        ("approved", {"class_": Class.CRITICAL}),
        ("preflight", {"dispute": True}),
        ("notice_served", {"mode": Mode.POSTPAY}),
    ],
)
def test_r18_a_case_that_goes_on_though_it_must_not(
    tape: Tape, state: str, spoils: dict[str, Any]
) -> None:
    assert tape.rows is not None
    rows = spoilt(tape.rows, f"update disconnection set state = '{state}'")  # noqa: S608
    home = replace(tape.home, balance_e4=-99 * YUAN, emergency_left_e4=0)
    Auditor([home]).ended(home, rows, 0.0)
    if "balance_e4" in spoils:
        home = replace(home, **spoils)
    else:
        home.becomes(**spoils)
    with pytest.raises(WrongError, match="R18"):
        Auditor([home]).ended(home, rows, 0.0)


def test_a_power_cut_excuses_the_answer_that_it_swallowed(tape: Tape) -> None:
    sql = "delete from operation_step"
    with pytest.raises(WrongError, match="R40"):
        tape.play(sql)
    auditor = Auditor([tape.home])
    for one in tape.told:
        if isinstance(one, dict):
            auditor.told(one)
        else:
            auditor.frame(tape.home, one[0], spoilt(one[1], sql))
            assert one[0].action in (Action.TRIP, Action.ALLOW_CLOSE)
            auditor.power_cut(one[0].at + 1)
    assert tape.rows is not None
    auditor.end(spoilt(tape.rows, sql), tape.ended_at)
