"""``taiqu account`` and ``taiqu key``: what a technician sees, orders, and is told."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway.config import load
from gateway.keys import load_keys, write_private
from gateway.north.commands import Judge, Valid
from gateway.north.contract_orders import AccountOpen
from gateway.prepayment.drafts import Priced, charge, top_up, top_up_of_nobody
from gateway.prepayment.ledger import Ledger, Span
from gateway.store.accounts import Accounts
from gateway.store.database import open_store
from gateway.store.journal import Journal
from gateway.store.letterbox import Letterbox
from gateway.technician.cli import main
from gateway.technician.letter import Answer, Desk, tell
from tests.accounts import OPENED, YUAN, account
from tests.keyring import KEYS, MONEY, OFFICE, OPEN, TOP_UP, write_keys
from tests.rooms import write_config
from tests.test_letters import Site
from tests.world import START

DAY_S = 86_400.0
PREPAYMENT = """
[prepayment]
[[policy]]
name = "home"
alert_1 = "20.00"
alert_2 = "10.00"
overdraft = "5.00"
"""
OPENING = (
    "open 1002 --day 2026-07-01 --meter A1 --tariff home --policy home --mode prepay_cut"
    " --regime contract_prepay --class vulnerable --no-cut oxygen --no-cut-until 2027-01-01"
    " --capacity-kva 315 --start energy_active_import=12.34 --start x=1"
)


def taiqu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


# --- ordering -------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def desk(site: Site) -> Desk:
    """While somebody waits, the gateway runs."""

    def pause(seconds: float) -> None:
        site.gateway.run(seconds)

    return Desk(site.gateway.config, site.gateway.clock, pause)


def closed_desk(site: Site, faster: float = 1.0) -> Desk:
    """Somebody waits, and no gateway runs."""
    clock = site.gateway.clock

    def pause(seconds: float) -> None:
        clock.advance(clock.monotonic() + seconds * faster)

    return Desk(site.gateway.config, clock, pause)


def test_an_order_is_posted_and_its_answer_read(site: Site) -> None:
    answer = desk(site).order(OPEN, None)

    assert answer.last
    assert (answer.last.stage, answer.last.final) == ("confirmed", True)
    ((name, by),) = site.till.seen
    assert name == "account.open"
    assert "process" in by


def test_money_is_signed_with_the_key_that_is_given(site: Site, tmp_path: Path) -> None:
    write_private(tmp_path / "cash.key", MONEY)
    unsigned = desk(site).order(TOP_UP, None)
    signed = desk(site).order(TOP_UP, tmp_path / "cash.key")

    assert unsigned.last
    assert unsigned.last.reason.startswith("unsigned: ")
    assert signed.last
    assert signed.last.stage == "confirmed"
    assert site.till.seen == [("topup", "key cash")]


def test_a_wrong_order_is_refused_before_it_is_posted(site: Site, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"opened: .*day is out of range.*; .*policy: "):
        desk(site).order(OPEN | {"opened": "2026-02-31", "policy": ""}, None)
    one_bad_row = [{"since": "2026-02-31", "tariff": "home"}]
    with pytest.raises(
        click.ClickException, match=r"^tariffs\.0\.since: day is out of range[^;]*$"
    ):
        desk(site).order(OPEN | {"tariffs": one_bad_row}, None)
    with pytest.raises(click.ClickException, match=r"account: found '1 1'; possible is \^\["):
        desk(site).order(OPEN | {"account": "1 1"}, None)
    with pytest.raises(
        click.ClickException, match="there is no such file; give the path of your key"
    ):
        desk(site).order(TOP_UP, tmp_path / "no.key")
    assert site.box.waiting() == []


def test_a_gateway_that_does_not_run_is_said_so(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = closed_desk(site)
    answer = closed.order(OPEN, None, wait_s=2)

    assert answer.results == ()
    assert tell(closed, answer, as_json=False) == 1
    said = capsys.readouterr().err
    assert "the gateway is not running, so nothing was done" in said
    assert f"taiqu account answer {answer.id}" in said
    site.gateway.run(2)
    assert taiqu("account", "answer", "--config", site.gateway.config.path, answer.id).output == (
        "confirmed\n  balance: 1\n"
    )


def test_an_order_that_nobody_took_in_time_expires(site: Site) -> None:
    closed = closed_desk(site, faster=300.0)
    answer = closed.order(OPEN, None, wait_s=601)
    site.gateway.run(2)

    assert [one.stage for one in closed.look(answer.id, "").results] == []
    found = taiqu("account", "answer", "--config", site.gateway.config.path, answer.id)
    assert (found.exit_code, found.output) == (1, "expired: not_after has passed\n")
    assert site.till.seen == []


def test_an_answer_as_json(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    at = desk(site)
    assert tell(at, at.order(OPEN, None), as_json=True) == 0
    tree = json.loads(capsys.readouterr().out)
    assert [one["stage"] for one in tree["stages"]] == ["confirmed"]
    assert tree["stages"][0]["data"] == {"balance": "1"}


def test_an_order_that_is_not_done_yet(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    at = desk(site)
    answer = at.order({"name": "read", "meter": "A1", "points": ["voltage_l1n"]}, None, wait_s=3)
    assert tell(at, answer, as_json=False) == 0
    said = capsys.readouterr()
    assert said.out == "accepted\n"
    assert "not done yet" in said.err


def test_an_unknown_order_has_no_answer(site: Site) -> None:
    found = taiqu("account", "answer", "--config", site.gateway.config.path, "nothing")
    assert found.exit_code == 1
    assert "no order nothing here" in found.output


# --- each order of the command line ---------------------------------------------------------------


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose gateway has one account with some history and a letterbox."""
    path = write_config(tmp_path, more=write_keys(tmp_path) + PREPAYMENT)
    config = load(path)
    config.store_directory.mkdir()
    box = Letterbox(config.store_directory / "letterbox")
    box.waiting()
    box.close()
    write_private(tmp_path / "cash.key", MONEY)
    write_private(tmp_path / "office.key", OFFICE)
    file = config.store_directory / "taiqu.db"
    with open_store(file, lambda: 0.0, bytes, ballast_bytes=0) as store:
        journal = Journal(store)
        with store.transaction():
            Accounts(store).add(account("1001"), START, "alice", "c-1")
            journal.post(
                top_up(
                    account="1001",
                    key="top_up:p-1",
                    effective=START + 60,
                    channel="counter",
                    shares_e4={Ledger.PREPAID: 50 * YUAN, Ledger.DEBT: 5 * YUAN},
                ),
                START + 61,
                "trusted",
            )
            journal.post(
                charge(
                    account="1001",
                    key="charge:1",
                    effective=START + 16 * 3600,
                    priced=Priced(lines_e4={"energy": 3 * YUAN}, energy_wh=5125),
                    tariff="flat/1",
                    spans=(Span("A1", OPENED, OPENED.replace(day=10)),),
                ),
                START + DAY_S,
                "trusted",
            )
            journal.post(
                top_up_of_nobody(
                    claimed="9", key="top_up:p-2", effective=1.0, channel="bank", amount_e4=123
                ),
                START + DAY_S,
                "trusted",
            )
    # The gateway goes on running: only then may others read its file.
    with open_store(file, lambda: 0.0, bytes, ballast_bytes=0):
        yield path


