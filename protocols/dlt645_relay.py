"""The relay command of DL/T 645-2007 (control code 1CH, extension filed with State Grid).

    PA P0 P1 P2 | C0 C1 C2 C3 | N1 | N2 | ss mm hh DD MM YY

    PA.. C3     level and password, operator code (``Authority``)
    N1          the action: ``CODES``; some makers' devices have others
    N2          1DH, 1EH: the duration in steps of five minutes; else reserved
    ss..YY      until when the meter may obey, by its own clock (有效截止时间)

The reply 9CH means accepted, not moved; newer meters add a word on what they did.  DCH is a refusal
(dlt645_refusals.RelayRefusal).  A command is for one meter (R01) and dies within five minutes
(R05), so the meter's clock is read first.  Some makers' meters want a fixed date that never comes;
that is sent only to give supply: a trip that outlives its reason harms somebody.

Not supported: level 98, encrypted by a security module (ESAM) of the utility; DL/T 645-1997 has no
relay command.

Source: the extension's bytes as captured on real lines (tests/golden/dlt645-writes.txt).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from protocols.base import RequestError
from protocols.dlt645 import Request
from protocols.dlt645_control import Authority, one_meter
from protocols.dlt645_refusals import RELAY
from protocols.relay import TAKING, TIMED, Action, ControlRelay

VALID_S_MAX = 300
STEP_MINUTES, MINUTES_MAX = 5, 1275
CODES = {
    Action.TRIP: 0x1A,
    Action.ALLOW_CLOSE: 0x1B,
    Action.CLOSE: 0x1C,
    Action.TRIP_THEN_CLOSE: 0x1D,
    Action.TRIP_THEN_ALLOW: 0x1E,
    Action.ALARM_ON: 0x2A,
    Action.ALARM_OFF: 0x2B,
    Action.PROTECT_ON: 0x3A,
    Action.PROTECT_OFF: 0x3B,
}
"""N1 of each action."""
WORDS = {
    Action.TRIP: "trip",
    Action.ALLOW_CLOSE: "allow closing",
    Action.CLOSE: "close directly",
    Action.TRIP_THEN_CLOSE: "trip, then close by itself",
    Action.TRIP_THEN_ALLOW: "trip, then allow closing",
    Action.ALARM_ON: "alarm on",
    Action.ALARM_OFF: "alarm off",
    Action.PROTECT_ON: "protect the supply (保电)",
    Action.PROTECT_OFF: "end the protection (保电)",
}
"""Each action as people say it."""
_DONE = {
    0: "closed directly",
    1: "closing allowed",
    2: "tripped directly",
    3: "trip delayed: the delay is running",
    4: "tripped, to close by itself",
    5: "trip delayed: the current is too high",
    8: "supply protected",
    9: "protection ended",
    10: "alarm on",
    11: "alarm off",
}
STATUS_DI = "04000503"
"""Running status word 3 (电表运行状态字3), which tells the relay."""
_STATUS = (
    (0x0010, "relay open", "relay closed"),
    (0x0040, "told to be open", "told to be closed"),
    (0x0080, "trip announced", ""),
    (0x0100, "prepays energy", ""),
    (0x0200, "prepays money", ""),
    (0x1000, "supply protected", ""),
)
_SECURED = (0x98, 0x99)
_SIZE, _PLACE_CODE, _PLACE_UNTIL = 16, 8, 10


class DeadlineError(RequestError):
    """A relay command would carry no deadline, or a wrong one (R05)."""


class KeyServiceError(RequestError):
    """The meter takes this encrypted only (level 98): nothing here can make such a frame."""


@dataclass(frozen=True, slots=True)
class Control:
    """The data of one relay command."""

    authority: Authority
    code: int
    """N1."""
    number: int
    """N2."""
    until: bytes
    """ss mm hh DD MM YY, as on the wire."""

    def __bytes__(self) -> bytes:
        return bytes([*bytes(self.authority), self.code, self.number, *self.until])

    @property
    def action(self) -> Action | None:
        """What the standard means by the code; None if it has no such."""
        return next((action for action, code in CODES.items() if code == self.code), None)

    @property
    def endless(self) -> bool:
        """Whether the deadline is one that never comes: all 99 or all 00."""
        return set(self.until) in ({0x99}, {0x00})

    @property
    def deadline(self) -> datetime | None:
        """The deadline, by the meter's clock; None if it is none, or no time at all."""
        try:
            second, minute, hour, day, month, year = (int(f"{byte:02X}") for byte in self.until)
            return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
        except ValueError:
            return None

    @property
    def action_words(self) -> str:
        """The action as people say it."""
        if self.action is None:
            return f"unknown action {self.code:02X}H"
        minutes = STEP_MINUTES * self.number
        return WORDS[self.action] + (f" after {minutes} minutes" if self.action in TIMED else "")

    @property
    def deadline_words(self) -> str:
        """The deadline as people say it."""
        digits = self.until[::-1].hex().upper()
        return "no deadline" if self.endless else f"until {self.deadline or digits}"


