"""Segments: the days that one bill runs over, and by what they are priced.  Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from gateway.prepayment.account import Account, Contract
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.validity import Flag


@dataclass(frozen=True, slots=True)
class Priced:
    """The version of a tariff that holds on a day."""

    tariff: Tariff
    key: str
    """``id/version``."""
    expired: bool
    """It is the last one there is, and its time is over."""
    first: date
    """First day of its footing that day: ``Tariff.segment``."""
    step: date
    """First day of the step period."""


Prices = Callable[[str, date], Priced | None]
"""Gives the tariff ``id`` on a day; None if there is none."""


def priced(versions: list[Tariff], day: date) -> Priced | None:
    """Which of the versions of one tariff holds on ``day``: the highest that is valid.

    Where none is valid any more the last one goes on, and says so; before the first there is none.
    """
    begun = [one for one in versions if one.valid_from <= day]
    valid = [one for one in begun if one.holds_on(day)]
    if not begun:
        return None
    found = max(valid or begun, key=lambda one: (one.valid_from, one.version))
    return Priced(
        found,
        f"{found.id}/{found.version}",
        not valid,
        found.segment(day)[0],
        found.step_period(day)[0],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one bill runs over: the days of one footing of the price, and of one contract."""

    tariff: str
    """``id/version``; empty while no price is known."""
    first: date
    """Its first day, as far as the tariff goes: ``Tariff.segment``."""
    step: date
    """First day of the step period."""
    contract: Contract


def tariff_on(account: Account, day: date) -> str:
    """The id of the tariff that the account has on a day; before the first change, the first."""
    held = [name for first, name in account.tariffs if first <= day]
    return held[-1] if held else account.tariffs[0][1]


def contract_on(account: Account, day: date) -> Contract:
    """What the account's contract says on a day."""
    held = [contract for first, contract in account.capacity_changes if first <= day]
    return held[-1] if held else account.contract


def segment_of(
    account: Account, day: date, prices: Prices
) -> tuple[Segment, Tariff | None, frozenset[Flag]]:
    """What ``day`` is billed in."""
    contract = contract_on(account, day)
    found = prices(tariff_on(account, day), day)
    if found is None:
        month = day.replace(day=1)
        return Segment(tariff="", first=month, step=month, contract=contract), None, frozenset()
    segment = Segment(tariff=found.key, first=found.first, step=found.step, contract=contract)
    return segment, found.tariff, frozenset((Flag.TARIFF_EXPIRED,) if found.expired else ())
