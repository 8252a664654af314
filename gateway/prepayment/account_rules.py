"""How an account is opened, changed and closed, and its meter replaced: all mistakes named at once.

Each function takes the account as it is and gives the next version, or raises AccountError with
everything that is wrong.  Nothing here knows money: a replaced meter keeps it.

Protection is one-sided.  One person adds it and it holds at once; to take it away needs two, so
that stands in a function of its own, ``unprotect``; whoever calls it has seen both approvals.

Not supported: changing for the past what was charged already (a tariff, a capacity): that is a
correction of the charges, not of the account.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from itertools import pairwise

from gateway.prepayment.account import Account, Class, Contract, Metering, Mode, NoCut
from gateway.prepayment.validity import TOTAL

_NUMBER = re.compile(r"[A-Za-z0-9-]{1,32}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_RANK = {kind: rank for rank, kind in enumerate(Class)}
_PROTECTING = ("class_", "no_cut", "dispute", "mode")
_FIXED = ("number", "opened", "closed")


class AccountError(Exception):
    """An account may not become what was wanted.  The message lists everything that is wrong."""

    def __init__(self, number: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"account {number}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What an account may refer to."""

    policies: Collection[str]
    tariffs: Collection[str]
    meters: Collection[str]
    """Asset numbers of all configured meters."""
    prepaying: Collection[str] = ()
    """Of them those that count down a balance of their own."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    """The present version of every account there ever was, by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A meter was replaced (换表), or its ratio (倍率) changed: then ``new`` is ``old``."""

    old: str
    final: Mapping[str, int]
    """The old meter's last registers."""
    new: str
    start: Mapping[str, int]
    """The new meter's first registers."""
    day: date
    """The new one counts from this day's end on."""


def problems(account: Account, site: Site) -> list[str]:
    """All that is wrong with an account, each problem starting with the place."""
    return [
        *_own_problems(account),
        *_metering_problems(account),
        *_reference_problems(account, site),
        *_shared_meters(account, site),
    ]


def open_account(account: Account, site: Site) -> Account:
    """The first version of a new account.  Raises AccountError."""
    found = problems(account, site)
    if account.number in site.accounts:
        found.append("number: there is such an account; a number is never given twice")
    if account.closed:
        found.append("closed: an account is opened first; leave it out")
    found += [
        f"meterings[{n}].until: the meter counts from now on; leave it out"
        for n, metering in enumerate(account.meterings)
        if metering.until or metering.final
    ]
    return _next(account, 1, found)


def change(current: Account, wanted: Account, site: Site, today: date) -> Account:
    """The version after ``current``, with everything as in ``wanted``.

    What takes protection away is refused, see ``unprotect``.  Raises AccountError.
    """
    lowered = [
        f"{what}; to take protection away needs two persons: a request and an approval"
        for what in protection_lost(current, wanted, today)
    ]
    found = [*_change_problems(current, wanted, today), *lowered]
    found += _new_problems(current, wanted, site)
    return _next(wanted, current.version + 1, found)


def unprotect(current: Account, wanted: Account, site: Site) -> Account:
    """The version after ``current``, with less protection.

    Needs two persons: the caller has seen a request and an approval by different keys.  Nothing
    but protection may differ.  Raises AccountError.
    """
    keys = [one.name for one in fields(Account) if one.name not in ("version", *_PROTECTING)]
    found = [
        f"{key}: only protection may differ here; change it by itself"
        for key in keys
        if getattr(current, key) != getattr(wanted, key)
    ]
    return _next(wanted, current.version + 1, found + _new_problems(current, wanted, site))


def protection_lost(current: Account, wanted: Account, today: date) -> list[str]:
    """What of its protection an account would lose on the way from ``current`` to ``wanted``."""
    lost = []
    if _RANK[wanted.class_] < _RANK[current.class_]:
        lost.append(f"class: from {current.class_} to {wanted.class_}")
    if _last_day(wanted.no_cut, today) < _last_day(current.no_cut, today):
        lost.append(f"no_cut: from {_until(current.no_cut)} to {_until(wanted.no_cut)}")
    if current.dispute and not wanted.dispute:
        lost.append("dispute: settled")
    if current.mode is Mode.PREPAY_AGREEMENT and wanted.mode is not current.mode:
        lost.append(f"mode: from {current.mode} to {wanted.mode}")
    return lost


