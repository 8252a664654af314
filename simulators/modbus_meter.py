"""A Modbus meter of any model in config/meters: its profile says which register holds what.

Values are those of a simulated customer; what a customer has none of (the version of a firmware) is
0, and the ratios of transformers are 1.  Refused are functions that the profile does not use
("illegal function"), registers that are neither a point's nor in a gap that the profile calls
readable, reads longer than the model allows, registers of points that it has not ("illegal data
address"), and writing, but for the writes that its file's ``[relay]`` names.

Not supported: functions that ``protocols.modbus`` does not know: they stay unanswered.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from protocols import modbus
from protocols.base import RequestError
from protocols.exchanges import RegisterSource
from protocols.modbus_requests import BITS
from protocols.modbus_texts import TIMES
from protocols.model import ModbusProfile
from protocols.relay import RegisterRelay, Write
from simulators.household import Household, in_steps
from simulators.meter import RIGHT, Meter, MeterClock, Settings
from simulators.relay import SimRelay
from simulators.relay_scenarios import NORMAL, Behaviour

Numbered = tuple[modbus.Request, int]
"""A request, and its transaction number (0 on RTU)."""
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """In what a meter differs from others of its model."""

    serial_number: int | None = None
    """What it shows as such."""
    refuses: Collection[str] = ()
    """Points that it does not have."""
    relay: Behaviour = NORMAL


ORDINARY = Quirks()


class ModbusMeter(Meter):
    """One meter.  ``unit`` is its address; ``tcp`` says that it speaks Modbus TCP, not RTU."""

    def __init__(
        self,
        unit: int,
        household: Household,
        profile: ModbusProfile,
        *,
        settings: Settings | None = None,
        delay_s: float = 0.03,
        tcp: bool = False,
        clock: MeterClock = RIGHT,
        quirks: Quirks = ORDINARY,
    ) -> None:
        """Its relay, if the model has one, does as ``quirks.relay`` says."""
        delivered = Settings(profile.line.baud, profile.line.parity)
        find = _find_tcp if tcp else _find_rtu
        super().__init__(str(unit), settings or delivered, find, delay_s, clock)
        self._unit = unit
        self._household = household
        self._codec = modbus.tcp if tcp else modbus.rtu
        self._layout = profile.layout
        self._serial_number = quirks.serial_number or 20_260_000 + unit
        self._model = profile.relay if isinstance(profile.relay, RegisterRelay) else None
        self._written: tuple[Write, ...] = ()
        if self._model:
            self.relay = SimRelay(quirks.relay)
            self.relay.feeds(lambda at, on: household.supply.switch(self.clock.shows(at), on=on))
        self._sources: dict[int, dict[int, RegisterSource]] = {}
        """By function, then by every register that belongs to the value."""
        self._refused: dict[int, set[int]] = {}
        for point, source in profile.sources.items():
            registers = self._sources.setdefault(source.function, {})
            registers |= dict.fromkeys(source.span, source)
            if point in quirks.refuses:
                self._refused.setdefault(source.function, set()).update(source.span)

    def reply(self, request: Numbered, now: float) -> bytes | None:
        """Its answer; None if the request is for another unit."""
        asked, number = request
        if asked.unit != self._unit:
            return None
        if asked.values and self._model and self.relay:
            return self._write(asked, number, self._model, self.relay)
        if asked.function not in self._sources or asked.values:
            return self._codec.encode_exception(asked, ILLEGAL_FUNCTION, number)
        span = range(asked.register, asked.register + asked.count)
        registers = self._sources[asked.function]
        # The profile's gaps lie between values of one function.
        between = range(min(registers), max(registers))
        there = all(
            register in registers or (register in between and self._readable(register))
            for register in span
        )
        refused = self._refused.get(asked.function, set())
        if not refused.isdisjoint(span) or not there or asked.count > self._layout.max_registers:
            return self._codec.encode_exception(asked, ILLEGAL_ADDRESS, number)
        try:
            data = self._data(span, registers, now)
        except RequestError:  # the customer is too big for this meter's registers
            return self._codec.encode_exception(asked, DEVICE_FAILURE, number)
        if asked.function in BITS:
            data = _packed(data)
        return self._codec.encode_reply(asked, data, number)

    def _write(
        self, asked: modbus.Request, number: int, model: RegisterRelay, relay: SimRelay
    ) -> bytes | None:
        """What it says to a write: the relay's are carried out."""
        known = [write for writes in model.writes.values() for write in writes]
        write = Write(function=asked.function, register=asked.register, values=asked.values)
        if asked.function not in {each.function for each in known}:
            return self._codec.encode_exception(asked, ILLEGAL_FUNCTION, number)
        if write not in known:
            there = asked.register in {each.register for each in known}
            code = ILLEGAL_VALUE if there else ILLEGAL_ADDRESS
            return self._codec.encode_exception(asked, code, number)
        self._written = (*self._written, write)[-len(known) :]
        reply = self._codec.encode_reply(asked, number=number)
        for action, writes in model.writes.items():
            if self._written[-len(writes) :] == writes and relay.command(action):
                reply = self._codec.encode_exception(asked, DEVICE_FAILURE, number)
        return self._disguised(reply, asked, number, relay)

    def _disguised(
        self, reply: bytes, asked: modbus.Request, number: int, relay: SimRelay
    ) -> bytes | None:
        """What becomes of the answer to a relay command."""
        if relay.behaviour.mute:
            return None
        if relay.behaviour.wrong_echo:
            reply = self._codec.encode_reply(replace(asked, unit=asked.unit + 1), number=number)
        return reply[:-1] + bytes([reply[-1] ^ 0x55]) if relay.behaviour.noise else reply

    def _readable(self, register: int) -> bool:
        return any(register in gap for gap in self._layout.readable)

    def _data(self, span: range, registers: dict[int, RegisterSource], now: float) -> bytes:
        """The bytes of the registers; those in gaps are 0."""
        data = bytearray()
        values: dict[int, bytes] = {}
        for register in span:
            source = registers.get(register)
            if source is None:
                data += b"\0\0"
                continue
            first = source.register
            if first not in values:
                values[first] = source.encode(self._amount(source, now))
            data += values[first][2 * (register - first) :][:2]
        return bytes(data)

    def _amount(self, source: RegisterSource, now: float) -> int | str:
        """What the point shows, in its own resolution."""
        meaning, point = source.meaning, source.meaning.point
        if source.text_registers:
            return self._text(source, now)
        told = _of_relay(point.name, self.relay)
        if told is not None:
            return told
        if meaning.names:
            return meaning.names[0]
        if point.name in ("ct_ratio", "pt_ratio"):
            return int(10**point.decimals)
        if point.name == "serial_number":
            return self._serial_number
        behind = point.name.removeprefix("voltage_load_")
        name = point.name if behind == point.name else f"voltage_{behind}"
        supplied = name == point.name or self.relay is None or self.relay.load_voltage
        amount = (self._household.value(name, now) or 0) if supplied else 0
        # A meter without a sign shows power fed in as power drawn.
        amount = abs(amount) if source.type.startswith("u") else amount
        return in_steps(point.name, amount, point.unit, point.decimals)

    def _text(self, source: RegisterSource, now: float) -> str:
        if source.type in TIMES:
            return datetime.fromtimestamp(now, UTC).replace(tzinfo=None).isoformat(" ", "seconds")
        return f"S{self._unit}"[: 2 * source.text_registers] if source.type == "ascii" else "0"


