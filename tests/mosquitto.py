"""A real mosquitto for tests, on a free port, with files of its own; and a throwaway CA."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

START_S = 10


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require(program: str) -> None:
    """Skip the test where ``program`` is missing; in CI it is never silently skipped."""
    if shutil.which(program):
        return
    message = f"{program} is not installed (apt-get install {program})"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


class Mosquitto:
    """One broker.  It can be killed and started again on the same port."""

    def __init__(self, folder: Path, *settings: str) -> None:
        require("mosquitto")
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", *settings]
        self._config.write_text("\n".join(["user root", *lines]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it listens."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-v", "-c", str(self._config)], stderr=log, stdout=log
            )
        self.wait_for_port()

    def wait_for_port(self) -> None:
        """Its start-up message comes after it listens, so the log's growth is what we wait for."""
        assert self._process
        deadline_tries = START_S * 50
        for _ in range(deadline_tries):
            if self._process.poll() is not None:
                pytest.fail(f"mosquitto ended: {self.log.read_text()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                self._pause()
            else:
                return
        pytest.fail(f"mosquitto does not listen: {self.log.read_text()}")

    def _pause(self) -> None:
        assert self._process
        try:
            self._process.wait(0.02)
        except subprocess.TimeoutExpired:
            return

    def kill(self) -> None:
        """Kill -9: what a power cut does to it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it where it stands: connected, and it answers nothing until ``thaw``."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in good order."""
        if self._process:
            self._process.terminate()
            self._process.wait(START_S)
            self._process = None


class Authority:
    """A CA made for one test."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        require("openssl")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.cert, self._key = folder / "ca.crt", folder / "ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.cert),
        )

    def issue(self, name: str, days: int = 1, alt: str = "") -> tuple[Path, Path]:
        """A certificate for ``name`` and its key; ``days`` may be negative: expired then."""
        cert, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alt or f'DNS:{name}'}\n")
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request),
        )
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key),
            *("-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", cert),
        )
        return cert, key

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        command = ["openssl", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
