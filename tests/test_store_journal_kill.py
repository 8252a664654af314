"""kill -9 in the middle of 1,000 top-ups: each is there as a whole, or is taken when repeated."""

import random
import subprocess
import sys
from pathlib import Path

from gateway.prepayment.ledger import Ledger
from gateway.store.database import ReadOnly, open_store
from gateway.store.journal import Journal, JournalReader
from gateway.store.outbox import Lane, Outbox
from gateway.store.startup import How
from gateway.store.verify import verify

TOP_UPS = 1000
KILLS = 6
AMOUNT_E4 = 1_000_000
SELLER = """
import os, sys, time
from pathlib import Path
from gateway.prepayment.drafts import top_up
from gateway.prepayment.ledger import Ledger
from gateway.store.database import open_store
from gateway.store.journal import Journal
from gateway.store.outbox import Lane, Outbox

store = open_store(Path(sys.argv[1]), time.time, os.urandom, ballast_bytes=0)
journal, outbox = Journal(store), Outbox(store, time.time)
for number in range(int(sys.argv[2]), int(sys.argv[3]) + 1):
    draft = top_up(
        account=f"{number % 7}", key=f"top_up:{number}", effective=float(number), channel="wechat",
        shares_e4={Ledger.PREPAID: 1_000_000},
    )
    with store.transaction():
        posted = journal.post(draft, time.time(), "trusted")
        if not posted.repeated:
            outbox.add(Lane.URGENT, "journal", lambda seq: b"%d" % posted.transaction.number)
    store.note_head(time.monotonic())
    os.write(1, b"%d %d\\n" % (number, posted.transaction.number))
store.close()
"""


def sell_until_killed(path: Path, first: int, answers: int) -> int:
    """Sell from ``first`` on; kill after so many answers.  The last payment that was answered."""
    command = [sys.executable, "-c", SELLER, str(path), str(first), str(TOP_UPS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(answers)]
        child.kill()
        # What it answered before it died is still in the pipe; the last line may be torn.
        told += child.stdout.read().splitlines(keepends=True)
    return max(int(line.split()[0]) for line in told if line.endswith("\n"))


def test_a_thousand_top_ups_come_in_once_each_whatever_is_killed(tmp_path: Path) -> None:
    path, draw, answered = tmp_path / "taiqu.db", random.Random(20260101), 0
    for _ in range(KILLS):
        # The head-end does not know what the last answers were: it repeats some.
        first = max(1, answered - draw.randint(0, 20))
        answered = sell_until_killed(path, first, draw.randint(20, 80))
        with ReadOnly(path) as file:
            kept = JournalReader(file).head()[0]
            # Payments were sold in their order, so the numbers tell which are there.
            assert answered <= kept <= answered + 1
            assert verify(file) == []
    subprocess.run(
        [sys.executable, "-c", SELLER, str(path), "1", str(TOP_UPS)],
        check=True,
        capture_output=True,
    )

    with open_store(path, lambda: 0.0, draw.randbytes, ballast_bytes=0) as store:
        assert (store.started.how, store.epoch_number) == (How.CONTINUED, 1)
        journal = Journal(store)
        assert verify(store) == []
        keys = [one.draft.key for one in journal.all()]
        assert keys == [f"top_up:{number}" for number in range(1, TOP_UPS + 1)]
        assert journal.balance_sums() == {
            Ledger.CASH: -TOP_UPS * AMOUNT_E4,
            Ledger.PREPAID: TOP_UPS * AMOUNT_E4,
        }
        told = [message.body for message in Outbox(store, lambda: 0.0).pending(Lane.URGENT, 2000)]
        assert told == [b"%d" % number for number in range(1, TOP_UPS + 1)]