def swap(done: Swap, site: Site, today: date) -> list[Account]:
    """The next version of every account that ``done.old`` counts for; their money stays.

    Two where it is a sub-meter: one that pays for its energy and one that does not.
    Raises AccountError.
    """
    concerned = [one for one in site.accounts.values() if _active(one, done.old)]
    if not concerned:
        raise AccountError("?", [f"old: no account counts meter {done.old}; check its number"])
    swapped = {one.number: _swapped(one, done) for one in concerned}
    after = replace(site, accounts={**site.accounts, **swapped})
    for account in concerned:
        found = list(_end_problems(account, done.old, done.day, done.final, today))
        if found := found or _new_problems(account, swapped[account.number], after):
            raise AccountError(account.number, found)
    return list(swapped.values())


def close(
    current: Account, day: date, finals: Mapping[str, Mapping[str, int]], today: date
) -> Account:
    """The account closed (销户) at the end of ``day`` with the final registers of all its meters.

    What is left or owed is settled when the last day was charged: close_out.py.
    Raises AccountError.
    """
    found = [f"closed: it is closed since {current.closed}"] if current.closed else []
    running = {one.meter for one in current.meterings if one.until is None}
    found += [
        f"finals: meter {meter} does not count for this account; leave it out"
        for meter in sorted(finals.keys() - running)
    ]
    for meter in sorted(running):
        found += _end_problems(current, meter, day, finals.get(meter, {}), today)
    meterings = tuple(
        one if one.until else replace(one, until=day, final=dict(finals.get(one.meter, {})))
        for one in current.meterings
    )
    return _next(replace(current, closed=day, meterings=meterings), current.version + 1, found)


def _new_problems(current: Account, wanted: Account, site: Site) -> list[str]:
    """What is wrong with ``wanted`` alone.

    A limit or meter that has left the configuration must not keep anybody from adding protection.
    """
    old = problems(current, site)
    return [problem for problem in problems(wanted, site) if problem not in old]


def _next(account: Account, version: int, found: list[str]) -> Account:
    if found:
        raise AccountError(account.number, found)
    return replace(account, version=version)


def _active(account: Account, meter: str) -> bool:
    return any(one.meter == meter and one.until is None for one in account.meterings)


def _swapped(account: Account, done: Swap) -> Account:
    meterings = []
    for one in account.meterings:
        if one.meter != done.old or one.until:
            meterings.append(one)
            continue
        meterings.append(replace(one, until=done.day, final=dict(done.final)))
        meterings.append(
            Metering(meter=done.new, since=done.day, start=dict(done.start), minus=one.minus)
        )
    return replace(account, version=account.version + 1, meterings=tuple(meterings))


def _last_day(no_cut: NoCut | None, today: date) -> date:
    """Up to when a veto holds; one that has run out is worth as much as none."""
    if no_cut is None or (no_cut.until and no_cut.until < today):
        return date.min
    return no_cut.until or date.max


def _until(no_cut: NoCut | None) -> str:
    return "none" if no_cut is None else f"until {no_cut.until or 'removed'}"


def _change_problems(current: Account, wanted: Account, today: date) -> Iterator[str]:
    if current.closed:
        yield f"closed: it is closed since {current.closed}; open a new account"
    for key in _FIXED:
        if getattr(current, key) != getattr(wanted, key):
            yield f"{key}: it is {getattr(current, key)} and stays so"
    if current.mode is Mode.MIRROR and wanted.mode is not Mode.MIRROR:
        yield "mode: its days so far were paid at the meter; close it and open another account"
    if wanted.meterings[: len(current.meterings)] != current.meterings:
        yield "meterings: those there are stay as they are; meters are replaced by a swap"
    kept = len(current.meterings)
    for n, metering in enumerate(wanted.meterings[kept:], kept):
        if metering.until or metering.final:
            yield f"meterings[{n}].until: the meter counts from now on; leave it out"
    yield from _rewritten("tariffs", current.tariffs, wanted.tariffs, today)
    yield from _rewritten(
        "capacity_changes", current.capacity_changes, wanted.capacity_changes, today
    )
    if current.contract != wanted.contract:
        yield "contract: it is what was agreed at first; add the new one to capacity_changes"


def _rewritten(
    key: str,
    current: tuple[tuple[date, str | Contract], ...],
    wanted: tuple[tuple[date, str | Contract], ...],
    today: date,
) -> Iterator[str]:
    """What began before today was charged by already."""
    begun = [row for row in current if row[0] < today]
    if [row for row in wanted if row[0] < today] != begun:
        yield f"{key}: days before {today} cannot be changed any more; begin on {today} or later"


