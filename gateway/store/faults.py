"""What can go wrong with the store, named after what the caller does next.

    DiskFullError       nothing was changed; release the ballast, shed, try again
    LockedError         nothing was changed; try again later
    StoreDamagedError   } acknowledge and switch nothing any more, end the process;
    StoreIOError        } the next start checks the file and says what is left

SQLite's codes and the operating system's are translated here and nowhere else.  A broken constraint
or a wrong statement is a mistake of ours and comes out as SQLite raised it.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class StoreError(Exception):
    """The store cannot do what it was asked.  Catch this one to catch them all."""


class DiskFullError(StoreError):
    """No room to write.  What was attempted has been undone, what was committed is safe."""


class LockedError(StoreError):
    """Another process holds the write lock.  What was attempted has been undone."""


class StoreDamagedError(StoreError):
    """The file's content is not what SQLite wrote."""


class StoreIOError(StoreError):
    """The operating system failed us.  Whether the last commit is on flash is unknown."""


_BY_CODE = {
    sqlite3.SQLITE_FULL: DiskFullError,
    sqlite3.SQLITE_BUSY: LockedError,
    sqlite3.SQLITE_LOCKED: LockedError,
    sqlite3.SQLITE_CORRUPT: StoreDamagedError,
    sqlite3.SQLITE_NOTADB: StoreDamagedError,
    sqlite3.SQLITE_IOERR: StoreIOError,
    sqlite3.SQLITE_READONLY: StoreIOError,
    sqlite3.SQLITE_CANTOPEN: StoreIOError,
    sqlite3.SQLITE_PERM: StoreIOError,
    sqlite3.SQLITE_AUTH: StoreIOError,
    sqlite3.SQLITE_PROTOCOL: StoreIOError,
    sqlite3.SQLITE_NOLFS: StoreIOError,
}

_ADVICE = {
    DiskFullError: "free space on its file system",
    LockedError: "another program is writing to it; `fuser -v` on the file names it",
    StoreDamagedError: "restart the daemon: it checks the file, sets it aside and begins a new one",
    StoreIOError: "check that it is there and writable, and the medium with `dmesg`; then restart",
}

_NO_TEXT = "Could not decode to UTF-8"
"""Python's complaint about a damaged text in a row; it comes without a code."""


def _told(kind: type[StoreError], path: Path, reason: str) -> StoreError:
    return kind(f"{path}: {reason}; {_ADVICE[kind]}")


class SqliteFaults:
    """As a context, raises SQLite's faults on ``path`` as ours.

    No generator: every statement passes here, and this costs a fifth of one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failed: StoreError | None = None
        """The last fault after which nothing more may be written."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if error is None:
            return
        fault = self._fault(error)
        if isinstance(fault, StoreDamagedError | StoreIOError):
            self.failed = fault
        if fault is not None and fault is not error:
            raise fault from error

    def _fault(self, error: BaseException) -> StoreError | None:
        if isinstance(error, StoreError):
            return error
        if isinstance(error, UnicodeDecodeError):
            # Python's own, of a text in the file or of SQLite's complaint about a damaged schema.
            return damaged(self._path, f"a text in it is no UTF-8 ({error})")
        if not isinstance(error, sqlite3.Error):
            return None
        if str(error).startswith(_NO_TEXT):
            return damaged(self._path, str(error))
        # An extended code (SQLITE_IOERR_FSYNC) carries the plain one in its low byte.
        kind = _BY_CODE.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
        return kind and _told(kind, self._path, f"{error} ({error.sqlite_errorname})")


@contextlib.contextmanager
def os_faults(path: Path) -> Iterator[None]:
    """Raise the operating system's faults on ``path`` as ours."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = error.strerror or "input/output error"
        raise _told(DiskFullError if full else StoreIOError, path, reason) from error


def damaged(path: Path, reason: str) -> StoreError:
    """The error for a file whose own check found ``reason``."""
    return _told(StoreDamagedError, path, reason)


def unusable(path: Path, reason: str) -> StoreError:
    """The error for a file that cannot be kept as hard as we need."""
    return _told(StoreIOError, path, reason)


def sync_directory(path: Path) -> None:
    """Make names given, changed or taken away in the directory ``path`` survive a power cut."""
    with os_faults(path):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
