"""The auditor of the torture: what the gateway wrote and told, against what was on the wire.

The judge (tests/switch_judge.py) knows people and meters; the auditor reads rows, messages and
frames.  He is told of each control frame as it leaves, of each message as it goes up, and of each
power cut; the rows he reads himself, and they are never changed, so any moment is good for that.

Times he is told are the true ones; those in rows and messages are by the gateway's clock.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any

from gateway.disconnection.facts import from_json
from gateway.disconnection.preflight import preflight
from gateway.events import Priority
from gateway.north.contract import unix_s
from gateway.store.connection import Connection
from protocols import dlt645
from protocols.dlt645_refusals import RELAY
from protocols.dlt645_relay import parse
from protocols.relay import Action
from tests.switch_judge import ON_THE_WAY_S, WrongError
from tests.switch_street import Home

MINUTE = 60.0
DEADLINE_S = 300
ANSWERED_S = 300.0
"""By then the answer to a frame is written down."""
REPLAYED_OF = 8
"""Of the decisions against a cut one in so many is made again; of those for it each."""
REGISTER = "energy_active_import"
SHOWN = {"voltage_l1n": "02010100", "current_l1": "02020100"}
"""What else is recorded with a trip, and what it is read by."""
AFTER = ("open", "closed", "allowed")
OVER = {
    "trip": ("open", "trip_failed", "weld_or_bypass", "held"),
    "allow_close": ("closed", "allowed"),
    "close": ("closed", "allowed"),
}
"""States in which an operation has come to its end."""
TOLD = frozenset(
    ("open", "trip_failed", "unknown", "weld_or_bypass", "restore_wanted", "restore_sent")
) | {"allowed", "closed", "stuck_open", "held"}
"""What may follow a trip, as the head-end is told it."""
MOVES = (Action.TRIP, Action.CLOSE, Action.ALLOW_CLOSE)
WORDLESS = frozenset(("closed", "protected", "unprotected", "released"))
"""Turns of a relay that leave the customer nothing to do."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One control frame as it left."""

    at: float
    address: str
    action: Action
    frame: str
    """In hexadecimal, as on the wire."""
    deadline: datetime | None
    """By the meter's own clock."""
    endless: bool
    """It carries a date that never comes."""
    priority: Priority

    @classmethod
    def of(cls, request: dlt645.Request, at: float, priority: Priority) -> "Sent | None":
        """A request as it leaves; None if it switches nothing."""
        control = parse(request.data) if request.control == RELAY else None
        if control is None or control.action is None:
            return None
        frame = dlt645.encode(request).hex().upper()
        return cls(
            at, request.address, control.action, frame, control.deadline, control.endless, priority
        )


@dataclass
class Record:
    """One row of ``operation``, and what the auditor saw of it."""

    number: int
    at: float
    """When it was read."""
    meter: str
    account: str
    action: str
    purpose: str
    cause: str
    sent: list[Sent] = field(default_factory=list)
    told: list[Mapping[str, Any]] = field(default_factory=list)
    """Messages about the relay since."""
    excused: bool = False
    """The power failed before the answer could be written down."""

    @property
    def order(self) -> tuple[str, str, str]:
        """What an order may do once."""
        return self.cause, self.meter, self.action


