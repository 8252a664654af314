"""The relay command (1CH) as a simulated DL/T 645-2007 meter takes it, and what it tells of its
relay: status word 3, how often and when it tripped and closed.

A command is checked as meters do it: the length, the password (too many wrong ones may lock it),
what is taken encrypted only, the deadline against the meter's own clock; then the relay decides.
"""

from datetime import datetime

from protocols.dlt645 import Frame, encode_frame, find_frame
from protocols.dlt645_control import Authority
from protocols.dlt645_refusals import RelayRefusal
from protocols.dlt645_relay import CODES, STEP_MINUTES, Control, parse
from protocols.relay import TIMED, ControlRelay
from simulators.household import Household
from simulators.relay import SimRelay

STANDARD_RELAY = ControlRelay(
    measured=True,
    button=True,
    settle_s=5,
    rest_s=10,
    authority=Authority(bytes.fromhex("02000000")),
    codes=CODES,
    secured=frozenset(),
    reserved=0,
    close_expiry=b"",
)
"""Level 02, password 00 00 00: how most makers deliver it."""
STATUS, TRIPS, CLOSES = "04000503", "1D00{:02X}01", "1E00{:02X}01"
OTHER, NOT_AUTHORISED = b"\x01", b"\x04"
"""The short form of a refusal, for frames that are no relay commands."""
_NAMES = tuple(RelayRefusal)


class Switch:
    """Between the frames of one meter and its relay; ``facts`` are what its memory shows."""

    def __init__(
        self,
        relay: SimRelay,
        model: ControlRelay,
        household: Household,
        facts: dict[str, int | str | None],
    ) -> None:
        self._relay = relay
        self._model = model
        self._household = household
        self._facts = facts
        self._actions = {code: action for action, code in model.codes.items()}
        self._kind = facts[STATUS]

    def obey(self, data: bytes, now: float) -> bytes | None:
        """Carry out the data of a frame 1CH; the refusal's data, or None where it is accepted.

        ``now`` is UTC seconds by the meter's own clock.
        """
        control = parse(data)
        if control is None:
            return NOT_AUTHORISED
        if control.code not in self._actions:
            return OTHER
        refused = self._refused(control, now)
        return None if refused is None else _word(refused)

    def _refused(self, control: Control, now: float) -> RelayRefusal | None:
        action = self._actions[control.code]
        right = control.authority.password == self._model.authority.password
        if not self._relay.unlocks(right=right) or action in self._relay.behaviour.secured:
            return RelayRefusal.PASSWORD
        if not control.endless:
            deadline = control.deadline
            if deadline is None or deadline < self._local(now):
                return RelayRefusal.EXPIRED
        if action in TIMED and control.number == 0:
            return RelayRefusal.DURATION
        return self._relay.command(action, STEP_MINUTES * control.number)

    def _local(self, now: float) -> datetime:
        """The meter's clock: whole seconds, and no zone."""
        return self._household.local(now).replace(tzinfo=None, microsecond=0)

    def disguised(self, reply: bytes, preamble: int) -> bytes | None:
        """What becomes of the answer to a relay command."""
        behaviour = self._relay.behaviour
        if behaviour.mute:
            return None
        if behaviour.wrong_echo:
            frame, _ = find_frame(reply)
            if frame:
                other = f"{(int(frame.address) + 1) % 10**12:012d}"
                reply = encode_frame(Frame(other, frame.control, frame.data), preamble)
        if behaviour.noise:
            reply = reply[:-2] + bytes([reply[-2] ^ 0x55]) + reply[-1:]
        return reply

    def moved(self, at: float, *, on: bool) -> None:
        """The contact moved at ``at``, by the meter's clock."""
        self._household.supply.switch(at, on=on)
        kind = CLOSES if on else TRIPS
        count = self._facts[kind.format(0)]
        self._facts[kind.format(0)] = (count if isinstance(count, int) else 0) + 1
        self._facts[kind.format(1)] = f"{self._local(at):%Y-%m-%d %H:%M:%S}"

    def tell(self) -> None:
        """Bring status word 3 up to date."""
        relay = self._relay
        bits = {
            4: relay.told_open,
            6: relay.commanded_open,
            7: relay.alarmed,
            12: relay.protected,
        }
        word = sum(1 << bit for bit, is_set in bits.items() if is_set)
        self._facts[STATUS] = (self._kind if isinstance(self._kind, int) else 0) | word


def _word(refused: RelayRefusal) -> bytes:
    return (1 << _NAMES.index(refused)).to_bytes(2, "little")
