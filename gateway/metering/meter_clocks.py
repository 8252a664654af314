"""The meters' clocks: compared with ours once a day, and set where the configuration says so.

While our clock is trusted, every DL/T 645 meter is asked for its own once a day
(gateway/acquisition/collection.py says when).  One that is off by more than ``clock_limit_s`` is
told to the head-end.  With ``clock_set_s`` the time is broadcast (广播校时, 08H) to the meters that
are further off than that: once a day for each speed and parity of a line, never around midnight.
Nobody answers, so the clocks that were off are read again, and what came of it is told.

That a day's broadcast was sent is noted in the store before it goes out: a crash in between costs a
day, and never sends it twice.

A meter that is off by more than five minutes ignores the broadcast.  It is only told: its clock is
written with its password.  Not supported: that writing.

Used by the collector alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from gateway.acquisition.collection import CLOCK
from gateway.acquisition.days import clock_offset_s
from gateway.acquisition.freeze import Answer
from gateway.acquisition.polling import Found, Polling, Reading
from gateway.clock import ClockState
from gateway.config import Config, MeterConfig
from gateway.events import Fault, Job, JobDone, PortSettings, Priority, Timed
from gateway.recorder import Recorder
from gateway.store.readings import MeterClock, Readings
from protocols.base import Request, RequestError, Value
from protocols.dlt645_control import CLOCK_OFFSET_MAX_S, may_broadcast_time
from protocols.model import Dlt645Profile

SEND_WITHIN_S = 60.0
"""A broadcast that the line has no time for is ordered anew."""
OTHERS_S = 600.0
"""So long the broadcast waits for the clocks of a group that are not compared yet."""
SETTLE_S = 5.0
"""A meter gets this long to set its clock before it is read again."""
READ_WITHIN_S = 600.0
UNSENT = (Fault.EXPIRED, Fault.REFUSED)
"""With these faults certainly nothing was on the wire."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Group:
    """The meters that hear the same broadcast: of one line, at one speed and parity."""

    line: str
    settings: PortSettings
    profile: Dlt645Profile
    """How one of them is told; the others understand it, too."""
    meters: list[MeterConfig]
    since: float = float("inf")
    """When the first clock was found off (monotonic)."""
    noted: date | None = None
    """The day whose broadcast is noted as sent, and is to be sent now."""
    job: int = 0
    """The broadcast on its way."""
    read_at: float = float("inf")
    off: dict[str, float] = field(default_factory=dict)
    """By meter, the offsets before the broadcast, of those whose clock is to be read again."""

    @property
    def key(self) -> str:
        """What it is called in the store."""
        spoken = self.settings
        return f"{self.line} {spoken.baud} 8{spoken.parity}{spoken.stop_bits}"