def parse(data: bytes) -> Control | None:
    """What the data of a frame 1CH say, freed of the 33H offset; None if they are none."""
    if len(data) != _SIZE:
        return None
    code, number = data[_PLACE_CODE], data[_PLACE_CODE + 1]
    return Control(Authority(data[:4], data[4:8]), code, number, data[_PLACE_UNTIL:])


def done(data: bytes) -> tuple[str, ...]:
    """What a meter says it did, in words: the execution word in a reply 9CH, if there is one."""
    if len(data) != 2:
        return ()
    word = int.from_bytes(data, "little")
    bits = [bit for bit in range(16) if word >> bit & 1]
    return tuple(_DONE.get(bit, f"unknown bit {bit}") for bit in bits)


def status_words(word: int) -> str:
    """What status word 3 says of the relay, as the extension counts its bits."""
    words = [bit_set if word & mask else bit_clear for mask, bit_set, bit_clear in _STATUS]
    return ", ".join(filter(None, words))


def switch(
    address: str,
    action: Action,
    relay: ControlRelay,
    meter_time: datetime | None = None,
    *,
    valid_s: int = VALID_S_MAX,
    minutes: int = 0,
    operator: bytes | None = None,
) -> Request:
    """Tell the relay of one meter to do ``action`` within ``valid_s`` of ``meter_time``, its own
    clock as just read, in its local time.

    ``minutes`` is the duration of a trip that ends by itself; ``operator`` stands in the place of
    the profile's code, as the meter's records will show it.

    Raises NotOneMeterError for an address that is not one meter's, DeadlineError without a deadline
    of 1 s to 5 minutes, KeyServiceError for what needs level 98, RequestError for what the model
    cannot do.
    """
    one_meter(address)
    if action not in relay.codes:
        known = ", ".join(sorted(relay.codes))
        raise RequestError(f"meter {address} has no relay command {action}; it has {known}")
    if action in relay.secured or relay.authority.password[0] in _SECURED:
        raise KeyServiceError(
            f"meter {address} takes {action} encrypted only: it needs the utility's key service"
        )
    authority = Authority(relay.authority.password, operator or relay.authority.operator)
    until = _until(address, action, relay, meter_time, valid_s)
    number = _steps(address, minutes) if action in TIMED else relay.reserved
    control = Control(authority, relay.codes[action], number, until)
    return Request(address, RELAY, bytes(control))


def _until(
    address: str, action: Action, relay: ControlRelay, meter_time: datetime | None, valid_s: int
) -> bytes:
    if relay.close_expiry and action not in TAKING:
        return relay.close_expiry
    if not 1 <= valid_s <= VALID_S_MAX:
        raise DeadlineError(
            f"meter {address}: {action} for {valid_s} s; a relay command lives 1 to {VALID_S_MAX} s"
        )
    if meter_time is None:
        raise DeadlineError(
            f"meter {address}: {action} needs a deadline by the meter's own clock; read it first"
        )
    until = meter_time + timedelta(seconds=valid_s)
    if not 2000 <= until.year <= 2099:
        raise DeadlineError(
            f"meter {address}: its clock shows {meter_time:%Y-%m-%d}, which no deadline can say;"
            " set its clock first"
        )
    return bytes.fromhex(f"{until:%S%M%H%d%m%y}")


def _steps(address: str, minutes: int) -> int:
    steps, rest = divmod(minutes, STEP_MINUTES)
    if rest or not STEP_MINUTES <= minutes <= MINUTES_MAX:
        raise RequestError(
            f"meter {address} cannot trip for {minutes} minutes; use {STEP_MINUTES} to"
            f" {MINUTES_MAX} in steps of {STEP_MINUTES}"
        )
    return steps
