"""What to send to a meter's relay, what to read around it, and what the answers mean.

The same functions for every model; a profile's ``relay`` says what differs.  The reply to a
command says "accepted" and no more, so the state is read back after ``relay.settle_s``, and whether
the load follows shows in current, power and energy.

Not supported: a Modbus relay has no deadline in its frames; who sends it must not send it late.
DL/T 645 has no item for the voltage behind a relay: such a meter itself refuses to close onto it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time

from protocols import dlt645, modbus
from protocols.base import NotOneMeterError, RequestError, Value
from protocols.dlt645_relay import VALID_S_MAX, DeadlineError, switch
from protocols.model import Profile
from protocols.relay import Action, ControlRelay, RegisterRelay, RelayStatus

_STATE = (
    "relay_state", "relay_command_state", "relay_forced", "relay_pre_trip_alarm", "prepay_mode",
    "relay_fault", "relay_load_voltage", "voltage_load_l1n", "voltage_load_l2n", "voltage_load_l3n",
)  # fmt: skip
_LOAD_SIDE = ("voltage_load_l1n", "voltage_load_l2n", "voltage_load_l3n")
_IDENTITY = ("serial_number", "meter_number")
_CLOCK = ("meter_time", "meter_date", "meter_clock")
_ENERGY = ("energy_active_import", "energy_active_total")
_LOAD = (
    "power_active", "current_l1", "current_l2", "current_l3",
    "voltage_l1n", "voltage_l2n", "voltage_l3n",
)  # fmt: skip
LOAD_VOLTAGE_V = 50
"""From here on voltage behind an open relay is one; below nobody is hurt by it.  Source: the limit
of touch voltage, IEC 61140."""
_LATE = time(23, 58)
"""From here on a date and a time of day that were read apart may belong to two days."""

Request = dlt645.Request | modbus.Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayPoints:
    """The points of a model that tell what must be known around switching; each may be empty."""

    state: tuple[str, ...]
    """For ``relay_status``."""
    load_side: bool
    """Some of them tell whether there is voltage behind the relay."""
    identity: tuple[str, ...]
    """Which meter this is: its communication address, or the number that its maker gave it."""
    clock: tuple[str, ...]
    """For ``meter_time``."""
    load: tuple[str, ...]
    """Energy first (the register that grows), then power, currents, voltages."""


def relay_points(profile: Profile) -> RelayPoints:
    """What to read of a meter of this model: give them to ``profile.plan``."""
    there = set(profile.points)
    energy = next((point for point in _ENERGY if point in there), None)
    load = tuple(point for point in _LOAD if point in there)
    return RelayPoints(
        state=tuple(point for point in _STATE if point in there),
        load_side=bool(there & {"relay_load_voltage", *_LOAD_SIDE}),
        identity=tuple(point for point in _IDENTITY if point in there),
        clock=tuple(point for point in _CLOCK if point in there),
        load=(energy, *load) if energy else load,
    )


def relay_requests(
    profile: Profile,
    address: str,
    action: Action,
    meter_time: datetime | None = None,
    *,
    valid_s: int = VALID_S_MAX,
    minutes: int = 0,
    operator: bytes | None = None,
) -> tuple[Request, ...]:
    """The requests that tell one meter's relay to do ``action``, to be sent in this order.

    ``meter_time`` is the meter's own clock as just read, ``valid_s`` how long the command lives
    from then on; ``minutes`` the duration of a trip that ends by itself; ``operator`` who did it,
    four bytes for the meter's records.

    Raises NotOneMeterError (R01), DeadlineError (R05), KeyServiceError (level 98), RequestError for
    an action that the model does not have.
    """
    relay = profile.relay
    if isinstance(relay, ControlRelay):
        return (
            switch(
                address,
                action,
                relay,
                meter_time,
                valid_s=valid_s,
                minutes=minutes,
                operator=operator,
            ),
        )
    if not isinstance(relay, RegisterRelay) or action not in relay.writes:
        raise RequestError(f"{profile.model} at {address} cannot be told to {action}; see [relay]")
    if problem := profile.check_address(address):
        raise NotOneMeterError(f"a relay is switched at one meter only: {problem}")
    if not 1 <= valid_s <= VALID_S_MAX:
        raise DeadlineError(f"meter {address}: a relay command lives 1 to {VALID_S_MAX} s")
    return tuple(write.request(int(address)) for write in relay.writes[action])


def relay_status(profile: Profile, values: Mapping[str, Value]) -> RelayStatus:
    """What the values of ``relay_points(profile).state`` say, as far as they were read and good."""

    def said(point: str) -> int | str | None:
        return values[point].amount if point in values else None

    def flag(point: str, word: int | str = 1) -> bool | None:
        found = said(point)
        return None if found is None else found == word

    prepays = said("prepay_mode")
    return RelayStatus(
        open=flag("relay_state", "tripped"),
        commanded_open=flag("relay_command_state", "tripped"),
        measured=profile.relay is not None and profile.relay.measured,
        button=profile.relay is not None and profile.relay.button,
        pre_trip_alarm=flag("relay_pre_trip_alarm"),
        protected=flag("relay_forced"),
        prepays=None if prepays is None else str(prepays),
        fault=flag("relay_fault"),
        load_voltage=_load_voltage(flag("relay_load_voltage"), values),
    )


def _load_voltage(told: bool | None, values: Mapping[str, Value]) -> bool | None:
    """Whether there is voltage behind the relay: as told, or by what is measured in any phase."""
    measured = [values[name] for name in _LOAD_SIDE if name in values]
    found = [told] if told is not None else []
    found += [
        one.amount >= LOAD_VOLTAGE_V * 10**one.decimals
        for one in measured
        if isinstance(one.amount, int)
    ]
    return any(found) if found else None


def meter_time(values: Mapping[str, Value]) -> datetime | None:
    """The meter's clock, in its local time, from the values of ``relay_points(profile).clock``.

    None if it was not read or is no time.  A date and a time of day read one after the other may
    belong to two days around midnight, so they count until 23:58 only; later, read them again.
    """
    texts = {name: value.amount for name, value in values.items() if isinstance(value.amount, str)}
    if "meter_time" in texts:
        return _moment(texts["meter_time"])
    if not texts.keys() >= {"meter_date", "meter_clock"}:
        return None
    found = _moment(f"{texts['meter_date']} {texts['meter_clock']}")
    return None if found is None or found.time() >= _LATE else found


def _moment(text: str) -> datetime | None:
    """``2026-01-02 w5 03:04:05`` or ``2026-01-02T03:04:05``."""
    parts = [part for part in text.replace("T", " ").split() if not part.startswith("w")]
    try:
        return datetime.fromisoformat(" ".join(parts))
    except ValueError:
        return None
