import shutil
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, load
from gateway.events import PortSettings
from protocols.exchanges import DIRECT, Ratio
from tests.rooms import METERS, write_config

SHIPPED = METERS.parent / "gateway.toml"

TEN_MISTAKES = """\
[gateway]
name = "gw 1"
[store]
directroy = "store"
keep_days = 0
[mqtt]
brokers = ["http://one"]
ca_file = "nowhere"
[[line]]
name = "east"
port = "ttyUSB0"
[[meter]]
asset = "A1"
line = "esat"
address = 12345678
profile = "dlt645-2007-single-phase"
[[meter]]
asset = "A2"
line = "east"
address = "000000000002"
profile = "dlt645-2007-single-phase"
points = ["voltage_l1"]
[[meter]]
asset = "A3"
line = "east"
address = "000000000003"
profile = "dlt645-2007-single-fase"
"""


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def broken(tmp_path: Path, **parts: str) -> list[str]:
    return problems(write_config(tmp_path, **parts))  # type: ignore[arg-type]


def test_ten_mistakes_are_ten_problems_each_with_its_place_and_the_way_out(tmp_path: Path) -> None:
    shutil.copytree(METERS, tmp_path / "meters")
    path = tmp_path / "gateway.toml"
    path.write_text(TEN_MISTAKES)

    found = problems(path)

    assert [problem.split(": ")[0] for problem in found] == [
        "gateway.name",
        "store.keep_days",
        "store.directroy",
        "mqtt.brokers[0]",
        "mqtt.ca_file",
        "meter[2].profile",
        "line[0].port",
        "meter[0].line",
        "meter[0].address",
        "meter[1].points",
    ]
    told = dict(problem.split(": ", 1) for problem in found)
    assert told["gateway.name"] == "found 'gw 1'; write 1 to 32 letters, digits or hyphens"
    assert told["store.directroy"] == "unknown key; did you mean 'directory'?"
    assert told["store.keep_days"].startswith("found 0; write days for which messages are kept")
    assert "mqtt://" in told["mqtt.brokers[0]"]
    assert "http://one" in told["mqtt.brokers[0]"]
    assert "'nowhere': no such file; write a path" in told["mqtt.ca_file"]
    assert "did you mean 'dlt645-2007-single-phase'?" in told["meter[2].profile"]
    assert "write /dev/" in told["line[0].port"]
    assert told["meter[0].line"] == "found 'esat': no such line; did you mean 'east'?"
    assert "write its 12 digits, with leading zeros" in told["meter[0].address"]
    assert "did you mean 'voltage_l1n'?" in told["meter[1].points"]


def test_the_shipped_file_is_good_and_every_setting_is_resolved() -> None:
    config = load(SHIPPED)

    three_phase, modbus = config.meters[2], config.meters[3]
    assert config.gateway.name == "tq-0001"
    assert config.store_directory == Path("/var/lib/taiqu")
    # Its own rate, the parity of its profile.
    assert three_phase.settings == PortSettings(9600, "E", 1)
    assert three_phase.period_s == 300
    assert three_phase.points == three_phase.profile.default_points
    assert (modbus.address, modbus.timeout_s, modbus.guard_s) == (
        "11",
        1.5,
        modbus.profile.line.guard_ms / 1000,
    )
    assert config.meters[1].points == ("energy_active_import", "voltage_l1n", "current_l1")
    assert [meter.asset for meter in config.meters_on("west")] == ["A100003", "B200001"]


def test_the_grid_has_the_registers_that_are_polled_or_else_one(tmp_path: Path) -> None:
    shipped = load(SHIPPED)
    both = ("energy_active_import", "energy_active_export")
    assert [meter.grid for meter in shipped.meters] == [both[:1], both[:1], both, both, ()]

    text = write_config(tmp_path, more='points = ["voltage_l1n"]').read_text()
    assert {meter.grid for meter in load(tmp_path / "gateway.toml").meters} == {()}
    (tmp_path / "gateway.toml").write_text(text.replace("grid_minutes = 0", "grid_minutes = 30"))
    assert [meter.grid for meter in load(tmp_path / "gateway.toml").meters] == [both[:1]] * 2
    (tmp_path / "gateway.toml").write_text(text.replace("grid_minutes = 0", "grid_minutes = 20"))
    [told] = problems(tmp_path / "gateway.toml")
    assert told.startswith("collection.grid_minutes: found 20; write 15, 30 or 60: minutes")


def test_a_guard_time_of_zero_is_not_the_profiles(tmp_path: Path) -> None:
    config = load(write_config(tmp_path, more="guard_ms = 0\nparity = 'none'"))

    assert config.meters[1].guard_s == 0
    assert config.meters[1].settings.parity == "N"


