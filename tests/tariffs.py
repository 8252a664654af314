"""Tariff files for tests, put together from parts, and the usages to bill by them."""

import json
from collections.abc import Mapping, Sequence

from gateway.prepayment.bill import Bill, bill
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.tariff_reader import parse
from gateway.prepayment.usage_file import read_usage

REGISTERS = ("t1", "t2", "t3", "t4", "t5", "t6")


def component(kind: str, **keys: object) -> str:
    """A ``[[component]]`` table."""
    return "[[component]]\n" + table(type=kind, **keys)


def table(**keys: object) -> str:
    """Key by key, as TOML; JSON's strings, numbers and lists are TOML's too."""
    return "".join(f"{key} = {_value(found)}\n" for key, found in keys.items())


def _value(found: object) -> str:
    if isinstance(found, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in found.items()) + " }"
    if isinstance(found, list | tuple):
        return "[" + ", ".join(_value(each) for each in found) + "]"
    return json.dumps(found, ensure_ascii=False)


def tariff_text(
    *components: str,
    rates: Sequence[str] = (),
    steps: str = "",
    more: str = "",
    head: str = "",
    check: str = "",
) -> str:
    """A whole file; its check is that nothing used on no day costs nothing, unless one is given."""
    registers = dict(zip(REGISTERS, rates, strict=False))
    nothing = {"kwh": dict.fromkeys(rates, "0") or "0", "days": 0, "demand_kw": "0"}
    nothing |= {"contract_kw": "0", "day": "2026-01-01"}
    parts = [
        'id = "test"\nversion = 1\nvalid_from = 2020-01-01\n',
        head,
        "" if "settlement" in head else 'settlement = { every = "month" }\n',
        f"registers = {_value(registers)}\n" if registers else "",
        f"[steps]\n{steps}" if steps else "",
        more,
        *components,
        check or "[[check]]\n" + table(usage=nothing, charge="0"),
    ]
    return "\n".join(parts)


def make(*components: str, **parts: object) -> Tariff:
    """The tariff of such a file."""
    return parse(tariff_text(*components, **parts))  # type: ignore[arg-type]


def charge(tariff: Tariff, **usage: object) -> Bill:
    """The bill for a usage as people write it."""
    return bill(tariff, read_usage(usage, tariff))
