"""The real daemon under load, killed and cut off: what it committed is at the head-end.

What takes minutes stands behind ``pytest -m torture`` (``make torture``).
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.north import contract
from gateway.north.readings import Readings
from gateway.store.database import open_store
from gateway.store.outbox import Lane, Outbox
from simulators.headend import HeadEnd
from simulators.ledger import Key, Ledger
from tests.daemon_rig import NAME, PATIENCE_S, Rig, command, made
from tests.mosquitto import Mosquitto

KILLS = 20
SHORT_S, LONG_S = 8.0, 60.0
BACKLOG = 250
"""Messages of lane history; at 50 a second it takes seconds to send them."""


def long(value: object) -> object:
    """A parameter for ``make torture`` only."""
    return pytest.param(value, marks=pytest.mark.torture)


@pytest.mark.parametrize("most_s", [2.0, long(10.0)])
def test_killed_twenty_times_under_load_it_loses_nothing(tmp_path: Path, most_s: float) -> None:
    draw = random.Random(20260101)
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config()
        head_end = rig.listen()
        before = dict.fromkeys(rig.committed() if rig.database.exists() else {}, 0)
        for _ in range(KILLS):
            gateway = rig.start()
            gateway.wait_for("connected to the head-end")
            rig.flows(head_end)
            rig.take_in(head_end, draw.uniform(0.2, most_s))
            gateway.kill()
            committed = rig.committed()
            assert all(committed[key] >= last for key, last in before.items())
            before = committed
        last_life = rig.start()
        rig.flows(head_end)
        committed = rig.everything_arrives(head_end)
        status = last_life.stop()

    assert status == 0
    assert len({key.epoch for key in committed}) == 1
    assert all(committed[key] >= last for key, last in before.items())
    assert sum(committed.values()) > 2 * KILLS


@pytest.mark.parametrize("outage_s", [SHORT_S, long(LONG_S)])
@pytest.mark.parametrize("end", [Mosquitto.stop, Mosquitto.kill], ids=["SIGTERM", "kill -9"])
def test_what_was_read_while_the_broker_was_away_arrives(
    tmp_path: Path, end: Callable[[Mosquitto], None], outage_s: float
) -> None:
    with made(tmp_path, "persistence true", f"persistence_location {tmp_path}/") as rig:
        rig.serve_all()
        rig.config()
        head_end = rig.listen()
        gateway = rig.start()
        rig.flows(head_end, 3)
        end(rig.broker)
        gateway.wait_for("no connection to the head-end")
        known = len(rig.ledger.arrivals)
        rig.take_in(head_end, outage_s)
        committed = rig.committed()
        rig.broker.start()
        gateway.wait_for("connected to the head-end", 2)
        rig.flows(head_end, 3)
        fill_the_gaps(rig, head_end)
        rig.everything_arrives(head_end)
        arrived = [key.lane for key, _ in list(rig.ledger.arrivals)[known:]]

    away = sum(last for key, last in committed.items() if key.lane == "history")
    assert away >= outage_s / 2
    assert arrived.count("history") >= away
    assert rig.ledger.summary().gaps == 0
    assert len(gateway.log("no connection to the head-end")) == 1, "one line for one outage"


def test_the_present_arrives_before_the_past(tmp_path: Path) -> None:
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config()
        remember(rig, BACKLOG)
        head_end = rig.listen()
        rig.start()
        rig.everything_arrives(head_end)
        lanes = [key.lane for key, _ in rig.ledger.arrivals]

    past = [seq for key, seq in rig.ledger.arrivals if key.lane == "history"]
    assert past == list(range(1, BACKLOG + 1)), "the past comes in its order"
    assert lanes.index("live") < len(lanes) - 1 - lanes[::-1].index("history") - BACKLOG // 2


@pytest.mark.parametrize("confirm", ["broker", "head_end"])
def test_what_a_broker_forgot_is_asked_for_and_sent_again(tmp_path: Path, confirm: str) -> None:
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config(mqtt={"confirm": confirm})
        rig.listen().stop()
        rig.start()
        head_end = lose_messages(rig)
        fill_the_gaps(rig, head_end)
        rig.everything_arrives(head_end)
        answers = [result for results in rig.ledger.results.values() for result in results]

    assert answers
    assert {answer["stage"] for answer in answers} == {"confirmed"}
    assert all(answer["data"]["missing"] == [] for answer in answers)
    assert rig.ledger.summary().gaps == 0


@pytest.mark.torture
def test_a_head_end_that_confirms_need_not_ask(tmp_path: Path) -> None:
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config(mqtt={"confirm": "head_end"})
        rig.listen().stop()
        rig.start()
        head_end = lose_messages(rig)

        def whole() -> bool:
            head_end.acknowledge()
            return rig.ledger.summary().gaps == 0

        rig.until(whole, head_end, "what the broker forgot", 2 * PATIENCE_S)
        rig.everything_arrives(head_end)

    assert rig.ledger.summary().gaps == 0


def lose_messages(rig: Rig) -> HeadEnd:
    """Let the broker acknowledge messages for a head-end that is away, and die of kill -9.

    Returns the head-end, back and missing some.
    """
    witness = HeadEnd(Ledger(), "127.0.0.1", rig.head_end_port, client_id="witness")
    witness.start()
    try:
        rig.until(lambda: witness.ledger.summary().messages > 5, witness, "messages")
    finally:
        witness.stop()
    rig.broker.kill()
    rig.broker.start()
    head_end = rig.listen()
    rig.until(lambda: rig.ledger.summary().gaps > 0, head_end, "a gap")
    return head_end


def fill_the_gaps(rig: Rig, head_end: HeadEnd) -> None:
    """Ask for what is missing until nothing is: the answers may show another gap."""
    while wanted := missing(rig.ledger):
        for key, gaps in wanted.items():
            again = {"name": "resend", "lane": key.lane, "first": gaps[0], "last": gaps[-1]}
            head_end.send(NAME, "commands", command(f"{key.lane}-from-{gaps[0]}", **again))
        rig.until(
            lambda: (
                not any(set(missing(rig.ledger).get(k, ())) & set(g) for k, g in wanted.items())
            ),
            head_end,
            "the missing range",
        )


def missing(ledger: Ledger) -> dict[Key, list[int]]:
    """The holes, and what hello says was given behind the last number that came: nothing need ever
    come behind a forgotten last message, so no hole would show it.
    """
    hello = ledger.states.get((NAME, "hello"), {"lanes": {}})
    lasts = {Key(NAME, hello["epoch"], n): m["last"] for n, m in hello["lanes"].items()}
    found = {}
    for key in ledger.lanes.keys() | lasts.keys():
        lane = ledger.lanes.get(key)
        known = lane.contents.keys() | lane.shed if lane else set()
        last = max(lasts.get(key, 0), lane.last if lane else 0)
        if holes := [seq for seq in range(1, last + 1) if seq not in known]:
            found[key] = holes
    return found


def remember(rig: Rig, count: int) -> None:
    """Put messages into the daemon's outbox that a former life could not send."""
    clock = SystemClock()
    rig.database.parent.mkdir()
    with open_store(rig.database, clock.now, random.Random(1).randbytes, ballast_bytes=0) as store:
        outbox = Outbox(store, clock.now)
        with store.transaction():
            for _ in range(count):
                outbox.add(
                    Lane.HISTORY,
                    "history",
                    lambda seq: contract.encode(
                        Readings(
                            gateway=NAME, epoch=store.epoch, lane="history", seq=seq, readings=()
                        )
                    ),
                )
