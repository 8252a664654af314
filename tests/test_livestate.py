import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.livestate import FILE, State, Window, read, write
from tests.rooms import Gateway, write_config


@pytest.fixture
def state(tmp_path: Path) -> State:
    gateway = Gateway(write_config(tmp_path))
    gateway.run(6)
    gateway.database.close()
    return gateway.states[-1]


def test_what_is_written_is_read(tmp_path: Path, state: State) -> None:
    state["link"]["reason"] = "主站没有应答"
    directory = tmp_path / "run" / "taiqu"

    write(directory, state)
    write(directory, state)

    assert read(directory) == state
    assert [path.name for path in directory.iterdir()] == [FILE], "no draft is left"


def test_the_file_is_the_same_whatever_the_locale(tmp_path: Path) -> None:
    """A technician's terminal may be set to GB18030, the daemon's service to nothing at all."""
    check = (
        "import sys, warnings; from pathlib import Path; from gateway import livestate;"
        "warnings.simplefilter('error', EncodingWarning); run = Path(sys.argv[1]);"
        "state = {'gateway': '网关'}; livestate.write(run, state);"
        "print(livestate.read(run) == state)"
    )
    told = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", check, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert told.stdout == "True\n", told.stderr


@pytest.mark.parametrize("content", [None, b"", b'{"gateway": "g', b"\xff"])
def test_no_state_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)

    assert read(tmp_path) is None


def test_what_we_may_not_see_is_not_taken_for_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_a_directory_that_cannot_be_written_is_one_line_and_no_end(
    tmp_path: Path, state: State
) -> None:
    (tmp_path / "in the way").write_text("")
    window = Window(tmp_path / "in the way" / "run")

    with capture_logs() as lines:
        for _ in range(3):
            window.show(state)
        (tmp_path / "in the way").unlink()
        window.show(state)

    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("the live state cannot be written", "error")
    ]
    assert "in the way" in lines[0]["reason"]
    assert read(tmp_path / "in the way" / "run") == state
