"""What a line's counters say is wrong with its wiring: one sentence for the technician.

Pure.  Counted over the last hour or so; the strongest sign is told, and nothing where there is too
little to go by.  Source of the signs: threads about RS-485 polarity, bias, termination and echoing
converters in libmodbus (#35, #283, #432), eModbus (#107, #420) and esp32ModbusRTU (#6, #20).
"""

from collections.abc import Mapping

from gateway.events import Fault, Sound
from protocols.base import Stray

ENOUGH = 5
"""Of anything, before something is said about it."""
MOST = 0.8
DAMAGED_SHARE = 0.02
"""Of the frames.  A rightly wired pair has none."""
FOREIGN_SHARE = 0.05

Counts = Mapping[Fault | Sound | Stray, float]


def diagnose(counts: Counts) -> str:
    """The sentence; empty for a line with nothing to say about."""
    for sign in (_numbered, _mute, _garbled, _damaged, _strange):
        if sentence := sign(counts):
            return sentence
    return ""


def _get(counts: Counts, *kinds: Fault | Sound | Stray) -> float:
    return sum(counts.get(kind, 0.0) for kind in kinds)


def _replies(counts: Counts) -> float:
    return _get(counts, Sound.SHORT, Sound.LONG)


def _numbered(counts: Counts) -> str:
    """Answers of a gateway that does its own numbering."""
    if _replies(counts) or _get(counts, Stray.NUMBER) < ENOUGH:
        return ""
    return (
        "all answers come with other transaction numbers than our requests: the gateway does its"
        ' own numbering; write transaction_ids = "ignored" for this line'
    )


def _mute(counts: Counts) -> str:
    """No reply, and hardly anything else either."""
    heard = _get(counts, Sound.NOISE, Sound.SHORT_DAMAGED, Sound.LONG_DAMAGED)
    if _replies(counts) or heard >= ENOUGH or _get(counts, Fault.SILENT) < ENOUGH:
        return ""
    if _get(counts, Stray.ECHO) >= ENOUGH:
        return (
            "only our own requests come back: the converter echoes, so it works; check the wires A"
            " and B behind it and whether the meters have supply"
        )
    return (
        "nothing is heard: check the supply of the meters, the wires A and B (swapped or cut), the"
        " addresses and the speed"
    )


def _garbled(counts: Counts) -> str:
    """Bytes, but no frame."""
    noise, flat = _get(counts, Sound.NOISE), _get(counts, Sound.FLAT)
    if _replies(counts) or noise < ENOUGH:
        return ""
    if flat >= MOST * noise:
        return (
            "only bytes 00 and FF are heard: A and B are swapped, or the pair has no bias"
            " resistors; swap the two wires at the adapter first"
        )
    return "only garbage is heard: check speed and parity, then termination and noise"


def _damaged(counts: Counts) -> str:
    """Frames that fail their checksum, by their size."""
    long, short = _get(counts, Sound.LONG_DAMAGED), _get(counts, Sound.SHORT_DAMAGED)
    replies = _replies(counts)
    share = (long + short) / max(1.0, long + short + replies)
    if long + short < ENOUGH or share < DAMAGED_SHARE:
        return ""
    if long >= MOST * (long + short) and _get(counts, Sound.SHORT) >= ENOUGH:
        return (
            f"{share:.0%} of the frames are damaged, nearly all of them long ones: check the"
            " termination (120 ohm at both ends), the length of the line and what disturbs it"
        )
    return (
        f"{share:.0%} of the frames are damaged: check termination, shield and common ground, and"
        " whether two meters share an address"
    )


def _strange(counts: Counts) -> str:
    """Good lines with others on them."""
    replies = _replies(counts)
    foreign, late = _get(counts, Stray.FOREIGN), _get(counts, Stray.LATE)
    if foreign >= max(ENOUGH, FOREIGN_SHARE * replies):
        return "frames that nobody here asked for: another master is on the line; take one away"
    if late >= max(ENOUGH, FOREIGN_SHARE * replies):
        return "answers come after their time: raise timeout_ms of the meters with late strays"
    idle = _get(counts, Sound.IDLE)
    if idle >= max(ENOUGH, replies):
        return "bytes are heard while nobody is asked: check the bias resistors and for noise"
    return ""
