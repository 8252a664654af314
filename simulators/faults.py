"""A faulty pair: it stands in front of a ``simulators.line.Line`` and has the same ``hear``.

What the wire does, to requests and to answers:

    bit_errors  a bit arrives as its opposite (chance per bit)
    lost, extra, doubled   one byte of a transmission is missing, too many, there twice
    echo, echo_part        the converter gives our request back, whole or from some byte on

What happens to an answer:

    split       it comes in pieces, with gaps of up to ``gap_s``
    tail        the end of an older answer is glued in front of it
    ghost       00 or FF in front of it, as when the direction turns
    noise       some bytes after it
    misread     its sender is at another speed or parity
    foreign     an answer of another meter comes first, or instead
    late        it comes ``late_s`` after its time at most, into whatever is said then
    silence     its meter says nothing for up to ``silence_s``
    babble      its meter does not stop to speak for up to ``babble_s``; nobody else is understood

``Faults.parse`` reads them from a text: ``late=0.02,silence=0.001,silence_s=60``, or ``all``.
The same seed gives the same faults.  ``FaultyLine.injected`` counts what really happened.

Not supported: parity checked by the receiver, transmissions that collide because one was late.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from random import Random

from simulators.line import Answer, Line
from simulators.meter import Settings
from simulators.uart import misread

Heard = list[tuple[float, bytes]]
TAIL_BYTES_MAX = 8
"""Shorter than any frame, so that no old answer comes whole."""
BABBLES = (b"", b"\x68", b"\x00", b"\xfe")
"""What a device says that does not stop; empty is anything at all."""
BABBLE_PIECE_S = 0.1


class FaultsError(Exception):
    """A text describes no faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each fault happens: chances of 0 to 1, and the longest durations in seconds."""

    bit_errors: float = 0.0
    lost: float = 0.0
    extra: float = 0.0
    doubled: float = 0.0
    echo: float = 0.0
    echo_part: float = 0.0
    split: float = 0.0
    tail: float = 0.0
    ghost: float = 0.0
    noise: float = 0.0
    misread: float = 0.0
    foreign: float = 0.0
    late: float = 0.0
    silence: float = 0.0
    babble: float = 0.0
    gap_s: float = 0.4
    late_s: float = 1.8
    silence_s: float = 120.0
    babble_s: float = 8.0

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """The faults that ``text`` names, parted by commas; ``all`` stands for a bit of each.

        Raises FaultsError with every problem in it.
        """
        known = {each.name for each in fields(cls)}
        problems: list[str] = []
        found: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = part.partition("=")
            if part == "all":
                found |= _SOME_OF_EACH
            elif name not in known:
                problems.append(f"unknown fault {name!r}; there are: all, {', '.join(_names())}")
            elif (value := _number(number)) is None or (value > 1 and not name.endswith("_s")):
                problems.append(f"{part!r}: write {name}=CHANCE, from 0 to 1 (seconds for ..._s)")
            else:
                found[name] = value
        if problems:
            raise FaultsError("; ".join(problems))
        return cls(**found)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in _names() if not name.endswith("_s"))

    def together(self, more: "Faults") -> "Faults":
        """Both together: the higher chance of each, the durations of ``more`` where it has any."""
        if not more:
            return self
        chances = [name for name in _names() if not name.endswith("_s")]
        return replace(more, **{n: max(getattr(self, n), getattr(more, n)) for n in chances})


def _names() -> tuple[str, ...]:
    return tuple(each.name for each in fields(Faults))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


_SOME_OF_EACH = {
    **{name: 0.01 for name in _names() if not name.endswith("_s")},
    "bit_errors": 1e-5,
    "silence": 0.001,
    "babble": 0.001,
}
NONE = Faults()


@dataclass(slots=True)
class _Sender:
    """What the pair remembers of a meter."""

    silent_until: float = -math.inf
    last: tuple[Settings, bytes] | None = None
    """Its last answer, and how it was sent."""


@dataclass(slots=True)
class FaultyLine:
    """``line`` with ``faults``; ``meters`` adds, by address, those of single meters."""

    line: Line
    faults: Faults
    random: Random
    meters: Mapping[str, Faults] = field(default_factory=dict)
    injected: Counter[str] = field(default_factory=Counter)
    """How often each fault happened; ``bit_errors`` counts bits."""
    _senders: dict[str, _Sender] = field(default_factory=dict)
    _tail: bytes = b""
    _babble_until: float = -math.inf

    def character_s(self, baud: int | None) -> float:
        """As ``Line`` has it."""
        return self.line.character_s(baud)

    def hear(
        self, data: bytes, now: float, baud: int | None = None, parity: str | None = None
    ) -> Heard:
        """What appears on the pair after ``data`` was sent, as ``Line`` has it.

        Seconds are negative for what appears while ``data`` is still being sent.
        """
        character_s = self.character_s(baud)
        begun_at = now - len(data) * character_s
        if begun_at < self._babble_until:
            return []  # two speak at once: no meter understands, and the babbler goes on
        appears = self._echo(data, character_s)
        for answer in self.line.answers(self._worn(data, self.faults), now, baud, parity):
            appears += self._answer(answer, now, character_s)
        return sorted(appears, key=lambda each: each[0])

    def _happens(self, kind: str, faults: Faults) -> bool:
        chance = getattr(faults, kind)
        happens = bool(chance) and self.random.random() < chance
        self.injected[kind] += happens
        return happens

    def _echo(self, data: bytes, character_s: float) -> Heard:
        if self._happens("echo", self.faults):
            return [(-len(data) * character_s, self._worn(data, self.faults))]
        if len(data) > 1 and self._happens("echo_part", self.faults):
            part = data[self.random.randrange(1, len(data)) :]
            return [(-len(part) * character_s, self._worn(part, self.faults))]
        return []

    def _answer(self, answer: Answer, now: float, character_s: float) -> Heard:
        """What becomes of one answer."""
        meter = answer.meters[0]
        faults = self.faults.together(self.meters.get(meter.address, NONE))
        sender = self._senders.setdefault(meter.address, _Sender())
        if now < sender.silent_until:
            return []
        if self._happens("silence", faults):
            sender.silent_until = now + self.random.uniform(0.1, 1.0) * faults.silence_s
            return []
        delay_s, data = answer.delay_s, answer.data
        sender.last = meter.settings, data
        appears: Heard = []
        others = self._others(meter.address, meter.settings)
        if others and self._happens("foreign", faults):
            foreign = self.random.choice(others)
            appears.append((delay_s, foreign))
            if self.random.random() < 0.5:
                return appears
            delay_s += len(foreign) * character_s + 0.02
        if self._happens("late", faults):
            # From one second on, what a gateway usually waits.
            delay_s += self.random.uniform(min(1.0, faults.late_s), faults.late_s)
        if self._happens("babble", faults):
            begins_s = delay_s + len(data) * character_s
            appears += self._babble(begins_s, now, character_s, faults)
        data = self._worn(self._disguised(data, meter.settings, faults), faults)
        return appears + self._pieces(delay_s, data, character_s, faults)

    def _others(self, address: str, settings: Settings) -> list[bytes]:
        """Answers that other meters gave at these settings."""
        known = [s.last for other, s in sorted(self._senders.items()) if other != address]
        return [last[1] for last in known if last and last[0] == settings]

    def _disguised(self, data: bytes, settings: Settings, faults: Faults) -> bytes:
        """An answer with what stands around it, or as nobody can read it."""
        old, self._tail = self._tail, data[-TAIL_BYTES_MAX:]
        if self._happens("misread", faults):
            other = "E" if settings.parity == "N" else "N"
            parity, speed = Settings(settings.baud, other), Settings(settings.baud * 2)
            data = misread(data, self.random.choice((parity, speed)), settings)
        if old and self._happens("tail", faults):
            data = old[-self.random.randint(1, TAIL_BYTES_MAX) :] + data
        if self._happens("ghost", faults):
            data = self.random.choice((b"\x00", b"\xff", b"\x00\x00")) + data
        if self._happens("noise", faults):
            data += self.random.randbytes(self.random.randint(1, 4))
        return data

    def _worn(self, data: bytes, faults: Faults) -> bytes:
        """``data`` after its way over the wire."""
        worn = bytearray(data)
        for bit in self._wrong_bits(8 * len(worn), faults.bit_errors):
            worn[bit // 8] ^= 1 << bit % 8
            self.injected["bit_errors"] += 1
        if worn and self._happens("lost", faults):
            del worn[self.random.randrange(len(worn))]
        if self._happens("extra", faults):
            worn.insert(self.random.randint(0, len(worn)), self.random.randrange(256))
        if worn and self._happens("doubled", faults):
            at = self.random.randrange(len(worn))
            worn.insert(at, worn[at])
        return bytes(worn)

    def _wrong_bits(self, bits: int, chance: float) -> Iterator[int]:
        """Which of ``bits`` are wrong: the distances between them are geometric."""
        bit = -1
        while chance > 0:
            distance = math.log(1 - self.random.random()) / math.log1p(-min(chance, 0.999_999))
            bit += 1 + int(min(distance, bits))
            if bit >= bits:
                return
            yield bit

    def _pieces(self, delay_s: float, data: bytes, character_s: float, faults: Faults) -> Heard:
        """The answer as it arrives: whole, or in up to four pieces."""
        if len(data) < 2 or not self._happens("split", faults):
            return [(delay_s, data)] if data else []
        count = min(self.random.randint(1, 3), len(data) - 1)
        cuts = [0, *sorted(self.random.sample(range(1, len(data)), count)), len(data)]
        appears = []
        for first, last in pairwise(cuts):
            appears.append((delay_s, data[first:last]))
            delay_s += (last - first) * character_s + self.random.uniform(0.01, faults.gap_s)
        return appears

    def _babble(self, begins_s: float, now: float, character_s: float, faults: Faults) -> Heard:
        """What a device says that does not stop, in small pieces."""
        seconds = self.random.uniform(0.1, 1.0) * faults.babble_s
        self._babble_until = now + begins_s + seconds
        size = max(1, int(BABBLE_PIECE_S / (character_s or 0.001)))
        same = self.random.choice(BABBLES)
        count = math.ceil(seconds / BABBLE_PIECE_S)
        return [
            (begins_s + n * BABBLE_PIECE_S, same * size or self.random.randbytes(size))
            for n in range(count)
        ]
