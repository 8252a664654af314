"""The table of the configuration that is about switching."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.config import Config, ConfigError, load
from gateway.config_switching import SwitchingTable
from gateway.prepayment.account import Class, Regime
from gateway.technician.cli import main
from protocols.relay import ControlRelay
from tests.rooms import write_config

SHIPPED = Path(__file__).parent.parent / "config" / "gateway.toml"
MONEY = '[prepayment]\n[[policy]]\nname = "home"\nalert_1 = "20.00"\nalert_2 = "10.00"\n'


def loaded(directory: Path, table: str, money: str = MONEY) -> Config:
    return load(write_config(directory, more=f"{money}[switching]\n{table}"))


def problems(directory: Path, table: str, money: str = MONEY) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, table, money)
    return [problem.partition(": ")[2] for problem in caught.value.problems]


def test_the_defaults_are_those_of_a_careful_operator(tmp_path: Path) -> None:
    switching = loaded(tmp_path, "").switching
    assert switching is not None
    limits = switching.limits
    assert (limits.per_10_minutes, limits.per_hour, limits.per_day_percent) == (3, 10, 5)
    assert (limits.quiet_s, limits.delay_s) == (7200, 600)
    contract = switching.regimes.of[Regime.CONTRACT_PREPAY]
    assert contract.lead_s == {Class.ORDINARY: 7200, Class.VULNERABLE: 86_400}
    assert switching.regimes.of[Regime.STATUTORY].lead_s[Class.ORDINARY] == 7 * 86_400
    assert not switching.dry_run
    assert not switching.cut_offline
    assert switching.stop_pin is None


def test_no_table_no_switching(tmp_path: Path) -> None:
    assert load(write_config(tmp_path)).switching is None
    assert loaded(tmp_path, "enabled = false").switching is None


def test_longer_notices(tmp_path: Path) -> None:
    table = "contract_notice_hours = 48\nstatutory_notice_days = 10\nlast_call_minutes = 60"
    switching = loaded(tmp_path, table).switching
    assert switching is not None
    contract = switching.regimes.of[Regime.CONTRACT_PREPAY]
    assert set(contract.lead_s.values()) == {48 * 3600}
    assert contract.last_call_s == 3600
    statutory = switching.regimes.of[Regime.STATUTORY]
    assert set(statutory.lead_s.values()) == {10 * 86_400}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("contract_notice_hours = 0", "switching.contract_notice_hours"),
        ("statutory_notice_days = 2", "switching.statutory_notice_days"),
        ("last_call_minutes = 10", "switching.last_call_minutes"),
        ('operator = "12"', "switching.operator"),
        ("late_minutes = 40", "switching.alarm_minutes"),
        ("cuts = 1", "switching.cuts"),
        ('passwords = "no.toml"', "switching.passwords"),
        ('area_meter = "T1"\ntransformer_a = 400', "switching.area_meter: found 'T1'"),
        ("transformer_a = 400", "switching.area_meter: missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, table: str, problem: str) -> None:
    [told] = problems(tmp_path, table)
    assert told.startswith(problem)


def test_switching_needs_accounts(tmp_path: Path) -> None:
    [told] = problems(tmp_path, "", money="")
    assert told.startswith("[switching]: nothing is prepaid")


def test_passwords_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "passwords.toml"
    file.write_text('dlt645-2007-single-phase = "02123456"\n')
    file.chmod(0o600)
    config = loaded(tmp_path, 'passwords = "passwords.toml"\noperator = "0000002A"')
    relay = config.meters[0].profile.relay
    assert isinstance(relay, ControlRelay)
    assert relay.authority.password.hex() == "02123456"
    assert relay.authority.operator.hex() == "0000002a"

    file.chmod(0o644)
    [told] = problems(tmp_path, 'passwords = "passwords.toml"')
    assert "chmod 0600" in told
    file.chmod(0o600)
    file.write_text('dlt645-2007-single-phase = "secret"\n')
    [told] = problems(tmp_path, 'passwords = "passwords.toml"')
    assert "eight hex digits" in told
    assert "secret" not in told
    file.write_text('dlt645-2007-single-phase = "98123456"\n')
    [told] = problems(tmp_path, 'passwords = "passwords.toml"')
    assert "needs the utility's key service" in told


def test_two_meters_do_not_share_a_number(tmp_path: Path) -> None:
    path = write_config(tmp_path, more=MONEY + "[switching]\n")
    text = path.read_text()
    path.write_text(text.replace('asset = "X1"', 'asset = "X1"\nnumber = "000000000009"'))
    address = load(path).meters[0].address
    path.write_text(text.replace('asset = "X1"', f'asset = "X1"\nnumber = "{address}"'))
    with pytest.raises(ConfigError, match="that is meter A1; each has a number of its own"):
        load(path)


def test_the_annotated_file_names_every_key_with_its_default() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    table = text[text.index("# [switching]") :].split("\n\n")[0]
    uncommented = "\n".join(line.removeprefix("# ") for line in table.splitlines())
    keys = tomllib.loads(uncommented)["switching"]
    assert keys.keys() == SwitchingTable.model_fields.keys()
    shown_otherwise = {"passwords", "area_meter", "stop_line"}
    for name, info in SwitchingTable.model_fields.items():
        assert name in shown_otherwise or keys[name] == info.default


def checked(path: Path) -> str:
    return CliRunner().invoke(main, ["check", "--config", str(path)]).output


def test_check_says_what_may_be_switched_and_what_is_hardly_meant(tmp_path: Path) -> None:
    file = tmp_path / "passwords.toml"
    file.write_text('dlt645-2007-singlephase = "02123456"\n')
    file.chmod(0o600)
    table = 'passwords = "passwords.toml"\nstop_line = "nowhere"\ndry_run = true\n'
    said = checked(write_config(tmp_path, more=f"{MONEY}[switching]\n{table}"))
    assert "switching, a dry run: 1 of 2 meters have a relay; at most 3 cuts in 10 min" in said
    assert "without [keys] nobody may order" in said
    assert "did you mean 'dlt645-2007-single-phase'?" in said
    assert "nowhere is not there" in said
    assert "good" in said
    assert "switching" not in checked(write_config(tmp_path))
