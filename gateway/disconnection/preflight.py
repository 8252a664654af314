"""The last judge before a trip: every check, and every one that failed, not only the first.

    decision = preflight(facts)         decision.allowed      decision.failed

A check looks at the facts alone, so the same facts give the same decision, today and from the
record.  What is unknown speaks against a trip.  In a dry run the decision is made and recorded as
ever, but ``decision.send`` stays false.

A restore never comes here: it needs no network, no approval and no calendar.

Contract: the invariants R01 to R35 of switching; each failed check names its own.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.disconnection.facts import DAY_S, Approval, Due, Facts, Money, Purpose, Standing
from gateway.disconnection.relay_table import State
from gateway.prepayment.account import Class, Mode, Regime
from gateway.prepayment.money import yuan

_DLT645 = re.compile(r"[0-9]{12}")
_BROADCAST = "9" * 12
_MODBUS = re.compile(r"[1-9][0-9]{0,2}")
_MODBUS_MAX = 247


@dataclass(frozen=True, slots=True)
class Failed:
    """A check that spoke against it."""

    code: str
    text: str
    """In plain words: what is wrong."""
    rule: str
    """Number of the invariant."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of it."""

    allowed: bool
    failed: tuple[Failed, ...]
    dry: bool
    """Made in a dry run: recorded, but no frame is sent."""

    @property
    def send(self) -> bool:
        """Whether the frame goes out."""
        return self.allowed and not self.dry


def preflight(facts: Facts) -> Decision:
    """Whether the meter may be tripped now, and everything that speaks against it."""
    failed = tuple(
        Failed(check.code, text, check.rule)
        for check in CHECKS
        if facts.purpose in check.purposes
        for text in check.judge(facts)
    )
    return Decision(not failed, failed, facts.box.dry_run)


# --- whose meter it is, and which ---------------------------------------------------------------


def _account(facts: Facts) -> Iterator[str]:
    if facts.account is None:
        yield "the meter belongs to no account"
    elif facts.account.closed:
        yield f"the account was closed on {facts.account.closed}"


def _meter(facts: Facts) -> Iterator[str]:
    if facts.meter is None:
        yield "no such meter in the configuration"


def _address(facts: Facts) -> Iterator[str]:
    meter = facts.meter
    addresses = [meter.address] if meter else []
    if meter and meter.breaker:
        addresses.append(meter.breaker_address)
    for address in addresses:
        dlt645 = _DLT645.fullmatch(address) and address != _BROADCAST
        modbus = _MODBUS.fullmatch(address) and int(address) <= _MODBUS_MAX
        if not dlt645 and not modbus:
            yield f"address {address!r} is not that of one meter"


def _number(facts: Facts) -> Iterator[str]:
    meter = facts.meter
    if meter is None:
        return
    if _older(meter.number_age_s, facts.margins.poll_age_max_s):
        yield f"the meter's number was not read within {facts.margins.poll_age_max_s} s"
    elif not meter.number or meter.number_read != meter.number:
        yield f"the meter says it is {meter.number_read!r}, expected {meter.number!r}"
    if meter.breaker_number and meter.breaker_number_read != meter.breaker_number:
        said, expected = meter.breaker_number_read, meter.breaker_number
        yield f"the breaker {meter.breaker} says it is {said!r}, expected {expected!r}"


def _relay(facts: Facts) -> Iterator[str]:
    meter = facts.meter
    if meter is None:
        return
    if _older(meter.status_age_s, facts.margins.poll_age_max_s):
        limit_s = facts.margins.poll_age_max_s
        yield f"the relay's state and the register were not read within {limit_s} s"
    elif not meter.closed or meter.position not in (State.CLOSED, State.TRIP_WANTED):
        shown = "closed" if meter.closed else "open"
        yield f"the relay is not closed: the meter says {shown}, its procedure {meter.position}"
    if meter.prepays_itself:
        yield "the meter keeps a balance of its own and switches by it"


def _fault(facts: Facts) -> Iterator[str]:
    if facts.meter and facts.meter.fault:
        yield f"the relay has a fault that nobody has cleared: {facts.meter.fault}"


def _protected_supply(facts: Facts) -> Iterator[str]:
    if facts.meter and facts.meter.protected_supply:
        yield "the meter's supply is protected (保电)"


def _way_back(facts: Facts) -> Iterator[str]:
    if facts.meter and facts.meter.only_directly and not facts.meter.direct:
        yield "it could only be closed directly again, and the contract does not allow that"


def _operations(facts: Facts) -> Iterator[str]:
    if facts.meter is None:
        return
    recent = sorted(at for at in facts.meter.operations if at > facts.at - DAY_S)
    if facts.meter.position == State.TRIP_WANTED:
        recent = recent[:-1]  # the last one is this trip, whose reply was lost
    # One is kept for the restore.
    if len(recent) + 1 >= facts.margins.operations_max:
        yield f"the relay was operated {len(recent)} times in 24 hours"
    if recent and facts.at - max(recent) < facts.margins.distance_s:
        yield f"the relay was operated less than {facts.margins.distance_s} s ago"


