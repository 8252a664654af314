"""Key files: what is read, what is refused, and that others read them, too."""

import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest

from gateway.config import load
from gateway.config_reader import ConfigError
from gateway.keys import KeyFileError, key_table, load_keys, own_key, read_private, write_private
from gateway.north.signatures import Role, Signer, from_text
from tests.keyring import MONEY, OFFICE, write_keys
from tests.rooms import write_config

PUBLIC = MONEY.public()


def key_file(directory: Path, content: str, mode: int = 0o644) -> Path:
    path = directory / "keys.toml"
    path.write_text(content)
    path.chmod(mode)
    return path


def problems(directory: Path, content: str, mode: int = 0o644) -> list[str]:
    path = key_file(directory, content, mode)
    with pytest.raises(ConfigError) as caught:
        load_keys(path)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_a_key_file_is_read(tmp_path: Path) -> None:
    content = f"""
{key_table(MONEY, ("money", "account"))}
not_before = 2026-01-01
not_after = 2027-12-31
{key_table(OFFICE, ("tariff",))}
revoked = true
"""
    keys, raw = load_keys(key_file(tmp_path, content))

    assert raw == content.encode()
    cash, office = keys.of["cash"], keys.of["office"]
    assert cash.public == from_text(PUBLIC)
    assert cash.roles == {Role.MONEY, Role.ACCOUNT}
    assert (cash.not_before, cash.not_after) == (date(2026, 1, 1), date(2027, 12, 31))
    assert (cash.revoked, office.revoked) == (False, True)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    content = f"""
[[key]]
id = "a b"
public = "{PUBLIC}"
roles = []

[[key]]
id = "short"
public = "AAAA"
roles = ["money", "king"]

[[key]]
id = "twice"
public = "{PUBLIC}"
roles = ["money"]
not_before = 2027-01-01
not_after = 2026-01-01

[[key]]
id = "twice"
public = "{PUBLIC}"
roles = ["money"]
not_after = "2026-01-01"

[[key]]
id = "twice"
public = "nonsense"
roles = ["money"]

[[kee]]
"""
    found = problems(tmp_path, content, 0o666)

    assert [problem.split(": ")[0] for problem in found] == [
        "[kee]",
        "key[0].id",
        "key[0].roles",
        "key[1].roles[1]",
        "key[3].not_after",
        "file",
        "key[2].not_after",
        "key[4].public",
        "key[4].id",
    ]
    assert "chmod go-w" in found[5]
    assert "used twice" in found[8]


def test_one_key_under_two_names_is_refused(tmp_path: Path) -> None:
    other = key_table(MONEY, ("money",)).replace("cash", "other")
    (problem,) = problems(tmp_path, key_table(MONEY, ("money",)) + "\n" + other)
    assert problem == "key[1].public: the same key as cash; remove one of them"


def test_an_empty_key_file_says_what_to_write(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == ["[[key]]: missing; write at least one such table"]


def test_the_configuration_brings_the_keys_along(tmp_path: Path) -> None:
    without = load(write_config(tmp_path))
    config = load(write_config(tmp_path, more=write_keys(tmp_path)))

    assert without.keys.of == {}
    assert config.keys.of.keys() == {"cash", "office", "prices"}
    key_file(tmp_path, key_table(MONEY, ("money",)))
    assert load(config.path).digest != config.digest, "the head-end sees that keys changed"


def test_problems_of_the_key_file_are_the_configuration_s(tmp_path: Path) -> None:
    path = write_config(tmp_path, more='[keys]\nfile = "keys.toml"\n')
    with pytest.raises(ConfigError, match=r"keys.toml: cannot be read: No such file"):
        load(path)


# --- private keys ---------------------------------------------------------------------------------


def test_a_private_key_is_written_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "cash.key"
    write_private(path, MONEY)

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private(path) == MONEY
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_private(path, OFFICE)
    assert read_private(path) == MONEY


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_our_keys_and_we_read_those_of_openssl(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.key", tmp_path / "theirs.key"
    write_private(ours, MONEY)
    der = subprocess.run(
        ["openssl", "pkey", "-in", ours, "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    assert der[-32:] == from_text(PUBLIC)

    pem = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True, text=True
    ).stdout
    theirs.write_text("id: theirs\n" + pem)
    theirs.chmod(0o600)
    signer = read_private(theirs)
    assert (signer.id, len(signer.seed)) == ("theirs", 32)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"", 0o600, "not a private Ed25519 key"),
        (b"\xff", 0o600, "not a key file"),
        (b"id: a\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "not a"),
        (b"id: a\n-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----\n", 0o600, "not a"),
        (b"", 0o640, "others may read this private key; chmod 600"),
    ],
)
def test_a_bad_private_key_says_what_to_do(
    tmp_path: Path, content: bytes, mode: int, reason: str
) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=reason):
        read_private(path)


def test_a_private_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="there is no such file; give the path"):
        read_private(tmp_path / "a.key")
    with pytest.raises(KeyFileError, match="cannot be written: No such file"):
        write_private(tmp_path / "no" / "a.key", MONEY)


def test_the_gateway_makes_its_key_once(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    (tmp_path / "gateway.key.new").write_text("what a power cut left")
    first = own_key(path, "gw")

    assert own_key(path, "gw") == first
    assert first.id == "gw"
    assert own_key(tmp_path / "other.key", "gw") != first
    assert isinstance(first, Signer)
    assert path.stat().st_mode & 0o777 == 0o600
