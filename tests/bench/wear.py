"""How many bytes reach the disk: an ext4 file system of its own where we may make one.

As root the store lies on a loop device, whose counters hold everything: data, the file system's
journal, its metadata.  Else the kernel's count for the process is taken, which knows no journal.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_BYTES = 256 * 1024 * 1024
SECTOR_BYTES = 512


class Disk:
    """A folder whose writes are counted by the kernel for one process, without the journal."""

    how = "write_bytes of the process: no journal, no metadata (as root: a device of its own)"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def written_bytes(self, pid: int) -> int:
        """What ``pid`` has had written so far."""
        rows = Path(f"/proc/{pid}/io").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("write_bytes"))

    def sync(self) -> None:
        """Have written what the kernel holds back."""
        subprocess.run(["sync", "-f", str(self.folder)], check=True)


class LoopDisk(Disk):
    """A folder on a device of its own."""

    how = "sectors written to an ext4 loop device, journal and metadata included"

    def __init__(self, folder: Path, device: str) -> None:
        super().__init__(folder)
        self._counters = Path("/sys/block") / Path(device).name / "stat"

    def written_bytes(self, pid: int) -> int:
        """What the device has taken so far, from whomever."""
        del pid
        return int(self._counters.read_text().split()[6]) * SECTOR_BYTES


@contextmanager
def disk() -> Iterator[Disk]:
    """A new, empty disk, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="taiqu-bench-disk-") as name:
        folder = Path(name)
        image, mounted = folder / "image", folder / "mounted"
        mounted.mkdir()
        if os.getuid() or not all(map(shutil.which, ("losetup", "mkfs.ext4"))):
            yield Disk(mounted)
            return
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        device = _run("losetup", "--find", "--show", image).strip()
        try:
            # Lazy initialisation would write behind our back for minutes.
            _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
            _run("mount", "-o", "noatime", device, mounted)
            try:
                yield LoopDisk(mounted, device)
            finally:
                _run("umount", mounted)
        finally:
            _run("losetup", "--detach", device)


def _run(*command: str | Path) -> str:
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True
    ).stdout
