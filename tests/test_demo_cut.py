"""The demo's cut: its past and its live half on simulated time, and the oracle that judges it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.acquisition.days import day_of
from gateway.config import load
from gateway.prepayment.money import yuan
from gateway.technician.demo_accounts import DEBTOR, OTHERS, PAID_AFTER_CUT, ZONE, Counter
from gateway.technician.demo_books import standings
from gateway.technician.demo_cut import (
    CALL_S,
    CUT_BY_S,
    LEAD_S,
    WORDS,
    Moved,
    Story,
    Truth,
    story,
    switched,
)
from gateway.technician.demo_past import Persons, play
from gateway.technician.demo_site import OPS, Site
from gateway.technician.demo_time import Played
from gateway.technician.demo_verdict import wrong_balances
from simulators.__main__ import write_movements
from simulators.area import demo_area
from simulators.ledger import Ledger
from simulators.seller import Seller

START = 1_784_516_400.0
"""2026-07-20, 11:00 in Shanghai."""
LIVE_S = 160.0


@dataclass
class Shown:
    """Everything that came of one demo."""

    ledger: Ledger
    counter: Counter
    truth: Truth
    lines: list[str] = field(default_factory=list)
    """What the view said of the cut, each text once, without numbers that count down."""
    database: Path = Path()
    between: Story | None = None
    """The story at the moment the daemon took over."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Past and present, as ``Demo`` puts them together."""
    folder = tmp_path_factory.mktemp("demo")
    site = Site(folder)
    config = load(site.write_config(demo_area(1), "mosquitto", 1883))
    sellers = {name: Seller(one.id, one.seed) for name, one in site.signers.items()}
    with (folder / "past").open("w") as out:
        play(config, demo_area(1), Persons(sellers, out), START)
    ledger, area, copy = Ledger(), demo_area(1), demo_area(1)
    for line in (folder / "past").read_text().splitlines():
        topic, payload = json.loads(line)
        ledger.take(topic, payload.encode())
    counter = Counter(copy, sellers[OPS], day_of(START, ZONE))
    truth = Truth(folder / "movements", copy)
    found = Shown(ledger, counter, truth, database=config.database, between=story(ledger, counter))
    with (folder / "movements").open("w") as movements:
        write_movements(area, movements)
        played = Played(config, area, START, lambda topic, payload: note(ledger, topic, payload))
        while played.clock.now() < START + LIVE_S:
            played.run(0.25)
            truth.look()
            counter.step(ledger, partial(send, played), played.clock.now())
            said = story(ledger, counter).now_line(played.clock.now())
            if not found.lines or said != found.lines[-1]:
                found.lines.append(said)
        played.stop()
    return found


def note(ledger: Ledger, topic: str, payload: bytes) -> None:
    ledger.take(topic, payload)


def send(played: Played, gateway: str, kind: str, message: Mapping[str, Any]) -> None:
    played.order(f"taiqu/v1/{gateway}/{kind}", json.dumps(message).encode())


def test_the_hours_before_end_with_a_last_call_that_is_proven(shown: Shown) -> None:
    assert shown.between
    steps = shown.between.steps
    assert list(steps) == ["warned", "approved", "notice", "last_call"]
    assert steps["last_call"] - steps["notice"] >= LEAD_S
    assert shown.between.cut_at
    assert shown.between.cut_at - steps["last_call"] >= CALL_S
    # Whoever watches does not wait longer than he must, but the broker has had its minute.
    assert START + 70 < shown.between.cut_at < START + 100


def test_one_account_is_warned_cut_topped_up_and_restored(shown: Shown) -> None:
    told = story(shown.ledger, shown.counter)
    assert set(told.steps) == set(WORDS)
    assert [told.steps[step] for step in WORDS] == sorted(told.steps.values())
    assert [(one.meter, one.closed) for one in shown.truth.moved] == [("A06", False), ("A06", True)]

    found = switched(shown.truth.moved, told, shown.ledger, LIVE_S, START + LIVE_S)
    assert (found.cuts, found.restored, found.wrong, found.faults) == (1, 1, (), ())
    assert found.cut_after_s is not None
    assert found.cut_after_s > LEAD_S + CALL_S
    assert found.restored_after_s is not None
    assert 8.0 <= found.restored_after_s < 15.0  # the customer's button after 8 s


