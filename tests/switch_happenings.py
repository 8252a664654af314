"""What happens in a street in sixty days, besides the ordinary."""

from collections.abc import Callable
from dataclasses import replace

from gateway.disconnection import mass_limits
from gateway.disconnection.friendly import Weather
from gateway.disconnection.mass_changes import Change, Room, falls, refuse
from gateway.prepayment.account import Mode
from protocols.relay import Action
from tests.accounts import YUAN
from tests.switch_box import LIMITS
from tests.switch_street import DAY, HOUR, Home, calendar
from tests.switch_torture import OXYGEN, Torture


def prepare(world: Torture) -> None:
    """Draw what happens when."""
    world.after(0, lambda: world.transact(world.box.start, crash=0.0))
    for day in range(world.days):
        world.after(day * DAY + 600, lambda: post(world))
    for happening, most in HAPPENINGS.items():
        for _ in range(world.draw.randrange(most + 1)):
            at = world.draw.uniform(0, world.days * DAY)
            world.after(at, lambda happening=happening: happening(world))  # type: ignore[misc]


def post(world: Torture) -> None:
    """The charges of yesterday."""
    midnight = world.now - 600
    for home in world.homes:
        charge_e4 = home.use_e4 * world.draw.randrange(50, 150) // 100
        home.balance_e4 -= charge_e4
        estimated = world.draw.random() < 0.03
        home.provisional_e4 = home.provisional_e4 + charge_e4 if estimated else 0
        home.reading_at = home.reading_at if estimated else midnight
        touch(world, home)
        policy = home.policy
        watched = world.box.rows.cases[home.number].state != "watch"
        if watched or home.balance_e4 <= policy.alert_2_e4 + policy.hysteresis_e4:
            world.books(home)


def touch(world: Torture, home: Home) -> None:
    """The standing or the money of a home changes."""
    world.judge.files[home.number].changed_at = world.now
    if home.balance_e4 <= home.beyond_e4:
        home.owed_since = home.owed_since or world.wall()


