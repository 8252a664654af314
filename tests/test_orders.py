import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.events import Fault, Job, Outcome, Priority
from gateway.north.contract import instant
from gateway.orders import READ_WITHIN_S, READS_MAX, REFUSALS_PER_MINUTE
from gateway.store.outbox import Lane
from protocols.base import Request
from tests.rooms import (
    Gateway,
    command,
    done,
    good,
    missed,
    read_command,
    refusal,
    write_config,
)

NOT_OURS = "0123456789abcdef"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(write_config(tmp_path, period_s=3600))
    gateway.run(1)
    gateway.answer()
    yield gateway
    gateway.database.close()


def resend(id_: str, first: int, last: int, lane: str = "history") -> dict[str, Any]:
    return command(id_, {"name": "resend", "lane": lane, "first": first, "last": last})


def the_job(gateway: Gateway) -> tuple[str, Job]:
    (job,) = gateway.take_jobs()
    return job


def finish(gateway: Gateway, outcome: Callable[[Request], Outcome] | None = None) -> None:
    """The meter answers every request so; well, if nothing is said."""
    line, job = the_job(gateway)
    now = gateway.clock.now()
    outcomes = [outcome(r) if outcome else good(r, now) for r in job.requests]
    gateway.core.handle(done(line, job, outcomes))
    gateway.run(0)


# --- a read -------------------------------------------------------------------------------------


