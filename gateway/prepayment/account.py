"""An account (账户): whose money it is, which meters and tariffs it has, how it may be treated.

An account is a value with a version.  Who changes it makes the next version; the old ones are kept,
since every decision cites the version it was based on.  What makes a good one, and how the next one
may follow from it, stands in account_rules.py.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from functools import cache, lru_cache

from pydantic import TypeAdapter, ValidationError


class Mode(StrEnum):
    """Who keeps the balance, and what an empty one leads to."""

    PREPAY_CUT = "prepay_cut"  # kept here; may be disconnected
    PREPAY_AGREEMENT = "prepay_agreement"  # kept here; never disconnected automatically
    POSTPAY = "postpay"  # charged here, paid by bill
    MIRROR = "mirror"  # the meter prepays by itself: shown, never charged here


class Regime(StrEnum):
    """By which rules it may be disconnected.  Unknown: never."""

    STATUTORY = "statutory"
    CONTRACT_PREPAY = "contract_prepay"
    UNKNOWN = "unknown"


class Class(StrEnum):
    """How much harm a disconnection would do."""

    ORDINARY = "ordinary"
    VULNERABLE = "vulnerable"
    CRITICAL = "critical"  # hospital, lift, pump, cold store
    LIFE_SUPPORT = "life_support"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCut:
    """A veto on disconnection, with its reason."""

    reason: str
    until: date | None = None
    """The last day it holds; None: until it is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metering:
    """A meter that counts for the account, from the end of a day on."""

    meter: str
    """Asset number (资产编号)."""
    since: date
    """It counts from this day's end on."""
    start: Mapping[str, int]
    """Its registers at that moment, in steps of their points' resolution (kWh points: Wh)."""
    until: date | None = None
    """It counted up to this day's end: it was replaced or removed."""
    final: Mapping[str, int] = field(default_factory=dict)
    """Its registers then."""
    minus: bool = False
    """A sub-meter whose energy is taken off: somebody else pays for it."""

    def overlaps(self, other: "Metering") -> bool:
        """Whether there is a day that both count."""
        return self.since < (other.until or date.max) and other.since < (self.until or date.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the contract says beyond the tariff.  Zero: not agreed."""

    capacity_va: int = 0
    demand_w: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One version of an account."""

    number: str
    """Account number (户号)."""
    version: int
    opened: date
    closed: date | None = None
    mode: Mode
    regime: Regime = Regime.UNKNOWN
    class_: Class = Class.ORDINARY
    no_cut: NoCut | None = None
    dispute: bool = False
    """A charge is disputed: no disconnection while it is."""
    policy: str
    """Name of its row of limits: the credit grade (信用等级)."""
    tariffs: tuple[tuple[date, str], ...]
    """(first day, tariff id), in order; the version of the tariff follows from the day."""
    meterings: tuple[Metering, ...]
    contract: Contract = Contract()
    capacity_changes: tuple[tuple[date, Contract], ...] = ()
    """(first day, contract) of later changes, in order."""
    language: str = "zh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A row of limits (domain: the five limits of DL/T 645, 04001001-04001005, and ours).

    All in 1/10,000 yuan.
    """

    name: str
    alert_1_e4: int
    alert_2_e4: int
    """Not above alert 1."""
    hysteresis_e4: int
    """An alert is armed again only when the balance is this much above its limit."""
    overdraft_e4: int
    """How far below zero is tolerated (透支金额限值)."""
    emergency_e4: int
    """Emergency credit, once until repaid; 0: none."""
    emergency_automatic: bool = False
    """It is given by itself at zero; else when it is asked for, from alert 1 on."""
    guarantee_e4: int
    """A guarantee (保证金) that counts as room below zero."""
    grace_days: int
    hoarding_e4: int
    """No top-up may lift the balance above this (囤积金额限值); 0: no limit."""
    close_allowed_e4: int
    """After a disconnection the balance must reach this before the supply is restored."""
    debt_share_percent: int = 0
    """This much of each top-up goes to old debt, ..."""
    debt_cap_e4: int = 0
    """... but no more than this in a week; 0: no cap."""

    @property
    def limit_e4(self) -> int:
        """The balance at which the real limit is reached: from there on disconnection is due."""
        return -(self.overdraft_e4 + self.guarantee_e4)


SCHEMA = 1
"""Of the text an account is stored as."""


class AccountTextError(ValueError):
    """A stored account cannot be read: a newer release wrote it, or it is damaged."""


def to_json(account: Account) -> str:
    """The account as canonical JSON: equal accounts give equal text."""
    tree = asdict(account)
    tree["class"] = tree.pop("class_")
    tree["schema"] = SCHEMA
    return json.dumps(
        tree, default=date.isoformat, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )


@lru_cache(maxsize=1024)
def from_json(text: str) -> Account:
    """The account that ``to_json`` wrote.

    Raises AccountTextError if the text is of another schema or no account.
    """
    try:
        tree = json.loads(text)
        schema, class_ = tree.pop("schema"), tree.pop("class")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AccountTextError(f"no account: {error!r}; found {text[:80]!r}") from error
    if schema != SCHEMA:
        raise AccountTextError(
            f"an account of schema {schema}, this release knows {SCHEMA}; install the release that"
            " wrote it"
        )
    try:
        return _adapter().validate_python({**tree, "class_": class_})
    except ValidationError as error:
        raise AccountTextError(f"no account: {error.errors(include_url=False)[0]}") from error


@cache
def _adapter() -> TypeAdapter[Account]:
    return TypeAdapter(Account)
