"""Orders about supply (停送电命令): from the command to the last stage of its answer.

What only says something (approvals, proofs, calendars, stops) is taken in by the approval desk and
done.  What switches a relay is kept as an order under way, in the transaction that remembers its
command, and carried out from there; so a restart goes on with it, and nothing is done for a command
that was never committed.

    disconnect.request   answered by the account's case: sent, then proven or cancelled
    relay.trip       a look, the judgement, the trip; answered when it is proven
    relay.close      a restore, as after a payment; nobody is asked
    relay.protect    set at once; taken off only after a judgement (R20)
    shed             gateway/switching/shed_walk.py

Used by the core alone.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog

from gateway.disconnection import mass_limits
from gateway.disconnection.case import Cancel
from gateway.disconnection.facts import Purpose
from gateway.disconnection.preflight import preflight
from gateway.disconnection.relay_table import Signal, State
from gateway.north import contract
from gateway.north import contract_switching as orders
from gateway.north.commands import key_of
from gateway.north.parts import command_of
from gateway.orders import Outcome
from gateway.store.switching import KeptRelay, Underway
from gateway.switching.approval_desk import ApprovalDesk, Given
from gateway.switching.case_steps import TAKES_A_TURN, CaseSteps
from gateway.switching.cutting import Cutting
from gateway.switching.evidence import Order, meter_of
from gateway.switching.judging import Judging, said
from gateway.switching.relay_look import Look, seen
from gateway.switching.relay_work import RelayWork
from gateway.switching.relays import Wish
from gateway.switching.shed_walk import ShedWalk
from protocols.relay import Action

TRIES_MAX = 3
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
    ) -> None:
        self._steps = steps
        self._store = steps.rooms.store
        self._relays = steps.relays
        self._cutting = cutting
        self._judging = judging
        self._work = work
        self._desk = desk
        self._answer = steps.answer
        self._walk = ShedWalk(steps, judging, work)

    # --- taken in, in the transaction that remembers the command ----------------------------------

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        """Take an order on."""
        given = Given(command, by, wall, at_box)
        order: Any = command.command
        match order:
            case orders.RelayTrip():
                return self._trip(given, order)
            case orders.RelayClose():
                return self._close(given, order)
            case orders.RelayProtect():
                return self._protect(given, order)
            case orders.ShedLoad():
                problem = self._walk.problem(order)
                return Outcome("refused", problem) if problem else self._keep(given)
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
            self._cutting.cancel(order.account, Cancel.ORDERED, given.wall, command.id)
        if asks:
            self._cutting.request(order.account, key_of(command), command.id, given.wall)
        return outcome

    def works_on(self, command: str) -> bool:
        """Whether the order with this id goes on after a restart."""
        relays = (one.command for one in self._store.relays_not_closed())
        cases = (one.command for one in self._store.cases_under_way())
        return command in (*relays, *cases) or self._store.order(command) is not None

    def _keep(self, given: Given) -> Outcome:
        """Have the desk count the vote in it, and keep it as under way."""
        command = given.command
        outcome = self._desk.execute(command, given.by, given.wall, at_box=given.at_box)
        if outcome.stage != "refused":
            self._begin(command)
        return outcome

    def _begin(self, command: contract.Command, **progress: object) -> None:
        self._store.set_order(Underway(command.id, command.model_dump_json(), progress))

    def _trip(self, given: Given, order: orders.RelayTrip) -> Outcome:
        account = self._steps.rooms.accounts.current(order.account)
        if account is None or meter_of(account, self._steps.meters) != order.meter:
            reason = f"meter {order.meter} is not the one that switches account {order.account}"
            return Outcome("refused", reason)
        outcome = self._keep(given)
        own = self._store.case(order.account)
        counted = own is not None and own.case.state in TAKES_A_TURN
        if outcome.stage != "refused" and not counted:
            # R22: too many at once latch, however good each of them is.
            self._steps.mass(
                lambda mass, limits, of, wall: mass_limits.asked(mass, limits, of, wall, wall),
                given.wall,
            )
        return outcome

    def _close(self, given: Given, order: orders.RelayClose) -> Outcome:
        command, wall = given.command, given.wall
        if order.meter is None:
            meters = [
                kept.relay.meter
                for kept in self._store.relays_not_closed()
                if self._want_closed(kept.relay.meter, "", wall)
            ]
            return Outcome("confirmed", "each is tried until it has supply", {"meters": meters})
        if order.meter not in self._relays.meters:
            return _no_relay(order.meter)
        if not self._want_closed(order.meter, command.id, wall):
            # It should be closed already; whether it is, a look tells.
            self._begin(command)
        return Outcome("accepted")

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
            command = command_of().model_validate_json(underway.command, strict=True)
            order = command.command
            match order:
                case orders.RelayTrip() if not underway.progress:
                    self._begin_trip(command, order, now, wall)
                case orders.RelayProtect(meter=meter) | orders.RelayClose(meter=str(meter)):
                    self._work.examine(meter, partial(self._errand, command), now)
                case orders.ShedLoad():
                    self._walk.go_on(underway, command, order, now, wall)

    def recheck(self, kept: KeptRelay, now: float, wall: float) -> None:
        """A trip by order whose reply was lost is judged anew."""
        underway = self._store.order(kept.command)
        if underway is None:
            stop = partial(self._relays.signal, kept.relay.meter, Signal.WANT_CLOSED, wall)
            self._work.act(now, stop)
            return
        command = command_of().model_validate_json(underway.command, strict=True)
        if isinstance(command.command, orders.ShedLoad):
            self._walk.recheck(kept, command, now)
        else:
            self._work.examine(kept.relay.meter, partial(self._judge_trip, command), now)

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
            self._finish(command, "confirmed", wall, "", data)
        elif state in FAILED:
            self._finish(command, "failed", wall, state.value, data)
        elif state in DONE and not kept.relay.wanted_open:
            self._finish(command, "confirmed", wall, "", data)

    def _finish(
        self, command: str, stage: str, wall: float, reason: str, data: Mapping[str, object]
    ) -> None:
        self._store.end_order(command)
        self._answer(command, stage, wall, reason, data)

    # --- a trip by order --------------------------------------------------------------------------

    def _order(self, command: contract.Command) -> Order:
        return Order(
            purpose=Purpose.ORDER,
            request=command.id,
            requested_by=key_of(command),
            valid_until=contract.unix_s(command.not_after),
        )

    def _begin_trip(
        self, command: contract.Command, order: orders.RelayTrip, now: float, wall: float
    ) -> None:
        if wall > contract.unix_s(command.not_after):
            late = partial(self._finish, command.id, "expired", wall, "not_after has passed", {})
            self._work.act(now, late)
            return
        ready: list[bool] = []

        def look() -> None:
            moment = self._steps.of(order.account, wall)
            if moment:
                failed = preflight(self._steps.facts(moment, None, self._order(command))).failed
                # It waits for the second person, as long as it is valid.
                ready.append(all(one.code != "approval" for one in failed))

        if self._work.act(now, look) and any(ready):
            self._work.examine(order.meter, partial(self._judge_trip, command), now)

    def _judge_trip(self, command: contract.Command, found: Look, now: float, wall: float) -> None:
        sent: list[KeptRelay] = []

        def judge() -> None:
            order = command.command
            assert isinstance(order, orders.RelayTrip)  # noqa: S101 - chosen by tick
            judged = self._judging.order(order.account, found, wall, self._order(command))
            if isinstance(judged, KeptRelay):
                sent.append(judged)
                self._begin(command, sent=wall)
                self._answer(command.id, "sent", wall, "", None)
                return
            if self._relays.get(order.meter).relay.state is State.TRIP_WANTED:
                self._relays.signal(order.meter, Signal.WANT_CLOSED, wall)
            stage = "confirmed" if judged.allowed else "failed"
            data = {"dry_run": judged.dry, "failed": [one.code for one in judged.failed]}
            self._finish(command.id, stage, wall, said(judged), data)

        if self._work.act(now, judge) and sent:
            self._work.send_trip(sent[0], found, now, wall)

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


def _no_relay(meter: str) -> Outcome:
    return Outcome("refused", f"no meter {meter} here that could be switched")
