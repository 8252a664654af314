"""The order of exchanges, and what is reported of them."""

from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.acquisition.exchange import Manners
from gateway.acquisition.line import LineError
from gateway.events import Fault, Priority
from protocols.base import Reply, Stray
from tests.line_world import (
    FAST,
    SLOW,
    WALL,
    Ask,
    Toy,
    World,
    answer,
    honest,
    says,
    sealed,
    silent,
    truth,
)
from tests.line_world import world as make_world

SETTLED_S = 0.02
"""After opening, the port's settings are new: the line rests as after a change."""


def test_a_reading_carries_when_it_was_complete_and_what_it_cost() -> None:
    world = make_world("7")
    job = world.job("7", 40)
    world.run(1005)

    (done,) = world.done
    character_s = 11 / 2400
    sent_at = 1000 + SETTLED_S
    heard_at = sent_at + 5 * character_s + 0.1
    (outcome,) = done.outcomes
    assert (outcome.request, outcome.tries, outcome.fault) == (Ask(7, 40), 1, None)
    assert outcome.reply == Reply("7", truth(Ask(7, 40)))
    assert outcome.taken_at == pytest.approx(WALL + heard_at)
    assert outcome.round_trip_s == pytest.approx(0.1)
    assert done.job is job
    assert done.line == "east"
    assert done.busy_s == pytest.approx(heard_at - sent_at)
    assert done.waited_s == pytest.approx(SETTLED_S)


def test_jobs_are_done_by_priority_then_in_the_order_of_submission() -> None:
    world = make_world("1", "2", "3", "4")
    world.job("1", 1, priority=Priority.BACKFILL)
    world.job("2", 1, priority=Priority.POLL)
    world.job("3", 1, priority=Priority.RESTORE)
    world.job("4", 1, priority=Priority.POLL)
    world.run(1005)

    assert [meter for meter, _ in world.asked] == ["3", "2", "4", "1"]


def test_an_urgent_job_waits_for_one_exchange_of_a_long_job() -> None:
    world = make_world("1", "2")
    world.job("1", 1, 2, 3, 4, 5)
    world.job("2", 9, priority=Priority.RESTORE, at=1000.05)
    world.run(1005)

    assert world.asked == [("1", 1), ("2", 9), ("1", 2), ("1", 3), ("1", 4), ("1", 5)]
    assert world.done[0].job.meter == "2"
    assert world.done[0].waited_s < 0.2


def test_an_urgent_job_waits_for_one_try_of_a_silent_meter() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = silent
    world.job("1", 1)
    world.job("2", 9, priority=Priority.RESTORE, at=1000.1)
    world.run(1005)

    assert [meter for meter, _ in world.asked] == ["1", "2", "1", "1"]


@pytest.mark.parametrize(
    ("heard_before", "given_up_after_s"),
    [(False, 0.5), (True, 0.25)],
    ids=["a meter never heard", "a meter that answers fast"],
)
def test_a_read_gives_way_when_its_meter_is_probably_silent(
    heard_before: bool, given_up_after_s: float
) -> None:
    world = make_world("1", "2", timeout_s=2.0)
    world.behaviour[1] = lambda ask: honest(ask) if ask.item == 1 else []
    if heard_before:
        world.job("1", 1)
    world.job("1", 2, at=1002, tries=1)
    world.job("2", 3, at=1002.1, priority=Priority.RELAY)
    world.run(1010)

    slow, urgent = (when for when, meter, ask in world.sent if ask.item > 1)
    assert urgent - slow == pytest.approx(5 * SLOW.character_s + given_up_after_s)
    assert world.done[-2].outcomes[0].fault is Fault.SILENT


