"""The demo's cut (停电) and restore (复电): what the head-end was told, and what truly happened.

``Story`` is made of messages alone.  ``Truth`` is what the simulated relays did, whatever was said
of it; ``unjust`` compares the two with the rules, and shares no code with the gateway's own checks.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.prepayment.money import parse_yuan, yuan
from gateway.technician.demo_accounts import (
    COMES_S,
    DEBTOR,
    DELEGATION,
    LAST_CALL,
    NOTICE,
    ZONE,
    Counter,
)
from gateway.technician.demo_books import by_account, prepaid_e4
from gateway.technician.demo_site import LIMITS
from simulators.area import Area
from simulators.ledger import Ledger

LEAD_S, CALL_S = 7200.0, 1800.0
"""A notice two hours before, a call half an hour before: as the rules have it."""
LIMIT_E4 = -parse_yuan(LIMITS["overdraft"])
CUT_BY_S, BACK_BY_S = 240.0, 60.0
"""From the start to the cut, from the payment to the supply: more than this is a fault."""
WORDS = {
    "approved": "cuts agreed to beforehand by a standing delegation",
    "warned": "warned: the balance is low, nothing is cut yet",
    "notice": "notice served, and proven",
    "last_call": "last call made, and proven",
    "trip_sent": "all checks passed, trip sent",
    "open": "cut, proven: the relay says open and no energy is counted",
    "paid": "topped up",
    "restore_sent": "the meter is told that it may close",
    "allowed": "allowed; the customer presses the button",
    "closed": "supply is back, proven",
}
"""The steps, in the order of the rules."""
NOTE = "Hours of notice were simulated beforehand; shortened: quiet time 0, proof 30 s"
ABRIDGED = (
    "  The hours of notice were played on simulated time before the start: none is shortened.",
    "  Shortened are the quiet time after a start (0 for 120 minutes) and the time without energy",
    "  that proves a cut (30 for 300 s).  No hour of the day is protected; this machine's clock",
    "  counts as right.",
)
"""What the demo does to be over soon; SWITCHING in demo_site.py has the shortened times."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A contact moved: the customer has supply from here on, or has none."""

    at: float
    meter: str
    closed: bool


@dataclass(slots=True)
class Truth:
    """What the simulators wrote down; ``area`` is kept in step with it."""

    file: Path
    area: Area
    moved: list[Moved] = field(default_factory=list)
    _read: int = 0

    def look(self) -> None:
        """Take in what is new."""
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            found = json.loads(line)
            one = Moved(found["at"], found["meter"], found["closed"])
            self.moved.append(one)
            self.area.meters[one.meter].household.supply.switch(one.at, on=one.closed)


@dataclass(frozen=True, slots=True)
class Story:
    """How far the debtor's disconnection has come, as the head-end knows it."""

    steps: dict[str, float]
    """When each step was made, Unix time; those of ``WORDS``."""
    cut_at: float | None = None
    """When the cut may be made."""
    failed: str = ""
    """Why it was refused, last; empty: it was not."""
    ended: str = ""
    """What was said when it was called off; empty: it was not."""

    def now_line(self, now: float) -> str:
        """What happens now, and what comes next, in less than 80 columns."""
        steps, shown = self.steps, {step: _clock(at) for step, at in self.steps.items()}
        newest = next((step for step in reversed(WORDS) if step in steps), "")
        match newest:
            case "":
                said = "has no account yet"
            case "trip_sent":
                sent_s = now - steps["trip_sent"]
                said = f"trip sent {sent_s:.0f} s ago; 30 s without energy will prove it"
            case "open":
                comes_s = max(0.0, steps["open"] + COMES_S - now)
                said = f"cut {shown['trip_sent']}, proven; tops up in {comes_s:.0f} s"
            case "paid" | "restore_sent":
                said = f"its supply is being restored{self._after_top_up(now)}"
            case "allowed":
                after = self._after_top_up(steps["allowed"])
                said = f"may close again{after}; the customer's button is next"
            case "closed":
                after = self._after_top_up(steps["closed"])
                said = f"cut {shown['trip_sent']}, supply back {shown['closed']}{after}"
            case _:
                said = self._waiting(now)
        return f"{DEBTOR.number}: {said}"

    def _after_top_up(self, at: float) -> str:
        """How long after it; nothing if there was none, or its answer is still on the way."""
        paid_at = self.steps.get("paid")
        return "" if paid_at is None else f", {max(0.0, at - paid_at):.0f} s after the top-up"

    def _waiting(self, now: float) -> str:
        steps = self.steps
        if self.ended or self.failed:
            return self.ended or f"not cut: {self.failed}"
        said = f"notice {_clock(steps['notice'])}" if "notice" in steps else "warned"
        if self.cut_at is None or "last_call" not in steps:
            return said
        left_s = self.cut_at - now
        coming = f"is cut in {left_s:.0f} s" if left_s > 0 else "the last checks are made"
        return f"{said}, last call {_clock(steps['last_call'])}; {coming}"

    def told(self) -> Iterator[str]:
        """The whole of it, a line each."""
        yield f"account {DEBTOR.number} on meter {DEBTOR.meter}:"
        for what, at in sorted(self.steps.items(), key=lambda step: step[1]):
            yield f"  {_clock(at)}  {WORDS[what]}"
        if "trip_sent" not in self.steps and (self.ended or self.failed):
            yield f"  {self.ended or f'not cut: {self.failed}'}"
        yield from ABRIDGED


