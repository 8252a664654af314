"""The relay's (继电器) own procedure, for one meter: what is wanted, sent and proven.

    trip      closed -> trip_sent -> trip_verifying -> open
    restore   open -> restore_sent -> restore_verifying -> closed | allowed

A reply only means "accepted".  A trip has succeeded when the status word says open *and* no energy
was counted over the check time; a restore, when it says closed, or allowed: then the customer has
to press the button, and that is a state of its own.

A lost reply is followed by reading the status, never by a blind repeat; a trip is tried three times
at most, and judged anew before each.  A restore is never given up: its pauses grow, a person is
called, it goes on.  A relay that somebody else opened is *held*: only a person releases it.

A relay that conducts while it says open is not tripped again until a person has repaired it; but
who has paid is restored all the same, since whatever conducts there may be gone tomorrow.

A command that still waits for the line is dropped when ``state`` is not its own any more
(``trip_sent``, ``restore_sent``), and a reply is told only if it answers the last command.

A relay is data, stored after each step.  After a restart or a power return ``START`` comes first:
what is wanted but not proven is read before anything is switched.

Not supported: trips that close by themselves (1DH, 1EH).

Source: R27 to R38; DL/T 645 status word 3, bits 4 and 6.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache

from pydantic import TypeAdapter, ValidationError

from gateway.disconnection.facts import DAY_S
from gateway.disconnection.relay_table import (
    AGAIN,
    ENTRY,
    RESTORING,
    SETTLED,
    TRIPPING,
    Do,
    Signal,
    State,
    following,
)

PAUSES_S = (2, 5, 15, 30, 60, 120, 300, 900)
"""Between the tries of a restore; the last goes on for ever."""
CALLED = (State.UNKNOWN, State.WELD_OR_BYPASS, State.TRIP_FAILED)
"""A person was called when these were entered."""
TRIES_MAX = 3
"""Of a trip, and of reading a status; of a restore before a person is called."""
SET_BACK_S = 5.0
"""A command sent this far in the future: the clock was set back since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things may take."""

    look_s: int = 5
    """From an accepted command to the first look at the status, and between looks."""
    move_s: int = 60
    """A relay that was not told to wait has moved by then."""
    delay_max_s: int = 3600
    """A trip that the meter delays (high current) is waited for this long."""
    still_s: int = 300
    """How long no energy may be counted before a trip is believed."""
    watch_s: int = 300
    """Between looks at a relay that is open, or of which nobody knows what became."""
    distance_s: int = 600
    """Between two operations; the first restore after a payment in a day need not wait."""
    late_s: int = 900
    alarm_s: int = 1800
    breach_s: int = 7200
    """A wanted restore is late, an alarm, a breach after these."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to be done."""

    do: Do
    at: float = 0.0
    """When; 0: now."""
    direct: bool = False
    """Of a close: directly, without the customer's button."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """One meter's relay."""

    meter: str
    """Asset number (资产编号)."""
    direct: bool = False
    """The contract allows closing without the customer's button."""
    unsafe: bool = False
    """Somebody else opened it and may stand at the wires: until it is closed, it waits for its
    button, where it has one."""
    load_voltage: bool = False
    """Voltage was seen on its load side while it was open (a bypass, a generator), and not yet seen
    to be gone: nobody closes it directly."""
    state: State = State.CLOSED
    since: float = 0.0
    """When the state was entered, Unix time, as all times here."""
    wanted_open: bool = False
    wanted_since: float = 0.0
    tries: int = 0
    """Commands sent for what is wanted now."""
    reads: int = 0
    """Reads of the status without an answer, one after the other."""
    sent_at: float = 0.0
    pauses: int = 0
    """Of this restore so far."""
    next_at: float = 0.0
    """When a waiting restore is due."""
    operations: tuple[float, ...] = ()
    """When it was operated in the last 24 hours; a repeated try is no second operation."""
    excepted_at: float | None = None
    """When a restore did not keep its distance last."""
    fault: str = ""
    """weld_or_bypass or stuck_open, until a person says it is repaired."""

    @property
    def confirmed(self) -> bool:
        """Whether what is wanted is proven, or nobody but a person can prove it."""
        settled = (State.OPEN,) if self.wanted_open else (State.CLOSED, State.ALLOWED, State.HELD)
        return self.state in settled


