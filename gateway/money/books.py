"""The books: what is posted is told to the head-end in the same transaction; its effects follow.

Every room that moves money or energy posts here.  After its last posting it has the account looked
at: which alerts are due, whether emergency credit is given by itself.

Used by the core alone; all of it runs inside the caller's transaction.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from zoneinfo import ZoneInfo

from gateway.acquisition.days import day_of
from gateway.money.journal_messages import journal_messages
from gateway.north.contract_money import LowBalance
from gateway.prepayment import alerts, emergency
from gateway.prepayment.account import Account, Mode, Policy
from gateway.prepayment.close_out import close_out
from gateway.prepayment.forecast import forecast
from gateway.prepayment.ledger import Draft, Ledger, Transaction
from gateway.prepayment.money import yuan
from gateway.prepayment.rerate import costs
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.journal import Journal, Posted

REFUND = "refund"
"""The channel through which a closed account is paid out: the head-end pays."""


class Books:
    """The journal and the balances of one gateway."""

    def __init__(
        self,
        gateway: str,
        zone: ZoneInfo,
        policies: Mapping[str, Policy],
        reserve_days: int,
        journal: Journal,
        accounts: Accounts,
        recorder: Recorder,
        wall: Callable[[], float],
    ) -> None:
        """``reserve_days``: a low balance is told with what lasts for so many days more."""
        self._gateway = gateway
        self.zone = zone
        self._policies = policies
        self._reserve_days = reserve_days
        self.journal = journal
        self._accounts = accounts
        self._recorder = recorder
        self.wall = wall
        self.watcher: Callable[[Account], None] = lambda _account: None
        """Told of each account whose books or terms changed, in the same transaction."""
        self._untold: list[Transaction] = []
        """Posted in the present database transaction, and not yet in a message."""
        recorder.gathered = self._tell
        recorder.when_undone.append(self._untold.clear)

    def post(self, drafts: Iterable[Draft]) -> list[Posted]:
        """Post each, in order, and tell the head-end of those that are new.

        Raises what ``Journal.post`` raises.
        """
        clock = self._recorder.clock
        posted = [self.journal.post(draft, self.wall(), clock) for draft in drafts]
        self.tell(one.transaction for one in posted if not one.repeated)
        return posted

    def tell(self, transactions: Iterable[Transaction]) -> None:
        """Send transactions to the head-end, those of one database transaction together."""
        self._untold += transactions

    def _tell(self) -> None:
        untold = self._untold.copy()
        self._untold.clear()
        for build in journal_messages(self._gateway, self._recorder.epoch, untold):
            self._recorder.journal(build)

    def policy(self, account: Account) -> Policy | None:
        """The account's row of limits; None if the configuration has lost it."""
        return self._policies.get(account.policy)

    def look(self, account: Account) -> None:
        """See what the balance leads to, after the last posting of this transaction."""
        self._look(account)
        self.watcher(account)

    def _look(self, account: Account) -> None:
        policy = self.policy(account)
        if policy is None or account.mode in (Mode.MIRROR, Mode.POSTPAY):
            return
        balances = self.journal.balances(account.number)
        if emergency.is_due(account, balances, policy):
            cause = str(self.journal.head()[0])
            draft = emergency.draw(account, balances, policy, cause, self.wall())
            if isinstance(draft, Draft):
                self.post([draft])
                balances = self.journal.balances(account.number)
        balance_e4 = balances[Ledger.PREPAID]
        before = self._accounts.alert_state(account.number)
        state, rungs = alerts.judge(before, balance_e4, policy)
        if alerts.must_be_kept(before, state):
            self._accounts.set_alert_state(account.number, state)
        if rungs and not account.closed:
            self._tell_low(account, balance_e4, rungs[-1])

    def _tell_low(self, account: Account, balance_e4: int, rung: alerts.Rung) -> None:
        found = forecast(balance_e4, costs(self.journal.newest(account.number)), self._reserve_days)
        at, clock = self._recorder.stamp()
        self._recorder.fact(
            LowBalance(
                at=at,
                clock=clock,
                account=account.number,
                level=rung.value,
                balance=yuan(balance_e4),
                days_left=found.days_left if found else None,
                lasts_days=self._reserve_days if found and found.reserve_e4 else None,
                top_up=yuan(found.reserve_e4) if found and found.reserve_e4 else None,
            )
        )

    def close_out(self, account: Account, *, pay_out: bool) -> None:
        """Settle what is left or owed of an account that was closed and charged to its end."""
        balances = self.journal.balances(account.number)
        self.post(close_out(account, balances, REFUND, self.wall(), pay_out=pay_out))

    def day_of(self, moment: float) -> date:
        """The local day of a moment (Unix time)."""
        return day_of(moment, self.zone)
