"""A gateway's journal as a head-end keeps it, from the messages alone: chain, sums, digests.

Every transaction is made into its record again and hashed, as the contract of the topic ``journal``
says: an outsider can follow the chain.  What came before is recognised and must be the same.

Amounts are 1/10,000 yuan and Wh.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

OF_CUSTOMER = frozenset(("prepaid", "debt", "emergency", "metered", "charged", "unpriced"))
GENESIS = bytes(32)


class ChainError(Exception):
    """A journal that a gateway sent is not one journal."""


class JournalBook:
    """The journal of one gateway."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, str]] = Counter()
        """By ledger and account, or part of a shared ledger."""
        self.kinds: Counter[str] = Counter()
        self.digest: dict[str, Any] = {}
        """The last that came."""
        self._hashes = [GENESIS]

    @property
    def number(self) -> int:
        """Of the last transaction."""
        return len(self._hashes) - 1

    @property
    def head(self) -> bytes:
        """Its hash."""
        return self._hashes[-1]

    def take(self, message: Mapping[str, Any]) -> None:
        """Book a message of the topics ``journal`` or ``digest``.  Raises ChainError."""
        if "sums" in message:
            self.digest = dict(message)
            self._compare(message)
        for transaction in message.get("transactions", ()):
            self._book(transaction)

    def total(self, ledger: str) -> int:
        """What a ledger has over all accounts."""
        return sum(amount for (name, _), amount in self.sums.items() if name == ledger)

    def _book(self, transaction: Mapping[str, Any]) -> None:
        number = transaction["number"]
        if number > self.number + 1:
            raise ChainError(f"transaction {number} follows {self.number}")
        record = _record(transaction)
        made = hashlib.sha256(self._hashes[number - 1] + "\n".join(record).encode()).digest()
        if made.hex() != transaction["hash"]:
            raise ChainError(f"transaction {number}: its hash does not fit")
        if number <= self.number:
            if self._hashes[number] != made:
                raise ChainError(f"transaction {number} came with two contents")
            return
        self._hashes.append(made)
        self.kinds[transaction["kind"]] += 1
        for one in transaction["postings"]:
            self.sums[one["ledger"], one["account"]] += _amount(one)

    def _compare(self, digest: Mapping[str, Any]) -> None:
        """The digest speaks of the journal up to its number: all of that must be here."""
        number = digest["number"]
        if number > self.number or (number and self._hashes[number].hex() != digest["head"]):
            raise ChainError(f"the digest of {digest['day']} is of another journal")
        if number == self.number:
            for one in digest["sums"]:
                if _amount(one) != self.total(one["ledger"]):
                    raise ChainError(f"{digest['day']}: {one['ledger']} is not the messages' sum")


def _amount(one: Mapping[str, Any]) -> int:
    return int(Decimal(one["amount"]).scaleb(3 if one["unit"] == "kWh" else 4))


def _ms(instant: str) -> str:
    since = datetime.fromisoformat(instant) - datetime(1970, 1, 1, tzinfo=UTC)
    return str(since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000)


def _record(transaction: Mapping[str, Any]) -> list[str]:
    spans = [part for one in transaction["spans"] for part in _span(one)]
    postings = [part for one in transaction["postings"] for part in _posting(one)]
    return [
        str(transaction["number"]),
        _ms(transaction["recorded"]),
        transaction["clock"],
        transaction["kind"],
        transaction["key"],
        transaction["account"],
        _ms(transaction["effective"]),
        transaction["tariff"],
        "\t".join(spans),
        str(transaction.get("reverses", "")),
        transaction["detail"],
        "\t".join(postings),
    ]


def _span(one: Mapping[str, str]) -> tuple[str, ...]:
    return one["meter"], one["after"], one["to"]


def _posting(one: Mapping[str, str]) -> tuple[str, ...]:
    part = "" if one["ledger"] in OF_CUSTOMER else one["account"]
    return one["ledger"], part, str(_amount(one))
