"""Years of money on simulated time: the real store, recorder, orders and rooms of money.

Customers use energy, a head-end sells top-ups over a bad connection, people swap meters and put
readings right, prices rise; the mains fail in the middle of whatever is written.  Nothing that the
gateway has to say is fetched before the end.  Then every balance must be the oracle's, every sum
the head-end's.
"""

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.acquisition.days import end_of
from gateway.north.contract import instant
from gateway.prepayment.ledger import Ledger
from gateway.store.outbox import Lane
from gateway.store.readings import Freeze, Gap
from simulators.customers import CAPACITY_WH, Customer, Fate, Reading, customers
from simulators.seller import Seller
from simulators.shop import Delivery, Shop
from tests.money_office import change_tariff, open_account, put, rule, swap
from tests.money_oracle import Known, Meter, Oracle
from tests.money_rooms import Mains, PowerCutError, Rooms
from tests.money_site import CASH, GATEWAY, TARIFFS, VOUCHER_SEED, versions, write_config

START = date(2025, 12, 31)
ZONE = ZoneInfo("Asia/Shanghai")
DAY = timedelta(days=1)
MORNING_S = 6 * 3600.0
STEP_S = 7.0
"""Between two things that happen."""
GROUP_MAX = 50
POLICIES = ("home", "home", "kind")
ALIKE = ("zhejiang-home-year-steps", "zhejiang-home-year-steps-tou")


@dataclass(frozen=True)
class Held:
    """What the oracle says of an account."""

    charged_e4: int
    energy_wh: int
    last: date


