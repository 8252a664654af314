"""What may be wrong with a relay, by name: the scenarios of a test bench.

    normal          nothing
    stuck           it accepts, and its contact does not open
    stuck-open      it opens, and then does not close any more
    deaf            it accepts, and nothing at all happens
    mute            it obeys, and does not answer
    late            it trips half an hour later (``late=600``: ten minutes)
    back            it closes by itself after twenty minutes
    welded          it says open, and the load goes on; a bypass looks the same
    external        an external breaker: allowed to close, it closes; nobody feels its contact
    external-stuck  the same, and the breaker does not follow
    wrong-echo      it obeys, and another address stands in its answer
    noise           it obeys, and its answer is always damaged
    twin            another meter on the line has its address (``twin=0.5``: half a second slower)
    inverted        its status bits are the other way round
    protected       somebody protected the supply on the spot
    year-ahead      its clock is a year ahead
    locked          three wrong passwords lock it for a day
    secured         it trips by the utility's key service only
    button          once allowed, the customer presses after an hour (``button=60``: a minute)
    load-side       there is voltage behind it, so it refuses to close
    any             one of these, or none, by the seed

Several may be named, parted by commas: ``late=60,welded``.
"""

import math
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

from protocols.relay import Action

_YEAR_S = 365 * 86_400.0
NORMAL_SHARE = 0.6
"""How many of those that are drawn have nothing wrong."""


class ScenarioError(Exception):
    """A text names no scenario of a relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """In what a relay differs from a good one."""

    opens: bool = True
    closes: bool = True
    feedback: bool = True
    """It tells its contact's state; else that of its own output."""
    external: bool = False
    deaf: bool = False
    mute: bool = False
    wrong_echo: bool = False
    noise: bool = False
    inverted: bool = False
    protected: bool = False
    load_side: bool = False
    secured: frozenset[Action] = frozenset()
    """What it does not take with a plain password."""
    lock_after: int = 0
    """How many wrong passwords in a row lock it; 0: none do."""
    delay_s: float = 0.0
    back_after_s: float | None = None
    press_after_s: float | None = None
    """After how long the customer presses the button, once allowed; None: only by ``press``."""
    clock_ahead_s: float = 0.0
    twin_delay_s: float | None = None
    """How much later the other meter answers; None: there is no other."""


NORMAL = Behaviour()
_TRIPS = frozenset({Action.TRIP, Action.TRIP_THEN_CLOSE, Action.TRIP_THEN_ALLOW})
_PLAIN = {
    "normal": NORMAL,
    "stuck": Behaviour(opens=False),
    "stuck-open": Behaviour(closes=False),
    "deaf": Behaviour(deaf=True),
    "mute": Behaviour(mute=True),
    "welded": Behaviour(opens=False, feedback=False),
    "external": Behaviour(external=True, feedback=False),
    "external-stuck": Behaviour(external=True, feedback=False, opens=False),
    "wrong-echo": Behaviour(wrong_echo=True),
    "noise": Behaviour(noise=True),
    "inverted": Behaviour(inverted=True),
    "protected": Behaviour(protected=True),
    "year-ahead": Behaviour(clock_ahead_s=_YEAR_S),
    "locked": Behaviour(lock_after=3),
    "secured": Behaviour(secured=_TRIPS),
    "load-side": Behaviour(load_side=True),
}
_TIMED = {
    "late": ("delay_s", 1800.0),
    "back": ("back_after_s", 1200.0),
    "button": ("press_after_s", 3600.0),
    "twin": ("twin_delay_s", 0.0),
}
SCENARIOS = (*_PLAIN, *_TIMED)
"""Every name but ``any``."""


def behaviour(text: str, seed: str = "") -> Behaviour:
    """The behaviour that ``text`` names; ``seed`` decides what ``any`` is.

    Raises ScenarioError with every problem in it.
    """
    found, problems = NORMAL, []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if part == "any":
            found = _together(found, _drawn(seed))
        elif name in _TIMED:
            seconds = _seconds(number, _TIMED[name][1])
            if seconds is None:
                problems.append(f"{part!r}: write {name}=SECONDS, or {name} alone")
            else:
                found = _together(found, _timed(name, seconds))
        elif name in _PLAIN and not number:
            found = _together(found, _PLAIN[name])
        else:
            problems.append(f"unknown relay {part!r}; there are: any, {', '.join(SCENARIOS)}")
    if problems:
        raise ScenarioError("; ".join(problems))
    return found


def _drawn(seed: str) -> Behaviour:
    random = Random(seed)
    if random.random() < NORMAL_SHARE:
        return NORMAL
    name = random.choice(SCENARIOS)
    return _timed(name, _TIMED[name][1]) if name in _TIMED else _PLAIN[name]


def _timed(name: str, seconds: float) -> Behaviour:
    field: dict[str, Any] = {_TIMED[name][0]: seconds}
    return replace(NORMAL, **field)


def _together(one: Behaviour, other: Behaviour) -> Behaviour:
    """Both: whatever either has that a good relay has not."""
    names = [each.name for each in fields(Behaviour)]
    differs = {n: getattr(other, n) for n in names if getattr(other, n) != getattr(NORMAL, n)}
    return replace(one, **differs)


def _seconds(text: str, default: float) -> float | None:
    try:
        seconds = float(text) if text else default
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None