@pytest.mark.parametrize(
    ("arguments", "name", "key"),
    [
        (
            OPENING,
            "account.open",
            "",
        ),
        (
            "change 1001 --dispute --policy shop --tariff 2026-08-01 steps",
            "account.change",
            "office",
        ),
        (
            "close 1001 --day 2026-07-01 --meter A1 --final energy_active_import=1 --pay-out",
            "account.close",
            "office",
        ),
        (
            "swap 1001 --day 2026-07-01 --old A1 --new A2 --final a=1.5 --start a=0",
            "account.swap_meter",
            "office",
        ),
        ("topup 1001 50.00 --payment p-3 --channel wechat", "topup", "cash"),
        ("reverse p-1 --reason stolen", "topup.reverse", "cash"),
        ("adjust 1001 -5.00 --reason factor --ledger debt", "adjust", "cash"),
        ("voucher 1001 ABCD EFGH", "voucher", ""),
        ("emergency 1001", "emergency", ""),
    ],
)
def test_each_order_is_a_letter_that_the_gateway_accepts(
    books: Path, arguments: str, name: str, key: str
) -> None:
    signed = ["--key", books.with_name(f"{key}.key")] if key else []
    verb, *rest = arguments.split()
    found = taiqu("account", verb, "--config", books, "--wait", 0, *signed, *rest)

    assert found.exit_code == 1
    assert "the gateway is not running" in found.output
    box = Letterbox(load(books).store_directory / "letterbox")
    (letter,) = box.waiting()
    box.close()
    verdict = Judge("gw", KEYS).letter(letter.what, 0.0, trusted=False)
    assert isinstance(verdict, Valid), verdict
    assert verdict.command.command.name == name
    assert verdict.command.id == letter.id
    if isinstance(order := verdict.command.command, AccountOpen):
        assert order.class_ == "vulnerable"
        assert order.no_cut
        assert order.meters[0].start == {"energy_active_import": "12.34", "x": "1"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("change 9 --policy shop", "no account 9"),
        ("change 1001", "nothing to change"),
        ("close 1001 --day 2026-07-01 --final a=1", "--final needs --meter"),
        ("swap 1001 --day 2026-07-01 --old A1 --new A2 --final a", "write POINT=AMOUNT"),
        ("topup 1001 12.3e4", "is no amount; write yuan"),
        ("close 1001 --day 2026-02-30", "'2026-02-30' is no day"),
        ("change 1001 --tariff soon home", "'soon' is no day"),
        ("voucher 1001", "Missing argument"),
    ],
)
def test_what_cannot_be_ordered_is_said_at_once(books: Path, arguments: str, said: str) -> None:
    verb, *rest = arguments.split()
    found = taiqu("account", verb, "--config", books, "--wait", 0, *rest)
    assert found.exit_code != 0
    assert said in found.output