def test_the_view_tells_each_turn(shown: Shown) -> None:
    said = "\n".join(shown.lines)
    for words in (
        "is cut in 40 s",
        "trip sent 10 s ago",
        "proven; tops up in 2 s",
        "its supply is being restored, 0 s after the top-up",
        "the customer's button is next",
        "supply back",
    ):
        assert words in said
    assert max(map(len, shown.lines)) < 80
    assert "all checks passed" in "\n".join(story(shown.ledger, shown.counter).told())


def test_no_step_depends_on_another_message(shown: Shown) -> None:
    steps = story(shown.ledger, shown.counter).steps
    for last in range(len(WORDS) + 1):
        kept = {name: steps[name] for name in list(WORDS)[:last]}
        for missing in ("", "paid", "allowed", "notice", "approved"):
            told = Story({name: at for name, at in kept.items() if name != missing})
            assert told.now_line(START).startswith("1006: ")
            assert next(iter(told.told())) == "account 1006 on meter A06:"


def test_a_disconnection_that_is_called_off_is_told(shown: Shown) -> None:
    told = Story({"warned": START, "notice": START + 60}, ended="It was cancelled.")
    assert told.now_line(START) == "1006: It was cancelled."
    assert "  It was cancelled." in told.told()
    assert switched((), told, shown.ledger, CUT_BY_S + 1, START).faults == ()


def test_what_was_not_used_while_cut_is_not_missed(shown: Shown) -> None:
    assert wrong_balances(shown.truth.area, shown.ledger, shown.counter, shown.database) == []
    assert shown.counter.refused(shown.ledger) == []
    assert {one.number for one in shown.counter.opened(shown.ledger)} == {
        *(one.number for one in OTHERS),
        DEBTOR.number,
    }
    standing = standings(shown.ledger)[DEBTOR.meter]
    assert (standing.alert, standing.last_top_up) == ("", PAID_AFTER_CUT)


# --- the oracle -----------------------------------------------------------------------------------


def judged(shown: Shown, *moved: Moved, **steps: float | None) -> tuple[str, ...]:
    """What is wrong with these movements, had the steps been other ones."""
    told = story(shown.ledger, shown.counter)
    kept = {name: at for name, at in (told.steps | steps).items() if at is not None}
    return switched(moved, replace(told, steps=kept), shown.ledger, LIVE_S, START).wrong


def test_a_cut_that_nobody_asked_for_is_wrong(shown: Shown) -> None:
    assert judged(shown, Moved(START + 50, "A03", closed=False)) == (
        "A03 was cut at 11:00:50, and nobody was to be",
    )


def test_a_cut_without_its_steps_is_wrong(shown: Shown) -> None:
    cut = shown.truth.moved[0]
    assert judged(shown, cut) == ()
    assert len(judged(shown, cut, notice=None)) == 1
    assert len(judged(shown, cut, approved=cut.at + 1)) == 1
    assert len(judged(shown, cut, last_call=cut.at - CALL_S + 1)) == 1
    assert len(judged(shown, cut, notice=cut.at - LEAD_S + 1)) == 1


def test_a_cut_after_the_top_up_is_wrong(shown: Shown) -> None:
    back = shown.truth.moved[1]
    left = yuan(standings(shown.ledger)[DEBTOR.meter].balance_e4)
    [said] = judged(shown, Moved(back.at, back.meter, closed=False))
    assert said.endswith(f"with {left} yuan left")


def test_a_cut_that_never_comes_and_a_restore_that_is_late_are_faults(shown: Shown) -> None:
    told = story(shown.ledger, shown.counter)
    early = Story({"warned": START, "notice": START}, failed="the stop switch is on")
    assert switched((), early, shown.ledger, CUT_BY_S - 1, START).faults == ()
    [said] = switched((), early, shown.ledger, CUT_BY_S + 1, START).faults
    assert "the stop switch is on" in said

    cut = shown.truth.moved[:1]
    late = switched(cut, told, shown.ledger, LIVE_S, told.steps["paid"] + 61)
    assert "has paid, and has no supply" in "".join(late.faults)
    assert "contact had not moved" in "".join(late.faults)


def test_movements_arrive_whole_however_they_are_written(tmp_path: Path) -> None:
    area = demo_area(1)
    truth = Truth(tmp_path / "movements", area)
    truth.look()
    line = json.dumps({"at": START, "meter": "A06", "closed": False, "cause": "trip"}) + "\n"
    with (tmp_path / "movements").open("w") as out:
        for piece in (line[:20], line[20:] + line[:5]):
            out.write(piece)
            out.flush()
            truth.look()

    assert truth.moved == [Moved(START, "A06", closed=False)]
    supply = area.meters["A06"].household.supply
    assert (supply.on(START - 1), supply.on(START + 1)) == (True, False)