def _of_relay(point: str, relay: SimRelay | None) -> int | str | None:
    """What a point of the relay shows; None if it is none.  Without a relay nothing is tripped."""
    if point in ("relay_state", "relay_command_state"):
        if relay is None:
            return "closed"
        is_open = relay.told_open if point == "relay_state" else relay.commanded_open
        return "tripped" if is_open else "closed"
    if relay is None:
        return None
    return {
        "relay_forced": int(relay.protected),
        "relay_fault": int(relay.faulty),
        "relay_load_voltage": int(relay.load_voltage),
        "forced_control_enable": int(bool(relay.received)),
    }.get(point)


def _packed(registers: bytes) -> bytes:
    """Registers of 0 and 1 as bits, the lowest of the first byte first."""
    packed = bytearray((len(registers) // 2 + 7) // 8)
    for n, bit in enumerate(registers[1::2]):
        packed[n // 8] |= bit << n % 8
    return bytes(packed)


def _find_rtu(buffer: bytes) -> tuple[Numbered | None, int]:
    request, used = modbus.rtu.find_request(buffer)
    return (request, 0) if request else None, used


def _find_tcp(buffer: bytes) -> tuple[Numbered | None, int]:
    request, used, number = modbus.tcp.find_request(buffer)
    return (request, number) if request else None, used