class MoneyWorld:
    """One gateway's money.  ``run`` lets all its days pass."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        accounts: int,
        days: int,
        writes_per_cut: int,
        looks: float = 1.0,
        calm_days: int = 12,
    ) -> None:
        """``looks`` is the part of the days on which the gateway lives through its night; every
        customer has trouble after ``calm_days`` days at most.
        """
        self.random = random.Random(f"{seed}/world")
        self.days, self._looks = days, looks
        self.customers = customers(seed, accounts, START, days, calm_days=calm_days)
        self.versions = versions(START, days)
        self.tariffs = {
            one.number: [(one.start, self.random.choice(TARIFFS[one.kind]))]
            for one in self.customers
        }
        numbers = [one.number for one in self.customers]
        self.shop = Shop(CASH, VOUCHER_SEED, GATEWAY, numbers, seed)
        self.path = write_config(directory, self.customers)
        tariffs = directory / "tariffs"
        tariffs.mkdir()
        for one in self.versions:
            if one.known == START:
                (tariffs / f"{one.id}.toml").write_text(one.text)
        self._calendar: defaultdict[date, list[Callable[[], None]]] = defaultdict(list)
        self._readings: defaultdict[date, list[Reading]] = defaultdict(list)
        self._plan()
        self.mains = Mains(self.random, writes_per_cut)
        self._orders_given = 0
        self.wall = end_of(START, ZONE) + MORNING_S
        self._start()

    # --- what will happen -------------------------------------------------------------------------

    def _plan(self) -> None:
        for version in self.versions:
            if version.known > START:
                self._on(version.known, *put(version))
        for customer in self.customers:
            [tariff], policy = self.tariffs[customer.number], self.random.choice(POLICIES)
            self._on(customer.start, *open_account(customer, tariff, policy))
            known = {meter.meter: meter.since + meter.told_days * DAY for meter in customer.fitted}
            for old, new in pairwise(customer.fitted):
                self._on(known[new.meter], *swap(customer, old, new))
            for reading in customer.readings:
                self._readings[reading.day + reading.late_days * DAY].append(reading)
                if reading.ruled_days:
                    day = reading.day + reading.ruled_days * DAY
                    self._on(max(day, known[reading.meter]), *rule(reading))
            if self.random.random() < 0.2:
                day = customer.start + self.random.randint(1, customer.days) * DAY
                self._calendar[day].append(partial(self._change_tariff, customer))

    def _on(self, day: date, seller: Seller, body: Mapping[str, Any]) -> None:
        self._calendar[day].append(partial(self._order, seller, body))

    def run(self) -> None:
        """All days, and some more for what is late."""
        for n in range(self.days + 1):
            self._pass(START + n * DAY)
        self._end()

    def _pass(self, day: date) -> None:
        """The morning after ``day``."""
        self.wall = end_of(day, ZONE) + MORNING_S
        for what in self._calendar.pop(day, ()):
            what()
        now = datetime.fromtimestamp(self.wall, UTC)
        if day < START + self.days * DAY:
            self.shop.sell(now)
        units = [partial(self._keep, group) for group in self._groups(day)]
        units += [partial(self._deliver, one) for one in self.shop.due(now.date())]
        self.random.shuffle(units)
        for unit in units:
            self._do(unit)
        if self.random.random() < self._looks or day >= START + self.days * DAY:
            self._do(self._tick)
            # By now nothing is waited for any more.
            self.wall += 7 * 3600
            self._do(self._tick)

    def _end(self) -> None:
        """What is still on its way arrives; then the last readings are charged."""
        for n in range(1, 32):
            self._pass(START + (self.days + n) * DAY)
        assert not self._calendar
        assert not self._readings

    def _groups(self, day: date) -> Iterator[list[Reading]]:
        readings = self._readings.pop(day, [])
        self.random.shuffle(readings)
        while readings:
            size = self.random.randint(1, GROUP_MAX)
            yield readings[:size]
            readings = readings[size:]

    # --- power ------------------------------------------------------------------------------------

    def _do(self, unit: Callable[[], None]) -> None:
        """Do something, again from the beginning if the power fails meanwhile."""
        self.wall += STEP_S
        while True:
            try:
                unit()
            except PowerCutError:
                self.mains.fail(self.rooms)
                self._start()
            else:
                return

    def _start(self) -> None:
        """Build everything from the files."""
        self.rooms = Rooms(self.path, lambda: self.wall, self.random)
        self.mains.feed(self.rooms)

    # --- what happens -----------------------------------------------------------------------------

    def _keep(self, readings: Sequence[Reading]) -> None:
        with self.rooms.recorder.commit(self.wall, live=False):
            for one in readings:
                if one.fate is Fate.SILENT:
                    continue
                if one.fate is Fate.ABSENT:
                    gap = Gap(meter=one.meter, day=one.day, kind="absent", reason="", at=self.wall)
                    self.rooms.readings.add_gap(gap)
                else:
                    self.rooms.readings.add(self._freeze(one))
                self.rooms.prepaid.kept(one.meter, one.day)

    def _freeze(self, one: Reading) -> Freeze:
        return Freeze(
            meter=one.meter,
            day=one.day,
            frozen=end_of(one.day, ZONE),
            taken=self.wall,
            clock="trusted",
            quality="clock_off" if one.offset_s else "good",
            offset_s=float(one.offset_s),
            values=one.read,
        )

    def _tick(self) -> None:
        """Let all be done that has piled up."""
        now, due = self.wall, self.wall
        while due <= now + 1.5:
            now = due
            due = self.rooms.prepaid.tick(now, self.wall)
            assert self.rooms.recorder.flush(now, live=False)

    def _deliver(self, one: Delivery) -> None:
        if one.typed:
            self.rooms.post(one.command, one.payload)
        else:
            self.rooms.arrive(one.payload)

    def _order(self, seller: Seller, body: Mapping[str, Any]) -> None:
        """An order of the office arrives, and must be carried out."""
        self._orders_given += 1
        id_ = f"{seller.key}-{self._orders_given}"
        times = instant(self.wall), instant(self.wall + 86_400)
        payload = json.dumps(seller.order(GATEWAY, id_, *times, body)).encode()
        self._do(lambda: self.rooms.arrive(payload))
        result = self.rooms.commands.results(id_)[-1]
        assert result.stage == "confirmed", (body, result)

    def _change_tariff(self, customer: Customer) -> None:
        """He chooses time of use, or no longer; the limits of the year's steps are the same."""
        tariffs = self.tariffs[customer.number]
        if tariffs[-1][1] in ALIKE:
            account = self.rooms.prepaid.accounts.current(customer.number)
            assert account
            since = datetime.fromtimestamp(self.wall, ZONE).date()
            tariffs.append((since, self.random.choice(ALIKE)))
            self._order(*change_tariff(customer, account.version, *tariffs[-1]))

    # --- judging ----------------------------------------------------------------------------------

    def drain(self) -> int:
        """Send the head-end all there is, some of it twice; returns how many messages."""
        count = 0
        while messages := self.rooms.outbox.pending(Lane.URGENT, 500):
            count += len(messages)
            for message in messages:
                self.shop.take(message.body)
                if self.random.random() < 0.02:
                    self.shop.take(self.random.choice(messages[: messages.index(message) + 1]).body)
            with self.rooms.database.transaction():
                self.rooms.outbox.acknowledge(messages)
        return count

    def oracle(self) -> dict[str, Held]:
        """What every account must come to."""
        oracle = Oracle(one.text for one in self.versions)
        return {
            one.number: Held(
                *oracle.charged(
                    one.start + DAY,
                    self.tariffs[one.number],
                    [Meter(m.meter, m.since, m.start, m.until, m.final or {}) for m in one.fitted],
                    [Known(r.meter, r.day, r.shown) for r in one.readings if r.counts],
                    CAPACITY_WH * one.ratio,
                )
            )
            for one in self.customers
        }

    def worth_e4(self) -> dict[str, int]:
        """What each account has, whichever ledger it stands in."""
        journal, found = self.rooms.prepaid.journal, {}
        for one in self.customers:
            ledgers = journal.balances(one.number)
            money_e4 = ledgers[Ledger.PREPAID] + ledgers[Ledger.DEBT] + ledgers[Ledger.EMERGENCY]
            # What came before the account was opened.
            found[one.number] = money_e4 + journal.part(Ledger.SUSPENSE, one.number)
        return found

    @property
    def digest(self) -> str:
        """Of the whole journal and of every balance."""
        number, head = self.rooms.prepaid.journal.head()
        balances = sorted(self.rooms.prepaid.journal.all_balances().items())
        return hashlib.sha256(f"{number} {head.hex()} {balances}".encode()).hexdigest()