class Auditor:
    """Raises WrongError."""

    def __init__(self, homes: Sequence[Home]) -> None:
        self.homes = {home.meter.asset: home for home in homes}
        self.accounts = {home.number: home for home in homes}
        self.count: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Failed checks of all decisions, by rule."""
        self.delays: list[float] = []
        """Of each cut: how much later than the last call asks it was set."""
        self.order_delays: list[float] = []
        """Of each cut by order: how long after its approval its turn was."""
        self.wrong: dict[str, float] = {}
        """By meter: when it was found that its account was cut wrongly, until that is told."""
        self.unanswered: list[float] = []
        """When something was attempted that was not refused aloud yet."""
        self._seen = {"decision": 0, "operation": 0}
        self._decisions: dict[int, tuple[float, str, str, bool, bool]] = {}
        self._records: dict[str, list[Record]] = {}
        """By meter, those not yet audited; the newest is under way."""
        self._called: dict[str, Mapping[str, Any]] = {}
        """By account, the last message that asked for a last call."""
        self._pending: dict[str, Mapping[str, Any]] = {}
        """By order, the message that told of its turn."""
        self._over: set[tuple[str, str, str]] = set()
        """Orders that came to their end: cause, meter, action."""

    # --- what he is told --------------------------------------------------------------------------

    def frame(self, home: Home, sent: Sent, connection: Connection) -> None:
        """A control frame leaves; ``connection`` shows what is committed.  Before the meter acts.

        R05, R07, R24, R33, R39, R40, R41.
        """
        self.look(connection, sent.at)
        meter = home.meter
        self._must(sent.address == meter.address, "R07", sent.at, f"{sent.address} is not {meter}")
        self._deadline(home, sent)
        # Protecting a supply and restoring it may cross on the line; trip and close may not.
        moves = sent.action in MOVES
        alike = [
            one for one in self._records.get(meter.asset, ()) if (one.action in MOVES) is moves
        ]
        known = bool(alike) and alike[-1].action == sent.action
        if sent.action in (Action.CLOSE, Action.ALLOW_CLOSE):
            first = sent.priority is Priority.RESTORE
            self._must(first, "R33", sent.at, f"a restore of {meter.asset} waits behind others")
        if moves:
            self._must(known, "R40", sent.at, f"{sent.action} of {meter.asset} is not recorded")
        if not known:
            return
        alike[-1].sent.append(sent)
        self.count["frames"] += 1
        if sent.action is Action.TRIP and alike[-1].purpose == "arrears":
            self._warned(home, sent.at)
        elif sent.action is Action.TRIP and alike[-1].purpose == "order":
            self._waited(home, alike[-1].cause, sent.at)

    def told(self, message: Mapping[str, Any]) -> None:
        """A message goes up: an event of the contract, as JSON.  R06, R24, R37, R41."""
        code = message.get("code")
        if code in ("switching_refused", "command_refused"):
            self.unanswered = self.unanswered[1:]
            self.count["refusals"] += 1
        if code not in ("relay", "disconnection"):
            return
        at = unix_s(message["at"])
        wordless = message.get("what") in WORDLESS or message.get("state") == "watch"
        said = bool(message["reason"]) and (wordless or bool(message["next_step"]))
        self._must(said, "R41", at, f"no reason or no next step: {dict(message)}")
        if code == "relay":
            for record in self._records.get(message["meter"], ()):
                record.told.append(message)
            if message["what"] == "wrong_cut":
                self.wrong.pop(message["meter"], None)
            elif message["what"] == "trip_pending":
                twice = message["command"] in self._pending
                self._must(not twice, "R24", at, f"{message['command']} is given two turns")
                self._pending[message["command"]] = message
        elif message.get("asks") == "last_call":
            before = self._called.get(message["account"])
            if before is None or before["due"] != message["due"]:  # else it is made again
                self._called[message["account"]] = message

    def corrected(self, home: Home, at: float) -> None:
        """The past was put right, and there was no reason for the cut of this home.  R37."""
        self.wrong[home.meter.asset] = at

    def attempted(self, at: float) -> None:
        """Something is sent that must be refused aloud.  R06."""
        self.unanswered.append(at)

    def power_cut(self, at: float) -> None:
        """The gateway has just lost its power: an answer may be lost."""
        self.unanswered.clear()
        for records in self._records.values():
            for record in records:
                late = record.sent and record.sent[-1].at > at - ANSWERED_S
                record.excused = record.excused or bool(late)

    def ended(self, home: Home, connection: Connection, at: float) -> None:
        """Books or standing of a home changed and that is committed.  R18."""
        row = connection.row("select state from disconnection where account = ?", home.number)
        state = row[0] if row else "watch"
        paid = home.balance_e4 > home.beyond_e4
        standing = home.standing
        harmed = standing.no_cut is not None or standing.class_ in ("critical", "life_support")
        other = standing.dispute or standing.mode != "prepay_cut"
        unsent = state in ("due", "notice_served", "approved", "scheduled", "preflight")
        wrong = unsent and (paid or harmed or other)
        wrong = wrong or (state in ("sent", "verifying") and (paid or harmed))
        self._must(not wrong, "R18", at, f"the case of {home.number} goes on: {state}")

    # --- what he reads ----------------------------------------------------------------------------

    def look(self, connection: Connection, at: float) -> None:
        """Read what was written since.  R03, R06, R37, R39, R40, R41, R44."""
        for row in connection.rows(
            "select number, at, meter, account, allowed, dry, failed, journal, facts"
            " from decision where number > ? order by number",
            self._seen["decision"],
        ):
            self._seen["decision"] = row[0]
            self._decided(row)
        for row in connection.rows(
            "select number, at, meter, account, action, purpose, cause, operator, decision,"
            " journal, dry, seen from operation where number > ? order by number",
            self._seen["operation"],
        ):
            self._seen["operation"] = row[0]
            self._operated(row, connection, at)
        silent = any(at - one > ANSWERED_S for one in self.unanswered)
        self._must(not silent, "R06", at, "an attempt was not refused aloud")
        for meter, records in self._records.items():
            while len(records) > 1 and at - records[1].at > ANSWERED_S:
                self._close(records.pop(0), connection, records[0])
            late = at - self.wrong.get(meter, at) > MINUTE
            self._must(not late, "R37", at, f"the wrong cut of {meter} was not told")

    def end(self, connection: Connection, at: float) -> None:
        """The world is over: everything has come to its end.  R24."""
        self.look(connection, at)
        for records in self._records.values():
            for record, following in zip_longest(records, records[1:]):
                self._close(record, connection, following)
        self._records.clear()
        for delays in (self.delays, self.order_delays):
            different = len({round(one) for one in delays})
            random = len(delays) < 5 or different > len(delays) // 2
            self._must(random, "R24", at, f"delays that are not random: {delays}")

    def _decided(self, row: Sequence[Any]) -> None:
        number, at, meter, account, allowed, dry, failed, journal, facts = row
        against = json.loads(failed)
        self.refused.update(rule for _, rule, _ in against)
        self._decisions[number] = (at, meter, account, bool(allowed), bool(dry))
        self._must(bool(allowed) == (not against), "R39", at, f"decision {number} against itself")
        if not allowed and number % REPLAYED_OF:
            return
        self.count["replayed"] += 1
        based = from_json(facts)
        again = preflight(based)
        same = [[one.code, one.rule, one.text] for one in again.failed] == against
        self._must(same and again.dry == bool(dry), "R44", at, f"decision {number} differs")
        inputs = (based.money.journal == journal, based.account is not None, bool(based.margins))
        self._must(all(inputs), "R39", at, f"decision {number} lacks its inputs")

    def _operated(self, row: Sequence[Any], connection: Connection, now: float) -> None:
        number, at, meter, account, action, purpose, cause, operator, decision, journal, dry = row[
            :11
        ]
        self._must(meter in self.homes, "R07", at, f"{meter} is not configured")
        trip = action == Action.TRIP
        if trip:
            made = self._decisions.get(decision or 0)
            fits = made is not None and made[1:] == (meter, account, True, bool(dry))
            fresh = made is not None and 0 <= at - made[0] < ON_THE_WAY_S
            self._must(fits and fresh, "R39", at, f"a trip of {meter} without a decision")
            self._must(journal > 0, "R39", at, f"a trip of {meter} knows no journal")
        if trip and not dry:
            seen = json.loads(row[11])
            # A damaged answer may cost a value; the register it cannot do without.
            damaged = self.homes[meter].meter.damaged
            lost = {name for name, di in SHOWN.items() if at - damaged.get(di, 0.0) < ON_THE_WAY_S}
            missing = {REGISTER, *SHOWN} - seen.keys() - lost
            self._must(not missing, "R40", at, f"a trip of {meter} knows no {sorted(missing)}")
        self._must(bool(operator), "R40", at, f"nobody answers for {action} of {meter}")
        if dry:
            return
        record = Record(number, now, meter, account, action, purpose, cause)
        records = self._records.setdefault(meter, [])
        for before in records:
            self._note_over(before, self._steps(before, connection))
        again = record.order in self._over and purpose != "arrears"
        self._must(not again, "R03", at, f"{cause} switches {meter} again")
        records.append(record)

    @staticmethod
    def _steps(record: Record, connection: Connection) -> list[tuple[str, dict[str, Any]]]:
        """What came of an operation so far."""
        rows = connection.rows(
            "select what, data from operation_step where operation = ? order by number",
            record.number,
        )
        return [(what, json.loads(data)) for what, data in rows]

    def _note_over(self, record: Record, steps: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        states = {data["state"] for what, data in steps if what == "state"}
        if states & set(OVER.get(record.action, ())):
            self._over.add(record.order)

    def _close(
        self, record: Record, connection: Connection, following: Record | None = None
    ) -> None:
        """Everything about an operation must be there now."""
        steps = self._steps(record, connection)
        self._note_over(record, steps)
        for what, data in steps:
            if (
                what == "state"
                and data["state"] in AFTER
                and data["signal"] != "released by a person"
            ):
                # A restore waits for no register; a cut is proven by it.
                needed = REGISTER if data["state"] == "open" else "relay_state"
                text = f"{data['state']} of {record.meter} shows no {needed}"
                self._must(needed in data["values"], "R40", record.at, text)
        if not record.sent or record.excused:
            return
        frames = [frame for what, data in steps for frame in data.get("frames", ())]
        for sent in record.sent:
            written = sent.frame in frames
            self._must(written, "R40", sent.at, f"a frame to {record.meter} is not recorded")
        timed = any("round_trip_ms" in data and "waited_ms" in data for _, data in steps)
        self._must(timed, "R40", record.at, f"{record.meter}: nobody knows how long it took")
        again = following is not None and following.order == record.order
        if record.action == Action.TRIP and not again:  # a repeated try ends with the last
            told = TOLD & {one["what"] for one in record.told}
            self._must(bool(told), "R41", record.at, f"what came of {record.meter} was not told")

    # --- rules of one frame -----------------------------------------------------------------------

    def _deadline(self, home: Home, sent: Sent) -> None:
        shows = home.meter.shows(sent.at)
        if sent.deadline is None:
            gives = sent.endless and sent.action in (Action.CLOSE, Action.ALLOW_CLOSE)
            self._must(gives, "R05", sent.at, f"{sent.action} of {home.meter.asset} never dies")
            return
        left_s = (sent.deadline - shows).total_seconds()
        text = f"{sent.action} of {home.meter.asset} lives {left_s:.0f} s by its clock"
        self._must(left_s <= DEADLINE_S + 2, "R05", sent.at, text)

    def _warned(self, home: Home, at: float) -> None:
        called = self._called.get(home.number)
        if called is None or called.get("due") is None:
            self._must(False, "R41", at, f"{home.number} was not told of its cut")
            return
        due, asked = unix_s(called["due"]), unix_s(called["at"])
        self._must(due <= at + ON_THE_WAY_S, "R24", at, f"{home.number} is cut before its turn")
        visible = at - asked >= 1800 - ON_THE_WAY_S
        self._must(visible, "R24", at, f"the cut of {home.number} was pending for {at - asked} s")
        self.delays.append(due - asked - 1800)

    def _waited(self, home: Home, order: str, at: float) -> None:
        """A cut by order had a turn, was seen to wait for it, and did."""
        pending = self._pending.get(order)
        if pending is None:
            self._must(False, "R24", at, f"nobody saw {order} wait to cut {home.number}")
            return
        due, told = unix_s(pending["due"]), unix_s(pending["at"])
        self._must(due <= at + 1, "R24", at, f"{order} cuts {home.number} before its turn")
        self.order_delays.append(due - told)

    @staticmethod
    def _must(holds: bool, rule: str, at: float, text: str) -> None:
        if not holds:
            raise WrongError(f"{rule} at {at:.3f}: {text}")
