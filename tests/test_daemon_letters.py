"""Orders through the letterbox of the real daemon, and the daemon's own key."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.config import load
from gateway.keys import read_private
from gateway.store.commands import Answers, Result
from gateway.store.database import ReadOnly
from gateway.store.faults import LockedError
from gateway.store.letterbox import Letter, post
from gateway.technician.cli import main
from gateway.technician.letter import desk as desk_of
from tests.daemon_rig import NAME, PATIENCE_S, ROOT, STOP_S, Rig, command, made
from tests.keyring import write_keys

LETTERS = 60


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config()
        yield rig


def test_a_technician_s_order_is_answered_by_the_running_gateway(rig: Rig) -> None:
    head_end = rig.listen()
    rig.start().wait_for("connected to the head-end")
    config = rig.folder / "gateway.toml"

    done = CliRunner().invoke(
        main, ["account", "emergency", "--config", str(config), "--json", "--wait", "60", "1001"]
    )

    assert done.exit_code == 1
    answer = json.loads(done.output)
    stages = [(one["stage"], one["reason"]) for one in answer["stages"]]
    assert stages == [("refused", "prepayment is not configured here")]
    rig.until(lambda: answer["id"] in rig.ledger.results, head_end, "the result at the head-end")


def test_a_meter_is_read_by_letter(rig: Rig) -> None:
    rig.start().wait_for("connected to the head-end")
    desk = desk_of(load(rig.folder / "gateway.toml"))
    body = {"name": "read", "meter": "N1", "points": ["voltage_l1n"]}

    answer = desk.order(body, None, PATIENCE_S)

    assert [one.stage for one in answer.results] == ["accepted", "confirmed"]
    assert json.loads(answer.results[-1].data)["values"].keys() == {"voltage_l1n"}


def answers(rig: Rig) -> dict[str, list[Result]]:
    try:
        with ReadOnly(rig.database) as file:
            found = Answers(file)
            return {f"l-{n}": found.results(f"l-{n}") for n in range(LETTERS)}
    except LockedError:
        return {}


def test_kill_9_at_any_moment_loses_no_letter_and_answers_each_once(rig: Rig) -> None:
    gateway = rig.start()
    gateway.wait_for("connected to the head-end")
    for n in range(LETTERS):
        order = command(f"l-{n}", name="read", meter="nobody", points=["voltage_l1n"])
        letter = Letter(id=f"l-{n}", who="w", what=json.dumps(order).encode(), posted=0.0)
        post(rig.folder / "store" / "letterbox", letter)
        if n % 10 == 9:
            # Each life is cut short in another state: starting, taking letters, clearing the box.
            if n % 20 == 9:
                gateway.wait_for("gateway started")
            gateway.kill()
            gateway = rig.start()
    gateway.wait_for("gateway started")
    head_end = rig.listen()
    rig.until(
        lambda: all(answers(rig).get(f"l-{n}") for n in range(LETTERS)), head_end, "every answer"
    )

    assert {len(results) for results in answers(rig).values()} == {1}
    assert {results[0].stage for results in answers(rig).values()} == {"refused"}
    assert gateway.stop(STOP_S) == 0


def test_the_gateway_s_own_key_is_made_once_and_told(rig: Rig) -> None:
    write_keys(rig.folder)
    rig.config(keys={"file": "keys.toml"})
    head_end = rig.listen()
    keys = []
    for _ in range(2):
        rig.ledger.states.clear()
        gateway = rig.start()
        rig.until(lambda: (NAME, "hello") in rig.ledger.states, head_end, "hello")
        rig.until(lambda: (NAME, "inventory") in rig.ledger.states, head_end, "inventory")
        assert gateway.stop(STOP_S) == 0
        keys += [rig.ledger.states[NAME, kind]["signing_key"] for kind in ("hello", "inventory")]

    own = rig.folder / "store" / "gateway.key"
    assert set(keys) == {read_private(own).public()}
    assert own.stat().st_mode & 0o777 == 0o600


def test_a_damaged_key_of_our_own_does_not_stop_the_gateway(rig: Rig) -> None:
    write_keys(rig.folder)
    rig.config(keys={"file": "keys.toml"})
    (rig.folder / "store").mkdir()
    (rig.folder / "store" / "gateway.key").write_text("damaged")
    gateway = rig.start()

    gateway.wait_for("the gateway's own key cannot be used")
    gateway.wait_for("connected to the head-end")
    assert gateway.stop(STOP_S) == 0


def test_a_gateway_without_keys_loads_no_cryptography() -> None:
    code = "import sys, gateway.daemon; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