def test_a_read_gives_way_to_no_other_poll_and_not_once_its_reply_has_begun() -> None:
    world = make_world("1", "2", timeout_s=2.0)
    late = answer(Ask(1, 1), b"late")
    world.behaviour[1] = says((0.45, late[:4]), (0.8, late[4:]))
    world.job("1", 1)
    world.job("2", 2)
    world.job("2", 3, at=1000.2, priority=Priority.RELAY)
    world.run(1010)

    assert world.asked == [("1", 1), ("2", 3), ("2", 2)]
    assert world.done[0].outcomes[0].reply == Reply("1", b"late")


def test_what_was_on_the_wire_is_kept_with_what_came_of_it() -> None:
    world = make_world("1", "2", "3")
    reply, refusal = answer(Ask(1, 1), b"done"), sealed(bytes([0x23, 2, 7]))
    world.behaviour[1] = says((0.1, reply))
    world.behaviour[2] = says((0.2, refusal))
    world.behaviour[3] = silent
    for meter in ("1", "2", "3"):
        world.job(meter, 1, tries=1)
    world.run(1010)

    done, refused, lost = (one.outcomes[0] for one in world.done)
    assert (done.said, done.heard) == (Toy().encode(Ask(1, 1)), reply)
    assert (refused.said, refused.heard) == (Toy().encode(Ask(2, 1)), refusal)
    assert refused.round_trip_s == pytest.approx(0.2)
    assert (lost.said, lost.heard) == (Toy().encode(Ask(3, 1)), b"")


def test_an_order_gives_way_to_nothing() -> None:
    """Cut short, nobody could tell whether the relay had moved."""
    world = make_world("1", "2", timeout_s=2.0)
    world.behaviour[1] = says((1.9, answer(Ask(1, 1), b"done")))
    world.job("1", 1, priority=Priority.RELAY, tries=1)
    world.job("2", 2, at=1000.1, priority=Priority.RESTORE)
    world.run(1010)

    assert world.done[0].outcomes[0].reply == Reply("1", b"done")


def test_a_failed_try_goes_behind_the_others_of_its_class() -> None:
    world = make_world("1", "2", "3", "4")
    world.behaviour[1] = silent
    for meter in "123":
        world.job(meter, 1)
    world.job("4", 1, priority=Priority.PROBE)
    world.run(1005)

    assert [meter for meter, _ in world.asked] == ["1", "2", "3", "1", "1", "4"]


def test_of_many_that_died_together_each_costs_one_try() -> None:
    world = make_world("1", "2", "3", "4", "5", "6")
    for meter in range(1, 6):
        world.behaviour[meter] = silent
    for name in "123456":
        world.job(name, 1)
    world.job("4", 1, priority=Priority.COMMAND, at=1015.0)
    world.run(1030)

    # The first three are not many yet, and by their second try they are.  An order has all three.
    assert [meter for meter, _ in world.asked] == [*"123456", *"123", *"444"]


def test_a_meter_silent_from_the_start_is_not_asked_the_rest() -> None:
    world = make_world("1")
    world.behaviour[1] = silent
    world.job("1", 10, 11, 12, tries=2)
    world.run(1010)

    assert world.asked == [("1", 10), ("1", 10)]
    (done,) = world.done
    assert [outcome.fault for outcome in done.outcomes] == [Fault.SILENT] * 3
    assert [outcome.tries for outcome in done.outcomes] == [2, 0, 0]
    assert done.outcomes[0].error == (
        "meter 1 did not answer within 0.5 s at 2400 8E1; check its supply, wiring, address and"
        " speed"
    )


def test_a_silent_meter_costs_its_timeout_and_nothing_more() -> None:
    world = make_world("1", "2", turnaround_s=0.05)
    world.behaviour[1] = silent
    world.job("1", 1, tries=1)
    world.job("2", 1)
    world.run(1005)

    (first, _, _), (second, _, _) = world.sent
    assert second - first == pytest.approx(5 * SLOW.character_s + 0.5)


def test_one_silence_later_in_a_job_does_not_end_it() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda ask: [] if ask.item == 2 else honest(ask)
    world.job("1", 1, 2, 3, tries=1)
    world.run(1010)

    assert [outcome.fault for outcome in world.done[0].outcomes] == [None, Fault.SILENT, None]


