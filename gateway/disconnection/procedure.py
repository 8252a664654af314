"""The procedure of disconnection (停电流程) for one account.

    watch -> warned -> due -> notice_served -> approved -> scheduled -> preflight
          -> sent -> verifying -> open | failed | unknown

It can be cancelled from anywhere before ``sent``; from there on a cancellation restores the supply.
``step`` says what follows a signal; ``tick`` which signal the time alone gives, ``next_at`` when;
``why_cancel`` what in the books ends it; ``duties`` what has to be done again after a restart.  The
table and the case stand in case.py; a case is stored after each step, so it survives anything.

An account that no rule allows to cut (regimes.py) never leaves ``watch``.

The relay's side (lost replies, read-back, restores) stands in relay.py; its results come back here
as signals.

Not supported: cutting accounts that pay by bill (``Mode.POSTPAY``); what they paid is not known
here.
"""

import math
from dataclasses import replace

from gateway.disconnection import relay_table
from gateway.disconnection.case import (
    BEFORE_SENT,
    ROWS,
    SENT,
    Cancel,
    Case,
    Do,
    Effect,
    Signal,
    State,
)
from gateway.disconnection.facts import Approval, Due, Money, Standing
from gateway.disconnection.preflight import Decision
from gateway.disconnection.regimes import Regimes, Rules
from gateway.prepayment.account import Class, Mode, NoCut, Policy

SET_BACK_S = 300
"""A clock that lies further behind what a case has noted was set back."""


def step(
    case: Case,
    signal: Signal,
    now: float,
    regimes: Regimes,
    *,
    moment: float | None = None,
    reason: str = "",
    draw: float = 0.0,
) -> tuple[Case, list[Effect]]:
    """The case after ``signal``, and what has to be done now.

    ``moment`` comes with some signals: ``BEYOND``, when the amount fell due; ``APPROVED``, when
    the approval expires; ``LEAD_OVER``, the earliest slot that the mass limits leave; ``REFUSED``,
    when the next try makes sense.  ``draw`` in [0, 1) is the random part of a cut's delay.
    ``reason`` is what ``CANCEL``, ``REFUSED`` and the relay's signals are reported with.
    """
    rules = regimes.find(case.regime, case.class_)
    row = ROWS.get((case.state, signal))
    if row is None or (rules is None and case.state not in SENT and signal is not Signal.CANCEL):
        return case, []
    after = replace(case, state=row.next)
    if row.next is not row.state:
        after = replace(after, since=now)
    if rules:
        after = _noted(after, signal, now, rules, moment, draw)
    if row.next is State.WATCH:
        ended = reason or signal.value
        after = replace(_blank(case), since=now, ended=ended)
    elif row.state is State.WATCH:
        after = replace(after, round=case.round + 1, ended="")
    said = reason or signal.value
    at = {Do.LAST_CALL: after.trip_at, Do.ASK_APPROVAL: now}
    if rules and after.notice_at is not None:
        at[Do.ASK_APPROVAL] = max(now, after.notice_at + rules.lead_s[case.class_])
    return after, [Effect(do, at.get(do, 0.0), said) for do in row.do]


def tick(case: Case, now: float, regimes: Regimes) -> Signal | None:
    """The signal that the time alone gives at ``now``, if any."""
    rules = regimes.find(case.regime, case.class_)
    if rules is None:
        return None
    if case.state is State.WARNED:
        return Signal.DUE if _overdue(case, now, rules) else None
    if case.state is State.DUE:
        over = now >= _renewed_at(case, rules)
        return Signal.RENEW if over or _set_back(case.asked_at, now) else None
    if case.state in (State.NOTICE_SERVED, State.APPROVED):
        return _waiting(case, now, rules)
    return _scheduled(case, now, rules) if case.state is State.SCHEDULED else None


