"""What a head-end (主站) was sent, and whether anything was lost, repeated or changed on the way.

A numbered message is known by (gateway, epoch, lane, seq).  The ledger counts what came again
(duplicate), what came again with other content (conflict), and what should have come by now but did
not (gap); a ``shed`` event announces numbers that never will.  It knows the contract only as an
outsider does: JSON on topics ``taiqu/v1/<gateway>/<kind>``.

No transport, thread or clock: ``simulators.headend`` brings the messages.

Not supported: joining an epoch late; its numbers are expected from 1 on.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any, TypeGuard

ARRIVALS_MAX = 100_000
_TOPIC = re.compile("taiqu/v1/([A-Za-z0-9-]{1,32})/([a-z]{1,32})")


class Taken(StrEnum):
    """What a message turned out to be."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    STATE = "state"  # status, inventory, hello: how things stand, without a number
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Key:
    """Whose lane a number belongs to."""

    gateway: str
    epoch: str
    lane: str


@dataclass(frozen=True, slots=True)
class Last:
    """What is known of a meter: each point's newest value, and when anything was read last."""

    taken: str
    """ISO 8601, UTC, as in the message."""
    line: str
    address: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The ledger in numbers.  All is well when ``gaps`` and ``conflicts`` are 0."""

    messages: int
    """Numbered messages, each counted once."""
    readings: int
    meters: int
    duplicates: int
    conflicts: int
    gaps: int
    """Numbers below the highest seen that neither came nor were announced as shed."""
    shed: int
    unreadable: int
    epochs: int


@dataclass(slots=True)
class _Lane:
    contents: dict[int, bytes] = field(default_factory=dict)
    shed: set[int] = field(default_factory=set)
    last: int = 0
    """The highest number seen or announced."""
    upto: int = 0
    """All numbers up to here came, or were announced as shed."""

    def advance(self) -> None:
        while self.upto + 1 in self.contents or self.upto + 1 in self.shed:
            self.upto += 1

    def missing(self) -> Iterator[int]:
        numbers = range(self.upto + 1, self.last + 1)
        return (seq for seq in numbers if seq not in self.contents and seq not in self.shed)


class Ledger:
    """Takes messages in the order they arrive."""

    def __init__(self) -> None:
        self.lanes: dict[Key, _Lane] = {}
        self.meters: dict[str, Last] = {}
        """By asset number."""
        self.states: dict[tuple[str, str], dict[str, Any]] = {}
        """The newest status, inventory and hello: by gateway and kind."""
        self.events: deque[dict[str, Any]] = deque(maxlen=1000)
        self.results: dict[str, list[dict[str, Any]]] = {}
        """The results of each command, by its id, in order of arrival."""
        self.freezes: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """The readings of each daily freeze, by meter and day; one each if all is well."""
        self.grid: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """The readings of each moment of the grid, by meter and moment; one each if all is well."""
        self.completeness: dict[str, list[dict[str, Any]]] = {}
        """What was said of each day's freezes, in order of arrival."""
        self.restamps: list[tuple[Key, range, float]] = []
        """The numbers that were stamped by an unknown clock, and what to add to their times."""
        self._unstamped: deque[tuple[Key, int, dict[str, Any]]] = deque(maxlen=ARRIVALS_MAX)
        """Readings with such a time, and whose they are."""
        self.transactions: dict[tuple[str, int], list[dict[str, Any]]] = {}
        """The transactions of each gateway's journal, by number; one each if all is well."""
        self.digests: dict[str, list[dict[str, Any]]] = {}
        """Each gateway's daily digests, in order of arrival."""
        self.supply: dict[str, list[dict[str, Any]]] = {}
        """Each gateway's daily figures of switching, in order of arrival."""
        self.arrivals: deque[tuple[Key, int]] = deque(maxlen=ARRIVALS_MAX)
        """The new messages, in order of arrival."""
        self.counts: Counter[Taken] = Counter()
        self._readings = 0

    def take(self, topic: str, payload: bytes) -> Taken:
        """Book one message, and say what it turned out to be.  Never raises."""
        taken = self._take(topic, payload)
        self.counts[taken] += 1
        return taken

    def missing(self, key: Key) -> list[int]:
        """The numbers of a lane that should have come by now."""
        return list(self.lanes[key].missing()) if key in self.lanes else []

    def restamped(self) -> list[dict[str, Any]]:
        """The readings that came with an unknown time which is known by now, put right."""
        return [
            reading | {"taken": _moved(str(reading.get("taken")), offset_s), "clock": "holdover"}
            for key, seq, reading in self._unstamped
            for of, numbers, offset_s in self.restamps
            if of == key and seq in numbers
        ]

    def unsound(self, gateway: str) -> list[int]:
        """Numbers of a gateway's journal that are missing, or came with two contents."""
        last = max((n for name, n in self.transactions if name == gateway), default=0)
        numbers = range(1, last + 1)
        return [n for n in numbers if len(self.transactions.get((gateway, n), ())) != 1]

    def watermarks(self) -> dict[Key, int]:
        """Up to which number each lane is whole."""
        return {key: lane.upto for key, lane in self.lanes.items()}

    def summary(self) -> Summary:
        """How things stand."""
        return Summary(
            messages=self.counts[Taken.NEW],
            readings=self._readings,
            meters=len(self.meters),
            duplicates=self.counts[Taken.DUPLICATE],
            conflicts=self.counts[Taken.CONFLICT],
            gaps=sum(1 for lane in self.lanes.values() for _ in lane.missing()),
            shed=sum(len(lane.shed - lane.contents.keys()) for lane in self.lanes.values()),
            unreadable=self.counts[Taken.UNREADABLE],
            epochs=len({(key.gateway, key.epoch) for key in self.lanes}),
        )

    def _take(self, topic: str, payload: bytes) -> Taken:
        place = _TOPIC.fullmatch(topic)
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            return Taken.UNREADABLE
        if not place or not isinstance(message, dict) or message.get("gateway") != place[1]:
            return Taken.UNREADABLE
        if "seq" not in message:
            self.states[place[1], place[2]] = message
            return Taken.STATE
        key, seq = _key(place[1], message), message["seq"]
        if key is None or type(seq) is not int or seq < 1:
            return Taken.UNREADABLE
        lane = self.lanes.setdefault(key, _Lane())
        content = blake2b(payload, digest_size=8).digest()
        if seq in lane.contents:
            return Taken.DUPLICATE if lane.contents[seq] == content else Taken.CONFLICT
        lane.contents[seq] = content
        lane.last = max(lane.last, seq)
        lane.advance()
        self.arrivals.append((key, seq))
        self._book(key, seq, message)
        return Taken.NEW

    def _book(self, key: Key, seq: int, message: dict[str, Any]) -> None:
        """Keep what a new message says; what is not as the contract has it is passed over."""
        for reading in _tables(message.get("readings")):
            if reading.get("clock") == "unknown":
                self._unstamped.append((key, seq, reading))
            self._book_reading(reading)
        if "rate_read" in message:
            self.completeness.setdefault(str(message.get("day")), []).append(message)
        event = message.get("event")
        if isinstance(event, dict):
            self.events.append(event)
            if event.get("code") == "shed":
                self._strike(key, event)
            for one in _tables(event.get("restamp")):
                self._put_right(key, one)
        self._book_money(key.gateway, message)
        if "late_restores" in message:
            self.supply.setdefault(key.gateway, []).append(message)
        if isinstance(message.get("id"), str):
            self.results.setdefault(message["id"], []).append(message)

    def _book_reading(self, reading: dict[str, Any]) -> None:
        self._readings += 1
        frozen, grid = reading.get("frozen"), reading.get("grid")
        if isinstance(grid, dict):
            moment = (str(reading.get("meter")), str(grid.get("at")))
            self.grid.setdefault(moment, []).append(reading)
        if isinstance(frozen, dict):
            key_of = (str(reading.get("meter")), str(frozen.get("day")))
            self.freezes.setdefault(key_of, []).append(reading)
        elif not isinstance(grid, dict) or grid.get("source") == "live":
            self._keep(reading)

    def _book_money(self, gateway: str, message: dict[str, Any]) -> None:
        for transaction in _tables(message.get("transactions")):
            number = transaction.get("number")
            known = self.transactions.setdefault((gateway, number), []) if _whole(number) else []
            # What is sent again on request has another sequence number.
            if transaction not in known:
                known.append(transaction)
        if "sums" in message:
            self.digests.setdefault(gateway, []).append(message)

    def _keep(self, reading: dict[str, Any]) -> None:
        """A reading that comes late does not replace a newer value."""
        meter, taken = reading.get("meter"), reading.get("taken")
        values = reading.get("values", {})
        if not isinstance(meter, str) or not isinstance(taken, str) or not isinstance(values, dict):
            return
        known = self.meters.get(meter)
        newer = known is None or taken >= known.taken
        before = known.values if known else {}
        self.meters[meter] = Last(
            taken if newer or known is None else known.taken,
            str(reading.get("line", "")),
            str(reading.get("address", "")),
            before | values if newer else values | before,
        )

    def _put_right(self, key: Key, one: dict[str, Any]) -> None:
        """Numbers whose times are known now."""
        try:
            numbers = range(int(one["first"]), int(one["last"]) + 1)
            of = Key(key.gateway, key.epoch, str(one["lane"]))
            self.restamps.append((of, numbers, float(one["offset_s"])))
        except (KeyError, TypeError, ValueError):
            return

    def _strike(self, key: Key, event: dict[str, Any]) -> None:
        """Numbers that the gateway says will not come."""
        first, last, name = event.get("first"), event.get("last"), event.get("lane")
        if type(first) is int and type(last) is int and 1 <= first <= last < first + 10**7:
            epoch = str(event.get("of_epoch", key.epoch))
            lane = self.lanes.setdefault(Key(key.gateway, epoch, str(name)), _Lane())
            lane.shed.update(range(first, last + 1))
            lane.last = max(lane.last, last)
            lane.advance()


def _key(gateway: str, message: dict[str, Any]) -> Key | None:
    epoch, lane = message.get("epoch"), message.get("lane")
    return Key(gateway, epoch, lane) if isinstance(epoch, str) and isinstance(lane, str) else None


def _moved(taken: str, seconds: float) -> str:
    moment = datetime.fromisoformat(taken) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _whole(value: object) -> TypeGuard[int]:
    return type(value) is int


def _tables(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