def test_what_the_protocol_cannot_say_is_refused_without_a_byte() -> None:
    world = make_world("1")
    world.job("1", 300, 4)
    world.run(1005)

    bad, good = world.done[0].outcomes
    assert (bad.fault, bad.permanent, bad.tries) == (Fault.REFUSED, True, 0)
    assert bad.error == "item 300 is above 255"
    assert good.reply is not None
    assert world.asked == [("1", 4)]


def test_a_refusal_for_good_is_not_asked_again_and_the_next_request_is() -> None:
    world = make_world("1")
    refusal = bytes([0x23, 1, 2, 0x26])
    world.behaviour[1] = lambda ask: [(0.1, refusal)] if ask.item == 8 else honest(ask)
    world.job("1", 8, 9)
    world.run(1005)

    refused, good = world.done[0].outcomes
    assert (refused.fault, refused.permanent, refused.tries) == (Fault.REFUSED, True, 1)
    assert refused.error == "meter 1 refused to read: no such item (error 02H); ask less"
    assert (refused.reasons, good.reasons) == (("no_such_item",), ())
    assert good.reply is not None


def test_a_busy_meter_is_asked_again() -> None:
    world = make_world("1", "2")
    answers = [bytes([0x23, 1, 6, 0x2A]), answer(Ask(1, 8), b"now")]
    world.behaviour[1] = lambda _: [(0.1, answers.pop(0))]
    world.job("1", 8)
    world.job("2", 1)
    world.run(1005)

    assert [meter for meter, _ in world.asked] == ["1", "2", "1"]
    assert world.done[1].outcomes[0].reply == Reply("1", b"now")
    assert world.done[1].outcomes[0].tries == 2


def test_a_job_past_its_time_is_not_begun() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = silent
    world.job("1", 1, tries=1)
    world.job("2", 1, 2, not_after=1000.3)
    world.run(1005)

    assert world.asked == [("1", 1)]
    late = world.done[1]
    assert [outcome.fault for outcome in late.outcomes] == [Fault.EXPIRED] * 2
    assert late.outcomes[0].error == "line east: job 2 for 2 expired; the line was busy"
    assert late.busy_s == 0
    assert late.waited_s == pytest.approx(world.sent[0][0] + 5 * SLOW.character_s + 0.5 - 1000)


def test_a_request_that_was_tried_before_the_job_expired_keeps_its_fault() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda ask: honest(ask) if ask.item == 1 else []
    world.job("1", 1, 2, 3, not_after=1000.5)
    world.run(1005)

    assert [(each.fault, each.tries) for each in world.done[0].outcomes] == [
        (None, 1),
        (Fault.SILENT, 1),
        (Fault.EXPIRED, 0),
    ]


def test_a_reply_in_several_frames_is_joined_and_lets_the_urgent_in() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = lambda ask: [(0.1, answer(ask, truth(ask), more=ask.seq < 2))]
    world.job("1", 5)
    world.job("2", 9, priority=Priority.COMMAND, at=1000.05)
    world.run(1005)

    assert [ask for _, _, ask in world.sent] == [Ask(1, 5), Ask(2, 9), Ask(1, 5, 1), Ask(1, 5, 2)]
    outcome = world.done[1].outcomes[0]
    assert outcome.reply == Reply("1", b"".join(truth(Ask(1, 5, seq)) for seq in range(3)))
    assert outcome.tries == 1
    assert outcome.taken_at == pytest.approx(WALL + world.sent[0][0] + 5 * SLOW.character_s + 0.1)


