"""A thousand top-ups sent as commands, and the gateway killed in the middle of them.

Each is there as a whole (money, answer, both messages to the head-end) or not at all; and what was
not answered is taken when it is sent again, once.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from gateway.prepayment.ledger import Ledger
from gateway.store.outbox import Lane
from gateway.store.verify import verify
from simulators.customers import Customer, Kind
from simulators.seller import top_up
from tests.money_office import open_account
from tests.money_rooms import Mains, PowerCutError, Rooms
from tests.money_site import CASH, GATEWAY, write_config

ROOT = Path(__file__).parent.parent
NOW = 1_780_000_000.0
ISSUED, LASTS = "2026-05-28T00:00:00Z", "2026-06-28T00:00:00Z"
START = date(2026, 5, 1)
COUNT = 1000
FEN_E4 = 100
GATEWAY_THAT_IS_KILLED = """
import logging, os, random, sys
from pathlib import Path
import structlog
from tests.money_rooms import Rooms

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
rooms = Rooms(Path(sys.argv[1]), lambda: float(sys.argv[3]), random.Random(os.getpid()))
for line in Path(sys.argv[2]).read_bytes().splitlines():
    rooms.arrive(line)
    os.write(1, b"\\n")
"""


def prepare(directory: Path) -> tuple[Path, list[bytes]]:
    """A configuration with seven accounts open, and the commands."""
    customers = [Customer(f"kill/{n}", f"100{n}", START, 25, Kind.HOME) for n in range(7)]
    path = write_config(directory, customers)
    (directory / "tariffs").mkdir()
    text = (ROOT / "config" / "tariffs" / "zhejiang-joint-meter-flat.toml").read_text()
    (directory / "tariffs" / "flat.toml").write_text(text)
    rooms = Rooms(path, lambda: NOW, random.Random(1))
    assert rooms.recorder.flush(NOW, live=False)
    for n, one in enumerate(customers):
        seller, body = open_account(one, (START, "zhejiang-joint-meter-flat"), "home")
        order = seller.order(GATEWAY, f"open-{n}", ISSUED, LASTS, body)
        rooms.arrive(json.dumps(order).encode())
        assert rooms.commands.results(f"open-{n}")[-1].stage == "confirmed"
    rooms.database.close()
    return path, [command(n) for n in range(COUNT)]


def command(n: int) -> bytes:
    """The ``n``-th top-up, of ``n + 1`` fen."""
    body = top_up(f"p{n}", f"100{n % 7}", f"{(n + 1) / 100:.2f}", ISSUED)
    return json.dumps(CASH.order(GATEWAY, f"c{n}", ISSUED, LASTS, body)).encode()


def whole(rooms: Rooms, n: int) -> bool:
    """Whether the top-up is there; half of one is an error."""
    posted = rooms.prepaid.journal.by_key(f"top_up:p{n}")
    results = rooms.commands.results(f"c{n}")
    assert (posted is None) is (results == [])
    if posted:
        assert [one.stage for one in results] == ["confirmed"]
        assert json.loads(results[0].data)["transaction"] == posted.number
    return posted is not None


def told(rooms: Rooms) -> tuple[Counter[str], Counter[str]]:
    """How often each payment's transaction and each command's result stand in the outbox."""
    transactions: Counter[str] = Counter()
    results: Counter[str] = Counter()
    for message in rooms.outbox.pending(Lane.URGENT, 10 * COUNT):
        body = json.loads(message.body)
        transactions.update(one["key"] for one in body.get("transactions", ()))
        results.update([body["id"]] if "stage" in body else [])
    return transactions, results


def judge(rooms: Rooms) -> None:
    """Every top-up counted once, and was told once; some answers were given again."""
    assert all(whole(rooms, n) for n in range(COUNT))
    assert verify(rooms.database) == []
    sums_e4: Counter[str] = Counter()
    for n in range(COUNT):
        sums_e4[f"100{n % 7}"] += (n + 1) * FEN_E4
    assert {a: rooms.prepaid.journal.balances(a)[Ledger.PREPAID] for a in sums_e4} == sums_e4
    transactions, results = told(rooms)
    assert all(transactions[f"top_up:p{n}"] == 1 for n in range(COUNT))
    assert all(results[f"c{n}"] >= 1 for n in range(COUNT))


def killed(path: Path, commands: Sequence[bytes], acknowledged: int) -> int:
    """Send commands to a gateway and kill it after so many; how many it has acknowledged."""
    sent = path.with_name("sent")
    sent.write_bytes(b"\n".join(commands))
    program = [sys.executable, "-c", GATEWAY_THAT_IS_KILLED, str(path), str(sent), str(NOW)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        for _ in range(acknowledged):
            assert child.stdout.readline(), "the gateway ended by itself"
        child.kill()
        # What it acknowledged before it died is still in the pipe.
        return acknowledged + child.stdout.read().count(b"\n")


def test_kill_9_among_a_thousand_top_ups_loses_and_doubles_none(tmp_path: Path) -> None:
    path, commands = prepare(tmp_path)
    draw, first = random.Random(20260101), 0
    for _ in range(5):
        acknowledged = first + killed(path, commands[first:], draw.randint(20, 150))
        rooms = Rooms(path, lambda: NOW, draw)
        there = [whole(rooms, n) for n in range(COUNT)]
        rooms.database.close()
        # One more may have been on flash when it was killed, before it could say so.
        assert there.index(False) in (acknowledged, acknowledged + 1)
        assert not any(there[acknowledged + 1 :])
        # The head-end does not know what was answered last: it repeats some.
        first = max(0, acknowledged - draw.randint(0, 20))
    rooms = Rooms(path, lambda: NOW, draw)
    for one in commands:
        rooms.arrive(one)
    judge(rooms)
    rooms.database.close()


def test_power_cuts_in_the_middle_of_top_ups_leave_all_of_each_or_nothing(tmp_path: Path) -> None:
    path, commands = prepare(tmp_path)
    draw = random.Random(20260102)
    mains = Mains(draw, writes_per_cut=250)
    rooms = Rooms(path, lambda: NOW, draw)
    mains.feed(rooms)
    for n in range(COUNT):
        again = [draw.randrange(n)] if n and draw.random() < 0.1 else []
        for each in (n, *again):
            try:
                rooms.arrive(commands[each])
            except PowerCutError:
                mains.fail(rooms)
                rooms = Rooms(path, lambda: NOW, draw)
                before = range(max(0, n - 20), n)
                assert [whole(rooms, one) for one in (*before, n)] == [True] * len(before) + [
                    each != n
                ]
                rooms.arrive(commands[each])
                mains.feed(rooms)
    judge(rooms)
    assert mains.cuts > 10
    rooms.database.close()