def step(
    relay: Relay, signal: Signal, now: float, times: Times, *, not_before: float = 0.0
) -> tuple[Relay, list[Effect]]:
    """The relay after ``signal``, and what has to be done now.

    ``not_before`` comes with ``WANT_CLOSED``: the turn that a restore has after a mass event.
    """
    after = _noted(relay, signal, now)
    state = _state(after, signal, now, times)
    if signal is Signal.WANT_CLOSED and state is State.RESTORE_SENT is not relay.state:
        turn = max(not_before, _distance_over(after, now, times))
        if turn > now:
            state = State.RESTORE_WANTED
            after = replace(after, next_at=turn)
    elif state is State.RESTORE_WANTED is not relay.state:
        pause_s = PAUSES_S[min(after.pauses, len(PAUSES_S) - 1)]
        after = replace(after, next_at=now + pause_s, pauses=after.pauses + 1)
    if state is relay.state:
        again = AGAIN.get((state, signal))
        return after, [_effect(again, after, signal, now, times)] if again else []
    after = _entered(after, state, now, times)
    doing = list(ENTRY[state])
    if state is State.RESTORE_WANTED and after.tries == TRIES_MAX:
        doing += [Do.REPORT, Do.WORK_ORDER]
    if state is State.STUCK_OPEN and relay.fault == state:
        doing = [Do.WAIT]  # a person was called already
    if relay.state in CALLED and Do.WORK_ORDER in doing:
        doing.remove(Do.WORK_ORDER)
    return after, [_effect(do, after, signal, now, times) for do in doing]


def behind(relay: Relay, *, is_open: bool | None, load_voltage: bool | None) -> Relay:
    """The relay after a look behind it (R35): voltage behind an open contact comes from elsewhere.

    None is what nobody can tell: it changes nothing.
    """
    if not is_open or load_voltage is None:
        return relay
    return replace(relay, load_voltage=load_voltage)


def tick(relay: Relay, now: float) -> Signal | None:
    """The signal that the time alone gives at ``now``, if any."""
    # A clock that was set back must not keep anybody waiting.
    over = now >= relay.next_at or now < relay.since
    waiting = relay.state in (State.RESTORE_WANTED, State.STUCK_OPEN)
    return Signal.TIME if waiting and over else None


def lateness(relay: Relay, now: float, times: Times) -> str:
    """How late a wanted restore is: ``late``, ``alarm``, ``breach``; empty: it is not (R32).

    Allowed is in time: from there on it is the customer's turn.
    """
    if relay.wanted_open or relay.state not in RESTORING:
        return ""
    waited_s = now - relay.wanted_since
    steps = (("breach", times.breach_s), ("alarm", times.alarm_s), ("late", times.late_s))
    return next((word for word, limit_s in steps if waited_s >= limit_s), "")


class RelayTextError(ValueError):
    """A stored relay cannot be read: a newer release wrote it, or it is damaged."""


def to_json(relay: Relay) -> str:
    """The relay as text, to be stored."""
    return json.dumps(asdict(relay), ensure_ascii=False, sort_keys=True, allow_nan=False)


