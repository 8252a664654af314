"""Who uses a serial device: the lock files of serial programs, and the kernel's table of flocks.

A lock file holds the process number of its owner (``LCK..ttyUSB0``, as minicom, pppd and others
write it).  Ours is flocked as well: a program that was killed leaves the file, but never the flock.
"""

import contextlib
import fcntl
import os
from pathlib import Path

OURS = "taiqu"
"""Behind the process number in our own lock files."""


class LockFile:
    """The lock file of one device.  ``device`` is its real path, free of symbolic links."""

    def __init__(self, directory: Path, device: str) -> None:
        name = device.removeprefix("/dev/").strip("/").replace("/", "_")
        self._path = directory / f"LCK..{name}"
        self._file: int | None = None

    def acquire(self) -> str | None:
        """Take it.  Returns None, or who has it already.

        Where no lock file can be written (a hardened unit, a root-owned file), only its content is
        looked at: the flock on the device itself still keeps others of us out.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return self._stranger()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            pid, _ = self._content()
            return _describe(pid)
        stranger = self._stranger()
        if stranger:
            os.close(file)
            return stranger
        with contextlib.suppress(OSError):  # a full /run: the flock alone has to do
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid():10d} {OURS}\n".encode(), 0)
        self._file = file
        return None

    def release(self) -> None:
        """Remove it, if it is ours."""
        if self._file is None:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def _stranger(self) -> str | None:
        """The living program of another kind that wrote the file."""
        pid, name = self._content()
        alive = pid > 0 and Path(f"/proc/{pid}").exists()
        return _describe(pid) if alive and name != OURS else None

    def _content(self) -> tuple[int, str]:
        """Process number (0 if there is none) and name in the file."""
        try:
            words = self._path.read_bytes()[:100].decode("ascii", "replace").split()
        except OSError:
            return 0, ""
        pid = int(words[0]) if words and words[0].isdecimal() else 0
        return pid, words[1] if len(words) > 1 else ""


def flock_holder(path: str) -> str | None:
    """Which process holds a flock on the file at ``path``, by /proc/locks; None if unknown."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of the device a link points to
        table = Path("/proc/locks").read_text()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in table.splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == device:
            return _describe(int(words[4]))
    return None


def _describe(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return f"process {pid}" if pid > 0 else "another program"
    return f"process {pid} ({name})"