def next_at(case: Case, now: float, regimes: Regimes) -> float:
    """When the time alone may give a signal after ``now``; infinity: never."""
    rules = regimes.find(case.regime, case.class_)
    if rules is None:
        return math.inf
    moments: list[float] = []
    if case.state in (State.NOTICE_SERVED, State.APPROVED):
        moments.append((case.notice_at or now) + rules.notice_age_max_s)
    if case.state in (State.APPROVED, State.SCHEDULED) and case.approved_until is not None:
        moments.append(case.approved_until)
    match case.state:
        case State.WARNED if case.owed_since is not None:
            moments.append(case.owed_since + rules.overdue_s)
        case State.DUE:
            moments.append(_renewed_at(case, rules))
        case State.APPROVED:
            ready = (case.notice_at or now) + rules.lead_s[case.class_]
            moments.append(max(ready, case.not_before))
        case State.SCHEDULED if case.last_call_at is None:
            moments.append(min(case.asked_at + rules.last_call_renew_s, case.trip_at))
        case State.SCHEDULED:
            moments.append(max(case.trip_at, (case.last_call_at or now) + rules.last_call_s))
    return min((at for at in moments if at > now), default=math.inf)


def duties(case: Case) -> list[Effect]:
    """What has to be done again after a restart: the trip itself never is, it is read back."""
    again = {
        State.PREFLIGHT: Do.RUN_PREFLIGHT,
        State.SENT: Do.READ_BACK,
        State.VERIFYING: Do.READ_BACK,
    }
    return [Effect(again[case.state])] if case.state in again else []


def verdict(decision: Decision) -> Signal:
    """The signal that a preflight's decision is."""
    if not decision.allowed:
        return Signal.REFUSED
    return Signal.PASSED_DRY if decision.dry else Signal.PASSED


def follow(case: Case, standing: Standing, meter: str) -> Case:
    """The case with the account's present meter, rules and class, while nothing has begun."""
    present = meter, standing.regime, standing.class_
    if case.state is not State.WATCH or (case.meter, case.regime, case.class_) == present:
        return case
    return replace(case, meter=meter, regime=standing.regime, class_=standing.class_)