def _own_problems(account: Account) -> Iterator[str]:
    if not _NUMBER.fullmatch(account.number):
        yield f"number: found {account.number!r}; write 1 to 32 letters, digits or hyphens"
    if not _LANGUAGE.fullmatch(account.language):
        yield f"language: found {account.language!r}; write one like zh or en"
    if account.no_cut and not account.no_cut.reason.strip():
        yield "no_cut.reason: missing; write why this supply is protected"
    if account.closed and account.closed < account.opened:
        yield f"closed: {account.closed} lies before it was opened, {account.opened}"
    if not account.tariffs and account.mode is not Mode.MIRROR:
        yield "tariffs: none; write the first day and the tariff's id"
    for key, rows in (("tariffs", account.tariffs), ("capacity_changes", account.capacity_changes)):
        days = [day for day, _ in rows]
        if any(later <= earlier for earlier, later in pairwise(days)):
            yield f"{key}: the days are not in order; write each once, the earliest first"
    contracts = [account.contract, *(contract for _, contract in account.capacity_changes)]
    if any(one.capacity_va < 0 or one.demand_w < 0 for one in contracts):
        yield "contract: capacity or demand below zero; write 0 if it is not agreed"


def _metering_problems(account: Account) -> Iterator[str]:
    paid = [one for one in account.meterings if not one.minus]
    if not paid or (not account.closed and all(one.until for one in paid)):
        yield "meterings: no meter counts for it; give it one that is not a sub-meter taken off"
    if paid and account.tariffs:
        first = min(one.since for one in paid) + timedelta(days=1)
        if account.tariffs[0][0] > first:
            yield f"tariffs: the first meter counts from {first} on, the first tariff only later"
    for n, one in enumerate(account.meterings):
        where = f"meterings[{n}]"
        if one.since < account.opened - timedelta(days=1):
            yield f"{where}.since: {one.since} lies before the account, {account.opened}"
        if one.until and one.until <= one.since:
            yield f"{where}.until: {one.until} leaves no day after {one.since}"
        charged = account.mode is not Mode.MIRROR
        yield from _register_problems(f"{where}.start", one.start, needed=charged)
        yield from _register_problems(f"{where}.final", one.final, needed=charged and one.until)
        for other in account.meterings[:n]:
            if other.meter == one.meter and other.overlaps(one):
                yield f"{where}.meter: {one.meter} counts twice on the same days"


def _register_problems(
    where: str, registers: Mapping[str, int], *, needed: object
) -> Iterator[str]:
    if needed and TOTAL not in registers:
        yield f"{where}: no {TOTAL}; write what the meter showed"
    for name, amount in registers.items():
        if amount < 0:
            yield f"{where}.{name}: found {amount}; a register is not below zero"


def _end_problems(
    account: Account, meter: str, day: date, final: Mapping[str, int], today: date
) -> Iterator[str]:
    """Why a meter cannot stop counting at the end of ``day``."""
    running = next(one for one in account.meterings if one.meter == meter and one.until is None)
    if day <= running.since:
        yield f"day: meter {meter} counts from the end of {running.since} on; write a later day"
    if day > today:
        yield f"day: {day} has not ended; nobody knows its final registers"
    needed = account.mode is not Mode.MIRROR
    yield from _register_problems(f"final of meter {meter}", final, needed=needed)


def _reference_problems(account: Account, site: Site) -> Iterator[str]:
    if account.policy not in site.policies:
        yield f"policy: found {account.policy!r}; known: {_known(site.policies)}"
    for n, (_, tariff) in enumerate(account.tariffs):
        if tariff not in site.tariffs:
            yield f"tariffs[{n}]: found {tariff!r}; known: {_known(site.tariffs)}"
    for n, one in enumerate(account.meterings):
        if one.until is None and one.meter not in site.meters:
            yield f"meterings[{n}].meter: found {one.meter!r}; no such meter in the configuration"
        own = one.until is None and not one.minus and one.meter in site.prepaying
        if own and account.mode is not Mode.MIRROR:
            yield (
                f"meterings[{n}].meter: {one.meter} prepays by itself (status word 3); choose the"
                " mode mirror, or set the meter to remote fee control (远程费控)"
            )


def _known(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:12]) or "none"


def _shared_meters(account: Account, site: Site) -> Iterator[str]:
    """A meter counts for one account, and may be taken off one other."""
    for n, one in enumerate(account.meterings):
        for other in site.accounts.values():
            if other.number == account.number:
                continue
            for theirs in other.meterings:
                if (theirs.meter, theirs.minus) == (one.meter, one.minus) and theirs.overlaps(one):
                    verb = "taken off" if one.minus else "counted for"
                    yield f"meterings[{n}].meter: {one.meter} is {verb} account {other.number} too"