def test_a_read_is_accepted_then_confirmed_with_its_values(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1", "A1", "voltage_l1n", "relay_state"), mid=7)

    assert gateway.link.acknowledged == [7]
    assert gateway.results("r1") == [("accepted", "")]
    assert gateway.core._orders._commands.open() == ["r1"]
    line, job = gateway.jobs[0]
    assert (line, job.priority) == ("east", Priority.COMMAND)
    assert job.not_after == gateway.clock.monotonic() + READ_WITHIN_S
    finish(gateway)

    assert gateway.results("r1") == [("accepted", ""), ("confirmed", "")]
    answer = gateway.stored(Lane.URGENT)[-1][1]
    assert answer["data"] == {
        "values": {"voltage_l1n": "0.000", "relay_state": "closed"},
        "without_value": [],
        "taken": instant(gateway.clock.now()),
    }
    assert gateway.core._orders._commands.open() == []


def test_a_read_of_a_silent_meter_fails_with_one_reason(gateway: Gateway) -> None:
    points = ("voltage_l1n", "current_l1", "frequency")
    gateway.tell("commands", read_command("r1", "A1", *points))
    finish(gateway, missed)

    assert gateway.results("r1")[-1] == ("failed", "did not answer within 1 s")
    data = gateway.stored(Lane.URGENT)[-1][1]["data"]
    assert data == {"values": {}, "without_value": sorted(points)}


def test_a_read_that_the_line_had_no_time_for_fails(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1"))
    line, job = the_job(gateway)
    gateway.core.handle(done(line, job, [missed(r, Fault.EXPIRED) for r in job.requests]))
    gateway.run(0)

    assert gateway.results("r1")[-1][0] == "failed"


def test_a_point_that_the_meter_refuses_is_not_asked_again(gateway: Gateway) -> None:
    for id_ in ("r0", "r1"):  # once may be a mishearing
        gateway.tell("commands", read_command(id_, "A1", "voltage_l1n"))
        finish(gateway, refusal)
        assert gateway.results(id_)[-1] == ("failed", "meter refused: no such data")
        gateway.take_jobs()

    gateway.tell("commands", read_command("r2", "A1", "voltage_l1n"))
    assert gateway.jobs == [], "a line would not even take a job that asks nothing"
    assert gateway.results("r2") == [
        ("refused", "meter A1 refuses voltage_l1n for good; it is not asked again")
    ]
    gateway.tell("commands", read_command("r3", "A1", "voltage_l1n", "current_l1"))
    finish(gateway)
    assert gateway.stored(Lane.URGENT)[-1][1]["data"]["without_value"] == ["voltage_l1n"]


@pytest.mark.parametrize(
    ("meter", "point", "reason"),
    [
        ("A9", "voltage_l1n", "no meter A9 here; the inventory lists those there are"),
        ("A1", "voltage_l9n", "meter A1 has no point voltage_l9n; the inventory lists them"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(
    gateway: Gateway, meter: str, point: str, reason: str
) -> None:
    gateway.tell("commands", read_command("r1", meter, point))

    assert gateway.results("r1") == [("refused", reason)]
    assert gateway.jobs == []


def test_the_longest_refusal_still_fits_into_a_message(gateway: Gateway) -> None:
    points = [f"p{n:02}{'x' * 60}" for n in range(64)]
    gateway.tell("commands", read_command("r1", "A1", *points))

    ((stage, reason),) = gateway.results("r1")
    assert (stage, len(reason)) == ("refused", 500)


def test_a_flood_of_reads_is_bounded_and_each_gets_its_answer(gateway: Gateway) -> None:
    for n in range(READS_MAX + 5):
        gateway.tell("commands", read_command(f"r{n}"), mid=n)

    assert len(gateway.jobs) == READS_MAX
    assert len(gateway.link.acknowledged) == READS_MAX + 5
    assert gateway.results("r36") == [
        ("refused", f"{READS_MAX} reads are waiting already; ask again when they are answered")
    ]
    gateway.answer()
    gateway.run(0)
    assert {gateway.results(f"r{n}")[-1][0] for n in range(READS_MAX)} == {"confirmed"}
    gateway.tell("commands", read_command("later"))
    assert gateway.results("later") == [("accepted", "")]


# --- repeated, conflicting, expired -------------------------------------------------------------


def test_a_repeated_command_gets_the_same_answer_and_does_nothing(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1"), mid=1)
    finish(gateway)
    first = [body for _, body in gateway.stored(Lane.URGENT) if body.get("id") == "r1"]

    order = read_command("r1")
    gateway.tell("commands", json.dumps(order, indent=3).encode(), mid=2)

    again = [body for _, body in gateway.stored(Lane.URGENT) if body.get("id") == "r1"][2:]
    assert gateway.jobs == []
    assert gateway.link.acknowledged == [1, 2]
    for before, after in zip(first, again, strict=True):
        assert before | {"seq": 0} == after | {"seq": 0}


def test_an_id_used_for_another_command_is_refused_and_reported(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1", "A1"))
    gateway.take_jobs()
    gateway.tell("commands", read_command("r1", "X1", "frequency"), mid=2)
    gateway.run(10)

    assert gateway.results("r1") == [
        ("accepted", ""),
        ("refused", "this id was used for another command"),
    ]
    assert gateway.codes()[-1] == "command_refused"
    assert gateway.link.acknowledged == [1, 2]
    assert gateway.jobs == []


def test_an_expired_command_is_answered_and_does_nothing(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1", for_s=0.5))
    gateway.run(10)

    assert gateway.results("r1") == [("expired", "not_after has passed")]
    assert gateway.jobs == []


def test_a_repeat_that_comes_late_gets_the_answer_it_had(gateway: Gateway) -> None:
    """The head-end did not hear us for an hour, and asks again."""
    gateway.tell("commands", read_command("r1", for_s=60))
    finish(gateway)
    gateway.run(600)
    gateway.take_jobs()

    gateway.tell("commands", read_command("r1", for_s=60), mid=2)
    gateway.run(10)

    assert gateway.results("r1") == [("accepted", ""), ("confirmed", "")] * 2
    assert "command_refused" not in gateway.codes()
    gateway.tell("commands", read_command("r1", "A1", "current_l1", for_s=60), mid=3)
    gateway.run(10)
    assert gateway.results("r1")[-1] == ("refused", "this id was used for another command")


def test_without_a_trusted_clock_nothing_is_too_late(gateway: Gateway) -> None:
    gateway.clock.synced = False
    gateway.run(10)
    gateway.tell("commands", read_command("r1", for_s=0.5))

    assert gateway.results("r1") == [("accepted", "")]


# --- strangers ----------------------------------------------------------------------------------


def test_a_flood_of_rubbish_wears_no_flash_and_is_reported_only_so_often(gateway: Gateway) -> None:
    noise = random.Random(1)
    changes = gateway.database._connection.total_changes
    for n in range(500):
        gateway.tell("commands", noise.randbytes(n), mid=n)
    gateway.tell("commands", read_command("x"), retained=True)
    assert gateway.database._connection.total_changes == changes
    gateway.run(10)

    assert gateway.codes().count("command_refused") == REFUSALS_PER_MINUTE
    assert len(gateway.link.acknowledged) == 501
    gateway.run(70)
    last = gateway.events()[-1]
    assert last["detail"].startswith(f"{501 - REFUSALS_PER_MINUTE} more, not told one by one")
    gateway.tell("commands", b"more")
    gateway.run(120)
    assert gateway.codes().count("command_refused") == REFUSALS_PER_MINUTE + 2


def test_a_refused_command_with_an_id_gets_an_answer(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1") | {"surprise": 1})
    gateway.run(10)

    ((stage, reason),) = gateway.results("r1")
    assert stage == "refused"
    assert reason.startswith("surprise: ")
    assert gateway.events()[-1]["detail"] == f"r1: {reason}"


# --- resend and acknowledgements ----------------------------------------------------------------


def test_what_was_delivered_goes_out_again_on_request(gateway: Gateway) -> None:
    gateway.run(10)
    gateway.connect()
    gateway.deliver()
    gateway.run(70)
    assert gateway.stored(Lane.HISTORY) == []

    gateway.tell("commands", resend("s1", 1, 5))

    assert [m.seq for m, _ in gateway.stored(Lane.HISTORY)] == [1]
    answer = next(b for _, b in gateway.stored(Lane.URGENT) if b.get("id") == "s1")
    assert (answer["stage"], answer["data"]) == ("confirmed", {"count": 1, "missing": [[2, 5]]})


def ack(gateway: Gateway, lane: str, upto: int, epoch: str = "", mid: int = 1) -> None:
    body = {"epoch": epoch or gateway.database.epoch, "lane": lane, "upto": upto}
    gateway.tell("acks", body, mid=mid)


def test_a_watermark_settles_and_is_counted_once(gateway: Gateway) -> None:
    gateway.run(10)
    assert len(gateway.stored(Lane.HISTORY)) == 1

    ack(gateway, "history", 1)
    ack(gateway, "history", 1, mid=2)

    assert gateway.stored(Lane.HISTORY) == []
    assert gateway.link.acknowledged == [1, 2]
    gateway.run(10)
    assert gateway.states[-1]["messages_delivered"] == 1


def test_watermarks_that_cannot_be_meant_are_reported_only_so_often(gateway: Gateway) -> None:
    gateway.run(10)
    for n in range(100):
        ack(gateway, "history", 1_000_000 + n, mid=n)
        ack(gateway, "history", 1, epoch=NOT_OURS, mid=n)
    gateway.run(10)

    assert len(gateway.stored(Lane.HISTORY)) == 1, "nothing was forgotten"
    told = [event for event in gateway.events() if event["code"] == "ack_refused"]
    assert len(told) == REFUSALS_PER_MINUTE
    assert "the highest number given is 1" in told[0]["detail"]
    assert f"epoch '{NOT_OURS}' never was here" in told[1]["detail"]


def test_numbers_of_a_former_epoch_make_room_for_ours(tmp_path: Path) -> None:
    """confirm = "head_end": the window knows numbers, the watermark knows the epoch."""
    gateway = Gateway(write_config(tmp_path, mqtt='confirm = "head_end"'))
    gateway.run(1)
    gateway.answer()
    gateway.run(10)
    former = gateway.database.epoch
    given = gateway.stored(Lane.URGENT)[-1][0].seq
    gateway.database.close()
    (tmp_path / "store" / "taiqu.db.head").unlink()
    gateway.start()
    gateway.run(10)
    gateway.connect()
    gateway.deliver()
    assert [body["epoch"] for body in gateway.link.bodies("events")] == [former] * given

    ack(gateway, "urgent", given, epoch=former)
    gateway.run(1)

    ours = [body for body in gateway.link.bodies("events") if body["epoch"] != former]
    assert [body["event"]["code"] for body in ours] == ["store_new_epoch", "started"]
    gateway.database.close()


# --- a restart ----------------------------------------------------------------------------------


def test_what_a_restart_cut_short_is_said_so(gateway: Gateway) -> None:
    gateway.tell("commands", read_command("r1"))
    gateway.restart()
    assert gateway.core._orders._commands.open() == ["r1"]
    gateway.run(10)

    assert gateway.results("r1") == [
        ("accepted", ""),
        ("failed", "the gateway restarted before it was done"),
    ]
    assert gateway.core._orders._commands.open() == []
    gateway.take_jobs()
    gateway.tell("commands", read_command("r1"))
    assert gateway.jobs == [], "the same command gets the same answer for ever"
    assert gateway.results("r1")[2:] == gateway.results("r1")[:2]
