import contextlib
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import recorder as recorder_module
from gateway.clock import ClockState
from gateway.config_tables import StoreTable
from gateway.north import contract
from gateway.north.readings import Reading
from gateway.recorder import DELIVERED_S, READINGS_MAX, VALUES_PER_MESSAGE, Recorder
from gateway.store.database import Database, open_store
from gateway.store.faults import DiskFullError, LockedError, StoreIOError
from gateway.store.outbox import Lane, Outbox
from simulators.ledger import Ledger
from tests.world import START

GATEWAY = "gw"


class Rig:
    """A recorder on a real store whose clock the test sets."""

    def __init__(self, path: Path, ballast_bytes: int = 0) -> None:
        self.path, self.ballast_bytes = path, ballast_bytes
        self.now = 0.0
        self.clock = ClockState.TRUSTED
        self.open()

    def open(self) -> None:
        self.database: Database = open_store(
            self.path,
            self.wall,
            os.urandom,
            ballast_bytes=self.ballast_bytes,
            busy_timeout_ms=1,
        )
        self.outbox = Outbox(self.database, self.wall, segment_bytes_max=20_000)
        limits = StoreTable(keep_days=1, max_mib=4)
        self.recorder = Recorder(
            self.database, self.outbox, GATEWAY, limits, self.wall, lambda: self.clock
        )

    def wall(self) -> float:
        return START + self.now

    def take(self, count: int = 1, points: int = 1, **more: Any) -> None:
        for n in range(count):
            values = {f"p{point}": str(n) for point in range(points)}
            self.recorder.reading(reading(f"M{n}", values, **more))

    def flush(self, *, live: bool = True) -> bool:
        return self.recorder.flush(self.now, live=live)

    def bodies(self, *lanes: Lane) -> list[dict[str, Any]]:
        found = [m for lane in lanes or tuple(Lane) for m in self.outbox.pending(lane, 10_000)]
        return [json.loads(message.body) for message in found]

    def events(self) -> list[dict[str, Any]]:
        return [body["event"] for body in self.bodies(Lane.URGENT) if "event" in body]

    def codes(self) -> list[str]:
        return [event["code"] for event in self.events()]

    def fill(self, megabytes: int, *, live: bool = False) -> None:
        """Telemetry that takes this much, though it is kept compressed."""
        draw = random.Random(megabytes)
        while self.outbox.size_bytes() < megabytes * 1_000_000:
            for n in range(50):
                values = {f"p{point}": draw.randbytes(60).hex() for point in range(20)}
                self.recorder.reading(reading(f"M{n}", values))
            assert self.flush(live=live)

    def full_disk(self, spare_pages: int = 0) -> None:
        """The file may not grow any more."""
        [(pages,)] = self.database.rows("pragma page_count")
        self.database.rows(f"pragma max_page_count = {pages + spare_pages}")


def reading(meter: str, values: dict[str, str], **more: Any) -> Reading:
    return Reading(
        meter=meter,
        address="1",
        line="east",
        taken=contract.instant(START),
        clock="trusted",
        values=values,
        **more,
    )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "taiqu.db")
    yield rig
    rig.database.close()


# --- groups -------------------------------------------------------------------------------------


def test_what_was_taken_is_one_message_and_one_transaction(rig: Rig) -> None:
    rig.take(3)
    rig.recorder.event("comm_lost", meter="M9", line="east", detail="silent")
    assert rig.bodies() == [], "nothing is written before its time"
    assert rig.recorder.waits(0.0)

    assert rig.flush()

    urgent, live = rig.bodies()
    assert (urgent["event"]["code"], urgent["event"]["meter"]) == ("comm_lost", "M9")
    assert [one["meter"] for one in live["readings"]] == ["M0", "M1", "M2"]
    assert (live["lane"], live["seq"], live["epoch"]) == ("live", 1, rig.database.epoch)
    assert rig.recorder.stored == 2
    assert not rig.recorder.waits(0.0)


def test_without_a_connection_readings_are_history(rig: Rig) -> None:
    rig.take()
    rig.flush(live=False)

    assert [body["lane"] for body in rig.bodies()] == ["history"]
    assert rig.outbox.pending(Lane.HISTORY, 1)[0].kind == "history"