def test_a_lost_follow_up_starts_the_request_anew() -> None:
    world = make_world("1")
    lost = [Ask(1, 5, 1)]

    def forgetful(ask: Ask) -> list[tuple[float, bytes]]:
        if ask in lost:
            lost.remove(ask)
            return []
        return [(0.1, answer(ask, truth(ask), more=ask.seq < 1))]

    world.behaviour[1] = forgetful
    world.job("1", 5)
    world.run(1005)

    assert [ask.seq for _, _, ask in world.sent] == [0, 1, 0, 1]
    outcome = world.done[0].outcomes[0]
    assert outcome.reply == Reply("1", truth(Ask(1, 5)) + truth(Ask(1, 5, 1)))
    assert outcome.tries == 2


def test_a_reply_without_end_is_given_up() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda ask: [(0.1, answer(ask, b"", more=True))]
    world.job("1", 5)
    world.run(1100)

    outcome = world.done[0].outcomes[0]
    assert outcome.fault is Fault.DAMAGED
    assert outcome.error == "meter 1 goes on after 255 frames and 0 bytes; ask for less at a time"
    assert len(world.sent) == 255


def test_a_reply_without_end_lets_the_others_of_its_class_go() -> None:
    line = make_world("1", "2")
    line.behaviour[1] = lambda ask: [(0.1, answer(ask, b"", more=True))]
    line.job("1", 1)
    for item in (1, 2, 3):
        line.job("2", item)
    line.run(1400)

    turns = [meter for _, meter, _ in line.sent]
    assert turns[:8] == ["1"] * 8, "a long reply is not torn apart for nothing"
    assert turns.index("2") == 8
    # While meter 2 turns round, the next frame of meter 1 is fetched.
    assert turns[8:13].count("2") == 3
    assert turns.count("1") == 255


def test_meters_with_different_settings_share_the_line() -> None:
    slow = Manners(codec=Toy(), settings=SLOW, silence_s=0.005)
    world = World({"1": slow, "2": replace(slow, settings=FAST), "3": replace(slow, settings=FAST)})
    for meter in "123":
        world.job(meter, 1)
    world.run(1005)

    first, second, third = (when for when, _, _ in world.sent)
    assert second - first == pytest.approx(5 * SLOW.character_s + 0.1 + 0.02)
    assert third - second == pytest.approx(5 * FAST.character_s + 0.1 + 0.005)


def test_the_slowest_meter_sets_the_silence_around_a_change_of_speed() -> None:
    slow = Manners(codec=Toy(), settings=replace(SLOW, baud=600), guard_s=0.005)
    world = World({"1": slow, "2": replace(slow, settings=FAST), "3": replace(slow, settings=SLOW)})
    world.job("2", 1)
    world.job("3", 1)
    world.run(1005)

    (first, _, _), (second, _, _) = world.sent
    assert second - first == pytest.approx(5 * FAST.character_s + 0.1 + 3.5 * 11 / 600)


def test_another_meter_is_addressed_only_after_the_turnaround() -> None:
    world = make_world("1", "2", guard_s=0.03, turnaround_s=0.2)
    world.job("1", 1, 2)
    world.job("2", 1)
    world.run(1005)

    first, second, third = (when for when, _, _ in world.sent)
    exchange_s = 5 * SLOW.character_s + 0.1
    assert second - first == pytest.approx(exchange_s + 0.03)
    assert third - second == pytest.approx(exchange_s + 0.2)


def test_while_a_meter_turns_round_another_is_asked() -> None:
    world = make_world("1", "2", guard_s=0.05, silence_s=0.004)
    world.job("1", 1, 2)
    world.job("2", 3, 4)
    world.run(1005)

    assert world.asked == [("1", 1), ("2", 3), ("1", 2), ("2", 4)]
    exchange_s = 5 * SLOW.character_s + 0.1
    times = [when for when, _, _ in world.sent]
    for before, after in pairwise(times):
        assert after - before == pytest.approx(exchange_s + 0.004)


def test_a_meter_alone_has_its_guard_time() -> None:
    world = make_world("1", guard_s=0.05, silence_s=0.004)
    world.job("1", 1, 2)
    world.run(1005)

    (first, _, _), (second, _, _) = world.sent
    assert second - first == pytest.approx(5 * SLOW.character_s + 0.1 + 0.05)


