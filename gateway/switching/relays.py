"""The relays (继电器) of one gateway as rows: each step of their procedure, recorded and told.

    signal(...)     something happened to a relay: a step, in the caller's transaction
    start(...)      after a start: what is wanted and not proven is read before anything is switched
    turn(...)       when a restore has its turn after a mass event

What is to be done at the meters then follows from the rows: gateway/switching/relay_work.py.

Used by the core alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from gateway.config import MeterConfig
from gateway.config_switching import Switching as Settings
from gateway.disconnection.facts import Purpose
from gateway.disconnection.mass_limits import Load, restore_turn
from gateway.disconnection.relay import Effect, Relay, Times, behind, lateness, step
from gateway.disconnection.relay_table import RESTORING, Signal, State
from gateway.store.accounts import Accounts
from gateway.store.switching import KeptRelay, Operation, Step, Switching
from gateway.switching.herald import TOLD, Herald
from gateway.switching.relay_look import Look
from gateway.switching.relay_sending import close_action, only_directly, operator_of
from protocols.relay import Action

SEEN = (
    Signal.SEEN_CLOSED,
    Signal.SEEN_MOVING,
    Signal.SEEN_OPEN,
    Signal.SEEN_ALLOWED,
    Signal.STILL,
    Signal.GREW,
)
"""Signals that come of a look at the meter."""
RECENT_S = 60.0
"""Restores of the last minute count for the next one's turn."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wish:
    """For whom a relay is to be switched, and why."""

    account: str = ""
    purpose: Purpose = Purpose.ARREARS
    command: str = ""
    """The order that waits for it."""
    cause: str = ""
    decision: int | None = None
    journal: int = 0


@dataclass(slots=True)
class Listeners:
    """Who is told of what happens to relays; given by the rooms that want to know."""

    came_to: Callable[[KeptRelay, float], None] = lambda _kept, _wall: None
    """A relay came to a state, at Unix time; in the same transaction."""
    due: Callable[[str, tuple[Effect, ...], float], None] = lambda _meter, _effects, _wall: None
    """What its procedure asks for."""
    withdraw: Callable[[str, str], None] = lambda _meter, _why: None
    """A trip that may still wait for its turn must not be sent."""
    withdraw_all: Callable[[str], None] = lambda _why: None
    """Nothing that takes supply and may still wait for its turn must be sent."""
    load: Callable[[float], Load | None] = lambda _wall: None
    """What the area meter said last, given Unix time (R36)."""


