"""Reads a tariff file: everything that is wrong with it at once, or a tariff that is right.

Right means that the tariff's own checks come out: each ``[[check]]`` is a usage and the charge that
it has to give.  A tariff that cannot reckon its own examples is refused whole.
"""

import json
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from typing import TypeVar, get_args

from gateway.prepayment.bill import bill
from gateway.prepayment.money import YUAN_E4, yuan
from gateway.prepayment.periods import Months
from gateway.prepayment.tariff import Tariff
from gateway.prepayment.tariff_file import (
    CheckTable,
    LossTable,
    Register,
    RoundingsTable,
    SettlementTable,
    StepsTable,
    Table,
    TariffTable,
)
from gateway.prepayment.tariff_parts import Parts, round_to
from gateway.prepayment.tariff_times import Notes, settlement_of, steps_of, windows_of
from gateway.prepayment.usage import UsageError
from gateway.prepayment.usage_file import read_usage

T = TypeVar("T", bound=Table)

TEXT_MAX_BYTES = 65_536
"""A larger file is refused before it is read."""


class TariffError(ValueError):
    """A tariff cannot be used.  The message lists everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def parse(text: str) -> Tariff:
    """The tariff in the text of a file.

    Raises TariffError with every problem: place, what was found, what to write.
    """
    notes = Notes()
    data = _toml(text)
    table = notes.table(TariffTable, data, "tariff")
    if table is None:
        raise TariffError(notes.problems)
    tariff = _build(table, _digest(data), notes)
    if notes.problems:
        raise TariffError(notes.problems)
    for n, check in enumerate(notes.rows(CheckTable, table.check, "check")):
        _check(tariff, check, f"check[{n}]", notes)
    if notes.problems:
        raise TariffError(notes.problems)
    return tariff


def _toml(text: str) -> dict[str, object]:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise TariffError([f"not text that can be written as UTF-8: {error}"]) from error
    if size > TEXT_MAX_BYTES:
        raise TariffError([f"{size} bytes; a tariff has at most {TEXT_MAX_BYTES}"])
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: Python refuses a number of 5000 digits by itself.
        raise TariffError([f"not valid TOML: {error}"]) from error


def _digest(data: Mapping[str, object]) -> str:
    """SHA-256 over the content, whatever the order of its keys, its spaces and comments."""
    canonical = json.dumps(
        data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str
    )
    return sha256(canonical.encode()).hexdigest()


def _build(table: TariffTable, digest: str, notes: Notes) -> Tariff:
    if table.valid_to is not None and table.valid_to < table.valid_from:
        notes.say("valid_to", f"found {table.valid_to}, before valid_from; write a later day")
    if table.example and not (table.source and table.source_date):
        notes.say("source", "missing; an example says where its prices come from, and source_date")
    registers = {rate: register for register, rate in table.registers.items()}
    if len(registers) < len(table.registers):
        notes.say("registers", "two registers count the same rate; write each rate once")
    for rate in registers.keys() & {"total", *get_args(Register)}:
        notes.say("registers", f"{rate!r} is the name of a register; give the rate its own")
    settlement = notes.table(SettlementTable, table.settlement, "settlement")
    period = settlement_of(settlement, notes) if settlement else Months()
    limits = None if table.steps is None else notes.table(StepsTable, table.steps, "steps")
    steps = steps_of(limits, period, notes) if limits else None
    parts = Parts(notes, registers, steps, steps is None and table.steps is not None)
    rows = notes.rows(LossTable, table.loss, "loss")
    losses = [parts.loss(row, f"loss[{n}]") for n, row in enumerate(rows)]
    rounding = notes.table(RoundingsTable, table.rounding, "rounding") or RoundingsTable()
    return Tariff(
        id=table.id,
        version=table.version,
        name=table.name,
        currency=table.currency,
        valid_from=table.valid_from,
        valid_to=table.valid_to,
        example=table.example,
        source=table.source,
        source_date=table.source_date,
        settlement=period,
        steps=steps,
        registers=registers,
        windows=windows_of(table, registers, notes),
        losses=tuple(loss for loss in losses if loss is not None),
        components=parts.components(table.component),
        usage_rounding=round_to(rounding.usage, 1000) if rounding.usage else None,
        line_rounding=round_to(rounding.line) if rounding.line else None,
        total_rounding=round_to(rounding.total),
        digest=digest,
    )


def _check(tariff: Tariff, check: CheckTable, where: str, notes: Notes) -> None:
    """One check of the tariff comes out to the last digit."""
    try:
        usage = read_usage(check.usage, tariff, f"{where}.usage")
    except UsageError as error:
        notes.problems += str(error).splitlines()
        return
    try:
        made = bill(tariff, usage)
    except UsageError as error:
        notes.say(f"{where}.usage", str(error))
        return
    if Fraction(check.charge) * YUAN_E4 != made.total_e4:
        lines = "; ".join(f"{line.label}: {made.formula(line)}" for line in made.lines)
        notes.say(
            f"{where}.charge",
            f"found {check.charge!r}, but it comes out at {yuan(made.total_e4)}; correct the prices"
            f" or the charge ({lines})",
        )
