"""``taiqu relay``, ``disconnect``, ``stop`` and ``resume``: what is ordered, and what is shown."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.clock import SystemClock
from gateway.config import load
from gateway.disconnection import case, facts, relay, relay_table
from gateway.disconnection.votes import Vote
from gateway.keys import write_private
from gateway.north.approvals import vote_of
from gateway.north.commands import Judge, Valid
from gateway.north.signatures import Signer, Why
from gateway.prepayment.account import Class, Regime
from gateway.store.accounts import Accounts
from gateway.store.approvals import Approvals
from gateway.store.commands import Result as Stage
from gateway.store.database import Database, open_store
from gateway.store.letterbox import Letterbox
from gateway.store.precautions import Precautions, Served, Stop
from gateway.store.switching import Decided, KeptCase, KeptRelay, Switching, Underway
from gateway.technician.cli import main
from gateway.technician.letter import Answer, desk, tell
from tests.accounts import account
from tests.rooms import write_config
from tests.switching import NOW
from tests.switching_orders import BY_NAME, CHIEF, RIGHTS, WINDOWS, keys, signed_by
from tests.world import START

FOREVER = 4e9
SWITCHING = """
[prepayment]
[[policy]]
name = "home"
alert_1 = "20.00"
alert_2 = "10.00"
[switching]
"""


def taiqu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, Database]]:
    """A configuration whose gateway has one account, votes and a letterbox, and goes on running."""
    path = write_config(tmp_path, more=SWITCHING)
    config = load(path)
    config.store_directory.mkdir()
    box = Letterbox(config.store_directory / "letterbox")
    box.waiting()
    box.close()
    for signer, _ in RIGHTS.values():
        write_private(tmp_path / f"{signer.id}.key", signer)
    file = config.store_directory / "taiqu.db"
    with open_store(file, lambda: 0.0, bytes, ballast_bytes=0) as store:
        with store.transaction():
            Accounts(store).add(account("1001"), START, "alice", "c-1")
        yield path, store


@pytest.fixture
def path(site: tuple[Path, Database]) -> Path:
    return site[0]


# --- ordering -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name", "key"),
    [
        ("relay trip A1 --account 1001 --reason x", "relay.trip", "fitter"),
        ("relay close A1 --reason x", "relay.close", ""),
        ("relay close --all --yes --reason x", "relay.close", ""),
        ("relay protect A1 on --reason x", "relay.protect", "guard"),
        ("relay dry-run off --reason x", "dry_run", "watch"),
        ("disconnect request 1001 --reason x", "disconnect.request", "asker"),
        ("disconnect approve 1001 --debt-max 100.00 --hours 2", "disconnect.approve", "chief"),
        ("disconnect approve --action shed --request s-1", "disconnect.approve", "chief"),
        ("disconnect cancel 1001 --reason x", "disconnect.cancel", "asker"),
        ("disconnect delegate --policy home --debt-max 50 --days 90", "delegate", "chief"),
        ("disconnect revoke v-1 --reason x", "approval.revoke", "chief"),
        ("disconnect release --reason x", "mass.release", "chief"),
        (
            "disconnect served 1001 --what notice --round 1 --channel paper --receipt signed",
            "notice.served",
            "asker",
        ),
        ("account unprotect 1001 --no-cut --reason x", "protect.remove", "guard"),
        ("stop --reason x", "stop", ""),
        ("resume --reason x", "resume", ""),
        ("resume --reason x", "resume", "watch"),
    ],
)
def test_each_order_is_a_letter_that_the_gateway_accepts(
    path: Path, arguments: str, name: str, key: str
) -> None:
    signed = ["--key", path.with_name(f"{key}.key")] if key else []
    found = taiqu(*arguments.split(), "--config", path, "--wait", 0, *signed)

    assert "the gateway is not running" in found.output, found.output
    box = Letterbox(load(path).store_directory / "letterbox")
    (letter,) = box.waiting()
    box.close()
    verdict = Judge("gw", keys()).letter(letter.what, letter.posted + 1, trusted=True)
    assert isinstance(verdict, Valid), verdict
    assert verdict.command.command.name == name
    assert verdict.at_box
    assert verdict.key == key
    if name in ("disconnect.request", "disconnect.approve", "delegate"):
        assert vote_of(verdict.command, letter.posted).key == key


def test_two_persons_offline_are_two_letters_with_two_keys(path: Path) -> None:
    for verb, more, key in (
        ("request", ("--reason", "x"), "asker"),
        ("approve", ("--debt-max", "9"), "chief"),
    ):
        file = path.with_name(f"{key}.key")
        taiqu(
            *("disconnect", verb, "1001", "--config", path, "--wait", 0, "--key", file),
            *more,
        )
    box = Letterbox(load(path).store_directory / "letterbox")
    votes = []
    for letter in box.waiting():
        verdict = Judge("gw", keys()).letter(letter.what, letter.posted, trusted=True)
        assert isinstance(verdict, Valid)
        votes.append(vote_of(verdict.command, letter.posted))
    box.close()
    assert [(one.step, one.key) for one in votes] == [("request", "asker"), ("approval", "chief")]


def test_a_calendar_is_put_from_a_file(path: Path) -> None:
    file = path.with_name("windows.json")
    command = ("disconnect", "calendar", file, "--config", path, "--wait", 0)
    for content, said in (
        (None, "cannot be read: No such file"),
        ("{", "not JSON"),
        ("[]", "write an object"),
        ('{"version": 1}', "windows.first: Field required"),
    ):
        if content is not None:
            file.write_text(content)
        assert said in taiqu(*command).output
    file.write_text(json.dumps(WINDOWS))
    taiqu(*command, "--key", path.with_name("guard.key"))
    box = Letterbox(load(path).store_directory / "letterbox")
    (letter,) = box.waiting()
    box.close()
    verdict = Judge("gw", keys()).letter(letter.what, letter.posted, trusted=True)
    assert isinstance(verdict, Valid)
    assert verdict.command.command.name == "calendar.put"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("relay close --reason x", "give a METER, or --all"),
        ("relay close A1 --all --reason x", "give a METER, or --all"),
        ("relay close --all --reason x", "Nobody works on the wires?"),
        ("relay trip A1 --reason x", "Missing option '--account'"),
        ("relay protect A1 maybe --reason x", "maybe"),
        ("disconnect approve 1001", "names its account and debt_max"),
        ("disconnect approve --debt-max 9", "names its account and debt_max"),
        ("disconnect delegate --debt-max 9 --days 9", "give accounts or policies"),
        ("disconnect delegate --policy home --debt-max 9 --days 91", "91"),
        ("account unprotect 1001 --reason x", "nothing to remove"),
        ("stop", "Missing option '--reason'"),
    ],
)
def test_what_cannot_be_ordered_is_said_at_once(path: Path, arguments: str, said: str) -> None:
    found = taiqu(*arguments.split(), "--config", path, "--wait", 0)
    assert found.exit_code != 0
    assert said in found.output
    box = Letterbox(load(path).store_directory / "letterbox")
    assert box.waiting() == []
    box.close()


def test_who_cannot_stop_by_order_is_told_how_else(path: Path) -> None:
    file = load(path).store_directory / "stop"
    silent = taiqu("stop", "--reason", "x", "--config", path, "--wait", 0)
    assert f"sudo touch {file}" in silent.output
    shutil.rmtree(load(path).store_directory / "letterbox")
    none = taiqu("stop", "--reason", "x", "--config", path, "--wait", 0)
    assert none.exit_code == 1
    assert "no letterbox there" in none.output
    assert f"sudo touch {file}" in none.output


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        (f"{Why.UNSIGNED}: x", "--key FILE"),
        (f"{Why.UNKNOWN}: x", "taiqu key show FILE prints"),
        (f"{Why.WRONG}: x", "another key of this name"),
        (f"{Why.OUT_OF_ROLE}: x", "somebody else has to sign"),
        (f"{Why.REVOKED}: x", "take another key"),
        (f"{Why.LATE}: x", "not_after"),
        ("nobody knows ...: the gateway's clock is not trusted", "timedatectl"),
        ("no account 9 here", ""),
    ],
)
def test_a_refusal_says_what_to_do(
    path: Path, capsys: pytest.CaptureFixture[str], reason: str, hint: str
) -> None:
    result = Stage(stage="refused", reason=reason, data="{}", at=0.0, final=True)
    assert tell(desk(load(path)), Answer("c-1", (result,)), as_json=False) == 1
    said = capsys.readouterr()
    assert said.out == f"refused: {reason}\n"
    assert hint in said.err
    assert bool(said.err) is bool(hint)


# --- looking --------------------------------------------------------------------------------------


def papers(store: Database) -> None:
    with store.transaction():
        votes, precautions = Approvals(store), Precautions(store)
        for signer, name, id_ in (
            (RIGHTS["asker"][0], "disconnect.request", "r-1"),
            (CHIEF, "disconnect.approve", "v-1"),
            (CHIEF, "delegate", "d-1"),
        ):
            votes.add(long(signer, name, id_))
        precautions.add_stop(Stop(id="s", key="watch", by="key watch", reason="storm", at=START))
        precautions.set_dry_run("key watch", "x", START, dry=True)
        precautions.add_served(
            Served(
                account="1001",
                round=1,
                what="notice",
                channel="sms",
                served=START,
                receipt="ok",
                key="asker",
                received=START,
            )
        )


def long(signer: Signer, name: str, id_: str) -> Vote:
    vote = vote_of(signed_by(signer, id_, BY_NAME[name]), START)
    return replace(vote, expires=FOREVER)


def test_where_nothing_is_switched_that_is_said(site: tuple[Path, Database]) -> None:
    path, _ = site
    path.write_text(path.read_text().replace("[switching]", ""))
    for arguments in (("relay", "show"), ("disconnect", "list"), ("disconnect", "why", "1001")):
        assert f"{path} has no [switching]" in taiqu(*arguments, "--config", path).output
    assert "no account 9" in taiqu("disconnect", "why", "9", "--config", path).output


def test_the_papers_are_shown(site: tuple[Path, Database]) -> None:
    path, store = site
    papers(store)
    shown = taiqu("disconnect", "list", "--config", path).output
    rows = [line.split() for line in shown.splitlines()]
    assert ["v-1", "approval", "disconnect", "1001", "chief", "100.00"] in [r[:6] for r in rows]
    assert ["r-1", "request", "disconnect", "1001", "asker"] in [r[:5] for r in rows]
    assert "all cuts are stopped: key watch ordered it: storm" in shown
    assert "dry run: no relay is tripped" in shown
    assert "the gateway is not running" in shown
    with store.transaction():
        Switching(store).set_case(KeptCase(case=CASE))
    why = taiqu("disconnect", "why", "1001", "--config", path).output
    assert "approval v-1 of disconnect by key chief up to 100.00 owed, until 2096" in why
    assert "delegation d-1 of disconnect by key chief" in why
    assert "notice 1 served 2026-01-01 08:00 by sms" in why
    assert "all cuts are stopped: key watch ordered it: storm" in why


def test_a_trip_by_order_that_waits_for_its_turn_is_told(site: tuple[Path, Database]) -> None:
    path, store = site
    fitter = RIGHTS["fitter"][0]
    trip = signed_by(fitter, "t-1", BY_NAME["relay.trip"]).model_dump_json()
    shown = []
    for progress in ({}, {"turn": START + 90}, {"sent": START + 95}):
        with store.transaction():
            Switching(store).set_order(Underway("t-1", trip, progress))
        why = ("disconnect", "why", "1001", "--language", "en", "--config", path)
        shown.append((taiqu("disconnect", "list", "--config", path).output, taiqu(*why).output))
    trip_of = "trip of meter A1 by order t-1: "
    for output in shown[0]:
        assert f"{trip_of}waits for an approval by another key" in output
        assert "is to be cut" not in output
    assert f"{trip_of}its turn is 2026-01-01 08:01" in shown[1][0]
    said = "By an order, not for the amount owed, the supply is to be cut on 2026-01-01 08:01"
    assert shown[1][1].startswith(said)
    assert f"{trip_of}sent 2026-01-01 08:01" in shown[2][1]
    assert "is to be cut" not in shown[2][1]


def test_a_load_shedding_is_told_to_whom_it_names(site: tuple[Path, Database]) -> None:
    path, store = site
    fitter = RIGHTS["fitter"][0]
    shed = signed_by(fitter, "s-1", BY_NAME["shed"]).model_dump_json()
    with store.transaction():
        Switching(store).set_order(Underway("s-1", shed, {"shed": ["1001"]}))
    for arguments in (("list",), ("why", "1001")):
        shown = taiqu("disconnect", *arguments, "--config", path).output
        assert "load shedding s-1 until " in shown
        assert ": 1001 (" in shown


CASE = case.Case(
    account="1001",
    meter="A1",
    regime=Regime.CONTRACT_PREPAY,
    class_=Class.ORDINARY,
    state=case.State.NOTICE_SERVED,
    round=1,
    since=NOW,
    notice_at=NOW,
)


def switched(store: Database) -> None:
    """Two relays and a case are under way."""
    one = relay.Relay(meter="A1", state=relay_table.State.OPEN, since=NOW, wanted_open=True)
    moving = replace(one, meter="A2", state=relay_table.State.TRIP_SENT)
    fed = replace(one, meter="A3", load_voltage=True)
    switching = Switching(store)
    with store.transaction():
        for row in (one, moving, fed):
            switching.set_relay(KeptRelay(relay=row))
        switching.set_case(KeptCase(case=CASE))


def test_how_well_it_went_is_shown_where_relays_are_switched(site: tuple[Path, Database]) -> None:
    path, store = site
    path.write_text(path.read_text().replace("[switching]\n", "[switching]\nlate_minutes = 10\n"))
    refused = Decided(
        at=SystemClock().now() - 60,
        meter="A1",
        account="1001",
        purpose=facts.Purpose.ARREARS,
        allowed=False,
        dry=False,
        failed=[("calendar", "R13", "night")],
        journal=1,
        facts="{}",
    )
    with store.transaction():
        Switching(store).add_decision(refused)
        Switching(store).add_decision(replace(refused, at=START))
    shown = taiqu("disconnect", "list", "--config", path).output
    assert "0 trips, 0 cuts proven, 0 wrong; 0 restores, 0 later than 10 min" in shown
    assert "zero to cut: none; payment to supply: none" in shown
    assert "refused cuts: R13 calendar 1" in shown


def test_relays_are_shown(site: tuple[Path, Database]) -> None:
    path, store = site
    switched(store)
    rows = [line.split() for line in taiqu("relay", "show", "--config", path).output.splitlines()]
    assert rows[2] == ["A1", "open", "2026-10-09", "12:00", "open", "0"]
    assert rows[3][:2] == ["A2", "trip_sent"]
    assert rows[3][4:] == ["open,", "not", "proven", "0"]
    assert rows[4][-3:] == ["voltage", "behind", "it"]
    tree = json.loads(taiqu("relay", "show", "A2", "--json", "--config", path).output)
    assert [one["meter"] for one in tree["relays"]] == ["A2"]
    for meter, said in (("A9", "no meter A9 in"), ("X1", "meter X1 has no relay")):
        found = taiqu("relay", "show", meter, "--config", path)
        assert found.exit_code == 1
        assert said in found.output


def test_why_an_account_of_several_meters_is_not_cut(tmp_path: Path) -> None:
    path = write_config(tmp_path, more=SWITCHING)
    config = load(path)
    config.store_directory.mkdir()
    with open_store(
        config.store_directory / "taiqu.db", lambda: 0.0, bytes, ballast_bytes=0
    ) as store:
        with store.transaction():
            Accounts(store).add(account("1001", ("A1", "X1")), START, "alice", "c-1")
        chinese = taiqu("disconnect", "why", "1001", "--config", path).output
        english = taiqu("disconnect", "why", "1001", "--language", "en", "--config", path).output
    assert chinese.startswith("账户 1001 不由本网关停电：账户由多块电能表合计")
    assert english.startswith("Account 1001 is not cut from here: several meters add up to it")


def test_a_relay_that_nobody_touched_is_listed(site: tuple[Path, Database]) -> None:
    shown = taiqu("relay", "show", "--config", site[0]).output
    assert "A1" in shown
    assert "nothing seen or wanted yet" in shown
