import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.store.database import Database, open_store
from gateway.store.outbox import Lane, Marks, Message, Outbox, RangeError, Resend, Shed

NOON = 1_767_268_800.0  # 2026-01-01 12:00 UTC
DAY_S = 86_400
BODY_BYTES = 10


def body(seq: int) -> bytes:
    return b"%010d" % seq


def zeros(size: int, _: int) -> bytes:
    return bytes(size)


class Rig:
    """An outbox whose clock the test sets."""

    def __init__(self, path: Path) -> None:
        self.now = NOON
        self.path = path
        self.open()

    def open(self) -> None:
        self.store: Database = open_store(self.path, lambda: self.now, os.urandom, ballast_bytes=0)
        self.outbox = Outbox(self.store, lambda: self.now, segment_bytes_max=10 * BODY_BYTES)

    def add(self, lane: Lane, count: int = 1) -> None:
        with self.store.transaction():
            for _ in range(count):
                self.outbox.add(lane, "readings", body)

    def acknowledge(self, lane: Lane, *seqs: int) -> None:
        found = [message for message in self.outbox.pending(lane, 1000) if message.seq in seqs]
        with self.store.transaction():
            self.outbox.acknowledge(found)

    def shed(self, max_bytes: int, max_age_s: float = DAY_S) -> list[Shed]:
        with self.store.transaction():
            return self.outbox.shed(max_bytes, max_age_s, self.now)

    def seqs(self, lane: Lane, *, newest_first: bool = False) -> list[int]:
        return [m.seq for m in self.outbox.pending(lane, 1000, newest_first=newest_first)]

    def tables(self) -> list[str]:
        rows = self.store.rows("select name from sqlite_schema where name like 'outbox%'")
        return sorted(name for (name,) in rows)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "taiqu.db")
    yield rig
    rig.store.close()


def test_a_message_comes_back_as_it_was_added(rig: Rig) -> None:
    with rig.store.transaction():
        assert rig.outbox.add(Lane.LIVE, "readings", lambda seq: b'{"seq":%d}' % seq) == 1

    assert rig.outbox.pending(Lane.LIVE, 10) == [
        Message(
            lane=Lane.LIVE,
            epoch=rig.store.epoch,
            seq=1,
            kind="readings",
            body=b'{"seq":1}',
            created=NOON,
        )
    ]
    assert rig.outbox.pending(Lane.LIVE, 10)[0].size_bytes == 9
    assert rig.outbox.pending(Lane.HISTORY, 10) == []


def test_a_long_message_comes_back_whole_and_takes_a_fraction(rig: Rig) -> None:
    text = b'{"meter":"A1","voltage_l1n":"230.1"}' * 300
    with rig.store.transaction():
        rig.outbox.add(Lane.LIVE, "readings", lambda _: text)

    (message,) = rig.outbox.pending(Lane.LIVE, 10)
    assert (message.kind, message.body) == ("readings", text)
    assert rig.outbox.size_bytes() < len(text) / 20
    assert rig.outbox.marks()[Lane.LIVE].pending_bytes == rig.outbox.size_bytes()


@given(size=st.integers(0, 2000), seed=st.integers(0, 255))
def test_bodies_of_any_length_come_back_as_they_were(size: int, seed: int) -> None:
    body = random.Random(seed).randbytes(size)
    with (
        TemporaryDirectory() as folder,
        contextlib.closing(Rig(Path(folder) / "db").store) as store,
    ):
        outbox = Outbox(store, lambda: NOON)
        with store.transaction():
            outbox.add(Lane.LIVE, "readings", lambda _: body)

        assert [message.body for message in outbox.pending(Lane.LIVE, 1)] == [body]


def test_each_lane_counts_for_itself(rig: Rig) -> None:
    rig.add(Lane.LIVE, 3)
    rig.add(Lane.URGENT)

    marks = rig.outbox.marks()

    assert marks[Lane.LIVE] == Marks(
        first_unacknowledged=1, last=3, pending=3, pending_bytes=3 * BODY_BYTES
    )
    assert marks[Lane.URGENT].last == 1
    assert rig.outbox.size_bytes() == 4 * BODY_BYTES
    assert marks[Lane.HISTORY] == Marks(first_unacknowledged=1, last=0, pending=0, pending_bytes=0)


