"""What happens in a street in sixty days, besides the ordinary."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from gateway.clock import ClockState
from gateway.disconnection.facts import Approval
from gateway.north.contract import instant
from gateway.prepayment.account import Mode
from protocols.base import Value
from protocols.relay import Action
from tests.accounts import YUAN
from tests.switch_attempts import strained
from tests.switch_box import Charge
from tests.switch_persons import WINDOWS
from tests.switch_street import DAY, HOUR, ZONE, Home
from tests.switch_torture import Torture

NEAR = ("notice_served", "approved", "scheduled", "preflight")
QUIET_DAYS = 4
"""Who is far from being cut is charged for some days at once: many postings show nothing new."""

TOGETHER = 8
"""So many homes are charged in one commit."""


def prepare(world: Torture) -> None:
    """Draw what happens when."""
    delegate(world)
    good_calendar(world)
    for day in range(world.days):
        world.after(day * DAY + 600, partial(post, world))
    for happening, most in HAPPENINGS.items():
        for _ in range(world.draw.randrange(most + 1)):
            world.after(world.draw.uniform(0, world.days * DAY), partial(happening, world))


def delegate(world: Torture) -> None:
    """The standing delegation, which ends some day."""
    expires = int(world.now + world.draw.uniform(20, 89) * DAY)
    one = Approval(
        id="delegation",
        by="wang",
        account=None,
        debt_max_e4=60 * YUAN,
        not_before=world.now,
        expires=expires,
    )
    for home in world.homes:
        home.approvals.append(one)
    order = {
        "name": "delegate",
        "policies": ["home"],
        "debt_max": "60.00",
        "expires": instant(expires),
    }
    world.order("wang", order)


# --- money ----------------------------------------------------------------------------------------


def post(world: Torture) -> None:
    """The charges of yesterday."""
    if not world.up:
        world.after(600, partial(post, world))
        return
    yesterday = datetime.fromtimestamp(world.now, ZONE).date() - timedelta(days=1)
    charges = list[Charge]()
    for home in world.homes:
        home.meter.pass_time(world.now)
        energy = int(home.meter.energy_mj)
        if energy > world.energy[home.number]:
            world.used_e4[home.number] += home.use_e4 * world.draw.randrange(50, 150) // 100
            world.energy[home.number] = energy
        left_e4 = home.balance_e4 - world.used_e4[home.number]
        estimated = world.draw.random() < 0.03
        low = left_e4 <= home.policy.alert_1_e4
        near = world.stages[home.number] in NEAR and home.meter.relay.conducts
        days = (yesterday - world.charged[home.number]).days
        due = days > 0 if near else low and days > QUIET_DAYS + int(home.number[1:]) % 3
        if due:
            used_e4, after = world.used_e4[home.number], world.charged[home.number]
            charges.append(Charge(home, after, used_e4, estimated))
    for first in range(0, len(charges), TOGETHER):
        charge(world, charges[first : first + TOGETHER], yesterday)


def charge(world: Torture, charges: list[Charge], to: date) -> None:
    """Charge homes for what they used, in one commit."""
    before = [one.home.balance_e4 for one in charges]
    done = world.transact(partial(world.box.charge, charges, to))
    for one in charges:
        world.sync(one.home)
    if not done and before == [one.home.balance_e4 for one in charges]:
        return  # the power failed before
    for one in charges:
        charged(world, one, to)


def charged(world: Torture, one: Charge, to: date) -> None:
    """A home was charged."""
    home = one.home
    world.used_e4[home.number] = 0
    world.charged[home.number] = to
    if one.estimated:
        home.provisional_e4 += one.amount_e4
    else:
        midnight = datetime(to.year, to.month, to.day, tzinfo=ZONE) + timedelta(days=1)
        home.reading_at = midnight.timestamp()
        if home.provisional_e4:
            home.worsened_at = world.wall()
        home.provisional_e4 = 0
    world.changed(home)


def correct(world: Torture) -> None:
    """A back-bill."""
    home = world.draw.choice(world.homes)
    before_e4 = home.balance_e4
    world.transact(partial(world.box.correct, home, 4 * YUAN))
    world.sync(home)
    if home.balance_e4 != before_e4:
        home.worsened_at = world.wall()
        world.changed(home)


def paid_since(world: Torture, home: Home, at: float) -> bool:
    """Whether he has given anything since, too little to be restored."""
    row = world.connection().row(
        "select 1 from journal where account = ? and kind <> 'charge' and recorded_ms > ?",
        home.number,
        at * 1000,
    )
    return row is not None


def righted(world: Torture) -> None:
    """Who is in the dark was charged too much: there was no reason for it (R37)."""
    cut = [
        home
        for home in world.homes
        if world.stages[home.number] == "open"
        and home.balance_e4 <= home.beyond_e4
        and not paid_since(world, home, world.judge.files[home.number].tried_at)
    ]
    if not (cut and world.up):
        return
    home = world.draw.choice(cut)
    less_e4 = home.beyond_e4 - home.balance_e4 + world.draw.randrange(1, 12) * YUAN
    world.auditor.corrected(home, world.now)
    world.transact(partial(world.box.correct, home, -less_e4))
    world.sync(home)
    if home.balance_e4 > home.beyond_e4:
        home.worsened_at = world.wall()
        world.judge.count["righted"] += 1
        world.changed(home, wrong=True)
    else:
        world.auditor.wrong.clear()  # the power failed before


def mistake(world: Torture) -> None:
    """A mistake that takes money from everybody: the gate lets few fall, whoever orders alone."""
    fallen: list[float] = []

    def adjusted(home: Home, result: dict[str, Any]) -> None:
        world.changed(home)
        if result["stage"] == "confirmed" and -60 * YUAN <= home.balance_e4 < 0:
            fallen.append(world.now)
            most = max(3, len(world.homes) * world.settings.limits.below_zero_percent // 100)
            of_a_day = sum(at > world.now - DAY for at in fallen)
            world.judge._must(of_a_day <= most, "R26", home, world.now, f"{of_a_day} fell")

    if world.draw.random() < 0.5:
        for home in world.homes:
            order = {
                "name": "adjust",
                "account": home.number,
                "amount": "-60.00",
                "reason": "the tariff was wrong",
            }
            world.order("cash", order, partial(adjusted, home))


# --- accounts -------------------------------------------------------------------------------------


def change(world: Torture, home: Home, **changes: Any) -> None:
    """One person changes an account; what takes protection away is refused."""
    order = {
        "name": "account.change",
        "account": home.number,
        "version": home.standing.version,
        **changes,
    }
    world.order("office", order, lambda _result: world.changed(home))


def unprotect(world: Torture, home: Home, **what: Any) -> None:
    """Two persons take protection away."""
    order = {
        "name": "protect.remove",
        "account": home.number,
        "version": home.standing.version,
        "reason": "not needed any more",
        **what,
    }

    def done(result: dict[str, Any]) -> None:
        if home.number in result["data"]:
            home.unprotected_at = world.wall()
            world.changed(home)

    for by in ("guard", "ward"):
        world.order(by, order, done, for_s=HOUR)


def protect(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    if home.standing.no_cut:
        unprotect(world, home, no_cut=True)
    else:
        change(world, home, no_cut={"reason": "oxygen"})


def dispute(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    if home.standing.dispute:
        unprotect(world, home, dispute=True)
    else:
        change(world, home, dispute=True)


def mode(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    wanted = world.draw.choice((*Mode, Mode.PREPAY_CUT, Mode.PREPAY_CUT))
    if home.standing.mode is Mode.PREPAY_AGREEMENT and wanted is not home.standing.mode:
        unprotect(world, home, mode=wanted.value)
    elif wanted is not home.standing.mode:
        change(world, home, mode=wanted.value)


# --- meters ---------------------------------------------------------------------------------------


def silent(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    home.meter.silent_until = world.now + world.draw.uniform(60, 2 * DAY)


def mistyped(world: Torture) -> None:
    """Somebody tries wrong passwords at a meter."""
    world.draw.choice(world.homes).meter.mistyped(world.now)


def foreign_trip(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    home.meter.pass_time(world.now)
    home.meter.relay.command(Action.TRIP)
    world.after(world.draw.uniform(0, 900), partial(world.poll, home))
    world.after(world.draw.uniform(1, 48) * HOUR, partial(world.visit, home))
    world.after(world.draw.uniform(1, 48) * HOUR, partial(foreign_end, world, home))


def foreign_end(world: Torture, home: Home) -> None:
    """Whoever opened it closes it."""
    if world.judge.files[home.number].open_since is None:
        home.meter.pass_time(world.now)
        home.meter.relay.command(Action.CLOSE)
        world.after(world.draw.uniform(0, 900), partial(world.poll, home))


def button(world: Torture) -> None:
    """Everybody who waits for the button presses it."""
    for home in world.homes:
        home.meter.pass_time(world.now)
        if home.meter.relay.state == "allowed":
            home.meter.relay.press(world.now)
            world.after(world.draw.uniform(0, 900), partial(world.poll, home))


# --- the box --------------------------------------------------------------------------------------


def stop(world: Torture) -> None:
    """The stop switch, by a file or by an order, for an hour to three days."""
    outside = world.judge.outside
    lasts_s = world.draw.uniform(0.1, 72) * HOUR
    if world.draw.random() < 0.5:
        if outside.stopped_at is None:
            world.stop_file().touch()
            outside.stopped_at = world.now
            world.after(lasts_s, partial(go_on, world))
        return

    def stopped(_result: dict[str, Any]) -> None:
        outside.stopped_at = outside.stopped_at or world.now
        world.after(lasts_s, partial(resume, world))

    world.order("watch", {"name": "stop", "reason": "work on the line"}, stopped)


def go_on(world: Torture) -> None:
    world.stop_file().unlink(missing_ok=True)
    world.judge.outside.stopped_at = None
    world.transact(lambda: None)


def resume(world: Torture) -> None:
    if not (world.up and world.online and world.trusted):
        world.after(HOUR, partial(resume, world))
        return

    def resumed(_result: dict[str, Any]) -> None:
        if not world.stop_file().exists():
            world.judge.outside.stopped_at = None

    world.order("watch", {"name": "resume", "reason": "done"}, resumed, for_s=600)


def clock(world: Torture) -> None:
    """The clock is not trusted, and stepped meanwhile; then it is set right."""
    outside = world.judge.outside
    if not world.trusted:
        return
    outside.trusted = False
    world.clock = world.draw.choice((ClockState.HOLDOVER, ClockState.UNKNOWN))
    year = 365 * DAY
    world.offset = world.draw.choice((0.0, -2 * HOUR, 3 * HOUR, -3 * DAY, 5 * DAY, year, -year))
    world.transact(lambda: None)

    def end() -> None:
        world.offset, world.clock = 0.0, ClockState.TRUSTED
        outside.trusted, outside.started_at = True, world.now
        world.transact(lambda: None)

    world.after(world.draw.uniform(0.1, 24) * HOUR, end)


def offline(world: Torture) -> None:
    """The broker is away for days; what it kept arrives at once, a trip of June among it."""
    if not world.online:
        return
    outside = world.judge.outside
    world.online, since = False, world.now
    world.link_since = world.now
    outside.drained = world.settings.cut_offline
    outside.changed_at = world.now
    world.transact(lambda: None)

    def back() -> None:
        if not world.up:
            world.after(60, back)
            return
        world.online, world.link_since = True, world.now
        outside.drained = False
        outside.changed_at = world.now
        if world.now - since >= 6 * HOUR:
            outside.back_online_at = world.now
        world.transact(lambda: None)
        order_trip(world, world.draw.choice(world.homes), world.now - 90 * DAY)
        world.after(30, world.deliver)
        world.after(60, drained)

    def drained() -> None:
        world.deliver()
        if world.online:
            outside.drained = True
            outside.changed_at = world.now

    world.after(world.draw.uniform(0.1, 120) * HOUR, back)


def damaged(world: Torture) -> None:
    """The journal is found damaged."""
    outside = world.judge.outside
    world.sound = outside.sound = False
    outside.changed_at = world.now
    if world.up:
        world.box.prepaid.sound = False

    def end() -> None:
        world.sound = outside.sound = True
        if world.up:
            world.box.prepaid.sound = True

    world.after(world.draw.uniform(1, 24) * HOUR, end)


def strain(world: Torture) -> None:
    """The area's meter tells of too much current, or too little voltage, for a while."""
    outside, load = world.judge.outside, strained(world.draw)
    if outside.strained_at is not None:
        return
    outside.strained_at, end = world.now, world.now + world.draw.uniform(600, 7200)
    volts = Value(load.voltage_mv // 1000)
    values = {"current_l1": Value(load.current_percent), "voltage_l1n": volts}

    def tell() -> None:
        if world.now < end:
            world.transact(lambda: world.box.room.polled("T0", values, world.wall()))
            world.after(100, tell)
        else:
            outside.strained_at = None

    tell()


def dry_run(world: Torture) -> None:
    outside = world.judge.outside

    def turned(on: bool, _result: dict[str, Any]) -> None:
        outside.dry_run = on
        outside.changed_at = world.now

    def turn(*, on: bool) -> None:
        if not (world.up and world.online and world.trusted):
            world.after(HOUR, partial(turn, on=on))
            return
        order = {"name": "dry_run", "on": on, "reason": "rehearsal"}
        world.order("watch", order, partial(turned, on), for_s=600)

    turn(on=True)
    world.after(world.draw.uniform(1, 48) * HOUR, partial(turn, on=False))


def power_cut(world: Torture) -> None:
    if world.up:
        world.power_cut()


# --- persons --------------------------------------------------------------------------------------


def order_trip(world: Torture, home: Home, issued: float, *, agreed: bool = True) -> None:
    """A signed order to trip, delivered twice."""
    file = world.judge.files[home.number]
    if agreed:
        for by in ("chen", "li")[: world.draw.randrange(3)]:
            world.agree(home, by, "trip")
    order = {
        "name": "relay.trip",
        "meter": home.meter.asset,
        "account": home.number,
        "reason": "works on the line",
    }
    id_ = world.order("fitter", order, for_s=300, issued=issued, twice=agreed)
    if issued < world.now:
        return
    file.orders.append((id_, world.now + 300))

    def close() -> None:
        if world.judge.cut_by.get(home.number) == "order":
            file.orders.clear()
            close = {"name": "relay.close", "meter": home.meter.asset, "reason": "done"}
            world.order("fitter", close, for_s=300)

    world.after(world.draw.uniform(0.5, 24) * HOUR, close)


def one_order(world: Torture) -> None:
    order_trip(world, world.draw.choice(world.homes), world.now)


def keep_supply(world: Torture) -> None:
    """Somebody's supply is protected (保电) for a while; or the protection of another is ended."""
    home, draw = world.draw.choice(world.homes), world.draw

    def order(*, on: bool) -> None:
        body = {"name": "relay.protect", "meter": home.meter.asset, "on": on, "reason": "an exam"}
        world.order("guard", body, for_s=300)

    if draw.random() < 0.7:
        order(on=True)
    world.after(draw.uniform(0, 72) * HOUR, partial(order, on=False))


def many_orders(world: Torture) -> None:
    """500 trips at once, in every fifth street."""
    if world.seed % 5:
        return
    for _ in range(500):
        order_trip(world, world.draw.choice(world.homes), world.now, agreed=False)


def attempt(world: Torture) -> None:
    """Somebody sends what he has no right to."""
    if not (world.up and world.online):
        return
    crash_share, world.crash_share = world.crash_share, 0.0
    world.transact(lambda: None)  # what is due anyway
    world.attempts.one()
    world.crash_share = crash_share


# --- the almanac ----------------------------------------------------------------------------------


def windows(world: Torture, **changed: Any) -> None:
    """A newer calendar."""
    world.calendars += 1
    outside = world.judge.outside
    known = not changed

    def kept(_result: dict[str, Any]) -> None:
        outside.calendar_known, outside.changed_at = known, world.now

    body = {**WINDOWS, "version": world.calendars, **changed}
    world.order("guard", {"name": "calendar.put", "windows": body}, kept)


def good_calendar(world: Torture) -> None:
    windows(world)


def no_calendar(world: Torture) -> None:
    """The list of holidays is for another year."""
    windows(world, first="2025-01-01", last="2025-12-31")
    world.after(12 * HOUR, partial(good_calendar, world))


def bad_weather(world: Torture) -> None:
    until = world.now + world.draw.uniform(1, 48) * HOUR
    outside = world.judge.outside

    def kept(_result: dict[str, Any]) -> None:
        outside.bad_weather, outside.changed_at = True, world.now
        world.after(until - world.now, over)

    def over() -> None:
        outside.bad_weather = False

    weather = {"reason": "typhoon", "until": instant(until)}
    world.order("guard", {"name": "calendar.put", "weather": weather}, kept)


HAPPENINGS: dict[Callable[[Torture], None], int] = {
    protect: 40,
    dispute: 20,
    mode: 10,
    correct: 20,
    silent: 20,
    mistyped: 10,
    foreign_trip: 6,
    button: 40,
    stop: 4,
    clock: 4,
    offline: 4,
    one_order: 20,
    many_orders: 1,
    keep_supply: 20,
    attempt: 40,
    strain: 4,
    no_calendar: 2,
    bad_weather: 3,
    mistake: 1,
    righted: 20,
    damaged: 2,
    dry_run: 2,
    power_cut: 10,
}
"""How often at most."""