class Relays:
    """All relays."""

    def __init__(
        self,
        meters: Mapping[str, MeterConfig],
        settings: Settings,
        store: Switching,
        accounts: Accounts,
        herald: Herald,
    ) -> None:
        """``meters`` are all configured ones; those without a relay are passed over, and so are
        breakers: they are the relays of their meters.
        """
        self.meters = {
            name: one
            for name, one in meters.items()
            if one.switch.profile.relay and not one.breaker_of
        }
        self.breakers = {one.breaker.asset: name for name, one in meters.items() if one.breaker}
        """The meter that each breaker switches."""
        self.listeners = Listeners()
        self._settings = settings
        self._store = store
        self._accounts = accounts
        self._herald = herald
        self._looks: dict[str, Look] = {}
        """The last look at each meter, for the record."""

    def get(self, meter: str) -> KeptRelay:
        """A relay as it stands; one that nobody has touched counts as closed."""
        known = self._store.relay(meter)
        direct = meter in self.meters and self.meters[meter].direct_close
        if known is None:
            return KeptRelay(relay=Relay(meter=meter, direct=direct))
        if known.relay.direct is direct:
            return known
        return replace(known, relay=replace(known.relay, direct=direct))

    def looked(self, meter: str, found: Look) -> bool:
        """A meter was looked at.  True if ``note_behind`` has something to note."""
        self._looks[meter] = found
        relay = self.get(meter).relay
        return _behind(relay, found) != relay

    def note_behind(self, meter: str, found: Look, wall: float) -> None:
        """Note whether there was voltage behind its open relay, and tell of it; in a transaction.

        Voltage there is evidence of a bypass or a generator; it alone switches nothing.
        """
        kept = self.get(meter)
        after = replace(kept, relay=_behind(kept.relay, found))
        self._store.set_relay(after)
        if kept.operation is not None:
            data = {"load_voltage": after.relay.load_voltage, "values": found.values}
            self._store.add_step(kept.operation, Step(wall, "seen", data))
        if after.relay.load_voltage:
            log.error("voltage behind an open relay", meter=meter)
            account = self._accounts.current(kept.account) if kept.account else None
            self._herald.relay(after, "load_voltage", wall, account, after=found.values)

    def start(self, wall: float) -> None:
        """After a start: what is wanted and not proven is read before it is switched (R38)."""
        for kept in self._store.relays_not_closed():
            if kept.relay.meter in self.meters:
                self.signal(kept.relay.meter, Signal.START, wall)

    def signal(
        self, meter: str, signal: Signal, wall: float, *, wish: Wish | None = None
    ) -> KeptRelay:
        """Something happened, at Unix time.  Inside the caller's transaction."""
        kept = self.get(meter)
        not_before = 0.0
        if signal is Signal.WANT_CLOSED:
            self.listeners.withdraw(meter, "supply is wanted")
            not_before = self.turn(kept.relay, wall)
        times = self.times(meter)
        relay, effects = step(kept.relay, signal, wall, times, not_before=not_before)
        after = replace(kept, relay=relay)
        if wish and relay != kept.relay:
            after = replace(after, account=wish.account, purpose=wish.purpose, command=wish.command)
        if after == kept:
            if effects:
                self.listeners.due(meter, tuple(effects), wall)
            return kept
        entered = relay.state is not kept.relay.state
        if entered:
            after = self._entered(after, signal, wall, wish or Wish())
        self._store.set_relay(after)
        self.listeners.due(meter, tuple(effects), wall)
        if entered:
            self.listeners.came_to(after, wall)
        return after

    def times(self, meter: str) -> Times:
        """How long things may take at this meter."""
        relay, times = self.meters[meter].switch.profile.relay, self._settings.times
        if relay is None:
            return times
        look_s, distance_s = max(times.look_s, relay.settle_s), max(times.distance_s, relay.rest_s)
        return replace(times, look_s=look_s, distance_s=distance_s)

    def turn(self, relay: Relay, wall: float) -> float:
        """When a restore has its turn after a mass event (R36).

        Who has had his turn and is being read counts as well: his frame follows within seconds.
        """
        read = [one.relay for one in self._store.relays_in(State.RESTORE_READING)]
        soon = [(one.since, one.meter) for one in read if one.tries == 0]
        sent = [*self._store.closes_since(wall - RECENT_S), *soon]
        sent = [one for one in sent if one[1] != relay.meter]
        phases = {name: one.phase for name, one in self.meters.items()}
        recent = [(at, phases.get(meter, "")) for at, meter in sent]
        since = relay.wanted_since if relay.state in RESTORING else wall
        load, limits = self.listeners.load(wall), self._settings.limits
        return restore_turn(recent, phases.get(relay.meter, ""), since, load, limits, wall)

    def late(self, kept: KeptRelay, wall: float) -> str:
        """How late a wanted restore is (R32)."""
        return lateness(kept.relay, wall, self._settings.times)

    def tell_late(self, kept: KeptRelay, word: str, wall: float) -> None:
        """Say so; inside a transaction."""
        log.error("a restore is late", meter=kept.relay.meter, how=word)
        account = self._accounts.current(kept.account) if kept.account else None
        self._herald.relay(kept, "restore_late", wall, account, cause=word)

    def _entered(self, kept: KeptRelay, signal: Signal, wall: float, wish: Wish) -> KeptRelay:
        """Record a new state, and tell of it."""
        relay, meter = kept.relay, kept.relay.meter
        known = self._looks[meter].values if meter in self._looks else {}
        values = known if signal in SEEN or relay.state is State.TRIP_SENT else {}
        if relay.state in (State.TRIP_SENT, State.RESTORE_SENT):
            kept = replace(kept, operation=self._begin(kept, signal, wall, wish))
        elif kept.operation is not None:
            data = {
                "state": relay.state.value,
                "signal": signal.value,
                "wanted_since": relay.wanted_since,
                "values": values,
            }
            self._store.add_step(kept.operation, Step(wall, "state", data))
        log.info("relay", meter=meter, state=relay.state.value, signal=signal.value)
        what = TOLD.get(relay.state)
        restoring = relay.state in (State.RESTORE_SENT, State.RESTORE_WANTED)
        held_back = relay.state is State.RESTORE_SENT and barred(self.meters[meter], relay)
        if what and not held_back and not (restoring and relay.tries > 1):
            account = self._accounts.current(kept.account) if kept.account else None
            sent = relay.state is State.TRIP_SENT
            self._herald.relay(
                kept,
                what,
                wall,
                account,
                cause=wish.cause or signal.value,
                before=values if sent else {},
                after={} if sent else values,
            )
        return kept

    def _begin(self, kept: KeptRelay, signal: Signal, wall: float, wish: Wish) -> int:
        """Record what is about to be sent (R40)."""
        relay, meter = kept.relay, self.meters[kept.relay.meter]
        action = close_action(meter.switch, direct=is_direct(relay))
        if relay.state is State.TRIP_SENT:
            action = Action.TRIP
        cause = wish.cause or kept.command or signal.value
        return self.record(kept, action, wall, replace(wish, cause=cause))

    def record(
        self, kept: KeptRelay, action: Action, wall: float, wish: Wish, *, dry: bool = False
    ) -> int:
        """Record a command that is about to be sent (R40); returns its number."""
        meter = self.meters[kept.relay.meter]
        known = self._looks.get(meter.asset)
        return self._store.add_operation(
            Operation(
                at=wall,
                meter=meter.asset,
                account=kept.account,
                action=action.value,
                purpose=kept.purpose,
                cause=wish.cause,
                operator=operator_of(meter.switch, self._settings.operator),
                decision=wish.decision,
                journal=wish.journal,
                dry=dry,
                seen=known.values if known else {},
            )
        )


def barred(meter: MeterConfig, relay: Relay) -> str:
    """Why nothing may be sent to give its supply back now (R35); empty: it may.

    A device that waits for a button, or itself looks behind its contact, is always told.  What
    somebody opened by hand is closed on a person's word alone, and he has seen to the wires.
    """
    if relay.load_voltage and only_directly(meter.switch):
        return "there is voltage behind the open relay, and it could only be closed directly"
    return ""


def is_direct(relay: Relay) -> bool:
    """Whether it may be closed without the customer's button (R35)."""
    return relay.direct and not relay.unsafe and not relay.load_voltage


def _behind(relay: Relay, found: Look) -> Relay:
    status = found.status
    return behind(relay, is_open=status.open, load_voltage=status.load_voltage)
