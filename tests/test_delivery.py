"""What is sent when, over any weather; on simulated time, against an outbox in a dictionary."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events import Delivered, LinkDown, LinkUp
from gateway.north.delivery import (
    HISTORY,
    LANES,
    LIVE,
    PARKED_S,
    REFUSED_PAUSE_MAX_S,
    STRIKES,
    UNCONFIRMED_MAX,
    URGENT,
    Confirm,
    Delivery,
    DeliverySettings,
)

SETTINGS = DeliverySettings(brokers=("mqtt://a",), window=4)


@dataclass(frozen=True)
class Message:
    lane: str
    seq: int
    body: bytes = b"{}"


@dataclass
class Box:
    """A delivery with an outbox and a link made of lists."""

    settings: DeliverySettings = SETTINGS
    now: float = 1000.0
    in_flight_max: int = 0
    max_packet_bytes: int = 0
    link_works: bool = True
    outbox: dict[tuple[str, int], Message] = field(default_factory=dict)
    wire: list[tuple[int, Message]] = field(default_factory=list)
    """Sent over this connection and not answered."""
    sent: list[Message] = field(default_factory=list)
    _mids: int = 0

    def __post_init__(self) -> None:
        self.delivery: Delivery[Message] = Delivery(self.settings, Random(1))

    def add(self, lane: str, *seqs: int, body: bytes = b"{}") -> None:
        for seq in seqs:
            self.outbox[lane, seq] = Message(lane, seq, body)

    def add_next(self, lane: str) -> None:
        """A message of any size."""
        seq = 1 + max((m.seq for m in [*self.sent, *self.outbox.values()]), default=0)
        self.add(lane, seq, body=bytes(seq % 3 * 1000))

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def pending(
        self, lane: str, limit: int, newest_first: bool, left_out: AbstractSet[int]
    ) -> list[Message]:
        found = [m for (of, seq), m in self.outbox.items() if of == lane and seq not in left_out]
        return sorted(found, key=lambda m: m.seq, reverse=newest_first)[:limit]

    def publish(self, message: Message) -> int | None:
        if not self.link_works:
            return None
        assert message not in [on_wire for _, on_wire in self.wire], "sent twice at once"
        self._mids += 1
        self.wire.append((self._mids, message))
        self.sent.append(message)
        return self._mids

    def send(self) -> list[str]:
        """Send; what went out, as ``live 7``."""
        before = len(self.sent)
        count = self.delivery.send(self.now, self.pending, self.publish)
        assert count == len(self.sent) - before
        return [f"{m.lane} {m.seq}" for m in self.sent[before:]]

    def connect(self) -> int:
        for _ in range(100):
            attempt = self.delivery.wants_connect(self.now)
            if attempt:
                up = LinkUp(
                    attempt.connection,
                    attempt.broker,
                    True,
                    self.max_packet_bytes,
                    self.in_flight_max,
                )
                assert self.delivery.link_up(up, self.now)
                return attempt.connection
            due = self.delivery.next_due(self.now)
            assert due
            self.now = max(due, self.now)
        pytest.fail("it never wants to connect")

    def drop(self, *, taken_over: bool = False) -> None:
        self.wire.clear()
        down = LinkDown(self.delivery._connection, "cut", taken_over)
        assert self.delivery.link_down(down, self.now)

    def reconnect(self, *, taken_over: bool = False) -> None:
        self.drop(taken_over=taken_over)
        self.connect()

    def answer(self, refused: str = "") -> Message | None:
        """The broker answers the oldest."""
        mid, _ = self.wire.pop(0)
        event = Delivered(self.delivery._connection, mid, refused)
        message = self.delivery.delivered(event, self.now)
        if message:
            del self.outbox[message.lane, message.seq]
        return message

    def watermark(self, lane: str, upto: int) -> None:
        for key in [key for key in self.outbox if key[0] == lane and key[1] <= upto]:
            del self.outbox[key]
        self.delivery.watermark(lane, upto, self.now)

    def overdue(self) -> None:
        """What the core does with it."""
        if down := self.delivery.overdue(self.now):
            self.wire.clear()
            assert self.delivery.link_down(down, self.now)
            self.connect()

    def answer_all(self) -> None:
        while self.wire:
            self.answer()


def connected(**settings: object) -> Box:
    box = Box(replace(SETTINGS, **settings))  # type: ignore[arg-type]
    box.connect()
    return box


# --- order and window -----------------------------------------------------------------------------


def test_urgent_first_then_the_newest_then_the_past() -> None:
    box = connected(window=6)
    box.add(HISTORY, 1, 2)
    box.add(LIVE, 1, 2, 3)
    box.add(URGENT, 1, 2)

    assert box.send() == ["urgent 1", "urgent 2", "live 3", "live 2", "live 1", "history 1"]


def test_the_window_is_filled_and_no_more() -> None:
    box = connected()
    box.add(URGENT, *range(1, 10))

    assert len(box.send()) == 4
    assert box.send() == []
    box.answer()
    assert box.send() == ["urgent 5"]
    assert box.delivery.in_flight == 4


def test_the_window_is_the_brokers_where_that_is_smaller() -> None:
    box = Box(in_flight_max=2)
    box.connect()
    box.add(URGENT, 1, 2, 3)

    assert len(box.send()) == 2


def test_history_waits_while_live_has_more() -> None:
    box = connected()
    box.add(HISTORY, 1)
    box.add(LIVE, *range(1, 8))

    box.send()
    for _ in range(4):
        box.answer()
        box.send()
    assert [m for m in box.sent if m.lane == HISTORY] == [Message(HISTORY, 1)]
    assert box.sent.index(Message(HISTORY, 1)) == 7


def test_history_is_limited_in_rate_and_says_when_it_goes_on() -> None:
    box = connected(history_per_s=2.0)
    box.add(HISTORY, *range(1, 100))
    box.send()
    box.answer_all()

    assert box.send() == []
    due = box.delivery.next_due(box.now)
    assert due is not None
    assert due - box.now == pytest.approx(0.5)
    box.now = due + 1e-6
    assert box.send() == ["history 5"]
    box.add(LIVE, 1)
    assert box.send() == ["live 1"]


def test_history_is_limited_in_bytes_where_the_network_is_slow() -> None:
    box = connected(history_bytes_per_s=1000.0)
    box.add(HISTORY, *range(1, 100), body=bytes(1872))
    # What is there is spent by the first; it may overdraw, or a large message would never go.
    assert box.send() == ["history 1"]
    box.answer_all()
    due = box.delivery.next_due(box.now)
    assert due is not None
    assert due - box.now == pytest.approx(1.001)
    box.add(LIVE, 1)
    assert box.send() == ["live 1"]
    sent, began = 0, box.now
    while box.now < began + 100:
        box.now = due + 1e-6
        sent += len(box.send())
        box.answer_all()
        due = box.delivery.next_due(box.now)
        assert due is not None
    assert sent == pytest.approx(50, abs=1)


def test_nothing_is_sent_without_a_connection() -> None:
    box = Box()
    box.add(URGENT, 1)

    assert box.send() == []
    box.connect()
    assert box.send() == ["urgent 1"]


def test_a_link_that_cannot_send_ends_the_round() -> None:
    box = connected()
    box.add(URGENT, 1, 2)
    box.link_works = False

    assert box.send() == []
    assert box.delivery.in_flight == 0


# --- answers --------------------------------------------------------------------------------------


def test_an_acknowledgement_delivers_exactly_its_message() -> None:
    box = connected()
    box.add(LIVE, 1, 2)
    box.send()

    assert box.answer() == Message(LIVE, 2)
    assert list(box.outbox) == [(LIVE, 1)]


def test_answers_of_another_connection_or_of_nothing_deliver_nothing() -> None:
    box = connected()
    box.add(LIVE, 1)
    box.send()
    mid = box.wire[0][0]
    connection = box.delivery._connection

    assert box.delivery.delivered(Delivered(connection, mid + 1), box.now) is None
    assert box.delivery.delivered(Delivered(connection - 1, mid), box.now) is None
    box.drop()
    assert box.delivery.delivered(Delivered(connection, mid), box.now) is None
    assert not box.delivery.link_down(LinkDown(connection, "again"), box.now)
    assert not box.delivery.link_up(LinkUp(connection, "mqtt://a", True, 0), box.now)
    box.connect()
    assert box.delivery.delivered(Delivered(connection, mid), box.now) is None
    assert list(box.outbox) == [(LIVE, 1)]


def test_a_refusal_pauses_its_lane_ever_longer_and_loses_nothing() -> None:
    box = connected()
    box.add(LIVE, 1)
    box.add(URGENT, 1)
    pauses = []
    for _ in range(9):
        assert "live 1" in box.send()
        while box.wire:
            box.answer("No matching subscribers" if box.wire[0][1].lane == LIVE else "")
        assert box.send() == []
        due = box.delivery.next_due(box.now)
        assert due
        pauses.append(due - box.now)
        box.now = due

    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == REFUSED_PAUSE_MAX_S
    assert list(box.outbox) == [(LIVE, 1)]


def test_one_refused_message_does_not_hold_up_the_others() -> None:
    box = connected()
    box.add(LIVE, 1, 2, 3)
    box.send()
    box.answer("Payload format invalid")
    box.answer()
    box.answer()
    box.add(LIVE, 4)
    box.now += 2

    assert box.send() == ["live 4", "live 3"]
    assert sorted(box.outbox) == [(LIVE, 3), (LIVE, 4)]


# --- a connection that is no good -----------------------------------------------------------------


def test_after_a_drop_everything_on_its_way_is_sent_again() -> None:
    box = connected()
    box.add(URGENT, 1, 2, 3)
    box.send()
    box.answer()

    box.reconnect()

    assert box.send() == ["urgent 2"]  # one by one, until what was on its way is through
    box.answer()
    assert box.send() == ["urgent 3"]
    box.answer()
    box.add(URGENT, 4, 5)
    assert box.send() == ["urgent 4", "urgent 5"]


def test_a_live_connection_without_acknowledgements_is_dropped() -> None:
    box = connected()
    box.add(URGENT, 1)
    assert box.delivery.overdue(box.now + 1e6) is None
    box.send()
    assert box.delivery.next_due(box.now) == box.now + 30

    assert box.delivery.overdue(box.now + 29.9) is None
    box.now += 30
    down = box.delivery.overdue(box.now)
    assert down
    assert down.reason == "mqtt://a: connected, but nothing acknowledged for 30 s"
    assert box.delivery.link_down(down, box.now)
    assert not box.delivery.connected
    assert box.delivery.overdue(box.now) is None


def test_an_attempt_without_any_answer_is_given_up() -> None:
    box = Box()
    attempt = box.delivery.wants_connect(box.now)
    assert attempt
    assert box.delivery.wants_connect(box.now) is None
    assert box.delivery.next_due(box.now) == box.now + 20

    assert box.delivery.overdue(box.now + 20) == LinkDown(
        attempt.connection, "no answer within 20 s"
    )


def poisoned() -> Box:
    box = connected()
    box.add(LIVE, 1, 2)
    box.add(LIVE, 3, body=bytes(2000))
    box.add(LIVE, 4)
    return box


def hang_up_at(box: Box, seq: int) -> None:
    """A broker that hangs up when message ``seq`` comes, over and over; and what then passes."""
    for _ in range(30):
        box.send()
        if not box.wire:
            return
        if seq in [m.seq for _, m in box.wire]:
            box.reconnect()
        else:
            box.answer()


def test_a_message_at_which_the_broker_hangs_up_is_parked_and_the_rest_passes() -> None:
    box = poisoned()

    hang_up_at(box, 3)

    assert list(box.outbox) == [(LIVE, 3)]
    (parked,) = box.delivery.take_parked()
    assert parked.message.seq == 3
    assert parked.reason == f"2000 bytes; the broker hung up {STRIKES} times at it"
    assert box.delivery.take_parked() == []


def test_a_parked_message_gets_another_chance_alone() -> None:
    box = poisoned()
    hang_up_at(box, 3)
    box.now += PARKED_S
    box.add(LIVE, 5)

    assert box.send() == ["live 5"]
    box.answer()
    assert box.send() == ["live 3"]
    assert box.answer() == Message(LIVE, 3, bytes(2000))


def test_a_small_message_is_never_blamed() -> None:
    box = connected()
    box.add(LIVE, 1)
    for _ in range(10):
        assert box.send() == ["live 1"]
        box.reconnect()

    assert box.delivery.take_parked() == []
    assert box.send() == ["live 1"]


def test_a_message_above_the_brokers_limit_is_not_even_tried() -> None:
    box = Box(max_packet_bytes=1000)
    box.connect()
    box.add(LIVE, 1)
    box.add(LIVE, 2, body=bytes(900))

    assert box.send() == ["live 1"]
    (parked,) = box.delivery.take_parked()
    assert parked.reason == "900 bytes; the broker accepts 1000"
    assert (LIVE, 2) in box.outbox


def test_what_was_shed_meanwhile_does_not_keep_the_window_at_one() -> None:
    box = connected()
    box.add(LIVE, 1, 2, 3)
    box.send()
    box.drop()
    box.outbox.clear()
    box.connect()
    box.send()
    box.add(LIVE, 4, 5, 6)

    assert box.send() == ["live 6", "live 5", "live 4"]


# --- confirm = "head_end" -------------------------------------------------------------------------


def confirming(**settings: object) -> Box:
    return connected(confirm=Confirm.HEAD_END, **settings)


def test_the_brokers_word_moves_the_window_but_delivers_nothing() -> None:
    box = confirming()
    box.add(URGENT, *range(1, 9))

    box.send()
    assert box.answer() is None
    assert box.send() == ["urgent 5"]
    assert len(box.outbox) == 8


def test_without_progress_everything_unconfirmed_is_sent_again_oldest_first() -> None:
    box = confirming()
    box.add(LIVE, 1, 2, 3)
    assert box.send() == ["live 3", "live 2", "live 1"]
    box.answer_all()
    due = box.delivery.next_due(box.now)
    assert due == box.now + 60

    box.now = due
    assert box.send() == ["live 1", "live 2", "live 3"]
    box.answer_all()
    assert box.delivery.next_due(box.now) == box.now + 120

    box.watermark(LIVE, 2)
    assert box.send() == []
    box.watermark(LIVE, 3)
    box.add(LIVE, 4, 5)
    assert box.send() == ["live 5", "live 4"]


def test_a_backlog_beyond_what_may_stay_unconfirmed_still_moves() -> None:
    """Newest first alone would fill the bound without the one message the watermark waits for."""
    box = confirming(window=100)
    last = 3 * UNCONFIRMED_MAX
    box.add(LIVE, *range(1, last + 1))
    kept: set[int] = set()
    upto = 0
    for _ in range(200):
        box.send()
        kept |= {m.seq for _, m in box.wire}
        box.answer_all()
        while upto + 1 in kept:
            upto += 1
        box.watermark(LIVE, upto)

    assert upto == last
    assert len(box.sent) == last


def test_a_range_asked_for_again_is_sent_again() -> None:
    box = confirming()
    box.add(LIVE, 1, 2, 3)
    box.send()
    box.answer_all()
    assert box.send() == []

    box.delivery.resend(LIVE, 2, 3)

    assert box.send() == ["live 3", "live 2"]


# --- any weather ----------------------------------------------------------------------------------

WAITS_S = (0.1, 5.0, 70.0)
STEPS: dict[str, Callable[[Box], object]] = {
    "send": lambda _: None,
    "answer": lambda box: box.wire and box.answer(),
    "refuse": lambda box: box.wire and box.answer("Quota exceeded"),
    "drop": Box.reconnect,
    "takeover": partial(Box.reconnect, taken_over=True),
    "overdue": Box.overdue,
    **{f"add {lane}": partial(Box.add_next, lane=lane) for lane in LANES},
    **{f"wait {s}": partial(Box.wait, seconds=s) for s in WAITS_S},
}


@given(weather=st.lists(st.sampled_from(sorted(STEPS)), max_size=120))
@pytest.mark.parametrize("confirm", Confirm)
def test_nothing_is_lost_in_any_weather(weather: list[str], confirm: Confirm) -> None:
    box = connected(confirm=confirm)
    for step in weather:
        STEPS[step](box)
        box.send()
        assert len(box.wire) == box.delivery.in_flight <= box.settings.window
    added = set(box.outbox) | {(m.lane, m.seq) for m in box.sent}

    for _ in range(500):  # fine weather: everything arrives
        box.send()
        box.answer_all()
        box.wait(10)
    assert {(m.lane, m.seq) for m in box.sent} == added
    assert confirm is Confirm.HEAD_END or not box.outbox
