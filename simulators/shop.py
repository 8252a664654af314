"""A head-end that sells top-ups over a bad connection, and its own book of them.

Each sale is a payment.  It goes to the gateway as a signed command or as a voucher that somebody
types in there, or both; late, out of order, several times, under a new command id, too much at
once, for an account that nobody knows; some are undone, and the order to undo one may come first.
What the gateway answers is written down, whenever it comes: only that says what a sale has become.

No transport and no clock: ``due`` gives what reaches the gateway on a day, ``take`` gets what comes
back.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from simulators.journal_book import JournalBook
from simulators.seller import Seller, top_up
from simulators.vouchers import LETTERS, print_voucher

SALES_PER_ACCOUNT_DAY = 0.05
LATE_DAYS = 30
NOBODY = "9"
"""What the numbers of accounts that nobody has begin with."""


@dataclass(frozen=True, slots=True)
class Sale:
    """A payment."""

    payment: str
    account: str
    fen: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that reaches the gateway."""

    command: str
    """Its id."""
    payload: bytes
    typed: bool
    """By a technician into the letterbox; else it is a message."""


class Shop:
    """Sells for one gateway."""

    def __init__(
        self,
        seller: Seller,
        voucher_seed: bytes,
        gateway: str,
        accounts: Sequence[str],
        seed: int,
    ) -> None:
        """Vouchers are signed with ``voucher_seed``, as key 1."""
        self._seller = seller
        self._voucher_seed = voucher_seed
        self._gateway = gateway
        self._accounts = accounts
        self._draw = Random(f"{seed}/shop")
        self._vouchers: Counter[str] = Counter()
        self._pending: defaultdict[date, list[Delivery]] = defaultdict(list)
        self._commands = 0
        self.sales: dict[str, Sale] = {}
        self._of_payment: defaultdict[str, list[str]] = defaultdict(list)
        """The commands that bring a payment."""
        self._undoing: defaultdict[str, list[str]] = defaultdict(list)
        """The commands that undo it."""
        self.answers: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """To each command, as they came."""
        self.journal = JournalBook()
        self._seen: set[tuple[str, int]] = set()

    # --- selling ----------------------------------------------------------------------------------

    def sell(self, now: datetime) -> None:
        """The sales of a day."""
        draw = self._draw
        count = round(len(self._accounts) * SALES_PER_ACCOUNT_DAY * draw.uniform(0, 2))
        for n in range(count):
            account = draw.choice(self._accounts)
            if draw.random() < 0.01:
                account = f"{NOBODY}{account}"
            yuan = draw.choice((20, 50, 50, 100, 100, 100, 200, 200, 300, 950))
            sale = Sale(f"{now:%y%m%d}-{n}", account, yuan * 100 + draw.choice((0, 0, 1, 50)))
            self.sales[sale.payment] = sale
            self._send(sale, now)
            if draw.random() < 0.04:
                self._undo(sale, now)

    def due(self, day: date) -> list[Delivery]:
        """What reaches the gateway on a day, in any order."""
        found = self._pending.pop(day, [])
        self._draw.shuffle(found)
        return found

    def _send(self, sale: Sale, now: datetime) -> None:
        draw = self._draw
        way = draw.random()
        if way < 0.85:
            self._online(sale, now)
            if draw.random() < 0.1:
                self._online(sale, now)  # under another command id
        if way > 0.7:
            self._voucher(sale, now)

    def _online(self, sale: Sale, now: datetime) -> None:
        amount = f"{sale.fen // 100}.{sale.fen % 100:02d}"
        body = top_up(sale.payment, sale.account, amount, _instant(now))
        self._of_payment[sale.payment].append(self._order(body, now))

    def _undo(self, sale: Sale, now: datetime) -> None:
        body = {"name": "topup.reverse", "payment": sale.payment, "reason": "the bank recalls it"}
        self._undoing[sale.payment].append(self._order(body, now))

    def _order(self, body: Mapping[str, Any], now: datetime) -> str:
        # Some are of no use if they come too late.
        lasts = timedelta(days=5 if self._draw.random() < 0.05 else 1000)
        id_ = self._next_id()
        times = _instant(now), _instant(now + lasts)
        signed = self._seller.order(self._gateway, id_, *times, body)
        self._deliver(id_, signed, now)
        return id_

    def _voucher(self, sale: Sale, now: datetime) -> None:
        """Printed, and typed in at the gateway: rightly, or with a wrong letter first."""
        self._vouchers[sale.account] += 1
        number, year = self._vouchers[sale.account], now.year + 1
        text = print_voucher(
            self._voucher_seed, 1, sale.account, number, sale.fen, year, sale.payment
        )
        if self._draw.random() < 0.05:
            place = self._draw.choice([n for n, letter in enumerate(text) if letter != "-"])
            wrong = LETTERS[(LETTERS.index(text[place]) + 1) % len(LETTERS)]
            self._type(sale, text[:place] + wrong + text[place + 1 :], now)
        self._type(sale, text, now)

    def _type(self, sale: Sale, text: str, now: datetime) -> None:
        id_ = self._next_id()
        letter = {
            "id": id_,
            "issuer": "technician",
            "issued": _instant(now),
            "not_after": _instant(now + timedelta(days=1000)),
            "command": {"name": "voucher", "account": sale.account, "text": text},
        }
        self._of_payment[sale.payment].append(id_)
        self._deliver(id_, letter, now, typed=True)

    def _deliver(
        self, id_: str, command: Mapping[str, Any], now: datetime, *, typed: bool = False
    ) -> None:
        """Once, or several times; at once, or late."""
        draw = self._draw
        for n in range(draw.choice((1, 1, 1, 1, 2, 4))):
            late = draw.randint(0, LATE_DAYS) if n or draw.random() < 0.2 else 0
            # A letter comes as it is; a message may be written anew, with the same content.
            indent = draw.choice((None, 1)) if not typed else None
            payload = json.dumps(command, indent=indent).encode()
            day = now.date() + timedelta(days=late)
            self._pending[day].append(Delivery(id_, payload, typed))

    def _next_id(self) -> str:
        self._commands += 1
        return f"shop-{self._commands}"

    # --- what comes back --------------------------------------------------------------------------

    def take(self, payload: bytes) -> None:
        """Book a message from the gateway; one that came before changes nothing."""
        message = json.loads(payload)
        key = message["lane"], message["seq"]
        if key in self._seen:
            return
        self._seen.add(key)
        if "stage" in message:
            self.answers[message["id"]].append(message)
        self.journal.take(message)

    def counted_e4(self) -> Counter[str]:
        """By account, what was paid and not undone, as the answers say."""
        found: Counter[str] = Counter()
        for sale in self.sales.values():
            if self.counts(sale.payment):
                found[sale.account] += sale.fen * 100
        return found

    def counts(self, payment: str) -> bool:
        """Whether the gateway has taken a payment, and has not undone it."""
        return self._any(self._of_payment[payment]) and not self._any(self._undoing[payment])

    def unanswered(self) -> list[str]:
        """Commands without an answer."""
        every = [*self._of_payment.values(), *self._undoing.values()]
        return [id_ for ids in every for id_ in ids if id_ not in self.answers]

    def contradictions(self) -> list[str]:
        """Commands that were given two answers."""
        return [
            id_
            for id_, found in self.answers.items()
            if len({(one["stage"], json.dumps(one["data"], sort_keys=True)) for one in found}) > 1
        ]

    def _any(self, commands: Sequence[str]) -> bool:
        return any(
            one["stage"] == "confirmed" for id_ in commands for one in self.answers.get(id_, ())
        )


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