def test_without_a_letterbox_nothing_is_ordered(tmp_path: Path) -> None:
    found = taiqu("account", "emergency", "--config", write_config(tmp_path), "1001")
    assert found.exit_code == 1
    assert "the gateway makes one when it starts" in found.output


# --- looking --------------------------------------------------------------------------------------


def test_the_list_of_accounts(books: Path) -> None:
    found = taiqu("account", "list", "--config", books)
    assert found.exit_code == 0
    assert found.output.splitlines()[2].split() == [
        *("1001", "47.00", "5.00", "prepay_cut", "ordinary", "A1", "flat", "home", "open")
    ]
    assert "in suspense, for accounts that nobody knows: 0.0123 yuan" in found.output
    tree = json.loads(taiqu("account", "list", "--config", books, "--json").output)
    assert tree["suspense"] == "0.0123"
    assert tree["accounts"][0]["balance"] == "47.00"


def test_one_account(books: Path) -> None:
    found = taiqu("account", "show", "--config", books, "1001")
    assert "balance  47.00 yuan" in found.output
    assert "charged  5.125 kWh" in found.output
    assert "A1 from 2026-01-01" in found.output
    assert "lasts    141 days, at 0.3334 yuan a day" in found.output
    assert "limits   alerts at 20.00 and 10.00 yuan, used up at -5.00" in found.output
    assert "2026-01-01 08:01" in found.output, "local time"
    tree = json.loads(taiqu("account", "show", "--config", books, "--json", "1001").output)
    assert (tree["number"], tree["charged_kwh"], tree["days_left"]) == ("1001", "5.125", 141)
    assert taiqu("account", "show", "--config", books, "9").exit_code == 1


