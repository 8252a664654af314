"""Transactions for tests: drafts of every kind, and a small ledger in dicts to compare with."""

from collections import Counter
from datetime import date, timedelta

from hypothesis import strategies as st

from gateway.prepayment.drafts import (
    Priced,
    adjustment,
    charge,
    emergency,
    fee,
    refund,
    top_up,
    top_up_of_nobody,
    transfer,
)
from gateway.prepayment.ledger import Draft, Kind, Ledger, Span, mirrors

NOON = 1_767_268_800.0
DAY = date(2026, 1, 1)
ACCOUNTS = ("1001", "1002", "户3")


def bought(account: str = "1001", key: str = "p1", amount_e4: int = 1_000_000) -> Draft:
    """A top-up of 100 yuan."""
    return top_up(
        account=account,
        key=f"top_up:{key}",
        effective=NOON,
        channel="wechat",
        shares_e4={Ledger.PREPAID: amount_e4},
        detail='{"payment":"p1"}',
    )


def used(account: str = "1001", day: int = 1, wh: int = 5_000, again: str = "") -> Draft:
    """The charge for one day of January."""
    end = DAY + timedelta(day - 1)
    return charge(
        account=account,
        key=f"charge:{account}:{end}{again}",
        effective=NOON + 86_400.0 * day,
        priced=Priced(lines_e4={"energy": wh * 5, "funds": wh // 7}, rounding_e4=3, energy_wh=wh),
        tariff="home/3",
        spans=(Span(f"M{account}", end - timedelta(1), end),),
    )


def drafts(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Draft]:
    """Any draft that may be posted, but reversals."""
    account, amount = st.sampled_from(ACCOUNTS), st.integers(1, 10**12)
    either = amount.flatmap(lambda e4: st.sampled_from((e4, -e4)))
    when = st.floats(0, 4e9)
    part = st.sampled_from(("wechat", "bank", "9999"))
    common = {"key": keys, "effective": when}
    shares = st.dictionaries(
        st.sampled_from((Ledger.PREPAID, Ledger.DEBT, Ledger.EMERGENCY)), amount, min_size=1
    )
    priced = st.builds(
        Priced,
        lines_e4=st.dictionaries(
            st.sampled_from(("energy", "funds", "export")), st.integers(-(10**12), 10**12)
        ),
        rounding_e4=st.integers(-99, 99),
        energy_wh=st.integers(-(10**9), 10**9),
        unpriced_wh=st.integers(-(10**9), 10**9),
    )
    span = st.integers(0, 400).map(lambda n: Span("M1", DAY + timedelta(n), DAY + timedelta(n + 1)))
    return st.one_of(
        st.builds(top_up, account=account, channel=part, shares_e4=shares, **common),
        st.builds(top_up_of_nobody, claimed=part, channel=part, amount_e4=amount, **common),
        st.builds(fee, account=account, category=part, amount_e4=amount, **common),
        st.builds(emergency, account=account, amount_e4=either, **common),
        st.builds(adjustment, account=account, amount_e4=either, **common),
        st.builds(refund, account=account, channel=part, amount_e4=amount, **common),
        st.builds(transfer, account=account, part=part, amount_e4=either, **common),
        st.builds(
            charge,
            account=account,
            priced=priced,
            tariff=st.just("home/3"),
            spans=st.lists(span, max_size=2).map(tuple),
            **common,
        ),
    )


class DictLedger:
    """The journal's rules, as simple as can be."""

    def __init__(self) -> None:
        self.posted: list[Draft] = []
        self.sums: Counter[tuple[str, str]] = Counter()

    def post(self, draft: Draft) -> str | int:
        """The number it has, or why it has none."""
        for number, before in enumerate(self.posted, 1):
            if before.key == draft.key:
                return number if before == draft else "key"
        if draft.reverses is not None:
            if not 0 < draft.reverses <= len(self.posted):
                return "reversal"
            original = self.posted[draft.reverses - 1]
            undone = any(before.reverses == draft.reverses for before in self.posted)
            if undone or original.kind is Kind.REVERSAL or not mirrors(draft, original):
                return "reversal"
        self.posted.append(draft)
        for posting in draft.postings:
            self.sums[posting.ledger, posting.account] += posting.amount
        return len(self.posted)
