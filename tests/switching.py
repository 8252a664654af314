"""Facts that allow a disconnection, for tests that spoil one of them."""

from dataclasses import replace
from datetime import date
from typing import Any

from gateway.disconnection.facts import Approval, AtMeter, Box, Due, Facts, Money, Purpose, Standing
from gateway.prepayment.account import Class, Mode, Regime
from tests.accounts import YUAN

NOW = 1_791_518_400.0
"""2026-10-09 12:00 in Shanghai, a Friday."""
HOUR = 3600.0
DAY = 24 * HOUR

APPROVAL = Approval(
    id="c7",
    by="chen",
    account="K1",
    debt_max_e4=50 * YUAN,
    not_before=NOW - DAY,
    expires=NOW + HOUR,
)
FACTS = Facts(
    at=NOW,
    today=date(2026, 10, 9),
    account=Standing(
        number="K1",
        version=3,
        mode=Mode.PREPAY_CUT,
        regime=Regime.CONTRACT_PREPAY,
        class_=Class.ORDINARY,
    ),
    money=Money(
        balance_e4=-6 * YUAN,
        limit_e4=-5 * YUAN,
        journal=4711,
        reading_age_s=12 * HOUR,
        tariff_valid=True,
    ),
    due=Due(
        lead_s=3600,
        last_call_s=1800,
        approvals=1,
        delegation=True,
        notice_written_at=NOW - 2 * HOUR,
        notice_at=NOW - 2 * HOUR,
        last_call_at=NOW - 2000,
        approved=(APPROVAL,),
        valid_until=NOW + 300,
    ),
    meter=AtMeter(
        address="000012345678",
        number="000012345678",
        number_read="000012345678",
        number_age_s=10.0,
        position="closed",
        closed=True,
        status_age_s=9.0,
    ),
    box=Box(
        clock_trusted=True,
        protected="",
        calendar="2026-1",
        mass=(),
        drained=True,
        stopped=False,
        journal_sound=True,
        disk_writable=True,
        replayed=True,
    ),
)


def but(place: str = "", facts: Facts = FACTS, **changed: Any) -> Facts:
    """The facts with some of them changed: ``but("money", balance_e4=0)``."""
    if not place:
        return replace(facts, **changed)
    return replace(facts, **{place: replace(getattr(facts, place), **changed)})


def ordered(purpose: Purpose, facts: Facts = FACTS) -> Facts:
    """The facts for another purpose."""
    return replace(facts, purpose=purpose)
