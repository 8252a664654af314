"""``taiqu journal export``: the journal as text that hledger and a person can read.

Every transaction with its number, its hash and what it refers to; at the end the balances that the
gateway keeps, as assertions: ``hledger check`` then adds everything up by itself.

Charges stand on the last day that they cover, everything else on the day of its effect.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

import click

from gateway.prepayment.ledger import OF_CUSTOMER, Ledger, Transaction, unit_of
from gateway.prepayment.money import yuan
from gateway.store.journal import JournalReader
from gateway.technician.stored import opened, store_options

HEAD = """\
; The journal of a taiqu gateway.  CNY is yuan; Wh is energy, counted as the meters counted it.
; hash = SHA-256 over the transaction and the hash of the one before.
decimal-mark .
commodity 1000.0000 CNY
commodity 1000. Wh
"""

_APART = re.compile(r"[\s:;]+")
"""What would end a name early in hledger's eyes."""


@click.group()
def journal() -> None:
    """Write the journal out for an auditor."""


@journal.command()
@store_options
@click.option(
    "--output",
    type=click.File("w", encoding="utf-8", lazy=False),
    default="-",
    metavar="FILE",
    help="Write there instead of to standard output.",
)
def export(path: Path, store: Path | None, output: TextIO) -> None:
    """Write the whole journal as text that hledger reads ("hledger -f FILE check")."""
    with opened(path, store) as (file, zone):
        reader = JournalReader(file)
        output.writelines(hledger(reader.all(), reader.all_balances(), zone))


def hledger(
    transactions: Iterable[Transaction], balances: dict[tuple[str, str], int], zone: ZoneInfo
) -> Iterator[str]:
    """The journal in hledger's format, transaction by transaction."""
    yield HEAD
    last = date.min
    for one in transactions:
        day = _day(one, zone)
        last = max(last, day)
        yield f"\n{day} * ({one.number}) {one.draft.kind} | {_APART.sub('_', one.draft.key)}\n"
        yield from (f"    ; {line}\n" for line in _notes(one, zone))
        for posting in one.draft.postings:
            name = _name(posting.ledger, posting.account)
            yield f"    {name}    {_amount(posting.ledger, posting.amount)}\n"
    if balances:
        yield f"\n{last} * the balances that the gateway keeps\n"
    for (ledger, account), amount in sorted(balances.items()):
        name, zero = _name(Ledger(ledger), account), _amount(Ledger(ledger), 0)
        yield f"    {name}    {zero} = {_amount(Ledger(ledger), amount)}\n"


def _day(one: Transaction, zone: ZoneInfo) -> date:
    if one.draft.spans:
        return max(span.to for span in one.draft.spans)
    return _moment(one.draft.effective, zone).date()


def _moment(unix: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(unix, UTC).astimezone(zone)


def _notes(one: Transaction, zone: ZoneInfo) -> Iterator[str]:
    draft = one.draft
    yield f"hash: {one.hash.hex()}"
    yield f"recorded: {_moment(one.recorded, zone).isoformat(timespec='seconds')} {one.clock}"
    if draft.tariff:
        yield f"tariff: {draft.tariff}"
    for span in draft.spans:
        yield f"meter: {span.meter} after {span.after} to {span.to}"
    if draft.reverses:
        yield f"reverses: {draft.reverses}"
    if draft.detail != "{}":
        yield f"detail: {draft.detail}"


def _name(ledger: Ledger, account: str) -> str:
    """``customer:1001:prepaid``, ``revenue:energy``."""
    part = _APART.sub("_", account)
    if ledger in OF_CUSTOMER:
        return f"customer:{part}:{ledger}"
    return f"{ledger}:{part}" if part else str(ledger)


def _amount(ledger: Ledger, amount: int) -> str:
    unit = unit_of(ledger)
    return f"{yuan(amount) if unit == 'CNY' else amount} {unit}"
