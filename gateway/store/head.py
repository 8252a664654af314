"""The head file: how far the sequence numbers had come, remembered outside the database.

SQLite cannot see that an older copy of its file was put back, or that its ``-wal`` is gone: what is
left is a valid database.  So a second file beside it keeps the epoch, each lane's last number, and
number and hash of the journal's last transaction.

    slot 0 at byte 0, slot 1 at byte 4096, each one line of text:
    CRC-32 in hexadecimal, a blank, JSON
    {"counter": .., "epoch": .., "last": {lane: number}, "journal": number, "hash": hexadecimal}

The slots are written in turn and in place, each followed by fdatasync, so a power cut damages at
most the one being written and a full disk does not matter.  The good one with the higher counter
counts.

Not supported: noticing that database and head file were *both* replaced by an older pair.
"""

import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.store.faults import os_faults, sync_directory

SLOT_BYTES = 4096
"""A flash page or more apart, so that a torn write cannot reach the other slot."""


@dataclass(frozen=True, slots=True)
class Head:
    """An epoch, the highest number given in each of its lanes, and how far the journal is."""

    epoch: str
    last: dict[str, int]
    journal: int = 0
    """The number of its last transaction."""
    hash: str = ""
    """That one's hash in hexadecimal; empty before the first."""

    def lacks(self, other: "Head") -> list[str]:
        """What ``other`` had and this head has not, in words."""
        missing = [
            f"{lane} ends at {self.last.get(lane, 0)} of {last}"
            for lane, last in other.last.items()
            if self.last.get(lane, 0) < last
        ]
        if self.journal < other.journal:
            missing.append(f"the journal ends at {self.journal} of {other.journal}")
        elif other.journal and self.hash != other.hash:
            missing.append(f"transaction {other.journal} is not the one that was committed")
        return missing


def encode_slot(head: Head, counter: int) -> bytes:
    """One slot's bytes."""
    fields = {"counter": counter, **asdict(head)}
    text = json.dumps(fields, sort_keys=True).encode()
    return (b"%08x %s\n" % (zlib.crc32(text), text)).ljust(SLOT_BYTES, b" ")


def decode_slot(slot: bytes) -> tuple[int, Head] | None:
    """The counter and head in ``slot``, or None if it is empty, torn or foreign."""
    checksum, _, text = slot.partition(b"\n")[0].partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text) or not text:
        return None
    # A good checksum means that we wrote it, so the fields are there.
    fields = json.loads(text)
    return fields.pop("counter"), Head(**fields)


class HeadFile:
    """The file, held open.  ``remembered`` is the head written last, by whatever process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with os_faults(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            if os.fstat(self._file).st_size < 2 * SLOT_BYTES:
                self._reserve()
            slots = [os.pread(self._file, SLOT_BYTES, n * SLOT_BYTES) for n in (0, 1)]
        good = [slot for slot in map(decode_slot, slots) if slot]
        self.remembered: Head | None = None
        self._counter = 0
        if good:
            self._counter, self.remembered = max(good, key=lambda slot: slot[0])

    def _reserve(self) -> None:
        # Behind what is there: a file cut short may still hold one good slot.
        size = os.fstat(self._file).st_size
        os.pwrite(self._file, b" " * (2 * SLOT_BYTES - size), size)
        os.fsync(self._file)
        sync_directory(self.path.parent)

    def write(self, head: Head) -> None:
        """Make ``head`` the one remembered.  It is on flash when this returns."""
        counter = self._counter + 1
        with os_faults(self.path):
            os.pwrite(self._file, encode_slot(head, counter), counter % 2 * SLOT_BYTES)
            os.fdatasync(self._file)
        self._counter, self.remembered = counter, head

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
