"""Requests that nobody answers: sent, kept silent after, done; and made when they are sent."""

from dataclasses import replace

import pytest

from gateway.acquisition.exchange import ECHO_S
from gateway.events import Fault, Job, Priority, Timed
from protocols.base import RequestError, Stray
from tests.line_world import FAST, SLOW, UNANSWERED, WALL, Ask, World, says, sealed
from tests.line_world import world as make_world

FRAME_S = 5 * 11 / 2400


def told(world: World, *, make: object = None) -> Job:
    """A job whose request tells all meters the time."""
    build = make or (lambda wall: Ask(1, UNANSWERED, int(wall) & 0xFF))
    job = Job(
        id=99, meter="1", priority=Priority.COMMAND, not_after=1e9, tries=1,
        requests=(Timed("1", build),),  # type: ignore[arg-type]
    )  # fmt: skip
    world.at(world.now, job)
    return job


def test_what_nobody_answers_is_done_when_it_is_sent() -> None:
    world = make_world("1", "2")
    world.job("1", UNANSWERED)
    world.run(1005)

    (outcome,) = world.done[0].outcomes
    assert (outcome.reply, outcome.fault, outcome.tries) == (None, None, 1)
    assert outcome.taken_at == pytest.approx(WALL + world.sent[0][0] + FRAME_S + ECHO_S)


def test_every_meter_gets_its_guard_time_after_a_broadcast() -> None:
    world = make_world("1", "2")
    world.manners["2"] = replace(world.manners["2"], guard_s=0.7)
    world.job("1", UNANSWERED)
    world.job("2", 5)
    world.run(1005)

    (told_at, _, _), (asked_at, _, _) = world.sent
    assert asked_at == pytest.approx(told_at + FRAME_S + 0.7)


def test_a_meter_is_not_blamed_for_the_silence_after_a_broadcast() -> None:
    world = make_world("1")
    for _ in range(10):
        world.job("1", 5)
    world.job("1", UNANSWERED)
    world.job("1", 6)
    world.run(1020)

    assert not [o for done in world.done for o in done.outcomes if o.fault]
    assert world.line._patience["1"].misses == 0


def test_its_echo_is_counted_and_nothing_else() -> None:
    world = make_world("1")
    echo = sealed(bytes([0x3F, 1, UNANSWERED, 0]))
    world.behaviour[1] = says((0.01, echo))
    world.job("1", UNANSWERED)
    world.run(1005)

    assert world.done[0].strays == ((Stray.ECHO, 1),)
    assert world.done[0].outcomes[0].fault is None


def test_a_broadcast_goes_at_the_settings_of_its_meter() -> None:
    world = make_world("1", "2")
    world.manners["2"] = replace(world.manners["2"], settings=FAST)
    settings = []
    transmit = world._transmit
    world._transmit = lambda act: (settings.append(act.settings), transmit(act))  # type: ignore[method-assign,assignment,func-returns-value]
    world.job("1", UNANSWERED)
    world.job("2", UNANSWERED)
    world.run(1005)

    assert settings == [SLOW, FAST]


def test_the_time_is_that_of_the_sending_however_long_the_line_was_busy() -> None:
    world = make_world("1", "2")
    world.behaviour[2] = says()
    world.job("2", 5, priority=Priority.RELAY)
    told(world)
    world.run(1010)

    sent_at, _, ask = world.sent[-1]
    assert sent_at > 1001
    assert ask.seq == int(sent_at + WALL) & 0xFF


def test_what_must_not_be_sent_now_is_refused() -> None:
    def never(_wall: float) -> Ask:
        raise RequestError("it is midnight")

    world = make_world("1")
    told(world, make=never)
    world.run(1005)

    assert not world.sent
    (outcome,) = world.done[0].outcomes
    assert (outcome.fault, outcome.permanent, outcome.error) == (
        Fault.REFUSED, True, "it is midnight",
    )  # fmt: skip