def test_a_number_given_in_a_transaction_that_failed_is_given_again(rig: Rig) -> None:
    rig.add(Lane.LIVE)
    with pytest.raises(UnicodeEncodeError), rig.store.transaction():
        rig.outbox.add(Lane.LIVE, "readings", lambda _: "电".encode("ascii"))

    rig.add(Lane.LIVE)

    assert rig.seqs(Lane.LIVE) == [1, 2]


def test_pages_in_both_orders_without_what_is_in_flight(rig: Rig) -> None:
    rig.add(Lane.LIVE, 35)  # four segments

    page = rig.outbox.pending(Lane.LIVE, 4, newest_first=True, exclude={35, 33, 9})
    assert [message.seq for message in page] == [34, 32, 31, 30]
    page = rig.outbox.pending(Lane.LIVE, 12, exclude=set(range(1, 10)))
    assert [message.seq for message in page] == list(range(10, 22))
    assert rig.outbox.pending(Lane.LIVE, 4, exclude=set(range(1, 36))) == []


def test_acknowledged_out_of_order_is_acknowledged(rig: Rig) -> None:
    rig.add(Lane.LIVE, 25)

    rig.acknowledge(Lane.LIVE, *range(12, 26))
    rig.acknowledge(Lane.LIVE, 1, 3)

    assert rig.seqs(Lane.LIVE) == [2, *range(4, 12)]
    assert rig.seqs(Lane.LIVE, newest_first=True) == [*range(11, 3, -1), 2]
    marks = rig.outbox.marks()[Lane.LIVE]
    assert (marks.first_unacknowledged, marks.pending) == (2, 9)
    assert marks.pending_bytes == 9 * BODY_BYTES


def test_a_drained_lane_is_one_range_however_it_was_drained(rig: Rig) -> None:
    rig.add(Lane.LIVE, 100)
    order = list(range(1, 101))
    random.Random(3).shuffle(order)

    for seq in order:
        rig.acknowledge(Lane.LIVE, seq)

    assert rig.seqs(Lane.LIVE) == []
    assert rig.store.rows("select first, last from acknowledged") == [(1, 100)]


def test_a_watermark_settles_all_up_to_it(rig: Rig) -> None:
    rig.add(Lane.LIVE, 25)
    rig.acknowledge(Lane.LIVE, 3)

    with rig.store.transaction():
        assert rig.outbox.watermark(Lane.LIVE, 0) == 0
        assert rig.outbox.watermark(Lane.LIVE, 20) == 19
        assert rig.outbox.watermark(Lane.LIVE, 20) == 0

    assert rig.seqs(Lane.LIVE) == [21, 22, 23, 24, 25]


@pytest.mark.parametrize("upto", [-1, 26, 2**70])
def test_a_watermark_for_what_was_never_given_forgets_nothing(rig: Rig, upto: int) -> None:
    rig.add(Lane.LIVE, 25)

    with (
        pytest.raises(RangeError, match="highest number given is 25; nothing was forgotten"),
        rig.store.transaction(),
    ):
        rig.outbox.watermark(Lane.LIVE, upto)

    assert rig.outbox.marks()[Lane.LIVE].pending == 25


def test_another_epoch_is_refused(rig: Rig) -> None:
    for ask in (
        lambda: rig.outbox.watermark(Lane.LIVE, 0, "beef"),
        lambda: rig.outbox.resend(Lane.LIVE, 1, 1, "beef"),
    ):
        with pytest.raises(RangeError, match="epoch 'beef' never was here"):
            ask()