# --- whether this account may be cut at all ----------------------------------------------------


def _regime(facts: Facts) -> Iterator[str]:
    if facts.account and facts.account.regime is Regime.UNKNOWN:
        yield "nobody said by which rules this account may be disconnected"
    elif facts.due.lead_s is None:
        yield "its rules say nothing about this class of account"


def _mode(facts: Facts) -> Iterator[str]:
    if facts.account and facts.account.mode is not Mode.PREPAY_CUT:
        yield f"accounts of the mode {facts.account.mode} are never disconnected automatically"


def _flags(facts: Facts) -> Iterator[str]:
    account = facts.account
    if account is None:
        return
    veto = account.no_cut
    if veto and (veto.until is None or veto.until >= facts.today):
        yield f"protected until {veto.until or 'removed'}: {veto.reason}"
    if account.class_ in (Class.CRITICAL, Class.LIFE_SUPPORT):
        yield f"an account of the class {account.class_} is never cut"
    if account.mode is Mode.PREPAY_AGREEMENT and facts.purpose is Purpose.SHEDDING:
        yield "an account that by agreement is never disconnected automatically"


def _unprotected(facts: Facts) -> Iterator[str]:
    since, delay_s = facts.due.unprotected_at, facts.margins.unprotect_delay_s
    if since is not None and facts.at - since < delay_s:
        yield f"its protection ended less than {delay_s // 3600} hours ago"


def _dispute(facts: Facts) -> Iterator[str]:
    if facts.account and facts.account.dispute:
        yield "a charge is disputed"


# --- money and data ----------------------------------------------------------------------------


def _balance(facts: Facts) -> Iterator[str]:
    money = facts.money
    if money.balance_e4 > money.beyond_e4:
        yield f"the balance is {yuan(money.balance_e4)}, above the limit {yuan(money.beyond_e4)}"


def _provisional(facts: Facts) -> Iterator[str]:
    money = facts.money
    if money.balance_e4 <= money.beyond_e4 < money.settled_e4:
        yield f"without provisional charges the balance is {yuan(money.settled_e4)}"


def _waiting(facts: Facts) -> Iterator[str]:
    if facts.money.top_ups_waiting:
        yield f"{facts.money.top_ups_waiting} top-ups are not posted yet"


def _data(facts: Facts) -> Iterator[str]:
    if _older(facts.money.reading_age_s, facts.margins.reading_age_max_s):
        hours = facts.margins.reading_age_max_s // 3600
        yield f"no actual reading of the last {hours} hours was charged"
    yield from facts.money.doubts


def _tariff(facts: Facts) -> Iterator[str]:
    if not facts.money.tariff_valid:
        yield "no valid tariff"


# --- the legal steps ---------------------------------------------------------------------------


def _notice(facts: Facts) -> Iterator[str]:
    at, lead_s = facts.due.notice_at, facts.due.lead_s
    if at is None:
        yield "no notice was served, or there is no proof"
    elif lead_s is not None and not lead_s <= facts.at - at <= facts.margins.notice_age_max_s:
        yield f"the notice was served {_hours(facts.at - at)} hours ago, {_hours(lead_s)} needed"


def _last_call(facts: Facts) -> Iterator[str]:
    at, needed_s = facts.due.last_call_at, facts.due.last_call_s
    if at is None:
        yield "there was no last call, or there is no proof"
    elif not needed_s <= facts.at - at <= facts.margins.last_call_age_max_s:
        yield f"the last call was {(facts.at - at) // 60:.0f} minutes ago, {needed_s // 60} needed"


def _fresh_notice(facts: Facts) -> Iterator[str]:
    changed, written = facts.money.worsened_at, facts.due.notice_written_at
    if changed is not None and (written is None or written <= changed):
        yield "the limit was lowered or the past corrected after the notice"


def _approvals(facts: Facts) -> Iterator[str]:
    valid = agreed_until(facts.account, facts.money, facts.due, facts.purpose, facts.at)
    if len(valid) < facts.due.approvals:
        found = f"{len(valid)} valid approvals by others than who asked"
        owed_e4 = -facts.money.balance_e4
        small = [
            f"approval {one.id} is for {yuan(one.debt_max_e4)} owed at most, {yuan(owed_e4)} are"
            for one in facts.due.approved
            if one.by not in valid and one.debt_max_e4 < owed_e4
        ]
        yield "; ".join((f"{found}, needed {facts.due.approvals}", *small))


def agreed_until(
    account: Standing | None, money: Money, due: Due, purpose: Purpose, now: float
) -> dict[str, float]:
    """Until when each person's approval counts, by key; never that of who asked for the cut."""
    until: dict[str, float] = {}
    for one in due.approved:
        by_other = one.by != due.requested_by
        if by_other and account and _counts(one, account, money, due, purpose, now):
            until[one.by] = max(one.expires, until.get(one.by, 0.0))
    return until


