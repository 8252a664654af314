"""A tariff (电价方案), ready to bill: immutable, and equal to what its file says.

``gateway.prepayment.tariff_reader.parse`` makes one from the text of a file; ``bill`` applies it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from gateway.prepayment.periods import DAY, Days, Months, Season, Span, edges
from gateway.prepayment.reckoning import Component, RoundTo
from gateway.prepayment.steps import Steps
from gateway.prepayment.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Transformer or line losses (变损、线损), added to the energy before it is priced."""

    label: str
    kind: Literal["energy", "percent"]
    num: int
    den: int
    """``energy``: Wh per ``days_basis`` days; ``percent``: the part of each register's energy."""
    days_basis: int | None = None
    register: str | None = None
    """Which rate register the energy is added to, besides the total."""
    varh: int = 0
    """Reactive energy per ``days_basis`` days."""
    rounding: RoundTo


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """One version of a tariff."""

    id: str
    version: int
    name: str
    currency: str
    valid_from: date
    valid_to: date | None
    """The last day, if it is known."""
    example: bool
    """It shows how a tariff is written; its prices are not to be relied on."""
    source: str
    source_date: date | None
    settlement: Months | Days
    steps: Steps | None
    registers: Mapping[str, str]
    """Rate to register of the meter: ``{"peak": "t2"}``."""
    windows: Windows | None
    """When which rate holds, if the tariff says so."""
    losses: tuple[Loss, ...]
    components: tuple[Component, ...]
    usage_rounding: RoundTo | None
    line_rounding: RoundTo | None
    total_rounding: RoundTo
    digest: str
    """SHA-256 of what the file says, whatever its layout."""

    @property
    def uses_rates(self) -> bool:
        """Whether it prices what the rate registers of the meter count."""
        return bool(self.registers)

    def holds_on(self, day: date) -> bool:
        """Whether this version is valid on ``day``."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    def settlement_period(self, day: date) -> Span:
        """First and last day of the settlement period (结算周期) that ``day`` lies in."""
        return self.settlement.span(day)

    def step_period(self, day: date) -> Span:
        """First and last day of the step period that ``day`` lies in; without steps as above."""
        return self.steps.period.span(day) if self.steps else self.settlement.span(day)

    def step_share(self, opened: date, day: date) -> tuple[int, int]:
        """Which part of the limits of ``day``'s step period an account opened on ``opened`` has."""
        return self.steps.share(self.step_period(day), opened) if self.steps else (1, 1)

    def segment(self, day: date) -> Span:
        """The days around ``day`` that one bill can cover.

        They lie in one settlement period, one step period and one season, between two changes of
        the step limits, and within the validity of this version.
        """
        spans = [self.settlement_period(day), self.step_period(day)]
        breaks = set(edges(self._seasons(), day.year))
        breaks |= {since for since, _ in self.steps.changes} if self.steps else set()
        breaks |= {self.valid_from} | ({self.valid_to + DAY} if self.valid_to else set())
        first = max(*(span[0] for span in spans), *(each for each in breaks if each <= day))
        last = min(*(span[1] for span in spans), *(each - DAY for each in breaks if each > day))
        return first, last

    def _seasons(self) -> tuple[Season, ...]:
        return tuple(each for part in self.components for each in part.head.seasons)