def test_what_is_sent_again_and_what_cannot(rig: Rig) -> None:
    rig.add(Lane.LIVE, 45)
    rig.acknowledge(Lane.LIVE, *range(1, 46))
    rig.shed(max_bytes=30 * BODY_BYTES)  # 1 to 20 go

    with rig.store.transaction():
        assert rig.outbox.resend(Lane.LIVE, 18, 23) == Resend(3, ((18, 20),))
        assert rig.outbox.resend(Lane.LIVE, 44, 2**70) == Resend(2, ((46, 2**70),))

    assert rig.seqs(Lane.LIVE) == [21, 22, 23, 44, 45]


@pytest.mark.parametrize(("first", "last"), [(0, 3), (3, 2), (-5, -1)])
def test_what_is_no_range_is_refused(rig: Rig, first: int, last: int) -> None:
    with pytest.raises(RangeError, match="is no range"):
        rig.outbox.resend(Lane.LIVE, first, last)


def test_a_segment_ends_with_the_day_and_when_it_is_full(rig: Rig) -> None:
    rig.add(Lane.LIVE, 11)
    rig.now += DAY_S / 2
    rig.add(Lane.LIVE, 2)

    assert rig.tables() == [
        "outbox_live_20260101_1",
        "outbox_live_20260101_2",
        "outbox_live_20260102_3",
    ]
    assert rig.seqs(Lane.LIVE) == list(range(1, 14))


def test_a_jumping_clock_confuses_no_order(rig: Rig) -> None:
    for jump_s in (0, -56 * 365 * DAY_S, 73 * 365 * DAY_S, 0):
        rig.now = NOON + jump_s
        rig.add(Lane.LIVE, 2)

    assert rig.seqs(Lane.LIVE) == list(range(1, 9))
    assert rig.seqs(Lane.LIVE, newest_first=True) == list(range(8, 0, -1))


def test_what_is_acknowledged_and_old_goes_first_and_costs_nothing(rig: Rig) -> None:
    for lane in Lane:
        rig.add(lane, 10)
    rig.acknowledge(Lane.LIVE, *range(1, 11))
    rig.acknowledge(Lane.URGENT, *range(1, 11))
    assert rig.shed(max_bytes=10_000) == []
    assert len(rig.tables()) == 3

    rig.now += DAY_S + 1
    assert rig.shed(max_bytes=10_000) == []

    assert rig.tables() == ["outbox_history_20260101_3"]
    assert rig.seqs(Lane.HISTORY) == list(range(1, 11))


def test_space_is_made_by_the_acknowledged_then_by_the_oldest_telemetry(rig: Rig) -> None:
    rig.add(Lane.URGENT, 10)
    rig.add(Lane.HISTORY, 10)
    rig.add(Lane.LIVE, 30)
    rig.acknowledge(Lane.LIVE, *range(11, 21))
    rig.acknowledge(Lane.HISTORY, 4)

    assert rig.shed(max_bytes=40 * BODY_BYTES) == []  # live 11 to 20 were not needed any more
    assert rig.seqs(Lane.LIVE) == [*range(1, 11), *range(21, 31)]

    lost = rig.shed(max_bytes=15 * BODY_BYTES)

    epoch = rig.store.epoch
    assert lost == [
        Shed(lane=Lane.HISTORY, epoch=epoch, first=1, last=3, reason="no space"),
        Shed(lane=Lane.HISTORY, epoch=epoch, first=5, last=10, reason="no space"),
        Shed(lane=Lane.LIVE, epoch=epoch, first=1, last=10, reason="no space"),
        Shed(lane=Lane.LIVE, epoch=epoch, first=21, last=30, reason="no space"),
    ]
    assert [shed.count for shed in lost] == [3, 6, 10, 10]
    # Money stays though it alone is all that is allowed.
    assert rig.shed(max_bytes=0) == []
    assert rig.seqs(Lane.URGENT) == list(range(1, 11))


def test_a_number_is_not_given_again_after_everything_was_shed(rig: Rig) -> None:
    rig.add(Lane.LIVE, 15)
    rig.acknowledge(Lane.LIVE, *range(1, 16))
    rig.shed(max_bytes=0)
    assert rig.store.rows("select * from acknowledged") == []

    rig.add(Lane.LIVE)

    assert rig.seqs(Lane.LIVE) == [16]
    marks = rig.outbox.marks()[Lane.LIVE]
    assert (marks.first_unacknowledged, marks.last) == (16, 16)


