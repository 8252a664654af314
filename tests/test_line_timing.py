"""When the line gives up, what late answers cannot do, and what happens when the port goes."""

import pytest

from gateway.acquisition.acts import Open, Rest
from gateway.events import Fault, PortChanged, Priority
from protocols.base import Reply
from tests.line_world import SLOW, Ask, Toy, answer, honest, says, silent, truth
from tests.line_world import world as make_world

CHARACTER_S = SLOW.character_s


def test_the_deadline_counts_from_the_end_of_our_request_on_the_wire() -> None:
    """Writing returns at once, but five bytes at 2400 baud take 23 ms."""
    world = make_world("1")
    world.behaviour[1] = lambda ask: [(0.499, answer(ask, b"just in time"))]
    world.job("1", 1)
    world.run(1005)

    assert world.done[0].outcomes[0].reply == Reply("1", b"just in time")


def test_what_lies_between_us_and_the_pair_is_allowed_for() -> None:
    world = make_world("1", latency_s=0.3)
    world.behaviour[1] = lambda ask: [(0.7, answer(ask, b"by radio"))]
    world.job("1", 1, tries=1)
    world.run(1005)

    assert world.done[0].outcomes[0].reply == Reply("1", b"by radio")


def test_a_reply_that_has_begun_may_go_on_after_the_deadline() -> None:
    world = make_world("1")
    frame = answer(Ask(1, 1), b"slowly")
    pieces = [(0.4 + n * 0.1, frame[n : n + 1]) for n in range(len(frame))]
    world.behaviour[1] = says(*pieces[:7], (pieces[7][0], frame[7:]))
    world.job("1", 1)
    world.run(1005)

    assert world.done[0].outcomes[0].reply == Reply("1", b"slowly")
    assert world.done[0].outcomes[0].round_trip_s == pytest.approx(0.4)


def test_a_reply_that_breaks_off_is_given_up_half_a_second_after_its_last_byte() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda ask: [(0.4, answer(ask, b"broken")[:6])]
    world.job("1", 1, tries=1)
    world.run(1005)

    (done,) = world.done
    assert done.outcomes[0].fault is Fault.DAMAGED
    assert done.busy_s == pytest.approx(5 * CHARACTER_S + 0.4 + 0.5)


def test_a_line_that_babbles_is_given_up_when_the_longest_reply_would_be_over() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda _: [(n * 0.1, b"!") for n in range(1, 60)]
    world.job("1", 1, tries=1)
    world.run(1020)

    (done,) = world.done
    assert done.outcomes[0].fault is Fault.DAMAGED
    assert done.busy_s <= 5 * CHARACTER_S + 0.5 + 64 * CHARACTER_S + 0.5 + 0.1


def test_bytes_are_read_before_the_time_is_looked_at() -> None:
    """A thread that woke late finds the reply in the kernel's buffer."""
    world = make_world("1")
    world.behaviour[1] = silent
    job = world.job("1", 1)
    world.run(1000.2)
    world.line.advance(1003.0, 0.0, answer(Ask(1, 1), b"waited"))

    assert world.done[0].job is job
    assert world.done[0].outcomes[0].reply == Reply("1", b"waited")


def test_a_late_answer_cannot_pass_for_the_answer_to_another_request() -> None:
    """Replies that do not name their request: the meter gets nothing else until it has paid."""
    world = make_world("1", "2", nameless=True, late_s=1.0)

    def slow(ask: Ask) -> list[tuple[float, bytes]]:
        delay_s = 1.2 if ask.item == 1 else 0.1
        return [(delay_s, answer(ask, truth(ask), nameless=True))]

    world.behaviour[1] = slow
    world.behaviour[2] = lambda ask: [(0.1, answer(ask, truth(ask), nameless=True))]
    world.job("1", 1, tries=1)
    world.job("1", 2)
    world.job("2", 3, priority=Priority.BACKFILL)
    world.run(1010)

    assert world.asked == [("1", 1), ("2", 3), ("1", 2)]
    assert [done.outcomes[0].fault for done in world.done] == [Fault.SILENT, None, None]
    assert world.done[2].outcomes[0].reply == Reply("1", truth(Ask(1, 2)))
    first, _, second = (when for when, _, _ in world.sent)
    assert second - first == pytest.approx(5 * CHARACTER_S + 0.5 + 1.0)


def test_while_one_meter_owes_an_answer_the_others_go_on() -> None:
    world = make_world("1", "2", nameless=True, late_s=1.0)
    world.behaviour = {
        1: lambda ask: [] if ask.item == 1 else [(0.1, answer(ask, b"one", nameless=True))],
        2: lambda ask: [(0.1, answer(ask, b"two", nameless=True))],
    }
    world.job("1", 1, tries=1)
    world.job("1", 2)
    world.job("2", 3, 4)
    world.job("2", 5, priority=Priority.BACKFILL)
    world.run(1010)

    assert world.asked == [("1", 1), ("2", 3), ("2", 4), ("2", 5), ("1", 2)]


def test_after_a_late_answer_was_taken_for_the_repeated_request_one_is_still_owed() -> None:
    world = make_world("1", nameless=True, late_s=1.0)

    def slow(ask: Ask) -> list[tuple[float, bytes]]:
        delay_s = 0.7 if ask.item == 1 else 0.1
        return [(delay_s, answer(ask, truth(ask), nameless=True))]

    world.behaviour[1] = slow
    world.job("1", 1, 2)
    world.run(1010)

    one, two = world.done[0].outcomes
    assert one.reply == Reply("1", truth(Ask(1, 1)))
    assert one.tries == 2
    assert two.reply == Reply("1", truth(Ask(1, 2)))


