"""What a line hears beside the answers: signs of life, noise, the sizes of what is damaged."""

from collections import Counter

from gateway.events import Overheard, Sound
from tests.line_world import Ask, World, answer, honest, silent, truth
from tests.line_world import world as make_world


def overheard(world: World) -> list[str]:
    return [event.meter for event in world.events if isinstance(event, Overheard)]


def sounds(world: World) -> Counter[Sound]:
    return sum((Counter(dict(done.sounds)) for done in world.done), Counter())


def test_a_late_answer_in_another_meters_exchange_is_a_sign_of_life_and_no_value() -> None:
    world = make_world("1", "2", timeout_s=0.3)
    world.behaviour = {
        1: lambda ask: [(0.35, answer(ask, truth(ask)))],
        2: lambda ask: [(0.2, answer(ask, truth(ask)))],
    }
    world.job("1", 1, tries=1)
    world.job("2", 2)
    world.run(1005)

    assert overheard(world) == ["1"]
    assert world.done[0].outcomes[0].reply is None
    assert world.done[1].outcomes[0].reply is not None


def test_an_answer_while_the_line_rests_is_noticed_before_the_next_request() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = silent
    world.job("1", 1, tries=1)
    world.at(1006, answer(Ask(1, 1), b"to another master"))
    world.job("2", 2, at=1010)
    world.run(1015)

    assert overheard(world) == ["1"]
    assert sounds(world)[Sound.IDLE] == len(answer(Ask(1, 1), b"to another master"))


def test_one_sign_of_life_is_told_once() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = silent
    world.behaviour[2] = lambda ask: [(0.05, answer(Ask(1, 1), b"x") * 3), *honest(ask)]
    world.job("1", 1, tries=1)
    world.job("2", 2, 3)
    world.run(1005)

    assert overheard(world) == ["1"]


def test_a_frame_of_somebody_else_is_no_sign_of_life() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = silent
    world.behaviour[2] = lambda ask: [(0.05, answer(Ask(9, 1), b"x")), *honest(ask)]
    world.job("1", 1, tries=1)
    world.job("2", 2)
    world.run(1005)

    assert overheard(world) == []


def test_noise_is_counted_by_its_kind() -> None:
    world = make_world("1", "2")
    world.behaviour[1] = lambda _: [(0.1, b"\x00\xff\x00\x55")]
    world.job("1", 1, tries=1)
    world.job("2", 2)
    world.run(1005)

    counted = sounds(world)
    assert counted[Sound.NOISE] == 4
    assert counted[Sound.FLAT] == 3
    assert counted[Sound.SHORT] == 1
    assert Sound.IDLE not in counted


def test_damaged_frames_are_told_by_their_size() -> None:
    world = make_world("1", "2")
    damaged = bytearray(answer(Ask(1, 1), bytes(40)))
    damaged[-1] ^= 1
    world.behaviour[1] = lambda _: [(0.1, bytes(damaged))]
    world.behaviour[2] = lambda ask: [(0.1, answer(ask, truth(ask))[:-1])]
    world.job("1", 1, tries=2)
    world.job("2", 2, tries=1)
    world.run(1010)

    counted = sounds(world)
    assert counted[Sound.LONG_DAMAGED] == 2
    assert counted[Sound.SHORT_DAMAGED] == 1
    assert Sound.SHORT not in counted


def test_the_bytes_that_wake_a_meter_are_no_noise() -> None:
    """Most replies begin with some, and on a slow line they come alone."""
    world = make_world("1")
    world.behaviour[1] = lambda ask: [(0.05, b"\xfe\xfe\xfe\xfe"), *honest(ask)]
    world.job("1", 1)
    world.run(1005)

    assert world.done[0].outcomes[0].reply is not None
    assert sounds(world)[Sound.NOISE] == 0
