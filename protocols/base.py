"""What all protocols share: errors named after what the caller does next, and the Codec.

A codec is a set of functions over bytes (a module satisfies ``Codec``).  It owns no port, clock,
thread or log; it keeps nothing between two calls.  The line asks it four things: the bytes of a
request, what stands in the bytes heard so far, how long a reply may be, and whether a reply goes on
in another exchange.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar


class ProtocolError(Exception):
    """A meter could not be understood.  Catch this one to catch them all."""


class FrameError(ProtocolError):
    """The bytes are damaged, as a noisy line damages them.  Asking again may help."""

    def __init__(self, message: str, frame: bytes = b"") -> None:
        super().__init__(f"{message}; frame: {frame.hex(' ').upper() or 'none'}")
        self.frame = frame


class RequestError(ProtocolError):
    """The request cannot be put into a frame (a wrong address, say).  Ask differently."""


class NotOneMeterError(RequestError):
    """What changes a meter was addressed to all of them, or to whoever feels meant (R01)."""


class RefusedError(ProtocolError):
    """The meter understood the request and declined.

    ``permanent`` says whether asking again is pointless (no such data) or may help (busy);
    ``reasons`` names the reasons where the protocol has names for them (DL/T 645: RelayRefusal).
    """

    def __init__(
        self,
        address: str,
        request: str,
        code: int,
        meaning: str,
        hint: str,
        *,
        permanent: bool = True,
        reasons: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            f"meter {address} refused to {request}: {meaning} (error {code:02X}H); {hint}"
        )
        self.code = code
        self.permanent = permanent
        self.reasons = reasons


class Stray(StrEnum):
    """Why a frame on the line is not the answer we wait for.  It is counted and listened past."""

    ECHO = "echo"  # our own request, given back by the converter
    FOREIGN = "foreign"  # another meter's frame, or another master's
    LATE = "late"  # the right meter, but the answer to an earlier request
    NUMBER = "number"  # the answer, but for its transaction number (Modbus TCP)
    GARBLED = "garbled"  # the answer, but for its damaged data: two speak at once, or noise
    DAMAGED = "damaged"  # frame-like bytes with a wrong checksum


@dataclass(frozen=True, slots=True)
class Reply:
    """A meter's good answer to one request."""

    address: str
    """Who answered: the full address, also where the request used wildcards."""
    data: bytes
    """What was asked for, freed of all framing (DL/T 645: behind the identifier and the 33H
    offset; Modbus: the registers' bytes)."""
    more: bool = False
    """The answer goes on: ``Codec.follow_up`` gives the request for the rest."""


class Request(Hashable, Protocol):
    """What every codec's request has in common.  Frozen, so it can be a key."""

    @property
    def address(self) -> str:
        """Whom it is for, as in the configuration."""
        ...


R = TypeVar("R", bound=Request)


class Codec(Protocol[R]):
    """One protocol's functions over bytes.  ``number`` counts a line's exchanges (Modbus TCP's
    transaction identifier; the others ignore it).
    """

    def encode(self, request: R, number: int = 0) -> bytes:
        """The bytes to send.  Raises RequestError if the protocol cannot say this."""
        ...

    def decode(
        self, buffer: bytes, request: R, number: int = 0
    ) -> tuple[Reply | Stray | None, int]:
        """Find the next frame in ``buffer``, in any state of completeness.

        Returns the reply to ``request``, a Stray to be counted, or None while nothing is complete;
        and how many leading bytes are done with.  After a Stray the caller drops those bytes and
        asks again; noise in front of a frame counts as done with.

        Raises RefusedError if the meter declined this very request; nothing else, whatever the
        bytes.
        """
        ...

    def reply_size(self, request: R) -> int:
        """The most bytes a reply to ``request`` can have, for its deadline; 0: nobody answers."""
        ...

    def follow_up(self, request: R, reply: Reply) -> R | None:
        """The request for the rest of ``reply``, or None when nothing follows."""
        ...


class Quality(StrEnum):
    """What a value is worth."""

    GOOD = "good"
    ABSENT = "absent"  # the meter says: not there (FF.. in DL/T 645, a sentinel in Modbus)
    INVALID = "invalid"  # the bytes are no value of this format (non-BCD digits, NaN)


@dataclass(frozen=True, slots=True)
class Value:
    """One decoded value: an integer in steps of ``10**-decimals`` of ``unit``, or a text."""

    amount: int | str | None
    """None exactly where the quality is not good."""
    decimals: int = 0
    unit: str = ""
    quality: Quality = Quality.GOOD

    def text(self) -> str | None:
        """The exact decimal (``-0.05``), never through a float; a text as it is; None if absent."""
        if not isinstance(self.amount, int):
            return self.amount
        digits = f"{abs(self.amount):0{self.decimals + 1}d}"
        sign = "-" if self.amount < 0 else ""
        if not self.decimals:
            return sign + digits
        return f"{sign}{digits[: -self.decimals]}.{digits[-self.decimals :]}"
