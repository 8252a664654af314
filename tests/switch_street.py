"""A street of 64 homes as it really is: people, money, meters, the almanac.  All drawn by seed.

Nothing in here knows how the gateway decides; the gateway and its judge both look at it.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from gateway.disconnection.facts import Approval, Standing
from gateway.disconnection.friendly import Calendar, Days, Hours, Weather
from gateway.disconnection.relay_table import Signal as Seen
from gateway.prepayment.account import Class, Mode, NoCut, Policy, Regime
from protocols.relay import Action
from simulators.relay import SimRelay
from simulators.relay_scenarios import Behaviour, behaviour
from tests.accounts import POLICY, YUAN

HOMES = 64
HOUR = 3600.0
DAY = 24 * HOUR
ZONE = ZoneInfo("Asia/Shanghai")
BEGIN = datetime(2026, 9, 7, tzinfo=ZONE).timestamp()
HOLIDAY = (date(2026, 10, 1), date(2026, 10, 7))
NIGHT = (20, 8)
"""Nobody is cut from 20:00 to 08:00, at weekends, and in the holiday."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one fresh poll of a meter brought."""

    number: str
    seen: Seen
    protected: bool
    energy_mj: int
    clock: datetime
    """Its own, in its local time."""


@dataclass
class Meter:
    """A meter with a relay of its own, and a customer behind it who uses power."""

    asset: str
    address: str
    behaviour: Behaviour
    load_w: int
    relay: SimRelay = field(init=False)
    energy_mj: float = 0.0
    since: float = BEGIN
    silent_until: float = -math.inf
    twin: str = ""
    """Number of the other meter that has its address."""
    damaged: dict[str, float] = field(default_factory=dict)
    """When an answer with this data identifier was damaged last, by the gateway's clock."""

    def __post_init__(self) -> None:
        self.relay = SimRelay(self.behaviour)
        self.relay.advance(BEGIN)

    def shows(self, now: float) -> datetime:
        """What its clock shows."""
        ahead = timedelta(seconds=self.behaviour.clock_ahead_s)
        return datetime.fromtimestamp(now, ZONE).replace(tzinfo=None) + ahead

    def pass_time(self, now: float) -> None:
        before = len(self.relay.movements)
        supplied, at = self.relay.conducts, self.since
        self.relay.advance(now)
        for moved in self.relay.movements[before:]:
            self.energy_mj += supplied * self.load_w * (moved.at - at)
            supplied, at = moved.closed, moved.at
        self.energy_mj += supplied * self.load_w * (now - at)
        self.since = now

    def look(self, now: float, draw: Random) -> Look | None:
        self.pass_time(now)
        if now < self.silent_until or draw.random() < 0.02:
            return None
        number = self.twin if self.twin and draw.random() < 0.5 else self.address
        told, wanted = self.relay.told_open, self.relay.commanded_open
        seen = {
            (False, False): Seen.SEEN_CLOSED,
            (False, True): Seen.SEEN_MOVING,
            (True, True): Seen.SEEN_OPEN,
            (True, False): Seen.SEEN_ALLOWED,
        }[told, wanted]
        return Look(number, seen, self.relay.protected, int(self.energy_mj), self.shows(now))

    def told(
        self, action: Action, now: float, draw: Random, deadline: datetime | None = None
    ) -> Seen:
        """What the gateway hears of a command that may be obeyed until ``deadline``, by the meter's
        own clock; None: for ever.
        """
        self.pass_time(now)
        wrong = self.behaviour
        if now < self.silent_until or draw.random() < 0.02:
            return Seen.NO_REPLY
        late = deadline is not None and self.shows(now) > deadline
        if action in wrong.secured or not self.relay.unlocks(right=True) or late:
            return Seen.REFUSED
        refused = self.relay.command(action)
        self.pass_time(now)
        if wrong.mute or wrong.noise or wrong.wrong_echo or draw.random() < 0.05:
            return Seen.NO_REPLY
        return Seen.REFUSED if refused else Seen.ACCEPTED

    def mistyped(self, now: float) -> None:
        """Somebody tries wrong passwords; a meter that counts them is locked for a day."""
        self.pass_time(now)
        for _ in range(3):
            self.relay.unlocks(right=False)

    def repaired(self, now: float) -> None:
        """A technician was here: a good relay, closed as the old one was."""
        self.pass_time(now)
        self.behaviour = self.relay.behaviour = Behaviour()
        self.twin, self.silent_until = "", -math.inf
        self.relay._locked_until = -math.inf
        self.relay.command(Action.PROTECT_OFF)