def protect(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    if home.standing.no_cut:
        home.unprotected_at = world.wall()
        home.becomes(no_cut=None)
    else:
        home.becomes(no_cut=OXYGEN)
    world.books(home)


def dispute(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    home.becomes(dispute=not home.standing.dispute)
    touch(world, home)
    world.books(home)


def mode(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    home.becomes(mode=world.draw.choice((*Mode, Mode.PREPAY_CUT, Mode.PREPAY_CUT)))
    touch(world, home)
    world.books(home)


def correct(world: Torture) -> None:
    """A back-bill, or a lower limit."""
    home = world.draw.choice(world.homes)
    home.balance_e4 -= 4 * YUAN
    home.worsened_at = world.wall()
    touch(world, home)
    world.books(home)


def silent(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    home.meter.silent_until = world.now + world.draw.uniform(60, 2 * DAY)


def foreign_trip(world: Torture) -> None:
    home = world.draw.choice(world.homes)
    home.meter.pass_time(world.now)
    home.meter.relay.command(Action.TRIP)
    world.poll(home, "state", world.life, "")
    world.after(world.draw.uniform(1, 48) * HOUR, lambda: world.visit(home))
    world.after(world.draw.uniform(1, 48) * HOUR, lambda: foreign_end(world, home))


def foreign_end(world: Torture, home: Home) -> None:
    """Whoever opened it closes it."""
    if world.judge.files[home.number].open_since is None:
        home.meter.pass_time(world.now)
        home.meter.relay.command(Action.CLOSE)
        world.poll(home, "state", world.life, "")


def button(world: Torture) -> None:
    """Everybody who waits for the button presses it."""
    for home in world.homes:
        home.meter.pass_time(world.now)
        if home.meter.relay.state == "allowed":
            home.meter.relay.press(world.now)
            world.poll(home, "state", world.life, "")


def stop(world: Torture) -> None:
    """The stop switch, for an hour to three days; it survives power cuts."""
    world.stopped = True
    outside = world.judge.outside
    outside.stopped_at = outside.stopped_at or world.now

    def end() -> None:
        world.stopped, outside.stopped_at = False, None

    world.after(world.draw.uniform(0.1, 72) * HOUR, end)


def clock(world: Torture) -> None:
    """The clock is not trusted, and stepped meanwhile; then it is set right."""
    outside = world.judge.outside
    world.trusted = outside.trusted = False
    year = 365 * DAY
    world.offset = world.draw.choice((0.0, -2 * HOUR, 3 * HOUR, -3 * DAY, 5 * DAY, year, -year))

    def end() -> None:
        def act() -> None:
            rows = world.box.rows
            rows.mass = mass_limits.started(rows.mass, world.wall())

        world.offset = 0.0
        world.trusted = outside.trusted = True
        outside.started_at = world.now
        world.transact(act, crash=0.0)

    world.after(world.draw.uniform(0.1, 24) * HOUR, end)


def offline(world: Torture) -> None:
    """The broker is away for days; what it kept arrives at once, a trip of June among it."""
    if not world.online:
        return
    outside = world.judge.outside
    world.online, since = False, world.now
    world.drained = outside.drained = world.cuts_offline
    outside.changed_at = world.now

    def back() -> None:
        def act() -> None:
            rows, away_s = world.box.rows, world.now - since
            rows.mass = mass_limits.reconnected(rows.mass, LIMITS, away_s, world.wall())

        if not world.up:
            world.after(60, back)
            return
        world.online = True
        world.drained = outside.drained = False
        outside.changed_at = world.now
        if world.now - since >= 6 * HOUR:
            outside.back_online_at = world.now
        world.transact(act, crash=0.0)
        order_trip(world, world.draw.choice(world.homes), world.now - 90 * DAY)
        world.after(30, world.deliver)
        world.after(60, drained)

    def drained() -> None:
        world.deliver()
        if world.online:
            world.drained = outside.drained = True
            outside.changed_at = world.now

    world.after(world.draw.uniform(0.1, 120) * HOUR, back)


def order_trip(world: Torture, home: Home, until: float) -> None:
    """A signed order to trip, delivered twice."""
    id_ = f"c{world.serial}"
    if until > world.now:
        world.judge.files[home.number].orders.append((id_, until))
    home_file = world.judge.files[home.number]

    def arrive() -> None:
        if world.up:
            found = home.meter.look(world.now, world.draw)
            if found:
                world.judge.polled(home, found, world.now)
            world.transact(lambda: world.box.ordered(id_, home, until, found))

    arrive()
    world.after(world.draw.uniform(0, 900), arrive)

    def close() -> None:
        if world.up and world.judge.cut_by.get(home.number) == "order":
            home_file.orders.clear()
            world.transact(lambda: world.box.want_closed(home))

    if until > world.now:
        world.after(world.draw.uniform(0.5, 24) * HOUR, close)


def one_order(world: Torture) -> None:
    order_trip(world, world.draw.choice(world.homes), world.now + 300)


def many_orders(world: Torture) -> None:
    """500 trips at once."""
    for _ in range(500):
        order_trip(world, world.draw.choice(world.homes), world.now + 300)


def no_calendar(world: Torture) -> None:
    """Nobody sent the list of holidays, or it is for another year."""
    missing = world.draw.random() < 0.5
    world.calendar = None if missing else replace(calendar(), last=calendar().first)
    weather(world, keep=True)


def bad_weather(world: Torture) -> None:
    hours = world.draw.uniform(1, 48) * HOUR
    world.calendar = calendar(Weather(reason="typhoon", until=world.wall() + hours))
    weather(world, keep=False)


def weather(world: Torture, *, keep: bool) -> None:
    """The almanac of the gateway has changed; after a while it is the good one again."""
    outside = world.judge.outside
    outside.calendar_known, outside.bad_weather = not keep, not keep
    outside.changed_at = world.now
    told = world.calendar

    def end() -> None:
        if world.calendar is told:
            world.calendar = calendar()
            outside.calendar_known, outside.bad_weather = True, False
            outside.changed_at = world.now

    until = told.weather.until - world.wall() if told and told.weather else 12 * HOUR
    world.after(until, end)


def mistake(world: Torture) -> None:
    """A tariff with its point in the wrong place; now and then two persons confirm it."""
    before = {home.number: home.balance_e4 for home in world.homes}
    after = {number: balance_e4 - 60 * YUAN for number, balance_e4 in before.items()}
    limits_e4 = {home.number: home.policy.limit_e4 for home in world.homes}
    fallen = frozenset(
        one
        for one in before
        if falls(Room(before[one], limits_e4[one]), Room(after[one], limits_e4[one]))
    )
    change = Change(content="tariff", key="wang", fallen=fallen)
    waits = refuse(mass_limits.State(), change, LIMITS, len(before), world.now, lambda _: True)
    below = sum(after[one] < 0 <= before[one] for one in before)
    world.judge._must(bool(waits) or below <= 6, "R26", None, world.now, f"{below} fell")
    if world.draw.random() < 0.5:
        for home in world.homes:
            home.balance_e4 -= 60 * YUAN
            touch(world, home)
            world.books(home)


def damaged(world: Torture) -> None:
    outside = world.judge.outside
    world.sound = outside.sound = False
    outside.changed_at = world.now

    def end() -> None:
        world.sound = outside.sound = True

    world.after(world.draw.uniform(1, 24) * HOUR, end)


def dry_run(world: Torture) -> None:
    outside = world.judge.outside
    world.dry_run = outside.dry_run = True
    outside.changed_at = world.now

    def end() -> None:
        world.dry_run = outside.dry_run = False

    world.after(world.draw.uniform(1, 48) * HOUR, end)


def power_cut(world: Torture) -> None:
    if world.up:
        world.power_cut()


HAPPENINGS: dict[Callable[[Torture], None], int] = {
    protect: 40,
    dispute: 20,
    mode: 10,
    correct: 20,
    silent: 20,
    foreign_trip: 6,
    button: 40,
    stop: 4,
    clock: 4,
    offline: 4,
    one_order: 20,
    many_orders: 1,
    no_calendar: 2,
    bad_weather: 3,
    mistake: 1,
    damaged: 2,
    dry_run: 2,
    power_cut: 20,
}
"""How often at most."""
