"""A power cut at every system call, replayed from one recorded run.

The run is recorded with strace.  For every prefix of its writes the files are rebuilt as a disk may
hold them: all of it, only what was synced, or a random part of the rest, torn at 512 bytes.  The
store must open each of them, and what had been reported before the cut must be in it.
"""

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.prepayment.ledger import Ledger
from gateway.store.database import open_store
from gateway.store.journal import Journal
from gateway.store.outbox import Lane, Outbox
from gateway.store.startup import How
from gateway.store.verify import verify

SECTOR_BYTES = 512
RANDOM_IMAGES = 1
RECORDED = """
import os, sys
from pathlib import Path
from gateway.prepayment.drafts import top_up
from gateway.prepayment.ledger import Ledger
from gateway.store.database import open_store
from gateway.store.journal import Journal
from gateway.store.outbox import Lane, Outbox

SHARE = {Ledger.PREPAID: 5}
for life in range(2):
    store = open_store(Path(sys.argv[1]), lambda: 0.0, os.urandom, ballast_bytes=0)
    store.rows("pragma wal_autocheckpoint = 40")
    store.rows("pragma synchronous = " + sys.argv[2])
    outbox = Outbox(store, lambda: 0.0, segment_bytes_max=9000)
    for _ in range(10):
        with store.transaction():
            outbox.add(Lane.LIVE, "readings", lambda seq: bytes(3000))
            seq = outbox.add(Lane.URGENT, "events", lambda seq: b"%d" % seq)
            paid = top_up(account="1", key=str(seq), effective=0.0, channel="c", shares_e4=SHARE)
            Journal(store).post(paid, 0.0, "trusted")
            outbox.acknowledge(outbox.pending(Lane.LIVE, 1))
            outbox.shed(12_000, 0, 1.0)
        store.note_head(0.0)
        os.write(1, b"%d\\n" % seq)
    store.close()
"""
CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename"
CALL = re.compile(rb"(\w+)\((.*)\) = \d")


@dataclass
class File:
    """One file: what is on the medium, and what has been written since the last sync."""

    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (size, None) for a truncation."""

    def content(self, draw: random.Random | None, *, all_of_it: bool = False) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.since:
            if data is None:
                if all_of_it or (draw and draw.random() < 0.5):
                    content[offset:] = bytes(max(0, offset - len(content)))
                continue
            for start in range(0, len(data), SECTOR_BYTES):
                if all_of_it or (draw and draw.random() < 0.5):
                    place, piece = offset + start, data[start : start + SECTOR_BYTES]
                    content.extend(bytes(max(0, place - len(content))))
                    content[place : place + len(piece)] = piece
        return bytes(content)


class Disk:
    """A directory as the recorded calls leave it.  Names last once the directory is synced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: dict[str, File] = {}
        self.history: list[dict[str, File]] = [{}]
        """The names as last synced, and after each change since."""
        self.reported = 0

    def play(self, call: str, arguments: list[bytes]) -> None:
        if call == "write" and self._file(arguments[0]) is None:
            self.reported = int(_text(arguments[1]))
            return
        if call in ("fsync", "fdatasync") and _path(arguments[0]) == self.root:
            self.history = [dict(self.names)]
            return
        if call in ("openat", "unlink", "rename"):
            self._play_on_names(call, arguments)
            return
        file = self._file(arguments[0])
        assert file is not None, f"{call} on a file that was never opened"
        if call in ("fsync", "fdatasync"):
            file.synced, file.since = file.content(None, all_of_it=True), []
        elif call == "ftruncate":
            file.since.append((int(arguments[1]), None))
        else:
            file.since.append((int(arguments[3]), _text(arguments[1])))

    def images(self, draw: random.Random) -> Iterator[dict[str, bytes]]:
        yield {n: f.content(None, all_of_it=True) for n, f in self.names.items()}
        yield {n: f.content(None) for n, f in self.history[0].items()}
        for _ in range(RANDOM_IMAGES):
            yield {n: f.content(draw) for n, f in draw.choice(self.history).items()}

    def _play_on_names(self, call: str, arguments: list[bytes]) -> None:
        path = Path(_text(arguments[1 if call == "openat" else 0]).decode())
        if path.parent != self.root:
            return
        if call == "unlink":
            del self.names[path.name]
        elif call == "rename":
            self.names[Path(_text(arguments[1]).decode()).name] = self.names.pop(path.name)
        elif b"O_CREAT" in arguments[2] and path.name not in self.names:
            self.names[path.name] = File()
        else:
            return
        self.history.append(dict(self.names))

    def _file(self, handle: bytes) -> File | None:
        path = _path(handle)
        return self.names.get(path.name) if path.parent == self.root else None