def why_cancel(
    case: Case,
    standing: Standing,
    money: Money,
    policy: Policy,
    *,
    meter: str,
    no_cut: NoCut | None,
) -> Cancel | None:
    """Why a case must be cancelled now, from what the books say; None: it goes on.

    ``meter`` is the account's present one, ``no_cut`` the veto that holds today.  Judged before
    each step and after each posting.  Whoever is cut already is restored for money, for protection
    and with a new meter; a dispute waits for its ruling.
    """
    if case.state is State.WATCH:
        return None
    harmed = standing.class_ in (Class.CRITICAL, Class.LIFE_SUPPORT)
    agreed = standing.mode is Mode.PREPAY_AGREEMENT
    is_open, unsent = case.state is State.OPEN, case.state in BEFORE_SENT
    warned = case.state is State.WARNED
    enough = money.balance_e4 >= policy.close_allowed_e4 and money.balance_e4 > money.beyond_e4
    paid = enough if is_open else money.balance_e4 > money.beyond_e4
    rules = (standing.mode, standing.regime, standing.class_)
    corrected = money.worsened_at is not None and case.notice_written_at is not None
    reasons = {
        Cancel.CLOSED: standing.closed is not None,
        Cancel.PROTECTED: no_cut is not None or harmed or agreed,
        Cancel.PAID: paid and not warned,
        Cancel.SWAP: meter != case.meter,
        Cancel.DISPUTE: unsent and standing.dispute,
        Cancel.MODE: unsent and rules != (Mode.PREPAY_CUT, case.regime, case.class_),
        Cancel.CORRECTION: unsent
        and corrected
        and (money.worsened_at or 0.0) >= (case.notice_written_at or 0.0),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def result(state: relay_table.State) -> Signal | None:
    """What the case is told when its meter's relay has come to ``state``."""
    return {
        relay_table.State.TRIP_READING: Signal.ANSWERED,
        relay_table.State.TRIP_VERIFYING: Signal.ANSWERED,
        relay_table.State.OPEN: Signal.RELAY_OPEN,
        relay_table.State.TRIP_FAILED: Signal.RELAY_FAILED,
        relay_table.State.WELD_OR_BYPASS: Signal.RELAY_FAILED,
        relay_table.State.UNKNOWN: Signal.RELAY_UNKNOWN,
    }.get(state)


def due_of(
    case: Case,
    regimes: Regimes,
    *,
    approved: tuple[Approval, ...] = (),
    unprotected_at: float | None = None,
    valid_until: float | None = None,
) -> Due:
    """The legal steps of a case, for the preflight.

    ``valid_until`` is that of an order; a case of the gateway's own runs out by its rules.
    """
    rules = regimes.find(case.regime, case.class_)
    own = case.trip_at + rules.valid_s if rules else None
    return Due(
        lead_s=rules.lead_s[case.class_] if rules else None,
        last_call_s=rules.last_call_s if rules else 0,
        approvals=rules.approvals[case.class_] if rules else 2,
        delegation=rules is not None and rules.delegation,
        notice_written_at=case.notice_written_at,
        notice_at=case.notice_at,
        last_call_at=case.last_call_at,
        requested_by=case.requested_by,
        approved=approved,
        unprotected_at=unprotected_at,
        valid_until=valid_until if valid_until is not None else own,
    )


def _noted(
    case: Case, signal: Signal, now: float, rules: Rules, moment: float | None, draw: float
) -> Case:
    """What the case remembers of a signal."""
    after = case
    match signal:
        case Signal.BEYOND:
            owed = case.owed_since if case.owed_since is not None else moment
            after = replace(case, owed_since=now if owed is None else owed)
        case Signal.DUNNED:
            after = replace(case, dunned_at=now)
        case Signal.DUE | Signal.STALE | Signal.RENEW if case.state is State.DUE:
            after = replace(
                case, asked_at=now, notice_written_at=now, notice_at=None, approved_until=None
            )
        case Signal.RENEW:
            after = replace(case, asked_at=now)
        case Signal.NOTICE:
            after = replace(case, notice_at=now)
        case Signal.APPROVED:
            after = replace(case, approved_until=moment)
        case Signal.LEAD_OVER:
            trip_at = max(now + rules.last_call_s + draw * rules.delay_s, moment or 0.0)
            after = replace(case, asked_at=now, last_call_at=None, trip_at=trip_at)
        case Signal.LAST_CALL:
            after = replace(case, last_call_at=case.last_call_at or now)
        case Signal.REFUSED:
            next_try = max(now + _pause_s(case, now, rules), moment or 0.0)
            after = replace(case, not_before=next_try, last_call_at=None)
    return after


def _pause_s(case: Case, now: float, rules: Rules) -> float:
    """After a refusal.  It grows with the time since the notice: each try is announced by a last
    call, and nobody is to be called every hour for weeks.
    """
    waited_s = now - case.notice_at if case.notice_at is not None else 0.0
    return max(rules.retry_s, min(waited_s / 8, rules.renew_s))


def _renewed_at(case: Case, rules: Rules) -> float:
    """When a notice that nobody proved is served again: first soon, then ever less often.

    A customer who cannot be reached is not to be called four times a day for months.
    """
    tried_s = case.asked_at - case.since
    return case.asked_at + max(rules.renew_s, min(tried_s, rules.renew_max_s))


def _blank(case: Case) -> Case:
    return Case(
        account=case.account,
        meter=case.meter,
        regime=case.regime,
        class_=case.class_,
        round=case.round,
    )


def _overdue(case: Case, now: float, rules: Rules) -> bool:
    dunned = case.dunned_at is not None or not rules.dunning
    return dunned and case.owed_since is not None and now >= case.owed_since + rules.overdue_s


def _waiting(case: Case, now: float, rules: Rules) -> Signal | None:
    notice_at = case.notice_at or now
    if now >= notice_at + rules.notice_age_max_s or _set_back(max(case.since, notice_at), now):
        return Signal.STALE
    if case.state is State.NOTICE_SERVED:
        return None if rules.approvals[case.class_] else Signal.APPROVED
    if case.approved_until is not None and now >= case.approved_until:
        return Signal.LAPSED
    free = now >= max(notice_at + rules.lead_s[case.class_], case.not_before)
    return Signal.LEAD_OVER if free else None


def _scheduled(case: Case, now: float, rules: Rules) -> Signal | None:
    lapsed = case.approved_until is not None and now >= case.approved_until
    if lapsed or _set_back(case.since, now):
        return Signal.LAPSED
    if case.last_call_at is None:
        if now >= case.trip_at:
            return Signal.REFUSED  # nobody proved that he was told
        return Signal.RENEW if now >= case.asked_at + rules.last_call_renew_s else None
    ready = now >= max(case.trip_at, case.last_call_at + rules.last_call_s)
    return Signal.TIME if ready else None


def _set_back(noted_at: float, now: float) -> bool:
    """Whether the clock was set back since that was noted: then the notice is served anew."""
    return now < noted_at - SET_BACK_S
