"""The transactions there are: each function builds one kind, checked.

All take the idempotency key, the moment it became true (Unix time) and what a person wants to read
later (canonical JSON), and raise UnbalancedError for what may not be posted: nothing to move, an
amount with the wrong sign.  A reversal is built by ``ledger.reversal``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.prepayment.ledger import Draft, Kind, Ledger, Posting, Span, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a charge consists of."""

    lines_e4: Mapping[str, int]
    """The bill's lines by category: ``energy``, ``funds``.  Negative where we pay."""
    rounding_e4: int = 0
    """What rounding their sum added to it."""
    energy_wh: int = 0
    """Priced by those lines."""
    unpriced_wh: int = 0
    """Counted, but not priced yet; negative when an earlier one is priced now."""


def charge(
    *,
    account: str,
    key: str,
    effective: float,
    priced: Priced,
    tariff: str,
    spans: tuple[Span, ...],
    detail: str = "{}",
) -> Draft:
    """Energy used and what it costs, out of ``prepaid``.  Nothing used is posted too, as zero."""
    total_e4 = sum(priced.lines_e4.values()) + priced.rounding_e4
    revenue = [Posting(Ledger.REVENUE, name, e4) for name, e4 in priced.lines_e4.items() if e4]
    if priced.rounding_e4:
        revenue.append(Posting(Ledger.ROUNDING, "", priced.rounding_e4))
    counted_wh = priced.energy_wh + priced.unpriced_wh
    energy = [
        Posting(Ledger.METERED, account, -counted_wh, "Wh"),
        Posting(Ledger.CHARGED, account, priced.energy_wh, "Wh"),
    ]
    if priced.unpriced_wh:
        energy.append(Posting(Ledger.UNPRICED, account, priced.unpriced_wh, "Wh"))
    draft = Draft(
        kind=Kind.CHARGE,
        key=key,
        account=account,
        effective=effective,
        postings=(Posting(Ledger.PREPAID, account, -total_e4), *revenue, *energy),
        tariff=tariff,
        spans=spans,
        detail=detail,
    )
    check(draft)
    return draft


def top_up(
    *,
    account: str,
    key: str,
    effective: float,
    channel: str,
    shares_e4: Mapping[Ledger, int],
    detail: str = "{}",
) -> Draft:
    """Money that came in through ``channel``, by the customer's ledgers that it goes to."""
    shares = [(ledger, account, e4) for ledger, e4 in shares_e4.items() if e4]
    total_e4 = sum(shares_e4.values())
    postings = ((Ledger.CASH, channel, -total_e4), *shares)
    return _money(Kind.TOP_UP, key, account, effective, detail, *postings)


def top_up_of_nobody(
    *, claimed: str, key: str, effective: float, channel: str, amount_e4: int, detail: str = "{}"
) -> Draft:
    """Money for ``claimed``, an account that is not known here.  It waits in ``suspense``."""
    postings = ((Ledger.CASH, channel, -amount_e4), (Ledger.SUSPENSE, claimed, amount_e4))
    return _money(Kind.TOP_UP, key, "", effective, detail, *postings)


def fee(
    *, account: str, key: str, effective: float, category: str, amount_e4: int, detail: str = "{}"
) -> Draft:
    """A dated fee, out of ``prepaid``: the late penalty."""
    postings = ((Ledger.PREPAID, account, -amount_e4), (Ledger.REVENUE, category, amount_e4))
    return _money(Kind.FEE, key, account, effective, detail, *postings)


def emergency(
    *, account: str, key: str, effective: float, amount_e4: int, detail: str = "{}"
) -> Draft:
    """Emergency credit drawn; a negative amount pays it back out of ``prepaid``."""
    postings = ((Ledger.EMERGENCY, account, -amount_e4), (Ledger.PREPAID, account, amount_e4))
    return _money(Kind.EMERGENCY, key, account, effective, detail, *postings)


def adjustment(
    *,
    account: str,
    key: str,
    effective: float,
    amount_e4: int,
    ledger: Ledger = Ledger.PREPAID,
    against: Ledger = Ledger.WRITE_OFF,
    detail: str = "{}",
) -> Draft:
    """What a person approved: ``amount_e4`` into a customer's ledger.  ``detail`` says who, why."""
    postings = ((ledger, account, amount_e4), (against, "", -amount_e4))
    return _money(Kind.ADJUSTMENT, key, account, effective, detail, *postings)


def refund(
    *, account: str, key: str, effective: float, channel: str, amount_e4: int, detail: str = "{}"
) -> Draft:
    """Money given back out of ``prepaid`` through ``channel``."""
    postings = ((Ledger.PREPAID, account, -amount_e4), (Ledger.CASH, channel, amount_e4))
    return _money(Kind.REFUND, key, account, effective, detail, *postings)


def transfer(
    *, account: str, key: str, effective: float, part: str, amount_e4: int, detail: str = "{}"
) -> Draft:
    """Out of ``part`` of ``suspense`` into the account's ``prepaid``; a negative amount: back.

    From account to account: first into the part named after the receiver, then out of it.
    """
    postings = ((Ledger.SUSPENSE, part, -amount_e4), (Ledger.PREPAID, account, amount_e4))
    return _money(Kind.TRANSFER, key, account, effective, detail, *postings)


def _money(
    kind: Kind,
    key: str,
    account: str,
    effective: float,
    detail: str,
    *postings: tuple[Ledger, str, int],
) -> Draft:
    draft = Draft(
        kind=kind,
        key=key,
        account=account,
        effective=effective,
        postings=tuple(Posting(*posting) for posting in postings),
        detail=detail,
    )
    check(draft)
    return draft
