"""The tables of the configuration that are about money: absent where nothing is prepaid.

    [prepayment]      that balances are kept here, and what counts as odd
    [[policy]]        a row of limits, by the name that accounts refer to (信用等级)
    [[voucher_key]]   a public key that offline vouchers are signed with

Amounts are yuan as quoted text: "12.34".
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.config_reader import Reader
from gateway.config_tables import FileName, Name, Table
from gateway.prepayment.account import Policy
from gateway.prepayment.money import YUAN_E4, parse_yuan
from gateway.prepayment.validity import Usual
from gateway.prepayment.voucher import Key

WH_PER_KWH = 1000
KEY_BYTES = 32


def _amount_e4(found: object) -> int:
    """An amount as the file has it.  Raises ValueError: also for a number without quotes."""
    if not isinstance(found, str):
        raise ValueError("an amount is text")  # noqa: TRY004 - pydantic explains a ValueError
    return parse_yuan(found)


Yuan = Annotated[
    int,
    BeforeValidator(_amount_e4),
    Field(ge=0, description='yuan in quotes, like "12.34", not below zero'),
]


class PrepaymentTable(Table):
    """``[prepayment]``: balances are kept here."""

    enabled: bool = Field(default=True, description="true or false")
    tariffs: FileName = Field(
        "tariffs", description="a directory of tariff files, relative to this file"
    )
    reserve_days: int = Field(
        30, ge=1, le=365, description="days for which a low balance is to be filled up, 1 to 365"
    )
    jump_times: int = Field(
        10, ge=2, le=1000, description="times a usual day that are far more or less, 2 to 1000"
    )
    jump_floor_kwh: int = Field(
        20, ge=0, le=1_000_000, description="kWh a day that are never far more, at least 0"
    )
    unchecked_rates: Literal["accept", "refuse"] = Field(
        "accept", description='"accept" or "refuse" the rates of meters that tell no time tables'
    )
    days_max: int = Field(
        62, ge=1, le=3650, description="days without readings that are charged at once, 1 to 3650"
    )


class PolicyTable(Table):
    """``[[policy]]``: the limits of the accounts that name it."""

    name: Name
    alert_1: Yuan
    alert_2: Yuan
    hysteresis: Yuan = YUAN_E4
    overdraft: Yuan = 0
    emergency: Yuan = 0
    emergency_automatic: bool = Field(default=False, description="true or false")
    guarantee: Yuan = 0
    grace_days: int = Field(0, ge=0, le=365, description="days, 0 to 365")
    hoarding: Yuan = 0
    close_allowed: Yuan = 0
    debt_share_percent: int = Field(0, ge=0, le=100, description="percent, 0 to 100")
    debt_cap: Yuan = 0


class VoucherKeyTable(Table):
    """``[[voucher_key]]``: who may sign offline vouchers."""

    id: int = Field(ge=1, le=255, description="the key's number on the voucher, 1 to 255")
    public: str = Field(description="the Ed25519 public key, 32 bytes in base64")
    retired: bool = Field(default=False, description="true once its vouchers are over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepayment:
    """All about money, resolved."""

    tariffs_directory: Path
    reserve_days: int
    """For so many days a low balance is to be filled up."""
    usual: Usual
    policies: Mapping[str, Policy]
    refuse_unchecked: bool = False
    """Whether the rates of a meter that does not tell its time tables do not count."""
    voucher_keys: Mapping[int, Key] = field(default_factory=dict)


def read_prepayment(reader: Reader, data: dict[str, object]) -> Prepayment | None:
    """The tables about money, of which one is there; None where they are switched off.

    Notes every problem with the reader.
    """
    if "prepayment" not in data:
        for key in ("policy", "voucher_key"):
            if key in data:
                reader.say(f"[[{key}]]", "nothing is prepaid; add the table [prepayment]")
        return None
    table = reader.table(PrepaymentTable, data, "prepayment")
    policies = _policies(reader, data)
    keys = _voucher_keys(reader, data)
    if table is None or not table.enabled:
        return None
    return Prepayment(
        tariffs_directory=reader.path.parent / table.tariffs,
        reserve_days=table.reserve_days,
        usual=Usual(
            jump_times=table.jump_times,
            jump_floor_wh=table.jump_floor_kwh * WH_PER_KWH,
            days_max=table.days_max,
        ),
        policies=policies,
        refuse_unchecked=table.unchecked_rates == "refuse",
        voucher_keys=keys,
    )


def _policies(reader: Reader, data: dict[str, object]) -> Mapping[str, Policy]:
    policies: dict[str, Policy] = {}
    for n, row in reader.rows(PolicyTable, data, "policy"):
        where = f"policy[{n}]"
        if row.name in policies:
            reader.say(f"{where}.name", f"found {row.name!r}: used twice; give each its own")
        if row.alert_2 > row.alert_1:
            reader.say(f"{where}.alert_2", "above alert_1; it is the second, lower one")
        if row.hoarding and row.hoarding <= max(row.alert_1, row.close_allowed):
            problem = "nobody could top up beyond alert_1 and close_allowed; write more, or 0"
            reader.say(f"{where}.hoarding", problem)
        policies[row.name] = Policy(
            name=row.name,
            alert_1_e4=row.alert_1,
            alert_2_e4=row.alert_2,
            hysteresis_e4=row.hysteresis,
            overdraft_e4=row.overdraft,
            emergency_e4=row.emergency,
            emergency_automatic=row.emergency_automatic,
            guarantee_e4=row.guarantee,
            grace_days=row.grace_days,
            hoarding_e4=row.hoarding,
            close_allowed_e4=row.close_allowed,
            debt_share_percent=row.debt_share_percent,
            debt_cap_e4=row.debt_cap,
        )
    return MappingProxyType(policies)


def _voucher_keys(reader: Reader, data: dict[str, object]) -> Mapping[int, Key]:
    keys: dict[int, Key] = {}
    for n, row in (
        reader.rows(VoucherKeyTable, data, "voucher_key") if "voucher_key" in data else []
    ):
        where = f"voucher_key[{n}]"
        if row.id in keys:
            reader.say(f"{where}.id", f"found {row.id}: used twice; a key's number is its own")
        try:
            public = base64.b64decode(row.public, validate=True)
        except (binascii.Error, ValueError):
            public = b""
        if len(public) != KEY_BYTES:
            problem = f"found {row.public[:60]!r}; write 32 bytes in base64, 44 letters"
            reader.say(f"{where}.public", problem)
        keys[row.id] = Key(id=row.id, public=public, retired=row.retired)
    return MappingProxyType(keys)
