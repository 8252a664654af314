"""Charges as transactions, and back: what is posted for a part, where charging stands after it.

Whatever changes the past (a late reading, a ruling, a tariff announced late, a meter swap) is met
in one way: everything is derived again from the beginning, and from the first charge that differs
on the old ones are reversed and the new ones posted.  An audit is the same derivation, without a
difference.  Pure.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from gateway.prepayment import drafts
from gateway.prepayment.account import Account, Contract
from gateway.prepayment.forecast import LONG_DAYS, Charged
from gateway.prepayment.ledger import Draft, Kind, Ledger, Span, Transaction
from gateway.prepayment.segment import Segment
from gateway.prepayment.settle import (
    DAY,
    ROUNDING,
    Books,
    Doubt,
    Part,
    Position,
    advance,
    begin,
)
from gateway.prepayment.validity import ANY_METER, ANYTHING, Flag

AGAINST_USUAL = frozenset((Flag.JUMP, Flag.DROP))
"""Flags that depend on what the configuration calls usual, and bear on no amount."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def draft(account: Account, part: Part, generation: int, ends: Callable[[date], float]) -> Draft:
    """The transaction of one part.  ``ends`` gives the Unix time of a local day's end.

    ``generation`` counts the account's derivations: a charge that was reversed may come back as it
    was, and is another transaction.
    """
    lines = dict(part.charged)
    rounding_e4 = lines.pop(ROUNDING, 0)
    segment = part.position.segment
    return drafts.charge(
        account=account.number,
        key=f"charge:{account.number}:{generation}:{part.to.isoformat()}",
        effective=ends(part.to),
        priced=drafts.Priced(
            lines_e4=dict(sorted(lines.items())),
            rounding_e4=rounding_e4,
            energy_wh=part.used_wh - part.unpriced_wh,
            unpriced_wh=part.unpriced_wh,
        ),
        tariff=segment.tariff if segment else "",
        spans=_spans(account, part),
        detail=_detail(part, generation),
    )


def _spans(account: Account, part: Part) -> tuple[Span, ...]:
    return tuple(
        Span(one.meter, max(one.since, part.after), min(one.until or part.to, part.to))
        for one in account.meterings
        if one.since < part.to and (one.until is None or one.until > part.after)
    )


def _detail(part: Part, generation: int) -> str:
    position, segment = part.position, part.position.segment
    found: dict[str, object] = {
        "generation": generation,
        "read": [part.read[0].isoformat(), part.read[1].isoformat()],
        "flags": sorted(part.flags),
        "used": dict(position.used),
        "days": position.days,
        "before": position.step_before_wh,
        "posted": dict(position.posted),
        "recent": list(position.recent_wh),
    }
    if position.unpriced_wh:
        found["unpriced"] = position.unpriced_wh
    if position.demand_w is not None:
        found["demand_w"] = position.demand_w
    if position.steps_wh:
        found |= {"steps": list(position.steps_wh), "steps_before": list(position.step_used_wh)}
    if segment:
        found["segment"] = [
            segment.tariff,
            segment.first.isoformat(),
            segment.step.isoformat(),
            segment.contract.capacity_va,
            segment.contract.demand_w,
        ]
    return _ENCODER.encode(found)


@dataclass(frozen=True, slots=True)
class Stand:
    """What a charge says of itself."""

    position: Position
    generation: int
    read: tuple[date, date]
    flags: frozenset[Flag]


def stand(charge: Transaction) -> Stand:
    """Where charging stood after a charge."""
    found = json.loads(charge.draft.detail)
    segment = None
    if "segment" in found:
        tariff, first, step, capacity_va, demand_w = found["segment"]
        segment = Segment(
            tariff=tariff,
            first=date.fromisoformat(first),
            step=date.fromisoformat(step),
            contract=Contract(capacity_va=capacity_va, demand_w=demand_w),
        )
    position = Position(
        day=max(span.to for span in charge.draft.spans),
        segment=segment,
        used=found["used"],
        days=found["days"],
        demand_w=found.get("demand_w"),
        step_before_wh=found["before"],
        step_used_wh=tuple(found.get("steps_before", ())),
        steps_wh=tuple(found.get("steps", ())),
        posted=found["posted"],
        unpriced_wh=found.get("unpriced", 0),
        recent_wh=tuple(found["recent"]),
    )
    after, to = map(date.fromisoformat, found["read"])
    flags = frozenset(Flag(name) for name in found["flags"])
    return Stand(position, found["generation"], (after, to), flags)


