"""Emergency credit (应急额度): a fixed sum when the balance is low, once until it is repaid.

It comes when it is asked for, from alert 1 on; or by itself at zero, where the policy says so.  The
next top-ups repay it first (top_up.py).  It is no gift: it stands as owed in a ledger of its own.

Source: GB SMETS2, emergency credit.
"""

from gateway.prepayment import drafts
from gateway.prepayment.account import Account, Mode, Policy
from gateway.prepayment.ledger import Balances, Draft, Ledger
from gateway.prepayment.money import yuan
from gateway.prepayment.top_up import Refused, Why

_PREPAID = (Mode.PREPAY_CUT, Mode.PREPAY_AGREEMENT)


def draw(
    account: Account, balances: Balances, policy: Policy, cause: str, at: float
) -> Draft | Refused:
    """Emergency credit for an account, or why there is none.

    ``cause`` names what asked for it, once: a command's id, or the transaction that emptied the
    balance.  ``at`` is Unix time.
    """
    if refused := _refused(account, balances, policy):
        return refused
    return drafts.emergency(
        account=account.number,
        key=f"emergency:{account.number}:{cause}",
        effective=at,
        amount_e4=policy.emergency_e4,
    )


def is_due(account: Account, balances: Balances, policy: Policy) -> bool:
    """Whether emergency credit is to be given by itself now."""
    empty = policy.emergency_automatic and balances[Ledger.PREPAID] <= 0
    return empty and _refused(account, balances, policy) is None


def _refused(account: Account, balances: Balances, policy: Policy) -> Refused | None:
    owed_e4, balance_e4 = -balances[Ledger.EMERGENCY], balances[Ledger.PREPAID]
    if not policy.emergency_e4 or account.mode not in _PREPAID or account.closed:
        reason = f"account {account.number} has no emergency credit"
        return Refused(Why.NO_EMERGENCY, reason)
    if owed_e4 > 0:
        reason = f"{yuan(owed_e4)} yuan of the last one are still owed; top up first"
        return Refused(Why.EMERGENCY_OWED, reason)
    if balance_e4 > policy.alert_1_e4:
        reason = f"{yuan(balance_e4)} yuan are left; it is for {yuan(policy.alert_1_e4)} and less"
        return Refused(Why.NOT_LOW, reason)
    return None