def _text(argument: bytes) -> bytes:
    """The bytes of a string as strace -xx writes it."""
    return bytes.fromhex(argument.strip(b'" ').replace(b"\\x", b"").decode())


def _path(handle: bytes) -> Path:
    """The path in ``5<\\x2f..>``."""
    return Path(_text(handle.partition(b"<")[2].rstrip(b">")).decode())


def record(directory: Path, trace: Path, synchronous: str) -> list[tuple[str, list[bytes]]]:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: apt-get install strace")
    program = [sys.executable, "-c", RECORDED, str(directory / "taiqu.db"), synchronous]
    options = ["-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace)]
    run = subprocess.run([strace, *options, *program], capture_output=True, text=True, check=False)
    if "ptrace" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    found = (CALL.match(line) for line in trace.read_bytes().splitlines())
    return [(m[1].decode(), m[2].split(b", ")) for m in found if m]


def check(image: dict[str, bytes], directory: Path, reported: int) -> None:
    directory.mkdir()
    for name, content in image.items():
        (directory / name).write_bytes(content)
    entropy = random.Random(1).randbytes
    with open_store(directory / "taiqu.db", lambda: 0.0, entropy, ballast_bytes=0) as store:
        outbox = Outbox(store, lambda: 0.0)
        seqs = [message.seq for message in outbox.pending(Lane.URGENT, 1000)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert reported <= len(seqs) <= reported + 1
        assert store.started.how is (How.CONTINUED if seqs else How.FRESH)
        # Money and message are of one transaction: both or neither.
        assert Journal(store).head()[0] == len(seqs)
        assert Journal(store).balances("1")[Ledger.PREPAID] == 5 * len(seqs)
        assert verify(store) == []
        assert all(len(message.body) == 3000 for message in outbox.pending(Lane.LIVE, 1000))
    shutil.rmtree(directory)


def cut_everywhere(tmp_path: Path, synchronous: str) -> int:
    """How many different disks were checked."""
    directory = tmp_path / "recorded"
    directory.mkdir()
    disk, draw, seen = Disk(directory), random.Random(7), set[int]()
    for call, arguments in record(directory, tmp_path / "trace", synchronous):
        disk.play(call, arguments)
        for image in disk.images(draw):
            key = hash((disk.reported, *sorted(image.items())))
            if key not in seen:
                seen.add(key)
                check(image, tmp_path / "cut", disk.reported)
    assert disk.reported == 20
    return len(seen)


def test_a_power_cut_anywhere_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    assert cut_everywhere(tmp_path, "full") > 300


def test_the_replay_notices_a_setting_that_loses_commits(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        cut_everywhere(tmp_path, "normal")


FAILING = """
import os, sys
from pathlib import Path
from gateway.store.database import open_store
from gateway.store.faults import StoreIOError
from gateway.store.outbox import Lane, Outbox

with open_store(Path(sys.argv[1]), lambda: 0.0, os.urandom, ballast_bytes=0) as store:
    outbox = Outbox(store, lambda: 0.0)
    for _ in range(6):
        try:
            with store.transaction():
                seq = outbox.add(Lane.URGENT, "events", lambda seq: b"%d" % seq)
            print(seq)
        except StoreIOError:
            print("failed")
"""


def test_after_a_failed_sync_nothing_more_is_reported(tmp_path: Path) -> None:
    """The medium fails once, then pretends that all is well."""
    path = tmp_path / "taiqu.db"
    with open_store(path, lambda: 0.0, random.Random(1).randbytes, ballast_bytes=0):
        pass
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: apt-get install strace")
    # Opening takes the first syncs; the one that fails is that of a commit.
    options = ["-o", str(tmp_path / "trace"), "-e", "inject=fdatasync:error=EIO:when=9"]
    run = subprocess.run(
        [strace, *options, sys.executable, "-c", FAILING, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.strip()}")
    told = run.stdout.split()
    good = told.index("failed")

    assert 0 < good < 6
    assert told[:good] == [str(seq) for seq in range(1, good + 1)]
    assert set(told[good:]) == {"failed"}
    with open_store(path, lambda: 0.0, random.Random(2).randbytes, ballast_bytes=0) as store:
        assert store.started.how is How.CONTINUED
        kept = [message.seq for message in Outbox(store, lambda: 0.0).pending(Lane.URGENT, 100)]
    assert kept[:good] == list(range(1, good + 1))
