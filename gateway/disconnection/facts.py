"""Everything a decision about disconnection is based on, as one value that can be stored.

The facts are gathered in one read transaction plus one fresh poll of the meter; preflight.py judges
them and nothing else.  So a stored text of the facts gives the same decision years later.

Times are Unix seconds.  An age or a time that nobody knows is None, and that never speaks for a
disconnection.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from functools import cache

from pydantic import TypeAdapter, ValidationError

from gateway.prepayment.account import Account, Class, Mode, NoCut, Regime

HOUR_S = 3600
DAY_S = 24 * HOUR_S


class Purpose(StrEnum):
    """Why a meter is to be switched."""

    ARREARS = "arrears"  # the balance is beyond its limit
    SHEDDING = "shedding"  # load shedding by the approved order (限电序位)
    ORDER = "order"  # a person ordered this trip
    UNPROTECT = "unprotect"  # 保电 is to be released: the meter may trip by itself then


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How fresh, how old, how often: the limits of the checks."""

    poll_age_max_s: int = 120
    """Of the meter's number and its relay's state."""
    reading_age_max_s: int = 48 * HOUR_S
    """Of the last actual reading that was charged."""
    restore_lead_s: int = 4 * HOUR_S
    """No protected window may begin sooner than this after a cut."""
    last_call_age_max_s: int = 4 * HOUR_S
    """A last call that is older has to be made again."""
    notice_age_max_s: int = 30 * DAY_S
    """The same for the notice."""
    distance_s: int = 600
    """Between two operations of one relay."""
    operations_max: int = 4
    """Of one relay in 24 hours, its restore included."""
    unprotect_delay_s: int = DAY_S
    """From the end of a protection to the first cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What matters of the account."""

    number: str
    version: int
    mode: Mode
    regime: Regime
    class_: Class
    no_cut: NoCut | None = None
    dispute: bool = False
    closed: date | None = None

    @classmethod
    def of(cls, account: Account) -> "Standing":
        """The standing of an account."""
        return cls(
            number=account.number,
            version=account.version,
            mode=account.mode,
            regime=account.regime,
            class_=account.class_,
            no_cut=account.no_cut,
            dispute=account.dispute,
            closed=account.closed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What the journal says, and how well it is known."""

    balance_e4: int
    """As posted, with all top-ups that arrived."""
    provisional_e4: int = 0
    """Charges in it that are provisional or estimated; they do not count."""
    emergency_left_e4: int = 0
    """Emergency credit that was not drawn yet."""
    emergency_owed_e4: int = 0
    """Emergency credit to be repaid by the next top-up."""
    debt_e4: int = 0
    """Old debt that takes its share of each top-up."""
    limit_e4: int
    """The balance from which on disconnection is due (``Policy.limit_e4``)."""
    journal: int
    """The last journal entry it is based on."""
    top_ups_waiting: int = 0
    """Top-ups in the inbox that are not posted yet."""
    worsened_at: float | None = None
    """When the limit was lowered or the past corrected last (a back-bill, a reversed top-up)."""
    reading_age_s: float | None = None
    """Of the last actual reading that was charged."""
    doubts: tuple[str, ...] = ()
    """Readings in quarantine, energy without a price, books that differ."""
    tariff_valid: bool = False

    @property
    def settled_e4(self) -> int:
        """The balance by what is certain."""
        return self.balance_e4 + self.provisional_e4

    @property
    def beyond_e4(self) -> int:
        """The balance has to be at or below this."""
        return self.limit_e4 - self.emergency_left_e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A signed yes to a disconnection; who holds the key was checked when it came."""

    id: str
    by: str
    """Key id."""
    account: str | None
    """None: a standing delegation for all ordinary accounts under contract_prepay."""
    debt_max_e4: int
    """It covers a debt up to this amount."""
    not_before: float
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The legal steps that were taken.  What is required follows from regime and class."""

    lead_s: int | None
    """How long before the cut the notice must be served; None: no rule, so never."""
    last_call_s: int
    """The same for the last call."""
    approvals: int
    """How many persons have to agree, besides who asked for it."""
    delegation: bool
    """A standing delegation counts as one of them."""
    notice_written_at: float | None = None
    notice_at: float | None = None
    """When it was delivered, by proof."""
    last_call_at: float | None = None
    requested_by: str = ""
    """Key id of who asked for it; empty: the gateway's own rules did."""
    approved: tuple[Approval, ...] = ()
    unprotected_at: float | None = None
    """When a protection of the account was taken away last."""
    valid_until: float | None = None
    """Of the order; the gateway's own has one, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMeter:
    """What the meter said just now, and what was done to it."""

    address: str
    """Address on the line: 12 digits, or 1 to 247."""
    number: str
    """The number that the configuration knows for it."""
    number_read: str = ""
    number_age_s: float | None = None
    position: str = "unknown"
    """``relay.State`` by the procedure."""
    fault: str = ""
    """``weld_or_bypass`` and the like, until a person says it is repaired."""
    closed: bool = False
    """What the status word said."""
    status_age_s: float | None = None
    protected_supply: bool = False
    """保电 is set in the meter."""
    prepays_itself: bool = False
    """It keeps a balance of its own and switches by it."""
    operations: tuple[float, ...] = ()
    """When its relay was operated in the last 24 hours."""
    only_directly: bool = False
    """Its relay knows no way but to close at once, without the customer's button."""
    direct: bool = False
    """The contract allows that."""
    breaker: str = ""
    """Asset of the breaker that is switched; empty: the meter's own relay is."""
    breaker_address: str = ""
    breaker_number: str = ""
    """What the configuration knows for the breaker; most have none."""
    breaker_number_read: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The state of the gateway."""

    clock_trusted: bool
    protected: str = "not looked at"
    """friendly.protected_within(at, restore_lead_s): the reason, empty if there is none."""
    calendar: str = ""
    """Version of the calendar."""
    mass: tuple[tuple[str, str], ...] = (("R21", "the mass limits were not looked at"),)
    """mass_limits.refuse: rule and reason."""
    drained: bool = False
    """The broker has handed over all it kept, or there was none to ask for long."""
    stopped: bool = True
    """The manual stop switch is on."""
    journal_sound: bool = False
    disk_writable: bool = False
    replayed: bool = False
    """The start-up replay is finished."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it at one moment."""

    at: float
    purpose: Purpose = Purpose.ARREARS
    account: Standing | None
    """None: the meter belongs to no account."""
    money: Money
    due: Due
    meter: AtMeter | None
    """None: no such meter in the configuration."""
    box: Box
    margins: Margins = field(default_factory=Margins)
    today: date
    """Local day of the area."""


SCHEMA = 1
"""Of the text that facts are stored as."""


class FactsTextError(ValueError):
    """Stored facts cannot be read: a newer release wrote them, or they are damaged."""


def to_json(facts: Facts) -> str:
    """The facts as canonical JSON: equal facts give equal text."""
    tree = {**asdict(facts), "schema": SCHEMA}
    return json.dumps(
        tree,
        default=date.isoformat,
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
        allow_nan=False,
    )


def from_json(text: str) -> Facts:
    """The facts that ``to_json`` wrote.  Raises FactsTextError."""
    try:
        tree = json.loads(text)
        schema = tree.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactsTextError(f"no facts: {error!r}; found {text[:80]!r}") from error
    if schema != SCHEMA:
        raise FactsTextError(
            f"facts of schema {schema}, this release knows {SCHEMA}; install the release that"
            " wrote them"
        )
    return _facts(tree)


def _facts(tree: Mapping[str, object]) -> Facts:
    try:
        return _adapter().validate_python(tree)
    except ValidationError as error:
        raise FactsTextError(f"no facts: {error.errors(include_url=False)[0]}") from error


@cache
def _adapter() -> TypeAdapter[Facts]:
    return TypeAdapter(Facts)
