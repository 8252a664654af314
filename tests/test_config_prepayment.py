import re
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load
from gateway.prepayment.account import Policy
from gateway.prepayment.validity import Usual
from tests.rooms import METERS, write_config

SHIPPED = METERS.parent / "gateway.toml"
PUBLIC = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
HOME = """
[[policy]]
name = "home"
alert_1 = "20"
alert_2 = "10"
"""
KEY = f'[[voucher_key]]\nid = 1\npublic = "{PUBLIC}"\n'


def config(directory: Path, more: str) -> Config:
    return load(write_config(directory, more=more))


def problems(directory: Path, more: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(directory, more)
    path = directory / "gateway.toml"
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_nothing_is_prepaid_unless_the_file_says_so(tmp_path: Path) -> None:
    assert load(SHIPPED).prepayment is None
    assert config(tmp_path, "").prepayment is None
    assert config(tmp_path, f"[prepayment]\nenabled = false\n{HOME}").prepayment is None


def test_the_shipped_part_about_money_is_good(tmp_path: Path) -> None:
    begin, part = SHIPPED.read_text().split("# --- prepayment")
    part, end = part.split("# --- switching")
    part = re.sub(r"^# (?=\[|[a-z_0-9]+ = )", "", part, flags=re.MULTILINE)
    path = tmp_path / "gateway.toml"
    path.write_text(
        f"{begin}# --- prepayment{part}# --- switching{end}".replace(
            '# profiles = "meters"', f'profiles = "{METERS}"'
        )
    )

    found = load(path).prepayment

    assert found is not None
    assert found.tariffs_directory == tmp_path / "tariffs"
    assert found.reserve_days == 30
    assert found.usual == Usual(jump_times=10, jump_floor_wh=20_000, days_max=62)
    assert found.policies == {
        "home": Policy(
            name="home",
            alert_1_e4=200_000,
            alert_2_e4=100_000,
            hysteresis_e4=20_000,
            overdraft_e4=50_000,
            emergency_e4=100_000,
            emergency_automatic=False,
            guarantee_e4=0,
            grace_days=3,
            hoarding_e4=20_000_000,
            close_allowed_e4=50_000,
            debt_share_percent=10,
            debt_cap_e4=200_000,
        )
    }
    assert [(one.id, len(one.public), one.retired) for one in found.voucher_keys.values()] == [
        (1, 32, False)
    ]


def test_what_is_left_out_is_not_agreed(tmp_path: Path) -> None:
    found = config(tmp_path, f"[prepayment]\n{HOME}").prepayment

    assert found is not None
    home = found.policies["home"]
    assert (home.limit_e4, home.hoarding_e4, home.emergency_e4) == (0, 0, 0)
    assert home.hysteresis_e4 == 10_000
    assert found.voucher_keys == {}


def test_every_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    more = """
[prepayment]
reserve_days = 0
jump_time = 3
[[policy]]
name = "home"
alert_1 = 20.0
alert_2 = "1e3"
overdraft = "-5"
debt_share_percent = 101
[[policy]]
name = "shop"
alert_1 = "10.00"
alert_2 = "10.01"
hoarding = "10"
[[policy]]
name = "shop"
alert_1 = 20
[[voucher_key]]
id = 256
public = ""
[[voucher_key]]
id = 1
public = "short"
"""
    told = dict(problem.split(": ", 1) for problem in problems(tmp_path, more))

    assert list(told) == [
        "prepayment.reserve_days",
        "prepayment.jump_time",
        "policy[0].alert_1",
        "policy[0].alert_2",
        "policy[0].overdraft",
        "policy[0].debt_share_percent",
        "policy[2].alert_1",
        "policy[2].alert_2",
        "policy[1].alert_2",
        "policy[1].hoarding",
        "voucher_key[0].id",
        "voucher_key[1].public",
    ]
    assert told["prepayment.jump_time"] == "unknown key; did you mean 'jump_times'?"
    assert told["policy[0].alert_1"] == (
        'found 20.0; write yuan in quotes, like "12.34", not below zero'
    )
    assert told["policy[0].overdraft"].startswith("found '-5'; write yuan in quotes")
    assert told["policy[2].alert_2"].startswith("missing; write yuan in quotes")
    assert told["policy[1].alert_2"] == "above alert_1; it is the second, lower one"
    assert told["voucher_key[1].public"] == ("found 'short'; write 32 bytes in base64, 44 letters")


def test_what_must_be_unique_is(tmp_path: Path) -> None:
    assert problems(tmp_path, f"[prepayment]\n{HOME}{HOME}{KEY}{KEY}") == [
        "policy[1].name: found 'home': used twice; give each its own",
        "voucher_key[1].id: found 1: used twice; a key's number is its own",
    ]


def test_limits_alone_are_a_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, HOME + KEY) == [
        "[[policy]]: nothing is prepaid; add the table [prepayment]",
        "[[voucher_key]]: nothing is prepaid; add the table [prepayment]",
    ]


def test_prepayment_needs_a_policy(tmp_path: Path) -> None:
    assert problems(tmp_path, "[prepayment]\n") == [
        "[[policy]]: missing; write at least one such table"
    ]