def story(ledger: Ledger, counter: Counter) -> Story:
    """The debtor's, from all that has arrived."""
    steps: dict[str, float] = {}
    cut_at, failed, ended = None, "", ""
    for event in ledger.events:
        if event.get("account") != DEBTOR.number:
            continue
        what = str(event.get("what"))
        begun = what == "trip_sent" or "trip_sent" in steps
        if event.get("code") == "relay" and what in WORDS and begun:
            steps.setdefault(what, _unix(event["at"]))
        if event.get("code") == "disconnection":
            if event["state"] == "warned" and "trip_sent" not in steps:
                steps["warned"] = _unix(event["at"])
            if event.get("asks") == "last_call":
                cut_at = _unix(event["due"])
            failed = "; ".join(one["text"] for one in event.get("failed", ()))
            ended = str(event["reason"]) if event["state"] == "watch" else ""
    paid = next((id_ for id_ in counter.sold.values() if f"-{DEBTOR.number}-" in id_), "")
    orders = {"approved": DELEGATION, "notice": NOTICE, "last_call": LAST_CALL, "paid": paid}
    for step, id_ in orders.items():
        confirmed = [one for one in ledger.results.get(id_, ()) if one["stage"] == "confirmed"]
        if confirmed:
            steps[step] = _unix(confirmed[0]["at"])
    if cut_at and "last_call" in steps:
        cut_at = max(cut_at, steps["last_call"] + CALL_S)
    return Story(steps, cut_at, failed, ended)


@dataclass(frozen=True, slots=True)
class Switched:
    """What became of the supply, in numbers."""

    cuts: int
    restored: int
    wrong: tuple[str, ...]
    """Cuts against the rules, a sentence each."""
    faults: tuple[str, ...]
    """What else is not as it should be."""
    cut_after_s: int | None
    """From the warning to the moment the contact opened."""
    restored_after_s: float | None
    """From the top-up, on flash, to the moment the contact closed."""


def switched(
    truth: Sequence[Moved], told: Story, ledger: Ledger, elapsed_s: float, now: float
) -> Switched:
    """Judge at ``now`` (Unix time); ``elapsed_s`` is how long the gateway ran."""
    opened = [one for one in truth if not one.closed]
    closed = [one for one in truth if one.closed]
    mine = next((one.at for one in opened if one.meter == DEBTOR.meter), None)
    back = next((one.at for one in closed if one.meter == DEBTOR.meter), None)
    steps = told.steps
    wrong = tuple(text for one in opened for text in unjust(one, told, ledger))
    return Switched(
        cuts=len(opened),
        restored=len(closed),
        wrong=wrong,
        faults=tuple(_faults(mine, back, told, elapsed_s, now)),
        cut_after_s=round(mine - steps["warned"]) if mine and "warned" in steps else None,
        restored_after_s=round(back - steps["paid"], 1) if back and "paid" in steps else None,
    )


def unjust(one: Moved, told: Story, ledger: Ledger) -> Iterator[str]:
    """What was wrong with cutting this one then."""
    cut = f"{one.meter} was cut at {_clock(one.at)}"
    if one.meter != DEBTOR.meter:
        yield f"{cut}, and nobody was to be"
        return
    posted = by_account(ledger).get(DEBTOR.number, [])
    balance_e4 = sum(prepaid_e4(entry) for entry in posted if _unix(entry["recorded"]) <= one.at)
    if balance_e4 > LIMIT_E4:
        yield f"{cut} with {yuan(balance_e4)} yuan left"
    for step, least_s in (("approved", 0.0), ("notice", LEAD_S), ("last_call", CALL_S)):
        at = told.steps.get(step)
        if at is None or one.at - at < least_s:
            before = "never" if at is None else f"{one.at - at:.0f} s before"
            yield f"{cut}; {WORDS[step]}: {before}"


def _faults(
    cut_at: float | None, back_at: float | None, told: Story, elapsed_s: float, now: float
) -> Iterator[str]:
    number, steps = DEBTOR.number, told.steps
    for what, at in (("open", cut_at), ("closed", back_at)):
        if what in steps and (at is None or at > steps[what]):
            yield f"account {number} was told to be {what}, and its contact had not moved"
    if cut_at is None and elapsed_s > CUT_BY_S and not told.ended:
        yield f"account {number} was not cut: {told.failed or 'nobody knows why'}"
    paid_at = steps.get("paid")
    if paid_at is not None and back_at is None and now - paid_at > BACK_BY_S:
        yield f"account {number} has paid, and has no supply"


def _unix(text: Any) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, ZONE):%H:%M:%S}"
