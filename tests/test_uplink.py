import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway import VERSION
from gateway.events import Delivered, LinkDown, LinkUp
from gateway.store.outbox import Lane
from tests.rooms import Gateway, read_command, write_config


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(write_config(tmp_path))
    yield gateway
    gateway.database.close()


def take_up(gateway: Gateway) -> list[str]:
    """The numbered messages on the wire, as lane and number."""
    return [
        f"{body['lane']} {body['seq']}" for _, body, _ in gateway.link.published if "seq" in body
    ]


def test_the_will_says_offline_and_whose_word_it_is(gateway: Gateway) -> None:
    will = gateway.link.will

    assert (will["state"], will["reason"]) == ("offline", "connection lost")
    assert will["epoch"] == gateway.database.epoch
    assert will["software"] == f"taiqu {VERSION}"


def test_after_each_connect_the_head_end_hears_how_things_stand(gateway: Gateway) -> None:
    for times in (1, 2):
        gateway.connect()

        state = [
            (kind, retain) for kind, body, retain in gateway.link.published if "seq" not in body
        ]
        assert state == [("status", True), ("inventory", True), ("hello", False)] * times
        gateway.disconnect()


def test_the_inventory_is_what_is_configured(gateway: Gateway) -> None:
    gateway.connect()

    (inventory,) = gateway.link.bodies("inventory")
    assert inventory["lines"] == ["east", "west"]
    assert [meter["meter"] for meter in inventory["meters"]] == ["A1", "X1"]
    assert inventory["meters"][1]["protocol"] == "modbus"
    assert inventory["config_hash"] == gateway.config.digest
    assert inventory["units"]["energy_active_import"] == "kWh"
    assert set(inventory["units"]) == {p for meter in gateway.config.meters for p in meter.points}