def test_the_less_urgent_does_not_use_the_guard_time_of_the_urgent() -> None:
    world = make_world("1", "2", guard_s=0.05)
    world.job("1", 1, 2, priority=Priority.COMMAND)
    world.job("2", 3)
    world.run(1005)

    assert world.asked == [("1", 1), ("1", 2), ("2", 3)]


def test_on_a_saturated_line_meters_of_another_speed_have_their_turn() -> None:
    """A change of speed takes time, and must not put its meter last for ever."""
    fast = Manners(codec=Toy(), settings=FAST, guard_s=0.0, silence_s=0.001)
    world = World({"1": fast, "2": replace(fast, settings=SLOW), "3": fast})
    for meter in "1213":
        world.job(meter, 1)
    world.run(1005)

    assert [meter for meter, _ in world.asked] == ["1", "2", "1", "3"]


def test_strays_are_counted_and_listened_past() -> None:
    world = make_world("1")
    ask = Ask(1, 5)
    damaged = answer(ask, b"oops")[:-1] + b"\x00"
    world.behaviour[1] = says(
        (0.01, Toy().encode(ask)),
        (0.1, answer(Ask(2, 5), b"other")),
        (0.2, answer(Ask(1, 6), b"late!")),
        (0.3, damaged),
        (0.4, b"\x00\xff" + answer(ask, b"right")),
    )
    world.job("1", 5)
    world.run(1005)

    (done,) = world.done
    assert done.outcomes[0].reply == Reply("1", b"right")
    assert done.outcomes[0].round_trip_s == pytest.approx(0.4)
    assert dict(done.strays) == {Stray.ECHO: 1, Stray.FOREIGN: 1, Stray.LATE: 1, Stray.DAMAGED: 1}


def test_a_meter_is_silent_when_only_our_echo_was_heard() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda ask: [(0.0, Toy().encode(ask))]
    world.job("1", 5, tries=1)
    world.run(1005)

    assert world.done[0].outcomes[0].fault is Fault.SILENT
    assert world.done[0].strays == ((Stray.ECHO, 1),)


def test_noise_is_damage_and_is_shown() -> None:
    world = make_world("1")
    world.behaviour[1] = says((0.1, b"\x00\xfe"), (0.2, b"\xfe"))
    world.job("1", 5, tries=1)
    world.run(1005)

    outcome = world.done[0].outcomes[0]
    assert outcome.fault is Fault.DAMAGED
    assert outcome.error == (
        "meter 1 gave no good frame at 2400 8E1, only 00 FE FE (3 bytes); check parity,"
        " termination and whether two meters share the address"
    )


def test_a_job_that_the_line_cannot_take_is_named() -> None:
    world = make_world("1")
    line = world.line
    with pytest.raises(LineError, match="line east: job 1 is for an unknown meter 2"):
        line.submit(world.job("2", 1), 1000)
    with pytest.raises(LineError, match="line east: job 2 for 1 asks nothing"):
        line.submit(world.job("1"), 1000)
    job = world.job("1", 1)
    for _ in range(1024):
        line.submit(job, 1000)
    with pytest.raises(LineError, match="1024 jobs are waiting; job 3 for 1 must wait outside"):
        line.submit(job, 1000)


def test_exchanges_are_numbered_for_life() -> None:
    world = make_world("1")
    numbers: list[int] = []

    class Numbered(Toy):
        def encode(self, request: Ask, number: int = 0) -> bytes:
            numbers.append(number)
            return super().encode(request, number)

    world.manners["1"] = replace(world.manners["1"], codec=Numbered())
    world.job("1", 1, 2)
    world.at(1001, "unplugged")
    world.job("1", 3, at=1010)
    world.run(1020)

    assert numbers == [1, 2, 3]
