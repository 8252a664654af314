"""The head-end, and through it the customer, is told of relays and disconnections (R41).

Each message says why, and what comes next or helps, in the account's language.  It is put into the
transaction that makes it true.

Used by the core alone.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from gateway.disconnection.case import BEFORE_SENT, Case, Do, Effect
from gateway.disconnection.facts import Facts, Purpose
from gateway.disconnection.preflight import Failed
from gateway.disconnection.relay_table import State
from gateway.disconnection.why import Setting, earliest_cut, ended, missing_e4, why
from gateway.north import contract
from gateway.north.contract_supply import DisconnectionEvent, FailedCheck, RelayEvent, RelayTurn
from gateway.prepayment.account import Account
from gateway.prepayment.money import yuan
from gateway.recorder import Recorder
from gateway.store.switching import KeptRelay

SENTENCE_MAX = 500
FAILED_MAX = 40
TOLD: Mapping[State, RelayTurn] = {
    State.TRIP_SENT: "trip_sent",
    State.OPEN: "open",
    State.TRIP_FAILED: "trip_failed",
    State.UNKNOWN: "unknown",
    State.WELD_OR_BYPASS: "weld_or_bypass",
    State.RESTORE_WANTED: "restore_wanted",
    State.RESTORE_SENT: "restore_sent",
    State.ALLOWED: "allowed",
    State.CLOSED: "closed",
    State.STUCK_OPEN: "stuck_open",
    State.HELD: "held",
}
"""States of a relay that the head-end is told of; the others are on the way to one of these."""
_ASKS: Mapping[
    Do, Literal["warn", "serve_notice", "last_call", "ask_approval", "report", "work_order"]
] = {
    Do.WARN: "warn",
    Do.SERVE_NOTICE: "serve_notice",
    Do.LAST_CALL: "last_call",
    Do.ASK_APPROVAL: "ask_approval",
    Do.REPORT: "report",
    Do.WORK_ORDER: "work_order",
}
_WORDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "zh": {
        "trip_pending": (
            "即将按指令停电。",
            "停电前会再次核查；如家中有人依赖用电设备，请立即告知。",
        ),
        "trip_sent": ("停电命令已发出。", "正在核实；充值后即恢复供电。"),
        "open": ("已停电。", "充值至合闸允许金额后即恢复供电。"),
        "trip_failed": ("停电未成功，仍在供电。", "将派人到现场检查。"),
        "unknown": ("停电命令的结果尚不清楚。", "将派人到现场检查。"),
        "weld_or_bypass": ("继电器显示断开，但仍有用电。", "将派人到现场检查。"),
        "restore_wanted": ("即将恢复供电。", "会一直重试直到成功。"),
        "restore_sent": ("恢复供电命令已发出。", "正在核实。"),
        "allowed": ("电能表已允许合闸。", "请按住表上按钮约 3 秒，即可恢复供电。"),
        "closed": ("已恢复供电。", ""),
        "stuck_open": ("合闸命令未生效。", "将派人到现场处理，同时继续重试。"),
        "restore_late": ("恢复供电延迟。", "仍在重试；请值班人员处理。"),
        "load_voltage": ("已断开，但负荷侧有电压。", "请勿自行接线；将派人到现场检查。"),
        "held": ("电能表被他人断开，可能有人在作业。", "需由运维人员到现场解除。"),
        "protected": ("电能表已设保电。", ""),
        "unprotected": ("电能表保电已解除。", ""),
        "wrong_cut": ("停电有误，立即恢复供电。", "正在恢复供电。"),
    },
    "en": {
        "trip_pending": (
            "The supply is to be cut soon, by an order.",
            "All is checked once more; say so now if somebody depends on electric equipment.",
        ),
        "trip_sent": ("The command to cut was sent.", "It is verified; a top-up restores supply."),
        "open": ("The supply is cut.", "A top-up up to the amount to close restores it."),
        "trip_failed": ("The cut failed, supply goes on.", "Somebody will come and look."),
        "unknown": ("Nobody knows what became of the cut.", "Somebody will come and look."),
        "weld_or_bypass": ("The relay says open, but conducts.", "Somebody will come and look."),
        "restore_wanted": ("The supply is to be restored.", "It is tried until it succeeds."),
        "restore_sent": ("The command to restore was sent.", "It is verified."),
        "allowed": ("The meter allows the supply.", "Hold its button for about 3 seconds."),
        "closed": ("The supply is there.", ""),
        "stuck_open": ("The meter did not close.", "Somebody will come; it is tried on."),
        "restore_late": ("The restore is late.", "It is tried on; somebody has to look."),
        "load_voltage": ("There is voltage behind the open relay.", "Somebody will come and look."),
        "held": ("Somebody else opened the meter.", "A technician has to release it."),
        "protected": ("The meter's supply is protected.", ""),
        "unprotected": ("The meter's supply is protected no more.", ""),
        "wrong_cut": ("The cut was wrong.", "The supply is being restored at once."),
    },
}
_BY_ORDER: Mapping[str, tuple[str, str]] = {
    "zh": (
        "正在核实；因调度或作业停电，与欠费无关。",
        "因调度或作业停电，与欠费无关；何时恢复请询问供电所。",
    ),
    "en": (
        "It is verified; it is an order, not for money.",
        "By an order, not for money: ask the operator when the supply comes back.",
    ),
}
"""What comes next after ``trip_sent`` and ``open``, where no payment would help."""


class Herald:
    """Tells what happens at one gateway's relays."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def relay(
        self,
        kept: KeptRelay,
        what: RelayTurn,
        wall: float,
        account: Account | None = None,
        *,
        cause: str = "",
        before: Mapping[str, str] | None = None,
        after: Mapping[str, str] | None = None,
        dry: bool = False,
    ) -> None:
        """A relay was switched, or was found to have moved; in a transaction."""
        at, clock = self._recorder.stamp()
        language = _language(account)
        reason, next_step = _WORDS[language].get(what, ("", ""))
        if what in ("trip_sent", "open") and kept.purpose is not Purpose.ARREARS:
            next_step = _BY_ORDER[language][what == "open"]
        elif what == "wrong_cut" and kept.relay.state is State.ALLOWED:
            _, next_step = _WORDS[language]["allowed"]
        since = kept.relay.wanted_since
        self._recorder.fact(
            RelayEvent(
                at=at,
                clock=clock,
                meter=kept.relay.meter,
                account=kept.account or None,
                what=what,
                cause=cause[:SENTENCE_MAX],
                command=kept.command or None,
                reason=reason,
                next_step=next_step,
                since=contract.instant(since) if since else None,
                took_s=max(0, round(wall - since)) if since else None,
                before=_numbers(before or {}),
                after=_numbers(after or {}),
                dry=dry,
            )
        )

    def pending(self, meter: str, account: Account, command: str, cause: str, due: float) -> None:
        """A trip by order has its turn (R24); in a transaction.  ``due`` is Unix time."""
        at, clock = self._recorder.stamp()
        reason, next_step = _WORDS[_language(account)]["trip_pending"]
        self._recorder.fact(
            RelayEvent(
                at=at,
                clock=clock,
                meter=meter,
                account=account.number,
                what="trip_pending",
                cause=cause[:SENTENCE_MAX],
                command=command,
                reason=reason,
                next_step=next_step,
                due=contract.instant(due),
            )
        )

    def case(
        self,
        case: Case,
        effect: Effect,
        facts: Facts,
        setting: Setting,
        account: Account,
        *,
        failed: Sequence[Failed] = (),
        command: str = "",
    ) -> None:
        """A disconnection has come a step further, or something is asked of the head-end."""
        at, clock = self._recorder.stamp()
        reason, *rest = why(case, facts, setting, account.language)
        if why_ended := ended(case, account.language):
            reason = f"{reason} ({why_ended})"
        rules = setting.regimes.find(case.regime, case.class_)
        due = None
        if rules and case.state in BEFORE_SENT:
            due = effect.at or earliest_cut(case, facts.at, rules)
        to_pay_e4 = missing_e4(case, facts, setting.policy)
        self._recorder.fact(
            DisconnectionEvent(
                at=at,
                clock=clock,
                account=case.account,
                meter=case.meter,
                state=case.state.value,
                round=case.round,
                asks=_ASKS.get(effect.do),
                reason=reason[:SENTENCE_MAX],
                next_step=" ".join(rest)[:SENTENCE_MAX],
                due=contract.instant(due) if due else None,
                balance=yuan(facts.money.balance_e4),
                to_pay=yuan(to_pay_e4) if to_pay_e4 else None,
                failed=tuple(
                    FailedCheck(code=one.code, rule=one.rule, text=one.text[:SENTENCE_MAX])
                    for one in failed[:FAILED_MAX]
                ),
                command=command or None,
                dry=facts.box.dry_run,
            )
        )


def _language(account: Account | None) -> str:
    return account.language if account and account.language in _WORDS else "zh"


def _numbers(values: Mapping[str, str]) -> dict[str, str]:
    """Registers, voltages, currents; texts are left out."""
    return {
        name: text
        for name, text in values.items()
        if text.removeprefix("-").replace(".", "", 1).isdecimal()
        and name.startswith(("energy_", "power_", "voltage_", "current_"))
    }
