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
from gateway.disconnection.relay import Effect, Relay, Times, lateness, step
from gateway.disconnection.relay_table import RESTORING, Signal, State
from gateway.store.accounts import Accounts
from gateway.store.switching import KeptRelay, Operation, Step, Switching
from gateway.switching.herald import TOLD, Herald
from gateway.switching.relay_look import Look
from gateway.switching.relay_sending import close_action
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
        """``meters`` are all configured ones; those without a relay are passed over."""
        self.meters = {name: one for name, one in meters.items() if one.profile.relay}
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
        return replace(known, relay=replace(known.relay, direct=direct))

    def looked(self, meter: str, found: Look) -> None:
        """A meter was looked at."""
        self._looks[meter] = found

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
        relay, times = self.meters[meter].profile.relay, self._settings.times
        if relay is None:
            return times
        look_s, distance_s = max(times.look_s, relay.settle_s), max(times.distance_s, relay.rest_s)
        return replace(times, look_s=look_s, distance_s=distance_s)

    def turn(self, relay: Relay, wall: float) -> float:
        """When a restore has its turn after a mass event (R36)."""
        sent = [one for one in self._store.closes_since(wall - RECENT_S) if one[1] != relay.meter]
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
        if what and not (restoring and relay.tries > 1):
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
        action = close_action(meter, direct=is_direct(relay))
        if relay.state is State.TRIP_SENT:
            action = Action.TRIP
        known = self._looks.get(meter.asset)
        return self._store.add_operation(
            Operation(
                at=wall,
                meter=meter.asset,
                account=kept.account,
                action=action.value,
                purpose=kept.purpose,
                cause=wish.cause or kept.command or signal.value,
                operator=self._settings.operator.hex().upper(),
                decision=wish.decision,
                journal=wish.journal,
                seen=known.values if known else {},
            )
        )


def is_direct(relay: Relay) -> bool:
    """Whether it may be closed without the customer's button (R35)."""
    return relay.direct and not relay.unsafe and not relay.load_voltage
