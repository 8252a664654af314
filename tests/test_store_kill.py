"""What kill -9 leaves: everything whose commit was reported, and a file that goes on."""

import random
import subprocess
import sys
from pathlib import Path

from gateway.store.database import open_store
from gateway.store.outbox import Lane, Outbox
from gateway.store.startup import How

ROUNDS = 8
COMMITTER = """
import os, sys, time
from pathlib import Path
from gateway.store.database import open_store
from gateway.store.outbox import Lane, Outbox

store = open_store(Path(sys.argv[1]), time.time, os.urandom, ballast_bytes=0)
outbox = Outbox(store, time.time, segment_bytes_max=2000)
store.rows("pragma wal_autocheckpoint = 10")
while True:
    with store.transaction():
        for lane in (Lane.LIVE, Lane.URGENT):
            seq = outbox.add(lane, "readings", lambda seq: b"%08d" % seq * 20)
        outbox.acknowledge(outbox.pending(Lane.LIVE, 1))
        outbox.shed(20_000, 0, time.time())
    store.note_head(time.monotonic())
    os.write(1, b"%d\\n" % seq)
"""


def commit_until_killed(path: Path, commits: int) -> int:
    """The last number reported by a process that was killed after ``commits`` reports."""
    child = subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(path)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        for _ in range(commits):
            assert child.stdout.readline(), "the committing process ended by itself"
        child.kill()
        # What it reported before it died is still in the pipe; the last line may be torn.
        rest = child.stdout.read()
    return int(rest.split("\n")[-2]) if rest.count("\n") else 0


def test_every_commit_that_was_reported_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "taiqu.db"
    draw = random.Random(20260101)
    reported, began = 0, ""
    for _ in range(ROUNDS):
        commits = draw.randint(1, 60)
        last = commit_until_killed(path, commits)
        reported = max(reported + commits, last)
        with open_store(path, lambda: 0.0, draw.randbytes, ballast_bytes=0) as store:
            outbox = Outbox(store, lambda: 0.0)
            seqs = [message.seq for message in outbox.pending(Lane.URGENT, 100_000)]

            assert store.started.how is How.CONTINUED
            assert store.epoch == began or not began
            assert seqs == list(range(1, len(seqs) + 1))
            assert len(seqs) >= reported
            assert outbox.marks()[Lane.LIVE].last == len(seqs)
            began, reported = store.epoch, len(seqs)