@dataclass
class Home:
    """One customer: who, how treated, how much money."""

    standing: Standing
    meter: Meter
    policy: Policy
    phase: str
    balance_e4: int
    use_e4: int
    """A day."""
    pays: str
    """``early``, ``notice``, ``dark``, ``sending`` (a millisecond around the trip), ``never``."""
    provisional_e4: int = 0
    emergency_left_e4: int = 0
    worsened_at: float | None = None
    unprotected_at: float | None = None
    reading_at: float = BEGIN
    owed_since: float | None = None
    approvals: list[Approval] = field(default_factory=list)
    direct: bool = False

    @property
    def number(self) -> str:
        return self.standing.number

    @property
    def beyond_e4(self) -> int:
        return self.policy.limit_e4 - self.emergency_left_e4

    def becomes(self, **changed: object) -> None:
        """A new version of the account."""
        version = self.standing.version + 1
        self.standing = replace(self.standing, version=version, **changed)  # type: ignore[arg-type]


def homes(draw: Random, seed: int) -> list[Home]:
    return [_home(number, draw, seed) for number in range(HOMES)]


def _home(number: int, draw: Random, seed: int) -> Home:
    regime = draw.choices(list(Regime), (3, 15, 2))[0]
    wrong = behaviour("any", f"{seed} {number}")
    meter = Meter(
        asset=f"A{number}",
        address=f"{10_000 + number:012}",
        behaviour=wrong,
        load_w=draw.randrange(50, 3000),
        twin="000000099999" if wrong.twin_delay_s is not None else "",
    )
    standing = Standing(
        number=f"K{number}",
        version=1,
        mode=draw.choices(list(Mode), (85, 9, 3, 3))[0],
        regime=regime,
        class_=draw.choices(list(Class), (16, 2, 1, 1))[0],
        no_cut=NoCut(reason="oxygen") if draw.random() < 0.05 else None,
        dispute=draw.random() < 0.03,
    )
    return Home(
        standing=standing,
        meter=meter,
        policy=POLICY,
        phase=draw.choice("ABC"),
        balance_e4=draw.randrange(5, 60) * YUAN,
        use_e4=draw.randrange(2, 12) * YUAN,
        pays=draw.choices(("early", "notice", "dark", "sending", "never"), (25, 15, 30, 20, 10))[0],
        emergency_left_e4=draw.choice((0, 0, POLICY.emergency_e4)),
        direct=draw.random() < 0.1,
    )


# --- the almanac: what is true, told twice, so that neither telling can hide an error ------------


def calendar(weather: Weather | None = None) -> Calendar:
    """What the gateway is given."""
    first = datetime.fromtimestamp(BEGIN, ZONE).date()
    return Calendar(
        version="2026-2",
        zone=ZONE,
        first=first,
        last=first + timedelta(days=90),
        hours=(Hours(begin_minute=NIGHT[0] * 60, end_minute=NIGHT[1] * 60),),
        days=(Days(first=HOLIDAY[0], last=HOLIDAY[1], reason="National Day"),),
        weather=weather,
    )


def friendly(at: float) -> bool:
    """Whether people are to have supply at ``at``, by the rules on the wall."""
    local = datetime.fromtimestamp(at, ZONE)
    night = local.hour >= NIGHT[0] or local.hour < NIGHT[1]
    return night or local.weekday() > 4 or HOLIDAY[0] <= local.date() <= HOLIDAY[1]
