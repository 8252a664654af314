"""The cashier: carries out the orders about money, each in the transaction that remembers it.

A refusal changes nothing but the list of what was refused.  Everything looked at is read from the
file within the transaction, so a repeated or interrupted order finds either nothing or the whole.

Used by the core alone.
"""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta

from gateway.acquisition.days import end_of
from gateway.money.books import Books
from gateway.north import contract
from gateway.north import contract_orders as orders
from gateway.orders import Outcome
from gateway.prepayment import drafts, emergency
from gateway.prepayment import top_up as rules
from gateway.prepayment.account import Account
from gateway.prepayment.ledger import Draft, Ledger
from gateway.prepayment.money import MoneyError, parse_yuan, yuan
from gateway.prepayment.top_up import Early, Refused, Repeated
from gateway.prepayment.voucher import Key, VoucherError, accept
from gateway.prepayment.voucher_window import Tries
from gateway.store.accounts import Accounts
from gateway.store.refusals import Early as Waiting
from gateway.store.refusals import Refusal, Refusals
from gateway.store.vouchers import Vouchers

Trusted = Callable[[], bool]


class Cashier:
    """Top-ups and their reversals, vouchers, adjustments, emergency credit."""

    def __init__(
        self,
        books: Books,
        accounts: Accounts,
        refusals: Refusals,
        vouchers: Vouchers,
        voucher_keys: Mapping[int, Key],
        trusted: Trusted,
    ) -> None:
        """``trusted`` says whether our clock is."""
        self._books = books
        self._accounts = accounts
        self._refusals = refusals
        self._vouchers = vouchers
        self._voucher_keys = voucher_keys
        self._trusted = trusted

    # --- top-ups --------------------------------------------------------------------------------

    def top_up(self, order: orders.TopUp) -> Outcome:
        """Money for an account."""
        try:
            amount_e4 = parse_yuan(order.amount)
        except MoneyError as error:
            return self._refuse(order, order.payment, order.account, "amount", str(error))
        wanted = rules.TopUp(
            payment=order.payment,
            account=order.account,
            amount_e4=amount_e4,
            currency=order.currency,
            channel=order.channel,
            paid=contract.unix_s(order.paid),
        )
        found = self._top_up(wanted)
        if isinstance(found, Refused):
            return self._refuse(order, order.payment, order.account, found.why, found.reason)
        return self._posted(wanted, found)

    def _top_up(self, wanted: rules.TopUp) -> int | Repeated | Refused:
        """The number of the transaction, or why there is none."""
        account = self._accounts.current(wanted.account)
        balances = self._books.journal.balances(wanted.account)
        judged = rules.judge(
            wanted,
            account,
            balances,
            self._books.policy(account) if account else None,
            posted=self._books.journal.by_key(wanted.key),
            debt_paid_e4=self._debt_paid_e4(wanted) if balances[Ledger.DEBT] else 0,
        )
        if not isinstance(judged, Draft):
            return judged
        [posted] = self._books.post([judged])
        if waiting := self._refusals.early(wanted.payment):
            reason = json.loads(waiting.content)["reason"]
            early = rules.Reversal(payment=wanted.payment, reason=reason, at=waiting.at)
            undo = rules.judge_reversal(
                early,
                posted=posted.transaction,
                reversed_by=None,
                suspense_e4=wanted.amount_e4,
            )
            if isinstance(undo, Draft):
                self._books.post([undo])
            self._refusals.forget_early(wanted.payment)
        if account:
            self._books.look(account)
        return posted.transaction.number

    def _debt_paid_e4(self, wanted: rules.TopUp) -> int:
        monday, sunday = rules.week_of(self._books.day_of(wanted.paid))
        since = end_of(monday - timedelta(days=1), self._books.zone)
        found = self._books.journal.of_account(wanted.account)
        return rules.debt_paid_e4(found, since, end_of(sunday, self._books.zone))

    def _posted(self, wanted: rules.TopUp, found: int | Repeated) -> Outcome:
        number = found.number if isinstance(found, Repeated) else found
        posted = self._books.journal.transaction(number)
        data: dict[str, object] = {"transaction": number, "payment": wanted.payment}
        if isinstance(found, Repeated):
            data["repeated"] = True
        if posted and posted.draft.account:
            data["balance"] = yuan(self._books.journal.balances(wanted.account)[Ledger.PREPAID])
        else:
            data["suspense"] = f"no open account {wanted.account}; the money is kept in suspense"
        return Outcome("confirmed", data=data)

    def reverse(self, order: orders.TopUpReverse, wall: float) -> Outcome:
        """A payment is undone."""
        journal = self._books.journal
        posted = journal.by_key(f"top_up:{order.payment}")
        claimed = json.loads(posted.draft.detail)["account"] if posted else ""
        found = rules.judge_reversal(
            rules.Reversal(payment=order.payment, reason=order.reason, at=wall),
            posted=posted,
            reversed_by=journal.reversal_of(posted.number) if posted else None,
            suspense_e4=journal.part(Ledger.SUSPENSE, claimed) if posted else 0,
        )
        match found:
            case Refused(why, reason):
                return self._refuse(order, order.payment, claimed, why, reason)
            case Early(reason):
                content = json.dumps({"reason": order.reason}, ensure_ascii=False)
                self._refusals.remember(Waiting(order.payment, wall, content))
                return Outcome("confirmed", reason, {"early": True})
            case Repeated(number):
                return Outcome("confirmed", data={"transaction": number, "repeated": True})
        [undone] = self._books.post([found])
        if account := self._accounts.current(claimed):
            self._books.look(account)
        return Outcome("confirmed", data={"transaction": undone.transaction.number})

    # --- vouchers -------------------------------------------------------------------------------

    def voucher(self, order: orders.VoucherIn, wall: float) -> Outcome:
        """An offline voucher, typed in or scanned."""
        number = order.account
        tries = self._vouchers.tries(number)
        if wait_s := tries.wait_s(wall):
            reason = f"too many bad vouchers for this account; try again in {wait_s:.0f} s"
            return Outcome("refused", reason, {"code": "wait", "wait_s": round(wait_s)})
        year = self._books.day_of(wall).year if self._trusted() else None
        try:
            voucher, window = accept(
                order.text,
                number,
                self._voucher_keys,
                lambda key: self._vouchers.window(number, key),
                year=year,
            )
        except VoucherError as error:
            if error.bad_try:
                self._vouchers.set_tries(number, tries.failed(wall))
            return self._refuse(order, "", number, error.why, str(error))
        wanted = voucher.top_up(wall)
        found = self._top_up(wanted)
        if isinstance(found, Refused):
            return self._refuse(order, voucher.payment, number, found.why, found.reason)
        # Used with the money, or, where the payment had come already, all the same.
        self._vouchers.set_window(number, voucher.key, window)
        if tries.failures:
            self._vouchers.set_tries(number, Tries())
        return self._posted(wanted, found)

    # --- by hand --------------------------------------------------------------------------------

    def adjust(self, order: orders.Adjust, id_: str, by: str, wall: float) -> Outcome:
        """What a person approved."""
        account = self._accounts.current(order.account)
        if account is None:
            return self._unknown(order.account)
        try:
            amount_e4 = parse_yuan(order.amount)
        except MoneyError as error:
            return Outcome("refused", str(error))
        if not amount_e4:
            return Outcome("refused", "nothing to adjust: the amount is 0")
        draft = drafts.adjustment(
            account=account.number,
            key=f"adjust:{id_}",
            effective=wall,
            amount_e4=amount_e4,
            ledger=Ledger(order.ledger),
            detail=json.dumps({"by": by, "reason": order.reason}, ensure_ascii=False),
        )
        return self._by_hand(account, draft)

    def emergency(self, order: orders.Emergency, id_: str, wall: float) -> Outcome:
        """Draw the emergency credit."""
        account = self._accounts.current(order.account)
        if account is None:
            return self._unknown(order.account)
        policy = self._books.policy(account)
        if policy is None:
            return Outcome("refused", f"no policy {account.policy} here; see [[policy]]")
        balances = self._books.journal.balances(account.number)
        found = emergency.draw(account, balances, policy, id_, wall)
        if isinstance(found, Refused):
            return self._refuse(order, "", account.number, found.why, found.reason)
        return self._by_hand(account, found)

    def _by_hand(self, account: Account, draft: Draft) -> Outcome:
        [posted] = self._books.post([draft])
        self._books.look(account)
        balance_e4 = self._books.journal.balances(account.number)[Ledger.PREPAID]
        number = posted.transaction.number
        return Outcome("confirmed", data={"transaction": number, "balance": yuan(balance_e4)})

    def _unknown(self, number: str) -> Outcome:
        return Outcome("refused", f"no account {number} here; `taiqu account list` shows all")

    def _refuse(
        self, order: contract.Message, payment: str, account: str, code: str, reason: str
    ) -> Outcome:
        content = order.model_dump_json(exclude_none=True)
        self._refusals.add(
            Refusal(
                at=self._books.wall(),
                payment=payment,
                account=account,
                code=code,
                reason=reason,
                content=content,
            )
        )
        return Outcome("refused", reason, {"code": code})
