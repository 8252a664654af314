"""What the real daemon bears: lost ports, a broker that refuses, rubbish, a store in trouble.

Each is one line in its log and one at its end; the rest of the work goes on.
"""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from tests.daemon_rig import BROKERS, NAME, STOP_S, Rig, command, made
from tests.mosquitto import Authority, free_port

HOLDER = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print(); input()"
"""Another program that uses a serial device, until it is spoken to."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Lines, a broker and a configuration; daemon and head-end are the test's to start."""
    with made(tmp_path) as rig:
        rig.serve_all()
        rig.config()
        yield rig


# --- ports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lost", "other"), [("pair", "N1"), ("net", "P1")])
def test_an_adapter_unplugged_and_plugged_in_again(rig: Rig, lost: str, other: str) -> None:
    [line] = [line for line in rig.area.lines if line.name == lost]
    head_end = rig.listen()
    gateway = rig.start()
    rig.reads(head_end, "N1", "P1")
    rig.unplug(lost)
    gateway.wait_for("line is down", line=lost)
    rig.reads(head_end, other)
    rig.serve(line)
    gateway.wait_for("line is up", 2, line=lost)
    rig.reads(head_end, "N1", "P1")

    assert len(gateway.log("line is down")) == 1
    assert len(gateway.log("line is up", line=lost)) == 2
    assert rig.event("line_down", line=lost)
    assert rig.event("line_up", line=lost)


def test_a_port_that_is_missing_at_first(rig: Rig) -> None:
    rig.unplug("pair")
    head_end = rig.listen()
    gateway = rig.start()
    reason = gateway.wait_for("line is down", line="pair")["reason"]
    rig.reads(head_end, "N1")
    rig.serve(rig.area.lines[1])
    rig.reads(head_end, "P1", "P2")

    assert "is the adapter plugged in?" in reason
    assert len(gateway.log("line is down")) == 1


def test_a_port_that_another_program_holds(rig: Rig) -> None:
    head_end = rig.listen()
    argv = [sys.executable, "-c", HOLDER, rig.ports["pair"]]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline()
        gateway = rig.start()
        reason = gateway.wait_for("line is down", line="pair")["reason"]
        rig.reads(head_end, "N1")
        holder.communicate(b"\n")
    rig.reads(head_end, "P1", "P2")

    assert f"in use by process {holder.pid}" in reason
    assert len(gateway.log("line is down")) == 1


# --- the broker -----------------------------------------------------------------------------------


def test_a_broker_that_refuses_our_certificate(tmp_path: Path) -> None:
    ours, strange = Authority(tmp_path / "ca"), Authority(tmp_path / "strange", "Another CA")
    cert, key = ours.issue("broker", alt="IP:127.0.0.1")
    plain = free_port()
    settings = (
        *(f"cafile {ours.cert}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"),
        *("use_identity_as_username true", f"listener {plain} 127.0.0.1"),
    )
    with made(tmp_path, *settings) as rig:
        rig.head_end_port = plain
        rig.serve_all()
        good, bad = ours.issue(NAME), strange.issue(NAME)
        rig.config(
            mqtt={
                "brokers": [f"mqtts://127.0.0.1:{rig.broker.port}"] * BROKERS,
                "ca_file": str(ours.cert),
                "cert_file": "gateway.crt",
                "key_file": "gateway.key",
            }
        )
        show(rig, *bad)
        head_end = rig.listen()
        gateway = rig.start()
        reason = gateway.wait_for("no connection to the head-end")["reason"]
        rig.until(
            lambda: any(last > 1 for key, last in rig.committed().items() if key.lane == "history"),
            head_end,
            "readings kept",
        )
        show(rig, *good)
        gateway.wait_for("connected to the head-end")
        rig.flows(head_end)
        rig.everything_arrives(head_end)

    assert "certificate" in reason
    assert len(gateway.log("no connection to the head-end")) == 1


def show(rig: Rig, cert: Path, key: Path) -> None:
    """Make this the certificate that the gateway shows."""
    for source, name in ((cert, "gateway.crt"), (key, "gateway.key")):
        draft = rig.folder / f"{name}.new"
        draft.write_bytes(source.read_bytes())
        draft.replace(rig.folder / name)


def test_rubbish_from_the_head_end_is_refused_and_work_goes_on(rig: Rig) -> None:
    rig.config(mqtt={"mqtt5": False})  # with MQTT 5 the broker keeps what is too large from us
    head_end = rig.listen()
    commands = f"taiqu/v1/{NAME}/commands"
    publish.single(commands, b"{}", qos=1, retain=True, port=rig.broker.port)
    gateway = rig.start()
    refusals = "message refused"
    assert "retained" in gateway.wait_for(refusals)["reason"]

    noise = random.Random(20260101)
    payloads = [noise.randbytes(300), b"x" * 200_000, b"[" * 60_000, b"", b"null", b'{"id": 1}']
    rubbish: list[Any] = [
        {"topic": f"taiqu/v1/{NAME}/{kind}", "payload": payload, "qos": 1}
        for kind in ("commands", "acks")
        for payload in payloads
    ]
    publish.multiple(rubbish, port=rig.broker.port)
    gateway.wait_for(refusals, 1 + len(rubbish))
    head_end.send(NAME, "commands", command("r1", name="read", meter="N1", points=["voltage_l1n"]))
    rig.until(
        lambda: "confirmed" in [result["stage"] for result in rig.ledger.results.get("r1", [])],
        head_end,
        "the answer to a command in order",
    )

    assert rig.event("command_refused")
    assert gateway.process.poll() is None


