"""Sixty days of everything at once in a street of 64 homes, drawn by one seed.

    python -m tests.switch_torture SEED...      replay, with what happened

Simulated time jumps from event to event.  Any transaction may be cut off: before its commit, or
after it and before anything reached the wire.
"""

import sys
from collections.abc import Callable
from datetime import date, datetime
from heapq import heappop, heappush
from random import Random

from gateway.disconnection import mass_limits
from gateway.disconnection.case import Do, Signal
from gateway.disconnection.facts import Approval
from gateway.disconnection.friendly import Calendar
from gateway.disconnection.relay_table import Do as AtRelay
from gateway.disconnection.relay_table import Signal as Told
from gateway.prepayment.account import NoCut
from protocols.relay import Action
from tests.accounts import YUAN
from tests.switch_box import Gateway
from tests.switch_judge import Judge
from tests.switch_rows import Out, Rows
from tests.switch_street import BEGIN, DAY, HOUR, ZONE, Home, calendar, homes

DAYS = 60
OXYGEN = NoCut(reason="oxygen")


class Torture:
    """The world of one seed."""

    def __init__(self, seed: int, days: int = DAYS) -> None:
        self.seed, self.draw = seed, Random(seed)
        self.days = days
        self.now, self.offset = BEGIN, 0.0
        self.end = BEGIN + days * DAY
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = self.life = self.power_cuts = self.events = 0
        self.up = self.online = self.trusted = self.sound = True
        self.stopped = self.dry_run = False
        self.drained = True
        self.calendar: Calendar | None = calendar()
        self.homes = homes(self.draw, seed)
        self.judge = Judge()
        self.judge.outside.started_at = BEGIN
        self.at_broker: list[tuple[Home, int]] = []
        self.crash_share = self.draw.choice((0.0, 0.004, 0.02))
        self.cuts_offline = self.draw.random() < 0.5
        self.offline_since = BEGIN
        self.watched: set[str] = set()
        self.ticks: dict[str, float] = {}
        self.box = Gateway(self, Rows())
        delegation = Approval(
            id="d1",
            by="wang",
            account=None,
            debt_max_e4=60 * YUAN,
            not_before=BEGIN,
            expires=BEGIN + self.draw.uniform(20, 90) * DAY,
        )
        for home in self.homes:
            home.approvals.append(delegation)
            self.judge.books(home, BEGIN)

    # --- what the gateway sees ----------------------------------------------------------------

    def wall(self) -> float:
        return self.now + self.offset

    def today(self) -> date:
        return datetime.fromtimestamp(self.wall(), ZONE).date()

    def random(self) -> float:
        return self.draw.random()

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

    def transact(self, act: Callable[[], object], *, crash: float = 1.0) -> None:
        """One event, one transaction; the power may fail on either side of the commit."""
        if not self.up:
            return
        fails = self.draw.random() < self.crash_share * crash
        before = self.box.rows.copy() if fails else None
        act()
        out, decided = self.box.out, self.box.decided
        self.box.out, self.box.decided = [], []
        if before and self.draw.random() < 0.5:
            self.box.rows = before
            self.power_cut()
            return
        for facts, decision in decided:
            self.judge.decided(facts, decision)
        for one in out:
            self.carry_out(one)
        if before:
            self.power_cut()

    def power_cut(self) -> None:
        self.up = False
        self.life += 1
        self.power_cuts += 1
        self.box = Gateway(self, self.box.rows.read_again())
        self.after(self.draw.uniform(5, 900), self.start)

    def start(self) -> None:
        self.up = True
        self.judge.outside.started_at = self.now
        self.ticks.clear()
        self.transact(self.box.start)

    # --- what the gateway wants done ----------------------------------------------------------

    def carry_out(self, out: Out) -> None:
        home, life = out.home, self.life
        wait_s = max(0.0, out.at - self.wall())
        match out.what:
            case "poll":
                state = self.box.rows.relays[home.meter.asset].state
                wait_s += self.draw.uniform(0.3, 3)
                self.after(wait_s, lambda: self.poll(home, out.said, life, state))
            case AtRelay.SEND_TRIP | AtRelay.SEND_CLOSE:
                slow = self.draw.random() < 0.03
                wait_s += self.draw.uniform(5, 40) if slow else self.draw.uniform(0.05, 3)
                self.after(wait_s, lambda: self.wire(home, out, life))
            case "tick":
                self._tick(home, wait_s + 0.001, life)
            case "turn":
                self.after(wait_s, lambda: self.alive(life, lambda: self.box.waited(home)))
            case "latched":
                self.judge.count["latched"] += 1
                self.after(self.draw.uniform(1, 30) * HOUR, self.release)
            case _:
                self.tell(home, out, wait_s)

    def _tick(self, home: Home, wait_s: float, life: int) -> None:
        due = self.now + wait_s
        known = self.ticks.get(home.number)
        if known is not None and self.now < known <= due:
            return

        def act() -> None:
            if self.ticks.get(home.number) == due:
                del self.ticks[home.number]
            self.alive(life, lambda: self.box.look_at(home))

        self.ticks[home.number] = due
        self.after(wait_s, act)

    def alive(self, life: int, act: Callable[[], None]) -> None:
        if life == self.life:
            self.transact(act)

    def tell(self, home: Home, out: Out, wait_s: float) -> None:
        """Messages to people."""
        round_ = int(out.said) if out.said.isdigit() else 0
        match out.what:
            case Do.WARN if home.pays == "early":
                self.after(self.draw.uniform(0, 2) * DAY, lambda: self.pay(home))
            case Do.SERVE_NOTICE:
                self.judge.notice(home, self.now, round_)
                if home.pays == "notice":
                    self.after(self.draw.uniform(0, 30) * HOUR, lambda: self.pay(home))
                if self.draw.random() < 0.9:
                    wait_s = self.draw.uniform(0, 10) * HOUR
                    self.after(wait_s, lambda: self.proven(home, Signal.NOTICE, round_))
            case Do.LAST_CALL if self.draw.random() < 0.9:
                wait_s += self.draw.uniform(0, 300)
                self.after(wait_s, lambda: self.proven(home, Signal.LAST_CALL, round_))
            case Do.ASK_APPROVAL:
                self.after(self.draw.uniform(0, 20) * HOUR, lambda: self.approve(home, round_))
            case Do.REPORT | "relay report":
                self.judge.said(home, out.said, self.now)
            case Do.WORK_ORDER | "relay open a work order":
                self.after(self.draw.uniform(1, 48) * HOUR, lambda: self.visit(home))

    def poll(self, home: Home, why: str, life: int, asked_in: str) -> None:
        if life != self.life:
            return
        found = home.meter.look(self.now, self.draw)
        if found:
            self.judge.polled(home, found, self.now)
        else:
            self.judge.files[home.number].owed_from = None  # it was tried
        if found or self.box.rows.relays[home.meter.asset].state == asked_in:
            self.transact(lambda: self.box.polled(home, why, found))
        self.watch(home)

    def wire(self, home: Home, out: Out, life: int) -> None:
        """A frame's turn on the line."""
        trip = out.what == AtRelay.SEND_TRIP
        if trip and home.pays == "sending" and self.draw.random() < 0.5:
            self.pay(home)  # a millisecond before
        if life != self.life:
            return
        asset, moment = home.meter.asset, self.now
        heard = Told.NO_REPLY
        if self.box.may_send(home, out.what, out.said):
            if trip:
                self.judge.trip(home, moment)
            else:
                self.judge.close(home, moment, direct=out.direct)
            close = Action.CLOSE if out.direct else Action.ALLOW_CLOSE
            heard = home.meter.told(Action.TRIP if trip else close, moment, self.draw)
            if trip and home.pays in ("sending", "dark"):
                wait_s = 0.001 if home.pays == "sending" else self.draw.uniform(0.01, 2) * DAY
                self.after(wait_s, lambda: self.pay(home))

        def answer() -> None:
            relay = self.box.rows.relays[asset]
            if str(relay.sent_at) == out.said and relay.state in ("trip_sent", "restore_sent"):
                self.box.tell(home, heard)

        self.after(self.draw.uniform(0.1, 2), lambda: self.alive(life, answer))
        self.watch(home)

    def watch(self, home: Home) -> None:
        """A meter that has something to do is polled when it has done it."""
        timers = home.meter.relay._timers
        asset, life = home.meter.asset, self.life
        if timers and asset not in self.watched:
            self.watched.add(asset)

            def look() -> None:
                self.watched.discard(asset)
                self.poll(home, "state", life, "")

            self.after(min(timers.values()) - self.now + 300, look)

    # --- people -------------------------------------------------------------------------------

    def books(self, home: Home) -> None:
        """What was posted or ordered is looked at, and the judge starts his watch."""
        self.judge.books(home, self.now)
        self.transact(lambda: self.box.look_at(home), crash=0.2)
        if self.judge.owed(home, self.now):
            since = self.judge.files[home.number].owed_from or self.now
            self.after(61, lambda: self.overdue(home, since))

    def overdue(self, home: Home, since: float) -> None:
        if self.judge.files[home.number].owed_from != since:
            return
        up_for_s = self.now - self.judge.outside.started_at if self.up else 0.0
        if up_for_s > 60 and self.judge.too_late(home, max(since, self.now - up_for_s), self.now):
            self.judge._must(False, "R32", home, self.now, f"owed since {since:.3f}")
        self.after(30, lambda: self.overdue(home, since))

    def pay(self, home: Home) -> None:
        amount_e4 = max(0, -home.balance_e4) + self.draw.randrange(3, 60) * YUAN
        if self.up and (self.online or self.draw.random() < 0.5):
            self.credit(home, amount_e4)
        else:
            self.at_broker.append((home, amount_e4))
            if self.online:
                self.after(1000, self.deliver)

    def credit(self, home: Home, amount_e4: int) -> None:
        home.balance_e4 += amount_e4
        home.owed_since = None if home.balance_e4 > home.beyond_e4 else home.owed_since
        self.books(home)

    def deliver(self) -> None:
        waiting, self.at_broker = self.at_broker, []
        for home, amount_e4 in waiting:
            if self.up and self.online:
                self.credit(home, amount_e4)
            else:
                self.at_broker.append((home, amount_e4))

    def proven(self, home: Home, signal: Signal, round_: int) -> None:
        """A proof of delivery arrives; where the clock says nothing, it waits."""
        if not (self.up and self.trusted):
            self.after(600, lambda: self.proven(home, signal, round_))
        elif self.box.rows.cases[home.number].round == round_:
            file = self.judge.files[home.number]
            if signal is Signal.NOTICE:
                file.notice_at = file.notice_at or self.now
            else:
                file.last_calls = (*file.last_calls, self.now)
            self.transact(lambda: self.box.signal(home, signal), crash=0.0)
            self.transact(lambda: self.box.look_at(home))

    def approve(self, home: Home, round_: int) -> None:
        if not (self.up and self.trusted) or self.box.rows.cases[home.number].round != round_:
            return
        now = self.wall()
        standing = [one for one in home.approvals if one.account is None and one.expires > now]
        contract = home.standing.regime == "contract_prepay"
        until = max((one.expires for one in standing), default=0.0) if contract else 0.0
        if self.draw.random() < 0.7:
            until = max(until, now + DAY)
            for by in ("chen", "li")[: self.draw.randrange(1, 3)]:
                named = Approval(
                    id=f"a{self.serial}",
                    by=by,
                    account=home.number,
                    debt_max_e4=max(0, -home.balance_e4) + 5 * YUAN,
                    not_before=now,
                    expires=now + DAY,
                )
                home.approvals = [*home.approvals[:1], *home.approvals[-3:], named]
        if until:
            signal = Signal.APPROVED
            self.transact(lambda: self.box.signal(home, signal, moment=until), crash=0.0)
            self.transact(lambda: self.box.look_at(home))

    def visit(self, home: Home) -> None:
        """A technician repairs the relay, and says so."""
        if not self.up:
            self.after(HOUR, lambda: self.visit(home))
            return
        home.meter.repaired(self.now)
        self.judge.visited(home)
        cancel = self.draw.random() < 0.5

        def act() -> None:
            self.box.tell(home, Told.RELEASED)
            if cancel:
                self.box.signal(home, Signal.CANCEL, reason="ordered")

        self.transact(act)

    def release(self) -> None:
        """Two persons release the latch."""
        if not self.up:
            self.after(HOUR, self.release)
            return

        def act() -> None:
            rows = self.box.rows
            rows.mass = mass_limits.release(rows.mass, ["chen", "li"], key_at_box=False)

        self.transact(act, crash=0.0)
        self.judge.latched = False
        self.judge.due.clear()

    # --- the end ------------------------------------------------------------------------------

    def settle(self) -> None:
        """All faults end and everybody pays: then everybody has supply."""
        self.crash_share, self.offset, self.trusted, self.online = 0.0, 0.0, True, True
        self.run(self.end + 2 * HOUR)
        for home in self.homes:
            home.pays = "never"
            home.meter.repaired(self.now)
            for _ in range(3):
                self.poll(home, "state", self.life, "")
            self.transact(lambda home=home: self.box.tell(home, Told.RELEASED))  # type: ignore[misc]
            self.credit(home, 1000 * YUAN)
        self.run(self.now + 6 * HOUR)
        for home in self.homes:
            relay = home.meter.relay
            ordered = self.judge.cut_by.get(home.number) == "order"
            supplied = relay.conducts or relay.state.value == "allowed"
            if not supplied and not ordered:
                stands = self.box.rows.relays[home.meter.asset]
                self.judge._must(False, "R34", home, self.now, f"in the dark: {stands}")


def torture(seed: int, days: int = DAYS) -> Torture:
    """One seed to its end.  Raises WrongError."""
    from tests.switch_happenings import prepare  # noqa: PLC0415 - it needs the class above

    world = Torture(seed, days)
    prepare(world)
    world.run(world.end)
    world.settle()
    return world


if __name__ == "__main__":
    for text in sys.argv[1:]:
        done = torture(int(text))
        print(text, dict(done.judge.count), done.events, done.power_cuts, dict(done.judge.refused))
