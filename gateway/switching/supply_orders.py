"""Orders about supply (停送电命令): from the command to the last stage of its answer.

What only says something (approvals, proofs, calendars, stops) is taken in by the approval desk and
done.  What switches a relay is kept as an order under way, in the transaction that remembers its
command, and carried out from there; so a restart goes on with it, and nothing is done for a command
that was never committed.

    disconnect.request   answered by the account's case: sent, then proven or cancelled
    relay.trip       gateway/switching/trip_orders.py
    relay.close      a restore, as after a payment; nobody is asked
    relay.protect    set at once; taken off only after a judgement (R20)
    shed             gateway/switching/shed_walk.py

Used by the core alone.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from gateway.disconnection.case import Cancel
from gateway.disconnection.facts import Purpose
from gateway.disconnection.relay_table import RESTORING, Signal, State
from gateway.north import contract
from gateway.north import contract_switching as orders
from gateway.north.commands import key_of
from gateway.north.parts import command_of
from gateway.orders import Outcome
from gateway.store.switching import KeptRelay, Underway
from gateway.switching.approval_desk import ApprovalDesk, Given
from gateway.switching.case_steps import CaseSteps
from gateway.switching.cutting import Cutting
from gateway.switching.errands import Errands
from gateway.switching.judging import Judging
from gateway.switching.relay_sending import knows
from gateway.switching.relay_work import RelayWork
from gateway.switching.relays import Wish
from gateway.switching.shed_walk import ShedWalk
from gateway.switching.supply_point import why_none
from gateway.switching.trip_orders import BUSY_S, PACE_S, TripOrders
from protocols.relay import Action

UNDER_WAY_MAX = 100
"""More orders are not kept at once: each is looked at every few seconds."""
DONE = (State.CLOSED, State.ALLOWED)
FAILED = (State.TRIP_FAILED, State.UNKNOWN, State.WELD_OR_BYPASS)

log = structlog.get_logger()


class SupplyOrders:
    """The orders about supply of one gateway."""

    def __init__(
        self,
        steps: CaseSteps,
        cutting: Cutting,
        judging: Judging,
        work: RelayWork,
        desk: ApprovalDesk,
        draw: Callable[[], float],
    ) -> None:
        """``draw`` is a source of [0, 1), for the random part of a cut's delay (R24)."""
        self._steps = steps
        self._draw = draw
        self._store = steps.rooms.store
        self._relays = steps.relays
        self._cutting = cutting
        self._judging = judging
        self._work = work
        self._desk = desk
        self._answer = steps.answer
        self._trips = TripOrders(steps, judging, work, desk, draw)
        self._walk = ShedWalk(steps, judging, work)
        self._at: dict[str, float] = {}
        """By order, Unix time before which there is nothing to do for it."""
        self._soonest = 0.0  # the same for all of them
        self._commands: dict[str, contract.Command] = {}  # by order, what it says
        self._errands = Errands(steps, judging, work, self._finish, self._want_closed)

    # --- taken in, in the transaction that remembers the command ----------------------------------

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        """Take an order on."""
        given = Given(command, by, wall, at_box)
        order: Any = command.command
        match order:
            case orders.RelayTrip():
                self._soonest = 0.0
                reason = self._too_many() or self._no_point(order.account)
                return Outcome("refused", reason) if reason else self._trips.take(given, order)
            case orders.RelayClose():
                return self._close(given, order)
            case orders.RelayProtect():
                return self._protect(given, order)
            case orders.ShedLoad():
                problem = self._too_many() or self._walk.problem(order)
                return Outcome("refused", problem) if problem else self._shed(given, order)
            case orders.ShedEnd():
                return self._walk.end(order)
        return self._said(given, order)

    def _said(self, given: Given, order: Any) -> Outcome:
        """What only says something: the cases look at it when they need it."""
        command = given.command
        asks = isinstance(order, orders.DisconnectRequest)
        if asks and (problem := self._cutting.problem(order.account, given.wall)):
            return Outcome("refused", problem)
        outcome = self._desk.execute(command, given.by, given.wall, at_box=given.at_box)
        if outcome.stage == "refused":
            return outcome
        if isinstance(order, orders.DisconnectCancel):
            return self._cancel(order, given, outcome)
        if isinstance(order, orders.StopCuts | orders.ResumeCuts):
            # Orders are not all that may stop: a file, a switch at the box.
            stopped = self._steps.rooms.clearance.stopped()
            return replace(outcome, data={**outcome.data, "stopped": stopped})
        if asks:
            self._cutting.request(order.account, key_of(command), command.id, given.wall)
        return outcome

    def _cancel(self, order: orders.DisconnectCancel, given: Given, outcome: Outcome) -> Outcome:
        """Cancel a case: at once, or answered when the supply is back that it had cut."""
        kept, command = self._store.case(order.account), given.command.id
        self._trips.withdraw(
            lambda one: one.account == order.account, given.wall, f"cancelled by {command}"
        )
        self._cutting.cancel(order.account, Cancel.ORDERED, given.wall, command)
        relay = self._store.relay(kept.case.meter) if kept else None
        if relay is None or relay.command != command or relay.relay.state not in RESTORING:
            return outcome
        self._store.set_relay(replace(relay, purpose=Purpose.ORDER))
        return Outcome("accepted", "its supply is being restored")

    def works_on(self, command: str) -> bool:
        """Whether the order with this id goes on after a restart."""
        relays = (one.command for one in self._store.relays_not_closed())
        cases = (one.command for one in self._store.cases())
        return command in (*relays, *cases) or self._store.order(command) is not None

    def _shed(self, given: Given, order: orders.ShedLoad) -> Outcome:
        """Have the desk count the vote in it, and begin it at a random moment (R24)."""
        command, wall = given.command, given.wall
        outcome = self._desk.execute(command, given.by, wall, at_box=given.at_box)
        if outcome.stage != "refused":
            most_s = min(self._steps.settings.limits.delay_s, contract.unix_s(order.until) - wall)
            self._begin(command, again_at=wall + self._draw() * max(0.0, most_s))
        return outcome

    def _begin(self, command: contract.Command, **progress: object) -> None:
        self._store.set_order(Underway(command.id, command.model_dump_json(), progress))
        self._soonest = 0.0

    def _too_many(self) -> str:
        """Why no further order is kept; empty: there is room."""
        if len(self._store.orders()) < UNDER_WAY_MAX:
            return ""
        return f"{UNDER_WAY_MAX} orders are under way; order it again when some are done"

    def _close(self, given: Given, order: orders.RelayClose) -> Outcome:
        command, wall = given.command, given.wall
        if order.meter is None:
            return self._close_all(given)
        if order.meter not in self._relays.meters:
            return self._no_relay(order.meter)
        self._trips.withdraw(lambda one: one.meter == order.meter, wall, f"closed: {command.id}")
        if not self._want_closed(order.meter, command.id, wall):
            # It should be closed already; whether it is, a look tells.
            self._begin(command)
        return Outcome("accepted")

    def _close_all(self, given: Given) -> Outcome:
        """Want every relay closed; those that we believe closed are looked at first."""
        if not given.at_box:
            return Outcome("refused", "all relays are closed at the box only: somebody looks there")
        if reason := self._too_many():
            return Outcome("refused", reason)
        self._trips.withdraw(lambda _: True, given.wall, "ordered for all")
        self._walk.end_all("ordered for all")
        wanted = [
            kept.relay.meter
            for kept in self._store.relays_not_closed()
            if self._want_closed(kept.relay.meter, "", given.wall)
        ]
        left = sorted(self._relays.meters.keys() - set(wanted))
        self._begin(given.command, left=left, wanted=wanted)
        return Outcome("accepted", "each is tried until it has supply", {"meters": wanted})

    def _want_closed(self, meter: str, command: str, wall: float) -> bool:
        """Want a relay closed, whoever opened it.  False where it is already, by what we know."""
        kept, cause = self._relays.get(meter), command or "ordered for all"
        if meter not in self._relays.meters or kept.relay.state in DONE:
            if command and kept.relay.fault and meter in self._relays.meters:
                self._relays.signal(meter, Signal.RELEASED, wall)  # who orders it has seen to it
            return False
        tripped = kept.relay.wanted_open and kept.purpose is Purpose.ORDER
        if tripped and self._store.order(kept.command):
            data = {"meter": meter, "relay": kept.relay.state.value}
            self._finish(kept.command, "failed", wall, f"closed again: {cause}", data)
        wish = Wish(kept.account, Purpose.ORDER, command, cause)
        self._relays.signal(meter, Signal.RELEASED, wall, wish=wish)
        self._relays.signal(meter, Signal.WANT_CLOSED, wall, wish=wish)
        if kept.account:
            # After it: the restore belongs to the order.
            self._cutting.cancel(kept.account, Cancel.ORDERED, wall, command)
        return True

    def _protect(self, given: Given, order: orders.RelayProtect) -> Outcome:
        if order.meter not in self._relays.meters:
            return self._no_relay(order.meter)
        if not knows(self._relays.meters[order.meter].switch, Action.PROTECT_ON):
            return Outcome("refused", f"the relay of meter {order.meter} cannot be protected")
        if not order.on and self._errands.account_of(order.meter) is None:
            return Outcome("refused", f"no account is supplied through meter {order.meter}")
        if reason := self._too_many():
            return Outcome("refused", reason)
        self._begin(given.command)
        return Outcome("accepted")

    def _no_point(self, number: str) -> str:
        """Why an account that is there has nothing to switch; empty: it has."""
        account = self._steps.rooms.accounts.current(number)
        why = why_none(account, self._steps.meters) if account else ""
        return f"account {number} has nothing to switch: {why}" if why else ""

    def _no_relay(self, meter: str) -> Outcome:
        if behind := self._relays.breakers.get(meter):
            return Outcome("refused", f"{meter} is the breaker of meter {behind}; name that one")
        return Outcome("refused", f"no meter {meter} here that could be switched")

    # --- carried out ------------------------------------------------------------------------------

    def wake(self, account: str = "") -> None:
        """Something was said about an account, or about all: look at the orders at once."""
        self._soonest = 0.0
        for id_ in list(self._at):
            order = self._commands[id_].command
            if not account or getattr(order, "account", account) == account:
                del self._at[id_]

    def tick(self, now: float, wall: float) -> float:
        """Go on with every order under way; returns the Unix time when it is worth another look."""
        if wall < self._soonest:
            return self._soonest
        underway = self._store.orders()
        for gone in self._commands.keys() - {one.id for one in underway}:
            del self._commands[gone]
            self._at.pop(gone, None)
        for one in underway:
            if wall >= self._at.get(one.id, 0.0):
                self._at[one.id] = self._go_on(one, now, wall)
        self._soonest = min(self._at.values(), default=math.inf)
        return self._soonest

    def _go_on(self, underway: Underway, now: float, wall: float) -> float:
        """Go on with one of them; returns the Unix time of the next look."""
        command = self._command(underway)
        match command.command:
            case orders.RelayTrip() as order:
                if "sent" in underway.progress:
                    return math.inf  # what becomes of the relay ends it
                return self._trips.go_on(underway, command, order, now, wall)
            case orders.RelayProtect(meter=meter) | orders.RelayClose(meter=str(meter)):
                asked = self._work.examine(meter, partial(self._errands.looked, command), now)
                return wall + (PACE_S if asked else BUSY_S)
            case orders.RelayClose():
                self._errands.look_at_all(underway, command, now, wall)
            case orders.ShedLoad() as order:
                self._walk.go_on(underway, command, order, now, wall)
        return wall + PACE_S

    def _command(self, underway: Underway) -> contract.Command:
        if underway.id not in self._commands:
            command = command_of().model_validate_json(underway.command, strict=True)
            self._commands[underway.id] = command
        return self._commands[underway.id]

    def recheck(self, kept: KeptRelay, now: float, wall: float) -> None:
        """A trip by order whose reply was lost is judged anew."""
        underway = self._store.order(kept.command)
        if underway is None:
            stop = partial(self._relays.signal, kept.relay.meter, Signal.WANT_CLOSED, wall)
            self._work.act(now, stop)
            return
        command = self._command(underway)
        if isinstance(command.command, orders.ShedLoad):
            self._walk.recheck(kept, command, now)
        else:
            self._trips.examine(command, kept.relay.meter, now)

    def came_to(self, kept: KeptRelay, wall: float) -> None:
        """A relay came to a state: whoever ordered it is answered; in the same transaction."""
        state, command = kept.relay.state, kept.command
        if not command or kept.purpose is Purpose.ARREARS:
            return
        if kept.purpose is Purpose.SHEDDING:
            self._walk.came_to(kept, wall)
            return
        data = {"meter": kept.relay.meter, "relay": state.value}
        if state is State.OPEN and kept.relay.wanted_open:
            self._trips.ended(kept, wall, "confirmed")
            stage, reason = "confirmed", ""
        elif state in FAILED:
            self._trips.ended(kept, wall, "failed")
            stage, reason = "failed", state.value
        elif state in DONE and not kept.relay.wanted_open:
            stage, reason = "confirmed", ""
        else:
            return
        self._finish(command, stage, wall, reason, data)
        # Whatever the relay does from here on is no answer to that order.
        self._store.set_relay(replace(kept, command=""))

    def _finish(
        self, command: str, stage: str, wall: float, reason: str, data: Mapping[str, object]
    ) -> None:
        self._store.end_order(command)
        self._answer(command, stage, wall, reason, data)