def test_a_former_epoch_keeps_its_numbers_and_is_still_delivered(rig: Rig) -> None:
    rig.add(Lane.URGENT, 2)
    rig.add(Lane.LIVE, 2)
    former = rig.store.epoch
    rig.store.close()
    rig.path.with_name("taiqu.db.head").unlink()
    rig.open()
    rig.add(Lane.URGENT)
    rig.add(Lane.LIVE)

    def keys(lane: Lane) -> list[tuple[str, int]]:
        return [(message.epoch, message.seq) for message in rig.outbox.pending(lane, 10)]

    assert keys(Lane.URGENT) == [(former, 1), (former, 2)]
    assert keys(Lane.LIVE) == [(rig.store.epoch, 1)]
    assert rig.outbox.marks()[Lane.URGENT] == Marks(
        first_unacknowledged=1, last=1, pending=3, pending_bytes=3 * BODY_BYTES
    )
    with rig.store.transaction():
        assert rig.outbox.watermark(Lane.URGENT, 2, former) == 2
        assert rig.outbox.watermark(Lane.LIVE, 1) == 1
    assert keys(Lane.URGENT) == [(rig.store.epoch, 1)]
    assert keys(Lane.LIVE) == [(former, 1), (former, 2)]


@dataclass
class Kept:
    """What the model knows of one message."""

    size_bytes: int
    acknowledged: bool = False


