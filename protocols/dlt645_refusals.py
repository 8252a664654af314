"""What a DL/T 645-2007 meter means when it declines: the bits of its error byte or word.

Source: DL/T 645-2007 annex C (ERR); the words of codes 03H (SERR) and 1CH are extensions filed by
State Grid.
"""

from dataclasses import dataclass
from enum import StrEnum

SECURITY, RELAY = 0x03, 0x1C


class RelayRefusal(StrEnum):
    """Why a meter does not switch: the bits of the error word of 1CH, from 0 up."""

    SUSPENDED = "suspended"
    MAC = "mac"  # it wants an encrypted command
    PASSWORD = "password"  # noqa: S105
    AUTHENTICATION = "authentication"  # likewise
    EXPIRED = "expired"  # the deadline is past, by the meter's own clock
    PROTECTED = "protected"  # 保电
    TIMED_PROTECTED = "timed_protected"  # likewise, of a trip that ends by itself
    DURATION = "duration"
    ALREADY_TRIPPED = "already_tripped"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error byte or word in words."""

    code: int
    meaning: str
    hint: str
    permanent: bool
    """Asking the same again is pointless until somebody changes something."""
    reasons: tuple[RelayRefusal, ...] = ()
    """Of 1CH alone."""


_ERR_PASSWORD = 0x04

# each bit from 0 up: its meaning, what to do
_Bits = tuple[tuple[str, str], ...]

_ERR: _Bits = (
    ("other error", "try again; if it stays, the meter does not do this now"),
    ("no such data", "take it out of the profile, or read the items of the block one by one"),
    ("password wrong or not authorised", "check the password, its level and the programming key"),
    ("rate cannot be changed", "keep the line at the meter's present rate"),
    ("too many seasons", "write fewer season zones"),
    ("too many day periods", "write fewer day periods"),
    ("too many tariffs", "write fewer tariffs"),
    ("reserved error bit 7", "ask the meter's maker what it means"),
)
_SERR: _Bits = (
    ("other error", "try again; if it stays, ask the meter's maker"),
    ("repeated top-up", "the money is already in the meter: read the purchase count"),
    ("ESAM verification failed", "the keys do not fit this meter"),
    ("identity authentication failed", "authenticate again"),
    ("customer number does not match", "check which customer this meter belongs to"),
    ("top-up count wrong", "read the purchase count and send the next one"),
    ("hoarding limit exceeded", "buy less at a time"),
    ("address abnormal", "check the meter's address"),
    ("meter suspended", "release the meter first"),
    ("restore failed", "ask the meter's maker"),
)
_RELAY_WORD: _Bits = (
    ("suspended", "release the meter first"),
    ("MAC wrong", "this meter needs the utility's key service"),
    (
        "password wrong or not authorised",
        "check the password and its level; newer meters trip by the utility's key service only",
    ),
    ("authentication timed out", "this meter needs the utility's key service"),
    ("time invalid or expired", "compare the meter's clock with ours"),
    ("trip refused: supply is protected", "end the protection first"),
    ("timed trip refused: supply is protected", "end the protection first"),
    ("duration invalid", "use 5 to 1275 minutes in steps of 5"),
    ("timed trip refused: already tripped", "close first"),
)


def refusal(function: int, data: bytes) -> Refusal:
    """Explain the data field of an abnormal reply (C3, D1..DC) to ``function``.  Never raises."""
    code = int.from_bytes(data[:2], "little")
    table = _ERR
    if function == SECURITY:
        table = _SERR
    elif function == RELAY and len(data) > 1:
        table = _RELAY_WORD
    bits = [bit for bit in range(16) if code >> bit & 1]
    known = [table[bit] for bit in bits if bit < len(table)]
    words = [meaning for meaning, _ in known]
    words += [f"unknown error bit {bit}" for bit in bits if bit >= len(table)]
    hints = list(dict.fromkeys(hint for _, hint in known))
    names = tuple(RelayRefusal)
    reasons = [names[bit] for bit in bits if bit < len(names)] if table is _RELAY_WORD else []
    if function == RELAY and table is _ERR and code & _ERR_PASSWORD:
        reasons = [RelayRefusal.PASSWORD]
    return Refusal(
        code=code,
        meaning=" and ".join(words) or "no reason given",
        hint="; ".join(hints) or "try again",
        permanent=any(0 < bit < len(table) and bit != 7 for bit in bits),
        reasons=tuple(reasons),
    )