# --- the store ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB where the store will be."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system to fill")
    place = tmp_path / "store"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "taiqu", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> None:
    """Leave no byte on the disk."""
    with (place / "filler").open("ab", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return


def test_a_full_disk_makes_readings_wait(small_disk: Path, rig: Rig) -> None:
    wait, go_on = "readings cannot be written, they wait in memory", "readings are written again"
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end)
    assert (small_disk / "taiqu.db.ballast").exists()
    fill(small_disk)
    gateway.wait_for(go_on)
    assert not (small_disk / "taiqu.db.ballast").exists(), "the ballast has been given up"
    fill(small_disk)
    gateway.wait_for(wait, 2)
    (small_disk / "filler").unlink()
    gateway.wait_for(go_on, 2)
    rig.flows(head_end, 2)
    rig.everything_arrives(head_end)
    assert gateway.stop(STOP_S) == 0

    assert len(gateway.log(wait)) == 2, "one line for each time"
    assert rig.event("disk_full")
    assert rig.event("disk_restored")
    assert gateway.log(go_on)[-1]["dropped"] == 0
    gateway = rig.start()
    gateway.wait_for("connected to the head-end")
    assert (small_disk / "taiqu.db.ballast").exists()


def test_told_to_stop_while_the_disk_is_full(small_disk: Path, rig: Rig) -> None:
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end)
    fill(small_disk)
    gateway.wait_for("readings are written again")
    fill(small_disk)
    gateway.wait_for("readings cannot be written, they wait in memory", 2)
    assert gateway.stop(STOP_S) == 0

    (small_disk / "filler").unlink()
    gateway = rig.start()
    gateway.wait_for("connected to the head-end")
    rig.flows(head_end)
    rig.everything_arrives(head_end)

    assert rig.ledger.summary().epochs == 1
    assert rig.ledger.summary().gaps == 0


def test_a_database_that_another_program_locks_makes_readings_wait(rig: Rig) -> None:
    wait, go_on = "readings cannot be written, they wait in memory", "readings are written again"
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end)
    with closing(sqlite3.connect(rig.database, isolation_level=None)) as other:
        other.execute("begin immediate")
        gateway.wait_for(wait)
        other.execute("rollback")
        gateway.wait_for(go_on)
    rig.flows(head_end, 2)
    rig.everything_arrives(head_end)

    assert len(gateway.log(wait)) == 1
    assert rig.ledger.summary().gaps == 0


def test_a_daemon_told_to_stop_does_not_wait_for_who_locks_its_database(rig: Rig) -> None:
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end)
    with closing(sqlite3.connect(rig.database, isolation_level=None)) as other:
        other.execute("begin immediate")
        gateway.wait_for("readings cannot be written, they wait in memory")
        assert gateway.stop(STOP_S) == 0
        other.execute("rollback")
    [lost] = gateway.log("stopped with readings unwritten")
    assert lost["readings"] > 0
    assert "locked" in lost["reason"]

    rig.start()
    rig.flows(head_end)
    rig.everything_arrives(head_end)
    assert rig.ledger.summary().gaps == 0


def test_a_database_damaged_while_stopped_begins_a_new_epoch(rig: Rig) -> None:
    head_end = rig.listen()
    gateway = rig.start()
    rig.flows(head_end)
    assert gateway.stop(STOP_S) == 0
    former = {key.epoch for key in rig.committed()}
    with rig.database.open("r+b") as file:
        file.write(random.Random(20260101).randbytes(8192))

    gateway = rig.start()
    assert gateway.wait_for("the database began anew")["how"] == "damaged"
    rig.flows(head_end)
    committed = rig.everything_arrives(head_end)

    assert {key.epoch for key in committed}.isdisjoint(former)
    assert rig.event("store_new_epoch")
    assert list(rig.database.parent.glob("taiqu.db.corrupt.*"))


def test_live_state_that_cannot_be_written_is_one_line(rig: Rig) -> None:
    (rig.folder / "run").touch()
    head_end = rig.listen()
    gateway = rig.start()
    gateway.wait_for("the live state cannot be written")
    rig.flows(head_end, 2)

    assert gateway.stop(STOP_S) == 0
    assert len(gateway.log("the live state cannot be written")) == 1
