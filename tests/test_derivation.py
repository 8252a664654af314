"""``taiqu audit`` derives every charge again: what is right passes, one flipped bit is found."""

import json
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.technician.cli import main
from tests.money_rig import START, TOTAL, Money, flat

DEARER = (
    "update tariff_version set text = replace(replace(text, '0.60', '0.61'), '6.00', '6.10')"
    " where version = 2"
)
"""Its check comes out, so nothing but the digest tells."""


def day(n: int) -> date:
    return START + timedelta(days=n)


def forge(money: Money, *statements: str) -> None:
    """Change the file as nobody may, chain and guards or not."""
    with closing(sqlite3.connect(money.database.path, isolation_level=None)) as forger:
        for (name,) in forger.execute("select name from sqlite_schema where type = 'trigger'"):
            forger.execute(f"drop trigger {name}")
        for statement in statements:
            assert forger.execute(statement).rowcount, statement


def audit(money: Money) -> list[tuple[str, int | None, str]]:
    result = CliRunner().invoke(main, ["audit", "--json", "--store", str(money.database.path)])
    found = json.loads(result.output)["findings"]
    assert result.exit_code == (1 if found else 0)
    return [(one["code"], one["transaction"], one["text"]) for one in found]


@pytest.fixture
def money(tmp_path: Path) -> Money:
    """A month of two accounts: a swap, a ruling, a late tariff, a jump, a missing day."""
    made = Money(tmp_path)
    made.open("1001", "M0")
    made.open("1002", "M1")
    for n in (1, 2, 3, 5, *range(6, 20)):
        made.at(day(n))
        made.freeze("M0", day(n), 1000 + 3010 * n)
        made.freeze("M1", day(n), 1000 + 5000 * n + (300_000 if n > 15 else 0))
    made.gap("M0", day(4))
    made.order(
        "reading.rule",
        meter="M0",
        day=day(3).isoformat(),
        action="replace",
        registers={TOTAL: "9.5"},
        reason="picture",
    )
    made.order(
        "account.swap_meter",
        account="1001",
        old="M0",
        new="M2",
        day=day(19).isoformat(),
        final={TOTAL: "60"},
        start={TOTAL: "0"},
    )
    made.at(day(20))
    made.freeze("M2", day(20), 4000)
    made.freeze("M1", day(20), 1000 + 5000 * 20 + 300_000)
    made.wall += 7 * 3600
    made.tick()
    text = flat("0.60", 2, day(9).isoformat())
    assert made.order("tariff.put", tariff="flat", version=2, text=text).stage == "confirmed"
    made.tick()
    return made


def test_what_is_right_passes_without_the_configuration(money: Money) -> None:
    assert money.balance("1001") < -30 * 10_000
    assert audit(money) == []
    assert money.prepaid.settlement.wrong(money.prepaid.accounts.all()["1002"], START) == ""


@pytest.mark.parametrize(
    ("statement", "code", "text"),
    [
        (
            "update freeze_value set amount = amount | 16384 where meter = 'M1' and day = '{7}'",
            "L7",
            "account 1002: charged 2.50 for M1 to {7}",
        ),
        ("update freeze_value set point = 'x' where meter = 'M1' and day = '{7}'", "L7", "M1"),
        ("delete from freeze_value where meter = 'M1' and day = '{20}'", "L5", "charged for 4"),
        ("update freeze set loaded = 1, offset_s = 301 where day = '{8}'", "L7", "account 1001"),
        ("update ruling set registers = replace(registers, '9500', '9501')", "L7", "account 1001"),
        (
            "update tariff_version set text = replace(text, '0.60', '0.61') where version = 2",
            "L2",
            "tariff flat/2 cannot be read",
        ),
        (
            DEARER,
            "L2",
            "tariff flat/2",
        ),
        (
            "update account set body = replace(body, '1000', '1008') where number = '1001'",
            "L2",
            "account 1001, version 1: it was changed",
        ),
        ("update account set body = cast(x'ff' as text) where number = '1002'", "L7", "UTF-8"),
        ("update account set body = replace(body, 'home', 'hame')", "L2", "account 1002"),
        ("update journal set detail = '[]' where number = 4", "L10", "does not fit"),
        (
            "update journal set postings = replace(postings, '25000', '25001') where number = 4",
            "L10",
            "does not fit",
        ),
    ],
)
def test_a_flipped_bit_is_found(money: Money, statement: str, code: str, text: str) -> None:
    days = {str(n): day(n).isoformat() for n in range(1, 21)}
    for n, one in days.items():
        statement, text = statement.replace(f"{{{n}}}", one), text.replace(f"{{{n}}}", one)

    forge(money, statement)

    assert any(found == code and text in said for found, _, said in audit(money))


def test_an_account_that_waits_to_be_derived_again_is_no_difference(money: Money) -> None:
    money.order(
        "reading.rule",
        meter="M1",
        day=day(7).isoformat(),
        action="replace",
        registers={TOTAL: "37"},
        reason="picture",
    )
    assert audit(money) == []
    money.tick()
    assert audit(money) == []


def test_a_meter_that_left_the_configuration_is_charged_and_audited_as_before(
    money: Money,
) -> None:
    money.database.close()
    text = money.path.read_text().split("[[meter]]")
    money.path.write_text("[[meter]]".join([text[0], *text[2:]]))
    money.start()
    assert "M0" not in {meter.asset for meter in money.config.meters}

    undone = money.order(
        "reading.rule",
        meter="M0",
        day=day(3).isoformat(),
        action="replace",
        registers={TOTAL: "9.6"},
        reason="a better picture",
    )
    money.tick()

    assert undone.stage == "confirmed"
    assert not money.prepaid.settlement.wrong(money.prepaid.accounts.all()["1001"], START)
    assert audit(money) == []


def test_what_is_called_usual_by_now_changes_no_charge(money: Money) -> None:
    money.database.close()
    money.path.write_text(money.path.read_text().replace("jump_times = 10", "jump_times = 2"))
    money.start()

    for account in money.prepaid.accounts.all().values():
        assert not money.prepaid.settlement.wrong(account, START)
        with money.recorder.commit(0.0, live=False):
            assert money.prepaid.settlement.derive_again(account, day(17)) == 0


def test_the_quick_audit_looks_at_the_journal_alone(money: Money) -> None:
    forge(money, "update freeze_value set amount = amount + 10 where meter = 'M1'")
    assert audit(money)
    quick = CliRunner().invoke(main, ["audit", "--quick", "--store", str(money.database.path)])
    assert (quick.exit_code, quick.output.splitlines()[-1]) == (0, "no differences")
