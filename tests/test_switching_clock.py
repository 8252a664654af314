"""Cases and proofs when time is in doubt: a clock that is not trusted, or was set; late proofs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.disconnection.case import Case, State
from gateway.disconnection.relay_table import State as At
from gateway.north.contract import instant
from tests.switch_world import DAY, HOUR, SwitchWorld

Make = Callable[[], SwitchWorld]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda: SwitchWorld(tmp_path)


def case(world: SwitchWorld) -> Case:
    kept = world.store.case("1001")
    assert kept is not None
    return kept.case


def serve(world: SwitchWorld, what: str, round_: int, served_at: float) -> str:
    return world.order(
        "notice.served",
        account="1001",
        round=round_,
        what=what,
        channel="sms",
        served=instant(served_at),
        receipt="delivered",
    )


def test_r15_by_an_untrusted_clock_a_case_goes_no_step_further(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    world.clock.synced = False
    world.run(20)
    before = case(world)
    world.clock.step(3 * HOUR)
    world.run(2 * HOUR)
    assert case(world) == before
    assert world.told() == []
    world.top_up("40.00")
    world.run(20)
    assert world.case_state() is State.WATCH, "but it is cancelled by any clock"


def test_r10_a_proof_that_comes_by_an_untrusted_clock_does_not_count(make: Make) -> None:
    world = make()
    world.helpful = False
    world.to_debt()
    world.until(lambda: world.case_state() is State.DUE, HOUR)
    world.clock.synced = False
    world.clock.step(-3 * HOUR)
    world.run(20)
    id_ = serve(world, "notice", 1, world.clock.now())
    world.run(20)
    assert world.stages(id_) == ["expired"]
    world.clock.step(3 * HOUR)
    world.clock.synced = True
    world.run(60)
    assert world.case_state() is State.DUE
    serve(world, "notice", 1, world.clock.now())
    world.run(20)
    assert world.case_state() is not State.DUE
    assert abs((case(world).notice_at or 0.0) - world.clock.now()) < 60


def test_a_debt_that_was_posted_by_an_untrusted_clock_is_dated_by_the_trusted_one(
    make: Make,
) -> None:
    world = make()
    world.clock.synced = False
    world.clock.step(-40 * DAY)
    world.run(180)
    world.open()
    world.run(10)
    assert world.case_state() in (None, State.WATCH)
    assert world.events("disconnection") == []
    world.clock.step(40 * DAY)
    world.clock.synced = True
    world.run(30)
    assert world.case_state() is not State.WATCH
    assert abs((case(world).owed_since or 0.0) - world.clock.now()) < 60


@pytest.mark.parametrize("state", [State.DUE, State.NOTICE_SERVED, State.APPROVED, State.SCHEDULED])
def test_after_the_clock_was_set_back_the_notice_is_served_anew(make: Make, state: State) -> None:
    world = make()
    world.helpful = state is not State.DUE
    world.to_debt()
    if state is State.NOTICE_SERVED:
        [delegation] = [id_ for id_ in world.payloads if b"delegate" in world.payloads[id_]]
        world.order("approval.revoke", by="agrees", approval=delegation, reason="not yet")
    world.until(lambda: world.case_state() is state, 4 * HOUR)
    world.clock.step(-5 * HOUR)
    set_at = world.clock.now()
    world.helpful = True
    world.until(lambda: set_at <= (case(world).notice_at or 0.0) <= world.clock.now(), HOUR)
    assert set_at <= (case(world).notice_at or 0.0) <= world.clock.now()


def test_r19_a_correction_that_lies_in_the_future_is_waited_for_not_looked_at_again_and_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.run(180)
    world.open()
    payment = f"p{int(world.top_up('9.00')[1:]) - 1}"
    world.run(60)
    world.order("topup.reverse", by="cash", payment=payment, reason="bounced")
    world.run(60)
    world.clock.step(-5 * HOUR)
    world.run(60)
    assert world.case_state() is State.WARNED
    looks: list[str] = []
    room = world.core._switching
    assert room is not None
    look = room.cutting.look

    def counted(number: str, wall: float) -> float:
        looks.append(number)
        return look(number, wall)

    monkeypatch.setattr(room.cutting, "look", counted)
    world.run(4 * HOUR)
    assert world.case_state() is State.WARNED
    assert len(looks) < 20
    world.run(HOUR)
    assert case(world).notice_written_at is not None, "it is not waited for longer than that"


def test_r23_a_clock_that_is_set_while_offline_does_not_shorten_the_quiet_time(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() is State.SCHEDULED, 12 * HOUR)
    world.clock.synced = False
    world.clock.step(20 * HOUR)
    world.run(20)
    world.broker_down()
    world.run(20)
    world.clock.step(-20 * HOUR)
    world.clock.synced = True
    world.run(22 * HOUR)  # eight in the morning
    world.broker_up()
    back = world.clock.monotonic()
    world.until(lambda: bool(world.told()), 30 * HOUR)
    assert world.told() == ["trip"]
    assert world.clock.monotonic() - back > 2 * HOUR


def test_r10_a_late_proof_of_an_older_last_call_does_not_count_for_a_newer(make: Make) -> None:
    world = make()
    world.to_debt()
    world.until(lambda: world.case_state() in (State.NOTICE_SERVED, State.APPROVED), 4 * HOUR)
    world.helpful = False
    world.until(lambda: world.case_state() is State.SCHEDULED, 4 * HOUR)
    called_at = case(world).asked_at
    renewed = case(world).asked_at
    world.until(lambda: case(world).asked_at > renewed, 6 * HOUR)
    late = serve(world, "last_call", 1, called_at + 5)
    world.run(60)
    assert world.stages(late) == ["confirmed"]
    assert case(world).last_call_at is None
    serve(world, "last_call", 1, world.clock.now())
    world.run(60)
    assert case(world).last_call_at is not None


def test_r10_a_proof_of_an_earlier_round_does_not_count(make: Make) -> None:
    world = make()
    world.to_cut()
    world.top_up("40.00")
    world.until(lambda: world.case_state() is State.WATCH, 60)
    world.helpful = False
    world.order("adjust", account="1001", amount="-60.00", reason="wrong top-up")
    world.until(lambda: world.case_state() is State.DUE, HOUR)
    assert case(world).round == 2
    for what in ("notice", "last_call"):
        serve(world, what, 1, world.clock.now())
    world.run(60)
    assert world.case_state() is State.DUE
    assert world.relay_state() in (At.ALLOWED, At.CLOSED)
