"""The gateway of the torture: the real rooms of switching, money and orders on a disk in memory.

One box is one life, from a start to the next power cut: then all of its objects are thrown away,
and the next one is built from what was committed.  Only the lines, the clock and the connection
are played; they stand in tests/switch_torture.py.
"""

import math
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Protocol

from gateway.acquisition.days import day_of, end_of
from gateway.acquisition.polling import Polling
from gateway.clock import ClockState
from gateway.config import Config, load
from gateway.config_switching import Switching as Settings
from gateway.events import Arrived, Job, JobDone
from gateway.money.prepaid import Prepaid
from gateway.north.commands import Judge
from gateway.north.delivery import Delivery, DeliverySettings
from gateway.orders import Orders
from gateway.prepayment import drafts, rerate
from gateway.prepayment.account import Account, Metering
from gateway.prepayment.ledger import Draft, Ledger, reversal
from gateway.prepayment.settle import Part, Position
from gateway.prepayment.validity import TOTAL, Flag
from gateway.recorder import Recorder
from gateway.store.commands import Commands
from gateway.store.outbox import Message
from gateway.switching.room import SwitchingRoom, World
from gateway.uplink import Reach
from tests.places import HOME, place
from tests.switch_disk import Disk, Ears, Platter
from tests.switch_persons import KEYS
from tests.switch_street import BEGIN, HOMES, ZONE, Home

GATEWAY = "torture"
DAY = timedelta(days=1)
OPENED = day_of(BEGIN, ZONE) - DAY
WATCH_S = 12 * 3600
"""Between looks at an open relay: in between the polls, which are not played, would tell."""
HELP = """
emergency = "10.00"
hoarding = "100000.00"
"""
CONFIG = place(GATEWAY, HOME, HELP)