def test_a_large_group_is_several_messages_none_too_large(rig: Rig) -> None:
    rig.take(300, points=14)
    rig.flush()

    bodies = rig.bodies(Lane.LIVE)
    taken = [one["meter"] for body in bodies for one in body["readings"]]
    assert taken == [f"M{n}" for n in range(300)]
    for body in bodies:
        assert sum(len(one["values"]) + 1 for one in body["readings"]) < VALUES_PER_MESSAGE + 15


def test_a_point_without_a_value_takes_room_as_well(rig: Rig) -> None:
    """A whole area after a power cut: every meter says of everything that it is not there."""
    absent = tuple(f"voltage_of_phase_{n}" for n in range(14))
    for n in range(1000):
        rig.recorder.reading(reading(f"M{n}", {}, absent=absent[:7], invalid=absent[7:]))
    rig.flush()

    sizes = [message.size_bytes for message in rig.outbox.pending(Lane.LIVE, 1000)]
    assert max(sizes) < 20_000
    assert len(sizes) > 10


def test_an_event_says_when_and_what_the_clock_was_worth(rig: Rig) -> None:
    rig.now, rig.clock = 12.5, ClockState.HOLDOVER
    rig.recorder.event("line_down", line="east", detail="x" * 1000)
    rig.clock = ClockState.TRUSTED
    rig.flush()

    (event,) = rig.events()
    assert event == {
        "code": "line_down",
        "at": "2026-01-01T00:00:12.500Z",
        "clock": "holdover",
        "line": "east",
        "detail": "x" * 500,
    }


# --- commits ------------------------------------------------------------------------------------


def test_an_orders_commit_carries_along_what_waits(rig: Rig) -> None:
    rig.take()
    with rig.recorder.commit(0.0, live=True):
        rig.database.set_meta("order", "1")

    assert len(rig.bodies(Lane.LIVE)) == 1
    assert not rig.recorder.waits(0.0)


def test_an_order_that_fails_leaves_what_waits_waiting(rig: Rig) -> None:
    rig.take()
    rig.recorder.event("line_up", line="east")
    with contextlib.suppress(ZeroDivisionError), rig.recorder.commit(0.0, live=True):
        rig.database.set_meta("order", "1")
        raise ZeroDivisionError

    assert rig.database.meta("order") is None
    assert rig.bodies() == []
    assert rig.flush()
    assert [body["seq"] for body in rig.bodies()] == [1, 1]
    assert rig.recorder.stored == 2


def test_what_is_told_inside_a_commit_goes_with_the_next(rig: Rig) -> None:
    with rig.recorder.commit(0.0, live=True):
        rig.recorder.event("command_refused", detail="inside")

    assert rig.recorder.waits(0.0)
    rig.flush()
    assert [event["detail"] for event in rig.events()] == ["inside"]
    assert not rig.recorder.waits(0.0)


def test_a_latch_is_told_in_the_commit_that_turns_it(rig: Rig) -> None:
    """Found by the torture: the power went right after the commit, and nobody was ever told."""
    with rig.recorder.commit(0.0, live=True):
        rig.recorder.turned("cuts_released", "chen, li")
    (event,) = rig.events()
    assert (event["code"], event["detail"]) == ("cuts_released", "chen, li")

    def undone() -> None:
        with rig.recorder.commit(0.0, live=True):
            rig.recorder.turned("cuts_latched", "too many")
            raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        undone()
    rig.flush()
    assert len(rig.events()) == 1


def test_deliveries_are_noted_with_the_next_group_or_after_a_minute(rig: Rig) -> None:
    rig.take(1)
    rig.flush()
    (message,) = rig.outbox.pending(Lane.LIVE, 1)
    rig.recorder.delivered(message)

    assert rig.recorder.unnoted("live") == {1}
    assert rig.recorder.unnoted("urgent") == set()
    assert not rig.recorder.waits(DELIVERED_S - 1), "a commit of its own would wear the flash"
    assert rig.recorder.waits(DELIVERED_S)
    rig.flush()
    assert rig.outbox.pending(Lane.LIVE, 1) == []
    assert rig.recorder.unnoted("live") == set()