def test_hello_says_what_is_open(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.tell("commands", read_command("r1"))
    gateway.connect()

    hello = gateway.link.bodies("hello")[0]
    assert hello["open_commands"] == ["r1"]
    last = gateway.stored(Lane.URGENT)[-1][0].seq
    assert hello["lanes"]["urgent"] == {"first": 1, "last": last}
    assert hello["lanes"]["live"] == {"last": 0}


def test_what_waited_goes_out_and_is_noted_when_the_broker_has_it(gateway: Gateway) -> None:
    gateway.run(1)
    gateway.answer()
    gateway.run(10)
    gateway.connect()
    gateway.run(1)
    assert take_up(gateway) == ["urgent 1", "urgent 2", "history 1"]
    assert gateway.core.draining()

    gateway.deliver()
    assert not gateway.core.draining()
    gateway.run(70)
    assert gateway.stored() == []
    assert gateway.states[-1]["messages_delivered"] == len(take_up(gateway))


def test_what_is_delivered_and_not_yet_noted_is_not_sent_twice(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.connect()
    gateway.run(1)
    gateway.deliver()
    assert len(gateway.stored(Lane.URGENT)) == 2, "the file does not know yet"
    gateway.disconnect()
    gateway.connect()
    gateway.run(1)

    assert take_up(gateway) == ["urgent 1", "urgent 2"]


def test_what_was_not_answered_goes_out_again(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.connect()
    gateway.run(1)
    gateway.disconnect()
    gateway.connect()
    gateway.deliver()

    assert take_up(gateway) == ["urgent 1", "urgent 2"] * 2


def test_an_outage_is_one_line_in_the_log_and_one_state(gateway: Gateway) -> None:
    gateway.connect()
    since = gateway.clock.now() + 5
    gateway.run(5)
    with capture_logs() as lines:
        for _ in range(5):
            gateway.disconnect("one: nothing listens there")
            gateway.run(120)
    state = gateway.states[-1]["link"]

    assert [line["event"] for line in lines] == ["no connection to the head-end"]
    assert (state["up"], state["broker"], state["since"]) == (False, "", since)
    assert "no answer" in state["reason"], "the newest, though only the first is in the log"
    gateway.connect()
    gateway.run(5)
    assert gateway.states[-1]["link"]["up"]
    assert gateway.states[-1]["link"]["broker"] == "mqtt://one:1883"


def test_a_connection_that_answers_nothing_is_given_up(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.connect()
    gateway.run(1)
    attempts = len(gateway.link.opened)

    with capture_logs() as lines:
        gateway.run(40)

    assert [line["reason"] for line in lines] == [
        "mqtt://one:1883: connected, but nothing acknowledged for 30 s"
    ]
    assert gateway.link.closed == 1
    assert len(gateway.link.opened) == attempts + 1
    assert not gateway.core._uplink.live


def test_words_of_a_connection_given_up_since_do_not_count(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.connect()
    gateway.run(1)
    old = gateway.link.opened[-1][0]
    gateway.disconnect()
    gateway.connect()
    gateway.run(1)

    gateway.core.handle(LinkDown(old, "late"))
    gateway.core.handle(Delivered(old, 1))
    gateway.core.handle(LinkUp(old, "mqtt://two:1883", True, 0))

    assert gateway.core._uplink.live
    assert gateway.core._uplink.state["broker"] == "mqtt://one:1883"
    assert gateway.core._uplink.delivered == 0


def test_somebody_with_our_name_is_reported(gateway: Gateway) -> None:
    gateway.connect()
    gateway.core.handle(LinkDown(gateway.link.opened[-1][0], "taken over", taken_over=True))
    gateway.run(10)

    assert "taken_over" in gateway.codes()


def test_a_head_end_that_cannot_reach_us_is_said_so(gateway: Gateway) -> None:
    deaf = "the broker refuses our subscription to commands (Not authorized)"
    gateway.run(10)
    gateway.link.up = True
    with capture_logs() as lines:
        gateway.core.handle(
            LinkUp(gateway.link.opened[-1][0], "mqtt://one:1883", True, 0, deaf=deaf)
        )
    gateway.run(6)

    assert ("warning", deaf) in [(line["log_level"], line.get("reason")) for line in lines]
    assert gateway.states[-1]["link"] | {"since": 0} == {
        "up": True,
        "broker": "mqtt://one:1883",
        "since": 0,
        "reason": deaf,
    }
    assert gateway.link.bodies("status")[0]["reason"] == deaf


def test_a_message_too_large_for_the_broker_is_set_aside_and_reported(gateway: Gateway) -> None:
    gateway.run(1)
    gateway.answer()
    gateway.run(10)
    gateway.link.up = True
    number = gateway.link.opened[-1][0]
    gateway.core.handle(LinkUp(number, "mqtt://one:1883", True, max_packet_bytes=500))
    gateway.run(10)

    assert "history 1" not in take_up(gateway)
    (parked,) = [event for event in gateway.events() if event["code"] == "message_parked"]
    assert "the broker accepts 500" in parked["detail"]


def test_a_stop_sends_what_there_is_and_says_goodbye(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.connect()
    gateway.deliver()
    gateway.answer()

    gateway.core.stop()
    assert gateway.core.draining()
    gateway.deliver()
    assert not gateway.core.draining()
    gateway.core.close()

    assert gateway.link.bodies("events")[-1]["event"]["code"] == "stopping"
    assert len(gateway.link.bodies("readings")) == 1, "what was only in memory went out, too"
    assert gateway.link.bodies("status")[-1]["reason"] == "stopped"
    assert gateway.link.published[-1][2], "retained, in place of the will"
    assert gateway.link.closed == 1
    assert gateway.stored() == [], "and is noted as delivered"
    assert json.dumps(gateway.states[-1])


def test_a_broker_that_refuses_messages_is_told_once_per_connection(gateway: Gateway) -> None:
    gateway.run(10)
    with capture_logs() as lines:
        for _ in range(2):
            gateway.connect()
            for mid in range(1, 4):
                connection = gateway.link.opened[-1][0]
                gateway.core.handle(Delivered(connection, mid, "not authorised"))
            gateway.disconnect()

    told = [line for line in lines if line["event"] == "the broker refuses a message, it is kept"]
    assert [line["reason"] for line in told] == ["not authorised"] * 2