class OutboxModel(RuleBasedStateMachine):
    """The outbox against dictionaries: whatever happens, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.rig = Rig(Path(self.directory.name) / "taiqu.db")
        self.kept: dict[tuple[str, Lane, int], Kept] = {}
        self.last: dict[tuple[str, Lane], int] = {}

    def teardown(self) -> None:
        self.rig.store.close()
        self.directory.cleanup()

    lanes = st.sampled_from(Lane)

    @rule(lane=lanes, sizes=st.lists(st.integers(0, 60), min_size=1, max_size=8))
    def add(self, lane: Lane, sizes: list[int]) -> None:
        key = (self.rig.store.epoch, lane)
        with self.rig.store.transaction():
            for size in sizes:
                seq = self.rig.outbox.add(lane, "readings", partial(zeros, size))
                assert seq == self.last.get(key, 0) + 1
                self.last[key] = seq
                self.kept[(*key, seq)] = Kept(size)

    @rule(lane=lanes)
    def fail_to_add(self, lane: Lane) -> None:
        with contextlib.suppress(KeyError), self.rig.store.transaction():
            self.rig.outbox.add(lane, "readings", body)
            raise KeyError

    @rule(
        lane=lanes,
        limit=st.integers(1, 10),
        newest_first=st.booleans(),
        exclude=st.sets(st.integers(1, 30), max_size=10),
        picks=st.sets(st.integers(0, 9)),
    )
    def deliver(
        self, lane: Lane, limit: int, newest_first: bool, exclude: set[int], picks: set[int]
    ) -> None:
        page = self.rig.outbox.pending(lane, limit, newest_first=newest_first, exclude=exclude)
        assert [(m.epoch, m.seq) for m in page] == self.expected(lane, limit, newest_first, exclude)
        had = [message for place, message in enumerate(page) if place in picks]
        with self.rig.store.transaction():
            self.rig.outbox.acknowledge(had)
        for message in had:
            self.kept[message.epoch, message.lane, message.seq].acknowledged = True

    def expected(
        self, lane: Lane, limit: int, newest_first: bool, exclude: set[int]
    ) -> list[tuple[str, int]]:
        epochs = list(dict.fromkeys(epoch for epoch, _ in self.last))
        if lane is not Lane.URGENT:
            epochs.reverse()
        for epoch in epochs:
            seqs = sorted(
                (s for e, x, s in self.waiting() if (e, x) == (epoch, lane) and s not in exclude),
                reverse=newest_first,
            )
            if seqs:
                return [(epoch, seq) for seq in seqs[:limit]]
        return []

    def waiting(self) -> list[tuple[str, Lane, int]]:
        return [key for key, kept in self.kept.items() if not kept.acknowledged]

    @rule(lane=lanes, share=st.floats(0, 1))
    def confirm(self, lane: Lane, share: float) -> None:
        epoch = self.rig.store.epoch
        upto = round(share * self.last.get((epoch, lane), 0))
        before = set(self.waiting())
        for (e, x, seq), kept in self.kept.items():
            kept.acknowledged |= (e, x) == (epoch, lane) and seq <= upto
        with self.rig.store.transaction():
            newly = self.rig.outbox.watermark(lane, upto)
        assert newly == len(before - set(self.waiting()))

    @rule(lane=lanes, first=st.integers(1, 60), length=st.integers(1, 60))
    def resend(self, lane: Lane, first: int, length: int) -> None:
        asked = {(self.rig.store.epoch, lane, seq) for seq in range(first, first + length)}
        with self.rig.store.transaction():
            answer = self.rig.outbox.resend(lane, first, first + length - 1)
        for key in asked & self.kept.keys():
            self.kept[key].acknowledged = False
        missing = {seq for a, b in answer.missing for seq in range(a, b + 1)}
        assert missing == {seq for _, _, seq in asked - self.kept.keys()}
        assert answer.count == len(asked & self.kept.keys())

    @rule(share=st.floats(0, 1.2), max_age_s=st.sampled_from([0, DAY_S, 30 * DAY_S]))
    def shed(self, share: float, max_age_s: int) -> None:
        held = sum(kept.size_bytes for kept in self.kept.values())
        waited = set(self.waiting())
        lost = self.rig.shed(round(share * held), max_age_s)

        announced = {
            (shed.epoch, shed.lane, seq)
            for shed in lost
            for seq in range(shed.first, shed.last + 1)
        }
        assert announced <= waited
        assert all(lane is not Lane.URGENT for _, lane, _ in announced)
        still = self.stored()
        # Nothing that waited is gone without having been announced.
        assert {key for key in self.kept if key not in still} & waited == announced
        self.kept = {key: kept for key, kept in self.kept.items() if key in still}
        left = sum(kept.size_bytes for kept in self.kept.values())
        assert left <= share * held + 1 or all(
            lane is Lane.URGENT and any(w[1] is Lane.URGENT for w in self.waiting())
            for _, lane, _ in self.kept
        )

    def stored(self) -> set[tuple[str, Lane, int]]:
        return {
            (epoch, Lane(lane), seq)
            for number, day, epoch, lane in self.rig.store.rows(
                "select id, day, epoch.epoch, lane from segment"
                " join epoch on epoch.number = segment.epoch"
            )
            for (seq,) in self.rig.store.rows(
                f"select seq from outbox_{lane}_{day}_{number}"  # noqa: S608
            )
        }

    @rule()
    def restart(self) -> None:
        self.rig.store.close()
        self.rig.open()

    @rule()
    def begin_another_epoch(self) -> None:
        self.rig.store.close()
        self.rig.path.with_name("taiqu.db.head").unlink()
        self.rig.open()

    @rule(jump_s=st.sampled_from([60, DAY_S, -DAY_S, 3 * DAY_S]))
    def move_the_clock(self, jump_s: int) -> None:
        self.rig.now += jump_s

    @invariant()
    def the_marks_are_right(self) -> None:
        for lane, marks in self.rig.outbox.marks().items():
            waiting = [key for key in self.waiting() if key[1] is lane]
            present = [seq for epoch, _, seq in waiting if epoch == self.rig.store.epoch]
            last = self.last.get((self.rig.store.epoch, lane), 0)
            assert marks == Marks(
                first_unacknowledged=min(present, default=last + 1),
                last=last,
                pending=len(waiting),
                pending_bytes=sum(self.kept[key].size_bytes for key in waiting),
            )

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        assert self.stored() == self.kept.keys()


OutboxModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOutboxModel: Callable[..., object] = OutboxModel.TestCase