def test_a_head_file_without_room_does_not_undo_what_was_committed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_monotonic_s: float) -> None:
        raise DiskFullError("taiqu.db.head: no space left on device")

    monkeypatch.setattr(rig.database, "note_head", full)
    with rig.recorder.commit(0.0, live=True):
        rig.database.set_meta("order", "1")
    rig.take()

    assert rig.flush()
    assert len(rig.bodies(Lane.LIVE)) == 1
    assert rig.database.meta("order") == "1"


# --- a full disk, a locked file -----------------------------------------------------------------


def test_a_full_disk_costs_the_oldest_telemetry_and_says_so(rig: Rig) -> None:
    rig.recorder.event("started")
    rig.fill(1)
    before = len(rig.bodies(Lane.HISTORY))
    rig.full_disk()

    with capture_logs() as lines:
        rig.take(200, points=20)
        assert rig.flush()
        assert rig.flush()

    rig.flush()
    codes = rig.codes()
    assert codes[0] == "started", "events are never given up"
    assert {"shed", "disk_full", "disk_restored"} <= set(codes)
    assert (codes.count("disk_full"), codes.count("disk_restored")) == (1, 1)
    shed = [event for event in rig.events() if event["code"] == "shed"]
    assert shed[0]["first"] == 1
    assert sum(event["count"] for event in shed) >= 0.2 * before
    told = [line["event"] for line in lines if line["log_level"] != "warning"]
    assert told == [
        "readings cannot be written, they wait in memory",
        "readings are written again",
    ]
    assert rig.recorder.dropped == 0


def test_the_ballast_is_given_up_when_there_is_no_telemetry_to_give_up(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "taiqu.db", ballast_bytes=1_000_000)
    assert rig.path.with_name("taiqu.db.ballast").exists()
    rig.full_disk()
    rig.take(1000, points=20)

    assert not rig.flush(), "the ballast alone does not help against max_page_count"

    assert not rig.path.with_name("taiqu.db.ballast").exists()
    rig.full_disk(spare_pages=10_000)
    assert rig.flush()
    rig.recorder.shed()
    assert rig.path.with_name("taiqu.db.ballast").exists(), "housekeeping takes it back"
    rig.database.close()


def holding(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    return other


def test_while_another_holds_the_file_all_waits_and_nothing_is_lost(rig: Rig) -> None:
    other = holding(rig.path)
    with capture_logs() as lines:
        for minute in range(3):
            rig.take(1)
            rig.recorder.event("comm_lost", meter=f"M{minute}")
            assert not rig.flush()
        rig.recorder.shed()
        other.rollback()
        assert rig.flush()
    other.close()

    assert [line["event"] for line in lines] == [
        "readings cannot be written, they wait in memory",
        "readings are written again",
    ]
    assert "locked" in lines[0]["reason"]
    assert len(rig.bodies(Lane.LIVE)[0]["readings"]) == 3
    assert rig.codes() == ["comm_lost"] * 3, "a locked file is no full disk"


def test_a_disk_that_is_full_and_then_locked_is_no_end(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [DiskFullError("full"), LockedError("locked")]
    real: Callable[..., Any] = rig.database.transaction

    def failing() -> Any:
        if faults:
            raise faults.pop(0)
        return real()

    monkeypatch.setattr(rig.database, "transaction", failing)
    rig.take()

    assert not rig.flush()
    assert rig.flush()
    assert len(rig.bodies(Lane.LIVE)) == 1


def test_an_io_error_ends_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> Any:
        raise StoreIOError("fsync failed")

    rig.take()
    monkeypatch.setattr(rig.database, "transaction", failing)

    with pytest.raises(StoreIOError):
        rig.flush()
    monkeypatch.undo()


def test_too_long_without_a_disk_drops_the_oldest_and_counts_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "READINGS_MAX", 100)
    rig.take(130)
    assert rig.recorder.dropped == 30
    rig.flush()

    kept = [one["meter"] for body in rig.bodies(Lane.LIVE) for one in body["readings"]]
    assert set(kept) == {f"M{n}" for n in range(30, 130)}
    assert READINGS_MAX >= 10_000


def test_what_a_failed_transaction_gave_is_given_by_whoever_does_it_again(rig: Rig) -> None:
    """An event of something undone is not told; what waited before it goes on waiting."""
    undone: list[str] = []
    rig.recorder.when_undone.append(lambda: undone.append("forget"))
    rig.recorder.event("comm_lost", meter="M1")
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), rig.recorder.commit(0.0, live=True):
            rig.recorder.event("line_up", line="east")
            1 / 0  # noqa: B018 - the failure
    assert undone == ["forget"] * 2
    assert rig.flush()
    assert rig.codes() == ["comm_lost"]


