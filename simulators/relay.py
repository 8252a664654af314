"""The relay of a simulated meter: what it does when told, and what is wrong with it.

It follows the table of a built-in relay with remote fee control (费控): closed, waiting for its
delay, open, open until the customer presses a button, open for a while; each with the supply
protected (保电) or not.  On top of that stands a ``Behaviour``: one of ``SCENARIOS``, or several,
as in ``late=600,welded``; ``any`` draws one from a seed.

Two things are told apart: what the relay says (``told_open``), and whether the customer really has
supply (``conducts``).  ``movements`` and ``received`` are the truth for whoever judges the gateway:
every movement of the contact with its time and cause, every command with its answer.

Times are true UTC seconds and only go forward: ``advance`` first, then anything else.

Not supported: a relay that opens while the current is high; the meter's own money switches nothing.

Source of the table: public firmware for State Grid meters, restated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from protocols.dlt645_refusals import RelayRefusal
from protocols.relay import Action
from simulators.relay_scenarios import NORMAL, Behaviour

LOCK_S = 86_400.0
"""How long bad passwords lock a meter."""


class State(StrEnum):
    """Where the logic stands."""

    CLOSED = "closed"
    WAITING = "waiting"  # told to trip, the delay is running
    OPEN = "open"
    ALLOWED = "allowed"  # the customer may close by the button
    PRE_TRIP_1 = "pre-trip 1"  # open for a while, then closes
    PRE_TRIP_2 = "pre-trip 2"  # open for a while, then allowed


class Stimulus(StrEnum):
    """What can happen to it: the columns of the table."""

    TRIP = "trip"
    ALLOW_CLOSE = "allow close"
    CLOSE = "close"
    PRE_TRIP = "pre-trip"
    PROTECT_ON = "protect on"
    PROTECT_OFF = "protect off"
    POWER_UP = "power up"
    PRESS = "press"


Node = tuple[State, bool]
"""A state, and whether the supply is protected."""

_C, _CP = (State.CLOSED, False), (State.CLOSED, True)
_W, _O = (State.WAITING, False), (State.OPEN, False)
_A, _AP = (State.ALLOWED, False), (State.ALLOWED, True)
_P1, _P2 = (State.PRE_TRIP_1, False), (State.PRE_TRIP_2, False)
_NO, _NO_TIMED = RelayRefusal.PROTECTED, RelayRefusal.TIMED_PROTECTED
_TRIPPED = RelayRefusal.ALREADY_TRIPPED
_K = None
"""A pre-trip of the kind that was told."""

# fmt: off
_TABLE: dict[Node, tuple[Node | RelayRefusal | None, ...]] = {
    #     trip  allow  close  pre-trip   protect on/off  power up  press
    _C:  (_W,   _C,    _C,    _K,        _CP,   _C,      _C,       _C),
    _CP: (_NO,  _CP,   _CP,   _NO_TIMED, _CP,   _C,      _CP,      _CP),
    _W:  (_W,   _C,    _C,    _K,        _CP,   _W,      _O,       _W),
    _O:  (_O,   _A,    _C,    _TRIPPED,  _AP,   _O,      _O,       _O),
    _A:  (_O,   _A,    _C,    _TRIPPED,  _AP,   _A,      _A,       _C),
    _AP: (_NO,  _AP,   _CP,   _NO_TIMED, _AP,   _A,      _AP,      _CP),
    _P1: (_O,   _A,    _C,    _K,        _AP,   _P1,     _C,       _C),
    _P2: (_O,   _A,    _C,    _K,        _AP,   _P2,     _A,       _C),
}
# fmt: on
TRANSITIONS = {node: dict(zip(Stimulus, row, strict=True)) for node, row in _TABLE.items()}
_STIMULI = {
    Action.TRIP: Stimulus.TRIP,
    Action.ALLOW_CLOSE: Stimulus.ALLOW_CLOSE,
    Action.CLOSE: Stimulus.CLOSE,
    Action.TRIP_THEN_CLOSE: Stimulus.PRE_TRIP,
    Action.TRIP_THEN_ALLOW: Stimulus.PRE_TRIP,
    Action.PROTECT_ON: Stimulus.PROTECT_ON,
    Action.PROTECT_OFF: Stimulus.PROTECT_OFF,
}
_CLOSED = (State.CLOSED, State.WAITING)


@dataclass(frozen=True, slots=True)
class Movement:
    """The contact moved: the customer has supply from here on, or has none."""

    at: float
    closed: bool
    cause: str
    """The action that moved it; else ``button``, ``by itself``, ``time is up``, ``power up``."""


@dataclass(frozen=True, slots=True)
class Received:
    """A command that reached the relay, whoever it was meant for."""

    at: float
    action: Action
    refused: RelayRefusal | None = None


class SimRelay:
    """One relay, closed when it is made."""

    def __init__(self, behaviour: Behaviour = NORMAL) -> None:
        self.behaviour = behaviour
        self.now = -math.inf
        self.conducts = True
        self.alarm = False
        self.movements: list[Movement] = []
        self.received: list[Received] = []
        self._node: Node = _CP if behaviour.protected else _C
        self._timers: dict[str, float] = {}
        self._listeners: list[Callable[[float, bool], None]] = []
        self._trip = (State.OPEN, 0.0, "")
        """What the delay ends in, for how many seconds (a pre-trip), and why."""
        self._bad_passwords = 0
        self._locked_until = -math.inf

    @property
    def state(self) -> State:
        """Where the logic stands."""
        return self._node[0]

    @property
    def protected(self) -> bool:
        """Whether the supply is protected (保电)."""
        return self._node[1]

    @property
    def commanded_open(self) -> bool:
        """What it says it was told."""
        wanted_open = self.state not in (State.CLOSED, State.ALLOWED)
        return wanted_open != self.behaviour.inverted

    @property
    def told_open(self) -> bool:
        """What it says of its contact."""
        by_output = self.state not in _CLOSED
        is_open = not self.conducts if self.behaviour.feedback else by_output
        return is_open != self.behaviour.inverted

    @property
    def alarmed(self) -> bool:
        """Whether it warns of a trip."""
        return self.alarm or self.state is State.WAITING

    @property
    def faulty(self) -> bool:
        """Whether the contact does not follow, for those that say so."""
        return self.conducts != (self.state in _CLOSED)

    @property
    def load_voltage(self) -> bool:
        """Whether there is voltage behind it: through its contact, or from elsewhere."""
        return self.conducts or self.behaviour.load_side

    def feeds(self, listener: Callable[[float, bool], None]) -> None:
        """Tell ``listener`` of each movement: when, and whether there is supply from then on."""
        self._listeners.append(listener)

    def advance(self, now: float) -> None:
        """Let the time pass until ``now``; what falls due on the way happens at its own time."""
        while self._timers:
            name, due = min(self._timers.items(), key=lambda timer: timer[1])
            if due > now:
                break
            del self._timers[name]
            self.now = max(self.now, due)
            self._due(name)
        self.now = max(self.now, now)

    def command(self, action: Action, minutes: int = 0) -> RelayRefusal | None:
        """Obey, or say why not; accepted does not mean moved."""
        refused = self._obey(action, minutes)
        self.received.append(Received(self.now, action, refused))
        return refused

    def press(self, now: float) -> None:
        """The customer holds the button, or puts a card in."""
        self.advance(now)
        self._happens(Stimulus.PRESS, "button")

    def power_up(self, now: float) -> None:
        """The mains of the area were away and are back; a delay is not resumed."""
        self.advance(now)
        self._timers.pop("trip", None)
        self._happens(Stimulus.POWER_UP, "power up")

    def unlocks(self, *, right: bool) -> bool:
        """Whether a password opens; too many wrong ones lock even the right one out."""
        if self.now < self._locked_until:
            return False
        self._bad_passwords = 0 if right else self._bad_passwords + 1
        if self._bad_passwords and self._bad_passwords == self.behaviour.lock_after:
            self._bad_passwords, self._locked_until = 0, self.now + LOCK_S
        return right

    def _obey(self, action: Action, minutes: int) -> RelayRefusal | None:
        if action in (Action.ALARM_ON, Action.ALARM_OFF):
            self.alarm = action is Action.ALARM_ON
            return None
        if self.behaviour.deaf:
            return None
        stimulus = _STIMULI[action]
        if self.behaviour.load_side and stimulus in (Stimulus.CLOSE, Stimulus.ALLOW_CLOSE):
            # Which reason a meter gives is its maker's; this one waits to be released.
            return RelayRefusal.SUSPENDED
        following = TRANSITIONS[self._node][stimulus]
        if isinstance(following, RelayRefusal):
            return following
        if stimulus is Stimulus.TRIP:
            self._trip = (State.OPEN, 0.0, action)
        if following is _K:
            kinds = {Action.TRIP_THEN_CLOSE: _P1, Action.TRIP_THEN_ALLOW: _P2}
            self._trip = (kinds[action][0], minutes * 60.0, action)
            # In force already, it begins again at once.
            again = self.state in (State.PRE_TRIP_1, State.PRE_TRIP_2)
            following = kinds[action] if again else _W
        self._enter(following, action)
        return None

    def _happens(self, stimulus: Stimulus, cause: str) -> None:
        following = TRANSITIONS[self._node][stimulus]
        if isinstance(following, tuple) and following != self._node:
            self._enter(following, cause)

    def _enter(self, node: Node, cause: str) -> None:
        if node == _W == self._node:
            return  # the delay goes on
        if node[0] is State.ALLOWED and self.behaviour.external:
            node = (State.CLOSED, node[1])
        self._timers = {}
        self._node = node
        state = node[0]
        if state is State.WAITING:
            self._timers["trip"] = self.now + self.behaviour.delay_s
        elif state in (State.PRE_TRIP_1, State.PRE_TRIP_2):
            self._timers["return"] = self.now + self._trip[1]
        elif state is State.ALLOWED and self.behaviour.press_after_s is not None:
            self._timers["press"] = self.now + self.behaviour.press_after_s
        if state not in _CLOSED and self.behaviour.back_after_s is not None:
            self._timers["back"] = self.now + self.behaviour.back_after_s
        self._move(cause)
        if self.behaviour.delay_s == 0 and state is State.WAITING:
            self.advance(self.now)

    def _due(self, name: str) -> None:
        if name == "trip":
            self._enter((self._trip[0], False), self._trip[2])
        elif name == "return":
            self._enter(_C if self.state is State.PRE_TRIP_1 else _A, "time is up")
        elif name == "press":
            self._happens(Stimulus.PRESS, "button")
        else:
            self._enter((State.CLOSED, self.protected), "by itself")

    def _move(self, cause: str) -> None:
        wanted = self.state in _CLOSED
        able = self.behaviour.closes and not self.behaviour.load_side
        if wanted == self.conducts or not (able if wanted else self.behaviour.opens):
            return
        self.conducts = wanted
        self.movements.append(Movement(self.now, wanted, cause))
        for listener in self._listeners:
            listener(self.now, wanted)