def _counts(
    approval: Approval, account: Standing, money: Money, due: Due, purpose: Purpose, now: float
) -> bool:
    if approval.account is None:
        delegated = due.delegation and purpose is Purpose.ARREARS
        contract = account.regime is Regime.CONTRACT_PREPAY and account.class_ is Class.ORDINARY
        named = delegated and contract
    else:
        named = approval.account == account.number
    in_time = approval.not_before <= now < approval.expires
    return named and in_time and -money.balance_e4 <= approval.debt_max_e4


def _unprotect(facts: Facts) -> Iterator[str]:
    if facts.money.balance_e4 <= facts.money.limit_e4:
        for text in (*_regime(facts), *_notice(facts), *_fresh_notice(facts)):
            yield f"the meter would trip at once, and {text}"


def _valid_until(facts: Facts) -> Iterator[str]:
    until = facts.due.valid_until
    if until is None or facts.at >= until:
        yield "the order has run out, or says no end"
    elif not facts.box.clock_trusted:
        yield "nobody knows whether the order has run out: the clock is not trusted"


# --- the gateway itself --------------------------------------------------------------------------


def _calendar(facts: Facts) -> Iterator[str]:
    if facts.box.protected:
        yield f"a protected time, or one begins soon: {facts.box.protected}"


def _clock(facts: Facts) -> Iterator[str]:
    if not facts.box.clock_trusted:
        yield "the gateway's clock is not trusted"


def _sound(facts: Facts) -> Iterator[str]:
    if not facts.box.journal_sound:
        yield "the journal was found damaged"
    if not facts.box.disk_writable:
        yield "the disk cannot be written"
    if not facts.box.replayed:
        yield "the start-up replay is not finished"


def _drained(facts: Facts) -> Iterator[str]:
    if not facts.box.drained:
        yield "the broker may still hold top-ups"


def _stopped(facts: Facts) -> Iterator[str]:
    if facts.box.stopped:
        yield "the stop switch is on"


def _older(age_s: float | None, limit_s: int) -> bool:
    """An age below zero comes from a clock that was set back: nobody knows the real one."""
    return age_s is None or not 0 <= age_s <= limit_s


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}"


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    code: str
    rule: str
    judge: Callable[[Facts], Iterator[str]]
    purposes: frozenset[Purpose]


def _mass(rule: str) -> Callable[[Facts], Iterator[str]]:
    def judge(facts: Facts) -> Iterator[str]:
        yield from (text for found, text in facts.box.mass if found == rule)

    return judge


ALL = frozenset(Purpose)
TRIPS = ALL - {Purpose.UNPROTECT}
ARREARS = frozenset((Purpose.ARREARS,))

CHECKS = (
    Check("address", "R01", _address, ALL),
    Check("meter_number", "R02", _number, ALL),
    Check("expired", "R04", _valid_until, TRIPS),
    Check("meter", "R07", _meter, ALL),
    Check("account", "R07", _account, ALL),
    Check("regime", "R08", _regime, ARREARS),
    Check("mode", "R08", _mode, ARREARS),
    Check("protected", "R08", _flags, TRIPS),
    Check("protected_supply", "R08", _protected_supply, TRIPS),
    Check("unprotected_lately", "R09", _unprotected, TRIPS),
    Check("notice", "R10", _notice, ARREARS),
    Check("last_call", "R10", _last_call, ARREARS),
    Check("approval", "R11", _approvals, TRIPS),
    Check("dispute", "R12", _dispute, TRIPS - {Purpose.SHEDDING}),
    Check("calendar", "R13", _calendar, TRIPS - {Purpose.SHEDDING}),
    Check("provisional", "R14", _provisional, ARREARS),
    Check("data", "R14", _data, ARREARS),
    Check("tariff", "R14", _tariff, ARREARS),
    Check("clock", "R15", _clock, ALL),
    Check("box", "R16", _sound, ALL),
    Check("balance", "R17", _balance, ARREARS),
    Check("top_ups_waiting", "R17", _waiting, ARREARS),
    Check("fresh_notice", "R19", _fresh_notice, ARREARS),
    Check("unprotect", "R20", _unprotect, frozenset((Purpose.UNPROTECT,))),
    Check("mass_limit", "R21", _mass("R21"), TRIPS),
    Check("latched", "R22", _mass("R22"), TRIPS),
    Check("quiet", "R23", _mass("R23"), TRIPS),
    Check("drained", "R23", _drained, TRIPS),
    Check("stopped", "R25", _stopped, ALL),
    Check("relay", "R27", _relay, TRIPS),
    Check("relay_fault", "R29", _fault, TRIPS),
    Check("operations", "R31", _operations, TRIPS),
    Check("way_back", "R35", _way_back, TRIPS),
)
"""Shedding by the approved order asks no calendar and no balance; its approvals it does."""
