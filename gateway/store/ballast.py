"""The ballast (压舱文件): space held in reserve for the day the disk is full.

A full SQLite file cannot even delete: that too needs room in the write-ahead log.  Giving up this
file makes the room, at once, so that money goes on being written while telemetry is shed.
"""

import os
from collections.abc import Callable
from pathlib import Path

from gateway.store.faults import DiskFullError, os_faults

CHUNK_BYTES = 64 * 1024


class Ballast:
    """The file ``path`` of ``size_bytes``; a size of 0 means that none is kept."""

    def __init__(self, path: Path, size_bytes: int, entropy: Callable[[int], bytes]) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self._entropy = entropy

    @property
    def held(self) -> bool:
        """Whether there is something to give up."""
        return self.path.exists()

    def release(self) -> bool:
        """Give the space up.  False if there was none."""
        held = self.held
        with os_faults(self.path):
            self.path.unlink(missing_ok=True)
        return held

    def restore(self) -> bool:
        """Take the space again.  True if it is held now.

        Only where twice as much is free, lest the ballast itself fills the disk.
        """
        if self.held or not self.size_bytes:
            return self.held
        with os_faults(self.path):
            free = os.statvfs(self.path.parent)
        if free.f_bavail * free.f_frsize < 2 * self.size_bytes:
            return False
        # Whole or not at all: a cut in the middle leaves only the unfinished file, made anew.
        unfinished = self.path.with_name(self.path.name + ".new")
        try:
            self._fill(unfinished)
        except DiskFullError:
            unfinished.unlink(missing_ok=True)
            return False
        return True

    def _fill(self, unfinished: Path) -> None:
        # Random bytes: zeros would take no space on a compressing file system.
        chunk = self._entropy(CHUNK_BYTES)
        with os_faults(self.path):
            with unfinished.open("wb") as file:
                for start in range(0, self.size_bytes, CHUNK_BYTES):
                    file.write(chunk[: self.size_bytes - start])
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self.path)