@pytest.mark.parametrize(
    ("written", "ratio"),
    [
        ('ct_ratio = "1000/5"\npt_ratio = 100', Ratio(Fraction(200), Fraction(100))),
        ('ct_ratio = 0.1\npt_ratio = "35000/380.5"', Ratio(Fraction(1, 10), Fraction(70000, 761))),
        ('ct_ratio = "5/5"', DIRECT),
    ],
)
def test_ratios_are_exact(tmp_path: Path, written: str, ratio: Ratio) -> None:
    config = load(write_config(tmp_path, more=written))

    assert config.meters[1].ratio == ratio
    assert config.meters[0].ratio is DIRECT


@pytest.mark.parametrize("written", ["0", '"1000/0"', '"5 A"', "-1", "1e30", "nan", "true", "'/5'"])
def test_what_is_no_ratio(tmp_path: Path, written: str) -> None:
    (problem,) = broken(tmp_path, more=f"ct_ratio = {written}")

    assert problem.startswith("meter[1].ct_ratio: found ")
    assert problem.endswith('; write a number like 200, or "1000/5"')


def test_the_digest_follows_the_file(tmp_path: Path) -> None:
    first = load(write_config(tmp_path)).digest
    again = load(write_config(tmp_path)).digest
    changed = load(write_config(tmp_path, period_s=30)).digest

    assert first == again
    assert first != changed
    assert len(first) == 16


def test_relative_directories_count_from_the_file(tmp_path: Path) -> None:
    config = load(write_config(tmp_path))

    assert config.store_directory == tmp_path / "store"
    assert config.run_directory == tmp_path / "run"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b"[gateway", "not valid TOML: "),
        (b"a = " + b"1" * 5000, "not valid TOML: "),
        (b"a = " + b"[" * 5000, "not valid TOML: "),
    ],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)

    (problem,) = problems(path)
    assert problem.startswith(told)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml") == ["cannot be read: No such file or directory"]


def test_an_empty_file_lacks_every_table_that_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    shutil.copytree(METERS, tmp_path / "meters")

    assert problems(path) == [
        "[gateway]: missing; every gateway needs this table",
        "[mqtt]: missing; every gateway needs this table",
        "[[line]]: missing; write at least one such table",
        "[[meter]]: missing; write at least one such table",
    ]


def test_unknown_tables_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = broken(tmp_path, more="[metres]\n[zoo]\n[mqqt]\n[areas]\n")

    assert [problem.split(":")[0] for problem in found] == [
        "[metres]",
        "[zoo]",
        "[mqqt]",
        "[areas]",
    ]
    assert found[2] == "[mqqt]: unknown table; did you mean 'mqtt'?"


