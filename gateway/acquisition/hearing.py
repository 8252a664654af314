"""What a line hears beside the answers it waits for: noise, and meters that speak out of turn.

Bytes are counted by kind (``Sound``), for the diagnosis of the line.  A frame that was no answer to
the exchange it came in may still be a sign of life of a meter that owes one: each such meter's
codec is asked whether the frame is the answer to its last request.  It is never believed as a
value.
"""

from collections import Counter
from collections.abc import Iterator

from gateway.acquisition.exchange import Exchange
from gateway.acquisition.sharing import Sharing
from gateway.events import LONG_BYTES, Sound
from protocols.base import RefusedError, Reply, Stray

KEPT_BYTES_MAX = 512
"""Of what was overheard, until it is judged: the newest."""
FLAT = b"\x00\xff"
"""What a swapped pair or a floating one makes of silence and of good bytes."""
WAKE_UP = b"\xfe"
"""Most replies of DL/T 645 meters begin with some of these (前导字节): no noise."""


class Hearing:
    """The ears of one line."""

    def __init__(self) -> None:
        self._owing: dict[str, Exchange] = {}
        """The last exchange of each meter that did not answer it."""
        self._overheard = bytearray()
        self.sharing = Sharing()
        self.sounds: Counter[Sound] = Counter()
        """Counted since they were last taken."""

    def idle(self, data: bytes) -> None:
        """Bytes came while nobody was asked."""
        self.sounds[Sound.IDLE] += len(data)
        self._noise(data)
        self._keep(data)
        self.sharing.idle(data)

    def over(self, exchange: Exchange, now: float, *, answered: bool) -> None:
        """An exchange has ended."""
        meter = exchange.task.job.meter
        self.sharing.over(exchange, now, answered=answered, owed=meter in self._owing)
        if answered:
            self._owing.pop(meter, None)
        else:
            self._owing[meter] = exchange
        self._keep(exchange.overheard)
        self.sounds += exchange.sounds
        broken = b"" if answered else bytes(exchange.heard)
        self._noise(bytes(exchange.noise).strip(WAKE_UP) + broken)
        if broken.strip(FLAT):
            long = len(broken) >= LONG_BYTES
            self.sounds[Sound.LONG_DAMAGED if long else Sound.SHORT_DAMAGED] += 1

    def alive(self) -> Iterator[tuple[str, Exchange]]:
        """The meters that have shown a sign of life, each with the exchange it did not answer."""
        overheard = bytes(self._overheard)
        self._overheard.clear()
        for meter in [meter for meter in self._owing if overheard]:
            if _is_from(overheard, self._owing[meter]):
                yield meter, self._owing.pop(meter)

    def take(self) -> Counter[Sound]:
        """The sounds since the last time."""
        sounds, self.sounds = self.sounds, Counter()
        return sounds

    def _noise(self, data: bytes) -> None:
        if data:
            self.sounds[Sound.NOISE] += len(data)
            self.sounds[Sound.FLAT] += sum(map(data.count, FLAT))

    def _keep(self, data: bytes | bytearray) -> None:
        if self._owing:
            self._overheard += data
            del self._overheard[:-KEPT_BYTES_MAX]


def _is_from(data: bytes, exchange: Exchange) -> bool:
    """Whether ``data`` holds a frame of the meter that this exchange asked."""
    codec, request = exchange.manners.codec, exchange.request
    while data:
        try:
            found, used = codec.decode(data, request, exchange.number)
        except RefusedError:
            return True
        if isinstance(found, Reply) or found in (Stray.LATE, Stray.NUMBER):
            return True
        if found is None or not used:
            return False
        data = data[used:]
    return False