def test_where_replies_name_their_request_nothing_waits_for_a_late_one() -> None:
    world = make_world("1")
    world.behaviour[1] = lambda ask: [(0.6 if ask.item == 1 else 0.2, answer(ask, truth(ask)))]
    world.job("1", 1, tries=1)
    world.job("1", 2)
    world.run(1005)

    assert world.done[1].outcomes[0].reply == Reply("1", truth(Ask(1, 2)))
    first, second = (when for when, _, _ in world.sent)
    assert second - first == pytest.approx(5 * CHARACTER_S + 0.5)


def test_somebody_elses_frame_is_let_finish() -> None:
    world = make_world("1")
    for tenth in range(3):
        world.at(1000.9 + tenth * 0.01, answer(Ask(9, 9), b"x"))
    world.job("1", 1, at=1000.93)
    world.run(1005)

    assert world.sent[0][0] == pytest.approx(1000.92 + 0.02)


def test_a_line_that_is_never_quiet_does_not_stop_us_for_ever() -> None:
    world = make_world("1")
    for tick in range(1000):
        world.at(1000.5 + tick * 0.01, b"\x00")
    world.job("1", 1, tries=1, at=1001)
    world.run(1020)

    assert world.sent[0][0] == pytest.approx(1002, abs=0.03)
    assert world.done[0].outcomes[0].reply == Reply("1", truth(Ask(1, 1)))


def test_a_port_that_does_not_open_is_tried_at_growing_distances_and_told_once() -> None:
    world = make_world("1")
    world.port = ["not there"] * 9
    world.run(1300)

    pauses = [after - before for before, after in zip(world.opened, world.opened[1:], strict=False)]
    for pause, most in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert 0.75 * most <= pause <= most
    assert world.port_changes == [
        PortChanged("east", False, "not there"),
        PortChanged("east", True),
    ]


def test_a_port_lost_in_an_exchange_is_opened_again_and_the_job_goes_on() -> None:
    world = make_world("1")
    world.job("1", 1)
    world.at(1000.05, "unplugged")
    world.port = ["", "not there"]
    world.run(1010)

    (done,) = world.done
    assert done.outcomes[0].reply == Reply("1", truth(Ask(1, 1)))
    assert done.outcomes[0].tries == 2
    assert [(change.up, change.reason) for change in world.port_changes] == [
        (True, ""),
        (False, "not there"),
        (True, ""),
    ]


def test_what_may_be_sent_only_once_is_not_sent_again_after_the_port_was_lost() -> None:
    world = make_world("1")
    world.job("1", 1, priority=Priority.RELAY, tries=1)
    world.at(1000.05, "unplugged")
    world.run(1010)

    assert len(world.sent) == 1
    outcome = world.done[0].outcomes[0]
    assert (outcome.fault, outcome.error) == (Fault.PORT, "line east: unplugged")


def test_an_idle_connection_closed_by_the_server_is_no_outage() -> None:
    world = make_world("1")
    world.job("1", 1)
    world.at(1060, "the other end closed the connection")
    world.job("1", 2, at=1090)
    world.run(1100)

    assert len(world.opened) == 2
    assert world.port_changes == [PortChanged("east", True)]
    assert len(world.done) == 2


def test_a_server_that_hangs_up_at_once_is_not_hammered() -> None:
    world = make_world("1")
    world.run(1000)
    for _ in range(4):
        world.line.port_lost(world.now, "closed")
        while not isinstance(act := world.line.advance(world.now, 0.0), Open):
            assert isinstance(act, Rest)
            world.now = act.until
        world.line.port_up(world.now)

    assert world.now > 1000 + 0.75 * (1 + 2 + 4)


def test_jobs_expire_on_time_while_the_port_is_away() -> None:
    world = make_world("1")
    world.port = ["not there"] * 20
    world.job("1", 1, 2, not_after=1100)
    world.run(1101)

    (done,) = world.done
    assert [outcome.fault for outcome in done.outcomes] == [Fault.EXPIRED] * 2
    assert done.outcomes[0].error == "line east: job 1 for 1 expired; its port is not there"
    assert done.waited_s == pytest.approx(100)


def test_at_2400_baud_the_line_waits_for_nothing_but_a_moment_of_silence() -> None:
    world = make_world(*map(str, range(1, 21)), guard_s=0.02, silence_s=0.005)
    for meter in range(1, 21):
        world.job(str(meter), 1)
    world.run(1100)

    assert len(world.done) == 20
    began = world.sent[0][0]
    ended = max(done.outcomes[0].taken_at for done in world.done) - 1_767_225_600
    exchange_s = len(Toy().encode(Ask(1, 1))) * CHARACTER_S + 0.1
    assert ended - began == pytest.approx(20 * exchange_s + 19 * 0.005, abs=1e-6)


def test_honest_and_silent_meters_do_not_disturb_each_other() -> None:
    world = make_world("1", "2")
    world.behaviour = {1: honest, 2: silent}
    for second in range(20):
        world.job("1", second, at=1000 + second * 2)
        world.job("2", second, at=1000 + second * 2)
    world.run(1060)

    assert len(world.done) == 40
    assert all((done.outcomes[0].reply is None) == (done.job.meter == "2") for done in world.done)
