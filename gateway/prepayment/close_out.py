"""What becomes of the money when an account was closed (销户) and its last day is charged."""

from gateway.prepayment import drafts
from gateway.prepayment.account import Account
from gateway.prepayment.ledger import Balances, Draft, Kind, Ledger, Posting, check
from gateway.prepayment.money import FEN_E4, round_to
from gateway.prepayment.statement import CLOSING


def close_out(
    account: Account, balances: Balances, channel: str, at: float, *, pay_out: bool
) -> list[Draft]:
    """The transactions that settle a closed account, once however often they are built.

    Emergency credit and old debt are paid out of ``prepaid``; what is owed beyond it remains as
    debt.  What is left is refunded through ``channel``, in whole fen, or kept if not ``pay_out``.
    ``at`` is Unix time.
    """
    number, key = account.number, f"{CLOSING}{account.number}"
    found = _set_off(account, balances, at)
    left_e4 = balances[Ledger.PREPAID] + balances[Ledger.EMERGENCY] + balances[Ledger.DEBT]
    if left_e4 <= 0 or not pay_out:
        return found
    refund_e4 = round_to(left_e4, FEN_E4)
    if refund_e4 != left_e4:
        found.append(
            drafts.adjustment(
                account=number,
                key=f"{key}:rounding",
                effective=at,
                amount_e4=refund_e4 - left_e4,
                against=Ledger.ROUNDING,
            )
        )
    if refund_e4:
        found.append(
            drafts.refund(
                account=number,
                key=f"{key}:refund",
                effective=at,
                channel=channel,
                amount_e4=refund_e4,
            )
        )
    return found


def _set_off(account: Account, balances: Balances, at: float) -> list[Draft]:
    """Between the customer's own ledgers: all that is left in one, all that is owed in another."""
    left_e4 = balances[Ledger.PREPAID] + balances[Ledger.EMERGENCY] + balances[Ledger.DEBT]
    wanted_e4 = {
        Ledger.PREPAID: max(left_e4, 0),
        Ledger.EMERGENCY: 0,
        Ledger.DEBT: min(left_e4, 0),
    }
    postings = tuple(
        Posting(ledger, account.number, e4 - balances[ledger])
        for ledger, e4 in wanted_e4.items()
        if e4 != balances[ledger]
    )
    if not postings:
        return []
    draft = Draft(
        kind=Kind.TRANSFER,
        key=f"{CLOSING}{account.number}:set_off",
        account=account.number,
        effective=at,
        postings=postings,
    )
    check(draft)
    return [draft]
