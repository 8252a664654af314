"""The rooms of money with a real store: freezes and orders in, the journal and messages out."""

import json
import random
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.acquisition.days import end_of
from gateway.clock import ClockState
from gateway.config import load
from gateway.money.prepaid import Prepaid
from gateway.north import contract
from gateway.north.parts import command_of
from gateway.orders import Outcome
from gateway.prepayment.ledger import Ledger
from gateway.recorder import Recorder
from gateway.store.database import Database, open_store
from gateway.store.outbox import Lane, Outbox
from gateway.store.readings import Freeze, Gap, Readings
from tests.places import HOME, KIND, place

START = date(2026, 1, 31)
ZONE = ZoneInfo("Asia/Shanghai")
TOTAL = "energy_active_import"
FLAT = """
id = "flat"
version = {version}
valid_from = {since}
settlement = {{ every = "month" }}

[[component]]
type = "flat"
id = "energy"
price = "{price}"

[[check]]
usage = {{ kwh = "10", days = 1 }}
charge = "{check}"
"""


def flat(price: str = "0.50", version: int = 1, since: str = "2026-01-01") -> str:
    """A tariff of one price, which must have two decimals."""
    check = f"{float(price) * 10:.2f}"
    return FLAT.format(price=price, version=version, since=since, check=check)


LIMITS = """
reserve_days = 30
jump_times = 10
jump_floor_kwh = 50
"""
HELP = """
emergency = "10.00"
hoarding = "1000.00"
"""


class Money:
    """One gateway's money.  ``day`` moves the clock: it is six in the morning after it."""

    def __init__(self, directory: Path, meters: int = 3, more: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        text = place("money", LIMITS, HOME, HELP, KIND, more)
        for n in range(meters):
            text += (
                f'[[meter]]\nasset = "M{n}"\nline = "east"\naddress = "{n:012}"\n'
                'profile = "dlt645-2007-single-phase"\n'
            )
        self.path = directory / "gateway.toml"
        self.path.write_text(text)
        (directory / "tariffs").mkdir(exist_ok=True)
        (directory / "tariffs" / "flat.toml").write_text(flat())
        self.random = random.Random(7)
        self.at(START)
        self.state = ClockState.TRUSTED
        self.commands = 0
        self.messages: list[dict[str, Any]] = []
        """All that anybody has looked at."""
        self.start()

    def start(self) -> None:
        """Build everything from the files."""
        self.config = load(self.path)
        store = self.config.store_directory
        store.mkdir(parents=True, exist_ok=True)
        self.database: Database = open_store(
            store / "taiqu.db", lambda: self.wall, self.random.randbytes, ballast_bytes=0
        )
        self.outbox = Outbox(self.database, lambda: self.wall)
        self.recorder = Recorder(
            self.database,
            self.outbox,
            "money",
            self.config.store,
            lambda: self.wall,
            lambda: self.state,
        )
        self.readings = Readings(self.database)
        assert self.config.prepayment
        self.prepaid = Prepaid(
            self.config,
            self.config.prepayment,
            self.database,
            self.recorder,
            lambda: self.wall,
            lambda: self.state,
            None,
        )
        self.flush()

    def flush(self) -> None:
        assert self.recorder.flush(0.0, live=False)

    def at(self, day: date) -> None:
        """It is the morning after ``day``."""
        self.wall = end_of(day, ZONE) + 6 * 3600

    def tick(self) -> None:
        """Let all work be done that has piled up."""
        now = self.wall
        for _ in range(1000):
            due = self.prepaid.tick(now, self.wall)
            self.flush()
            if due > now + 1.5:
                return
            now = due
        raise AssertionError("it never ends")

    def freeze(self, meter: str, day: date, wh: int, **more: Any) -> None:
        """A daily freeze comes in."""
        registers: Mapping[str, int] = more.pop("registers", {TOTAL: wh})
        freeze = Freeze(
            meter=meter,
            day=day,
            frozen=end_of(day, ZONE),
            taken=more.pop("taken", self.wall),
            clock="trusted",
            quality="good",
            values=registers,
            **more,
        )
        with self.recorder.commit(0.0, live=False):
            self.readings.add(freeze)
            self.prepaid.kept(meter, day)

    def gap(self, meter: str, day: date) -> None:
        """It turns out that there is no freeze of that day."""
        gap = Gap(meter=meter, day=day, kind="absent", reason="", at=self.wall)
        with self.recorder.commit(0.0, live=False):
            self.readings.add_gap(gap)
            self.prepaid.kept(meter, day)

    def order(self, name: str, **keys: Any) -> Outcome:
        """Carry out an order, as if its signature was in order."""
        self.commands += 1
        command = command_of().model_validate_json(
            json.dumps(
                {
                    "id": f"c{self.commands}",
                    "issuer": "ops",
                    "issued": contract.instant(self.wall),
                    "not_after": contract.instant(self.wall + 60),
                    "command": {"name": name, **keys},
                }
            ),
            strict=True,
        )
        with self.recorder.commit(0.0, live=False):
            return self.prepaid.execute(command, "key ops", self.wall)

    def open(self, number: str = "1001", meter: str = "M0", **keys: Any) -> Outcome:
        """Open an account for a meter that showed 1 kWh at the end of START."""
        given: dict[str, Any] = {
            "account": number,
            "opened": (START + timedelta(days=1)).isoformat(),
            "mode": "prepay_cut",
            "policy": "home",
            "tariffs": [{"since": START.isoformat(), "tariff": "flat"}],
            "meters": [{"meter": meter, "since": START.isoformat(), "start": {TOTAL: "1"}}],
        }
        return self.order("account.open", **(given | keys))

    def top_up(self, payment: str, amount: str, account: str = "1001") -> Outcome:
        return self.order(
            "topup",
            payment=payment,
            account=account,
            amount=amount,
            channel="counter",
            paid=contract.instant(self.wall),
        )

    def balance(self, number: str = "1001", ledger: Ledger = Ledger.PREPAID) -> int:
        """In 1/10,000 yuan."""
        return self.prepaid.journal.balances(number)[ledger]

    def told(self, kind: str = "events") -> list[dict[str, Any]]:
        """The urgent messages of a kind that came since the last time somebody looked."""
        found: list[dict[str, Any]] = []
        while messages := self.outbox.pending(Lane.URGENT, 100):
            with self.database.transaction():
                self.outbox.acknowledge(messages)
            found += [json.loads(one.body) | {"kind": one.kind} for one in messages]
        self.messages += found
        return [one for one in found if one["kind"] == kind]
