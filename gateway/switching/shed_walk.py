"""Load shedding (限电) under way: the order of cuts (限电序位表) walked one account at a time.

Each cut passes the judgement for shedding, with its approvals and the mass limits.  Supply comes
back in reverse, when the order ends or its time is over; the restores are spread like all others.

Used by the core alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import structlog

from gateway.disconnection import shedding
from gateway.disconnection.facts import Purpose
from gateway.disconnection.preflight import preflight
from gateway.disconnection.relay_table import Signal, State
from gateway.north import contract
from gateway.north import contract_switching as orders
from gateway.north.commands import key_of
from gateway.north.parts import command_of
from gateway.orders import Outcome
from gateway.store.switching import KeptRelay, Underway
from gateway.switching.case_steps import CaseSteps
from gateway.switching.evidence import Order
from gateway.switching.judging import Judging, said
from gateway.switching.relay_look import Look
from gateway.switching.relay_work import RelayWork
from gateway.switching.relays import Wish
from gateway.switching.supply_point import meter_of, why_none

W_PER_KW = 1000
PROTECTS = frozenset(
    ("account", "address", "meter", "protected", "protected_supply", "relay_fault", "way_back")
)
"""Checks that end the walk at an account: nobody behind it is cut in its place."""
DARK = (State.OPEN, State.ALLOWED, State.HELD)
"""Without supply already, for other reasons."""
TRIED_AGAIN_S = 60.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Progress:
    """How far a walk has come."""

    shed: list[str]
    """Accounts that were cut, in order."""
    current: str
    """The one that is being cut; empty: none."""
    ended: str
    """Why no more are cut; empty: the walk goes on."""
    over: bool
    """Supply is being given back."""
    again_at: float

    @classmethod
    def of(cls, underway: Underway) -> "_Progress":
        found: Mapping[str, Any] = underway.progress
        return cls(
            list(found.get("shed", ())),
            found.get("current", ""),
            found.get("ended", ""),
            bool(found.get("over", False)),
            float(found.get("again_at", 0.0)),
        )

    def kept(self, underway: Underway) -> Underway:
        progress = {
            "shed": self.shed,
            "current": self.current,
            "ended": self.ended,
            "over": self.over,
            "again_at": self.again_at,
        }
        return Underway(underway.id, underway.command, progress)


class ShedWalk:
    """The load sheddings of one gateway."""

    def __init__(self, steps: CaseSteps, judging: Judging, work: RelayWork) -> None:
        self._steps = steps
        self._store = steps.rooms.store
        self._relays = steps.relays
        self._judging = judging
        self._work = work
        self._answer = steps.answer

    def problem(self, order: orders.ShedLoad) -> str:
        """Why an order cannot be walked; empty: it can."""
        try:
            order_of(order)
        except shedding.OrderError as error:
            return str(error)
        known = self._steps.rooms.accounts.all()
        unknown = [row.account for row in order.rows if row.account not in known]
        return f"rows: no account {', '.join(unknown[:5])} here" if unknown else ""

    def end(self, order: orders.ShedEnd) -> Outcome:
        """Give supply back; in a transaction."""
        underway = self._store.order(order.shed)
        if underway is None:
            return Outcome("refused", f"shed: no load shedding {order.shed} is under way")
        progress = self._over(underway, "ended by order")
        return Outcome("confirmed", data={"shed": progress.shed})

    def end_all(self, why: str) -> None:
        """Give supply back everywhere; in a transaction."""
        for underway in self._store.orders():
            order = command_of().model_validate_json(underway.command, strict=True).command
            if isinstance(order, orders.ShedLoad):
                self._over(underway, why)

    def _over(self, underway: Underway, why: str) -> _Progress:
        progress = _Progress.of(underway)
        progress.over, progress.ended = True, progress.ended or why
        self._store.set_order(progress.kept(underway))
        return progress

    def go_on(
        self,
        underway: Underway,
        command: contract.Command,
        order: orders.ShedLoad,
        now: float,
        wall: float,
    ) -> None:
        """The next cut, or the next restore."""
        progress = _Progress.of(underway)
        if not progress.over and wall >= contract.unix_s(order.until):
            progress.over, progress.ended = True, "its time is over"
        if progress.over:
            self._work.act(now, partial(self._give_back, underway, progress, order, wall))
            return
        if progress.current or progress.ended or wall < progress.again_at:
            return
        today = self._steps.rooms.books.day_of(wall)
        turn: list[shedding.Turn] = []
        if not self._work.act(now, lambda: turn.append(self._turn(order, progress, today, wall))):
            return
        if turn[0].ended:
            progress.ended = turn[0].ended
            self._work.act(now, partial(self._store.set_order, progress.kept(underway)))
            log.warning("load shedding", order=underway.id, ended=progress.ended)
            return
        judge = partial(self._judge, command, turn[0].account)
        meter = self._meter(turn[0].account)
        self._work.examine(meter, judge, now)

    def recheck(self, kept: KeptRelay, command: contract.Command, now: float) -> None:
        """A trip whose reply was lost is judged anew."""
        judge = partial(self._judge, command, kept.account)
        self._work.examine(kept.relay.meter, judge, now)

    def came_to(self, kept: KeptRelay, wall: float) -> None:
        """A relay of the walk came to a state; in the same transaction."""
        underway = self._store.order(kept.command)
        if underway is None or not kept.relay.wanted_open:
            return
        progress = _Progress.of(underway)
        if kept.account != progress.current:
            return
        if kept.relay.state is State.OPEN:
            progress.shed.append(kept.account)
            progress.current = ""
        elif kept.relay.state in (State.TRIP_FAILED, State.UNKNOWN, State.WELD_OR_BYPASS):
            progress.current = ""
            progress.ended = f"{kept.account}: {kept.relay.state}; a person has to look"
        self._store.set_order(progress.kept(underway))
        del wall

    def _turn(
        self, order: orders.ShedLoad, progress: _Progress, today: date, wall: float
    ) -> shedding.Turn:
        protected, dark = {}, set[str]()
        for row in order.rows:
            now = self._steps.of(row.account, wall)
            if now is None or not self._meter(row.account):
                account = self._steps.rooms.accounts.current(row.account)
                why = why_none(account, self._steps.meters) if account else ""
                protected[row.account] = why or "it has no relay to switch"
                continue
            if self._relays.get(now.case.meter).relay.state in DARK:
                dark.add(row.account)
                continue
            facts = self._steps.facts(now, None, Order(purpose=Purpose.SHEDDING))
            found = [one.text for one in preflight(facts).failed if one.code in PROTECTS]
            if found:
                protected[row.account] = found[0]
        goal_w = _watts(order.goal)
        return shedding.next_cut(order_of(order), progress.shed, goal_w, protected, today, dark)

    def _judge(
        self, command: contract.Command, account: str, found: Look, now: float, wall: float
    ) -> None:
        sent: list[KeptRelay] = []

        def judge() -> None:
            underway = self._store.order(command.id)
            if underway is None:
                return
            progress = _Progress.of(underway)
            order: Any = command.command
            wanted = Order(
                purpose=Purpose.SHEDDING,
                request=command.id,
                requested_by=key_of(command),
                valid_until=contract.unix_s(order.until),
            )
            judged = self._judging.order(account, found, wall, wanted)
            if isinstance(judged, KeptRelay):
                sent.append(judged)
                progress.current = account
            else:
                progress.current = ""
                progress.again_at = wall + TRIED_AGAIN_S
                log.info("not shed", account=account, reason=said(judged))
                if judged.allowed:
                    progress.ended = "a dry run: nothing was switched"
                meter = self._meter(account)
                if self._relays.get(meter).relay.state is State.TRIP_WANTED:
                    self._relays.signal(meter, Signal.WANT_CLOSED, wall)
            self._store.set_order(progress.kept(underway))

        if self._work.act(now, judge) and sent:
            self._work.send_trip(sent[0], found, now, wall)

    def _give_back(
        self, underway: Underway, progress: _Progress, order: orders.ShedLoad, wall: float
    ) -> None:
        """The last one cut comes first; in a transaction."""
        if progress.current:
            progress.shed.append(progress.current)
            progress.current = ""
        account = shedding.next_restore(order_of(order), progress.shed)
        if account:
            progress.shed.remove(account)
            wish = Wish(
                account=account, purpose=Purpose.SHEDDING, command=underway.id, cause="shed.end"
            )
            if meter := self._meter(account):
                self._relays.signal(meter, Signal.WANT_CLOSED, wall, wish=wish)
            self._store.set_order(progress.kept(underway))
            return
        self._store.end_order(underway.id)
        self._answer(underway.id, "confirmed", wall, progress.ended, None)

    def _meter(self, number: str) -> str:
        account = self._steps.rooms.accounts.current(number)
        return meter_of(account, self._steps.meters) if account else ""


def order_of(order: orders.ShedLoad) -> shedding.Order:
    """The order of cuts in a command.  Raises OrderError."""
    return shedding.Order(
        version=order.order,
        first=date.fromisoformat(order.first),
        last=date.fromisoformat(order.last),
        rows=tuple(
            shedding.Row(account=row.account, load_w=_watts(row.load)) for row in order.rows
        ),
    )


def _watts(kilowatts: str) -> int:
    whole, _, rest = kilowatts.partition(".")
    return int(whole) * W_PER_KW + int(rest.ljust(3, "0") or 0)
