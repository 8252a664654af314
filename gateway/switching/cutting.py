"""Disconnections (停电) as rows: what balance, time, proofs and approvals do to the cases.

    posted(...)     the books or the account changed: in the same transaction
    look(...)       what the time, a proof or an approval has brought; and when to look again

Each step is stored, and what the head-end is to do goes up with it.  What a case waits for is
looked up in the rows each time, so a restart changes nothing and nothing is asked for twice.

By a clock that nobody trusts a case goes no step further: what is counted from its steps (days
overdue, notice, last call) would be worth nothing (R10, R15).  It is cancelled by any clock.

Used by the core alone.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

import structlog

from gateway.acquisition.days import end_of
from gateway.clock import ClockState
from gateway.disconnection import mass_limits
from gateway.disconnection.case import BEFORE_SENT, Cancel, Case, Signal, State
from gateway.disconnection.facts import Money, Purpose, Standing
from gateway.disconnection.friendly import next_free, protected_within
from gateway.disconnection.preflight import agreed_until, preflight
from gateway.disconnection.procedure import next_at, tick, why_cancel
from gateway.disconnection.relay_table import State as Stands
from gateway.prepayment.account import Account, NoCut
from gateway.prepayment.ledger import Kind, Ledger
from gateway.store.figures import WRONG
from gateway.store.precautions import What
from gateway.store.switching import Step
from gateway.switching.case_steps import IN_FLIGHT, CaseSteps, Moment
from gateway.switching.supply_point import meter_of, why_none
from protocols.relay import Action

STEPS_MAX = 10
"""A case takes no more steps at once; its table has no circle that time alone could walk."""
AHEAD_S = 1800
"""A last call is made when the cut is at most so much later than it could be."""

STILL_TO_COME = frozenset(("meter_number", "relay", "last_call", "expired", "calendar"))
"""Checks that fail before a last call and may pass after it; the calendar is asked for later."""
GIVEN = frozenset((Kind.TOP_UP, Kind.EMERGENCY, Kind.TRANSFER))
"""Money that comes in, and puts no past right."""

log = structlog.get_logger()


class Cutting:
    """The cases of all accounts."""

    def __init__(self, steps: CaseSteps, draw: Callable[[], float]) -> None:
        """``draw`` is a source of [0, 1), for the random part of a cut's delay (R24)."""
        self._steps = steps
        self._rooms = steps.rooms
        self._settings = steps.settings
        self._draw = draw

    def posted(self, account: Account, wall: float) -> None:
        """The books or the account changed; in the same transaction.

        After it the relay that somebody has paid for is wanted closed (R17, R32), and a protection
        holds (R09).
        """
        if now := self._steps.moment(account, wall):
            self._judge_books(now)

    def look(self, number: str, wall: float) -> float:
        """Take every step that the rows allow now; in a transaction.

        Returns the Unix time at which the time alone may bring another.
        """
        now = self._steps.of(number, wall)
        if now is None:
            return math.inf
        self._judge_books(now)
        if not self._trusted():
            return math.inf  # whoever sets the clock has all cases looked at
        self._drop_request(now)
        for _ in range(STEPS_MAX):
            signal = self._proven(now) or tick(now.case, wall, self._settings.regimes)
            if signal is Signal.LEAD_OVER:
                if again_at := self._schedule(now):
                    return min(again_at, self._next(now))
            elif signal is None:
                if not self._approved(now):
                    return self._next(now)
            else:
                if signal is Signal.DUE:
                    if (over_at := self._worsened_until(now)) > wall:
                        return min(over_at, self._next(now))
                    self._steps.mass(mass_limits.fell_due, wall)
                self._steps.step(now, signal)
        return wall

    def _worsened_until(self, now: Moment) -> float:
        """R19: until when a notice would not say that limit or past were changed; Unix time.

        That is at once over, unless the clock was set back since.
        """
        money = self._steps.evidence.money(now.account, now.policy, now.kept)
        worsened = money.worsened_at is not None and money.worsened_at >= now.wall
        return (money.worsened_at or 0.0) + 1 if worsened else 0.0

    def _next(self, now: Moment) -> float:
        """What the time alone brings next: a veto may run out with the day."""
        books, clearance, wall = self._rooms.books, self._rooms.clearance, now.wall
        at = min(
            next_at(now.case, wall, self._settings.regimes),
            end_of(books.day_of(wall), books.zone),
        )
        if now.case.state is State.NOTICE_SERVED:
            at = min(at, clearance.begins(now.case.account, wall) or at)
        if now.kept.command and now.case.state in BEFORE_SENT:
            at = min(at, clearance.request_ends(now.kept.command) or at)
        return at

    def under_way(self) -> list[tuple[str, State]]:
        """The accounts whose case is not merely watched, and how far each is."""
        return self._rooms.store.under_way()

    def case(self, number: str) -> Case | None:
        """The case of an account."""
        kept = self._rooms.store.case(number)
        return kept.case if kept else None

    def cancel(self, number: str, reason: Cancel, wall: float, command: str = "") -> bool:
        """Cancel a case by order; in a transaction.  False if there is nothing to cancel."""
        now = self._steps.of(number, wall)
        if now is None or now.case.state is State.WATCH:
            return False
        self._steps.step(now, Signal.CANCEL, reason=reason.value, command=command)
        return True

    def problem(self, number: str, wall: float) -> str:
        """Why nothing can be asked for; empty: it can, or there is no such account."""
        account = self._rooms.accounts.current(number)
        if account is None:
            return ""
        if why := why_none(account, self._steps.meters):
            return f"account {number} has nothing to switch: {why}"
        now = self._steps.moment(account, wall)
        if now is None:
            return f"account {number} has no limits to judge it by"
        if now.case.state is State.WATCH:
            return f"account {number} cannot be cut: {self._why_watched(now)}"
        if now.case.state not in BEFORE_SENT:
            return f"account {number} is {now.case.state} already"
        return f"account {number}: {now.kept.command} asked for it" if now.kept.command else ""

    def request(self, number: str, by: str, command: str, wall: float) -> None:
        """A person asks for the disconnection, and the rules go on as ever; in a transaction.

        Only where there is no ``problem``.  The steps of the case answer the command.
        """
        if now := self._steps.of(number, wall):
            case = replace(now.case, requested_by=by)
            self._rooms.store.set_case(replace(now.kept, case=case, command=command))

    # --- what the books say -----------------------------------------------------------------------

    def _judge_books(self, now: Moment) -> None:
        """Cancel what the books do not allow any more; note what they ask for."""
        money = self._steps.evidence.money(now.account, now.policy, now.kept)
        reason = self._why_cancel(now, money)
        if reason:
            self._steps.step(now, Signal.CANCEL, reason=reason.value)
        if reason is Cancel.WRONG_CUT:
            self._tell_wrong(now)
        beyond = money.balance_e4 <= money.beyond_e4
        if not beyond:
            self._paid_back(now)
        if self._trusted():
            self._ask_for(now, money, beyond=beyond)

    def _paid_back(self, now: Moment) -> None:
        """The balance is within its limit again: what the notice said is over, even if that is not
        enough to close.
        """
        case = now.case
        if case.state is State.WARNED and case.owed_since is not None:
            self._steps.step(now, Signal.CANCEL, reason=Cancel.PAID.value)
        elif case.state is State.OPEN and case.notice_written_at is not None:
            # R20: what he owes from here on is another debt, and nobody has told him of it.
            told_nothing = replace(case, notice_written_at=None, notice_at=None)
            now.kept = replace(now.kept, case=told_nothing)
            self._rooms.store.set_case(now.kept)

    def _ask_for(self, now: Moment, money: Money, *, beyond: bool) -> None:
        """Note what the balance asks for."""
        alert_e4 = now.policy.alert_1_e4
        if now.case.state is State.WATCH and self._why_cancel(_in(now, State.WARNED), money):
            return  # it would be cancelled at once
        if beyond:
            if now.case.owed_since is None:
                self._steps.step(now, Signal.BEYOND)
        elif money.balance_e4 <= alert_e4:
            self._steps.step(now, Signal.LOW)
        elif money.balance_e4 > alert_e4 + now.policy.hysteresis_e4:
            self._steps.step(now, Signal.RECOVERED)

    def _why_cancel(self, now: Moment, money: Money) -> Cancel | None:
        reason = why_cancel(
            now.case,
            Standing.of(now.account),
            money,
            now.policy,
            meter=meter_of(now.account, self._steps.meters),
            no_cut=self._no_cut(now),
        )
        if reason is None and now.case.state in BEFORE_SENT:
            # A meter that keeps its own balance switches by it; its account is not charged here.
            return Cancel.MODE if self._rooms.settlement.held(now.account) else None
        wrong = reason in (None, Cancel.PAID) and self._is_wrong(now, money)
        return Cancel.WRONG_CUT if wrong else reason

    def _is_wrong(self, now: Moment, money: Money) -> bool:
        """R37: the past was corrected after the cut, and there was no reason for it.

        What was given since says nothing about that.  The order of the journal tells what came
        after the trip: a clock may have been set meanwhile.
        """
        case, journal = now.case, self._rooms.books.journal
        if case.state not in (*IN_FLIGHT, State.OPEN):
            return False
        made = (one for _, one in self._rooms.store.operations(case.meter))
        trip = next((one for one in made if one.action == Action.TRIP), None)
        if trip is None or journal.corrected(case.account) <= trip.journal:
            return False
        since = takewhile(lambda one: one.number > trip.journal, journal.newest(case.account))
        given_e4 = sum(
            posting.amount
            for one in since
            if one.draft.kind in GIVEN
            for posting in one.draft.postings
            if posting.ledger is Ledger.PREPAID
        )
        return money.balance_e4 - given_e4 > money.beyond_e4

    def _why_watched(self, now: Moment) -> str:
        money = self._steps.evidence.money(now.account, now.policy, now.kept)
        if self._settings.regimes.find(now.case.regime, now.case.class_) is None:
            return "no rules allow it"
        reason = self._why_cancel(_in(now, State.DUE), money)
        return reason.value if reason else "nothing is due"

    def _drop_request(self, now: Moment) -> None:
        """A request that was taken back or has run out is answered; the rules go on without it."""
        command = now.kept.command
        if not command or now.case.state not in BEFORE_SENT:
            return
        if reason := self._rooms.clearance.request_over(command, now.wall):
            self._steps.answer(command, "failed", now.wall, reason, None)
            now.kept = replace(now.kept, case=replace(now.case, requested_by=""), command="")
            self._rooms.store.set_case(now.kept)

    def _trusted(self) -> bool:
        return self._rooms.state() is ClockState.TRUSTED

    def _no_cut(self, now: Moment) -> NoCut | None:
        """The veto that holds today."""
        veto, today = now.account.no_cut, self._rooms.books.day_of(now.wall)
        return veto if veto and (veto.until is None or veto.until >= today) else None

    def _tell_wrong(self, now: Moment) -> None:
        kept = self._steps.relays.get(now.case.meter)
        log.error("a wrong cut", account=now.account.number, meter=kept.relay.meter)
        if kept.operation is not None:
            cause = {"cause": Cancel.CORRECTION.value}
            self._rooms.store.add_step(kept.operation, Step(now.wall, WRONG, cause))
        self._steps.herald.relay(
            kept, "wrong_cut", now.wall, now.account, cause=Cancel.CORRECTION.value
        )

    # --- what time and persons bring ------------------------------------------------------------

    def _proven(self, now: Moment) -> Signal | None:
        """What was delivered since the last step."""
        case = now.case

        def proven(what: What, since: float) -> bool:
            proof = self._rooms.clearance.proven_at(case.account, case.round, what, since)
            return proof is not None

        if case.state is State.WARNED and case.dunned_at is None:
            return Signal.DUNNED if proven("dunning", case.since) else None
        if case.state is State.DUE and case.notice_written_at is not None:
            return Signal.NOTICE if proven("notice", case.notice_written_at) else None
        if case.state is State.SCHEDULED and case.last_call_at is None:
            return Signal.LAST_CALL if proven("last_call", case.asked_at) else None
        return None

    def _approved(self, now: Moment) -> bool:
        """Go on if enough persons agree by now."""
        if now.case.state is not State.NOTICE_SERVED:
            return False
        evidence = self._steps.evidence
        due = evidence.due(now.account, now.case, now.wall)
        if not due.approved:
            return False
        money = evidence.money(now.account, now.policy, now.kept)
        until = agreed_until(Standing.of(now.account), money, due, Purpose.ARREARS, now.wall)
        needed = max(1, due.approvals)
        if len(until) < needed:
            return False
        ends = sorted(until.values(), reverse=True)
        self._steps.step(now, Signal.APPROVED, until=ends[needed - 1])
        return True

    def _schedule(self, now: Moment) -> float:
        """Give a cut its turn, and have the last call made: only for a cut that can follow.

        Returns the Unix time when it is worth another try; 0: done.
        """
        case, settings = now.case, self._settings
        rules = settings.regimes.find(case.regime, case.class_)
        position = self._steps.relays.get(case.meter).relay.state
        if rules is None or position is not Stands.CLOSED or self._rooms.clearance.stopped():
            return math.inf  # whoever changes that has the case looked at
        again_at = now.wall + rules.retry_s
        mass, accounts = self._rooms.store.mass(), self._steps.evidence.accounts()
        draw, earliest = self._draw(), now.wall + rules.last_call_s
        turn = mass_limits.slot(mass, settings.limits, accounts, earliest, draw)
        lead_s, calendar = settings.margins.restore_lead_s, self._rooms.clearance.calendar()
        if turn > earliest + rules.delay_s + AHEAD_S:
            return max(again_at, turn - rules.last_call_s - rules.delay_s - AHEAD_S)
        if protected_within(turn, lead_s, calendar):
            free = next_free(turn, lead_s, calendar) or math.inf
            return max(again_at, free - rules.last_call_s - rules.delay_s)
        failed = {one.code for one in preflight(self._steps.facts(now)).failed}
        if "approval" in failed:
            # The debt has grown beyond what was approved, or an approval was taken back.
            self._steps.step(now, Signal.LAPSED)
            return 0.0
        if failed - STILL_TO_COME:
            return math.inf if "latched" in failed else again_at
        self._steps.step(now, Signal.LEAD_OVER, until=turn, draw=draw)
        at = now.case.trip_at
        self._steps.mass(
            lambda mass, limits, of, wall: mass_limits.asked(mass, limits, of, at, wall), now.wall
        )
        return 0.0


def _in(now: Moment, state: State) -> Moment:
    """The same moment, if the case were in that state."""
    return replace(now, kept=replace(now.kept, case=replace(now.case, state=state)))
