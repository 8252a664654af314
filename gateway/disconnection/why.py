"""Why, when and what helps: a disconnection explained to a customer on the phone.

    why(case, facts, ...)  ->  what happens, when at the earliest, what prevents it, what ends it

All of it follows from the case, the facts and the policy: the same as for the preflight, so what is
said is what will be done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.disconnection.case import BEFORE_SENT, SENT, Case, State
from gateway.disconnection.facts import DAY_S, HOUR_S, Facts
from gateway.disconnection.friendly import Calendar, next_free
from gateway.disconnection.preflight import preflight
from gateway.disconnection.regimes import Regimes, Rules
from gateway.disconnection.relay_table import RESTORING
from gateway.disconnection.relay_table import State as RelayState
from gateway.disconnection.why_words import CHECKS, SENTENCES, STATES
from gateway.prepayment.account import Policy, Regime
from gateway.prepayment.money import FEN_E4, Rounding, divide, round_to, yuan

_LANGUAGES = ("zh", "en")
_WAITING = (State.NOTICE_SERVED, State.APPROVED, State.SCHEDULED, State.PREFLIGHT)


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
    lines = [_state(case, rules, setting.zone, language)]
    if facts.box.dry_run:
        lines.append(say["dry"])
    limit = yuan(facts.money.beyond_e4)
    lines.append(say["balance"].format(balance=yuan(facts.money.balance_e4), limit=limit))
    if rules is None:
        return [*lines, say["never"]]
    if case.state is State.WARNED:
        lines.append(_not_yet(case, rules, limit, setting.zone, language))
    if case.state in _WAITING:
        lines += [_earliest(case, facts, rules, setting, language), _against(facts, language)]
    if text := _at_the_meter(facts, say):
        lines.append(text)
    return [*lines, *_helps(case, facts, setting.policy, say)]


def missing_e4(case: Case, facts: Facts, policy: Policy) -> int:
    """How much has to be paid to end it, in whole fen as 1/10,000 yuan; 0: nothing more.

    Emergency credit that is owed and the debt's share of a top-up are paid on top; where the share
    has a cap, a little less would do.
    """
    money = facts.money
    goal_e4 = money.beyond_e4 + 1
    if case.state is State.OPEN:
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
    return STATES[language][case.state].format(
        account=case.account,
        lead=_duration(lead_s, language),
        notice=_moment(case.notice_at, zone, language),
        trip=_moment(case.trip_at, zone, language),
        since=_moment(case.since, zone, language),
    )


def _not_yet(case: Case, rules: Rules, limit: str, zone: tzinfo, language: str) -> str:
    say = SENTENCES[language]
    if case.regime is Regime.STATUTORY and case.owed_since is not None:
        overdue = _moment(case.owed_since + rules.overdue_s, zone, language)
        return say["statutory"].format(days=rules.overdue_s // DAY_S, overdue=overdue)
    return say["contract"].format(limit=limit)


def _earliest(case: Case, facts: Facts, rules: Rules, setting: Setting, language: str) -> str:
    say = SENTENCES[language]
    earliest = earliest_cut(case, facts.at, rules)
    free = None
    if earliest is not None:
        free = next_free(earliest, facts.margins.restore_lead_s, setting.calendar)
    if free is None:
        return say["protected_time"]
    return say["earliest"].format(earliest=_moment(free, setting.zone, language))


def _against(facts: Facts, language: str) -> str:
    say, column = SENTENCES[language], _LANGUAGES.index(language)
    codes = dict.fromkeys(one.code for one in preflight(facts).failed)
    if not codes:
        return say["nothing_against"]
    between = "；" if language == "zh" else "; "
    return say["held_back"].format(reasons=between.join(CHECKS[code][column] for code in codes))


def _at_the_meter(facts: Facts, say: Mapping[str, str]) -> str:
    position = facts.meter.position if facts.meter else ""
    if position in (RelayState.ALLOWED, RelayState.HELD, RelayState.STUCK_OPEN):
        return say[position]
    return say["restoring"] if position in RESTORING else ""


def _helps(case: Case, facts: Facts, policy: Policy, say: Mapping[str, str]) -> list[str]:
    amount_e4 = missing_e4(case, facts, policy)
    amount = yuan(amount_e4)
    if case.state is State.OPEN:
        return [say["pay_open"].format(amount=amount) if amount_e4 else say["pay_enough"]]
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