def costs(newest_first: Iterable[Transaction]) -> list[Charged]:
    """What the last days of an account cost, newest first; enough of them for a forecast."""
    found: list[Charged] = []
    for one in standing(newest_first):
        after = min(span.after for span in one.draft.spans)
        to = max(span.to for span in one.draft.spans)
        prepaid_e4 = sum(p.amount for p in one.draft.postings if p.ledger is Ledger.PREPAID)
        found.append(Charged(after, to, -prepaid_e4))
        if (found[0].to - after).days >= LONG_DAYS:
            break
    return found


def standing(newest_first: Iterable[Transaction]) -> Iterator[Transaction]:
    """The charges that were not reversed, of the newest days first.

    What is reversed is always the end of them, so they are in the order of their days.
    """
    undone = set()
    for one in newest_first:
        if one.draft.reverses is not None:
            undone.add(one.draft.reverses)
        elif one.draft.kind is Kind.CHARGE and one.number not in undone:
            yield one


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin to derive charges again."""

    number: int
    """Of the charge it follows; 0: there is none before."""
    position: Position
    charges: list[Transaction]
    """Those behind it that stand, in the order of their days."""


@dataclass(frozen=True, slots=True)
class Rerated:
    """What has to be undone, and what to be posted instead."""

    kept: int
    """Number of the last charge that stays; 0: there is none."""
    undo: list[Transaction]
    """From the newest to the oldest."""
    parts: list[Part]
    doubts: list[Doubt]


def from_day(account: Account, newest_first: Iterable[Transaction], since: date) -> Start:
    """Where to begin to derive the days from ``since`` on again."""
    charges: list[Transaction] = []
    for charge in standing(newest_first):
        after = stand(charge)
        # Between two readings nothing is known: begin where there is one.
        if after.position.day < since and after.read[1] == after.position.day:
            return Start(charge.number, after.position, charges[::-1])
        charges.append(charge)
    return Start(0, begin(account), charges[::-1])


def rerate(account: Account, start: Start, days: Sequence[date], books: Books) -> Rerated:
    """Derive from ``start`` on again, by the readings of ``days``, and compare with its charges."""
    parts, _, doubts = advance(account, start.position, days, books)
    same, kept = 0, start.number
    for charge, part in zip(start.charges, parts, strict=False):
        if not _alike(account, charge, part):
            break
        same, kept = same + 1, charge.number
    return Rerated(kept, start.charges[same:][::-1], parts[same:], doubts)


def derived(account: Account, start: Start, books: Books) -> Rerated:
    """Derive the charges again from the very readings that they cite: no difference is right.

    What is possible and usual does not matter: those readings were judged when they came.
    """
    stands = [stand(one) for one in start.charges]
    days = sorted({one.read[1] for one in stands})
    sure = frozenset(one.read[1] for one in stands if Flag.JUMP in one.flags)
    limits = {
        one.meter: replace(ANY_METER, capacity_wh=books.limits[one.meter].capacity_wh)
        for one in account.meterings
        if one.meter in books.limits
    }
    looks = replace(books, confirmed=sure, usual=ANYTHING, limits=limits)
    return rerate(account, start, days, looks)


def refusal(
    refused: Mapping[str, Sequence[tuple[date, date]]],
) -> Callable[[str, date, date], bool]:
    """``Books.rates_refused`` by spans of days: by meter the first, and the first after it."""
    return lambda meter, after, to: any(
        max(first, after + DAY) <= min(to, end - DAY) for first, end in refused.get(meter, ())
    )


def _alike(account: Account, charge: Transaction, part: Part) -> bool:
    """Whether a charge is what the part would be, whatever is called usual by now."""
    said = stand(charge)
    flags = part.flags - AGAINST_USUAL | said.flags & AGAINST_USUAL
    part = replace(part, flags=flags)
    made = draft(account, part, said.generation, lambda _: charge.draft.effective)
    return made == replace(charge.draft, key=made.key)