class MeterClocks:
    """The clocks of all meters of one gateway."""

    def __init__(
        self,
        config: Config,
        readings: Readings,
        polling: Polling,
        recorder: Recorder,
        submit: Callable[[str, Job], None],
        state: Callable[[], ClockState],
    ) -> None:
        """``state`` judges our clock."""
        self._table = config.collection
        self._zone = ZoneInfo(config.gateway.timezone)
        self._readings = readings
        self._polling = polling
        self._recorder = recorder
        self._submit = submit
        self._state = state
        self._clocks = readings.clocks()
        self._groups = _groups(config.meters) if self._table.clock_set_s else ()
        self._meters = {meter.asset: meter for meter in config.meters}
        self._checks: dict[int, tuple[_Group, str]] = {}
        """The jobs that read a clock again."""

    @property
    def known(self) -> Iterable[MeterClock]:
        """How far each meter's clock was off when it was last compared."""
        return self._clocks.values()

    def offset_s(self, meter: str) -> float | None:
        """How far a meter's clock was ahead of ours when it was last compared; None: never."""
        clock = self._clocks.get(meter)
        return clock.offset_s if clock else None

    def off(self, meter: str) -> str:
        """Why the meter's midnight is not ours; empty if it is, or nobody knows."""
        clock = self._clocks.get(meter)
        if clock is None or abs(clock.offset_s) <= self._table.clock_limit_s:
            return ""
        return f"the meter's clock is off by {clock.offset_s:+.0f} s"

    # --- the daily comparison -------------------------------------------------------------------

    def compare(
        self,
        meter: str,
        answers: Sequence[Answer],
        newest: date,
        keep: Callable[[Callable[[], None]], None],
    ) -> bool:
        """Compare a meter's clock with ours.  False: try again later.

        ``keep`` takes what is to be written; ``newest`` is the day whose freeze is the newest.
        """
        if any(one.outcome.fault is Fault.REFUSED and one.outcome.permanent for one in answers):
            return True
        values = {name: value for one in answers for name, value in (one.values or {}).items()}
        taken = answers[-1].outcome.taken_at
        offset_s = self._offset_s(values, taken)
        if offset_s is None or self._state() is not ClockState.TRUSTED:
            return False
        clock = MeterClock(meter=meter, day=newest, offset_s=offset_s, taken=taken)
        self._clocks[meter] = clock
        keep(partial(self._readings.set_clock, clock))
        beyond = bool(self._groups) and abs(offset_s) > CLOCK_OFFSET_MAX_S
        if abs(offset_s) > self._table.clock_limit_s or beyond:
            detail = f"the meter says {_shown(values)}"
            if beyond:
                where = " and ".join(one.exchange.key for one in answers)
                detail += (
                    f"; beyond {CLOCK_OFFSET_MAX_S} s it ignores the broadcast time: write its date"
                    f" and time ({where}) with its password"
                )
            self._recorder.event("clock_offset", meter, detail=detail, offset_s=offset_s)
        return True

    def _offset_s(self, values: Mapping[str, Value], taken: float) -> float | None:
        """How far ahead of ours the clock is that said this; None if it said nothing good."""
        return clock_offset_s(_shown(values), taken, self._zone)

    # --- setting --------------------------------------------------------------------------------

    def tick(self, now: float, wall: float, newest: date | None) -> float:
        """Order the broadcasts and readings that are due; the monotonic time of the next ones."""
        for group in self._groups:
            if now >= group.read_at:
                self._read_again(group, now)
            elif not group.job and not group.off and newest:
                self._tell(group, now, wall, newest)
        return min((group.read_at for group in self._groups), default=float("inf"))

    def asked(self, event: JobDone) -> bool:
        """Whether this job was ours: then ``done`` takes it."""
        return event.job.id in self._checks or any(g.job == event.job.id for g in self._groups)

    def done(self, event: JobDone, found: Sequence[Found], now: float) -> None:
        """A broadcast is on the wire, or a clock was read again."""
        if check := self._checks.pop(event.job.id, None):
            group, meter = check
            self._report(meter, group.off.pop(meter), event, found)
            return
        (group,) = (each for each in self._groups if each.job == event.job.id)
        group.job = 0
        (outcome,) = event.outcomes
        if outcome.fault in UNSENT:
            group.off.clear()
            return
        group.noted = None
        group.read_at = now + SETTLE_S
        log.info("time broadcast", line=group.line, settings=group.key, meters=sorted(group.off))

    def _tell(self, group: _Group, now: float, wall: float, newest: date) -> None:
        """Broadcast the time to a group if it is allowed and some clock needs it."""
        local = datetime.fromtimestamp(wall, self._zone)
        last, mine = self._readings.time_told(group.key), group.noted == local.date()
        off = {
            meter.asset: clock.offset_s
            for meter in group.meters
            if (clock := self._clocks.get(meter.asset))
            and clock.day == newest
            and abs(clock.offset_s) > self._table.clock_set_s
            and may_broadcast_time(local, clock.offset_s, None if mine else last)
        }
        if not off or self._state() is not ClockState.TRUSTED:
            group.since = float("inf")
            return
        group.since = min(group.since, now)
        if not (self._compared(group, newest) or now >= group.since + OTHERS_S):
            return
        if not mine:
            group.noted = local.date()
            self._recorder.later(partial(self._readings.set_time_told, group.key, group.noted))
        elif last == group.noted:
            # The note is on flash, so a crash from now on sends nothing twice.
            group.off = off
            self._send(group, now, local)

    def _compared(self, group: _Group, newest: date) -> bool:
        """Whether every clock of a group is known."""
        return all(
            (clock := self._clocks.get(meter.asset)) and clock.day == newest
            for meter in group.meters
        )

    def _send(self, group: _Group, now: float, local: datetime) -> None:
        profile, zone = group.profile, self._zone
        size = len(profile.codec().encode(profile.broadcast_time(local)))
        takes_s = size * group.settings.character_s

        def make(wall: float) -> Request:
            heard = datetime.fromtimestamp(round(wall + takes_s), zone)
            if not may_broadcast_time(heard, 0.0, None):
                raise RequestError("around midnight no meter's clock is set")
            return profile.broadcast_time(heard)

        request = Timed(profile.broadcast_time(local).address, make)
        asset, not_after = group.meters[0].asset, now + SEND_WITHIN_S
        line, job = self._polling.tell(asset, (request,), Priority.COMMAND, not_after)
        group.job = job.id
        self._submit(line, job)

    def _read_again(self, group: _Group, now: float) -> None:
        group.read_at = float("inf")
        for meter in group.off:
            config = self._meters[meter]
            plan = config.profile.plan(config.address, CLOCK)
            not_after = now + READ_WITHIN_S
            line, job = self._polling.ask(meter, plan, Priority.COLLECTION, not_after)
            self._checks[job.id] = group, meter
            self._submit(line, job)

    def _report(self, meter: str, before_s: float, event: JobDone, found: Sequence[Found]) -> None:
        """Tell what the broadcast did to a clock that was off by ``before_s``."""
        readings = [one for one in found if isinstance(one, Reading)]
        values = {name: value for one in readings for name, value in one.values.items()}
        after_s = self._offset_s(values, readings[-1].taken_at) if readings else None
        was = f"it was off by {before_s:+.0f} s before the broadcast time"
        if after_s is not None and abs(after_s) <= self._table.clock_set_s:
            self._recorder.event("clock_set", meter, event.line, was, after_s)
            return
        why = next((one.error for one in event.outcomes if one.error), "no date and time")
        detail = (
            f"not read again, {was}: {why}"
            if after_s is None
            else f"did not obey, {was}; some obey once a day only: set it with its password"
        )
        offset_s = before_s if after_s is None else after_s
        log.warning("clock not set", meter=meter, detail=detail)
        self._recorder.event("clock_offset", meter, event.line, detail, offset_s)


def _groups(meters: Iterable[MeterConfig]) -> tuple[_Group, ...]:
    """The meters whose clocks can be set, by who hears the same broadcast."""
    groups: dict[tuple[str, PortSettings], _Group] = {}
    for meter in meters:
        if isinstance(meter.profile, Dlt645Profile):
            key = meter.line, meter.settings
            groups.setdefault(key, _Group(*key, meter.profile, [])).meters.append(meter)
    return tuple(groups.values())


def _shown(values: Mapping[str, Value]) -> str:
    """Date and time in a meter's reply; nothing that can be read where one of them is missing."""
    day, time = (values.get(name) for name in CLOCK)
    # The date stands with the day of the week: 2026-01-31 w6.
    return f"{str(day.amount)[:10]} {time.amount}" if day and time else ""
