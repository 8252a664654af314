"""The two sets of rules an account may be disconnected by, as data.

``statutory``: arrears after use.  The amount is more than 30 days overdue and was dunned with
proof, a notice 3 to 7 days before, a last call 30 minutes before, and a person agrees.

``contract_prepay``: limits agreed in a contract.  Alerts while the balance falls, a notice hours
before, the last call, and a cut at the limit under a signed standing delegation that expires.

What stands here are defaults; a province or a contract may ask for longer times.  A class that a
regime does not name is never cut under it, and an account of an unknown regime never at all.

Source: Supply and use regulation (电力供应与使用条例) art. 39; Supply business rules (供电营业规则)
1996 art. 67.  The rules of 2024 were not at hand: check the periods before the first cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.disconnection.facts import DAY_S, HOUR_S
from gateway.prepayment.account import Class, Regime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What has to happen, and how long before a cut."""

    overdue_s: int
    """How long an amount must be overdue."""
    dunning: bool
    """It must have been dunned (催缴), with proof of delivery."""
    lead_s: Mapping[Class, int]
    """From the proven notice to the cut."""
    approvals: Mapping[Class, int]
    """How many persons agree, besides who asks for it."""
    delegation: bool
    """A standing delegation may be one of them, for ordinary accounts."""
    last_call_s: int = 1800
    delay_s: int = 600
    """A random delay of up to this much is added to each cut."""
    valid_s: int = HOUR_S
    """A cut that could not be sent this long after its time is scheduled anew."""
    renew_s: int = 6 * HOUR_S
    """A notice whose delivery is not proven is served again after this, then ever less often."""
    renew_max_s: int = 7 * DAY_S
    """But at least this often."""
    last_call_renew_s: int = 600
    """The same for the last call."""
    retry_s: int = 900
    """After a refused preflight, or a last call that nobody proved, nothing is tried for this long;
    for longer, up to ``renew_s``, the older the notice is.
    """
    notice_age_max_s: int = 30 * DAY_S
    """An older notice is served anew."""


def _by_class(ordinary: int, vulnerable: int) -> Mapping[Class, int]:
    return MappingProxyType({Class.ORDINARY: ordinary, Class.VULNERABLE: vulnerable})


STATUTORY = Rules(
    overdue_s=30 * DAY_S,
    dunning=True,
    lead_s=_by_class(7 * DAY_S, 7 * DAY_S),
    approvals=_by_class(1, 2),
    delegation=False,
)
CONTRACT_PREPAY = Rules(
    overdue_s=0,
    dunning=False,
    lead_s=_by_class(2 * HOUR_S, 24 * HOUR_S),
    approvals=_by_class(1, 1),
    delegation=True,
)


@dataclass(frozen=True, slots=True)
class Regimes:
    """The rules of each regime, as configured."""

    of: Mapping[Regime, Rules] = field(
        default_factory=lambda: MappingProxyType(
            {Regime.STATUTORY: STATUTORY, Regime.CONTRACT_PREPAY: CONTRACT_PREPAY}
        )
    )

    def find(self, regime: Regime, class_: Class) -> Rules | None:
        """The rules for such an account; None: it is never cut."""
        rules = self.of.get(regime)
        return rules if rules and class_ in rules.lead_s and class_ in rules.approvals else None
