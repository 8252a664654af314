"""Sixty days of everything at once in a street of 64 homes, drawn by one seed.

    python -m tests.switch_torture SEED...      replay, with what happened
    python -m tests.switch_torture --seeds 200:2200 --processes 2

The gateway's own rooms (tests/switch_box.py) live on simulated time that jumps from event to event.
The power may fail in any transaction: before its commit, or after it and before anything else.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Any

import structlog

from gateway.clock import ClockState
from gateway.config_switching import Switching as Settings
from gateway.disconnection.facts import Approval, Standing, from_json
from gateway.disconnection.preflight import preflight
from gateway.disconnection.relay import Times
from gateway.events import Job, JobDone, Timed
from gateway.north.contract import instant
from gateway.prepayment.ledger import Ledger
from gateway.store.connection import Connection
from gateway.uplink import Reach
from tests.accounts import YUAN
from tests.switch_attempts import Attempts
from tests.switch_auditor import Auditor, Sent
from tests.switch_box import GATEWAY, OPENED, WATCH_S, Box, config_of
from tests.switch_disk import NOWHERE, Platter, PowerCutError
from tests.switch_judge import Judge, WrongError
from tests.switch_line import Line
from tests.switch_persons import PERSONS, SIGNERS, command, yuan
from tests.switch_street import BEGIN, DAY, HOUR, Home, homes

DAYS = 60
WEEK = 7 * DAY
CALLED = ("trip_failed", "unknown", "weld_or_bypass", "stuck_open")
Answer = Callable[[dict[str, Any]], None]


class Torture:
    """The world of one seed."""

    gateway = GATEWAY
    box: Box

    def __init__(self, seed: int, directory: Path, days: int = DAYS) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        self.seed, self.draw = seed, Random(seed)
        self.days = days
        self.now, self.offset = BEGIN, 0.0
        self.end = BEGIN + days * DAY
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = self.life = self.power_cuts = self.events = 0
        self.up, self.online, self.sound = False, True, True
        self.clock = ClockState.TRUSTED
        self.homes = homes(self.draw, seed)
        self.by_number = {home.number: home for home in self.homes}
        self.by_asset = {home.meter.asset: home for home in self.homes}
        self.judge = Judge()
        self.judge.outside.started_at = BEGIN
        self.auditor, self.attempts = Auditor(self.homes), Attempts(self)
        self.persons = {name: (SIGNERS[name], roles) for name, roles in PERSONS.items()}
        crash_share, self.crash_share = self.draw.choice((0.0, 0.0005, 0.002)), 0.0
        self.link_since = BEGIN
        self.platter = Platter()
        self.config = config_of(directory, self.homes)
        self.settings = Settings(cut_offline=self.draw.random() < 0.5, times=Times(watch_s=WATCH_S))
        self.charged = {home.number: OPENED for home in self.homes}
        self.used_e4: dict[str, int] = defaultdict(int)
        """Used and not charged yet."""
        self.energy = {home.number: 0 for home in self.homes}
        self.rounds: dict[str, int] = defaultdict(int)
        self.proving: set[tuple[str, str]] = set()
        """Proofs that wait for a gateway that can take them in."""
        self.stages: dict[str, str] = defaultdict(str)
        """How far each disconnection has come, by the last message about it."""
        self.answers: dict[str, Answer] = {}
        self.at_broker: list[bytes] = []
        self.tick_at = self.watch_at = float("inf")
        self.looked_at: set[str] = set()
        self.judged = 0
        self.ticks: Counter[int] = Counter()
        """Of each day, that the time alone asked for."""
        self.calendars = 0
        self.start()
        self.transact(lambda: self.box.open(self.homes))
        for home in self.homes:
            self.sync(home)
            self.judge.books(home, BEGIN)
        self.crash_share = crash_share

    # --- what the gateway sees ----------------------------------------------------------------

    def wall(self) -> float:
        return self.now + self.offset

    def state(self) -> ClockState:
        return self.clock

    @property
    def trusted(self) -> bool:
        return self.clock is ClockState.TRUSTED

    def reach(self) -> Reach:
        return Reach(up=self.online, for_s=self.now - self.link_since)

    def fails(self) -> bool:
        return self.draw.random() < self.crash_share

    def stop_file(self) -> Path:
        return self.config.store_directory / "stop"

    # --- time ---------------------------------------------------------------------------------

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.serial += 1
        heappush(self.heap, (self.now + max(0.0, seconds), self.serial, act))

    def run(self, until: float) -> None:
        while self.heap and self.heap[0][0] <= until:
            self.now, _, act = heappop(self.heap)
            self.events += 1
            act()
        self.now = until

    def transact(self, act: Callable[[], object]) -> bool:
        """Something happens to the gateway, and it does what follows; False: its power failed."""
        if not self.up:
            return False
        try:
            act()
            self._plan(self.box.tick())
        except PowerCutError:
            self.power_cut()
            return False
        finally:
            self._hear()
        self._submit()
        return True

    def _plan(self, at: float) -> None:
        """The gateway is to be called at ``at``, if nothing happens before."""
        if at < float("inf") and not self.now < self.tick_at <= at:
            self.tick_at = at
            self.after(at - self.now, partial(self._tick, at, self.life))

    def _tick(self, at: float, life: int) -> None:
        if life == self.life and at == self.tick_at:
            self.tick_at = float("inf")
            day = int((self.now - BEGIN) // DAY)
            self.ticks[day] += 1
            self.judge.bounded(self.ticks[day], self.now)
            self.transact(lambda: None)

    def power_cut(self) -> None:
        """What was given to the line before may still go out; but nobody hears of an answer."""
        jobs, self.box.jobs = self.box.jobs, []
        for line, job in jobs:
            if self.draw.random() < 0.5:
                home = self.by_asset[job.meter]
                way = Line(home, self.judge, self.draw, self._audit)
                way.turn(line, job, self.now, self.wall())
        self.auditor.power_cut(self.now)
        self.up = False
        self.life += 1
        self.power_cuts += 1
        self.tick_at = float("inf")
        self.after(self.draw.uniform(5, 900), self.start)

    def start(self) -> None:
        self.judge.outside.started_at = self.now
        self.up = True
        self.link_since = self.now
        try:
            self.box: Box = Box(self)
        except PowerCutError:
            self.up = False
            self.power_cuts += 1
            self.life += 1
            self.after(self.draw.uniform(5, 900), self.start)
            return
        self.box.prepaid.sound = self.sound
        self.transact(lambda: None)
        self.after(30, self.deliver)

    # --- the lines ------------------------------------------------------------------------------

    def _submit(self) -> None:
        jobs, self.box.jobs = self.box.jobs, []
        for line, job in jobs:
            way = Line(self.by_asset[job.meter], self.judge, self.draw, self._audit)
            self.after(way.wait_s(), partial(self._turn, way, line, job, self.life))

    def _audit(self, home: Home, sent: Sent) -> None:
        self.auditor.frame(home, sent, self.connection())

    def connection(self) -> Connection:
        """The rows as committed."""
        return Connection(NOWHERE, self.platter.connection)

    def _turn(self, way: Line, line: str, job: Job, life: int) -> None:
        """A job's turn on the line."""
        home = self.by_asset[job.meter]
        sends = isinstance(job.requests[0], Timed)
        if sends and home.pays == "sending" and self.draw.random() < 0.5:
            self.pay(home)  # a millisecond before
        if life != self.life:
            return
        event = way.turn(line, job, self.now, self.wall())
        if way.trips and home.pays in ("sending", "dark"):
            wait_s = 0.001 if home.pays == "sending" else self.draw.uniform(0.01, 2) * DAY
            self.after(wait_s, partial(self.pay, home))
        self.after(self.draw.uniform(0.1, 2), partial(self._done, way, event, self.now, life))
        self.watch(home)

    def _done(self, way: Line, event: JobDone, at: float, life: int) -> None:
        if life != self.life:
            return
        if way.looked:
            self.judge.polled(self.by_asset[event.job.meter], way.looked, at)
        self.transact(lambda: self.box.done(event))

    def watch(self, home: Home) -> None:
        """A meter that has something to do is polled when it has done it."""
        timers = home.meter.relay._timers
        if timers and home.number not in self.looked_at:
            self.looked_at.add(home.number)
            self.after(min(timers.values()) - self.now + 300, partial(self.poll, home))

    def poll(self, home: Home) -> None:
        """An ordinary poll, as there is one every quarter of an hour."""
        self.looked_at.discard(home.number)
        home.meter.pass_time(self.now)
        tripped = home.meter.relay.told_open
        meter = home.meter.asset
        if self.now >= home.meter.silent_until:
            self.transact(lambda: self.box.room.work.polled(meter, tripped=tripped))
        self.watch(home)

    # --- what the gateway says --------------------------------------------------------------------

    def _hear(self) -> None:
        """Judge what was committed, and pass on what was said."""
        published, self.platter.published = self.platter.published, []
        self._read_decisions()
        for kind, body in published:
            if kind == "results":
                self._answered(json.loads(body))
            elif kind == "events":
                event = json.loads(body)["event"]
                self.auditor.told(event)
                self._event(event)

    def _read_decisions(self) -> None:
        rows = self.platter.connection.execute(
            "select number, facts, failed from decision where number > ?", (self.judged,)
        )
        for number, text, failed in rows.fetchall():
            self.judged = number
            facts = from_json(text)
            decision = preflight(facts)
            told = [[one.code, one.rule, one.text] for one in decision.failed]
            same = told == json.loads(failed)
            self.judge._must(same, "R39", None, self.now, f"decision {number} differs on replay")
            self.judge.decided(facts, decision)

    def _answered(self, result: dict[str, Any]) -> None:
        self.judge.count[f"order {result['stage']}"] += 1
        if result["stage"] in ("accepted", "confirmed") and result["id"] in self.answers:
            self.answers.pop(result["id"])(result)

    def _event(self, event: dict[str, Any]) -> None:
        match event["code"]:
            case "disconnection":
                self._case(self.by_number[event["account"]], event)
            case "relay":
                home = self.by_asset[event["meter"]]
                self.judge.said(home, event["what"], self.now)
                alarmed = event["what"] == "restore_late" and event["cause"] == "alarm"
                if event["what"] in CALLED or alarmed:
                    self.after(self.draw.uniform(1, 48) * HOUR, partial(self.visit, home))
            case "cuts_latched":
                self.judge.count["latched"] += 1
                self.judge.latched = True
                self.after(self.draw.uniform(1, 30) * HOUR, self.release)
            case "cuts_released":
                self.judge.latched = False
                self.judge.due.clear()

    def _case(self, home: Home, event: dict[str, Any]) -> None:
        """Messages to people."""
        round_ = self.rounds[home.number] = event["round"]
        self.stages[home.number] = event["state"]
        match event.get("asks"):
            case "warn":
                if home.pays == "early":
                    self.after(self.draw.uniform(0, 2) * DAY, partial(self.pay, home))
                if self.draw.random() < 0.9:
                    wait_s = self.draw.uniform(0, 10) * HOUR
                    self.after(wait_s, partial(self.proven, home, "dunning", round_))
            case "serve_notice":
                self.judge.notice(home, self.now, round_)
                if home.pays == "notice":
                    self.after(self.draw.uniform(0, 30) * HOUR, partial(self.pay, home))
                if self.draw.random() < 0.9:
                    wait_s = self.draw.uniform(0, 10) * HOUR
                    self.after(wait_s, partial(self.proven, home, "notice", round_))
            case "last_call" if self.draw.random() < 0.9:
                wait_s = self.draw.uniform(0, 300)
                self.after(wait_s, partial(self.proven, home, "last_call", round_))
            case "ask_approval":
                wait_s = self.draw.uniform(0, 20) * HOUR
                self.after(wait_s, partial(self.approve, home, round_))
            case "report" if event["state"] == "open":
                self.judge.said(home, "open: relay proven open", self.now)

    # --- orders -----------------------------------------------------------------------------------

    def order(
        self,
        by: str,
        order: dict[str, Any],
        answered: Answer = lambda _result: None,
        *,
        for_s: float = WEEK,
        issued: float | None = None,
        twice: bool = False,
    ) -> str:
        """Somebody orders something; ``answered`` is called when the gateway has done it."""
        self.serial += 1
        id_ = f"c{self.serial}"
        issued = self.now if issued is None else issued
        payload = command(id_, by, issued, order, for_s=for_s, gateway=GATEWAY)
        self.answers[id_] = answered
        self.send(payload)
        if twice or self.draw.random() < 0.05:
            self.after(self.draw.uniform(0, 900), partial(self.send, payload))
        return id_

    def send(self, payload: bytes) -> None:
        """It is in the broker; what is not acknowledged comes again."""
        self.attempts.heard(payload)
        if not self.online or not self.transact(lambda: self.box.arrive(payload)):
            self.at_broker.append(payload)

    def deliver(self, payload: bytes = b"", *, retained: bool = False) -> None:
        """What the broker kept; or one message that it does not keep."""
        if payload:
            self.transact(lambda: self.box.arrive(payload, retained=retained))
        elif self.up and self.online:
            waiting, self.at_broker = self.at_broker, []
            for one in waiting:
                self.send(one)

    # --- people -----------------------------------------------------------------------------------

    def sync(self, home: Home) -> None:
        """What the books and the accounts say of a home."""
        rows = self.platter.connection.execute(
            "select ledger, amount from balance where account = ?", (home.number,)
        )
        amounts = dict(rows.fetchall())
        home.balance_e4 = amounts.get(Ledger.PREPAID, 0)
        owed = amounts.get(Ledger.EMERGENCY, 0) < 0
        home.emergency_left_e4 = 0 if owed else home.policy.emergency_e4
        if self.up:
            account = self.box.prepaid.accounts.current(home.number)
            assert account
            home.standing = Standing.of(account)

    def changed(self, home: Home, *, wrong: bool = False) -> None:
        """The money or the standing of a home has changed; or its cut was found ``wrong``."""
        self.sync(home)
        self.judge.files[home.number].changed_at = self.now
        self.judge.books(home, self.now)
        if self.up:
            self.auditor.ended(home, self.connection(), self.now)
        if self.judge.owed(home, self.now, wrong=wrong):
            since = self.judge.files[home.number].owed_from or self.now
            self.after(61, partial(self.overdue, home, since))

    def overdue(self, home: Home, since: float) -> None:
        if self.judge.files[home.number].owed_from != since:
            return
        up_for_s = self.now - self.judge.outside.started_at if self.up else 0.0
        if up_for_s > 60:
            self.judge.late(home, max(since, self.now - up_for_s), self.now)
        self.after(30, partial(self.overdue, home, since))

    def pay(self, home: Home) -> None:
        amount_e4 = max(0, -home.balance_e4) + self.draw.randrange(3, 60) * YUAN
        self.credit(home, amount_e4)

    def credit(self, home: Home, amount_e4: int) -> None:
        order = {
            "name": "topup",
            "payment": f"p{self.serial}",
            "account": home.number,
            "amount": yuan(amount_e4 // 100 * 100),
            "channel": "counter",
            "paid": instant(self.now),
        }
        self.order("cash", order, lambda _result: self.changed(home))

    def proven(self, home: Home, what: str, round_: int) -> None:
        """A proof of delivery arrives; where the clock says nothing, it waits."""
        if self.rounds[home.number] != round_:
            return
        if not (self.up and self.online and self.trusted):
            if (home.number, what) not in self.proving:
                self.proving.add((home.number, what))
                self.after(HOUR, partial(self.proven_later, home, what, round_))
            return
        file = self.judge.files[home.number]

        def known(_result: dict[str, Any]) -> None:
            if what == "notice" and round_ == file.round:
                file.notice_at = file.notice_at or self.now
            elif what == "last_call":
                file.last_calls = (*file.last_calls, self.now)

        order = {
            "name": "notice.served",
            "account": home.number,
            "round": round_,
            "what": what,
            "channel": "sms",
            "served": instant(self.wall()),
            "receipt": "delivered",
        }
        self.order("asks", order, known, for_s=HOUR)

    def proven_later(self, home: Home, what: str, round_: int) -> None:
        self.proving.discard((home.number, what))
        self.proven(home, what, round_)

    def approve(self, home: Home, round_: int) -> None:
        if self.rounds[home.number] == round_ and self.draw.random() < 0.7:
            for by in ("chen", "li")[: self.draw.randrange(1, 3)]:
                self.agree(home, by, "disconnect")

    def agree(self, home: Home, by: str, action: str) -> None:
        """One person agrees, to a debt that may still grow a little."""
        debt_max_e4 = max(0, -home.balance_e4) // 100 * 100 + 5 * YUAN
        issued = self.now
        order = {
            "name": "disconnect.approve",
            "action": action,
            "account": home.number,
            "debt_max": yuan(debt_max_e4),
        }

        def known(result: dict[str, Any]) -> None:
            one = Approval(
                id=result["id"],
                by=by,
                account=home.number,
                debt_max_e4=debt_max_e4,
                not_before=int(issued),
                expires=int(issued) + DAY,
            )
            home.approvals = [*home.approvals[:1], *home.approvals[-3:], one]

        self.order(by, order, known, for_s=HOUR)

    def visit(self, home: Home) -> None:
        """A technician repairs the relay, and says so."""
        if not (self.up and self.online and self.trusted):
            self.after(HOUR, partial(self.visit, home))
            return
        home.meter.repaired(self.now)
        self.judge.visited(home)
        order = {"name": "relay.close", "meter": home.meter.asset, "reason": "repaired"}
        self.order("fitter", order, for_s=300)

    def release(self) -> None:
        """Two persons release the latch; if it did not help, they try again."""
        if not self.judge.latched:
            return
        for by in ("chen", "li"):
            self.order(by, {"name": "mass.release", "reason": "looked at"}, for_s=600)
        self.after(6 * HOUR, self.release)

    def digest(self) -> str:
        """Of everything on the disk."""
        found = hashlib.sha256()
        for text in self.platter.connection.iterdump():
            found.update(text.encode())
        return found.hexdigest()

    # --- the end ------------------------------------------------------------------------------

    def settle(self) -> None:
        """All faults end and everybody pays: then everybody has supply."""
        self.crash_share, self.offset, self.clock, self.online = 0.0, 0.0, ClockState.TRUSTED, True
        self.run(self.end + 2 * HOUR)
        self.deliver()
        for home in self.homes:
            home.pays = "never"
            home.meter.repaired(self.now)
            self.poll(home)
            self.visit(home)
            self.credit(home, 1000 * YUAN)
        self.run(self.now + 6 * HOUR)
        for home in self.homes:
            relay = home.meter.relay
            home.meter.pass_time(self.now)
            if not (relay.conducts or relay.state.value == "allowed"):
                stands = self.box.room.relays.get(home.meter.asset)
                self.judge._must(False, "R34", home, self.now, f"in the dark: {stands}")


def torture(seed: int, days: int = DAYS) -> Torture:
    """One seed to its end.  Raises WrongError."""
    from tests.switch_happenings import prepare  # noqa: PLC0415 - it needs the class above

    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        world = Torture(seed, Path(directory), days)
        prepare(world)
        world.run(world.end)
        world.settle()
        world.auditor.end(world.connection(), world.now)
    return world


def one(seed: int) -> tuple[int, str, Counter[str]]:
    """What a seed came to: the violation, if any, and what happened."""
    try:
        world = torture(seed)
    except WrongError as error:
        return seed, str(error), Counter(violations=1)
    seen = Counter(world.judge.count)
    seen["power cuts"] = world.power_cuts
    seen.update({f"refused {code}": count for code, count in world.judge.refused.items()})
    return seed, "", seen


def main() -> int:
    """Print each seed as it ends, and the totals.  Returns 1 if any went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.switch_torture")
    parser.add_argument("seed", nargs="*", type=int)
    parser.add_argument("--seeds", help="as in 200:2200", default="0:0")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    first, _, last = given.seeds.partition(":")
    seeds = [*given.seed, *range(int(first), int(last))]
    total: Counter[str] = Counter(violations=0)
    began = time.monotonic()
    with contextlib.ExitStack() as held:
        each: Iterable[tuple[int, str, Counter[str]]] = map(one, seeds)
        if given.processes > 1:
            each = held.enter_context(Pool(given.processes)).imap_unordered(one, seeds)
        for seed, wrong, seen in each:
            total.update(seen)
            if wrong or given.seed:
                print(seed, wrong or dict(seen), flush=True)
    print(f"{len(seeds)} seeds in {time.monotonic() - began:.0f} s: {dict(sorted(total.items()))}")
    return int(total["violations"] > 0)


if __name__ == "__main__":
    sys.exit(main())
