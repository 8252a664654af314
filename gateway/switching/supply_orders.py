"""Orders about supply (停送电命令): from the command to the last stage of its answer.

What only says something (approvals, proofs, calendars, stops) is taken in by the approval desk and
done.  What switches a relay is kept as an order under way, in the transaction that remembers its
command, and carried out from there; so a restart goes on with it, and nothing is done for a command
that was never committed.

    relay.trip       gateway/switching/trip_orders.py
    relay.close      a restore, as after a payment; nobody is asked
    relay.protect    set at once; taken off only after a judgement (R20)
    shed             gateway/switching/shed_walk.py

Used by the core alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from gateway.disconnection.case import Cancel
from gateway.disconnection.facts import Purpose
from gateway.disconnection.relay_table import Signal, State
from gateway.north import contract
from gateway.north import contract_switching as orders
from gateway.north.commands import key_of
from gateway.orders import Outcome
from gateway.prepayment.account import Mode
from gateway.store.switching import KeptRelay, Underway
from gateway.switching.approval_desk import ApprovalDesk, Given
from gateway.switching.case_steps import CaseSteps
from gateway.switching.cutting import Cutting
from gateway.switching.evidence import Order
from gateway.switching.grounds import meter_of
from gateway.switching.judging import Judging, said
from gateway.switching.relay_look import Look, seen
from gateway.switching.relay_work import RelayWork
from gateway.switching.relays import Wish
from gateway.switching.shed_walk import ShedWalk
from gateway.switching.trip_orders import Answer, TripOrders
from protocols.relay import Action

TRIES_MAX = 3
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
        answer: Answer,
    ) -> None:
        self._steps = steps
        self._store = steps.rooms.store
        self._relays = steps.relays
        self._cutting = cutting
        self._judging = judging
        self._work = work
        self._desk = desk
        self._answer = answer
        self._trips = TripOrders(steps, judging, work, desk, answer)
        self._walk = ShedWalk(steps, judging, work, answer)

    # --- taken in, in the transaction that remembers the command ----------------------------------

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        """Take an order on."""
        given = Given(command, by, wall, at_box)
        order: Any = command.command
        match order:
            case orders.RelayTrip():
                reason = self._too_many()
                return Outcome("refused", reason) if reason else self._trips.take(given, order)
            case orders.RelayClose():
                return self._close(given, order)
            case orders.RelayProtect():
                return self._protect(given, order)
            case orders.ShedLoad():
                problem = self._too_many() or self._walk.problem(order)
                return Outcome("refused", problem) if problem else self._keep(given)
            case orders.ShedEnd():
                return self._walk.end(order)
        return self._said(given, order)

    def _said(self, given: Given, order: Any) -> Outcome:
        """What only says something: the cases look at it when they need it."""
        command = given.command
        if isinstance(order, orders.DisconnectRequest) and (reason := self._never(order.account)):
            return Outcome("refused", reason)
        outcome = self._desk.execute(command, given.by, given.wall, at_box=given.at_box)
        if outcome.stage == "refused":
            return outcome
        if isinstance(order, orders.DisconnectCancel):
            self._cutting.cancel(order.account, Cancel.ORDERED, given.wall, command.id)
        if isinstance(order, orders.StopCuts | orders.ResumeCuts):
            # Orders are not all that may stop: a file, a switch at the box.
            stopped = self._steps.rooms.clearance.stopped()
            return replace(outcome, data={**outcome.data, "stopped": stopped})
        if isinstance(order, orders.DisconnectRequest):
            if not self._cutting.request(order.account, key_of(command), command.id, given.wall):
                return Outcome("refused", f"account {order.account} has no relay to switch")
            return Outcome("confirmed", "the rules go on from here; see its events", outcome.data)
        return outcome

    def _never(self, number: str) -> str:
        """Why an account is never disconnected by the rules, so that asking for it is an error."""
        account = self._steps.rooms.accounts.current(number)
        if account is None:
            return f"no account {number} here"
        rules = self._steps.settings.regimes.find(account.regime, account.class_)
        if rules is None or account.mode is not Mode.PREPAY_CUT:
            what = f"mode {account.mode}, rules {account.regime}, class {account.class_}"
            return f"account {number} is never disconnected for what it owes: {what}"
        return ""

    def works_on(self, command: str) -> bool:
        """Whether the order with this id goes on after a restart."""
        waits = any(kept.command == command for kept in self._store.relays_not_closed())
        return waits or self._store.order(command) is not None

    def _keep(self, given: Given) -> Outcome:
        """Have the desk count the vote in it, and keep it as under way."""
        command = given.command
        outcome = self._desk.execute(command, given.by, given.wall, at_box=given.at_box)
        if outcome.stage != "refused":
            self._begin(command)
        return outcome

    def _begin(self, command: contract.Command, **progress: object) -> None:
        self._store.set_order(Underway(command.id, command.model_dump_json(), progress))

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
            return _no_relay(order.meter)
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
        if meter not in self._relays.meters:
            return False
        if self._relays.get(meter).relay.state in DONE:
            return False
        kept, cause = self._relays.get(meter), command or "ordered for all"
        wish = Wish(kept.account, Purpose.ORDER, command, cause)
        self._relays.signal(meter, Signal.RELEASED, wall, wish=wish)
        self._relays.signal(meter, Signal.WANT_CLOSED, wall, wish=wish)
        if kept.account:
            # After it: the restore belongs to the order.
            self._cutting.cancel(kept.account, Cancel.ORDERED, wall, command)
        return True

    def _protect(self, given: Given, order: orders.RelayProtect) -> Outcome:
        if order.meter not in self._relays.meters:
            return _no_relay(order.meter)
        if not order.on and self._account_of(order.meter) is None:
            return Outcome("refused", f"no account is supplied through meter {order.meter}")
        if reason := self._too_many():
            return Outcome("refused", reason)
        self._begin(given.command)
        return Outcome("accepted")

    def _account_of(self, meter: str) -> str | None:
        for account in self._steps.rooms.accounts.of_meter(meter):
            if account.closed is None and meter_of(account, self._steps.meters) == meter:
                return account.number
        return None

    # --- carried out ------------------------------------------------------------------------------

    def tick(self, now: float, wall: float) -> None:
        """Go on with every order under way."""
        for underway in self._store.orders():
            command = contract.Command.model_validate_json(underway.command, strict=True)
            order = command.command
            match order:
                case orders.RelayTrip() if not underway.progress:
                    self._trips.go_on(command, order, now, wall)
                case orders.RelayProtect(meter=meter) | orders.RelayClose(meter=str(meter)):
                    self._work.examine(meter, partial(self._errand, command), now)
                case orders.RelayClose():
                    self._look_at_all(underway, command, now, wall)
                case orders.ShedLoad():
                    self._walk.go_on(underway, command, order, now, wall)

    def recheck(self, kept: KeptRelay, now: float, wall: float) -> None:
        """A trip by order whose reply was lost is judged anew."""
        underway = self._store.order(kept.command)
        if underway is None:
            stop = partial(self._relays.signal, kept.relay.meter, Signal.WANT_CLOSED, wall)
            self._work.act(now, stop)
            return
        command = contract.Command.model_validate_json(underway.command, strict=True)
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
            self._finish(command, "confirmed", wall, "", data)
        elif state in FAILED:
            self._trips.ended(kept, wall, "failed")
            self._finish(command, "failed", wall, state.value, data)
        elif state in DONE and not kept.relay.wanted_open:
            self._finish(command, "confirmed", wall, "", data)

    def _finish(
        self, command: str, stage: str, wall: float, reason: str, data: Mapping[str, object]
    ) -> None:
        self._store.end_order(command)
        self._answer(command, stage, wall, reason, data)

    # --- protected supply, and a close that should not be needed ----------------------------------

    def _errand(self, command: contract.Command, found: Look, now: float, wall: float) -> None:
        """The meter was looked at: command it, or see whether it has obeyed."""
        underway = self._store.order(command.id)
        if underway is None:
            return
        order: Any = command.command
        tries = int(str(underway.progress.get("tries", 0)))
        data = {"meter": order.meter, "position": found.status.position.value}
        if _obeyed(order, found):
            finish = partial(self._finish, command.id, "confirmed", wall, "", data)
            self._work.act(now, finish)
            return
        if tries >= TRIES_MAX or wall > contract.unix_s(command.not_after):
            why = "the meter does not do it" if tries else "the meter was not reached"
            self._work.act(now, partial(self._finish, command.id, "failed", wall, why, data))
            return
        if isinstance(order, orders.RelayClose):
            self._work.act(now, partial(self._close_after_all, command, order, found, wall))
            return
        refused: list[str] = []

        def note() -> None:
            if not order.on and (reason := self._against(command, found, wall)):
                refused.append(reason)
                self._finish(command.id, "failed", wall, reason, data)
                return
            self._begin(command, tries=tries + 1)

        if self._work.act(now, note) and not refused:
            action = Action.PROTECT_ON if order.on else Action.PROTECT_OFF
            self._work.send(order.meter, action, found, _came, now, wall)

    def _look_at_all(
        self, underway: Underway, command: contract.Command, now: float, wall: float
    ) -> None:
        """A closing of all: look at those that are left, until its time is over."""
        left, wanted = _names(underway, "left"), _names(underway, "wanted")
        if left and wall <= contract.unix_s(command.not_after):
            for meter in left:
                self._work.examine(meter, partial(self._one_of_all, command, meter), now)
            return
        data = {"meters": wanted, "not_reached": left}
        said = "each of the meters is tried until it has supply"
        if left:
            said += "; those that were not reached were believed closed"
        self._work.act(now, partial(self._finish, command.id, "confirmed", wall, said, data))

    def _one_of_all(
        self, command: contract.Command, meter: str, found: Look, now: float, wall: float
    ) -> None:
        underway = self._store.order(command.id)
        if underway is None or found.status_at is None:
            return
        left, wanted = _names(underway, "left"), _names(underway, "wanted")

        def note() -> None:
            if found.status.open is not False:
                self._relays.signal(meter, seen(found), wall)
                if self._want_closed(meter, "", wall):
                    wanted.append(meter)
            self._begin(command, left=[one for one in left if one != meter], wanted=wanted)

        self._work.act(now, note)

    def _close_after_all(
        self, command: contract.Command, order: orders.RelayClose, found: Look, wall: float
    ) -> None:
        """The relay was believed closed and is not: now it is restored as any other."""
        assert order.meter is not None  # noqa: S101 - chosen by tick
        self._relays.signal(order.meter, seen(found), wall)
        if self._want_closed(order.meter, command.id, wall):
            self._store.end_order(command.id)

    def _against(self, command: contract.Command, found: Look, wall: float) -> str:
        order: Any = command.command
        account = self._account_of(order.meter)
        if account is None:
            return "no account is supplied through it"
        wanted = Order(
            purpose=Purpose.UNPROTECT,
            request=command.id,
            requested_by=key_of(command),
            valid_until=contract.unix_s(command.not_after),
        )
        decision = self._judging.unprotect(account, found, wall, wanted)
        return "" if decision.allowed else said(decision)


def _came(what: str, data: dict[str, object], now: float, wall: float) -> None:
    """The next look tells whether it was obeyed."""
    del now, wall
    log.info("relay told", what=what, action=data.get("action"), error=data.get("error"))


def _obeyed(order: orders.RelayProtect | orders.RelayClose, found: Look) -> bool:
    if isinstance(order, orders.RelayProtect):
        return found.status.protected is order.on
    return found.status.open is False or found.status.commanded_open is False


def _names(underway: Underway, key: str) -> list[str]:
    found: Any = underway.progress.get(key, ())
    return list(found)


def _no_relay(meter: str) -> Outcome:
    return Outcome("refused", f"no meter {meter} here that could be switched")
