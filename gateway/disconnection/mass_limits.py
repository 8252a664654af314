"""Limits on many cuts at once: no message raises them, no restart forgets them.

    slot      when the next cut of an area has its turn: a random delay, and room in every window
    asked     a cut was asked for: too many at once, and the breaker latches
    refuse    everything that speaks against a cut now

The windows slide: at most N cuts in *any* ten minutes, not N per calendar ten minutes.  They are
counted from the durable times of what was asked and done; a time that lies in the future (the clock
was set back) counts as well.

The latch (闭锁) stops all cuts of the area.  Restores go on.  Only two persons or a key at the box
release it.

Restores are spread too, when there are several: per phase, with an eye on the area's current and
voltage.  But no restore waits longer for that than ``pause_max_s``: supply is owed.  From then on
they only follow each other at ``APART_S``, so that a whole street never comes back in one second.

Contract: R21 to R24, R36; R26 stands in mass_changes.py.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache

from pydantic import TypeAdapter, ValidationError

from gateway.disconnection.facts import DAY_S, HOUR_S

TEN_MINUTES_S = 600
_NAMES = {TEN_MINUTES_S: "10 minutes", HOUR_S: "60 minutes", DAY_S: "24 hours"}
KEEP_S = DAY_S
"""Times older than this concern no window."""
APART_S = 5.0
"""Between two restores that have waited long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one area."""

    per_10_minutes: int = 3
    per_hour: int = 10
    per_day_percent: int = 5
    """Of the area's accounts; one is always allowed."""
    at_once_percent: int = 10
    """More accounts than this falling due within ten minutes is no coincidence."""
    quiet_s: int = 2 * HOUR_S
    """After a start, and after a long time offline."""
    offline_s: int = 6 * HOUR_S
    """What a long time is."""
    delay_s: int = 600
    """A cut waits a random part of this."""
    below_zero_percent: int = 10
    """A change that puts more accounts than this below zero waits for a second person."""
    below_zero_accounts: int = 3
    """Fewer than this are no mass."""
    restores_per_minute: int = 2
    """Of one phase."""
    current_max_percent: int = 80
    """Of the transformer's rated current; above it restores pause."""
    voltage_min_mv: int = 198_000
    load_age_max_s: int = 120
    """Older values of current and voltage say nothing."""
    pause_max_s: int = 600
    """No restore pauses longer for its phase or the area's load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A change that waits for a second person (mass_changes.py)."""

    content: str
    """Of the order: equal for two who order the same."""
    key: str
    """Key id of who ordered it; empty: it came with the configuration."""
    accounts: int
    """How many it would have put below zero."""
    at: float
    """Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What has to be remembered of an area."""

    asked: tuple[float, ...] = ()
    """When the cuts of the last day are or were to happen, each once, Unix time, ascending."""
    cut: tuple[float, ...] = ()
    """When trips were sent in the last day, ascending."""
    due: tuple[float, ...] = ()
    """When accounts fell due in the last day, ascending."""
    latched: str = ""
    """Why no cut is made; empty: not latched."""
    quiet_from: float | None = None
    """When the gateway started or came back; None: it never did."""
    fallen: tuple[tuple[float, str], ...] = ()
    """Accounts that one person's orders put below zero in the last day, and when."""
    proposed: tuple[Proposed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the area meter said."""

    age_s: float
    current_percent: int
    """Of the transformer's rated current, the highest phase."""
    voltage_mv: int
    """The lowest phase."""


class LatchError(Exception):
    """The latch may not be released.  The message says what is missing."""


# --- cuts --------------------------------------------------------------------------------------


def refuse(state: State, limits: Limits, accounts: int, now: float) -> tuple[tuple[str, str], ...]:
    """(rule, reason) of everything that speaks against a cut at ``now``."""
    return tuple(_reasons(state, limits, accounts, now))


def slot(state: State, limits: Limits, accounts: int, now: float, draw: float) -> float:
    """When a cut that is decided now has its turn; ``draw`` is random, in [0, 1).

    Its last call is to come before, so pass the earliest moment as ``now``.
    """
    wanted = now + draw * limits.delay_s
    times = state.asked
    windows = _windows(limits, accounts)
    ends = {at + window_s for at in times for window_s, _ in windows}
    return next(
        moment
        for moment in sorted({wanted} | {end for end in ends if end > wanted})
        if all(_fits(times, moment, window_s, most) for window_s, most in windows)
    )


def asked(state: State, limits: Limits, accounts: int, at: float, now: float) -> State:
    """A cut was asked for, to happen at ``at``.  More than a window holds latches.

    Whoever asks while it is latched is not counted: its release begins anew.
    """
    if state.latched:
        return state
    times = tuple(sorted((*_recent(state.asked, now), at)))
    after = replace(state, asked=times)
    for window_s, most in _windows(limits, accounts):
        if any(_count(times, begin, window_s) > most for begin in times):
            reason = f"more than {most} cuts were asked for within {_NAMES[window_s]}"
            return _latch(after, reason)
    return after


def withdrawn(state: State, at: float) -> State:
    """The cut that was to happen at ``at`` is cancelled: its turn is free."""
    times = list(state.asked)
    if at in times:
        times.remove(at)
    return replace(state, asked=tuple(times))


def fell_due(state: State, limits: Limits, accounts: int, now: float) -> State:
    """An account fell due.  Too many at once latch."""
    times = tuple(sorted((*_recent(state.due, now), now)))
    after = replace(state, due=times)
    most = max(1, accounts * limits.at_once_percent // 100)
    # In a small area two at once are no mass.
    if _count(times, now - TEN_MINUTES_S, 2 * TEN_MINUTES_S) > max(most, limits.per_10_minutes):
        return _latch(after, f"more than {limits.at_once_percent} % of accounts fell due at once")
    return after


def sent(state: State, now: float) -> State:
    """A trip was sent."""
    return replace(state, cut=tuple(sorted((*_recent(state.cut, now), now))))


def unsent(state: State, at: float) -> State:
    """Without the trip that was sent at ``at``: it is judged anew, and is no second cut (R21)."""
    times = list(state.cut)
    if at in times:
        times.remove(at)
    return replace(state, cut=tuple(times))


def release(state: State, persons: Collection[str], *, key_at_box: bool) -> State:
    """The latch released.  ``persons`` are the keys that signed for it.  Raises LatchError."""
    if not key_at_box and len(set(persons)) < 2:
        raise LatchError(
            f"the latch is released by two persons or by a key at the box; found"
            f" {len(set(persons))} persons"
        )
    return replace(state, latched="", asked=(), due=())


def started(state: State, now: float) -> State:
    """The gateway started, or its clock became trusted: the quiet period begins."""
    return replace(state, quiet_from=now)


def reconnected(state: State, limits: Limits, offline_s: float, now: float) -> State:
    """The broker is there again after ``offline_s``."""
    return replace(state, quiet_from=now) if offline_s >= limits.offline_s else state


# --- restores ----------------------------------------------------------------------------------


def restore_turn(
    recent: Sequence[tuple[float, str]],
    phase: str,
    wanted_since: float,
    load: Load | None,
    limits: Limits,
    now: float,
) -> float:
    """When a restore may be sent: now, or when to ask again.

    ``recent`` are the restores of the last minute, as (time, phase).  An empty phase (unknown, or
    all three) counts in each.  The first restore of a minute never waits.
    """
    window_s = 60.0
    near = [one for one in recent if now - window_s < one[0] <= now]
    if not near:
        return now
    if now - wanted_since >= limits.pause_max_s:
        return max(now, max(at for at, _ in near) + APART_S)
    same = sorted(at for at, other in near if not phase or other in ("", phase))
    if len(same) >= limits.restores_per_minute:
        return same[-limits.restores_per_minute] + window_s
    return now + window_s / 2 if _strained(load, limits) else now


def _strained(load: Load | None, limits: Limits) -> bool:
    if load is None or not 0 <= load.age_s <= limits.load_age_max_s:
        return False
    high = load.current_percent > limits.current_max_percent
    return high or load.voltage_mv < limits.voltage_min_mv


# --- the state as text --------------------------------------------------------------------------


class LimitsTextError(ValueError):
    """A stored state cannot be read: a newer release wrote it, or it is damaged."""


def to_json(state: State) -> str:
    """The state as text, to be stored."""
    tree = _fields(state) | {"proposed": [_fields(one) for one in state.proposed]}
    return json.dumps(tree, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _fields(one: State | Proposed) -> dict[str, object]:
    """Its fields by name; asdict would copy every number of them, too."""
    return {each.name: getattr(one, each.name) for each in fields(one)}


@lru_cache(maxsize=1024)
def from_json(text: str) -> State:
    """The state that ``to_json`` wrote.  Raises LimitsTextError."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise LimitsTextError(f"no state: {error.errors(include_url=False)[0]}") from error


@cache
def _adapter() -> TypeAdapter[State]:
    return TypeAdapter(State)


def _reasons(state: State, limits: Limits, accounts: int, now: float) -> Iterator[tuple[str, str]]:
    for window_s, most in _windows(limits, accounts):
        done = sum(at > now - window_s for at in state.cut)
        if done >= most:
            yield "R21", f"cuts in the last {_NAMES[window_s]}: {done}, allowed: {most}"
    if state.latched:
        yield "R22", f"latched: {state.latched}"
    if state.quiet_from is None or now < state.quiet_from + limits.quiet_s:
        yield "R23", f"less than {limits.quiet_s // 60} minutes since the start or an outage"


def _windows(limits: Limits, accounts: int) -> tuple[tuple[int, int], ...]:
    """(seconds, most cuts) of each window."""
    day = max(1, accounts * limits.per_day_percent // 100)
    return (
        (TEN_MINUTES_S, limits.per_10_minutes),
        (HOUR_S, limits.per_hour),
        (DAY_S, day),
    )


def _fits(times: Sequence[float], moment: float, window_s: int, most: int) -> bool:
    """Whether one more at ``moment`` leaves no window with more than ``most``."""
    near = sorted((*(at for at in times if abs(at - moment) < window_s), moment))
    return all(_count(near, begin, window_s) <= most for begin in near)


def _count(times: Sequence[float], begin: float, window_s: int) -> int:
    return sum(begin <= at < begin + window_s for at in times)


def _recent(times: Sequence[float], now: float) -> tuple[float, ...]:
    return tuple(at for at in times if at > now - KEEP_S)


def _latch(state: State, reason: str) -> State:
    return replace(state, latched=state.latched or reason)
