"""``taiqu audit``: whether the journal is what it must be; every difference is one line.

Four ways, each by itself: SQLite checks its file with all indexes, the rows are verified as bytes
as at each start, every transaction is taken apart and looked at, and every charge is derived again
from its readings and its tariff.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import click

from gateway.prepayment.account import AccountTextError
from gateway.prepayment.audit import Audited, Finding
from gateway.prepayment.audit import audit as structure
from gateway.store.database import ReadOnly
from gateway.store.faults import StoreDamagedError
from gateway.store.journal import JournalReader
from gateway.store.verify import verify
from gateway.technician.derivation import derivation, starts
from gateway.technician.stored import opened, store_options

FINDINGS_SHOWN_MAX = 1000


def whole_file(file: ReadOnly) -> Iterator[Finding]:
    """What SQLite finds wrong with the file, indexes included."""
    for (text,) in file.rows("pragma integrity_check(100)"):
        if text != "ok":
            yield Finding("file", None, text)


CHECKS: tuple[Callable[[ReadOnly], Iterable[Finding]], ...] = (whole_file, verify)
"""What is checked besides the structure of the journal."""


def examine(file: ReadOnly, *, derive: bool = True) -> Audited:
    """All checks; what two of them found is told once."""
    findings = [finding for check in CHECKS for finding in check(file)]
    journal = JournalReader(file)
    try:
        begun = starts(file)
    except (StoreDamagedError, AccountTextError):
        begun = {}  # found below
    try:
        audited = structure(journal.all(), journal.transaction, journal.all_balances(), begun)
    except StoreDamagedError as error:
        early = Finding("L10", None, f"the audit ended early: {error}")
        audited = Audited(findings=(early,), transactions=0, postings=0, accounts=0, charged_wh=0)
    known = {(one.code, one.transaction) for one in findings if one.transaction is not None}
    findings += [one for one in audited.findings if (one.code, one.transaction) not in known]
    if derive:
        findings += derivation(file)
    return replace(audited, findings=tuple(dict.fromkeys(findings)))


@click.command()
@store_options
@click.option("--quick", is_flag=True, help="The journal alone; derive no charge again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def audit(path: Path, store: Path | None, *, quick: bool, as_json: bool) -> None:
    """Verify the journal: chain, sums, balances, reversals, the days each meter was charged for.

    Every charge is derived again from its readings, its account and its tariff, to the last digit.

    It only reads, also while the gateway runs.  Exit status 1 if anything differs.
    """
    with opened(path, store) as (file, _):
        audited = examine(file, derive=not quick)
    findings = audited.findings
    if as_json:
        click.echo(json.dumps(asdict(audited), ensure_ascii=False))
    else:
        click.echo(
            f"{audited.transactions} transactions, {audited.postings} postings,"
            f" {audited.accounts} accounts, {Decimal(audited.charged_wh).scaleb(-3):f} kWh charged"
        )
        for finding in findings[:FINDINGS_SHOWN_MAX]:
            click.echo(finding)
        click.echo(f"{len(findings)} differences" if findings else "no differences")
    if findings:
        sys.exit(1)
