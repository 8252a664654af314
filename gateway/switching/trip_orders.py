"""A trip that a person ordered (跳闸命令): refused, waiting for a second person, judged, sent.

Taken in, in the transaction that remembers its command, as an order under way.  What waiting cannot
cure is refused there: another's meter, a protected account, a latch, a trip under way.  Else it
waits for the approval of another key, as long as it is valid; then for a random moment (R24); then
comes a fresh look at the meter, the judgement, and the frame.

Used by the core alone, through gateway/switching/supply_orders.py.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.disconnection import mass_limits
from gateway.disconnection.facts import Facts, Purpose
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
from gateway.switching.clearance import subject_of
from gateway.switching.evidence import Order
from gateway.switching.judging import Judging, said
from gateway.switching.relay_look import Look
from gateway.switching.relay_work import RelayWork
from gateway.switching.supply_point import meter_of

FOR_GOOD = frozenset(("address", "meter", "account", "protected", "dispute"))
"""Checks that no second person and no waiting cures."""
BY_LOOK = frozenset(("meter_number", "relay"))
"""Checks that only a look at the meter can pass."""
PACE_S, BUSY_S = 10.0, 1.0
"""How often an order under way is looked at, and whether a meter is free."""
WAITS = "sent at a random moment once every check holds and another key has approved it"


class TripOrders:
    """The trips by order of one gateway."""

    def __init__(
        self,
        steps: CaseSteps,
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
        self._judging = judging
        self._work = work
        self._desk = desk
        self._answer = steps.answer

    def take(self, given: Given, order: orders.RelayTrip) -> Outcome:
        """Take it on, or refuse it by name; in a transaction."""
        command, wall = given.command, given.wall
        if reason := self._refuse(command, order, wall):
            return Outcome("refused", reason)
        outcome = self._desk.execute(command, given.by, wall, at_box=given.at_box)
        if outcome.stage == "refused":
            return outcome
        self._store.set_order(Underway(command.id, command.model_dump_json(), {}))
        own = self._store.case(order.account)
        if own is None or own.case.state not in TAKES_A_TURN:
            # R22: too many at once latch, however good each of them is.
            self._steps.mass(
                lambda mass, limits, of, at: mass_limits.asked(mass, limits, of, at, at), wall
            )
        return replace(outcome, reason=WAITS)

    def _refuse(self, command: contract.Command, order: orders.RelayTrip, wall: float) -> str:
        account = self._steps.rooms.accounts.current(order.account)
        if account is None:
            return f"no account {order.account} here"
        if (meter := meter_of(account, self._steps.meters)) != order.meter:
            reason = f"meter {order.meter} is not the one that switches account {order.account}"
            return f"{reason}: that is {meter or 'none'}"
        # A flood of trips must cost nothing: the core has restores to send.
        if latched := self._store.mass().latched:
            return f"all cuts are latched: {latched}"
        if other := self._under_way(order.meter):
            return f"the trip {other} of meter {order.meter} is under way already"
        facts = self._facts(command, order, wall)
        if facts is None:
            return f"account {order.account} has no limits here: its policy is not configured"
        decision = preflight(facts)
        against = [one.text for one in decision.failed if one.code in FOR_GOOD]
        if against:
            self._judging.record(facts, decision, order.meter)
        return "; ".join(against)

    def _under_way(self, meter: str) -> str:
        """Id of the trip of this meter that is not done yet; empty: there is none."""
        return next((one.id for one, order in self._all() if order.meter == meter), "")

    def _all(self) -> Iterator[tuple[Underway, orders.RelayTrip]]:
        for underway in self._store.orders():
            order = command_of().model_validate_json(underway.command, strict=True).command
            if isinstance(order, orders.RelayTrip):
                yield underway, order

    def withdraw(self, whose: Callable[[orders.RelayTrip], bool], wall: float, why: str) -> None:
        """Somebody wants supply: those that were not sent yet are over; in a transaction."""
        for underway, order in self._all():
            if whose(order) and "sent" not in underway.progress:
                self._finish(underway.id, "failed", wall, why, {"meter": order.meter})

    def go_on(
        self,
        underway: Underway,
        command: contract.Command,
        order: orders.RelayTrip,
        now: float,
        wall: float,
    ) -> float:
        """Have it judged at its turn, once another person has agreed; or end it after its time.

        Returns the Unix time of the next try.
        """
        not_after = contract.unix_s(command.not_after)
        if wall > not_after:
            self._work.act(now, partial(self._run_out, command, order, wall))
            return wall + BUSY_S
        turn: Any = underway.progress.get("turn")
        if turn is None:
            given: list[float] = []
            if not self._work.act(now, lambda: given.append(self._turn(command, order, wall))):
                return wall + BUSY_S
            [turn] = given
        if wall < turn:
            return float(turn)
        return wall + (PACE_S if self.examine(command, order.meter, now) else BUSY_S)

    def _turn(self, command: contract.Command, order: orders.RelayTrip, wall: float) -> float:
        """Give it a random moment of its own, and say so, if enough agree and nothing else is
        against it; in a transaction.  Returns the Unix time of the next look.
        """
        not_after = contract.unix_s(command.not_after)
        facts = self._facts(command, order, wall)
        account = self._steps.rooms.accounts.current(order.account)
        if facts is None or account is None:
            return not_after + BUSY_S
        decision = preflight(facts)
        against = [one for one in decision.failed if one.code not in BY_LOOK]
        if any(one.code == "approval" for one in against):
            return not_after + BUSY_S  # an approval has it looked at
        if against:
            # The customer is not told of a cut that could not follow.
            self._judging.record(facts, decision, order.meter)
            reason, codes = "; ".join(one.text for one in against), [one.code for one in against]
            data = {"dry_run": decision.dry, "failed": codes}
            self._finish(command.id, "failed", wall, reason, data)
            return math.inf
        # It is not to run out for having waited, nor because the line is busy then.
        most_s = min(self._steps.settings.limits.delay_s, (not_after - wall) / 2)
        turn = wall + self._draw() * most_s
        self._store.set_order(Underway(command.id, command.model_dump_json(), {"turn": turn}))
        self._steps.herald.pending(order.meter, account, command.id, order.reason, turn)
        return turn

    def examine(self, command: contract.Command, meter: str, now: float) -> bool:
        """Have it judged by a fresh look.  False if the meter is not free."""
        return self._work.examine(meter, partial(self._judge, command), now)

    def ended(self, kept: KeptRelay, wall: float, how: str) -> None:
        """It is answered; in the same transaction.  The word that asked for it is used up.

        Once it has cut somebody, so are the approvals: each is good for one cut.
        """
        account = self._steps.rooms.accounts.current(kept.account)
        if how == "confirmed" and account is not None:
            subject = subject_of(account, Purpose.ORDER, kept.command)
            self._steps.rooms.clearance.over(subject, wall, f"cut by {kept.command}")
        else:
            self._desk.votes.end(kept.command, wall, "gateway", how)

    def _run_out(self, command: contract.Command, order: orders.RelayTrip, wall: float) -> None:
        """Nobody agreed in time, or the line was too busy."""
        reason = "not_after has passed"
        if facts := self._facts(command, order, wall):
            decision = preflight(facts)
            self._judging.record(facts, decision, order.meter)
            lacking = [one.text for one in decision.failed if one.code == "approval"]
            reason = "; ".join((reason, *lacking))
        self._finish(command.id, "expired", wall, reason, {"meter": order.meter})

    def _judge(self, command: contract.Command, found: Look, now: float, wall: float) -> None:
        if self._store.order(command.id) is None:
            return  # it has run out while the meter was looked at
        sent: list[KeptRelay] = []

        def judge() -> None:
            order = command.command
            assert isinstance(order, orders.RelayTrip)  # noqa: S101 - chosen by tick
            judged = self._judging.order(order.account, found, wall, _order(command))
            if isinstance(judged, KeptRelay):
                sent.append(judged)
                progress = {"sent": wall}
                self._store.set_order(Underway(command.id, command.model_dump_json(), progress))
                self._answer(command.id, "sent", wall, "", None)
                return
            if self._relays.get(order.meter).relay.state is State.TRIP_WANTED:
                self._relays.signal(order.meter, Signal.WANT_CLOSED, wall)
            stage = "confirmed" if judged.allowed else "failed"
            data = {"dry_run": judged.dry, "failed": [one.code for one in judged.failed]}
            self._finish(command.id, stage, wall, said(judged), data)

        if self._work.act(now, judge) and sent:
            self._work.send_trip(sent[0], found, now, wall)

    def _finish(
        self, command: str, stage: str, wall: float, reason: str, data: Mapping[str, object]
    ) -> None:
        self._store.end_order(command)
        self._desk.votes.end(command, wall, "gateway", stage)
        self._answer(command, stage, wall, reason, data)

    def _facts(
        self, command: contract.Command, order: orders.RelayTrip, wall: float
    ) -> Facts | None:
        """What there is to judge by, without a look; None: nothing can be switched."""
        moment = self._steps.of(order.account, wall)
        return self._steps.facts(moment, None, _order(command)) if moment else None


def _order(command: contract.Command) -> Order:
    return Order(
        purpose=Purpose.ORDER,
        request=command.id,
        requested_by=key_of(command),
        valid_until=contract.unix_s(command.not_after),
    )