def test_one_bracket_too_few_is_said_so(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    text = path.read_text()
    path.write_text(text.split("[[line]]")[0] + '[line]\nname = "east"\nport = "/dev/ttyS0"\n')

    assert problems(path) == [
        "[line]: found one table; write [[line]], there may be several",
        "[[meter]]: missing; write at least one such table",
    ]


def test_a_broken_line_is_not_reported_again_by_its_meters(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace('port = "/dev/ttyS0"', "port = 7"))

    assert [problem.split(":")[0] for problem in problems(path)] == ["line[0].port"]


def test_what_must_be_unique_is(tmp_path: Path) -> None:
    more = """
[[line]]
name = "east"
port = "/dev/ttyS0"
[[meter]]
asset = "A1"
line = "west"
address = 7
profile = "eastron-sdm630"
"""
    assert broken(tmp_path, more=more) == [
        "line[2].name: found 'east': already used by line[0]; give each its own",
        "line[2].port: found '/dev/ttyS0': already used by line[0]; give each its own",
        "meter[2].asset: found 'A1': already used by meter[0]; give each its own",
        "meter[2].address: found '7 on west': already used by meter[1]; give each its own",
    ]


def test_one_modbus_unit_cannot_hide_behind_a_zero(tmp_path: Path) -> None:
    more = '[[meter]]\nasset = "X2"\nline = "west"\naddress = "07"\nprofile = "eastron-sdm630"\n'

    (problem,) = broken(tmp_path, more=more)
    assert problem.startswith("meter[2].address: found '07'")


def test_a_line_without_meters_is_a_mistake(tmp_path: Path) -> None:
    more = '[[line]]\nname = "north"\nport = "/dev/ttyS1"\n'

    assert broken(tmp_path, more=more) == [
        "line[2].name: found 'north': no meter is on this line; give it a [[meter]], or remove it"
    ]


def test_dlt645_does_not_go_over_modbus_tcp(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("/dev/ttyS0", "tcp://127.0.0.1:502"))

    (problem,) = problems(path)
    assert problem.startswith("meter[0].line: found 'east': dlt645-2007 cannot go over Modbus TCP")
    assert "socket://" in problem


def test_a_password_needs_a_user_name(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")

    assert broken(tmp_path, mqtt='password_file = "password"') == [
        "mqtt.username: missing; a password needs a user name"
    ]


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")

    assert broken(tmp_path, mqtt='cert_file = "cert.pem"') == [
        "mqtt.key_file: missing; cert_file is given, both belong together"
    ]


@pytest.mark.parametrize("name", ["a" * 300, "b\\u0000c", "gateway.toml/x"])
def test_a_name_that_no_file_can_have_is_a_problem_not_a_traceback(
    tmp_path: Path, name: str
) -> None:
    (problem,) = broken(tmp_path, mqtt=f'ca_file = "{name}"')
    assert problem.startswith("mqtt.ca_file: found ")

    path = write_config(tmp_path)
    path.write_text(path.read_text().replace(str(METERS), name))
    assert any(problem.startswith("gateway.profiles: found ") for problem in problems(path))


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("group_commit_s = nan", "store.group_commit_s"),
        ("group_commit_s = true", "store.group_commit_s"),
        ("keep_days = 1.0", "store.keep_days"),
        ("max_mib = 0x" + "f" * 5000, "store.max_mib"),
        ("max_mib" + ".a" * 3000 + " = 1", "store.max_mib"),
    ],
)
def test_a_wrong_value_is_shown_if_it_can_be(tmp_path: Path, store: str, place: str) -> None:
    (problem,) = broken(tmp_path, store=store)

    assert problem.startswith(f"{place}: found ")
    assert len(problem) < 300


def test_a_mistake_in_a_profile_is_told_with_the_others(tmp_path: Path) -> None:
    shutil.copytree(METERS, tmp_path / "meters")
    profile = tmp_path / "meters" / "eastron-sdm630.toml"
    profile.write_text(profile.read_text().replace("voltage_l1n =", "voltage_l1m ="))
    path = write_config(tmp_path, store="max_mib = 1")
    path.write_text(path.read_text().replace(str(METERS), "meters"))

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert any("store.max_mib: found 1" in problem for problem in caught.value.problems)
    assert any(problem.startswith(f"{profile}: ") for problem in caught.value.problems)


def load_bytes(content: bytes) -> Config | ConfigError:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.toml"
        path.write_bytes(content)
        try:
            return load(path)
        except ConfigError as error:
            return error


scalars = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["nan", "-inf", "true", "1979-05-27", '""', "[]", "{}", "[[1]]", "[{}]"]),
    st.text(st.characters(codec="utf-8", exclude_characters='\\"\n\r', min_codepoint=32)).map(
        lambda text: f'"{text}"'
    ),
)


@given(st.binary())
@example(b"line = 1\nmeter = [1]\ngateway = []\n")
def test_any_bytes_give_a_named_error(content: bytes) -> None:
    assert isinstance(load_bytes(content), ConfigError)


@given(st.data())
def test_any_value_anywhere_gives_a_configuration_or_a_named_error(data: st.DataObject) -> None:
    text = SHIPPED.read_text().replace('# profiles = "meters"', f'profiles = "{METERS}"')
    lines = text.splitlines()
    keys = [n for n, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    n = data.draw(st.sampled_from(keys))
    lines[n] = f"{lines[n].split(' = ')[0]} = {data.draw(scalars)}"

    found = load_bytes("\n".join(lines).encode())

    if isinstance(found, ConfigError):
        assert all("gateway.toml: " in problem for problem in found.problems)
        assert found.problems


def test_only_modbus_tcp_has_transaction_numbers(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    text = path.read_text()
    path.write_text(text.replace(':7001"', ':7001"\ntransaction_ids = "ignored"'))
    (problem,) = problems(path)
    assert problem.startswith("line[1].transaction_ids: found 'ignored': only Modbus TCP")


def test_the_kernel_switches_serial_devices_only(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"socket://127.0.0.1:7001"', '"/dev/ttyS1"\nrs485 = "kernel"'))
    assert load(path).lines[1].rs485 == "kernel"

    path.write_text(text.replace(':7001"', ':7001"\nrs485 = "kernel"'))
    (problem,) = problems(path)
    assert problem.startswith("line[1].rs485: found 'kernel': it switches serial devices")