class Outside(Protocol):
    """What the box sees of the world."""

    platter: Platter
    settings: Settings
    config: Config
    draw: Random
    now: float

    def wall(self) -> float: ...
    def state(self) -> ClockState: ...
    def reach(self) -> Reach: ...
    def fails(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Charge:
    """What a home is to be charged."""

    home: Home
    after: date
    """The last day charged before."""
    amount_e4: int
    estimated: bool


class Box:
    """One life of the gateway."""

    def __init__(self, world: Outside) -> None:
        wall, config = world.wall, world.config
        assert config.prepayment
        self.world, self.jobs = world, list[tuple[str, Job]]()
        self.disk = Disk(world.platter, world.fails, world.draw)
        self.disk.power_up(wall())
        outbox = Ears(self.disk, wall)
        self.recorder = Recorder(self.disk, outbox, GATEWAY, config.store, wall, world.state)
        self.polling = Polling(config.meters, (), world.draw.random)
        parts = (self.disk, self.recorder, wall, world.state, None)
        self.prepaid = Prepaid(config, config.prepayment, *parts)
        delivery: Delivery[Message] = Delivery(
            DeliverySettings(brokers=("mqtt://one",)), world.draw
        )
        self.orders = Orders(
            Judge(GATEWAY, KEYS),
            Commands(self.disk),
            outbox,
            self.polling,
            self.recorder,
            delivery,
            self._submit,
        )
        self.room = SwitchingRoom(
            world.settings,
            World(
                config=config,
                database=self.disk,
                recorder=self.recorder,
                prepaid=self.prepaid,
                polling=self.polling,
                submit=self._submit,
                state=world.state,
                wall=wall,
                reach=world.reach,
                waiting=lambda: 0,
                draw=world.draw.random,
                answer=self.orders.answer,
            ),
        )
        self.orders.cashier, self.orders.switcher = self.prepaid, self.room
        self.orders.begin(wall())
        self.recorder.began(self.disk.started)

    def _submit(self, line: str, job: Job) -> None:
        self.jobs.append((line, job))

    # --- what happens -----------------------------------------------------------------------------

    def tick(self) -> float:
        """As the core does after each event; returns the monotonic time of the next."""
        now, wall = self.world.now, self.world.wall()
        at = math.inf
        if not self.prepaid.looked and self.world.state() is not ClockState.UNKNOWN:
            at = self.prepaid.tick(now, wall)
        at = min(at, self.room.tick(now, wall))
        if self.recorder.waits(now):
            self.recorder.flush(now, live=self.world.reach().up)
        return at

    def arrive(self, payload: bytes, *, retained: bool = False, topic: str = "commands") -> None:
        """A command from the head-end."""
        event = Arrived(1, 1, f"taiqu/v1/{GATEWAY}/{topic}", payload, retained)
        now, trusted = self.world.now, self.world.state() is ClockState.TRUSTED
        live = self.world.reach().up
        self.orders.arrived(event, now, self.world.wall(), trusted=trusted, live=live)

    def done(self, event: JobDone) -> None:
        """A job of the lines is over."""
        found = self.polling.done(event, self.world.now)
        if self.room.asked(event):
            self.room.done(event, found, self.world.now, self.world.wall())

    # --- money ------------------------------------------------------------------------------------

    def open(self, homes: list[Home]) -> None:
        """Open all accounts, with their first charge: a reading of yesterday's end."""
        with self.recorder.commit(self.world.now, live=True):
            for home in homes:
                account = account_of(home)
                self.prepaid.accounts.add(account, BEGIN, "test", "opened")
                posts = [_cash(account, home.balance_e4)]
                if home.emergency_left_e4 == 0:
                    posts += [_credit(account, home.policy.emergency_e4)]
                    posts += [_cash(account, -home.policy.emergency_e4, "back")]
                self.prepaid.books.post([*posts, charge(account, OPENED - DAY, OPENED, 0, 0)])

    def charge(self, charges: list[Charge], to: date) -> None:
        """Charge homes for their days up to the end of ``to``, as the night does: several in one
        commit.
        """
        with self.recorder.commit(self.world.now, live=True):
            for one in charges:
                self._charge(one, to)

    def _charge(self, one: Charge, to: date) -> None:
        """A reading that was read undoes what was estimated since the last one, and charges it
        again.
        """
        journal, home, account = self.prepaid.journal, one.home, account_of(one.home)
        after, amount_e4, posts = one.after, one.amount_e4, list[Draft]()
        if home.provisional_e4 and not one.estimated:
            for past in rerate.standing(journal.newest(home.number)):
                after = rerate.stand(past).position.day
                if Flag.ESTIMATED not in rerate.stand(past).flags:
                    break
                posts.append(reversal(past, f"reversal:{past.number}", self.world.wall()))
            amount_e4 += home.provisional_e4
        generation = journal.head()[0]
        parts = (account, after, to, amount_e4, generation)
        self.prepaid.books.post([*posts, charge(*parts, estimated=one.estimated)])
        current = self.prepaid.accounts.current(home.number)
        assert current
        self.prepaid.books.look(current)

    def correct(self, home: Home, by_e4: int) -> None:
        """The last charge was wrong: it is undone and posted anew, by so much higher."""
        journal = self.prepaid.journal
        with self.recorder.commit(self.world.now, live=True):
            last = next(rerate.standing(journal.newest(home.number)))
            stand = rerate.stand(last)
            paid_e4 = -sum(p.amount for p in last.draft.postings if p.ledger is Ledger.PREPAID)
            new = charge(
                account_of(home),
                stand.read[0],
                stand.position.day,
                paid_e4 + by_e4,
                journal.head()[0],
                estimated=Flag.ESTIMATED in stand.flags,
            )
            undo = reversal(last, f"reversal:{last.number}", self.world.wall())
            self.prepaid.books.post([undo, new])
            current = self.prepaid.accounts.current(home.number)
            assert current
            self.prepaid.books.look(current)


def _config(directory: Path) -> Config:
    """The configuration of all streets."""
    path = directory / "gateway.toml"
    meters = "".join(
        f'[[meter]]\nasset = "A{n}"\nline = "east"\naddress = "{10_000 + n:012}"\n'
        'profile = "dlt645-2007-single-phase"\npoints = ["relay_state"]\n'
        for n in range(HOMES)
    )
    path.write_text(CONFIG + meters)
    (directory / "tariffs").mkdir()
    (directory / "store").mkdir()
    return load(path)


def config_of(directory: Path, homes: list[Home]) -> Config:
    """The configuration of one street."""
    config = _config(directory)
    phases = {home.meter.asset: f"L{'ABC'.index(home.phase) + 1}" for home in homes}
    direct = {home.meter.asset for home in homes if home.direct}
    meters = tuple(
        replace(one, phase=phases[one.asset], direct_close=one.asset in direct)
        for one in config.meters
    )
    return replace(config, meters=meters, keys=KEYS)


def account_of(home: Home) -> Account:
    standing = home.standing
    start = {TOTAL: 0}
    return Account(
        number=home.number,
        version=1,
        opened=OPENED,
        mode=standing.mode,
        regime=standing.regime,
        class_=standing.class_,
        no_cut=standing.no_cut,
        dispute=standing.dispute,
        policy="home",
        tariffs=((OPENED, "flat"),),
        meterings=(Metering(meter=home.meter.asset, since=OPENED - DAY, start=start),),
    )


def _cash(account: Account, amount_e4: int, why: str = "opened") -> Draft:
    key = f"{why}:{account.number}"
    return drafts.adjustment(account=account.number, key=key, effective=BEGIN, amount_e4=amount_e4)


def _credit(account: Account, amount_e4: int) -> Draft:
    key = f"emergency:{account.number}:test"
    return drafts.emergency(account=account.number, key=key, effective=BEGIN, amount_e4=amount_e4)


def charge(
    account: Account,
    after: date,
    to: date,
    amount_e4: int,
    generation: int,
    *,
    estimated: bool = False,
) -> Draft:
    """A charge as settlement posts it, for an amount that nobody derives again."""
    part = Part(
        after=after,
        to=to,
        read=(after, to),
        used_wh=amount_e4 // 5,
        unpriced_wh=0,
        charged={"energy": amount_e4},
        flags=frozenset((Flag.ESTIMATED,)) if estimated else frozenset(),
        position=Position(day=to),
    )
    return rerate.draft(account, part, generation, lambda day: end_of(day, ZONE))
