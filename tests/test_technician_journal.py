"""``taiqu audit`` and ``taiqu journal export`` on a real file."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.prepayment.drafts import adjustment, top_up_of_nobody
from gateway.prepayment.ledger import reversal
from gateway.store.database import Database, open_store
from gateway.store.journal import Journal
from gateway.technician.cli import main
from tests.drafts import NOON, bought, used


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """Open, as the daemon has it: the commands read beside it."""
    with open_store(tmp_path / "taiqu.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        journal = Journal(store)
        with store.transaction():
            drafts = (
                used("1001", 1),
                bought("户3", "a;  b:1"),
                top_up_of_nobody(
                    claimed="9 9", key="n", effective=NOON, channel="bank", amount_e4=33_333
                ),
                used("1001", 2, 7_123),
                adjustment(account="1001", key="x", effective=NOON, amount_e4=-1),
            )
            first, *_ = [journal.post(one, NOON, "trusted") for one in drafts]
            undo = reversal(first.transaction, "undo", NOON, '{"why":"wrong meter"}')
            for one in (undo, used("1001", 1, 4_000, again=":2")):
                journal.post(one, NOON, "holdover")
        yield store


def run(store: Database, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--store", str(store.path)])


def test_a_sound_journal_passes_and_says_what_was_checked(store: Database) -> None:
    result = run(store, "audit")

    assert result.output == (
        "7 transactions, 30 postings, 2 accounts, 11.123 kWh charged\nno differences\n"
    )
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("forgery", "told"),
    [
        ("update journal set detail = '{\"a\":1}' where number = 4", "L10 transaction 4"),
        ("update journal set detail = cast(x'ff' as text) where number = 4", "L10 transaction 4"),
        ("update balance set amount = amount + 1 where account = '户3'", "L3 prepaid of 户3"),
        ("delete from journal where number = 4", "L11 transaction 5: it follows 3"),
    ],
)
def test_a_forgery_is_told_once_and_ends_with_1(store: Database, forgery: str, told: str) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as forger:
        forger.execute("drop trigger journal_refuses_update")
        forger.execute("drop trigger journal_refuses_delete")
        forger.execute(forgery)

    result = run(store, "audit")

    assert result.exit_code == 1
    assert result.output.count(told) == 1
    assert "differences" in result.output.splitlines()[-1]
    found = json.loads(run(store, "audit", "--json").output)["findings"]
    assert found[0]["code"] == told.split(maxsplit=1)[0]


def test_a_key_missing_in_the_index_is_found(store: Database) -> None:
    """The journal itself is whole, but the same payment would come in a second time."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as forger:
        forger.execute("pragma writable_schema = on")
        [root] = forger.execute(
            "select rootpage from sqlite_schema where name = 'sqlite_autoindex_journal_1'"
        ).fetchone()
        forger.execute("pragma wal_checkpoint(truncate)")
    with store.path.open("r+b") as file:
        content = file.read()
        place = content.index(b"top_up:a", (root - 1) * 4096)
        file.seek(place)
        file.write(b"tip")

    result = run(store, "audit")

    assert result.exit_code == 1
    assert "index sqlite_autoindex_journal_1" in result.output


def test_a_file_without_a_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("create table t (a)")

    result = CliRunner().invoke(main, ["audit", "--store", str(path)])

    assert result.exit_code == 1
    assert "an older taiqu wrote it, or another program" in result.output


def read_back(text: str) -> Counter[tuple[str, str]]:
    """The sums by account and unit, read as a person would; each transaction must balance."""
    sums: Counter[tuple[str, str]] = Counter()
    for block in text.split("\n\n")[1:]:
        balance: Counter[str] = Counter()
        for line in block.splitlines()[1:]:
            if found := re.fullmatch(r"    (\S+)    (-?[0-9.]+) (CNY|Wh)", line):
                sums[found[1], found[3]] += int(Decimal(found[2]) * 10_000)
                balance[found[3]] += int(Decimal(found[2]) * 10_000)
            elif found := re.fullmatch(r"    (\S+)    \S+ \S+ = (-?[0-9.]+) (CNY|Wh)", line):
                assert sums[found[1], found[3]] == int(Decimal(found[2]) * 10_000), line
            else:
                assert line.startswith("    ; "), line
        assert not any(balance.values()), block
    return sums


def test_the_export_adds_up_to_the_balances(store: Database) -> None:
    text = run(store, "journal", "export").output

    sums = read_back(text)
    assert sums["customer:1001:charged", "Wh"] == 11_123 * 10_000
    assert sums["customer:户3:prepaid", "CNY"] == 1_000_000
    assert sums["suspense:9_9", "CNY"] == 33_333
    assert len(sums) == len(Journal(store).all_balances())
    assert text.count("hash: ") == 7
    assert "2026-01-02 * (4) charge | charge_1001_2026-01-02\n" in text
    assert '    ; reverses: 1\n    ; detail: {"why":"wrong meter"}\n' in text
    assert "    ; meter: M1001 after 2026-01-01 to 2026-01-02\n" in text


def test_hledger_finds_the_same(store: Database, tmp_path: Path) -> None:
    program = shutil.which("hledger")
    if program is None:
        pytest.skip("hledger is not installed: apt-get install hledger")
    file = tmp_path / "taiqu.journal"

    result = run(store, "journal", "export", "--output", str(file))

    assert (result.exit_code, result.output) == (0, "")
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    command = [program, "-f", str(file)]
    subprocess.run([*command, "check"], check=True, env=environment)
    told = subprocess.run(
        [*command, "balance", "--flat", "--empty", "-O", "csv"],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout
    assert '"customer:1001:charged","11123 Wh"' in told
    assert '"suspense:9_9","3.3333 CNY"' in told
    assert '"total","0"' in told
    file.write_text(
        file.read_text().replace("3.3333 CNY\n    suspense", "3.3334 CNY\n    suspense")
    )
    broken = subprocess.run([*command, "check"], check=False, env=environment, capture_output=True)
    assert broken.returncode != 0
