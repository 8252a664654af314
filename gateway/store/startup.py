"""What happens to the files before the database is used: lock, set aside, judge.

``judge`` is pure: it compares what the database says of itself with what the head file remembers.
"""

import fcntl
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.store.faults import StoreError, os_faults, sync_directory
from gateway.store.head import Head

QUARANTINED_MAX = 3
"""How many damaged files are kept for whoever wants to look into them."""

SIDE_FILES = ("-wal", "-shm", "-journal")
"""They belong to the database file whose name they extend, wherever it goes."""


class StoreBusyError(StoreError):
    """Another daemon has this store."""


class How(StrEnum):
    """How the store began.  All but CONTINUED mean a new epoch, which the head-end must hear of."""

    CONTINUED = "continued"
    FRESH = "fresh"  # there was nothing
    MISSING = "missing"  # the file is gone, the head file remembers it
    DAMAGED = "damaged"  # the file was unreadable and has been set aside
    RESTORED = "restored"  # a file of another life was put here, or the head file is gone
    ROLLED_BACK = "rolled back"  # the file lacks what had already been committed


@dataclass(frozen=True, slots=True)
class Started:
    """How the store began, and the reason in words."""

    how: How
    detail: str = ""
    previous: str = ""
    """The epoch before; empty where there was none, or nobody knows which."""


def judge(stored: Head | None, remembered: Head | None, *, parted: bool) -> Started:
    """Compare the database's own head with the remembered one.

    The journal of ``stored`` is told as it stands at the remembered number, if it came that far.
    ``parted`` means that the database was in use when it was last heard of and now stands without
    its write-ahead log: up to a minute of telemetry may be gone that the head file never noted.
    """
    if stored is None:
        if remembered is None or not any(remembered.last.values()):
            return Started(How.FRESH)
        return Started(How.MISSING, f"epoch {remembered.epoch} was here", remembered.epoch)
    if remembered is None or stored.epoch != remembered.epoch:
        known = f"that of epoch {remembered.epoch}" if remembered else "none"
        detail = f"epoch {stored.epoch}; the head file beside it is {known}"
        # The head file is never put back with the database: it knows who was here last.
        return Started(How.RESTORED, detail, (remembered or stored).epoch)
    lacks = stored.lacks(remembered)
    if parted and not lacks:
        lacks = ["it was not closed properly and its -wal file is gone"]
    if lacks:
        return Started(How.ROLLED_BACK, ", ".join(lacks), stored.epoch)
    return Started(How.CONTINUED)


def lock(path: Path) -> int:
    """Take the store at ``path`` for the life of this process; closing the result lets go.

    A file of its own: closing any handle of the database itself would drop SQLite's locks.

    Raises StoreBusyError if another process has it.
    """
    with os_faults(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StoreBusyError(
            f"{path}: another daemon (process {holder}) has this store; stop that one first"
            " (`systemctl stop taiqu`), or give each its own store in the configuration"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def quarantine(path: Path) -> Path | None:
    """Set the database at ``path`` and its side files aside.

    Returns its name now, None if there was nothing.  Numbered, not dated: a clock that starts in
    1970 must not make the newest look like the oldest.
    """
    marker = f"{path.name}.corrupt."
    numbers = {
        int(number)
        for other in path.parent.glob(f"{marker}*")
        if (number := other.name.removeprefix(marker).partition("-")[0]).isdecimal()
    }
    aside = path.with_name(f"{marker}{max(numbers, default=0) + 1}")
    moved = False
    with os_faults(path):
        for suffix in ("", *SIDE_FILES):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(aside.with_name(aside.name + suffix))
                moved = True
        for old in sorted(numbers)[: 1 - QUARANTINED_MAX]:
            for suffix in ("", *SIDE_FILES):
                path.with_name(f"{marker}{old}{suffix}").unlink(missing_ok=True)
    sync_directory(path.parent)
    return aside if moved else None
