"""Why, when and what helps: a disconnection explained to a customer on the phone.

    why(case, facts, ...)  ->  what happens, when at the earliest, what prevents it, what ends it

All of it follows from the case, the facts and the policy: the same as for the preflight, so what is
said is what will be done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.disconnection.case import BEFORE_SENT, SENT, Cancel, Case, State
from gateway.disconnection.facts import DAY_S, HOUR_S, Facts
from gateway.disconnection.friendly import Calendar, next_free
from gateway.disconnection.preflight import preflight
from gateway.disconnection.regimes import Regimes, Rules
from gateway.disconnection.relay_table import RESTORING
from gateway.disconnection.relay_table import State as RelayState
from gateway.disconnection.why_words import CHECKS, ENDED, SENTENCES, STATES
from gateway.prepayment.account import Policy, Regime
from gateway.prepayment.money import FEN_E4, Rounding, divide, round_to, yuan

_LANGUAGES = ("zh", "en")
_WAITING = (State.NOTICE_SERVED, State.APPROVED, State.SCHEDULED, State.PREFLIGHT)
_VETOES = ("mode", "protected", "protected_supply", "unprotected_lately", "dispute")
"""Checks that fail whatever is paid or waited for."""
_STEPS = ("notice", "last_call", "expired")
"""Checks of steps that are still to come: the earliest moment speaks of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What it is explained by, besides the case and the facts."""

    regimes: Regimes
    policy: Policy
    calendar: Calendar | None
    zone: tzinfo


def why(case: Case, facts: Facts, setting: Setting, language: str = "zh") -> list[str]:
    """Sentences in ``language``; Chinese where it is not known."""
    language = language[:2] if language[:2] in _LANGUAGES else "zh"
    say = SENTENCES[language]
    rules = setting.regimes.find(case.regime, case.class_)
    at_meter = _at_the_meter(case, facts, say)
    lines = [_state(case, rules, setting.zone, language)]
    if at_meter:
        # Who has no supply wants to hear of that first.
        lines = [at_meter] if case.state is State.WATCH else [at_meter, *lines]
    if facts.box.dry_run:
        lines.append(say["dry"])
    balance, limit = yuan(facts.money.balance_e4), yuan(facts.money.beyond_e4)
    if at_meter or case.state in SENT:
        lines.append(say["balance_now"].format(balance=balance))
        return [*lines, *_helps(case, facts, setting.policy, say)]
    lines.append(say["balance"].format(balance=balance, limit=limit))
    lines += (never := _never(case, facts, rules, language))
    alert_e4 = setting.policy.alert_1_e4
    if not never and case.state is State.WATCH and facts.money.balance_e4 > alert_e4:
        lines.append(say["watch"].format(alert=yuan(alert_e4)))
    beyond = facts.money.balance_e4 <= facts.money.beyond_e4
    if rules and case.state is State.WARNED and not (beyond and not rules.overdue_s):
        lines.append(_not_yet(case, rules, limit, setting.zone, language))
    if rules and case.state in _WAITING:
        lines += _earliest(case, facts, rules, setting, language)
    if rules and case.state in (State.DUE, *_WAITING):
        lines.append(_against(facts, language))
    return [*lines, *_helps(case, facts, setting.policy, say)]


def ended(case: Case, language: str) -> str:
    """Why its last round ended, in words; empty: it goes on, or never began."""
    if case.ended not in tuple(ENDED):
        return case.ended
    column = _LANGUAGES.index(language[:2]) if language[:2] in _LANGUAGES else 0
    return ENDED[Cancel(case.ended)][column]


def ordered(at: float, zone: tzinfo, language: str) -> str:
    """That a trip by order waits for its turn (R24); ``at`` is Unix time."""
    language = language[:2] if language[:2] in _LANGUAGES else _LANGUAGES[0]
    return SENTENCES[language]["ordered"].format(at=_moment(at, zone, language))


def missing_e4(case: Case, facts: Facts, policy: Policy) -> int:
    """How much has to be paid to end it, in whole fen as 1/10,000 yuan; 0: nothing more.

    Emergency credit that is owed and the debt's share of a top-up are paid on top; where the share
    has a cap, a little less would do.
    """
    money = facts.money
    goal_e4 = money.beyond_e4 + 1
    if case.state in SENT:  # it may be open by the time somebody has paid
        goal_e4 = max(goal_e4, policy.close_allowed_e4)
    rise_e4 = goal_e4 - money.balance_e4
    if rise_e4 <= 0:
        return 0
    rise_e4 += money.emergency_owed_e4
    whole_e4, rest_percent = rise_e4 + money.debt_e4, 100 - policy.debt_share_percent
    if rest_percent > 0:
        whole_e4 = min(whole_e4, divide(rise_e4 * 100, rest_percent, Rounding.CEIL))
    return round_to(whole_e4, FEN_E4, Rounding.CEIL)


def earliest_cut(case: Case, now: float, rules: Rules) -> float | None:
    """The earliest moment of a cut by its steps alone; None while no notice was delivered, and
    once the cut was made.
    """
    if case.state in (State.SCHEDULED, State.PREFLIGHT):
        return max(now, case.trip_at)
    if case.notice_at is None or case.state in SENT:
        return None
    ready = max(case.notice_at + rules.lead_s[case.class_], case.not_before, now)
    return ready + rules.last_call_s


def _state(case: Case, rules: Rules | None, zone: tzinfo, language: str) -> str:
    lead_s = rules.lead_s[case.class_] if rules else 0
    text = STATES[language][case.state]
    if case.state is State.SCHEDULED and case.last_call_at is None:
        text = SENTENCES[language]["calling"]
    return text.format(
        account=case.account,
        lead=_duration(lead_s, language),
        notice=_moment(case.notice_at, zone, language),
        trip=_moment(case.trip_at, zone, language),
        since=_moment(case.since, zone, language),
    )


def _never(case: Case, facts: Facts, rules: Rules | None, language: str) -> list[str]:
    """Why it is not cut, whatever is owed."""
    say = SENTENCES[language]
    if rules is None:
        return [say["never" if case.regime is Regime.UNKNOWN else "never_class"]]
    reasons = _reasons(facts, language, _VETOES)
    return [say["vetoed"].format(reasons=reasons)] if reasons else []


def _not_yet(case: Case, rules: Rules, limit: str, zone: tzinfo, language: str) -> str:
    say = SENTENCES[language]
    if case.regime is Regime.STATUTORY and case.owed_since is not None:
        overdue = _moment(case.owed_since + rules.overdue_s, zone, language)
        return say["statutory"].format(days=rules.overdue_s // DAY_S, overdue=overdue)
    return say["contract"].format(limit=limit)


def _earliest(case: Case, facts: Facts, rules: Rules, setting: Setting, language: str) -> list[str]:
    say = SENTENCES[language]
    earliest = earliest_cut(case, facts.at, rules)
    free = None
    if earliest is not None:
        free = next_free(earliest, facts.margins.restore_lead_s, setting.calendar)
    if free is None:
        return [say["protected_time"]]
    if case.state is State.SCHEDULED and free == case.trip_at:
        return []  # that was said
    return [say["earliest"].format(earliest=_moment(free, setting.zone, language))]


def _against(facts: Facts, language: str) -> str:
    """What holds it back now; not what every cut has still to come, and not the vetoes."""
    say, meter = SENTENCES[language], facts.meter
    passed = {*_VETOES, *_STEPS}
    if meter and meter.number_age_s is None:
        passed.add("meter_number")
    if meter and meter.status_age_s is None:
        passed.add("relay")
    reasons = _reasons(facts, language, [code for code in CHECKS if code not in passed])
    return say["held_back"].format(reasons=reasons) if reasons else say["nothing_against"]


def _reasons(facts: Facts, language: str, codes: Sequence[str]) -> str:
    """Those of the checks that fail, in words."""
    column = _LANGUAGES.index(language)
    failed = dict.fromkeys(one.code for one in preflight(facts).failed if one.code in codes)
    between = "；" if language == "zh" else "; "
    return between.join(CHECKS[code][column] for code in failed)


def _at_the_meter(case: Case, facts: Facts, say: Mapping[str, str]) -> str:
    position = facts.meter.position if facts.meter else ""
    if position in (RelayState.ALLOWED, RelayState.HELD, RelayState.STUCK_OPEN):
        return say[position]
    if position == RelayState.OPEN and case.state not in SENT:
        return say["by_order"]
    return say["restoring"] if position in RESTORING else ""


def _helps(case: Case, facts: Facts, policy: Policy, say: Mapping[str, str]) -> list[str]:
    amount_e4 = missing_e4(case, facts, policy)
    amount = yuan(amount_e4)
    if case.state is State.OPEN:
        return [say["pay_open"].format(amount=amount) if amount_e4 else say["pay_enough"]]
    if case.state in SENT:
        return [say["pay_sent"].format(amount=amount)] if amount_e4 else []
    if case.state in BEFORE_SENT and case.state is not State.WARNED:
        pay = [say["pay"].format(amount=amount)] if amount_e4 else []
        return [*pay, say["else"]]
    return []


def _moment(at: float | None, zone: tzinfo, language: str) -> str:
    if at is None:
        return "?"
    local = datetime.fromtimestamp(at, zone)
    if language == "zh":
        return f"{local.year}年{local.month}月{local.day}日 {local:%H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


def _duration(seconds: int, language: str) -> str:
    days, hours = seconds // DAY_S, seconds // HOUR_S
    if days and seconds % DAY_S == 0:
        return f"{days} 天" if language == "zh" else f"{days} day{'s' if days > 1 else ''}"
    if language == "zh":
        return f"{hours} 小时" if hours else f"{seconds // 60} 分钟"
    return f"{hours} hours" if hours else f"{seconds // 60} minutes"