def test_what_is_gathered_stands_before_what_is_told_after_it(rig: Rig) -> None:
    waiting: list[str] = []

    def tell() -> None:
        names = waiting.copy()
        waiting.clear()
        if names:
            rig.recorder.journal(of(",".join(names)))

    def of(detail: str) -> Callable[[int], contract.Events]:
        event = contract.Event(code="line_up", at=contract.instant(START), clock="trusted")
        event = event.model_copy(update={"detail": detail})
        return lambda seq: contract.Events(
            gateway=GATEWAY, epoch=rig.database.epoch, lane="urgent", seq=seq, event=event
        )

    rig.recorder.gathered = tell
    with rig.recorder.commit(0.0, live=True):
        waiting += ["a", "b"]
        rig.recorder.result(of("told"))
        waiting.append("c")
    assert [event["detail"] for event in rig.events()] == ["a,b", "told", "c"]


# --- shedding -----------------------------------------------------------------------------------


def test_losses_are_announced_in_the_transaction_that_makes_them(rig: Rig) -> None:
    """A cut right after it must not leave a gap that nobody explains."""
    rig.fill(5)

    rig.recorder.shed()

    assert rig.outbox.size_bytes() <= 4 * 1024 * 1024
    lost = rig.events()
    assert {(e["code"], e["lane"], e["reason"]) for e in lost} == {("shed", "history", "no space")}
    assert [seq for e in lost for seq in range(e["first"], e["last"] + 1)] == list(
        range(1, rig.bodies(Lane.HISTORY)[0]["seq"])
    )
    assert not any("of_epoch" in event for event in lost)
    assert rig.recorder.stored == sum(marks.last for marks in rig.outbox.marks().values())


def test_what_is_within_its_limits_is_kept(rig: Rig) -> None:
    rig.fill(1)
    before = rig.bodies()
    rig.recorder.shed()

    assert rig.bodies() == before


def test_a_loss_of_a_former_epoch_says_whose_numbers_they_are(rig: Rig) -> None:
    rig.fill(2)
    former, given = rig.database.epoch, rig.outbox.marks()[Lane.HISTORY].last
    rig.database.close()
    rig.path.with_name("taiqu.db.head").unlink()
    rig.open()
    assert rig.database.epoch != former
    rig.fill(6)

    rig.recorder.shed()

    shed = [event for event in rig.events() if event["code"] == "shed"]
    assert shed[0]["of_epoch"] == former
    assert {event.get("of_epoch") for event in shed} <= {former, None}
    ledger = Ledger()
    topic = f"taiqu/v1/{GATEWAY}/events"
    for message in rig.outbox.pending(Lane.URGENT, 1000):
        ledger.take(topic, message.body)
    of_former = [lane for key, lane in ledger.lanes.items() if key.epoch == former]
    assert of_former[0].last <= given
    assert len(of_former[0].shed) == sum(
        event["count"] for event in shed if event.get("of_epoch") == former
    )


def test_a_new_epoch_is_told(rig: Rig) -> None:
    rig.recorder.new_epoch(None, "rolled back: live ends at 2 of 5")
    rig.flush()

    (event,) = rig.events()
    assert event["code"] == "store_new_epoch"
    assert event["reason"] == "rolled back: live ends at 2 of 5"
    assert "previous" not in event