def test_a_statement(books: Path) -> None:
    lines = taiqu("account", "statement", "--config", books, "1001").output.splitlines()
    assert lines[0] == "account 1001: 0.00 yuan before"
    assert lines[3].split()[:6] == ["1", "2026-01-01", "08:01", "top_up", "50.00", "50.00"]
    assert lines[4].split()[3:7] == ["charge", "5.125", "-3.00", "47.00"]
    assert lines[-1] == "47.00 yuan left; old debt 5.00 yuan"
    found = taiqu(
        "account", "statement", "--config", books, "--from", "2026-01-02", "--json", "1001"
    )
    tree: dict[str, Any] = json.loads(found.output)
    assert (tree["opening"], tree["lines"]) == ("47.00", [])
    assert taiqu("account", "statement", "--config", books, "--to", "x", "1001").exit_code == 2


def test_a_file_of_an_older_release_says_what_to_do(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    file = load(path).store_directory / "taiqu.db"
    file.parent.mkdir()
    with open_store(file, lambda: 0.0, bytes, ballast_bytes=0) as store:
        with store.transaction():
            store.write("delete from _sqlite_migrations where name = 'm007_meters'")
        found = taiqu("account", "list", "--config", path)

    assert found.exit_code == 1
    assert "an older taiqu wrote it" in found.output


def test_a_gateway_that_never_ran_has_no_accounts(tmp_path: Path) -> None:
    found = taiqu("account", "list", "--config", write_config(tmp_path))
    assert found.exit_code == 1
    assert "taiqu.db: not there; the gateway makes it when it starts" in found.output


READ_AS = """
import os, sys
from pathlib import Path
import click
from gateway.technician.stored import reading
os.setgroups([])
os.setgid(4242)
os.setuid(4242)
try:
    with reading(Path(sys.argv[1])):
        pass
except click.ClickException as error:
    sys.exit(error.message)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_whoever_may_not_read_the_accounts_is_told_which_group_may() -> None:
    # Not in pytest's own directory: that is closed to everybody else.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / "state"
        state.mkdir(mode=0o750)
        closed, hidden = Path(folder) / "closed.db", state / "hidden.db"
        for path in (closed, hidden):
            path.touch(mode=0o640)
            command = [sys.executable, "-c", READ_AS, str(path)]
            said = subprocess.run(command, capture_output=True, text=True, check=False).stderr

            assert f"{path}: you may not read it" in said
            assert "usermod -aG taiqu" in said


def test_an_answer_that_has_not_come_is_a_failure(site: Site) -> None:
    assert tell(desk(site), Answer("x", ()), as_json=True) == 1


# --- keys -----------------------------------------------------------------------------------------


def test_a_new_key_is_what_a_gateway_knows(tmp_path: Path) -> None:
    file = tmp_path / "ops.key"
    made = taiqu("key", "new", "ops-1", file, "--role", "money", "--role", "account")
    assert made.exit_code == 0
    (tmp_path / "keys.toml").write_text(made.output)
    (tmp_path / "keys.toml").chmod(0o644)
    keys, _ = load_keys(tmp_path / "keys.toml")
    assert keys.of["ops-1"].roles == {"money", "account"}
    assert taiqu("key", "show", file).output == "\n".join(made.output.splitlines()[1:3]) + "\n"
    shown = taiqu("key", "show", tmp_path / "keys.toml").output
    assert "account, money" in shown

    assert "never overwritten" in taiqu("key", "new", "ops-1", file).output


def test_bad_keys_are_named(tmp_path: Path) -> None:
    found = taiqu("key", "new", "a b", tmp_path / "a.key")
    assert found.exit_code == 1
    assert "1 to 32 letters, digits or hyphens" in found.output
    assert not (tmp_path / "a.key").exists()
    assert taiqu("key", "show", tmp_path / "none.key").exit_code == 1
    (tmp_path / "keys.toml").write_text("[[key]]\n")
    assert taiqu("key", "show", tmp_path / "keys.toml").exit_code == 2