@lru_cache(maxsize=1024)
def from_json(text: str) -> Relay:
    """The relay that ``to_json`` wrote.  Raises RelayTextError."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise RelayTextError(f"no relay: {error.errors(include_url=False)[0]}") from error


@cache
def _adapter() -> TypeAdapter[Relay]:
    return TypeAdapter(Relay)


def _noted(relay: Relay, signal: Signal, now: float) -> Relay:
    """What the relay remembers of a signal, whatever comes of it."""
    wanted_open = relay.wanted_open
    if signal is Signal.WANT_CLOSED or (
        signal is Signal.RELEASED and relay.state is State.TRIP_FAILED
    ):
        wanted_open = False
    elif signal is Signal.WANT_OPEN and following(relay.state, signal) is State.TRIP_SENT:
        wanted_open = True
    if wanted_open != relay.wanted_open:
        relay = replace(relay, wanted_open=wanted_open, wanted_since=now, tries=0, pauses=0)
    elif signal is Signal.RELEASED and relay.state is State.HELD:
        relay = replace(relay, wanted_since=now)
    fault = "" if signal is Signal.RELEASED else relay.fault
    reads = relay.reads + 1 if signal is Signal.NO_REPLY else 0
    return replace(relay, fault=fault, reads=reads)


def _state(relay: Relay, signal: Signal, now: float, times: Times) -> State:
    """What the table says, where it leaves a choice by tries, times and what is wanted."""
    state = relay.state
    sent_s = now - relay.sent_at
    if sent_s < -SET_BACK_S:
        sent_s = math.inf  # nothing stays unproven, nor anybody in the dark, until that time comes
    choices = {
        (State.TRIP_READING, Signal.SEEN_CLOSED, State.UNKNOWN): relay.tries >= TRIES_MAX,
        (State.TRIP_VERIFYING, Signal.SEEN_CLOSED, state): sent_s < times.move_s,
        (State.TRIP_VERIFYING, Signal.SEEN_MOVING, State.UNKNOWN): sent_s >= times.delay_max_s,
        (State.RESTORE_VERIFYING, Signal.SEEN_OPEN, state): sent_s < times.move_s,
        (State.RESTORE_VERIFYING, Signal.SEEN_OPEN, State.STUCK_OPEN): relay.tries >= TRIES_MAX,
        (State.ALLOWED, Signal.SEEN_OPEN, State.OPEN): relay.wanted_open,
        (State.ALLOWED, Signal.SEEN_CLOSED, State.TRIP_FAILED): relay.wanted_open,
        (State.WELD_OR_BYPASS, Signal.SEEN_OPEN, State.TRIP_WATCHING): not relay.fault,
    }
    if signal is Signal.NO_REPLY and state in TRIPPING and state is not State.TRIP_SENT:
        return following(state, signal) if relay.reads >= TRIES_MAX else state
    for (where, on, to), holds in choices.items():
        if where is state and on is signal and holds:
            return to
    return following(state, signal)


def _entered(relay: Relay, state: State, now: float, times: Times) -> Relay:
    after = replace(relay, state=state, since=now, reads=0)
    if state in (State.TRIP_SENT, State.RESTORE_SENT):
        recent = tuple(at for at in relay.operations if at > now - DAY_S)
        if relay.tries == 0:
            # Where the trip was never carried out, nothing moves: that is not yet the one restore.
            moves = state is State.RESTORE_SENT and relay.state is not State.TRIP_WANTED
            near = moves and now < _free_at(relay, times)
            after = replace(after, excepted_at=now if near else relay.excepted_at)
            recent = (*recent, now)
        after = replace(after, tries=relay.tries + 1, sent_at=now, operations=recent)
    if state in SETTLED:
        after = replace(after, tries=0, pauses=0)
    if state is State.STUCK_OPEN:
        after = replace(after, next_at=now + PAUSES_S[-1])
    if state is State.HELD:
        after = replace(after, unsafe=True)
    elif state is State.CLOSED:
        after = replace(after, unsafe=False, load_voltage=False)
    if state in (State.WELD_OR_BYPASS, State.STUCK_OPEN):
        after = replace(after, fault=state.value)
    elif state in (State.CLOSED, State.ALLOWED) and relay.fault == State.STUCK_OPEN:
        after = replace(after, fault="")
    return after


def _distance_over(relay: Relay, now: float, times: Times) -> float:
    """When a restore that is wanted now may go out: at once, once a day.

    What lies in the future (the clock was set back) keeps nobody in the dark.
    """
    excepted = relay.excepted_at is not None and now - DAY_S < relay.excepted_at <= now
    return min(_free_at(relay, times), now + times.distance_s) if excepted else now


def _free_at(relay: Relay, times: Times) -> float:
    return max(relay.operations, default=-float(times.distance_s)) + times.distance_s


def _effect(do: Do, relay: Relay, signal: Signal, now: float, times: Times) -> Effect:
    at_once = relay.state in (State.TRIP_READING, State.RESTORE_READING)
    at = {
        Do.READ: now if at_once and signal is not Signal.NO_REPLY else now + times.look_s,
        Do.WATCH_ENERGY: now + times.still_s,
        Do.WAIT: relay.next_at,
    }
    direct = relay.direct and not relay.unsafe and not relay.load_voltage
    return Effect(do, at.get(do, 0.0), direct and do is Do.SEND_CLOSE, signal.value)
