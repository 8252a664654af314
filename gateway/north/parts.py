"""Which orders and events a gateway has: those of the parts that are configured.

The models of money and of switching take megabytes of memory, so where a part is not configured
they are not even loaded.  Its orders are known by name all the same, and refused as what they are.
"""

from functools import cache
from typing import Annotated, Any

from pydantic import Field, create_model

from gateway.north.contract import (
    ClockFound,
    Command,
    Event,
    Events,
    Read,
    Resend,
    Shed,
    StoreNewEpoch,
)

MONEY = frozenset(
    (
        "account.open",
        "account.change",
        "account.close",
        "account.swap_meter",
        "topup",
        "topup.reverse",
        "adjust",
        "tariff.put",
        "reading.rule",
        "statement",
        "reconcile",
        "journal.resend",
        "voucher",
        "emergency",
    )
)
"""The orders of prepayment, by name: its models would take memory."""
SWITCHING = frozenset(
    (
        "relay.trip",
        "relay.close",
        "relay.protect",
        "disconnect.request",
        "disconnect.approve",
        "disconnect.cancel",
        "delegate",
        "approval.revoke",
        "protect.remove",
        "notice.served",
        "calendar.put",
        "shed",
        "shed.end",
        "stop",
        "resume",
        "mass.release",
        "dry_run",
    )
)
"""The orders of switching, by name."""


@cache
def command_of(*, money: bool = True, switching: bool = True) -> type[Command]:
    """The model of a command to a gateway that has these parts."""
    orders: Any = Resend | Read
    if money:
        from gateway.north.contract_orders import MoneyOrder  # noqa: PLC0415 - see above

        orders |= MoneyOrder
    if switching:
        from gateway.north.contract_switching import SupplyOrder  # noqa: PLC0415 - likewise

        orders |= SupplyOrder
    order: Any = Annotated[orders, Field(discriminator="name")]
    return create_model(
        "Command",
        __base__=Command,
        __doc__=Command.__doc__,
        command=(order, ...),
    )


@cache
def events() -> type[Events]:
    """The model of every event there is, for whoever reads them."""
    from gateway.north.contract_money import MoneyFact  # noqa: PLC0415 - see above
    from gateway.north.contract_supply import SupplyFact  # noqa: PLC0415 - likewise

    facts: Any = Event | Shed | StoreNewEpoch | ClockFound | MoneyFact | SupplyFact
    fact: Any = Annotated[facts, Field(discriminator="code")]
    return create_model(
        "Events",
        __base__=Events,
        __doc__=Events.__doc__,
        event=(fact, ...),
    )
